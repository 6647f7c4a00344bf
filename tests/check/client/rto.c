/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natclient/rto.h"

#define MS 1000

static void
test_smoothed (void)
{
  NatRto r;

  nat_rto_reset (&r);
  g_assert_cmpuint (r.srtt_us, ==, 0);
  g_assert_cmpint (r.rto_us, ==, 100 * MS);
  nat_rto_answered (&r, 200 * MS, FALSE);
  g_assert_cmpuint (r.srtt_us, ==, 200 * MS);
  g_assert_cmpint (r.rto_us, ==, 300 * MS);
  nat_rto_answered (&r, 120 * MS, FALSE);
  g_assert_cmpuint (r.srtt_us, ==, 190 * MS);
  g_assert_cmpint (r.rto_us, ==, 285 * MS);
  nat_rto_reset (&r);
  g_assert_cmpuint (r.srtt_us, ==, 0);
  g_assert_cmpint (r.rto_us, ==, 100 * MS);
}

/* A relay beyond the first wait: each answer is to a request that was repeated, until the wait is long enough. */
static void
test_far_away (void)
{
  NatRto r;

  nat_rto_reset (&r);
  nat_rto_answered (&r, 350 * MS, TRUE);
  g_assert_cmpint (r.rto_us, ==, 200 * MS);
  nat_rto_answered (&r, 350 * MS, TRUE);
  g_assert_cmpint (r.rto_us, ==, 400 * MS);
  g_assert_cmpuint (r.srtt_us, ==, 0);
  nat_rto_answered (&r, 350 * MS, FALSE);
  g_assert_cmpuint (r.srtt_us, ==, 350 * MS);
  g_assert_cmpint (r.rto_us, ==, 525 * MS);
}

/* Farther than any first wait of old: it is measured all the same, and so is one that came to be so far. */
static void
test_farther_away (void)
{
  NatRto r;

  nat_rto_reset (&r);
  nat_rto_answered (&r, 60 * MS, FALSE);
  for (guint i = 0; i < 40; i++)
    nat_rto_answered (&r, 2400 * MS, r.rto_us <= 2400 * MS);
  g_assert_cmpuint (r.srtt_us, >, 2300 * MS);
  g_assert_cmpuint (r.srtt_us, <=, 2400 * MS);
  g_assert_cmpint (r.rto_us, >, 2400 * MS);
}

/* Before it is known, the shortest wait for an answer says how long it may be at most; after, that says nothing any more. */
static void
test_reckoned (void)
{
  NatRto r;

  nat_rto_reset (&r);
  g_assert_cmpuint (nat_rto_reckon (&r), ==, 0);
  nat_rto_answered (&r, 9900 * MS, TRUE); /* what was lost, rather */
  g_assert_cmpuint (nat_rto_reckon (&r), ==, 1500 * MS);
  nat_rto_answered (&r, 1450 * MS, TRUE);
  nat_rto_answered (&r, 1350 * MS, TRUE);
  nat_rto_answered (&r, 1400 * MS, TRUE);
  g_assert_cmpuint (nat_rto_reckon (&r), ==, 1350 * MS);
  nat_rto_answered (&r, 60 * MS, FALSE);
  nat_rto_answered (&r, 20 * MS, TRUE);
  g_assert_cmpuint (nat_rto_reckon (&r), ==, 60 * MS);
  nat_rto_reset (&r);
  g_assert_cmpuint (nat_rto_reckon (&r), ==, 0);
  nat_rto_answered (&r, 4000 * MS, FALSE); /* that one is so far away */
  g_assert_cmpuint (nat_rto_reckon (&r), ==, 4000 * MS);
}

/* What is not credible changes nothing; and no wait is shorter or longer than it may be. */
static void
test_bounds (void)
{
  NatRto r;

  nat_rto_reset (&r);
  nat_rto_answered (&r, -1, FALSE);
  nat_rto_answered (&r, 10001 * MS, FALSE);
  nat_rto_answered (&r, 10001 * MS, TRUE);
  g_assert_cmpuint (r.srtt_us, ==, 0);
  g_assert_cmpint (r.rto_us, ==, 100 * MS);
  nat_rto_answered (&r, 0, FALSE);
  g_assert_cmpuint (r.srtt_us, ==, 1);
  g_assert_cmpint (r.rto_us, ==, 100 * MS);
  for (guint i = 0; i < 10; i++)
    nat_rto_answered (&r, 9000 * MS, TRUE);
  g_assert_cmpint (r.rto_us, ==, 5000 * MS);
  nat_rto_reset (&r);
  nat_rto_answered (&r, 5000 * MS, FALSE);
  g_assert_cmpint (r.rto_us, ==, 5000 * MS);
  nat_rto_reset (&r);
  for (guint i = 0; i < 10; i++)
    nat_rto_answered (&r, 130 * MS, TRUE); /* what is repeated is lost, but nearby */
  g_assert_cmpint (r.rto_us, ==, 1000 * MS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rto/smoothed", test_smoothed);
  g_test_add_func ("/rto/far-away", test_far_away);
  g_test_add_func ("/rto/farther-away", test_farther_away);
  g_test_add_func ("/rto/reckoned", test_reckoned);
  g_test_add_func ("/rto/bounds", test_bounds);
  return g_test_run ();
}
