/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An IP camera, played by GStreamer's RTSP server: its packets go through both elements and the relay as they
 * come, without a depayloader, and the pictures and the sound are those that the camera made. */

#include <gst/check/gstcheck.h>

#include "rtspcamera.h"

#define PICTURE                                                                                    \
  "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,"         \
  "framerate=50/1"
#define SOUND "audiotestsrc is-live=true wave=pink-noise samplesperbuffer=160"
#define END   "fakesink sync=false async=false"
#define UNITS 50

/* A picture is one slice: of one that was under way when the camera was asked to play, nothing arrives then, else the
 * slices behind. */
static const struct {
  guint nal_codec;
  const gchar *camera;
  const gchar *video, *audio; /* how they are received */
} cameras[] = {
    {264,
        "( " PICTURE " ! x264enc tune=zerolatency threads=1 key-int-max=25 ! h264parse ! "
        "video/x-h264,stream-format=avc,alignment=au ! identity name=v ! "
        "rtph264pay name=pay0 pt=96 mtu=1200 config-interval=-1 " SOUND
        " ! avenc_aac ! identity name=a ! rtpmp4gpay name=pay1 pt=97 )",
        "rtph264depay ! h264parse ! video/x-h264,stream-format=avc,alignment=au", "rtpmp4gdepay"},
    {265,
        "( " PICTURE " ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! "
        "h265parse ! video/x-h265,stream-format=hvc1,alignment=au ! identity name=v ! "
        "rtph265pay name=pay0 pt=96 mtu=1200 config-interval=-1 " SOUND
        " ! alawenc ! identity name=a ! rtppcmapay name=pay1 )",
        "rtph265depay ! h265parse ! video/x-h265,stream-format=hvc1,alignment=au", "rtppcmadepay"},
};

/* Of the units that arrived, from the first to the last one, none is missing and none is changed. */
static void
assert_part (Flow *received, Flow *sent)
{
  guint begin = 0;

  while (
      begin < sent->sums->len && !g_str_equal (sent->sums->pdata[begin], received->sums->pdata[0]))
    begin++;
  fail_unless (begin < sent->sums->len, "the first unit that arrived was never sent");
  for (guint i = 0; i < received->sums->len; i++) {
    fail_unless (begin + i < sent->sums->len, "more arrived than was sent");
    fail_unless_equals_string (received->sums->pdata[i], sent->sums->pdata[begin + i]);
  }
}

/* gst-launch would take its link back in one track's thread while the other's reports that it failed, of what is freed by then. */
static void
link_track (GstElement *camera, GstPad *pad, GstBin *sender)
{
  GstCaps *caps = gst_pad_query_caps (pad, NULL);
  const gchar *media = gst_structure_get_string (gst_caps_get_structure (caps, 0), "media");
  GstElement *filter = gst_bin_get_by_name (sender, media);

  fail_unless (gst_element_link_pads (camera, GST_PAD_NAME (pad), filter, "sink"));
  gst_object_unref (filter);
  gst_caps_unref (caps);
}

static GstElement *
launch_sender (gint port, const gchar *uri)
{
  GstElement *sender =
      media_launch ("rtspsrc name=c location=rtsp://127.0.0.1:%d/live protocols=tcp latency=100 "
                    "capsfilter name=video caps=application/x-rtp,media=video ! s.sink_0 "
                    "capsfilter name=audio caps=application/x-rtp,media=audio ! s.sink_1 "
                    "natrelaysink name=s uri=\"%s\"",
          port, uri);
  GstElement *camera = gst_bin_get_by_name (GST_BIN (sender), "c");

  g_signal_connect (camera, "pad-added", G_CALLBACK (link_track), sender);
  gst_object_unref (camera);
  return sender;
}

GST_START_TEST (test_camera)
{
  static RtspCamera camera;
  GstElement *sender, *receiver;
  Flow video, audio;
  gchar *to, *from;
  gint port;

  relay_begin ();
  rtsp_camera_init (&camera, cameras[__i__].nal_codec, cameras[__i__].camera);
  port = rtsp_camera_start (&camera, 0);
  to = media_uri ("yard", TRUE);
  from = media_uri ("yard", FALSE);
  flow_init (&video);
  flow_init (&audio);
  video.nal_codec = cameras[__i__].nal_codec;
  receiver = media_launch (
      "natrelaysrc name=r latency=1000 uri=\"%s\" r.video_0 ! %s ! identity name=v ! " END
      " r.audio_0 ! %s ! identity name=a ! " END,
      from, cameras[__i__].video, cameras[__i__].audio);
  flow_watch (&video, receiver, "v");
  flow_watch (&audio, receiver, "a");
  sender = launch_sender (port, to);
  media_play (receiver);
  media_play (sender);
  fail_unless (flow_wait (&video, UNITS, PATIENCE_S), "%u pictures", flow_count (&video));
  fail_unless (flow_wait (&audio, UNITS, PATIENCE_S), "%u frames of sound", flow_count (&audio));
  media_stop (receiver);
  media_stop (sender);
  rtsp_camera_stop (&camera);
  assert_part (&video, &camera.video);
  assert_part (&audio, &camera.audio);
  flow_clear (&video);
  flow_clear (&audio);
  rtsp_camera_clear (&camera);
  relay_end ();
  g_free (to);
  g_free (from);
}
GST_END_TEST;

static Suite *
natrelayrtsp_suite (void)
{
  Suite *s = suite_create ("natrelayrtsp");
  TCase *tc = tcase_create ("camera");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_camera, 0, G_N_ELEMENTS (cameras));
  return s;
}

GST_CHECK_MAIN (natrelayrtsp);
