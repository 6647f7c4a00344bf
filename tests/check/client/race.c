/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/race.h"

#include <string.h>

#include "natclient/prober.h"
#include "natproto/stun.h"
#include "relaymodel.h"

#define MS(n) ((gint64)(n)*1000)

/* ---- The race alone ---------------------------------------------------- */

/* Runs it to a time; returns what it did on the way, and in *when when that was last. */
static guint
run_race (NatRace *r, gint64 until, gint64 *when)
{
  guint actions = 0;

  while (nat_race_deadline (r) <= until) {
    *when = nat_race_deadline (r);
    actions |= nat_race_tick (r, *when);
    g_assert_cmpint (nat_race_deadline (r), >, *when);
  }
  return actions;
}

static void
test_head_start (void)
{
  static const struct {
    gint64 hint_ms, opens_ms;
  } cases[] = {{0, 250}, {100, 250}, {400, 400}, {5000, 750}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    NatRace r;
    gint64 when = 0;

    g_test_message ("case %u", i);
    nat_race_init (&r, NAT_TRANSPORT_CHOICE_AUTO);
    nat_race_begin (&r, MS (1000), MS (cases[i].hint_ms));
    g_assert_cmpuint (run_race (&r, MS (10000), &when), ==, NAT_RACE_OPEN);
    g_assert_cmpint (when, ==, MS (1000 + cases[i].opens_ms));
  }
}

static void
test_choices (void)
{
  NatRace r;
  gint64 when = 0;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_UDP);
  nat_race_begin (&r, 0, 0);
  nat_race_silent (&r, MS (100));
  g_assert_cmpuint (run_race (&r, MS (100000), &when), ==, 0);

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_WEBSOCKET);
  nat_race_begin (&r, 0, MS (500));
  g_assert_cmpuint (run_race (&r, 0, &when), ==, NAT_RACE_OPEN);
  nat_race_opened (&r, MS (50));
  nat_race_registered (&r, MS (60), NAT_TRANSPORT_WEBSOCKET);
  g_assert_cmpuint (run_race (&r, MS (1000000), &when), ==, 0); /* nor is UDP asked */
}

/* UDP was a little late: what was being opened is given up at once; what is open may have a Binding in it. */
static void
test_udp_wins (void)
{
  NatRace r;
  gint64 when = 0;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_AUTO);
  nat_race_begin (&r, 0, 0);
  g_assert_cmpuint (run_race (&r, MS (300), &when), ==, NAT_RACE_OPEN);
  nat_race_registered (&r, MS (400), NAT_TRANSPORT_UDP);
  g_assert_cmpuint (run_race (&r, MS (400), &when), ==, NAT_RACE_CLOSE);
  nat_race_registered (&r, MS (4400), NAT_TRANSPORT_UDP);
  g_assert_cmpuint (run_race (&r, MS (100000), &when), ==, 0);

  nat_race_begin (&r, 0, 0);
  g_assert_cmpuint (run_race (&r, MS (300), &when), ==, NAT_RACE_OPEN);
  nat_race_opened (&r, MS (390));
  nat_race_registered (&r, MS (400), NAT_TRANSPORT_UDP);
  g_assert_cmpuint (run_race (&r, MS (100000), &when), ==, NAT_RACE_CLOSE);
  g_assert_cmpint (when, ==, MS (3400));
}

/* The WebSocket serves; UDP is asked, less and less often; when it answers, what is under way has its time. */
static void
test_back_to_udp (void)
{
  static const gint64 asked_ms[] = {1000, 3000, 7000, 15000, 30000, 45000};
  NatRace r;
  gint64 when = 0;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_AUTO);
  nat_race_begin (&r, 0, 0);
  run_race (&r, MS (250), &when);
  nat_race_opened (&r, MS (300));
  nat_race_registered (&r, 0, NAT_TRANSPORT_WEBSOCKET);
  for (guint i = 0; i < G_N_ELEMENTS (asked_ms); i++) {
    g_assert_cmpint (nat_race_deadline (&r), ==, MS (asked_ms[i]));
    g_assert_cmpuint (nat_race_tick (&r, MS (asked_ms[i])), ==, NAT_RACE_ASK);
    nat_race_registered (&r, MS (asked_ms[i]) + 1, NAT_TRANSPORT_WEBSOCKET); /* a keepalive */
  }
  nat_race_network_changed (&r, MS (46000));
  g_assert_cmpuint (
      nat_race_tick (&r, MS (46000)), ==, NAT_RACE_CLOSE | NAT_RACE_OPEN | NAT_RACE_ASK);
  nat_race_registered (&r, MS (46100), NAT_TRANSPORT_UDP);
  g_assert_cmpuint (run_race (&r, MS (100000), &when), ==, NAT_RACE_CLOSE);
  g_assert_cmpint (when, ==, MS (49100));
}

