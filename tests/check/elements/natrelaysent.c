/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What was sent is sent again to who asks for it, once in a round trip, within bounds; and tails are told. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstnatrelaysent.h"
#include "natproto/rtcp.h"

#define MS(n) ((gint64)(n)*1000)
#define SSRC  7
#define SIZE  100
#define RTT   MS (40)

static gint alive; /* atomic: packets that nobody let go */

static void
packet_gone (gpointer data)
{
  g_atomic_int_add (&alive, -1);
  g_free (data);
}

/* One piece of memory, as the sealer makes it. */
static GstBuffer *
packet_new (guint32 ssrc, guint16 seq, gsize size)
{
  guint8 *data = g_malloc0 (size);

  data[0] = 0x80;
  data[1] = 96;
  GST_WRITE_UINT16_BE (data + 2, seq);
  GST_WRITE_UINT32_BE (data + 8, ssrc);
  g_atomic_int_add (&alive, 1);
  return gst_buffer_new_wrapped_full (0, data, size, 0, size, data, packet_gone);
}

static void
put (GstNatRelaySent *sent, guint32 ssrc, guint16 seq, gint64 now)
{
  GstBuffer *buffer = packet_new (ssrc, seq, SIZE);

  gst_nat_relay_sent_put (sent, buffer, now);
  gst_buffer_unref (buffer);
}

static guint16
seq_of (GstBuffer *buffer)
{
  guint8 seq[2];

  fail_unless_equals_int (gst_buffer_extract (buffer, 2, seq, 2), 2);
  return GST_READ_UINT16_BE (seq);
}

/* Asks for n packets from there on; what comes again must be "3 4 5". */
static void
expect (GstNatRelaySent *sent, guint32 ssrc, guint16 from, guint n, gint64 now, const gchar *again)
{
  GString *text = g_string_new (NULL);
  GstBuffer *out[GST_NAT_RELAY_SENT_BATCH];
  guint16 *seqs = g_new (guint16, n);
  guint8 compound[1400];
  guint some = n, got;
  gsize len;

  for (guint i = 0; i < n; i++)
    seqs[i] = (guint16)(from + i);
  len = nat_rtcp_write_nack (compound, sizeof compound, 1, ssrc, seqs, &some);
  fail_unless_equals_int (some, n);
  got = gst_nat_relay_sent_answer (sent, compound, len, now, RTT, out, G_N_ELEMENTS (out));
  for (guint i = 0; i < got; i++) {
    g_string_append_printf (text, i > 0 ? " %u" : "%u", seq_of (out[i]));
    gst_buffer_unref (out[i]);
  }
  fail_unless_equals_string (text->str, again);
  g_string_free (text, TRUE);
  g_free (seqs);
}

GST_START_TEST (test_same_bytes)
{
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  GstBuffer *whole = packet_new (SSRC, 1, SIZE), *pieces = packet_new (SSRC, 2, 12);
  GstBuffer *out[4];
  guint8 compound[64], bytes[SIZE];
  guint16 seqs[] = {1, 2};
  guint n = 2;
  gsize len = nat_rtcp_write_nack (compound, sizeof compound, 1, SSRC, seqs, &n);

  gst_buffer_append (pieces, gst_buffer_new_memdup ("encoder's", 9));
  gst_nat_relay_sent_put (sent, whole, 0);
  gst_nat_relay_sent_put (sent, pieces, 0);
  fail_unless_equals_int (gst_nat_relay_sent_answer (sent, compound, len, MS (50), RTT, out, 4), 2);
  fail_unless (out[0] == whole, "copied");
  fail_if (out[1] == pieces, "holds an encoder's memory");
  fail_unless_equals_int (gst_buffer_extract (out[1], 0, bytes, sizeof bytes), 21);
  fail_unless (memcmp (bytes + 12, "encoder's", 9) == 0);
  fail_unless_equals_int (seq_of (out[1]), 2);
  gst_buffer_unref (pieces);
  gst_buffer_unref (whole);
  gst_buffer_unref (out[0]);
  gst_buffer_unref (out[1]);
  gst_nat_relay_sent_free (sent);
  fail_unless_equals_int (g_atomic_int_get (&alive), 0);
}
GST_END_TEST;

