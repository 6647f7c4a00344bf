/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What goes out of a pad whose track has a past: a still, then packets before the segment, then what is live. */

#include <gst/check/gstcheck.h>
#include <stdio.h>

#include "gstnatrelaycatchup.h"
#include "natproto/rtcpapp.h"

#define SSRC     7
#define RATE     90000
#define FRAME    3000 /* ticks */
#define FRAME_NS (GST_SECOND / 30)
#define LATENCY  (200 * GST_MSECOND)

/* A line for each that went out: "S start base" in ms, or "seq pts" with pts in ms, "!" where it is a discontinuity. */
typedef struct {
  GstNatRelayHeadstart *headstart;
  GstNatRelayCatchup catchup;
  GstPad *src, *sink;
  GString *out;
  GstFlowReturn ret;
} Track;

static GstBuffer *
packet_new (guint16 seq, guint32 timestamp, gboolean marker)
{
  guint8 bytes[13] = {0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, SSRC, 1};

  bytes[1] |= marker ? 0x80 : 0;
  GST_WRITE_UINT16_BE (bytes + 2, seq);
  GST_WRITE_UINT32_BE (bytes + 4, timestamp);
  return gst_buffer_new_memdup (bytes, sizeof bytes);
}

static GstFlowReturn
track_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  Track *t = GST_PAD_ELEMENT_PRIVATE (pad);
  guint8 seq[2];

  gst_buffer_extract (buffer, 2, seq, 2);
  g_string_append_printf (t->out, "%u %u%s\n", GST_READ_UINT16_BE (seq),
      (guint)(GST_BUFFER_PTS (buffer) / GST_MSECOND), GST_BUFFER_IS_DISCONT (buffer) ? "!" : "");
  gst_buffer_unref (buffer);
  return t->ret;
}

static gboolean
track_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  Track *t = GST_PAD_ELEMENT_PRIVATE (pad);
  const GstSegment *segment;

  if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT) {
    gst_event_parse_segment (event, &segment);
    g_string_append_printf (t->out, "S %u %u\n", (guint)(segment->start / GST_MSECOND),
        (guint)(segment->base / GST_MSECOND));
  }
  gst_event_unref (event);
  return TRUE;
}

static void
no_send (gpointer user, const guint8 *data, gsize len)
{
}

static guint
no_rtt (gpointer user)
{
  return 0;
}

static const GstNatRelayHeadstartHooks hooks = {no_send, no_rtt};

static void
track_init (Track *t)
{
  GstSegment segment;

  *t = (Track){.out = g_string_new (NULL), .src = gst_pad_new ("src", GST_PAD_SRC)};
  t->sink = gst_pad_new ("sink", GST_PAD_SINK);
  t->headstart = gst_nat_relay_headstart_new (&hooks, NULL);
  gst_nat_relay_headstart_start (t->headstart, 1);
  GST_PAD_ELEMENT_PRIVATE (t->sink) = t;
  gst_pad_set_chain_function (t->sink, track_chain);
  gst_pad_set_event_function (t->sink, track_event);
  gst_pad_set_active (t->sink, TRUE);
  gst_pad_set_active (t->src, TRUE);
  gst_pad_link (t->src, t->sink);
  gst_pad_push_event (t->src, gst_event_new_stream_start ("test"));
  gst_nat_relay_catchup_arm (&t->catchup, t->headstart, SSRC);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_pad_push_event (
      t->src, gst_nat_relay_catchup_event (&t->catchup, gst_event_new_segment (&segment)));
}

static void
track_clear (Track *t)
{
  gst_pad_set_active (t->src, FALSE);
  gst_pad_set_active (t->sink, FALSE);
  gst_object_unref (t->src);
  gst_object_unref (t->sink);
  gst_nat_relay_headstart_free (t->headstart);
  g_string_free (t->out, TRUE);
}

static void
announce (Track *t, guint packets)
{
  NatLiveEdge edge = {.ssrc = SSRC, .seq = 99, .behind = (guint16)packets};
  guint8 compound[100];
  gsize len = nat_rtcp_write_rr (compound, sizeof compound, 5, NULL, 0);

  len += nat_rtcp_write_edges (compound + len, sizeof compound - len, 5, &edge, 1);
  gst_nat_relay_headstart_take_rtcp (t->headstart, compound, len);
}

