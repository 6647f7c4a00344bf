/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Ours by hand and read back, cut at every length, and other people's APP packets. */

#include "natproto/rtcpapp.h"

#include <string.h>

#include "vectors.h"

#define RR "80c90001000008ae"
#define AUDIENCE                                                                                   \
  "81cc0007"                                                                                       \
  "000008ae"                                                                                       \
  "41554449"                                                                                       \
  "000001f400000200"                                                                               \
  "0000000c"                                                                                       \
  "1a03012c"                                                                                       \
  "00280000"
#define EDGES                                                                                      \
  "81cc0008"                                                                                       \
  "000008ae"                                                                                       \
  "45444745"                                                                                       \
  "0000045700015f90fffe0258"                                                                       \
  "000004580001770000070000"

/* The packet behind the report; FALSE: the compound is not sound. */
static gboolean
second (const guint8 *data, gsize len, NatRtcpPacket *packet)
{
  NatRtcpIter it;

  return nat_rtcp_iter_init (&it, data, len) && nat_rtcp_iter_next (&it, packet) &&
         nat_rtcp_iter_next (&it, packet);
}

static const NatAudience audience = {500, 512, 12, 26, 3, 300, 40};
static const NatLiveEdge edges[] = {{0x457, 90000, 65534, 600}, {0x458, 96000, 7, 0}};

static void
test_audience (void)
{
  g_autoptr (GByteArray) bytes = vectors_unhex (RR AUDIENCE);
  NatRtcpPacket packet;
  NatAudience a;
  guint8 buf[32];

  g_assert_true (second (bytes->data, bytes->len, &packet));
  g_assert_true (nat_rtcp_audience (&packet, &a));
  g_assert_cmpmem (&a, sizeof a, &audience, sizeof audience);
  g_assert_cmpuint (nat_rtcp_edges (&packet, (NatLiveEdge[NAT_TRACKS_MAX]){{0}}), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_audience (buf, 31, 0x8ae, &audience), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_audience (buf, 32, 0x8ae, &audience), ==, 32);
  g_assert_cmpmem (buf, 32, bytes->data + 8, bytes->len - 8);
}

static void
test_edges (void)
{
  g_autoptr (GByteArray) bytes = vectors_unhex (RR EDGES);
  NatLiveEdge read[NAT_TRACKS_MAX], many[NAT_TRACKS_MAX + 1] = {{0}};
  NatRtcpPacket packet;
  NatAudience a;
  guint8 buf[1000];

  g_assert_true (second (bytes->data, bytes->len, &packet));
  g_assert_false (nat_rtcp_audience (&packet, &a));
  g_assert_cmpuint (nat_rtcp_edges (&packet, read), ==, 2);
  g_assert_cmpmem (read, sizeof edges, edges, sizeof edges);
  g_assert_cmpuint (nat_rtcp_write_edges (buf, 35, 0x8ae, edges, 2), ==, 0);
  g_assert_cmpuint (nat_rtcp_write_edges (buf, 36, 0x8ae, edges, 2), ==, 36);
  g_assert_cmpmem (buf, 36, bytes->data + 8, bytes->len - 8);
  g_assert_cmpuint (nat_rtcp_write_edges (buf, sizeof buf, 1, many, NAT_TRACKS_MAX + 1), ==, 0);
}

static void
test_others (void)
{
  static const char *const strange[] = {
      RR "82cc0007000008ae41554449000001f4000002000000000c1a03012c00280000", /* another subtype */
      RR "81cc0007000008ae41554458000001f4000002000000000c1a03012c00280000", /* another name */
      RR "81cc0002000008ae41554449",                                         /* no data */
      RR "81cc0001000008ae",                                                 /* no name */
      RR "81cc0003000008ae4544474500000457",                                 /* part of an edge */
      RR "81cb0002000008ae4544474500000457",                                 /* BYE, and more */
  };

  for (guint i = 0; i < G_N_ELEMENTS (strange); i++) {
    g_autoptr (GByteArray) bytes = vectors_unhex (strange[i]);
    NatLiveEdge read[NAT_TRACKS_MAX];
    NatRtcpPacket packet;
    NatAudience a;

    g_test_message ("row %u", i);
    if (!second (bytes->data, bytes->len, &packet))
      continue;
    g_assert_false (nat_rtcp_audience (&packet, &a));
    g_assert_cmpuint (nat_rtcp_edges (&packet, read), ==, 0);
  }
}

/* What a later version has behind ours is passed over; more edges than a session has tracks, too. */
static void
test_longer (void)
{
  guint8 buf[8 + 12 + 200] = {0x80, NAT_RTCP_RR, 0, 1};
  NatLiveEdge read[NAT_TRACKS_MAX];
  NatRtcpPacket packet;
  NatAudience a;

  nat_rtcp_write_audience (buf + 8, 32, 1, &audience);
  buf[8 + 3] = 9;
  g_assert_true (second (buf, 8 + 40, &packet));
  g_assert_true (nat_rtcp_audience (&packet, &a));
  g_assert_cmpmem (&a, sizeof a, &audience, sizeof audience);
  nat_rtcp_write_edges (buf + 8, sizeof buf - 8, 1, edges, 2);
  buf[8 + 3] = (12 + 192) / 4 - 1;
  g_assert_true (second (buf, 8 + 12 + 192, &packet));
  g_assert_cmpuint (nat_rtcp_edges (&packet, read), ==, MIN (16, NAT_TRACKS_MAX));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rtcpapp/audience", test_audience);
  g_test_add_func ("/rtcpapp/edges", test_edges);
  g_test_add_func ("/rtcpapp/others", test_others);
  g_test_add_func ("/rtcpapp/longer", test_longer);
  return g_test_run ();
}