GST_START_TEST (test_answers)
{
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  GstNatRelaySentStats stats;

  for (guint i = 0; i < 20; i++)
    put (sent, SSRC, (guint16)(65530 + i), MS (i));
  put (sent, 8, 1, MS (20));
  expect (sent, SSRC, 65534, 4, MS (100), "65534 65535 0 1");
  expect (sent, 8, 1, 1, MS (100), "1");
  /* within a round trip; then again */
  expect (sent, SSRC, 65534, 5, MS (120), "2");
  expect (sent, SSRC, 65534, 2, MS (145), "65534 65535");
  /* before the first, after the last, another SSRC */
  expect (sent, SSRC, 65528, 3, MS (145), "65530");
  expect (sent, SSRC, 13, 4, MS (145), "13");
  expect (sent, 9, 1, 1, MS (145), "");
  gst_nat_relay_sent_get_stats (sent, &stats);
  fail_unless_equals_uint64 (stats.nacks, 7);
  fail_unless_equals_uint64 (stats.asked, 20);
  fail_unless_equals_uint64 (stats.resent, 10);
  fail_unless_equals_uint64 (stats.resent_bytes, 10 * SIZE);
  fail_unless_equals_uint64 (stats.gone, 6);
  fail_unless_equals_uint64 (stats.spared, 4);
  gst_nat_relay_sent_free (sent);
  fail_unless_equals_int (g_atomic_int_get (&alive), 0);
}
GST_END_TEST;

/* Just sent: it cannot have been missed. */
GST_START_TEST (test_just_sent)
{
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();

  put (sent, SSRC, 1, MS (100));
  expect (sent, SSRC, 1, 1, MS (110), "");
  expect (sent, SSRC, 1, 1, MS (140), "1");
  gst_nat_relay_sent_free (sent);
}
GST_END_TEST;

GST_START_TEST (test_other_rtcp)
{
  static const guint8 report[] = {0x80, 201, 0, 1, 0, 0, 0, 1};
  static const guint8 wrong[] = {0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0};
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  GstNatRelaySentStats stats;
  GstBuffer *out[1];

  put (sent, SSRC, 1, 0);
  fail_unless_equals_int (
      gst_nat_relay_sent_answer (sent, report, sizeof report, MS (100), RTT, out, 1), 0);
  fail_unless_equals_int (
      gst_nat_relay_sent_answer (sent, wrong, sizeof wrong, MS (100), RTT, out, 1), 0);
  gst_nat_relay_sent_get_stats (sent, &stats);
  fail_unless_equals_uint64 (stats.nacks, 0);
  gst_nat_relay_sent_free (sent);
}
GST_END_TEST;

/* At any rate two seconds are kept, and no more; a track that stands still keeps its last. */
GST_START_TEST (test_keeps_two_seconds)
{
  static const guint rates[] = {10, 100, 1000, 5000};
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  guint rate = rates[__i__], n = 5 * rate;
  gint64 end = 5 * G_TIME_SPAN_SECOND;
  gchar *text;

  for (guint i = 0; i <= n; i++)
    put (sent, SSRC, (guint16)(60000 + i), end * i / n);
  fail_unless (g_atomic_int_get (&alive) <= (gint)(2 * rate + 2), "%d packets are kept", alive);
  fail_unless (g_atomic_int_get (&alive) >= (gint)(2 * rate), "%d packets are kept", alive);
  text = g_strdup_printf ("%u", (guint16)(60000 + n - 2 * rate + 1));
  expect (sent, SSRC, (guint16)(60000 + n - 2 * rate + 1), 1, end, text);
  /* kept, but too old by now */
  expect (sent, SSRC, (guint16)(60000 + n), 1, end + 3 * G_TIME_SPAN_SECOND, "");
  g_free (text);
  gst_nat_relay_sent_free (sent);
  fail_unless_equals_int (g_atomic_int_get (&alive), 0);
}
GST_END_TEST;

