/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/meter.h"

#include <string.h>

#define SECOND ((gint64)G_USEC_PER_SEC)
#define START  (1000 * SECOND)

/* A publisher that sends from one address, on a stream of its own. */
typedef struct {
  NatMeter *stream;
  NatBudget *budget;
  NatSessionCounters *counters;
  NatAddress from;
  guint refused[2 * NAT_LIMITS];
} Sender;

static Sender
sender (NatMeters *m, const char *from, const char *subject, guint32 kbps, guint32 packets)
{
  NatRate claim = {kbps, packets};
  Sender s = {.stream = g_new0 (NatMeter, 1), .counters = nat_session_counters_new ()};

  s.budget = nat_budget_new (m, s.stream);
  g_assert_true (nat_address_from_text (&s.from, from, 4000));
  nat_budget_claim (s.budget, subject, &claim, s.counters);
  nat_budget_heard_from (s.budget, &s.from, START);
  return s;
}

static void
sender_clear (Sender *s)
{
  nat_budget_free (s->budget);
  nat_session_counters_unref (s->counters);
  g_free (s->stream);
}

/* As data/forward.c does it. */
static gboolean
send_one (Sender *s, gsize len, gint64 now_us)
{
  guint which;

  if (!nat_budget_holds (s->counters, len) &&
      !nat_budget_ask (s->budget, &s->from, s->counters, len, now_us, &which)) {
    s->refused[which]++;
    return FALSE;
  }
  g_assert_true (nat_budget_holds (s->counters, len));
  nat_counter_add (&s->counters->packets_received, 1);
  nat_counter_add (&s->counters->bytes_received, len);
  return TRUE;
}

/* So many evenly in a time; returns how many were taken. */
static guint
send_many (Sender *s, gsize len, guint n, gint64 begin_us, gint64 span_us)
{
  guint taken = 0;

  for (guint i = 0; i < n; i++)
    taken += send_one (s, len, begin_us + span_us * i / n);
  return taken;
}

static NatMeters *
meters (NatLimit limit, guint32 kbps, guint32 packets)
{
  NatRate rates[NAT_LIMITS] = {{0}};
  NatMeters *m = nat_meters_new ();

  rates[limit] = (NatRate){kbps, packets};
  nat_meters_set_rates (m, rates);
  return m;
}

static void
test_no_limit (void)
{
  NatMeters *m = nat_meters_new ();
  Sender s = sender (m, "192.0.2.1", "ann", 0, 0);

  g_assert_cmpuint (send_many (&s, 1200, 1000000, START, 1000), ==, 1000000);
  g_assert_cmpuint (nat_meters_refused (m), ==, 0);
  sender_clear (&s);
  g_assert_cmpuint (nat_meters_size (m), ==, 0);
  nat_meters_unref (m);
}

/* A second's worth at once, and in the long run what the rate says; in bytes, and in packets. */
static void
test_rate (void)
{
  NatMeters *m = meters (NAT_LIMIT_STREAM, 800, 0), *p = meters (NAT_LIMIT_STREAM, 0, 500);
  Sender s = sender (m, "192.0.2.1", "", 0, 0), t = sender (p, "192.0.2.1", "", 0, 0);

  g_assert_cmpuint (send_many (&s, 1000, 300, START, 0), ==, 100);
  g_assert_cmpuint (send_many (&s, 1000, 300, START + SECOND, 0), ==, 100);
  g_assert_cmpuint (send_many (&s, 1000, 300, START + 9 * SECOND, 0), ==, 100);
  g_assert_cmpuint (send_many (&s, 100, 100000, START + 10 * SECOND, 10 * SECOND), >=, 9990);
  g_assert_cmpuint (nat_counter_get (&s.counters->bytes_received), <=, 100000 * 14);
  g_assert_cmpuint (s.refused[2 * NAT_LIMIT_STREAM], >, 0);
  g_assert_cmpuint (nat_meters_refused (m), ==, 1u << 2 * NAT_LIMIT_STREAM);
  g_assert_cmpuint (send_many (&t, 10, 3000, START, 0), ==, 500);
  g_assert_cmpuint (send_many (&t, 1200, 3000, START + SECOND, 0), ==, 500);
  send_many (&t, 12, 100000, START + 2 * SECOND, 10 * SECOND);
  g_assert_cmpuint (nat_counter_get (&t.counters->packets_received), <=, 2 * 500 + 11 * 500);
  g_assert_cmpuint (nat_counter_get (&t.counters->packets_received), >=, 2 * 500 + 11 * 500 - 8);
  g_assert_cmpuint (t.refused[2 * NAT_LIMIT_STREAM + 1], >, 0);
  g_assert_cmpuint (nat_meters_refused (p), ==, 1u << (2 * NAT_LIMIT_STREAM + 1));
  sender_clear (&s);
  sender_clear (&t);
  nat_meters_unref (m);
  nat_meters_unref (p);
}

