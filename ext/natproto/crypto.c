/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where a function returns void, GnuTLS can only fail for want of memory or because it
 * is broken (no SHA-256 in it). Going on would mean to work without protection, so these
 * abort like g_malloc does. */

#include "natproto/crypto.h"

#include <string.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "natproto/error.h"

#define HS256_KEY_MIN      32   /* RFC 7518 section 3.2: no shorter than the hash */
#define JWS_SIGNATURE_SIZE 64   /* ES256 and EdDSA alike */
#define RSA_BITS_MIN       2048 /* RFC 7518 section 3.3 */
#define RSA_BITS_MAX       4096 /* a longer one only costs us time */

static void
must (int result, const char *what)
{
  if (G_UNLIKELY (result < 0))
    g_error ("%s failed: %s", what, gnutls_strerror (result));
}

static gnutls_datum_t
datum (gconstpointer data, gsize len)
{
  gnutls_datum_t d = {(unsigned char *)data, (unsigned int)len};

  g_assert (len <= G_MAXUINT);
  return d;
}

/* ---- Bytes ------------------------------------------------------------- */

void
nat_crypto_random (gpointer out, gsize len)
{
  must (gnutls_rnd (GNUTLS_RND_KEY, out, len), "the system's random generator");
}

gboolean
nat_crypto_equal (gconstpointer a, gconstpointer b, gsize len)
{
  return gnutls_memcmp (a, b, len) == 0;
}

void
nat_crypto_wipe (gpointer data, gsize len)
{
  if (len > 0)
    gnutls_memset (data, 0, len);
}

void
nat_crypto_wipe_free (char *text)
{
  if (text != NULL)
    nat_crypto_wipe (text, strlen (text));
  g_free (text);
}

/* ---- Hashes ------------------------------------------------------------ */

void
nat_crypto_sha256 (gconstpointer data, gsize len, guint8 out[NAT_SHA256_SIZE])
{
  must (gnutls_hash_fast (GNUTLS_DIG_SHA256, data, len, out), "SHA-256");
}

void
nat_crypto_hmac (
    gconstpointer key, gsize key_len, gconstpointer data, gsize len, guint8 out[NAT_SHA256_SIZE])
{
  must (gnutls_hmac_fast (GNUTLS_MAC_SHA256, key, key_len, data, len, out), "HMAC-SHA256");
}

/* NatHmac is GnuTLS's own handle under another name: no second allocation, no copy of
 * the key here. GnuTLS wipes the keyed state when the handle dies. */

NatHmac *
nat_hmac_new (gconstpointer key, gsize key_len)
{
  gnutls_hmac_hd_t handle;

  must (gnutls_hmac_init (&handle, GNUTLS_MAC_SHA256, key, key_len), "HMAC-SHA256");
  return (NatHmac *)handle;
}

void
nat_hmac_update (NatHmac *hmac, gconstpointer data, gsize len)
{
  must (gnutls_hmac ((gnutls_hmac_hd_t)hmac, data, len), "HMAC-SHA256");
}

void
nat_hmac_final (NatHmac *hmac, guint8 out[NAT_SHA256_SIZE])
{
  gnutls_hmac_output ((gnutls_hmac_hd_t)hmac, out);
}

void
nat_hmac_free (NatHmac *hmac)
{
  if (hmac != NULL)
    gnutls_hmac_deinit ((gnutls_hmac_hd_t)hmac, NULL);
}

/* ---- Keys from keys ---------------------------------------------------- */

static gnutls_mac_algorithm_t
mac_of (NatHash hash)
{
  return hash == NAT_HASH_SHA512 ? GNUTLS_MAC_SHA512 : GNUTLS_MAC_SHA256;
}

static gsize
size_of (NatHash hash)
{
  return hash == NAT_HASH_SHA512 ? 64 : 32;
}

void
nat_crypto_hkdf_extract (
    NatHash hash, gconstpointer salt, gsize salt_len, gconstpointer ikm, gsize ikm_len, guint8 *prk)
{
  /* RFC 5869: no salt means a salt of zeros, which as an HMAC key is the empty one. */
  gnutls_datum_t s = datum (salt_len > 0 ? salt : "", salt_len);
  gnutls_datum_t k = datum (ikm, ikm_len);

  must (gnutls_hkdf_extract (mac_of (hash), &k, &s, prk), "HKDF");
}