GST_START_TEST (test_keeps_few_bytes)
{
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  guint most = GST_NAT_RELAY_SENT_MAX_BYTES / 50000;

  for (guint i = 0; i < 3 * most; i++) {
    GstBuffer *buffer = packet_new (i % 2, (guint16)(i / 2), 50000);

    gst_nat_relay_sent_put (sent, buffer, MS (i));
    gst_buffer_unref (buffer);
  }
  fail_unless (g_atomic_int_get (&alive) <= (gint)most, "%d packets are kept", alive);
  fail_unless (g_atomic_int_get (&alive) >= (gint)most - 2, "%d packets are kept", alive);
  gst_nat_relay_sent_clear (sent);
  fail_unless_equals_int (g_atomic_int_get (&alive), 0);
  expect (sent, 0, 1, 1, MS (3 * most), "");
  gst_nat_relay_sent_free (sent);
}
GST_END_TEST;

/* Sequence numbers that jump, go back, and repeat: what is asked for is right, or nothing. */
GST_START_TEST (test_jumps)
{
  GRand *rand = g_rand_new_with_seed (4711);
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  guint16 seq = 1;

  for (guint i = 0; i < 20000; i++) {
    GstBuffer *out[17];
    guint8 compound[16] = {0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, SSRC, 0, 0, 0xff, 0xff};
    guint n;

    switch (g_rand_int_range (rand, 0, 200)) {
    case 0: seq = (guint16)g_rand_int (rand); break;
    case 1: seq += (guint16)g_rand_int_range (rand, 100, 20000); break;
    case 2: seq -= (guint16)g_rand_int_range (rand, 0, 300); break;
    default: seq++; break;
    }
    put (sent, SSRC, seq, MS (i * 2));
    GST_WRITE_UINT16_BE (compound + 12, (guint16)(seq - g_rand_int_range (rand, 0, 400)));
    n = gst_nat_relay_sent_answer (sent, compound, sizeof compound, MS (i * 2), 0, out, 17);
    for (guint j = 0; j < n; j++) {
      guint16 offset = (guint16)(seq_of (out[j]) - GST_READ_UINT16_BE (compound + 12));

      fail_unless (offset <= 16, "%u was not asked for", seq_of (out[j]));
      gst_buffer_unref (out[j]);
    }
    /* the one just sent is always there */
    GST_WRITE_UINT32_BE (compound + 12, (guint32)seq << 16);
    n = gst_nat_relay_sent_answer (sent, compound, sizeof compound, MS (i * 2), 0, out, 17);
    fail_unless (n <= 1);
    for (guint j = 0; j < n; j++) {
      fail_unless_equals_int (seq_of (out[j]), seq);
      gst_buffer_unref (out[j]);
    }
  }
  gst_nat_relay_sent_free (sent);
  fail_unless_equals_int (g_atomic_int_get (&alive), 0);
  g_rand_free (rand);
}
GST_END_TEST;

/* Somebody who asks for all and ever again gets no more than the media itself, and a start. */
GST_START_TEST (test_repairs_are_limited)
{
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  GstNatRelaySentStats stats;
  guint16 seqs[64];
  guint8 compound[100];
  guint n = 64;
  gsize len;

  for (guint i = 0; i < n; i++)
    seqs[i] = (guint16)i;
  len = nat_rtcp_write_nack (compound, sizeof compound, 1, SSRC, seqs, &n);
  for (guint i = 0; i < 64; i++)
    put (sent, SSRC, (guint16)i, 0);
  for (guint i = 1; i < 40; i++) {
    GstBuffer *out[GST_NAT_RELAY_SENT_BATCH];
    guint got =
        gst_nat_relay_sent_answer (sent, compound, len, MS (45 * i), RTT, out, G_N_ELEMENTS (out));

    while (got > 0)
      gst_buffer_unref (out[--got]);
  }
  gst_nat_relay_sent_get_stats (sent, &stats);
  fail_unless_equals_uint64 (stats.asked, 39 * 64);
  fail_unless (stats.resent_bytes <= 128 * 1024, "%" G_GUINT64_FORMAT, stats.resent_bytes);
  fail_unless (stats.resent_bytes > 100 * 1024, "%" G_GUINT64_FORMAT, stats.resent_bytes);
  gst_nat_relay_sent_free (sent);
}
GST_END_TEST;

