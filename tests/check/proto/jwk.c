/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The keys of RFC 7515 and RFC 8037 as JSON Web Keys, with the tokens that they signed; then keys that are
 * not to be used, and each way to make one key pass for another. */

#include "natproto/jwk.h"

#include <string.h>

#include "natproto/error.h"

#define NOW        1700000000
#define JOE_BEFORE 1300819379 /* the tokens of RFC 7515 run out a second later */

/* RFC 7515 appendix A.2.1 */
#define RSA_N                                                                                      \
  "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"                          \
  "4qPCJrcS2mJPMEzP1Pt0Bm4d4Ql"                                                                    \
  "L-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-"                           \
  "bSf63kpaSHSXndS5z5rexMdbBYUs"                                                                   \
  "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-"      \
  "DWNmoud"                                                                                        \
  "F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define RSA_JWK "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"}"
#define JOE_CLAIMS                                                                                 \
  "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define JOE_RS256                                                                                  \
  "eyJhbGciOiJSUzI1NiJ9." JOE_CLAIMS "."                                                           \
  "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"          \
  "O8W2Fp5jujG"                                                                                    \
  "bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"                                                 \
  "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"                                             \
  "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"                                                        \
  "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6"                                      \
  "LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
/* Appendix A.3 */
#define EC_X   "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y   "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define EC_JWK "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}"
#define JOE_ES256                                                                                  \
  "eyJhbGciOiJFUzI1NiJ9." JOE_CLAIMS                                                               \
  ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
/* Appendix A.1 */
#define OCT_K                                                                                      \
  "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
#define OCT_JWK "{\"kty\":\"oct\",\"k\":\"" OCT_K "\"}"
#define JOE_HS256                                                                                  \
  "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE_CLAIMS                                           \
  ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
/* RFC 8037 appendix A.2 and A.4: what is signed there is no set of claims. */
#define ED_X    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define OKP_JWK "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\"}"
#define ED25519_JWS                                                                                \
  "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."                                      \
  "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

#define SET(keys) "{\"keys\":[" keys "]}"

