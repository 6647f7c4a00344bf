/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/seqnum.h"

#define SPAN 200 /* misorder allowed in these tests, packets */

/* A table is read as a story of one stream. */
typedef struct {
  guint16 seq;
  NatSeqStatus status;
  guint64 extended; /* not looked at for BAD */
} Step;

static NatSeqCounter
play (const Step *steps, gsize n, guint misorder)
{
  NatSeqCounter c;

  nat_seq_counter_init (&c);
  for (gsize i = 0; i < n; i++) {
    guint64 extended = 0;

    g_test_message ("step %" G_GSIZE_FORMAT ": %u", i, steps[i].seq);
    g_assert_cmpint (
        nat_seq_counter_update (&c, steps[i].seq, misorder, &extended), ==, steps[i].status);
    if (steps[i].status != NAT_SEQ_BAD)
      g_assert_cmpuint (extended, ==, steps[i].extended);
  }
  return c;
}

static void
test_diff (void)
{
  g_assert_cmpint (nat_seq_diff (1, 2), ==, 1);
  g_assert_cmpint (nat_seq_diff (2, 1), ==, -1);
  g_assert_cmpint (nat_seq_diff (65535, 0), ==, 1);
  g_assert_cmpint (nat_seq_diff (0, 65535), ==, -1);
  g_assert_cmpint (nat_seq_diff (0, 32767), ==, 32767);
  g_assert_cmpint (nat_seq_diff (0, 32768), ==, -32768);
  g_assert_cmpint (nat_seq_diff (7, 7), ==, 0);
}

static void
test_wrap (void)
{
  static const Step steps[] = {
      {65534, NAT_SEQ_NEXT, 65536 + 65534},
      {65535, NAT_SEQ_NEXT, 65536 + 65535},
      {1, NAT_SEQ_GAP, 2 * 65536 + 1},
      {0, NAT_SEQ_LATE, 2 * 65536},
      {65535, NAT_SEQ_LATE, 65536 + 65535}, /* a duplicate: told apart by the caller */
      {2, NAT_SEQ_NEXT, 2 * 65536 + 2},
      {2, NAT_SEQ_LATE, 2 * 65536 + 2},
  };
  NatSeqCounter c = play (steps, G_N_ELEMENTS (steps), SPAN);

  g_assert_cmpuint (c.received, ==, 7);
  g_assert_cmpuint (c.base, ==, 65536 + 65534);
  g_assert_cmpuint (c.highest, ==, 2 * 65536 + 2);
}

/* What is late from before the first packet has a number below the base, not a huge one. */
static void
test_before_first (void)
{
  static const Step steps[] = {
      {1, NAT_SEQ_NEXT, 65536 + 1},
      {65535, NAT_SEQ_LATE, 65535},
      {65536 - SPAN + 1, NAT_SEQ_LATE, 65536 - SPAN + 1},
      {65536 - SPAN, NAT_SEQ_BAD, 0},
  };

  play (steps, G_N_ELEMENTS (steps), SPAN);
}

static void
test_restart (void)
{
  static const Step steps[] = {
      {1000, NAT_SEQ_NEXT, 65536 + 1000}, {1001, NAT_SEQ_NEXT, 65536 + 1001},
      {40000, NAT_SEQ_BAD, 0}, {40001, NAT_SEQ_RESTART, 65536 + 40001},
      {40002, NAT_SEQ_NEXT, 65536 + 40002}, {500, NAT_SEQ_BAD, 0},
      {501, NAT_SEQ_RESTART, 2 * 65536 + 501}, /* behind on the circle, yet it grows */
  };
  NatSeqCounter c = play (steps, G_N_ELEMENTS (steps), SPAN);

  g_assert_cmpuint (c.received, ==, 1);
  g_assert_cmpuint (c.base, ==, 2 * 65536 + 501);
  g_assert_cmpuint (c.highest, ==, c.base);
}

/* One strange packet is not a restart, nor are two with a good one between them, nor two
 * that are not neighbours. */
