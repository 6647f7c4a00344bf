/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Who asks, and what they may: the bearer token of a request (RFC 6750), checked with the relay's keys.
 * With --open everybody may everything, and whoever knows a session's id owns it. */

#include <glib.h>
#include "natproto/messages.h"
#include "natproto/token.h"
#include "natserver/control/problem.h"

G_BEGIN_DECLS

#define NAT_SUBJECT_MAX 64 /* bytes, as in tickets */

typedef struct {
  gboolean open; /* no tokens here; token is empty then */
  NatToken token;
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

typedef struct _NatAuth NatAuth;
NatAuth *nat_auth_new (gboolean open);
void nat_auth_free (NatAuth *auth);
/* Replaces the keys that tokens are checked with. */
void nat_auth_take_keys (NatAuth *auth, NatTokenKeys *keys);
/* authorization: the header field, or NULL. NAT_PROBLEM_NONE: *caller is filled. Otherwise *detail is a
 * new sentence without anything of the token. */
NatProblemKind nat_auth_check (
    NatAuth *auth, const char *authorization, gint64 now_s, NatCaller *caller, char **detail);

G_END_DECLS
