/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "watcher.h"

#include <signal.h>
#include <string.h>

#include "natproto/rtcp.h"

#define SOON 60000 /* ms; nothing here takes so long when all is well */

/* ---- Media ------------------------------------------------------------- */

static gboolean
has_live_sdp (Watcher *w)
{
  return w->sdp != NULL && w->document.publisher == NAT_PUBLISHER_LIVE;
}

static gboolean
has_100 (Watcher *w)
{
  return w->rtp->len >= 100;
}

/* Sends words on until the other side has so many more; FALSE if it takes too long. */
static gboolean
flow (Watcher *from, Watcher *to, guint n, guint timeout_ms)
{
  static guint32 word;
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;
  guint before = watcher_n_rtp (to);

  while (watcher_n_rtp (to) < before + n && g_get_monotonic_time () < end) {
    word++;
    watcher_send_rtp (from, (guint16)word, word, 500);
    g_usleep (5000);
  }
  return watcher_n_rtp (to) >= before + n;
}

typedef struct {
  RelayProcess relay;
  Watcher publisher, subscriber;
} Pair;

static void
pair_init (Pair *p)
{
  relay_process_start (&p->relay);
  watcher_init (&p->publisher, NAT_ROLE_PUBLISHER, &p->relay);
  watcher_init (&p->subscriber, NAT_ROLE_SUBSCRIBER, &p->relay);
  /* A busy machine may outlast UDP's head start; overwebsocket has the rest. */
  p->publisher.config.transport = p->subscriber.config.transport = NAT_TRANSPORT_CHOICE_UDP;
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

static void
test_media (void)
{
  Pair p;
  NatSessionStats stats;

  pair_init (&p);
  pair_connect (&p);
  g_assert_true (watcher_wait (&p.subscriber, has_live_sdp, SOON));
  g_assert_cmpstr (p.subscriber.sdp, ==, WATCHER_SDP);
  g_assert_true (flow (&p.publisher, &p.subscriber, 1, SOON));

  g_mutex_lock (&p.subscriber.lock);
  g_array_set_size (p.subscriber.rtp, 0);
  g_mutex_unlock (&p.subscriber.lock);
  {
    guint8 bytes[100][600];
    NatDatagram packets[100];

    for (guint i = 0; i < 100; i++) {
      guint8 header[16] = {
          0x80, 96, 0x40, (guint8)i, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 7, (guint8)i};

      memset (bytes[i], (int)i, sizeof bytes[i]);
      memcpy (bytes[i], header, sizeof header);
      packets[i].data = bytes[i];
      packets[i].len = sizeof bytes[i];
    }
    g_assert_cmpuint (nat_session_send_rtp (p.publisher.session, packets, 100), ==, 100);
  }
  g_assert_true (watcher_wait (&p.subscriber, has_100, SOON));
  for (guint i = 0; i < 100; i++)
    g_assert_cmpuint (g_array_index (p.subscriber.rtp, guint32, i), ==, 7 * 256 + i);

  nat_session_get_stats (p.publisher.session, &stats);
  g_assert_cmpint (stats.state, ==, NAT_SESSION_CONNECTED);
  g_assert_cmpuint (stats.packets_sent, >=, 101);
  g_assert_cmpuint (stats.packets_dropped, ==, 0);
  g_assert_cmpuint (stats.attempts, ==, 1);
  g_assert_cmpuint (stats.reconnects, ==, 0);
  g_assert_cmpuint (stats.rtt_us, >, 0);
  g_assert_cmpuint (stats.relay.port, ==, p.relay.port);
  g_assert_true (nat_address_equal (&stats.local, &stats.mapped)); /* no NAT on loopback */
  g_assert_false (stats.via_proxy);
  g_assert_null (stats.last_cause);
  nat_session_stats_clear (&stats);
  g_assert_cmpstr (p.publisher.states->str, ==, "negotiating challenging connected ");
  pair_clear (&p);
}

static gboolean
has_ipv6 (void)
{
  g_autoptr (GSocket) socket =
      g_socket_new (G_SOCKET_FAMILY_IPV6, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
  g_autoptr (GSocketAddress) address = g_inet_socket_address_new_from_string ("::1", 0);

  return socket != NULL && g_socket_bind (socket, address, FALSE, NULL);
}

static void
connect_two (Pair *p)
{
  pair_connect (p);
  g_assert_true (flow (&p->publisher, &p->subscriber, 10, SOON));
}

static void
test_ipv6 (void)
{
  Pair p;
  NatSessionStats stats;

  if (!has_ipv6 ()) {
    g_test_skip ("this machine has no IPv6 loopback");
    return;
  }
  relay_process_start_at (&p.relay, "[::1]:0");
  watcher_init (&p.publisher, NAT_ROLE_PUBLISHER, &p.relay);
  watcher_init (&p.subscriber, NAT_ROLE_SUBSCRIBER, &p.relay);
  connect_two (&p);
  nat_session_get_stats (p.subscriber.session, &stats);
  g_assert_cmpuint (stats.mapped.family, ==, 6);
  g_assert_true (nat_address_equal (&stats.local, &stats.mapped));
  nat_session_stats_clear (&stats);
  pair_clear (&p);
}

/* A name that may stand for two families, of which the relay has one. */
static void
test_by_name (void)
{
  Pair p;

  pair_init (&p);
  for (guint i = 0; i < 2; i++) {
    Watcher *w = i == 0 ? &p.publisher : &p.subscriber;

    g_free (w->config.host);
    w->config.host = g_strdup ("localhost");
    w->config.qos_dscp = 46;
    w->config.buffer_size = 1 << 20;
  }
  connect_two (&p);
  pair_clear (&p);
}

static gboolean
has_rtcp (Watcher *w)
{
  return w->n_rtcp > 0;
}

/* A sender report goes to the audience; the relay's own receiver report comes to the publisher. */
static void
test_rtcp (void)
{
  static const guint8 sr[] = {0x80, 200, 0, 6, 0x12, 0x34, 0x56, 0x78, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0,
      0, 9, 0, 0, 0, 1, 0, 0, 1, 0, 0x81, 202, 0, 3, 0x12, 0x34, 0x56, 0x78, 1, 4, 't', 'e', 's',
      't', 0, 0};
  Pair p;
  gint64 end = g_get_monotonic_time () + SOON * 1000;
  NatRtcpIter it;
  NatRtcpPacket packet;

  pair_init (&p);
  pair_connect (&p);
  g_assert_true (flow (&p.publisher, &p.subscriber, 10, SOON));
  while (!watcher_wait (&p.subscriber, has_rtcp, 100) && g_get_monotonic_time () < end) {
    nat_session_send_rtcp (p.publisher.session, sr, sizeof sr);
    flow (&p.publisher, &p.subscriber, 1, SOON);
  }
  g_assert_true (watcher_wait (&p.subscriber, has_rtcp, 0));
  g_mutex_lock (&p.subscriber.lock);
  g_assert_true (nat_rtcp_iter_init (&it, p.subscriber.rtcp, p.subscriber.rtcp_len));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  g_assert_cmpuint (packet.type, ==, NAT_RTCP_SR);
  g_assert_cmpuint (nat_rtcp_sender_ssrc (&packet), ==, WATCHER_SSRC);
  g_mutex_unlock (&p.subscriber.lock);
  while (!watcher_wait (&p.publisher, has_rtcp, 100) && g_get_monotonic_time () < end)
    flow (&p.publisher, &p.subscriber, 1, SOON);
  g_mutex_lock (&p.publisher.lock);
  g_assert_true (nat_rtcp_iter_init (&it, p.publisher.rtcp, p.publisher.rtcp_len));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  g_assert_cmpuint (packet.type, ==, NAT_RTCP_RR);
  g_mutex_unlock (&p.publisher.lock);
  pair_clear (&p);
}

/* While nothing is registered, media is dropped and counted; nothing waits. */
static void
test_drops_unregistered (void)
{
  Watcher w;
  NatSessionStats stats;

  watcher_init (&w, NAT_ROLE_PUBLISHER, NULL);
  w.config.host = g_strdup ("127.0.0.1");
  w.config.port = 1;
  watcher_start (&w);
  for (guint i = 0; i < 50; i++)
    g_assert_cmpuint (watcher_send_rtp (&w, (guint16)i, i, 100), ==, 0);
  g_assert_false (nat_session_send_rtcp (w.session, (const guint8 *)"\x80\xc9\0\1\0\0\0\1", 8));
  nat_session_get_stats (w.session, &stats);
  g_assert_cmpuint (stats.packets_dropped, ==, 50);
  g_assert_cmpuint (stats.packets_sent, ==, 0);
  nat_session_stats_clear (&stats);
  watcher_clear (&w);
}

/* ---- Documents --------------------------------------------------------- */

static gboolean
has_other_sdp (Watcher *w)
{
  return w->sdp != NULL && strstr (w->sdp, "H265") != NULL;
}

static gboolean
first_is_described (Watcher *w)
{
  return w->described == 1;
}

static gboolean
second_is_described (Watcher *w)
{
  return w->described == 2;
}

/* What the relay has heard of is told, by serial. */
static void
test_description_changes (void)
{
  guint serial;
  Pair p;
  char *sdp;

  pair_init (&p);
  pair_connect (&p);
  g_assert_true (watcher_wait (&p.subscriber, has_live_sdp, SOON));
  sdp = g_strdup (WATCHER_SDP);
  memcpy (strstr (sdp, "H264"), "H265", 4);
  g_assert_true (watcher_wait (&p.publisher, first_is_described, SOON));
  serial = nat_session_set_description (p.publisher.session, &(NatDescription){sdp});
  g_assert_cmpuint (serial, ==, 2);
  g_assert_true (watcher_wait (&p.publisher, second_is_described, SOON));
  g_assert_true (watcher_wait (&p.subscriber, has_other_sdp, SOON));
  g_free (sdp);
  g_assert_cmpint (p.publisher.state, ==, NAT_SESSION_CONNECTED);
  pair_clear (&p);
}

/* A publisher that has nothing to offer yet waits in "negotiating". */
static void
test_waits_for_description (void)
{
  static const NatSessionCallbacks none = {0};
  RelayProcess relay;
  Watcher w;
  NatSessionStats stats;
  NatSession *s;
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  s = nat_session_new (&w.config, &none, NULL);
  nat_session_start (s);
  do {
    g_usleep (1000);
    nat_session_get_stats (s, &stats);
  } while (stats.state != NAT_SESSION_NEGOTIATING && g_get_monotonic_time () < end);
  g_usleep (100000);
  nat_session_get_stats (s, &stats);
  g_assert_cmpint (stats.state, ==, NAT_SESSION_NEGOTIATING);
  g_assert_cmpuint (stats.attempts, ==, 0);
  nat_session_set_description (s, &(NatDescription){(char *)WATCHER_SDP});
  do {
    g_usleep (1000);
    nat_session_get_stats (s, &stats);
  } while (stats.state != NAT_SESSION_CONNECTED && g_get_monotonic_time () < end);
  g_assert_cmpint (stats.state, ==, NAT_SESSION_CONNECTED);
  g_assert_cmpuint (stats.attempts, ==, 1);
  nat_session_stop (s, FALSE);
  nat_session_unref (s);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

static gboolean
publisher_is_gone (Watcher *w)
{
  return w->document.publisher != NAT_PUBLISHER_LIVE;
}

/* Whether it is heard sooner than silence would tell: that takes 3 s. */
static gboolean
goodbye_is_heard (void)
{
  gboolean heard;
  Pair p;

  pair_init (&p);
  pair_connect (&p);
  g_assert_true (watcher_wait (&p.subscriber, has_live_sdp, SOON));
  watcher_stop (&p.publisher, FALSE);
  heard = watcher_wait (&p.subscriber, publisher_is_gone, 2500);
  g_assert_true (watcher_wait (&p.subscriber, publisher_is_gone, SOON));
  g_assert_cmpint (p.subscriber.document.publisher, ==, NAT_PUBLISHER_GRACE);
  pair_clear (&p);
  return heard;
}

/* The goodbye tells the relay at once, and the relay the audience. A busy machine may need more than one try. */
static void
test_goodbye (void)
{
  gboolean heard = FALSE;

  for (guint i = 0; i < 5 && !heard; i++)
    heard = goodbye_is_heard ();
  g_assert_true (heard);
}

static void
signal_relay (RelayProcess *r, int number)
{
  g_subprocess_send_signal (r->process, number);
}

/* Over a satellite, or on a machine that does other things, a goodbye takes more than a second. Without one, the relay
 * would wait for half a minute. */
static void
test_slow_goodbye (void)
{
  Pair p;

  pair_init (&p);
  pair_connect (&p);
  g_assert_true (watcher_wait (&p.subscriber, has_live_sdp, SOON));
  signal_relay (&p.relay, SIGSTOP);
  watcher_stop (&p.publisher, FALSE);
  g_usleep (1500 * 1000);
  signal_relay (&p.relay, SIGCONT);
  g_assert_true (watcher_wait (&p.subscriber, publisher_is_gone, 20000));
  g_assert_cmpint (p.subscriber.document.publisher, ==, NAT_PUBLISHER_GRACE);
  pair_clear (&p);
}

static void
test_superseded (void)
{
  Pair p;
  Watcher second;

  pair_init (&p);
  pair_connect (&p);
  watcher_init (&second, NAT_ROLE_PUBLISHER, &p.relay);
  watcher_start (&second);
  g_assert_true (watcher_wait_state (&second, NAT_SESSION_CONNECTED, SOON));
  g_assert_true (watcher_wait_state (&p.publisher, NAT_SESSION_FAILED, SOON));
  g_assert_cmpint (p.publisher.cause->kind, ==, NAT_CAUSE_SUPERSEDED);
  g_assert_true (p.publisher.cause->final);
  g_assert_true (flow (&second, &p.subscriber, 5, SOON));
  watcher_clear (&second);
  pair_clear (&p);
}

/* ---- The relay comes back ---------------------------------------------- */

static gboolean
suspects (Watcher *w)
{
  return strstr (w->states->str, "suspect") != NULL;
}

/* Killed and started again with the same state directory: media flows, nobody negotiated. */
static void
test_restart (void)
{
  Pair p;
  NatSessionStats stats;
  char boot[sizeof p.publisher.document.boot_id];

  pair_init (&p);
  pair_connect (&p);
  g_assert_true (flow (&p.publisher, &p.subscriber, 20, SOON));
  g_assert_true (watcher_wait (&p.subscriber, has_live_sdp, SOON));
  for (guint i = 0; i < 3; i++) {
    guint documents;

    g_test_message ("restart %u", i);
    documents = watcher_n_documents (&p.subscriber);
    g_mutex_lock (&p.publisher.lock);
    g_strlcpy (boot, p.publisher.document.boot_id, sizeof boot);
    g_mutex_unlock (&p.publisher.lock);
    relay_process_kill (&p.relay);
    /* On every other one we wait until it is noticed. */
    if (i % 2 == 0) {
      flow (&p.publisher, &p.subscriber, 1, 300);
      g_assert_true (watcher_wait (&p.subscriber, suspects, SOON));
      g_assert_true (watcher_wait (&p.publisher, suspects, SOON));
    }
    relay_process_restart (&p.relay);
    g_assert_true (flow (&p.publisher, &p.subscriber, 20, SOON));
    g_assert_true (watcher_wait_state (&p.publisher, NAT_SESSION_CONNECTED, SOON));
    while (watcher_n_documents (&p.subscriber) == documents)
      g_assert_true (flow (&p.publisher, &p.subscriber, 1, SOON));
    g_mutex_lock (&p.publisher.lock);
    g_assert_cmpstr (p.publisher.document.boot_id, !=, boot);
    g_mutex_unlock (&p.publisher.lock);
    nat_session_get_stats (p.publisher.session, &stats);
    g_assert_cmpuint (stats.attempts, ==, 1);
    nat_session_stats_clear (&stats);
    nat_session_get_stats (p.subscriber.session, &stats);
    g_assert_cmpuint (stats.attempts, ==, 1);
    nat_session_stats_clear (&stats);
  }
  g_assert_cmpstr (p.subscriber.sdp, ==, WATCHER_SDP);
  pair_clear (&p);
}

/* Whether it is back before the session is given up: who heard a goodbye waits for a second. */
static gboolean
restart_goes_unnoticed (void)
{
  Pair p;
  NatSessionStats stats;
  gboolean same;

  pair_init (&p);
  pair_connect (&p);
  g_assert_true (flow (&p.publisher, &p.subscriber, 20, SOON));
  relay_process_terminate (&p.relay);
  relay_process_restart (&p.relay);
  g_assert_true (flow (&p.publisher, &p.subscriber, 20, SOON));
  nat_session_get_stats (p.subscriber.session, &stats);
  same = stats.attempts == 1;
  nat_session_stats_clear (&stats);
  pair_clear (&p);
  return same;
}

/* SIGTERM: the relay says that it goes, and is back before anybody would have asked. On a busy machine it starts slowly,
 * and is asked for another session: flow comes back all the same. */
static void
test_orderly_restart (void)
{
  gboolean same = FALSE;

  for (guint i = 0; i < 10 && !same; i++)
    same = restart_goes_unnoticed ();
  g_assert_true (same);
}

/* Its secrets are gone: both negotiate anew. The pin would hold them off, so there is none. */
static void
test_restart_without_state (void)
{
  Pair p;

  pair_init (&p);
  for (guint i = 0; i < 2; i++) {
    Watcher *w = i == 0 ? &p.publisher : &p.subscriber;

    g_clear_pointer (&w->config.tls_fingerprint, g_free);
    w->accept = TRUE;
  }
  pair_connect (&p);
  g_assert_true (flow (&p.publisher, &p.subscriber, 20, SOON));
  relay_process_kill (&p.relay);
  relay_process_forget (&p.relay);
  relay_process_restart (&p.relay);
  /* The old tokens are of no use either. */
  g_assert_true (watcher_wait_state (&p.publisher, NAT_SESSION_FAILED, 2 * SOON));
  g_assert_cmpint (p.publisher.cause->kind, ==, NAT_CAUSE_NOT_AUTHORIZED);
  g_assert_true (watcher_wait_state (&p.subscriber, NAT_SESSION_FAILED, 2 * SOON));
  nat_session_set_auth_token (p.publisher.session, p.relay.publish_token);
  nat_session_set_auth_token (p.subscriber.session, p.relay.subscribe_token);
  g_assert_true (flow (&p.publisher, &p.subscriber, 20, SOON));
  g_assert_cmpuint (p.publisher.accept_calls, >=, 2);
  pair_clear (&p);
}

/* ---- Tokens ------------------------------------------------------------ */

static void
test_bad_token (void)
{
  RelayProcess relay;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  nat_session_config_clear (&w.config);
  nat_session_config_init (&w.config);
  w.config.host = g_strdup (relay.host);
  w.config.port = relay.port;
  w.config.stream = g_strdup ("house/door");
  w.config.tls_fingerprint = g_strdup (relay.fingerprint);
  w.config.auth_token = g_strdup (relay.publish_token); /* may publish, not watch */
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_FAILED, SOON));
  g_assert_cmpint (w.cause->kind, ==, NAT_CAUSE_NOT_AUTHORIZED);
  g_assert_cmpuint (w.cause->http_status, ==, 403);
  g_assert_true (w.cause->final);
  g_assert_cmpuint (w.cause->retry_ms, ==, 0);
  g_assert_nonnull (strstr (w.cause->text, "subscribe"));
  /* Another, no better. */
  nat_session_set_auth_token (w.session, "nonsense");
  g_mutex_lock (&w.lock);
  w.state = NAT_SESSION_NEGOTIATING;
  g_mutex_unlock (&w.lock);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_FAILED, SOON));
  g_assert_cmpuint (w.cause->http_status, ==, 401);
  g_assert_null (strstr (w.cause->text, "nonsense"));
  /* None at all: told how to get one. */
  nat_session_set_auth_token (w.session, NULL);
  g_mutex_lock (&w.lock);
  w.state = NAT_SESSION_NEGOTIATING;
  g_mutex_unlock (&w.lock);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_FAILED, SOON));
  g_assert_nonnull (strstr (w.cause->text, "auth-token"));
  /* And the right one. */
  nat_session_set_auth_token (w.session, relay.subscribe_token);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  watcher_clear (&w);
  relay_process_clear (&relay);
}

