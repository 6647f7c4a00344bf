/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whole registrations in virtual time:
 *
 *   prober -- NAT (forgets, moves) -- network (loses, doubles, delays, reorders) -- relay (dies, returns)
 *
 * Each seed is another schedule: a minute of trouble, then calm. Whatever happened in the trouble, in
 * the calm the client must be registered where its NAT has it now, with the relay that runs now, and
 * media must flow. A failure names its seed; NATRELAY_SIM_SEED runs that one alone. */

#include "natclient/prober.h"

#include <string.h>

#include "relaymodel.h"

#define MS(n)      ((gint64)(n)*1000)
#define TROUBLE_US MS (60000)
#define SETTLE_US  MS (45000) /* calm, until all must be well */
#define WATCH_US   MS (20000) /* and then all must stay well */
#define CONSENT_US NAT_CONSENT_US
#define MEDIA_US   MS (20)
#define RUNS       3000

typedef enum {
  TO_RELAY,
  TO_CLIENT,
  MEDIA,  /* one packet, in the direction of the role */
  REPORT, /* the relay's RTCP to a publisher */
  MOVE,   /* the NAT forgets and takes another port */
  DIE,
  RETURN,
  DARK, /* nothing gets through */
  LIGHT,
  INDICATE,
  REPLAY, /* somebody repeats an old request from elsewhere */
} What;

typedef struct {
  gint64 at;
  guint64 order; /* of those at the same time */
  What what;
  guint16 z; /* outside port */
  NatAddress relay;
  guint8 *data; /* NULL: media */
  gsize len;
} Event;

typedef struct {
  guint32 seed;
  GRand *rand;
  gint64 now, start;
  GSequence *events;
  guint64 orders;
  NatRole role;
  NatProber *prober;
  RelayModel relay;
  NatAddress addresses[2];
  guint n_addresses;
  char username[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];

  gdouble loss, twice;
  gint64 delay, jitter;
  gboolean dark, dead;
  guint restarts;

  guint16 z;         /* of the mapping now */
  gint64 nat_memory; /* without a packet from inside */
  gint64 outbound;   /* last packet from inside */

  gint64 rtp_arrived; /* at the relay, from the selected path */
  gint64 media_at;    /* publisher's RTP at the relay, or RTP at the subscriber */
  gint64 worst_gap;   /* since the watch began */
  gint64 indicated;
  Event *captured; /* an old request */

  guint sends, silences, restarts_of_session, accepted;
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  NatAddress mapped;
} Sim;

static void
event_free (gpointer data)
{
  Event *e = data;

  g_free (e->data);
  g_free (e);
}

static gint
compare (gconstpointer a, gconstpointer b, gpointer user)
{
  const Event *x = a, *y = b;

  if (x->at != y->at)
    return x->at < y->at ? -1 : 1;
  return x->order < y->order ? -1 : 1;
}

static Event *
plan (Sim *s, gint64 at, What what)
{
  Event *e = g_new0 (Event, 1);

  e->at = at;
  e->order = s->orders++;
  e->what = what;
  g_sequence_insert_sorted (s->events, e, compare, NULL);
  return e;
}

static gint64
between (Sim *s, gint64 low, gint64 high)
{
  return low + (gint64)(g_rand_double (s->rand) * (gdouble)(high - low));
}

static gboolean
chance (Sim *s, gdouble p)
{
  return g_rand_double (s->rand) < p;
}

/* ---- Network ----------------------------------------------------------- */

static void
carry (Sim *s, What direction, guint16 z, const NatAddress *relay, const guint8 *data, gsize len)
{
  guint copies = chance (s, s->twice) ? 2 : 1;

  for (guint i = 0; i < copies; i++) {
    Event *e;

    if (s->dark || chance (s, s->loss))
      continue;
    e = plan (s, s->now + s->delay + between (s, 0, s->jitter), direction);
    e->z = z;
    e->relay = *relay;
    if (data != NULL)
      e->data = g_memdup2 (data, len);
    e->len = len;
  }
}

