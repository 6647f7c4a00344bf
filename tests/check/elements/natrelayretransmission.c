/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Both elements with a real relay, and ways to it that lose: everything arrives in the end, whatever was lost. */

#include <gst/check/gstcheck.h>

#include "lossy.h"
#include "media.h"

/* Frames of some packets each, and sound: gaps within a frame and between frames. */
#define VIDEO                                                                                      \
  "videotestsrc is-live=true pattern=snow ! video/x-raw,width=160,height=120,framerate=50/1 ! "    \
  "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=25 target-bitrate=800000 ! identity name=tap ! " \
  "rtpvp8pay mtu=600"
#define SCREEN "rtpvp8depay ! identity name=tap ! fakesink sync=false"

/* A stream from one pipeline to another, over two ways that lose. */
typedef struct {
  Lossy *up, *down;
  Side sender, receiver;
  GstElement *sink, *src;
} Film;

static gchar *
uri_by_way_of (const gchar *address, gboolean publish)
{
  return g_strdup_printf ("natrelay://%s:%u/door?tls-fingerprint=%s&auth-token=%s", address,
      relay.port, relay.fingerprint, publish ? relay.publish_token : relay.subscribe_token);
}

static void
film_begin (Film *f, LossyFunc lose_up, LossyFunc lose_down, gpointer user, const gchar *properties)
{
  g_autofree gchar *to = uri_by_way_of ("127.0.0.2", TRUE);
  g_autofree gchar *from = uri_by_way_of ("127.0.0.3", FALSE);

  f->up = lossy_new ("127.0.0.2", relay.port, lose_up, user);
  f->down = lossy_new ("127.0.0.3", relay.port, lose_down, user);
  side_init (&f->sender, media_launch (VIDEO " ! natrelaysink name=n uri=\"%s\"", to));
  side_init (
      &f->receiver, media_launch ("natrelaysrc name=n uri=\"%s\" %s ! " SCREEN, from, properties));
  f->src = gst_bin_get_by_name (GST_BIN (f->receiver.pipeline), "n");
  f->sink = gst_bin_get_by_name (GST_BIN (f->sender.pipeline), "n");
  side_begin (&f->sender, &f->receiver);
}

static void
film_end (Film *f)
{
  gst_object_unref (f->src);
  gst_object_unref (f->sink);
  side_clear (&f->sender);
  side_clear (&f->receiver);
  lossy_free (f->up);
  lossy_free (f->down);
}

/* To its end, and all of it arrives. */
static void
film_arrives (Film *f, guint units)
{
  fail_unless (flow_wait (&f->receiver.flow, units, PATIENCE_S), "%u units arrived of %u sent",
      flow_count (&f->receiver.flow), flow_count (&f->sender.flow));
  side_end (&f->sender);
  side_assert_whole (&f->receiver, &f->sender, units);
}

static gboolean
lose_nothing (const LossyDatagram *d, gpointer user)
{
  return FALSE;
}

/* Media only, for the first time. */
static gboolean
lose_every_seventh (const LossyDatagram *d, gpointer user)
{
  return d->rtp && !d->repeat && GST_READ_UINT16_BE (d->data + 2) % 7 == 3;
}

static gboolean
lose_in_rows (const LossyDatagram *d, gpointer user)
{
  return d->rtp && !d->repeat && GST_READ_UINT16_BE (d->data + 2) % 64 < 12;
}

/* One in ten of all that is not a Binding, repairs and questions included. */
static gboolean
lose_one_in_ten (const LossyDatagram *d, gpointer user)
{
  guint n = (guint)g_atomic_int_add ((gint *)user, 1);

  return d->data[0] >= 128 && (n * 2654435761u >> 16) % 10 == 0;
}

/* From some time on, all media for the first time. */
static gboolean
lose_first_times (const LossyDatagram *d, gpointer user)
{
  return d->rtp && !d->repeat && g_atomic_int_get ((gint *)user);
}