static void
expect_tails (GstNatRelaySent *sent, gint64 now, guint n, guint16 seq)
{
  GstBuffer *out[4];

  fail_unless_equals_int (gst_nat_relay_sent_tails (sent, now, out, 4), n);
  for (guint i = 0; i < n; i++) {
    if (i == 0)
      fail_unless_equals_int (seq_of (out[i]), seq);
    gst_buffer_unref (out[i]);
  }
}

GST_START_TEST (test_tails)
{
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();
  gint64 now = MS (1000);

  fail_unless_equals_int64 (gst_nat_relay_sent_tail_due (sent), G_MAXINT64);
  put (sent, SSRC, 1, now);
  fail_unless_equals_int64 (gst_nat_relay_sent_tail_due (sent), now + MS (60));
  expect_tails (sent, now + MS (59), 0, 0);
  expect_tails (sent, now + MS (60), 1, 1);
  /* once */
  expect_tails (sent, now + MS (600), 0, 0);
  fail_unless_equals_int64 (gst_nat_relay_sent_tail_due (sent), G_MAXINT64);
  fail_unless_equals_int64 (gst_nat_relay_sent_last_repair (sent), now + MS (60));
  /* a slow track is silent later; two tracks, two tails */
  for (guint i = 0; i < 10; i++)
    put (sent, SSRC, (guint16)(2 + i), now += MS (100));
  put (sent, 8, 1, now);
  fail_unless_equals_int64 (gst_nat_relay_sent_tail_due (sent), now + MS (60));
  expect_tails (sent, now + MS (60), 1, 1);
  fail_unless_equals_int64 (gst_nat_relay_sent_tail_due (sent), now + MS (200));
  put (sent, 8, 2, now + MS (100));
  expect_tails (sent, now + MS (200), 1, 11);
  expect_tails (sent, now + MS (300), 1, 2);
  gst_nat_relay_sent_free (sent);
  fail_unless_equals_int (g_atomic_int_get (&alive), 0);
}
GST_END_TEST;

/* More SSRCs than there are tracks: the latest are there. */
GST_START_TEST (test_many_tracks)
{
  GstNatRelaySent *sent = gst_nat_relay_sent_new ();

  for (guint i = 0; i < 40; i++)
    put (sent, i, 1, MS (i));
  expect (sent, 39, 1, 1, MS (200), "1");
  expect (sent, 24, 1, 1, MS (200), "1");
  expect (sent, 23, 1, 1, MS (200), "");
  gst_nat_relay_sent_free (sent);
  fail_unless_equals_int (g_atomic_int_get (&alive), 0);
}
GST_END_TEST;

static Suite *
natrelaysent_suite (void)
{
  Suite *s = suite_create ("natrelaysent");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_same_bytes);
  tcase_add_test (tc, test_answers);
  tcase_add_test (tc, test_just_sent);
  tcase_add_test (tc, test_other_rtcp);
  tcase_add_loop_test (tc, test_keeps_two_seconds, 0, 4);
  tcase_add_test (tc, test_keeps_few_bytes);
  tcase_add_test (tc, test_jumps);
  tcase_add_test (tc, test_repairs_are_limited);
  tcase_add_test (tc, test_tails);
  tcase_add_test (tc, test_many_tracks);
  return s;
}

GST_CHECK_MAIN (natrelaysent);
