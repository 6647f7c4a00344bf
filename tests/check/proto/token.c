/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The tokens of RFC 7515 and RFC 8037 first, then ours there and back, then every trick that JWT
 * is known for: no error may quote what it refuses. */

#include "natproto/token.h"

#include <string.h>

#include "natproto/error.h"
#include "vectors.h"

#define NOW 1700000000

/* RFC 7515 appendix A.1 and A.3: claims {"iss":"joe","exp":1300819380,...}. */
#define JOE_EXPIRES 1300819380
#define JOE_CLAIMS                                                                                 \
  "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define JOE_HS256                                                                                  \
  "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE_CLAIMS                                           \
  ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define JOE_ES256                                                                                  \
  "eyJhbGciOiJFUzI1NiJ9." JOE_CLAIMS                                                               \
  ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define HS256_SECRET                                                                               \
  "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
#define ES256_PEM                                                                                  \
  "-----BEGIN PUBLIC KEY-----\n"                                                                   \
  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"                             \
  "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"                                 \
  "-----END PUBLIC KEY-----\n"

/* RFC 8037 appendix A.4: the payload is plain text, not claims. */
#define ED25519_JWS                                                                                \
  "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."                                      \
  "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
#define ED25519_PEM                                                                                \
  "-----BEGIN PUBLIC KEY-----\n"                                                                   \
  "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"                                 \
  "-----END PUBLIC KEY-----\n"

static NatSignKey *
rfc_hs256_key (void)
{
  guint8 secret[64];

  g_assert_cmpint (nat_base64url_decode (HS256_SECRET, 86, secret, 64), ==, 64);
  return nat_sign_key_new_hmac (secret, 64, NULL);
}

/* Takes the key over. */
static NatTokenKeys *
keys_with (const char *kid, NatSignKey *key)
{
  NatTokenKeys *keys = nat_token_keys_new ();

  g_assert_nonnull (key);
  nat_token_keys_add (keys, kid, key);
  nat_sign_key_unref (key);
  return keys;
}

/* No part of the token may stand in the error's text. */
static void
assert_not_quoted (const char *message, const char *token)
{
  g_auto (GStrv) parts = g_strsplit (token, ".", -1);

  for (guint i = 0; parts[i] != NULL; i++) {
    if (strlen (parts[i]) > 8)
      g_assert_null (strstr (message, parts[i]));
  }
}

#define assert_refused(token, keys, now, code, says)                                               \
  assert_refused_at (G_STRLOC, token, keys, now, code, says)

static void
assert_refused_at (const char *where, const char *token, NatTokenKeys *keys, gint64 now, int code,
    const char *says)
{
  g_autoptr (GError) error = NULL;
  NatToken t;

  if (nat_token_verify (&t, token, keys, now, &error))
    g_error ("%s: taken: %s", where, token);
  if (!g_error_matches (error, NAT_ERROR, code) || strstr (error->message, says) == NULL)
    g_error ("%s: code %d: %s", where, error->code, error->message);
  assert_not_quoted (error->message, token);
  g_assert_null (t.subject);
  g_assert_null (t.publish);
}

static void
test_rfc7515 (void)
{
  g_autoptr (NatTokenKeys) hs256 = keys_with (NULL, rfc_hs256_key ());
  g_autoptr (NatTokenKeys) es256 = keys_with ("e", nat_sign_key_new_pem (ES256_PEM, NULL));
  NatToken t;

  g_assert_true (nat_token_verify (&t, JOE_HS256, hs256, JOE_EXPIRES - 1, NULL));
  g_assert_cmpint (t.expires_s, ==, JOE_EXPIRES);
  g_assert_null (t.subject);
  g_assert_false (nat_token_may_publish (&t, "door"));
  nat_token_clear (&t);
  g_assert_true (nat_token_verify (&t, JOE_ES256, es256, JOE_EXPIRES - 1, NULL));
  nat_token_clear (&t);
  assert_refused (JOE_ES256, hs256, 0, NAT_ERROR_AUTHENTICATION, "another algorithm");
  assert_refused (JOE_HS256, es256, 0, NAT_ERROR_AUTHENTICATION, "another algorithm");
}