static void
past_packet (Track *t, guint16 seq, guint32 timestamp, gboolean marker)
{
  GstBuffer *packet = packet_new (seq, timestamp, marker);

  fail_unless (gst_nat_relay_headstart_take_packet (t->headstart, SSRC, seq, packet));
  gst_buffer_unref (packet);
}

/* Packets 98 and 99, which end no picture. */
static void
past_in_one_picture (Track *t)
{
  announce (t, 2);
  past_packet (t, 98, FRAME, FALSE);
  past_packet (t, 99, FRAME, FALSE);
}

/* n frames of two packets each, which end with packet 99 and at timestamp 0. Only the first so many packets come. */
static void
past_in_part (Track *t, guint n, guint packets)
{
  announce (t, 2 * n);
  for (guint i = 0; i < packets; i++)
    past_packet (t, (guint16)(100 - 2 * n + i), FRAME * (i / 2 - n + 1), i % 2 == 1);
}

static void
past (Track *t, guint n)
{
  past_in_part (t, n, 2 * n);
}

/* A live packet at that time. */
static void
live (Track *t, guint16 seq, guint32 timestamp, GstClockTime pts)
{
  GstBuffer *packet = packet_new (seq, timestamp, TRUE);
  GstFlowReturn ret;

  GST_BUFFER_PTS (packet) = GST_BUFFER_DTS (packet) = pts;
  if (seq == 100)
    GST_BUFFER_FLAG_SET (packet, GST_BUFFER_FLAG_DISCONT);
  packet = gst_nat_relay_catchup_buffer (&t->catchup, t->src, packet, RATE, LATENCY, &ret);
  fail_unless_equals_int (ret, t->ret);
  if (ret == GST_FLOW_OK)
    gst_pad_push (t->src, packet);
  else
    gst_buffer_unref (packet);
}

static void
event (Track *t, GstEvent *event)
{
  gst_pad_push_event (t->src, gst_nat_relay_catchup_event (&t->catchup, event));
}

GST_START_TEST (test_no_past)
{
  Track t;

  track_init (&t);
  live (&t, 100, FRAME, 500 * GST_MSECOND);
  live (&t, 101, 2 * FRAME, 533 * GST_MSECOND);
  fail_unless_equals_string (t.out->str, "S 0 0\n100 500!\n101 533\n");
  track_clear (&t);
}
GST_END_TEST;

/* Three frames, 100 to 33 ms old; times are later by 1.1 s. The still's turn is at once (its age counts for
 * nothing): the running time of the live packet, less the latency, and 40 ms to decode it. */
GST_START_TEST (test_past)
{
  GstSegment segment;
  gchar **lines;
  guint start, base;
  Track t;

  track_init (&t);
  past (&t, 3);
  live (&t, 100, FRAME, 500 * GST_MSECOND);
  live (&t, 101, 2 * FRAME, 534 * GST_MSECOND);
  lines = g_strsplit (t.out->str, "\n", 3);
  fail_unless (sscanf (lines[1], "S %u %u", &start, &base) == 2, "%s", t.out->str);
  fail_unless_equals_int (start, 1500);
  fail_unless (base >= 340 && base <= 500, "%s", t.out->str);
  fail_unless_equals_string (lines[2], "94 1500!\n95 1500\nS 1600 500\n96 1533\n97 1533\n"
                                       "98 1566\n99 1566\n100 1600\n101 1634\n");
  g_strfreev (lines);

  /* Another feeder's segment, and what has a time in it, are later, too. */
  g_string_truncate (t.out, 0);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  event (&t, gst_event_new_segment (&segment));
  fail_unless_equals_string (t.out->str, "S 1100 0\n");
  track_clear (&t);
}
GST_END_TEST;

