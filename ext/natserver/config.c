/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/config.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/restcredential.h"
#include "natserver/control/fetch.h"
#include "natserver/optiontable.h"

#define MEMORY_LEAST_MB 128 /* what the relay has from the start, twice */

#define fail(error, ...) nat_error_set (error, NAT_ERROR_ARGUMENT, __VA_ARGS__)

static gpointer
field_of (NatConfig *config, const NatOption *option)
{
  return (guint8 *)config + option->offset;
}

/* ---- Values ------------------------------------------------------------ */

static gboolean
set_number (NatConfig *config, const NatOption *option, const char *value, GError **error)
{
  guint64 n;

  if (!g_ascii_string_to_unsigned (value, 10, option->min, option->max, &n, NULL))
    return fail (error, "%s must be a whole number from %u to %u, not \"%s\".", option->name,
        option->min, option->max, value);
  *(guint *)field_of (config, option) = (guint)n;
  return TRUE;
}

static gboolean
set_open (NatConfig *config, const NatOption *option, const char *value, GError **error)
{
  NatOpen *open = field_of (config, option);

  if (strcmp (value, "anyone") == 0)
    *open = NAT_OPEN_ANYONE;
  else if (strcmp (value, "") == 0 || strcmp (value, "true") == 0)
    *open = NAT_OPEN_LOOPBACK;
  else if (strcmp (value, "false") == 0)
    *open = NAT_OPEN_NO;
  else
    return fail (error, "open must be true, false or anyone, not \"%s\".", value);
  return TRUE;
}

static gboolean
set_flag (NatConfig *config, const NatOption *option, const char *value, GError **error)
{
  gboolean *flag = field_of (config, option);

  if (strcmp (value, "") != 0 && strcmp (value, "true") != 0 && strcmp (value, "false") != 0)
    return fail (error, "%s must be true or false, not \"%s\".", option->name, value);
  *flag = strcmp (value, "false") != 0;
  return TRUE;
}

/* Several values in one text are the file's way, several calls the command line's. */
static void
add_values (NatConfig *config, const NatOption *option, const char *value)
{
  char ***list = field_of (config, option);
  g_auto (GStrv) words = g_strsplit_set (value, ";,", -1);
  g_autoptr (GPtrArray) all = g_ptr_array_new ();

  for (guint i = 0; *list != NULL && (*list)[i] != NULL; i++)
    g_ptr_array_add (all, (*list)[i]);
  for (guint i = 0; words[i] != NULL; i++) {
    if (*g_strstrip (words[i]) != '\0')
      g_ptr_array_add (all, g_strdup (words[i]));
  }
  g_ptr_array_add (all, NULL);
  g_free (*list);
  *list = (char **)g_ptr_array_free (g_steal_pointer (&all), FALSE);
}

static gboolean
set (NatConfig *config, const NatOption *option, const char *value, GError **error)
{
  char **text = field_of (config, option);

  switch (option->kind) {
  case NAT_OPTION_NUMBER: return set_number (config, option, value, error);
  case NAT_OPTION_OPEN: return set_open (config, option, value, error);
  case NAT_OPTION_FLAG: return set_flag (config, option, value, error);
  case NAT_OPTION_LIST: add_values (config, option, value); return TRUE;
  default:
    if (*value == '\0')
      return fail (error, "%s needs a value (%s).", option->name, option->argument);
    g_free (*text);
    *text = g_strdup (value);
    return TRUE;
  }
}

/* ---- Command line ------------------------------------------------------ */

static const NatOption *
find_on_line (const char *word, const char **value, GError **error)
{
  g_autofree char *name = NULL;
  g_autofree char *hint = NULL;
  const char *equals = strchr (word, '=');
  const NatOption *option;

  if (strcmp (word, "-h") == 0)
    word = "--help";
  if (!g_str_has_prefix (word, "--") || word[2] == '\0') {
    fail (error, "\"%s\" is not an option. See natrelay-server --help.", word);
    return NULL;
  }
  name = equals ? g_strndup (word + 2, (gsize)(equals - word - 2)) : g_strdup (word + 2);
  *value = equals ? equals + 1 : NULL;
  option = nat_option_find (name, NAT_OPTION_LINE);
  if (option == NULL) {
    hint = nat_option_guess (name, NAT_OPTION_LINE);
    if (nat_option_find (name, NAT_OPTION_FILE))
      fail (error, "%s is a key for natrelay-server.conf, not an option.", name);
    else
      fail (error, "There is no option --%s.%s See natrelay-server --help.", name, hint);
  }
  return option;
}

