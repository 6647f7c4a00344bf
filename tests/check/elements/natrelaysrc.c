/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelaysrc, and both elements with a real relay between them: what goes in comes out, whoever comes late,
 * pauses, starts again or is refused. */

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/rtp/rtp.h>
#include <string.h>

#include "media.h"
#include "padwatcher.h"

/* ---- codecs -------------------------------------------------------------- */

#define VIDEO                                                                                      \
  "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=50/1"

/* What is sent passes "tap" as access units, then a payloader; what arrives passes a depayloader, then "tap". */
static const struct {
  const gchar *name;
  guint nal_codec;
  const gchar *send, *receive;
} codecs[] = {
    {"H.264", 264,
        VIDEO " ! x264enc tune=zerolatency key-int-max=25 ! h264parse ! "
              "video/x-h264,stream-format=avc,alignment=au ! identity name=tap ! "
              "rtph264pay mtu=1200",
        "rtph264depay ! video/x-h264,stream-format=avc,alignment=au ! identity name=tap ! "
        "fakesink "
        "sync=false"},
    {"VP8", 0,
        VIDEO " ! vp8enc deadline=1 keyframe-max-dist=25 ! identity name=tap ! rtpvp8pay mtu=1200",
        "rtpvp8depay ! identity name=tap ! fakesink sync=false"},
    {"VP9", 0,
        VIDEO " ! vp9enc deadline=1 keyframe-max-dist=25 ! identity name=tap ! rtpvp9pay mtu=1200",
        "rtpvp9depay ! identity name=tap ! fakesink sync=false"},
    {"H.265", 265,
        VIDEO " ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! h265parse ! "
              "video/x-h265,stream-format=hvc1,alignment=au ! identity name=tap ! "
              "rtph265pay mtu=1200",
        "rtph265depay ! video/x-h265,stream-format=hvc1,alignment=au ! identity name=tap ! "
        "fakesink "
        "sync=false"},
    {"Opus", 0, "audiotestsrc is-live=true ! opusenc ! identity name=tap ! rtpopuspay",
        "rtpopusdepay ! identity name=tap ! fakesink sync=false"},
    {"MPEG-TS", 0,
        VIDEO
        " ! x264enc tune=zerolatency key-int-max=25 ! mpegtsmux alignment=6 ! identity name=tap ! "
        "rtpmp2tpay mtu=1200",
        "rtpmp2tdepay ! identity name=tap ! fakesink sync=false"},
};

#define UNITS 100

/* A subscriber that came first and one that came late: both have all from their first unit to the last. */
GST_START_TEST (test_codec)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  g_autofree gchar *receive =
      g_strdup_printf ("natrelaysrc latency=1000 uri=\"%s\" ! %s", from, codecs[__i__].receive);
  Side early, late, sender;

  side_init (&early, media_launch ("%s", receive));
  side_init (&late, media_launch ("%s", receive));
  side_init (&sender, media_launch ("%s ! natrelaysink uri=\"%s\"", codecs[__i__].send, to));
  sender.flow.nal_codec = early.flow.nal_codec = late.flow.nal_codec = codecs[__i__].nal_codec;
  side_begin (&sender, &early);
  fail_unless (flow_wait (&early.flow, UNITS / 2, PATIENCE_S), "%s: %u units arrived of %u sent",
      codecs[__i__].name, flow_count (&early.flow), flow_count (&sender.flow));
  media_play (late.pipeline);
  fail_unless (flow_wait (&late.flow, UNITS, PATIENCE_S), "%s: %u units arrived late",
      codecs[__i__].name, flow_count (&late.flow));
  side_end (&sender);
  side_assert_whole (&early, &sender, UNITS);
  side_assert_whole (&late, &sender, UNITS);
  side_clear (&sender);
  side_clear (&early);
  side_clear (&late);
}
GST_END_TEST;

/* ---- tracks and pads ----------------------------------------------------- */

#define H264_96                                                                                    \
  VIDEO " ! x264enc tune=zerolatency key-int-max=25 ! rtph264pay mtu=1200 pt=96 ssrc=7"
