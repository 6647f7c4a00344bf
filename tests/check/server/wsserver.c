/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* WebSocket clients of a whole relay but for its negotiation: HTTPS port, handshake, the thread that has their
 * connections, and the data plane behind it. */

#include "natserver/control/wsserver.h"

#include <string.h>
#include <sys/socket.h>
#include <libsoup/soup.h>

#include "natserver/control/websocket.h"
#include "natserver/control/wsqueue.h"
#include "wsclient.h"
#include "wsrelay.h"

typedef WsRelay Fixture;

static const NatWsLimits usual = {1000, 1000, 100, 20 * G_USEC_PER_SEC, 30 * G_USEC_PER_SEC};

static void
wait_for (const NatCounter *counter, guint64 value)
{
  gint64 end = g_get_monotonic_time () + NAT_PROBE_WAIT_MS * 1000;

  while (nat_counter_get (counter) != value) {
    if (g_get_monotonic_time () > end)
      g_error (
          "%" G_GUINT64_FORMAT " instead of %" G_GUINT64_FORMAT, nat_counter_get (counter), value);
    g_usleep (1000);
  }
}

static WsClient *
open_client (Fixture *f)
{
  WsClient *c = ws_client_new (&f->address, 0);

  ws_client_upgrade (c);
  return c;
}

static NatProbe *
subscribe (Fixture *f)
{
  NatTicket t = data_relay_ticket (f->r, NAT_ROLE_SUBSCRIBER);

  return ws_relay_register (f, ws_client_probe (&f->address), &t);
}

/* ---- The handshake ----------------------------------------------------- */

#define GET      "GET /v1/websocket HTTP/1.1\r\nHost: x\r\n"
#define UPGRADE  "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define VERSION  "Sec-WebSocket-Version: 13\r\n"
#define KEY      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: natrelay.v1\r\n"
#define END      "\r\n"

static const struct {
  const char *request, *status;
} refusals[] = {
    /*  0 */ {GET END, "426"},
    /*  1 */ {GET VERSION KEY PROTOCOL END, "426"},
    /*  2 */ {GET "Connection: Upgrade\r\nUpgrade: h2c\r\n" VERSION KEY PROTOCOL END, "426"},
    /*  3 */ {GET "Upgrade: websocket\r\n" VERSION KEY PROTOCOL END, "426"},
    /*  4 */ {GET UPGRADE "Sec-WebSocket-Version: 8\r\n" KEY PROTOCOL END, "426"},
    /*  5 */ {GET UPGRADE KEY PROTOCOL END, "426"},
    /*  6 */
    {"GET / HTTP/1.0\r\nHost: x\r\n" UPGRADE VERSION KEY PROTOCOL END, "426"},
    /*  7 */ {"HEAD / HTTP/1.1\r\nHost: x\r\n" UPGRADE VERSION KEY PROTOCOL END, "426"},
    /*  8 */ {GET UPGRADE VERSION KEY END, "400"},
    /*  9 */ {GET UPGRADE VERSION KEY "Sec-WebSocket-Protocol: chat\r\n" END, "400"},
    /* 10 */ {GET UPGRADE VERSION PROTOCOL END, "400"},
    /* 11 */ {GET UPGRADE VERSION "Sec-WebSocket-Key: short\r\n" PROTOCOL END, "400"},
    /* 12 */ {GET UPGRADE VERSION KEY KEY PROTOCOL END, "400"},
    /* 13 */ {GET UPGRADE VERSION KEY PROTOCOL "Content-Length: 1\r\n" END "x", "400"},
};

static void
test_refusals (void)
{
  Fixture f = {0};

  ws_relay_start (&f, &usual);
  for (guint i = 0; i < G_N_ELEMENTS (refusals); i++) {
    g_autoptr (WsClient) c = ws_client_new (&f.address, 0);
    g_autofree char *head = NULL;

    ws_client_send_raw (c, refusals[i].request, strlen (refusals[i].request));
    head = ws_client_read_head (c);
    if (strncmp (head, "HTTP/1.1 ", 9) != 0 || strncmp (head + 9, refusals[i].status, 3) != 0)
      g_error ("row %u: %s", i, head);
    if (strcmp (refusals[i].status, "426") == 0)
      g_assert_nonnull (strstr (head, "\r\nSec-WebSocket-Version: 13\r\n"));
  }
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_opened), ==, 0);
  ws_relay_stop (&f);
}

