/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/token.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/json.h"
#include "natproto/streamname.h"

#define SIGNATURE_MAX 512 /* RS256 with 4096 bits */
#define GLOBS_MAX     64
#define TEXT_MAX      255 /* bytes of sub, jti and kid */

void
nat_token_clear (NatToken *t)
{
  g_free (t->subject);
  g_free (t->id);
  g_strfreev (t->publish);
  g_strfreev (t->subscribe);
  memset (t, 0, sizeof *t);
}

void
nat_token_copy (NatToken *to, const NatToken *from)
{
  *to = *from;
  to->subject = g_strdup (from->subject);
  to->id = g_strdup (from->id);
  to->publish = g_strdupv (from->publish);
  to->subscribe = g_strdupv (from->subscribe);
}

static gboolean
any_covers (char **globs, const char *stream)
{
  for (; globs != NULL && *globs != NULL; globs++) {
    if (nat_stream_glob_covers (*globs, stream))
      return TRUE;
  }
  return FALSE;
}

gboolean
nat_token_may_publish (const NatToken *t, const char *stream)
{
  return nat_stream_name_valid (stream) && any_covers (t->publish, stream);
}

gboolean
nat_token_may_subscribe (const NatToken *t, const char *stream)
{
  return any_covers (t->subscribe, stream);
}

/* ---- Keys -------------------------------------------------------------- */

typedef struct {
  char *kid; /* NULL: has none */
  NatSignKey *key;
  NatVoucher voucher;
} Entry;

struct _NatTokenKeys {
  GArray *entries;
};

static void
entry_clear (gpointer data)
{
  Entry *entry = data;

  g_free (entry->kid);
  nat_sign_key_unref (entry->key);
}

NatTokenKeys *
nat_token_keys_new (void)
{
  NatTokenKeys *keys = g_new0 (NatTokenKeys, 1);

  keys->entries = g_array_new (FALSE, FALSE, sizeof (Entry));
  g_array_set_clear_func (keys->entries, entry_clear);
  return keys;
}

gboolean
nat_token_keys_vouch (NatTokenKeys *keys, const NatVoucher *voucher)
{
  for (guint i = 0; i < keys->entries->len; i++) {
    if (nat_voucher_same_key (&g_array_index (keys->entries, Entry, i).voucher, voucher))
      return TRUE;
  }
  return FALSE;
}

void
nat_token_keys_set_issuer (NatTokenKeys *keys, const char *url)
{
  for (guint i = 0; i < keys->entries->len; i++)
    nat_voucher_set_issuer (&g_array_index (keys->entries, Entry, i).voucher, url);
}

gboolean
nat_token_keys_has_issuer (NatTokenKeys *keys, const NatVoucher *voucher)
{
  for (guint i = 0; i < keys->entries->len; i++) {
    if (nat_voucher_same_issuer (&g_array_index (keys->entries, Entry, i).voucher, voucher))
      return TRUE;
  }
  return FALSE;
}

gboolean
nat_token_keys_know (NatTokenKeys *keys, const char *kid)
{
  for (guint i = 0; i < keys->entries->len; i++) {
    if (g_strcmp0 (g_array_index (keys->entries, Entry, i).kid, kid) == 0)
      return TRUE;
  }
  return FALSE;
}

guint
nat_token_keys_n (NatTokenKeys *keys)
{
  return keys->entries->len;
}

void
nat_token_keys_add (NatTokenKeys *keys, const char *kid, NatSignKey *key)
{
  Entry entry = {g_strdup (kid), nat_sign_key_ref (key)};
  guint8 fingerprint[NAT_SHA256_SIZE];

  nat_sign_key_fingerprint (key, fingerprint);
  nat_voucher_make (&entry.voucher, NAT_VOUCHER_KEY, fingerprint, sizeof fingerprint);
  g_array_append_val (keys->entries, entry);
}

void
nat_token_keys_add_all (NatTokenKeys *keys, NatTokenKeys *more)
{
  for (guint i = 0; i < more->entries->len; i++) {
    Entry entry = g_array_index (more->entries, Entry, i);

    entry.kid = g_strdup (entry.kid);
    nat_sign_key_ref (entry.key);
    g_array_append_val (keys->entries, entry);
  }
}

