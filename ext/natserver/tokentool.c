/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelay-token: makes access tokens and credentials, shows what a token holds, makes keys. A table of
 * commands; each reads its options, does one thing and returns the exit status: 0 done, 1 refused, 2 wrong use. */

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/file.h>
#include <glib/gstdio.h>

#include <config.h>

#include "natproto/error.h"
#include "natproto/hex.h"
#include "natproto/restcredential.h"
#include "natproto/statictoken.h"
#include "natproto/streamname.h"
#include "natproto/token.h"
#include "natserver/control/keyfile.h"
#include "natserver/statedir.h"

#define EXIT_DONE      0
#define EXIT_REFUSED   1
#define EXIT_WRONG_USE 2

#define SECRET_SIZE   32
#define TOKEN_ID_SIZE 12
#define YEARS_MAX     100
#define INPUT_MAX     (4 * NAT_TOKEN_MAX)

static int fail (int status, const char *format, ...) G_GNUC_PRINTF (2, 3);

static int
fail (int status, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_printerr ("natrelay-token: %s\n", text);
  return status;
}

/* Takes the options out of argv. FALSE: told what is wrong. */
static gboolean
parse (const char *parameters, const char *summary, const char *description,
    const GOptionEntry *entries, int *argc, char ***argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new (parameters);
  g_autoptr (GError) error = NULL;

  g_option_context_set_summary (context, summary);
  g_option_context_set_description (context, description);
  g_option_context_add_main_entries (context, entries, NULL);
  if (g_option_context_parse (context, argc, argv, &error))
    return TRUE;
  fail (EXIT_WRONG_USE, "%s", error->message);
  return FALSE;
}

/* ---- create ------------------------------------------------------------ */

typedef struct {
  char *key, *kid, *subject, *id, *expires, *file;
  char **publish, **subscribe;
  gboolean list, admin, takeover;
  int max_kbps, max_packets;
} CreateOptions;

static void
create_options_clear (CreateOptions *o)
{
  g_free (o->key);
  g_free (o->kid);
  g_free (o->subject);
  g_free (o->id);
  g_free (o->expires);
  g_free (o->file);
  g_strfreev (o->publish);
  g_strfreev (o->subscribe);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CreateOptions, create_options_clear)

/* "90s", "12h", "30d", "4w", "1y", "never". */
static gboolean
parse_expiry (const char *text, gint64 now_s, gint64 *expires_s)
{
  static const struct {
    char unit;
    gint64 seconds;
  } units[] = {
      {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}, {'y', 365 * 86400}};
  guint64 number;
  char *end;

  if (strcmp (text, "never") == 0) {
    *expires_s = G_MAXINT64;
    return TRUE;
  }
  if (!g_ascii_isdigit (*text))
    return FALSE;
  number = g_ascii_strtoull (text, &end, 10);
  for (guint i = 0; i < G_N_ELEMENTS (units); i++) {
    gint64 most = YEARS_MAX * G_GINT64_CONSTANT (365) * 86400 / units[i].seconds;

    if (end[0] == units[i].unit && end[1] == '\0' && number > 0 && number <= (guint64)most) {
      *expires_s = now_s + (gint64)number * units[i].seconds;
      return TRUE;
    }
  }
  return FALSE;
}

static char *
default_key_path (void)
{
  g_autofree char *dir = nat_state_dir_default ();

  return g_build_filename (dir, "token.key", NULL);
}

/* NULL: none. */
static const char *
bad_glob (char **globs)
{
  for (guint i = 0; globs != NULL && globs[i] != NULL; i++)
    if (!nat_stream_glob_valid (globs[i]))
      return globs[i];
  return NULL;
}

