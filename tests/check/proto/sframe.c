/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* RFC 9605's vectors byte for byte, then what must be refused. */

#include "natproto/sframe.h"

#include <string.h>

#include "natproto/messages.h"
#include "vectors.h"

static void
test_headers (void)
{
  g_autoptr (JsonArray) vectors = vectors_array ("sframe/test-vectors.json", "header");

  g_assert_cmpuint (json_array_get_length (vectors), ==, 289);
  for (guint i = 0; i < json_array_get_length (vectors); i++) {
    JsonObject *v = json_array_get_object_element (vectors, i);
    g_autoptr (GByteArray) encoded = vectors_bytes (v, "encoded");
    guint64 kid = vectors_u64 (v, "kid"), ctr = vectors_u64 (v, "ctr");
    guint8 buf[NAT_SFRAME_HEADER_MAX];
    NatSframeHeader h;

    g_assert_cmpmem (buf, nat_sframe_header_write (buf, kid, ctr), encoded->data, encoded->len);
    g_assert_true (nat_sframe_header_parse (&h, encoded->data, encoded->len));
    g_assert_cmpuint (h.kid, ==, kid);
    g_assert_cmpuint (h.ctr, ==, ctr);
    g_assert_cmpuint (h.len, ==, encoded->len);
    /* Cut anywhere it is no header. */
    for (gsize n = 0; n < encoded->len; n++) {
      g_autofree guint8 *exact = g_memdup2 (encoded->data, n);

      g_assert_false (nat_sframe_header_parse (&h, exact, n));
    }
  }
}

/* Longer than need be: a second spelling of a counter would slip past a replay window's eyes. */
static void
test_headers_not_shortest (void)
{
  static const char *const hex[] = {
      "0800",               /* CTR 0 in a byte */
      "0807",               /* CTR 7 in a byte */
      "8000",               /* KID 0 in a byte */
      "8707ff",             /* KID cut to a byte but 7 */
      "0900ff",             /* CTR 255 in two bytes */
      "0f0000000000000001", /* CTR 1 in eight */
      "0f00ffffffffffffff",
      "9000ff", /* KID 255 in two bytes */
      "f0000000000000000100",
      "88000000",
  };

  for (guint i = 0; i < G_N_ELEMENTS (hex); i++) {
    g_autoptr (GByteArray) bytes = vectors_unhex (hex[i]);
    NatSframeHeader h;

    if (nat_sframe_header_parse (&h, bytes->data, bytes->len))
      g_error ("%s was taken", hex[i]);
  }
}

static void
check_vector (JsonObject *v, NatSframeSuite suite)
{
  g_autoptr (GByteArray) base_key = vectors_bytes (v, "base_key");
  g_autoptr (GByteArray) metadata = vectors_bytes (v, "metadata");
  g_autoptr (GByteArray) pt = vectors_bytes (v, "pt"), ct = vectors_bytes (v, "ct");
  g_autoptr (NatSframeKey) key =
      nat_sframe_key_new (suite, vectors_u64 (v, "kid"), base_key->data, base_key->len);
  g_autofree guint8 *out = g_malloc (pt->len + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE);
  NatSframeHeader h;
  gsize len;

  len = nat_sframe_seal (
      key, vectors_u64 (v, "ctr"), metadata->data, metadata->len, pt->data, pt->len, out);
  g_assert_cmpmem (out, len, ct->data, ct->len);
  /* Into another buffer, and in place. */
  g_assert_true (nat_sframe_header_parse (&h, ct->data, ct->len));
  g_assert_true (
      nat_sframe_open (key, &h, metadata->data, metadata->len, ct->data, ct->len, out, &len));
  g_assert_cmpmem (out, len, pt->data, pt->len);
  g_assert_true (
      nat_sframe_open (key, &h, metadata->data, metadata->len, ct->data, ct->len, ct->data, &len));
  g_assert_cmpmem (ct->data, len, pt->data, pt->len);
}

static void
test_suites (void)
{
  g_autoptr (JsonArray) vectors = vectors_array ("sframe/test-vectors.json", "sframe");
  guint checked = 0;

  for (guint i = 0; i < json_array_get_length (vectors); i++) {
    JsonObject *v = json_array_get_object_element (vectors, i);
    guint64 suite = vectors_u64 (v, "cipher_suite");

    if (suite == NAT_SFRAME_AES_128_GCM_SHA256_128 || suite == NAT_SFRAME_AES_256_GCM_SHA512_128) {
      check_vector (v, suite);
      checked++;
    }
  }
  g_assert_cmpuint (checked, ==, 2);
}

