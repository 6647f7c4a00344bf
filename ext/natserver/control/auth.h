/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Who asks, and what they may: the Authorization field of a request, checked with what the relay knows by itself:
 * keys that sign tokens (RFC 6750, RFC 7519), static tokens, secrets of time-limited credentials (RFC 7617 has
 * their form). With --open everybody may everything, and whoever knows a session's id owns it. */

#include <glib.h>
#include "natproto/messages.h"
#include "natproto/restcredential.h"
#include "natproto/statictoken.h"
#include "natproto/ticket.h"
#include "natproto/token.h"
#include "natserver/control/problem.h"

G_BEGIN_DECLS

#define NAT_SUBJECT_MAX 64 /* bytes, as in tickets */

typedef struct {
  gboolean open; /* no tokens here; token is empty then */
  gboolean
      unknown; /* the token is none of ours: the callback decides, alone; token is empty then */
  NatToken token;
  gint64 decided_until_us; /* monotonic: so long the callback's yes holds; 0 = it was not asked */
  /* Who owns what this token makes, and counts as one for limits: the token's subject; a hash of it if
   * it is too long; without a subject a hash of the token, which so owns what it made itself and
   * nothing else. "" where there are no tokens. */
  char subject[NAT_SUBJECT_MAX + 1];
} NatCaller;
/* Whether the token names somebody, who may come back with another token. */
gboolean nat_caller_is_named (const NatCaller *caller);
void nat_caller_clear (NatCaller *caller);
gboolean nat_caller_may (const NatCaller *caller, NatRole role, const char *stream);
/* Unix time when this permission ends, leeway included; G_MAXINT64 = never. */
gint64 nat_caller_expires_s (const NatCaller *caller);
/* Of a caller that is unknown: he is called so. NULL or "": by a hash of his token, as before. */
void nat_caller_take_subject (NatCaller *caller, const char *subject);
/* In a word, for the log: what a voucher of that kind is. */
const char *nat_voucher_word (const NatVoucher *voucher);

typedef struct _NatAuth NatAuth;
NatAuth *nat_auth_new (gboolean open);
void nat_auth_free (NatAuth *auth);
/* Each replaces what it names, and is taken over; NULL: none any more. */
void nat_auth_take_keys (NatAuth *auth, NatTokenKeys *keys);
void nat_auth_take_static (NatAuth *auth, NatStaticTokens *tokens);
/* secrets: NatSignKeys of HS256, ended by NULL. grants is copied. */
void nat_auth_take_secrets (NatAuth *auth, GPtrArray *secrets, const NatRestGrants *grants);
/* Keys that come from elsewhere. complete FALSE: some are still to come, and nobody is put out for a key that may
 * be among them, which none may that was here meanwhile, or whose own set (nat_token_keys_set_issuer) is. */
void nat_auth_take_fetched (NatAuth *auth, NatTokenKeys *keys, gboolean complete);
/* Keys from elsewhere are still to come. */
gboolean nat_auth_is_incomplete (NatAuth *auth);
/* Tokens that we do not know are the callback's to judge. */
void nat_auth_set_unknown (NatAuth *auth, gboolean callback_decides);

/* authorization: the header field, or NULL. NAT_PROBLEM_NONE: *caller is filled. Otherwise *detail is a
 * new sentence without anything of the token. */
NatProblemKind nat_auth_check (
    NatAuth *auth, const char *authorization, gint64 now_s, NatCaller *caller, char **detail);
/* The bearer token in it; NULL: it is something else. */
const char *nat_auth_bearer (const char *authorization);
/* Of a field that was refused: its token could be good for a key that we do not have yet. */
gboolean nat_auth_lacks_key (NatAuth *auth, const char *authorization);
/* Until when what let the ticket's session in allows it, as far as is known now: Unix time, leeway included; G_MAXINT64 =
 * nothing says otherwise; 0 = no more. */
gint64 nat_auth_vouches (NatAuth *auth, const NatTicket *ticket);

G_END_DECLS
