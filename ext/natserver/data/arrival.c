/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/arrival.h"

#include <string.h>

#include "natproto/seqnum.h"

#define TICKS 1024 /* a second */

guint32
nat_arrival_timestamp (gint64 now_us)
{
  return (guint32)((guint64)now_us / G_USEC_PER_SEC * 65536 +
                   (guint64)now_us % G_USEC_PER_SEC * 65536 / G_USEC_PER_SEC);
}

/* Never 0. The same steps as the time stamp has, so that ages and it fit together. */
static guint32
tick_of (gint64 now_us)
{
  guint64 ticks = (guint64)now_us / G_USEC_PER_SEC * TICKS +
                  (guint64)now_us % G_USEC_PER_SEC * TICKS / G_USEC_PER_SEC;

  return (guint32)ticks ? (guint32)ticks : 1;
}

static void
start (NatArrivals *a, guint16 seq)
{
  memset (a->at, 0, sizeof a->at);
  a->begin = a->end = seq;
  a->started = TRUE;
}

void
nat_arrival_note (NatArrivals *a, guint16 seq, gboolean restarted, gint64 now_us)
{
  gint16 ahead = nat_seq_diff (a->end, seq);

  if (!a->started || restarted || ahead >= NAT_ARRIVAL_SPAN) {
    start (a, seq);
    ahead = 0;
  }
  for (; ahead >= 0; ahead--)
    a->at[a->end++ % NAT_ARRIVAL_SPAN] = 0;
  if ((guint16)(a->end - a->begin) > NAT_ARRIVAL_SPAN)
    a->begin = (guint16)(a->end - NAT_ARRIVAL_SPAN);
  /* What comes after it was reported as missing is a repair, and tells nothing of the link. */
  if (nat_seq_diff (a->begin, seq) >= 0 && a->at[seq % NAT_ARRIVAL_SPAN] == 0)
    a->at[seq % NAT_ARRIVAL_SPAN] = tick_of (now_us);
}

guint
nat_arrival_waiting (const NatArrivals *a)
{
  return (guint16)(a->end - a->begin);
}

static NatCcfbMetric
metric (guint32 at, guint32 now)
{
  guint32 age = now - at;

  return (NatCcfbMetric){at != 0, 0, (guint16)MIN (age, NAT_CCFB_AGE_LONG)};
}

void
nat_arrival_report (NatArrivals *a, NatCcfbWriter *w, guint32 ssrc, gint64 now_us)
{
  NatCcfbMetric metrics[NAT_ARRIVAL_SPAN];
  guint n = nat_arrival_waiting (a);

  for (guint i = 0; i < n; i++)
    metrics[i] = metric (a->at[(guint16)(a->begin + i) % NAT_ARRIVAL_SPAN], tick_of (now_us));
  if (n > 0)
    a->begin = (guint16)(a->begin + nat_ccfb_write_block (w, ssrc, a->begin, metrics, n));
}
