/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* JSON Web Key sets (RFC 7517; the numbers of RFC 7518 section 6 and RFC 8037): keys that sign access tokens, as an
 * issuer publishes them. Each key has one algorithm, by its type: RSA RS256, EC on P-256 ES256, OKP Ed25519 EdDSA,
 * oct HS256. A key that says another "alg" of itself is not used at all. */

#include <glib.h>
#include "natproto/token.h"

G_BEGIN_DECLS

#define NAT_JWKS_MAX      (64 * 1024) /* bytes of text */
#define NAT_JWKS_KEYS_MAX 64

typedef enum {
  NAT_JWKS_PUBLISHED, /* anybody may have read it: of a secret or private key there, nothing is believed */
  NAT_JWKS_KEPT, /* a file that only its owner reads */
} NatJwksPlace;

/* Adds the keys of a set that can be used, with their "kid"s. *passed_over (may be NULL): how many could not be, as
 * RFC 7517 section 5 wants it. Fails where the text is no key set, or none of its keys can be used. */
gboolean nat_jwks_read (NatTokenKeys *keys, const char *text, gssize len, NatJwksPlace place,
    guint *passed_over, GError **error);

G_END_DECLS
