/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Tracks change while media flows: what is under way then ends nothing, and is taken for nothing else. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "padwatcher.h"

#define H264_96                                                                                    \
  "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=50/1 ! "    \
  "x264enc tune=zerolatency key-int-max=25 ! rtph264pay mtu=1200 pt=96 ssrc=7"
#define OPUS "audiotestsrc is-live=true ! opusenc ! rtpopuspay"
/* Some fifty packets a frame, all at once. */
#define LARGE                                                                                      \
  "videotestsrc is-live=true pattern=snow ! "                                                      \
  "video/x-raw,format=I420,width=320,height=240,framerate=5/1 ! "                                  \
  "jpegenc ! rtpjpegpay mtu=1200 pt=96 ssrc=7"
#define ROUNDS 5

static void
add_track (GstElement *sender, const gchar *track)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (sender), "s");
  GError *error = NULL;
  GstElement *bin = gst_parse_bin_from_description (track, TRUE, &error);

  fail_unless (error == NULL);
  gst_bin_add (GST_BIN (sender), bin);
  fail_unless (gst_element_link (bin, sink));
  gst_element_sync_state_with_parent (bin);
  gst_object_unref (sink);
}

/* ---- a list that goes in slowly ------------------------------------------- */

static GstPadProbeReturn
slow_down (GstPad *pad, GstPadProbeInfo *info, gpointer us)
{
  g_usleep (GPOINTER_TO_UINT (us));
  return GST_PAD_PROBE_OK;
}

static void
slow_jitterbuffer (
    GstElement *rtpbin, GstElement *jitterbuffer, guint session, guint ssrc, gpointer us)
{
  GstPad *pad = gst_element_get_static_pad (jitterbuffer, "sink");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, slow_down, us, NULL);
  gst_object_unref (pad);
}

static void
linger (GstElement *src, GstPad *pad, gpointer user)
{
  g_usleep (100 * G_TIME_SPAN_MILLISECOND);
}

/* While the application takes its time over a pad that went, the rest of a list is not to meet a pad that leads nowhere: that
 * would end the session. */
GST_START_TEST (test_list_under_way)
{
  GstElement *sender = media_publish ("talk", LARGE, OPUS), *rtpbin;
  Watcher w;

  watcher_init (&w, "talk", TRUE);
  rtpbin = gst_bin_get_by_name (GST_BIN (w.src), "rtpbin");
  g_signal_connect (rtpbin, "new-jitterbuffer", G_CALLBACK (slow_jitterbuffer),
      GUINT_TO_POINTER (3 * G_TIME_SPAN_MILLISECOND));
  g_signal_connect (w.src, "pad-removed", G_CALLBACK (linger), NULL);
  media_play (w.pipeline);
  watcher_wait_more (&w, 50, 10);
  for (guint i = 0; i < ROUNDS; i++) {
    add_track (sender, OPUS);
    watcher_wait_pads (&w, 3 + i);
    watcher_wait_more (&w, 50, 10);
  }
  gst_object_unref (rtpbin);
  watcher_clear (&w);
  media_stop (sender);
}
GST_END_TEST;

static void
slow_element (GstBin *pipeline, GstBin *bin, GstElement *element, gpointer us)
{
  if (strcmp (G_OBJECT_TYPE_NAME (element), "GstRtpJitterBuffer") == 0)
    slow_jitterbuffer (NULL, element, 0, 0, us);
}

