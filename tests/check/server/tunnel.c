/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Clients whose datagrams somebody else carries: what holds for UDP holds for them, whoever is on the other
 * side, and nobody waits for them. */

#include "natserver/data/tunnel.h"

#include <string.h>

#include "carrier.h"
#include "datarelay.h"
#include "natserver/data/lane.h"

#define REMOTE "198.51.100.7:4000"

static NatProbe *
register_carried (
    DataRelay *r, Carrier *carrier, const char *remote, NatTicket *ticket, guint32 *connection)
{
  NatProbe *p = carrier_connect (carrier, remote, connection);
  NatSessionCounters *c = nat_session_counters_new ();
  NatEvent event;

  g_assert_true (nat_dataplane_add_session (r->dp, ticket, c, NULL));
  nat_session_counters_unref (c);
  nat_probe_set_ticket (p, r->secrets, ticket);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_REGISTERED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpint (event.mapped.transport, ==, NAT_TRANSPORT_WEBSOCKET);
  g_assert_cmpuint (event.mapped.port, ==, p->local.port);
  return p;
}

static NatProbe *
subscribe_carried (DataRelay *r, Carrier *carrier, const char *remote)
{
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);

  return register_carried (r, carrier, remote, &t, NULL);
}

/* ---- Registration ------------------------------------------------------ */

static void
test_register (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  guint32 connection;
  g_autoptr (NatProbe) p = register_carried (r, carrier, REMOTE, &t, &connection);

  g_assert_true (p->authentic);
  g_assert_true (nat_address_equal (&p->mapped, &p->local));
  g_assert_cmpuint (carrier_bound (carrier, connection), ==, 1);
  g_assert_cmpint (nat_probe_bind (p, 0), ==, 0);
  g_assert_cmpuint (carrier_bound (carrier, connection), ==, 2);
}

