/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What natrelaysink takes beside RTP: every kind of stream goes in without a payloader and comes out of
 * natrelaysrc as it was; what cannot go in is told in words. */

#include <gst/check/gstcheck.h>
#include <glib/gstdio.h>
#include <gst/video/video.h>
#include <string.h>

#include "media.h"

/* RFC 5737: an address where nobody is. */
#define NOWHERE "natrelay://192.0.2.1/door"

/* ---- what is inside ------------------------------------------------------ */

/* The first child of the element that a factory of this name made, or NULL. */
static GstElement *
find_child (GstElement *bin, const gchar *factory)
{
  GstIterator *it = gst_bin_iterate_all_by_element_factory_name (GST_BIN (bin), factory);
  GValue item = G_VALUE_INIT;
  GstElement *child = NULL;

  if (gst_iterator_next (it, &item) == GST_ITERATOR_OK) {
    child = g_value_dup_object (&item);
    g_value_unset (&item);
  }
  gst_iterator_free (it);
  return child;
}

static void
assert_child (GstElement *bin, const gchar *factory, gboolean there)
{
  GstElement *child = find_child (bin, factory);

  fail_unless ((child != NULL) == there, "%s is %s there", factory, there ? "not" : "still");
  gst_clear_object (&child);
}

/* plugs: names of factories, with blanks between them. */
static void
assert_plugged (GstElement *sink, const gchar *plugs)
{
  gchar **names = g_strsplit (plugs, " ", 0);

  for (guint i = 0; names[i] != NULL; i++)
    assert_child (sink, names[i], TRUE);
  for (guint i = 0; i < 2 && names[1] == NULL; i++)
    assert_child (sink, i == 0 ? "h264parse" : "aacparse", FALSE);
  g_strfreev (names);
}

/* ---- every format -------------------------------------------------------- */

#define VIDEO                                                                                      \
  "videotestsrc is-live=true pattern=ball ! "                                                      \
  "video/x-raw,format=I420,width=160,height=120,framerate=50/1"
#define SOUND   "audiotestsrc is-live=true wave=pink-noise samplesperbuffer=160"
#define H264    VIDEO " ! x264enc tune=zerolatency key-int-max=25"
#define H265    VIDEO " ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=25"
#define AVC     "h264parse ! video/x-h264,stream-format=avc,alignment=au"
#define HVC1    "h265parse ! video/x-h265,stream-format=hvc1,alignment=au"
#define TAP     "identity name=tap"
#define END     "fakesink sync=false async=false"
#define FRAMED  "aacparse ! audio/mpeg,stream-format=raw"
#define FORGETS "capssetter replace=true caps="

