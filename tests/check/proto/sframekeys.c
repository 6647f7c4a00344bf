/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Packets through a sealer and an opener: late, lost, twice, changed, over a roll of the key, and
 * at each limit. The source is included, for a counter near its end is 2^32 packets away. */

#include "natproto/sframekeys.c"

#include <malloc.h>

#include "vectors.h"

#define PACKET_MAX 1600
#define SEALED_MAX (PACKET_MAX + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE)

static const NatMediaKey key_a = {
    .kid = 7, .suite = NAT_SFRAME_AES_128_GCM_SHA256_128, .key = {1, 2, 3, 4}};
static const NatMediaKey key_b = {
    .kid = 300, .suite = NAT_SFRAME_AES_256_GCM_SHA512_128, .key = {5, 6, 7, 8}};

/* An RTP packet with a payload that tells its number; returns its length. */
static gsize
make_packet (guint8 *p, guint32 ssrc, guint16 seq, gsize payload)
{
  memset (p, 0, 12);
  p[0] = 0x80;
  p[1] = 96;
  nat_write_be (p + 2, seq, 2);
  nat_write_be (p + 4, seq * 3000u, 4);
  nat_write_be (p + 8, ssrc, 4);
  for (gsize i = 0; i < payload; i++)
    p[12 + i] = (guint8)(seq + i);
  return 12 + payload;
}

typedef struct {
  guint8 plain[PACKET_MAX], sealed[SEALED_MAX];
  gsize plain_len, sealed_len;
} Pair;

static Pair
seal (NatSframeSealer *s, guint32 ssrc, guint16 seq)
{
  Pair p;

  p.plain_len = make_packet (p.plain, ssrc, seq, 100);
  p.sealed_len = nat_sframe_sealer_seal (s, p.plain, p.plain_len, p.sealed);
  g_assert_cmpuint (p.sealed_len, >, p.plain_len);
  return p;
}

/* Opens a copy; on success it must be the plain packet. */
static NatOpenStatus
open_pair (NatSframeOpener *o, const Pair *p)
{
  g_autofree guint8 *copy = g_memdup2 (p->sealed, p->sealed_len);
  gsize len = p->sealed_len;
  NatOpenStatus status = nat_sframe_opener_open (o, copy, &len);

  if (status == NAT_OPEN_OK)
    g_assert_cmpmem (copy, len, p->plain, p->plain_len);
  return status;
}

static NatSframeOpener *
opener_with (const NatMediaKey *key)
{
  NatSframeOpener *o = nat_sframe_opener_new ();

  nat_sframe_opener_set_keys (o, key, 1);
  return o;
}

/* The derivation as the header tells it, computed here with nothing but HKDF and SFrame. */
static void
test_derivation (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_b);
  g_autoptr (NatSframeKey) key = NULL;
  static const char info[] = "natrelay sframe v1"
                             "\x12\x34\x56\x78"
                             "\0\0\0\0\0\0\x01\x2c";
  guint8 base_key[32], want[SEALED_MAX];
  Pair p = seal (s, 0x12345678, 1);
  gsize len;

  nat_crypto_hkdf (key_b.key, 32, NULL, 0, info, sizeof info - 1, base_key, 32);
  key = nat_sframe_key_new (NAT_SFRAME_AES_256_GCM_SHA512_128, 300, base_key, 32);
  memcpy (want, p.plain, 12);
  len = nat_sframe_seal (key, 0, p.plain, 12, p.plain + 12, 100, want + 12);
  g_assert_cmpmem (p.sealed, p.sealed_len, want, 12 + len);
}

static void
test_counters_per_ssrc (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  NatSframeHeader h;

  for (guint i = 0; i < 20; i++) {
    Pair a = seal (s, 1, i), b = seal (s, 2, 1000 + i);

    g_assert_true (nat_sframe_header_parse (&h, a.sealed + 12, a.sealed_len - 12));
    g_assert_cmpuint (h.ctr, ==, i);
    g_assert_cmpuint (h.kid, ==, 7);
    g_assert_true (nat_sframe_header_parse (&h, b.sealed + 12, b.sealed_len - 12));
    g_assert_cmpuint (h.ctr, ==, i);
    g_assert_cmpint (open_pair (o, &a), ==, NAT_OPEN_OK);
    g_assert_cmpint (open_pair (o, &b), ==, NAT_OPEN_OK);
  }
}

