/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A picture at once: a viewer that comes between two key frames far apart, of an encoder that makes none when it
 * is asked, sees the last one, then what is live, as late as whoever was there from the start. Each picture
 * carries its number as bars, and when it was sent is written down. */

#include <gst/check/gstcheck.h>
#include <gst/video/video.h>
#include <stdlib.h>
#include <string.h>

#include "lossy.h"
#include "media.h"

#define FPS    30
#define BITS   16
#define BAR    16 /* pixels, each way */
#define FRAMES 4096

typedef struct {
  GMutex lock;
  GCond cond;
  gint64 sent[FRAMES]; /* by picture, 0 = not yet */
  guint n_sent;
  guint n_keys; /* key frames that were sent */
} Camera;

/* What one viewer saw. */
typedef struct {
  Camera *camera;
  GMutex lock;
  GCond cond;
  guint n;             /* pictures */
  guint first, second; /* numbers */
  gint64 first_us, second_us;
  guint last;
  gint64 late_us; /* the last one's */
  guint backward; /* pictures that came after later ones */
  guint holes;    /* pictures left out after the second */
} Viewer;

#define SMALL "pattern=ball ! video/x-raw,width=640,height=360"

/* ---- the camera ---------------------------------------------------------- */

static GstPadProbeReturn
draw_number (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  GstBuffer *buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));
  GstCaps *caps = gst_pad_get_current_caps (pad);
  Camera *camera = user;
  GstVideoFrame frame;
  GstVideoInfo video;

  fail_unless (gst_video_info_from_caps (&video, caps));
  fail_unless (gst_video_frame_map (&frame, &video, buffer, GST_MAP_WRITE));
  g_mutex_lock (&camera->lock);
  for (guint y = 0; y < BAR; y++) {
    guint8 *row = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA (&frame, 0) +
                  y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0);

    for (guint bit = 0; bit < BITS; bit++)
      memset (row + bit * BAR, camera->n_sent >> bit & 1 ? 235 : 16, BAR);
  }
  camera->sent[camera->n_sent++ % FRAMES] = g_get_monotonic_time ();
  g_cond_broadcast (&camera->cond);
  g_mutex_unlock (&camera->lock);
  gst_video_frame_unmap (&frame);
  gst_caps_unref (caps);
  GST_PAD_PROBE_INFO_DATA (info) = buffer;
  return GST_PAD_PROBE_OK;
}

/* The encoder that ignores requests. */
static GstPadProbeReturn
drop_key_unit (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  return gst_video_event_is_force_key_unit (GST_PAD_PROBE_INFO_EVENT (info)) ? GST_PAD_PROBE_DROP
                                                                             : GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
count_key (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Camera *camera = user;

  if (!GST_BUFFER_FLAG_IS_SET (GST_PAD_PROBE_INFO_BUFFER (info), GST_BUFFER_FLAG_DELTA_UNIT)) {
    g_mutex_lock (&camera->lock);
    camera->n_keys++;
    g_mutex_unlock (&camera->lock);
  }
  return GST_PAD_PROBE_OK;
}

static void
add_probe (GstElement *pipeline, const gchar *name, const gchar *pad_name, GstPadProbeType type,
    GstPadProbeCallback callback, gpointer user)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), name);
  GstPad *pad = gst_element_get_static_pad (element, pad_name);

  gst_pad_add_probe (pad, type, callback, user, NULL);
  gst_object_unref (pad);
  gst_object_unref (element);
}

static GstElement *
camera_new (Camera *camera, const gchar *film, const gchar *encode)
{
  g_autofree gchar *to = media_uri ("door", TRUE);
  GstElement *pipeline = media_launch (
      "videotestsrc is-live=true %s,format=I420,framerate=%u/1 ! identity name=raw ! %s ! "
      "natrelaysink name=relay wait-for-connection=true uri=\"%s\"",
      film, FPS, encode, to);

  memset (camera, 0, sizeof *camera);
  g_mutex_init (&camera->lock);
  g_cond_init (&camera->cond);
  add_probe (pipeline, "raw", "src", GST_PAD_PROBE_TYPE_BUFFER, draw_number, camera);
  add_probe (pipeline, "enc", "src", GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, drop_key_unit, camera);
  add_probe (pipeline, "enc", "src", GST_PAD_PROBE_TYPE_BUFFER, count_key, camera);
  return pipeline;
}