/* A fresh token for a session that lives: no negotiation, no interruption. */
static void
test_token_while_live (void)
{
  Pair p;
  NatSessionStats stats;
  guint documents;
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  pair_init (&p);
  pair_connect (&p);
  documents = watcher_n_documents (&p.publisher);
  nat_session_set_auth_token (p.publisher.session, p.relay.publish_token);
  while (watcher_n_documents (&p.publisher) == documents && g_get_monotonic_time () < end)
    g_assert_true (flow (&p.publisher, &p.subscriber, 1, SOON));
  g_assert_cmpuint (watcher_n_documents (&p.publisher), >, documents);
  g_assert_true (flow (&p.publisher, &p.subscriber, 20, SOON));
  nat_session_get_stats (p.publisher.session, &stats);
  g_assert_cmpuint (stats.attempts, ==, 1);
  nat_session_stats_clear (&stats);
  g_assert_cmpstr (p.publisher.states->str, ==, "negotiating challenging connected ");
  pair_clear (&p);
}

/* ---- Stop -------------------------------------------------------------- */

static gpointer
hammer (gpointer data)
{
  Watcher *w = data;

  for (guint i = 0; i < 200; i++) {
    watcher_send_rtp (w, (guint16)i, i, 200);
    nat_session_send_rtcp (w->session, (const guint8 *)"\x80\xc9\0\1\0\0\0\1", 8);
    g_usleep (50);
  }
  return NULL;
}

