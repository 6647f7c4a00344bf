/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A branch behind natrelaysrc takes nothing any more, as where a screen sleeps. That is no concern of the other tracks, whatever
 * happens to the one that it is of. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "media.h"

#define VIDEO "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1"
#define VP8   VIDEO " ! vp8enc deadline=1 keyframe-max-dist=25 ! rtpvp8pay mtu=1200 pt=96 ssrc=7"
#define OTHER_VP8                                                                                  \
  VIDEO " ! vp8enc deadline=1 keyframe-max-dist=25 ! rtpvp8pay mtu=1200 pt=96 ssrc=17"
#define H264       VIDEO " ! x264enc tune=zerolatency key-int-max=25 ! rtph264pay mtu=1200 pt=96 ssrc=17"
#define OPUS       "audiotestsrc is-live=true ! opusenc ! rtpopuspay pt=97 ssrc=8"
#define OTHER_OPUS "audiotestsrc is-live=true ! opusenc ! rtpopuspay pt=97 ssrc=18"

typedef struct {
  GstElement *pipeline, *src;
  Flow video, audio;
  GstPad *pad; /* where the video is held */
  gulong probe;
  gint held; /* atomic */
} Viewer;

static void
viewer_init (Viewer *v, const gchar *stream)
{
  g_autofree gchar *uri = media_uri (stream, FALSE);
  GstElement *gate;

  memset (v, 0, sizeof *v);
  v->pipeline =
      media_launch ("natrelaysrc name=r uri=\"%s\" "
                    "r.video_0 ! identity name=gate ! identity name=video ! fakesink sync=false "
                    "r.audio_0 ! identity name=audio ! fakesink sync=false",
          uri);
  v->src = gst_bin_get_by_name (GST_BIN (v->pipeline), "r");
  flow_init (&v->video);
  flow_init (&v->audio);
  flow_watch (&v->video, v->pipeline, "video");
  flow_watch (&v->audio, v->pipeline, "audio");
  gate = gst_bin_get_by_name (GST_BIN (v->pipeline), "gate");
  v->pad = gst_element_get_static_pad (gate, "src");
  gst_object_unref (gate);
}

static void
viewer_clear (Viewer *v)
{
  gst_object_unref (v->pad);
  gst_object_unref (v->src);
  media_stop (v->pipeline);
  flow_clear (&v->video);
  flow_clear (&v->audio);
}

static void
wait_for_n (const gint *what, gint n, const gchar *else_tell)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S / 2 * G_TIME_SPAN_SECOND;

  while (g_atomic_int_get (what) < n) {
    fail_unless (g_get_monotonic_time () < until, "%s", else_tell);
    g_usleep (1000);
  }
}

static void
wait_for (const gint *what, const gchar *else_tell)
{
  wait_for_n (what, 1, else_tell);
}

static GstPadProbeReturn
hold (GstPad *pad, GstPadProbeInfo *info, gpointer held)
{
  g_atomic_int_inc ((gint *)held);
  return GST_PAD_PROBE_OK;
}

/* Plays, and then the video is held, with a packet under way. */
static void
viewer_stall (Viewer *v)
{
  media_play (v->pipeline);
  fail_unless (flow_wait (&v->video, 30, PATIENCE_S), "no video");
  fail_unless (flow_wait (&v->audio, 30, PATIENCE_S), "no audio");
  v->probe = gst_pad_add_probe (
      v->pad, GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER, hold, &v->held, NULL);
  wait_for (&v->held, "nothing is held");
}

static void
viewer_resume (Viewer *v)
{
  gst_pad_remove_probe (v->pad, v->probe);
}

static void
assert_flows (Flow *flow, const gchar *what)
{
  fail_unless (flow_wait (flow, flow_count (flow) + 50, PATIENCE_S / 2), "no %s any more", what);
}

/* The RTP session gives up what has been silent for long, and it may come again. */
static gpointer
time_out (gpointer src)
{
  GstElement *rtpbin = gst_bin_get_by_name (src, "rtpbin");

  g_signal_emit_by_name (rtpbin, "on-timeout", 0, 7);
  gst_object_unref (rtpbin);
  return NULL;
}

