/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Time-limited credentials, in the manner of the "REST API for access to TURN services": whoever shares a secret
 * with the relay gives out
 *
 *   username = Unix time of its end ":" name
 *   password = base64 (HMAC-SHA256 (secret, username))
 *
 * without asking the relay. They say who somebody is and until when, nothing of what he may: that is the relay's
 * to grant, alike to all (NatRestGrants). */

#include <glib.h>
#include "natproto/token.h"

G_BEGIN_DECLS

#define NAT_REST_NAME_MAX 64       /* bytes: printable ASCII, but ':' and blanks */
#define NAT_REST_NAME     "{name}" /* in a grant: the credential's name, where that can be a segment */

/* The secret is a key of HS256. All three are new texts; token is both in one word, base64 of
 * username ":" password, as RFC 7617 has it: what follows "Basic", or "Bearer", in Authorization. */
gboolean nat_rest_credential_make (NatSignKey *secret, gint64 expires_s, const char *name,
    char **username, char **password, char **token, GError **error);

/* What a credential allows: stream globs, in which NAT_REST_NAME may stand. NULL = none. */
typedef struct {
  char **publish, **subscribe;
} NatRestGrants;
/* What they allow the holder of a name: two new lists, NULL where nothing is. */
void nat_rest_grants_for (
    const NatRestGrants *grants, const char *name, char ***publish, char ***subscribe);
/* Whether glob is one, whatever name stands in it. */
gboolean nat_rest_grant_valid (const char *glob);

/* Whether word could be such a credential: base64 of digits, ':', name, ':', password. */
gboolean nat_rest_credential_is (const char *word);
/* secrets: ended by NULL. Fills *t, voucher included. Errors: AUTHENTICATION, EXPIRED. */
gboolean nat_rest_credential_check (const char *word, NatSignKey *const *secrets,
    const NatRestGrants *grants, gint64 now_s, NatToken *t, GError **error);
void nat_rest_secret_voucher (NatSignKey *secret, NatVoucher *voucher);

G_END_DECLS