static NatTokenKeys *
read_set (const char *text, NatJwksPlace place, guint n, guint passed_over)
{
  NatTokenKeys *keys = nat_token_keys_new ();
  g_autoptr (GError) error = NULL;
  guint over = G_MAXUINT;

  nat_jwks_read (keys, text, -1, place, &over, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (nat_token_keys_n (keys), ==, n);
  g_assert_cmpuint (over, ==, passed_over);
  return keys;
}

static void
assert_no_set (const char *text, NatJwksPlace place, const char *says)
{
  g_autoptr (NatTokenKeys) keys = nat_token_keys_new ();
  g_autoptr (GError) error = NULL;

  if (nat_jwks_read (keys, text, -1, place, NULL, &error))
    g_error ("taken: %s", text);
  if (strstr (error->message, says) == NULL)
    g_error ("%s: %s", text, error->message);
  g_assert_cmpuint (nat_token_keys_n (keys), ==, 0);
}

static gboolean
verifies (NatTokenKeys *keys, const char *token)
{
  NatToken t;

  if (!nat_token_verify (&t, token, keys, JOE_BEFORE, NULL))
    return FALSE;
  nat_token_clear (&t);
  return TRUE;
}

static void
test_rfc (void)
{
  g_autoptr (NatTokenKeys) all =
      read_set (SET (RSA_JWK "," EC_JWK "," OCT_JWK "," OKP_JWK), NAT_JWKS_KEPT, 4, 0);
  g_autoptr (NatTokenKeys) rsa = read_set (SET (RSA_JWK), NAT_JWKS_PUBLISHED, 1, 0);
  g_autoptr (NatTokenKeys) okp = read_set (SET (OKP_JWK), NAT_JWKS_PUBLISHED, 1, 0);
  g_autofree char *changed = g_strdup (JOE_RS256);
  g_autoptr (GError) error = NULL;
  NatToken t;

  g_assert_true (verifies (all, JOE_RS256));
  g_assert_true (verifies (all, JOE_ES256));
  g_assert_true (verifies (all, JOE_HS256));
  g_assert_true (verifies (rsa, JOE_RS256));
  g_assert_false (verifies (rsa, JOE_ES256));
  g_assert_false (verifies (rsa, JOE_HS256));
  changed[strlen (changed) - 10] ^= 1;
  g_assert_false (verifies (rsa, changed));
  /* The signature fits, which the error tells. */
  g_assert_false (nat_token_verify (&t, ED25519_JWS, okp, NOW, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_MALFORMED);
}

/* RFC 7517 section 5: what is not understood is passed over, and the rest is used. */
static void
test_passed_over (void)
{
  static const char *const odd[] = {
      "{}",
      "7",
      "\"RSA\"",
      "{\"kty\":\"new\"}",
      "{\"kty\":7}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQ\"}",               /* 1: all is signed */
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AA\"}",               /* 0 */
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAA\"}",             /* even */
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQABAQABAQABAQAB\"}", /* longer than 64 bits */
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\"}",
      "{\"kty\":\"RSA\",\"n\":\"wWJcyQoTbji9k0l8W26mPddxHmfHQp\",\"e\":\"AQAB\"}", /* weak */
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":\"PS256\"}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":\"RS512\"}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":\"HS256\"}", /* the old trick */
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":\"none\"}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":7}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"use\":\"enc\"}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"key_ops\":[\"encrypt\"]}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"key_ops\":\"verify\"}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"kid\":7}",
      "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}",
      "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_X
      "\"}", /* not on the curve */
      "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\"}",
      "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"AQAB\"}",
      "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" ED_X "\"}",
      "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAB\"}",
      "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umjw\"}", /* short */
      "{\"kty\":\"oct\"}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (odd); i++) {
    g_autofree char *set = g_strdup_printf (SET ("%s," EC_JWK), odd[i]);
    g_autofree char *alone = g_strdup_printf (SET ("%s"), odd[i]);
    g_autoptr (NatTokenKeys) keys = NULL;

    g_test_message ("key %u", i);
    keys = read_set (set, NAT_JWKS_KEPT, 1, 1);
    g_assert_true (verifies (keys, JOE_ES256));
    assert_no_set (alone, NAT_JWKS_KEPT, "None of the 1 keys");
  }
}

static void
test_said_to_be (void)
{
  static const char *const good[] = {
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\",\"alg\":\"RS256\",\"use\":\"sig\"}",
      "{\"kty\":\"RSA\",\"n\":\"" RSA_N
      "\",\"e\":\"AQAB\",\"key_ops\":[\"sign\",\"verify\"],\"x5t\":\"?\"}",
      "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\",\"alg\":\"ES256\"}",
      "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"alg\":\"EdDSA\"}",
      "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"alg\":\"Ed25519\"}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autofree char *set = g_strdup_printf (SET ("%s"), good[i]);
    g_autoptr (NatTokenKeys) keys = read_set (set, NAT_JWKS_PUBLISHED, 1, 0);

    g_assert_nonnull (keys);
  }
}

/* What anybody can read is no secret, and who gave out his private key has lost it. */
static void
test_published (void)
{
  static const char private[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y
                                "\",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}";
  g_autofree char *set = g_strdup_printf (SET ("%s"), private);
  g_autoptr (NatTokenKeys) kept = read_set (set, NAT_JWKS_KEPT, 1, 0);
  g_autoptr (NatTokenKeys) rest = NULL;

  g_assert_true (verifies (kept, JOE_ES256));
  assert_no_set (set, NAT_JWKS_PUBLISHED, "anybody could have read it");
  assert_no_set (SET (OCT_JWK), NAT_JWKS_PUBLISHED, "anybody could have read it");
  rest = read_set (SET (OCT_JWK "," RSA_JWK), NAT_JWKS_PUBLISHED, 1, 1);
  g_assert_true (verifies (rest, JOE_RS256));
  g_assert_false (verifies (rest, JOE_HS256));
}

/* HS256 with what everybody knows of a public key, in every form that somebody could have taken for the secret. */
static void
test_confusion (void)
{
  static const char *const known[] = {RSA_JWK, EC_JWK, OKP_JWK, RSA_N, EC_X, ED_X};
  g_autoptr (NatTokenKeys) keys =
      read_set (SET (RSA_JWK "," EC_JWK "," OKP_JWK), NAT_JWKS_PUBLISHED, 3, 0);
  NatToken t = {.expires_s = G_MAXINT64, .not_before_s = G_MININT64, .admin = TRUE};

  for (guint i = 0; i < G_N_ELEMENTS (known); i++) {
    g_autoptr (NatSignKey) forger = nat_sign_key_new_hmac (known[i], strlen (known[i]), NULL);
    g_autofree char *text = nat_token_sign (&t, NULL, forger, NULL);
    g_autofree guint8 *bytes = g_malloc (512);
    gssize n = nat_base64url_decode (known[i], strlen (known[i]), bytes, 512);

    g_assert_false (verifies (keys, text));
    if (n >= 32) {
      g_autoptr (NatSignKey) raw = nat_sign_key_new_hmac (bytes, (gsize)n, NULL);
      g_autofree char *other = nat_token_sign (&t, NULL, raw, NULL);

      g_assert_false (verifies (keys, other));
    }
  }
  /* The other way round: signatures of one algorithm under the name of another. */
  g_assert_false (verifies (keys, "eyJhbGciOiJub25lIn0." JOE_CLAIMS "."));
  g_assert_false (verifies (keys, "eyJhbGciOiJSUzI1NiJ9." JOE_CLAIMS "."));
  g_assert_false (verifies (keys, "eyJhbGciOiJSUzI1NiJ9." JOE_CLAIMS ".AAAA"));
}

static void
test_kid (void)
{
  g_autoptr (NatTokenKeys) keys =
      read_set (SET ("{\"kty\":\"RSA\",\"kid\":\"a\",\"n\":\"" RSA_N "\",\"e\":\"AQAB\"},"
                     "{\"kty\":\"EC\",\"kid\":\"b\",\"crv\":\"P-256\",\"x\":\"" EC_X
                     "\",\"y\":\"" EC_Y "\"}"),
          NAT_JWKS_PUBLISHED, 2, 0);

  g_assert_true (nat_token_keys_know (keys, "a"));
  g_assert_true (nat_token_keys_know (keys, "b"));
  g_assert_false (nat_token_keys_know (keys, "c"));
  g_assert_true (verifies (keys, JOE_RS256));
}

static void
test_no_set (void)
{
  g_autoptr (GString) many = g_string_new ("{\"keys\":[7");

  assert_no_set ("", NAT_JWKS_KEPT, "The key set");
  assert_no_set ("[]", NAT_JWKS_KEPT, "The key set");
  assert_no_set ("<html>", NAT_JWKS_KEPT, "The key set");
  assert_no_set ("{}", NAT_JWKS_KEPT, "keys");
  assert_no_set ("{\"keys\":{}}", NAT_JWKS_KEPT, "keys");
  assert_no_set (RSA_JWK, NAT_JWKS_KEPT, "keys");
  assert_no_set (SET (""), NAT_JWKS_KEPT, "None of the 0 keys");
  for (guint i = 0; i < NAT_JWKS_KEYS_MAX; i++)
    g_string_append (many, ",7");
  g_string_append (many, "]}");
  assert_no_set (many->str, NAT_JWKS_KEPT, "keys");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/jwk/rfc", test_rfc);
  g_test_add_func ("/jwk/passed_over", test_passed_over);
  g_test_add_func ("/jwk/said_to_be", test_said_to_be);
  g_test_add_func ("/jwk/published", test_published);
  g_test_add_func ("/jwk/confusion", test_confusion);
  g_test_add_func ("/jwk/kid", test_kid);
  g_test_add_func ("/jwk/no_set", test_no_set);
  return g_test_run ();
}