/* A limit below one packet lets one pass now and then. */
static void
test_tiny (void)
{
  NatMeters *m = meters (NAT_LIMIT_STREAM, 1, 0);
  Sender s = sender (m, "192.0.2.1", "", 0, 0);

  g_assert_cmpuint (send_many (&s, 1250, 10000, START, 100 * SECOND), >=, 10);
  g_assert_cmpuint (nat_counter_get (&s.counters->packets_received), <=, 12);
  sender_clear (&s);
  nat_meters_unref (m);
}

static void
test_subject (void)
{
  NatMeters *m = meters (NAT_LIMIT_SUBJECT, 1600, 0);
  Sender s[] = {sender (m, "192.0.2.1", "ann", 0, 0), sender (m, "192.0.2.2", "ann", 0, 0),
      sender (m, "192.0.2.3", "bob", 0, 0), sender (m, "192.0.2.4", "ann", 800, 0),
      sender (m, "192.0.2.5", "", 80, 0), sender (m, "192.0.2.6", "", 80, 0)};
  NatRate claim = {0};
  guint taken;

  /* Ann's two have it together, Bob's is his. */
  g_assert_cmpuint (send_many (&s[0], 1000, 120, START, 0), ==, 120);
  taken = send_many (&s[1], 1000, 1000, START, 0);
  g_assert_cmpuint (taken, <=, 80);
  g_assert_cmpuint (
      taken, >=, 80 - 200 / 64 - 1); /* the other was granted some that it did not take */
  g_assert_cmpuint (s[1].refused[2 * NAT_LIMIT_SUBJECT], ==, 1000 - taken);
  g_assert_cmpuint (send_many (&s[2], 1000, 1000, START, 0), ==, 200);
  /* A token that allows less, and tokens without a subject, each by itself. */
  g_assert_cmpuint (send_many (&s[3], 1000, 1000, START, 0), ==, 100);
  g_assert_cmpuint (send_many (&s[4], 1000, 1000, START, 0), ==, 10);
  g_assert_cmpuint (send_many (&s[5], 1000, 1000, START, 0), ==, 10);
  /* Another token in a session that goes on: it has what that one's subject has left. */
  nat_budget_claim (s[2].budget, "ann", &claim, s[2].counters);
  g_assert_cmpuint (send_many (&s[2], 1000, 1000, START, 0), ==, 0);
  g_assert_cmpuint (nat_meters_size (m), ==, 3 + 6); /* Bob's is not earned yet */
  s[0].from.ip[3] = 7;
  for (guint i = 0; i < G_N_ELEMENTS (s); i++) {
    nat_budget_heard_from (s[i].budget, &s[i].from, START + 2 * SECOND);
    sender_clear (&s[i]);
  }
  g_assert_cmpuint (nat_meters_size (m), ==, 0);
  nat_meters_unref (m);
}

