/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Caps to SDP (RFC 8866) and back: what a publisher offers is what its pads' caps say, and what a
 * subscriber's pads say is what the publisher offered. */

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct {
  const gchar *cname; /* RTCP's, the same for all tracks */
  guint64 id;         /* of the o= line; the same while the stream lives */
  guint64 version;    /* of the o= line; grows with each change */
} GstNatRelaySdpOrigin;

/* caps: n complete application/x-rtp caps, in the order of the m= sections; each has media, encoding-name,
 * clock-rate, payload and ssrc. NULL and a GError of GST_STREAM_ERROR if one cannot be described. */
gchar *gst_nat_relay_sdp_from_caps (
    GstCaps *const *caps, guint n, const GstNatRelaySdpOrigin *origin, GError **error);

/* NULL if caps say all that a receiver must know, else the name of what is missing. ssrc and payload are
 * not asked for. */
const gchar *gst_nat_relay_sdp_missing_field (GstCaps *caps);

typedef enum {
  GST_NAT_RELAY_VIDEO,
  GST_NAT_RELAY_AUDIO,
  GST_NAT_RELAY_DATA,
  GST_NAT_RELAY_N_MEDIA,
} GstNatRelayMedia;

/* One m= section. */
typedef struct {
  GstNatRelayMedia media;
  guint32 ssrc;
  guint8 payload_type;
  GstCaps *caps; /* complete; ssrc and payload in it */
} GstNatRelaySdpTrack;

/* In the order of the m= sections, video first. NULL: not an SDP that a relay may hand out. Free with
 * g_ptr_array_unref. */
GPtrArray *gst_nat_relay_sdp_to_tracks (const gchar *sdp, GError **error);

/* Same codec, as a decoder sees it: a pad that carries one may go on with the other. */
gboolean gst_nat_relay_sdp_same_codec (GstCaps *a, GstCaps *b);

/* TRUE if two descriptions are versions of one: o= has the same id (RFC 8866 section 5.2). */
gboolean gst_nat_relay_sdp_same_session (const gchar *a, const gchar *b);

G_END_DECLS