/* From inside: the NAT makes a mapping, or renews the one that it remembers. */
static guint16
translate (Sim *s)
{
  if (s->now - s->outbound > s->nat_memory)
    s->z++;
  s->outbound = s->now;
  return s->z;
}

static void
outside (const Sim *s, guint16 z, NatAddress *out)
{
  g_assert_true (nat_address_from_text (out, "198.51.100.7", z));
}

/* ---- The client's side ------------------------------------------------- */

static void
on_send (gpointer user, const NatAddress *relay, const guint8 *data, gsize len)
{
  Sim *s = user;

  s->sends++;
  carry (s, TO_RELAY, translate (s), relay, data, len);
}

static void
start (Sim *s)
{
  nat_prober_set_credentials (
      s->prober, s->now, s->username, NAT_REALM, s->password, NAT_KEEPALIVE_MS);
  nat_prober_start (s->prober, s->now, s->addresses, s->n_addresses, 15000);
}

static void
on_event (gpointer user, NatProberEvent event, const NatProberReport *report)
{
  Sim *s = user;

  switch (event) {
  case NAT_PROBER_ACCEPTED:
    s->accepted++;
    /* fall through */
  case NAT_PROBER_UPDATED:
    memcpy (s->boot_id, report->boot_id, sizeof s->boot_id);
    s->mapped = report->mapped;
    break;
  case NAT_PROBER_SILENT: s->silences++; break;
  case NAT_PROBER_STUCK:
    s->z += 7; /* another socket */
    nat_prober_socket_changed (s->prober, s->now);
    break;
  case NAT_PROBER_NO_ANSWER:
    s->restarts_of_session++;
    start (s);
    break;
  case NAT_PROBER_LOST: break;
  case NAT_PROBER_DISOWNED:
  case NAT_PROBER_FORBIDDEN:
    g_error ("seed %u: the relay never refused this session, but event %d came", s->seed, event);
  }
}

static void
on_random (gpointer user, gpointer out, gsize len)
{
  Sim *s = user;

  for (gsize i = 0; i < len; i++)
    ((guint8 *)out)[i] = (guint8)g_rand_int (s->rand);
}

static void
arrived (Sim *s)
{
  if (s->media_at != 0)
    s->worst_gap = MAX (s->worst_gap, s->now - s->media_at);
  s->media_at = s->now;
}

static void
at_client (Sim *s, const Event *e)
{
  if (e->z != s->z)
    return; /* the NAT has forgotten that one */
  if (e->data != NULL) {
    nat_prober_input (s->prober, s->now, &e->relay, e->data, e->len);
    return;
  }
  if (nat_prober_phase (s->prober) == NAT_PROBER_IDLE)
    return;
  nat_prober_heard (s->prober, s->now);
  if (s->role == NAT_ROLE_SUBSCRIBER)
    arrived (s);
}

/* ---- The relay's side -------------------------------------------------- */

static void
indicate (Sim *s, guint16 z, const NatAddress *relay, NatReason reason)
{
  guint8 out[256];
  gsize n = relay_model_indication (&s->relay, reason, out, sizeof out);

  carry (s, TO_CLIENT, z, relay, out, n);
}

static void
at_relay (Sim *s, const Event *e)
{
  guint8 out[NAT_DATAGRAM_MAX];
  NatAddress from;
  gsize n;

  if (s->dead) {
    if (chance (s, 0.2))
      nat_prober_hint (s->prober, s->now); /* ICMP, where it gets through */
    return;
  }
  outside (s, e->z, &from);
  if (e->data == NULL) {
    if (nat_address_equal (&from, &s->relay.selected)) {
      s->rtp_arrived = s->now;
      arrived (s);
    } else if (s->now - s->indicated > MS (200)) {
      s->indicated = s->now;
      indicate (s, e->z, &e->relay, NAT_REASON_REGISTER);
    }
    return;
  }
  n = relay_model_input (&s->relay, s->now, &from, &e->relay, e->data, e->len, out, sizeof out);
  if (n > 0)
    carry (s, TO_CLIENT, e->z, &e->relay, out, n);
  if (s->captured == NULL || chance (s, 0.1)) {
    g_clear_pointer (&s->captured, event_free);
    s->captured = g_new0 (Event, 1);
    s->captured->data = g_memdup2 (e->data, e->len);
    s->captured->len = e->len;
    s->captured->relay = e->relay;
  }
}

