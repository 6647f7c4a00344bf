/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What SFrame keys a stream has, and RTP packets sealed and opened with them. A media key
 * is 32 random bytes under a KID; each SSRC gets a base key of its own out of it, so
 * counters start at 0 for every SSRC:
 *
 *   base_key (RFC 9605) = HKDF-SHA256 (IKM  = the media key's 32 bytes,
 *                                      salt = none,
 *                                      info = "natrelay sframe v1" | SSRC, 4 bytes | KID, 8 bytes,
 *                                      L    = 32)
 *
 * without a zero after the label, numbers in network order, for either suite. From there on RFC 9605
 * section 4.4.2 holds, with the same KID. One RTP packet is one SFrame: the payload becomes SFrame
 * header, ciphertext and tag. Metadata is the RTP header with CSRCs and extensions as sent;
 * padding is stripped before sealing (the P bit is cleared in the header first). */

#include <glib.h>
#include "natproto/messages.h"
#include "natproto/sframe.h"

G_BEGIN_DECLS

typedef struct {
  guint64 kid;
  NatSframeSuite suite;
  guint8 key[NAT_MEDIA_KEY_SIZE];
} NatMediaKey;

/* Draws key bytes and a KID of 16 random bits (so that a restarted publisher's packets are not
 * taken for the old one's). Two KIDs may come out equal: for a roll-over, draw the next of current. */
void nat_media_key_generate (NatMediaKey *key, NatSframeSuite suite);
/* The key to roll over to: of the same suite, under another KID. */
void nat_media_key_generate_next (NatMediaKey *key, const NatMediaKey *current);

/* The publisher's side: one media key in use, counters per SSRC. One thread at a time. */
typedef struct _NatSframeSealer NatSframeSealer;
NatSframeSealer *nat_sframe_sealer_new (const NatMediaKey *key);
void nat_sframe_sealer_free (NatSframeSealer *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSframeSealer, nat_sframe_sealer_free)
/* packet: a whole RTP packet; out: len + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE bytes, not
 * overlapping. Returns the sealed packet's length; 0: not RTP, too many SSRCs, or counters used up. */
gsize nat_sframe_sealer_seal (NatSframeSealer *s, const guint8 *packet, gsize len, guint8 *out);
/* Counters that one SSRC may use under one key. */
#define NAT_SFRAME_COUNTERS (G_GUINT64_CONSTANT (1) << 32)

/* The receiver's side: up to four media keys at once (roll-over, publisher's restart), a replay
 * window per key and SSRC. One thread at a time. */
typedef struct _NatSframeOpener NatSframeOpener;
NatSframeOpener *nat_sframe_opener_new (void);
void nat_sframe_opener_free (NatSframeOpener *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSframeOpener, nat_sframe_opener_free)
/* Replaces the set, of at most 4 different KIDs; contexts of keys that stay are kept with their replay windows. */
void nat_sframe_opener_set_keys (NatSframeOpener *o, const NatMediaKey *keys, guint n);
/* Of other SSRCs nothing comes any more: others may have their places. */
void nat_sframe_opener_set_ssrcs (NatSframeOpener *o, const guint32 *ssrcs, guint n);
typedef enum {
  NAT_OPEN_OK,
  NAT_OPEN_MALFORMED,   /* not RTP, or no SFrame header */
  NAT_OPEN_UNKNOWN_KEY, /* KID not in the set: expected around a roll-over */
  NAT_OPEN_FORGED,
  NAT_OPEN_REPLAYED,
  NAT_OPEN_LIMIT, /* more SSRCs than NAT_TRACKS_MAX under one key */
} NatOpenStatus;
/* In place: packet becomes plain RTP; *len its length. On any other status than OK the payload may
 * have been overwritten. Derives keys and allocates for every
 * packet of an SSRC that had no genuine one yet, and keeps them only if this one is. */
NatOpenStatus nat_sframe_opener_open (NatSframeOpener *o, guint8 *packet, gsize *len);

G_END_DECLS
