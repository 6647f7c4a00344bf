/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/audience.h"

#define STEPS 4 /* for each doubling */

void
nat_audience_join (NatAudienceCounts *a, NatAudienceMember *m)
{
  if (m->counted)
    return;
  *m = (NatAudienceMember){.counted = TRUE};
  a->receivers++;
  a->joined++;
}

void
nat_audience_leave (NatAudienceCounts *a, NatAudienceMember *m)
{
  if (!m->counted)
    return;
  a->receivers--;
  a->left++;
  if (m->told_loss)
    a->losses[m->loss]--;
  if (m->told_rtt)
    a->rtts[m->rtt]--;
  *m = (NatAudienceMember){0};
}

void
nat_audience_loss (NatAudienceCounts *a, NatAudienceMember *m, guint8 fraction_lost)
{
  if (!m->counted)
    return;
  if (m->told_loss)
    a->losses[m->loss]--;
  m->told_loss = TRUE;
  m->loss = fraction_lost;
  a->losses[m->loss]++;
}

/* Milliseconds 0 to 3 have a step each, then four to a doubling. */
static guint8
step_of (guint64 ms)
{
  guint bits, step;

  if (ms < STEPS)
    return (guint8)ms;
  bits = g_bit_storage ((gulong)MIN (ms, G_MAXUINT16)) - 1;
  step = STEPS * (bits - 1) + (guint)((MIN (ms, G_MAXUINT16) >> (bits - 2)) & (STEPS - 1));
  return (guint8)MIN (step, NAT_AUDIENCE_RTTS - 1);
}

/* The longest of the step. */
static guint16
ms_of (guint step)
{
  guint bits = step / STEPS + 1;

  return step < STEPS ? (guint16)step : (guint16)(((STEPS + step % STEPS + 1) << (bits - 2)) - 1);
}

void
nat_audience_rtt (NatAudienceCounts *a, NatAudienceMember *m, guint64 rtt_us)
{
  if (!m->counted)
    return;
  if (m->told_rtt)
    a->rtts[m->rtt]--;
  m->told_rtt = TRUE;
  m->rtt = step_of (rtt_us / 1000);
  a->rtts[m->rtt]++;
}

/* Index of the greatest that is counted, and of the (lower) median; both 0 if none is. */
static void
worst_and_median (const guint32 *counts, guint n, guint *worst, guint *median)
{
  guint64 all = 0, seen = 0;

  *worst = *median = 0;
  for (guint i = 0; i < n; i++) {
    all += counts[i];
    if (counts[i] > 0)
      *worst = i;
  }
  for (guint i = 0; i < n && all > 0; i++) {
    seen += counts[i];
    if (2 * seen >= all) {
      *median = i;
      return;
    }
  }
}

void
nat_audience_sum (const NatAudienceCounts *a, NatAudience *sum)
{
  guint worst, median;

  *sum = (NatAudience){.receivers = a->receivers, .joined = a->joined, .left = a->left};
  worst_and_median (a->losses, G_N_ELEMENTS (a->losses), &worst, &median);
  sum->worst_loss = (guint16)worst;
  sum->median_loss = (guint16)median;
  worst_and_median (a->rtts, G_N_ELEMENTS (a->rtts), &worst, &median);
  sum->worst_rtt_ms = ms_of (worst);
  sum->median_rtt_ms = ms_of (median);
}
