/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/prober.h"

#include <string.h>

#include "natproto/stun.h"
#include "relaymodel.h"

/* One prober and one relay on a clock that moves only when a story says so. What the prober sends
 * waits in a list until the story delivers or drops it. */
typedef struct {
  NatAddress relay;
  gint64 at_us;
  guint8 data[NAT_DATAGRAM_MAX];
  gsize len;
} Sent;

typedef struct {
  NatProber *prober;
  RelayModel relay;
  NatAddress address[2]; /* the relay's */
  NatAddress z;          /* where the relay sees us */
  gint64 now;
  GArray *sent; /* of Sent */
  guint events[NAT_PROBER_FORBIDDEN + 1];
  NatProberReport report; /* of the last event that had one */
  char username[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];
  gboolean dead;  /* the relay answers nothing */
  guint answered; /* requests that got an answer */
} Story;

#define MS(n) ((gint64)(n)*1000)

static void
on_send (gpointer user, const NatAddress *relay, const guint8 *data, gsize len)
{
  Story *s = user;
  Sent sent = {*relay, s->now, {0}, len};

  g_assert_cmpuint (len, <=, sizeof sent.data);
  memcpy (sent.data, data, len);
  g_array_append_val (s->sent, sent);
}

static void
on_event (gpointer user, NatProberEvent event, const NatProberReport *report)
{
  Story *s = user;

  s->events[event]++;
  if (report != NULL)
    s->report = *report;
}

static void
on_random (gpointer user, gpointer out, gsize len)
{
  for (gsize i = 0; i < len; i++)
    ((guint8 *)out)[i] = (guint8)g_test_rand_int ();
}

static void
story_init (Story *s, NatRole role, guint n_candidates)
{
  static const NatProberOps ops = {on_send, on_event, on_random};
  static const guint8 epoch[NAT_EPOCH_SIZE] = "epoch of a test";

  memset (s, 0, sizeof *s);
  s->now = 1000 * G_USEC_PER_SEC;
  s->sent = g_array_new (FALSE, FALSE, sizeof (Sent));
  relay_model_init (&s->relay, 1);
  relay_model_open (&s->relay, 3600, s->username, s->password);
  g_assert_true (nat_address_from_text (&s->address[0], "192.0.2.1:8443", 0));
  g_assert_true (nat_address_from_text (&s->address[1], "[2001:db8::1]:8443", 0));
  g_assert_true (nat_address_from_text (&s->z, "198.51.100.7:40000", 0));
  s->prober = nat_prober_new (role, epoch, &ops, s);
  nat_prober_set_credentials (
      s->prober, s->now, s->username, NAT_REALM, s->password, NAT_KEEPALIVE_MS);
  nat_prober_start (s->prober, s->now, s->address, n_candidates, 15000);
}

static void
story_clear (Story *s)
{
  nat_prober_free (s->prober);
  relay_model_clear (&s->relay);
  g_array_unref (s->sent);
}

/* Hands request to the relay and its answer to the prober. FALSE: no answer. */
static gboolean
deliver (Story *s, const Sent *sent)
{
  guint8 answer[NAT_DATAGRAM_MAX];
  gsize n = relay_model_input (
      &s->relay, s->now, &s->z, &sent->relay, sent->data, sent->len, answer, sizeof answer);

  if (n == 0)
    return FALSE;
  s->answered++;
  g_assert_cmpint (
      nat_prober_input (s->prober, s->now, &sent->relay, answer, n), ==, NAT_PROBER_TAKEN);
  return TRUE;
}

/* Everything that was sent arrives at once, and so on until there is silence. */
static void
settle (Story *s)
{
  while (s->sent->len > 0) {
    Sent sent = g_array_index (s->sent, Sent, 0);

    g_array_remove_index (s->sent, 0);
    if (!s->dead)
      deliver (s, &sent);
  }
}

