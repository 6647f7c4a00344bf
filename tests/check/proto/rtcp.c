/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What is sound and what is not, field by field, our own packets read back, and noise. */

#include "natproto/rtcp.h"

#include <string.h>

#include "vectors.h"

#define SR                                                                                         \
  "80c80006"                                                                                       \
  "00000457"                                                                                       \
  "e0a1b2c3d4e5f607"                                                                               \
  "00015f90"                                                                                       \
  "00000064"                                                                                       \
  "00002710"
#define RR0  "80c90001000008ae"
#define PLI  "81ce0002000008ae00000457"
#define NACK "81cd0003000008ae0000045736ea0005"

/* packets: how many the walk must give; 0: the compound must be refused. */
static const struct {
  const char *hex;
  guint packets;
} table[] = {
    /*  0 */ {SR, 1},
    /*  1 */ {RR0, 1},
    /*  2 SR and SDES with a CNAME */ {SR "81ca000300000457010378797a000000", 2},
    /*  3 RR, NACK, PLI */ {RR0 NACK PLI, 3},
    /*  4 feedback alone */ {PLI, 1},
    /*  5 feedback alone, twice */ {NACK PLI, 2},
    /*  6 a type that is not known to us (XR) behind an RR */ {RR0 "80cf0001000008ae", 2},
    /*  7 RR and padding of four on the last */ {RR0 "a1ce0003000008ae0000045700000004", 2},
    /*  8 padding that is the whole of the last */ {RR0 "a0cb000100000004", 2},
    /*  9 nothing */ {"", 0},
    /* 10 half a header */ {"80c9", 0},
    /* 11 first is a BYE */ {"81cb000100000457", 0},
    /* 12 first is an SDES */ {"81ca000300000457010378797a000000" RR0, 0},
    /* 13 feedback first, then a report */ {PLI RR0, 0},
    /* 14 length one word too far */ {"80c90002000008ae", 0},
    /* 15 length of the second runs over */ {RR0 "81ce0003000008ae00000457", 0},
    /* 16 three bytes behind the last */ {RR0 "000000", 0},
    /* 17 version 1 */ {"40c90001000008ae", 0},
    /* 18 version 0 in the second */ {RR0 "00ce0002000008ae00000457", 0},
    /* 19 padding on the first of two */ {"a0c90002000008ae00000004" RR0, 0},
    /* 20 padding of 0 */ {RR0 "a1ce0003000008ae0000045700000000", 0},
    /* 21 padding of 3, which is no word */ {RR0 "a1ce0003000008ae0000045700000003", 0},
    /* 22 padding longer than the packet */ {RR0 "a1ce0003000008ae0000045700000010", 0},
    /* 23 padding flag on a bare header: the count would be the header's own byte */
    {RR0 "a0cb0000", 0},
    /* 24 an RTP packet */ {"80600001000000020000000c", 0},
    /* 25 type out of RTCP's range in the second */ {RR0 "80e00001000008ae", 0},
};

static void
test_table (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (table); i++) {
    g_autoptr (GByteArray) bytes = vectors_unhex (table[i].hex);
    g_autofree guint8 *exact = g_memdup2 (bytes->data, bytes->len);
    NatRtcpPacket packet;
    NatRtcpIter it;
    guint n = 0;

    if (nat_rtcp_iter_init (&it, exact, bytes->len)) {
      while (nat_rtcp_iter_next (&it, &packet))
        n++;
    }
    if (n != table[i].packets)
      g_error ("row %u: %u packets instead of %u", i, n, table[i].packets);
  }
}

/* The index-th packet of a compound, whose bytes stay in *bytes. */
static NatRtcpPacket
packet_at (const char *hex, guint index, GByteArray **bytes)
{
  NatRtcpPacket packet;
  NatRtcpIter it;

  *bytes = vectors_unhex (hex);
  g_assert_true (nat_rtcp_iter_init (&it, (*bytes)->data, (*bytes)->len));
  for (guint i = 0; i <= index; i++)
    g_assert_true (nat_rtcp_iter_next (&it, &packet));
  return packet;
}