/* CSRCs, extensions and padding: the header stays as it is but for the P bit, padding goes. */
static void
test_shapes (void)
{
  static const struct {
    const char *packet, *opened;
  } rows[] = {
      {"80600001000000020000000c", NULL},
      {"80600001000000020000000caabbcc", NULL},
      {"82e00001000000020000000c0000000a0000000baa", NULL},
      {"90600001000000020000000cbede000101020304aabb", NULL},
      {"a0600001000000020000000caa00000004", "80600001000000020000000caa"},
      {"a0600001000000020000000c000003", "80600001000000020000000c"},
      {"b1600001000000020000000c0000000abede000101020304aabb0002",
          "91600001000000020000000c0000000abede000101020304aabb"},
  };
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autoptr (GByteArray) packet = vectors_unhex (rows[i].packet);
    g_autoptr (GByteArray) want = vectors_unhex (rows[i].opened ? rows[i].opened : rows[i].packet);
    g_autofree guint8 *exact = g_memdup2 (packet->data, packet->len);
    g_autofree guint8 *sealed =
        g_malloc (packet->len + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE);
    gsize len = nat_sframe_sealer_seal (s, exact, packet->len, sealed);

    g_assert_cmpuint (len, ==, want->len + 1 + NAT_SFRAME_TAG_SIZE);
    g_assert_cmpmem (exact, packet->len, packet->data, packet->len);
    g_assert_cmpint (nat_sframe_opener_open (o, sealed, &len), ==, NAT_OPEN_OK);
    g_assert_cmpmem (sealed, len, want->data, want->len);
  }
}

static void
test_not_rtp (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  guint8 packet[64] = {0}, out[128];
  gsize len = 12;

  g_assert_cmpuint (nat_sframe_sealer_seal (s, packet, sizeof packet, out), ==, 0);
  g_assert_cmpint (nat_sframe_opener_open (o, packet, &len), ==, NAT_OPEN_MALFORMED);
  /* RTP, but no payload at all, so no SFrame header. */
  len = make_packet (packet, 1, 1, 0);
  g_assert_cmpint (nat_sframe_opener_open (o, packet, &len), ==, NAT_OPEN_MALFORMED);
  /* An SFrame header that is not in its shortest form. */
  len = make_packet (packet, 1, 1, 40);
  packet[12] = 0x08;
  packet[13] = 0x00;
  g_assert_cmpint (nat_sframe_opener_open (o, packet, &len), ==, NAT_OPEN_MALFORMED);
  /* Padding that we never send. */
  len = make_packet (packet, 1, 1, 40);
  packet[0] |= 0x20;
  packet[51] = 4;
  g_assert_cmpint (nat_sframe_opener_open (o, packet, &len), ==, NAT_OPEN_MALFORMED);
}

static void
test_tampered (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  Pair p = seal (s, 1, 1), changed;

  for (gsize bit = 0; bit < p.sealed_len * 8; bit++) {
    changed = p;
    changed.sealed[bit / 8] ^= 1 << bit % 8;
    if (open_pair (o, &changed) == NAT_OPEN_OK)
      g_error ("bit %" G_GSIZE_FORMAT " may be changed", bit);
  }
  for (gsize n = 0; n < p.sealed_len; n++) {
    changed = p;
    changed.sealed_len = n;
    g_assert_cmpint (open_pair (o, &changed), !=, NAT_OPEN_OK);
  }
  /* None of that took the packet's counter, or a place of its SSRC. */
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
}

static void
test_replay (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  Pair first = seal (s, 1, 0), late = seal (s, 1, 1), in_window = {0}, edge = {0};

  g_assert_cmpint (open_pair (o, &first), ==, NAT_OPEN_OK);
  g_assert_cmpint (open_pair (o, &first), ==, NAT_OPEN_REPLAYED);
  /* 2 s of video at 50 Mbit/s and more: counters 2 to 17999 go by. */
  for (guint i = 2; i < 18000; i++) {
    Pair p = seal (s, 1, i);

    if (i == 18000 - 16320)
      in_window = p;
    else if (i == 18000 - 16320 - 1)
      edge = p;
    else
      g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
  }
  g_assert_cmpint (open_pair (o, &late), ==, NAT_OPEN_REPLAYED);
  g_assert_cmpint (open_pair (o, &edge), ==, NAT_OPEN_REPLAYED);
  g_assert_cmpint (open_pair (o, &in_window), ==, NAT_OPEN_OK);
  g_assert_cmpint (open_pair (o, &in_window), ==, NAT_OPEN_REPLAYED);
}