/* No repetition of anything moves the stream away from its owner. */
static void
replay (Sim *s)
{
  guint8 out[NAT_DATAGRAM_MAX];
  NatAddress thief;

  if (s->captured == NULL || s->dead)
    return;
  g_assert_true (nat_address_from_text (&thief, "203.0.113.66:666", 0));
  relay_model_input (&s->relay, s->now, &thief, &s->captured->relay, s->captured->data,
      s->captured->len, out, sizeof out);
  if (nat_address_equal (&s->relay.selected, &thief))
    g_error ("seed %u: a replayed request moved the stream", s->seed);
}

static gboolean
has_path (const Sim *s)
{
  return !s->dead && s->relay.selected.family != 0 && s->now - s->relay.binding_us < CONSENT_US;
}

static void
media (Sim *s)
{
  plan (s, s->now + MEDIA_US, MEDIA);
  if (s->role == NAT_ROLE_PUBLISHER) {
    if (nat_prober_phase (s->prober) < NAT_PROBER_REGISTERED)
      return;
    nat_prober_sent (s->prober, s->now);
    carry (s, TO_RELAY, translate (s), &s->addresses[0], NULL, 1000);
  } else if (has_path (s)) {
    carry (s, TO_CLIENT, s->relay.selected.port, &s->addresses[0], NULL, 1000);
  }
}

static void
report (Sim *s)
{
  plan (s, s->now + NAT_RECEIVER_REPORT_US, REPORT);
  if (s->role == NAT_ROLE_PUBLISHER && has_path (s) && s->now - s->rtp_arrived < MS (1000))
    carry (s, TO_CLIENT, s->relay.selected.port, &s->addresses[0], NULL, 80);
}

/* ---- One schedule ------------------------------------------------------ */

static void
handle (Sim *s, Event *e)
{
  switch (e->what) {
  case TO_RELAY: at_relay (s, e); break;
  case TO_CLIENT: at_client (s, e); break;
  case MEDIA: media (s); break;
  case REPORT: report (s); break;
  case MOVE: s->z += 13; break;
  case DIE:
    s->dead = TRUE;
    if (chance (s, 0.5))
      indicate (s, s->z, &s->addresses[0], NAT_REASON_GOING_AWAY);
    break;
  case RETURN:
    if (s->dead)
      relay_model_restart (&s->relay, s->seed * 100 + ++s->restarts);
    s->dead = FALSE;
    break;
  case DARK: s->dark = TRUE; break;
  case LIGHT: s->dark = FALSE; break;
  case INDICATE:
    indicate (s, s->z, &s->addresses[0], (NatReason)g_rand_int_range (s->rand, 0, 9));
    break;
  case REPLAY: replay (s); break;
  }
}

