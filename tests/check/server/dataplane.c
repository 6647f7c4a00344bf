/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The relay's data plane as clients see it, over loopback: registration, forwarding, moving, revival,
 * ends. Feedback (RTCP) has feedback.c, hostile input abuse.c. */

#include "datarelay.h"

#include <string.h>
#include <unistd.h>

#include "natproto/crypto.h"

#define QUIET_MS 150 /* that nothing comes can only be waited for */

static void
assert_no_rtp (NatProbe *p)
{
  guint8 buf[NAT_DATAGRAM_MAX];

  g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, buf, QUIET_MS), ==, -1);
}

/* ---- Challenge and registration ---------------------------------------- */

static void
test_challenge (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (NatProbe) p = nat_probe_new ("127.0.0.1", &r->address);

  g_assert_cmpint (nat_probe_challenge (p, 160, NAT_PROBE_WAIT_MS), ==, 401);
  g_assert_cmpuint (p->answer_len, <=, 160);
  g_assert_false (p->authentic);
  g_assert_cmpuint (strlen (p->nonce), ==, NAT_NONCE_LEN);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, stun_challenges), ==, 1);
  /* Shorter than its answer: silence. */
  g_assert_cmpint (nat_probe_challenge (p, 0, QUIET_MS), ==, NAT_PROBE_TIMEOUT);
  g_assert_cmpint (nat_probe_challenge (p, 100, QUIET_MS), ==, NAT_PROBE_TIMEOUT);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, drop_short), ==, 2);
  data_relay_no_event (r);
}

static void
test_registration (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = data_relay_probe (r, &t);
  NatSessionCounters *c = nat_session_counters_new ();
  guint8 request[NAT_DATAGRAM_MAX];
  NatEvent event;
  gsize len;

  g_assert_true (nat_dataplane_add_session (r->dp, &t, c, NULL));
  g_assert_cmpint (nat_probe_challenge (p, 200, NAT_PROBE_WAIT_MS), ==, 401);
  len = nat_probe_request (p, NAT_PROBE_SELECT, request);
  for (guint i = 0; i < 3; i++) { /* a repeated request is answered again */
    g_assert_cmpint (nat_probe_exchange (p, request, len, NAT_PROBE_WAIT_MS), ==, 0);
    g_assert_true (p->authentic);
    g_assert_true (nat_address_equal (&p->mapped, &p->local));
    g_assert_cmpuint (p->version, ==, 0);
  }
  g_assert_true (nat_dataplane_poll_event (r->dp, &event));
  g_assert_cmpint (event.type, ==, NAT_EVENT_REGISTERED);
  g_assert_true (nat_address_equal (&event.mapped, &p->local));
  data_relay_no_event (r);
  g_assert_cmpuint (nat_counter_get (&c->bindings), ==, 3);
  g_assert_cmpuint (nat_counter_get (&c->moves), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->last_binding_us), >, 0);
  nat_session_counters_unref (c);
}

static void
test_forged (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = data_relay_probe (r, &t);
  g_autofree char *username = g_strdup (p->username);
  g_autofree char *password = g_strdup (p->password);

  nat_probe_set_credentials (p, username, "wrong");
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 401);
  g_assert_false (p->authentic);
  nat_probe_set_credentials (p, "nobody", password);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 401);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, stun_forged), >=, 2);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, stun_success), ==, 0);
  data_relay_no_event (r);
  /* Nothing stuck: with the right ones it works. */
  nat_probe_set_credentials (p, username, password);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
}

static void
test_bad_requests (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = data_relay_probe (r, &t);

  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT | NAT_PROBE_NO_EPOCH), ==, 400);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT | NAT_PROBE_UNKNOWN), ==, 420);
  g_assert_true (p->authentic);
  data_relay_no_event (r);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
}

/* A nonce is for one path: the same bytes from another address get a fresh challenge, not success. */
static void
test_replay_elsewhere (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp, ts;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, &ts, NULL);
  g_autoptr (NatProbe) thief = data_relay_probe (r, &ts);
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len = nat_probe_request (subscriber, NAT_PROBE_SELECT, request);

  g_assert_cmpint (nat_probe_exchange (subscriber, request, len, NAT_PROBE_WAIT_MS), ==, 0);
  g_assert_cmpint (nat_probe_exchange (thief, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  g_assert_cmpuint (thief->answer_len, <=, len);
  data_relay_no_event (r);
  data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, 1);
  assert_no_rtp (thief);
}