void
nat_crypto_hkdf_expand (
    NatHash hash, const guint8 *prk, gconstpointer info, gsize info_len, guint8 *out, gsize out_len)
{
  gnutls_datum_t k = datum (prk, size_of (hash));
  gnutls_datum_t i = datum (info_len > 0 ? info : "", info_len);

  g_assert (out_len <= 255 * size_of (hash));
  must (gnutls_hkdf_expand (mac_of (hash), &k, &i, out, out_len), "HKDF");
}

void
nat_crypto_hkdf (gconstpointer ikm, gsize ikm_len, gconstpointer salt, gsize salt_len,
    gconstpointer info, gsize info_len, guint8 *out, gsize out_len)
{
  guint8 prk[NAT_SHA256_SIZE];

  nat_crypto_hkdf_extract (NAT_HASH_SHA256, salt, salt_len, ikm, ikm_len, prk);
  nat_crypto_hkdf_expand (NAT_HASH_SHA256, prk, info, info_len, out, out_len);
  nat_crypto_wipe (prk, sizeof prk);
}

void
nat_crypto_pbkdf2 (gconstpointer password, gsize password_len, gconstpointer salt, gsize salt_len,
    guint rounds, guint8 *out, gsize out_len)
{
  gnutls_datum_t p = datum (password_len > 0 ? password : "", password_len);
  gnutls_datum_t s = datum (salt_len > 0 ? salt : "", salt_len);

  must (gnutls_pbkdf2 (GNUTLS_MAC_SHA256, &p, &s, rounds, out, out_len), "PBKDF2");
}

/* ---- AES-GCM ----------------------------------------------------------- */

/* As NatHmac: GnuTLS's handle itself. */

NatAead *
nat_aead_new (gconstpointer key, gsize key_len)
{
  gnutls_aead_cipher_hd_t handle;
  gnutls_datum_t k = datum (key, key_len);

  g_assert (key_len == 16 || key_len == 32);
  must (gnutls_aead_cipher_init (
            &handle, key_len == 16 ? GNUTLS_CIPHER_AES_128_GCM : GNUTLS_CIPHER_AES_256_GCM, &k),
      "AES-GCM");
  return (NatAead *)handle;
}

gboolean
nat_aead_seal (NatAead *aead, const guint8 nonce[NAT_AEAD_NONCE_SIZE], gconstpointer aad,
    gsize aad_len, gconstpointer in, gsize len, guint8 *out)
{
  size_t out_len = len + NAT_AEAD_TAG_SIZE;

  return gnutls_aead_cipher_encrypt ((gnutls_aead_cipher_hd_t)aead, nonce, NAT_AEAD_NONCE_SIZE, aad,
             aad_len, NAT_AEAD_TAG_SIZE, in, len, out, &out_len) >= 0;
}

gboolean
nat_aead_open (NatAead *aead, const guint8 nonce[NAT_AEAD_NONCE_SIZE], gconstpointer aad,
    gsize aad_len, gconstpointer in, gsize len, guint8 *out)
{
  size_t out_len;

  if (len < NAT_AEAD_TAG_SIZE)
    return FALSE;
  out_len = len - NAT_AEAD_TAG_SIZE;
  return gnutls_aead_cipher_decrypt ((gnutls_aead_cipher_hd_t)aead, nonce, NAT_AEAD_NONCE_SIZE, aad,
             aad_len, NAT_AEAD_TAG_SIZE, in, len, out, &out_len) >= 0;
}

void
nat_aead_free (NatAead *aead)
{
  if (aead != NULL)
    gnutls_aead_cipher_deinit ((gnutls_aead_cipher_hd_t)aead);
}

/* GnuTLS has no ECB, but the first block of CBC under an IV of zeros is the same. */
void
nat_crypto_aes128_block (const guint8 key[16], const guint8 in[16], guint8 out[16])
{
  guint8 zero[16] = {0};
  gnutls_datum_t k = datum (key, 16), iv = datum (zero, sizeof zero);
  gnutls_cipher_hd_t handle;

  must (gnutls_cipher_init (&handle, GNUTLS_CIPHER_AES_128_CBC, &k, &iv), "AES");
  must (gnutls_cipher_encrypt2 (handle, in, 16, out, 16), "AES");
  gnutls_cipher_deinit (handle);
}

