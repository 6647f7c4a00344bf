/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/jwk.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/json.h"

#define NUMBER_MAX                                                                                 \
  513                /* bytes: RSA's modulus of 4096 bits, and a zero that does not belong there */
#define TEXT_MAX 255 /* bytes of kid, alg... */

/* FALSE: absent, no text, or no base64url of at most cap bytes. */
static gboolean
get_bytes (JsonObject *jwk, const char *member, guint8 *out, gsize cap, gsize *len)
{
  const char *text = NULL;
  gssize n;

  if (!nat_json_get_string (
          jwk, member, NAT_JSON_REQUIRED, NAT_BASE64URL_LEN (NUMBER_MAX), &text, NULL))
    return FALSE;
  n = nat_base64url_decode (text, strlen (text), out, cap);
  *len = (gsize)MAX (n, 0);
  return n > 0;
}

/* RFC 7518 section 6.2.1.2: of full length, zeros in front included. */
static gboolean
get_coordinate (JsonObject *jwk, const char *member, guint8 out[32])
{
  gsize len;

  return get_bytes (jwk, member, out, 32, &len) && len == 32;
}

static gboolean
text_is (JsonObject *jwk, const char *member, const char *wanted)
{
  const char *text = NULL;

  return nat_json_get_string (jwk, member, NAT_JSON_REQUIRED, TEXT_MAX, &text, NULL) &&
         strcmp (text, wanted) == 0;
}

/* ---- The types --------------------------------------------------------- */

static NatSignKey *
read_rsa (JsonObject *jwk)
{
  guint8 n[NUMBER_MAX], e[NUMBER_MAX];
  gsize n_len, e_len;

  if (!get_bytes (jwk, "n", n, sizeof n, &n_len) || !get_bytes (jwk, "e", e, sizeof e, &e_len))
    return NULL;
  return nat_sign_key_new_rsa (n, n_len, e, e_len, NULL);
}

static NatSignKey *
read_ec (JsonObject *jwk)
{
  guint8 x[32], y[32];

  if (!text_is (jwk, "crv", "P-256") || !get_coordinate (jwk, "x", x) ||
      !get_coordinate (jwk, "y", y))
    return NULL;
  return nat_sign_key_new_p256 (x, y, NULL);
}

static NatSignKey *
read_okp (JsonObject *jwk)
{
  guint8 x[32];

  if (!text_is (jwk, "crv", "Ed25519") || !get_coordinate (jwk, "x", x))
    return NULL;
  return nat_sign_key_new_ed25519 (x, NULL);
}

static NatSignKey *
read_oct (JsonObject *jwk)
{
  guint8 secret[NUMBER_MAX];
  NatSignKey *key = NULL;
  gsize len;

  if (get_bytes (jwk, "k", secret, sizeof secret, &len))
    key = nat_sign_key_new_hmac (secret, len, NULL);
  nat_crypto_wipe (secret, sizeof secret);
  nat_json_wipe_string (jwk, "k");
  return key;
}

static const struct {
  const char *kty;
  const char *alg[2];  /* what it may say of itself; the second name of EdDSA is RFC 9864's */
  const char *private; /* the member that only its owner may know */
  NatSignKey *(*read) (JsonObject *jwk);
} types[] = {
    {"RSA", {"RS256", NULL}, "d", read_rsa},
    {"EC", {"ES256", NULL}, "d", read_ec},
    {"OKP", {"EdDSA", "Ed25519"}, "d", read_okp},
    {"oct", {"HS256", NULL}, "k", read_oct},
};

/* ---- One key ----------------------------------------------------------- */

/* RFC 7517 sections 4.2 and 4.3: it may say that it is for something else. */
static gboolean
is_for_signatures (JsonObject *jwk)
{
  JsonNode *ops = json_object_get_member (jwk, "key_ops");
  JsonArray *array;

  if (json_object_has_member (jwk, "use") && !text_is (jwk, "use", "sig"))
    return FALSE;
  if (ops == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_ARRAY (ops))
    return FALSE;
  array = json_node_get_array (ops);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *op = json_array_get_element (array, i);

    if (JSON_NODE_HOLDS_VALUE (op) && json_node_get_value_type (op) == G_TYPE_STRING &&
        strcmp (json_node_get_string (op), "verify") == 0)
      return TRUE;
  }
  return FALSE;
}

/* NULL: not one of ours. */
static NatSignKey *
read_key (JsonObject *jwk, NatJwksPlace place)
{
  for (guint i = 0; i < G_N_ELEMENTS (types); i++) {
    if (!text_is (jwk, "kty", types[i].kty))
      continue;
    if (json_object_has_member (jwk, "alg") && !text_is (jwk, "alg", types[i].alg[0]) &&
        (types[i].alg[1] == NULL || !text_is (jwk, "alg", types[i].alg[1])))
      return NULL;
    if (place == NAT_JWKS_PUBLISHED && json_object_has_member (jwk, types[i].private))
      return NULL;
    return is_for_signatures (jwk) ? types[i].read (jwk) : NULL;
  }
  return NULL;
}

static gboolean
add_key (NatTokenKeys *keys, JsonNode *node, NatJwksPlace place)
{
  g_autoptr (NatSignKey) key = NULL;
  const char *kid = NULL;
  JsonObject *jwk;

  if (!JSON_NODE_HOLDS_OBJECT (node))
    return FALSE;
  jwk = json_node_get_object (node);
  if (!nat_json_get_string (jwk, "kid", NAT_JSON_OPTIONAL, TEXT_MAX, &kid, NULL))
    return FALSE;
  key = read_key (jwk, place);
  if (key == NULL)
    return FALSE;
  nat_token_keys_add (keys, kid, key);
  return TRUE;
}

/* ---- The set ----------------------------------------------------------- */

gboolean
nat_jwks_read (NatTokenKeys *keys, const char *text, gssize len, NatJwksPlace place,
    guint *passed_over, GError **error)
{
  g_autoptr (JsonObject) set = nat_json_parse (text, len, NAT_JWKS_MAX, "The key set", error);
  JsonArray *array = NULL;
  guint n, used = 0;

  if (set == NULL ||
      !nat_json_get_array (set, "keys", NAT_JSON_REQUIRED, NAT_JWKS_KEYS_MAX, &array, error))
    return FALSE;
  n = json_array_get_length (array);
  for (guint i = 0; i < n; i++)
    used += add_key (keys, json_array_get_element (array, i), place);
  if (passed_over != NULL)
    *passed_over = n - used;
  if (used > 0)
    return TRUE;
  return nat_error_set (error, NAT_ERROR_MALFORMED,
      "None of the %u keys in the key set can be used: they must be for signatures, RSA of 2048 "
      "bits or more (RS256), "
      "EC on P-256 (ES256) or Ed25519 (EdDSA)%s",
      n,
      place == NAT_JWKS_KEPT ? ", or oct of 32 bytes or more (HS256)"
                             : ", and without a private part, for anybody could have read it");
}