/* No way led to the relay for long, so that the WebSocket is tried every eight seconds. In another network it is tried at once. */
static void
test_another_network (void)
{
  NatRace r;
  gint64 now = 0, when = 0;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_AUTO);
  nat_race_begin (&r, 0, 0);
  for (guint i = 0; i < 40; i++) {
    now = nat_race_deadline (&r);
    g_assert_cmpuint (nat_race_tick (&r, now), ==, NAT_RACE_OPEN);
    nat_race_closed (&r, now, 0);
  }
  g_assert_cmpint (nat_race_deadline (&r), ==, now + MS (8000));
  nat_race_network_changed (&r, now + MS (10));
  g_assert_cmpuint (run_race (&r, now + MS (500), &when), ==, NAT_RACE_OPEN);
  nat_race_closed (&r, now + MS (500), 0);
  g_assert_cmpint (nat_race_deadline (&r), ==, now + MS (750));
  /* It changes nothing for whoever needs no WebSocket. */
  nat_race_registered (&r, now + MS (600), NAT_TRANSPORT_UDP);
  nat_race_network_changed (&r, now + MS (700));
  g_assert_cmpint (nat_race_deadline (&r), ==, G_MAXINT64);
}

/* One attempt that ends after so long. */
static void
fail_once (NatRace *r, gint64 after_us)
{
  gint64 begin = nat_race_deadline (r);

  g_assert_cmpuint (nat_race_tick (r, begin), ==, NAT_RACE_OPEN);
  nat_race_closed (r, begin + after_us, 0);
}

/* Who refuses is away, and is looked for where he was; who does not answer there may be at the other port, as who is away for
 * long. */
static void
test_port (void)
{
  NatRace r;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_WEBSOCKET);
  nat_race_begin (&r, 0, 0);
  for (guint i = 1; i <= 12; i++) {
    g_assert_true (r.other_port == (i > 4 && i % 2 == 1));
    fail_once (&r, MS (10));
  }
  nat_race_network_changed (&r, MS (100000));
  for (guint i = 1; i <= 6; i++) {
    g_assert_true (r.other_port == (i % 2 == 0));
    fail_once (&r, MS (5000));
  }
  /* One that was open and ended was answered, however long it was. */
  nat_race_network_changed (&r, MS (200000));
  nat_race_tick (&r, nat_race_deadline (&r));
  nat_race_opened (&r, MS (300000));
  nat_race_registered (&r, MS (300100), NAT_TRANSPORT_WEBSOCKET);
  nat_race_closed (&r, MS (400000), 0);
  g_assert_false (r.other_port);
}

static void
fall_back (NatRace *r, gint64 now_us)
{
  gint64 when = 0;

  nat_race_silent (r, now_us);
  g_assert_cmpuint (run_race (r, now_us + MS (500), &when), ==, NAT_RACE_OPEN);
  g_assert_cmpint (when, ==, now_us + MS (500));
  nat_race_opened (r, now_us + MS (600));
  nat_race_registered (r, now_us + MS (700), NAT_TRANSPORT_WEBSOCKET);
}