/* What goes in is followed at "tap", in the form in which it comes out at the receiver's. */
static const struct {
  const gchar *name;
  guint nal_codec;
  gsize unit;
  const gchar *send, *plugs, *receive;
} formats[] = {
    {"H.264 as encoded", 264, 0, H264 " ! tee name=t ! " AVC " ! " TAP " ! " END " t. ! queue",
        "rtph264pay", "rtph264depay ! " AVC},
    {"H.264 in length-prefixed units", 264, 0, H264 " ! " AVC " ! " TAP, "rtph264pay",
        "rtph264depay ! " AVC},
    {"H.264 of unknown form", 264, 0,
        H264 " ! video/x-h264,stream-format=byte-stream ! tee name=t ! " AVC " ! " TAP " ! " END
             " t. ! queue ! " FORGETS "video/x-h264",
        "h264parse rtph264pay", "rtph264depay ! " AVC},
    {"H.264 with parameter sets in band", 264, 0,
        H264 " ! tee name=t ! " AVC " ! " TAP " ! " END
             " t. ! queue ! h264parse ! video/x-h264,stream-format=avc3",
        "h264parse rtph264pay", "rtph264depay ! " AVC},
    {"H.265 as encoded", 265, 0, H265 " ! tee name=t ! " HVC1 " ! " TAP " ! " END " t. ! queue",
        "rtph265pay", "rtph265depay ! " HVC1},
    {"H.265 in length-prefixed units", 265, 0, H265 " ! " HVC1 " ! " TAP, "rtph265pay",
        "rtph265depay ! " HVC1},
    {"H.265 of unknown form", 265, 0,
        H265 " ! video/x-h265,stream-format=byte-stream ! tee name=t ! " HVC1 " ! " TAP " ! " END
             " t. ! queue ! " FORGETS "video/x-h265",
        "h265parse rtph265pay", "rtph265depay ! " HVC1},
    {"VP8", 0, 0, VIDEO " ! vp8enc deadline=1 keyframe-max-dist=25 ! " TAP, "rtpvp8pay",
        "rtpvp8depay"},
    {"VP9", 0, 0, VIDEO " ! vp9enc deadline=1 cpu-used=8 keyframe-max-dist=25 ! " TAP, "rtpvp9pay",
        "rtpvp9depay"},
    /* Its headers are written anew by the depayloader; the picture is not. */
    {"JPEG", 0, 0, VIDEO " ! jpegenc ! tee name=t ! jpegdec ! " TAP " ! " END " t. ! queue",
        "rtpjpegpay", "rtpjpegdepay ! jpegdec"},
    {"MPEG-TS", 0, 188, H264 " ! mpegtsmux alignment=6 ! " TAP, "rtpmp2tpay", "rtpmp2tdepay"},
    {"MPEG-TS in packets of unknown size", 0, 188,
        H264 " ! mpegtsmux alignment=6 ! tsparse alignment=6 ! " TAP " ! " FORGETS
             "video/mpegts,systemstream=true",
        "tsparse rtpmp2tpay", "rtpmp2tdepay"},
    {"Opus", 0, 0, SOUND " ! opusenc ! " TAP, "rtpopuspay", "rtpopusdepay"},
    {"AAC", 0, 0, SOUND " ! avenc_aac ! " TAP, "rtpmp4gpay", "rtpmp4gdepay"},
    {"AAC with a header on each frame", 0, 0,
        SOUND " ! avenc_aac ! aacparse ! audio/mpeg,stream-format=adts ! tee name=t ! " FRAMED
              " ! " TAP " ! " END " t. ! queue",
        "aacparse rtpmp4gpay", "rtpmp4gdepay"},
    {"MP3", 0, 0, SOUND " ! lamemp3enc ! mpegaudioparse ! " TAP, "rtpmpapay",
        "rtpmpadepay ! mpegaudioparse"},
    {"A-law", 0, 0, SOUND " ! alawenc ! " TAP, "rtppcmapay", "rtppcmadepay"},
    {"mu-law", 0, 0, SOUND " ! mulawenc ! " TAP, "rtppcmupay", "rtppcmudepay"},
    {"L16", 0, 0, SOUND " ! " TAP, "rtpL16pay", "rtpL16depay"},
    {"L24", 0, 0, SOUND " ! audioconvert ! audio/x-raw,format=S24BE ! " TAP, "rtpL24pay",
        "rtpL24depay"},
    {"G.722", 0, 0, SOUND " ! avenc_g722 ! " TAP, "rtpg722pay", "rtpg722depay"},
    {"AC-3", 0, 0, SOUND " ! avenc_ac3 ! " TAP, "rtpac3pay", "rtpac3depay ! ac3parse"},
};

#define UNITS 50

/* All from the first unit that arrives to the last, bit by bit. */
GST_START_TEST (test_format)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *sink;
  Side sender, receiver;

  side_init (&receiver, media_launch ("natrelaysrc latency=1000 uri=\"%s\" ! %s ! " TAP " ! " END,
                            from, formats[__i__].receive));
  side_init (
      &sender, media_launch ("%s ! natrelaysink name=s uri=\"%s\"", formats[__i__].send, to));
  sink = gst_bin_get_by_name (GST_BIN (sender.pipeline), "s");
  sender.flow.nal_codec = receiver.flow.nal_codec = formats[__i__].nal_codec;
  sender.flow.unit = receiver.flow.unit = formats[__i__].unit;
  side_begin (&sender, &receiver);
  fail_unless (flow_wait (&receiver.flow, UNITS, PATIENCE_S), "%s: %u units arrived of %u sent",
      formats[__i__].name, flow_count (&receiver.flow), flow_count (&sender.flow));
  assert_plugged (sink, formats[__i__].plugs);
  side_end (&sender);
  side_assert_whole (&receiver, &sender, UNITS);
  gst_object_unref (sink);
  side_clear (&sender);
  side_clear (&receiver);
}
GST_END_TEST;

