/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What only happens with several workers: clients of one stream that different workers hear, streams
 * that change owners, and control's commands and events meanwhile. */

#include <string.h>

#include "datarelay.h"
#include "natproto/crypto.h"
#include "natproto/rtcp.h"

#define QUIET_MS 150
#define STORM    100
#define MOVES    60

static guint
workers (void)
{
  return MAX (data_relay_workers (), 2);
}

/* Clients that do not keep their consent stay for as long as a busy machine takes. */
static void
patient_times (NatDataTimes *times)
{
  data_relay_default_times (times);
  times->consent_us = 3600 * (gint64)G_USEC_PER_SEC;
}

/* As data_relay_join, and that worker hears it. */
static NatProbe *
join_at (DataRelay *r, NatTicket *t, guint worker, NatSessionCounters **counters)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatProbe *p = data_relay_heard_by (r, worker);

  nat_probe_set_ticket (p, r->secrets, t);
  g_assert_true (nat_dataplane_add_session (r->dp, t, c, NULL));
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  if (counters)
    *counters = c;
  else
    nat_session_counters_unref (c);
  data_relay_drain_events (r);
  return p;
}

/* Until the owner hears the publisher itself: nothing more is passed on for its media. */
static void
wait_for_owner (DataRelay *r, NatProbe *from, NatProbe *to, guint16 *seq)
{
  gint64 end = g_get_monotonic_time () + NAT_PROBE_WAIT_MS * 1000;
  guint64 before;

  do {
    data_relay_drain_events (r);
    before = DATA_RELAY_COUNT (r, passed_on);
    data_relay_assert_passes (from, to, VIDEO_SSRC, (*seq)++);
    g_assert_cmpint (g_get_monotonic_time (), <, end);
  } while (DATA_RELAY_COUNT (r, passed_on) > before);
}

/* Both ways under SRTCP; a context that began anew, or a second one, would be refused as a replay. */
static void
assert_feedback (
    DataRelay *r, NatProbe *publisher, NatProbe *subscriber, const NatSessionCounters *cs)
{
  guint64 before = nat_counter_get (&cs->keyframe_requests);
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize len;

  nat_probe_send_rtcp (publisher, buf, nat_probe_write_sr (buf, VIDEO_SSRC, 1));
  g_assert_cmpint (nat_probe_receive_rtcp (subscriber, buf, NAT_PROBE_WAIT_MS), >, 0);
  len = nat_rtcp_write_rr (buf, sizeof buf, 99, NULL, 0);
  len += nat_rtcp_write_pli (buf + len, sizeof buf - len, 99, VIDEO_SSRC);
  nat_probe_send_rtcp (subscriber, buf, len);
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&cs->keyframe_requests), ==, before + 1);
  g_assert_cmpuint (nat_counter_get (&cs->rtcp_refused), ==, 0);
}

/* ---- One stream, all sockets ------------------------------------------- */

static void
test_spread (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  g_autoptr (NatProbe) publisher = join_at (r, &tp, 0, NULL);
  NatProbe *subscribers[NAT_WORKERS_MAX];
  NatSessionCounters *c[NAT_WORKERS_MAX];
  guint n = nat_dataplane_n_workers (r->dp);

  g_assert_cmpuint (n, ==, workers ());
  data_relay_describe (r, 1, &tp);
  for (guint i = 0; i < n; i++) {
    NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
    subscribers[i] = join_at (r, &t, i, &c[i]);
    g_assert_true (nat_address_equal (&subscribers[i]->mapped, &subscribers[i]->local));
  }
  for (guint16 seq = 1; seq < 100; seq++) {
    guint8 rtp[200], got[NAT_DATAGRAM_MAX];

    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, seq, seq);
    nat_probe_send (publisher, rtp, sizeof rtp);
    for (guint i = 0; i < n; i++) {
      g_assert_cmpint (nat_probe_receive (subscribers[i], NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS),
          ==, sizeof rtp);
      g_assert_cmpmem (got, sizeof rtp, rtp, sizeof rtp);
    }
  }
  for (guint i = 0; i < n; i++) {
    assert_feedback (r, publisher, subscribers[0], c[0]);
    for (guint k = 1; k < n; k++) {
      guint8 buf[NAT_DATAGRAM_MAX];
      g_assert_cmpint (nat_probe_receive_rtcp (subscribers[k], buf, NAT_PROBE_WAIT_MS), >, 0);
    }
  }
  g_assert_cmpuint (DATA_RELAY_COUNT (r, passed_on), >=, n - 1);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, passed_lost), ==, 0);
  data_relay_sync (r);
  for (guint i = 0; i < n; i++) {
    g_assert_cmpuint (nat_counter_get (&c[i]->packets_sent), ==, 99);
    nat_probe_free (subscribers[i]);
    nat_session_counters_unref (c[i]);
  }
}