GST_START_TEST (test_events)
{
  GstClockTime time, duration;
  GstStructure *s;
  GstEvent *e;
  Track t;

  track_init (&t);
  past (&t, 3);
  live (&t, 100, FRAME, 500 * GST_MSECOND);
  e = gst_nat_relay_catchup_event (&t.catchup, gst_event_new_gap (GST_SECOND, GST_MSECOND));
  gst_event_parse_gap (e, &time, &duration);
  fail_unless_equals_uint64 (time, 2100 * GST_MSECOND);
  fail_unless_equals_uint64 (duration, GST_MSECOND);
  gst_event_unref (e);
  s = gst_structure_new ("GstRTPPacketLost", "timestamp", G_TYPE_UINT64, GST_SECOND, NULL);
  e = gst_nat_relay_catchup_event (
      &t.catchup, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, s));
  gst_structure_get_uint64 (gst_event_get_structure (e), "timestamp", &time);
  fail_unless_equals_uint64 (time, 2100 * GST_MSECOND);
  gst_event_unref (e);
  track_clear (&t);
}
GST_END_TEST;

/* What is of the past but does not fit to what is live is not shown. */
GST_START_TEST (test_old)
{
  Track t;

  track_init (&t);
  past (&t, 3);
  live (&t, 100, 70 * RATE, 500 * GST_MSECOND);
  fail_unless_equals_string (t.out->str, "S 0 0\n100 500!\n");
  track_clear (&t);
}
GST_END_TEST;

/* Half a picture is none: without one, the depayloader has no caps when a segment comes. What comes next lies where it would
 * without a past. */
GST_START_TEST (test_half_a_picture)
{
  Track t;

  track_init (&t);
  past_in_part (&t, 3, 1);
  live (&t, 100, FRAME, 500 * GST_MSECOND);
  live (&t, 101, 2 * FRAME, 533 * GST_MSECOND);
  fail_unless_equals_string (t.out->str, "S 0 0\n100 500!\n101 533\n");
  track_clear (&t);
}
GST_END_TEST;

/* The past is the beginning of the picture that the live packet ends: all of it is as live as that. */
GST_START_TEST (test_live_ends_the_picture)
{
  Track t;

  track_init (&t);
  past_in_one_picture (&t);
  live (&t, 100, FRAME, 500 * GST_MSECOND);
  live (&t, 101, 2 * FRAME, 534 * GST_MSECOND);
  fail_unless_equals_string (t.out->str, "S 0 0\n98 500!\n99 500\n100 500\n101 534\n");
  track_clear (&t);
}
GST_END_TEST;

/* The picture is whole, the rest does not come: the still is shown, and what is live. */
GST_START_TEST (test_picture_alone)
{
  Track t;

  track_init (&t);
  past_in_part (&t, 3, 3);
  live (&t, 100, FRAME, 500 * GST_MSECOND);
  fail_unless (g_str_has_suffix (t.out->str, "94 1500!\n95 1500\nS 1600 500\n96 1533\n100 1600!\n"),
      "%s", t.out->str);
  track_clear (&t);
}
GST_END_TEST;

/* Downstream stops in the middle of it; what comes next lies in the live segment. */
GST_START_TEST (test_stops)
{
  Track t;

  track_init (&t);
  past (&t, 3);
  t.ret = GST_FLOW_FLUSHING;
  live (&t, 100, FRAME, 500 * GST_MSECOND);
  fail_unless (g_str_has_suffix (t.out->str, "94 1500!\nS 1600 500\n"), "%s", t.out->str);
  t.ret = GST_FLOW_OK;
  live (&t, 101, 2 * FRAME, 534 * GST_MSECOND);
  fail_unless (g_str_has_suffix (t.out->str, "S 1600 500\n101 1634\n"), "%s", t.out->str);
  track_clear (&t);
}
GST_END_TEST;

static Suite *
natrelaycatchup_suite (void)
{
  Suite *s = suite_create ("natrelaycatchup");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_no_past);
  tcase_add_test (tc, test_past);
  tcase_add_test (tc, test_events);
  tcase_add_test (tc, test_old);
  tcase_add_test (tc, test_half_a_picture);
  tcase_add_test (tc, test_live_ends_the_picture);
  tcase_add_test (tc, test_picture_alone);
  tcase_add_test (tc, test_stops);
  return s;
}

GST_CHECK_MAIN (natrelaycatchup);
