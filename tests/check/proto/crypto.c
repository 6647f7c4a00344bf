/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Published vectors first: FIPS 180 SHA-256, RFC 4231 HMAC, RFC 5869 HKDF, RFC 7914 PBKDF2, the
 * GCM specification's AES-GCM, RFC 7515 and RFC 8037 signatures. Then what must be refused. */

#include "natproto/crypto.h"

#include <string.h>

#include "natproto/error.h"

static GByteArray *
unhex (const char *hex)
{
  GByteArray *bytes = g_byte_array_new ();

  for (; hex[0] != '\0'; hex += 2) {
    guint8 b = (guint8)(g_ascii_xdigit_value (hex[0]) << 4 | g_ascii_xdigit_value (hex[1]));

    g_byte_array_append (bytes, &b, 1);
  }
  return bytes;
}

static void
assert_hex (const guint8 *data, gsize len, const char *hex)
{
  g_autoptr (GByteArray) want = unhex (hex);

  g_assert_cmpmem (data, len, want->data, want->len);
}

static void
test_sha256 (void)
{
  guint8 out[NAT_SHA256_SIZE];

  nat_crypto_sha256 ("", 0, out);
  assert_hex (out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  nat_crypto_sha256 ("abc", 3, out);
  assert_hex (out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* RFC 4231 section 4; case 5 is about truncation, which we do not do. */
static const struct {
  const char *key, *data, *mac;
} hmac_cases[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "dddddddddddddddddddddddddddddddddddddddddddddddddd"
        "dddddddddddddddddddddddddddddddddddddddddddddddddd",
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
    {"0102030405060708090a0b0c0d0e0f10111213141516171819",
        "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
        "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
};

static void
test_hmac (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (hmac_cases); i++) {
    g_autoptr (GByteArray) key = unhex (hmac_cases[i].key);
    g_autoptr (GByteArray) data = unhex (hmac_cases[i].data);
    g_autoptr (NatHmac) kept = nat_hmac_new (key->data, key->len);
    guint8 out[NAT_SHA256_SIZE];

    g_test_message ("case %" G_GSIZE_FORMAT, i);
    nat_crypto_hmac (key->data, key->len, data->data, data->len, out);
    assert_hex (out, 32, hmac_cases[i].mac);
    /* The kept handle: in pieces, and again after it was asked once. */
    for (int again = 0; again < 3; again++) {
      memset (out, 0, sizeof out);
      nat_hmac_update (kept, data->data, 3);
      nat_hmac_update (kept, data->data + 3, data->len - 3);
      nat_hmac_final (kept, out);
      assert_hex (out, 32, hmac_cases[i].mac);
    }
  }
}

static void
test_hmac_long_key (void)
{
  const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
  guint8 key[131], out[NAT_SHA256_SIZE];

  memset (key, 0xaa, sizeof key);
  nat_crypto_hmac (key, sizeof key, text, strlen (text), out);
  assert_hex (out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* RFC 5869 appendix A.1 to A.3 */
static const struct {
  const char *ikm, *salt, *info, *prk, *okm;
} hkdf_cases[] = {
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
     "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
     "404142434445464748494a4b4c4d4e4f",
        "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
        "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
        "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87"},
    {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
};

static void
test_hkdf (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (hkdf_cases); i++) {
    g_autoptr (GByteArray) ikm = unhex (hkdf_cases[i].ikm);
    g_autoptr (GByteArray) salt = unhex (hkdf_cases[i].salt);
    g_autoptr (GByteArray) info = unhex (hkdf_cases[i].info);
    gsize out_len = strlen (hkdf_cases[i].okm) / 2;
    guint8 prk[32], out[128];

    g_test_message ("case %" G_GSIZE_FORMAT, i);
    nat_crypto_hkdf_extract (NAT_HASH_SHA256, salt->data, salt->len, ikm->data, ikm->len, prk);
    assert_hex (prk, sizeof prk, hkdf_cases[i].prk);
    nat_crypto_hkdf_expand (NAT_HASH_SHA256, prk, info->data, info->len, out, out_len);
    assert_hex (out, out_len, hkdf_cases[i].okm);
    memset (out, 0, sizeof out);
    nat_crypto_hkdf (ikm->data, ikm->len, salt->len > 0 ? salt->data : NULL, salt->len, info->data,
        info->len, out, out_len);
    assert_hex (out, out_len, hkdf_cases[i].okm);
  }
}

/* Not published; computed with Python's hmac module from RFC 5869's two formulas. */
static void
test_hkdf_sha512 (void)
{
  guint8 ikm[22], prk[64], out[42];

  memset (ikm, 0x0b, sizeof ikm);
  nat_crypto_hkdf_extract (NAT_HASH_SHA512, "salt", 4, ikm, sizeof ikm, prk);
  assert_hex (prk, 64,
      "bc79aa0ef6a4f2f992dea7204d53ce637a56d5b497289994fecc5870071b7749522bfa6251de01c33a8096095288"
      "aaf7d12ef1132f7d05cb2eb9e49b4089857a");
  nat_crypto_hkdf_expand (NAT_HASH_SHA512, prk, "info", 4, out, sizeof out);
  assert_hex (out, 42,
      "f68aca3a3afd2c6f291f1e9c481054553ce84a2353df2b62c2b90eafbe9ba2737b1745149c8cd4a1deee");
}

static void
test_pbkdf2 (void)
{
  guint8 out[64];

  /* RFC 7914 section 11 */
  nat_crypto_pbkdf2 ("passwd", 6, "salt", 4, 1, out, sizeof out);
  assert_hex (out, 64,
      "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
      "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783");
}

/* McGrew and Viega, The Galois/Counter Mode of Operation, appendix B: cases 1 to 4 with keys
 * of 16 bytes, 13 to 16 with 32. */
static const struct {
  const char *key, *nonce, *aad, *plain, *sealed;
} gcm_cases[] = {
    {"00000000000000000000000000000000", "000000000000000000000000", "", "",
        "58e2fccefa7e3061367f1d57a4e7455a"},
    {"00000000000000000000000000000000", "000000000000000000000000", "",
        "00000000000000000000000000000000",
        "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
        "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
        "5bc94fbc3221a5db94fae95ae7121a47"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
        "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static void
check_gcm (gsize i)
{
  g_autoptr (GByteArray) key = unhex (gcm_cases[i].key);
  g_autoptr (GByteArray) nonce = unhex (gcm_cases[i].nonce);
  g_autoptr (GByteArray) aad = unhex (gcm_cases[i].aad);
  g_autoptr (GByteArray) plain = unhex (gcm_cases[i].plain);
  g_autoptr (NatAead) aead = nat_aead_new (key->data, key->len);
  gsize sealed_len = plain->len + NAT_AEAD_TAG_SIZE;
  guint8 out[128], back[128];

  g_assert_true (
      nat_aead_seal (aead, nonce->data, aad->data, aad->len, plain->data, plain->len, out));
  assert_hex (out, sealed_len, gcm_cases[i].sealed);
  /* In place, both ways. */
  if (plain->len > 0)
    memcpy (back, plain->data, plain->len);
  g_assert_true (nat_aead_seal (aead, nonce->data, aad->data, aad->len, back, plain->len, back));
  g_assert_cmpmem (back, sealed_len, out, sealed_len);
  g_assert_true (nat_aead_open (aead, nonce->data, aad->data, aad->len, back, sealed_len, back));
  g_assert_cmpmem (back, plain->len, plain->data, plain->len);
  /* Any changed bit is refused, anything too short for a tag too. */
  for (gsize bit = 0; bit < sealed_len * 8; bit++) {
    out[bit / 8] ^= 1u << bit % 8;
    g_assert_false (nat_aead_open (aead, nonce->data, aad->data, aad->len, out, sealed_len, back));
    out[bit / 8] ^= 1u << bit % 8;
  }
  for (gsize len = 0; len < sealed_len; len++)
    g_assert_false (nat_aead_open (aead, nonce->data, aad->data, aad->len, out, len, back));
  g_assert_true (nat_aead_open (aead, nonce->data, aad->data, aad->len, out, sealed_len, back));
  g_assert_false (nat_aead_open (aead, nonce->data, "x", 1, out, sealed_len, back));
}

static void
test_gcm (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (gcm_cases); i++) {
    g_test_message ("case %" G_GSIZE_FORMAT, i);
    check_gcm (i);
  }
}

static void
test_bytes (void)
{
  guint8 a[64], b[64], zero[64] = {0};

  nat_crypto_random (a, sizeof a);
  nat_crypto_random (b, sizeof b);
  g_assert_false (nat_crypto_equal (a, b, sizeof a));
  memcpy (b, a, sizeof a);
  g_assert_true (nat_crypto_equal (a, b, sizeof a));
  b[63] ^= 0x80;
  g_assert_false (nat_crypto_equal (a, b, sizeof a));
  g_assert_true (nat_crypto_equal (a, b, 63));
  g_assert_true (nat_crypto_equal (a, b, 0));
  nat_crypto_wipe (a, sizeof a);
  g_assert_cmpmem (a, sizeof a, zero, sizeof zero);
  nat_crypto_wipe (NULL, 0);
}

/* ---- Signatures -------------------------------------------------------- */

/* RFC 7515 appendix A.1: the JWS example under HS256 */
static void
test_hs256_vector (void)
{
  static const char key_text[] = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
                                 "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
  static const char input[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
                              ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
                              "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
  static const char sig_text[] = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  guint8 secret[64], want[32], sig[64];
  gsize sig_len;
  g_autoptr (NatSignKey) key = NULL;

  g_assert_cmpint (
      nat_base64url_decode (key_text, strlen (key_text), secret, sizeof secret), ==, 64);
  g_assert_cmpint (nat_base64url_decode (sig_text, strlen (sig_text), want, sizeof want), ==, 32);
  key = nat_sign_key_new_hmac (secret, sizeof secret, NULL);
  g_assert_true (nat_sign_key_sign (key, input, strlen (input), sig, &sig_len, NULL));
  g_assert_cmpmem (sig, sig_len, want, sizeof want);
  g_assert_true (nat_sign_key_verify (key, input, strlen (input), want, sizeof want));
}

/* RFC 7515 appendix A.3 (ES256) and RFC 8037 appendix A (Ed25519): verified with the keys of
 * the RFCs, wrapped as PEM. */
static const char es256_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                                "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                                "-----END PUBLIC KEY-----\n";
static const char eddsa_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                "-----END PUBLIC KEY-----\n";
static const char eddsa_private_pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n";

static void
check_verify (const char *pem, NatSignAlgorithm algorithm, const char *input, const char *sig_text)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (NatSignKey) key = nat_sign_key_new_pem (pem, &error);
  guint8 sig[64];
  gsize len;

  g_assert_no_error (error);
  g_assert_cmpint (nat_sign_key_algorithm (key), ==, algorithm);
  g_assert_cmpint (nat_base64url_decode (sig_text, strlen (sig_text), sig, sizeof sig), ==, 64);
  g_assert_true (nat_sign_key_verify (key, input, strlen (input), sig, sizeof sig));
  g_assert_false (nat_sign_key_verify (key, input, strlen (input) - 1, sig, sizeof sig));
  g_assert_false (nat_sign_key_verify (key, input, strlen (input), sig, sizeof sig - 1));
  g_assert_false (nat_sign_key_sign (key, input, strlen (input), sig, &len, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT); /* it is the public part alone */
}

static void
test_es256_vector (void)
{
  check_verify (es256_pem, NAT_SIGN_ES256,
      "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
      "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
}

static void
test_eddsa_vector (void)
{
  static const char input[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
  static const char want[] = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt"
                             "9g7sVvpAr_MuM0KAg";
  g_autoptr (NatSignKey) key = nat_sign_key_new_pem (eddsa_private_pem, NULL);
  guint8 sig[64];
  gsize sig_len;
  char text[NAT_BASE64URL_LEN (64) + 1];

  check_verify (eddsa_pem, NAT_SIGN_EDDSA, input, want);
  g_assert_true (nat_sign_key_sign (key, input, strlen (input), sig, &sig_len, NULL));
  nat_base64url_encode (sig, sig_len, text);
  g_assert_cmpstr (text, ==, want);
}

/* Generate, write, read, sign, verify; often, because r and s of ES256 vary in length. */
static void
check_round (NatSignAlgorithm algorithm, int rounds)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (NatSignKey) made = nat_sign_key_generate (algorithm, &error);
  g_autoptr (NatSignKey) other = nat_sign_key_generate (algorithm, NULL);
  g_autofree char *private_pem = nat_sign_key_to_pem (made, TRUE, NULL);
  g_autofree char *public_pem = nat_sign_key_to_pem (made, FALSE, NULL);
  g_autoptr (NatSignKey) signer = nat_sign_key_new_pem (private_pem, &error);
  g_autoptr (NatSignKey) verifier = nat_sign_key_new_pem (public_pem, &error);
  guint8 sig[64];
  gsize sig_len;

  g_assert_no_error (error);
  g_assert_nonnull (strstr (private_pem, "BEGIN PRIVATE KEY"));
  g_assert_null (strstr (public_pem, "PRIVATE"));
  for (int i = 0; i < rounds; i++) {
    g_assert_true (nat_sign_key_sign (signer, &i, sizeof i, sig, &sig_len, NULL));
    g_assert_cmpuint (sig_len, ==, 64);
    g_assert_true (nat_sign_key_verify (verifier, &i, sizeof i, sig, sig_len));
    g_assert_true (nat_sign_key_verify (made, &i, sizeof i, sig, sig_len));
    g_assert_false (nat_sign_key_verify (other, &i, sizeof i, sig, sig_len));
    sig[i % 64] ^= 1;
    g_assert_false (nat_sign_key_verify (verifier, &i, sizeof i, sig, sig_len));
  }
  memset (sig, 0, sizeof sig);
  g_assert_false (nat_sign_key_verify (verifier, "x", 1, sig, sizeof sig));
  g_assert_false (nat_sign_key_sign (verifier, "x", 1, sig, &sig_len, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT);
  g_clear_error (&error);
  g_assert_null (nat_sign_key_to_pem (verifier, TRUE, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT);
}

static void
test_es256_round (void)
{
  check_round (NAT_SIGN_ES256, 300);
}

static void
test_eddsa_round (void)
{
  check_round (NAT_SIGN_EDDSA, 64);
}

static void
test_hs256_round (void)
{
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatSignKey) same = nat_sign_key_ref (key);
  g_autoptr (GError) error = NULL;
  guint8 sig[64];
  gsize sig_len;

  g_assert_true (nat_sign_key_sign (key, "abc", 3, sig, &sig_len, NULL));
  g_assert_true (nat_sign_key_verify (same, "abc", 3, sig, sig_len));
  g_assert_false (nat_sign_key_verify (same, "abd", 3, sig, sig_len));
  g_assert_false (nat_sign_key_verify (same, "abc", 3, sig, sig_len - 1));
  g_assert_false (nat_sign_key_verify (same, "abc", 3, sig, 0));
  g_assert_null (nat_sign_key_to_pem (key, FALSE, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT);
  g_clear_error (&error);
  g_assert_null (nat_sign_key_new_hmac ("short", 5, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT);
}

static void
test_pem_refused (void)
{
  static const struct {
    const char *pem;
    NatError code;
  } cases[] = {
      {"", NAT_ERROR_MALFORMED},
      {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", NAT_ERROR_MALFORMED},
      {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", NAT_ERROR_MALFORMED},
      {"-----BEGIN PUBLIC KEY-----\n"
       "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA4z97uYqsc6Onu6r/+MjK\n"
       "0Qy14X9SjTVNLX9SktL4CbWHMshiCHSO1gzZ1m0j988wcs2AOLXgPtSTW/nfQ2Pn\n"
       "10Bew/tdCzUYd2PrOD2wLrgg162rucr/7mK2RVlpnGNATXFt2WMsOMhoxjT0jPTV\n"
       "PZotyhRDXoGlHk2I9ANgcjRCBxo03xmqBOGrH8vCeGnWqJNXAcjyzxFoO9IJgDW5\n"
       "IucjWlLCeHtJLg0f7zENaQD75mS5YF2ztr3GzCWoiWilrz4L0EUXMS5ypmnbCGr0\n"
       "b8GsysBTy+3pESKpOJdVKemmfzD2y4R9cAgxS7LLAZqvuUJb4nDRrE1liLeXdxY2\n"
       "kQIDAQAB\n"
       "-----END PUBLIC KEY-----\n",
          NAT_ERROR_ARGUMENT},
      {"-----BEGIN PUBLIC KEY-----\n"
       "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEb81IZ9CRXLTTOUVk5DkF94eMaZP2lGc1\n"
       "nQA6SxWMeJbLzyRcyeXo9dP0DE7s2cQNIPqX0elW4IQ3uWeIVGl5cQBnz/2c4uU2\n"
       "lDB6/kOOV067WqVQ7Mx5VETpTpSH2E8X\n"
       "-----END PUBLIC KEY-----\n",
          NAT_ERROR_ARGUMENT},
      {"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
       "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjqMuzzPY034AICCAAw\n"
       "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDj0DkIaTy73I9KkJRY/wmoEQH0r\n"
       "E9f9c+yD5RxKYvNXISHrdBzPyS2JMfhS7Gd5/GklXUcB2jbWS8CDRhr093tVH7YF\n"
       "+dvYM3JnEulAOROJ4g8=\n"
       "-----END ENCRYPTED PRIVATE KEY-----\n",
          NAT_ERROR_MALFORMED},
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;

    g_test_message ("case %" G_GSIZE_FORMAT, i);
    g_assert_null (nat_sign_key_new_pem (cases[i].pem, &error));
    g_assert_error (error, NAT_ERROR, (int)cases[i].code);
    g_test_message ("%s", error->message);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/crypto/sha256", test_sha256);
  g_test_add_func ("/crypto/hmac", test_hmac);
  g_test_add_func ("/crypto/hmac-long-key", test_hmac_long_key);
  g_test_add_func ("/crypto/hkdf", test_hkdf);
  g_test_add_func ("/crypto/hkdf-sha512", test_hkdf_sha512);
  g_test_add_func ("/crypto/pbkdf2", test_pbkdf2);
  g_test_add_func ("/crypto/gcm", test_gcm);
  g_test_add_func ("/crypto/bytes", test_bytes);
  g_test_add_func ("/crypto/hs256-vector", test_hs256_vector);
  g_test_add_func ("/crypto/es256-vector", test_es256_vector);
  g_test_add_func ("/crypto/eddsa-vector", test_eddsa_vector);
  g_test_add_func ("/crypto/es256-round", test_es256_round);
  g_test_add_func ("/crypto/eddsa-round", test_eddsa_round);
  g_test_add_func ("/crypto/hs256-round", test_hs256_round);
  g_test_add_func ("/crypto/pem-refused", test_pem_refused);
  return g_test_run ();
}