/* Runs timers up to a time; with a dead relay, sent datagrams stay in the list. */
static void
run_until (Story *s, gint64 until)
{
  if (!s->dead)
    settle (s);
  for (;;) {
    gint64 deadline = nat_prober_deadline (s->prober);

    if (deadline > until)
      break;
    s->now = MAX (s->now, deadline);
    nat_prober_tick (s->prober, s->now);
    g_assert_cmpint (nat_prober_deadline (s->prober), >, s->now - MS (1));
    if (!s->dead)
      settle (s);
  }
  s->now = until;
}

static void
run_for (Story *s, gint64 us)
{
  run_until (s, s->now + us);
}

static void
register_now (Story *s)
{
  settle (s);
  g_assert_cmpint (nat_prober_phase (s->prober), ==, NAT_PROBER_REGISTERED);
  g_assert_cmpuint (s->events[NAT_PROBER_ACCEPTED], ==, 1);
}

/* ---- Registration ------------------------------------------------------ */

static void
test_registers (void)
{
  Story s;

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  g_assert_cmpuint (s.sent->len, ==, 1);
  register_now (&s);
  g_assert_cmpuint (s.relay.n_401, ==, 1);
  g_assert_cmpuint (s.relay.n_silent, ==, 0);
  g_assert_cmpuint (s.relay.n_success, ==, 1);
  g_assert_true (nat_address_equal (&s.report.mapped, &s.z));
  g_assert_true (nat_address_equal (&s.report.relay, &s.address[0]));
  g_assert_true (nat_address_equal (&s.relay.selected, &s.z));
  g_assert_false (s.report.moved);
  g_assert_cmpmem (s.report.boot_id, 16, s.relay.boot_id, 16);
  g_assert_cmpuint (s.report.version, ==, 1);
  g_assert_cmpmem (s.relay.epoch, 16, "epoch of a test", 16);
  story_clear (&s);
}

static void
test_repeats_first_request (void)
{
  static const gint64 at[] = {0, 100, 300, 700, 1500, 3100};
  Story s;
  gint64 start;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  start = s.now;
  s.dead = TRUE;
  run_for (&s, MS (3150));
  g_assert_cmpuint (s.sent->len, ==, G_N_ELEMENTS (at));
  for (guint i = 0; i < s.sent->len; i++) {
    const Sent *sent = &g_array_index (s.sent, Sent, i);
    const Sent *first = &g_array_index (s.sent, Sent, 0);

    g_test_message ("transmission %u", i);
    g_assert_cmpint (sent->at_us - start, ==, MS (at[i]));
    /* The same transaction five times, then another. */
    g_assert_cmpint (memcmp (sent->data, first->data, first->len) == 0, ==, i < 5);
  }
  story_clear (&s);
}

static void
test_gives_up (void)
{
  Story s;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 2);
  s.dead = TRUE;
  run_for (&s, MS (14999));
  g_assert_cmpuint (s.events[NAT_PROBER_NO_ANSWER], ==, 0);
  run_for (&s, MS (1));
  g_assert_cmpuint (s.events[NAT_PROBER_NO_ANSWER], ==, 1);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_IDLE);
  g_assert_cmpint (nat_prober_deadline (s.prober), ==, G_MAXINT64);
  story_clear (&s);
}

/* The second candidate answers when the first is blocked. */
static void
test_second_candidate (void)
{
  Story s;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 2);
  s.dead = TRUE;
  run_for (&s, MS (100));
  g_assert_cmpuint (s.sent->len, ==, 3);
  {
    Sent v6 = g_array_index (s.sent, Sent, 2);
    Sent v4 = g_array_index (s.sent, Sent, 1);

    if (v6.relay.family == 4)
      v6 = v4;
    g_assert_cmpint (v6.relay.family, ==, 6);
    g_array_set_size (s.sent, 0);
    g_assert_true (deliver (&s, &v6));
    g_assert_cmpuint (s.sent->len, ==, 1);
    v6 = g_array_index (s.sent, Sent, 0);
    g_assert_true (deliver (&s, &v6));
  }
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_REGISTERED);
  g_assert_true (nat_address_equal (&s.report.relay, &s.address[1]));
  story_clear (&s);
}

