/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Gaps of several SSRCs become NACKs; and a latency that leaves no time for them is told. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstnatrelayrepair.h"
#include "natproto/rtcp.h"
#include "natproto/rtcpapp.h"

#define MS(n) ((gint64)(n)*1000)
#define OWN   99

typedef struct {
  GstNatRelayRepair *repair;
  GString *asked; /* "7:3,4 8:1" */
  guint compounds, rtt_us, told, needed_ms;
  gint64 now;
} Viewer;

static void
viewer_send (gpointer user, const guint8 *data, gsize len)
{
  Viewer *v = user;
  NatRtcpNackEntry entry;
  NatRtcpPacket packet;
  NatRtcpIter it;
  guint32 ssrc;

  v->compounds++;
  fail_unless (nat_rtcp_iter_init (&it, data, len));
  fail_unless (len <= 1200);
  while (nat_rtcp_iter_next (&it, &packet)) {
    fail_unless_equals_int (nat_rtcp_sender_ssrc (&packet), OWN);
    fail_unless (nat_rtcp_media_ssrc (&packet, &ssrc));
    g_string_append_printf (v->asked, "%s%u:", v->asked->len > 0 ? " " : "", ssrc);
    for (guint i = 0; nat_rtcp_nack_entry (&packet, i, &entry); i++) {
      g_string_append_printf (v->asked, i > 0 ? ",%u" : "%u", entry.first);
      for (guint bit = 0; bit < 16; bit++) {
        if (entry.following & 1u << bit)
          g_string_append_printf (v->asked, ",%u", (guint16)(entry.first + 1 + bit));
      }
    }
  }
}

static guint
viewer_rtt (gpointer user)
{
  return ((Viewer *)user)->rtt_us;
}

static void
viewer_too_short (gpointer user, guint latency_ms, guint needed_ms, guint rtt_ms)
{
  Viewer *v = user;

  v->told++;
  v->needed_ms = needed_ms;
}

static void
viewer_init (Viewer *v, guint latency_ms, guint rtt_ms)
{
  static const GstNatRelayRepairHooks hooks = {viewer_send, viewer_rtt, viewer_too_short};

  memset (v, 0, sizeof *v);
  v->repair = gst_nat_relay_repair_new (&hooks, v);
  v->asked = g_string_new (NULL);
  v->rtt_us = rtt_ms * 1000;
  v->now = MS (5000);
  gst_nat_relay_repair_set_latency (v->repair, latency_ms * GST_MSECOND);
  gst_nat_relay_repair_start (v->repair, OWN);
}

static void
viewer_clear (Viewer *v)
{
  gst_nat_relay_repair_free (v->repair);
  g_string_free (v->asked, TRUE);
}

static void
receive (Viewer *v, guint32 ssrc, guint16 seq)
{
  gst_nat_relay_repair_receive (v->repair, ssrc, seq, v->now);
}

/* Time goes on to when there is something to ask for. */
static void
expect (Viewer *v, const gchar *asked)
{
  gint64 deadline = gst_nat_relay_repair_deadline (v->repair);

  fail_if (deadline == G_MAXINT64, "nothing is missing");
  v->now = MAX (v->now, deadline);
  g_string_truncate (v->asked, 0);
  gst_nat_relay_repair_run (v->repair, v->now);
  fail_unless_equals_string (v->asked->str, asked);
}

GST_START_TEST (test_asks)
{
  GstNatRelayRepairStats stats;
  Viewer v;

  viewer_init (&v, 300, 40);
  receive (&v, 7, 65534);
  receive (&v, 8, 1);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  receive (&v, 7, 2);
  receive (&v, 8, 3);
  expect (&v, "7:65535,0,1 8:2");
  fail_unless_equals_int (v.compounds, 1);
  v.now += MS (40);
  receive (&v, 7, 0);
  receive (&v, 8, 2);
  receive (&v, 8, 2);
  expect (&v, "7:65535,1");
  receive (&v, 7, 65535);
  v.now += MS (300);
  receive (&v, 7, 1);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  gst_nat_relay_repair_get_stats (v.repair, &stats);
  fail_unless_equals_uint64 (stats.nacks, 2);
  fail_unless_equals_uint64 (stats.asked, 6);
  fail_unless_equals_uint64 (stats.recovered, 3);
  fail_unless_equals_uint64 (stats.late, 1);
  viewer_clear (&v);
}
GST_END_TEST;