/* ---- Signature keys ---------------------------------------------------- */

/* Immutable after creation: GnuTLS only reads a key while it signs or verifies, which is
 * what lets threads share one without a lock. */
struct _NatSignKey {
  gatomicrefcount refs;
  NatSignAlgorithm algorithm;
  guint8 *secret; /* HS256; else NULL */
  gsize secret_len;
  gnutls_pubkey_t public_key;   /* ES256, EdDSA; else NULL */
  gnutls_privkey_t private_key; /* NULL: verifies only */
};

static NatSignKey *
sign_key_alloc (NatSignAlgorithm algorithm)
{
  NatSignKey *key = g_new0 (NatSignKey, 1);

  g_atomic_ref_count_init (&key->refs);
  key->algorithm = algorithm;
  return key;
}

NatSignKey *
nat_sign_key_ref (NatSignKey *key)
{
  g_atomic_ref_count_inc (&key->refs);
  return key;
}

void
nat_sign_key_unref (NatSignKey *key)
{
  if (key == NULL || !g_atomic_ref_count_dec (&key->refs))
    return;
  nat_crypto_wipe (key->secret, key->secret_len);
  g_free (key->secret);
  if (key->public_key != NULL)
    gnutls_pubkey_deinit (key->public_key);
  if (key->private_key != NULL)
    gnutls_privkey_deinit (key->private_key);
  g_free (key);
}

NatSignAlgorithm
nat_sign_key_algorithm (NatSignKey *key)
{
  return key->algorithm;
}

void
nat_sign_key_fingerprint (NatSignKey *key, guint8 out[NAT_SHA256_SIZE])
{
  static const char label[] = "natrelay fingerprint v1";
  gnutls_datum_t der = {NULL, 0};

  if (key->algorithm == NAT_SIGN_HS256) {
    nat_crypto_hmac (key->secret, key->secret_len, label, sizeof label - 1, out);
    return;
  }
  must (gnutls_pubkey_export2 (key->public_key, GNUTLS_X509_FMT_DER, &der), "a public key in DER");
  nat_crypto_sha256 (der.data, der.size, out);
  gnutls_free (der.data);
}

NatSignKey *
nat_sign_key_new_hmac (gconstpointer secret, gsize len, GError **error)
{
  NatSignKey *key;

  if (len < HS256_KEY_MIN) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "The signing secret is %" G_GSIZE_FORMAT " bytes long, which can be guessed; "
        "use at least %d random bytes",
        len, HS256_KEY_MIN);
    return NULL;
  }
  key = sign_key_alloc (NAT_SIGN_HS256);
  key->secret = g_memdup2 (secret, len);
  key->secret_len = len;
  return key;
}

/* Settles the algorithm from the public key: a token never gets to choose it. */
static gboolean
sign_key_classify (NatSignKey *key, GError **error)
{
  int pk = gnutls_pubkey_get_pk_algorithm (key->public_key, NULL);
  gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;

  if (pk == GNUTLS_PK_EDDSA_ED25519) {
    key->algorithm = NAT_SIGN_EDDSA;
    return TRUE;
  }
  if (pk == GNUTLS_PK_ECDSA &&
      gnutls_pubkey_export_ecc_raw2 (key->public_key, &curve, NULL, NULL, 0) >= 0 &&
      curve == GNUTLS_ECC_CURVE_SECP256R1) {
    key->algorithm = NAT_SIGN_ES256;
    return TRUE;
  }
  g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
      "The key is of type %s; tokens are signed with Ed25519 or with an elliptic-curve key "
      "on P-256",
      gnutls_pk_algorithm_get_name (pk) ? gnutls_pk_algorithm_get_name (pk) : "unknown");
  return FALSE;
}

static gboolean
gnutls_ok (int result, const char *what, GError **error)
{
  if (result >= 0)
    return TRUE;
  g_set_error (error, NAT_ERROR, NAT_ERROR_CRYPTO, "%s: %s", what, gnutls_strerror (result));
  return FALSE;
}

