/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Extensions by hand: RFC 8285's own figures, the rules about padding and stop marks, every lie about a length;
 * what is put in is found, beside all that was there, and the packet says the same in all else. */

#include "natproto/rtpextension.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/rtp.h"
#include "vectors.h"

#define FIXED "80600001000000020000000c" /* X is set below where there is an extension */
#define X     "90600001000000020000000c"
#define XCSRC "91600001000000020000000c0000000a"

/* ---- find -------------------------------------------------------------- */

/* data: what is found under id; NULL: nothing. */
static const struct {
  const char *hex;
  guint8 id;
  const char *data;
} finds[] = {
    /*  0 no extension */
    {FIXED "aabb", 1, NULL},
    /*  1 RFC 8285 section 4.2's figure: elements of 1, 2 and 4 bytes, padding between them */
    {X "bede000310aa21bbbb000033cccccccc", 1, "aa"},
    {X "bede000310aa21bbbb000033cccccccc", 2, "bbbb"},
    {X "bede000310aa21bbbb000033cccccccc", 3, "cccccccc"},
    /*  4 */
    {X "bede000310aa21bbbb000033cccccccc", 4, NULL},
    /*  5 section 4.3's: two-byte elements of 0, 1 and 4 bytes */
    {X "1000000301000201bb000304cccccccc", 1, ""},
    {X "1000000301000201bb000304cccccccc", 2, "bb"},
    {X "1000000301000201bb000304cccccccc", 3, "cccccccc"},
    /*  8 the four bits that are the application's */
    {X "100f00010201bb00", 2, "bb"},
    /*  9 an id that only two bytes can tell */
    {X "10000001c801bb00", 200, "bb"},
    /* 10 not 0x100 but 0x101 */
    {X "101000010201bb00", 2, NULL},
    /* 11 of another profile: ONVIF's replay extension (0xabac) */
    {X "abac000310aa21bbbb000033cccccccc", 1, NULL},
    /* 12 behind CSRCs */
    {XCSRC "bede000110aa0000", 1, "aa"},
    /* 13 sixteen bytes, the most of the one-byte form */
    {X "bede00051f000102030405060708090a0b0c0d0e0f000000", 1, "000102030405060708090a0b0c0d0e0f"},
    /* 14 the stop mark: what is before it counts */
    {X "bede000210aaf021bbbb0000", 1, "aa"},
    /* 15 and what is behind it does not */
    {X "bede000210aaf021bbbb0000", 2, NULL},
    /* 16 an id of 0 with a length stops as well */
    {X "bede000210aa01cccc21bbbb", 2, NULL},
    /* 17 the first of two with one id */
    {X "bede000110aa10bb", 1, "aa"},
    /* 18 an element that runs over the extension's end, though not over the packet's */
    {X "bede000110aa21bbcccc", 2, NULL},
    /* 19 a two-byte element without its length */
    {X "1000000101000002cc", 2, NULL},
    /* 20 */
    {X "100000010201bbcc", 0xcc, NULL},
    /* 21 no words */
    {X "bede0000", 1, NULL},
    /* 22 words that are not there */
    {X "bede000210aa0000", 1, NULL},
    {X "bedeffff10aa0000", 1, NULL},
    {X "bede00", 1, NULL},
    {X, 1, NULL},
    /* 26 CSRCs that are not there */
    {"9f600001000000020000000cbede000110aa0000", 1, NULL},
    /* 27 another version */
    {"50600001000000020000000cbede000110aa0000", 1, NULL},
    /* 28 less than a header */
    {"90600001", 1, NULL},
    {"", 1, NULL},
};

static void
test_find (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (finds); i++) {
    g_autoptr (GByteArray) bytes = vectors_unhex (finds[i].hex);
    g_autofree guint8 *exact = g_memdup2 (bytes->data, bytes->len);
    gsize size = 0;
    const guint8 *data = nat_rtp_extension_find (exact, bytes->len, finds[i].id, &size);

    if ((data != NULL) != (finds[i].data != NULL))
      g_error ("row %u: %s", i, data != NULL ? "found" : "not found");
    if (data != NULL) {
      g_autoptr (GByteArray) wanted = vectors_unhex (finds[i].data);

      if (size != wanted->len || (size > 0 && memcmp (data, wanted->data, size) != 0))
        g_error ("row %u: other data", i);
    }
  }
}