/* What a person may have meant otherwise. 0: nothing is wrong. lasts: how long it is good if nothing is said of it. */
static int
check_create (const CreateOptions *o, const char *lasts, gint64 *expires_s)
{
  const char *bad = bad_glob (o->publish);

  bad = bad != NULL ? bad : bad_glob (o->subscribe);
  if (bad != NULL)
    return fail (EXIT_REFUSED,
        "\"%s\" is neither a stream's name nor a pattern: those are letters, digits and . _ ~ -, "
        "with '/' between parts; * is one part, and ** at the end any number",
        bad);
  if (o->publish == NULL && o->subscribe == NULL && !o->list && !o->admin)
    return fail (EXIT_WRONG_USE, "such a token would allow nothing; say what it is for with "
                                 "--publish, --subscribe, --list or "
                                 "--admin");
  if (o->takeover && o->publish == NULL)
    return fail (EXIT_WRONG_USE, "--takeover is for publishers: it needs --publish");
  if (o->max_kbps < 0 || o->max_packets < 0)
    return fail (EXIT_WRONG_USE, "--max-kbps and --max-packets must not be negative");
  if (!parse_expiry (
          o->expires != NULL ? o->expires : lasts, g_get_real_time () / G_USEC_PER_SEC, expires_s))
    return fail (EXIT_WRONG_USE,
        "--expires must be a number with s, m, h, d, w or y behind it, at most %d years, or never",
        YEARS_MAX);
  return 0;
}

static NatSignKey *
load_signing_key (const char *path, GError **error)
{
  g_autofree char *standard = path == NULL ? default_key_path () : NULL;
  NatSignKey *key = nat_key_file_load (path != NULL ? path : standard, error);

  if (key == NULL && path == NULL)
    g_prefix_error (error,
        "there is no usable key. Start natrelay-server once as this user (it makes one), or name a "
        "key with --key. ");
  return key;
}

static void
random_id (char text[NAT_BASE64URL_LEN (TOKEN_ID_SIZE) + 1])
{
  guint8 bytes[TOKEN_ID_SIZE];

  nat_crypto_random (bytes, sizeof bytes);
  nat_base64url_encode (bytes, sizeof bytes, text);
}

/* Its texts are the options'. */
static NatToken
claims_of (const CreateOptions *o, char *id, gint64 expires_s)
{
  NatToken token = {
      .subject = o->subject,
      .expires_s = expires_s,
      .not_before_s = G_MININT64,
      .id = o->id != NULL ? o->id : id,
      .publish = o->publish,
      .subscribe = o->subscribe,
      .list = o->list,
      .admin = o->admin,
      .takeover = o->takeover,
      .max_kbps = (guint32)o->max_kbps,
      .max_packets = (guint32)o->max_packets,
  };

  return token;
}

static int
create_token (const CreateOptions *o, gint64 expires_s)
{
  char id[NAT_BASE64URL_LEN (TOKEN_ID_SIZE) + 1];
  g_autoptr (GError) error = NULL;
  g_autoptr (NatSignKey) key = load_signing_key (o->key, &error);
  g_autofree char *text = NULL;
  NatToken token = claims_of (o, id, expires_s);

  random_id (id);
  if (key != NULL)
    text = nat_token_sign (&token, o->kid, key, &error);
  if (text == NULL)
    return fail (EXIT_REFUSED, "%s", error->message);
  g_print ("%s\n", text);
  return EXIT_DONE;
}