/* The public half of a private key, so that whoever signs can also verify. */
static gboolean
sign_key_derive_public (NatSignKey *key, GError **error)
{
  return gnutls_ok (gnutls_pubkey_init (&key->public_key), "Out of memory", error) &&
         gnutls_ok (gnutls_pubkey_import_privkey (key->public_key, key->private_key, 0, 0),
             "The private key has no usable public part", error);
}

static gboolean
sign_key_import_private (NatSignKey *key, const gnutls_datum_t *pem, GError **error)
{
  int result;

  if (!gnutls_ok (gnutls_privkey_init (&key->private_key), "Out of memory", error))
    return FALSE;
  result = gnutls_privkey_import_x509_raw (key->private_key, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
  if (result < 0) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "The private key cannot be read (%s); it must be PEM (\"BEGIN PRIVATE KEY\") and not "
        "protected by a passphrase",
        gnutls_strerror (result));
    return FALSE;
  }
  return sign_key_derive_public (key, error);
}

static gboolean
sign_key_import_public (NatSignKey *key, const gnutls_datum_t *pem, GError **error)
{
  int result;

  if (!gnutls_ok (gnutls_pubkey_init (&key->public_key), "Out of memory", error))
    return FALSE;
  result = gnutls_pubkey_import (key->public_key, pem, GNUTLS_X509_FMT_PEM);
  if (result < 0) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "The key cannot be read (%s); it must be PEM, beginning with \"-----BEGIN PUBLIC "
        "KEY-----\" or \"-----BEGIN PRIVATE KEY-----\"",
        gnutls_strerror (result));
    return FALSE;
  }
  return TRUE;
}

NatSignKey *
nat_sign_key_new_pem (const char *pem, GError **error)
{
  g_autoptr (NatSignKey) key = sign_key_alloc (NAT_SIGN_EDDSA);
  gnutls_datum_t d = datum (pem, strlen (pem));
  gboolean ok;

  if (strstr (pem, "PRIVATE KEY-----") != NULL)
    ok = sign_key_import_private (key, &d, error);
  else
    ok = sign_key_import_public (key, &d, error);
  if (!ok || !sign_key_classify (key, error))
    return NULL;
  return g_steal_pointer (&key);
}

/* result: of the import. A point that is not on its curve is found here, not at the first token. */
static NatSignKey *
sign_key_from_numbers (NatSignKey *key, int result, GError **error)
{
  if (result >= 0)
    result = gnutls_pubkey_verify_params (key->public_key);
  if (gnutls_ok (result, "The numbers are no public key", error))
    return key;
  nat_sign_key_unref (key);
  return NULL;
}

NatSignKey *
nat_sign_key_new_p256 (const guint8 x[32], const guint8 y[32], GError **error)
{
  NatSignKey *key = sign_key_alloc (NAT_SIGN_ES256);
  gnutls_datum_t dx = datum (x, 32), dy = datum (y, 32);

  must (gnutls_pubkey_init (&key->public_key), "a public key");
  return sign_key_from_numbers (key,
      gnutls_pubkey_import_ecc_raw (key->public_key, GNUTLS_ECC_CURVE_SECP256R1, &dx, &dy), error);
}

NatSignKey *
nat_sign_key_new_ed25519 (const guint8 x[32], GError **error)
{
  NatSignKey *key = sign_key_alloc (NAT_SIGN_EDDSA);
  gnutls_datum_t dx = datum (x, 32);

  must (gnutls_pubkey_init (&key->public_key), "a public key");
  return sign_key_from_numbers (key,
      gnutls_pubkey_import_ecc_raw (key->public_key, GNUTLS_ECC_CURVE_ED25519, &dx, NULL), error);
}

/* e: short, odd, and not 1, with which everything is a signature. */
static gboolean
rsa_exponent_is_sound (const guint8 *e, gsize e_len)
{
  guint64 value = 0;

  if (e_len == 0 || e_len > sizeof value)
    return FALSE;
  for (gsize i = 0; i < e_len; i++)
    value = value << 8 | e[i];
  return value >= 3 && value % 2 == 1;
}

