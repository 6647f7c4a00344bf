/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whole sessions over a WebSocket, against the real relay. */

#include "blockedport.h"
#include "httpsserver.h"
#include "watcher.h"

#include <string.h>

#define SOON 60000 /* ms; nothing here takes so long when all is well */

typedef struct {
  RelayProcess relay;
  Watcher publisher, subscriber;
} Pair;

static void
pair_init (Pair *p, NatTransportChoice publisher, NatTransportChoice subscriber)
{
  relay_process_start (&p->relay);
  watcher_init (&p->publisher, NAT_ROLE_PUBLISHER, &p->relay);
  watcher_init (&p->subscriber, NAT_ROLE_SUBSCRIBER, &p->relay);
  p->publisher.config.transport = publisher;
  p->subscriber.config.transport = subscriber;
}

static void
pair_connect (Pair *p)
{
  watcher_start (&p->subscriber);
  watcher_start (&p->publisher);
  g_assert_true (watcher_wait_state (&p->publisher, NAT_SESSION_CONNECTED, SOON));
  g_assert_true (watcher_wait_state (&p->subscriber, NAT_SESSION_CONNECTED, SOON));
}

static void
pair_clear (Pair *p)
{
  watcher_clear (&p->publisher);
  watcher_clear (&p->subscriber);
  relay_process_clear (&p->relay);
}

static guint32 word; /* sent last; its lower half is the sequence number */

static guint
send_next (Pair *p, gsize len)
{
  word++;
  return watcher_send_rtp (&p->publisher, (guint16)word, word, len);
}

/* Sends words on until the other side has so many more; FALSE if it takes too long. */
static gboolean
flow (Pair *p, guint n)
{
  gint64 end = g_get_monotonic_time () + SOON * 1000;
  guint before = watcher_n_rtp (&p->subscriber);

  while (watcher_n_rtp (&p->subscriber) < before + n && g_get_monotonic_time () < end) {
    send_next (p, 500);
    g_usleep (5000);
  }
  return watcher_n_rtp (&p->subscriber) >= before + n;
}

static void
assert_transport (Watcher *w, NatTransport transport)
{
  NatSessionStats stats;

  nat_session_get_stats (w->session, &stats);
  g_assert_cmpuint (stats.relay.transport, ==, transport);
  g_assert_cmpuint (stats.attempts, ==, 1);
  /* Datagrams may be: on a slow machine a request is repeated, and has two answers. */
  g_assert_cmpuint (stats.rtcp_refused, ==, 0);
  nat_session_stats_clear (&stats);
}

/* Both sides, each side alone, and neither. */
static void
test_mixed (void)
{
  for (guint i = 0; i < 4; i++) {
    Pair p;

    g_test_message ("case %u", i);
    pair_init (&p, i & 1 ? NAT_TRANSPORT_CHOICE_WEBSOCKET : NAT_TRANSPORT_CHOICE_UDP,
        i & 2 ? NAT_TRANSPORT_CHOICE_WEBSOCKET : NAT_TRANSPORT_CHOICE_UDP);
    pair_connect (&p);
    g_assert_true (flow (&p, 100));
    assert_transport (&p.publisher, i & 1 ? NAT_TRANSPORT_WEBSOCKET : NAT_TRANSPORT_UDP);
    assert_transport (&p.subscriber, i & 2 ? NAT_TRANSPORT_WEBSOCKET : NAT_TRANSPORT_UDP);
    pair_clear (&p);
  }
}

static gboolean
has_last (Watcher *w)
{
  return w->rtp->len > 0 && g_array_index (w->rtp, guint32, w->rtp->len - 1) == word;
}

/* In order, and none twice but what the relay repeats once, when the publisher is silent after it. Returns how many. */
static guint
assert_order (Watcher *w)
{
  guint n;

  g_mutex_lock (&w->lock);
  n = w->rtp->len;
  for (guint i = 1; i < n; i++)
    g_assert_cmpuint (
        g_array_index (w->rtp, guint32, i), >=, g_array_index (w->rtp, guint32, i - 1));
  for (guint i = 2; i < n; i++)
    g_assert_cmpuint (
        g_array_index (w->rtp, guint32, i), >, g_array_index (w->rtp, guint32, i - 2));
  g_mutex_unlock (&w->lock);
  return n;
}