/* A UDP that answers and then is silent again is trusted less each time; one that lasted is not. */
static void
test_flaps (void)
{
  NatRace r;
  gint64 now = 0, waited = 0;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_AUTO);
  nat_race_begin (&r, 0, 0);
  nat_race_registered (&r, now, NAT_TRANSPORT_UDP);
  for (guint i = 0; i < 12; i++) {
    fall_back (&r, now + MS (10000));
    now += MS (10700);
    g_assert_cmpint (nat_race_deadline (&r) - now, >=, waited);
    g_assert_cmpint (nat_race_deadline (&r) - now, <=, MS (300000));
    waited = nat_race_deadline (&r) - now;
    now = nat_race_deadline (&r);
    g_assert_cmpuint (nat_race_tick (&r, now), ==, NAT_RACE_ASK);
    nat_race_registered (&r, now, NAT_TRANSPORT_UDP);
    g_assert_cmpuint (nat_race_tick (&r, now + MS (3000)), ==, NAT_RACE_CLOSE);
  }
  g_assert_cmpint (waited, ==, MS (300000));
  fall_back (&r, now + MS (70000));
  g_assert_cmpint (nat_race_deadline (&r), ==, now + MS (70700 + 1000));
}

/* It cannot be opened: again, at first at once, then with patience, and never all clients together. */
static void
test_retries (void)
{
  NatRace r;
  gint64 now = 0, wait = 0;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_AUTO);
  nat_race_begin (&r, 0, 0);
  for (guint i = 0; i < 40; i++) {
    now = nat_race_deadline (&r);
    g_assert_cmpuint (nat_race_tick (&r, now), ==, NAT_RACE_OPEN);
    nat_race_closed (&r, now, i % 2 == 0 ? 0 : G_MAXUINT32);
    wait = nat_race_deadline (&r) - now;
    g_assert_cmpint (wait, >=, MS (125));
    g_assert_cmpint (wait, <=, i < 4 ? MS (250) : MS (8000));
  }
  g_assert_cmpint (wait, >=, MS (4000));
  nat_race_registered (&r, now, NAT_TRANSPORT_UDP);
  g_assert_cmpint (nat_race_deadline (&r), ==, G_MAXINT64);
}

/* Open, and silent: a connection that a firewall forgot. */
static void
test_stalls (void)
{
  NatRace r;
  gint64 when = 0;

  nat_race_init (&r, NAT_TRANSPORT_CHOICE_WEBSOCKET);
  nat_race_begin (&r, 0, 0);
  run_race (&r, 0, &when);
  nat_race_opened (&r, 0);
  nat_race_registered (&r, 0, NAT_TRANSPORT_WEBSOCKET);
  nat_race_silent (&r, MS (10000));
  g_assert_cmpuint (run_race (&r, MS (13999), &when), ==, 0);
  g_assert_cmpuint (run_race (&r, MS (14000), &when), ==, NAT_RACE_CLOSE | NAT_RACE_OPEN);
  nat_race_end (&r);
  g_assert_cmpint (nat_race_deadline (&r), ==, G_MAXINT64);
}

/* ---- Prober, race and relay on one clock -------------------------------- */

typedef struct {
  NatProber *prober;
  NatRace race;
  RelayModel relay;
  NatAddress udp, stream;          /* the relay's two addresses */
  NatAddress udp_z, stream_z;      /* ours, as it sees them */
  gint64 now, stream_open_us;      /* G_MAXINT64 = not being opened */
  gboolean udp_blocked, no_stream; /* what the network does */
  gboolean keyed_lost;             /* by UDP: all but the first request */
  gint64 udp_late_us;              /* so much later than the stream's come its answers */
  gint64 round_trip_us;
  gboolean open;
  gboolean hold; /* what goes by the stream is under way for long */
  guint8 held[NAT_DATAGRAM_MAX];
  gsize held_len;
  guint events[NAT_PROBER_FORBIDDEN + 1], moves;
  NatProberReport report;
  GQueue answers; /* of Answer: they come back after a round trip */
} World;

typedef struct {
  gint64 at_us;
  NatAddress from;
  gsize len;
  guint8 data[NAT_DATAGRAM_MAX];
} Answer;

#define ROUND_TRIP MS (40) /* of most stories */

static gint
by_time (gconstpointer a, gconstpointer b, gpointer user)
{
  gint64 first = ((const Answer *)a)->at_us, second = ((const Answer *)b)->at_us;

  return (first > second) - (first < second);
}

