/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelaysrc where applications do not know it: behind URIs, in players, before decodebin. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "media.h"

#define VIDEO "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=25/1"
#define H264  VIDEO " ! x264enc tune=zerolatency ! rtph264pay mtu=1200"
#define VP8   VIDEO " ! vp8enc deadline=1 ! rtpvp8pay mtu=1200"
#define OPUS  "audiotestsrc is-live=true ! opusenc ! rtpopuspay"

static GstElement *
publish (const gchar *first, const gchar *second)
{
  GstElement *pipeline = media_publish ("talk", first, second);

  media_wait_element (pipeline, "natrelay-connected");
  return pipeline;
}

/* ---- launch lines -------------------------------------------------------- */

static const struct {
  const gchar *text;
  gboolean audio;
  const gchar *pattern; /* NULL: the stream's name */
} lines[] = {
    {"natrelaysrc name=r uri=\"%s\" r.video_0 ! decodebin ! identity name=video ! fakesink "
     "r.audio_0 ! decodebin ! identity name=audio ! fakesink",
        TRUE},
    {"natrelaysrc uri=\"%s\" ! decodebin ! identity name=video ! fakesink", FALSE},
    {"natrelaysrc name=r uri=\"%s\" r.video_0 ! decodebin3 ! identity name=video ! fakesink",
        FALSE},
    {"uridecodebin uri=\"%s\" name=d d. ! video/x-raw ! identity name=video ! fakesink "
     "d. ! audio/x-raw ! identity name=audio ! fakesink",
        TRUE},
    {"uridecodebin3 uri=\"%s\" name=d d. ! video/x-raw ! identity name=video ! fakesink "
     "d. ! audio/x-raw ! identity name=audio ! fakesink",
        TRUE},
    {"natrelaysrc name=r uri=\"%s\" r.video_0 ! decodebin ! identity name=video ! fakesink", FALSE,
        "*"},
    {"natrelaysrc name=r uri=\"%s\" r.video_0 ! decodebin3 ! identity name=video ! fakesink", FALSE,
        "*"},
    {"uridecodebin3 uri=\"%s\" name=d d. ! video/x-raw ! identity name=video ! fakesink "
     "d. ! audio/x-raw ! identity name=audio ! fakesink",
        TRUE, "*"},
};

GST_START_TEST (test_line)
{
  const gchar *pattern = lines[__i__].pattern != NULL ? lines[__i__].pattern : "talk";
  gchar *uri = media_uri (pattern, FALSE), *text = g_strdup_printf (lines[__i__].text, uri);
  GstElement *sender = publish (OPUS, H264), *receiver = media_launch ("%s", text);
  Flow video, audio;

  flow_init (&video);
  flow_init (&audio);
  flow_watch (&video, receiver, "video");
  if (lines[__i__].audio)
    flow_watch (&audio, receiver, "audio");
  media_play (receiver);
  fail_unless (flow_wait (&video, 20, PATIENCE_S), "no picture: %s", text);
  fail_unless (!lines[__i__].audio || flow_wait (&audio, 20, PATIENCE_S), "no sound: %s", text);
  media_stop (receiver);
  media_stop (sender);
  flow_clear (&video);
  flow_clear (&audio);
  g_free (uri);
  g_free (text);
}
GST_END_TEST;

/* ---- players ------------------------------------------------------------- */

static const gchar *const players[] = {"playbin", "playbin3"};

typedef struct {
  GstElement *bin;
  Flow video, audio;
} Player;

static GstElement *
player_sink (Flow *flow)
{
  GError *error = NULL;
  GstElement *bin =
      gst_parse_bin_from_description ("identity name=tap ! fakesink sync=true", TRUE, &error);

  fail_unless (error == NULL);
  flow_init (flow);
  flow_watch (flow, bin, "tap");
  return bin;
}