/* ---- insert ------------------------------------------------------------ */

/* after: the header with the element's data put in; NULL: refused. */
static const struct {
  const char *before;
  guint8 id;
  const char *data, *after;
} inserts[] = {
    /*  0 the first one: eight bytes */
    {FIXED, 14, "a0", X "bede0001e0a00000"},
    /*  1 behind CSRCs */
    {"81600001000000020000000c0000000a", 3, "a0", XCSRC "bede000130a00000"},
    /*  2 three bytes fill the word */
    {FIXED, 1, "a0b0c0", X "bede000112a0b0c0"},
    /*  3 padding is used up */
    {X "bede000110aa0000", 2, "a0", X "bede000110aa20a0"},
    /*  4 no padding: one more word */
    {X "bede000112aabbcc", 2, "a0", X "bede000212aabbcc20a00000"},
    /*  5 one byte of padding is not enough, but is used */
    {X "bede000111aabb00", 2, "a0", X "bede000211aabb20a0000000"},
    /*  6 data that ends in zeros is not padding */
    {X "bede000112aa0000", 2, "a0", X "bede000212aa000020a00000"},
    /*  7 padding between elements stays */
    {X "bede0002000010aa21bbbb00", 3, "a0", X "bede0003000010aa21bbbb30a0000000"},
    /*  8 an extension of nothing but padding, and of nothing */
    {X "bede000100000000", 3, "a0", X "bede000130a00000"},
    {X "bede0000", 3, "a0", X "bede000130a00000"},
    /* 10 two-byte form, which is kept */
    {X "100f00010201bb00", 3, "a0", X "100f00020201bb0301a00000"},
    {X "1000000201000201bb000000", 3, "a0", X "1000000201000201bb0301a0"},
    /* 12 the id is there already */
    {X "bede000110aa0000", 1, "a0", NULL},
    {X "100000010101bb00", 1, "a0", NULL},
    /* 14 of another profile */
    {X "abac000110aa0000", 2, "a0", NULL},
    /* 15 nothing may stand behind a stop mark */
    {X "bede0001f0000000", 2, "a0", NULL},
    /* 16 malformed */
    {X "bede000116aa0000", 2, "a0", NULL},
    {X "bede000210aa0000", 2, "a0", NULL},
    {X "bede", 2, "a0", NULL},
    {"80600001", 2, "a0", NULL},
    /* 20 payload is no part of the header */
    {FIXED "aa", 2, "a0", NULL},
    {X "bede000110aa0000bb", 2, "a0", NULL},
    /* 22 CSRCs that are not there */
    {"81600001000000020000000c", 2, "a0", NULL},
};

static void
test_insert (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (inserts); i++) {
    g_autoptr (GByteArray) before = vectors_unhex (inserts[i].before);
    g_autoptr (GByteArray) data = vectors_unhex (inserts[i].data);
    g_autoptr (GByteArray) after =
        vectors_unhex (inserts[i].after != NULL ? inserts[i].after : inserts[i].before);
    gsize room = before->len + NAT_RTP_EXTENSION_GROWTH_MAX (data->len);
    g_autofree guint8 *header = g_malloc (room);
    gsize len;

    memcpy (header, before->data, before->len);
    len =
        nat_rtp_extension_insert (header, before->len, room, inserts[i].id, data->data, data->len);
    if (len != (inserts[i].after != NULL ? after->len : 0))
      g_error ("row %u: length %" G_GSIZE_FORMAT, i, len);
    if (memcmp (header, after->data, after->len) != 0)
      g_error ("row %u: other bytes", i);
  }
}

static void
test_insert_room (void)
{
  g_autoptr (GByteArray) packet = vectors_unhex (X "bede000112aabbcc");
  guint8 header[24], before[24] = {0}, data = 0xa0;

  for (gsize room = packet->len; room < 24; room++) {
    memset (header, 0, sizeof header);
    memcpy (header, packet->data, packet->len);
    memcpy (before, header, sizeof before);
    g_assert_cmpuint (nat_rtp_extension_insert (header, packet->len, room, 2, &data, 1), ==, 0);
    g_assert_cmpmem (header, sizeof header, before, sizeof before);
  }
  g_assert_cmpuint (nat_rtp_extension_insert (header, packet->len, 24, 2, &data, 1), ==, 24);
}

