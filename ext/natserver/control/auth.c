/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/auth.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/error.h"

#define HASHED_SUBJECT "sha-256:"
#define HASHED_TOKEN   "token:"

struct _NatAuth {
  gboolean open;
  NatTokenKeys *keys;
};

NatAuth *
nat_auth_new (gboolean open)
{
  NatAuth *auth = g_new0 (NatAuth, 1);

  auth->open = open;
  auth->keys = nat_token_keys_new ();
  return auth;
}

void
nat_auth_free (NatAuth *auth)
{
  nat_token_keys_free (auth->keys);
  g_free (auth);
}

void
nat_auth_take_keys (NatAuth *auth, NatTokenKeys *keys)
{
  nat_token_keys_free (auth->keys);
  auth->keys = keys;
}

/* ---- Callers ----------------------------------------------------------- */

void
nat_caller_clear (NatCaller *caller)
{
  nat_token_clear (&caller->token);
  memset (caller, 0, sizeof *caller);
}

gboolean
nat_caller_may (const NatCaller *caller, NatRole role, const char *stream)
{
  if (caller->open)
    return TRUE;
  return role == NAT_ROLE_PUBLISHER ? nat_token_may_publish (&caller->token, stream)
                                    : nat_token_may_subscribe (&caller->token, stream);
}

gint64
nat_caller_expires_s (const NatCaller *caller)
{
  if (caller->open || caller->token.expires_s > G_MAXINT64 - NAT_TOKEN_LEEWAY_S)
    return G_MAXINT64;
  return caller->token.expires_s + NAT_TOKEN_LEEWAY_S;
}

gboolean
nat_caller_is_named (const NatCaller *caller)
{
  return caller->token.subject != NULL && *caller->token.subject != '\0';
}

static void
set_hashed (NatCaller *caller, const char *prefix, const char *text)
{
  guint8 hash[NAT_SHA256_SIZE];
  char encoded[NAT_BASE64URL_LEN (NAT_SHA256_SIZE) + 1];

  nat_crypto_sha256 (text, strlen (text), hash);
  nat_base64url_encode (hash, sizeof hash, encoded);
  g_snprintf (caller->subject, sizeof caller->subject, "%s%s", prefix, encoded);
}

/* Cut at the limit, two long subjects with the same beginning would own each other's sessions. The
 * same goes for tokens without a subject, all of which would be one, and for a subject that looks like
 * a hash of ours. */
static void
set_subject (NatCaller *caller, const char *token)
{
  const char *subject = caller->token.subject;

  if (!nat_caller_is_named (caller))
    set_hashed (caller, HASHED_TOKEN, token);
  else if (strlen (subject) > NAT_SUBJECT_MAX || g_str_has_prefix (subject, HASHED_SUBJECT) ||
           g_str_has_prefix (subject, HASHED_TOKEN))
    set_hashed (caller, HASHED_SUBJECT, subject);
  else
    g_strlcpy (caller->subject, subject, sizeof caller->subject);
}

/* ---- Checking ---------------------------------------------------------- */

/* NULL: not a bearer token. Its characters are checked with the token itself. */
static const char *
bearer (const char *authorization)
{
  if (g_ascii_strncasecmp (authorization, "Bearer", 6) != 0 || authorization[6] != ' ')
    return NULL;
  authorization += 6;
  return authorization + strspn (authorization, " ");
}

static NatProblemKind
refuse (NatProblemKind kind, char **detail, const char *text)
{
  *detail = g_strdup (text);
  return kind;
}

NatProblemKind
nat_auth_check (
    NatAuth *auth, const char *authorization, gint64 now_s, NatCaller *caller, char **detail)
{
  g_autoptr (GError) error = NULL;
  const char *text;

  memset (caller, 0, sizeof *caller);
  *detail = NULL;
  caller->open = auth->open;
  if (auth->open)
    return NAT_PROBLEM_NONE;
  if (authorization == NULL)
    return refuse (NAT_PROBLEM_TOKEN_MISSING, detail,
        "Send an access token as \"Authorization: Bearer TOKEN\" (elements: auth-token).");
  text = bearer (authorization);
  if (text == NULL)
    return refuse (NAT_PROBLEM_TOKEN_MISSING, detail,
        "The Authorization field must be \"Bearer TOKEN\"; other schemes are not understood.");
  if (!nat_token_verify (&caller->token, text, auth->keys, now_s, &error)) {
    NatProblemKind kind = g_error_matches (error, NAT_ERROR, NAT_ERROR_EXPIRED)
                              ? NAT_PROBLEM_TOKEN_EXPIRED
                              : NAT_PROBLEM_TOKEN_INVALID;

    memset (caller, 0, sizeof *caller);
    return refuse (kind, detail, error->message);
  }
  set_subject (caller, text);
  return NAT_PROBLEM_NONE;
}
