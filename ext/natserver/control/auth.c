/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/auth.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/error.h"

#define HASHED_SUBJECT "sha-256:"
#define GONE_MAX       1024 /* keys */

struct _NatAuth {
  gboolean open;
  NatTokenKeys *keys;       /* of files */
  NatTokenKeys *fetched;    /* of URLs; NULL = none */
  NatTokenKeys *all;        /* both */
  gboolean incomplete;      /* of fetched, some never came yet */
  NatTokenKeys *gone;       /* that all had meanwhile, and withdrawn where it has them no more */
  NatStaticTokens *statics; /* NULL = none */
  GPtrArray *secrets;       /* of credentials, ended by NULL; NULL = none */
  GArray *secret_vouchers;  /* theirs, in their order */
  NatRestGrants grants;
  gboolean callback_decides; /* about what we do not know */
};

NatAuth *
nat_auth_new (gboolean open)
{
  NatAuth *auth = g_new0 (NatAuth, 1);

  auth->open = open;
  auth->keys = nat_token_keys_new ();
  auth->all = nat_token_keys_new ();
  auth->gone = nat_token_keys_new ();
  return auth;
}

void
nat_auth_free (NatAuth *auth)
{
  NatRestGrants none = {NULL, NULL};

  nat_token_keys_free (auth->keys);
  nat_token_keys_free (auth->fetched);
  nat_token_keys_free (auth->all);
  nat_token_keys_free (auth->gone);
  nat_static_tokens_free (auth->statics);
  nat_auth_take_secrets (auth, NULL, &none);
  g_free (auth);
}

/* ---- What it knows ----------------------------------------------------- */

static void
forget_gone (NatAuth *auth)
{
  nat_token_keys_free (auth->gone);
  auth->gone = nat_token_keys_new ();
}

static void
put_together (NatAuth *auth)
{
  if (auth->incomplete && nat_token_keys_n (auth->gone) > GONE_MAX)
    forget_gone (auth);
  if (auth->incomplete)
    nat_token_keys_add_all (auth->gone, auth->all);
  nat_token_keys_free (auth->all);
  auth->all = nat_token_keys_new ();
  nat_token_keys_add_all (auth->all, auth->keys);
  if (auth->fetched != NULL)
    nat_token_keys_add_all (auth->all, auth->fetched);
}

void
nat_auth_take_keys (NatAuth *auth, NatTokenKeys *keys)
{
  nat_token_keys_free (auth->keys);
  auth->keys = keys;
  put_together (auth);
}

void
nat_auth_take_fetched (NatAuth *auth, NatTokenKeys *keys, gboolean complete)
{
  nat_token_keys_free (auth->fetched);
  auth->fetched = keys;
  put_together (auth);
  auth->incomplete = !complete;
  if (complete)
    forget_gone (auth);
}

gboolean
nat_auth_is_incomplete (NatAuth *auth)
{
  return auth->incomplete;
}

void
nat_auth_take_static (NatAuth *auth, NatStaticTokens *tokens)
{
  nat_static_tokens_free (auth->statics);
  auth->statics = tokens;
}

void
nat_auth_take_secrets (NatAuth *auth, GPtrArray *secrets, const NatRestGrants *grants)
{
  NatRestGrants old = auth->grants;

  auth->grants.publish = g_strdupv (grants->publish);
  auth->grants.subscribe = g_strdupv (grants->subscribe);
  g_strfreev (old.publish);
  g_strfreev (old.subscribe);
  g_clear_pointer (&auth->secrets, g_ptr_array_unref);
  g_clear_pointer (&auth->secret_vouchers, g_array_unref);
  auth->secrets = secrets;
  if (secrets == NULL)
    return;
  auth->secret_vouchers = g_array_new (FALSE, FALSE, sizeof (NatVoucher));
  for (guint i = 0; secrets->pdata[i] != NULL; i++) {
    NatVoucher voucher;

    nat_rest_secret_voucher (secrets->pdata[i], &voucher);
    g_array_append_val (auth->secret_vouchers, voucher);
  }
}

void
nat_auth_set_unknown (NatAuth *auth, gboolean callback_decides)
{
  auth->callback_decides = callback_decides;
}

/* ---- Who is still let in ----------------------------------------------- */

static gboolean
any_covers (char **globs, NatRole role, const char *stream)
{
  NatToken t = {.publish = globs, .subscribe = globs};

  return role == NAT_ROLE_PUBLISHER ? nat_token_may_publish (&t, stream)
                                    : nat_token_may_subscribe (&t, stream);
}

static gint64
with_leeway (gint64 expires_s)
{
  return expires_s > G_MAXINT64 - NAT_TOKEN_LEEWAY_S ? G_MAXINT64 : expires_s + NAT_TOKEN_LEEWAY_S;
}