static void
test_sender_info (void)
{
  g_autoptr (GByteArray) bytes = NULL, short_bytes = NULL, rr_bytes = NULL;
  NatRtcpPacket sr = packet_at (SR, 0, &bytes);
  NatRtcpPacket cut = packet_at ("80c8000100000457", 0, &short_bytes);
  NatRtcpPacket rr = packet_at (RR0, 0, &rr_bytes);
  NatRtcpSenderInfo info;

  g_assert_true (nat_rtcp_sender_info (&sr, &info));
  g_assert_cmphex (info.ntp, ==, G_GUINT64_CONSTANT (0xe0a1b2c3d4e5f607));
  g_assert_cmpuint (info.rtp_time, ==, 90000);
  g_assert_cmpuint (info.packets, ==, 100);
  g_assert_cmpuint (info.bytes, ==, 10000);
  g_assert_cmpuint (nat_rtcp_sender_ssrc (&sr), ==, 1111);
  g_assert_false (nat_rtcp_sender_info (&cut, &info));
  g_assert_false (nat_rtcp_sender_info (&rr, &info));
}

static void
test_ssrcs (void)
{
  static const struct {
    const char *hex;
    guint index;
    guint32 sender, media;
    gboolean has_media;
  } rows[] = {
      {RR0, 0, 2222, 0, FALSE}, {PLI, 0, 2222, 1111, TRUE}, {NACK, 0, 2222, 1111, TRUE},
      {"84ce0004000008ae000000000000045701000000", 0, 2222, 1111, TRUE}, /* FIR */
      {"84ce0002000008ae00000000", 0, 2222, 0, FALSE},                   /* FIR of nobody */
      {"84ce0003000008ae0000000000000457", 0, 2222, 0, FALSE},           /* FIR, half an entry */
      {"81cd0001000008ae", 0, 2222, 0, FALSE},                           /* no media source */
      {"81cd0000", 0, 0, 0, FALSE},                                      /* bare header */
      {RR0 "81cb000100000457", 1, 1111, 0, FALSE},                       /* BYE */
      {RR0 "80cb0000", 1, 0, 0, FALSE},                                  /* BYE of nobody */
      {RR0 "80ca000100000457", 1, 0, 0, FALSE},                          /* SDES of nobody */
      {RR0 "80cc00020000045741424344", 1, 1111, 0, FALSE},               /* APP */
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autoptr (GByteArray) bytes = NULL;
    NatRtcpPacket packet = packet_at (rows[i].hex, rows[i].index, &bytes);
    guint32 media = 0;

    if (nat_rtcp_sender_ssrc (&packet) != rows[i].sender ||
        nat_rtcp_media_ssrc (&packet, &media) != rows[i].has_media || media != rows[i].media)
      g_error ("row %u: sender %u media %u", i, nat_rtcp_sender_ssrc (&packet), media);
  }
}

static void
assert_block (const NatRtcpReportBlock *a, const NatRtcpReportBlock *b)
{
  g_assert_cmpuint (a->ssrc, ==, b->ssrc);
  g_assert_cmpuint (a->fraction_lost, ==, b->fraction_lost);
  g_assert_cmpint (a->cumulative_lost, ==, b->cumulative_lost);
  g_assert_cmpuint (a->highest_seq, ==, b->highest_seq);
  g_assert_cmpuint (a->jitter, ==, b->jitter);
  g_assert_cmpuint (a->lsr, ==, b->lsr);
  g_assert_cmpuint (a->dlsr, ==, b->dlsr);
}

