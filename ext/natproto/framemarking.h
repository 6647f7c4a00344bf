/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Video Frame Marking (RFC 9626): what a packet is to the frame that it belongs to, told in the clear beside a
 * payload that a relay cannot read. */

#include <glib.h>

G_BEGIN_DECLS

/* RFC 9626 section 5, for a=extmap (RFC 8285 section 5). */
#define NAT_FRAMEMARKING_URI "urn:ietf:params:rtp-hdrext:framemarking"

/* Bytes of the short form (section 3.2), which is the one that is written. */
#define NAT_FRAMEMARKING_SIZE 1

/* Section 3.1; where the packet has the short form, what only the long form says is 0. */
typedef struct {
  gboolean start;           /* S: first packet of a frame */
  gboolean end;             /* E: last packet of a frame */
  gboolean independent;     /* I: the frame needs none before it */
  gboolean discardable;     /* D: no other frame needs this one */
  gboolean base_layer_sync; /* B: of the layers, the frame needs only the base layer */
  guint8 temporal_id;       /* TID: 0..7, 0 is the base layer */
  guint8 layer_id;          /* LID: spatial or quality layer, 0 is the base layer */
  gboolean scalable;        /* the long form */
} NatFramemarking;

/* The short form of mark, for nat_rtp_extension_insert. */
void nat_framemarking_write (guint8 out[NAT_FRAMEMARKING_SIZE], const NatFramemarking *mark);
/* data: the element's, size bytes. FALSE: neither of the forms. */
gboolean nat_framemarking_parse (NatFramemarking *mark, const guint8 *data, gsize size);

/* The mark of an RTP packet, from its first byte; id: what its description calls the extension. FALSE: it has
 * none that can be read. */
gboolean nat_framemarking_find (NatFramemarking *mark, const guint8 *packet, gsize len, guint8 id);
/* TRUE: a decoder that knows nothing of the stream may begin with this packet. id 0: always FALSE. */
gboolean nat_framemarking_begins_picture (const guint8 *packet, gsize len, guint8 id);

G_END_DECLS
