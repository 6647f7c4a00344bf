/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A session that meets whoever is not a relay: what it says of him, and that it leaves him at once, however far they are. */

#include "watcher.h"

#include <string.h>

#include "httpsserver.h"
#include "nameserver.h"

#define SOON     60000 /* ms */
#define PROBLEM  "Content-Type: application/problem+json\r\nConnection: close\r\n\r\n"
#define WORDS    20000
#define TEXT_MAX 1000
#define QUICK_US (900 * 1000) /* who is not let go of holds a session for a second */

static void
point_at (Watcher *w, HttpsServer *server)
{
  watcher_init (w, NAT_ROLE_SUBSCRIBER, NULL);
  w->config.host = g_strdup ("127.0.0.1");
  w->config.port = https_server_port (server);
  w->config.second_port = 0;
  w->config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
}

/* ---- Words ------------------------------------------------------------- */

static gboolean
has_cause (Watcher *w)
{
  return w->cause != NULL;
}

static void
assert_plain (const char *text)
{
  g_assert_nonnull (text);
  g_assert_cmpuint (strlen (text), <, TEXT_MAX);
  g_assert_true (g_utf8_validate (text, -1, NULL));
  for (const char *c = text; *c != '\0'; c = g_utf8_next_char (c))
    g_assert_false (g_unichar_iscntrl (g_utf8_get_char (c)));
}

/* What strangers say of themselves goes to a person's terminal, and into messages that take UTF-8 alone. */
static void
test_words (void)
{
  g_autofree char *many = g_strnfill (WORDS, 'w');
  g_autofree char *long_detail =
      g_strdup_printf ("HTTP/1.1 429 X\r\n" PROBLEM "{\"type\":\"about:blank\",\"title\":\"T\","
                       "\"status\":429,\"detail\":\"%s\"}",
          many);
  g_autofree char *long_reason =
      g_strdup_printf ("HTTP/1.1 500 %s\r\nContent-Length: 0\r\n\r\n", many);
  const char *const answers[] = {
      "HTTP/1.1 500 Gr\xfc\xdf"
      "e \x1b[31mred\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 429 X\r\n" PROBLEM "{\"type\":\"\\u001b[2J\",\"title\":\"\\u001b[31m\","
      "\"status\":429,\"detail\":\"a\\nb\\u009b1m\"}",
      long_detail,
      long_reason,
  };

  for (guint i = 0; i < G_N_ELEMENTS (answers); i++) {
    HttpsServer *server = https_server_new (HTTPS_ANSWERS, answers[i], NULL);
    Watcher w;

    g_test_message ("row %u", i);
    point_at (&w, server);
    watcher_start (&w);
    g_assert_true (watcher_wait (&w, has_cause, SOON));
    g_mutex_lock (&w.lock);
    assert_plain (w.cause->text);
    assert_plain (w.cause->detail);
    g_mutex_unlock (&w.lock);
    watcher_clear (&w);
    https_server_free (server);
  }
}

/* Who never comes to the point is not listened to for ever: libsoup lets nobody else have a turn meanwhile. */
static void
test_stalls (void)
{
  HttpsServer *server = https_server_new (HTTPS_STALLS, "", NULL);
  Watcher w;

  point_at (&w, server);
  watcher_start (&w);
  g_assert_true (watcher_wait_cause (&w, NAT_CAUSE_PROXY, SOON));
  g_assert_nonnull (strstr (w.cause->text, "100 Continue"));
  g_assert_false (w.cause->final);
  watcher_clear (&w);
  https_server_free (server);
}

/* ---- A way out --------------------------------------------------------- */

static guint
n_session_threads (void)
{
  g_autoptr (GDir) tasks = g_dir_open ("/proc/self/task", 0, NULL);
  const char *name;
  guint n = 0;

  while (tasks != NULL && (name = g_dir_read_name (tasks)) != NULL) {
    g_autofree char *path = g_build_filename ("/proc/self/task", name, "comm", NULL);
    g_autofree char *comm = NULL;

    n += g_file_get_contents (path, &comm, NULL, NULL) && strcmp (comm, "natrelay\n") == 0;
  }
  return n;
}

static guint n_quick; /* of those that left */

/* Without a goodbye there is nothing to wait for. */
static void
leaves (Watcher *w, guint after_ms)
{
  gint64 stopped_us;

  watcher_start (w);
  g_usleep (after_ms * 1000);
  stopped_us = g_get_monotonic_time ();
  watcher_stop (w, FALSE);
  g_assert_cmpint (g_get_monotonic_time () - stopped_us, <, WATCHER_AT_ONCE_US);
  while (n_session_threads () > 0 && g_get_monotonic_time () - stopped_us < SOON * 1000)
    g_usleep (1000);
  g_assert_cmpuint (n_session_threads (), ==, 0);
  n_quick += g_get_monotonic_time () - stopped_us < QUICK_US;
  watcher_clear (w);
}

/* Stopped at any moment of what goes on for ever. Once of five it must be quick: a busy machine is nobody's fault. */
static void
assert_leaves (HttpsServer *server, const char *host, HttpsServer *proxy)
{
  n_quick = 0;
  for (guint after_ms = 1; after_ms <= 256; after_ms *= 4) {
    Watcher w;

    point_at (&w, server);
    if (host != NULL) {
      g_free (w.config.host);
      w.config.host = g_strdup (host);
    }
    if (proxy != NULL)
      w.config.proxy = g_strdup_printf ("http://127.0.0.1:%u", https_server_port (proxy));
    leaves (&w, after_ms);
  }
  g_assert_cmpuint (n_quick, >, 0);
}

static void
test_leaves (void)
{
  static const HttpsManner manners[] = {HTTPS_HANGS, HTTPS_SLOW, HTTPS_ENDLESS, HTTPS_STALLS};
  HttpsServer *hangs = https_server_new (HTTPS_HANGS, NULL, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (manners); i++) {
    HttpsServer *server = https_server_new (manners[i], "HTTP/1.1 200 OK\r\n\r\n", NULL);

    assert_leaves (server, NULL, NULL);
    https_server_free (server);
  }
  assert_leaves (hangs, NULL, hangs);
  name_server_begin (); /* it never answers */
  assert_leaves (hangs, "relay.test", NULL);
  name_server_end ();
  https_server_free (hangs);
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/strangers/words", test_words);
  g_test_add_func ("/strangers/stalls", test_stalls);
  g_test_add_func ("/strangers/leaves", test_leaves);
  return g_test_run ();
}
