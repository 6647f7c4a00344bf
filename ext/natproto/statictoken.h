/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Static tokens: random words that a relay knows by a list of their hashes, one a line, with what each allows:
 *
 *   64 hex digits of SHA-256 (token) | blank | claims as in a JWT: {"sub":"door","publish":["door"]}
 *
 * Whoever reads the list has no token. A plain hash is enough for that: a token is 256 random bits, so that
 * nobody finds one by trying, however fast the hash; stretching (scrypt, Argon2) helps words that people
 * choose, and would let a stranger make the relay work for each wrong one. It is looked up by its hash:
 * how long that takes tells nothing of the tokens. */

#include <glib.h>
#include "natproto/token.h"

G_BEGIN_DECLS

#define NAT_STATIC_TOKEN_PREFIX "nrt_" /* so that scanners for lost secrets know it, and we */
#define NAT_STATIC_TOKEN_LEN    (4 + NAT_BASE64URL_LEN (32))
#define NAT_STATIC_TOKENS_MAX   (16 * 1024 * 1024) /* bytes of a list */

void nat_static_token_make (char text[NAT_STATIC_TOKEN_LEN + 1]);
/* Its line of the list, without a line's end. */
char *nat_static_token_line (const char *text, const NatToken *claims, GError **error);

typedef struct _NatStaticTokens NatStaticTokens; /* immutable */
/* Empty lines, and those that begin with '#', count for nothing. The GError names the line and never quotes it. */
NatStaticTokens *nat_static_tokens_parse (const char *list, GError **error);
void nat_static_tokens_free (NatStaticTokens *tokens);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatStaticTokens, nat_static_tokens_free)
/* Fills *t, voucher included. Errors: AUTHENTICATION, EXPIRED. */
gboolean nat_static_tokens_check (
    NatStaticTokens *tokens, const char *text, gint64 now_s, NatToken *t, GError **error);
/* What the token allows by now that once let somebody in; NULL: it is not in the list. */
const NatToken *nat_static_tokens_find (NatStaticTokens *tokens, const NatVoucher *voucher);

G_END_DECLS
