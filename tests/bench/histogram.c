/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "histogram.h"

#include <string.h>

/* Below 2 * STEPS a slot is one nanosecond; above, every doubling has STEPS slots. */
static guint
slot_of (guint64 ns)
{
  guint shift;

  if (ns < 2 * BENCH_HISTOGRAM_STEPS)
    return (guint)ns;
  shift = 63 - __builtin_clzll (ns) - 5;
  return MIN (shift * BENCH_HISTOGRAM_STEPS + (guint)(ns >> shift), BENCH_HISTOGRAM_SLOTS - 1);
}

static double
middle_of (guint slot)
{
  guint shift;
  guint64 low;

  if (slot < 2 * BENCH_HISTOGRAM_STEPS)
    return slot;
  shift = slot / BENCH_HISTOGRAM_STEPS - 1;
  low = (guint64)(slot - shift * BENCH_HISTOGRAM_STEPS) << shift;
  return (double)low + (double)(G_GUINT64_CONSTANT (1) << shift) / 2;
}

void
bench_histogram_clear (BenchHistogram *h)
{
  memset (h, 0, sizeof *h);
}

void
bench_histogram_add (BenchHistogram *h, gint64 ns)
{
  ns = MAX (ns, 0);
  h->slots[slot_of ((guint64)ns)]++;
  h->count++;
  h->max_ns = MAX (h->max_ns, ns);
}

double
bench_histogram_us (const BenchHistogram *h, double share)
{
  guint64 wanted = (guint64)(share * (double)h->count);
  guint64 seen = 0;

  for (guint i = 0; i < BENCH_HISTOGRAM_SLOTS && h->count; i++) {
    seen += h->slots[i];
    if (seen > wanted)
      return middle_of (i) / 1000;
  }
  return (double)h->max_ns / 1000;
}
