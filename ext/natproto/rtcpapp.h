/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTCP APP packets (RFC 3550 section 6.7) that the relay writes where RTCP has no packet for it: what a
 * publisher's audience sees (name "AUDI"), and where a stream was when a subscriber joined ("EDGE"). */

#include "natproto/messages.h"
#include "natproto/rtcp.h"

G_BEGIN_DECLS

/* Subtype 1. A publisher's, of the whole audience. */
typedef struct {
  guint32 receivers;    /* now */
  guint32 joined, left; /* since the relay knows the stream; they wrap */
  guint16 worst_loss,
      median_loss; /* of 256, of the receivers' last reports, whatever the relay repaired */
  guint16 worst_rtt_ms, median_rtt_ms; /* between relay and receiver; 65535 = that or more */
} NatAudience;
gsize nat_rtcp_write_audience (guint8 *buf, gsize cap, guint32 sender_ssrc, const NatAudience *a);
/* FALSE: another packet, or one that is too short. Longer ones, of a later version, are read. */
gboolean nat_rtcp_audience (const NatRtcpPacket *packet, NatAudience *a);

/* Subtype 1. The last packet of a source that was forwarded before the subscriber joined. What has a sequence
 * number up to that, and comes all the same, is of the past. */
typedef struct {
  guint32 ssrc;
  guint32 timestamp; /* RTP's */
  guint16 seq;
  guint16
      behind; /* how many sequence numbers up to it, its own included, are of the past that follows */
} NatLiveEdge;
gsize nat_rtcp_write_edges (guint8 *buf, gsize cap, guint32 sender_ssrc, const NatLiveEdge *edges,
    guint n); /* at most NAT_TRACKS_MAX */
/* Returns how many; 0: another packet, or one whose length lies. */
guint nat_rtcp_edges (const NatRtcpPacket *packet, NatLiveEdge edges[NAT_TRACKS_MAX]);

G_END_DECLS
