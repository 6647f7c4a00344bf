/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What is missing and when it is asked for: as stories, against a slow twin, and over links that lose. */

#include "natproto/missing.h"

#include <string.h>

#define MS(n) ((gint64)(n)*1000)
#define RTT   MS (40)
#define LIFE  MS (300)

typedef struct {
  NatMissingPacket memory[64];
  NatMissing missing;
  gint64 now;
} Story;

static void
begin (Story *s)
{
  memset (s, 0, sizeof *s);
  nat_missing_init (&s->missing, s->memory, G_N_ELEMENTS (s->memory));
  nat_missing_set_pace (&s->missing, RTT, LIFE);
  s->now = MS (1000);
}

static NatMissingStatus
receive (Story *s, gint64 after_ms, guint64 seq)
{
  s->now += MS (after_ms);
  return nat_missing_receive (&s->missing, seq, s->now);
}

/* "3 4 5" = asked for now; and time goes on to when the next is due, at most for_ms. */
static void
expect_asked (Story *s, gint64 after_ms, const char *seqs)
{
  g_autoptr (GString) text = g_string_new (NULL);
  guint16 asked[64];
  guint n;

  s->now += MS (after_ms);
  n = nat_missing_due (&s->missing, s->now, asked, G_N_ELEMENTS (asked));
  for (guint i = 0; i < n; i++)
    g_string_append_printf (text, i > 0 ? " %u" : "%u", asked[i]);
  g_assert_cmpstr (text->str, ==, seqs);
}

static void
assert_counts (const NatMissing *g)
{
  g_assert_cmpuint (g->noticed, ==, g->reordered + g->repaired + g->late + g->lost + g->n);
}

static void
test_in_order (void)
{
  Story s;

  begin (&s);
  for (guint64 seq = 65000; seq < 67000; seq++)
    g_assert_cmpint (receive (&s, 1, seq), ==, NAT_MISSING_NEXT);
  g_assert_cmpint (nat_missing_deadline (&s.missing), ==, G_MAXINT64);
  g_assert_cmpint (receive (&s, 0, 66999), ==, NAT_MISSING_OTHER);
  g_assert_cmpint (receive (&s, 0, 64999), ==, NAT_MISSING_OTHER);
  g_assert_cmpuint (s.missing.noticed, ==, 0);
}

/* Asked for after what may be reordering, again after a round trip, then half of that, then a quarter, until an answer
 * could only be late; found lost after twice its life. */
static void
test_asks_until_too_late (void)
{
  gint64 first, last = 0, noticed;
  guint16 seqs[4];
  guint asked = 0;
  Story s;

  begin (&s);
  receive (&s, 0, 65535);
  receive (&s, 1, 65538);
  noticed = s.now;
  expect_asked (&s, 0, "");
  first = nat_missing_deadline (&s.missing);
  g_assert_cmpint (first - noticed, >=, MS (1));
  g_assert_cmpint (first - noticed, <=, MS (10));
  while (s.missing.n > 0) {
    gint64 due = nat_missing_deadline (&s.missing);
    guint n;

    g_assert_cmpint (due, >, s.now);
    n = nat_missing_due (&s.missing, due - 1 - MS (1), seqs, G_N_ELEMENTS (seqs));
    g_assert_cmpuint (n, ==, 0);
    s.now = due;
    n = nat_missing_due (&s.missing, due, seqs, G_N_ELEMENTS (seqs));
    if (n == 0)
      continue;
    g_assert_cmpuint (n, ==, 2);
    g_assert_cmpuint (seqs[0], ==, 0); /* 65536 */
    g_assert_cmpuint (seqs[1], ==, 1);
    if (asked > 0)
      g_assert_cmpint (due - last, >=, RTT >> MIN (asked - 1, 2));
    if (asked > 0)
      g_assert_cmpint (due - last, <=, (RTT >> MIN (asked - 1, 2)) + MS (10));
    last = due;
    asked++;
  }
  g_assert_cmpuint (asked, >=, LIFE / RTT);
  g_assert_cmpint (last + RTT / 2, <=, noticed + LIFE);
  g_assert_cmpint (s.now, ==, noticed + 2 * LIFE);
  g_assert_cmpuint (s.missing.lost, ==, 2);
  g_assert_cmpint (nat_missing_deadline (&s.missing), ==, G_MAXINT64);
  assert_counts (&s.missing);
}

