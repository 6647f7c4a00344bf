/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/trend.h"

#include <string.h>

/* 16 bytes: kilobits tell as much as bits in a plot. */
typedef struct {
  guint32 in_kbps, out_kbps, loss_in_ppm, loss_out_ppm;
} Sample;

struct _NatTrend {
  Sample samples[NAT_TREND_SAMPLES]; /* at tick % NAT_TREND_SAMPLES */
  guint64 first, last;               /* ticks; 0 = none yet */
  guint references;
};

NatTrend *
nat_trend_new (void)
{
  NatTrend *t = g_new0 (NatTrend, 1);

  t->references = 1;
  return t;
}

NatTrend *
nat_trend_ref (NatTrend *t)
{
  t->references++;
  return t;
}

void
nat_trend_unref (NatTrend *t)
{
  if (--t->references == 0)
    g_free (t);
}

static guint32
kilobits (guint64 bits)
{
  return (guint32)MIN ((bits + 500) / 1000, G_MAXUINT32);
}

void
nat_trend_add (NatTrend *t, guint64 tick, const NatFlow *flow)
{
  if (tick <= t->last)
    return;
  if (t->first == 0)
    t->first = t->last = tick;
  if (tick - t->last > NAT_TREND_SAMPLES)
    t->last = tick - NAT_TREND_SAMPLES;
  while (++t->last < tick)
    t->samples[t->last % NAT_TREND_SAMPLES] = (Sample){0};
  t->last = tick;
  t->samples[tick % NAT_TREND_SAMPLES] = (Sample){
      kilobits (flow->in_bps), kilobits (flow->out_bps), flow->loss_in_ppm, flow->loss_out_ppm};
}

gboolean
nat_trend_get (const NatTrend *t, guint64 tick, NatFlow *flow)
{
  const Sample *s = &t->samples[tick % NAT_TREND_SAMPLES];

  if (t->first == 0 || tick < t->first || tick > t->last || t->last - tick >= NAT_TREND_SAMPLES)
    return FALSE;
  *flow = (NatFlow){
      (guint64)s->in_kbps * 1000, (guint64)s->out_kbps * 1000, s->loss_in_ppm, s->loss_out_ppm};
  return TRUE;
}