static void
test_rfc8037 (void)
{
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, nat_sign_key_new_pem (ED25519_PEM, NULL));
  g_autofree char *tampered = g_strdup (ED25519_JWS);

  /* The signature fits, which the error tells: what it covers is no set of claims. */
  assert_refused (ED25519_JWS, keys, NOW, NAT_ERROR_MALFORMED, "content is not a JSON object");
  tampered[25] = 'S';
  assert_refused (tampered, keys, NOW, NAT_ERROR_AUTHENTICATION, "signature does not fit");
}

/* ---- There and back ---------------------------------------------------- */

static const char *const two_globs[] = {"house/*", "yard/**", NULL};
static const char *const no_globs[] = {NULL};

static NatToken
example (void)
{
  return (NatToken){.subject = (char *)"camera \303\274\"1\"",
      .expires_s = NOW + 3600,
      .not_before_s = NOW - 60,
      .id = (char *)"id-1",
      .publish = (char **)two_globs,
      .subscribe = (char **)no_globs,
      .list = TRUE,
      .admin = TRUE,
      .takeover = TRUE,
      .max_kbps = G_MAXUINT32,
      .max_packets = 7};
}

static void
round_trip (NatSignAlgorithm algorithm, const char *kid)
{
  NatSignKey *key = nat_sign_key_generate (algorithm, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with (kid, key);
  NatToken t = example (), back;
  g_autofree char *text = nat_token_sign (&t, kid, key, NULL);
  g_autoptr (GError) error = NULL;

  nat_token_verify (&back, text, keys, NOW, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (back.subject, ==, t.subject);
  g_assert_cmpstr (back.id, ==, "id-1");
  g_assert_cmpint (back.expires_s, ==, t.expires_s);
  g_assert_cmpint (back.not_before_s, ==, t.not_before_s);
  g_assert_true (g_strv_equal ((const char *const *)back.publish, two_globs));
  g_assert_true (g_strv_equal ((const char *const *)back.subscribe, no_globs));
  g_assert_true (back.list && back.admin && back.takeover);
  g_assert_cmpuint (back.max_kbps, ==, G_MAXUINT32);
  g_assert_cmpuint (back.max_packets, ==, 7);
  g_assert_true (nat_token_may_publish (&back, "house/door"));
  g_assert_true (nat_token_may_publish (&back, "yard/a/b"));
  g_assert_false (nat_token_may_publish (&back, "house/a/b"));
  g_assert_false (nat_token_may_subscribe (&back, "house/door"));
  nat_token_clear (&back);
  nat_token_clear (&back);
}

static void
test_round_trip (void)
{
  round_trip (NAT_SIGN_HS256, NULL);
  round_trip (NAT_SIGN_ES256, "k1");
  round_trip (NAT_SIGN_EDDSA, "k1");
  round_trip (NAT_SIGN_EDDSA, NULL);
}

static void
test_bare (void)
{
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, nat_sign_key_ref (key));
  NatToken t = {.expires_s = G_MAXINT64, .not_before_s = G_MININT64}, back;
  g_autofree char *text = nat_token_sign (&t, NULL, key, NULL), *claims = NULL;

  g_assert_true (nat_token_inspect (text, NULL, &claims, NULL));
  g_assert_cmpstr (claims, ==, "{}");
  g_assert_true (nat_token_verify (&back, text, keys, G_MAXINT32, NULL));
  g_assert_cmpint (back.expires_s, ==, G_MAXINT64);
  g_assert_cmpint (back.not_before_s, ==, G_MININT64);
  g_assert_null (back.publish);
  g_assert_false (back.admin || back.list || back.takeover);
  nat_token_clear (&back);
}

static void
test_sign_refuses (void)
{
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatSignKey) public_only = nat_sign_key_new_pem (ED25519_PEM, NULL);
  const char *bad_globs[] = {"house/**/x", NULL};
  g_autofree char *long_subject = g_strnfill (256, 's'), *name = g_strnfill (120, 'n');
  const char *many[65] = {NULL};
  NatToken t = example ();

  t.publish = (char **)bad_globs;
  g_assert_null (nat_token_sign (&t, NULL, key, NULL));
  t = example ();
  t.subject = long_subject;
  g_assert_null (nat_token_sign (&t, NULL, key, NULL));
  t = example ();
  g_assert_null (nat_token_sign (&t, NULL, public_only, NULL));
  for (guint i = 0; i < 64; i++)
    many[i] = name;
  t.publish = (char **)many;
  g_assert_null (nat_token_sign (&t, NULL, key, NULL));
}