static void
test_address (void)
{
  NatMeters *m = meters (NAT_LIMIT_ADDRESS, 0, 100);
  Sender s[] = {sender (m, "192.0.2.1", "a", 0, 0), sender (m, "192.0.2.1:9", "b", 0, 0),
      sender (m, "192.0.2.2", "c", 0, 0), sender (m, "[2001:db8:0:1::1]", "d", 0, 0),
      sender (m, "[2001:db8:0:1:ffff::2]", "e", 0, 0), sender (m, "[2001:db8:0:2::1]", "f", 0, 0)};

  g_assert_cmpuint (send_many (&s[0], 100, 60, START, 0), ==, 60);
  g_assert_cmpuint (send_many (&s[1], 100, 60, START, 0), ==, 40);
  g_assert_cmpuint (s[1].refused[2 * NAT_LIMIT_ADDRESS + 1], ==, 20);
  g_assert_cmpuint (send_many (&s[2], 100, 200, START, 0), ==, 100);
  g_assert_cmpuint (send_many (&s[3], 100, 60, START, 0), ==, 60);
  g_assert_cmpuint (send_many (&s[4], 100, 60, START, 0), ==, 40);
  g_assert_cmpuint (send_many (&s[5], 100, 60, START, 0), ==, 60);
  for (guint i = 0; i < G_N_ELEMENTS (s); i++)
    sender_clear (&s[i]);
  nat_meters_unref (m);
}

/* Who moves from address to address uses each one's, and more than four are not remembered. */
static void
test_moves (void)
{
  NatMeters *m = meters (NAT_LIMIT_ADDRESS, 0, 100);
  Sender s = sender (m, "192.0.2.1", "", 0, 0);
  gint64 now_us = START;

  g_assert_cmpuint (send_many (&s, 100, 200, START, 0), ==, 100);
  for (guint i = 2; i < 20; i++) {
    now_us += 2 * SECOND;
    s.from.ip[3] = (guint8)i;
    nat_budget_heard_from (s.budget, &s.from, now_us);
    nat_budget_heard_from (s.budget, &s.from, now_us);
    g_assert_cmpuint (send_many (&s, 100, 200, now_us, 0), ==, 100);
    g_assert_cmpuint (nat_meters_size (m), ==, MIN (i, 4));
  }
  /* From where no Binding came, as from the last. */
  s.from.ip[3] = 99;
  g_assert_cmpuint (send_many (&s, 100, 200, now_us, 0), ==, 0);
  s.from.ip[3] = 19;
  nat_budget_heard_from (s.budget, &s.from, now_us + 2 * SECOND);
  sender_clear (&s);
  g_assert_cmpuint (nat_meters_size (m), ==, 0);
  nat_meters_unref (m);
}

/* Whoever goes and comes again has what is left, not a second's worth each time; and nobody is remembered for long. */
static void
test_comes_and_goes (void)
{
  NatMeters *m = meters (NAT_LIMIT_ADDRESS, 0, 100);
  Sender s;

  for (guint i = 0; i < 5; i++) {
    s = sender (m, "192.0.2.1", "ann", 0, 0);
    g_assert_cmpuint (send_many (&s, 100, 200, START, 0), ==, i == 0 ? 100 : 0);
    sender_clear (&s);
    g_assert_cmpuint (nat_meters_size (m), ==, 1);
  }
  s = sender (m, "192.0.2.1", "ann", 0, 0);
  g_assert_cmpuint (send_many (&s, 100, 200, START + SECOND / 2, 0), ==, 50);
  sender_clear (&s);
  s = sender (m, "192.0.2.2", "", 0, 0);
  g_assert_cmpuint (nat_meters_size (m), ==, 2);
  s.from.ip[3] = 3;
  nat_budget_heard_from (s.budget, &s.from, START + 2 * SECOND);
  g_assert_cmpuint (nat_meters_size (m), ==, 2);
  sender_clear (&s);
  g_assert_cmpuint (nat_meters_size (m), ==, 0);
  nat_meters_unref (m);
}

/* Who is over his own limit uses up nothing of what others share with him. */
static void
test_others_are_untouched (void)
{
  NatRate rates[NAT_LIMITS] = {[NAT_LIMIT_STREAM] = {80, 0}, [NAT_LIMIT_ALL] = {880, 0}};
  NatMeters *m = nat_meters_new ();
  Sender hog, s[10];

  nat_meters_set_rates (m, rates);
  hog = sender (m, "192.0.2.1", "", 0, 0);
  g_assert_cmpuint (send_many (&hog, 1000, 100000, START, 0), ==, 10);
  g_assert_cmpuint (hog.refused[2 * NAT_LIMIT_STREAM], ==, 100000 - 10);
  for (guint i = 0; i < G_N_ELEMENTS (s); i++) {
    s[i] = sender (m, "192.0.2.1", "", 0, 0);
    g_assert_cmpuint (send_many (&s[i], 1000, 10, START, 0), ==, 10);
  }
  /* Nothing is left in all. */
  sender_clear (&hog);
  hog = sender (m, "192.0.2.1", "", 0, 0);
  g_assert_cmpuint (send_many (&hog, 1000, 10, START, 0), ==, 0);
  g_assert_cmpuint (hog.refused[2 * NAT_LIMIT_ALL], ==, 10);
  sender_clear (&hog);
  for (guint i = 0; i < G_N_ELEMENTS (s); i++)
    sender_clear (&s[i]);
  nat_meters_unref (m);
}