/* Both are challenged; only one answers, and the other only when that one fails. */
static void
test_head_start (void)
{
  Story s;
  Sent first, second;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 2);
  s.dead = TRUE;
  run_for (&s, MS (100));
  first = g_array_index (s.sent, Sent, 0);
  for (guint i = 0; i < s.sent->len; i++)
    if (g_array_index (s.sent, Sent, i).relay.family == 6)
      second = g_array_index (s.sent, Sent, i);
  g_array_set_size (s.sent, 0);
  deliver (&s, &first);
  deliver (&s, &second);
  g_assert_cmpuint (s.sent->len, ==, 1);
  g_assert_cmpint (g_array_index (s.sent, Sent, 0).relay.family, ==, 4);
  g_array_set_size (s.sent, 0); /* and it is lost */
  run_for (&s, MS (200));
  second = g_array_index (s.sent, Sent, s.sent->len - 1);
  g_assert_cmpint (second.relay.family, ==, 6);
  deliver (&s, &second);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_REGISTERED);
  g_assert_true (nat_address_equal (&s.report.relay, &s.address[1]));
  story_clear (&s);
}

/* ---- Answers that are not believed ------------------------------------- */

static void
test_forgeries (void)
{
  Story s;
  Sent request;
  guint8 answer[NAT_DATAGRAM_MAX];
  gsize n;
  NatAddress stranger;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  request = g_array_index (s.sent, Sent, 0);
  g_array_set_size (s.sent, 0);
  deliver (&s, &request);
  request = g_array_index (s.sent, Sent, 0);
  n = relay_model_input (
      &s.relay, s.now, &s.z, &request.relay, request.data, request.len, answer, sizeof answer);
  g_assert_cmpuint (n, >, 0);

  g_assert_true (nat_address_from_text (&stranger, "192.0.2.66:8443", 0));
  g_assert_cmpint (
      nat_prober_input (s.prober, s.now, &stranger, answer, n), ==, NAT_PROBER_REFUSED);
  for (gsize i = 0; i < n; i++) {
    guint8 changed[NAT_DATAGRAM_MAX];

    memcpy (changed, answer, n);
    changed[i] ^= 0x10;
    g_test_message ("byte %" G_GSIZE_FORMAT, i);
    g_assert_cmpint (
        nat_prober_input (s.prober, s.now, &request.relay, changed, n), ==, NAT_PROBER_REFUSED);
  }
  g_assert_cmpint (
      nat_prober_input (s.prober, s.now, &request.relay, answer, n - 4), ==, NAT_PROBER_REFUSED);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_CHALLENGING);
  g_assert_cmpint (
      nat_prober_input (s.prober, s.now, &request.relay, answer, n), ==, NAT_PROBER_TAKEN);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_REGISTERED);
  /* The same again is the answer to a repetition, and tells nothing new. */
  g_assert_cmpint (
      nat_prober_input (s.prober, s.now, &request.relay, answer, n), ==, NAT_PROBER_TAKEN);
  g_assert_cmpuint (s.events[NAT_PROBER_ACCEPTED], ==, 1);
  g_assert_cmpuint (s.events[NAT_PROBER_UPDATED], ==, 0);
  story_clear (&s);
}

/* A relay without our secrets refuses two answers to fresh nonces: the session is lost. */
static void
test_disowned (void)
{
  Story s;

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  register_now (&s);
  relay_model_lose_secrets (&s.relay, 99);
  run_for (&s, MS (4100));
  g_assert_cmpuint (s.events[NAT_PROBER_DISOWNED], ==, 1);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_IDLE);
  story_clear (&s);
}

