/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Sums against the same sums of a sorted list; who leaves takes along what it told. */

#include "natserver/data/audience.h"

#include <stdlib.h>

#define N 301

static int
compare (gconstpointer a, gconstpointer b)
{
  return *(const gint *)a - *(const gint *)b;
}

static void
test_sums (void)
{
  g_autofree NatAudienceCounts *a = g_new0 (NatAudienceCounts, 1);
  NatAudienceMember members[N] = {{0}};
  NatAudience sum;

  nat_audience_sum (a, &sum);
  g_assert_cmpuint (sum.receivers + sum.worst_loss + sum.median_loss + sum.worst_rtt_ms, ==, 0);
  for (guint round = 0; round < 20; round++) {
    gint losses[N], rtts[N];

    for (guint i = 0; i < N; i++) {
      losses[i] = g_test_rand_int_range (0, 256);
      rtts[i] = g_test_rand_int_range (0, 2000);
      nat_audience_join (a, &members[i]);
      nat_audience_loss (a, &members[i], (guint8)losses[i]);
      nat_audience_rtt (a, &members[i], (guint64)rtts[i] * 1000 + 999);
    }
    qsort (losses, N, sizeof *losses, compare);
    qsort (rtts, N, sizeof *rtts, compare);
    nat_audience_sum (a, &sum);
    g_assert_cmpuint (sum.receivers, ==, N);
    g_assert_cmpuint (sum.joined, ==, N);
    g_assert_cmpuint (sum.worst_loss, ==, (guint)losses[N - 1]);
    g_assert_cmpuint (sum.median_loss, ==, (guint)losses[N / 2]);
    g_assert_cmpint (sum.worst_rtt_ms, >=, rtts[N - 1]);
    g_assert_cmpint (sum.worst_rtt_ms, <=, rtts[N - 1] * 5 / 4 + 1);
    g_assert_cmpint (sum.median_rtt_ms, >=, rtts[N / 2]);
    g_assert_cmpint (sum.median_rtt_ms, <=, rtts[N / 2] * 5 / 4 + 1);
  }
}

static void
test_come_and_go (void)
{
  g_autofree NatAudienceCounts *a = g_new0 (NatAudienceCounts, 1);
  NatAudienceMember one = {0}, two = {0};
  NatAudience sum;

  nat_audience_loss (a, &one, 200); /* does not belong to it */
  nat_audience_rtt (a, &one, 1000);
  nat_audience_leave (a, &one);
  nat_audience_join (a, &one);
  nat_audience_join (a, &one);
  nat_audience_join (a, &two);
  nat_audience_loss (a, &one, 100);
  nat_audience_loss (a, &two, 10);
  nat_audience_rtt (a, &one, G_GUINT64_CONSTANT (1) << 60);
  nat_audience_sum (a, &sum);
  g_assert_cmpuint (sum.receivers, ==, 2);
  g_assert_cmpuint (sum.worst_loss, ==, 100);
  g_assert_cmpuint (sum.median_loss, ==, 10);
  g_assert_cmpuint (sum.worst_rtt_ms, >=, 8000);
  nat_audience_leave (a, &one);
  nat_audience_leave (a, &one);
  nat_audience_sum (a, &sum);
  g_assert_cmpuint (sum.receivers, ==, 1);
  g_assert_cmpuint (sum.joined, ==, 2);
  g_assert_cmpuint (sum.left, ==, 1);
  g_assert_cmpuint (sum.worst_loss, ==, 10);
  g_assert_cmpuint (sum.worst_rtt_ms, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/audience/sums", test_sums);
  g_test_add_func ("/audience/come-and-go", test_come_and_go);
  return g_test_run ();
}