/* Who speaks before the answer is there is no WebSocket client. */
static void
test_early (void)
{
  static const char request[] = GET UPGRADE VERSION KEY PROTOCOL END "\x82\x80\0\0\0\0";
  Fixture f = {0};
  g_autoptr (WsClient) c = NULL;
  guint8 data[65536];
  gsize len;

  ws_relay_start (&f, &usual);
  c = ws_client_new (&f.address, 0);
  ws_client_send_raw (c, request, sizeof request - 1);
  g_free (ws_client_read_head (c));
  g_assert_cmpint (ws_client_receive (c, data, &len, NAT_PROBE_WAIT_MS), ==, WS_GONE);
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_opened), ==, 0);
  ws_relay_stop (&f);
}

/* Old proxies send an empty line before a request. */
static void
test_empty_line (void)
{
  static const char request[] = "\r\n" GET UPGRADE VERSION KEY PROTOCOL END;
  Fixture f = {0};
  g_autoptr (WsClient) c = NULL;
  g_autofree char *head = NULL;

  ws_relay_start (&f, &usual);
  c = ws_client_new (&f.address, 0);
  ws_client_send_raw (c, request, sizeof request - 1);
  head = ws_client_read_head (c);
  g_assert_true (g_str_has_prefix (head, "HTTP/1.1 101 "));
  wait_for (&f.counters->websocket_opened, 1);
  ws_relay_stop (&f);
}

/* ---- Frames ------------------------------------------------------------ */

static void
test_frames (void)
{
  static const guint8 unmasked[] = {0x82, 0x01, 'x'};
  Fixture f = {0};
  guint8 data[65536], big[NAT_DATAGRAM_MAX + 1] = {0};
  gsize len;
  WsClient *c;

  ws_relay_start (&f, &usual);
  c = open_client (&f);
  ws_client_send (c, 0x02, "abc", 3);
  ws_client_send (c, 0x89, "are you there?", 14); /* between the fragments */
  g_assert_cmpint (ws_client_receive (c, data, &len, NAT_PROBE_WAIT_MS), ==, 10);
  g_assert_cmpmem (data, len, "are you there?", 14);
  ws_client_send (c, 0x80, "d", 1);
  ws_client_send (c, 0x88, "\x03\xe8", 2);
  g_assert_cmpuint (ws_client_close_code (c), ==, NAT_WEBSOCKET_NORMAL);
  ws_client_free (c);
  c = open_client (&f);
  ws_client_send_raw (c, unmasked, sizeof unmasked);
  g_assert_cmpuint (ws_client_close_code (c), ==, NAT_WEBSOCKET_PROTOCOL_ERROR);
  ws_client_free (c);
  c = open_client (&f);
  ws_client_send (c, 0x82, big, sizeof big);
  ws_client_send (c, 0x82, big, sizeof big);
  g_assert_cmpuint (ws_client_close_code (c), ==, NAT_WEBSOCKET_TOO_BIG);
  ws_client_free (c);
  c = open_client (&f);
  ws_client_send (c, 0x81, "hello", 5);
  g_assert_cmpuint (ws_client_close_code (c), ==, NAT_WEBSOCKET_UNSUPPORTED);
  ws_client_free (c);
  ws_client_free (open_client (&f)); /* breaks off */
  wait_for (&f.counters->websocket_opened, 5);
  wait_for (
      &f.counters->websocket_broken, 1); /* the last, which is opened before it is a connection */
  wait_for (&f.counters->websocket_connections, 0);
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_left), ==, 1);
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_malformed), ==, 3);
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_received), ==, 1);
  ws_relay_stop (&f);
}

/* ---- Datagrams --------------------------------------------------------- */

