/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The arbitrary word: a nonce that the relay need not remember. It is a keyed hash over
 * the time and the two addresses, so it is good for one path, for 30 s, and tells when it
 * was issued. Behind RFC 8489's nonce cookie: base64url (8 bytes of time | 16 bytes of HMAC). */

#include <glib.h>
#include "natproto/address.h"

G_BEGIN_DECLS

#define NAT_NONCE_LEN 45 /* chars: 9 of cookie, 4 of feature bits, 32 of ours */

typedef struct _NatChallenge NatChallenge; /* one thread at a time */

/* key: drawn at each start, so that old nonces are refused after a restart. */
NatChallenge *nat_challenge_new (const guint8 key[32]);
void nat_challenge_free (NatChallenge *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatChallenge, nat_challenge_free)

/* now_us: a clock that never goes back. Two nonces issued one after the other differ. */
void nat_challenge_issue (NatChallenge *c, gint64 now_us, const NatAddress *remote,
    const NatAddress *local, char nonce[NAT_NONCE_LEN + 1]);

typedef enum {
  NAT_CHALLENGE_GOOD,
  NAT_CHALLENGE_STALE, /* genuine for this path but older than NAT_NONCE_LIFETIME_US, or of the future */
  NAT_CHALLENGE_FOREIGN, /* not issued by us for this path */
} NatChallengeStatus;
/* *issued_us is set for GOOD and STALE. */
NatChallengeStatus nat_challenge_check (NatChallenge *c, gint64 now_us, const NatAddress *remote,
    const NatAddress *local, const guint8 *nonce, gsize len, gint64 *issued_us);

G_END_DECLS