static void
plan_trouble (Sim *s)
{
  gint64 end = s->start + TROUBLE_US;

  for (guint i = (guint)g_rand_int_range (s->rand, 0, 4); i > 0; i--)
    plan (s, between (s, s->start, end), MOVE);
  for (guint i = (guint)g_rand_int_range (s->rand, 0, 3); i > 0; i--) {
    gint64 at = between (s, s->start, end);

    plan (s, at, DIE);
    plan (s, MIN (at + between (s, MS (50), MS (chance (s, 0.2) ? 40000 : 3000)), end), RETURN);
  }
  for (guint i = (guint)g_rand_int_range (s->rand, 0, 2); i > 0; i--) {
    gint64 at = between (s, s->start, end);

    plan (s, at, DARK);
    plan (s, MIN (at + between (s, MS (50), MS (chance (s, 0.3) ? 45000 : 2000)), end), LIGHT);
  }
  for (guint i = (guint)g_rand_int_range (s->rand, 0, 20); i > 0; i--)
    plan (s, between (s, s->start, end), INDICATE);
  for (guint i = 0; i < 10; i++)
    plan (s, between (s, s->start, end + SETTLE_US), REPLAY);
  plan (s, end, LIGHT);
  plan (s, end, RETURN);
}

static void
sim_init (Sim *s, guint32 seed)
{
  static const NatProberOps ops = {on_send, on_event, on_random};
  static const guint8 epoch[NAT_EPOCH_SIZE] = {1};

  memset (s, 0, sizeof *s);
  s->seed = seed;
  s->rand = g_rand_new_with_seed (seed);
  s->now = s->start = MS (1000000);
  s->events = g_sequence_new (event_free);
  s->role = seed % 2 ? NAT_ROLE_PUBLISHER : NAT_ROLE_SUBSCRIBER;
  s->n_addresses = 1 + seed / 2 % 2;
  g_assert_true (nat_address_from_text (&s->addresses[0], "192.0.2.1:8443", 0));
  g_assert_true (nat_address_from_text (&s->addresses[1], "192.0.2.1:443", 0));
  relay_model_init (&s->relay, seed);
  s->relay.foreign_is_401 = chance (s, 0.5);
  relay_model_open (&s->relay, 3600, s->username, s->password);
  s->loss = chance (s, 0.3) ? 0 : between (s, 0, 35) / 100.0;
  s->twice = chance (s, 0.5) ? 0 : 0.1;
  s->delay = between (s, MS (1), MS (100));
  s->jitter = between (s, 0, MS (chance (s, 0.5) ? 10 : 150));
  s->nat_memory = chance (s, 0.5) ? MS (60000) : between (s, MS (1200), MS (8000));
  s->z = 40000;
  s->outbound = s->now;
  s->prober = nat_prober_new (s->role, epoch, &ops, s);
  plan_trouble (s);
  plan (s, s->now, MEDIA);
  plan (s, s->now, REPORT);
  start (s);
}

static void
sim_clear (Sim *s)
{
  nat_prober_free (s->prober);
  relay_model_clear (&s->relay);
  g_sequence_free (s->events);
  g_clear_pointer (&s->captured, event_free);
  g_rand_free (s->rand);
}

static void
run_until (Sim *s, gint64 until)
{
  guint spins = 0;

  for (;;) {
    GSequenceIter *first = g_sequence_get_begin_iter (s->events);
    Event *e = g_sequence_get (first);
    gint64 deadline = nat_prober_deadline (s->prober);
    gint64 next = MIN (e->at, deadline);

    if (next > until)
      break;
    spins = next > s->now ? 0 : spins + 1;
    if (spins > 10000)
      g_error ("seed %u: time does not pass", s->seed);
    s->now = MAX (s->now, next);
    if (deadline <= s->now) {
      nat_prober_tick (s->prober, s->now);
      continue;
    }
    g_sequence_sort_changed (first, compare, NULL);
    {
      Event copy = *e;

      e->data = NULL;
      g_sequence_remove (first);
      handle (s, &copy);
      g_free (copy.data);
    }
  }
  s->now = until;
}

static void
check (Sim *s, gboolean good, const char *what)
{
  if (!good)
    g_error ("seed %u: %s (phase %d, z %u, %u sends, %u silences, gap %u ms)", s->seed, what,
        nat_prober_phase (s->prober), s->z, s->sends, s->silences, (guint)(s->worst_gap / 1000));
}