/* What is refused for another reason after it was granted is not taken. */
static void
test_granted_is_not_taken (void)
{
  NatMeters *m = meters (NAT_LIMIT_STREAM, 80, 10);
  Sender s = sender (m, "192.0.2.1", "", 0, 0);
  guint which;

  for (guint i = 0; i < 1000; i++)
    g_assert_true (nat_budget_holds (s.counters, 1000) ||
                   nat_budget_ask (s.budget, &s.from, s.counters, 1000, START, &which));
  g_assert_cmpuint (send_many (&s, 1000, 100, START, 0), ==, 10);
  sender_clear (&s);
  nat_meters_unref (m);
}

/* New rates hold for who is there, also where nothing was limited. */
static void
test_other_rates (void)
{
  NatRate rates[NAT_LIMITS] = {[NAT_LIMIT_ALL] = {0, 10}};
  NatMeters *m = nat_meters_new ();
  Sender s = sender (m, "192.0.2.1", "", 0, 0);

  g_assert_cmpuint (send_many (&s, 1000, 1000, START, 0), ==, 1000);
  nat_meters_set_rates (m, rates);
  nat_budget_check (s.budget, s.counters);
  g_assert_cmpuint (send_many (&s, 1000, 1000, START, 0), ==, 10);
  nat_budget_check (s.budget, s.counters);
  g_assert_cmpuint (send_many (&s, 1000, 1000, START, 0), ==, 0);
  memset (rates, 0, sizeof rates);
  nat_meters_set_rates (m, rates);
  nat_budget_check (s.budget, s.counters);
  g_assert_cmpuint (send_many (&s, 1000, 1000, START, 0), ==, 1000);
  sender_clear (&s);
  nat_meters_unref (m);
}

/* ---- Workers ----------------------------------------------------------- */

#define THREADS 4
#define EACH    50000

static gpointer
send_in_thread (gpointer m)
{
  Sender s = sender (m, "192.0.2.1", "ann", 0, 0);
  guint taken = send_many (&s, 100, EACH, START, 0);

  sender_clear (&s);
  return GUINT_TO_POINTER (taken);
}

/* At one time they get one second's worth together, whoever asks; but for what each was granted and did not take. */
static void
test_threads (void)
{
  NatMeters *m = meters (NAT_LIMIT_ALL, 0, EACH);
  GThread *threads[THREADS];
  guint taken = 0;

  for (guint i = 0; i < THREADS; i++)
    threads[i] = g_thread_new ("sender", send_in_thread, m);
  for (guint i = 0; i < THREADS; i++)
    taken += GPOINTER_TO_UINT (g_thread_join (threads[i]));
  g_assert_cmpuint (taken, <=, EACH);
  g_assert_cmpuint (taken, >=, EACH - THREADS * 64);
  g_assert_cmpuint (nat_meters_size (m), ==, 0);
  nat_meters_unref (m);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/meter/no-limit", test_no_limit);
  g_test_add_func ("/meter/rate", test_rate);
  g_test_add_func ("/meter/tiny", test_tiny);
  g_test_add_func ("/meter/subject", test_subject);
  g_test_add_func ("/meter/address", test_address);
  g_test_add_func ("/meter/moves", test_moves);
  g_test_add_func ("/meter/comes-and-goes", test_comes_and_goes);
  g_test_add_func ("/meter/others-are-untouched", test_others_are_untouched);
  g_test_add_func ("/meter/granted-is-not-taken", test_granted_is_not_taken);
  g_test_add_func ("/meter/other-rates", test_other_rates);
  g_test_add_func ("/meter/threads", test_threads);
  return g_test_run ();
}