/* At any moment, while others send, and nothing is called back afterwards. */
static void
test_stop_at_any_moment (void)
{
  RelayProcess relay;

  relay_process_start (&relay);
  for (guint i = 0; i < 200; i++) {
    Watcher w;
    GThread *thread;
    gint64 before;

    watcher_init (&w, i % 2 ? NAT_ROLE_PUBLISHER : NAT_ROLE_SUBSCRIBER, &relay);
    g_free (w.config.stream);
    w.config.stream = g_strdup_printf ("stop/%u", i % 7);
    watcher_start (&w);
    thread = g_thread_new ("hammer", hammer, &w);
    if (i % 10 != 0)
      g_usleep ((gulong)g_test_rand_int_range (0, 60000));
    before = g_get_monotonic_time ();
    watcher_stop (&w, i % 3 == 0);
    g_assert_cmpint (g_get_monotonic_time () - before, <, WATCHER_AT_ONCE_US);
    g_thread_join (thread);
    watcher_clear (&w);
  }
  relay_process_clear (&relay);
}

typedef struct {
  gint inside, left;
} Slow;

static void
slow_callback (NatSession *s, NatSessionState state, const NatCause *cause, gpointer user)
{
  Slow *slow = user;

  g_atomic_int_set (&slow->inside, 1);
  g_usleep (100000);
  g_atomic_int_set (&slow->left, 1);
}