static int
command_create (int argc, char **argv)
{
  g_auto (CreateOptions) o = {0};
  const GOptionEntry entries[] = {
      {"publish", 'p', 0, G_OPTION_ARG_STRING_ARRAY, &o.publish,
          "let its holder publish the streams that match GLOB (may be repeated)", "GLOB"},
      {"subscribe", 's', 0, G_OPTION_ARG_STRING_ARRAY, &o.subscribe,
          "let its holder watch the streams that match GLOB (may be repeated)", "GLOB"},
      {"expires", 'e', 0, G_OPTION_ARG_STRING, &o.expires,
          "how long it is good: 90s, 30m, 12h, 30d, 4w, 1y or never (default: 30d)", "TIME"},
      {"subject", 0, 0, G_OPTION_ARG_STRING, &o.subject,
          "who holds it, such as a camera's name; a publisher that comes back with the same "
          "subject "
          "takes its own place at once. Needed if a fresh token is to follow this one in a session "
          "that goes on",
          "NAME"},
      {"takeover", 0, 0, G_OPTION_ARG_NONE, &o.takeover,
          "let its holder take a stream over from another publisher that is still sending", NULL},
      {"max-kbps", 0, 0, G_OPTION_ARG_INT, &o.max_kbps,
          "limit what its holder may send, all streams together, in kbit/s (default: no limit)",
          "N"},
      {"max-packets", 0, 0, G_OPTION_ARG_INT, &o.max_packets,
          "the same, in packets a second (default: no limit)", "N"},
      {"list", 0, 0, G_OPTION_ARG_NONE, &o.list,
          "let its holder see who sends and who watches: status page, lists, metrics", NULL},
      {"admin", 0, 0, G_OPTION_ARG_NONE, &o.admin,
          "let its holder see all that, and end the sessions of others", NULL},
      {"key", 'k', 0, G_OPTION_ARG_FILENAME, &o.key,
          "the key that signs it: 64 hex digits or a private key in PEM (default: token.key in the "
          "relay's state directory)",
          "FILE"},
      {"kid", 0, 0, G_OPTION_ARG_STRING, &o.kid,
          "name the key in the token; the relay knows a key by its file's name without the ending",
          "NAME"},
      {"id", 0, 0, G_OPTION_ARG_STRING, &o.id, "the token's own id (default: a random one)", "ID"},
      {NULL},
  };
  gint64 expires_s;
  int wrong;

  if (!parse ("- make an access token and print it", NULL,
          "A GLOB is a stream name in which * stands for one part between slashes and a ** at the "
          "end "
          "for\nany number of parts. Put it in quotes, or the shell may expand it:\n\n"
          "  natrelay-token create --publish door --subject camera-1 --expires never\n"
          "  natrelay-token create --subscribe 'house/**' --expires 12h",
          entries, &argc, &argv))
    return EXIT_WRONG_USE;
  if (argc > 1)
    return fail (EXIT_WRONG_USE,
        "\"%s\" is not an option; the streams are given as --publish GLOB or --subscribe GLOB",
        argv[1]);
  wrong = check_create (&o, "30d", &expires_s);
  return wrong != 0 ? wrong : create_token (&o, expires_s);
}

/* ---- static ------------------------------------------------------------ */

/* TRUE: text ends where a line does. */
static gboolean
ends_a_line (int fd)
{
  char last = '\n';
  off_t end = lseek (fd, 0, SEEK_END);

  return end <= 0 || (pread (fd, &last, 1, end - 1) == 1 && last == '\n');
}