/* Far more than one datagram can ask for. */
GST_START_TEST (test_long_outage)
{
  GstNatRelayRepairStats stats;
  Viewer v;

  viewer_init (&v, 300, 40);
  receive (&v, 7, 1);
  for (guint16 seq = 40; seq < 2900; seq += 40)
    receive (&v, 7, seq);
  v.now += MS (20);
  gst_nat_relay_repair_run (v.repair, v.now);
  gst_nat_relay_repair_get_stats (v.repair, &stats);
  fail_unless_equals_uint64 (stats.asked, 1024);
  fail_unless (v.compounds >= 1 && v.compounds <= 10, "%u compounds", v.compounds);
  viewer_clear (&v);
}
GST_END_TEST;

/* A sender that begins anew under the same SSRC, and one packet from nowhere. */
GST_START_TEST (test_restart)
{
  GstNatRelayRepairStats stats;
  Viewer v;

  viewer_init (&v, 300, 40);
  receive (&v, 7, 1);
  receive (&v, 7, 30000);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  receive (&v, 7, 2);
  receive (&v, 7, 4);
  receive (&v, 7, 20000);
  receive (&v, 7, 20001);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  receive (&v, 7, 20003);
  expect (&v, "7:20002");
  /* backwards, too; but what is missing is never too far behind */
  receive (&v, 7, 5000);
  receive (&v, 7, 5001);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  receive (&v, 7, 5004);
  for (guint16 seq = 5005; seq < 9000; seq++)
    receive (&v, 7, seq);
  expect (&v, "7:5002,5003");
  v.now += MS (40);
  receive (&v, 7, 5002);
  receive (&v, 7, 5003);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  gst_nat_relay_repair_get_stats (v.repair, &stats);
  fail_unless_equals_uint64 (stats.recovered, 2);
  viewer_clear (&v);
}
GST_END_TEST;

/* A sender that begins anew so near that it looks like a loss; the relay says where it began. What is missing of what it
 * sent since is asked for as ever, and so is that of others. */
GST_START_TEST (test_beginning)
{
  NatLiveEdge edge = {.ssrc = 7, .seq = 199};
  guint8 rtcp[64];
  gsize len;
  Viewer v;

  viewer_init (&v, 300, 40);
  receive (&v, 7, 100);
  receive (&v, 8, 1);
  receive (&v, 8, 3);
  receive (&v, 7, 103);
  receive (&v, 7, 200);
  receive (&v, 7, 202);
  len = nat_rtcp_write_rr (rtcp, sizeof rtcp, 55, NULL, 0);
  len += nat_rtcp_write_edges (rtcp + len, sizeof rtcp - len, 55, &edge, 1);
  gst_nat_relay_repair_take_rtcp (v.repair, rtcp, len);
  expect (&v, "7:201 8:2");
  /* Of a past that is yet to come nothing is given up. */
  edge = (NatLiveEdge){.ssrc = 7, .seq = 202, .behind = 50};
  len = nat_rtcp_write_rr (rtcp, sizeof rtcp, 55, NULL, 0);
  len += nat_rtcp_write_edges (rtcp + len, sizeof rtcp - len, 55, &edge, 1);
  gst_nat_relay_repair_take_rtcp (v.repair, rtcp, len);
  v.now += MS (60);
  expect (&v, "7:201 8:2");
  viewer_clear (&v);
}
GST_END_TEST;