static const struct {
  LossyFunc up, down;
} losses[] = {
    {lose_every_seventh, lose_nothing},
    {lose_nothing, lose_every_seventh},
    {lose_every_seventh, lose_every_seventh},
    {lose_in_rows, lose_in_rows},
};

GST_START_TEST (test_repaired)
{
  guint lost_up, lost_down, passed;
  Film f;

  film_begin (&f, losses[__i__].up, losses[__i__].down, NULL, "latency=2000");
  film_arrives (&f, 100);
  lossy_count (f.up, TRUE, &lost_up, &passed);
  lossy_count (f.down, FALSE, &lost_down, &passed);
  fail_unless (lost_up + lost_down > 20, "%u and %u lost", lost_up, lost_down);
  fail_unless (media_stat (f.sink, "packets-retransmitted") >= lost_up, "%u of %u lost sent again",
      (guint)media_stat (f.sink, "packets-retransmitted"), lost_up);
  fail_unless (lost_down == 0 || media_stat (f.src, "packets-recovered") > 0);
  film_end (&f);
}
GST_END_TEST;

/* The last frame is lost as a whole, and nothing comes after it. */
GST_START_TEST (test_lost_tail)
{
  gint end = FALSE; /* atomic */
  Film f;

  film_begin (&f, lose_first_times, lose_nothing, &end, "latency=2000");
  fail_unless (flow_wait (&f.receiver.flow, 50, PATIENCE_S));
  g_atomic_int_set (&end, TRUE);
  flow_wait (&f.sender.flow, flow_count (&f.sender.flow) + 2, PATIENCE_S);
  film_arrives (&f, 50);
  film_end (&f);
}
GST_END_TEST;

typedef struct {
  GstClockTime last;
  GstClockTime longest; /* from one frame to the next */
  guint backwards;
} Times;

static GstPadProbeReturn
note_time (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  GstClockTime now = GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info));
  Times *times = user;

  if (times->last != 0 && now < times->last)
    times->backwards++;
  else if (times->last != 0)
    times->longest = MAX (times->longest, now - times->last);
  times->last = now;
  return GST_PAD_PROBE_OK;
}

static Times
play_with_outage (void)
{
  gint lost = FALSE; /* atomic */
  Times times = {0};
  GstElement *tap;
  GstPad *pad;
  Film f;

  film_begin (&f, lose_nothing, lose_first_times, &lost, "latency=4000");
  fail_unless (flow_wait (&f.receiver.flow, 50, PATIENCE_S));
  tap = gst_bin_get_by_name (GST_BIN (f.receiver.pipeline), "tap");
  pad = gst_element_get_static_pad (tap, "sink");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, note_time, &times, NULL);
  g_atomic_int_set (&lost, TRUE);
  flow_wait (&f.sender.flow, flow_count (&f.sender.flow) + 60, PATIENCE_S);
  g_atomic_int_set (&lost, FALSE);
  fail_unless (flow_wait (&f.receiver.flow, flow_count (&f.sender.flow) + 50, PATIENCE_S));
  fail_unless (media_stat (f.src, "packets-recovered") > 50);
  film_end (&f);
  gst_object_unref (pad);
  gst_object_unref (tap);
  return times;
}

/* Over a second of the stream comes over a second late, and is shown when it should be: the frames are as far apart as
 * they were sent. The jitterbuffer takes times from those of arrival: where a busy machine brings these into disorder, once more. */
GST_START_TEST (test_long_outage)
{
  Times times = play_with_outage ();

  for (guint i = 1; i < 4 && (times.backwards > 0 || times.longest >= GST_SECOND / 2); i++)
    times = play_with_outage ();
  fail_unless_equals_int (times.backwards, 0);
  fail_unless (times.longest < GST_SECOND / 2, "%" GST_TIME_FORMAT, GST_TIME_ARGS (times.longest));
}
GST_END_TEST;