/* What is sent at once arrives, all of it, in order and once: FALSE, if some of it was left out, or came so late that
 * the relay repeated some. */
static gboolean
burst_arrives (guint size)
{
  Pair p;
  NatSessionStats stats;
  gboolean all;

  pair_init (&p, NAT_TRANSPORT_CHOICE_WEBSOCKET, NAT_TRANSPORT_CHOICE_WEBSOCKET);
  pair_connect (&p);
  g_assert_true (flow (&p, 1));
  g_usleep (100000);
  g_mutex_lock (&p.subscriber.lock);
  g_array_set_size (p.subscriber.rtp, 0);
  g_mutex_unlock (&p.subscriber.lock);
  for (guint i = 0; i < size; i++)
    g_assert_cmpuint (send_next (&p, 1000), ==, 1);
  watcher_wait (&p.subscriber, has_last, 5000);
  all = assert_order (&p.subscriber) == size;
  nat_session_get_stats (p.publisher.session, &stats);
  g_test_message ("%u of %u arrived, %" G_GUINT64_FORMAT " were not sent",
      watcher_n_rtp (&p.subscriber), size, stats.packets_dropped);
  g_assert_true (!all || stats.packets_dropped == 0);
  g_assert_true (!all || stats.packets_sent >= size + 1);
  nat_session_stats_clear (&stats);
  pair_clear (&p);
  return all;
}

/* What a busy machine holds up for a quarter of a second is left out, and rightly so. The least is still four times what
 * TCP and libsoup take at once. */
static void
test_burst (void)
{
  static const guint sizes[] = {500, 500, 500, 500, 500, 250, 250, 125, 125, 64, 64, 64, 64};
  gboolean all = FALSE;

  for (guint i = 0; i < G_N_ELEMENTS (sizes) && !all; i++)
    all = burst_arrives (sizes[i]);
  g_assert_true (all);
}

static gboolean
has_rtcp (Watcher *w)
{
  return w->n_rtcp > 0;
}

/* The relay's receiver reports come to a publisher this way, too. */
static void
test_rtcp (void)
{
  Pair p;
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  pair_init (&p, NAT_TRANSPORT_CHOICE_WEBSOCKET, NAT_TRANSPORT_CHOICE_WEBSOCKET);
  pair_connect (&p);
  while (!watcher_wait (&p.publisher, has_rtcp, 20) && g_get_monotonic_time () < end)
    g_assert_true (flow (&p, 5));
  g_assert_true (watcher_wait (&p.publisher, has_rtcp, 0));
  pair_clear (&p);
}

/* Killed and started again: connections anew, the same sessions. */
static void
test_restart (void)
{
  Pair p;

  pair_init (&p, NAT_TRANSPORT_CHOICE_WEBSOCKET, NAT_TRANSPORT_CHOICE_WEBSOCKET);
  pair_connect (&p);
  g_assert_true (flow (&p, 20));
  for (guint i = 0; i < 2; i++) {
    relay_process_kill (&p.relay);
    relay_process_restart (&p.relay);
    g_assert_true (flow (&p, 20));
  }
  assert_transport (&p.publisher, NAT_TRANSPORT_WEBSOCKET);
  assert_transport (&p.subscriber, NAT_TRANSPORT_WEBSOCKET);
  pair_clear (&p);
}

static gboolean
has_udp (Watcher *w)
{
  NatSessionStats stats;
  gboolean udp;

  nat_session_get_stats (w->session, &stats);
  udp = stats.relay.transport == NAT_TRANSPORT_UDP;
  nat_session_stats_clear (&stats);
  return udp;
}