/* A registration that was captured and comes from elsewhere is refused by whoever hears it: the owner, in whose mailbox media waits, does
 * not even see it. */
static void
test_replayed (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  g_autoptr (NatProbe) publisher = join_at (r, &tp, 0, NULL);
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len;

  data_relay_describe (r, 1, &tp);
  len = nat_probe_request (publisher, NAT_PROBE_SELECT, request);
  for (guint i = 0; i < workers (); i++) {
    g_autoptr (NatProbe) elsewhere = data_relay_heard_by (r, i);
    guint64 passed = DATA_RELAY_COUNT (r, passed_on);

    g_assert_cmpint (nat_probe_exchange (elsewhere, request, len, NAT_PROBE_WAIT_MS), ==, 438);
    g_assert_cmpuint (DATA_RELAY_COUNT (r, passed_on), ==, passed);
  }
  g_assert_cmpint (nat_probe_exchange (publisher, request, len, NAT_PROBE_WAIT_MS), ==, 0);
}

/* ---- The stream follows its publisher ---------------------------------- */

static void
test_follows (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp, ts;
  NatSessionCounters *cp, *cs;
  g_autoptr (NatProbe) publisher = NULL, subscriber = NULL;
  guint16 seq = 1;

  patient_times (&times);
  g_assert_cmpint (times.move_us, ==, G_USEC_PER_SEC);
  times.move_us = 200 * 1000;
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  tp = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  ts = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  publisher = join_at (r, &tp, 0, &cp);
  data_relay_describe (r, 1, &tp);
  subscriber = join_at (r, &ts, workers () - 1, &cs);
  wait_for_owner (r, publisher, subscriber, &seq);
  for (guint round = 0; round < 2 * workers (); round++) {
    guint64 moved = DATA_RELAY_COUNT (r, streams_moved);

    data_relay_move (r, publisher, (round + 1) % workers ());
    g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
    data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, seq++);
    assert_feedback (r, publisher, subscriber, cs);
    wait_for_owner (r, publisher, subscriber, &seq);
    g_assert_cmpuint (DATA_RELAY_COUNT (r, streams_moved), ==, moved + 1);
    assert_feedback (r, publisher, subscriber, cs);
  }
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&cp->rtcp_refused), ==, 0);
  g_assert_cmpuint (nat_counter_get (&cp->packets_received), ==, seq - 1);
  g_assert_cmpuint (nat_counter_get (&cs->packets_sent), ==, seq - 1);
  nat_session_counters_unref (cp);
  nat_session_counters_unref (cs);
}

static guint64
datagrams_sent (DataRelay *r, guint worker)
{
  return data_relay_worker_count (r, worker, G_STRUCT_OFFSET (NatWorkerCounters, datagrams_sent));
}