static void
test_lengths (void)
{
  static const guint64 counters[] = {0, 7, 8, 255, 256, G_MAXUINT32, G_MAXUINT64};
  g_autoptr (NatSframeKey) key =
      nat_sframe_key_new (NAT_SFRAME_AES_128_GCM_SHA256_128, G_MAXUINT64, "secret", 6);
  guint8 text[1500], sealed[1500 + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE];

  memset (text, 0x5a, sizeof text);
  for (gsize n = 0; n <= sizeof text; n += n < 40 ? 1 : 365) {
    guint64 ctr = counters[n % G_N_ELEMENTS (counters)];
    gsize len = nat_sframe_seal (key, ctr, "meta", 4, text, n, sealed), opened;
    NatSframeHeader h;

    g_assert_true (nat_sframe_header_parse (&h, sealed, len));
    g_assert_cmpuint (h.ctr, ==, ctr);
    g_assert_cmpuint (len, ==, h.len + n + NAT_SFRAME_TAG_SIZE);
    g_assert_true (nat_sframe_open (key, &h, "meta", 4, sealed, len, sealed, &opened));
    g_assert_cmpmem (sealed, opened, text, n);
  }
}

typedef struct {
  NatSframeKey *key;
  guint8 bytes[64];
  gsize len;
} Sealed;

static Sealed
seal_example (void)
{
  Sealed s = {.key = nat_sframe_key_new (NAT_SFRAME_AES_256_GCM_SHA512_128, 5, "secret", 6)};

  s.len = nat_sframe_seal (s.key, 300, "meta", 4, "hello", 5, s.bytes);
  g_assert_cmpuint (s.len, ==, 3 + 5 + 16);
  return s;
}

static gboolean
opens (NatSframeKey *key, const guint8 *data, gsize len, const char *metadata, gsize metadata_len)
{
  g_autofree guint8 *exact = g_memdup2 (data, len);
  guint8 out[64];
  NatSframeHeader h;
  gsize out_len;

  return nat_sframe_header_parse (&h, exact, len) &&
         nat_sframe_open (key, &h, metadata, metadata_len, exact, len, out, &out_len);
}

static void
test_tampered (void)
{
  Sealed s = seal_example ();
  g_autoptr (NatSframeKey) other_kid =
      nat_sframe_key_new (NAT_SFRAME_AES_256_GCM_SHA512_128, 6, "secret", 6);
  g_autoptr (NatSframeKey) other_key =
      nat_sframe_key_new (NAT_SFRAME_AES_256_GCM_SHA512_128, 5, "Secret", 6);
  g_autoptr (NatSframeKey) other_suite =
      nat_sframe_key_new (NAT_SFRAME_AES_128_GCM_SHA256_128, 5, "secret", 6);

  g_assert_true (opens (s.key, s.bytes, s.len, "meta", 4));
  for (gsize bit = 0; bit < s.len * 8; bit++) {
    s.bytes[bit / 8] ^= 1 << bit % 8;
    g_assert_false (opens (s.key, s.bytes, s.len, "meta", 4));
    s.bytes[bit / 8] ^= 1 << bit % 8;
  }
  for (gsize n = 0; n < s.len; n++)
    g_assert_false (opens (s.key, s.bytes, n, "meta", 4));
  g_assert_false (opens (s.key, s.bytes, s.len + 1, "meta", 4));
  g_assert_false (opens (s.key, s.bytes, s.len, "Meta", 4));
  g_assert_false (opens (s.key, s.bytes, s.len, "meta", 3));
  g_assert_false (opens (s.key, s.bytes, s.len, NULL, 0));
  g_assert_false (opens (other_kid, s.bytes, s.len, "meta", 4));
  g_assert_false (opens (other_key, s.bytes, s.len, "meta", 4));
  g_assert_false (opens (other_suite, s.bytes, s.len, "meta", 4));
  nat_sframe_key_free (s.key);
}

static void
test_metadata_limit (void)
{
  g_autofree char *metadata = g_strnfill (NAT_DATAGRAM_MAX + 1, 'm');
  Sealed s = seal_example ();
  guint8 out[64];

  g_assert_cmpuint (nat_sframe_seal (s.key, 1, metadata, NAT_DATAGRAM_MAX, "x", 1, out), >, 0);
  g_assert_cmpuint (nat_sframe_seal (s.key, 2, metadata, NAT_DATAGRAM_MAX + 1, "x", 1, out), ==, 0);
  g_assert_false (opens (s.key, s.bytes, s.len, metadata, NAT_DATAGRAM_MAX + 1));
  nat_sframe_key_free (s.key);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sframe/headers", test_headers);
  g_test_add_func ("/sframe/headers-not-shortest", test_headers_not_shortest);
  g_test_add_func ("/sframe/suites", test_suites);
  g_test_add_func ("/sframe/lengths", test_lengths);
  g_test_add_func ("/sframe/tampered", test_tampered);
  g_test_add_func ("/sframe/metadata-limit", test_metadata_limit);
  return g_test_run ();
}