/* An extension of 65535 words takes what its padding holds, and no more. */
static void
test_insert_longest (void)
{
  gsize len = 16 + 4 * 65535;
  g_autofree guint8 *header = g_malloc0 (len + 8);
  guint8 data[16] = {1};

  header[0] = 0x90;
  nat_write_u16 (header + 12, 0x1000);
  nat_write_u16 (header + 14, 0xffff);
  /* 1019 elements of 257 bytes leave 257. */
  for (gsize at = 16; at + 2 * 257 <= len; at += 257) {
    header[at] = 200;
    header[at + 1] = 255;
  }
  for (guint8 id = 2; id <= 14; id++)
    g_assert_cmpuint (nat_rtp_extension_insert (header, len, len + 8, id, data, 16), ==, len);
  header[len - 5] = 201;
  header[len - 4] = 3;
  g_assert_cmpuint (nat_rtp_extension_insert (header, len, len + 8, 1, data, 1), ==, 0);
}

/* ---- a slow twin ------------------------------------------------------- */

static gsize
random_header (GRand *rand, guint8 *out, guint *used)
{
  gsize at = 12, begin;
  gboolean two_byte = g_rand_boolean (rand);

  memset (out, 0, 512);
  out[0] = (guint8)(0x80 | g_rand_int_range (rand, 0, 4));
  at += 4 * (gsize)(out[0] & 15);
  *used = 0;
  if (g_rand_int_range (rand, 0, 4) == 0)
    return at;
  out[0] |= 0x10;
  nat_write_u16 (out + at, two_byte ? 0x1000 : 0xbede);
  at += 4;
  begin = at;
  for (gint n = g_rand_int_range (rand, 0, 6); n > 0; n--) {
    guint8 id = (guint8)g_rand_int_range (rand, 1, 15),
           size = (guint8)g_rand_int_range (rand, 1, 9);

    if (*used >> id & 1)
      continue;
    *used |= 1u << id;
    at += (gsize)g_rand_int_range (rand, 0, 3);
    if (two_byte) {
      out[at++] = id;
      out[at++] = size;
    } else {
      out[at++] = (guint8)(id << 4 | (size - 1));
    }
    memset (out + at, id, size);
    at += size;
  }
  at = begin + (at - begin + 3) / 4 * 4;
  nat_write_u16 (out + begin - 2, (guint16)((at - begin) / 4));
  return at;
}

static void
assert_has (const guint8 *header, gsize len, guint used)
{
  for (guint8 id = 1; id <= 14; id++) {
    gsize size = 0;
    const guint8 *data = nat_rtp_extension_find (header, len, id, &size);

    g_assert_true ((data != NULL) == (used >> id & 1));
    for (gsize i = 0; data != NULL && i < size; i++)
      g_assert_cmpuint (data[i], ==, id);
  }
}

static void
test_random (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (9626);
  guint8 header[512];
  NatRtpHeader h;

  for (guint round = 0; round < 20000; round++) {
    guint used;
    gsize len = random_header (rand, header, &used), grown;
    guint8 id = (guint8)g_rand_int_range (rand, 1, 15), data[16];
    gsize size = (gsize)g_rand_int_range (rand, 1, 17);

    memset (data, id, sizeof data);
    assert_has (header, len, used);
    grown = nat_rtp_extension_insert (
        header, len, len + NAT_RTP_EXTENSION_GROWTH_MAX (size), id, data, size);
    g_assert_true ((grown == 0) == (used >> id & 1));
    if (grown == 0)
      continue;
    g_assert_cmpuint (grown % 4, ==, 0);
    assert_has (header, grown, used | 1u << id);
    g_assert_true (nat_rtp_parse (&h, header, grown));
    g_assert_cmpuint (h.header_len, ==, grown);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rtpextension/find", test_find);
  g_test_add_func ("/rtpextension/insert", test_insert);
  g_test_add_func ("/rtpextension/insert-room", test_insert_room);
  g_test_add_func ("/rtpextension/insert-longest", test_insert_longest);
  g_test_add_func ("/rtpextension/random", test_random);
  return g_test_run ();
}