static gboolean
is_keyed (const guint8 *data, gsize len)
{
  NatStunMessage msg;

  g_assert_cmpint (nat_stun_parse (&msg, data, len), ==, NAT_STUN_OK);
  return msg.username.len > 0;
}

static void
on_send (gpointer user, const NatAddress *relay, const guint8 *data, gsize len)
{
  World *w = user;
  gboolean stream = relay->transport == NAT_TRANSPORT_WEBSOCKET;
  Answer *a;

  if (stream ? !w->open : w->udp_blocked || (w->keyed_lost && is_keyed (data, len)))
    return;
  if (stream && w->hold && is_keyed (data, len)) {
    memcpy (w->held, data, len);
    w->held_len = len;
    return;
  }
  a = g_new0 (Answer, 1);
  a->at_us = w->now + w->round_trip_us + (stream ? 0 : w->udp_late_us);
  a->from = *relay;
  a->len = relay_model_input (&w->relay, w->now, stream ? &w->stream_z : &w->udp_z, relay, data,
      len, a->data, sizeof a->data);
  g_queue_insert_sorted (&w->answers, a, by_time, NULL);
}

static void
on_event (gpointer user, NatProberEvent event, const NatProberReport *report)
{
  World *w = user;

  w->events[event]++;
  if (report != NULL) {
    w->report = *report;
    w->moves += report->moved;
    nat_race_registered (&w->race, w->now, report->relay.transport);
  }
  if (event == NAT_PROBER_SILENT)
    nat_race_silent (&w->race, w->now);
}

static void
on_random (gpointer user, gpointer out, gsize len)
{
  for (gsize i = 0; i < len; i++)
    ((guint8 *)out)[i] = (guint8)g_test_rand_int ();
}

static void
world_init (World *w, NatTransportChoice choice)
{
  static const NatProberOps ops = {on_send, on_event, on_random};
  static const guint8 epoch[NAT_EPOCH_SIZE] = "epoch of a test";
  char username[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];

  memset (w, 0, sizeof *w);
  w->now = 1000 * G_USEC_PER_SEC;
  w->stream_open_us = G_MAXINT64;
  w->round_trip_us = ROUND_TRIP;
  g_queue_init (&w->answers);
  relay_model_init (&w->relay, 1);
  relay_model_open (&w->relay, 3600, username, password);
  g_assert_true (nat_address_from_text (&w->udp, "192.0.2.1:8443", 0));
  w->stream = w->udp;
  w->stream.transport = NAT_TRANSPORT_WEBSOCKET;
  g_assert_true (nat_address_from_text (&w->udp_z, "198.51.100.7:40000", 0));
  g_assert_true (nat_address_from_text (&w->stream_z, "198.51.100.7:51000", 0));
  w->stream_z.transport = NAT_TRANSPORT_WEBSOCKET;
  w->prober = nat_prober_new (NAT_ROLE_PUBLISHER, epoch, &ops, w);
  nat_prober_set_credentials (w->prober, w->now, username, NAT_REALM, password, NAT_KEEPALIVE_MS);
  nat_race_init (&w->race, choice);
}

static void
world_start (World *w)
{
  nat_race_begin (&w->race, w->now, 0);
  nat_prober_start (
      w->prober, w->now, &w->udp, w->race.choice == NAT_TRANSPORT_CHOICE_WEBSOCKET ? 0 : 1, 15000);
}

static void
world_clear (World *w)
{
  nat_prober_free (w->prober);
  relay_model_clear (&w->relay);
  g_queue_clear_full (&w->answers, g_free);
}

static void
close_stream (World *w)
{
  w->open = FALSE;
  w->stream_open_us = G_MAXINT64;
  nat_prober_remove (w->prober, w->now, &w->stream);
}

static void
tick_race (World *w)
{
  guint actions = nat_race_tick (&w->race, w->now);

  if (actions & NAT_RACE_CLOSE)
    close_stream (w);
  if (actions & NAT_RACE_OPEN)
    w->stream_open_us = w->now + 3 * w->round_trip_us;
  if (actions & NAT_RACE_ASK)
    nat_prober_ask (w->prober, w->now, NAT_TRANSPORT_UDP);
}

