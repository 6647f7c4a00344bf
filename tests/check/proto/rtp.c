/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Headers by hand, every lie about a length, and a capture of real media. */

#include "natproto/rtp.h"

#include <string.h>

#include "natproto/demux.h"
#include "natproto/rtcp.h"
#include "vectors.h"

/* One row: bytes, and either what must be read or a refusal (header_len 0). */
static const struct {
  const char *hex;
  gsize header_len, payload_len;
  guint8 padding_len;
} table[] = {
    /*  0 the least there is */
    {"80000001000000020000000c", 12, 0, 0},
    /*  1 with payload */
    {"80600001000000020000000caabbcc", 12, 3, 0},
    /*  2 two CSRCs */
    {"82600001000000020000000c0000000a0000000baa", 20, 1, 0},
    /*  3 extension of one word */
    {"90600001000000020000000cbede000101020304aabb", 20, 2, 0},
    /*  4 extension of no words */
    {"90600001000000020000000cbede0000aa", 16, 1, 0},
    /*  5 padding of four */
    {"a0600001000000020000000caa00000004", 12, 1, 4},
    /*  6 nothing but padding */
    {"a0600001000000020000000c00000003", 12, 1, 3},
    /*  7 all of the payload is padding */
    {"a0600001000000020000000c000003", 12, 0, 3},
    /*  8 CSRC, extension and padding */
    {"b1600001000000020000000c0000000abede000101020304aabb0002", 24, 2, 2},
    /*  9 one byte short */
    {"80000001000000020000", 0, 0, 0},
    /* 10 version 1 */
    {"40000001000000020000000c", 0, 0, 0},
    /* 11 version 3 */
    {"c0000001000000020000000c", 0, 0, 0},
    /* 12 fifteen CSRCs that are not there */
    {"8f600001000000020000000c0000000a", 0, 0, 0},
    /* 13 half a CSRC */
    {"81600001000000020000000c0000", 0, 0, 0},
    /* 14 extension flag, no extension */
    {"90600001000000020000000c", 0, 0, 0},
    /* 15 extension header cut */
    {"90600001000000020000000cbede00", 0, 0, 0},
    /* 16 extension longer than the packet */
    {"90600001000000020000000cbede000201020304", 0, 0, 0},
    /* 17 extension of 65535 words */
    {"90600001000000020000000cbedeffff01020304", 0, 0, 0},
    /* 18 padding flag, no byte */
    {"a0600001000000020000000c", 0, 0, 0},
    /* 19 padding of 0 */
    {"a0600001000000020000000c00000000", 0, 0, 0},
    /* 20 padding longer than the payload: it would eat the header */
    {"a0600001000000020000000caa000004", 12, 0, 4},
    /* 21 */
    {"a0600001000000020000000caa000005", 0, 0, 0},
    /* 22 padding count taken from an extension */
    {"b0600001000000020000000cbede000101020301", 0, 0, 0},
    /* 23 nothing */
    {"", 0, 0, 0},
};

static void
test_table (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (table); i++) {
    g_autoptr (GByteArray) bytes = vectors_unhex (table[i].hex);
    /* A copy of the exact size, so that the sanitizer sees a byte too far. */
    g_autofree guint8 *exact = g_memdup2 (bytes->data, bytes->len);
    NatRtpHeader h;

    if (nat_rtp_parse (&h, exact, bytes->len) != (table[i].header_len > 0))
      g_error ("row %u: %s", i, table[i].header_len > 0 ? "refused" : "taken");
    if (table[i].header_len > 0 &&
        (h.header_len != table[i].header_len || h.payload_len != table[i].payload_len ||
            h.padding_len != table[i].padding_len))
      g_error ("row %u: header %" G_GSIZE_FORMAT " payload %" G_GSIZE_FORMAT " padding %u", i,
          h.header_len, h.payload_len, h.padding_len);
  }
}

static void
test_fields (void)
{
  static const guint8 packet[] = {
      0x80, 0xe1, 0xfe, 0xdc, 0x89, 0xab, 0xcd, 0xef, 0xf0, 0x12, 0x34, 0x56, 0x00};
  NatRtpHeader h;

  g_assert_true (nat_rtp_parse (&h, packet, sizeof packet));
  g_assert_cmpuint (h.payload_type, ==, 97);
  g_assert_true (h.marker);
  g_assert_cmphex (h.seq, ==, 0xfedc);
  g_assert_cmphex (h.timestamp, ==, 0x89abcdef);
  g_assert_cmphex (h.ssrc, ==, 0xf0123456);
}

/* ---- The capture ------------------------------------------------------- */

