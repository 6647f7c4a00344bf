/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/backoff.h"

static void
test_doubles_and_stops (void)
{
  static const guint whole[] = {250, 500, 1000, 2000, 4000, 8000, 10000, 10000, 10000};
  NatBackoff lowest, highest;

  nat_backoff_init (&lowest, 0.25, 10);
  nat_backoff_init (&highest, 0.25, 10);
  for (guint i = 0; i < G_N_ELEMENTS (whole); i++) {
    g_test_message ("wait %u", i);
    g_assert_cmpuint (nat_backoff_next (&lowest, 0), ==, whole[i] / 2);
    g_assert_cmpuint (nat_backoff_next (&highest, G_MAXUINT32), ==, whole[i] - 1);
  }
  nat_backoff_reset (&lowest);
  g_assert_cmpuint (nat_backoff_next (&lowest, 0), ==, 125);
}

static void
test_never_overflows (void)
{
  NatBackoff b;

  nat_backoff_init (&b, 3600, 1e12);
  for (guint i = 0; i < 100; i++)
    g_assert_cmpuint (nat_backoff_next (&b, g_test_rand_int ()), <=, 3600 * 1000);
}

static void
test_absurd_settings (void)
{
  static const gdouble factors[] = {0, -1, 1e-9};

  for (guint i = 0; i < G_N_ELEMENTS (factors); i++) {
    NatBackoff b;
    guint first;

    nat_backoff_init (&b, factors[i], -5);
    first = nat_backoff_next (&b, 0);
    g_assert_cmpuint (first, >, 0);
    g_assert_cmpuint (first, <=, 10);
  }
}

static void
test_jitter_spreads (void)
{
  guint buckets[10] = {0};

  for (guint i = 0; i < 10000; i++) {
    NatBackoff b;
    guint ms;

    nat_backoff_init (&b, 10, 10);
    ms = nat_backoff_next (&b, g_test_rand_int ());
    g_assert_cmpuint (ms, >=, 5000);
    g_assert_cmpuint (ms, <, 10000);
    buckets[(ms - 5000) / 500]++;
  }
  for (guint i = 0; i < G_N_ELEMENTS (buckets); i++)
    g_assert_cmpuint (buckets[i], >, 700);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/backoff/doubles", test_doubles_and_stops);
  g_test_add_func ("/backoff/overflow", test_never_overflows);
  g_test_add_func ("/backoff/absurd", test_absurd_settings);
  g_test_add_func ("/backoff/jitter", test_jitter_spreads);
  return g_test_run ();
}