/* ---- several tracks, changes --------------------------------------------- */

/* Two encoders of one kind, whose payloaders would choose the same payload type. */
GST_START_TEST (test_two_of_a_kind)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *receiver =
      media_launch ("natrelaysrc name=r latency=1000 uri=\"%s\" "
                    "r.video_0 ! rtph264depay ! " AVC " ! identity name=a ! " END
                    " r.video_1 ! rtph264depay ! " AVC " ! identity name=b ! " END,
          from);
  GstElement *sender =
      media_launch ("natrelaysink name=s uri=\"%s\" " H264 " ! " AVC " ! identity name=a ! s. " H264
                    " bitrate=500 ! " AVC " ! identity name=b ! s.",
          to);
  Flow sent[2], received[2];

  for (guint i = 0; i < 2; i++) {
    flow_init (&sent[i]);
    flow_init (&received[i]);
    sent[i].nal_codec = received[i].nal_codec = 264;
    flow_watch (&sent[i], sender, i == 0 ? "a" : "b");
    flow_watch (&received[i], receiver, i == 0 ? "a" : "b");
  }
  media_play (receiver);
  media_play (sender);
  for (guint i = 0; i < 2; i++)
    fail_unless (flow_wait (&received[i], UNITS, PATIENCE_S), "track %u stands still", i);
  gst_element_send_event (sender, gst_event_new_eos ());
  media_wait_eos (sender);
  for (guint i = 0; i < 2; i++)
    fail_unless (
        flow_wait_last (&received[i], &sent[i], PATIENCE_S), "the end of track %u is missing", i);
  media_stop (sender);
  media_stop (receiver);
  for (guint i = 0; i < 2; i++) {
    flow_assert_suffix (&received[i], &sent[i], UNITS);
    flow_clear (&sent[i]);
    flow_clear (&received[i]);
  }
}
GST_END_TEST;

/* A file's tracks, each on a pad that it asked for when it came up. */
GST_START_TEST (test_file)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  gchar *dir = g_dir_make_tmp ("natrelay-input-XXXXXX", NULL);
  gchar *path = g_build_filename (dir, "film.mp4", NULL);
  GstElement *receiver = media_launch ("natrelaysrc name=r latency=1000 uri=\"%s\" "
                                       "r.video_0 ! rtph264depay ! " AVC " ! identity name=v ! " END
                                       " r.audio_0 ! rtpmp4gdepay ! identity name=a ! " END,
      from);
  GstElement *writer, *sender;
  Flow video, audio;

  writer = media_launch ("mp4mux name=m ! filesink location=%s "
                         "videotestsrc num-buffers=100 ! video/x-raw,width=160,height=120,"
                         "framerate=50/1 ! x264enc key-int-max=10 ! m. "
                         "audiotestsrc num-buffers=88 ! audio/x-raw,rate=44100 ! avenc_aac ! m.",
      path);
  media_play (writer);
  media_wait_eos (writer);
  media_stop (writer);
  flow_init (&video);
  flow_init (&audio);
  flow_watch (&video, receiver, "v");
  flow_watch (&audio, receiver, "a");
  media_play (receiver);
  media_wait_element (receiver, "natrelay-connected");
  sender = media_launch (
      "filesrc location=%s ! parsebin : natrelaysink wait-for-connection=true uri=\"%s\"", path,
      to);
  media_play (sender);
  fail_unless (flow_wait (&video, UNITS, PATIENCE_S), "%u pictures", flow_count (&video));
  fail_unless (flow_wait (&audio, UNITS, PATIENCE_S), "%u frames of sound", flow_count (&audio));
  media_wait_eos (sender);
  media_stop (sender);
  media_stop (receiver);
  flow_clear (&video);
  flow_clear (&audio);
  g_remove (path);
  g_rmdir (dir);
  g_free (path);
  g_free (dir);
}
GST_END_TEST;

