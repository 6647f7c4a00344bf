/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTP payload formats of video: H.264 (RFC 6184), H.265 (RFC 7798), VP8 (RFC 7741), VP9 (RFC 9628) and AV1 (AOM's
 * RTP payload format), as far as a payload shows what it is to its frame. Nothing is decoded: NAL unit types,
 * payload descriptors and the first bits of a picture are enough. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  NAT_PAYLOAD_FORMAT_OTHER, /* not looked into */
  NAT_PAYLOAD_FORMAT_H264,
  NAT_PAYLOAD_FORMAT_H265,
  NAT_PAYLOAD_FORMAT_VP8,
  NAT_PAYLOAD_FORMAT_VP9,
  NAT_PAYLOAD_FORMAT_AV1,
} NatPayloadFormat;

/* name: of a=rtpmap, in any case. */
NatPayloadFormat nat_payload_format_from_name (const char *name);

typedef enum {
  NAT_PAYLOAD_INSIDE, /* a later part of a frame, or nothing that is understood */
  NAT_PAYLOAD_PREFIX, /* nothing of the picture itself: parameter sets, SEI, delimiters. They belong to the frame
                         that follows, or to the present one where that has begun */
  NAT_PAYLOAD_BEGIN, /* has the picture's first bytes, with or without such a prefix */
} NatPayloadPart;

typedef struct {
  NatPayloadPart part;
  gboolean
      independent; /* of a picture's first part: decoding may begin here (IDR, IRAP, key frame). Of a prefix
                           (AV1): what follows is so */
  gboolean discardable; /* no frame of its temporal layer or a lower one needs this one */
  guint8 temporal_id;   /* H.265: 0..6; else 0 */
} NatPayload;

/* payload: an RTP packet's, without padding. */
void nat_payload_read (NatPayload *out, NatPayloadFormat format, const guint8 *payload, gsize len);

G_END_DECLS