/* Whoever frees what a callback uses stops first, and may then free it. */
static void
test_stop_waits_for_callback (void)
{
  NatSessionCallbacks callbacks = {slow_callback};
  RelayProcess relay;
  Watcher w;
  NatSession *s;
  Slow slow = {0, 0};

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  s = nat_session_new (&w.config, &callbacks, &slow);
  nat_session_start (s);
  while (!g_atomic_int_get (&slow.inside))
    g_usleep (100);
  nat_session_stop (s, FALSE);
  g_assert_true (g_atomic_int_get (&slow.left));
  slow.inside = 0;
  g_usleep (200000);
  g_assert_false (g_atomic_int_get (&slow.inside));
  nat_session_unref (s);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

static void
stop_in_callback (NatSession *s, NatSessionState state, const NatCause *cause, gpointer user)
{
  if (state == NAT_SESSION_CONNECTED) {
    nat_session_stop (s, FALSE);
    g_atomic_int_set ((gint *)user, 1);
  }
}

static void
test_stop_from_callback (void)
{
  NatSessionCallbacks callbacks = {stop_in_callback};
  RelayProcess relay;
  Watcher w;
  NatSession *s;
  gint stopped = 0;
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  s = nat_session_new (&w.config, &callbacks, &stopped);
  nat_session_start (s);
  while (!g_atomic_int_get (&stopped) && g_get_monotonic_time () < end)
    g_usleep (1000);
  g_assert_true (g_atomic_int_get (&stopped));
  nat_session_stop (s, FALSE);
  nat_session_unref (s);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

static void
test_never_started (void)
{
  static const NatSessionCallbacks none = {0};
  NatSessionConfig config;
  NatSession *s;

  nat_session_config_init (&config);
  config.host = g_strdup ("127.0.0.1");
  config.stream = g_strdup ("x");
  s = nat_session_new (&config, &none, NULL);
  nat_session_set_auth_token (s, "token");
  nat_session_set_description (s, &(NatDescription){(char *)WATCHER_SDP});
  nat_session_stop (s, TRUE);
  nat_session_start (s); /* too late: nothing happens */
  nat_session_unref (s);
  nat_session_config_clear (&config);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/session/media", test_media);
  g_test_add_func ("/session/ipv6", test_ipv6);
  g_test_add_func ("/session/by-name", test_by_name);
  g_test_add_func ("/session/rtcp", test_rtcp);
  g_test_add_func ("/session/drops", test_drops_unregistered);
  g_test_add_func ("/session/description-changes", test_description_changes);
  g_test_add_func ("/session/waits-for-description", test_waits_for_description);
  g_test_add_func ("/session/goodbye", test_goodbye);
  g_test_add_func ("/session/goodbye-slow", test_slow_goodbye);
  g_test_add_func ("/session/superseded", test_superseded);
  g_test_add_func ("/session/restart", test_restart);
  g_test_add_func ("/session/orderly-restart", test_orderly_restart);
  g_test_add_func ("/session/restart-without-state", test_restart_without_state);
  g_test_add_func ("/session/bad-token", test_bad_token);
  g_test_add_func ("/session/token-while-live", test_token_while_live);
  g_test_add_func ("/session/stop", test_stop_at_any_moment);
  g_test_add_func ("/session/stop-waits", test_stop_waits_for_callback);
  g_test_add_func ("/session/stop-from-callback", test_stop_from_callback);
  g_test_add_func ("/session/never-started", test_never_started);
  return g_test_run ();
}