/* Until the test has seen enough of it. */
#define ONE "videotestsrc name=one is-live=true pattern=ball ! video/x-raw,"
#define TWO "videotestsrc name=two is-live=true pattern=ball ! video/x-raw,"

static void
end_part (GstElement *sender, const gchar *name)
{
  GstElement *part = gst_bin_get_by_name (GST_BIN (sender), name);

  gst_element_send_event (part, gst_event_new_eos ());
  gst_object_unref (part);
}

/* The picture grows while it plays: the payloader stays, and no picture is lost. */
GST_START_TEST (test_resolution_changes)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  Side sender, receiver;

  side_init (&receiver,
      media_launch (
          "natrelaysrc latency=1000 uri=\"%s\" ! rtph264depay ! " AVC " ! " TAP " ! " END, from));
  side_init (&sender,
      media_launch (
          "concat name=c ! " AVC " ! " TAP " ! natrelaysink name=s uri=\"%s\" " ONE
          "width=160,height=120,framerate=50/1 ! x264enc tune=zerolatency key-int-max=10 ! "
          "c. " TWO
          "width=320,height=240,framerate=50/1 ! x264enc tune=zerolatency key-int-max=10 ! c.",
          to));
  sender.flow.nal_codec = receiver.flow.nal_codec = 264;
  side_begin (&sender, &receiver);
  fail_unless (
      flow_wait (&receiver.flow, 10, PATIENCE_S), "%u pictures", flow_count (&receiver.flow));
  end_part (sender.pipeline, "one");
  fail_unless (flow_wait (&receiver.flow, flow_count (&sender.flow) + 25, PATIENCE_S),
      "%u pictures of %u", flow_count (&receiver.flow), flow_count (&sender.flow));
  end_part (sender.pipeline, "two");
  media_wait_eos (sender.pipeline);
  side_assert_whole (&receiver, &sender, 25);
  side_clear (&sender);
  side_clear (&receiver);
}
GST_END_TEST;

/* Another codec: another payloader, and nothing of the first is left. */
GST_START_TEST (test_codec_changes)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  Side sender, receiver; /* of the second kind */
  GstElement *sink;
  Flow first;

  side_init (&receiver,
      media_launch (
          "natrelaysrc name=r latency=1000 uri=\"%s\" "
          "r. ! application/x-rtp,encoding-name=H264 ! rtph264depay ! identity name=a ! " END
          " r. ! application/x-rtp,encoding-name=VP8 ! rtpvp8depay ! " TAP " ! " END,
          from));
  side_init (&sender,
      media_launch ("concat name=c ! natrelaysink name=s uri=\"%s\" " ONE
                    "width=160,height=120,framerate=50/1 ! x264enc tune=zerolatency key-int-max=10 "
                    "! video/x-h264,stream-format=byte-stream ! " FORGETS "video/x-h264 ! c. " TWO
                    "width=160,height=120,framerate=50/1 ! vp8enc deadline=1 keyframe-max-dist=10 "
                    "! " TAP " ! c.",
          to));
  sink = gst_bin_get_by_name (GST_BIN (sender.pipeline), "s");
  flow_init (&first);
  flow_watch (&first, receiver.pipeline, "a");
  side_begin (&sender, &receiver);
  fail_unless (
      flow_wait (&first, 5, PATIENCE_S), "%u pictures of the first kind", flow_count (&first));
  end_part (sender.pipeline, "one");
  fail_unless (flow_wait (&receiver.flow, 5, PATIENCE_S), "%u pictures of the second kind",
      flow_count (&receiver.flow));
  end_part (sender.pipeline, "two");
  media_wait_eos (sender.pipeline);
  side_assert_whole (&receiver, &sender, 5);
  assert_child (sink, "rtpvp8pay", TRUE);
  assert_child (sink, "rtph264pay", FALSE);
  assert_child (sink, "h264parse", FALSE);
  gst_object_unref (sink);
  side_clear (&sender);
  side_clear (&receiver);
  flow_clear (&first);
}
GST_END_TEST;