/* A hole that nobody can fill is not asked for all the time that a long latency leaves. */
static void
test_asks_less_and_less (void)
{
  guint asked = 0, early = 0;
  gint64 noticed, last = 0, gap = 0;
  guint16 seqs[4];
  Story s;

  begin (&s);
  nat_missing_set_pace (&s.missing, MS (40), MS (2000));
  receive (&s, 0, 1);
  receive (&s, 1, 3);
  noticed = s.now;
  while (s.missing.n > 0) {
    s.now = nat_missing_deadline (&s.missing);
    if (nat_missing_due (&s.missing, s.now, seqs, G_N_ELEMENTS (seqs)) == 0)
      continue;
    gap = s.now - last;
    last = s.now;
    asked++;
    early += s.now - noticed < MS (300);
  }
  g_test_message ("%u questions, %u of them in 300 ms", asked, early);
  g_assert_cmpuint (early, >=, 15);
  g_assert_cmpuint (asked, <=, 24);
  g_assert_cmpint (gap, >=, MS (300));
  g_assert_cmpint (last, >=, noticed + MS (1000));
}

/* Whoever comes too late for the last question is not called again and again until the packet is given up. */
static void
test_late_caller (void)
{
  gint64 noticed, last = LIFE - RTT / 2, next;
  guint16 seqs[4];
  Story s;

  begin (&s);
  receive (&s, 0, 1);
  receive (&s, 1, 3);
  noticed = s.now;
  /* Until a question that is in time itself, but the next call is not. */
  do {
    next = nat_missing_deadline (&s.missing);
    s.now = next + MS (40) > noticed + last ? noticed + last + 1 : next;
    nat_missing_due (&s.missing, s.now, seqs, G_N_ELEMENTS (seqs));
  } while (s.now == next);
  g_assert_cmpint (next, <=, noticed + last);
  g_assert_cmpint (nat_missing_deadline (&s.missing), ==, noticed + 2 * LIFE);
  s.now = noticed + 2 * LIFE;
  expect_asked (&s, 0, "");
  g_assert_cmpuint (s.missing.lost, ==, 1);
  assert_counts (&s.missing);
}

static void
test_repaired_once (void)
{
  Story s;

  begin (&s);
  receive (&s, 0, 100);
  receive (&s, 0, 103);
  expect_asked (&s, 10, "101 102");
  g_assert_cmpint (receive (&s, 40, 101), ==, NAT_MISSING_REPAIRED);
  g_assert_cmpint (receive (&s, 0, 101), ==, NAT_MISSING_OTHER);
  expect_asked (&s, 10, "102");
  g_assert_cmpint (receive (&s, 290, 102), ==, NAT_MISSING_LATE);
  g_assert_cmpint (nat_missing_deadline (&s.missing), ==, G_MAXINT64);
  g_assert_cmpuint (s.missing.repaired, ==, 1);
  g_assert_cmpuint (s.missing.late, ==, 1);
  g_assert_cmpint (s.missing.latest_us, ==, MS (350));
  assert_counts (&s.missing);
}

/* A packet that is only late is not asked for, once it is known how late packets come here; and that is forgotten
 * when packets are lost. */
static void
test_reordered_is_not_lost (void)
{
  guint16 seqs[4];
  guint64 seq = 1;
  guint asked = 0;
  Story s;

  begin (&s);
  receive (&s, 0, seq);
  for (guint i = 0; i < 20; i++, seq += 3) {
    receive (&s, 1, seq + 1);
    receive (&s, 1, seq + 3);
    s.now += MS (7);
    if (nat_missing_deadline (&s.missing) <= s.now)
      asked += nat_missing_due (&s.missing, s.now, seqs, 4);
    g_assert_cmpint (receive (&s, 1, seq + 2), ==, NAT_MISSING_REORDERED);
  }
  g_assert_cmpuint (asked, <=, 1);
  g_assert_cmpuint (s.missing.reordered, ==, 20);
  for (guint i = 0; i < 200; i++, seq += 2) {
    receive (&s, 1, seq + 2);
    s.now = nat_missing_deadline (&s.missing);
    g_assert_cmpuint (nat_missing_due (&s.missing, s.now, seqs, 4), ==, 1);
    g_assert_cmpint (receive (&s, 42, seq + 1), ==, NAT_MISSING_REPAIRED);
  }
  receive (&s, 1, seq + 2);
  g_assert_cmpint (nat_missing_deadline (&s.missing) - s.now, <=, MS (3));
  assert_counts (&s.missing);
}

/* More than there is room for: the newest are asked for. */
static void
test_room (void)
{
  guint16 seqs[100];
  Story s;

  begin (&s);
  receive (&s, 0, 1000);
  receive (&s, 1, 1101);
  s.now += MS (10);
  g_assert_cmpuint (nat_missing_due (&s.missing, s.now, seqs, 10), ==, 10);
  g_assert_cmpuint (seqs[0], ==, 1101 - 64);
  g_assert_cmpuint (nat_missing_due (&s.missing, s.now, seqs, 100), ==, 54);
  g_assert_cmpuint (seqs[53], ==, 1100);
  receive (&s, 1, 1103);
  expect_asked (&s, 10, "1102");
  g_assert_cmpuint (s.missing.n, ==, 64);
  g_assert_cmpuint (s.missing.packets[0].seq, ==, 1101 - 63);
  assert_counts (&s.missing);
}