static void
test_mixed (void)
{
  Fixture f = {0};
  NatTicket tp;
  NatProbe *publisher, *udp, *ws;
  guint8 got[NAT_DATAGRAM_MAX];

  ws_relay_start (&f, &usual);
  tp = data_relay_ticket (f.r, NAT_ROLE_PUBLISHER);
  publisher = ws_relay_register (&f, ws_client_probe (&f.address), &tp);
  g_assert_true (publisher->authentic);
  g_assert_true (nat_address_equal (&publisher->mapped, &publisher->local));
  data_relay_describe (f.r, 1, &tp);
  udp = data_relay_subscribe (f.r, NULL, NULL);
  ws = subscribe (&f);
  for (guint16 seq = 1; seq < 50; seq++) {
    data_relay_assert_passes (publisher, udp, VIDEO_SSRC, seq);
    g_assert_cmpint (nat_probe_receive (ws, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, 200);
    g_assert_cmpuint (got[3], ==, seq);
  }
  g_assert_cmpint (nat_probe_receive_rtcp (publisher, got, NAT_PROBE_WAIT_MS), >, 0);
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_strangers), ==, 0);
  nat_probe_free (publisher);
  nat_probe_free (ws);
  wait_for (&f.counters->websocket_connections, 0);
  nat_probe_free (udp);
  ws_relay_stop (&f);
}

/* Sends a packet, which must come; before it what the client missed may come again. */
static void
assert_arrives (NatProbe *from, NatProbe *to, guint16 seq)
{
  guint8 rtp[200], got[NAT_DATAGRAM_MAX];

  nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, seq, seq * 3000u);
  nat_probe_send (from, rtp, sizeof rtp);
  do {
    g_assert_cmpint (
        nat_probe_receive (to, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, sizeof rtp);
  } while (got[3] != seq);
}

/* From UDP to a WebSocket, that breaks, and another: one session all the while. */
static void
test_moves (void)
{
  Fixture f = {0};
  NatTicket tp, t;
  NatProbe *publisher, *udp, *ws;

  ws_relay_start (&f, &usual);
  publisher = data_relay_publish (f.r, &tp, NULL);
  t = data_relay_ticket (f.r, NAT_ROLE_SUBSCRIBER);
  udp = data_relay_join (f.r, &t, NULL);
  data_relay_assert_passes (publisher, udp, VIDEO_SSRC, 1);
  for (guint16 seq = 2; seq < 5; seq++) {
    ws = ws_client_probe (&f.address);
    nat_probe_set_ticket (ws, f.r->secrets, &t);
    g_assert_cmpint (nat_probe_bind (ws, NAT_PROBE_SELECT), ==, 0);
    assert_arrives (publisher, ws, seq);
    nat_probe_free (ws);
    wait_for (&f.counters->websocket_connections, 0);
  }
  memset (udp->epoch, 1, sizeof udp->epoch); /* the last probe had another */
  udp->nonce[0] = '\0';
  g_assert_cmpint (nat_probe_bind (udp, NAT_PROBE_SELECT), ==, 0);
  assert_arrives (publisher, udp, 9);
  nat_probe_free (udp);
  nat_probe_free (publisher);
  ws_relay_stop (&f);
}

/* ---- Time and places --------------------------------------------------- */

static void
test_unbound (void)
{
  NatWsLimits quick = {10, 10, 10, 2 * G_USEC_PER_SEC, 3 * G_USEC_PER_SEC};
  Fixture f = {0};
  g_autoptr (WsClient) silent = NULL;
  NatProbe *bound;
  gint64 start;
  guint8 got[NAT_DATAGRAM_MAX];

  ws_relay_start (&f, &quick);
  start = g_get_monotonic_time ();
  silent = open_client (&f);
  g_assert_cmpuint (ws_client_close_code (silent), ==, NAT_WEBSOCKET_POLICY);
  g_assert_cmpint (g_get_monotonic_time () - start, >=, quick.stranger_us);
  start = g_get_monotonic_time ();
  bound = subscribe (&f);
  while (nat_probe_receive (bound, NAT_PACKET_RTP, got, 100) < 0 &&
         nat_counter_get (&f.counters->websocket_unbound) == 1)
    g_assert_cmpint (g_get_monotonic_time () - start, <, NAT_PROBE_WAIT_MS * 1000);
  g_assert_cmpint (g_get_monotonic_time () - start, >=, quick.consent_us);
  wait_for (&f.counters->websocket_connections, 0);
  nat_probe_free (bound);
  ws_relay_stop (&f);
}