static void
test_forbidden (void)
{
  static const NatReason reasons[] = {
      NAT_REASON_ENDED, NAT_REASON_SUPERSEDED, NAT_REASON_EXPIRED, NAT_REASON_REVOKED};

  for (guint i = 0; i < G_N_ELEMENTS (reasons); i++) {
    Story s;

    story_init (&s, NAT_ROLE_PUBLISHER, 1);
    register_now (&s);
    s.relay.refuse = reasons[i];
    run_for (&s, MS (4100));
    g_assert_cmpuint (s.events[NAT_PROBER_FORBIDDEN], ==, 1);
    g_assert_cmpint (s.report.reason, ==, reasons[i]);
    g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_IDLE);
    story_clear (&s);
  }
}

/* A 403 without integrity ends nothing. */
static void
test_forbidden_needs_integrity (void)
{
  static const guint8 zero[NAT_BOOT_ID_SIZE];
  Story s;
  Sent request;
  guint8 id[12], forged[256];
  NatStunWriter w;
  gsize n;

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  register_now (&s);
  s.dead = TRUE;
  run_for (&s, MS (4000));
  request = g_array_index (s.sent, Sent, 0);
  memcpy (id, request.data + 8, sizeof id);
  nat_stun_writer_init (&w, forged, sizeof forged, NAT_STUN_BINDING_ERROR, id);
  nat_stun_writer_add_error (&w, 403, "Forbidden");
  nat_stun_writer_add_u32 (&w, NAT_ATTR_REASON, NAT_REASON_ENDED);
  nat_stun_writer_add (&w, NAT_ATTR_BOOT_ID, zero, sizeof zero);
  n = nat_stun_writer_finish (&w);
  g_assert_cmpint (
      nat_prober_input (s.prober, s.now, &request.relay, forged, n), ==, NAT_PROBER_REFUSED);
  g_assert_cmpuint (s.events[NAT_PROBER_FORBIDDEN], ==, 0);
  story_clear (&s);
}

/* ---- Keeping ----------------------------------------------------------- */

static void
test_keepalive (void)
{
  Story s;
  guint before;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  register_now (&s);
  before = s.relay.n_success;
  for (guint i = 0; i < 100; i++) {
    gint64 wait = nat_prober_deadline (s.prober) - s.now;

    g_assert_cmpint (wait, >=, MS (3200));
    g_assert_cmpint (wait, <=, MS (4000));
    run_until (&s, nat_prober_deadline (s.prober));
  }
  g_assert_cmpuint (s.relay.n_success - before, ==, 100);
  g_assert_cmpuint (s.events[NAT_PROBER_UPDATED], ==, 100);
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 0);
  /* The nonce is used until it is refused: once in 30 s. */
  g_assert_cmpuint (s.relay.n_401, ==, 1);
  g_assert_cmpuint (s.relay.n_438, >=, 10);
  g_assert_cmpuint (s.relay.n_438, <=, 14);
  story_clear (&s);
}

/* The NAT forgets us: registered anew in two round trips, and asked to remember for less. */
static void
test_rebind (void)
{
  static const gint64 longest[] = {4000, 2000, 1000, 1000};
  Story s;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  register_now (&s);
  for (guint i = 0; i < G_N_ELEMENTS (longest); i++) {
    gint64 wait = nat_prober_deadline (s.prober) - s.now;

    g_test_message ("rebind %u", i);
    g_assert_cmpint (wait, <=, MS (longest[i]));
    g_assert_cmpint (wait, >=, MS (longest[i]) * 8 / 10);
    s.z.port++;
    run_until (&s, nat_prober_deadline (s.prober));
    g_assert_true (s.report.moved);
    g_assert_true (nat_address_equal (&s.report.mapped, &s.z));
    g_assert_true (nat_address_equal (&s.relay.selected, &s.z));
  }
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 0);
  story_clear (&s);
}

/* Another socket has another z, and the NAT is not to blame. */
static void
test_socket_changed (void)
{
  Story s;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  register_now (&s);
  s.z.port++;
  nat_prober_socket_changed (s.prober, s.now);
  settle (&s);
  g_assert_true (nat_address_equal (&s.report.mapped, &s.z));
  g_assert_false (s.report.moved);
  g_assert_cmpint (nat_prober_deadline (s.prober) - s.now, >=, MS (3200));
  story_clear (&s);
}