/* ---- feedback and size --------------------------------------------------- */

static GstPadProbeReturn
note_wish (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  if (gst_video_event_is_force_key_unit (GST_PAD_PROBE_INFO_EVENT (info)))
    g_atomic_int_set ((gint *)user, TRUE);
  return GST_PAD_PROBE_OK;
}

/* Who watches wants a picture: the wish goes through relay and payloader to the encoder. */
GST_START_TEST (test_wish_for_a_picture)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *receiver = media_launch (
      "natrelaysrc latency=1000 uri=\"%s\" ! rtph264depay name=d ! " TAP " ! " END, from);
  GstElement *sender = media_launch (
      VIDEO " ! x264enc name=e tune=zerolatency key-int-max=100000 ! natrelaysink uri=\"%s\"", to);
  GstElement *encoder = gst_bin_get_by_name (GST_BIN (sender), "e");
  GstElement *depayloader = gst_bin_get_by_name (GST_BIN (receiver), "d");
  GstPad *pad = gst_element_get_static_pad (encoder, "src");
  GstPad *wisher = gst_element_get_static_pad (depayloader, "sink");
  gint wished = FALSE;
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, receiver, "tap");
  media_play (sender);
  media_play (receiver);
  fail_unless (flow_wait (&flow, 5, PATIENCE_S), "nothing arrives");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, note_wish, &wished, NULL);
  for (guint i = 0; i < 20 && !g_atomic_int_get (&wished); i++) {
    gst_pad_push_event (
        wisher, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE, 0));
    flow_wait (&flow, flow_count (&flow) + 25, 2);
  }
  fail_unless (g_atomic_int_get (&wished), "the encoder was not asked");
  gst_object_unref (wisher);
  gst_object_unref (pad);
  gst_object_unref (depayloader);
  gst_object_unref (encoder);
  media_stop (receiver);
  media_stop (sender);
  flow_clear (&flow);
}
GST_END_TEST;

typedef struct {
  GMutex lock;
  GCond cond;
  gsize largest;
  guint n;
} Sizes;

static void
note_size (GstElement *identity, GstBuffer *buffer, gpointer user)
{
  Sizes *sizes = user;

  g_mutex_lock (&sizes->lock);
  sizes->largest = MAX (sizes->largest, gst_buffer_get_size (buffer));
  sizes->n++;
  g_cond_broadcast (&sizes->cond);
  g_mutex_unlock (&sizes->lock);
}

/* Of the next 100 packets, after some that may be under way. */
static gsize
largest_packet (Sizes *sizes)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;
  gsize largest;

  for (guint i = 0; i < 2; i++) {
    g_mutex_lock (&sizes->lock);
    sizes->largest = sizes->n = 0;
    while (ok && sizes->n < 100)
      ok = g_cond_wait_until (&sizes->cond, &sizes->lock, until);
    largest = sizes->largest;
    g_mutex_unlock (&sizes->lock);
    fail_unless (ok, "no packets");
  }
  return largest;
}

static void
assert_mtu_in_stats (GstElement *sink, guint mtu)
{
  fail_unless_equals_uint64 (media_stat (sink, "mtu"), mtu);
}