/* Others may do the same at this moment. */
static gboolean
append_line (const char *path, const char *line, GError **error)
{
  int fd = open (path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  g_autofree char *text = NULL;
  gboolean ok = fd >= 0 && flock (fd, LOCK_EX) == 0;
  int code;

  if (ok) {
    text = g_strconcat (ends_a_line (fd) ? "" : "\n", line, "\n", NULL);
    ok = write (fd, text, strlen (text)) == (gssize)strlen (text) && fsync (fd) == 0;
  }
  code = errno;
  if (fd >= 0)
    close (fd);
  if (!ok)
    g_set_error (
        error, NAT_ERROR, NAT_ERROR_ARGUMENT, "%s cannot be written: %s", path, g_strerror (code));
  return ok;
}

static int
create_static (const CreateOptions *o, gint64 expires_s)
{
  char id[NAT_BASE64URL_LEN (TOKEN_ID_SIZE) + 1], text[NAT_STATIC_TOKEN_LEN + 1];
  NatToken token = claims_of (o, id, expires_s);
  g_autoptr (GError) error = NULL;
  g_autofree char *line = NULL;

  random_id (id);
  nat_static_token_make (text);
  line = nat_static_token_line (text, &token, &error);
  /* Nobody has a token of which the list knows nothing. */
  if (line == NULL || !append_line (o->file, line, &error))
    return fail (EXIT_REFUSED, "%s", error->message);
  g_print ("%s\n", text);
  nat_crypto_wipe (text, sizeof text);
  return EXIT_DONE;
}

static int
command_static (int argc, char **argv)
{
  g_auto (CreateOptions) o = {0};
  const GOptionEntry entries[] = {
      {"file", 'f', 0, G_OPTION_ARG_FILENAME, &o.file,
          "the relay's list (static-tokens in its settings), to which a line is added", "FILE"},
      {"publish", 'p', 0, G_OPTION_ARG_STRING_ARRAY, &o.publish,
          "let its holder publish the streams that match GLOB (may be repeated)", "GLOB"},
      {"subscribe", 's', 0, G_OPTION_ARG_STRING_ARRAY, &o.subscribe,
          "let its holder watch the streams that match GLOB (may be repeated)", "GLOB"},
      {"expires", 'e', 0, G_OPTION_ARG_STRING, &o.expires,
          "how long it is good: 90s, 30m, 12h, 30d, 4w, 1y or never (default: never)", "TIME"},
      {"subject", 0, 0, G_OPTION_ARG_STRING, &o.subject, "who holds it, such as a camera's name",
          "NAME"},
      {"takeover", 0, 0, G_OPTION_ARG_NONE, &o.takeover,
          "let its holder take a stream over from another publisher that is still sending", NULL},
      {"max-kbps", 0, 0, G_OPTION_ARG_INT, &o.max_kbps,
          "limit what its holder may send, in kbit/s (default: no limit)", "N"},
      {"list", 0, 0, G_OPTION_ARG_NONE, &o.list,
          "let its holder see who sends and who watches: status page, lists, metrics", NULL},
      {"admin", 0, 0, G_OPTION_ARG_NONE, &o.admin,
          "let its holder see all that, and end the sessions of others", NULL},
      {NULL},
  };
  gint64 expires_s;
  int wrong;

  if (!parse ("- make a static token, print it, and add its hash to the relay's list", NULL,
          "The token is random and shown this once; the list has its hash and what it allows, a "
          "line each.\nThe relay reads the list at a start and at SIGHUP. Without its line a token "
          "is worth nothing:\n\n"
          "  natrelay-token static --file /etc/natrelay/static-tokens --publish door --subject "
          "camera-1",
          entries, &argc, &argv))
    return EXIT_WRONG_USE;
  if (argc > 1)
    return fail (EXIT_WRONG_USE, "\"%s\" is not an option", argv[1]);
  if (o.file == NULL)
    return fail (EXIT_WRONG_USE, "say with --file which list its line goes to");
  wrong = check_create (&o, "never", &expires_s);
  return wrong != 0 ? wrong : create_static (&o, expires_s);
}

/* ---- credential -------------------------------------------------------- */

static int
create_credential (const char *secret, const char *name, gint64 expires_s)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (NatSignKey) key = nat_key_file_load (secret, &error);
  g_autofree char *username = NULL, *password = NULL, *token = NULL;

  if (key == NULL ||
      !nat_rest_credential_make (key, expires_s, name, &username, &password, &token, &error))
    return fail (EXIT_REFUSED, "%s", error->message);
  g_print ("username=%s\npassword=%s\nauth-token=%s\n", username, password, token);
  return EXIT_DONE;
}