static void
test_local_addresses (void)
{
  static const char *const addresses[] = {"127.0.0.1", "127.0.0.2", "127.0.0.9"};
  g_autoptr (DataRelay) r = data_relay_new ("0.0.0.0", TRUE, NULL);
  NatTicket tp, t;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);

  /* The probe insists that everything comes from the address that it sends to. */
  for (guint i = 0; i <= G_N_ELEMENTS (addresses); i++) {
    g_autoptr (NatProbe) p = NULL;
    NatAddress relay = r->address6;
    gboolean v6 = i == G_N_ELEMENTS (addresses);

    if (v6 && relay.family == 0)
      break;
    if (!v6)
      g_assert_true (nat_address_from_text (&relay, addresses[i], r->address.port));
    t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
    p = nat_probe_new (v6 ? "[::1]" : "127.0.0.1", &relay);
    nat_probe_set_ticket (p, r->secrets, &t);
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
    data_relay_assert_passes (publisher, p, VIDEO_SSRC, (guint16)i);
  }
}

/* ---- Forwarding -------------------------------------------------------- */

static gboolean
is_audio (guint i)
{
  return i % 3 == 0;
}

/* Sizes change often, so runs are cut everywhere, and are often equal, so that there are long ones. */
static gsize
make_packet (guint8 *rtp, guint i)
{
  gsize len = i % 50 < 30 ? 1200 : 12 + i * 6;

  nat_probe_write_rtp (rtp, len, is_audio (i) ? AUDIO_SSRC : VIDEO_SSRC, (guint16)i, i);
  return len;
}

static guint
next_of (gboolean audio, guint i)
{
  while (is_audio (i) != audio)
    i++;
  return i;
}

/* Each track in its order; audio may overtake video. */
static void
assert_receives (NatProbe *p, guint from, guint to)
{
  guint8 rtp[NAT_DATAGRAM_MAX], got[NAT_DATAGRAM_MAX];
  guint next[2] = {next_of (FALSE, from), next_of (TRUE, from)};

  for (guint k = from; k < to; k++) {
    gssize n = nat_probe_receive (p, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS);
    guint i = (guint)got[2] << 8 | got[3];
    gsize len = make_packet (rtp, i);

    g_assert_cmpuint (i, ==, next[is_audio (i)]);
    g_assert_cmpmem (got, (gsize)n, rtp, len);
    next[is_audio (i)] = next_of (is_audio (i), i + 1);
  }
}

static void
test_forward (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatSessionCounters *cp, *c1;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, &cp);
  g_autoptr (NatProbe) one = data_relay_subscribe (r, NULL, &c1);
  g_autoptr (NatProbe) two = data_relay_subscribe (r, NULL, NULL);
  guint8 rtp[NAT_DATAGRAM_MAX];
  const guint n = 300, chunk = 50; /* what a client's socket buffer holds */

  for (guint at = 0; at < n; at += chunk) {
    for (guint i = at; i < at + chunk; i++)
      nat_probe_send (publisher, rtp, make_packet (rtp, i));
    assert_receives (one, at, at + chunk);
    assert_receives (two, at, at + chunk);
  }
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&cp->packets_received), ==, n);
  g_assert_cmpuint (nat_counter_get (&c1->packets_sent), ==, n);
  g_assert_cmpuint (nat_counter_get (&c1->bytes_sent), ==, nat_counter_get (&cp->bytes_received));
  g_assert_cmpuint (nat_counter_get (&c1->packets_unsent), ==, 0);
  nat_session_counters_unref (cp);
  nat_session_counters_unref (c1);
}

static void
test_refused_media (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp, other = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  NatSessionCounters *cp, *cs, *co;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, &cp);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, &cs);
  g_autoptr (NatProbe) intruder = data_relay_join (r, &other, &co);

  nat_probe_send_rtp (publisher, 0xdeadbeef, 1);  /* not announced */
  nat_probe_send_rtp (subscriber, VIDEO_SSRC, 1); /* no publisher */
  nat_probe_send_rtp (intruder, VIDEO_SSRC, 1);   /* a publisher, but not this stream's */
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&cp->rtp_refused), ==, 1);
  g_assert_cmpuint (nat_counter_get (&cs->rtp_refused), ==, 1);
  g_assert_cmpuint (nat_counter_get (&co->rtp_refused), ==, 1);
  assert_no_rtp (subscriber);
  data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, 2);
  /* The stream is given to the other: now the first is the intruder. */
  data_relay_describe (r, 2, &other);
  data_relay_assert_passes (intruder, subscriber, VIDEO_SSRC, 3);
  nat_probe_send_rtp (publisher, VIDEO_SSRC, 4);
  assert_no_rtp (subscriber);
  nat_session_counters_unref (cp);
  nat_session_counters_unref (cs);
  nat_session_counters_unref (co);
}