static void
check_well (Sim *s)
{
  NatAddress z;

  outside (s, s->z, &z);
  check (s, nat_prober_phase (s->prober) == NAT_PROBER_REGISTERED, "not registered in the calm");
  check (s, nat_address_equal (&s->relay.selected, &z), "the relay has another mapping");
  check (s, nat_address_equal (&s->mapped, &z), "the client was told of another mapping");
  check (s, memcmp (s->boot_id, s->relay.boot_id, sizeof s->boot_id) == 0,
      "the client knows another start of the relay");
}

static void
run (guint32 seed)
{
  Sim s;
  guint before;

  sim_init (&s, seed);
  run_until (&s, s.start + TROUBLE_US);
  s.loss = s.twice = 0;
  s.jitter = MIN (s.jitter, MS (10));
  run_until (&s, s.start + TROUBLE_US + SETTLE_US);
  check_well (&s);
  s.worst_gap = 0;
  s.media_at = s.now;
  before = s.silences;
  run_until (&s, s.start + TROUBLE_US + SETTLE_US + WATCH_US);
  check_well (&s);
  check (&s, s.silences == before, "suspicion in the calm");
  check (&s, s.now - s.media_at < MS (500) && s.worst_gap < MS (500), "media does not flow");
  /* Probes of both addresses every 250 ms would be 8 a second; repetitions of answers on top. */
  check (&s, s.sends < 125 * 12, "more Bindings than any rule allows");
  sim_clear (&s);
}

static void
test_schedules (void)
{
  const char *one = g_getenv ("NATRELAY_SIM_SEED"), *many = g_getenv ("NATRELAY_SIM_RUNS");
  guint runs = many != NULL ? (guint)g_ascii_strtoull (many, NULL, 10) : RUNS;

  if (one != NULL) {
    run ((guint32)g_ascii_strtoull (one, NULL, 10));
    return;
  }
  for (guint32 seed = 1; seed <= runs; seed++)
    run (seed);
  g_test_message ("%u schedules, each of %u virtual seconds", runs,
      (guint)((TROUBLE_US + SETTLE_US + WATCH_US) / G_USEC_PER_SEC));
}

/* How long the gap is when all is well but for one thing; the promise of a quick return. */
static gint64
gap_after (What what)
{
  gint64 worst = 0;

  for (guint32 seed = 2; seed < 60; seed += 2) { /* subscribers */
    Sim s;

    sim_init (&s, seed);
    g_sequence_remove_range (
        g_sequence_get_begin_iter (s.events), g_sequence_get_end_iter (s.events));
    s.loss = s.twice = 0;
    s.delay = MS (20);
    s.jitter = MS (5);
    s.nat_memory = MS (600000);
    start (&s);
    plan (&s, s.now, MEDIA);
    run_until (&s, s.start + MS (10000));
    s.worst_gap = 0;
    plan (&s, s.now + between (&s, 0, MS (4000)), what);
    run_until (&s, s.now + MS (4000));
    if (what == DIE) { /* counted from its return */
      s.worst_gap = 0;
      s.media_at = s.now;
      plan (&s, s.now, RETURN);
    }
    run_until (&s, s.now + MS (10000));
    check_well (&s);
    worst = MAX (worst, s.worst_gap);
    sim_clear (&s);
  }
  g_test_message ("worst gap: %u ms", (guint)(worst / 1000));
  return worst;
}

/* A subscriber whose NAT moves it sees at most: three gaps of silence, two round trips. */
static void
test_gap_after_move (void)
{
  g_assert_cmpint (gap_after (MOVE), <, MS (300));
}

/* A relay that returns is found within one probe and two round trips. */
static void
test_gap_after_restart (void)
{
  g_assert_cmpint (gap_after (DIE), <, MS (250 + 2 * 50 + 100));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sim/session/schedules", test_schedules);
  g_test_add_func ("/sim/session/gap-after-move", test_gap_after_move);
  g_test_add_func ("/sim/session/gap-after-restart", test_gap_after_restart);
  return g_test_run ();
}
