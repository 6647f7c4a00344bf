/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Sessions that the access callback is asked about anew: a registry without a data plane's threads, on the test's clock, and
 * a web server that answers, or never does. */

#include "natserver/control/recheck.h"

#include <gio/gio.h>
#include <string.h>

#include "registryworld.h"
#include "natserver/control/registry-private.h"

#define SESSIONS     200
#define GRACE_S      5
#define TIMEOUT_S    3   /* of the test's clock, that a question without an answer takes */
#define TIMEOUT_MS   300 /* what that is in real time */
#define PATIENCE_MS  60000
#define ANSWER(code) "HTTP/1.1 " code "\r\nConnection: close\r\nContent-Length: "

static const char yes[] = ANSWER ("200 OK") "30\r\n\r\n{\"allow\":true,\"cache-s\":3600 }";
static const char broken[] = ANSWER ("500 Broken") "0\r\n\r\n";

typedef struct {
  World *world;
  GSocketService *web;
  const char *answer; /* for threads that read it; NULL: it is mute */
  NatFetcher *fetcher;
  NatCallback *callback;
  NatRecheck *recheck;
  guint answered; /* questions, also by nothing */
} Judge;

/* ---- The web server ---------------------------------------------------- */

/* The last byte of a question is the end of its JSON, and no other is. */
static gboolean
read_question (GInputStream *in)
{
  char text[4096];
  gssize n;

  do
    n = g_input_stream_read (in, text, sizeof text, NULL, NULL);
  while (n > 0 && text[n - 1] != '}');
  return n > 0;
}

/* In a thread of its own: who gets no answer hangs up. */
static gboolean
serve (GThreadedSocketService *web, GSocketConnection *connection, GObject *source, gpointer user)
{
  GInputStream *in = g_io_stream_get_input_stream (G_IO_STREAM (connection));
  GOutputStream *out = g_io_stream_get_output_stream (G_IO_STREAM (connection));
  Judge *j = user;

  while (read_question (in)) {
    const char *answer = g_atomic_pointer_get (&j->answer);

    if (answer == NULL)
      continue;
    g_output_stream_write_all (out, answer, strlen (answer), NULL, NULL, NULL);
    return TRUE;
  }
  return TRUE;
}

static void
answered (gconstpointer what, gpointer user)
{
  Judge *j = user;

  j->answered++;
  nat_recheck_answered (j->recheck, j->world->now, what);
}

static Judge *
judge_new (const char *answer)
{
  Judge *j = g_new0 (Judge, 1);
  g_autofree char *url = NULL;
  guint16 port;

  j->world = world_new (NULL);
  /* What failed, the callback remembers for two seconds of the system's clock: those are over, however slow this machine is. */
  j->world->now.us += 60 * G_USEC_PER_SEC;
  world_start_registry (j->world, NULL);
  j->answer = answer;
  j->web = g_threaded_socket_service_new (2 * NAT_CALLBACK_OPEN_SESSIONS);
  port = g_socket_listener_add_any_inet_port (G_SOCKET_LISTENER (j->web), NULL, NULL);
  g_assert_cmpuint (port, !=, 0);
  g_signal_connect (j->web, "run", G_CALLBACK (serve), j);
  url = g_strdup_printf ("http://127.0.0.1:%u/", port);
  j->fetcher = nat_fetcher_new (NULL, NULL);
  j->callback = nat_callback_new (answered, j);
  nat_callback_set (j->callback, j->fetcher, url, answer == NULL ? TIMEOUT_MS : PATIENCE_MS);
  j->recheck = nat_recheck_new (j->world->registry, j->callback);
  return j;
}

static void
judge_free (Judge *j)
{
  nat_fetcher_free (j->fetcher);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  nat_callback_free (j->callback);
  nat_recheck_free (j->recheck);
  g_socket_service_stop (j->web);
  g_object_unref (j->web);
  world_free (j->world);
  g_free (j);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Judge, judge_free)

/* ---- Sessions and time ------------------------------------------------- */