static void
camera_wait (Camera *camera, guint frames)
{
  gint64 end = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  guint n_sent;

  g_mutex_lock (&camera->lock);
  while (camera->n_sent < frames && g_cond_wait_until (&camera->cond, &camera->lock, end))
    ;
  n_sent = camera->n_sent;
  g_mutex_unlock (&camera->lock);
  fail_unless (n_sent >= frames, "the camera is too slow");
}

static void
camera_clear (Camera *camera, GstElement *pipeline)
{
  media_stop (pipeline);
  g_mutex_clear (&camera->lock);
  g_cond_clear (&camera->cond);
}

/* ---- a viewer ------------------------------------------------------------ */

static guint
read_number (GstBuffer *buffer, GstPad *pad)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  GstVideoFrame frame;
  GstVideoInfo video;
  guint number = 0;

  fail_unless (gst_video_info_from_caps (&video, caps));
  fail_unless (gst_video_frame_map (&frame, &video, buffer, GST_MAP_READ));
  for (guint bit = 0; bit < BITS; bit++) {
    const guint8 *row = (const guint8 *)GST_VIDEO_FRAME_PLANE_DATA (&frame, 0) +
                        BAR / 2 * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0);

    number |= (guint)(row[bit * BAR + BAR / 2] > 125) << bit;
  }
  gst_video_frame_unmap (&frame);
  gst_caps_unref (caps);
  return number;
}

static void
on_picture (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user)
{
  guint number = read_number (buffer, pad);
  gint64 now = g_get_monotonic_time (), sent;
  Viewer *v = user;

  g_mutex_lock (&v->camera->lock);
  sent = v->camera->sent[number % FRAMES];
  g_mutex_unlock (&v->camera->lock);
  g_mutex_lock (&v->lock);
  v->n++;
  if (v->n == 1) {
    v->first = number;
    v->first_us = now;
  } else if (v->n == 2) {
    v->second = number;
    v->second_us = now;
  } else {
    v->holes += number > v->last + 1 ? number - v->last - 1 : 0;
  }
  v->backward += v->n > 1 && number <= v->last;
  v->last = number;
  v->late_us = now - sent;
  g_cond_broadcast (&v->cond);
  g_mutex_unlock (&v->lock);
}

/* source has "URI" in it. */
static GstElement *
viewer_new (Viewer *v, Camera *camera, const gchar *source, const gchar *decode)
{
  gchar *uri = media_uri ("door", FALSE), **parts = g_strsplit (source, "URI", 2);
  GstElement *pipeline = media_launch ("%s\"%s\"%s ! %s ! videoconvert ! video/x-raw,format=I420 ! "
                                       "fakesink name=screen sync=true signal-handoffs=true",
      parts[0], uri, parts[1], decode);
  GstElement *screen = gst_bin_get_by_name (GST_BIN (pipeline), "screen");

  memset (v, 0, sizeof *v);
  v->camera = camera;
  g_mutex_init (&v->lock);
  g_cond_init (&v->cond);
  g_signal_connect (screen, "handoff", G_CALLBACK (on_picture), v);
  gst_object_unref (screen);
  g_strfreev (parts);
  g_free (uri);
  return pipeline;
}

static gboolean
viewer_wait (Viewer *v, guint pictures)
{
  gint64 end = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean ok;

  g_mutex_lock (&v->lock);
  while (v->n < pictures && g_cond_wait_until (&v->cond, &v->lock, end))
    ;
  ok = v->n >= pictures;
  g_mutex_unlock (&v->lock);
  return ok;
}

static void
viewer_wait_until_live (Viewer *v)
{
  gint64 end = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND, late_us;

  g_mutex_lock (&v->lock);
  while (v->late_us > G_TIME_SPAN_SECOND && g_get_monotonic_time () < end)
    g_cond_wait_until (&v->cond, &v->lock, end);
  late_us = v->late_us;
  g_mutex_unlock (&v->lock);
  fail_unless (late_us <= G_TIME_SPAN_SECOND, "late by %d ms", (int)(late_us / 1000));
}

