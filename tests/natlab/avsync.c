/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Flashes and beeps, and when they are shown.
 *
 *     avsync send --uri U       a black film with every frame's number in it; each second a white square for
 *                               three frames, and a beep that begins with the first of them
 *     avsync receive --uri U    decodes, and prints a line for each frame, flash and beep:
 *
 *     frame NUMBER DUE SHOWN        flash NUMBER DUE SHOWN        beep DUE SHOWN
 *
 * DUE is when the pipeline means to show it (its running time, with base time and latency), to the
 * sample for a beep; SHOWN is when a sink that waits for the clock let it go. Both are nanoseconds
 * of the machine's monotonic clock, so that two receivers can be compared. So are those of the lines
 * "playing TIME" and "connected TIME". sync.py and instant.py judge them.
 *
 * Where two cores cannot encode, and decode twice:
 *
 *     avsync film --film F      encodes such a film, with much that moves, to a file
 *     avsync send --film F …    sends it by the clock. No encoder, so nobody to ask for a key frame
 *     avsync receive --packets  decodes no picture: a frame's number is its RTP timestamp, and no sound
 *     avsync decode --film F    prints "rate N", the pictures that are decoded in a second, and "kbps N" of the film */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <gst/base/gstbasesink.h>
#include <gst/gst.h>
#include <gst/rtp/rtp.h>
#include <gst/video/video.h>

#define BITS                                                                                       \
  16 /* of a number, in the lowest strip of the picture, each a square as wide as can be */
#define FPS         30
#define FLASH       3 /* frames */
#define RATE        48000
#define BEEP        (RATE / 10) /* samples */
#define BEEP_PERIOD 48          /* samples: 1 kHz */
#define WHITE       235
#define BLACK       16
#define LOUD        3000       /* of 32767: the beep is 16000 */
#define SILENCE     (RATE / 4) /* samples between two beeps at least */
#define GAP         (100 * GST_MSECOND)

typedef struct {
  GMainLoop *loop;
  GstElement *pipeline, *end;
  guint frames;         /* drawn, or decoded by decode */
  gint64 begun_us;      /* decode: the first of them */
  gpointer first_flash; /* atomic: PTS of the first frame drawn in ns; -1: none yet */
  gboolean white;
  guint quiet;          /* samples since the last loud one, or since sound began */
  gint64 sound_goes_on; /* ns, when the next buffer of sound is due */
  int code;
} Sync;

static char *opt_uri, *opt_properties, *opt_film;
static double opt_seconds;
static int opt_first, opt_width = 640, opt_height = 360, opt_kbps = 1000, opt_gop = 10;
static gboolean opt_packets;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri, "natrelay://…", "URI"},
    {"properties", 0, 0, G_OPTION_ARG_STRING, &opt_properties, "of the element, as for gst-launch",
        "TEXT"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "end after S (default: at SIGINT)", "S"},
    {"first", 0, 0, G_OPTION_ARG_INT, &opt_first, "number of the first frame, a multiple of 30",
        "N"},
    {"film", 0, 0, G_OPTION_ARG_FILENAME, &opt_film, "Matroska, H.264 and Opus", "FILE"},
    {"width", 0, 0, G_OPTION_ARG_INT, &opt_width, "of a film that is made (640)", "PIXELS"},
    {"height", 0, 0, G_OPTION_ARG_INT, &opt_height, "of it (360)", "PIXELS"},
    {"kbps", 0, 0, G_OPTION_ARG_INT, &opt_kbps, "of it (1000)", "KBIT/S"},
    {"gop", 0, 0, G_OPTION_ARG_INT, &opt_gop, "of it: from one key frame to the next (10)", "S"},
    {"packets", 0, 0, G_OPTION_ARG_NONE, &opt_packets, "receive without decoding", NULL}, {NULL}};

static void
tell (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  vprintf (format, args);
  va_end (args);
  printf ("\n");
  fflush (stdout);
}

/* ---- sending --------------------------------------------------------------- */

#define BEEPS                                                                                      \
  "audiotestsrc is-live=%s wave=silence samplesperbuffer=960 %s ! "                                \
  "audio/x-raw,format=S16LE,rate=48000,channels=1 ! identity name=beep ! queue ! opusenc ! "

