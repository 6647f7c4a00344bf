/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/sframe.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"
#include "natproto/messages.h"

/* RFC 9605 section 4.3: | X | K K K | Y | C C C |, where X or Y off means that the three bits
 * are the value itself, and on that they are the number of its bytes, less one. */

#define INLINE_MAX 7

/* Bytes that value takes after the first one of the header. */
static guint
extra_bytes (guint64 value)
{
  guint n = 1;

  if (value <= INLINE_MAX)
    return 0;
  while (n < 8 && value >> (8 * n) != 0)
    n++;
  return n;
}

static guint8
config_bits (guint64 value, guint n)
{
  return n == 0 ? value : 0x8 | (n - 1);
}

gsize
nat_sframe_header_write (guint8 *buf, guint64 kid, guint64 ctr)
{
  guint k = extra_bytes (kid), c = extra_bytes (ctr);

  buf[0] = config_bits (kid, k) << 4 | config_bits (ctr, c);
  nat_write_be (buf + 1, kid, k);
  nat_write_be (buf + 1 + k, ctr, c);
  return 1 + k + c;
}

/* One value with its four bits of configuration; steps over its bytes. FALSE: cut or too long a form,
 * which would give one counter two spellings. */
static gboolean
read_value (guint bits, const guint8 **p, const guint8 *end, guint64 *value)
{
  guint n = (bits & 7) + 1;

  *value = bits & 7;
  if ((bits & 8) == 0)
    return TRUE;
  if ((gsize)(end - *p) < n)
    return FALSE;
  *value = nat_read_be (*p, n);
  *p += n;
  return extra_bytes (*value) == n;
}

gboolean
nat_sframe_header_parse (NatSframeHeader *h, const guint8 *data, gsize len)
{
  const guint8 *p = data + 1, *end = data + len;

  if (len == 0)
    return FALSE;
  if (!read_value (data[0] >> 4, &p, end, &h->kid) || !read_value (data[0] & 15, &p, end, &h->ctr))
    return FALSE;
  h->len = p - data;
  return TRUE;
}

/* ---- Keys -------------------------------------------------------------- */

struct _NatSframeKey {
  guint64 kid;
  guint8 salt[NAT_AEAD_NONCE_SIZE];
  NatAead *aead;
};

/* Label, KID in 8 bytes, suite in 2. */
static void
derive (NatSframeSuite suite, const guint8 *secret, const char *label, guint64 kid, guint8 *out,
    gsize out_len)
{
  NatHash hash = suite == NAT_SFRAME_AES_256_GCM_SHA512_128 ? NAT_HASH_SHA512 : NAT_HASH_SHA256;
  gsize n = strlen (label);
  guint8 info[64];

  g_assert (n + 10 <= sizeof info);
  memcpy (info, label, n);
  nat_write_be (info + n, kid, 8);
  nat_write_be (info + n + 8, suite, 2);
  nat_crypto_hkdf_expand (hash, secret, info, n + 10, out, out_len);
}

NatSframeKey *
nat_sframe_key_new (NatSframeSuite suite, guint64 kid, gconstpointer base_key, gsize base_key_len)
{
  gboolean large = suite == NAT_SFRAME_AES_256_GCM_SHA512_128;
  gsize key_len = large ? 32 : 16;
  guint8 secret[64], key[32];
  NatSframeKey *k;

  g_return_val_if_fail (large || suite == NAT_SFRAME_AES_128_GCM_SHA256_128, NULL);
  k = g_new0 (NatSframeKey, 1);
  k->kid = kid;
  nat_crypto_hkdf_extract (
      large ? NAT_HASH_SHA512 : NAT_HASH_SHA256, NULL, 0, base_key, base_key_len, secret);
  derive (suite, secret, "SFrame 1.0 Secret key ", kid, key, key_len);
  derive (suite, secret, "SFrame 1.0 Secret salt ", kid, k->salt, sizeof k->salt);
  k->aead = nat_aead_new (key, key_len);
  nat_crypto_wipe (secret, sizeof secret);
  nat_crypto_wipe (key, sizeof key);
  return k;
}

void
nat_sframe_key_free (NatSframeKey *k)
{
  if (k == NULL)
    return;
  nat_aead_free (k->aead);
  nat_crypto_wipe (k, sizeof *k);
  g_free (k);
}

/* ---- Frames ------------------------------------------------------------ */

/* What both sides compute alike from header and metadata. */
typedef struct {
  guint8 nonce[NAT_AEAD_NONCE_SIZE];
  guint8 aad[NAT_SFRAME_HEADER_MAX + NAT_DATAGRAM_MAX];
  gsize aad_len;
} Frame;

static gboolean
frame_init (Frame *f, const NatSframeKey *k, guint64 ctr, const guint8 *header, gsize header_len,
    gconstpointer metadata, gsize metadata_len)
{
  if (metadata_len > NAT_DATAGRAM_MAX)
    return FALSE;
  memset (f->nonce, 0, sizeof f->nonce);
  nat_write_be (f->nonce + sizeof f->nonce - 8, ctr, 8);
  for (guint i = 0; i < sizeof f->nonce; i++)
    f->nonce[i] ^= k->salt[i];
  memcpy (f->aad, header, header_len);
  if (metadata_len > 0)
    memcpy (f->aad + header_len, metadata, metadata_len);
  f->aad_len = header_len + metadata_len;
  return TRUE;
}

gsize
nat_sframe_seal (NatSframeKey *k, guint64 ctr, gconstpointer metadata, gsize metadata_len,
    gconstpointer in, gsize len, guint8 *out)
{
  gsize n = nat_sframe_header_write (out, k->kid, ctr);
  Frame f;

  if (!frame_init (&f, k, ctr, out, n, metadata, metadata_len) ||
      !nat_aead_seal (k->aead, f.nonce, f.aad, f.aad_len, in, len, out + n))
    return 0;
  return n + len + NAT_SFRAME_TAG_SIZE;
}

gboolean
nat_sframe_open (NatSframeKey *k, const NatSframeHeader *h, gconstpointer metadata,
    gsize metadata_len, const guint8 *data, gsize len, guint8 *out, gsize *out_len)
{
  /* The cipher works in place or from one buffer into another, but not into a shifted one. */
  guint8 *text = out == data ? out + h->len : out;
  Frame f;

  if (h->kid != k->kid || len < h->len + NAT_SFRAME_TAG_SIZE ||
      !frame_init (&f, k, h->ctr, data, h->len, metadata, metadata_len) ||
      !nat_aead_open (k->aead, f.nonce, f.aad, f.aad_len, data + h->len, len - h->len, text))
    return FALSE;
  *out_len = len - h->len - NAT_SFRAME_TAG_SIZE;
  if (text != out)
    memmove (out, text, *out_len);
  return TRUE;
}