NatSignKey *
nat_sign_key_new_rsa (const guint8 *n, gsize n_len, const guint8 *e, gsize e_len, GError **error)
{
  NatSignKey *key;
  gnutls_datum_t dn, de = datum (e, e_len);
  unsigned int bits = 0;

  for (; n_len > 0 && *n == 0; n_len--)
    n++;
  if (n_len * 8 < RSA_BITS_MIN || n_len * 8 > RSA_BITS_MAX || n[n_len - 1] % 2 == 0 ||
      !rsa_exponent_is_sound (e, e_len)) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "An RSA key must have %d to %d bits and an odd exponent above 1", RSA_BITS_MIN,
        RSA_BITS_MAX);
    return NULL;
  }
  dn = datum (n, n_len);
  key = sign_key_alloc (NAT_SIGN_RS256);
  must (gnutls_pubkey_init (&key->public_key), "a public key");
  key =
      sign_key_from_numbers (key, gnutls_pubkey_import_rsa_raw (key->public_key, &dn, &de), error);
  if (key == NULL)
    return NULL;
  gnutls_pubkey_get_pk_algorithm (key->public_key, &bits);
  if (bits >= RSA_BITS_MIN)
    return key;
  g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT, "An RSA key of %u bits is too weak", bits);
  nat_sign_key_unref (key);
  return NULL;
}

static NatSignKey *
sign_key_generate_hmac (GError **error)
{
  guint8 secret[HS256_KEY_MIN];
  NatSignKey *key;

  nat_crypto_random (secret, sizeof secret);
  key = nat_sign_key_new_hmac (secret, sizeof secret, error);
  nat_crypto_wipe (secret, sizeof secret);
  return key;
}

NatSignKey *
nat_sign_key_generate (NatSignAlgorithm algorithm, GError **error)
{
  g_autoptr (NatSignKey) key = NULL;
  gnutls_pk_algorithm_t pk = GNUTLS_PK_EDDSA_ED25519;
  gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_ED25519;

  g_return_val_if_fail (algorithm != NAT_SIGN_RS256, NULL);
  if (algorithm == NAT_SIGN_HS256)
    return sign_key_generate_hmac (error);
  if (algorithm == NAT_SIGN_ES256) {
    pk = GNUTLS_PK_ECDSA;
    curve = GNUTLS_ECC_CURVE_SECP256R1;
  }
  key = sign_key_alloc (algorithm);
  if (!gnutls_ok (gnutls_privkey_init (&key->private_key), "Out of memory", error) ||
      !gnutls_ok (gnutls_privkey_generate (key->private_key, pk, GNUTLS_CURVE_TO_BITS (curve), 0),
          "No key could be made", error) ||
      !sign_key_derive_public (key, error))
    return NULL;
  return g_steal_pointer (&key);
}

static int
export_private (NatSignKey *key, gnutls_datum_t *pem)
{
  gnutls_x509_privkey_t x509 = NULL;
  int result = gnutls_privkey_export_x509 (key->private_key, &x509);

  if (result >= 0)
    result =
        gnutls_x509_privkey_export2_pkcs8 (x509, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, pem);
  if (x509 != NULL)
    gnutls_x509_privkey_deinit (x509);
  return result;
}

char *
nat_sign_key_to_pem (NatSignKey *key, gboolean private_part, GError **error)
{
  gnutls_datum_t pem = {NULL, 0};
  char *text;
  int result;

  if (key->algorithm == NAT_SIGN_HS256 || (private_part && key->private_key == NULL)) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "This key cannot be written as PEM: it is a shared secret, or its private part is "
        "not here");
    return NULL;
  }
  if (private_part)
    result = export_private (key, &pem);
  else
    result = gnutls_pubkey_export2 (key->public_key, GNUTLS_X509_FMT_PEM, &pem);
  if (!gnutls_ok (result, "The key cannot be written as PEM", error))
    return NULL;
  text = g_strndup ((const char *)pem.data, pem.size);
  nat_crypto_wipe (pem.data, pem.size);
  gnutls_free (pem.data);
  return text;
}