static void
assert_all_receive (NatProbe *const *subscribers, guint n, guint16 seq)
{
  for (guint i = 0; i < n; i++) {
    guint8 got[NAT_DATAGRAM_MAX];

    g_assert_cmpint (
        nat_probe_receive (subscribers[i], NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, 200);
    g_assert_cmpuint ((guint)got[2] << 8 | got[3], ==, seq);
  }
}

/* Each packet arrives at receivers that all workers hear between them, and one worker sends them all: the
 * stream stays where it is. */
static void
test_rebind_storm (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp, ts;
  g_autoptr (NatProbe) publisher = NULL;
  NatProbe *subscribers[NAT_WORKERS_MAX];
  NatSessionCounters *c[NAT_WORKERS_MAX];
  guint64 moved, sent[NAT_WORKERS_MAX];
  guint n = workers (), owners = 0;
  guint8 rtp[200];
  guint16 seq = 1;

  patient_times (&times);
  times.move_us = 3600 * (gint64)G_USEC_PER_SEC; /* however long the machine takes for the storm */
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  tp = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  publisher = join_at (r, &tp, 0, NULL);
  data_relay_describe (r, 1, &tp);
  for (guint i = 0; i < n; i++) {
    ts = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
    subscribers[i] = join_at (r, &ts, i, &c[i]);
    if (i == 0)
      wait_for_owner (r, publisher, subscribers[0], &seq);
    sent[i] = datagrams_sent (r, i);
  }
  moved = DATA_RELAY_COUNT (r, streams_moved);
  for (guint i = 0; i < STORM; i++) {
    nat_probe_rebind (publisher, "127.0.0.1");
    g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
    data_relay_drain_events (r);
    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, seq, seq);
    nat_probe_send (publisher, rtp, sizeof rtp);
    assert_all_receive (subscribers, n, seq++);
  }
  data_relay_sync (r);
  for (guint i = 0; i < n; i++) {
    owners += datagrams_sent (r, i) - sent[i] >= STORM * n;
    g_assert_cmpuint (nat_counter_get (&c[i]->packets_sent), >=, STORM);
    nat_probe_free (subscribers[i]);
    nat_session_counters_unref (c[i]);
  }
  g_assert_cmpuint (DATA_RELAY_COUNT (r, streams_moved), ==, moved);
  g_assert_cmpuint (owners, ==, 1);
}

/* Describes on and on until the stream was handed over, or for 200 ms. Returns the version. */
static guint32
describe_until_moved (DataRelay *r, guint64 moved, guint32 version)
{
  gint64 end = g_get_monotonic_time () + 200000;

  do {
    data_relay_drain_events (r);
    g_usleep (2000); /* each is an indication that waits in the clients' buffers */
    data_relay_describe (r, ++version, NULL);
  } while (DATA_RELAY_COUNT (r, streams_moved) == moved && g_get_monotonic_time () < end);
  return version;
}

/* A session that control makes and ends while the stream moves is the one that the client gets. */
static void
assert_guest (DataRelay *r, NatProbe *publisher, guint32 version, guint16 seq)
{
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) guest = data_relay_probe (r, &t);
  NatSessionCounters *c = nat_session_counters_new ();

  g_assert_true (nat_dataplane_add_session (r->dp, &t, c, NULL));
  g_assert_cmpint (nat_probe_bind (guest, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (guest->version, ==, version);
  g_assert_cmpuint (nat_counter_get (&c->bindings), ==, 1); /* not a revived one with its own */
  data_relay_assert_passes (publisher, guest, VIDEO_SSRC, seq);
  g_assert_true (nat_dataplane_end_session (r->dp, t.session_id, NAT_REASON_ENDED, t.expires_s));
  g_assert_cmpint (nat_probe_bind (guest, NAT_PROBE_SELECT), ==, 403);
  data_relay_drain_events (r);
  nat_session_counters_unref (c);
}

/* Control speaks while the stream changes owners: what it said before a Binding, the Binding sees, and
 * versions never go back. */
static void
test_commands_follow (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp, ts;
  g_autoptr (NatProbe) publisher = NULL, subscriber = NULL;
  guint8 rtp[NAT_DATAGRAM_MAX];
  guint32 version = 1;

  patient_times (&times);
  times.move_us = 0;
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  tp = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  ts = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  publisher = join_at (r, &tp, 0, NULL);
  subscriber = join_at (r, &ts, 0, NULL);
  data_relay_describe (r, version, &tp);
  for (guint i = 1; i < MOVES; i++) {
    guint64 moved = DATA_RELAY_COUNT (r, streams_moved);

    data_relay_move (r, publisher, i % workers ());
    g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
    data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, (guint16)(2 * i));
    version = describe_until_moved (r, moved, version);
    g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
    g_assert_cmpuint (publisher->version, ==, version);
    assert_guest (r, publisher, version, (guint16)(2 * i + 1));
    g_assert_cmpint (nat_probe_receive (subscriber, NAT_PACKET_RTP, rtp, NAT_PROBE_WAIT_MS), >, 0);
  }
  g_assert_cmpuint (DATA_RELAY_COUNT (r, streams_moved), >, MOVES / 2);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, passed_lost), ==, 0);
}

