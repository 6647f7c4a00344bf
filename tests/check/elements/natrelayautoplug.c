/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelaysrc where applications do not know it: behind URIs, in players, before decodebin. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "media.h"

static RelayProcess relay;

static void
setup (void)
{
  relay_process_start (&relay);
}

static void
teardown (void)
{
  relay_process_clear (&relay);
}

#define VIDEO "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=25/1"
#define H264  VIDEO " ! x264enc tune=zerolatency ! rtph264pay mtu=1200"
#define VP8   VIDEO " ! vp8enc deadline=1 ! rtpvp8pay mtu=1200"
#define OPUS  "audiotestsrc is-live=true ! opusenc ! rtpopuspay"

static GstElement *
publish (const gchar *first, const gchar *second)
{
  gchar *uri = media_uri (&relay, "talk", TRUE);
  GstElement *pipeline =
      media_launch ("natrelaysink name=s uri=\"%s\" %s ! s. %s ! s.", uri, first, second);

  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-connected");
  g_free (uri);
  return pipeline;
}

/* ---- launch lines -------------------------------------------------------- */

static const struct {
  const gchar *text;
  gboolean audio;
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
};

GST_START_TEST (test_line)
{
  gchar *uri = media_uri (&relay, "talk", FALSE), *text = g_strdup_printf (lines[__i__].text, uri);
  GstElement *sender = publish (OPUS, H264), *receiver = media_launch ("%s", text);
  Flow video, audio;

  flow_init (&video);
  flow_init (&audio);
  flow_watch (&video, receiver, "video");
  if (lines[__i__].audio)
    flow_watch (&audio, receiver, "audio");
  media_play (receiver);
  fail_unless (flow_wait (&video, 20, 20), "no picture: %s", text);
  fail_unless (!lines[__i__].audio || flow_wait (&audio, 20, 20), "no sound: %s", text);
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
  gchar *uri = media_uri (&relay, "talk", FALSE);

  p->bin = gst_element_factory_make (factory, NULL);
  fail_unless (p->bin != NULL);
  g_object_set (p->bin, "uri", uri, "video-sink", player_sink (&p->video), "audio-sink",
      player_sink (&p->audio), NULL);
  /* No volume: GStreamer 1.22's playsink leaks it. */
  gst_util_set_object_arg (G_OBJECT (p->bin), "flags", "video+audio");
  media_play (p->bin);
  g_free (uri);
}

static void
player_wait_more (Player *p, const gchar *when)
{
  fail_unless (flow_wait (&p->video, flow_count (&p->video) + 20, 20), "no picture %s", when);
  fail_unless (flow_wait (&p->audio, flow_count (&p->audio) + 20, 20), "no sound %s", when);
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

/* Started before there is anything to play. */
GST_START_TEST (test_player_waits_for_publisher)
{
  GstElement *sender;
  Player p;

  player_init (&p, players[__i__]);
  media_wait_element (p.bin, "natrelay-connected");
  sender = publish (VP8, OPUS);
  player_wait_more (&p, "from a publisher that came later");
  player_clear (&p);
  media_stop (sender);
}
GST_END_TEST;

static Suite *
natrelayautoplug_suite (void)
{
  Suite *s = suite_create ("natrelayautoplug");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, setup, teardown);
  tcase_add_loop_test (tc, test_line, 0, G_N_ELEMENTS (lines));
  tcase_add_loop_test (tc, test_player, 0, G_N_ELEMENTS (players));
  tcase_add_loop_test (tc, test_player_waits_for_publisher, 0, G_N_ELEMENTS (players));
  return s;
}

GST_CHECK_MAIN (natrelayautoplug);