static void
test_bad (void)
{
  static const Step steps[] = {
      {1000, NAT_SEQ_NEXT, 65536 + 1000},
      {40000, NAT_SEQ_BAD, 0},
      {1001, NAT_SEQ_NEXT, 65536 + 1001},
      {40001, NAT_SEQ_BAD, 0},
      {50000, NAT_SEQ_BAD, 0},
      {50002, NAT_SEQ_BAD, 0},
      {1002, NAT_SEQ_NEXT, 65536 + 1002},
  };
  NatSeqCounter c = play (steps, G_N_ELEMENTS (steps), SPAN);

  g_assert_cmpuint (c.received, ==, 3);
  g_assert_cmpuint (c.base, ==, 65536 + 1000);
}

/* Two repairs in a row from far back, but within the span: the sequence stays. */
static void
test_late_repairs (void)
{
  static const Step steps[] = {
      {5000, NAT_SEQ_NEXT, 65536 + 5000},
      {7000, NAT_SEQ_GAP, 65536 + 7000},
      {5001, NAT_SEQ_LATE, 65536 + 5001},
      {5002, NAT_SEQ_LATE, 65536 + 5002},
      {7001, NAT_SEQ_NEXT, 65536 + 7001},
  };
  NatSeqCounter c = play (steps, G_N_ELEMENTS (steps), 4000);

  g_assert_cmpuint (c.base, ==, 65536 + 5000);
  g_assert_cmpuint (c.received, ==, 5);
}

static void
test_limits (void)
{
  static const Step steps[] = {
      {0, NAT_SEQ_NEXT, 65536}, {2999, NAT_SEQ_GAP, 65536 + 2999}, /* RFC 3550: MAX_DROPOUT 3000 */
      {2999 + 3000, NAT_SEQ_BAD, 0}, {2999, NAT_SEQ_LATE, 65536 + 2999},
      {2998, NAT_SEQ_BAD, 0}, /* no misorder allowed here */
  };

  play (steps, G_N_ELEMENTS (steps), 0);
}

/* Against a slow twin that knows the true 64-bit numbers: a long stream with losses and
 * reordering within the span. */
static void
test_twin (void)
{
  NatSeqCounter c;
  guint64 front = 65536 + (guint64)g_test_rand_int_range (0, 65536), base = front;
  guint64 highest = 0;

  nat_seq_counter_init (&c);
  for (int i = 0; i < 400000; i++) {
    gint32 dice = g_test_rand_int_range (0, 100);
    guint64 n, extended;
    NatSeqStatus status;

    if (i > 0)
      front += dice < 90 ? 1 : (guint64)g_test_rand_int_range (1, 3000);
    n = i > 0 && dice % 7 == 0 ? front - (guint64)g_test_rand_int_range (0, SPAN) : front;
    status = nat_seq_counter_update (&c, (guint16)n, SPAN, &extended);
    g_assert_cmpuint (extended, ==, n);
    if (i == 0)
      g_assert_cmpint (status, ==, NAT_SEQ_NEXT);
    else if (n <= highest)
      g_assert_cmpint (status, ==, NAT_SEQ_LATE);
    else
      g_assert_cmpint (status, ==, n == highest + 1 ? NAT_SEQ_NEXT : NAT_SEQ_GAP);
    highest = MAX (highest, n);
    front = highest;
  }
  g_assert_cmpuint (c.received, ==, 400000);
  g_assert_cmpuint (c.base, ==, base);
  g_assert_cmpuint (c.highest, ==, highest);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/seqnum/diff", test_diff);
  g_test_add_func ("/seqnum/wrap", test_wrap);
  g_test_add_func ("/seqnum/before-first", test_before_first);
  g_test_add_func ("/seqnum/restart", test_restart);
  g_test_add_func ("/seqnum/bad", test_bad);
  g_test_add_func ("/seqnum/late-repairs", test_late_repairs);
  g_test_add_func ("/seqnum/limits", test_limits);
  g_test_add_func ("/seqnum/twin", test_twin);
  return g_test_run ();
}