static void
player_init (Player *p, const gchar *factory)
{
  g_autofree gchar *uri = media_uri ("talk", FALSE);

  p->bin = gst_element_factory_make (factory, NULL);
  fail_unless (p->bin != NULL);
  g_object_set (p->bin, "uri", uri, "video-sink", player_sink (&p->video), "audio-sink",
      player_sink (&p->audio), NULL);
  /* No volume: GStreamer 1.22's playsink leaks it. */
  gst_util_set_object_arg (G_OBJECT (p->bin), "flags", "video+audio");
}

/* A busy machine may begin late; but once one flows, the other does not take much longer. If it does, playbin3 is only tried once more. */
static gboolean
player_has_both (Player *p)
{
  guint video = flow_count (&p->video), audio = flow_count (&p->audio);
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;

  while (flow_count (&p->video) < video + 5 && flow_count (&p->audio) < audio + 5 &&
         g_get_monotonic_time () < until)
    g_usleep (10000);
  return flow_wait (&p->video, video + 5, 5) && flow_wait (&p->audio, audio + 5, 5);
}

/* playbin3 of GStreamer 1.22 takes word of an older selection for a newer one if two pads of a source begin
 * within a millisecond, and then drops one of them: it has more than one try. */
static void
player_play (Player *p)
{
  guint tries = g_str_has_prefix (GST_OBJECT_NAME (p->bin), "playbin3") ? 10 : 1;

  media_play (p->bin);
  while (--tries > 0 && !player_has_both (p)) {
    gst_element_set_state (p->bin, GST_STATE_READY);
    media_play (p->bin);
  }
}

static void
player_wait_more (Player *p, const gchar *when)
{
  fail_unless (
      flow_wait (&p->video, flow_count (&p->video) + 20, PATIENCE_S), "no picture %s", when);
  fail_unless (flow_wait (&p->audio, flow_count (&p->audio) + 20, PATIENCE_S), "no sound %s", when);
}

static void
player_clear (Player *p)
{
  media_stop (p->bin);
  flow_clear (&p->video);
  flow_clear (&p->audio);
}

GST_START_TEST (test_player)
{
  GstElement *sender = publish (OPUS, H264);
  Player p;

  player_init (&p, players[__i__]);
  player_play (&p);
  player_wait_more (&p, "at first");
  media_stop (sender);
  sender = publish (OPUS, H264);
  player_wait_more (&p, "after the publisher's restart");
  gst_element_set_state (p.bin, GST_STATE_PAUSED);
  media_play (p.bin);
  player_wait_more (&p, "after a pause");
  player_clear (&p);
  media_stop (sender);
}
GST_END_TEST;

/* Other codecs: the application is told, and starts its player anew. */
GST_START_TEST (test_player_and_other_codecs)
{
  GstElement *sender = publish (OPUS, H264);
  Player p;

  player_init (&p, players[__i__]);
  player_play (&p);
  player_wait_more (&p, "at first");
  media_stop (sender);
  sender = publish (OPUS, VP8);
  media_wait_element (p.bin, "natrelay-tracks-changed");
  gst_element_set_state (p.bin, GST_STATE_READY);
  player_play (&p);
  player_wait_more (&p, "after the publisher came back with VP8");
  player_clear (&p);
  media_stop (sender);
}
GST_END_TEST;

/* An application with a decodebin for each pad: it lets go of it when the pad goes. */
static void
plug_decoder (GstElement *src, GstPad *pad, Flow *flow)
{
  GstElement *bin, *decodebin, *pipeline;
  GstPad *sinkpad;

  if (!g_str_has_prefix (GST_PAD_NAME (pad), "video"))
    return;
  pipeline = GST_ELEMENT (gst_object_get_parent (GST_OBJECT (src)));
  bin = gst_parse_bin_from_description (
      "decodebin name=d ! identity name=tap ! fakesink async=false", FALSE, NULL);
  gst_element_set_name (bin, "decoder");
  decodebin = gst_bin_get_by_name (GST_BIN (bin), "d");
  sinkpad = gst_element_get_static_pad (decodebin, "sink");
  gst_object_unref (decodebin);
  gst_element_add_pad (bin, gst_ghost_pad_new ("sink", sinkpad));
  gst_object_unref (sinkpad);
  flow_watch (flow, bin, "tap");
  gst_bin_add (GST_BIN (pipeline), bin);
  sinkpad = gst_element_get_static_pad (bin, "sink");
  fail_unless_equals_int (gst_pad_link (pad, sinkpad), GST_PAD_LINK_OK);
  gst_object_unref (sinkpad);
  gst_element_sync_state_with_parent (bin);
  gst_object_unref (pipeline);
}