/* Those without a Binding have few places, the oldest goes; those with one are not touched. */
static void
test_strangers (void)
{
  NatWsLimits few = usual;
  Fixture f = {0};
  WsClient *clients[6];
  NatProbe *bound;

  few.strangers = 4;
  ws_relay_start (&f, &few);
  bound = subscribe (&f);
  for (guint i = 0; i < G_N_ELEMENTS (clients); i++) {
    clients[i] = open_client (&f);
    wait_for (&f.counters->websocket_opened, i + 2);
  }
  for (guint i = 0; i < 2; i++)
    g_assert_cmpuint (ws_client_close_code (clients[i]), ==, NAT_WEBSOCKET_TRY_LATER);
  g_assert_cmpint (nat_probe_bind (bound, 0), ==, 0);
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_pushed_out), ==, 2);
  for (guint i = 0; i < G_N_ELEMENTS (clients); i++)
    ws_client_free (clients[i]);
  nat_probe_free (bound);
  ws_relay_stop (&f);
}

/* Whoever closes and then stays has nobody pushed out who comes after him. */
static void
test_closing_strangers (void)
{
  NatWsLimits few = usual;
  Fixture f = {0};
  WsClient *clients[4];
  NatProbe *late;

  few.strangers = G_N_ELEMENTS (clients);
  ws_relay_start (&f, &few);
  for (guint i = 0; i < G_N_ELEMENTS (clients); i++)
    clients[i] = open_client (&f);
  wait_for (&f.counters->websocket_opened, G_N_ELEMENTS (clients));
  for (guint i = 0; i < G_N_ELEMENTS (clients); i++)
    ws_client_send (clients[i], 0x88, "\x03\xe8", 2);
  wait_for (&f.counters->websocket_left, G_N_ELEMENTS (clients));
  late = subscribe (&f);
  g_assert_cmpint (nat_probe_bind (late, 0), ==, 0);
  g_assert_cmpuint (nat_counter_get (&f.counters->websocket_pushed_out), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (clients); i++)
    ws_client_free (clients[i]);
  nat_probe_free (late);
  ws_relay_stop (&f);
}

static void
test_limits (void)
{
  NatWsLimits few = {3, 2, 100, 20 * G_USEC_PER_SEC, 30 * G_USEC_PER_SEC};
  Fixture f = {0};
  WsClient *a, *b, *c, *d;
  g_autofree char *head = NULL;

  ws_relay_start (&f, &few);
  a = open_client (&f);
  b = open_client (&f);
  wait_for (&f.counters->websocket_connections, 2);
  c = open_client (&f); /* one too many of this address */
  g_assert_cmpuint (ws_client_close_code (c), ==, 0);
  few.connections_per_address = 10;
  few.connections = 2;
  nat_ws_server_set_limits (f.server, &few);
  d = ws_client_new (&f.address, 0);
  ws_client_send_raw (
      d, GET UPGRADE VERSION KEY PROTOCOL END, strlen (GET UPGRADE VERSION KEY PROTOCOL END));
  head = ws_client_read_head (d);
  g_assert_true (g_str_has_prefix (head, "HTTP/1.1 503 "));
  ws_client_free (a);
  ws_client_free (b);
  ws_client_free (c);
  ws_client_free (d);
  ws_relay_stop (&f);
}

/* Before its first Binding a client may say little. */
static void
test_flood (void)
{
  Fixture f = {0};
  g_autoptr (WsClient) c = NULL;
  guint8 rubbish[100] = {0};

  ws_relay_start (&f, &usual);
  c = open_client (&f);
  for (guint i = 0; i < 1000; i++)
    ws_client_send (c, 0x82, rubbish, sizeof rubbish);
  wait_for (&f.counters->websocket_received, 1000);
  wait_for (&f.counters->websocket_lost, 1000 - 64);
  ws_relay_stop (&f);
}