/* ---- Moving ------------------------------------------------------------ */

static void
test_move (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp, ts;
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) old = data_relay_subscribe (r, &ts, &c);
  g_autoptr (NatProbe) new = data_relay_probe (r, &ts);
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len = nat_probe_request (old, NAT_PROBE_SELECT, request);
  NatEvent event;

  memcpy (new->epoch, old->epoch, sizeof new->epoch); /* the same client, another mapping */
  /* A second path, just validated: nothing moves. */
  g_assert_cmpint (nat_probe_bind (new, 0), ==, 0);
  data_relay_no_event (r);
  data_relay_assert_passes (publisher, old, VIDEO_SSRC, 1);
  /* Named: it moves, and control hears of it. */
  g_assert_cmpint (nat_probe_bind (new, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_MOVED, &event, NAT_PROBE_WAIT_MS));
  g_assert_true (nat_address_equal (&event.mapped, &new->local));
  data_relay_assert_resent (new, 1);
  data_relay_assert_passes (publisher, new, VIDEO_SSRC, 2);
  g_assert_cmpuint (nat_counter_get (&c->moves), ==, 1);
  /* Replayed from the old address, whose nonce is of before: 438, and nothing moves. */
  g_assert_cmpint (nat_probe_exchange (old, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  g_assert_true (old->authentic);
  data_relay_no_event (r);
  data_relay_assert_passes (publisher, new, VIDEO_SSRC, 3);
  assert_no_rtp (old);
  /* With the fresh nonce of that answer the client itself moves back. */
  g_assert_cmpint (nat_probe_bind (old, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_MOVED, &event, NAT_PROBE_WAIT_MS));
  data_relay_assert_resent (old, 3);
  data_relay_assert_passes (publisher, old, VIDEO_SSRC, 4);
  nat_session_counters_unref (c);
}

/* Challenged before the selected path was held the last time: it comes too late, whenever it comes. */
static void
test_held (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp, ts;
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) held = data_relay_subscribe (r, &ts, &c);
  g_autoptr (NatProbe) other = data_relay_probe (r, &ts);
  guint8 request[NAT_DATAGRAM_MAX];
  NatEvent event;
  gsize len;

  memcpy (other->epoch, held->epoch, sizeof other->epoch);
  g_assert_cmpint (nat_probe_challenge (other, 200, NAT_PROBE_WAIT_MS), ==, 401);
  len = nat_probe_request (other, NAT_PROBE_SELECT, request);
  g_assert_cmpint (nat_probe_challenge (held, 200, NAT_PROBE_WAIT_MS), ==, 401);
  g_assert_cmpint (nat_probe_bind (held, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpint (nat_probe_exchange (other, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  g_assert_true (other->authentic);
  g_assert_cmpuint (nat_counter_get (&c->moves), ==, 0);
  data_relay_assert_passes (publisher, held, VIDEO_SSRC, 1);
  assert_no_rtp (other);
  /* Whoever means it says it again. */
  g_assert_cmpint (nat_probe_bind (other, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_MOVED, &event, NAT_PROBE_WAIT_MS));
  nat_session_counters_unref (c);
}

/* RTP is accepted from any path that the publisher validated, selected or not. */
static void
test_publisher_paths (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) second = data_relay_probe (r, &tp);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, NULL);

  memcpy (second->epoch, publisher->epoch, sizeof second->epoch);
  g_assert_cmpint (nat_probe_bind (second, 0), ==, 0);
  data_relay_assert_passes (second, subscriber, VIDEO_SSRC, 1);
  data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, 2);
}

/* Four paths; the fifth takes the place of the oldest that is not selected. */
static void
test_path_limit (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatProbe *paths[6];
  NatSessionCounters *c;
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, NULL);

  paths[0] = data_relay_publish (r, &tp, &c);
  for (guint i = 1; i < G_N_ELEMENTS (paths); i++) {
    paths[i] = data_relay_probe (r, &tp);
    memcpy (paths[i]->epoch, paths[0]->epoch, NAT_EPOCH_SIZE);
    g_assert_cmpint (nat_probe_bind (paths[i], 0), ==, 0);
  }
  /* 0 is selected; of the others the latest three stayed. */
  for (guint i = 0; i < G_N_ELEMENTS (paths); i++) {
    if (i == 0 || i >= 3) {
      data_relay_assert_passes (paths[i], subscriber, VIDEO_SSRC, (guint16)i);
    } else {
      nat_probe_send_rtp (paths[i], VIDEO_SSRC, (guint16)i);
      g_assert_cmpint (nat_probe_indication (paths[i], NAT_PROBE_WAIT_MS), ==, NAT_REASON_REGISTER);
    }
  }
  g_assert_cmpuint (DATA_RELAY_COUNT (r, drop_unregistered), ==, 2);
  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    nat_probe_free (paths[i]);
  nat_session_counters_unref (c);
}