/* What the callback said of them holds for so many seconds. */
static void
let_in (Judge *j, guint n, guint seconds)
{
  NatCaller c = {.open = FALSE};

  c.token.expires_s = G_MAXINT64;
  c.decided_until_us = j->world->now.us + seconds * G_USEC_PER_SEC;
  g_strlcpy (c.subject, "somebody", sizeof c.subject);
  for (guint i = 0; i < n; i++)
    world_subscribe (j->world, "cam", &c, NULL);
}

static guint
n_sessions (Judge *j)
{
  return nat_registry_n_sessions (j->world->registry);
}

static void
tick (Judge *j)
{
  nat_recheck_tick (j->recheck, j->world->now, GRACE_S);
}

/* Real time, until what comes of questions has made it so. */
#define UNTIL(condition)                                                                           \
  for (gint64 end_us = g_get_monotonic_time () + PATIENCE_MS * 1000; !(condition);) {              \
    g_assert_cmpint (g_get_monotonic_time (), <, end_us);                                          \
    if (!g_main_context_iteration (NULL, FALSE))                                                   \
      g_usleep (1000);                                                                             \
  }

/* A second after the other. Where all questions are open that may be, each has its time-out after TIMEOUT_S of them. */
static void
pass (Judge *j, guint seconds)
{
  for (guint i = 1; i <= seconds; i++) {
    guint enough = j->answered + NAT_CALLBACK_OPEN_SESSIONS;

    j->world->now.us += G_USEC_PER_SEC;
    j->world->now.s++;
    if (i % TIMEOUT_S == 0 && !nat_callback_has_room (j->callback))
      UNTIL (j->answered >= enough);
    tick (j);
  }
}

/* ---- Tests ------------------------------------------------------------- */

/* At 16 questions in three seconds, some would be asked about for the first time after half a minute. */
static void
test_mute (void)
{
  g_autoptr (Judge) j = judge_new (NULL);

  let_in (j, SESSIONS, 0);
  tick (j);
  pass (j, GRACE_S);
  g_assert_cmpuint (n_sessions (j), ==, SESSIONS);
  pass (j, 10);
  UNTIL (n_sessions (j) == 0 || j->answered >= SESSIONS);
  g_assert_cmpuint (n_sessions (j), ==, 0);
}

/* Whose answer runs out while there is none has the whole grace, too. */
static void
test_later (void)
{
  g_autoptr (Judge) j = judge_new (NULL);

  let_in (j, SESSIONS / 2, 0);
  let_in (j, SESSIONS / 2, 20);
  tick (j);
  pass (j, 20 + GRACE_S - 1);
  g_assert_cmpuint (n_sessions (j), ==, SESSIONS / 2);
  pass (j, 10);
  UNTIL (n_sessions (j) == 0 || j->answered >= SESSIONS);
  g_assert_cmpuint (n_sessions (j), ==, 0);
}

/* Who was not answered about is asked about again, and stays. */
static void
test_answers_again (void)
{
  g_autoptr (Judge) j = judge_new (broken);

  let_in (j, SESSIONS, 0);
  tick (j);
  UNTIL (j->answered == SESSIONS);
  pass (j, GRACE_S - 1);
  g_atomic_pointer_set (&j->answer, yes);
  pass (j, 1);
  UNTIL (j->answered == 2 * SESSIONS);
  pass (j, 10 * GRACE_S);
  g_assert_cmpuint (n_sessions (j), ==, SESSIONS);
}

/* A failure of long ago says nothing of today: nobody is put out for it who only waits for his turn. */
static void
test_failed_long_ago (void)
{
  g_autoptr (Judge) j = judge_new (broken);

  let_in (j, 1, 0);
  let_in (j, SESSIONS, 100);
  tick (j);
  UNTIL (j->answered == 1);
  pass (j, GRACE_S + 1);
  UNTIL (n_sessions (j) == SESSIONS); /* the one that it failed about is over */
  g_atomic_pointer_set (&j->answer, yes);
  j->world->now.us += 100 * G_USEC_PER_SEC;
  tick (j);
  g_assert_cmpuint (n_sessions (j), ==, SESSIONS);
  UNTIL (j->answered > SESSIONS);
  g_assert_cmpuint (n_sessions (j), ==, SESSIONS);
}