/* ---- Slow readers ------------------------------------------------------ */

static gint paused; /* while it is set the slow one reads nothing */

/* RTP to somebody who does not read, until some of it was too late. Whoever reads gets everything. */
static guint
send_until_late (Fixture *f, NatProbe *publisher, NatProbe *reader)
{
  guint8 rtp[1200], got[NAT_DATAGRAM_MAX];
  guint n = 0;

  while (nat_counter_get (&f->counters->websocket_late_video) == 0) {
    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, (guint16)++n, 1);
    nat_probe_send (publisher, rtp, sizeof rtp);
    g_assert_cmpint (
        nat_probe_receive (reader, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, sizeof rtp);
    g_assert_cmpuint (got[2] << 8 | got[3], ==, n & 0xffff);
    g_assert_cmpuint (
        nat_counter_get (&f->counters->websocket_waiting_bytes), <, NAT_WS_MEDIA_MAX + 100000);
    if (n % 10 == 0)
      g_usleep (1000);
    g_assert_cmpuint (n, <, 100000);
  }
  return n;
}

static void
test_slow (void)
{
  Fixture f = {0};
  NatTicket tp, t;
  NatProbe *publisher, *udp, *slow;
  WsClient *c;
  guint n, last = 0;
  guint8 rtp[1200], got[NAT_DATAGRAM_MAX], request[NAT_DATAGRAM_MAX];
  gsize len;

  ws_relay_start (&f, &usual);
  publisher = data_relay_publish (f.r, &tp, NULL);
  udp = data_relay_subscribe (f.r, NULL, NULL);
  c = ws_client_new (&f.address, 16 * 1024);
  ws_client_upgrade (c);
  slow = ws_client_to_probe (c, &paused);
  t = data_relay_ticket (f.r, NAT_ROLE_SUBSCRIBER);
  ws_relay_register (&f, slow, &t);
  g_atomic_int_set (&paused, 1);
  n = send_until_late (&f, publisher, udp);
  len = nat_probe_request (slow, 0, request); /* its answer waits, and is not dropped */
  nat_probe_send (slow, request, len);
  data_relay_sync (f.r);
  g_atomic_int_set (&paused, 0);
  g_assert_cmpint (nat_probe_receive (slow, NAT_PACKET_STUN, got, NAT_PROBE_WAIT_MS), >, 0);
  nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, (guint16)(n + 1), 1);
  nat_probe_send (publisher, rtp, sizeof rtp);
  for (guint seen = 0; last != (n + 1) % 65536; seen++) {
    g_assert_cmpint (
        nat_probe_receive (slow, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, sizeof rtp);
    last = (guint)got[2] << 8 | got[3];
    g_assert_cmpuint (seen, <, n); /* some were left out */
  }
  nat_probe_free (slow);
  nat_probe_free (udp);
  nat_probe_free (publisher);
  ws_relay_stop (&f);
}

/* What must not be dropped has its bound too: then the connection goes. */
static void
test_slow_control (void)
{
  Fixture f = {0};
  NatTicket t;
  NatProbe *slow;
  WsClient *c;
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len;

  ws_relay_start (&f, &usual);
  c = ws_client_new (&f.address, 16 * 1024);
  ws_client_upgrade (c);
  slow = ws_client_to_probe (c, &paused);
  t = data_relay_ticket (f.r, NAT_ROLE_SUBSCRIBER);
  ws_relay_register (&f, slow, &t);
  g_atomic_int_set (&paused, 1);
  len = nat_probe_request (slow, 0, request);
  while (nat_counter_get (&f.counters->websocket_slow) == 0) {
    if (send (slow->fd, request, len, MSG_NOSIGNAL) < 0)
      break;
  }
  wait_for (&f.counters->websocket_slow, 1);
  wait_for (&f.counters->websocket_connections, 0); /* though it did not even read our goodbye */
  g_atomic_int_set (&paused, 0);
  nat_probe_free (slow);
  ws_relay_stop (&f);
}

