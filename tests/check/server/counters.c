/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/counters.h"

/* The slow obvious twin. */
static guint
bucket_by_search (guint64 ns)
{
  guint i = 0;

  while (i < NAT_HISTOGRAM_BUCKETS && ns > nat_histogram_bound (i))
    i++;
  return i;
}

static void
test_bounds (void)
{
  static const guint us[] = {4, 6, 8, 12, 16, 24, 32};

  for (guint i = 0; i < G_N_ELEMENTS (us); i++)
    g_assert_cmpuint (nat_histogram_bound (i), ==, us[i] * 1000);
  for (guint i = 0; i < NAT_HISTOGRAM_BUCKETS; i++) {
    guint64 bound = nat_histogram_bound (i);

    g_assert_cmpuint (nat_histogram_bucket (bound), ==, i);
    g_assert_cmpuint (nat_histogram_bucket (bound + 1), ==, i + 1);
  }
  for (guint i = 0; i < 100000; i++) {
    guint64 ns = ((guint64)g_test_rand_int () << 32 | (guint)g_test_rand_int ()) >>
                 g_test_rand_int_range (0, 64);
    g_assert_cmpuint (nat_histogram_bucket (ns), ==, bucket_by_search (ns));
  }
  g_assert_cmpuint (nat_histogram_bucket (0), ==, 0);
  g_assert_cmpuint (nat_histogram_bucket (G_MAXUINT64), ==, NAT_HISTOGRAM_BUCKETS);
}

static void
test_add (void)
{
  NatHistogram h = {0};

  nat_histogram_add (&h, 5000, 3);
  nat_histogram_add (&h, -1, 1); /* the clock was set back */
  nat_histogram_add (&h, G_MAXINT64 / 4, 2);
  g_assert_cmpuint (nat_counter_get (&h.bucket[1]), ==, 3);
  g_assert_cmpuint (nat_counter_get (&h.bucket[0]), ==, 1);
  g_assert_cmpuint (nat_counter_get (&h.bucket[NAT_HISTOGRAM_BUCKETS]), ==, 2);
  g_assert_cmpuint (nat_counter_get (&h.sum_ns), ==, 15000 + G_MAXINT64 / 4 * 2);
}

/* Whoever shows a session that just ended still reads valid memory. */
static void
test_references (void)
{
  NatSessionCounters *c = nat_session_counters_new (), *other = nat_session_counters_ref (c);

  g_assert_cmpuint (GPOINTER_TO_SIZE (c) % 64, ==, 0);
  nat_counter_add (&c->moves, 2);
  nat_session_counters_unref (c);
  g_assert_cmpuint (nat_counter_get (&other->moves), ==, 2);
  nat_session_counters_unref (other);
  nat_session_counters_unref (NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/counters/bounds", test_bounds);
  g_test_add_func ("/counters/add", test_add);
  g_test_add_func ("/counters/references", test_references);
  return g_test_run ();
}