/* seen: by index in nat_options, what environment and file may not change any more. */
static gboolean
parse_line (NatConfig *config, int argc, char **argv, gboolean *seen, GError **error)
{
  for (int i = 1; i < argc; i++) {
    const char *value;
    const NatOption *option = find_on_line (argv[i], &value, error);

    if (option == NULL)
      return FALSE;
    if (value == NULL && option->kind != NAT_OPTION_FLAG && option->kind != NAT_OPTION_OPEN) {
      if (i + 1 >= argc)
        return fail (
            error, "--%s needs a value: --%s %s.", option->name, option->name, option->argument);
      value = argv[++i];
    }
    if (!set (config, option, value ? value : "", error))
      return FALSE;
    seen[option - nat_options] = TRUE;
  }
  return TRUE;
}

/* ---- Environment ------------------------------------------------------- */

/* Only our names are looked at: NATRELAY_PORT and the like are what container systems set by themselves
 * for a service of this name. */
static gboolean
parse_environment (NatConfig *config, gboolean *seen, GError **error)
{
  for (guint i = 0; i < nat_n_options; i++) {
    const NatOption *option = &nat_options[i];
    g_autofree char *variable = nat_option_variable (option);
    const char *value = g_getenv (variable);

    if (!(option->where & NAT_OPTION_FILE) || value == NULL || seen[i])
      continue;
    if (!set (config, option, value, error)) {
      g_prefix_error (error, "%s in the environment: ", variable);
      return FALSE;
    }
    seen[i] = TRUE;
  }
  return TRUE;
}

/* ---- natrelay-server.conf ---------------------------------------------- */

typedef struct {
  NatConfig *config;
  GKeyFile *file;
  const gboolean *seen; /* on the command line or in the environment */
  guint *lines;         /* by index in nat_options: the line of the file with it, 0 = not yet */
  guint line;
} FileReader;

static gboolean
fail_line (const FileReader *r, GError **error, const char *text)
{
  return fail (error, "%s, line %u: %s", r->config->config, r->line, text);
}

static gboolean
parse_key (FileReader *r, const char *key, GError **error)
{
  const NatOption *option = nat_option_find (key, NAT_OPTION_FILE);
  g_autoptr (GError) cause = NULL;
  g_autofree char *value = NULL;
  g_autofree char *hint = NULL;
  g_autofree char *text = NULL;
  guint *line;

  if (option == NULL) {
    hint = nat_option_guess (key, NAT_OPTION_FILE);
    text = g_strdup_printf ("There is no key \"%s\".%s", key, hint);
    return fail_line (r, error, text);
  }
  line = &r->lines[option - nat_options];
  if (*line != 0) {
    text = g_strdup_printf ("%s stands in line %u already.", key, *line);
    return fail_line (r, error, text);
  }
  *line = r->line;
  value = g_key_file_get_string (r->file, NAT_CONFIG_GROUP, key, &cause);
  if (value == NULL)
    return fail_line (r, error, cause->message);
  if (r->seen[option - nat_options])
    return TRUE;
  return set (r->config, option, g_strstrip (value), &cause) ||
         fail_line (r, error, cause->message);
}

/* GKeyFile knows what a line means, but not its number. */
static gboolean
parse_one_line (FileReader *r, char *line, GError **error)
{
  char *equals = strchr (g_strstrip (line), '=');

  if (*line == '[' && strcmp (line, "[" NAT_CONFIG_GROUP "]") != 0) {
    g_autofree char *text = g_strdup_printf (
        "There is a group %.40s; all settings stand in [" NAT_CONFIG_GROUP "].", line);
    return fail_line (r, error, text);
  }
  if (*line == '\0' || *line == '#' || *line == '[' || equals == NULL)
    return TRUE;
  *equals = '\0';
  return parse_key (r, g_strstrip (line), error);
}

