/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTP header extensions of RFC 8285, in their one-byte and two-byte forms: find an element in a packet, and put
 * one into a header. Extensions of other profiles (RFC 3550 section 5.3.1 lets anybody define one) have no
 * elements and take none. */

#include <glib.h>

G_BEGIN_DECLS

/* Ids that either form can carry; 0 is padding and 15 ends a one-byte extension (RFC 8285 section 4.2). */
#define NAT_RTP_EXTENSION_ID_MIN 1
#define NAT_RTP_EXTENSION_ID_MAX 14

/* The most bytes by which a header grows for an element of size bytes. */
#define NAT_RTP_EXTENSION_GROWTH_MAX(size) (4 + ((size) + 2 + 3) / 4 * 4)

/* The data of the first element with this id, *size bytes inside packet; NULL: there is none, or a length before
 * it lies. packet: from its first byte, at least the header. */
const guint8 *nat_rtp_extension_find (const guint8 *packet, gsize len, guint8 id, gsize *size);

/* Puts an element behind the ones that are there, in the form that they have; an extension that is new gets the
 * one-byte form. header: header_len bytes of fixed header, CSRCs and extension, with room for room bytes. id:
 * NAT_RTP_EXTENSION_ID_MIN to _MAX; size: 1 to 16. The header's new length; 0, and nothing is changed: the header
 * is malformed or too large for the room, its extension is not of RFC 8285, or the id is taken. */
gsize nat_rtp_extension_insert (
    guint8 *header, gsize header_len, gsize room, guint8 id, const guint8 *data, gsize size);

G_END_DECLS