static void
test_report_round_trip (void)
{
  static const NatRtcpReportBlock blocks[] = {
      {1111, 12, 345, 0x00017fff, 90, 0xb2c3d4e5, 65536},
      {2222, 255, -1, 1, 0, 0, 0},
      {3333, 0, 0x7fffff, G_MAXUINT32, G_MAXUINT32, G_MAXUINT32, G_MAXUINT32},
      {4444, 1, -0x800000, 0, 0, 0, 0},
  };
  guint8 buf[256];
  gsize len = nat_rtcp_write_rr (buf, sizeof buf, 77, blocks, G_N_ELEMENTS (blocks));
  NatRtcpReportBlock block;
  NatRtcpPacket packet;
  NatRtcpIter it;

  g_assert_cmpuint (len, ==, 8 + 4 * 24);
  g_assert_true (nat_rtcp_iter_init (&it, buf, len));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  g_assert_cmpuint (nat_rtcp_sender_ssrc (&packet), ==, 77);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++) {
    g_assert_true (nat_rtcp_report_block (&packet, i, &block));
    assert_block (&block, &blocks[i]);
  }
  g_assert_false (nat_rtcp_report_block (&packet, G_N_ELEMENTS (blocks), &block));
  /* A count that says more blocks than there are bytes. */
  buf[0] = 0x80 | 31;
  g_assert_true (nat_rtcp_iter_init (&it, buf, len));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  g_assert_true (nat_rtcp_report_block (&packet, 3, &block));
  g_assert_false (nat_rtcp_report_block (&packet, 4, &block));
}

static void
test_report_clamps (void)
{
  static const NatRtcpReportBlock blocks[] = {{.cumulative_lost = 0x800000},
      {.cumulative_lost = G_MAXINT32}, {.cumulative_lost = G_MININT32}};
  guint8 buf[256];
  NatRtcpReportBlock block;
  NatRtcpPacket packet;
  NatRtcpIter it;

  g_assert_true (nat_rtcp_iter_init (&it, buf, nat_rtcp_write_rr (buf, sizeof buf, 1, blocks, 3)));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  g_assert_true (nat_rtcp_report_block (&packet, 0, &block));
  g_assert_cmpint (block.cumulative_lost, ==, 0x7fffff);
  g_assert_true (nat_rtcp_report_block (&packet, 1, &block));
  g_assert_cmpint (block.cumulative_lost, ==, 0x7fffff);
  g_assert_true (nat_rtcp_report_block (&packet, 2, &block));
  g_assert_cmpint (block.cumulative_lost, ==, -0x800000);
}

/* Report blocks of an SR stand behind the sender's information. */
static void
test_sr_blocks (void)
{
  g_autoptr (GByteArray) bytes = NULL;
  NatRtcpPacket sr = packet_at ("81c8000c00000457e0a1b2c3d4e5f60700015f900000006400002710"
                                "000008ae80ffffff0001000200000003000000040000ffff",
      0, &bytes);
  NatRtcpReportBlock block;

  g_assert_true (nat_rtcp_report_block (&sr, 0, &block));
  g_assert_cmpuint (block.ssrc, ==, 2222);
  g_assert_cmpuint (block.fraction_lost, ==, 128);
  g_assert_cmpint (block.cumulative_lost, ==, -1);
  g_assert_cmpuint (block.highest_seq, ==, 0x10002);
  g_assert_cmpuint (block.dlsr, ==, 65535);
}

static void
assert_hex (const guint8 *data, gsize len, const char *hex)
{
  g_autoptr (GByteArray) want = vectors_unhex (hex);

  g_assert_cmpmem (data, len, want->data, want->len);
}

static void
test_writers (void)
{
  guint8 buf[300];
  gsize len;

  len = nat_rtcp_write_rr (buf, sizeof buf, 2222, NULL, 0);
  assert_hex (buf, len, RR0);
  len = nat_rtcp_write_pli (buf, sizeof buf, 2222, 1111);
  assert_hex (buf, len, PLI);
  len = nat_rtcp_write_bye (buf, sizeof buf, 1111);
  assert_hex (buf, len, "81cb000100000457");
  /* One to four zeros end the chunk, whatever the name's length. */
  len = nat_rtcp_write_sdes_cname (buf, sizeof buf, 1111, "");
  assert_hex (buf, len, "81ca00020000045701000000");
  len = nat_rtcp_write_sdes_cname (buf, sizeof buf, 1111, "x");
  assert_hex (buf, len, "81ca00020000045701017800");
  len = nat_rtcp_write_sdes_cname (buf, sizeof buf, 1111, "xy");
  assert_hex (buf, len, "81ca0003000004570102787900000000");
  len = nat_rtcp_write_sdes_cname (buf, sizeof buf, 1111, "xyz");
  assert_hex (buf, len, "81ca000300000457010378797a000000");
}

