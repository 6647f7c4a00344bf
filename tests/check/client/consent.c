/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A relay that is silent for longer than consent lasts (30 s), in real time. */

#include "watcher.h"

#include <signal.h>
#include <string.h>

#define SOON 60000 /* ms */

static void
signal_relay (RelayProcess *r, int number)
{
  g_subprocess_send_signal (r->process, number);
}

/* Frozen: its ports still take connections and datagrams, and nobody answers. The client goes from
 * "suspect" to "waiting", tries both ways, and is back when the relay is, whichever answers first. */
static void
test_frozen_relay (void)
{
  RelayProcess relay;
  Watcher publisher, subscriber;
  NatSessionStats stats;

  relay_process_start (&relay);
  watcher_init (&publisher, NAT_ROLE_PUBLISHER, &relay);
  watcher_init (&subscriber, NAT_ROLE_SUBSCRIBER, &relay);
  publisher.config.timeout_ms = subscriber.config.timeout_ms = 1000;
  watcher_start (&publisher);
  watcher_start (&subscriber);
  g_assert_true (watcher_wait_state (&publisher, NAT_SESSION_CONNECTED, SOON));
  g_assert_true (watcher_wait_state (&subscriber, NAT_SESSION_CONNECTED, SOON));

  signal_relay (&relay, SIGSTOP);
  g_assert_true (watcher_wait_state (&publisher, NAT_SESSION_SUSPECT, SOON));
  g_assert_true (watcher_wait_state (&publisher, NAT_SESSION_WAITING, 35000));
  g_assert_cmpint (publisher.cause->kind, ==, NAT_CAUSE_SILENCE);
  g_assert_false (publisher.cause->final);
  g_assert_true (watcher_wait_cause (&publisher, NAT_CAUSE_TIMEOUT, SOON));
  g_assert_true (watcher_wait_cause (&subscriber, NAT_CAUSE_TIMEOUT, SOON));
  g_assert_cmpuint (watcher_send_rtp (&publisher, 1, 1, 100), ==, 0);

  signal_relay (&relay, SIGCONT);
  g_assert_true (watcher_wait_state (&publisher, NAT_SESSION_CONNECTED, SOON));
  g_assert_true (watcher_wait_state (&subscriber, NAT_SESSION_CONNECTED, SOON));
  nat_session_get_stats (publisher.session, &stats);
  g_assert_cmpuint (stats.reconnects, >=, 1);
  g_assert_cmpuint (stats.attempts, >=, 2);
  nat_session_stats_clear (&stats);

  /* Requests that had been given up meanwhile may yet be served and supersede the session that came
   * back; that must not end it. */
  for (guint i = 0; i < 1000 && watcher_n_rtp (&subscriber) < 200; i++) {
    watcher_send_rtp (&publisher, (guint16)(2 + i), i, 100);
    g_usleep (10000);
  }
  g_assert_cmpuint (watcher_n_rtp (&subscriber), >=, 200);
  g_assert_cmpint (publisher.state, ==, NAT_SESSION_CONNECTED);
  g_assert_null (strstr (publisher.states->str, "failed"));
  g_assert_null (strstr (subscriber.states->str, "failed"));
  g_test_message ("publisher: %s", publisher.states->str);
  g_test_message ("subscriber: %s", subscriber.states->str);
  watcher_clear (&publisher);
  watcher_clear (&subscriber);
  relay_process_clear (&relay);
}

/* Silent for less: the client tries from another port after 5 s, and nothing is negotiated. */
static void
test_another_port (void)
{
  RelayProcess relay;
  Watcher w;
  NatSessionStats before, after;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  w.config.transport = NAT_TRANSPORT_CHOICE_UDP;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  nat_session_get_stats (w.session, &before);
  signal_relay (&relay, SIGSTOP);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_SUSPECT, SOON));
  g_usleep (8 * G_USEC_PER_SEC);
  signal_relay (&relay, SIGCONT);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  nat_session_get_stats (w.session, &after);
  g_assert_cmpuint (after.local.port, !=, before.local.port);
  g_assert_true (nat_address_equal (&after.local, &after.mapped));
  g_assert_cmpuint (after.attempts, ==, 1);
  g_assert_cmpuint (after.rebinds, ==, 0);
  g_assert_cmpuint (after.reconnects, ==, 1);
  nat_session_stats_clear (&before);
  nat_session_stats_clear (&after);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/consent/frozen-relay", test_frozen_relay);
  g_test_add_func ("/consent/another-port", test_another_port);
  return g_test_run ();
}
