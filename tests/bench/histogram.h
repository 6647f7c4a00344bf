/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Counts of times, exact below 64 ns and within 3 % above, in a table of fixed size: recording
 * one allocates nothing and takes a few nanoseconds. */

#include <glib.h>

G_BEGIN_DECLS

#define BENCH_HISTOGRAM_STEPS 32 /* per doubling */
#define BENCH_HISTOGRAM_SLOTS (60 * BENCH_HISTOGRAM_STEPS)

typedef struct {
  guint64 slots[BENCH_HISTOGRAM_SLOTS];
  guint64 count;
  gint64 max_ns;
} BenchHistogram;

void bench_histogram_clear (BenchHistogram *h);
void bench_histogram_add (BenchHistogram *h, gint64 ns);
/* share: 0.5 for the median. In microseconds; 0 while nothing was recorded. */
double bench_histogram_us (const BenchHistogram *h, double share);

G_END_DECLS