/* ---- Forgeries --------------------------------------------------------- */

static char *
part (const char *json)
{
  char *out = g_malloc (NAT_BASE64URL_LEN (strlen (json)) + 1);

  nat_base64url_encode (json, strlen (json), out);
  return out;
}

/* Signs any header and claims, as only a forger would. key NULL: an empty signature. */
static char *
forge (const char *header, const char *claims, NatSignKey *key)
{
  g_autofree char *h = part (header), *c = part (claims);
  g_autofree char *input = g_strconcat (h, ".", c, NULL);
  char text[NAT_BASE64URL_LEN (64) + 1] = "";
  guint8 sig[64];
  gsize len;

  if (key != NULL) {
    g_assert_true (nat_sign_key_sign (key, input, strlen (input), sig, &len, NULL));
    nat_base64url_encode (sig, len, text);
  }
  return g_strconcat (input, ".", text, NULL);
}

#define ADMIN "{\"admin\":true,\"publish\":[\"**\"]}"

static void
test_none (void)
{
  static const char *const algs[] = {"none", "None", "NONE", "nOnE", ""};
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, nat_sign_key_ref (key));
  g_autoptr (NatTokenKeys) no_keys = nat_token_keys_new ();

  for (guint i = 0; i < G_N_ELEMENTS (algs); i++) {
    g_autofree char *header = g_strdup_printf ("{\"alg\":\"%s\"}", algs[i]);
    g_autofree char *bare = forge (header, ADMIN, NULL), *with = forge (header, ADMIN, key);

    assert_refused (bare, keys, NOW, NAT_ERROR_AUTHENTICATION, "another algorithm");
    assert_refused (with, keys, NOW, NAT_ERROR_AUTHENTICATION, "another algorithm");
    assert_refused (bare, no_keys, NOW, NAT_ERROR_AUTHENTICATION, "not known here");
  }
  {
    g_autofree char *empty = forge ("{\"alg\":\"HS256\"}", ADMIN, NULL);

    assert_refused (empty, keys, NOW, NAT_ERROR_AUTHENTICATION, "signature does not fit");
  }
}

/* The public key as an HMAC secret: anybody could make such a token. */
static void
test_algorithm_confusion (void)
{
  static const char *const pems[] = {ES256_PEM, ED25519_PEM};

  for (guint i = 0; i < G_N_ELEMENTS (pems); i++) {
    g_autoptr (NatTokenKeys) keys = keys_with ("k", nat_sign_key_new_pem (pems[i], NULL));
    g_autoptr (NatSignKey) forger = nat_sign_key_new_hmac (pems[i], strlen (pems[i]), NULL);
    g_autoptr (NatSignKey) other = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
    g_autofree char *plain = forge ("{\"alg\":\"HS256\"}", ADMIN, forger);
    g_autofree char *named = forge ("{\"alg\":\"HS256\",\"kid\":\"k\"}", ADMIN, forger);
    g_autofree char *lying = forge ("{\"alg\":\"ES256\",\"kid\":\"k\"}", ADMIN, forger);
    g_autofree char *lying2 = forge ("{\"alg\":\"EdDSA\",\"kid\":\"k\"}", ADMIN, forger);

    assert_refused (plain, keys, NOW, NAT_ERROR_AUTHENTICATION, "another algorithm");
    assert_refused (named, keys, NOW, NAT_ERROR_AUTHENTICATION, "another algorithm");
    assert_refused (lying, keys, NOW, NAT_ERROR_AUTHENTICATION, "refused");
    assert_refused (lying2, keys, NOW, NAT_ERROR_AUTHENTICATION, "refused");
    /* A real HS256 key beside it does not open the door either. */
    nat_token_keys_add (keys, "h", other);
    assert_refused (plain, keys, NOW, NAT_ERROR_AUTHENTICATION, "signature does not fit");
    assert_refused (named, keys, NOW, NAT_ERROR_AUTHENTICATION, "another algorithm");
  }
}