#define SEND                                                                                       \
  "videotestsrc is-live=true pattern=black ! "                                                     \
  "video/x-raw,format=GRAY8,width=320,height=240,framerate=30/1 ! identity name=draw ! "           \
  "videoconvert ! video/x-raw,format=I420 ! queue ! "                                              \
  "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=800 threads=1 ! "        \
  "rtph264pay pt=96 mtu=1160 ! natrelaysink name=end %s " BEEPS "rtpopuspay pt=97 ! end."

/* Its number is what a frame's RTP timestamp says, as they begin with 0. */
#define SEND_FILM                                                                                  \
  "filesrc location=\"%s\" ! matroskademux name=film "                                             \
  "film.video_0 ! queue ! h264parse config-interval=-1 ! clocksync ! "                             \
  "rtph264pay pt=96 mtu=1160 timestamp-offset=0 ! natrelaysink name=end %s "                       \
  "film.audio_0 ! queue ! clocksync ! rtpopuspay pt=97 ! end."

#define MAKE_FILM                                                                                  \
  "videotestsrc pattern=zone-plate kx2=12 ky2=12 kt=3 num-buffers=%d ! "                           \
  "video/x-raw,format=GRAY8,width=%d,height=%d,framerate=30/1 ! identity name=draw ! "             \
  "videoconvert ! video/x-raw,format=I420 ! queue ! "                                              \
  "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=%d bitrate=%d ! h264parse ! "       \
  "queue max-size-time=0 ! matroskamux name=mux ! filesink name=end location=\"%s\" " BEEPS        \
  "queue max-size-time=0 ! mux."

static void
draw_square (GstVideoFrame *frame, guint x, guint y, guint side, gboolean white)
{
  gint stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0);
  guint8 *data = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA (frame, 0) + y * stride + x;

  for (guint i = 0; i < side; i++)
    memset (data + i * stride, white ? WHITE : BLACK, side);
}

static void
draw_frame (GstVideoFrame *frame, guint number, gboolean white)
{
  guint width = GST_VIDEO_FRAME_WIDTH (frame), height = GST_VIDEO_FRAME_HEIGHT (frame);
  guint block = width / BITS, square = height / 3;

  draw_square (frame, (width - square) / 2, (height - square) / 2, square, white);
  for (guint bit = 0; bit < BITS; bit++)
    draw_square (frame, bit * block, height - block, block, number >> bit & 1);
}

static gboolean
map_picture (GstVideoFrame *frame, GstBuffer *buffer, GstPad *pad, GstMapFlags how)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  GstVideoInfo video;
  gboolean ok = caps != NULL && gst_video_info_from_caps (&video, caps) &&
                gst_video_frame_map (frame, &video, buffer, how);

  gst_clear_caps (&caps);
  return ok;
}

static GstPadProbeReturn
on_draw (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Sync *sync = user;
  GstBuffer *buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));
  GstVideoFrame frame;

  GST_PAD_PROBE_INFO_DATA (info) = buffer;
  if (sync->frames == 0)
    g_atomic_pointer_set (&sync->first_flash, GSIZE_TO_POINTER (GST_BUFFER_PTS (buffer)));
  if (map_picture (&frame, buffer, pad, GST_MAP_READWRITE)) {
    draw_frame (&frame, sync->frames + opt_first, sync->frames % FPS < FLASH);
    gst_video_frame_unmap (&frame);
  }
  sync->frames++;
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
on_beep (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Sync *sync = user;
  GstBuffer *buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));
  GstMapInfo map;

  gint64 flash = (gint64)GPOINTER_TO_SIZE (g_atomic_pointer_get (&sync->first_flash));
  gint64 since = (gint64)GST_BUFFER_PTS (buffer) - flash;

  GST_PAD_PROBE_INFO_DATA (info) = buffer;
  /* The sources begin when they can, each at a time of its own: their time stamps are the truth. */
  if (flash >= 0 && since >= 0 && gst_buffer_map (buffer, &map, GST_MAP_READWRITE)) {
    gint16 *samples = (gint16 *)map.data;
    guint64 first = gst_util_uint64_scale_round ((guint64)since, RATE, GST_SECOND);
    for (gsize i = 0; i < map.size / 2; i++) {
      guint64 at = (first + i) % RATE;
      samples[i] = at < BEEP ? (gint16)(16000 * sin (2 * G_PI * at / BEEP_PERIOD)) : 0;
    }
    gst_buffer_unmap (buffer, &map);
  }
  return GST_PAD_PROBE_OK;
}