static void
viewer_clear (Viewer *v, GstElement *pipeline)
{
  media_stop (pipeline);
  g_mutex_clear (&v->lock);
  g_cond_clear (&v->cond);
}

/* ---- time stamps --------------------------------------------------------- */

/* Those of the RTP packets that passed an identity called "packets". */
typedef struct {
  GMutex lock;
  GCond cond;
  guint n;
  GHashTable *seen;
  guint32 first;
} Stamps;

static GstPadProbeReturn
take_stamp (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  guint8 bytes[4] = {0};
  Stamps *stamps = user;
  guint32 stamp;

  gst_buffer_extract (GST_PAD_PROBE_INFO_BUFFER (info), 4, bytes, sizeof bytes);
  stamp = GST_READ_UINT32_BE (bytes);
  g_mutex_lock (&stamps->lock);
  if (stamps->n++ == 0)
    stamps->first = stamp;
  g_hash_table_add (stamps->seen, GUINT_TO_POINTER (stamp));
  g_cond_broadcast (&stamps->cond);
  g_mutex_unlock (&stamps->lock);
  return GST_PAD_PROBE_OK;
}

static void
stamps_init (Stamps *stamps, GstElement *pipeline)
{
  memset (stamps, 0, sizeof *stamps);
  g_mutex_init (&stamps->lock);
  g_cond_init (&stamps->cond);
  stamps->seen = g_hash_table_new (NULL, NULL);
  add_probe (pipeline, "packets", "src", GST_PAD_PROBE_TYPE_BUFFER, take_stamp, stamps);
}

static gboolean
stamps_wait (Stamps *stamps, guint n)
{
  gint64 end = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean ok;

  g_mutex_lock (&stamps->lock);
  while (stamps->n < n && g_cond_wait_until (&stamps->cond, &stamps->lock, end))
    ;
  ok = stamps->n >= n;
  g_mutex_unlock (&stamps->lock);
  return ok;
}

/* After its pipeline was stopped. */
static void
stamps_clear (Stamps *stamps)
{
  g_hash_table_unref (stamps->seen);
  g_mutex_clear (&stamps->lock);
  g_cond_clear (&stamps->cond);
}

/* ---- tests --------------------------------------------------------------- */

#define SOURCE "natrelaysrc name=relay uri=URI"
#define X264   "x264enc name=enc tune=zerolatency speed-preset=ultrafast bitrate=1000 key-int-max=900"

static const struct {
  const gchar *name, *encode, *source, *decode;
} ways[] = {
    {"H.264, decoder by hand", X264 " ! rtph264pay mtu=1200", SOURCE, "rtph264depay ! avdec_h264"},
    {"H.264, decodebin", X264 " ! rtph264pay mtu=1200", SOURCE, "decodebin"},
    {"H.264, decodebin3", X264 " ! rtph264pay mtu=1200", SOURCE, "decodebin3"},
    {"H.264, uridecodebin3", X264 " ! rtph264pay mtu=1200", "uridecodebin3 uri=URI", "identity"},
    {"H.264, uridecodebin", X264 " ! rtph264pay mtu=1200", "uridecodebin uri=URI", "identity"},
    {"H.264, B-frames",
        "x264enc name=enc speed-preset=veryfast bframes=2 rc-lookahead=0 sync-lookahead=0 "
        "bitrate=1000 key-int-max=900 ! rtph264pay mtu=1200",
        SOURCE, "rtph264depay ! avdec_h264"},
    {"H.265",
        "x265enc name=enc tune=zerolatency speed-preset=ultrafast bitrate=1000 key-int-max=900 ! "
        "rtph265pay mtu=1200",
        SOURCE, "rtph265depay ! avdec_h265"},
    {"VP8",
        "vp8enc name=enc deadline=1 cpu-used=8 target-bitrate=1000000 keyframe-max-dist=900 ! "
        "rtpvp8pay mtu=1200",
        SOURCE, "decodebin"},
    {"VP9",
        "vp9enc name=enc deadline=1 cpu-used=8 lag-in-frames=0 target-bitrate=1000000 "
        "keyframe-max-dist=900 ! "
        "rtpvp9pay mtu=1200",
        SOURCE, "decodebin"},
};