/* 40 bytes less than a datagram may have, at once. */
GST_START_TEST (test_mtu)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *receiver =
      media_launch ("natrelaysrc latency=1000 uri=\"%s\" ! " TAP " ! " END, from);
  GstElement *sender = media_launch (
      "videotestsrc is-live=true pattern=snow ! video/x-raw,format=I420,width=320,height=240 ! "
      "jpegenc ! natrelaysink name=s uri=\"%s\"",
      to);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (sender), "s");
  GstElement *tap = gst_bin_get_by_name (GST_BIN (receiver), "tap");
  static Sizes sizes;

  g_object_set (tap, "signal-handoffs", TRUE, NULL);
  g_signal_connect (tap, "handoff", G_CALLBACK (note_size), &sizes);
  media_play (receiver);
  media_play (sender);
  fail_unless_equals_uint64 (largest_packet (&sizes), 1160);
  assert_mtu_in_stats (sink, 1200);
  g_object_set (sink, "mtu", 600, NULL);
  fail_unless_equals_uint64 (largest_packet (&sizes), 560);
  assert_mtu_in_stats (sink, 600);
  gst_object_unref (tap);
  gst_object_unref (sink);
  media_stop (sender);
  media_stop (receiver);
}
GST_END_TEST;

/* ---- a pad's life -------------------------------------------------------- */

/* Whatever was plugged is gone after READY, and is there anew in the next life. */
GST_START_TEST (test_again)
{
  GstElement *pipeline =
      media_launch (H264 " ! video/x-h264,stream-format=byte-stream ! " FORGETS
                         "video/x-h264 ! " TAP " ! natrelaysink name=s uri=" NOWHERE);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, pipeline, "tap");
  for (guint i = 0; i < 4; i++) {
    media_play (pipeline);
    fail_unless (flow_wait (&flow, flow_count (&flow) + 10, PATIENCE_S), "life %u", i);
    assert_child (sink, "rtph264pay", TRUE);
    assert_child (sink, "h264parse", TRUE);
    gst_element_set_state (pipeline, i % 2 == 0 ? GST_STATE_NULL : GST_STATE_READY);
    assert_child (sink, "rtph264pay", FALSE);
    assert_child (sink, "h264parse", FALSE);
  }
  gst_object_unref (sink);
  media_stop (pipeline);
  flow_clear (&flow);
}
GST_END_TEST;

/* One of two tracks goes while both play. */
GST_START_TEST (test_release)
{
  GstElement *pipeline = media_launch ("natrelaysink name=s uri=" NOWHERE " " H264 " ! " TAP
                                       " ! s. " SOUND " ! opusenc ! identity name=a ! s.");
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  GstElement *tap = gst_bin_get_by_name (GST_BIN (pipeline), "tap");
  GstPad *src = gst_element_get_static_pad (tap, "src"), *pad = gst_pad_get_peer (src);
  Flow video, audio;

  flow_init (&video);
  flow_init (&audio);
  flow_watch (&video, pipeline, "tap");
  flow_watch (&audio, pipeline, "a");
  media_play (pipeline);
  fail_unless (flow_wait (&video, 10, PATIENCE_S) && flow_wait (&audio, 10, PATIENCE_S));
  assert_child (sink, "rtph264pay", TRUE);
  gst_pad_set_active (src, FALSE);
  gst_pad_unlink (src, pad);
  gst_element_release_request_pad (sink, pad);
  assert_child (sink, "rtph264pay", FALSE);
  assert_child (sink, "rtpopuspay", TRUE);
  fail_unless (
      flow_wait (&audio, flow_count (&audio) + 10, PATIENCE_S), "the other track stands still");
  gst_object_unref (pad);
  gst_object_unref (src);
  gst_object_unref (tap);
  gst_object_unref (sink);
  media_stop (pipeline);
  flow_clear (&video);
  flow_clear (&audio);
}
GST_END_TEST;

/* ---- what a pad says ----------------------------------------------------- */

static const struct {
  const gchar *filter, *first; /* NULL: nothing */
} answers[] = {
    {"video/x-raw", NULL},
    {"audio/x-raw, format=S16LE", NULL},
    {"text/x-raw", NULL},
    {"application/x-rtp, media=video", "application/x-rtp, media=video"},
    {"audio/x-raw, format={ S16LE, S16BE }", "audio/x-raw, format=S16BE"},
    /* What needs no parser comes first. */
    {"audio/mpeg, mpegversion=4", "audio/mpeg, mpegversion=4, stream-format=raw"},
    {"audio/mpeg, mpegversion=4, stream-format=adts",
        "audio/mpeg, mpegversion=4, stream-format=adts"},
    {"video/x-h264, stream-format=avc3", "video/x-h264, stream-format=avc3"},
    {"video/x-av1", "video/x-av1"},
};

