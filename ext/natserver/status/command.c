/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/status/command.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natproto/token.h"
#include "natserver/control/keyfile.h"
#include "natserver/statedir.h"
#include "natserver/status/inquiry.h"
#include "natserver/status/terminal.h"
#include "natserver/status/view.h"

#define REFRESH_S     2  /* new figures are there every two seconds */
#define TOKEN_LIFE_S  60 /* of one that we sign ourselves */
#define TOKEN_TO_READ "NATRELAY_AUTH_TOKEN"

typedef struct {
  char *url, *token_file, *state_dir, *stream;
  gboolean once;
  NatInquiry relay;
  NatSignKey *key; /* of the relay on this machine: tokens are signed as they are needed */
  char *where;     /* for people */
} Status;

static void
status_clear (Status *s)
{
  g_free (s->url);
  g_free (s->token_file);
  g_free (s->state_dir);
  g_free (s->stream);
  g_free (s->where);
  nat_sign_key_unref (s->key);
  nat_inquiry_clear (&s->relay);
}

static int
fail (const char *text)
{
  g_autofree char *shown = nat_figures_printable (text);

  fprintf (stderr, "natrelay-server status: %s\n", shown);
  return EXIT_FAILURE;
}

/* ---- Which relay, and what lets us look -------------------------------- */

/* "name=value" of a file of lines; NULL if it is not there. */
static char *
value_of (const char *text, const char *name)
{
  g_autofree char *start = g_strconcat (name, "=", NULL);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);

  for (guint i = 0; lines[i] != NULL; i++) {
    if (g_str_has_prefix (lines[i], start))
      return g_strdup (lines[i] + strlen (start));
  }
  return NULL;
}

/* The relay leaves its address and fingerprint beside the key that signs its tokens. */
static gboolean
find_local (Status *s, GError **error)
{
  g_autofree char *dir = s->state_dir ? g_strdup (s->state_dir) : nat_state_dir_default ();
  g_autofree char *path = g_build_filename (dir, NAT_STATE_RUNNING, NULL);
  g_autofree char *key = g_build_filename (dir, "token.key", NULL);
  g_autoptr (GError) cause = NULL;
  g_autofree char *text = NULL, *address = NULL;

  if (!g_file_get_contents (path, &text, NULL, &cause))
    return nat_error_set (error, NAT_ERROR_ARGUMENT,
        g_error_matches (cause, G_FILE_ERROR, G_FILE_ERROR_ACCES)
            ? "%s cannot be read: ask as the relay's user, or with sudo"
            : "no relay was started with the state directory %s on this machine; name it with "
              "--state-dir, or another relay by its address",
        dir);
  address = value_of (text, "address");
  s->relay.fingerprint = value_of (text, "tls-fingerprint");
  if (address == NULL || !nat_inquiry_parse_url (&s->relay, address, error))
    return nat_error_set (error, NAT_ERROR_MALFORMED, "%s does not say where the relay is", path);
  s->where = g_steal_pointer (&address);
  s->key = nat_key_file_load (key, error);
  return s->key != NULL;
}

static gboolean
read_token (Status *s, GError **error)
{
  const char *given = g_getenv (TOKEN_TO_READ);
  g_autoptr (GError) cause = NULL;
  char *text = NULL;

  if (s->token_file == NULL) {
    s->relay.token = given != NULL && *given != '\0' ? g_strdup (given) : NULL;
    return TRUE;
  }
  if (!g_file_get_contents (s->token_file, &text, NULL, &cause))
    return nat_error_set (
        error, NAT_ERROR_ARGUMENT, "the token cannot be read: %s", cause->message);
  s->relay.token = g_strstrip (text);
  return TRUE;
}

static gboolean
find_relay (Status *s, GError **error)
{
  if (s->url == NULL)
    return find_local (s, error);
  if (!nat_inquiry_parse_url (&s->relay, s->url, error))
    return FALSE;
  s->where = g_strdup_printf (
      strchr (s->relay.host, ':') ? "[%s]:%u" : "%s:%u", s->relay.host, s->relay.port);
  return read_token (s, error);
}

