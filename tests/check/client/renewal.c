/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Permissions that run out, in real time: the relay allows 30 s more than the token says. */

#include "watcher.h"

#include <signal.h>
#include <string.h>

#include "natclient/resume.h"
#include "natproto/token.h"

#define SOON   60000 /* ms */
#define YEAR_S (365 * 24 * 3600)

/* ---- The session's clocks ---------------------------------------------- */

static gint wrong_s; /* what its wall clock is ahead of the relay's */
static gint slept_s; /* for so long */

gint64 __real_g_get_real_time (void);
gint64 __wrap_g_get_real_time (void);
gint64
__wrap_g_get_real_time (void)
{
  return __real_g_get_real_time () + (gint64)g_atomic_int_get (&wrong_s) * G_USEC_PER_SEC;
}

gint64 __real_nat_resume_boottime_us (void);
gint64 __wrap_nat_resume_boottime_us (void);
gint64
__wrap_nat_resume_boottime_us (void)
{
  return __real_nat_resume_boottime_us () + (gint64)g_atomic_int_get (&slept_s) * G_USEC_PER_SEC;
}

/* ---- Tokens ------------------------------------------------------------ */

static NatSignKey *
key_of (const RelayProcess *relay)
{
  g_autofree char *path = g_build_filename (relay->state_dir, "token.key", NULL);
  g_autofree char *hex = NULL;
  guint8 secret[32];
  NatSignKey *key;

  g_assert_true (g_file_get_contents (path, &hex, NULL, NULL));
  for (guint i = 0; i < sizeof secret; i++)
    secret[i] =
        (guint8)(g_ascii_xdigit_value (hex[2 * i]) << 4 | g_ascii_xdigit_value (hex[2 * i + 1]));
  key = nat_sign_key_new_hmac (secret, sizeof secret, NULL);
  g_assert_nonnull (key);
  return key;
}

/* A token that the relay takes for so many seconds. */
static char *
token_for (const RelayProcess *relay, gint64 seconds)
{
  g_autoptr (NatSignKey) key = key_of (relay);
  char *all[] = {(char *)"**", NULL};
  NatToken token = {.subject = (char *)"camera",
      .expires_s = __real_g_get_real_time () / G_USEC_PER_SEC - NAT_TOKEN_LEEWAY_S + seconds,
      .not_before_s = G_MININT64,
      .publish = all};
  char *text = nat_token_sign (&token, NULL, key, NULL);

  g_assert_nonnull (text);
  return text;
}

static void
set_token (Watcher *w, char *token)
{
  nat_session_set_auth_token (w->session, token);
  g_free (token);
}

static void
use_token (Watcher *w, char *token)
{
  g_free (w->config.auth_token);
  w->config.auth_token = token;
}

/* Nobody brings a new one: the session ends, and says why. Then somebody does. */
static void
test_runs_out (void)
{
  RelayProcess relay;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  use_token (&w, token_for (&relay, 6));
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_FAILED, 3 * SOON));
  g_assert_cmpint (w.cause->kind, ==, NAT_CAUSE_NOT_AUTHORIZED);
  g_assert_nonnull (strstr (w.cause->text, "expired"));
  g_assert_cmpuint (w.token_calls, >=, 1);
  set_token (&w, token_for (&relay, 3600));
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  watcher_clear (&w);
  relay_process_clear (&relay);
}

static gboolean
has_three_documents (Watcher *w)
{
  return w->documents >= 3;
}

/* The user name is renewed behind its half, and a fresh token carries the session over the end of
 * the old one: same session, same state, nothing negotiated. */