static void
test_kid (void)
{
  g_autoptr (NatSignKey) a = nat_sign_key_generate (NAT_SIGN_EDDSA, NULL);
  g_autoptr (NatSignKey) b = nat_sign_key_generate (NAT_SIGN_EDDSA, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with ("a", nat_sign_key_ref (a));
  g_autofree char *by_a = forge ("{\"alg\":\"EdDSA\",\"kid\":\"a\"}", ADMIN, a);
  g_autofree char *by_b = forge ("{\"alg\":\"EdDSA\",\"kid\":\"b\"}", ADMIN, b);
  g_autofree char *crossed = forge ("{\"alg\":\"EdDSA\",\"kid\":\"a\"}", ADMIN, b);
  g_autofree char *foreign = forge ("{\"alg\":\"EdDSA\",\"kid\":\"../a\"}", ADMIN, a);
  g_autofree char *nameless = forge ("{\"alg\":\"EdDSA\"}", ADMIN, b);
  NatToken t;

  assert_refused (by_b, keys, NOW, NAT_ERROR_AUTHENTICATION, "key that it names is not known");
  assert_refused (nameless, keys, NOW, NAT_ERROR_AUTHENTICATION, "signature does not fit");
  nat_token_keys_add (keys, "b", b);
  g_assert_true (nat_token_verify (&t, by_a, keys, NOW, NULL));
  nat_token_clear (&t);
  g_assert_true (nat_token_verify (&t, by_b, keys, NOW, NULL));
  nat_token_clear (&t);
  g_assert_true (nat_token_verify (&t, nameless, keys, NOW, NULL));
  nat_token_clear (&t);
  assert_refused (crossed, keys, NOW, NAT_ERROR_AUTHENTICATION, "signature does not fit");
  assert_refused (foreign, keys, NOW, NAT_ERROR_AUTHENTICATION, "key that it names is not known");
}

static NatVoucher
voucher_of (NatSignKey *key)
{
  guint8 fingerprint[NAT_SHA256_SIZE];
  NatVoucher v;

  nat_sign_key_fingerprint (key, fingerprint);
  nat_voucher_make (&v, NAT_VOUCHER_KEY, fingerprint, sizeof fingerprint);
  return v;
}

static gboolean
have (NatTokenKeys *keys, NatSignKey *key)
{
  NatVoucher v = voucher_of (key);

  return nat_token_keys_vouch (keys, &v);
}

/* Which key verified a token is known afterwards, and found again among keys that were read anew. */
static void
test_whose_key (void)
{
  static const NatSignAlgorithm algorithms[] = {NAT_SIGN_ES256, NAT_SIGN_EDDSA};
  g_autoptr (NatSignKey) hmac =
      nat_sign_key_new_hmac ("0123456789abcdef0123456789abcdef", 32, NULL);
  g_autoptr (NatSignKey) same =
      nat_sign_key_new_hmac ("0123456789abcdef0123456789abcdef", 32, NULL);
  g_autoptr (NatSignKey) other =
      nat_sign_key_new_hmac ("0123456789abcdef0123456789abcdeF", 32, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with ("x", nat_sign_key_ref (hmac));

  g_assert_true (have (keys, same));
  g_assert_false (have (keys, other));
  g_assert_true (nat_token_keys_know (keys, "x"));
  g_assert_false (nat_token_keys_know (keys, "y"));
  for (guint i = 0; i < G_N_ELEMENTS (algorithms); i++) {
    g_autoptr (NatSignKey) a = nat_sign_key_generate (algorithms[i], NULL);
    g_autoptr (NatSignKey) b = nat_sign_key_generate (algorithms[i], NULL);
    g_autofree char *pem = nat_sign_key_to_pem (a, FALSE, NULL);
    g_autoptr (NatSignKey) public_part = nat_sign_key_new_pem (pem, NULL);
    NatVoucher voucher = voucher_of (a);
    g_autofree char *text = NULL;
    NatToken t = {.expires_s = G_MAXINT64, .not_before_s = G_MININT64};

    text = nat_token_sign (&t, NULL, a, NULL);
    nat_token_keys_add (keys, "a", public_part);
    g_assert_true (nat_token_verify (&t, text, keys, NOW, NULL));
    g_assert_true (nat_voucher_equal (&t.voucher, &voucher));
    g_assert_cmpint (nat_voucher_kind (&t.voucher), ==, NAT_VOUCHER_KEY);
    g_assert_true (have (keys, a));
    g_assert_false (have (keys, b));
    nat_token_clear (&t);
  }
}

static void
test_tampered (void)
{
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, nat_sign_key_ref (key));
  NatToken t = example ();
  g_autofree char *text = nat_token_sign (&t, NULL, key, NULL);
  gsize len = strlen (text);

  for (gsize i = 0; i < len; i++) {
    g_autofree char *changed = g_strdup (text), *cut = g_strndup (text, i);
    NatToken back;

    changed[i] = text[i] == 'A' ? 'B' : 'A';
    g_assert_false (nat_token_verify (&back, changed, keys, NOW, NULL));
    g_assert_false (nat_token_verify (&back, cut, keys, NOW, NULL));
  }
}

static void
test_times (void)
{
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, nat_sign_key_ref (key));
  g_autofree char *text = forge ("{\"alg\":\"HS256\"}", "{\"exp\":1000.9,\"nbf\":500}", key);
  g_autofree char *negative = forge ("{\"alg\":\"HS256\"}", "{\"exp\":-1}", key);
  NatToken t;

  g_assert_true (nat_token_verify (&t, text, keys, 999 + NAT_TOKEN_LEEWAY_S, NULL));
  nat_token_clear (&t);
  g_assert_true (nat_token_verify (&t, text, keys, 500 - NAT_TOKEN_LEEWAY_S, NULL));
  g_assert_cmpint (t.expires_s, ==, 1000);
  nat_token_clear (&t);
  assert_refused (text, keys, 1000 + NAT_TOKEN_LEEWAY_S, NAT_ERROR_EXPIRED, "has expired");
  assert_refused (text, keys, 499 - NAT_TOKEN_LEEWAY_S, NAT_ERROR_EXPIRED, "not good yet");
  assert_refused (negative, keys, NOW, NAT_ERROR_EXPIRED, "has expired");
}