static gboolean
renew_token (Status *s, GError **error)
{
  NatToken token = {
      .subject = (char *)"natrelay-server status",
      .expires_s = g_get_real_time () / G_USEC_PER_SEC + TOKEN_LIFE_S,
      .not_before_s = G_MININT64,
      .list = TRUE,
  };

  if (s->key == NULL)
    return TRUE;
  if (s->relay.token != NULL)
    nat_crypto_wipe_free (s->relay.token);
  s->relay.token = nat_token_sign (&token, NULL, s->key, error);
  return s->relay.token != NULL;
}

static NatFigures *
fetch (Status *s, GError **error)
{
  g_autofree char *trend = g_strdup_printf ("/v1/streams?trend=%d", NAT_FIGURES_TREND);
  g_autofree char *name = s->stream ? g_uri_escape_string (s->stream, NULL, FALSE) : NULL;
  g_autofree char *path = g_strconcat ("/v1/sessions", name ? "?stream=" : NULL, name, NULL);
  g_autofree char *streams = NULL, *sessions = NULL;

  if (!renew_token (s, error))
    return NULL;
  streams = nat_inquiry_get (&s->relay, trend, error);
  sessions = streams ? nat_inquiry_get (&s->relay, path, error) : NULL;
  return sessions ? nat_figures_parse (streams, sessions, error) : NULL;
}

/* ---- Showing it -------------------------------------------------------- */

static NatViewStyle
style_now (guint columns, gboolean styled)
{
  const char *no_color = g_getenv ("NO_COLOR");

  return (NatViewStyle){columns, styled && (no_color == NULL || *no_color == '\0'),
      g_get_charset (NULL), g_get_real_time () / G_USEC_PER_SEC};
}

static void
print_once (Status *s, const NatFigures *figures)
{
  const char *wanted = g_getenv ("COLUMNS");
  NatViewStyle style;
  NatView *view;
  guint columns, rows;

  nat_terminal_size (&columns, &rows);
  /* What is read by a program, or kept, is not cut for a terminal that is not there. */
  if (!nat_terminal_is_one ())
    columns = wanted ? (guint)CLAMP (g_ascii_strtoll (wanted, NULL, 10), 20, 1000) : 1000;
  style = style_now (columns, FALSE);
  view = nat_view_new (figures, s->where, NULL, &style);
  for (guint i = 0; i < view->head->len; i++)
    puts (g_ptr_array_index (view->head, i));
  for (guint i = 0; i < view->body->len; i++)
    puts (g_ptr_array_index (view->body, i));
  nat_view_free (view);
}

/* Returns how far down one can go. */
static guint
show (Status *s, const NatFigures *figures, const char *trouble, guint *top)
{
  g_autoptr (GPtrArray) lines = g_ptr_array_new ();
  NatViewStyle style;
  NatView *view;
  guint columns, rows, room, last;

  nat_terminal_size (&columns, &rows);
  style = style_now (columns, TRUE);
  view = nat_view_new (figures, s->where, trouble, &style);
  room = rows > view->head->len ? rows - view->head->len : 1;
  last = view->body->len > room ? view->body->len - room : 0;
  *top = MIN (*top, last);
  g_ptr_array_extend (lines, view->head, NULL, NULL);
  for (guint i = *top; i < view->body->len; i++)
    g_ptr_array_add (lines, g_ptr_array_index (view->body, i));
  nat_terminal_show ((const char *const *)lines->pdata, lines->len, rows);
  nat_view_free (view);
  return last;
}

static guint
scroll (NatKey key, guint top, guint last)
{
  guint columns, rows, page;

  nat_terminal_size (&columns, &rows);
  page = rows > 8 ? rows - 6 : 1;
  switch (key) {
  case NAT_KEY_UP: return top > 0 ? top - 1 : 0;
  case NAT_KEY_DOWN: return MIN (top + 1, last);
  case NAT_KEY_PAGE_UP: return top > page ? top - page : 0;
  case NAT_KEY_PAGE_DOWN: return MIN (top + page, last);
  case NAT_KEY_HOME: return 0;
  case NAT_KEY_END: return last;
  default: return top;
  }
}