GST_START_TEST (test_switched_off_and_paused)
{
  Viewer v;

  viewer_init (&v, 300, 40);
  receive (&v, 7, 1);
  gst_nat_relay_repair_skip (v.repair);
  receive (&v, 7, 100);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  receive (&v, 7, 102);
  gst_nat_relay_repair_set_enabled (v.repair, FALSE);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  receive (&v, 7, 105);
  fail_unless_equals_int64 (gst_nat_relay_repair_deadline (v.repair), G_MAXINT64);
  gst_nat_relay_repair_set_enabled (v.repair, TRUE);
  receive (&v, 7, 107);
  receive (&v, 7, 109);
  expect (&v, "7:108");
  viewer_clear (&v);
}
GST_END_TEST;

/* More SSRCs than a stream has tracks: none is forgotten while it is heard of. */
GST_START_TEST (test_many_sources)
{
  Viewer v;

  viewer_init (&v, 300, 40);
  for (guint32 ssrc = 1; ssrc < 100; ssrc++) {
    v.now += MS (1);
    receive (&v, ssrc, 1);
    receive (&v, 1000, (guint16)ssrc);
  }
  receive (&v, 1000, 101);
  expect (&v, "1000:100");
  viewer_clear (&v);
}
GST_END_TEST;

static const struct {
  guint latency_ms, rtt_ms, needed_ms; /* 0 = it is enough */
} latencies[] = {
    {200, 40, 0},
    {60, 40, 100},
    {200, 0, 0}, /* not known yet */
    {200, 150, 320},
    {320, 150, 0},
};

GST_START_TEST (test_latency_is_too_short)
{
  Viewer v;

  viewer_init (&v, latencies[__i__].latency_ms, latencies[__i__].rtt_ms);
  for (guint16 seq = 0; seq < 2000; seq++)
    receive (&v, 7, seq);
  fail_unless_equals_int (v.told, latencies[__i__].needed_ms > 0 ? 1 : 0);
  fail_unless_equals_int (v.needed_ms, latencies[__i__].needed_ms);
  /* with what was said it is enough */
  if (v.needed_ms > 0) {
    gst_nat_relay_repair_set_latency (v.repair, v.needed_ms * GST_MSECOND);
    for (guint16 seq = 2000; seq < 4000; seq++)
      receive (&v, 7, seq);
    fail_unless_equals_int (v.told, 1);
  }
  viewer_clear (&v);
}
GST_END_TEST;

/* The round trip to the relay is short, but the publisher is far away: repairs come, all too late. */
GST_START_TEST (test_repairs_come_late)
{
  gchar asked[16];
  Viewer v;

  viewer_init (&v, 100, 10);
  for (guint16 seq = 0; seq < 400; seq += 4) {
    receive (&v, 7, seq);
    receive (&v, 7, (guint16)(seq + 2));
    g_snprintf (asked, sizeof asked, "7:%u", seq + 1u);
    expect (&v, asked);
    v.now += MS (150);
    receive (&v, 7, (guint16)(seq + 1));
    receive (&v, 7, (guint16)(seq + 3));
  }
  fail_unless_equals_int (v.told, 1);
  fail_unless (v.needed_ms >= 150 && v.needed_ms <= 200, "%u", v.needed_ms);
  viewer_clear (&v);
}
GST_END_TEST;

static Suite *
natrelayrepair_suite (void)
{
  Suite *s = suite_create ("natrelayrepair");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_asks);
  tcase_add_test (tc, test_long_outage);
  tcase_add_test (tc, test_restart);
  tcase_add_test (tc, test_beginning);
  tcase_add_test (tc, test_switched_off_and_paused);
  tcase_add_test (tc, test_many_sources);
  tcase_add_loop_test (tc, test_latency_is_too_short, 0, G_N_ELEMENTS (latencies));
  tcase_add_test (tc, test_repairs_come_late);
  return s;
}

GST_CHECK_MAIN (natrelayrepair);