GST_START_TEST (test_joins)
{
  Camera camera;
  GstElement *sender = camera_new (&camera, SMALL, ways[__i__].encode);
  Viewer early, late;
  GstElement *watched = viewer_new (&early, &camera, ways[__i__].source, ways[__i__].decode);
  GstElement *joined = viewer_new (&late, &camera, ways[__i__].source, ways[__i__].decode);
  gint64 connected;
  guint at;

  media_play (watched);
  media_play (sender);
  camera_wait (&camera, 45);
  at = camera.n_sent;
  media_play (joined);
  media_wait_element (joined, "natrelay-connected");
  connected = g_get_monotonic_time ();
  fail_unless (viewer_wait (&late, 15), "%s: %u pictures", ways[__i__].name, late.n);
  g_print (
      "%s: came at %u, saw %u after %d ms, %u after %d ms; late by %d ms, who was there by %d ms\n",
      ways[__i__].name, at, late.first, (int)(late.first_us - connected) / 1000, late.second,
      (int)(late.second_us - connected) / 1000, (int)late.late_us / 1000,
      (int)early.late_us / 1000);
  fail_unless_equals_int (camera.n_keys, 1);
  fail_unless (late.first <= 1, "%s: not the last key frame but %u", ways[__i__].name, late.first);
  fail_unless (late.second + FPS / 5 >= at, "%s: %u is of the past", ways[__i__].name, late.second);
  fail_unless_equals_int (late.backward, 0);
  viewer_clear (&late, joined);
  viewer_clear (&early, watched);
  camera_clear (&camera, sender);
}
GST_END_TEST;

#define H264_BY_HAND "rtph264depay ! avdec_h264"

static GstElement *
camera_play (Camera *camera, guint frames)
{
  GstElement *sender = camera_new (camera, SMALL, X264 " ! rtph264pay mtu=1200");

  media_play (sender);
  camera_wait (camera, frames);
  return sender;
}

/* Who does not want it is sent nothing of the past: the key frame, with which that would begin, does not come. (What a decoder
 * makes of the rest says nothing: if the first packet is of a frame whose number ends with four zero bits, it is as black as
 * the first frame.) */
GST_START_TEST (test_off)
{
  g_autofree gchar *uri = media_uri ("door", FALSE);
  GstElement *sender, *joined, *source;
  Stamps sent, came;
  Camera camera;

  sender = camera_new (&camera, SMALL, X264 " ! rtph264pay mtu=1200 ! identity name=packets");
  stamps_init (&sent, sender);
  media_play (sender);
  camera_wait (&camera, 45);
  joined = media_launch ("natrelaysrc name=relay instant-start=false uri=\"%s\" ! "
                         "identity name=packets ! fakesink sync=false",
      uri);
  stamps_init (&came, joined);
  source = gst_bin_get_by_name (GST_BIN (joined), "relay");
  media_play (joined);
  fail_unless (stamps_wait (&came, 60), "%u packets came", came.n);
  fail_unless_equals_uint64 (media_stat (source, "packets-of-the-past"), 0);
  gst_object_unref (source);
  media_stop (joined);
  camera_clear (&camera, sender);
  fail_unless_equals_int (camera.n_keys, 1);
  fail_if (g_hash_table_contains (came.seen, GUINT_TO_POINTER (sent.first)));
  fail_unless (g_hash_table_contains (sent.seen, GUINT_TO_POINTER (came.first)));
  stamps_clear (&came);
  stamps_clear (&sent);
}
GST_END_TEST;

/* Whoever leaves again at once is not kept waiting. */
GST_START_TEST (test_leaves)
{
  GstElement *sender, *joined;
  Camera camera;
  Viewer late;

  sender = camera_play (&camera, 60);
  for (guint i = 0; i < 12; i++) {
    gint64 before;

    joined = viewer_new (&late, &camera, SOURCE, H264_BY_HAND);
    media_play (joined);
    media_wait_element (joined, "natrelay-connected");
    g_usleep (i * 5000);
    before = g_get_monotonic_time ();
    viewer_clear (&late, joined);
    fail_unless (g_get_monotonic_time () - before < 10 * G_TIME_SPAN_SECOND);
  }
  camera_clear (&camera, sender);
}
GST_END_TEST;