/* Each writer at its exact size, and at one byte less. */
static void
test_writers_capacity (void)
{
  NatRtcpReportBlock blocks[32] = {{0}};
  g_autofree char *longest = g_strnfill (255, 'c'), *too_long = g_strnfill (256, 'c');
  guint8 buf[1024];

  g_assert_cmpuint (nat_rtcp_write_rr (buf, 8, 1, NULL, 0), ==, 8);
  g_assert_cmpuint (nat_rtcp_write_rr (buf, 7, 1, NULL, 0), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_rr (buf, 752, 1, blocks, 31), ==, 752);
  g_assert_cmpuint (nat_rtcp_write_rr (buf, 751, 1, blocks, 31), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_rr (buf, sizeof buf, 1, blocks, 32), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_pli (buf, 12, 1, 2), ==, 12);
  g_assert_cmpuint (nat_rtcp_write_pli (buf, 11, 1, 2), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_bye (buf, 8, 1), ==, 8);
  g_assert_cmpuint (nat_rtcp_write_bye (buf, 7, 1), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_sdes_cname (buf, 16, 1, "xyz"), ==, 16);
  g_assert_cmpuint (nat_rtcp_write_sdes_cname (buf, 15, 1, "xyz"), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_sdes_cname (buf, sizeof buf, 1, longest), ==, 268);
  g_assert_cmpuint (nat_rtcp_write_sdes_cname (buf, sizeof buf, 1, too_long), ==, 0);
}

static guint
read_nack (const guint8 *data, gsize len, guint16 *seqs)
{
  NatRtcpNackEntry entry;
  NatRtcpPacket packet;
  NatRtcpIter it;
  guint n = 0;

  g_assert_true (nat_rtcp_iter_init (&it, data, len));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  for (guint i = 0; nat_rtcp_nack_entry (&packet, i, &entry); i++) {
    seqs[n++] = entry.first;
    for (guint bit = 0; bit < 16; bit++) {
      if (entry.following >> bit & 1)
        seqs[n++] = (guint16)(entry.first + 1 + bit);
    }
  }
  return n;
}

static void
test_nack (void)
{
  static const guint16 seqs[] = {14058, 14059, 14061};
  g_autoptr (GByteArray) bytes = vectors_unhex (NACK);
  guint16 back[64], many[] = {65530, 65535, 0, 9, 10, 11, 27, 28, 44};
  guint8 buf[64];
  guint n = G_N_ELEMENTS (seqs);
  gsize len;

  g_assert_cmpuint (read_nack (bytes->data, bytes->len, back), ==, 3);
  g_assert_cmpmem (back, sizeof seqs, seqs, sizeof seqs);
  len = nat_rtcp_write_nack (buf, sizeof buf, 2222, 1111, seqs, &n);
  assert_hex (buf, len, NACK);
  g_assert_cmpuint (n, ==, 3);
  /* Over the end of the circle, exactly 16 behind, and 17. */
  n = G_N_ELEMENTS (many);
  len = nat_rtcp_write_nack (buf, sizeof buf, 2222, 1111, many, &n);
  g_assert_cmpuint (len, ==, 12 + 3 * 4);
  g_assert_cmpuint (n, ==, G_N_ELEMENTS (many));
  g_assert_cmpuint (read_nack (buf, len, back), ==, G_N_ELEMENTS (many));
  g_assert_cmpmem (back, sizeof many, many, sizeof many);
  /* What does not fit is for the next; nothing at all is nothing. */
  g_assert_cmpuint (nat_rtcp_write_nack (buf, 19, 2222, 1111, many, &n), ==, 16);
  g_assert_cmpuint (n, ==, 5);
  n = G_N_ELEMENTS (many);
  g_assert_cmpuint (nat_rtcp_write_nack (buf, 15, 2222, 1111, many, &n), ==, 0);
  g_assert_cmpuint (n, ==, 0);
}