static void
test_is_renewed (void)
{
  RelayProcess relay;
  Watcher w;
  NatSessionStats stats;
  char first[NAT_SESSION_ID_TEXT + 1];

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  use_token (&w, token_for (&relay, 8));
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  g_strlcpy (first, w.document.session, sizeof first);
  g_assert_true (watcher_wait (&w, has_three_documents, 7000)); /* POST, GET, PUT */
  set_token (&w, token_for (&relay, 3600));
  g_usleep (8 * G_USEC_PER_SEC); /* the old one is over, and a keepalive was answered since */
  nat_session_get_stats (w.session, &stats);
  g_assert_cmpint (stats.state, ==, NAT_SESSION_CONNECTED);
  g_assert_cmpuint (stats.attempts, ==, 1);
  nat_session_stats_clear (&stats);
  g_assert_cmpstr (w.states->str, ==, "negotiating challenging connected ");
  g_assert_cmpstr (w.document.session, ==, first);
  g_assert_cmpuint (watcher_send_rtp (&w, 1, 1, 100), ==, 1);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

static gboolean
has_asked_once (Watcher *w)
{
  return w->token_calls >= 1;
}

static gboolean
has_asked_twice (Watcher *w)
{
  return w->token_calls >= 2;
}

/* The network hangs when the application is asked for a new token: POST was sent with the old one, and is answered. Both
 * tokens are of the sort that is asked about at once, so the session has seen the second when that was asked about. */
static void
test_comes_meanwhile (void)
{
  RelayProcess relay;
  Watcher w;
  NatSessionStats stats;
  gint64 over_us;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  g_subprocess_send_signal (relay.process, SIGSTOP);
  use_token (&w, token_for (&relay, 8));
  over_us = g_get_monotonic_time () + 8 * G_USEC_PER_SEC;
  watcher_start (&w);
  g_assert_true (watcher_wait (&w, has_asked_once, SOON));
  set_token (&w, token_for (&relay, NAT_TOKEN_LEEWAY_S - 1));
  g_assert_true (watcher_wait (&w, has_asked_twice, SOON));
  g_subprocess_send_signal (relay.process, SIGCONT);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  /* The old one is over, and a keepalive was answered since. */
  while (g_get_monotonic_time () < over_us + 5 * G_USEC_PER_SEC)
    g_usleep (100000);
  nat_session_get_stats (w.session, &stats);
  g_assert_cmpint (stats.state, ==, NAT_SESSION_CONNECTED);
  g_assert_cmpuint (stats.attempts, ==, 1);
  nat_session_stats_clear (&stats);
  g_assert_cmpstr (w.states->str, ==, "negotiating challenging connected ");
  watcher_clear (&w);
  relay_process_clear (&relay);
}

/* The key goes while the session lives: its application hears why, and does not ask in vain for ever. */
static void
test_is_withdrawn (void)
{
  g_autofree char *path = NULL;
  g_autofree char *other = g_strnfill (64, '7');
  RelayProcess relay;
  Watcher w;

  relay_process_start (&relay);
  path = g_build_filename (relay.state_dir, "token.key", NULL);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  use_token (&w, token_for (&relay, 3600));
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  g_assert_true (g_file_set_contents (path, other, -1, NULL));
  g_subprocess_send_signal (relay.process, SIGHUP);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_FAILED, 3 * SOON));
  g_assert_cmpint (w.cause->kind, ==, NAT_CAUSE_NOT_AUTHORIZED);
  g_assert_nonnull (strstr (w.cause->text, "withdrawn"));
  set_token (&w, token_for (&relay, 3600));
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  watcher_clear (&w);
  relay_process_clear (&relay);
}

/* A camera without a battery for its clock: the token is over by the relay's. */
static void
test_slow_clock (void)
{
  RelayProcess relay;
  Watcher w;

  g_atomic_int_set (&wrong_s, -YEAR_S);
  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  use_token (&w, token_for (&relay, NAT_TOKEN_LEEWAY_S + 6));
  watcher_start (&w);
  g_assert_true (watcher_wait (&w, has_asked_once, SOON));
  g_assert_cmpuint (w.token_seconds, <=, 6);
  watcher_clear (&w);
  relay_process_clear (&relay);
  g_atomic_int_set (&wrong_s, 0);
}

/* By a clock that is ahead every token is over; nobody is asked for one after the other. */
static void
test_fast_clock (void)
{
  RelayProcess relay;
  guint calls, documents;
  Watcher w;

  g_atomic_int_set (&wrong_s, YEAR_S);
  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  use_token (&w, token_for (&relay, 3600));
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  for (guint i = 0; i < 3; i++) {
    calls = w.token_calls;
    documents = watcher_n_documents (&w);
    set_token (&w, token_for (&relay, 3600));
    while (watcher_n_documents (&w) == documents) /* it was presented */
      g_usleep (1000);
    g_assert_cmpuint (w.token_calls, ==, calls);
  }
  watcher_clear (&w);
  relay_process_clear (&relay);
  g_atomic_int_set (&wrong_s, 0);
}

/* It was to be asked for while the machine slept. */
static void
test_sleep (void)
{
  RelayProcess relay;
  gint64 woke_us;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  use_token (&w, token_for (&relay, NAT_TOKEN_LEEWAY_S + 3600));
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  g_assert_cmpuint (w.token_calls, ==, 0);
  g_atomic_int_set (&slept_s, 3570);
  g_atomic_int_set (&wrong_s, 3570); /* the relay did not sleep */
  woke_us = g_get_monotonic_time ();
  g_assert_true (watcher_wait (&w, has_asked_once, SOON));
  g_assert_cmpint (g_get_monotonic_time () - woke_us, <, 30 * G_USEC_PER_SEC);
  g_assert_cmpuint (w.token_seconds, <=, 30);
  watcher_clear (&w);
  relay_process_clear (&relay);
  g_atomic_int_set (&wrong_s, 0);
  g_atomic_int_set (&slept_s, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/renewal/runs-out", test_runs_out);
  g_test_add_func ("/renewal/is-renewed", test_is_renewed);
  g_test_add_func ("/renewal/comes-meanwhile", test_comes_meanwhile);
  g_test_add_func ("/renewal/is-withdrawn", test_is_withdrawn);
  g_test_add_func ("/renewal/slow-clock", test_slow_clock);
  g_test_add_func ("/renewal/fast-clock", test_fast_clock);
  g_test_add_func ("/renewal/sleep", test_sleep);
  return g_test_run ();
}
