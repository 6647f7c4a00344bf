/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The only door to GnuTLS's cryptography. Nothing here keeps global state. Handles
 * (NatHmac, NatAead) belong to one thread at a time. */

#include <glib.h>
#include "natproto/base64url.h" /* in which keys are written */

G_BEGIN_DECLS

#define NAT_SHA256_SIZE     32
#define NAT_AEAD_TAG_SIZE   16
#define NAT_AEAD_NONCE_SIZE 12

/* Fills out with key-grade random bytes; aborts the process if the system has none. */
void nat_crypto_random (gpointer out, gsize len);
void nat_crypto_sha256 (gconstpointer data, gsize len, guint8 out[NAT_SHA256_SIZE]);
/* Constant-time in len. TRUE if equal. */
gboolean nat_crypto_equal (gconstpointer a, gconstpointer b, gsize len);
/* Overwrites in a way that the compiler does not remove. */
void nat_crypto_wipe (gpointer data, gsize len);
void nat_crypto_wipe_free (char *text); /* wipes a string and frees it; NULL is fine */

/* HMAC-SHA256. One call, or pieces over a kept handle (as fast as it gets per packet). */
void nat_crypto_hmac (
    gconstpointer key, gsize key_len, gconstpointer data, gsize len, guint8 out[NAT_SHA256_SIZE]);
typedef struct _NatHmac NatHmac;
NatHmac *nat_hmac_new (gconstpointer key, gsize key_len);
void nat_hmac_update (NatHmac *hmac, gconstpointer data, gsize len);
void nat_hmac_final (NatHmac *hmac, guint8 out[NAT_SHA256_SIZE]); /* resets for the next */
void nat_hmac_free (NatHmac *hmac);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatHmac, nat_hmac_free)

/* RFC 5869 with SHA-256; out_len at most 255*32. salt may be NULL. */
void nat_crypto_hkdf (gconstpointer ikm, gsize ikm_len, gconstpointer salt, gsize salt_len,
    gconstpointer info, gsize info_len, guint8 *out, gsize out_len);

typedef enum {
  NAT_HASH_SHA256,
  NAT_HASH_SHA512,
} NatHash;
void nat_crypto_hkdf_extract (NatHash hash, gconstpointer salt, gsize salt_len, gconstpointer ikm,
    gsize ikm_len, guint8 *prk); /* prk: 32 or 64 bytes */
void nat_crypto_hkdf_expand (NatHash hash, const guint8 *prk, gconstpointer info, gsize info_len,
    guint8 *out, gsize out_len);
/* RFC 8018 PBKDF2-HMAC-SHA256. Slow on purpose: never on a streaming or network thread. */
void nat_crypto_pbkdf2 (gconstpointer password, gsize password_len, gconstpointer salt,
    gsize salt_len, guint rounds, guint8 *out, gsize out_len);

/* AES-GCM, key of 16 or 32 bytes. */
typedef struct _NatAead NatAead;
NatAead *nat_aead_new (gconstpointer key, gsize key_len);
/* out: len + 16 bytes; may be the same buffer as in. */
gboolean nat_aead_seal (NatAead *aead, const guint8 nonce[NAT_AEAD_NONCE_SIZE], gconstpointer aad,
    gsize aad_len, gconstpointer in, gsize len, guint8 *out);
/* len includes the tag; out: len - 16 bytes, may be the same buffer as in.
 * FALSE: not genuine; out is then undefined. */
gboolean nat_aead_open (NatAead *aead, const guint8 nonce[NAT_AEAD_NONCE_SIZE], gconstpointer aad,
    gsize aad_len, gconstpointer in, gsize len, guint8 *out);
void nat_aead_free (NatAead *aead);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatAead, nat_aead_free)

/* One block of plain AES-128, for SRTP's key derivation (RFC 3711 section 4.3). Not for data. */
void nat_crypto_aes128_block (const guint8 key[16], const guint8 in[16], guint8 out[16]);

/* Signature keys, for JWT: the algorithm belongs to the key. */
typedef enum {
  NAT_SIGN_HS256,
  NAT_SIGN_ES256,
  NAT_SIGN_EDDSA, /* Ed25519 */
  NAT_SIGN_RS256, /* only to verify, and only from nat_sign_key_new_rsa */
} NatSignAlgorithm;
typedef struct _NatSignKey NatSignKey; /* immutable; shared between threads */
/* secret: at least 32 bytes */
NatSignKey *nat_sign_key_new_hmac (gconstpointer secret, gsize len, GError **error);
/* A public or (PKCS#8) private key in PEM: EC P-256 or Ed25519, anything else is refused. */
NatSignKey *nat_sign_key_new_pem (const char *pem, GError **error);
/* Public keys from their numbers, big-endian (RFC 7518 section 6): a point of P-256 (ES256); the 32 bytes of
 * Ed25519; an RSA modulus of 2048 to 4096 bits with an odd exponent from 3 on (RS256). */
NatSignKey *nat_sign_key_new_p256 (const guint8 x[32], const guint8 y[32], GError **error);
NatSignKey *nat_sign_key_new_ed25519 (const guint8 x[32], GError **error);
NatSignKey *nat_sign_key_new_rsa (
    const guint8 *n, gsize n_len, const guint8 *e, gsize e_len, GError **error);
NatSignKey *nat_sign_key_generate (NatSignAlgorithm algorithm, GError **error);
/* Not for HS256 and RS256. Whoever frees a private part wipes it first. */
char *nat_sign_key_to_pem (NatSignKey *key, gboolean private_part, GError **error);
NatSignAlgorithm nat_sign_key_algorithm (NatSignKey *key);
/* JWS signatures: 32 bytes (HS256) or 64 bytes (ES256 as r||s, EdDSA). sig holds 64 bytes. One of RS256 that is
 * to be verified has as many bytes as the modulus. */
gboolean nat_sign_key_sign (
    NatSignKey *key, gconstpointer data, gsize len, guint8 *sig, gsize *sig_len, GError **error);
gboolean nat_sign_key_verify (
    NatSignKey *key, gconstpointer data, gsize len, const guint8 *sig, gsize sig_len);
/* A hash that tells keys apart, and nothing of a secret: the same where the same signatures fit. */
void nat_sign_key_fingerprint (NatSignKey *key, guint8 out[NAT_SHA256_SIZE]);
NatSignKey *nat_sign_key_ref (NatSignKey *key);
void nat_sign_key_unref (NatSignKey *key);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSignKey, nat_sign_key_unref)

G_END_DECLS