#define VP8_96  VIDEO " ! vp8enc deadline=1 keyframe-max-dist=25 ! rtpvp8pay mtu=1200 pt=96 ssrc=7"
#define OPUS_96 "audiotestsrc is-live=true ! opusenc ! rtpopuspay pt=96 ssrc=7"

static GstCaps *
current_caps (GstElement *src, const gchar *name)
{
  GstPad *pad = gst_element_get_static_pad (src, name);
  GstCaps *caps = gst_pad_get_current_caps (pad);

  fail_unless (caps != NULL, "%s has no caps", name);
  gst_object_unref (pad);
  return caps;
}

/* Two payloaders at their default payload type, with one SSRC; sound is requested first, and comes second. */
GST_START_TEST (test_two_tracks)
{
  GstElement *sender = media_publish ("talk", OPUS_96, H264_96);
  GstCaps *video, *audio;
  gint video_pt, audio_pt;
  guint video_ssrc, audio_ssrc;
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  media_play (w.pipeline);
  watcher_wait_story (&w, "+video_0 +audio_0 . ");
  watcher_wait_more (&w, 50, 25);
  video = current_caps (w.src, "video_0");
  audio = current_caps (w.src, "audio_0");
  fail_unless (gst_structure_get (gst_caps_get_structure (video, 0), "payload", G_TYPE_INT,
      &video_pt, "ssrc", G_TYPE_UINT, &video_ssrc, NULL));
  fail_unless (gst_structure_get (gst_caps_get_structure (audio, 0), "payload", G_TYPE_INT,
      &audio_pt, "ssrc", G_TYPE_UINT, &audio_ssrc, NULL));
  fail_if (video_pt == audio_pt);
  fail_if (video_ssrc == audio_ssrc);
  gst_caps_unref (video);
  gst_caps_unref (audio);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* Pads and caps come with the description alone, before anything was sent: enough to plug decoders. */
GST_START_TEST (test_pads_have_caps)
{
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  GstCaps *caps, *all;
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min, max;
  gboolean live;
  GstPad *pad;
  Watcher w;

  watcher_init (&w, "talk", FALSE);
  g_object_set (w.src, "latency", 150, NULL);
  media_play (w.pipeline);
  watcher_wait_story (&w, "+video_0 +audio_0 . ");
  caps = current_caps (w.src, "video_0");
  all = gst_caps_from_string (
      "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=[96,127]");
  fail_unless (gst_caps_can_intersect (caps, all));
  fail_unless (gst_structure_has_field (gst_caps_get_structure (caps, 0), "sprop-parameter-sets"));
  gst_caps_unref (caps);
  pad = gst_element_get_static_pad (w.src, "video_0");
  caps = gst_pad_query_caps (pad, all);
  fail_if (gst_caps_is_empty (caps));
  gst_caps_unref (caps);
  fail_unless (gst_pad_query (pad, query));
  gst_query_parse_latency (query, &live, &min, &max);
  fail_unless (live);
  fail_unless_equals_uint64 (min, 150 * GST_MSECOND);
  gst_query_unref (query);
  gst_caps_unref (all);
  gst_object_unref (pad);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* A pad that nobody links stops nothing, and can be linked later. */
GST_START_TEST (test_unlinked_pad)
{
  g_autofree gchar *uri = media_uri ("talk", FALSE);
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  GstElement *receiver = media_launch ("natrelaysrc name=r latency=1000 uri=\"%s\" r.audio_0 ! "
                                       "identity name=tap ! fakesink sync=false "
                                       "identity name=late ! fakesink sync=false async=false",
      uri);
  GstElement *src = gst_bin_get_by_name (GST_BIN (receiver), "r");
  GstElement *late = gst_bin_get_by_name (GST_BIN (receiver), "late");
  Flow audio, video;

  flow_init (&audio);
  flow_init (&video);
  flow_watch (&audio, receiver, "tap");
  flow_watch (&video, receiver, "late");
  media_play (receiver);
  fail_unless (flow_wait (&audio, 100, PATIENCE_S));
  fail_unless (gst_element_link_pads (src, "video_0", late, "sink"));
  fail_unless (flow_wait (&video, 50, PATIENCE_S));
  gst_element_unlink_pads (src, "video_0", late, "sink");
  fail_unless (flow_wait (&audio, flow_count (&audio) + 50, PATIENCE_S));
  gst_object_unref (src);
  gst_object_unref (late);
  media_stop (receiver);
  media_stop (sender);
  flow_clear (&audio);
  flow_clear (&video);
}
GST_END_TEST;

/* ---- publishers come and go ---------------------------------------------- */

/* Who took what it wanted ends its pipeline, as with any other source; of the other pad, the session goes on meanwhile. */
GST_START_TEST (test_enough)
{
  g_autofree gchar *uri = media_uri ("talk", FALSE);
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  GstElement *receiver = media_launch ("natrelaysrc name=r uri=\"%s\" "
                                       "r.video_0 ! fakesink num-buffers=10 sync=false "
                                       "r.audio_0 ! fakesink num-buffers=100 sync=false",
      uri);
  GstBus *bus = gst_element_get_bus (receiver);
  GstMessage *message;

  media_play (receiver);
  message = gst_bus_timed_pop_filtered (
      bus, PATIENCE_S * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless (message != NULL, "no EOS");
  fail_unless_equals_int (GST_MESSAGE_TYPE (message), GST_MESSAGE_EOS);
  gst_message_unref (message);
  gst_object_unref (bus);
  media_stop (receiver);
  media_stop (sender);
}
GST_END_TEST;

/* Comes back with the same SSRCs, on the same tracks or the other way round, or with other ones: the pads stay. */
GST_START_TEST (test_publisher_restarts)
{
  static const gchar *const next[][2] = {
      {H264_96, OPUS_96},
      {VIDEO " ! x264enc tune=zerolatency ! rtph264pay mtu=1200",
          "audiotestsrc is-live=true ! opusenc ! rtpopuspay"},
      {VIDEO " ! x264enc tune=zerolatency ! rtph264pay mtu=1200 ssrc=8",
          "audiotestsrc is-live=true ! opusenc ! rtpopuspay ssrc=7"},
      {VIDEO " ! x264enc tune=zerolatency ! rtph264pay mtu=1200 ssrc=7",
          "audiotestsrc is-live=true ! opusenc ! rtpopuspay ssrc=8"},
  };
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  media_play (w.pipeline);
  watcher_wait_more (&w, 50, 25);
  for (guint i = 0; i < G_N_ELEMENTS (next); i++) {
    media_stop (sender);
    sender = media_publish ("talk", next[i][0], next[i][1]);
    watcher_wait_more (&w, 50, 25);
  }
  watcher_wait_story (&w, "+video_0 +audio_0 . ");
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* Comes back with something else: old pads go, new ones come. */
GST_START_TEST (test_publisher_changes)
{
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  GstCaps *caps;
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  media_play (w.pipeline);
  watcher_wait_more (&w, 50, 25);
  media_stop (sender);
  sender = media_publish ("talk", VP8_96, OPUS_96);
  watcher_wait_story (&w, "+video_0 +audio_0 . -video_0 -audio_0 +video_0 +audio_0 . ");
  watcher_wait_more (&w, 50, 25);
  caps = current_caps (w.src, "video_0");
  fail_unless_equals_string (
      gst_structure_get_string (gst_caps_get_structure (caps, 0), "encoding-name"), "VP8");
  gst_caps_unref (caps);
  media_stop (sender);
  sender = media_publish ("talk", VP8_96, "");
  watcher_wait_story (&w,
      "+video_0 +audio_0 . -video_0 -audio_0 +video_0 +audio_0 . -video_0 -audio_0 +video_0 . ");
  watcher_wait_more (&w, 50, 0);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* The RTP session gives an SSRC up the moment that its packets come again. */
GST_START_TEST (test_silent_ssrc_returns)
{
  GstElement *sender = media_publish ("talk", H264_96, ""), *rtpbin;
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  media_play (w.pipeline);
  watcher_wait_more (&w, 20, 0);
  rtpbin = gst_bin_get_by_name (GST_BIN (w.src), "rtpbin");
  for (guint i = 0; i < 50; i++) {
    g_signal_emit_by_name (rtpbin, "on-timeout", 0, 7);
    watcher_wait_more (&w, 1, 0);
  }
  watcher_wait_story (&w, "+video_0 . ");
  gst_object_unref (rtpbin);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* A track that joins later is described, too. */
GST_START_TEST (test_track_joins_later)
{
  GstElement *sender = media_publish ("talk", H264_96, ""), *sink, *bin;
  GError *error = NULL;
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  media_play (w.pipeline);
  watcher_wait_story (&w, "+video_0 . ");
  watcher_wait_more (&w, 20, 0);
  sink = gst_bin_get_by_name (GST_BIN (sender), "s");
  bin = gst_parse_bin_from_description (OPUS_96, TRUE, &error);
  fail_unless (error == NULL);
  gst_bin_add (GST_BIN (sender), bin);
  fail_unless (gst_element_link (bin, sink));
  gst_element_sync_state_with_parent (bin);
  watcher_wait_story (&w, "+video_0 . -video_0 +video_0 +audio_0 . ");
  watcher_wait_more (&w, 20, 20);
  gst_object_unref (sink);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* An encoder that makes no key frames by itself makes one for whoever joins. */
GST_START_TEST (test_key_frame_on_join)
{
  g_autofree gchar *uri = media_uri ("door", FALSE);
  GstElement *sender = media_publish (
      "door", VIDEO " ! x264enc tune=zerolatency key-int-max=100000 ! rtph264pay mtu=1200", "");
  Watcher w;

  watcher_init (&w, "door", TRUE);
  media_play (w.pipeline);
  watcher_wait_more (&w, 50, 0);
  for (guint i = 0; i < 3; i++) {
    GstElement *receiver = media_launch (
        "natrelaysrc latency=1000 uri=\"%s\" ! rtph264depay ! h264parse ! avdec_h264 ! "
        "identity name=tap ! fakesink sync=false",
        uri);
    Flow pictures;

    flow_init (&pictures);
    flow_watch (&pictures, receiver, "tap");
    media_play (receiver);
    fail_unless (flow_wait (&pictures, 10, PATIENCE_S), "no picture for number %u", i);
    media_stop (receiver);
    flow_clear (&pictures);
  }
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* VP8 (RFC 7741): the first packet of a frame whose header says that it needs no other. */
static GstPadProbeReturn
note_key_frame (GstPad *pad, GstPadProbeInfo *info, gpointer seen)
{
  GstRTPBuffer rtp = GST_RTP_BUFFER_INIT;
  const guint8 *payload;

  fail_unless (gst_rtp_buffer_map (GST_PAD_PROBE_INFO_BUFFER (info), GST_MAP_READ, &rtp));
  payload = gst_rtp_buffer_get_payload (&rtp);
  if (payload[0] == 0x10 && (payload[1] & 1) == 0)
    g_atomic_int_set ((gint *)seen, TRUE);
  gst_rtp_buffer_unmap (&rtp);
  return GST_PAD_PROBE_OK;
}

static void
wait_for_key_frame (const gint *seen, guint number)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S / 4 * G_TIME_SPAN_SECOND;

  while (!g_atomic_int_get (seen)) {
    fail_unless (g_get_monotonic_time () < until, "no key frame for number %u", number);
    g_usleep (1000);
  }
}

/* Also for whoever links a pad that was there before, and does not ask for it: while the relay takes the picture that it sent at
 * the start for enough, and when that is long ago. */
GST_START_TEST (test_key_frame_on_link)
{
  g_autofree gchar *uri = media_uri ("talk", FALSE);
  GstElement *sender = media_publish ("talk",
      VIDEO " ! vp8enc deadline=1 keyframe-mode=disabled ! rtpvp8pay mtu=1200 pt=96", OPUS_96);
  GstElement *receiver = media_launch (
      "natrelaysrc name=r uri=\"%s\" r.audio_0 ! identity name=sound ! fakesink sync=false "
      "fakesink name=late0 sync=false async=false fakesink name=late1 sync=false async=false",
      uri);
  GstElement *src = gst_bin_get_by_name (GST_BIN (receiver), "r");
  GstElement *sink = gst_bin_get_by_name (GST_BIN (sender), "s");
  static const gchar *const late[] = {"late0", "late1"};
  Flow sound;

  while (media_stat (sink, "packets-sent") < 50)
    g_usleep (5000);
  gst_object_unref (sink);
  flow_init (&sound);
  flow_watch (&sound, receiver, "sound");
  media_play (receiver);
  for (guint i = 0; i < G_N_ELEMENTS (late); i++) {
    GstElement *end = gst_bin_get_by_name (GST_BIN (receiver), late[i]);
    GstPad *pad = gst_element_get_static_pad (end, "sink");
    gint seen = FALSE;
    gulong probe = gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, note_key_frame, &seen, NULL);

    fail_unless (flow_wait (&sound, flow_count (&sound) + (i == 0 ? 10 : 150), PATIENCE_S));
    fail_unless (gst_element_link_pads (src, "video_0", end, "sink"));
    wait_for_key_frame (&seen, i);
    gst_element_unlink_pads (src, "video_0", end, "sink");
    gst_pad_remove_probe (pad, probe);
    gst_object_unref (pad);
    gst_object_unref (end);
  }
  gst_object_unref (src);
  media_stop (receiver);
  media_stop (sender);
  flow_clear (&sound);
}
GST_END_TEST;

GST_START_TEST (test_pause_and_resume)
{
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  media_play (w.pipeline);
  for (guint i = 0; i < 3; i++) {
    guint64 dropped;

    watcher_wait_more (&w, 30, 15);
    gst_element_set_state (w.pipeline, GST_STATE_PAUSED);
    fail_unless_equals_int (gst_element_get_state (w.pipeline, NULL, NULL, PATIENCE_S * GST_SECOND),
        GST_STATE_CHANGE_NO_PREROLL);
    /* What comes in the pause is dropped, not kept. */
    dropped = media_stat (w.src, "packets-received-dropped");
    while (media_stat (w.src, "packets-received-dropped") < dropped + 20)
      g_usleep (5000);
    media_play (w.pipeline);
  }
  watcher_wait_more (&w, 30, 15);
  watcher_wait_story (&w, "+video_0 +audio_0 . ");
  gst_element_set_state (sender, GST_STATE_PAUSED);
  gst_element_set_state (sender, GST_STATE_PLAYING);
  watcher_wait_more (&w, 30, 15);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

static GstBusSyncReply
dawdle (GstBus *bus, GstMessage *message, gpointer user)
{
  GstState state;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_STATE_CHANGED &&
      g_strcmp0 (GST_MESSAGE_SRC_NAME (message), "rtcpsink") == 0) {
    gst_message_parse_state_changed (message, NULL, &state, NULL);
    if (state == GST_STATE_PLAYING)
      g_usleep (300 * G_TIME_SPAN_MILLISECOND);
  }
  return GST_BUS_PASS;
}

/* However long it takes until all inside play: what the relay sends first, once, finds them ready. */
GST_START_TEST (test_slow_to_play)
{
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  GstBus *bus;
  Watcher w;

  media_wait_element (sender, "natrelay-connected");
  watcher_init (&w, "talk", TRUE);
  bus = gst_element_get_bus (w.pipeline);
  gst_bus_set_sync_handler (bus, dawdle, NULL, NULL);
  media_play (w.pipeline);
  watcher_wait_more (&w, 50, 25);
  fail_unless_equals_uint64 (media_stat (w.src, "packets-received-dropped"), 0);
  gst_object_unref (bus);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

GST_START_TEST (test_used_twice)
{
  GstElement *sender = media_publish ("talk", H264_96, OPUS_96);
  static const GstState down[] = {GST_STATE_READY, GST_STATE_NULL};
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (down); i++) {
    media_play (w.pipeline);
    watcher_wait_more (&w, 30, 15);
    gst_element_set_state (w.pipeline, down[i]);
    g_string_truncate (w.story, 0);
    gst_element_set_state (sender, down[i]);
    media_play (sender);
  }
  media_play (w.pipeline);
  watcher_wait_story (&w, "+video_0 +audio_0 . ");
  watcher_wait_more (&w, 30, 15);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* Stopped whenever: nothing hangs, nothing is left. */
GST_START_TEST (test_stopped_at_any_moment)
{
  GRand *random = g_rand_new_with_seed (4711);

  for (guint i = 0; i < 25; i++) {
    GstElement *sender = media_publish ("talk", VP8_96, OPUS_96);
    Watcher w;

    watcher_init (&w, "talk", TRUE);
    media_play (w.pipeline);
    g_usleep ((gulong)g_rand_int_range (random, 0, 120000));
    if (i % 2 == 0)
      media_stop (sender);
    watcher_clear (&w);
    if (i % 2 == 1)
      media_stop (sender);
  }
  g_rand_free (random);
}
GST_END_TEST;

static const gchar *const encryptions[] = {"none", "aes-128-gcm", "aes-256-gcm"};

GST_START_TEST (test_encryption)
{
  g_autofree gchar *uri = media_uri ("door", TRUE);
  GstElement *sender =
      media_launch (H264_96 " ! natrelaysink encryption=%s uri=\"%s\"", encryptions[__i__], uri);
  Watcher w;

  watcher_init (&w, "door", TRUE);
  media_play (sender);
  media_play (w.pipeline);
  watcher_wait_more (&w, 30, 0);
  fail_unless_equals_uint64 (media_stat (w.src, "packets-received-refused"), 0);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

/* A file, not live: all of it arrives at its own speed, and its end ends the audience's pipeline, too. */
GST_START_TEST (test_file_with_eos)
{
  g_autofree gchar *to = media_uri ("film", TRUE), *from = media_uri ("film", FALSE);
  Side sender, receiver;

  side_init (&sender,
      media_launch ("videotestsrc num-buffers=100 ! "
                    "video/x-raw,width=160,height=120,framerate=50/1 ! vp8enc deadline=1 ! "
                    "identity name=tap ! rtpvp8pay mtu=1200 ! natrelaysink name=s "
                    "wait-for-connection=true uri=\"%s\" "
                    "audiotestsrc num-buffers=50 ! opusenc ! rtpopuspay ! s.",
          to));
  side_init (&receiver,
      media_launch (
          "natrelaysrc name=r eos-on-end=true latency=1000 uri=\"%s\" r.video_0 ! rtpvp8depay ! "
          "identity name=tap ! fakesink sync=false r.audio_0 ! fakesink sync=false",
          from));
  side_begin (&sender, &receiver);
  media_wait_eos (sender.pipeline);
  gst_element_set_state (sender.pipeline, GST_STATE_NULL);
  media_wait_eos (receiver.pipeline);
  /* A receiver hears of a new publisher within a second, that is fifty frames. */
  flow_assert_suffix (&receiver.flow, &sender.flow, 40);
  side_clear (&receiver);
  side_clear (&sender);
}
GST_END_TEST;

/* Whoever ends a recording is obeyed, whether the publisher sends, or is gone so long that nothing feeds the pad. */
GST_START_TEST (test_eos_is_obeyed)
{
  g_autofree gchar *uri = media_uri ("door", FALSE);
  GstElement *sender = media_publish ("door", VP8_96, "");
  GstElement *receiver =
      media_launch ("natrelaysrc name=r uri=\"%s\" ! identity name=tap ! fakesink", uri);
  GstElement *src = gst_bin_get_by_name (GST_BIN (receiver), "r"), *rtpbin;
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, receiver, "tap");
  media_play (receiver);
  fail_unless (flow_wait (&flow, 20, PATIENCE_S));
  if (__i__) {
    media_stop (sender);
    rtpbin = gst_bin_get_by_name (GST_BIN (src), "rtpbin");
    g_signal_emit_by_name (rtpbin, "on-timeout", 0, 7);
    gst_object_unref (rtpbin);
  }
  fail_unless (gst_element_send_event (receiver, gst_event_new_eos ()));
  media_wait_eos (receiver);
  gst_object_unref (src);
  media_stop (receiver);
  if (!__i__)
    media_stop (sender);
  flow_clear (&flow);
}
GST_END_TEST;

typedef struct {
  GstElement *pipeline;
  GMutex lock;
  GCond cond;
  gboolean entered, leave;
} Handler;

static void
linger_and_link (GstElement *src, GstPad *pad, Handler *h)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (h->pipeline), "end");
  GstPad *sinkpad = gst_element_get_static_pad (sink, "sink");

  g_mutex_lock (&h->lock);
  h->entered = TRUE;
  g_cond_broadcast (&h->cond);
  while (!h->leave)
    g_cond_wait (&h->cond, &h->lock);
  g_mutex_unlock (&h->lock);
  gst_pad_link (pad, sinkpad);
  gst_object_unref (sinkpad);
  gst_object_unref (sink);
}

/* While a handler lingers over the pads of somebody who left, another comes, plays a short film and is through: the end is
 * an end all the same. */
GST_START_TEST (test_film_while_handler_lingers)
{
  g_autofree gchar *to = media_uri ("film", TRUE), *from = media_uri ("film", FALSE);
  GstElement *before = media_publish ("film", VP8_96, "");
  GstElement *sender = media_launch (
      "videotestsrc num-buffers=20 ! video/x-raw,width=160,height=120,framerate=50/1 ! "
      "vp8enc deadline=1 ! rtpvp8pay pt=96 ssrc=7 ! natrelaysink wait-for-connection=true "
      "uri=\"%s\"",
      to);
  GstElement *other = media_launch ("natrelaysrc eos-on-end=true uri=\"%s\" ! fakesink", from);
  Handler h = {.pipeline = media_launch ("natrelaysrc name=r eos-on-end=true uri=\"%s\" "
                                         "fakesink name=end sync=false async=false",
                   from)};
  GstElement *src = gst_bin_get_by_name (GST_BIN (h.pipeline), "r");

  g_mutex_init (&h.lock);
  g_cond_init (&h.cond);
  g_signal_connect (src, "pad-added", G_CALLBACK (linger_and_link), &h);
  gst_object_unref (src);
  media_wait_element (before, "natrelay-connected");
  media_stop (before);
  media_play (h.pipeline);
  g_mutex_lock (&h.lock);
  while (!h.entered)
    g_cond_wait (&h.cond, &h.lock);
  g_mutex_unlock (&h.lock);
  media_play (other);
  media_wait_element (other, "natrelay-connected");
  media_play (sender);
  media_wait_eos (sender);
  media_stop (sender);
  media_wait_eos (other);
  g_mutex_lock (&h.lock);
  h.leave = TRUE;
  g_cond_broadcast (&h.cond);
  g_mutex_unlock (&h.lock);
  media_wait_eos (h.pipeline);
  media_stop (h.pipeline);
  media_stop (other);
  g_mutex_clear (&h.lock);
  g_cond_clear (&h.cond);
}
GST_END_TEST;

static Suite *
natrelaysrc_suite (void)
{
  Suite *s = suite_create ("natrelaysrc");
  TCase *media = tcase_create ("media"), *pads = tcase_create ("pads");

  suite_add_tcase (s, media);
  tcase_add_checked_fixture (media, relay_begin, relay_end);
  tcase_add_loop_test (media, test_codec, 0, G_N_ELEMENTS (codecs));
  tcase_add_loop_test (media, test_encryption, 0, G_N_ELEMENTS (encryptions));
  tcase_add_test (media, test_file_with_eos);
  tcase_add_loop_test (media, test_eos_is_obeyed, 0, 2);
  tcase_add_test (media, test_film_while_handler_lingers);
  tcase_add_test (media, test_key_frame_on_join);
  tcase_add_test (media, test_key_frame_on_link);
  tcase_add_test (media, test_pause_and_resume);
  suite_add_tcase (s, pads);
  tcase_add_checked_fixture (pads, relay_begin, relay_end);
  tcase_add_test (pads, test_two_tracks);
  tcase_add_test (pads, test_pads_have_caps);
  tcase_add_test (pads, test_unlinked_pad);
  tcase_add_test (pads, test_enough);
  tcase_add_test (pads, test_publisher_restarts);
  tcase_add_test (pads, test_publisher_changes);
  tcase_add_test (pads, test_silent_ssrc_returns);
  tcase_add_test (pads, test_track_joins_later);
  tcase_add_test (pads, test_slow_to_play);
  tcase_add_test (pads, test_used_twice);
  tcase_add_test (pads, test_stopped_at_any_moment);
  return s;
}

GST_CHECK_MAIN (natrelaysrc);