static int
command_credential (int argc, char **argv)
{
  g_autofree char *secret = NULL, *name = NULL, *expires = NULL;
  const GOptionEntry entries[] = {
      {"secret", 0, 0, G_OPTION_ARG_FILENAME, &secret,
          "the secret that the relay has as credential-secret: 64 hex digits", "FILE"},
      {"name", 0, 0, G_OPTION_ARG_STRING, &name, "who holds them, such as a camera's name", "NAME"},
      {"expires", 'e', 0, G_OPTION_ARG_STRING, &expires,
          "how long they are good: 90s, 30m, 12h, 30d, 4w or 1y (default: 12h)", "TIME"},
      {NULL},
  };
  gint64 expires_s;

  if (!parse ("- make time-limited credentials and print them", NULL,
          "Any program can: the user name is the Unix time of their end, a colon and NAME; the "
          "password is\nbase64 (HMAC-SHA256 (secret, user name)). auth-token is both for the "
          "elements. What they allow is\nthe relay's to say (credential-publish, "
          "credential-subscribe).\n\n"
          "  natrelay-token credential --secret credentials.key --name camera-1 --expires 1h",
          entries, &argc, &argv))
    return EXIT_WRONG_USE;
  if (argc > 1)
    return fail (EXIT_WRONG_USE, "\"%s\" is not an option", argv[1]);
  if (secret == NULL || name == NULL)
    return fail (EXIT_WRONG_USE, "--secret FILE and --name NAME are needed");
  if (!parse_expiry (
          expires != NULL ? expires : "12h", g_get_real_time () / G_USEC_PER_SEC, &expires_s) ||
      expires_s == G_MAXINT64)
    return fail (EXIT_WRONG_USE,
        "--expires must be a number with s, m, h, d, w or y behind it, at most %d years",
        YEARS_MAX);
  return create_credential (secret, name, expires_s);
}

/* ---- inspect ----------------------------------------------------------- */

/* From the argument, or from standard input so that it need not stand in a shell's history. */
static char *
read_token (const char *argument, GError **error)
{
  g_autofree char *text = g_malloc0 (INPUT_MAX + 1);
  gsize len = 0;

  if (argument != NULL && strcmp (argument, "-") != 0)
    return g_strstrip (g_strdup (argument));
  len = fread (text, 1, INPUT_MAX, stdin);
  if (ferror (stdin) || memchr (text, '\0', len) != NULL) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "standard input holds no text that could be a token");
    return NULL;
  }
  return g_strstrip (g_steal_pointer (&text));
}

/* A stranger wrote it: no control character of it may reach the terminal. */
static void
print_json (const char *name, const char *json)
{
  g_autoptr (GString) out = g_string_new (NULL);

  for (const char *p = json; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    if (c == '\n' || c == '\r' || c == '\t')
      g_string_append_c (out, ' ');
    else if (g_unichar_isprint (c))
      g_string_append_unichar (out, c);
    else
      g_string_append_printf (out, "\\u%04x", c);
  }
  g_print ("%-12s%s\n", name, out->str);
}

static void
print_expiry (gint64 expires_s)
{
  g_autoptr (GDateTime) time = NULL;
  g_autofree char *text = NULL;

  if (expires_s == G_MAXINT64) {
    g_print ("%-12snever\n", "expires:");
    return;
  }
  time = g_date_time_new_from_unix_utc (expires_s);
  if (time != NULL)
    text = g_date_time_format (time, "%Y-%m-%d %H:%M:%S UTC");
  g_print ("%-12s%s\n", "expires:", text != NULL ? text : "beyond the calendar");
}

/* As the token says: nothing if it says it in no way that the relay would take. */
static void
print_claimed_expiry (const char *claims)
{
  NatToken token;

  if (!nat_token_from_claims (&token, claims, NULL))
    return;
  print_expiry (token.expires_s);
  nat_token_clear (&token);
}

/* The person chose the key, so the name that the token gives it does not matter. */
static int
verify (const char *text, const char *header, const char *key_path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (NatSignKey) key = nat_key_file_load (key_path, &error);
  g_autoptr (NatTokenKeys) keys = nat_token_keys_new ();
  g_autofree char *kid = nat_token_header_kid (header);
  NatToken token;

  if (key == NULL)
    return fail (EXIT_REFUSED, "%s", error->message);
  nat_token_keys_add (keys, kid, key);
  if (!nat_token_verify (&token, text, keys, g_get_real_time () / G_USEC_PER_SEC, &error)) {
    g_print ("%-12sREFUSED with the key %s\n", "verdict:", key_path);
    return fail (EXIT_REFUSED, "%s", error->message);
  }
  print_expiry (token.expires_s);
  g_print ("%-12sgood: signed with the key %s, and in force now\n", "verdict:", key_path);
  nat_token_clear (&token);
  return EXIT_DONE;
}