/* Where UDP works, it is used: at once, or, where a busy machine outlasts its head start, soon. */
static void
test_auto (void)
{
  Pair p;
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  pair_init (&p, NAT_TRANSPORT_CHOICE_AUTO, NAT_TRANSPORT_CHOICE_AUTO);
  pair_connect (&p);
  do
    g_assert_true (flow (&p, 20));
  while (!(has_udp (&p.publisher) && has_udp (&p.subscriber)) && g_get_monotonic_time () < end);
  assert_transport (&p.publisher, NAT_TRANSPORT_UDP);
  assert_transport (&p.subscriber, NAT_TRANSPORT_UDP);
  pair_clear (&p);
}

/* At any moment, while somebody sends; nothing is called back afterwards. */
static void
test_stop (void)
{
  RelayProcess relay;

  relay_process_start (&relay);
  for (guint i = 0; i < 60; i++) {
    Watcher w;
    gint64 before;

    watcher_init (&w, i % 2 ? NAT_ROLE_PUBLISHER : NAT_ROLE_SUBSCRIBER, &relay);
    w.config.transport = NAT_TRANSPORT_CHOICE_WEBSOCKET;
    watcher_start (&w);
    for (guint turn = 0; turn < i; turn++) {
      watcher_send_rtp (&w, (guint16)turn, turn, 200);
      g_usleep ((gulong)g_test_rand_int_range (0, 2000));
    }
    before = g_get_monotonic_time ();
    watcher_stop (&w, FALSE);
    g_assert_cmpint (g_get_monotonic_time () - before, <, WATCHER_AT_ONCE_US);
    watcher_clear (&w);
  }
  relay_process_clear (&relay);
}

/* Through a proxy, of which the relay's address is not known. */
static void
test_proxy (void)
{
  HttpsServer *proxy = https_server_new (HTTPS_PROXY, NULL, NULL);
  NatSessionStats stats;
  Pair p;

  pair_init (&p, NAT_TRANSPORT_CHOICE_WEBSOCKET, NAT_TRANSPORT_CHOICE_UDP);
  p.publisher.config.proxy =
      g_strdup_printf ("http://me:secret@127.0.0.1:%u", https_server_port (proxy));
  pair_connect (&p);
  g_assert_true (flow (&p, 20));
  assert_transport (&p.publisher, NAT_TRANSPORT_WEBSOCKET);
  nat_session_get_stats (p.publisher.session, &stats);
  g_assert_true (stats.via_proxy);
  g_assert_cmpuint (stats.relay.family, ==, 0);
  nat_session_stats_clear (&stats);
  pair_clear (&p);
  https_server_free (proxy);
}

/* The relay is away for a moment. It is looked for where it was, and not for seconds at a port where it never was, and where a
 * firewall drops what comes. To be seen once of five tries: a busy machine is nobody's fault. */
static void
test_away_for_a_moment (void)
{
  guint tries = 0;
  gint64 begin;
  BlockedPort blocked;
  RelayProcess relay;
  Watcher w;

  blocked_port_init (&blocked);
  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  w.config.transport = NAT_TRANSPORT_CHOICE_WEBSOCKET;
  w.config.second_port = blocked.port;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  do {
    begin = g_get_monotonic_time ();
    relay_process_kill (&relay);
    g_assert_true (watcher_wait_state (&w, NAT_SESSION_SUSPECT, SOON));
    g_usleep (500 * 1000);
    relay_process_restart (&relay);
    g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
    g_test_message ("%u ms", (guint)((g_get_monotonic_time () - begin) / 1000));
  } while (g_get_monotonic_time () - begin > 3 * G_USEC_PER_SEC && ++tries < 5);
  g_assert_cmpuint (tries, <, 5);
  watcher_clear (&w);
  relay_process_clear (&relay);
  blocked_port_clear (&blocked);
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/over-websocket/mixed", test_mixed);
  g_test_add_func ("/over-websocket/burst", test_burst);
  g_test_add_func ("/over-websocket/rtcp", test_rtcp);
  g_test_add_func ("/over-websocket/restart", test_restart);
  g_test_add_func ("/over-websocket/away-for-a-moment", test_away_for_a_moment);
  g_test_add_func ("/over-websocket/auto", test_auto);
  g_test_add_func ("/over-websocket/stop", test_stop);
  g_test_add_func ("/over-websocket/proxy", test_proxy);
  return g_test_run ();
}