/* A client that starts anew from the same port is another session at the same address. */
static void
test_address_reused (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp, t1, t2 = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  NatSessionCounters *c1;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) p = data_relay_subscribe (r, &t1, &c1);

  data_relay_assert_passes (publisher, p, VIDEO_SSRC, 1);
  nat_probe_set_ticket (p, r->secrets, &t2);
  nat_crypto_random (p->epoch, sizeof p->epoch);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  data_relay_assert_passes (publisher, p, VIDEO_SSRC, 2);
  assert_no_rtp (p); /* once, not twice */
  g_assert_cmpuint (nat_counter_get (&c1->packets_sent), ==, 1);
  nat_session_counters_unref (c1);
}

/* ---- Tickets ----------------------------------------------------------- */

static void
test_revive (void)
{
  DataRelay *r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp, ts;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, &ts, NULL);
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  NatReason reason;
  NatEvent event;

  memcpy (boot_id, publisher->boot_id, sizeof boot_id);
  r = data_relay_restart (r);
  g_assert_cmpint (nat_probe_indication (publisher, NAT_PROBE_WAIT_MS), ==, NAT_REASON_GOING_AWAY);
  /* Media first: the relay knows nobody, but just started, so it asks. */
  nat_probe_send_rtp (publisher, VIDEO_SSRC, 1);
  do {
    reason = nat_probe_indication (publisher, NAT_PROBE_WAIT_MS);
  } while (reason == NAT_REASON_GOING_AWAY); /* said twice */
  g_assert_cmpint (reason, ==, NAT_REASON_REGISTER);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, drop_unregistered), ==, 1);
  g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (memcmp (boot_id, publisher->boot_id, sizeof boot_id) != 0);
  g_assert_cmpuint (publisher->version, ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_REVIVED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpstr (event.ticket.stream, ==, STREAM);
  g_assert_cmpint (event.ticket.role, ==, NAT_ROLE_PUBLISHER);
  g_assert_true (data_relay_event (r, NAT_EVENT_REGISTERED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 0);
  /* Nothing flows before the description is here again. */
  nat_probe_send_rtp (publisher, VIDEO_SSRC, 2);
  assert_no_rtp (subscriber);
  data_relay_describe (r, 7, &tp);
  g_assert_cmpint (nat_probe_indication (subscriber, NAT_PROBE_WAIT_MS), ==, NAT_REASON_GOING_AWAY);
  data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, 3);
  g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (subscriber->version, ==, 7);
  data_relay_free (r);
}

static void
test_end (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp, ts, unseen = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, &ts, NULL);
  g_autoptr (NatProbe) late = data_relay_probe (r, &unseen);
  NatEvent event;

  g_assert_true (
      nat_dataplane_end_session (r->dp, ts.session_id, NAT_REASON_REVOKED, ts.expires_s));
  g_assert_cmpint (nat_probe_indication (subscriber, NAT_PROBE_WAIT_MS), ==, NAT_REASON_REVOKED);
  nat_probe_send_rtp (publisher, VIDEO_SSRC, 1);
  assert_no_rtp (subscriber);
  g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 403);
  g_assert_true (subscriber->authentic);
  g_assert_cmpint (subscriber->reason, ==, NAT_REASON_REVOKED);
  g_assert_true (nat_dataplane_poll_event (r->dp, &event));
  g_assert_cmpint (event.type, ==, NAT_EVENT_GONE);
  g_assert_cmpmem (event.session_id, sizeof event.session_id, ts.session_id, sizeof ts.session_id);
  /* An id that ended before this process knew it. */
  g_assert_true (nat_dataplane_end_session (
      r->dp, unseen.session_id, NAT_REASON_SUPERSEDED, unseen.expires_s));
  g_assert_cmpint (nat_probe_bind (late, NAT_PROBE_SELECT), ==, 403);
  g_assert_cmpint (late->reason, ==, NAT_REASON_SUPERSEDED);
  data_relay_no_event (r);
}