static void
add_probe (Sync *sync, const char *name, GstPadProbeCallback callback)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (sync->pipeline), name);
  GstPad *pad = gst_element_get_static_pad (element, "src");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, callback, sync, NULL);
  gst_object_unref (pad);
  gst_object_unref (element);
}

/* ---- receiving ------------------------------------------------------------- */

#define RECEIVE                                                                                    \
  "natrelaysrc name=end %s "                                                                       \
  "end.video_0 ! queue ! decodebin ! videoconvert ! video/x-raw,format=I420 ! "                    \
  "fakesink sync=true name=screen signal-handoffs=true "                                           \
  "end.audio_0 ! queue ! decodebin ! audioconvert ! audioresample ! "                              \
  "audio/x-raw,format=S16LE,rate=48000,channels=1 ! "                                              \
  "fakesink sync=true name=speaker signal-handoffs=true"

#define RECEIVE_PACKETS                                                                            \
  "natrelaysrc name=end %s end.video_0 ! queue ! fakesink sync=true name=screen "                  \
  "signal-handoffs=true"

/* One decoder that is as busy as a live one, which does not decode several pictures at a time. */
#define DECODE                                                                                     \
  "filesrc location=\"%s\" ! matroskademux ! h264parse ! avdec_h264 thread-type=slice ! "          \
  "videoconvert ! video/x-raw,format=I420 ! fakesink sync=false name=screen signal-handoffs=true"

/* When the pipeline means to show what has @buffer's time, on the machine's monotonic clock. */
static gint64
due (GstElement *sink, GstBuffer *buffer)
{
  GstSegment *segment = &GST_BASE_SINK (sink)->segment;

  return (gint64)(gst_segment_to_running_time (segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer)) +
                  gst_element_get_base_time (sink) +
                  gst_base_sink_get_latency (GST_BASE_SINK (sink)));
}

static gint64
shown (GstElement *sink)
{
  GstClock *clock = gst_element_get_clock (sink);
  gint64 now = clock != NULL ? (gint64)gst_clock_get_time (clock) : 0;

  g_clear_pointer (&clock, gst_object_unref);
  return now;
}

static gboolean
is_white (GstVideoFrame *frame, guint x, guint y)
{
  return ((guint8 *)GST_VIDEO_FRAME_PLANE_DATA (
             frame, 0))[y * GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0) + x] > 128;
}

static guint
read_number (GstVideoFrame *frame)
{
  guint block = GST_VIDEO_FRAME_WIDTH (frame) / BITS, number = 0;

  for (guint bit = 0; bit < BITS; bit++)
    number |=
        (guint)is_white (frame, bit * block + block / 2, GST_VIDEO_FRAME_HEIGHT (frame) - block / 2)
        << bit;
  return number;
}