/* New figures; where there are none, the old ones stay, and trouble says why. */
static void
refresh (Status *s, NatFigures **figures, char **trouble)
{
  g_autoptr (GError) error = NULL;
  NatFigures *fresh = fetch (s, &error);
  g_autofree char *why = fresh == NULL ? nat_figures_printable (error->message) : NULL;

  g_clear_pointer (trouble, g_free);
  if (fresh == NULL) {
    *trouble = g_strdup_printf ("What you see is old: %s. Asked again.", why);
    return;
  }
  nat_figures_free (*figures);
  *figures = fresh;
}

static void
run_live (Status *s, NatFigures **figures)
{
  gint64 next_us = g_get_monotonic_time () + REFRESH_S * G_USEC_PER_SEC;
  g_autofree char *trouble = NULL;
  guint top = 0, last;
  NatKey key;

  nat_terminal_enter ();
  do {
    last = show (s, *figures, trouble, &top);
    key = nat_terminal_wait (next_us);
    top = scroll (key, top, last);
    if (key != NAT_KEY_QUIT && g_get_monotonic_time () >= next_us) {
      refresh (s, figures, &trouble);
      next_us = g_get_monotonic_time () + REFRESH_S * G_USEC_PER_SEC;
    }
  } while (key != NAT_KEY_QUIT);
  nat_terminal_leave ();
}

/* ---- The command line -------------------------------------------------- */

static gboolean
parse (Status *s, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
      {"once", '1', 0, G_OPTION_ARG_NONE, &s->once,
          "print the tables and end, as without a terminal", NULL},
      {"stream", 's', 0, G_OPTION_ARG_STRING, &s->stream, "list the sessions of this stream alone",
          "NAME"},
      {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &s->state_dir,
          "the state directory of a relay on this machine, if it has another than usual",
          "DIRECTORY"},
      {"token-file", 't', 0, G_OPTION_ARG_FILENAME, &s->token_file,
          "where an access token with \"list\" or \"admin\" stands, for the relay at URL (else "
          "the variable NATRELAY_AUTH_TOKEN has it)",
          "FILE"},
      {"tls-fingerprint", 'f', 0, G_OPTION_ARG_STRING, &s->relay.fingerprint,
          "SHA-256 of that relay's certificate, as it prints it", "HEX"},
      {"tls-ca-file", 0, 0, G_OPTION_ARG_FILENAME, &s->relay.ca_file,
          "certificates that vouch for that relay's (default: the system's)", "FILE"},
      {NULL},
  };
  GOptionContext *context = g_option_context_new ("[URL] - streams and sessions of a relay");
  gboolean ok;

  g_option_context_set_summary (context,
      "Without URL, of the relay on this machine, for whoever may read its state directory. In a "
      "terminal\nit goes on until q is pressed; the arrow and page keys scroll.");
  g_option_context_set_description (context,
      "  natrelay-server status\n"
      "  natrelay-server status --once https://relay.example.org:8443 --token-file token\n");
  g_option_context_add_main_entries (context, entries, NULL);
  ok = g_option_context_parse (context, argc, argv, error);
  g_option_context_free (context);
  if (!ok)
    return FALSE;
  if (*argc > 2)
    return nat_error_set (
        error, NAT_ERROR_ARGUMENT, "one relay at a time: \"%s\" is too much", (*argv)[2]);
  s->url = *argc > 1 ? g_strdup ((*argv)[1]) : NULL;
  if (s->url == NULL && (s->token_file || s->relay.fingerprint || s->relay.ca_file))
    return nat_error_set (error, NAT_ERROR_ARGUMENT,
        "token and certificate are for a relay whose URL is given; the one on this machine needs "
        "neither");
  return TRUE;
}

int
nat_status_command (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  NatFigures *figures = NULL;
  Status s = {0};
  int code = EXIT_SUCCESS;

  setlocale (LC_ALL, "");
  g_set_prgname ("natrelay-server status");
  if (parse (&s, &argc, &argv, &error) && find_relay (&s, &error))
    figures = fetch (&s, &error);
  if (figures == NULL)
    code = fail (error->message);
  else if (s.once || !nat_terminal_is_one ())
    print_once (&s, figures);
  else
    run_live (&s, &figures);
  if (figures != NULL)
    nat_figures_free (figures);
  status_clear (&s);
  return code;
}
