/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/roundtrip.h"

#define MS 1000

static void
test_smoothed (void)
{
  NatRoundTrip rt;

  nat_round_trip_init (&rt);
  g_assert_cmpint (rt.smoothed_us, ==, NAT_ROUND_TRIP_INITIAL_US);
  g_assert_false (rt.measured);
  nat_round_trip_sample (&rt, 200 * MS);
  g_assert_cmpint (rt.smoothed_us, ==, 200 * MS);
  g_assert_cmpint (rt.variation_us, ==, 100 * MS);
  nat_round_trip_sample (&rt, 120 * MS);
  g_assert_cmpint (rt.smoothed_us, ==, 190 * MS);
  g_assert_cmpint (rt.variation_us, ==, 95 * MS);
  for (guint i = 0; i < 100; i++)
    nat_round_trip_sample (&rt, 10 * MS);
  g_assert_cmpint (rt.smoothed_us, <, 11 * MS);
  g_assert_cmpint (rt.variation_us, <, 1 * MS);
}

/* What a challenge on another way says counts if it is shorter. */
static void
test_moved (void)
{
  NatRoundTrip rt;

  nat_round_trip_init (&rt);
  nat_round_trip_sample (&rt, 300 * MS);
  nat_round_trip_moved (&rt, 340 * MS);
  g_assert_cmpint (rt.smoothed_us, ==, 300 * MS);
  nat_round_trip_moved (&rt, 40 * MS);
  g_assert_cmpint (rt.smoothed_us, ==, 40 * MS);
  g_assert_cmpint (rt.variation_us, ==, 20 * MS);
  g_assert_true (rt.measured);
}

/* Clocks that jump, and answers that were lost for long. */
static void
test_bounds (void)
{
  NatRoundTrip rt;

  nat_round_trip_init (&rt);
  nat_round_trip_sample (&rt, -5);
  g_assert_cmpint (rt.smoothed_us, ==, 1);
  for (guint i = 0; i < 100; i++)
    nat_round_trip_sample (&rt, G_MAXINT64);
  g_assert_cmpint (rt.smoothed_us, <=, NAT_ROUND_TRIP_MAX_US);
  g_assert_cmpint (rt.smoothed_us, >, NAT_ROUND_TRIP_MAX_US * 9 / 10);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/roundtrip/smoothed", test_smoothed);
  g_test_add_func ("/roundtrip/moved", test_moved);
  g_test_add_func ("/roundtrip/bounds", test_bounds);
  return g_test_run ();
}