/* Another publisher's packets come to the same pad, in time. */
GST_START_TEST (test_publisher_returns)
{
  GstElement *sender, *joined;
  Camera camera, next;
  Viewer late;
  guint seen;

  sender = camera_play (&camera, 60);
  joined = viewer_new (&late, &camera, SOURCE, H264_BY_HAND);
  media_play (joined);
  media_wait_element (joined, "natrelay-connected");
  if (__i__ > 0)
    fail_unless (viewer_wait (&late, 10));
  media_stop (sender);
  sender = camera_new (&next, SMALL, X264 " ! rtph264pay mtu=1200");
  g_mutex_lock (&late.lock);
  late.camera = &next;
  seen = late.n;
  g_mutex_unlock (&late.lock);
  media_play (sender);
  fail_unless (viewer_wait (&late, seen + 45), "%u pictures more", late.n - seen);
  viewer_wait_until_live (&late);
  viewer_clear (&late, joined);
  g_mutex_clear (&camera.lock);
  g_cond_clear (&camera.cond);
  camera_clear (&next, sender);
}
GST_END_TEST;

/* ways in which a source becomes quiet: its pipeline pauses, and its time stands still; nothing new is to be seen, and time goes on */
static void
set_quiet (GstElement *sender, gboolean quiet)
{
  GstElement *valve = gst_bin_get_by_name (GST_BIN (sender), "valve");

  if (valve != NULL)
    g_object_set (valve, "drop", quiet, NULL);
  else
    gst_element_set_state (sender, quiet ? GST_STATE_PAUSED : GST_STATE_PLAYING);
  g_clear_object (&valve);
}

#define KEYS_ONLY                                                                                  \
  "valve name=valve ! x264enc name=enc tune=zerolatency speed-preset=ultrafast bitrate=1000 "      \
  "key-int-max=1 ! rtph264pay mtu=1200"

static const struct {
  const gchar *encode;
  guint behind; /* pictures between the last that stands alone and the last */
} quiet[] = {
    {X264 " ! rtph264pay mtu=1200", 30},
    {"valve name=valve ! " X264 " ! rtph264pay mtu=1200", 30},
    {KEYS_ONLY, 0},
};

/* Of a source that is quiet, the last picture is shown though nothing comes; when it goes on, what comes is as live as ever. */
GST_START_TEST (test_quiet)
{
  GstElement *sender, *joined;
  gint64 connected;
  Camera camera;
  Viewer late;
  guint at;

  sender = camera_new (&camera, SMALL, quiet[__i__].encode);
  media_play (sender);
  camera_wait (&camera, 45);
  set_quiet (sender, TRUE);
  at = camera.n_sent;
  joined = viewer_new (&late, &camera, SOURCE, H264_BY_HAND);
  media_play (joined);
  media_wait_element (joined, "natrelay-connected");
  connected = g_get_monotonic_time ();
  fail_unless (viewer_wait (&late, quiet[__i__].behind > 0 ? 2 : 1), "%u pictures", late.n);
  fail_unless (late.last + FPS / 5 >= at, "%u is not the last of %u", late.last, at);
  fail_unless (late.last >= late.first + quiet[__i__].behind, "%u, then %u", late.first, late.last);
  g_print ("quiet %d: saw %u after %d ms, %u after %d ms\n", __i__, late.first,
      (int)(late.first_us - connected) / 1000, late.last,
      (int)(MAX (late.first_us, late.second_us) - connected) / 1000);
  set_quiet (sender, FALSE);
  fail_unless (viewer_wait (&late, late.n + 15), "it does not go on");
  viewer_wait_until_live (&late);
  fail_unless_equals_int (late.backward, 0);
  viewer_clear (&late, joined);
  camera_clear (&camera, sender);
}
GST_END_TEST;

/* More than the past of the test below has, and fewer than that and what is sent of it when it is asked for again and again. */
static gboolean
lose_first (const LossyDatagram *datagram, gpointer user)
{
  guint *n = user;

  return !datagram->up && datagram->rtp && (*n)++ < 12;
}