typedef struct {
  guint32 ssrc;
  guint8 payload_type;
  guint packets, markers;
  gsize payload;
  guint16 next_seq;
} Flow;

typedef struct {
  Flow flows[2];
  guint datagrams, rtcp, sr, rr, sdes, nack, pli;
} Capture;

static void
count_rtp (Capture *c, const guint8 *data, gsize len)
{
  NatRtpHeader h;
  Flow *flow;

  g_assert_true (nat_rtp_parse (&h, data, len));
  flow = &c->flows[h.ssrc == 1111 ? 0 : 1];
  g_assert_cmpuint (h.ssrc, ==, flow->ssrc);
  g_assert_cmpuint (h.payload_type, ==, flow->payload_type);
  if (flow->packets++ > 0)
    g_assert_cmpuint (h.seq, ==, flow->next_seq);
  flow->next_seq = h.seq + 1;
  flow->markers += h.marker;
  flow->payload += h.payload_len;
  g_assert_cmpuint (h.header_len + h.payload_len, ==, len);
}

static void
count_rtcp (Capture *c, const guint8 *data, gsize len)
{
  NatRtcpPacket packet;
  NatRtcpIter it;

  g_assert_true (nat_rtcp_iter_init (&it, data, len));
  while (nat_rtcp_iter_next (&it, &packet)) {
    c->sr += packet.type == NAT_RTCP_SR;
    c->rr += packet.type == NAT_RTCP_RR;
    c->sdes += packet.type == NAT_RTCP_SDES;
    c->nack += packet.type == NAT_RTCP_RTPFB && packet.count == NAT_RTCP_FMT_NACK;
    c->pli += packet.type == NAT_RTCP_PSFB && packet.count == NAT_RTCP_FMT_PLI;
  }
  c->rtcp++;
}

static guint32
le32 (const guint8 *p)
{
  return (guint32)p[3] << 24 | (guint32)p[2] << 16 | (guint32)p[1] << 8 | p[0];
}

/* Raw IPv4 behind pcap's own headers; hands the UDP payloads on. */
static void
read_capture (Capture *c, const guint8 *data, gsize len)
{
  gsize pos = 24;

  g_assert_cmpuint (len, >, 24);
  g_assert_cmphex (le32 (data), ==, 0xa1b2c3d4);
  g_assert_cmpuint (le32 (data + 20), ==, 101);
  while (pos < len) {
    gsize size = le32 (data + pos + 8);
    const guint8 *ip = data + pos + 16, *udp = ip + 4 * (ip[0] & 15);
    gsize udp_len = (gsize)udp[4] << 8 | udp[5];

    g_assert_cmpuint (pos + 16 + size, <=, len);
    g_assert_cmpuint (ip[9], ==, 17);
    g_assert_true (udp + udp_len == ip + size);
    if (nat_demux (udp + 8, udp_len - 8) == NAT_PACKET_RTCP)
      count_rtcp (c, udp + 8, udp_len - 8);
    else
      count_rtp (c, udp + 8, udp_len - 8);
    c->datagrams++;
    pos += 16 + size;
  }
}

/* The numbers were counted by an independent reader. */
static void
test_capture (void)
{
  g_autofree char *path = g_build_filename (VECTORS_DIR, "rtp/h264-opus-bundle.pcap", NULL);
  Capture c = {.flows = {{.ssrc = 1111, .payload_type = 96}, {.ssrc = 2222, .payload_type = 97}}};
  g_autofree char *data = NULL;
  gsize len;

  g_assert_true (g_file_get_contents (path, &data, &len, NULL));
  read_capture (&c, (const guint8 *)data, len);
  g_assert_cmpuint (c.datagrams, ==, 300);
  g_assert_cmpuint (c.flows[0].packets, ==, 157);
  g_assert_cmpuint (c.flows[0].markers, ==, 48);
  g_assert_cmpuint (c.flows[0].payload, ==, 26300);
  g_assert_cmpuint (c.flows[1].packets, ==, 80);
  g_assert_cmpuint (c.flows[1].markers, ==, 1);
  g_assert_cmpuint (c.flows[1].payload, ==, 13040);
  g_assert_cmpuint (c.rtcp, ==, 63);
  g_assert_cmpuint (c.sr, ==, 9);
  g_assert_cmpuint (c.rr, ==, 54);
  g_assert_cmpuint (c.sdes, ==, 63);
  g_assert_cmpuint (c.nack, ==, 48);
  g_assert_cmpuint (c.pli, ==, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rtp/table", test_table);
  g_test_add_func ("/rtp/fields", test_fields);
  g_test_add_func ("/rtp/capture", test_capture);
  return g_test_run ();
}
