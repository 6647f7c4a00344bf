/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Access tokens: JWT (RFC 7519) as JWS compact, signed with EdDSA, ES256, HS256 or RS256. The algorithm
 * belongs to the key: a token's "alg" must say what its key is for, and "none" is nobody's. */

#include <glib.h>
#include "natproto/crypto.h"
#include "natproto/voucher.h"

G_BEGIN_DECLS

#define NAT_TOKEN_MAX      4096       /* bytes of text */
#define NAT_TOKEN_AUDIENCE "natrelay" /* what "aud" holds, if it is there */
#define NAT_TOKEN_LEEWAY_S 30         /* clocks differ: allowed on nbf and exp */

typedef struct {
  char *subject;                  /* "sub"; NULL = none */
  gint64 expires_s;               /* "exp", Unix time; G_MAXINT64 = never */
  gint64 not_before_s;            /* "nbf"; G_MININT64 = always was */
  char *id;                       /* "jti"; NULL = none */
  char **publish;                 /* "publish": array of stream globs; NULL = none */
  char **subscribe;               /* "subscribe" */
  gboolean list, admin, takeover; /* "list", "admin", "takeover": booleans */
  guint32 max_kbps;               /* "max-kbps"; 0 = no limit */
  guint32 max_packets;            /* "max-packets", in a second; 0 = no limit */
  NatVoucher voucher;             /* what it was verified with; zeros: nothing */
} NatToken;

void nat_token_clear (NatToken *t);
void nat_token_copy (NatToken *to, const NatToken *from);
/* Whether now_s is between "nbf" and "exp", leeway included; else EXPIRED. */
gboolean nat_token_in_force (const NatToken *t, gint64 now_s, GError **error);
/* The claims alone, as a JSON object (what is not known is passed over; "aud" is none of these), and back. */
gboolean nat_token_from_claims (NatToken *t, const char *json, GError **error);
char *nat_token_to_claims (const NatToken *t);
gboolean nat_token_may_publish (const NatToken *t, const char *stream);
/* stream may be a glob: then all that it matches must be allowed. */
gboolean nat_token_may_subscribe (const NatToken *t, const char *stream);

/* A set of keys with optional ids ("kid"). Immutable after filling. */
typedef struct _NatTokenKeys NatTokenKeys;
NatTokenKeys *nat_token_keys_new (void);
void nat_token_keys_add (NatTokenKeys *keys, const char *kid, NatSignKey *key); /* refs key */
void nat_token_keys_add_all (NatTokenKeys *keys, NatTokenKeys *more);
guint nat_token_keys_n (NatTokenKeys *keys);
/* Whether a key that verifies what this one did is among them. */
gboolean nat_token_keys_vouch (NatTokenKeys *keys, const NatVoucher *voucher);
/* All of them came in the set at that URL, which the vouchers of what they verify then say. */
void nat_token_keys_set_issuer (NatTokenKeys *keys, const char *url);
/* Whether there are keys of the set that this one came in; FALSE for what came in none. */
gboolean nat_token_keys_has_issuer (NatTokenKeys *keys, const NatVoucher *voucher);
/* Whether one of them has this id. */
gboolean nat_token_keys_know (NatTokenKeys *keys, const char *kid);
void nat_token_keys_free (NatTokenKeys *keys);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatTokenKeys, nat_token_keys_free)

char *nat_token_sign (const NatToken *t, const char *kid, NatSignKey *key, GError **error);
/* now_s: Unix time. With a kid in the header only that key is tried, without one all whose algorithm
 * the header names. Errors: MALFORMED, AUTHENTICATION, EXPIRED; the text never quotes the token. On failure t has its voucher
 * and nothing else, and that only if a key did sign it. */
gboolean nat_token_verify (
    NatToken *t, const char *text, NatTokenKeys *keys, gint64 now_s, GError **error);
/* The "kid" of a header that nat_token_inspect gave out; NULL = none, or not a header. */
char *nat_token_header_kid (const char *header_json);
/* Reads without verifying, for people who inspect a token. header_json may be NULL. */
gboolean nat_token_inspect (
    const char *text, char **header_json, char **claims_json, GError **error);

G_END_DECLS
