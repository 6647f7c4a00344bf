/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The RTP fixed header, CSRCs and extension (RFC 3550 section 5). Read only. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint8 payload_type; /* 0..127 */
  gboolean marker;
  guint16 seq;
  guint32 timestamp;
  guint32 ssrc;
  gsize header_len;   /* bytes: fixed header, CSRCs and extension */
  gsize payload_len;  /* bytes, without padding */
  guint8 padding_len; /* bytes at the end, its count byte included; 0 = no padding */
} NatRtpHeader;

/* FALSE: not RTP version 2, or a length in it lies. */
gboolean nat_rtp_parse (NatRtpHeader *h, const guint8 *data, gsize len);

G_END_DECLS