static gboolean
parse_file (NatConfig *config, const gboolean *seen, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GError) cause = NULL;
  g_autofree char *text = NULL;
  g_autofree guint *lines_seen = g_new0 (guint, nat_n_options);
  g_auto (GStrv) lines = NULL;
  FileReader r = {config, file, seen, lines_seen, 0};

  if (!g_file_get_contents (config->config, &text, NULL, &cause) ||
      !g_key_file_load_from_data (file, text, strlen (text), G_KEY_FILE_NONE, &cause))
    return fail (error, "The settings in %s cannot be read: %s.", config->config, cause->message);
  lines = g_strsplit (text, "\n", -1);
  for (; lines[r.line] != NULL;) {
    char *line = lines[r.line++];

    if (!parse_one_line (&r, line, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- Meaning ----------------------------------------------------------- */

static gboolean
read_addresses (
    char **texts, const char *name, guint16 port, NatAddress *out, guint *n, GError **error)
{
  *n = 0;
  for (guint i = 0; texts != NULL && texts[i] != NULL; i++) {
    if (*n == NAT_LISTEN_MAX)
      return fail (error, "%s may be given at most %d times.", name, NAT_LISTEN_MAX);
    if (!nat_address_from_text (&out[*n], texts[i], port))
      return fail (error,
          "%s: \"%s\" is not a numeric address. Write it like 192.0.2.1%s or [2001:db8::1]%s.",
          name, texts[i], port ? ":8443" : "", port ? ":8443" : "");
    (*n)++;
  }
  return TRUE;
}

/* The system would say that another program has the port. */
static gboolean
check_repeated (const NatConfig *config, GError **error)
{
  for (guint i = 0; i < config->n_listen; i++) {
    for (guint k = 0; k < i; k++) {
      char text[NAT_ADDRESS_TEXT_MAX];

      if (config->listen_addresses[i].port != 0 &&
          nat_address_equal (&config->listen_addresses[i], &config->listen_addresses[k]))
        return fail (error, "%s is given twice with listen.",
            nat_address_to_text (&config->listen_addresses[i], text));
    }
  }
  return TRUE;
}

static gboolean
check_listen (NatConfig *config, GError **error)
{
  const char *words[] = {"0.0.0.0", "[::]", NULL};

  if (config->listen == NULL || config->listen[0] == NULL) {
    config->default_listen = TRUE;
    if (config->open == NAT_OPEN_LOOPBACK) {
      words[0] = "127.0.0.1";
      words[1] = "[::1]";
    }
  }
  if (!read_addresses (config->default_listen ? (char **)words : config->listen, "listen",
          NAT_DEFAULT_PORT, config->listen_addresses, &config->n_listen, error))
    return FALSE;
  for (guint i = 0; i < config->n_listen; i++) {
    char text[NAT_ADDRESS_TEXT_MAX];

    if (config->open == NAT_OPEN_LOOPBACK &&
        !nat_address_is_loopback (&config->listen_addresses[i]))
      return fail (error,
          "%s can be reached by others, and with --open everybody may publish and watch. If that "
          "is what you want, write --open=anyone; else listen at 127.0.0.1 or leave --open away.",
          nat_address_to_text (&config->listen_addresses[i], text));
  }
  return check_repeated (config, error);
}

/* ---- Meaning: who may --------------------------------------------------- */

static gboolean
is_there (char **list)
{
  return list != NULL && *list != NULL;
}

static gboolean
check_url (const char *name, const char *url, GError **error)
{
  return nat_fetch_url_valid (url) || fail (error,
                                          "%s must be an https:// URL (http:// only for 127.0.0.1, "
                                          "::1 and localhost), not \"%s\".",
                                          name, url);
}

static gboolean
check_grants (char **globs, const char *name, GError **error)
{
  for (; globs != NULL && *globs != NULL; globs++) {
    if (!nat_rest_grant_valid (*globs))
      return fail (error,
          "%s: \"%s\" is no pattern of stream names: * stands for one segment, a last ** for any "
          "number, " NAT_REST_NAME " for the name in the credentials.",
          name, *globs);
  }
  return TRUE;
}

static gboolean
check_credentials (const NatConfig *config, GError **error)
{
  gboolean granted =
      is_there (config->credential_publish) || is_there (config->credential_subscribe);

  if (is_there (config->credential_secret) != granted)
    return fail (
        error, granted ? "credential-publish and credential-subscribe need a credential-secret."
                       : "credential-secret lets somebody in, but to nothing: say to what with "
                         "credential-publish or credential-subscribe.");
  return check_grants (config->credential_publish, "credential-publish", error) &&
         check_grants (config->credential_subscribe, "credential-subscribe", error);
}

static gboolean
check_access (const NatConfig *config, GError **error)
{
  for (guint i = 0; config->jwks != NULL && config->jwks[i] != NULL; i++) {
    if (strstr (config->jwks[i], "://") != NULL && !check_url ("jwks", config->jwks[i], error))
      return FALSE;
  }
  if (config->jwks_refresh_min > config->jwks_refresh_max)
    return fail (error, "jwks-refresh-min (%u) must not be longer than jwks-refresh-max (%u).",
        config->jwks_refresh_min, config->jwks_refresh_max);
  if (config->access_callback != NULL &&
      !check_url ("access-callback", config->access_callback, error))
    return FALSE;
  if (config->access_callback_tokens && config->access_callback == NULL)
    return fail (error, "access-callback-tokens needs an access-callback to send them to.");
  return check_credentials (config, error);
}

static gboolean
check (NatConfig *config, GError **error)
{
  if (config->max_memory_mb > 0 && config->max_memory_mb < MEMORY_LEAST_MB)
    return fail (error,
        "max-memory-mb must be at least %d (or 0: three quarters of the machine's), not %u.",
        MEMORY_LEAST_MB, config->max_memory_mb);
  if ((config->certificate == NULL) != (config->private_key == NULL))
    return fail (error, "--certificate and --private-key belong together: give both or neither.");
  if (!read_addresses (config->public_address, "public-address", 0, config->public_addresses,
          &config->n_public, error))
    return FALSE;
  for (guint i = 0; i < config->n_public; i++) {
    if (config->public_addresses[i].port != 0)
      return fail (
          error, "public-address is an address without a port: the port is that of --listen.");
    if (nat_address_is_any (&config->public_addresses[i]))
      return fail (error, "public-address must be the address that clients reach, not a wildcard.");
  }
  return check_listen (config, error) && check_access (config, error);
}

gboolean
nat_config_load (NatConfig *config, int argc, char **argv, GError **error)
{
  g_autofree gboolean *seen = g_new0 (gboolean, nat_n_options);

  memset (config, 0, sizeof *config);
  for (guint i = 0; i < nat_n_options; i++) {
    if (nat_options[i].kind == NAT_OPTION_NUMBER)
      *(guint *)field_of (config, &nat_options[i]) = nat_options[i].def;
  }
  if (!parse_line (config, argc, argv, seen, error))
    return FALSE;
  if (config->help || config->version)
    return TRUE;
  if (!parse_environment (config, seen, error))
    return FALSE;
  if (config->config != NULL && !parse_file (config, seen, error))
    return FALSE;
  return check (config, error);
}

void
nat_config_clear (NatConfig *config)
{
  for (guint i = 0; i < nat_n_options; i++) {
    gpointer field = field_of (config, &nat_options[i]);

    if (nat_options[i].kind == NAT_OPTION_TEXT)
      g_clear_pointer ((char **)field, g_free);
    else if (nat_options[i].kind == NAT_OPTION_LIST)
      g_clear_pointer ((char ***)field, g_strfreev);
  }
}

/* ---- Reloading --------------------------------------------------------- */

static gsize
size_of (const NatOption *option)
{
  switch (option->kind) {
  case NAT_OPTION_TEXT: return sizeof (char *);
  case NAT_OPTION_LIST: return sizeof (char **);
  case NAT_OPTION_OPEN: return sizeof (NatOpen);
  default: return sizeof (guint);
  }
}

void
nat_config_swap_reloads (NatConfig *a, NatConfig *b)
{
  for (guint i = 0; i < nat_n_options; i++) {
    gpointer x = field_of (a, &nat_options[i]), y = field_of (b, &nat_options[i]);
    guint8 kept[sizeof (gpointer)];
    gsize size = size_of (&nat_options[i]);

    if (!nat_options[i].reloads)
      continue;
    memcpy (kept, x, size);
    memcpy (x, y, size);
    memcpy (y, kept, size);
  }
}

static gboolean
same_value (const NatOption *option, const NatConfig *a, const NatConfig *b)
{
  gconstpointer x = (const guint8 *)a + option->offset, y = (const guint8 *)b + option->offset;

  switch (option->kind) {
  case NAT_OPTION_TEXT: return g_strcmp0 (*(char *const *)x, *(char *const *)y) == 0;
  case NAT_OPTION_LIST: {
    const char *const *one = *(const char *const *const *)x, *const none[] = {NULL};
    const char *const *two = *(const char *const *const *)y;

    return g_strv_equal (one ? one : none, two ? two : none);
  }
  case NAT_OPTION_OPEN: return *(const NatOpen *)x == *(const NatOpen *)y;
  default: return *(const guint *)x == *(const guint *)y;
  }
}

char *
nat_config_changed_start (const NatConfig *a, const NatConfig *b)
{
  GString *names = g_string_new (NULL);

  for (guint i = 0; i < nat_n_options; i++) {
    if (!nat_options[i].reloads && !same_value (&nat_options[i], a, b))
      g_string_append_printf (names, "%s%s", names->len ? ", " : "", nat_options[i].name);
  }
  return g_string_free (names, names->len == 0);
}