static void
tick_stream (World *w)
{
  if (w->now < w->stream_open_us)
    return;
  w->stream_open_us = G_MAXINT64;
  if (w->no_stream) {
    nat_race_closed (&w->race, w->now, 0);
    return;
  }
  w->open = TRUE;
  nat_race_opened (&w->race, w->now);
  nat_prober_add (w->prober, w->now, &w->stream);
}

static void
tick_answers (World *w)
{
  Answer *a;

  while ((a = g_queue_peek_head (&w->answers)) != NULL && a->at_us <= w->now) {
    g_queue_pop_head (&w->answers);
    if (a->len > 0 && (a->from.transport == NAT_TRANSPORT_UDP ? !w->udp_blocked : w->open))
      nat_prober_input (w->prober, w->now, &a->from, a->data, a->len);
    g_free (a);
  }
}

static void
world_run (World *w, gint64 us)
{
  gint64 until = w->now + us;

  while (w->now < until) {
    w->now += MS (5);
    tick_answers (w);
    tick_stream (w);
    tick_race (w);
    if (nat_prober_deadline (w->prober) <= w->now)
      nat_prober_tick (w->prober, w->now);
  }
}

static gboolean
is_served_by (World *w, NatTransport transport)
{
  const NatAddress *z = transport == NAT_TRANSPORT_UDP ? &w->udp_z : &w->stream_z;

  return nat_prober_phase (w->prober) == NAT_PROBER_REGISTERED &&
         w->report.relay.transport == transport && nat_address_equal (&w->relay.selected, z);
}

/* UDP works: no WebSocket is ever opened. */
static void
test_open_network (void)
{
  World w;

  world_init (&w, NAT_TRANSPORT_CHOICE_AUTO);
  world_start (&w);
  world_run (&w, MS (60000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  g_assert_false (w.open);
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 0);
  world_clear (&w);
}

/* Blocked from the start: well below two seconds; and back when it opens. */
static void
test_blocked_from_the_start (void)
{
  World w;

  world_init (&w, NAT_TRANSPORT_CHOICE_AUTO);
  w.udp_blocked = TRUE;
  world_start (&w);
  world_run (&w, MS (600));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_WEBSOCKET));
  g_assert_false (w.report.moved);
  world_run (&w, MS (60000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_WEBSOCKET));
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 0);
  w.udp_blocked = FALSE;
  world_run (&w, MS (16000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  g_assert_false (w.report.moved);
  world_run (&w, MS (20000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP)); /* no late keepalive moved it back */
  g_assert_false (w.open);
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 0);
  g_assert_cmpuint (w.events[NAT_PROBER_ACCEPTED], ==, 1);
  g_assert_cmpuint (w.moves, ==, 0); /* another way is no NAT that forgot */
  world_clear (&w);
}

/* What was held reaches the relay. Returns the length of its answer. */
static gsize
deliver_held (World *w, guint8 answer[NAT_DATAGRAM_MAX])
{
  return relay_model_input (
      &w->relay, w->now, &w->stream_z, &w->stream, w->held, w->held_len, answer, NAT_DATAGRAM_MAX);
}

/* The stream's Binding is under way for long, and UDP's are lost until now. */
static void
begin_held (World *w)
{
  world_init (w, NAT_TRANSPORT_CHOICE_AUTO);
  w->keyed_lost = w->hold = TRUE;
  world_start (w);
  world_run (w, MS (650));
  g_assert_cmpuint (w->held_len, >, 0);
  w->keyed_lost = FALSE;
}

/* A keepalive that is still in TCP when UDP was selected: the relay challenges it anew, and an answer to
 * that would move the session back. */
static void
test_late_keepalive (void)
{
  guint8 answer[NAT_DATAGRAM_MAX];
  gsize n;
  World w;

  world_init (&w, NAT_TRANSPORT_CHOICE_AUTO);
  w.udp_blocked = TRUE;
  world_start (&w);
  world_run (&w, MS (1000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_WEBSOCKET));
  w.hold = TRUE;
  nat_prober_hint (w.prober, w.now); /* a Binding at once */
  g_assert_cmpuint (w.held_len, >, 0);
  w.udp_blocked = FALSE;
  nat_prober_ask (w.prober, w.now, NAT_TRANSPORT_UDP);
  world_run (&w, MS (200));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  n = deliver_held (&w, answer);
  g_assert_cmpuint (w.relay.n_438, >, 0);
  w.held_len = 0;
  nat_prober_input (w.prober, w.now, &w.stream, answer, n);
  g_assert_cmpuint (w.held_len, ==, 0);
  world_clear (&w);
}