/* A receiver that joins late opens at once, also what came before its first packet. */
static void
test_late_joiner (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  Pair cached = {0};

  for (guint i = 0; i < 70000; i++) {
    Pair p = seal (s, 1, i);

    if (i == 69000)
      cached = p;
    else if (i > 69500)
      g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
  }
  g_assert_cmpint (open_pair (o, &cached), ==, NAT_OPEN_OK);
}

static void
test_roll_over (void)
{
  NatMediaKey both[] = {key_a, key_b};
  g_autoptr (NatSframeSealer) old = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeSealer) new = nat_sframe_sealer_new (&key_b);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  Pair a = seal (old, 1, 1), late = seal (old, 1, 2), b = seal (new, 1, 3);

  g_assert_cmpint (open_pair (o, &a), ==, NAT_OPEN_OK);
  g_assert_cmpint (open_pair (o, &b), ==, NAT_OPEN_UNKNOWN_KEY);
  nat_sframe_opener_set_keys (o, both, 2);
  g_assert_cmpint (open_pair (o, &b), ==, NAT_OPEN_OK);
  /* The old key stayed, and its window with it. */
  g_assert_cmpint (open_pair (o, &a), ==, NAT_OPEN_REPLAYED);
  g_assert_cmpint (open_pair (o, &late), ==, NAT_OPEN_OK);
  nat_sframe_opener_set_keys (o, &key_b, 1);
  g_assert_cmpint (open_pair (o, &b), ==, NAT_OPEN_REPLAYED);
  g_assert_cmpint (open_pair (o, &late), ==, NAT_OPEN_UNKNOWN_KEY);
  nat_sframe_opener_set_keys (o, NULL, 0);
  g_assert_cmpint (open_pair (o, &b), ==, NAT_OPEN_UNKNOWN_KEY);
}

/* The same KID with other bytes is another key; the same bytes under another KID, too. */
static void
test_same_kid (void)
{
  NatMediaKey other = key_a, renamed = key_a;
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  Pair p = seal (s, 1, 1);

  other.key[31] ^= 1;
  renamed.kid++;
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
  nat_sframe_opener_set_keys (o, &other, 1);
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_FORGED);
  nat_sframe_opener_set_keys (o, &renamed, 1);
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_UNKNOWN_KEY);
  nat_sframe_opener_set_keys (o, &key_a, 1);
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
}

static void
test_more_keys_than_fit (void)
{
  NatMediaKey keys[6];
  g_autoptr (NatSframeOpener) o = nat_sframe_opener_new ();

  for (guint i = 0; i < 6; i++) {
    keys[i] = key_a;
    keys[i].kid = i;
  }
  nat_sframe_opener_set_keys (o, keys, 6);
  for (guint i = 0; i < 6; i++) {
    g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&keys[i]);
    Pair p = seal (s, 1, 1);

    g_assert_cmpint (open_pair (o, &p), ==, i < 4 ? NAT_OPEN_OK : NAT_OPEN_UNKNOWN_KEY);
  }
}

static void
test_ssrc_limit (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeSealer) more = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  guint8 packet[PACKET_MAX], out[SEALED_MAX];
  Pair p;

  for (guint ssrc = 1; ssrc <= NAT_TRACKS_MAX; ssrc++) {
    p = seal (s, ssrc, 1);
    g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
  }
  g_assert_cmpuint (nat_sframe_sealer_seal (s, packet, make_packet (packet, 17, 1, 9), out), ==, 0);
  p = seal (more, 17, 1);
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_LIMIT);
  p = seal (s, NAT_TRACKS_MAX, 2);
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
}

/* Forged packets of ever new SSRCs take no place from a real one. */
static void
test_forged_ssrcs (void)
{
  NatMediaKey other = key_a;
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  Pair p = seal (s, 5000, 1);

  other.key[0] ^= 1;
  for (guint ssrc = 0; ssrc < 200; ssrc++) {
    g_autoptr (NatSframeSealer) forger = nat_sframe_sealer_new (&other);
    Pair forged = seal (forger, ssrc, 1);

    g_assert_cmpint (open_pair (o, &forged), ==, NAT_OPEN_FORGED);
  }
  g_assert_cmpint (open_pair (o, &p), ==, NAT_OPEN_OK);
}