void
nat_token_keys_free (NatTokenKeys *keys)
{
  if (keys == NULL)
    return;
  g_array_unref (keys->entries);
  g_free (keys);
}

/* RFC 7518 section 3.1, RFC 8037 section 3.1 */
static const char *
algorithm_name (NatSignAlgorithm algorithm)
{
  switch (algorithm) {
  case NAT_SIGN_HS256: return "HS256";
  case NAT_SIGN_ES256: return "ES256";
  case NAT_SIGN_EDDSA: return "EdDSA";
  case NAT_SIGN_RS256: return "RS256";
  }
  g_return_val_if_reached ("");
}

/* ---- Signing ----------------------------------------------------------- */

static gboolean
globs_valid (char **globs, const char *member, int code, GError **error)
{
  for (guint i = 0; globs != NULL && globs[i] != NULL; i++) {
    if (i >= GLOBS_MAX || !nat_stream_glob_valid (globs[i])) {
      g_set_error (error, NAT_ERROR, code,
          "\"%s\" of the token must hold at most %d patterns, each a stream name in which * stands "
          "for one segment and a last ** for any number",
          member, GLOBS_MAX);
      return FALSE;
    }
  }
  return TRUE;
}

static void
add_text (JsonBuilder *b, const char *member, const char *value)
{
  if (value != NULL)
    nat_json_add_string (b, member, value);
}

static void
add_flag (JsonBuilder *b, const char *member, gboolean value)
{
  if (!value)
    return;
  json_builder_set_member_name (b, member);
  json_builder_add_boolean_value (b, TRUE);
}

static void
add_globs (JsonBuilder *b, const char *member, char **globs)
{
  if (globs == NULL)
    return;
  json_builder_set_member_name (b, member);
  json_builder_begin_array (b);
  for (; *globs != NULL; globs++)
    json_builder_add_string_value (b, *globs);
  json_builder_end_array (b);
}

static char *
header_to_json (const char *kid, NatSignKey *key)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  add_text (b, "alg", algorithm_name (nat_sign_key_algorithm (key)));
  add_text (b, "typ", "JWT");
  add_text (b, "kid", kid);
  json_builder_end_object (b);
  return nat_json_builder_to_text (b);
}

char *
nat_token_to_claims (const NatToken *t)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  add_text (b, "sub", t->subject);
  add_text (b, "jti", t->id);
  if (t->not_before_s != G_MININT64)
    nat_json_add_integer (b, "nbf", t->not_before_s);
  if (t->expires_s != G_MAXINT64)
    nat_json_add_integer (b, "exp", t->expires_s);
  add_globs (b, "publish", t->publish);
  add_globs (b, "subscribe", t->subscribe);
  add_flag (b, "list", t->list);
  add_flag (b, "admin", t->admin);
  add_flag (b, "takeover", t->takeover);
  if (t->max_kbps > 0)
    nat_json_add_integer (b, "max-kbps", t->max_kbps);
  if (t->max_packets > 0)
    nat_json_add_integer (b, "max-packets", t->max_packets);
  json_builder_end_object (b);
  return nat_json_builder_to_text (b);
}

static void
append_base64url (GString *out, gconstpointer data, gsize len)
{
  gsize at = out->len;

  g_string_set_size (out, at + NAT_BASE64URL_LEN (len));
  g_string_truncate (out, at + nat_base64url_encode (data, len, out->str + at));
}

static gboolean
text_fits (const char *text)
{
  return text == NULL || (strlen (text) <= TEXT_MAX && g_utf8_validate (text, -1, NULL));
}

static gboolean
check_signable (const NatToken *t, const char *kid, GError **error)
{
  if (!text_fits (t->subject) || !text_fits (t->id) || !text_fits (kid)) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "Subject, id and key id of a token must be UTF-8 of at most %d bytes", TEXT_MAX);
    return FALSE;
  }
  return globs_valid (t->publish, "publish", NAT_ERROR_ARGUMENT, error) &&
         globs_valid (t->subscribe, "subscribe", NAT_ERROR_ARGUMENT, error);
}