static void
test_expiry (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER), fresh;
  g_autoptr (NatProbe) p = NULL;

  t.expires_s = g_get_real_time () / G_USEC_PER_SEC - 1;
  p = data_relay_probe (r, &t);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
  g_assert_true (p->authentic);
  g_assert_cmpint (p->reason, ==, NAT_REASON_EXPIRED);
  data_relay_no_event (r);
  /* It runs out while registered, and the remembered credentials with it. */
  t.expires_s = g_get_real_time () / G_USEC_PER_SEC + 2;
  nat_probe_set_ticket (p, r->secrets, &t);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  while (g_get_real_time () / G_USEC_PER_SEC < t.expires_s)
    g_usleep (20000);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
  g_assert_cmpint (p->reason, ==, NAT_REASON_EXPIRED);
  /* A fresh ticket of the same session: same password, it goes on. */
  fresh = t;
  fresh.expires_s += 3600;
  g_assert_true (nat_dataplane_renew_session (r->dp, &fresh));
  nat_probe_set_ticket (p, r->secrets, &fresh);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
}

/* ---- Time -------------------------------------------------------------- */

static void
test_consent (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp, ts;
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = NULL, subscriber = NULL;
  NatEvent event;
  guint64 sent;

  data_relay_default_times (&times);
  g_assert_cmpint (times.consent_us, ==, 30 * G_USEC_PER_SEC);
  times.consent_us = 3 * G_USEC_PER_SEC; /* a busy machine must get round in it */
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  subscriber = data_relay_subscribe (r, &ts, &c);
  publisher = data_relay_publish (r, &tp, NULL);
  /* The publisher holds its consent, the subscriber does not. */
  do {
    g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
  } while (!data_relay_event (r, NAT_EVENT_GONE, &event, 100));
  g_assert_cmpmem (event.session_id, sizeof event.session_id, ts.session_id, sizeof ts.session_id);
  sent = nat_counter_get (&c->packets_sent);
  nat_probe_send_rtp (publisher, VIDEO_SSRC, 1);
  assert_no_rtp (subscriber);
  g_assert_cmpuint (nat_counter_get (&c->packets_sent), ==, sent);
  /* Its ticket brings it back. */
  g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_REVIVED, &event, NAT_PROBE_WAIT_MS));
  g_assert_true (data_relay_event (r, NAT_EVENT_REGISTERED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
  data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, 2);
  nat_session_counters_unref (c);
}

static void
test_silence (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp;
  g_autoptr (NatProbe) publisher = NULL;
  NatEvent event;

  data_relay_default_times (&times);
  times.silence_us = 500 * 1000;
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  publisher = data_relay_publish (r, &tp, NULL);
  data_relay_assert_active (r, publisher, times.silence_us / 2);
  g_assert_true (data_relay_event (r, NAT_EVENT_SILENT, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpmem (event.session_id, sizeof event.session_id, tp.session_id, sizeof tp.session_id);
  nat_probe_send_rtp (publisher, VIDEO_SSRC, 2);
  g_assert_true (data_relay_event (r, NAT_EVENT_ACTIVE, &event, NAT_PROBE_WAIT_MS));
}

static void
test_strangers (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp;
  g_autoptr (NatProbe) publisher = NULL, stranger = NULL, other = NULL;

  data_relay_default_times (&times);
  times.strangers_us = 0;
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  publisher = data_relay_publish (r, &tp, NULL);
  stranger = nat_probe_new ("127.0.0.1", &r->address);
  nat_probe_send_rtp (stranger, 0xdeadbeef, 1);
  g_assert_cmpint (nat_probe_indication (stranger, QUIET_MS), ==, NAT_REASON_NONE);
  nat_probe_send_rtp (stranger, VIDEO_SSRC, 1);
  g_assert_cmpint (nat_probe_indication (stranger, NAT_PROBE_WAIT_MS), ==, NAT_REASON_REGISTER);
  /* One gets a hundred a second, and nobody else has to do without. */
  for (guint i = 0; i < 500; i++)
    nat_probe_send_rtp (stranger, VIDEO_SSRC, (guint16)i);
  data_relay_sync (r);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, drop_unregistered), ==, 502);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, datagrams_sent), <, 200);
  other = nat_probe_new ("127.0.0.2", &r->address);
  nat_probe_send_rtp (other, VIDEO_SSRC, 1);
  g_assert_cmpint (nat_probe_indication (other, NAT_PROBE_WAIT_MS), ==, NAT_REASON_REGISTER);
}