/* After an outage that is longer than life, only what may still be of use is asked for. */
static void
test_outage (void)
{
  guint16 seqs[100];
  Story s;

  begin (&s);
  receive (&s, 0, 1000);
  receive (&s, 3000, 1101);
  s.now += MS (10);
  g_assert_cmpuint (nat_missing_due (&s.missing, s.now, seqs, 100), ==, 10);
  g_assert_cmpuint (seqs[0], ==, 1091);
  g_assert_cmpuint (s.missing.lost, ==, 90);
  assert_counts (&s.missing);
}

/* How late a packet is counts from when it should have come, not from when that was noticed. */
static void
test_how_late (void)
{
  Story s;

  begin (&s);
  nat_missing_set_pace (&s.missing, RTT, MS (3000));
  receive (&s, 0, 1000);
  receive (&s, 1300, 1013);
  g_assert_cmpint (s.missing.late_us, ==, 0);
  receive (&s, 50, 1001);
  g_assert_cmpint (ABS (s.missing.late_us - MS (1250)), <=, 1);
  receive (&s, 0, 1012);
  g_assert_cmpint (ABS (s.missing.late_us - MS (150)), <=, 1);
  receive (&s, 0, 1012);
  g_assert_cmpint (s.missing.late_us, ==, 0);
  receive (&s, 5, 1014);
  g_assert_cmpint (s.missing.late_us, ==, 0);
}

static void
test_reset (void)
{
  Story s;

  begin (&s);
  receive (&s, 0, 1);
  receive (&s, 0, 10);
  nat_missing_reset (&s.missing);
  g_assert_cmpint (nat_missing_deadline (&s.missing), ==, G_MAXINT64);
  g_assert_cmpint (receive (&s, 0, 5), ==, NAT_MISSING_NEXT);
  g_assert_cmpint (receive (&s, 0, 3), ==, NAT_MISSING_OTHER);
  g_assert_cmpuint (s.missing.n, ==, 0);
  assert_counts (&s.missing);
}

/* ---- a slow twin --------------------------------------------------------- */

#define SPAN 4000

/* Random arrivals; the twin remembers of every packet if it came. */
static void
test_twin (void)
{
  for (guint32 seed = 1; seed <= 20; seed++) {
    g_autoptr (GRand) rand = g_rand_new_with_seed (seed);
    g_autofree NatMissingPacket *memory = g_new (NatMissingPacket, SPAN);
    g_autofree guint8 *came = g_new0 (guint8, SPAN);
    guint64 highest = 0;
    gint64 now = 0;
    NatMissing g;

    nat_missing_init (&g, memory, SPAN);
    nat_missing_set_pace (&g, MS (40), MS (100000));
    nat_missing_receive (&g, 0, now);
    came[0] = TRUE;
    while (highest < SPAN - 20) {
      gint64 seq = (gint64)highest + g_rand_int_range (rand, -60, 8);
      NatMissingStatus status;
      guint16 seqs[8];
      guint missing = 0;

      seq = MAX (seq, 0);
      now += g_rand_int_range (rand, 0, 3000);
      for (guint n = nat_missing_due (&g, now, seqs, 8); n > 0; n--)
        g_assert_false (came[seqs[n - 1]]);
      status = nat_missing_receive (&g, (guint64)seq, now);
      if ((guint64)seq > highest)
        g_assert_cmpint (status, ==, NAT_MISSING_NEXT);
      else if (came[seq])
        g_assert_cmpint (status, ==, NAT_MISSING_OTHER);
      else
        g_assert_true (status == NAT_MISSING_REORDERED || status == NAT_MISSING_REPAIRED);
      came[seq] = TRUE;
      highest = MAX (highest, (guint64)seq);
      for (guint64 i = 0; i < highest; i++)
        missing += !came[i];
      g_assert_cmpuint (g.n, ==, missing);
      assert_counts (&g);
    }
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/missing/in-order", test_in_order);
  g_test_add_func ("/missing/asks-until-too-late", test_asks_until_too_late);
  g_test_add_func ("/missing/asks-less-and-less", test_asks_less_and_less);
  g_test_add_func ("/missing/late-caller", test_late_caller);
  g_test_add_func ("/missing/repaired-once", test_repaired_once);
  g_test_add_func ("/missing/reordered-is-not-lost", test_reordered_is_not_lost);
  g_test_add_func ("/missing/room", test_room);
  g_test_add_func ("/missing/outage", test_outage);
  g_test_add_func ("/missing/how-late", test_how_late);
  g_test_add_func ("/missing/reset", test_reset);
  g_test_add_func ("/missing/twin", test_twin);
  return g_test_run ();
}