/* Nor when somebody leaves a room, from whom so much came that it still goes in. */
GST_START_TEST (test_list_of_who_leaves)
{
  GstMessage *error;
  GstBus *bus;
  Watcher w;

  watcher_init (&w, "room/*", TRUE);
  g_signal_connect (w.pipeline, "deep-element-added", G_CALLBACK (slow_element),
      GUINT_TO_POINTER (20 * G_TIME_SPAN_MILLISECOND));
  g_signal_connect (w.src, "pad-removed", G_CALLBACK (linger), NULL);
  media_play (w.pipeline);
  for (guint i = 0; i < 3; i++) {
    GstElement *sender = media_publish ("room/ann", LARGE, "");

    watcher_wait_more (&w, 100, 0);
    media_stop (sender);
    watcher_wait_removed (&w, i + 1);
  }
  bus = gst_element_get_bus (w.pipeline);
  error = gst_bus_timed_pop_filtered (bus, 500 * GST_MSECOND, GST_MESSAGE_ERROR);
  fail_unless (error == NULL, "%s", error != NULL ? GST_OBJECT_NAME (GST_MESSAGE_SRC (error)) : "");
  gst_object_unref (bus);
  watcher_clear (&w);
}
GST_END_TEST;

/* ---- a list that is late --------------------------------------------------- */

typedef struct {
  GMutex lock;
  GCond cond;
  gboolean armed, removed;
} Gate;

/* Holds one until the second pad has gone; not for ever, as who removes pads may wait for it. */
static GstPadProbeReturn
hold_video (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  gint64 until = g_get_monotonic_time () + G_TIME_SPAN_SECOND;
  GstBuffer *first = GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER_LIST
                         ? gst_buffer_list_get (GST_PAD_PROBE_INFO_BUFFER_LIST (info), 0)
                         : GST_PAD_PROBE_INFO_BUFFER (info);
  guint8 ssrc[4] = {0};
  Gate *gate = user;

  gst_buffer_extract (first, 8, ssrc, sizeof ssrc);
  g_mutex_lock (&gate->lock);
  if (gate->armed && GST_READ_UINT32_BE (ssrc) == 7) {
    gate->armed = FALSE;
    while (!gate->removed && g_cond_wait_until (&gate->cond, &gate->lock, until))
      ;
  }
  g_mutex_unlock (&gate->lock);
  return GST_PAD_PROBE_OK;
}

static void
open_gate (GstElement *src, GstPad *pad, Gate *gate)
{
  if (!g_str_has_prefix (GST_PAD_NAME (pad), "audio"))
    return;
  g_mutex_lock (&gate->lock);
  gate->removed = TRUE;
  g_cond_broadcast (&gate->cond);
  g_mutex_unlock (&gate->lock);
  g_usleep (200 * G_TIME_SPAN_MILLISECOND);
}

/* What comes when the old pads have gone and the new ones are not there would be fed to none, and so all that
 * follows it. */
GST_START_TEST (test_list_between)
{
  GstElement *sender = media_publish ("talk", H264_96, OPUS), *open;
  Gate gate = {0};
  GstPad *pad;
  Watcher w;

  g_mutex_init (&gate.lock);
  g_cond_init (&gate.cond);
  watcher_init (&w, "talk", TRUE);
  open = gst_bin_get_by_name (GST_BIN (w.src), "open");
  pad = gst_element_get_static_pad (open, "src");
  gst_pad_add_probe (
      pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, hold_video, &gate, NULL);
  g_signal_connect (w.src, "pad-removed", G_CALLBACK (open_gate), &gate);
  media_play (w.pipeline);
  watcher_wait_more (&w, 20, 10);
  g_mutex_lock (&gate.lock);
  gate.armed = TRUE;
  g_mutex_unlock (&gate.lock);
  add_track (sender, OPUS);
  watcher_wait_pads (&w, 3);
  watcher_wait_more (&w, 20, 10);
  gst_object_unref (pad);
  gst_object_unref (open);
  watcher_clear (&w);
  media_stop (sender);
  g_mutex_clear (&gate.lock);
  g_cond_clear (&gate.cond);
}
GST_END_TEST;

static Suite *
natrelaytracks_suite (void)
{
  Suite *s = suite_create ("natrelaytracks");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_test (tc, test_list_under_way);
  tcase_add_test (tc, test_list_of_who_leaves);
  tcase_add_test (tc, test_list_between);
  return s;
}

GST_CHECK_MAIN (natrelaytracks);
