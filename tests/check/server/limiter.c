/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/limiter.h"

static void
test_rate (void)
{
  NatLimiter l;
  guint taken = 0;

  nat_limiter_init (&l, 1000, 50, 0);
  for (guint i = 0; i < 100; i++)
    taken += nat_limiter_take (&l, 0, 1);
  g_assert_cmpuint (taken, ==, 50);
  /* A thousand a second, asked for every 100 us for ten seconds: nothing is lost to rounding. */
  taken = 0;
  for (gint64 now = 100; now <= 10 * G_USEC_PER_SEC; now += 100)
    taken += nat_limiter_take (&l, now, 1);
  g_assert_cmpuint (taken, ==, 10000);
}

static void
test_pause (void)
{
  NatLimiter l;

  nat_limiter_init (&l, 1000, 50, 0);
  g_assert_true (nat_limiter_take (&l, 0, 50));
  g_assert_false (nat_limiter_take (&l, 0, 1));
  g_assert_false (nat_limiter_take (&l, G_MAXINT64 / 2, 51)); /* never more than the burst */
  g_assert_true (nat_limiter_take (&l, G_MAXINT64 / 2, 50));
  g_assert_false (nat_limiter_take (&l, 0, 1)); /* a clock that goes back gives nothing */
}

static void
test_extremes (void)
{
  NatLimiter none, huge;

  nat_limiter_init (&none, 0, 0, 0);
  for (guint i = 0; i < 1000; i++)
    g_assert_true (nat_limiter_take (&none, 0, 1000000));
  nat_limiter_init (&huge, G_MAXINT64, G_MAXINT64, 0);
  for (gint64 now = 0; now < 100 * (gint64)G_USEC_PER_SEC; now += G_USEC_PER_SEC)
    g_assert_true (nat_limiter_take (&huge, now, NAT_LIMITER_RATE_MAX));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/limiter/rate", test_rate);
  g_test_add_func ("/limiter/pause", test_pause);
  g_test_add_func ("/limiter/extremes", test_extremes);
  return g_test_run ();
}