static int
inspect_token (const char *argument, const char *key_path)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = read_token (argument, &error), *header = NULL, *claims = NULL;

  if (text == NULL || !nat_token_inspect (text, &header, &claims, &error))
    return fail (EXIT_REFUSED, "%s", error->message);
  print_json ("header:", header);
  print_json ("content:", claims);
  if (key_path != NULL)
    return verify (text, header, key_path);
  print_claimed_expiry (claims);
  g_print (
      "%-12sNOT VERIFIED: anybody could have written this; give --key to check its signature\n",
      "verdict:");
  return EXIT_DONE;
}

static int
command_inspect (int argc, char **argv)
{
  g_autofree char *key = NULL;
  const GOptionEntry entries[] = {
      {"key", 'k', 0, G_OPTION_ARG_FILENAME, &key,
          "check signature and times with this key: 64 hex digits, or a public or private key in "
          "PEM",
          "FILE"},
      {NULL},
  };

  if (!parse ("[TOKEN|-] - show what an access token holds", NULL,
          "Without TOKEN, or with -, it is read from standard input, where it is not seen in the "
          "list "
          "of\nprocesses or in the shell's history. With --key the exit status is 0 only if the "
          "token "
          "is good.",
          entries, &argc, &argv))
    return EXIT_WRONG_USE;
  if (argc > 2)
    return fail (EXIT_WRONG_USE, "one token at a time, please");
  return inspect_token (argc == 2 ? argv[1] : NULL, key);
}

/* ---- keygen ------------------------------------------------------------ */

static char *
random_hex_secret (void)
{
  guint8 secret[SECRET_SIZE];
  char *text = g_malloc (2 * SECRET_SIZE + 2);

  nat_crypto_random (secret, sizeof secret);
  nat_hex_encode (secret, sizeof secret, text);
  g_strlcpy (text + 2 * SECRET_SIZE, "\n", 2);
  nat_crypto_wipe (secret, sizeof secret);
  return text;
}

/* *public_pem stays NULL for HS256. */
static char *
make_key (const char *algorithm, char **public_pem, GError **error)
{
  g_autoptr (NatSignKey) key = NULL;

  if (strcmp (algorithm, "HS256") == 0)
    return random_hex_secret ();
  if (strcmp (algorithm, "EdDSA") != 0 && strcmp (algorithm, "ES256") != 0) {
    g_set_error_literal (
        error, NAT_ERROR, NAT_ERROR_ARGUMENT, "--algorithm must be EdDSA, ES256 or HS256");
    return NULL;
  }
  key = nat_sign_key_generate (
      strcmp (algorithm, "EdDSA") == 0 ? NAT_SIGN_EDDSA : NAT_SIGN_ES256, error);
  if (key == NULL)
    return NULL;
  *public_pem = nat_sign_key_to_pem (key, FALSE, error);
  return *public_pem != NULL ? nat_sign_key_to_pem (key, TRUE, error) : NULL;
}

/* For its owner alone, and never over something else. A file half written is taken away again. */
static gboolean
write_new_file (const char *path, const char *text, GError **error)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  gsize len = strlen (text);
  gboolean ok;

  if (fd < 0) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        errno == EEXIST
            ? "%s is there already (%s); a key is never overwritten, choose another name"
            : "%s cannot be written: %s",
        path, g_strerror (errno));
    return FALSE;
  }
  ok = write (fd, text, len) == (gssize)len && fsync (fd) == 0;
  ok = close (fd) == 0 && ok;
  if (!ok) {
    g_set_error (
        error, NAT_ERROR, NAT_ERROR_ARGUMENT, "%s cannot be written: %s", path, g_strerror (errno));
    g_unlink (path);
  }
  return ok;
}