static void
test_counters_used_up (void)
{
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  guint8 packet[PACKET_MAX], out[SEALED_MAX];
  gsize len = make_packet (packet, 1, 1, 9);

  g_assert_cmpuint (nat_sframe_sealer_seal (s, packet, len, out), >, 0);
  s->sources[0].next_counter = NAT_SFRAME_COUNTERS - 1;
  g_assert_cmpuint (nat_sframe_sealer_seal (s, packet, len, out), >, 0);
  g_assert_cmpuint (nat_sframe_sealer_seal (s, packet, len, out), ==, 0);
  g_assert_cmpuint (nat_sframe_sealer_seal (s, packet, len, out), ==, 0);
  /* Another SSRC has counters of its own. */
  len = make_packet (packet, 2, 1, 9);
  g_assert_cmpuint (nat_sframe_sealer_seal (s, packet, len, out), >, 0);
}

static void
test_generate (void)
{
  g_autoptr (GHashTable) kids = g_hash_table_new (g_direct_hash, g_direct_equal);
  NatMediaKey a, b;

  nat_media_key_generate (&a, NAT_SFRAME_AES_128_GCM_SHA256_128);
  nat_media_key_generate (&b, NAT_SFRAME_AES_256_GCM_SHA512_128);
  g_assert_cmpint (a.suite, ==, NAT_SFRAME_AES_128_GCM_SHA256_128);
  g_assert_cmpint (b.suite, ==, NAT_SFRAME_AES_256_GCM_SHA512_128);
  g_assert_true (memcmp (a.key, b.key, sizeof a.key) != 0);
  for (guint i = 0; i < 1000; i++) {
    nat_media_key_generate (&a, NAT_SFRAME_AES_128_GCM_SHA256_128);
    g_assert_cmpuint (a.kid, <, 65536);
    g_hash_table_add (kids, GUINT_TO_POINTER ((guint)a.kid));
  }
  /* 1000 draws of 65536 give some 992 values; half of that would be a broken generator. */
  g_assert_cmpuint (g_hash_table_size (kids), >, 900);
}

/* A plain draw of 16 bits would meet the old KID half a dozen times in as many. */
static void
test_generate_next (void)
{
  NatMediaKey current, next;

  nat_media_key_generate (&current, NAT_SFRAME_AES_256_GCM_SHA512_128);
  for (guint i = 0; i < 400000; i++) {
    nat_media_key_generate_next (&next, &current);
    g_assert_cmpuint (next.kid, !=, current.kid);
  }
  g_assert_cmpint (next.suite, ==, current.suite);
  g_assert_true (memcmp (next.key, current.key, sizeof next.key) != 0);
}

static void
test_no_growth (void)
{
#ifdef __GLIBC__
  g_autoptr (NatSframeSealer) s = nat_sframe_sealer_new (&key_a);
  g_autoptr (NatSframeOpener) o = opener_with (&key_a);
  guint8 packet[PACKET_MAX], sealed[SEALED_MAX];
  struct mallinfo2 before = {0}, after;
  gsize len;

  for (guint i = 0; i < 5000; i++) {
    len = nat_sframe_sealer_seal (s, packet, make_packet (packet, 1, i, 1000), sealed);
    g_assert_cmpint (nat_sframe_opener_open (o, sealed, &len), ==, NAT_OPEN_OK);
    if (i == 10)
      before = mallinfo2 ();
  }
  after = mallinfo2 ();
  g_assert_cmpuint (after.uordblks, ==, before.uordblks);
#else
  g_test_skip ("needs glibc's mallinfo2");
#endif
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sframekeys/derivation", test_derivation);
  g_test_add_func ("/sframekeys/counters-per-ssrc", test_counters_per_ssrc);
  g_test_add_func ("/sframekeys/shapes", test_shapes);
  g_test_add_func ("/sframekeys/not-rtp", test_not_rtp);
  g_test_add_func ("/sframekeys/tampered", test_tampered);
  g_test_add_func ("/sframekeys/replay", test_replay);
  g_test_add_func ("/sframekeys/late-joiner", test_late_joiner);
  g_test_add_func ("/sframekeys/roll-over", test_roll_over);
  g_test_add_func ("/sframekeys/same-kid", test_same_kid);
  g_test_add_func ("/sframekeys/more-keys-than-fit", test_more_keys_than_fit);
  g_test_add_func ("/sframekeys/ssrc-limit", test_ssrc_limit);
  g_test_add_func ("/sframekeys/forged-ssrcs", test_forged_ssrcs);
  g_test_add_func ("/sframekeys/counters-used-up", test_counters_used_up);
  g_test_add_func ("/sframekeys/generate", test_generate);
  g_test_add_func ("/sframekeys/generate-next", test_generate_next);
  g_test_add_func ("/sframekeys/no-growth", test_no_growth);
  return g_test_run ();
}