/* A key that never was here may be among those that are still to come, unless the set that it came in is here: no set without
 * a key is taken. */
static gboolean
may_come (NatAuth *auth, const NatVoucher *voucher)
{
  return auth->incomplete && !nat_token_keys_vouch (auth->gone, voucher) &&
         !nat_token_keys_has_issuer (auth->all, voucher);
}

static gint64
key_vouches (NatAuth *auth, const NatVoucher *voucher)
{
  return nat_token_keys_vouch (auth->all, voucher) || may_come (auth, voucher) ? G_MAXINT64 : 0;
}

static gint64
static_vouches (NatAuth *auth, const NatTicket *ticket)
{
  const NatToken *t =
      auth->statics != NULL ? nat_static_tokens_find (auth->statics, &ticket->voucher) : NULL;

  if (t == NULL || !any_covers (ticket->role == NAT_ROLE_PUBLISHER ? t->publish : t->subscribe,
                       ticket->role, ticket->stream))
    return 0;
  return with_leeway (t->expires_s);
}

/* A credential's name is its subject. */
static gboolean
grants_cover (NatAuth *auth, const NatTicket *ticket)
{
  g_auto (GStrv) publish = NULL;
  g_auto (GStrv) subscribe = NULL;

  nat_rest_grants_for (&auth->grants, ticket->subject, &publish, &subscribe);
  return any_covers (
      ticket->role == NAT_ROLE_PUBLISHER ? publish : subscribe, ticket->role, ticket->stream);
}

static gint64
secret_vouches (NatAuth *auth, const NatTicket *ticket)
{
  for (guint i = 0; auth->secrets != NULL && i < auth->secret_vouchers->len; i++) {
    if (nat_voucher_equal (&g_array_index (auth->secret_vouchers, NatVoucher, i), &ticket->voucher))
      return grants_cover (auth, ticket) ? G_MAXINT64 : 0;
  }
  return 0;
}

gint64
nat_auth_vouches (NatAuth *auth, const NatTicket *ticket)
{
  if (auth->open)
    return G_MAXINT64;
  switch (nat_voucher_kind (&ticket->voucher)) {
  case NAT_VOUCHER_ISSUED:
  case NAT_VOUCHER_KEY: return key_vouches (auth, &ticket->voucher);
  case NAT_VOUCHER_STATIC: return static_vouches (auth, ticket);
  case NAT_VOUCHER_SECRET: return secret_vouches (auth, ticket);
  case NAT_VOUCHER_CALLBACK: return auth->callback_decides ? G_MAXINT64 : 0;
  default: return 0; /* it came when the relay was open */
  }
}

const char *
nat_voucher_word (const NatVoucher *voucher)
{
  switch (nat_voucher_kind (voucher)) {
  case NAT_VOUCHER_ISSUED:
  case NAT_VOUCHER_KEY: return "key";
  case NAT_VOUCHER_STATIC: return "static-token";
  case NAT_VOUCHER_SECRET: return "credentials";
  case NAT_VOUCHER_CALLBACK: return "callback";
  default: return "nobody";
  }
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
  return caller->open ? G_MAXINT64 : with_leeway (caller->token.expires_s);
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
    set_hashed (caller, NAT_SUBJECT_OF_TOKEN, token);
  else if (strlen (subject) > NAT_SUBJECT_MAX || g_str_has_prefix (subject, HASHED_SUBJECT) ||
           g_str_has_prefix (subject, NAT_SUBJECT_OF_TOKEN))
    set_hashed (caller, HASHED_SUBJECT, subject);
  else
    g_strlcpy (caller->subject, subject, sizeof caller->subject);
}

void
nat_caller_take_subject (NatCaller *caller, const char *subject)
{
  g_free (caller->token.subject);
  caller->token.subject = g_strdup (subject);
  if (nat_caller_is_named (caller))
    set_subject (caller, "");
}

/* ---- Checking ---------------------------------------------------------- */

/* What follows the name of the scheme; NULL: it is another. Its characters are checked with the token itself. */
static const char *
after_scheme (const char *authorization, const char *scheme)
{
  gsize len = strlen (scheme);

  if (g_ascii_strncasecmp (authorization, scheme, len) != 0 || authorization[len] != ' ')
    return NULL;
  authorization += len;
  return authorization + strspn (authorization, " ");
}

const char *
nat_auth_bearer (const char *authorization)
{
  return authorization != NULL ? after_scheme (authorization, "Bearer") : NULL;
}