/* All that came of the past was lost: nothing but what the relay says of it can tell that there is something to ask for. */
GST_START_TEST (test_quiet_and_lost)
{
  GstElement *sender, *joined, *src;
  g_autofree gchar *uri = NULL;
  guint n_lost = 0, at;
  Camera camera;
  Viewer late;
  Lossy *way;

  way = lossy_new ("127.0.0.2", relay.port, lose_first, &n_lost);
  uri = g_strdup_printf (
      "natrelay://127.0.0.2:%u/door?tls-fingerprint=%s&auth-token=%s&transport=udp", relay.port,
      relay.fingerprint, relay.subscribe_token);
  sender = camera_new (&camera, SMALL, KEYS_ONLY);
  media_play (sender);
  camera_wait (&camera, 45);
  set_quiet (sender, TRUE);
  at = camera.n_sent;
  joined = viewer_new (&late, &camera, SOURCE, H264_BY_HAND);
  src = gst_bin_get_by_name (GST_BIN (joined), "relay");
  g_object_set (src, "uri", uri, NULL);
  gst_object_unref (src);
  media_play (joined);
  fail_unless (viewer_wait (&late, 1), "no picture; %u packets came", n_lost);
  fail_unless (late.last + FPS / 5 >= at, "%u is not the last of %u", late.last, at);
  viewer_clear (&late, joined);
  lossy_free (way);
  camera_clear (&camera, sender);
}
GST_END_TEST;

/* By how much the jitterbuffers of a viewer hold one track back for another, at most. */
static gint64
held_back (GstElement *viewer)
{
  GstIterator *it =
      gst_bin_iterate_all_by_element_factory_name (GST_BIN (viewer), "rtpjitterbuffer");
  GValue item = G_VALUE_INIT;
  gint64 most = 0, offset;

  while (gst_iterator_next (it, &item) == GST_ITERATOR_OK) {
    g_object_get (g_value_get_object (&item), "ts-offset", &offset, NULL);
    most = MAX (most, ABS (offset));
    g_value_reset (&item);
  }
  gst_iterator_free (it);
  return most;
}

/* A quiet picture's last packet is older than it seems; sound that goes on does not wait for that. */
GST_START_TEST (test_quiet_with_sound)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *sender, *joined;
  Flow before, sound, picture;
  gint64 offset;

  flow_init (&before);
  flow_init (&sound);
  flow_init (&picture);
  sender = media_launch (
      "natrelaysink name=relay wait-for-connection=true uri=\"%s\" videotestsrc is-live=true " SMALL
      " ! valve name=valve ! " X264 " ! rtph264pay mtu=1200 ! relay. "
      "audiotestsrc is-live=true ! opusenc ! identity name=tap ! rtpopuspay ! "
      "relay.",
      to);
  flow_watch (&before, sender, "tap");
  media_play (sender);
  fail_unless (flow_wait (&before, 150, PATIENCE_S));
  set_quiet (sender, TRUE);
  joined = media_launch ("natrelaysrc name=relay uri=\"%s\" relay.video_0 ! rtph264depay ! "
                         "identity name=picture ! fakesink relay.audio_0 ! identity name=sound ! "
                         "fakesink sync=false",
      from);
  flow_watch (&picture, joined, "picture");
  flow_watch (&sound, joined, "sound");
  media_play (joined);
  fail_unless (flow_wait (&picture, 2, PATIENCE_S), "%u pictures", flow_count (&picture));
  fail_unless (flow_wait (&sound, flow_count (&sound) + 100, PATIENCE_S), "the sound stops");
  offset = held_back (joined);
  g_print ("held back by %d ms\n", (int)(offset / 1000000));
  fail_unless (offset < 500 * (gint64)GST_MSECOND, "held back by %d ms", (int)(offset / 1000000));
  media_stop (joined);
  media_stop (sender);
  flow_clear (&before);
  flow_clear (&sound);
  flow_clear (&picture);
}
GST_END_TEST;

