/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A passphrase that publisher and subscribers share and the relay does not: it turns what the relay
 * hands out as media keys into the keys themselves, and shows that a description is the publisher's.
 *
 *   stretched  = PBKDF2-HMAC-SHA256 (passphrase, "natrelay passphrase v1" | ROOM, 600000 rounds, 32)
 *   media key  = HKDF-SHA256 (IKM = stretched, salt = the 32 bytes in the document,
 *                             info = "natrelay end to end v1" | STREAM, L = 32)
 *   mac key    = HKDF-SHA256 (IKM = stretched, salt = none,
 *                             info = "natrelay description v1" | STREAM, L = 32)
 *   mac        = HMAC-SHA256 (mac key, number of keys, 1 byte
 *                             | for each: KID, 8 bytes | suite, 2 bytes | its 32 bytes in the document
 *                             | the SDP without the line that carries the mac)
 *
 * without a zero after the labels, numbers in network order. STREAM is the stream's name and ROOM what stands before its
 * last '/', or all of it if there is none: whoever watches a room stretches once, and each stream has keys of its own.
 * The line, in front of the first m= section, is "a=natrelay-passphrase:1 " | base64url (mac). */

#include <glib.h>
#include "natproto/negotiation.h"

G_BEGIN_DECLS

#define NAT_PASSPHRASE_MIN    10 /* bytes; fewer can be guessed whatever stretches them */
#define NAT_PASSPHRASE_MAX    1024
#define NAT_PASSPHRASE_ROUNDS 600000
#define NAT_STRETCHED_SIZE    32

/* Length of the part of the name of stream, or of a pattern of such names, that is its ROOM. */
gsize nat_passphrase_room_len (const char *stream);
/* Takes tenths of a second, on purpose: never on a streaming or network thread. */
void nat_passphrase_stretch (
    const guint8 *passphrase, gsize len, const char *stream, guint8 stretched[NAT_STRETCHED_SIZE]);

/* What the document has of a media key becomes the key itself; KID and suite stay. */
void nat_passphrase_apply (
    const guint8 stretched[NAT_STRETCHED_SIZE], const char *stream, NatMediaKey *key);

/* The SDP of d with the line that proves it, and the keys of d as the document has them. */
char *nat_passphrase_sign (const guint8 stretched[NAT_STRETCHED_SIZE], const char *stream,
    const NatDescription *d) G_GNUC_WARN_UNUSED_RESULT;

/* TRUE: d comes from a publisher that uses a passphrase, so nothing in it can be believed or opened without. */
gboolean nat_passphrase_needed (const NatDescription *d);
/* TRUE: it is from somebody who knows the passphrase and unchanged; the line is taken out of the SDP and
 * the keys are those that seal. FALSE: d is as it was. */
gboolean nat_passphrase_verify (
    const guint8 stretched[NAT_STRETCHED_SIZE], const char *stream, NatDescription *d);
/* The SDP without that line, for a log: with the mac, each guess at a weak passphrase could be tried. */
char *nat_passphrase_hide (const char *sdp) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