static void
test_bad_claims (void)
{
  static const struct {
    const char *claims, *says;
  } rows[] = {
      {"[]", "not a JSON object"},
      {"", "not a JSON object"},
      {"{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}", "at most 16 levels"},
      {"{\"sub\":1}", "\"sub\" must be a string"},
      {"{\"jti\":[]}", "\"jti\" must be a string"},
      {"{\"exp\":\"never\"}", "\"exp\" must be a whole number"},
      {"{\"exp\":null}", "\"exp\" must be"},
      {"{\"exp\":1e300}", "\"exp\" must be"},
      {"{\"exp\":99999999999999999999}", "18 digits"},
      {"{\"nbf\":18446744073709551615}", "18 digits"},
      {"{\"exp\":922337203685477580}", "\"exp\" must be"},
      {"{\"nbf\":true}", "\"nbf\" must be"},
      {"{\"publish\":\"**\"}", "\"publish\" must be an array"},
      {"{\"publish\":[1]}", "\"publish\" of the token"},
      {"{\"publish\":[\"a/**/b\"]}", "\"publish\" of the token"},
      {"{\"subscribe\":[\"\"]}", "\"subscribe\" of the token"},
      {"{\"subscribe\":{}}", "\"subscribe\" must be an array"},
      {"{\"list\":1}", "\"list\" must be true or false"},
      {"{\"admin\":\"true\"}", "\"admin\" must be true or false"},
      {"{\"takeover\":null}", "\"takeover\" must be true or false"},
      {"{\"max-kbps\":-1}", "\"max-kbps\" must be"},
      {"{\"max-kbps\":4294967296}", "\"max-kbps\" must be"},
      {"{\"max-packets\":\"1\"}", "\"max-packets\" must be"},
  };
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, nat_sign_key_ref (key));

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree char *text = forge ("{\"alg\":\"HS256\"}", rows[i].claims, key);

    assert_refused (text, keys, NOW, NAT_ERROR_MALFORMED, rows[i].says);
  }
}