static void
on_frame (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user)
{
  Sync *sync = user;
  gint64 now = shown (sink);
  GstVideoFrame frame;
  gboolean white;
  guint number;

  if (!map_picture (&frame, buffer, pad, GST_MAP_READ))
    return;
  number = read_number (&frame);
  white =
      is_white (&frame, GST_VIDEO_FRAME_WIDTH (&frame) / 2, GST_VIDEO_FRAME_HEIGHT (&frame) / 2);
  gst_video_frame_unmap (&frame);
  /* Nor is a picture in the middle of a flash the beginning of one. */
  if (white && !sync->white && number % FPS == 0)
    tell ("flash %u %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, number, due (sink, buffer), now);
  tell ("frame %u %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, number, due (sink, buffer), now);
  sync->white = white;
}

/* The last packet of a frame. */
static void
on_packet (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user)
{
  gint64 now = shown (sink);
  GstRTPBuffer rtp = GST_RTP_BUFFER_INIT;

  if (!gst_rtp_buffer_map (buffer, GST_MAP_READ, &rtp))
    return;
  if (gst_rtp_buffer_get_marker (&rtp))
    tell ("frame %u %" G_GINT64_FORMAT " %" G_GINT64_FORMAT,
        (gst_rtp_buffer_get_timestamp (&rtp) + 90000 / FPS / 2) / (90000 / FPS), due (sink, buffer),
        now);
  gst_rtp_buffer_unmap (&rtp);
}

/* The first ones do not count: memory is had, and threads are made. */
static void
on_decoded (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user)
{
  Sync *sync = user;

  if (sync->frames++ == FPS)
    sync->begun_us = g_get_monotonic_time ();
}

static void
tell_rates (Sync *sync)
{
  gint64 took = g_get_monotonic_time () - sync->begun_us, length = 0;
  GStatBuf file;

  if (sync->frames > FPS + 1 && took > 0)
    tell ("rate %.0f", (sync->frames - FPS - 1) * 1e6 / (double)took);
  if (gst_element_query_duration (sync->pipeline, GST_FORMAT_TIME, &length) && length > 0 &&
      g_stat (opt_film, &file) == 0)
    tell ("kbps %.0f", (double)file.st_size * 8e6 / (double)length);
}

static void
on_sound (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user)
{
  Sync *sync = user;
  gint64 now = shown (sink), begin = due (sink, buffer);
  GstMapInfo map;

  if (!gst_buffer_map (buffer, &map, GST_MAP_READ))
    return;
  /* Sound that begins in the middle of a beep is no beginning of one. */
  if (ABS (begin - sync->sound_goes_on) > GAP)
    sync->quiet = 0;
  sync->sound_goes_on = begin + (gint64)gst_util_uint64_scale (map.size / 2, GST_SECOND, RATE);
  const gint16 *samples = (const gint16 *)map.data;
  for (gsize i = 0; i < map.size / 2; i++) {
    gint64 at = (gint64)gst_util_uint64_scale (i, GST_SECOND, RATE);
    gboolean loud = abs (samples[i]) > LOUD;
    if (loud && sync->quiet > SILENCE)
      tell ("beep %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, begin + at, now + at);
    sync->quiet = loud ? 0 : sync->quiet + 1;
  }
  gst_buffer_unmap (buffer, &map);
}

static void
listen_to (Sync *sync, const char *name, GCallback callback)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (sync->pipeline), name);

  g_signal_connect (sink, "handoff", callback, sync);
  gst_object_unref (sink);
}

/* ---- both ------------------------------------------------------------------ */

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user)
{
  Sync *sync = user;
  const GstStructure *s = gst_message_get_structure (message);
  g_autoptr (GError) error = NULL;
  g_autofree char *debug = NULL;

  switch (GST_MESSAGE_TYPE (message)) {
  case GST_MESSAGE_ERROR:
    gst_message_parse_error (message, &error, &debug);
    tell ("error: %s (%s)", error->message, debug);
    sync->code = 1;
    g_main_loop_quit (sync->loop);
    break;
  case GST_MESSAGE_ELEMENT:
    if (s != NULL && gst_structure_has_name (s, "natrelay-connected"))
      tell ("connected %" G_GINT64_FORMAT, g_get_monotonic_time () * 1000);
    break;
  case GST_MESSAGE_LATENCY: gst_bin_recalculate_latency (GST_BIN (sync->pipeline)); break;
  case GST_MESSAGE_EOS: g_main_loop_quit (sync->loop); break;
  default: break;
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
on_over (gpointer user)
{
  gst_element_send_event (((Sync *)user)->pipeline, gst_event_new_eos ());
  return G_SOURCE_REMOVE;
}

static gboolean
on_signal (gpointer user)
{
  g_main_loop_quit (((Sync *)user)->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
launch (Sync *sync, GError **error, const char *format, ...)
{
  g_autofree char *line = NULL;
  va_list args;

  va_start (args, format);
  line = g_strdup_vprintf (format, args);
  va_end (args);
  sync->pipeline = gst_parse_launch (line, error);
  if (sync->pipeline == NULL || *error != NULL)
    return FALSE;
  sync->end = gst_bin_get_by_name (GST_BIN (sync->pipeline), "end");
  if (opt_uri != NULL)
    g_object_set (sync->end, "uri", opt_uri, NULL);
  return TRUE;
}

static gboolean
set_up_send (Sync *sync, GError **error)
{
  const char *properties = opt_properties != NULL ? opt_properties : "";

  if (opt_film != NULL)
    return launch (sync, error, SEND_FILM, opt_film, properties);
  if (!launch (sync, error, SEND, properties, "true", ""))
    return FALSE;
  add_probe (sync, "draw", on_draw);
  add_probe (sync, "beep", on_beep);
  return TRUE;
}

static gboolean
set_up_receive (Sync *sync, GError **error)
{
  const char *properties = opt_properties != NULL ? opt_properties : "";

  if (!launch (sync, error, opt_packets ? RECEIVE_PACKETS : RECEIVE, properties))
    return FALSE;
  listen_to (sync, "screen", G_CALLBACK (opt_packets ? on_packet : on_frame));
  if (!opt_packets)
    listen_to (sync, "speaker", G_CALLBACK (on_sound));
  return TRUE;
}

static gboolean
set_up_film (Sync *sync, GError **error)
{
  g_autofree char *sound = g_strdup_printf ("num-buffers=%d", (int)(opt_seconds * RATE / 960));
  int frames = (int)(opt_seconds * FPS);

  opt_seconds = 0; /* it ends with its last frame */
  if (!launch (sync, error, MAKE_FILM, frames, opt_width, opt_height, opt_gop * FPS, opt_kbps,
          opt_film, "false", sound))
    return FALSE;
  sync->first_flash = NULL;
  add_probe (sync, "draw", on_draw);
  add_probe (sync, "beep", on_beep);
  return TRUE;
}

static gboolean
set_up_decode (Sync *sync, GError **error)
{
  if (!launch (sync, error, DECODE, opt_film))
    return FALSE;
  listen_to (sync, "screen", G_CALLBACK (on_decoded));
  return TRUE;
}

static const struct {
  const char *name;
  gboolean wants_uri, wants_film;
  gboolean (*set_up) (Sync *sync, GError **error);
} modes[] = {
    {"send", TRUE, FALSE, set_up_send},
    {"receive", TRUE, FALSE, set_up_receive},
    {"film", FALSE, TRUE, set_up_film},
    {"decode", FALSE, TRUE, set_up_decode},
};

/* FALSE: there is none of that name, or it lacks an option. */
static gboolean
set_up (Sync *sync, const char *name, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    if (strcmp (modes[i].name, name) == 0 && (!modes[i].wants_uri || opt_uri != NULL) &&
        (!modes[i].wants_film || opt_film != NULL))
      return modes[i].set_up (sync, error);
  }
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
      "%s: send and receive with --uri, film and decode with --film", name);
  return FALSE;
}

static void
play (Sync *sync)
{
  GstBus *bus = gst_element_get_bus (sync->pipeline);

  sync->loop = g_main_loop_new (NULL, FALSE);
  gst_bus_add_watch (bus, on_message, sync);
  g_unix_signal_add (SIGINT, on_signal, sync);
  g_unix_signal_add (SIGTERM, on_signal, sync);
  if (opt_seconds > 0)
    g_timeout_add ((guint)(opt_seconds * 1000), on_over, sync);
  tell ("playing %" G_GINT64_FORMAT, g_get_monotonic_time () * 1000);
  if (gst_element_set_state (sync->pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE)
    g_main_loop_run (sync->loop);
  if (sync->begun_us != 0)
    tell_rates (sync);
  gst_element_set_state (sync->pipeline, GST_STATE_NULL);
  gst_bus_remove_watch (bus);
  gst_object_unref (bus);
  g_main_loop_unref (sync->loop);
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("send|receive|film|decode");
  g_autoptr (GError) error = NULL;
  Sync sync = {.first_flash = GSIZE_TO_POINTER (-1)};

  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc != 2) {
    g_printerr ("%s\n", error != NULL ? error->message : "needs to be told what to do");
    return 2;
  }
  if (!set_up (&sync, argv[1], &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  play (&sync);
  gst_clear_object (&sync.end);
  gst_object_unref (sync.pipeline);
  tell ("end");
  return sync.code;
}