/* Tokens tell by their form whose they are: no two kinds look the same. */
static gboolean
is_static (NatAuth *auth, const char *text)
{
  return auth->statics != NULL && g_str_has_prefix (text, NAT_STATIC_TOKEN_PREFIX);
}

static gboolean
is_credential (NatAuth *auth, const char *text)
{
  return auth->secrets != NULL && nat_rest_credential_is (text);
}

static gboolean
check_word (NatAuth *auth, const char *text, gint64 now_s, NatToken *t, GError **error)
{
  if (is_static (auth, text))
    return nat_static_tokens_check (auth->statics, text, now_s, t, error);
  if (is_credential (auth, text))
    return nat_rest_credential_check (
        text, (NatSignKey *const *)auth->secrets->pdata, &auth->grants, now_s, t, error);
  return nat_token_verify (t, text, auth->all, now_s, error);
}

static gboolean
check_basic (NatAuth *auth, const char *text, gint64 now_s, NatToken *t, GError **error)
{
  return nat_rest_credential_check (
      text, (NatSignKey *const *)auth->secrets->pdata, &auth->grants, now_s, t, error);
}

gboolean
nat_auth_lacks_key (NatAuth *auth, const char *authorization)
{
  const char *text = nat_auth_bearer (authorization);
  g_autofree char *header = NULL;
  g_autofree char *kid = NULL;

  if (text == NULL || !nat_token_inspect (text, &header, NULL, NULL))
    return FALSE;
  kid = nat_token_header_kid (header);
  return kid != NULL ? !nat_token_keys_know (auth->all, kid) : auth->incomplete;
}

static NatProblemKind
refuse (NatProblemKind kind, char **detail, const char *text)
{
  *detail = g_strdup (text);
  return kind;
}

/* RFC 6750 section 2.1: what else comes is no token, and makes no text that a web server could read. */
static gboolean
is_b68token (const char *text)
{
  gsize len = strspn (text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/");

  return len > 0 && text[len + strspn (text + len, "=")] == '\0';
}

/* The callback is asked about what we cannot judge. What our key signed we can, whatever is wrong with it, and what looks
 * like ours: it was withdrawn, or cut when it was copied. voucher: of the key, if one signed it. */
static gboolean
leave_to_callback (NatAuth *auth, const char *text, const NatVoucher *voucher, NatCaller *caller)
{
  if (!auth->callback_decides || nat_voucher_kind (voucher) != NAT_VOUCHER_NONE ||
      is_static (auth, text) || is_credential (auth, text) || strlen (text) > NAT_TOKEN_MAX ||
      !is_b68token (text))
    return FALSE;
  caller->unknown = TRUE;
  caller->token.expires_s = G_MAXINT64;
  caller->token.not_before_s = G_MININT64;
  nat_voucher_make (&caller->token.voucher, NAT_VOUCHER_CALLBACK, "", 0);
  set_subject (caller, text);
  return TRUE;
}

NatProblemKind
nat_auth_check (
    NatAuth *auth, const char *authorization, gint64 now_s, NatCaller *caller, char **detail)
{
  g_autoptr (GError) error = NULL;
  const char *text, *basic;
  NatVoucher voucher;

  memset (caller, 0, sizeof *caller);
  *detail = NULL;
  caller->open = auth->open;
  if (auth->open)
    return NAT_PROBLEM_NONE;
  if (authorization == NULL)
    return refuse (NAT_PROBLEM_TOKEN_MISSING, detail,
        "Send an access token as \"Authorization: Bearer TOKEN\" (elements: auth-token).");
  text = nat_auth_bearer (authorization);
  basic = auth->secrets != NULL ? after_scheme (authorization, "Basic") : NULL;
  if (text == NULL && basic == NULL)
    return refuse (NAT_PROBLEM_TOKEN_MISSING, detail,
        auth->secrets != NULL
            ? "The Authorization field must be \"Bearer TOKEN\", or \"Basic\" with credentials."
            : "The Authorization field must be \"Bearer TOKEN\"; other schemes are not "
              "understood.");
  if (text != NULL ? check_word (auth, text, now_s, &caller->token, &error)
                   : check_basic (auth, basic, now_s, &caller->token, &error)) {
    set_subject (caller, text != NULL ? text : basic);
    return NAT_PROBLEM_NONE;
  }
  voucher = caller->token.voucher;
  memset (&caller->token, 0, sizeof caller->token);
  if (text != NULL && leave_to_callback (auth, text, &voucher, caller))
    return NAT_PROBLEM_NONE;
  return refuse (g_error_matches (error, NAT_ERROR, NAT_ERROR_EXPIRED) ? NAT_PROBLEM_TOKEN_EXPIRED
                                                                       : NAT_PROBLEM_TOKEN_INVALID,
      detail, error->message);
}