/* ---- Description, epoch, stop ------------------------------------------ */

static void
test_description (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, NULL);
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);

  g_assert_cmpint (
      nat_probe_indication (subscriber, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (subscriber->version, ==, 1);
  /* Only the version: SSRCs and publisher stay. */
  g_assert_true (nat_dataplane_set_description (r->dp, STREAM, NULL, 9, NULL));
  g_assert_cmpint (
      nat_probe_indication (subscriber, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (subscriber->version, ==, 9);
  data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, 1);
  /* Version 0 takes the description back, though no SSRCs are given. */
  g_assert_true (nat_dataplane_set_description (r->dp, STREAM, NULL, 0, tp.session_id));
  g_assert_cmpint (
      nat_probe_indication (subscriber, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  nat_probe_send_rtp (publisher, VIDEO_SSRC, 2);
  assert_no_rtp (subscriber);
}

static void
test_epoch (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket ts;
  g_autoptr (NatProbe) p = data_relay_subscribe (r, &ts, NULL);
  guint8 old_request[NAT_DATAGRAM_MAX], old_epoch[NAT_EPOCH_SIZE];
  gsize len = nat_probe_request (p, NAT_PROBE_SELECT, old_request);

  memcpy (old_epoch, p->epoch, sizeof old_epoch);
  nat_crypto_random (p->epoch, sizeof p->epoch);
  /* The nonce that the old epoch came with is not late enough; bind fetches a later one. */
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpint (nat_probe_exchange (p, old_request, len, NAT_PROBE_WAIT_MS), ==, 438);
  g_assert_true (p->authentic);
}

static void
test_stop (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, NULL);
  gint64 took = -g_get_monotonic_time ();

  nat_dataplane_stop (r->dp, NAT_REASON_GOING_AWAY);
  took += g_get_monotonic_time ();
  /* A first round that took 100 ms has no second. */
  for (guint i = 0, n = took < 100000 ? 2 : 1; i < n; i++) {
    g_assert_cmpint (nat_probe_indication (publisher, 1), ==, NAT_REASON_GOING_AWAY);
    g_assert_cmpint (nat_probe_indication (subscriber, 1), ==, NAT_REASON_GOING_AWAY);
  }
}

/* Control is behind and the ring of events is full: who comes then gets silence, not a session that
 * control never hears of. */
static void
test_events_full (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (NatProbe) p = nat_probe_new ("127.0.0.1", &r->address);
  guint8 request[NAT_DATAGRAM_MAX];
  guint n, revived = 0, registered = 0;
  NatEvent event;
  NatTicket t;

  for (n = 0;; n++) {
    g_assert_cmpuint (n, <, 100000);
    t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
    nat_probe_set_ticket (p, r->secrets, &t);
    if (n % 1000 == 0)
      g_assert_cmpint (nat_probe_challenge (p, 200, NAT_PROBE_WAIT_MS), ==, 401);
    nat_crypto_random (p->epoch, sizeof p->epoch);
    if (nat_probe_exchange (p, request, nat_probe_request (p, 0, request), 2 * QUIET_MS) != 0)
      break;
  }
  while (nat_dataplane_poll_event (r->dp, &event)) {
    revived += event.type == NAT_EVENT_REVIVED;
    registered += event.type == NAT_EVENT_REGISTERED;
    if (event.type == NAT_EVENT_REVIVED)
      nat_session_counters_unref (event.counters);
  }
  g_assert_cmpuint (revived, ==, n);
  g_assert_cmpuint (registered, ==, n);
  g_assert_cmpint (nat_probe_bind (p, 0), ==, 0);
  g_assert_true (data_relay_event (r, NAT_EVENT_REVIVED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpmem (event.session_id, sizeof event.session_id, t.session_id, sizeof t.session_id);
}

/* Many sessions, and a ring that fills: control is told and tries again. */
static void
test_many (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatSessionCounters *c = nat_session_counters_new ();
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  guint refused = 0;

  for (guint i = 0; i < 20000;) {
    memcpy (t.session_id, &i, sizeof i);
    if (nat_dataplane_add_session (r->dp, &t, c, NULL))
      i++;
    else
      refused++;
  }
  data_relay_sync (r);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, commands_refused), ==, refused);
  nat_session_counters_unref (c);
}

/* Workers that never sleep do all that others do, and end when they are told to. */
static void
test_busy_poll (void)
{
  const NatDataplaneConfig how = {.busy_poll = TRUE};
  g_autoptr (DataRelay) r = data_relay_new_with (&how);
  NatTicket tp, ts;
  NatSessionCounters *cp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, &cp);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, &ts, NULL);
  guint8 buf[NAT_DATAGRAM_MAX];

  for (guint16 seq = 1; seq < 50; seq++)
    data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, seq);
  /* Time passes for it too: reports are due. */
  g_assert_cmpint (nat_probe_receive_rtcp (publisher, buf, NAT_PROBE_WAIT_MS), >, 0);
  g_assert_cmpuint (nat_counter_get (&cp->packets_received), ==, 49);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, wakeups), ==, 0);
  g_assert_true (nat_dataplane_end_session (r->dp, ts.session_id, NAT_REASON_ENDED, ts.expires_s));
  g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 403);
  nat_dataplane_stop (r->dp, NAT_REASON_GOING_AWAY);
  g_assert_cmpint (nat_probe_indication (publisher, NAT_PROBE_WAIT_MS), !=, NAT_REASON_NONE);
  nat_session_counters_unref (cp);
}