/* Events of a session come in order though it changes workers: the last that control hears is true. */
static void
test_events_in_order (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp;
  g_autoptr (NatProbe) publisher = NULL;
  NatEvent event;

  patient_times (&times);
  times.move_us = 0;
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  tp = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  publisher = join_at (r, &tp, 0, NULL);
  data_relay_describe (r, 1, &tp);
  for (guint i = 0; i < 60; i++) {
    NatAddress all[3], last = {0};

    for (guint k = 0; k < G_N_ELEMENTS (all); k++) {
      guint8 rtp[100];

      data_relay_move (r, publisher, (i + k) % workers ());
      g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
      nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, (guint16)(3 * i + k), i);
      nat_probe_send (publisher, rtp, sizeof rtp);
      all[k] = publisher->local;
    }
    for (guint k = 0; k < G_N_ELEMENTS (all); k++) {
      g_assert_true (data_relay_event (r, NAT_EVENT_MOVED, &event, NAT_PROBE_WAIT_MS));
      last = event.mapped;
      g_assert_true (nat_address_equal (&last, &all[k]));
    }
  }
}

/* ---- Ends, strangers, addresses ---------------------------------------- */

static void
test_ended_everywhere (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  NatProbe *first = join_at (r, &t, 0, NULL);
  NatEvent event;

  g_assert_true (nat_dataplane_end_session (r->dp, t.session_id, NAT_REASON_REVOKED, t.expires_s));
  for (guint i = 0; i < workers (); i++) {
    g_autoptr (NatProbe) p = data_relay_heard_by (r, i);

    nat_probe_set_ticket (p, r->secrets, &t);
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
    g_assert_cmpint (p->reason, ==, NAT_REASON_REVOKED);
  }
  g_assert_true (data_relay_event (r, NAT_EVENT_GONE, &event, NAT_PROBE_WAIT_MS));
  data_relay_no_event (r); /* the others knew nothing of it, and say so to nobody */
  nat_probe_free (first);
}

static void
test_strangers (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp;
  g_autoptr (NatProbe) publisher = NULL;

  data_relay_default_times (&times);
  times.strangers_us = 0;
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  publisher = data_relay_publish (r, &tp, NULL);
  for (guint i = 0; i < workers (); i++) {
    g_autoptr (NatProbe) p = data_relay_heard_by (r, i);
    guint8 rtp[100];

    nat_probe_write_rtp (rtp, sizeof rtp, 0xdeadbeef, 1, 1);
    nat_probe_send (p, rtp, sizeof rtp);
    g_assert_cmpint (nat_probe_indication (p, QUIET_MS), ==, NAT_REASON_NONE);
    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, 1, 1);
    nat_probe_send (p, rtp, sizeof rtp);
    g_assert_cmpint (nat_probe_indication (p, NAT_PROBE_WAIT_MS), ==, NAT_REASON_REGISTER);
  }
}

/* A socket that is used for one stream after the other hears only the last, though each stream has
 * another owner. */