GST_START_TEST (test_lost_both_ways)
{
  gint n = 0; /* atomic */
  Film f;

  film_begin (&f, lose_one_in_ten, lose_one_in_ten, &n, "latency=2000");
  film_arrives (&f, 150);
  film_end (&f);
}
GST_END_TEST;

GST_START_TEST (test_switched_off)
{
  Film f;

  film_begin (&f, lose_nothing, lose_every_seventh, NULL, "latency=100 do-retransmission=false");
  while (media_stat (f.src, "packets-received-lost") < 10)
    fail_unless (flow_wait (&f.sender.flow, flow_count (&f.sender.flow) + 1, PATIENCE_S));
  fail_unless_equals_uint64 (media_stat (f.src, "packet-nack-sent"), 0);
  fail_unless_equals_uint64 (media_stat (f.src, "packets-recovered"), 0);
  film_end (&f);
}
GST_END_TEST;

/* Until so many more were lost; it is never less than it was. */
static guint64
lose_more (Film *f, guint64 lost, guint n)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  guint64 enough = lost + n;

  while (lost < enough) {
    guint64 now = media_stat (f->src, "packets-received-lost");

    fail_unless (now >= lost, "%u were lost, then %u", (guint)lost, (guint)now);
    fail_unless (g_get_monotonic_time () < until, "%u of %u lost", (guint)now, (guint)enough);
    lost = now;
    g_usleep (1000);
  }
  return lost;
}

/* What was lost of a publisher stays lost when he comes again. */
GST_START_TEST (test_counts_go_on)
{
  guint64 lost = 0;
  Film f;

  film_begin (&f, lose_nothing, lose_every_seventh, NULL, "latency=100 do-retransmission=false");
  lost = lose_more (&f, lost, 20);
  for (guint i = 0; i < 2; i++) {
    gst_element_set_state (f.sender.pipeline, GST_STATE_READY);
    media_play (f.sender.pipeline);
    lost = lose_more (&f, lost, 20);
  }
  film_end (&f);
}
GST_END_TEST;

/* The number that is told is enough. */
GST_START_TEST (test_latency_too_short)
{
  guint latency_ms, needed_ms, rtt_ms;
  GstMessage *message;
  GError *error;
  Film f;

  film_begin (&f, lose_nothing, lose_nothing, NULL, "latency=1");
  message = media_wait (f.receiver.pipeline, GST_MESSAGE_WARNING, GST_OBJECT (f.src));
  gst_message_parse_warning (message, &error, NULL);
  fail_unless (g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS), "%s",
      error->message);
  g_error_free (error);
  gst_message_unref (message);
  while (TRUE) {
    message = media_wait (f.receiver.pipeline, GST_MESSAGE_ELEMENT, GST_OBJECT (f.src));
    if (gst_message_has_name (message, "natrelay-latency-short"))
      break;
    gst_message_unref (message);
  }
  fail_unless (gst_structure_get (gst_message_get_structure (message), "latency-ms", G_TYPE_UINT,
      &latency_ms, "needed-ms", G_TYPE_UINT, &needed_ms, "rtt-ms", G_TYPE_UINT, &rtt_ms, NULL));
  gst_message_unref (message);
  fail_unless_equals_int (latency_ms, 1);
  fail_unless (
      needed_ms > 2 * rtt_ms && needed_ms <= 2 * rtt_ms + 40, "%u for %u", needed_ms, rtt_ms);
  film_end (&f);
}
GST_END_TEST;

static Suite *
natrelayretransmission_suite (void)
{
  Suite *s = suite_create ("natrelayretransmission");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_loop_test (tc, test_repaired, 0, G_N_ELEMENTS (losses));
  tcase_add_test (tc, test_lost_tail);
  tcase_add_test (tc, test_long_outage);
  tcase_add_test (tc, test_lost_both_ways);
  tcase_add_test (tc, test_switched_off);
  tcase_add_test (tc, test_counts_go_on);
  tcase_add_test (tc, test_latency_too_short);
  return s;
}

GST_CHECK_MAIN (natrelayretransmission);