/* A person is told when spinning workers take all cores. */
static void
test_busy_poll_hint (void)
{
  for (guint n = 1; n <= 2; n++) {
    NatDataplaneConfig config = {.n_listen = 1, .busy_poll = TRUE};
    g_autofree char *hints = NULL;
    NatDataplane *dp;

    config.workers = n == 1 ? nat_dataplane_default_workers () : 1;
    g_assert_true (nat_address_from_text (&config.listen[0], "127.0.0.1", 0));
    config.socket_buffer = 65536;
    dp = nat_dataplane_new (&config, &hints, NULL);
    g_assert_nonnull (dp);
    if (config.workers == nat_dataplane_default_workers ())
      g_assert_nonnull (strstr (hints, "busy-poll"));
    else
      g_assert_null (hints);
    nat_dataplane_free (dp);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/dataplane/challenge", test_challenge);
  g_test_add_func ("/dataplane/registration", test_registration);
  g_test_add_func ("/dataplane/forged", test_forged);
  g_test_add_func ("/dataplane/bad-requests", test_bad_requests);
  g_test_add_func ("/dataplane/replay-elsewhere", test_replay_elsewhere);
  g_test_add_func ("/dataplane/local-addresses", test_local_addresses);
  g_test_add_func ("/dataplane/forward", test_forward);
  g_test_add_func ("/dataplane/refused-media", test_refused_media);
  g_test_add_func ("/dataplane/move", test_move);
  g_test_add_func ("/dataplane/held", test_held);
  g_test_add_func ("/dataplane/publisher-paths", test_publisher_paths);
  g_test_add_func ("/dataplane/path-limit", test_path_limit);
  g_test_add_func ("/dataplane/address-reused", test_address_reused);
  g_test_add_func ("/dataplane/revive", test_revive);
  g_test_add_func ("/dataplane/end", test_end);
  g_test_add_func ("/dataplane/expiry", test_expiry);
  g_test_add_func ("/dataplane/consent", test_consent);
  g_test_add_func ("/dataplane/silence", test_silence);
  g_test_add_func ("/dataplane/strangers", test_strangers);
  g_test_add_func ("/dataplane/description", test_description);
  g_test_add_func ("/dataplane/epoch", test_epoch);
  g_test_add_func ("/dataplane/stop", test_stop);
  g_test_add_func ("/dataplane/events-full", test_events_full);
  g_test_add_func ("/dataplane/many", test_many);
  g_test_add_func ("/dataplane/busy-poll", test_busy_poll);
  g_test_add_func ("/dataplane/busy-poll-hint", test_busy_poll_hint);
  return g_test_run ();
}