/* The relay is reached by both within a moment: UDP registers us while the stream's Binding is under way. The relay goes over
 * to the stream when it comes, and is asked back; were the stream closed by then, it had no way to us. */
static void
test_stream_too_late (void)
{
  guint8 answer[NAT_DATAGRAM_MAX];
  gsize n;
  World w;

  begin_held (&w);
  g_assert_true (w.open);
  world_run (&w, MS (200));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  n = deliver_held (&w, answer);
  g_assert_true (nat_address_equal (&w.relay.selected, &w.stream_z));
  g_assert_true (w.open);
  nat_prober_input (w.prober, w.now, &w.stream, answer, n);
  world_run (&w, 2 * ROUND_TRIP + MS (10));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  world_run (&w, MS (10000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  g_assert_false (w.open);
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 0);
  world_clear (&w);
}

/* The same, and the stream's Binding arrives later still, perhaps just before its connection ends, when nobody could ask the
 * relay back any more. UDP was confirmed with a later nonce by then: it moves nothing. */
static void
test_stream_last (void)
{
  guint8 answer[NAT_DATAGRAM_MAX];
  guint refused;
  gsize n;
  World w;

  begin_held (&w);
  world_run (&w, MS (1000));
  g_assert_true (w.open);
  refused = w.relay.n_438;
  n = deliver_held (&w, answer);
  g_assert_cmpuint (w.relay.n_438, ==, refused + 1);
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  w.held_len = 0;
  nat_prober_input (w.prober, w.now, &w.stream, answer, n);
  g_assert_cmpuint (w.held_len, ==, 0);
  world_run (&w, MS (10000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  g_assert_false (w.open);
  world_clear (&w);
}

/* The relay took UDP's Binding before the stream's, and UDP's answer is the later one: each side holds another way for
 * selected. That is found out long before the stream is closed. */
static void
test_answers_cross (void)
{
  World w;

  world_init (&w, NAT_TRANSPORT_CHOICE_AUTO);
  world_start (&w);
  world_run (&w, MS (20)); /* the challenge is on its way */
  w.udp_late_us = MS (900);
  world_run (&w, MS (700));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_WEBSOCKET));
  w.udp_late_us = 0;
  world_run (&w, MS (400));
  g_assert_cmpuint (w.report.relay.transport, ==, NAT_TRANSPORT_UDP);
  g_assert_false (is_served_by (&w, NAT_TRANSPORT_UDP));
  world_run (&w, MS (600));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  g_assert_true (w.open);
  world_clear (&w);
}

/* Blocked on the way: a publisher is told by missing reports within a second and a quarter. */
static void
test_blocked_later (void)
{
  World w;

  world_init (&w, NAT_TRANSPORT_CHOICE_AUTO);
  world_start (&w);
  world_run (&w, MS (10000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  for (guint i = 0; i < 100; i++) {
    nat_prober_sent (w.prober, w.now);
    nat_prober_heard (w.prober, w.now);
    world_run (&w, MS (20));
  }
  w.udp_blocked = TRUE;
  for (guint i = 0; i < 125; i++) {
    nat_prober_sent (w.prober, w.now);
    world_run (&w, MS (20));
  }
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_WEBSOCKET));
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
  world_clear (&w);
}

/* An outage takes both. UDP is back first, and the WebSocket is not needed. */
static void
test_outage (void)
{
  World w;

  world_init (&w, NAT_TRANSPORT_CHOICE_AUTO);
  world_start (&w);
  world_run (&w, MS (10000));
  w.udp_blocked = w.no_stream = TRUE;
  world_run (&w, MS (15000));
  g_assert_cmpint (nat_prober_phase (w.prober), ==, NAT_PROBER_PROBING);
  w.udp_blocked = w.no_stream = FALSE;
  world_run (&w, MS (400));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  world_run (&w, MS (20000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
  world_clear (&w);
}

/* By satellite, and UDP comes late, so that the WebSocket is open, or serves, when it is selected. Nobody is silent: neither
 * then, nor where a keepalive takes two round trips, as its nonce is too old. */
static void
test_far_away (gconstpointer data)
{
  gboolean served = GPOINTER_TO_INT (data);

  for (gint64 round_trip = 600; round_trip <= 1500; round_trip += 100) {
    World w;

    g_test_message ("round trip %d ms", (int)round_trip);
    world_init (&w, NAT_TRANSPORT_CHOICE_AUTO);
    w.round_trip_us = MS (round_trip);
    w.keyed_lost = TRUE;
    world_start (&w);
    while (!(served ? is_served_by (&w, NAT_TRANSPORT_WEBSOCKET) : w.open))
      world_run (&w, MS (5));
    w.keyed_lost = FALSE;
    world_run (&w, MS (90000));
    g_assert_true (is_served_by (&w, NAT_TRANSPORT_UDP));
    g_assert_cmpuint (w.relay.n_438, >=, 2);
    g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 0);
    g_assert_cmpuint (nat_prober_rtt_us (w.prober), >=, w.round_trip_us);
    g_assert_cmpuint (nat_prober_rtt_us (w.prober), <=, w.round_trip_us + MS (10));
    w.udp_blocked = TRUE; /* as soon as silence can be known, it is */
    world_run (&w, MS (4000) + 3 * w.round_trip_us + MS (500));
    g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
    world_clear (&w);
  }
}

/* The connection breaks: it is opened again, in the same session. */
static void
test_stream_breaks (void)
{
  World w;

  world_init (&w, NAT_TRANSPORT_CHOICE_WEBSOCKET);
  world_start (&w);
  world_run (&w, MS (1000));
  g_assert_true (is_served_by (&w, NAT_TRANSPORT_WEBSOCKET));
  for (guint i = 0; i < 5; i++) {
    nat_race_closed (&w.race, w.now, 0);
    close_stream (&w);
    w.stream_z.port++;
    g_assert_cmpint (nat_prober_phase (w.prober), ==, NAT_PROBER_PROBING);
    world_run (&w, MS (1000));
    g_assert_true (is_served_by (&w, NAT_TRANSPORT_WEBSOCKET));
    g_assert_false (w.report.moved); /* another connection is no NAT that forgot */
  }
  g_assert_cmpuint (w.events[NAT_PROBER_LOST] + w.events[NAT_PROBER_DISOWNED], ==, 0);
  world_clear (&w);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/race/head-start", test_head_start);
  g_test_add_func ("/race/choices", test_choices);
  g_test_add_func ("/race/udp-wins", test_udp_wins);
  g_test_add_func ("/race/back-to-udp", test_back_to_udp);
  g_test_add_func ("/race/another-network", test_another_network);
  g_test_add_func ("/race/port", test_port);
  g_test_add_func ("/race/flaps", test_flaps);
  g_test_add_func ("/race/retries", test_retries);
  g_test_add_func ("/race/stalls", test_stalls);
  g_test_add_func ("/race/open-network", test_open_network);
  g_test_add_func ("/race/blocked-from-the-start", test_blocked_from_the_start);
  g_test_add_func ("/race/late-keepalive", test_late_keepalive);
  g_test_add_func ("/race/stream-too-late", test_stream_too_late);
  g_test_add_func ("/race/stream-last", test_stream_last);
  g_test_add_func ("/race/answers-cross", test_answers_cross);
  g_test_add_func ("/race/blocked-later", test_blocked_later);
  g_test_add_func ("/race/outage", test_outage);
  g_test_add_data_func ("/race/far-away-in-reserve", GINT_TO_POINTER (FALSE), test_far_away);
  g_test_add_data_func ("/race/far-away-served", GINT_TO_POINTER (TRUE), test_far_away);
  g_test_add_func ("/race/stream-breaks", test_stream_breaks);
  return g_test_run ();
}