static int
compare (gconstpointer a, gconstpointer b)
{
  return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

#define JOINS_MAX 100

/* 95 of 100 are not more. */
static int
percentile (int *values, guint n)
{
  qsort (values, n, sizeof *values, compare);
  return values[(n * 95 + 99) / 100 - 1];
}

/* Much that moves: the encoder needs its whole rate. The second is for whoever has the time. */
static const struct {
  const gchar *film;
  guint kbps;
} films[] = {
    {"pattern=zone-plate kx2=12 ky2=12 kt=3 ! video/x-raw,width=640,height=360", 1000},
    {"pattern=zone-plate kx2=4 ky2=4 kt=3 ! video/x-raw,width=1920,height=1080", 5000},
};

/* Many joins at many ages, all with the last key frame first and then as late as who was there from the start.
 * NATRELAY_JOINS says how many; the figures are for whoever measures. */
GST_START_TEST (test_many)
{
  const gchar *text = g_getenv ("NATRELAY_JOINS");
  guint n = text != NULL ? (guint)CLAMP (atoi (text), 1, JOINS_MAX) : 3;
  int still[JOINS_MAX], live[JOINS_MAX], more[JOINS_MAX];
  gchar *encode = g_strdup_printf ("x264enc name=enc tune=zerolatency speed-preset=ultrafast "
                                   "bitrate=%u key-int-max=300 ! rtph264pay mtu=1200",
      films[__i__].kbps);
  GstElement *sender, *watched, *joined;
  Viewer early, late;
  Camera camera;

  if (__i__ > 0 && text == NULL)
    n = 1;
  sender = camera_new (&camera, films[__i__].film, encode);
  g_free (encode);
  watched = viewer_new (&early, &camera, SOURCE, H264_BY_HAND);
  media_play (watched);
  media_play (sender);
  camera_wait (&camera, 30);
  for (guint i = 0; i < n; i++) {
    gint64 connected;
    guint keys;

    joined = viewer_new (&late, &camera, SOURCE, H264_BY_HAND);
    media_play (joined);
    media_wait_element (joined, "natrelay-connected");
    connected = g_get_monotonic_time ();
    keys = camera.n_keys;
    fail_unless (viewer_wait (&late, 15), "%u pictures", late.n);
    fail_unless (late.first % 300 == 0, "%u is no key frame", late.first);
    fail_unless (camera.n_keys <= keys + 1, "the encoder was asked for key frames");
    still[i] = (int)((late.first_us - connected) / 1000);
    live[i] = (int)((late.second_us - connected) / 1000);
    more[i] = (int)((late.late_us - early.late_us) / 1000);
    g_print ("%u frames old: still after %d ms, live after %d ms, later by %d ms\n",
        late.second - late.first, still[i], live[i], more[i]);
    viewer_clear (&late, joined);
    g_usleep (g_random_int_range (0, 500) * 1000);
  }
  g_print ("95th percentile of %u joins: still %d ms, live %d ms, later by %d ms\n", n,
      percentile (still, n), percentile (live, n), percentile (more, n));
  viewer_clear (&early, watched);
  camera_clear (&camera, sender);
}
GST_END_TEST;

static Suite *
natrelayinstant_suite (void)
{
  Suite *s = suite_create ("natrelayinstant");
  TCase *tc = tcase_create ("general"), *codecs = tcase_create ("codecs");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_set_timeout (tc, 200);
  tcase_add_loop_test (tc, test_joins, 0, 1);
  tcase_add_test (tc, test_off);
  tcase_add_test (tc, test_leaves);
  tcase_add_loop_test (tc, test_publisher_returns, 0, 2);
  tcase_add_loop_test (tc, test_quiet, 0, G_N_ELEMENTS (quiet));
  tcase_add_test (tc, test_quiet_and_lost);
  tcase_add_test (tc, test_quiet_with_sound);
  tcase_add_loop_test (tc, test_many, 0, 1);
  /* To our elements they are all the same. */
  suite_add_tcase (s, codecs);
  tcase_set_tags (codecs, "codecs");
  tcase_add_checked_fixture (codecs, relay_begin, relay_end);
  tcase_set_timeout (codecs, 200);
  tcase_add_loop_test (codecs, test_joins, 1, G_N_ELEMENTS (ways));
  tcase_add_loop_test (codecs, test_many, 1, G_N_ELEMENTS (films));
  return s;
}

GST_CHECK_MAIN (natrelayinstant);
