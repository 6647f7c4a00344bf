/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One track of a publisher: which payload type and SSRC it has on the way to the relay, and its packets
 * brought there. All tracks share one RTP session, so both must be unique in it; two payloaders
 * at their default of 96 are not. */

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct {
  guint8 payload_type;
  guint32 ssrc;
} GstNatRelayTrackId;

/* Streaming thread only, but for what caps and id say once they are set (owner's lock). */
typedef struct {
  GstCaps *caps;         /* outgoing and complete; NULL until known */
  GstNatRelayTrackId id; /* outgoing; valid if caps */
  gint in_payload_type;  /* -1: any, taken from the first packet */
  gboolean in_ssrc_known;
  guint32 in_ssrc;
  gboolean redraw;    /* the next settling gives it another SSRC, whatever it has */
  gint64 last_packet; /* monotonic us of the last packet of in_ssrc */
  guint64 dropped;    /* packets that are not of this track, or not RTP */
} GstNatRelayTrack;

typedef enum {
  GST_NAT_RELAY_TRACK_OK,
  GST_NAT_RELAY_TRACK_DROP,
  GST_NAT_RELAY_TRACK_NOT_RTP,
  GST_NAT_RELAY_TRACK_NEW_SOURCE, /* another SSRC took over: settle again, then adopt */
} GstNatRelayTrackStatus;

void gst_nat_relay_track_init (GstNatRelayTrack *track);
void gst_nat_relay_track_clear (GstNatRelayTrack *track);

/* Takes up the caps of the input: track->caps and id are new. others: the ids of the n other tracks.
 * FALSE: no payload type is left. */
gboolean gst_nat_relay_track_settle (
    GstNatRelayTrack *track, GstCaps *caps, const GstNatRelayTrackId *others, guint n);
/* Looks at a packet, and rewrites payload type and SSRC where they differ. *buffer is replaced if it must be. */
GstNatRelayTrackStatus gst_nat_relay_track_take (
    GstNatRelayTrack *track, GstBuffer **buffer, gint64 now);

G_END_DECLS
