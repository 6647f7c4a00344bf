/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What passed in the last five minutes, a sample every two seconds: so that whoever opens the status page sees
 * what was before. Samples are numbered by ticks, which are the same for all trends of a relay; one that was
 * not taken is all zero. Used on one thread; who shows the trend of a stream that is gone has a reference. */

#include "natserver/counters.h"

G_BEGIN_DECLS

#define NAT_TREND_STEP_US (2 * G_USEC_PER_SEC)
#define NAT_TREND_SAMPLES 150
#define NAT_TREND_STREAMS 1000 /* that have one, 2.4 kB each */

typedef struct _NatTrend NatTrend;

NatTrend *nat_trend_new (void);
NatTrend *nat_trend_ref (NatTrend *t);
void nat_trend_unref (NatTrend *t);
/* tick grows, or the sample is not taken. */
void nat_trend_add (NatTrend *t, guint64 tick, const NatFlow *flow);
/* What was at tick; FALSE: it is too old, or was before the first sample, or is to come. */
gboolean nat_trend_get (const NatTrend *t, guint64 tick, NatFlow *flow);

G_END_DECLS