/* ---- Noise ------------------------------------------------------------- */

/* Everything that can be asked, of bytes that end where the heap block ends. Returns the packets. */
static guint
read_all (const guint8 *data, gsize len)
{
  g_autofree guint8 *exact = g_memdup2 (data, len);
  NatRtcpReportBlock block;
  NatRtcpNackEntry entry;
  NatRtcpSenderInfo info;
  NatRtcpPacket packet;
  NatRtcpIter it;
  gsize sum = 0;
  guint32 ssrc;
  guint n = 0;

  if (!nat_rtcp_iter_init (&it, exact, len))
    return 0;
  for (; nat_rtcp_iter_next (&it, &packet); n++) {
    g_assert_true (packet.data >= exact && packet.data + packet.len <= exact + len);
    sum += packet.len;
    nat_rtcp_sender_ssrc (&packet);
    nat_rtcp_media_ssrc (&packet, &ssrc);
    nat_rtcp_sender_info (&packet, &info);
    for (guint i = 0; i < 33; i++)
      nat_rtcp_report_block (&packet, i, &block);
    for (guint i = 0; nat_rtcp_nack_entry (&packet, i, &entry); i++)
      g_assert_cmpuint (i, <, len / 4);
  }
  g_assert_cmpuint (sum, <=, len);
  g_assert_cmpuint (it.pos, ==, len);
  return n;
}

static void
mutate (GByteArray *bytes, GRand *rand)
{
  for (guint n = g_rand_int_range (rand, 1, 4); n > 0 && bytes->len > 0; n--) {
    guint at = g_rand_int_range (rand, 0, bytes->len);

    if (g_rand_int_range (rand, 0, 8) == 0)
      g_byte_array_set_size (bytes, at);
    else if (g_rand_boolean (rand))
      bytes->data[at] ^= 1 << g_rand_int_range (rand, 0, 8);
    else
      bytes->data[at] = g_rand_int (rand);
  }
}

static void
test_noise (void)
{
  g_autoptr (JsonArray) seeds = vectors_array ("fuzz/rtcp-seeds.json", "inputs");
  g_autoptr (GPtrArray) corpus =
      g_ptr_array_new_with_free_func ((GDestroyNotify)g_byte_array_unref);
  g_autoptr (GRand) rand = g_rand_new_with_seed (4711);
  guint sound = 0, refused = 0;

  for (guint i = 0; i < json_array_get_length (seeds); i++)
    g_ptr_array_add (corpus, vectors_bytes (json_array_get_object_element (seeds, i), "hex"));
  for (guint i = 0; i < G_N_ELEMENTS (table); i++)
    g_ptr_array_add (corpus, vectors_unhex (table[i].hex));
  for (guint i = 0; i < 100000; i++) {
    GByteArray *seed = corpus->pdata[i % corpus->len];
    g_autoptr (GByteArray) bytes = g_byte_array_new ();

    g_byte_array_append (bytes, seed->data, seed->len);
    if (i >= corpus->len)
      mutate (bytes, rand);
    if (read_all (bytes->data, bytes->len) > 0)
      sound++;
    else
      refused++;
  }
  /* Both ways were taken often, or the mutations are worth nothing. */
  g_assert_cmpuint (sound, >, 10000);
  g_assert_cmpuint (refused, >, 10000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rtcp/table", test_table);
  g_test_add_func ("/rtcp/sender-info", test_sender_info);
  g_test_add_func ("/rtcp/ssrcs", test_ssrcs);
  g_test_add_func ("/rtcp/report-round-trip", test_report_round_trip);
  g_test_add_func ("/rtcp/report-clamps", test_report_clamps);
  g_test_add_func ("/rtcp/sr-blocks", test_sr_blocks);
  g_test_add_func ("/rtcp/writers", test_writers);
  g_test_add_func ("/rtcp/writers-capacity", test_writers_capacity);
  g_test_add_func ("/rtcp/nack", test_nack);
  g_test_add_func ("/rtcp/noise", test_noise);
  return g_test_run ();
}
