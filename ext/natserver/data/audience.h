/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the receivers of one stream see, summed up as their reports come: counting sorts of the last loss and
 * round trip that each told, so that worst and median cost the same for ten receivers and ten thousand. No
 * clock and no I/O. */

#include "natproto/rtcpapp.h"

G_BEGIN_DECLS

#define NAT_AUDIENCE_RTTS                                                                          \
  48 /* steps of a round trip; a step is at most a fourth longer than the one below */

typedef struct {
  guint32 receivers, joined, left;
  guint32 losses[256]; /* receivers by the last fraction lost that they told */
  guint32 rtts[NAT_AUDIENCE_RTTS];
} NatAudienceCounts;

/* What one receiver told last; all zero = nothing yet. */
typedef struct {
  guint8 told_loss : 1, told_rtt : 1, counted : 1;
  guint8 loss, rtt; /* indices into the counts */
} NatAudienceMember;

void nat_audience_join (NatAudienceCounts *a, NatAudienceMember *m);
/* Both may be repeated. */
void nat_audience_leave (NatAudienceCounts *a, NatAudienceMember *m);
void nat_audience_loss (NatAudienceCounts *a, NatAudienceMember *m, guint8 fraction_lost);
void nat_audience_rtt (NatAudienceCounts *a, NatAudienceMember *m, guint64 rtt_us);
void nat_audience_sum (const NatAudienceCounts *a, NatAudience *sum);

G_END_DECLS