static void
test_address_reused (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatSessionCounters *c;
  NatTicket ts = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) p = join_at (r, &ts, 0, &c);

  data_relay_assert_passes (publisher, p, VIDEO_SSRC, 1);
  for (guint i = 0; i < 2 * workers (); i++) {
    NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
    guint64 sent;
    guint8 rtp[100];

    g_snprintf (t.stream, sizeof t.stream, "other-%u", i);
    g_assert_true (nat_dataplane_add_session (r->dp, &t, c, NULL));
    nat_probe_set_ticket (p, r->secrets, &t);
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
    data_relay_sync (r);
    sent = nat_counter_get (&c->packets_sent);
    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, (guint16)(2 * i + 2), 1);
    nat_probe_send (publisher, rtp, sizeof rtp);
    data_relay_sync (r);
    g_assert_cmpuint (nat_counter_get (&c->packets_sent), ==, sent);
    /* Back again. */
    nat_probe_set_ticket (p, r->secrets, &ts);
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
    data_relay_assert_resent (p, (guint16)(2 * i + 2)); /* first what it missed meanwhile */
    data_relay_assert_passes (publisher, p, VIDEO_SSRC, (guint16)(2 * i + 3));
  }
  nat_session_counters_unref (c);
}

/* ---- Ports, stop, nonces ----------------------------------------------- */

static void
test_port_taken (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatDataplaneConfig config = {.n_listen = 1, .workers = workers (), .secrets = r->secrets};
  g_autoptr (GError) error = NULL;

  config.listen[0] = r->address;
  g_assert_null (nat_dataplane_new (&config, NULL, &error));
  g_assert_nonnull (strstr (error->message, "taken"));
}

static void
test_stop (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatProbe *all[4 * NAT_WORKERS_MAX];
  guint n = 4 * workers ();

  for (guint i = 0; i < n; i++) {
    NatTicket t = data_relay_ticket (r, i % 4 ? NAT_ROLE_SUBSCRIBER : NAT_ROLE_PUBLISHER);

    g_snprintf (t.stream, sizeof t.stream, "stream-%u", i / 4);
    all[i] = join_at (r, &t, (i / 4 + i % 4) % workers (), NULL);
  }
  nat_dataplane_stop (r->dp, NAT_REASON_GOING_AWAY);
  for (guint i = 0; i < n; i++) {
    g_assert_cmpint (nat_probe_indication (all[i], 1), ==, NAT_REASON_GOING_AWAY);
    nat_probe_free (all[i]);
  }
}

#define NONCES 100000

static gpointer
draw_nonces (gpointer mesh)
{
  gint64 *list = g_new (gint64, NONCES);

  for (guint i = 0; i < NONCES; i++)
    list[i] = nat_mesh_nonce_time (mesh, 1000);
  return list;
}

static void
test_nonces (void)
{
  NatMesh *mesh = nat_mesh_new (2, 64);
  GThread *thread = g_thread_new ("nonces", draw_nonces, mesh);
  g_autofree gint64 *one = draw_nonces (mesh), *two = g_thread_join (thread);
  guint a = 0, b = 0;

  /* Together they are all the numbers from the first on, each once, and each list ascends. */
  for (gint64 expected = 1000; expected < 1000 + 2 * NONCES; expected++) {
    if (a < NONCES && one[a] == expected)
      a++;
    else if (b < NONCES && two[b] == expected)
      b++;
    else
      g_assert_not_reached ();
  }
  g_assert_cmpint (nat_mesh_last_nonce (mesh), ==, 1000 + 2 * NONCES - 1);
  nat_mesh_free (mesh);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (data_relay_workers () < 2)
    g_setenv ("NATRELAY_TEST_WORKERS", "2", TRUE);
  g_test_add_func ("/workers/spread", test_spread);
  g_test_add_func ("/workers/replayed", test_replayed);
  g_test_add_func ("/workers/follows", test_follows);
  g_test_add_func ("/workers/rebind-storm", test_rebind_storm);
  g_test_add_func ("/workers/commands-follow", test_commands_follow);
  g_test_add_func ("/workers/events-in-order", test_events_in_order);
  g_test_add_func ("/workers/ended-everywhere", test_ended_everywhere);
  g_test_add_func ("/workers/strangers", test_strangers);
  g_test_add_func ("/workers/address-reused", test_address_reused);
  g_test_add_func ("/workers/port-taken", test_port_taken);
  g_test_add_func ("/workers/stop", test_stop);
  g_test_add_func ("/workers/nonces", test_nonces);
  return g_test_run ();
}
