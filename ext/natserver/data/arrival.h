/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* When each packet of one RTP source arrived, for congestion control feedback (RFC 8888): every packet is
 * reported once. No clock and no I/O. 4 KiB each, so only publishers that asked for it have them. */

#include "natproto/ccfb.h"

G_BEGIN_DECLS

#define NAT_CCFB_MAX     1200 /* bytes of a report: one datagram on any path */
#define NAT_ARRIVAL_SPAN 1024 /* packets between two reports; more: the oldest are never reported */

typedef struct {
  guint32 at[NAT_ARRIVAL_SPAN]; /* 1/1024 s; 0 = not here */
  guint16 begin;                /* first that was not reported yet */
  guint16 end;                  /* one behind the highest that came */
  gboolean started;
} NatArrivals;

/* restarted: the source's numbers began anew. Else one from far behind is a late repair, and tells nothing. */
void nat_arrival_note (NatArrivals *a, guint16 seq, gboolean restarted, gint64 now_us);
/* Packets to be reported, those that did not come among them. */
guint nat_arrival_waiting (const NatArrivals *a);
/* What fits in; those count as reported. The report's time must be nat_arrival_timestamp of the same now. */
void nat_arrival_report (NatArrivals *a, NatCcfbWriter *w, guint32 ssrc, gint64 now_us);
/* 1/65536 s, as RFC 8888 has it. */
guint32 nat_arrival_timestamp (gint64 now_us);

G_END_DECLS