/* ---- Many -------------------------------------------------------------- */

#define VIEWERS 30
#define FRAMES  60
#define PACKETS 7 /* of a frame */

static void
count_rtp (NatProbe *p, guint n)
{
  guint8 got[NAT_DATAGRAM_MAX];

  for (guint i = 0; i < n; i++)
    g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, 1200);
  g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, got, 0), ==, -1);
}

static guint64
sent_or_late (const Fixture *f)
{
  return nat_counter_get (&f->counters->websocket_sent) +
         nat_counter_get (&f->counters->websocket_late_video);
}

/* 2 Mbit/s to each; those at UDP get everything, the others all that was not late. */
static void
test_many (void)
{
  Fixture f = {0};
  NatTicket tp;
  NatProbe *publisher, *udp[3], *viewers[VIEWERS];
  guint8 rtp[1200];
  guint16 seq = 0;
  guint64 before;

  ws_relay_start (&f, &usual);
  publisher = data_relay_publish (f.r, &tp, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (udp); i++)
    udp[i] = data_relay_subscribe (f.r, NULL, NULL);
  for (guint i = 0; i < VIEWERS; i++)
    viewers[i] = subscribe (&f);
  before = sent_or_late (&f);
  for (guint frame = 0; frame < FRAMES; frame++) {
    for (guint i = 0; i < PACKETS; i++) {
      nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, ++seq, frame * 3000);
      nat_probe_send (publisher, rtp, sizeof rtp);
    }
    for (guint i = 0; i < G_N_ELEMENTS (udp); i++)
      count_rtp (udp[i], PACKETS);
    g_usleep (33000);
  }
  for (guint tries = 0; sent_or_late (&f) - before < VIEWERS * FRAMES * PACKETS; tries++) {
    g_assert_cmpuint (tries, <, NAT_PROBE_WAIT_MS);
    g_usleep (1000);
  }
  wait_for (&f.counters->websocket_waiting_bytes, 0);
  g_assert_cmpuint (DATA_RELAY_COUNT (f.r, send_tunnel_full), ==, 0);
  if (nat_counter_get (&f.counters->websocket_late_video) == 0) {
    for (guint i = 0; i < VIEWERS; i++)
      count_rtp (viewers[i], FRAMES * PACKETS);
  }
  for (guint i = 0; i < VIEWERS; i++)
    nat_probe_free (viewers[i]);
  for (guint i = 0; i < G_N_ELEMENTS (udp); i++)
    nat_probe_free (udp[i]);
  nat_probe_free (publisher);
  ws_relay_stop (&f);
}

/* ---- The end ----------------------------------------------------------- */

static void
test_stop (void)
{
  Fixture f = {0};
  g_autoptr (WsClient) stranger = NULL;
  NatProbe *ws;

  ws_relay_start (&f, &usual);
  ws = subscribe (&f);
  stranger = open_client (&f);
  wait_for (&f.counters->websocket_connections, 2);
  nat_dataplane_stop (f.r->dp, NAT_REASON_GOING_AWAY);
  nat_ws_server_free (f.server);
  f.server = NULL;
  g_assert_cmpint (nat_probe_indication (ws, NAT_PROBE_WAIT_MS), ==, NAT_REASON_GOING_AWAY);
  g_assert_cmpuint (ws_client_close_code (stranger), ==, NAT_WEBSOCKET_GOING_AWAY);
  nat_probe_free (ws);
  ws_relay_stop (&f);
}

/* ---- Somebody else's client -------------------------------------------- */

typedef struct {
  GMainLoop *loop;
  SoupWebsocketConnection *ws;
  GBytes *got;
} Soup;

static gboolean
accept_certificate (SoupMessage *m, GTlsCertificate *c, GTlsCertificateFlags e, gpointer user)
{
  return TRUE;
}

static void
on_message (SoupWebsocketConnection *ws, gint type, GBytes *bytes, Soup *s)
{
  g_assert_cmpint (type, ==, SOUP_WEBSOCKET_DATA_BINARY);
  s->got = g_bytes_ref (bytes);
  g_main_loop_quit (s->loop);
}

