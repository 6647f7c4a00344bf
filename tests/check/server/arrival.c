/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Every packet once, in a report whose ages are right; gaps, reordering, repairs, wraps, jumps. */

#include "natserver/data/arrival.h"

#include <string.h>

#define START (G_GINT64_CONSTANT (1000000) * 77777)

typedef struct {
  guint16 begin;
  guint n;
  NatCcfbMetric metrics[NAT_ARRIVAL_SPAN];
  guint32 timestamp;
} Report;

static gboolean
take (NatArrivals *a, gsize cap, gint64 now_us, Report *r)
{
  g_autofree guint8 *buf = g_malloc (cap);
  NatRtcpPacket packet;
  NatCcfbBlock block;
  NatCcfbWriter w;
  NatCcfbIter ccfb;
  NatRtcpIter it;

  nat_ccfb_writer_init (&w, buf, cap, 1);
  nat_arrival_report (a, &w, 7, now_us);
  if (!nat_rtcp_iter_init (&it, buf, nat_ccfb_writer_end (&w, nat_arrival_timestamp (now_us))))
    return FALSE;
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  g_assert_true (nat_ccfb_iter_init (&ccfb, &packet, &r->timestamp));
  g_assert_true (nat_ccfb_iter_next (&ccfb, &block));
  g_assert_cmpuint (block.ssrc, ==, 7);
  r->begin = block.begin_seq;
  r->n = block.n_metrics;
  for (guint i = 0; i < r->n; i++)
    r->metrics[i] = nat_ccfb_metric (&block, i);
  return TRUE;
}

static void
test_ages (void)
{
  g_autofree NatArrivals *a = g_new0 (NatArrivals, 1);
  Report r;

  g_assert_false (take (a, 4096, START, &r));
  for (guint i = 0; i < 10; i++)
    nat_arrival_note (a, (guint16)(65530 + i), FALSE, START + i * 10000);
  g_assert_cmpuint (nat_arrival_waiting (a), ==, 10);
  g_assert_true (take (a, 4096, START + 100000, &r));
  g_assert_cmpuint (r.begin, ==, 65530);
  g_assert_cmpuint (r.n, ==, 10);
  for (guint i = 0; i < r.n; i++) {
    gint expected = (gint)(100 - i * 10) * 1024 / 1000;

    g_assert_true (r.metrics[i].received);
    g_assert_cmpint (abs ((gint)r.metrics[i].age - expected), <=, 1);
  }
  g_assert_false (take (a, 4096, START + 200000, &r));
}

/* Reports at any time of a steady stream give its steps back, within what 1/1024 s can say. */
static void
test_clock (void)
{
  g_autofree NatArrivals *a = g_new0 (NatArrivals, 1);
  gint64 last = 0;
  Report r;

  for (guint i = 0; i < 5000; i++) {
    gint64 now = START + (gint64)i * 7777;

    nat_arrival_note (a, (guint16)i, FALSE, now);
    g_assert_true (take (a, 64, now + i % 5000, &r));
    g_assert_cmpuint (r.n, ==, 1);
    now = (gint64)r.timestamp * 1000000 / 65536 - (gint64)r.metrics[0].age * 1000000 / 1024;
    if (i > 0 && r.timestamp > 5000000)
      g_assert_cmpint (ABS (now - last - 7777), <=, 2000);
    last = now;
  }
}

static void
test_gaps (void)
{
  g_autofree NatArrivals *a = g_new0 (NatArrivals, 1);
  static const guint16 order[] = {5, 6, 9, 8, 6, 12};
  static const gboolean here[] = {TRUE, TRUE, FALSE, TRUE, TRUE, FALSE, FALSE, TRUE};
  Report r;

  for (guint i = 0; i < G_N_ELEMENTS (order); i++)
    nat_arrival_note (a, order[i], FALSE, START + i * 1000);
  g_assert_true (take (a, 4096, START + 20000, &r));
  g_assert_cmpuint (r.begin, ==, 5);
  g_assert_cmpuint (r.n, ==, 8);
  for (guint i = 0; i < r.n; i++)
    g_assert_cmpint (r.metrics[i].received, ==, here[i]);
  /* The second 6 was no later one. */
  g_assert_cmpuint (r.metrics[1].age, >=, 18);
  /* A repair is not reported again. */
  nat_arrival_note (a, 7, FALSE, START + 30000);
  g_assert_cmpuint (nat_arrival_waiting (a), ==, 0);
  nat_arrival_note (a, 13, FALSE, START + 30000);
  g_assert_true (take (a, 4096, START + 40000, &r));
  g_assert_cmpuint (r.begin, ==, 13);
  g_assert_cmpuint (r.n, ==, 1);
}

static void
test_bounds (void)
{
  g_autofree NatArrivals *a = g_new0 (NatArrivals, 1);
  Report r;

  for (guint i = 0; i < 3000; i++)
    nat_arrival_note (a, (guint16)i, FALSE, START);
  g_assert_cmpuint (nat_arrival_waiting (a), ==, NAT_ARRIVAL_SPAN);
  /* What does not fit in waits for the next report. */
  g_assert_true (take (a, 120, START, &r));
  g_assert_cmpuint (r.begin, ==, 3000 - NAT_ARRIVAL_SPAN);
  g_assert_cmpuint (nat_arrival_waiting (a), ==, NAT_ARRIVAL_SPAN - r.n);
  /* Far ahead and a restart begin anew; long ago is said to be that. */
  nat_arrival_note (a, 10000, FALSE, START);
  g_assert_cmpuint (nat_arrival_waiting (a), ==, 1);
  nat_arrival_note (a, 8000, FALSE, START); /* a repair, and no new beginning */
  g_assert_cmpuint (nat_arrival_waiting (a), ==, 1);
  g_assert_true (take (a, 4096, START, &r));
  g_assert_cmpuint (r.begin, ==, 10000);
  nat_arrival_note (a, 100, TRUE, START);
  g_assert_true (take (a, 4096, START + 60 * G_USEC_PER_SEC, &r));
  g_assert_cmpuint (r.begin, ==, 100);
  g_assert_cmpuint (r.metrics[0].age, ==, NAT_CCFB_AGE_LONG);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/arrival/ages", test_ages);
  g_test_add_func ("/arrival/clock", test_clock);
  g_test_add_func ("/arrival/gaps", test_gaps);
  g_test_add_func ("/arrival/bounds", test_bounds);
  return g_test_run ();
}