static void
test_restart (void)
{
  for (guint as_401 = 0; as_401 < 2; as_401++) {
    Story s;

    story_init (&s, NAT_ROLE_PUBLISHER, 1);
    register_now (&s);
    relay_model_restart (&s.relay, 7);
    s.relay.version = 0;
    s.relay.foreign_is_401 = as_401;
    run_until (&s, nat_prober_deadline (s.prober));
    g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_REGISTERED);
    g_assert_cmpmem (s.report.boot_id, 16, s.relay.boot_id, 16);
    g_assert_cmpuint (s.report.version, ==, 0);
    g_assert_false (s.report.moved);
    g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 0);
    story_clear (&s);
  }
}

static void
test_renewed_username (void)
{
  Story s;
  char other[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  register_now (&s);
  s.dead = TRUE;
  run_until (&s, nat_prober_deadline (s.prober));
  g_assert_cmpuint (s.sent->len, ==, 1);
  g_array_set_size (s.sent, 0); /* a keepalive under the old name is under way */
  relay_model_open (&s.relay, 7200, other, password);
  nat_prober_set_credentials (s.prober, s.now, other, NAT_REALM, password, NAT_KEEPALIVE_MS);
  s.dead = FALSE;
  settle (&s);
  g_assert_cmpuint (s.events[NAT_PROBER_UPDATED], ==, 1);
  run_for (&s, MS (10000));
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 0);
  story_clear (&s);
}

/* ---- Silence ----------------------------------------------------------- */

static void
test_silence_and_return (void)
{
  Story s;
  gint64 silent_at;
  guint n;

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  register_now (&s);
  s.dead = TRUE;
  run_until (&s, nat_prober_deadline (s.prober)); /* a keepalive goes out */
  silent_at = s.now;
  run_for (&s, MS (1499));
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 0);
  run_for (&s, MS (1));
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 1);
  g_array_set_size (s.sent, 0);
  run_for (&s, MS (10000));
  g_assert_cmpuint (s.sent->len, >=, 43);
  g_assert_cmpuint (s.sent->len, <=, 44);
  g_assert_cmpuint (s.events[NAT_PROBER_STUCK], ==, 1);
  g_assert_cmpuint (s.events[NAT_PROBER_LOST], ==, 0);
  run_until (&s, silent_at + MS (30000));
  g_assert_cmpuint (s.events[NAT_PROBER_LOST], ==, 1);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_SEEKING);
  run_for (&s, MS (10000)); /* the steps have grown to two seconds */
  g_array_set_size (s.sent, 0);
  run_for (&s, MS (60000));
  n = s.sent->len;
  g_assert_cmpuint (n, >=, 29);
  g_assert_cmpuint (n, <=, 31);
  g_array_set_size (s.sent, 0);
  s.dead = FALSE;
  run_for (&s, MS (2000));
  g_assert_cmpuint (s.events[NAT_PROBER_ACCEPTED], ==, 2);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_REGISTERED);
  story_clear (&s);
}

/* A subscriber whose 50 packets a second stop asks within three gaps, but at least 60 ms. */
static void
test_flow_dries_up (void)
{
  Story s;
  guint before;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  register_now (&s);
  for (guint i = 0; i < 50; i++) {
    run_for (&s, MS (20));
    nat_prober_heard (s.prober, s.now);
  }
  before = s.relay.n_success;
  run_for (&s, MS (59));
  g_assert_cmpuint (s.relay.n_success, ==, before);
  run_for (&s, MS (1));
  g_assert_cmpuint (s.relay.n_success, ==, before + 1);
  /* The relay is well: it is the publisher who is silent. Not asked again. */
  run_for (&s, MS (2000));
  g_assert_cmpuint (s.relay.n_success, ==, before + 1);
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 0);
  /* Flow and relay stop together: suspect in less than half a second. */
  run_for (&s, MS (2000));
  nat_prober_heard (s.prober, s.now);
  run_for (&s, MS (20));
  nat_prober_heard (s.prober, s.now);
  s.dead = TRUE;
  run_for (&s, MS (60 + 251));
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 1);
  story_clear (&s);
}