static void
on_closed (SoupWebsocketConnection *ws, Soup *s)
{
  g_main_loop_quit (s->loop);
}

static void
on_connected (GObject *session, GAsyncResult *result, gpointer user)
{
  g_autoptr (GError) error = NULL;
  Soup *s = user;

  s->ws = soup_session_websocket_connect_finish (SOUP_SESSION (session), result, &error);
  g_assert_no_error (error);
  g_main_loop_quit (s->loop);
}

static void
test_soup (void)
{
  Fixture f = {0};
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (SoupSession) session = NULL;
  g_autoptr (SoupMessage) message = NULL;
  g_autofree char *uri = NULL;
  const char *protocols[] = {NAT_WEBSOCKET_PROTOCOL, NULL};
  NatTicket t;
  NatProbe *p;
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len;
  Soup s = {0};

  ws_relay_start (&f, &usual);
  t = data_relay_ticket (f.r, NAT_ROLE_SUBSCRIBER);
  p = data_relay_probe (f.r, &t);
  len = nat_probe_request (p, 0, request); /* without a nonce that is good here: 438 */
  g_main_context_push_thread_default (context);
  s.loop = g_main_loop_new (context, FALSE);
  session = soup_session_new ();
  uri = g_strdup_printf ("wss://127.0.0.1:%u" NAT_WEBSOCKET_PATH, f.address.port);
  message = soup_message_new ("GET", uri);
  g_signal_connect (message, "accept-certificate", G_CALLBACK (accept_certificate), NULL);
  soup_session_websocket_connect_async (
      session, message, NULL, (char **)protocols, 0, NULL, on_connected, &s);
  g_main_loop_run (s.loop);
  g_assert_cmpstr (soup_websocket_connection_get_protocol (s.ws), ==, NAT_WEBSOCKET_PROTOCOL);
  g_signal_connect (s.ws, "message", G_CALLBACK (on_message), &s);
  g_signal_connect (s.ws, "closed", G_CALLBACK (on_closed), &s);
  soup_websocket_connection_send_binary (s.ws, request, len);
  g_main_loop_run (s.loop);
  g_assert_nonnull (s.got);
  g_assert_cmpint (
      nat_demux (g_bytes_get_data (s.got, NULL), g_bytes_get_size (s.got)), ==, NAT_PACKET_STUN);
  soup_websocket_connection_close (s.ws, SOUP_WEBSOCKET_CLOSE_NORMAL, "bye");
  g_main_loop_run (s.loop);
  g_assert_cmpuint (soup_websocket_connection_get_close_code (s.ws), ==, 1000);
  wait_for (&f.counters->websocket_left, 1);
  g_bytes_unref (s.got);
  g_object_unref (s.ws);
  g_main_context_pop_thread_default (context);
  g_main_loop_unref (s.loop);
  nat_probe_free (p);
  ws_relay_stop (&f);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/wsserver/refusals", test_refusals);
  g_test_add_func ("/wsserver/early", test_early);
  g_test_add_func ("/wsserver/empty-line", test_empty_line);
  g_test_add_func ("/wsserver/frames", test_frames);
  g_test_add_func ("/wsserver/mixed", test_mixed);
  g_test_add_func ("/wsserver/moves", test_moves);
  g_test_add_func ("/wsserver/unbound", test_unbound);
  g_test_add_func ("/wsserver/strangers", test_strangers);
  g_test_add_func ("/wsserver/closing-strangers", test_closing_strangers);
  g_test_add_func ("/wsserver/limits", test_limits);
  g_test_add_func ("/wsserver/flood", test_flood);
  g_test_add_func ("/wsserver/slow", test_slow);
  g_test_add_func ("/wsserver/slow-control", test_slow_control);
  g_test_add_func ("/wsserver/many", test_many);
  g_test_add_func ("/wsserver/stop", test_stop);
#ifndef __SANITIZE_THREAD__ /* GIO's TLS hands sessions from thread to thread where the sanitizer sees no lock */
  g_test_add_func ("/wsserver/soup", test_soup);
#else
  (void)test_soup;
#endif
  return g_test_run ();
}