static void
unplug_decoder (GstElement *src, GstPad *pad, Flow *flow)
{
  GstBin *pipeline = GST_BIN (gst_object_get_parent (GST_OBJECT (src)));
  GstElement *bin = gst_bin_get_by_name (pipeline, "decoder");

  if (bin != NULL && g_str_has_prefix (GST_PAD_NAME (pad), "video")) {
    gst_element_set_locked_state (bin, TRUE);
    gst_element_set_state (bin, GST_STATE_NULL);
    gst_bin_remove (pipeline, bin);
  }
  gst_clear_object (&bin);
  gst_object_unref (pipeline);
}

GST_START_TEST (test_decoders_follow_pads)
{
  g_autofree gchar *uri = media_uri ("talk", FALSE);
  GstElement *sender = publish (OPUS, H264), *pipeline = media_pipeline_new ();
  GstElement *src = gst_element_factory_make ("natrelaysrc", NULL);
  static const gchar *const next[] = {VP8, H264};
  Flow flow;

  flow_init (&flow);
  g_object_set (src, "uri", uri, NULL);
  g_signal_connect (src, "pad-added", G_CALLBACK (plug_decoder), &flow);
  g_signal_connect (src, "pad-removed", G_CALLBACK (unplug_decoder), &flow);
  gst_bin_add (GST_BIN (pipeline), src);
  media_play (pipeline);
  fail_unless (flow_wait (&flow, 20, PATIENCE_S));
  for (guint i = 0; i < G_N_ELEMENTS (next); i++) {
    media_stop (sender);
    sender = publish (OPUS, next[i]);
    media_wait_element (pipeline, "natrelay-tracks-changed");
    fail_unless (
        flow_wait (&flow, flow_count (&flow) + 20, PATIENCE_S), "no picture after change %u", i);
  }
  media_stop (pipeline);
  media_stop (sender);
  flow_clear (&flow);
}
GST_END_TEST;

/* Started before there is anything to play. */
GST_START_TEST (test_player_waits_for_publisher)
{
  GstElement *sender;
  Player p;

  player_init (&p, players[__i__]);
  media_play (p.bin);
  media_wait_element (p.bin, "natrelay-connected");
  sender = publish (VP8, OPUS);
  player_play (&p);
  player_wait_more (&p, "from a publisher that came later");
  player_clear (&p);
  media_stop (sender);
}
GST_END_TEST;

static Suite *
natrelayautoplug_suite (void)
{
  Suite *s = suite_create ("natrelayautoplug");
  TCase *tc = tcase_create ("general"), *more = tcase_create ("players");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_loop_test (tc, test_player, 0, 1);
  tcase_add_test (tc, test_decoders_follow_pads);
  /* To our elements they are all the same. */
  suite_add_tcase (s, more);
  tcase_set_tags (more, "codecs");
  tcase_add_checked_fixture (more, relay_begin, relay_end);
  tcase_add_loop_test (more, test_line, 0, G_N_ELEMENTS (lines));
  tcase_add_loop_test (more, test_player, 1, G_N_ELEMENTS (players));
  tcase_add_loop_test (more, test_player_and_other_codecs, 0, G_N_ELEMENTS (players));
  tcase_add_loop_test (more, test_player_waits_for_publisher, 0, G_N_ELEMENTS (players));
  return s;
}

GST_CHECK_MAIN (natrelayautoplug);
