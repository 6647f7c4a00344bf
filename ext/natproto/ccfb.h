/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTCP congestion control feedback (RFC 8888): for every RTP packet of a span of sequence numbers
 * whether it arrived, and when. Transport feedback (RTPFB) with FMT 11. */

#include "natproto/rtcp.h"

G_BEGIN_DECLS

#define NAT_RTCP_FMT_CCFB 11

/* An arrival is told as an age in 1/1024 s before the report's time; these two say that it is not known. */
#define NAT_CCFB_AGE_MAX  0x1ffd
#define NAT_CCFB_AGE_LONG 0x1ffe /* longer than 13 bits can say */
#define NAT_CCFB_AGE_NONE 0x1fff /* no time, or after the report */

typedef struct {
  gboolean received;
  guint8 ecn;  /* two bits, 0 = not ECT */
  guint16 age; /* 1/1024 s before the report; see above */
} NatCcfbMetric;

/* One stream's part of a report. */
typedef struct {
  guint32 ssrc;
  guint16 begin_seq;
  guint16 n_metrics; /* for begin_seq, begin_seq + 1, ... */
  const guint8 *metrics;
} NatCcfbBlock;

typedef struct {
  NatRtcpPacket packet;
  gsize pos;
} NatCcfbIter;

/* FALSE if the packet is no such feedback or its lengths lie. *timestamp: the report's time, in 1/65536 s, of
 * the reporter's clock; wraps every 18 hours. */
gboolean nat_ccfb_iter_init (NatCcfbIter *it, const NatRtcpPacket *packet, guint32 *timestamp);
gboolean nat_ccfb_iter_next (NatCcfbIter *it, NatCcfbBlock *block);
/* index < n_metrics */
NatCcfbMetric nat_ccfb_metric (const NatCcfbBlock *block, guint index);

typedef struct {
  guint8 *buf;
  gsize cap, len;
} NatCcfbWriter;

/* cap: bytes, at most 65536. The packet is begun with the first block that fits. */
void nat_ccfb_writer_init (NatCcfbWriter *w, guint8 *buf, gsize cap, guint32 sender_ssrc);
/* Metrics of one stream, as many as fit in; returns how many, which is 0 for a buffer that is full. */
guint nat_ccfb_write_block (NatCcfbWriter *w, guint32 ssrc, guint16 begin_seq,
    const NatCcfbMetric *metrics, guint n_metrics);
/* Bytes of the whole packet; 0 if no block was written. */
gsize nat_ccfb_writer_end (NatCcfbWriter *w, guint32 timestamp);

G_END_DECLS