/* A DER integer may be shorter than the 32 bytes of JWS, or longer by a zero. */
static gboolean
copy_integer (const gnutls_datum_t *integer, guint8 out[32])
{
  const guint8 *p = integer->data;
  gsize len = integer->size;

  for (; len > 32 && *p == 0; len--)
    p++;
  if (len > 32)
    return FALSE;
  memset (out, 0, 32 - len);
  memcpy (out + 32 - len, p, len);
  return TRUE;
}

static gboolean
es256_from_der (const gnutls_datum_t *der, guint8 *sig)
{
  gnutls_datum_t r = {NULL, 0}, s = {NULL, 0};
  gboolean ok = gnutls_decode_rs_value (der, &r, &s) >= 0 && copy_integer (&r, sig) &&
                copy_integer (&s, sig + 32);

  gnutls_free (r.data);
  gnutls_free (s.data);
  return ok;
}

/* DER wants the shortest form of each integer. */
static gnutls_datum_t
integer_datum (const guint8 *bytes)
{
  gsize len = 32;

  for (; len > 1 && *bytes == 0; len--)
    bytes++;
  return datum (bytes, len);
}

gboolean
nat_sign_key_sign (
    NatSignKey *key, gconstpointer data, gsize len, guint8 *sig, gsize *sig_len, GError **error)
{
  gnutls_datum_t d = datum (data, len), out = {NULL, 0};
  gboolean es256 = key->algorithm == NAT_SIGN_ES256;
  gboolean ok;

  if (key->algorithm == NAT_SIGN_HS256) {
    nat_crypto_hmac (key->secret, key->secret_len, data, len, sig);
    *sig_len = NAT_SHA256_SIZE;
    return TRUE;
  }
  if (key->private_key == NULL) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "Only the public part of the key is here; signing needs the private key");
    return FALSE;
  }
  if (!gnutls_ok (gnutls_privkey_sign_data2 (key->private_key,
                      es256 ? GNUTLS_SIGN_ECDSA_SHA256 : GNUTLS_SIGN_EDDSA_ED25519, 0, &d, &out),
          "Signing failed", error))
    return FALSE;
  ok = es256 ? es256_from_der (&out, sig) : out.size == JWS_SIGNATURE_SIZE;
  if (ok && !es256)
    memcpy (sig, out.data, out.size);
  gnutls_free (out.data);
  *sig_len = JWS_SIGNATURE_SIZE;
  return ok || gnutls_ok (GNUTLS_E_INTERNAL_ERROR, "Signing failed", error);
}

static gboolean
es256_verify (NatSignKey *key, const gnutls_datum_t *data, const guint8 *sig)
{
  gnutls_datum_t r = integer_datum (sig), s = integer_datum (sig + 32);
  gnutls_datum_t der = {NULL, 0};
  gboolean ok;

  if (gnutls_encode_rs_value (&der, &r, &s) < 0)
    return FALSE;
  ok = gnutls_pubkey_verify_data2 (key->public_key, GNUTLS_SIGN_ECDSA_SHA256, 0, data, &der) >= 0;
  gnutls_free (der.data);
  return ok;
}

gboolean
nat_sign_key_verify (
    NatSignKey *key, gconstpointer data, gsize len, const guint8 *sig, gsize sig_len)
{
  gnutls_datum_t d = datum (data, len);
  guint8 mac[NAT_SHA256_SIZE];
  gnutls_datum_t s;

  if (key->algorithm == NAT_SIGN_HS256) {
    if (sig_len != sizeof mac)
      return FALSE;
    nat_crypto_hmac (key->secret, key->secret_len, data, len, mac);
    return nat_crypto_equal (mac, sig, sizeof mac);
  }
  s = datum (sig, sig_len);
  if (key->algorithm == NAT_SIGN_RS256)
    return gnutls_pubkey_verify_data2 (key->public_key, GNUTLS_SIGN_RSA_SHA256, 0, &d, &s) >= 0;
  if (sig_len != JWS_SIGNATURE_SIZE)
    return FALSE;
  if (key->algorithm == NAT_SIGN_ES256)
    return es256_verify (key, &d, sig);
  return gnutls_pubkey_verify_data2 (key->public_key, GNUTLS_SIGN_EDDSA_ED25519, 0, &d, &s) >= 0;
}
