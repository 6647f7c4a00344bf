/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/config.h"

#include <string.h>

#include "natproto/error.h"

typedef enum {
  KIND_TEXT,
  KIND_LIST,
  KIND_NUMBER,
  KIND_FLAG,
  KIND_OPEN,
} Kind;

typedef enum {
  WHERE_LINE = 1,
  WHERE_FILE = 2,
  WHERE_BOTH = 3,
} Where;

typedef struct {
  Kind kind;
  Where where;
  const char *name, *argument, *help;
  guint def, min, max;
  gsize offset; /* of the field in NatConfig */
} Option;

static const Option options[] = {
#define NAT_OPTION(kind, field, name, where, argument, def, min, max, help)                        \
  {KIND_##kind, WHERE_##where, name, argument, help, def, min, max,                                \
      G_STRUCT_OFFSET (NatConfig, field)},
#include "natserver/options.h"
#undef NAT_OPTION
};

static gboolean fail (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Always FALSE, for return statements. */
static gboolean
fail (GError **error, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, NAT_ERROR, NAT_ERROR_ARGUMENT, text);
  return FALSE;
}

static gpointer
field_of (NatConfig *config, const Option *option)
{
  return (guint8 *)config + option->offset;
}

/* ---- Names ------------------------------------------------------------- */

/* Single edits from one word to the other (Levenshtein). */
static guint
distance (const char *a, const char *b)
{
  gsize n = strlen (b);
  g_autofree guint *row = g_new (guint, n + 1);

  for (gsize k = 0; k <= n; k++)
    row[k] = (guint)k;
  for (gsize i = 0; a[i] != '\0'; i++) {
    guint diagonal = row[0];

    row[0] = (guint)i + 1;
    for (gsize k = 0; k < n; k++) {
      guint replaced = diagonal + (a[i] != b[k]);

      diagonal = row[k + 1];
      row[k + 1] = MIN (replaced, MIN (row[k], row[k + 1]) + 1);
    }
  }
  return row[n];
}

static const Option *
find (const char *name, Where where)
{
  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    if ((options[i].where & where) && strcmp (options[i].name, name) == 0)
      return &options[i];
  }
  return NULL;
}

/* " Did you mean ...?", or "". */
static char *
guess (const char *name, Where where)
{
  const Option *best = NULL;
  guint least = 3 + (guint)MIN (strlen (name), 40) / 4;

  if (strlen (name) > 60)
    return g_strdup ("");
  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    guint d = distance (name, options[i].name);

    if ((options[i].where & where) && d < least) {
      least = d;
      best = &options[i];
    }
  }
  if (best == NULL)
    return g_strdup ("");
  return g_strdup_printf (" Did you mean %s%s?", where == WHERE_LINE ? "--" : "", best->name);
}

/* ---- Values ------------------------------------------------------------ */

static gboolean
set_number (NatConfig *config, const Option *option, const char *value, GError **error)
{
  guint64 n;

  if (!g_ascii_string_to_unsigned (value, 10, option->min, option->max, &n, NULL))
    return fail (error, "%s must be a whole number from %u to %u, not \"%s\".", option->name,
        option->min, option->max, value);
  *(guint *)field_of (config, option) = (guint)n;
  return TRUE;
}

static gboolean
set_open (NatConfig *config, const Option *option, const char *value, GError **error)
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
set_flag (NatConfig *config, const Option *option, const char *value, GError **error)
{
  gboolean *flag = field_of (config, option);

  if (strcmp (value, "") != 0 && strcmp (value, "true") != 0 && strcmp (value, "false") != 0)
    return fail (error, "%s must be true or false, not \"%s\".", option->name, value);
  *flag = strcmp (value, "false") != 0;
  return TRUE;
}

/* Several values in one text are the file's way, several calls the command line's. */
static void
add_values (NatConfig *config, const Option *option, const char *value)
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
set (NatConfig *config, const Option *option, const char *value, GError **error)
{
  char **text = field_of (config, option);

  switch (option->kind) {
  case KIND_NUMBER: return set_number (config, option, value, error);
  case KIND_OPEN: return set_open (config, option, value, error);
  case KIND_FLAG: return set_flag (config, option, value, error);
  case KIND_LIST: add_values (config, option, value); return TRUE;
  default:
    if (*value == '\0')
      return fail (error, "%s needs a value (%s).", option->name, option->argument);
    g_free (*text);
    *text = g_strdup (value);
    return TRUE;
  }
}

/* ---- Command line ------------------------------------------------------ */

static const Option *
find_on_line (const char *word, const char **value, GError **error)
{
  g_autofree char *name = NULL;
  g_autofree char *hint = NULL;
  const char *equals = strchr (word, '=');
  const Option *option;

  if (strcmp (word, "-h") == 0)
    word = "--help";
  if (!g_str_has_prefix (word, "--") || word[2] == '\0') {
    fail (error, "\"%s\" is not an option. See natrelay-server --help.", word);
    return NULL;
  }
  name = equals ? g_strndup (word + 2, (gsize)(equals - word - 2)) : g_strdup (word + 2);
  *value = equals ? equals + 1 : NULL;
  option = find (name, WHERE_LINE);
  if (option == NULL) {
    hint = guess (name, WHERE_LINE);
    if (find (name, WHERE_FILE))
      fail (error, "%s is a key for natrelay-server.conf, not an option.", name);
    else
      fail (error, "There is no option --%s.%s See natrelay-server --help.", name, hint);
  }
  return option;
}