GST_START_TEST (test_caps)
{
  GstElement *sink = gst_element_factory_make ("natrelaysink", NULL);
  GstPad *pad = gst_element_request_pad_simple (sink, "sink_%u");
  GstCaps *filter = gst_caps_from_string (answers[__i__].filter), *first;
  GstCaps *caps = gst_pad_query_caps (pad, filter);

  if (answers[__i__].first == NULL) {
    fail_unless (gst_caps_is_empty (caps), "%s: %" GST_PTR_FORMAT, answers[__i__].filter, caps);
  } else {
    first = gst_caps_from_string (answers[__i__].first);
    caps = gst_caps_truncate (caps);
    fail_unless (gst_caps_is_subset (caps, first) && !gst_caps_is_empty (caps),
        "%s: %" GST_PTR_FORMAT, answers[__i__].filter, caps);
    gst_caps_unref (first);
  }
  gst_caps_unref (caps);
  gst_caps_unref (filter);
  gst_object_unref (pad);
  gst_object_unref (sink);
}
GST_END_TEST;

static const struct {
  const gchar *caps;
  const gchar *hidden; /* as if it were not installed; or NULL */
  gint code;
  const gchar *says;
} refusals[] = {
    {"video/x-raw,format=I420,width=16,height=16,framerate=5/1", NULL, GST_STREAM_ERROR_WRONG_TYPE,
        "raw video must be encoded"},
    {"audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved", NULL,
        GST_STREAM_ERROR_WRONG_TYPE, "raw sound must be encoded"},
    {"application/x-own,a=1", NULL, GST_STREAM_ERROR_WRONG_TYPE, "application/x-own, a=(int)1"},
    {"video/x-vp8", "rtpvp8pay", GST_STREAM_ERROR_CODEC_NOT_FOUND,
        "rtpvp8pay, which comes with GStreamer's \"good\""},
    {"video/x-vp8", "rtpvp8pay", GST_STREAM_ERROR_CODEC_NOT_FOUND, "(it is video/x-vp8)"},
    {"video/x-av1", "rtpav1pay", GST_STREAM_ERROR_CODEC_NOT_FOUND, "Rust"},
    {"video/x-h264", "h264parse", GST_STREAM_ERROR_CODEC_NOT_FOUND,
        "h264parse, which comes with GStreamer's \"bad\""},
    {"audio/x-alaw,rate=8001,channels=1", NULL, GST_STREAM_ERROR_FORMAT, "rtppcmapay"},
};

/* One error, which says what is wrong and what would help. */
GST_START_TEST (test_refuses)
{
  GstRegistry *registry = gst_registry_get ();
  GstPluginFeature *hidden = NULL;
  GstElement *pipeline;
  guint rank = 0;

  if (refusals[__i__].hidden != NULL)
    hidden = gst_registry_lookup_feature (registry, refusals[__i__].hidden);
  if (hidden != NULL) {
    /* Its plugin would bring it back when it is loaded. */
    gst_object_unref (gst_plugin_feature_load (hidden));
    rank = gst_plugin_feature_get_rank (hidden);
    gst_plugin_feature_set_rank (hidden, GST_RANK_NONE);
    gst_registry_remove_feature (registry, hidden);
  }
  pipeline = media_launch ("fakesrc num-buffers=5 sizetype=fixed sizemax=100 format=time ! "
                           "typefind force-caps=\"%s\" ! natrelaysink name=s uri=" NOWHERE,
      refusals[__i__].caps);
  media_play (pipeline);
  media_assert_error (pipeline, "s", GST_STREAM_ERROR, refusals[__i__].code, refusals[__i__].says);
  media_stop (pipeline);
  if (hidden != NULL) {
    gst_plugin_feature_set_rank (hidden, rank);
    gst_registry_add_feature (registry, hidden);
    gst_object_unref (hidden);
  }
}
GST_END_TEST;