static void
renew_all (Judge *j, guint seconds)
{
  NatCaller c = {.open = FALSE};
  GHashTableIter iter;
  gpointer session;

  c.token.expires_s = G_MAXINT64;
  c.decided_until_us = j->world->now.us + seconds * G_USEC_PER_SEC;
  g_hash_table_iter_init (&iter, j->world->registry->sessions);
  while (g_hash_table_iter_next (&iter, NULL, &session))
    g_assert_true (nat_registry_renew (j->world->registry, j->world->now, session, &c));
}

/* What it said at a renewal was an answer, too: the next failure is the first. */
static void
test_answered_at_renewal (void)
{
  g_autoptr (Judge) j = judge_new (broken);

  let_in (j, 1, 0);
  tick (j);
  UNTIL (j->answered == 1);
  renew_all (j, 60);
  j->world->now.us += 61 * G_USEC_PER_SEC;
  tick (j);
  UNTIL (j->answered == 2);
  g_assert_cmpuint (n_sessions (j), ==, 1);
}

/* ---- Many -------------------------------------------------------------- */

/* The linker puts these in the place of the data plane's, and of GLib's. */
gboolean __real_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes);
gboolean __wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes);
gpointer __real_g_sequence_get (GSequenceIter *iter);
gpointer __wrap_g_sequence_get (GSequenceIter *iter);
gboolean __real_g_hash_table_iter_next (GHashTableIter *iter, gpointer *key, gpointer *value);
gboolean __wrap_g_hash_table_iter_next (GHashTableIter *iter, gpointer *key, gpointer *value);

static gboolean many; /* more than the data plane's ring has room for */
static guint looks;

gboolean
__wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes)
{
  return many || __real_nat_dataplane_add_session (dp, ticket, counters, wishes);
}

gpointer
__wrap_g_sequence_get (GSequenceIter *iter)
{
  looks++;
  return __real_g_sequence_get (iter);
}

gboolean
__wrap_g_hash_table_iter_next (GHashTableIter *iter, gpointer *key, gpointer *value)
{
  looks++;
  return __real_g_hash_table_iter_next (iter, key, value);
}

/* Whoever is last in order is asked about as well, and no turn looks at all of them. */
static void
test_many_in_turns (void)
{
  g_autoptr (Judge) j = judge_new (yes);
  guint turns = 0;
  gboolean more;

  many = TRUE;
  let_in (j, 3 * NAT_RECHECK_LOOKS_AT_ONCE, 3600);
  many = FALSE;
  world_subscribe (j->world, "the-last", &(NatCaller){.token.expires_s = G_MAXINT64}, NULL);
  looks = 0;
  more = nat_recheck_tick (j->recheck, j->world->now, GRACE_S);
  for (; more; turns++) {
    g_assert_cmpuint (looks, <=, NAT_RECHECK_LOOKS_AT_ONCE);
    g_assert_cmpuint (j->answered, ==, 0);
    looks = 0;
    more = nat_recheck_go_on (j->recheck, j->world->now);
  }
  g_assert_cmpuint (turns, ==, 3);
  UNTIL (j->answered == 1);
}

/* That the callback does not answer is warned of, and GIO tells all that it does. */
static void
say_what_matters (const char *domain, GLogLevelFlags level, const char *text, gpointer user)
{
  if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
    g_log_default_handler (domain, level, text, user);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  g_log_set_default_handler (say_what_matters, NULL);
  g_test_add_func ("/recheck/mute", test_mute);
  g_test_add_func ("/recheck/later", test_later);
  g_test_add_func ("/recheck/answers_again", test_answers_again);
  g_test_add_func ("/recheck/failed_long_ago", test_failed_long_ago);
  g_test_add_func ("/recheck/answered_at_renewal", test_answered_at_renewal);
  g_test_add_func ("/recheck/many_in_turns", test_many_in_turns);
  return g_test_run ();
}