/* seen: by index in options, what the file may not change any more. */
static gboolean
parse_line (NatConfig *config, int argc, char **argv, gboolean *seen, GError **error)
{
  for (int i = 1; i < argc; i++) {
    const char *value;
    const Option *option = find_on_line (argv[i], &value, error);

    if (option == NULL)
      return FALSE;
    if (value == NULL && option->kind != KIND_FLAG && option->kind != KIND_OPEN) {
      if (i + 1 >= argc)
        return fail (
            error, "--%s needs a value: --%s %s.", option->name, option->name, option->argument);
      value = argv[++i];
    }
    if (!set (config, option, value ? value : "", error))
      return FALSE;
    seen[option - options] = TRUE;
  }
  return TRUE;
}

/* ---- natrelay-server.conf ---------------------------------------------- */

static gboolean
parse_key (NatConfig *config, GKeyFile *file, const char *key, const gboolean *seen, GError **error)
{
  const Option *option = find (key, WHERE_FILE);
  g_autofree char *value = NULL;
  g_autofree char *hint = NULL;

  if (option == NULL) {
    hint = guess (key, WHERE_FILE);
    return fail (error, "%s has no key \"%s\".%s", config->config, key, hint);
  }
  value = g_key_file_get_string (file, NAT_CONFIG_GROUP, key, error);
  if (value == NULL)
    return FALSE;
  if (seen[option - options])
    return TRUE;
  if (!set (config, option, g_strstrip (value), error)) {
    g_prefix_error (error, "%s: ", config->config);
    return FALSE;
  }
  return TRUE;
}

static gboolean
parse_file (NatConfig *config, const gboolean *seen, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GError) cause = NULL;
  g_auto (GStrv) groups = NULL;
  g_auto (GStrv) keys = NULL;

  if (!g_key_file_load_from_file (file, config->config, G_KEY_FILE_NONE, &cause))
    return fail (error, "The settings in %s cannot be read: %s.", config->config, cause->message);
  groups = g_key_file_get_groups (file, NULL);
  for (guint i = 0; groups[i] != NULL; i++) {
    if (strcmp (groups[i], NAT_CONFIG_GROUP) != 0)
      return fail (error, "%s has a group [%s]; all settings stand in [" NAT_CONFIG_GROUP "].",
          config->config, groups[i]);
  }
  keys = g_key_file_get_keys (file, NAT_CONFIG_GROUP, NULL, NULL);
  for (guint i = 0; keys != NULL && keys[i] != NULL; i++) {
    if (!parse_key (config, file, keys[i], seen, error))
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

static gboolean
check (NatConfig *config, GError **error)
{
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
  return check_listen (config, error);
}

gboolean
nat_config_load (NatConfig *config, int argc, char **argv, GError **error)
{
  gboolean seen[G_N_ELEMENTS (options)] = {FALSE};

  memset (config, 0, sizeof *config);
  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    if (options[i].kind == KIND_NUMBER)
      *(guint *)field_of (config, &options[i]) = options[i].def;
  }
  if (!parse_line (config, argc, argv, seen, error))
    return FALSE;
  if (config->help || config->version)
    return TRUE;
  if (config->config != NULL && !parse_file (config, seen, error))
    return FALSE;
  return check (config, error);
}

void
nat_config_clear (NatConfig *config)
{
  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    gpointer field = field_of (config, &options[i]);

    if (options[i].kind == KIND_TEXT)
      g_clear_pointer ((char **)field, g_free);
    else if (options[i].kind == KIND_LIST)
      g_clear_pointer ((char ***)field, g_strfreev);
  }
}

/* ---- Help -------------------------------------------------------------- */

/* Breaks text at blanks into lines that begin at column indent and end before 100. */
static void
append_wrapped (GString *out, const char *text, guint indent)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);
  gsize column = indent;

  for (guint i = 0; words[i] != NULL; i++) {
    if (i > 0 && column + 1 + strlen (words[i]) > 98) {
      g_string_append_printf (out, "\n%*s", (int)indent, "");
      column = indent;
    } else if (i > 0) {
      g_string_append_c (out, ' ');
      column++;
    }
    g_string_append (out, words[i]);
    column += strlen (words[i]);
  }
  g_string_append_c (out, '\n');
}

static void
append_option (GString *out, const Option *option, gboolean on_line)
{
  g_autofree char *left = NULL;
  const char *dashes = on_line ? "--" : "";

  if (option->kind == KIND_OPEN)
    left = g_strdup_printf ("%s%s[=%s]", dashes, option->name, option->argument);
  else if (option->argument == NULL)
    left = g_strdup_printf ("%s%s", dashes, option->name);
  else
    left =
        g_strdup_printf ("%s%s%c%s", dashes, option->name, on_line ? ' ' : '=', option->argument);
  g_string_append_printf (out, "  %-30s  ", left);
  if (strlen (left) > 30)
    g_string_append_printf (out, "\n%34s", "");
  if (option->kind == KIND_NUMBER) {
    g_autofree char *help = g_strdup_printf ("%s (default %u)", option->help, option->def);

    append_wrapped (out, help, 34);
  } else {
    append_wrapped (out, option->help, 34);
  }
}

char *
nat_config_help (void)
{
  GString *out = g_string_new (
      "Usage: natrelay-server [OPTION...]\n\n"
      "Relays RTP from publishers to subscribers that sit behind NATs and firewalls. Without any\n"
      "option it starts, makes its certificate and keys, and prints what clients need.\n\n"
      "Options (all but config, version and help are keys of natrelay-server.conf as well):\n");

  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    if (options[i].where & WHERE_LINE)
      append_option (out, &options[i], TRUE);
  }
  g_string_append (out, "\nKeys of natrelay-server.conf only:\n");
  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    if (options[i].where == WHERE_FILE)
      append_option (out, &options[i], FALSE);
  }
  g_string_append (out,
      "\nSIGHUP reads certificate and token keys anew; SIGTERM ends the relay, which "
      "clients are told.\n");
  return g_string_free (out, FALSE);
}