/* Neither another connection from the same address and port, nor UDP, may use the word of one. */
static void
test_nonce_of_connection (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) a = carrier_connect (carrier, REMOTE, NULL);
  g_autoptr (NatProbe) b = carrier_connect (carrier, REMOTE, NULL);
  g_autoptr (NatProbe) udp = data_relay_probe (r, &t);
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len;

  nat_probe_set_ticket (a, r->secrets, &t);
  nat_probe_set_ticket (b, r->secrets, &t);
  g_assert_cmpint (nat_probe_challenge (a, 200, NAT_PROBE_WAIT_MS), ==, 401);
  strcpy (b->nonce, a->nonce);
  strcpy (udp->nonce, a->nonce);
  len = nat_probe_request (b, NAT_PROBE_SELECT, request);
  g_assert_cmpint (nat_probe_exchange (b, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  len = nat_probe_request (udp, NAT_PROBE_SELECT, request);
  g_assert_cmpint (nat_probe_exchange (udp, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  len = nat_probe_request (a, NAT_PROBE_SELECT, request);
  g_assert_cmpint (nat_probe_exchange (a, request, len, NAT_PROBE_WAIT_MS), ==, 0);
}

static void
test_stranger (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  guint32 connection;
  g_autoptr (NatProbe) stranger = carrier_connect (carrier, REMOTE, &connection);
  guint8 rtp[200];

  g_assert_nonnull (publisher); /* that there is a stream */
  nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, 1, 1);
  nat_probe_send (stranger, rtp, sizeof rtp);
  g_assert_cmpint (nat_probe_indication (stranger, NAT_PROBE_WAIT_MS), ==, NAT_REASON_REGISTER);
  /* One that is shorter than the answer would be gets silence here too. */
  g_assert_cmpint (nat_probe_challenge (stranger, 100, 200), ==, NAT_PROBE_TIMEOUT);
  g_assert_cmpuint (carrier_bound (carrier, connection), ==, 0);
}

/* ---- Media ------------------------------------------------------------- */

static void
test_mixed (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket tp = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  g_autoptr (NatProbe) publisher = register_carried (r, carrier, REMOTE, &tp, NULL);
  g_autoptr (NatProbe) udp = data_relay_subscribe (r, NULL, NULL);
  g_autoptr (NatProbe) carried = subscribe_carried (r, carrier, "[2001:db8::7]:5000");
  guint8 got[NAT_DATAGRAM_MAX];

  data_relay_describe (r, 1, &tp);
  g_assert_cmpint (nat_probe_indication (udp, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  for (guint16 seq = 1; seq < 20; seq++) {
    data_relay_assert_passes (publisher, udp, VIDEO_SSRC, seq);
    g_assert_cmpint (nat_probe_receive (carried, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, 200);
    g_assert_cmpuint (got[3], ==, seq);
  }
  /* The relay's report came by the same way back, under the keys of this session. */
  g_assert_cmpint (nat_probe_receive_rtcp (publisher, got, NAT_PROBE_WAIT_MS), >, 0);
}

/* 300 receivers: all get all, once each, and what goes to many lies in the ring once. */
static void
test_many (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  NatProbe *subscribers[300];
  guint64 letters, to, letters_before, to_before;
  guint8 rtp[1200], got[NAT_DATAGRAM_MAX];

  for (guint i = 0; i < G_N_ELEMENTS (subscribers); i++) {
    g_autofree char *remote = g_strdup_printf ("198.51.100.7:%u", 2000 + i);
    subscribers[i] = subscribe_carried (r, carrier, remote);
  }
  carrier_count (carrier, &letters_before, &to_before);
  nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, 7, 7);
  nat_probe_send (publisher, rtp, sizeof rtp);
  for (guint i = 0; i < G_N_ELEMENTS (subscribers); i++) {
    g_assert_cmpint (
        nat_probe_receive (subscribers[i], NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, sizeof rtp);
    g_assert_cmpmem (got, sizeof rtp, rtp, sizeof rtp);
  }
  carrier_count (carrier, &letters, &to);
  g_assert_cmpuint (to - to_before, ==, 300);
  g_assert_cmpuint (letters - letters_before, ==, 2); /* 256 messages go in a call */
  for (guint i = 0; i < G_N_ELEMENTS (subscribers); i++) {
    g_assert_cmpint (nat_probe_receive (subscribers[i], NAT_PACKET_RTP, got, 0), ==, -1);
    nat_probe_free (subscribers[i]);
  }
}

/* ---- Two paths --------------------------------------------------------- */

static void
test_selection (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket tp, t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) udp = data_relay_join (r, &t, NULL);
  g_autoptr (NatProbe) carried = carrier_connect (carrier, REMOTE, NULL);
  guint8 replay[NAT_DATAGRAM_MAX];
  NatEvent event;
  gsize len;

  nat_probe_set_ticket (carried, r->secrets, &t);
  memcpy (carried->epoch, udp->epoch, sizeof udp->epoch);
  data_relay_assert_passes (publisher, udp, VIDEO_SSRC, 1);
  g_assert_cmpint (nat_probe_bind (carried, 0), ==, 0); /* validated, not selected */
  data_relay_assert_passes (publisher, udp, VIDEO_SSRC, 2);
  len = nat_probe_request (udp, NAT_PROBE_SELECT, replay);
  g_assert_cmpint (nat_probe_challenge (carried, 200, NAT_PROBE_WAIT_MS), ==, 401);
  g_assert_cmpint (nat_probe_bind (carried, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_MOVED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpint (event.mapped.transport, ==, NAT_TRANSPORT_WEBSOCKET);
  data_relay_assert_resent (carried, 2);
  data_relay_assert_passes (publisher, carried, VIDEO_SSRC, 3);
  /* What was said before the move moves nothing back. */
  g_assert_cmpint (nat_probe_exchange (udp, replay, len, NAT_PROBE_WAIT_MS), ==, 438);
  data_relay_assert_passes (publisher, carried, VIDEO_SSRC, 4);
  g_assert_cmpint (nat_probe_bind (udp, NAT_PROBE_SELECT), ==, 0);
  data_relay_assert_resent (udp, 4);
  data_relay_assert_passes (publisher, udp, VIDEO_SSRC, 5);
}

/* Of a connection that ended nothing is left but the session, which comes back by another, and is sent what it missed. */
static void
test_hang_up (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket tp, t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  NatProbe *gone = register_carried (r, carrier, REMOTE, &t, NULL);
  g_autoptr (NatProbe) udp = NULL;
  g_autoptr (NatProbe) back = NULL;
  guint64 letters, to, letters_before, to_before;
  guint16 seq = 1;

  data_relay_assert_passes (publisher, gone, VIDEO_SSRC, seq);
  udp = data_relay_subscribe (r, NULL, NULL);
  nat_probe_free (gone);
  do {
    carrier_count (carrier, &letters_before, &to_before);
    data_relay_assert_passes (publisher, udp, VIDEO_SSRC, ++seq);
    data_relay_sync (r);
    carrier_count (carrier, &letters, &to);
  } while (to > to_before);
  back = carrier_connect (carrier, REMOTE, NULL);
  nat_probe_set_ticket (back, r->secrets, &t);
  g_assert_cmpint (nat_probe_bind (back, NAT_PROBE_SELECT), ==, 0);
  data_relay_assert_resent (back, seq);
  data_relay_assert_passes (publisher, back, VIDEO_SSRC, ++seq);
}

/* That it ended is no datagram. */
static void
test_hang_ups_are_not_counted (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);

  for (guint i = 1; i <= 8; i++) {
    NatProbe *p = carrier_connect (carrier, REMOTE, NULL);

    g_assert_cmpint (nat_probe_challenge (p, 200, NAT_PROBE_WAIT_MS), ==, 401);
    g_assert_cmpuint (DATA_RELAY_COUNT (r, datagrams_received), ==, i);
    nat_probe_free (p);
  }
}

/* ---- Bounds ------------------------------------------------------------ */

/* Nobody fetches: media is dropped and counted, control has room, and UDP notices nothing. */
static void
test_stalled (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (Carrier) carrier = carrier_new (r->dp, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) carried = subscribe_carried (r, carrier, REMOTE);
  g_autoptr (NatProbe) udp = data_relay_subscribe (r, NULL, NULL);
  /* A stream may move to another worker meanwhile, which has a lane of its own. */
  const guint room = nat_dataplane_n_workers (r->dp) * NAT_LANE_BYTES;
  guint16 seq = 0;
  guint8 rtp[1200], got[NAT_DATAGRAM_MAX];

  carrier_stall (carrier, TRUE);
  while (DATA_RELAY_COUNT (r, send_tunnel_full) == 0) {
    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, ++seq, 1);
    nat_probe_send (publisher, rtp, sizeof rtp);
    g_assert_cmpint (
        nat_probe_receive (udp, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, sizeof rtp);
    g_assert_cmpuint (seq, <, room / sizeof rtp);
  }
  g_assert_cmpuint (seq, >, NAT_LANE_BYTES / 4 * 3 / 1300);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, unsent_video), ==, DATA_RELAY_COUNT (r, send_tunnel_full));
  data_relay_assert_passes (publisher, udp, AUDIO_SSRC, 1);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, unsent_audio), ==, 0);
  {
    guint8 request[NAT_DATAGRAM_MAX];
    gsize len = nat_probe_request (carried, 0, request);

    nat_probe_send (carried, request, len);
  }
  data_relay_sync (r);
  carrier_stall (carrier, FALSE);
  while (nat_probe_receive (carried, NAT_PACKET_STUN, got, NAT_PROBE_WAIT_MS) > 0 &&
         got[0] != 1) /* indications */
    ;
  g_assert_cmpuint (got[0], ==, 1); /* and there is the answer */
  g_assert_cmpuint (DATA_RELAY_COUNT (r, unsent_control), ==, 0);
}

/* More than the worker has read yet does not fit, and is told. */
static void
test_flood (void)
{
  NatTunnel *t = nat_tunnel_new (1);
  NatWorkerCounters *counters = g_aligned_alloc0 (1, sizeof *counters, 64);
  NatLane *lane = nat_tunnel_open_lane (t, 0, counters);
  NatTunnelEnd end;
  NatAddress remote, local;
  guint8 data[NAT_DATAGRAM_MAX + 1] = {0};
  guint n = 0;

  g_assert_true (nat_address_from_text (&remote, REMOTE, 0));
  g_assert_true (nat_address_from_text (&local, "192.0.2.1:443", 0));
  nat_tunnel_end_init (&end, 70001, &remote, &local);
  g_assert_false (nat_tunnel_deliver (t, &end, data, sizeof data));
  while (nat_tunnel_deliver (t, &end, data, NAT_DATAGRAM_MAX))
    n++;
  g_assert_cmpuint (n, ==, NAT_LANE_LETTERS);
  g_assert_false (nat_tunnel_hang_up (t, &end));
  nat_lane_release (lane, 1);
  g_assert_true (nat_tunnel_hang_up (t, &end));
  g_assert_cmpuint (nat_lane_peek (lane, 0)->source.scope, ==, 70001);
  g_assert_cmpuint (nat_lane_peek (lane, n - 1)->kind, ==, NAT_LANE_HANG_UP);
  nat_tunnel_free (t);
  g_aligned_free (counters);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tunnel/register", test_register);
  g_test_add_func ("/tunnel/nonce-of-connection", test_nonce_of_connection);
  g_test_add_func ("/tunnel/stranger", test_stranger);
  g_test_add_func ("/tunnel/mixed", test_mixed);
  g_test_add_func ("/tunnel/many", test_many);
  g_test_add_func ("/tunnel/selection", test_selection);
  g_test_add_func ("/tunnel/hang-up", test_hang_up);
  g_test_add_func ("/tunnel/hang-ups-are-not-counted", test_hang_ups_are_not_counted);
  g_test_add_func ("/tunnel/stalled", test_stalled);
  g_test_add_func ("/tunnel/flood", test_flood);
  return g_test_run ();
}