static int
generate_key (const char *algorithm, const char *path)
{
  g_autofree char *public_pem = NULL;
  g_autoptr (GError) error = NULL;
  char *text = make_key (algorithm, &public_pem, &error);
  gboolean ok;

  if (text == NULL)
    return fail (
        error->code == NAT_ERROR_ARGUMENT ? EXIT_WRONG_USE : EXIT_REFUSED, "%s", error->message);
  ok = write_new_file (path, text, &error);
  nat_crypto_wipe_free (text);
  if (!ok)
    return fail (EXIT_REFUSED, "%s", error->message);
  if (public_pem != NULL)
    g_print ("%s", public_pem);
  return EXIT_DONE;
}

static int
command_keygen (int argc, char **argv)
{
  g_autofree char *algorithm = NULL, *out = NULL;
  const GOptionEntry entries[] = {
      {"algorithm", 'a', 0, G_OPTION_ARG_STRING, &algorithm,
          "EdDSA (default) or ES256: a private key to sign with, a public one for the relay; "
          "HS256: "
          "one secret for both",
          "NAME"},
      {"out", 'o', 0, G_OPTION_ARG_FILENAME, &out,
          "where to write the key; the file must not be there yet, and only its owner may read it",
          "FILE"},
      {NULL},
  };

  if (!parse ("- make a key that signs access tokens", NULL,
          "The public key, if there is one, is printed: that is what the relay needs to know, as\n"
          "  natrelay-server --token-key FILE\n\n"
          "  natrelay-token keygen --out door.key > door.pem",
          entries, &argc, &argv))
    return EXIT_WRONG_USE;
  if (argc > 1)
    return fail (EXIT_WRONG_USE, "\"%s\" is not an option; name the file with --out", argv[1]);
  if (out == NULL)
    return fail (EXIT_WRONG_USE, "say with --out which file the key goes to");
  return generate_key (algorithm != NULL ? algorithm : "EdDSA", out);
}

/* ---- The program ------------------------------------------------------- */

static const struct {
  const char *name;
  int (*run) (int argc, char **argv);
  const char *help;
} commands[] = {
    {"create", command_create, "make an access token and print it"},
    {"static", command_static, "make a random token, and its line for the relay's list"},
    {"credential", command_credential, "make time-limited credentials"},
    {"inspect", command_inspect, "show what a token holds, and check it with --key"},
    {"keygen", command_keygen, "make a key that signs tokens"},
};

static int
print_help (void)
{
  g_print ("natrelay-token makes and inspects the access tokens of natrelay-server.\n\n"
           "Usage:\n");
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    g_print ("  natrelay-token %-10s  %s\n", commands[i].name, commands[i].help);
  g_print ("\nnatrelay-token COMMAND --help tells a command's options.\n\n"
           "  natrelay-token create --publish door --expires 30d\n"
           "  natrelay-token inspect --key token.key -\n");
  return EXIT_DONE;
}

int
main (int argc, char **argv)
{
  g_autofree char *name = NULL;

  setlocale (LC_ALL, "");
  if (argc < 2) {
    print_help ();
    return EXIT_WRONG_USE;
  }
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0)
    return print_help ();
  if (strcmp (argv[1], "--version") == 0) {
    g_print ("natrelay-token %s\n", PACKAGE_VERSION);
    return EXIT_DONE;
  }
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++) {
    if (strcmp (argv[1], commands[i].name) == 0) {
      name = g_strdup_printf ("natrelay-token %s", commands[i].name);
      g_set_prgname (name);
      argv[1] = name;
      return commands[i].run (argc - 1, argv + 1);
    }
  }
  return fail (EXIT_WRONG_USE,
      "\"%s\" is not a command; they are create, static, credential, inspect and keygen", argv[1]);
}