GST_START_TEST (test_silent_ssrc)
{
  GstElement *sender = media_publish ("talk", VP8, OPUS);
  GThread *thread;
  Viewer v;

  viewer_init (&v, "talk");
  viewer_stall (&v);
  thread = g_thread_new ("rtcp", time_out, v.src);
  assert_flows (&v.audio, "audio");
  g_thread_join (thread);
  viewer_resume (&v);
  assert_flows (&v.video, "video");
  viewer_clear (&v);
  media_stop (sender);
}
GST_END_TEST;

/* The publisher starts anew: the pads stay, and what feeds them is new. */
GST_START_TEST (test_publisher_restarts)
{
  GstElement *sender = media_publish ("talk", VP8, OPUS);
  Viewer v;

  viewer_init (&v, "talk");
  viewer_stall (&v);
  media_stop (sender);
  sender = media_publish ("talk", OTHER_VP8, OTHER_OPUS);
  assert_flows (&v.audio, "audio");
  viewer_resume (&v);
  assert_flows (&v.video, "video");
  viewer_clear (&v);
  media_stop (sender);
}
GST_END_TEST;

static gint
pad_ssrc (GstElement *src, const gchar *name)
{
  GstPad *pad = gst_element_get_static_pad (src, name);
  GstCaps *caps = gst_pad_query_caps (pad, NULL);
  guint ssrc = 0;

  gst_structure_get_uint (gst_caps_get_structure (caps, 0), "ssrc", &ssrc);
  gst_caps_unref (caps);
  gst_object_unref (pad);
  return (gint)ssrc;
}

/* While the viewer pauses, its sinks take nothing; what came meanwhile is played on. */
GST_START_TEST (test_publisher_restarts_in_pause)
{
  GstElement *sender = media_publish ("talk", VP8, OPUS);
  gint64 until;
  Viewer v;

  viewer_init (&v, "talk");
  media_play (v.pipeline);
  fail_unless (flow_wait (&v.video, 30, PATIENCE_S), "no video");
  fail_unless (flow_wait (&v.audio, 30, PATIENCE_S), "no audio");
  gst_element_set_state (v.pipeline, GST_STATE_PAUSED);
  gst_element_get_state (v.pipeline, NULL, NULL, PATIENCE_S * GST_SECOND);
  media_stop (sender);
  sender = media_publish ("talk", OTHER_VP8, OTHER_OPUS);
  until = g_get_monotonic_time () + PATIENCE_S / 2 * G_TIME_SPAN_SECOND;
  while (pad_ssrc (v.src, "video_0") != 17 || pad_ssrc (v.src, "audio_0") != 18) {
    fail_unless (g_get_monotonic_time () < until, "who comes is not heard of in a pause");
    g_usleep (5000);
  }
  media_play (v.pipeline);
  assert_flows (&v.audio, "audio");
  assert_flows (&v.video, "video");
  viewer_clear (&v);
  media_stop (sender);
}
GST_END_TEST;

/* He has something else: the pads go. */
GST_START_TEST (test_publisher_changes)
{
  GstElement *sender = media_publish ("talk", VP8, OPUS);
  Viewer v;

  viewer_init (&v, "talk");
  viewer_stall (&v);
  media_stop (sender);
  sender = media_publish ("talk", H264, OTHER_OPUS);
  media_wait_element (v.pipeline, "natrelay-tracks-changed");
  viewer_clear (&v);
  media_stop (sender);
}
GST_END_TEST;

typedef struct {
  GstElement *src;
  gint down; /* atomic */
} Removal;

static gpointer
take_down (gpointer user)
{
  Removal *r = user;

  gst_element_set_locked_state (r->src, TRUE);
  gst_element_set_state (r->src, GST_STATE_NULL);
  g_atomic_int_set (&r->down, TRUE);
  return NULL;
}

/* The application takes the element away from a pipeline that plays on. */
GST_START_TEST (test_taken_away)
{
  GstElement *sender = media_publish ("talk", VP8, OPUS);
  Removal r = {0};
  GThread *thread;
  Viewer v;

  viewer_init (&v, "talk");
  viewer_stall (&v);
  r.src = v.src;
  thread = g_thread_new ("application", take_down, &r);
  wait_for (&r.down, "it waits for what takes nothing");
  g_thread_join (thread);
  viewer_clear (&v);
  media_stop (sender);
}
GST_END_TEST;