static void
test_bad_headers (void)
{
  static const struct {
    const char *header, *says;
  } rows[] = {
      {"{}", "\"alg\" is missing"},
      {"{\"alg\":1}", "\"alg\" must be a string"},
      {"{\"alg\":[\"HS256\"]}", "\"alg\" must be a string"},
      {"{\"alg\":\"HS256\",\"kid\":1}", "\"kid\" must be a string"},
      {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", "\"crit\""},
      {"{\"alg\":\"HS256\",\"crit\":[]}", "\"crit\""},
      {"[\"HS256\"]", "header is not a JSON object"},
      {"HS256", "header is not a JSON object"},
  };
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, nat_sign_key_ref (key));

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree char *text = forge (rows[i].header, "{}", key);

    assert_refused (text, keys, NOW, NAT_ERROR_MALFORMED, rows[i].says);
  }
}

static void
test_not_tokens (void)
{
  static const char *const texts[] = {"", ".", "..", "...", "a", "a.b", "secretsecretsecret",
      "e30.e30", "e30.", ".e30.e30", "e30=.e30=.", "e30 .e30.", "\n", "Bearer e30.e30.e30",
      "e30.e3\xff.AA", "e30.AA.AA", "e30.e30+.AA", "AA.e30.AA"};
  g_autoptr (NatTokenKeys) keys = keys_with (NULL, rfc_hs256_key ());
  g_autofree char *longest = g_strnfill (NAT_TOKEN_MAX, 'A');
  g_autofree char *huge = g_strnfill (1024 * 1024, 'A'),
                  *more = g_strconcat (JOE_HS256, ".AA", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    assert_refused (texts[i], keys, NOW, NAT_ERROR_MALFORMED, "");
  assert_refused (longest, keys, NOW, NAT_ERROR_MALFORMED, "not a JSON Web Token");
  assert_refused (huge, keys, NOW, NAT_ERROR_MALFORMED, "longer than the 4096 bytes");
  /* Five parts are an encrypted token (JWE), four are nothing. */
  assert_refused (more, keys, 0, NAT_ERROR_AUTHENTICATION, "signature does not fit");
}

static void
test_inspect (void)
{
  g_autofree char *header = NULL, *claims = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (nat_token_inspect (JOE_ES256, &header, &claims, NULL));
  g_assert_cmpstr (header, ==, "{\"alg\":\"ES256\"}");
  g_assert_nonnull (strstr (claims, "\"iss\":\"joe\""));
  g_assert_true (nat_token_inspect (JOE_ES256, NULL, NULL, NULL));
  g_assert_false (nat_token_inspect (ED25519_JWS, NULL, NULL, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_MALFORMED);
  assert_not_quoted (error->message, ED25519_JWS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/token/rfc7515", test_rfc7515);
  g_test_add_func ("/token/rfc8037", test_rfc8037);
  g_test_add_func ("/token/round-trip", test_round_trip);
  g_test_add_func ("/token/bare", test_bare);
  g_test_add_func ("/token/sign-refuses", test_sign_refuses);
  g_test_add_func ("/token/none", test_none);
  g_test_add_func ("/token/algorithm-confusion", test_algorithm_confusion);
  g_test_add_func ("/token/kid", test_kid);
  g_test_add_func ("/token/tampered", test_tampered);
  g_test_add_func ("/token/times", test_times);
  g_test_add_func ("/token/bad-claims", test_bad_claims);
  g_test_add_func ("/token/bad-headers", test_bad_headers);
  g_test_add_func ("/token/not-tokens", test_not_tokens);
  g_test_add_func ("/token/inspect", test_inspect);
  g_test_add_func ("/token/whose-key", test_whose_key);
  return g_test_run ();
}