char *
nat_token_sign (const NatToken *t, const char *kid, NatSignKey *key, GError **error)
{
  g_autofree char *header = NULL, *claims = NULL;
  g_autoptr (GString) text = g_string_new (NULL);
  guint8 signature[SIGNATURE_MAX];
  gsize signature_len;

  if (!check_signable (t, kid, error))
    return NULL;
  header = header_to_json (kid, key);
  claims = nat_token_to_claims (t);
  append_base64url (text, header, strlen (header));
  g_string_append_c (text, '.');
  append_base64url (text, claims, strlen (claims));
  if (!nat_sign_key_sign (key, text->str, text->len, signature, &signature_len, error))
    return NULL;
  g_string_append_c (text, '.');
  append_base64url (text, signature, signature_len);
  if (text->len > NAT_TOKEN_MAX) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "The token would be longer than %d bytes; give it fewer or shorter patterns",
        NAT_TOKEN_MAX);
    return NULL;
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* ---- Reading ----------------------------------------------------------- */

typedef struct {
  const char *text;
  gsize signed_len; /* header, dot and claims */
  char *header, *claims;
  guint8 signature[SIGNATURE_MAX];
  gssize signature_len; /* -1: not one of ours */
} Parts;

static void
parts_clear (Parts *p)
{
  g_free (p->header);
  g_free (p->claims);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Parts, parts_clear)

/* Decoded and with a zero behind; NULL if it is not base64url, or hides a zero byte. */
static char *
decode_part (const char *text, gsize len)
{
  g_autofree char *out = g_malloc (len + 1);
  gssize n = nat_base64url_decode (text, len, (guint8 *)out, len);

  if (n < 0 || memchr (out, '\0', n) != NULL)
    return NULL;
  out[n] = '\0';
  return g_steal_pointer (&out);
}

static gboolean
split (Parts *p, const char *text, GError **error)
{
  gsize len = strnlen (text, NAT_TOKEN_MAX + 1);
  const char *first = memchr (text, '.', len), *second = NULL;

  p->text = text;
  if (len > NAT_TOKEN_MAX) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "The access token is longer than the %d bytes allowed", NAT_TOKEN_MAX);
    return FALSE;
  }
  if (first != NULL)
    second = memchr (first + 1, '.', len - (gsize)(first + 1 - text));
  if (second != NULL) {
    p->signed_len = second - text;
    p->header = decode_part (text, first - text);
    p->claims = decode_part (first + 1, second - first - 1);
    p->signature_len = nat_base64url_decode (
        second + 1, len - p->signed_len - 1, p->signature, sizeof p->signature);
  }
  if (p->header == NULL || p->claims == NULL) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "The access token is not a JSON Web Token (three parts of base64url with dots between); "
        "was it cut when it was copied?");
    return FALSE;
  }
  return TRUE;
}

static gboolean
read_header (
    const char *json, const char **alg, const char **kid, JsonObject **object, GError **error)
{
  *object = nat_json_parse (json, -1, NAT_TOKEN_MAX, "The access token's header", error);
  if (*object == NULL ||
      !nat_json_get_string (*object, "alg", NAT_JSON_REQUIRED, TEXT_MAX, alg, error) ||
      !nat_json_get_string (*object, "kid", NAT_JSON_OPTIONAL, TEXT_MAX, kid, error))
    return FALSE;
  /* RFC 7515 section 4.1.11: extensions that we do not know must not be passed over. */
  if (json_object_has_member (*object, "crit")) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "The access token demands extensions (\"crit\") that are not known here");
    return FALSE;
  }
  return TRUE;
}

char *
nat_token_header_kid (const char *header_json)
{
  g_autoptr (JsonObject) header = NULL;
  const char *alg, *kid = NULL;

  return read_header (header_json, &alg, &kid, &header, NULL) ? g_strdup (kid) : NULL;
}

typedef enum {
  NO_SUCH_KID,
  OTHER_ALGORITHM,
  BAD_SIGNATURE,
  VERIFIED,
} Verdict;