/* ---- rooms ---------------------------------------------------------------- */

typedef struct {
  GstElement *pipeline;
  gint held, removed; /* atomic */
  /* Of whoever takes the element away. */
  guint flushed;
  gint64 first_us, last_us; /* monotonic */
} Room;

static GstPadProbeReturn
note_flush (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Room *room = user;

  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) != GST_EVENT_FLUSH_START)
    return GST_PAD_PROBE_OK;
  room->last_us = g_get_monotonic_time ();
  if (room->flushed++ == 0)
    room->first_us = room->last_us;
  return GST_PAD_PROBE_OK;
}

static void
link_and_hold (GstElement *src, GstPad *pad, Room *room)
{
  GstElement *sink;
  GstPad *sinkpad;

  if (!GST_PAD_IS_SRC (pad))
    return;
  sink = media_drain (room->pipeline, pad);
  sinkpad = gst_element_get_static_pad (sink, "sink");
  gst_pad_add_probe (
      sinkpad, GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER, hold, &room->held, NULL);
  gst_pad_add_probe (sinkpad, GST_PAD_PROBE_TYPE_EVENT_FLUSH, note_flush, room, NULL);
  gst_object_unref (sinkpad);
}

static void
count_removed (GstElement *src, GstPad *pad, Room *room)
{
  g_atomic_int_inc (&room->removed);
}

/* Somebody leaves: his pads go. */
GST_START_TEST (test_leaves_room)
{
  g_autofree gchar *uri = media_uri ("room/*", FALSE);
  GstElement *ann = media_publish ("room/ann", OPUS, "");
  GstElement *src = gst_element_factory_make ("natrelaysrc", NULL);
  Room room = {.pipeline = media_pipeline_new ()};

  g_object_set (src, "uri", uri, NULL);
  g_signal_connect (src, "pad-added", G_CALLBACK (link_and_hold), &room);
  g_signal_connect (src, "pad-removed", G_CALLBACK (count_removed), &room);
  gst_bin_add (GST_BIN (room.pipeline), src);
  media_play (room.pipeline);
  wait_for (&room.held, "nothing came");
  media_stop (ann);
  wait_for (&room.removed, "his pad stays");
  media_stop (room.pipeline);
}
GST_END_TEST;

/* However many take nothing, whoever takes it away waits a second for all, and not for each. */
GST_START_TEST (test_taken_away_from_many)
{
  g_autofree gchar *uri = media_uri ("room/*", FALSE);
  GstElement *ann = media_publish ("room/ann", VP8, OPUS);
  GstElement *bob = media_publish ("room/bob", OTHER_VP8, OTHER_OPUS);
  GstElement *src = gst_element_factory_make ("natrelaysrc", NULL);
  Room room = {.pipeline = media_pipeline_new ()};
  Removal r = {.src = src};

  g_object_set (src, "uri", uri, NULL);
  g_signal_connect (src, "pad-added", G_CALLBACK (link_and_hold), &room);
  gst_bin_add (GST_BIN (room.pipeline), src);
  media_play (room.pipeline);
  wait_for_n (&room.held, 4, "not all came");
  take_down (&r);
  fail_unless_equals_int (room.flushed, 4);
  fail_unless (room.last_us - room.first_us < 3 * G_TIME_SPAN_SECOND, "each has a second");
  media_stop (room.pipeline);
  media_stop (ann);
  media_stop (bob);
}
GST_END_TEST;

static Suite *
natrelaystalled_suite (void)
{
  Suite *s = suite_create ("natrelaystalled");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_test (tc, test_silent_ssrc);
  tcase_add_test (tc, test_publisher_restarts);
  tcase_add_test (tc, test_publisher_restarts_in_pause);
  tcase_add_test (tc, test_publisher_changes);
  tcase_add_test (tc, test_taken_away);
  tcase_add_test (tc, test_leaves_room);
  tcase_add_test (tc, test_taken_away_from_many);
  return s;
}

GST_CHECK_MAIN (natrelaystalled);