/* A stutter costs two Bindings a second at most. */
static void
test_flow_stutters (void)
{
  Story s;
  guint before;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  register_now (&s);
  before = s.relay.n_success;
  for (guint i = 0; i < 100; i++) {
    for (guint k = 0; k < 10; k++) {
      nat_prober_heard (s.prober, s.now);
      run_for (&s, MS (1));
    }
    run_for (&s, MS (1190));
  }
  g_assert_cmpuint (s.relay.n_success - before, <=, 240);
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 0);
  story_clear (&s);
}

static void
test_publisher_misses_reports (void)
{
  Story s;
  guint before;

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  register_now (&s);
  before = s.relay.n_success;
  /* Reports come: nothing but keepalives. */
  for (guint i = 0; i < 100; i++) {
    run_for (&s, MS (20));
    nat_prober_sent (s.prober, s.now);
    if (i % 20 == 19)
      nat_prober_heard (s.prober, s.now);
  }
  g_assert_cmpuint (s.relay.n_success, ==, before);
  /* They stop while we send, and nobody answers. */
  s.dead = TRUE;
  for (guint i = 0; i < 65; i++) {
    run_for (&s, MS (20));
    nat_prober_sent (s.prober, s.now);
  }
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 1);
  story_clear (&s);
}

static void
test_idle_publisher_sleeps (void)
{
  Story s;

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  register_now (&s);
  g_assert_true (nat_prober_wants_sent (s.prober));
  nat_prober_sent (s.prober, s.now);
  g_assert_false (nat_prober_wants_sent (s.prober));
  g_assert_cmpint (nat_prober_deadline (s.prober) - s.now, ==, MS (1000));
  run_for (&s, MS (2500));
  g_assert_true (nat_prober_wants_sent (s.prober));
  g_assert_cmpint (nat_prober_deadline (s.prober) - s.now, >=, MS (700));
  story_clear (&s);
}

/* ---- Hints ------------------------------------------------------------- */

static void
indicate (Story *s, NatReason reason)
{
  guint8 data[256];
  gsize n = relay_model_indication (&s->relay, reason, data, sizeof data);

  g_assert_cmpint (
      nat_prober_input (s->prober, s->now, &s->address[0], data, n), ==, NAT_PROBER_TAKEN);
}

static void
test_indications_are_hints (void)
{
  Story s;
  guint before;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  register_now (&s);
  before = s.relay.n_success;
  indicate (&s, NAT_REASON_DESCRIPTION);
  g_assert_cmpuint (s.sent->len, ==, 1); /* the first at once */
  settle (&s);
  for (guint i = 0; i < 1000; i++) {
    indicate (&s, i % 2 ? NAT_REASON_ENDED : NAT_REASON_SUPERSEDED);
    run_for (&s, MS (10));
  }
  g_assert_cmpuint (s.relay.n_success - before, >=, 10);
  g_assert_cmpuint (s.relay.n_success - before, <=, 12);
  g_assert_cmpuint (s.events[NAT_PROBER_FORBIDDEN], ==, 0);
  g_assert_cmpint (nat_prober_phase (s.prober), ==, NAT_PROBER_REGISTERED);
  /* One that came too soon is not lost. */
  run_for (&s, MS (5000));
  indicate (&s, NAT_REASON_DESCRIPTION);
  settle (&s);
  before = s.relay.n_success;
  run_for (&s, MS (100));
  indicate (&s, NAT_REASON_DESCRIPTION);
  run_for (&s, MS (900));
  g_assert_cmpuint (s.relay.n_success, ==, before + 1);
  story_clear (&s);
}