/* VERIFIED: *voucher is the key that fits. */
static Verdict
try_keys (const Parts *p, NatTokenKeys *keys, const char *alg, const char *kid, NatVoucher *voucher)
{
  Verdict best = NO_SUCH_KID;

  for (guint i = 0; i < keys->entries->len; i++) {
    const Entry *entry = &g_array_index (keys->entries, Entry, i);
    Verdict verdict = BAD_SIGNATURE;

    if (kid != NULL && g_strcmp0 (kid, entry->kid) != 0)
      continue;
    if (strcmp (alg, algorithm_name (nat_sign_key_algorithm (entry->key))) != 0)
      verdict = OTHER_ALGORITHM;
    else if (p->signature_len >= 0 && nat_sign_key_verify (entry->key, p->text, p->signed_len,
                                          p->signature, p->signature_len)) {
      *voucher = entry->voucher;
      return VERIFIED;
    }
    best = MAX (best, verdict);
  }
  return best;
}

static gboolean
check_signature (const Parts *p, NatTokenKeys *keys, NatVoucher *voucher, GError **error)
{
  g_autoptr (JsonObject) header = NULL;
  const char *alg, *kid = NULL, *why;

  if (!read_header (p->header, &alg, &kid, &header, error))
    return FALSE;
  switch (try_keys (p, keys, alg, kid, voucher)) {
  case VERIFIED: return TRUE;
  case BAD_SIGNATURE:
    why = "its signature does not fit; it was changed, or another key made it";
    break;
  case OTHER_ALGORITHM: why = "it says another algorithm than the key is for"; break;
  default: why = "the key that it names is not known here"; break;
  }
  g_set_error (error, NAT_ERROR, NAT_ERROR_AUTHENTICATION, "The access token is refused: %s", why);
  return FALSE;
}

/* A NumericDate may have a fraction (RFC 7519 section 2). */
static gboolean
read_date (JsonObject *object, const char *member, gint64 *out, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);
  gdouble value;

  if (node == NULL)
    return TRUE;
  if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_DOUBLE) {
    value = json_node_get_double (node);
    if (value > -(gdouble)NAT_JSON_INTEGER_MAX && value < (gdouble)NAT_JSON_INTEGER_MAX) {
      *out = (gint64)value;
      return TRUE;
    }
  }
  return nat_json_get_integer (
      object, member, NAT_JSON_REQUIRED, -NAT_JSON_INTEGER_MAX, NAT_JSON_INTEGER_MAX, out, error);
}

static gboolean
read_globs (JsonObject *object, const char *member, char ***out, GError **error)
{
  g_autoptr (GPtrArray) globs = NULL;
  JsonArray *array = NULL;

  if (!nat_json_get_array (object, member, NAT_JSON_OPTIONAL, GLOBS_MAX, &array, error))
    return FALSE;
  if (array == NULL)
    return TRUE;
  globs = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);
    const char *glob = "";

    if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING)
      glob = json_node_get_string (node);
    g_ptr_array_add (globs, g_strdup (glob));
  }
  g_ptr_array_add (globs, NULL);
  *out = (char **)g_ptr_array_free (g_steal_pointer (&globs), FALSE);
  return globs_valid (*out, member, NAT_ERROR_MALFORMED, error);
}

static gboolean
is_our_audience (JsonNode *node)
{
  return JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING &&
         strcmp (json_node_get_string (node), NAT_TOKEN_AUDIENCE) == 0;
}

/* RFC 7519 section 4.1.3: what was made for others is refused, though the same key signed it. */
static gboolean
check_audience (JsonObject *object, GError **error)
{
  JsonNode *node = json_object_get_member (object, "aud");

  if (node == NULL || is_our_audience (node))
    return TRUE;
  if (JSON_NODE_HOLDS_ARRAY (node)) {
    JsonArray *array = json_node_get_array (node);

    for (guint i = 0; i < json_array_get_length (array); i++) {
      if (is_our_audience (json_array_get_element (array, i)))
        return TRUE;
    }
  }
  g_set_error_literal (error, NAT_ERROR, NAT_ERROR_AUTHENTICATION,
      "The access token is made for something else (\"aud\"); a relay takes tokens for "
      "\"" NAT_TOKEN_AUDIENCE "\" or without an audience");
  return FALSE;
}

