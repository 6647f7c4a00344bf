/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A report by hand, ours read back, every cut of it, and noise. */

#include "natproto/ccfb.h"

#include <string.h>

#include "vectors.h"

/* RFC 8888 figure 3: two streams, one with an odd number of packets; ages 1, unknown, 8189. */
#define REPORT                                                                                     \
  "8bcd000b"                                                                                       \
  "000008ae"                                                                                       \
  "00000457"                                                                                       \
  "fffe0003"                                                                                       \
  "8001"                                                                                           \
  "0000"                                                                                           \
  "ffff0000"                                                                                       \
  "00000458"                                                                                       \
  "00070002"                                                                                       \
  "9ffd9ffe"                                                                                       \
  "00000459"                                                                                       \
  "00090000"                                                                                       \
  "12345678"

static gboolean
open_report (const guint8 *data, gsize len, NatCcfbIter *ccfb, guint32 *timestamp)
{
  NatRtcpPacket packet;
  NatRtcpIter it;

  return nat_rtcp_iter_init (&it, data, len) && nat_rtcp_iter_next (&it, &packet) &&
         nat_ccfb_iter_init (ccfb, &packet, timestamp);
}

static void
assert_metric (const NatCcfbBlock *block, guint index, gboolean received, guint ecn, guint age)
{
  NatCcfbMetric m = nat_ccfb_metric (block, index);

  g_assert_cmpint (m.received, ==, received);
  g_assert_cmpuint (m.ecn, ==, ecn);
  g_assert_cmpuint (m.age, ==, age);
}

static void
test_read (void)
{
  g_autoptr (GByteArray) bytes = vectors_unhex (REPORT);
  NatCcfbBlock block;
  NatCcfbIter it;
  guint32 timestamp;

  g_assert_true (open_report (bytes->data, bytes->len, &it, &timestamp));
  g_assert_cmphex (timestamp, ==, 0x12345678);
  g_assert_true (nat_ccfb_iter_next (&it, &block));
  g_assert_cmphex (block.ssrc, ==, 0x457);
  g_assert_cmpuint (block.begin_seq, ==, 65534);
  g_assert_cmpuint (block.n_metrics, ==, 3);
  assert_metric (&block, 0, TRUE, 0, 1);
  assert_metric (&block, 1, FALSE, 0, 0);
  assert_metric (&block, 2, TRUE, 3, NAT_CCFB_AGE_NONE);
  g_assert_true (nat_ccfb_iter_next (&it, &block));
  g_assert_cmpuint (block.n_metrics, ==, 2);
  assert_metric (&block, 0, TRUE, 0, NAT_CCFB_AGE_MAX);
  assert_metric (&block, 1, TRUE, 0, NAT_CCFB_AGE_LONG);
  g_assert_true (nat_ccfb_iter_next (&it, &block));
  g_assert_cmpuint (block.n_metrics, ==, 0);
  g_assert_false (nat_ccfb_iter_next (&it, &block));
}

static gsize
write_report (guint8 *buf, gsize cap)
{
  static const NatCcfbMetric first[] = {{TRUE, 0, 1}, {FALSE, 1, 77}, {TRUE, 3, NAT_CCFB_AGE_NONE}};
  static const NatCcfbMetric second[] = {{TRUE, 0, NAT_CCFB_AGE_MAX}, {TRUE, 0, NAT_CCFB_AGE_LONG}};
  NatCcfbWriter w;

  nat_ccfb_writer_init (&w, buf, cap, 0x8ae);
  g_assert_cmpuint (nat_ccfb_write_block (&w, 0x457, 65534, first, 3), ==, 3);
  g_assert_cmpuint (nat_ccfb_write_block (&w, 0x458, 7, second, 2), ==, 2);
  nat_ccfb_write_block (&w, 0x459, 9, NULL, 0);
  return nat_ccfb_writer_end (&w, 0x12345678);
}

static void
test_write (void)
{
  g_autoptr (GByteArray) bytes = vectors_unhex (REPORT);
  guint8 buf[128];
  gsize len = write_report (buf, sizeof buf);

  g_assert_cmpmem (buf, len, bytes->data, bytes->len);
}

static void
test_full (void)
{
  NatCcfbMetric metrics[9] = {{TRUE, 0, 5}};
  guint8 buf[64];

  for (gsize cap = 0; cap <= sizeof buf; cap++) {
    NatCcfbWriter w;
    gsize len;
    guint n;

    memset (buf, 0xaa, sizeof buf);
    nat_ccfb_writer_init (&w, buf, cap, 1);
    n = nat_ccfb_write_block (&w, 2, 3, metrics, 9);
    len = nat_ccfb_writer_end (&w, 4);
    g_test_message ("%" G_GSIZE_FORMAT " bytes", cap);
    g_assert_cmpuint (len, <=, cap);
    g_assert_cmpint (n > 0, ==, cap >= 24);
    g_assert_cmpint (len > 0, ==, n > 0);
    for (gsize i = cap; i < sizeof buf; i++)
      g_assert_cmphex (buf[i], ==, 0xaa);
  }
}

/* Every shorter packet, its length field put right, is refused unless it ends with a whole block. */
static void
test_cut (void)
{
  g_autoptr (GByteArray) bytes = vectors_unhex (REPORT);
  static const gsize sound[] = {12, 28, 40};

  for (gsize len = 8; len < bytes->len; len += 4) {
    g_autofree guint8 *cut = g_memdup2 (bytes->data, len);
    gboolean expected = FALSE;
    guint32 timestamp;
    NatCcfbIter it;

    for (guint i = 0; i < G_N_ELEMENTS (sound); i++)
      expected = expected || sound[i] == len;
    cut[3] = (guint8)(len / 4 - 1);
    g_test_message ("%" G_GSIZE_FORMAT " bytes", len);
    g_assert_cmpint (open_report (cut, len, &it, &timestamp), ==, expected);
  }
}

static void
test_noise (void)
{
  for (guint round = 0; round < 20000; round++) {
    gsize len = 4 * (gsize)g_test_rand_int_range (2, 20);
    g_autofree guint8 *data = g_malloc (len);
    guint32 timestamp, sum = 0;
    NatCcfbBlock block;
    NatCcfbIter it;

    for (gsize i = 0; i < len; i++)
      data[i] = (guint8)(g_test_rand_int () & (i % 4 < 2 ? 0x03 : 0xff));
    data[0] = 0x8b;
    data[1] = NAT_RTCP_RTPFB;
    data[2] = 0;
    data[3] = (guint8)(len / 4 - 1);
    if (!open_report (data, len, &it, &timestamp))
      continue;
    while (nat_ccfb_iter_next (&it, &block)) {
      for (guint i = 0; i < block.n_metrics; i++)
        sum += nat_ccfb_metric (&block, i).age;
    }
    g_assert_cmpuint (sum, <=, len * NAT_CCFB_AGE_NONE);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ccfb/read", test_read);
  g_test_add_func ("/ccfb/write", test_write);
  g_test_add_func ("/ccfb/full", test_full);
  g_test_add_func ("/ccfb/cut", test_cut);
  g_test_add_func ("/ccfb/noise", test_noise);
  return g_test_run ();
}