static void
test_going_away (void)
{
  Story s;
  guint before;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  register_now (&s);
  indicate (&s, NAT_REASON_GOING_AWAY);
  settle (&s);   /* it still answers the first */
  s.dead = TRUE; /* and is gone */
  run_for (&s, MS (600));
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 1);
  relay_model_restart (&s.relay, 5);
  g_array_set_size (s.sent, 0);
  s.dead = FALSE;
  run_for (&s, MS (260));
  g_assert_cmpuint (s.events[NAT_PROBER_ACCEPTED], ==, 2);
  g_assert_cmpmem (s.report.boot_id, 16, s.relay.boot_id, 16);
  /* A lie costs little. */
  run_for (&s, MS (20000));
  before = s.relay.n_success;
  for (guint i = 0; i < 100; i++) {
    indicate (&s, NAT_REASON_GOING_AWAY);
    run_for (&s, MS (100));
  }
  g_assert_cmpuint (s.relay.n_success - before, <=, 18);
  story_clear (&s);
}

static void
test_unreachable_is_a_hint (void)
{
  Story s;

  story_init (&s, NAT_ROLE_PUBLISHER, 1);
  register_now (&s);
  s.dead = TRUE;
  for (guint i = 0; i < 26; i++) {
    nat_prober_hint (s.prober, s.now);
    run_for (&s, MS (10));
  }
  g_assert_cmpuint (s.events[NAT_PROBER_SILENT], ==, 1);
  story_clear (&s);
}

static void
test_round_trip (void)
{
  Story s;
  Sent request;

  story_init (&s, NAT_ROLE_SUBSCRIBER, 1);
  request = g_array_index (s.sent, Sent, 0);
  g_array_set_size (s.sent, 0);
  deliver (&s, &request);
  s.now += MS (40);
  request = g_array_index (s.sent, Sent, 0);
  g_array_set_size (s.sent, 0);
  deliver (&s, &request);
  g_assert_cmpuint (nat_prober_rtt_us (s.prober), ==, 40000);
  /* An answer to a repetition tells nothing. */
  s.dead = TRUE;
  run_until (&s, nat_prober_deadline (s.prober));
  run_for (&s, MS (150));
  g_assert_cmpuint (s.sent->len, ==, 2);
  request = g_array_index (s.sent, Sent, 1);
  deliver (&s, &request);
  g_assert_cmpuint (nat_prober_rtt_us (s.prober), ==, 40000);
  story_clear (&s);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/prober/registers", test_registers);
  g_test_add_func ("/prober/repeats", test_repeats_first_request);
  g_test_add_func ("/prober/gives-up", test_gives_up);
  g_test_add_func ("/prober/second-candidate", test_second_candidate);
  g_test_add_func ("/prober/head-start", test_head_start);
  g_test_add_func ("/prober/forgeries", test_forgeries);
  g_test_add_func ("/prober/disowned", test_disowned);
  g_test_add_func ("/prober/forbidden", test_forbidden);
  g_test_add_func ("/prober/forbidden-integrity", test_forbidden_needs_integrity);
  g_test_add_func ("/prober/keepalive", test_keepalive);
  g_test_add_func ("/prober/rebind", test_rebind);
  g_test_add_func ("/prober/socket-changed", test_socket_changed);
  g_test_add_func ("/prober/restart", test_restart);
  g_test_add_func ("/prober/renewed-username", test_renewed_username);
  g_test_add_func ("/prober/silence", test_silence_and_return);
  g_test_add_func ("/prober/flow-dries-up", test_flow_dries_up);
  g_test_add_func ("/prober/flow-stutters", test_flow_stutters);
  g_test_add_func ("/prober/misses-reports", test_publisher_misses_reports);
  g_test_add_func ("/prober/idle-publisher", test_idle_publisher_sleeps);
  g_test_add_func ("/prober/indications", test_indications_are_hints);
  g_test_add_func ("/prober/going-away", test_going_away);
  g_test_add_func ("/prober/unreachable", test_unreachable_is_a_hint);
  g_test_add_func ("/prober/round-trip", test_round_trip);
  return g_test_run ();
}