static gboolean
read_claims (NatToken *t, JsonObject *object, GError **error)
{
  const char *subject = NULL, *id = NULL;
  gint64 max_kbps = 0, max_packets = 0;

  if (!nat_json_get_string (object, "sub", NAT_JSON_OPTIONAL, TEXT_MAX, &subject, error) ||
      !nat_json_get_string (object, "jti", NAT_JSON_OPTIONAL, TEXT_MAX, &id, error) ||
      !read_date (object, "exp", &t->expires_s, error) ||
      !read_date (object, "nbf", &t->not_before_s, error) ||
      !read_globs (object, "publish", &t->publish, error) ||
      !read_globs (object, "subscribe", &t->subscribe, error) ||
      !nat_json_get_boolean (object, "list", NAT_JSON_OPTIONAL, &t->list, error) ||
      !nat_json_get_boolean (object, "admin", NAT_JSON_OPTIONAL, &t->admin, error) ||
      !nat_json_get_boolean (object, "takeover", NAT_JSON_OPTIONAL, &t->takeover, error) ||
      !nat_json_get_integer (
          object, "max-kbps", NAT_JSON_OPTIONAL, 0, G_MAXUINT32, &max_kbps, error) ||
      !nat_json_get_integer (
          object, "max-packets", NAT_JSON_OPTIONAL, 0, G_MAXUINT32, &max_packets, error))
    return FALSE;
  t->subject = g_strdup (subject);
  t->id = g_strdup (id);
  t->max_kbps = max_kbps;
  t->max_packets = max_packets;
  return TRUE;
}

gboolean
nat_token_in_force (const NatToken *t, gint64 now_s, GError **error)
{
  if (t->expires_s != G_MAXINT64 && now_s >= t->expires_s + NAT_TOKEN_LEEWAY_S) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_EXPIRED,
        "The access token has expired; ask whoever runs the relay for a new one");
    return FALSE;
  }
  if (t->not_before_s != G_MININT64 && now_s < t->not_before_s - NAT_TOKEN_LEEWAY_S) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_EXPIRED,
        "The access token is not good yet; do the clocks of this machine and of the token's maker "
        "agree?");
    return FALSE;
  }
  return TRUE;
}

static void
set_boundless (NatToken *t)
{
  memset (t, 0, sizeof *t);
  t->expires_s = G_MAXINT64;
  t->not_before_s = G_MININT64;
}

gboolean
nat_token_from_claims (NatToken *t, const char *json, GError **error)
{
  g_autoptr (JsonObject) claims = NULL;

  set_boundless (t);
  claims = nat_json_parse (json, -1, NAT_TOKEN_MAX, "The claims", error);
  if (claims != NULL && read_claims (t, claims, error))
    return TRUE;
  nat_token_clear (t);
  return FALSE;
}

gboolean
nat_token_verify (NatToken *t, const char *text, NatTokenKeys *keys, gint64 now_s, GError **error)
{
  g_autoptr (JsonObject) claims = NULL;
  g_auto (Parts) p = {0};
  NatVoucher voucher;
  gboolean ok;

  set_boundless (t);
  if (!split (&p, text, error) || !check_signature (&p, keys, &voucher, error))
    return FALSE;
  claims = nat_json_parse (p.claims, -1, NAT_TOKEN_MAX, "The access token's content", error);
  ok = claims != NULL && check_audience (claims, error) && read_claims (t, claims, error) &&
       nat_token_in_force (t, now_s, error);
  if (!ok)
    nat_token_clear (t);
  t->voucher = voucher;
  return ok;
}

gboolean
nat_token_inspect (const char *text, char **header_json, char **claims_json, GError **error)
{
  g_autoptr (JsonObject) header = NULL, claims = NULL;
  g_auto (Parts) p = {0};

  if (!split (&p, text, error))
    return FALSE;
  header = nat_json_parse (p.header, -1, NAT_TOKEN_MAX, "The access token's header", error);
  if (header == NULL)
    return FALSE;
  claims = nat_json_parse (p.claims, -1, NAT_TOKEN_MAX, "The access token's content", error);
  if (claims == NULL)
    return FALSE;
  if (header_json != NULL)
    *header_json = g_steal_pointer (&p.header);
  if (claims_json != NULL)
    *claims_json = g_steal_pointer (&p.claims);
  return TRUE;
}