/* A payloader of one's own is taken before GStreamer's if its rank is higher. */
GST_START_TEST (test_rank_decides)
{
  GstPluginFeature *feature = gst_registry_lookup_feature (gst_registry_get (), "rtpmp4apay");
  GstElement *pipeline, *sink;
  guint rank;
  Flow flow;

  fail_unless (feature != NULL);
  rank = gst_plugin_feature_get_rank (feature);
  gst_plugin_feature_set_rank (feature, GST_RANK_PRIMARY + 10);
  pipeline = media_launch (SOUND " ! avenc_aac ! " TAP " ! natrelaysink name=s uri=" NOWHERE);
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  flow_init (&flow);
  flow_watch (&flow, pipeline, "tap");
  media_play (pipeline);
  fail_unless (flow_wait (&flow, 5, PATIENCE_S));
  assert_child (sink, "rtpmp4apay", TRUE);
  assert_child (sink, "rtpmp4gpay", FALSE);
  gst_plugin_feature_set_rank (feature, rank);
  gst_object_unref (feature);
  gst_object_unref (sink);
  media_stop (pipeline);
  flow_clear (&flow);
}
GST_END_TEST;

/* A pad that is linked to one of sink's, and its caps in store. */
static GstPad *
store_caps (GstElement *sink, const gchar *name, const gchar *text)
{
  GstPad *pad = gst_pad_new (NULL, GST_PAD_SRC);
  GstPad *peer = gst_element_request_pad_simple (sink, name);
  GstCaps *caps = gst_caps_from_string (text);
  GstEvent *start = gst_event_new_stream_start (name), *event = gst_event_new_caps (caps);

  gst_pad_set_active (pad, TRUE);
  fail_unless (gst_pad_link (pad, peer) == GST_PAD_LINK_OK);
  fail_unless (gst_pad_store_sticky_event (pad, start) == GST_FLOW_OK);
  fail_unless (gst_pad_store_sticky_event (pad, event) == GST_FLOW_OK);
  gst_event_unref (start);
  gst_event_unref (event);
  gst_caps_unref (caps);
  gst_object_unref (peer);
  return pad;
}

/* A demuxer's one thread waits with the first track's first packet: what the second is, is known before. */
GST_START_TEST (test_one_thread)
{
  GstElement *sink = media_launch ("natrelaysink wait-for-connection=true uri=" NOWHERE);
  GstPad *video = store_caps (sink, "sink_0", "video/x-vp8"), *peer;
  GstPad *sound = store_caps (sink, "sink_1", "audio/x-opus,channel-mapping-family=0");

  fail_unless (gst_element_set_state (sink, GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE);
  fail_unless (
      gst_pad_push_event (video, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, NULL)));
  peer = gst_pad_get_peer (sound);
  fail_unless (gst_pad_has_current_caps (peer));
  gst_object_unref (peer);
  media_stop (sink);
  gst_object_unref (video);
  gst_object_unref (sound);
}
GST_END_TEST;

static Suite *
natrelayinput_suite (void)
{
  Suite *s = suite_create ("natrelayinput");
  TCase *tc = tcase_create ("with a relay"), *alone = tcase_create ("alone");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_loop_test (tc, test_format, 0, G_N_ELEMENTS (formats));
  tcase_add_test (tc, test_two_of_a_kind);
  tcase_add_test (tc, test_file);
  tcase_add_test (tc, test_resolution_changes);
  tcase_add_test (tc, test_codec_changes);
  tcase_add_test (tc, test_wish_for_a_picture);
  tcase_add_test (tc, test_mtu);
  suite_add_tcase (s, alone);
  tcase_add_test (alone, test_again);
  tcase_add_test (alone, test_release);
  tcase_add_loop_test (alone, test_caps, 0, G_N_ELEMENTS (answers));
  tcase_add_loop_test (alone, test_refuses, 0, G_N_ELEMENTS (refusals));
  tcase_add_test (alone, test_rank_decides);
  tcase_add_test (alone, test_one_thread);
  return s;
}

GST_CHECK_MAIN (natrelayinput);
