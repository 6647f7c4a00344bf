/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Long-term credentials of RFC 8489 section 9.2 with PASSWORD-ALGORITHM SHA-256. */

#include <glib.h>
#include "natproto/stun.h"

G_BEGIN_DECLS

#define NAT_STUN_KEY_SIZE 32

/* What RFC 8489 puts in front of a nonce to say "four characters of feature bits follow". */
#define NAT_STUN_NONCE_COOKIE "obMatJos2"

/* SHA-256 (username ":" realm ":" password) */
void nat_stun_key (const char *username, gsize username_len, const char *realm,
    const char *password, guint8 key[NAT_STUN_KEY_SIZE]);

/* TRUE if the message carries all 32 bytes of MESSAGE-INTEGRITY-SHA256 and they fit key
 * (compared in constant time). Truncated integrity is refused. */
gboolean nat_stun_verify (const NatStunMessage *msg, gconstpointer key, gsize key_len);

/* The relay's side: does a request hold what an answer to the challenge must hold? */
typedef enum {
  NAT_STUNAUTH_COMPLETE, /* USERNAME, REALM (ours), NONCE, PASSWORD-ALGORITHM(S), 32 bytes of integrity */
  NAT_STUNAUTH_NONE,       /* no integrity at all: to be challenged with 401 */
  NAT_STUNAUTH_INCOMPLETE, /* integrity, but something is missing or not of our profile: 400 */
} NatStunAuthStatus;
NatStunAuthStatus nat_stunauth_inspect (const NatStunMessage *msg);

/* The client's side: what a 401 or 438 asks for. Slices point into the message. Refuses (FALSE)
 * a challenge without SHA-256 or whose nonce cookie says less than its attributes (bid-down,
 * RFC 8489 section 9.2.5). */
typedef struct {
  NatStunSlice realm, nonce, password_algorithms;
} NatStunAuthChallenge;
gboolean nat_stunauth_challenge (const NatStunMessage *msg, NatStunAuthChallenge *out);

/* What the client must add to answer: USERNAME, REALM, NONCE, PASSWORD-ALGORITHMS as received,
 * PASSWORD-ALGORITHM. add_integrity comes after the caller's own attributes. */
void nat_stunauth_add_answer (
    NatStunWriter *w, const char *username, const NatStunAuthChallenge *challenge);
/* What the relay adds to a 401 or 438: REALM, NONCE, PASSWORD-ALGORITHMS. */
void nat_stunauth_add_challenge (NatStunWriter *w, const char *nonce);

G_END_DECLS
