/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Sends or receives a film and writes one line per access unit and track:
 *
 *     video RTP-TIMESTAMP SHA1-OF-ITS-RTP-PAYLOADS
 *
 * so that compare.py can say whether each arrived, whole, once and in order. An access unit is
 * what shares an RTP timestamp, which holds for every format; it is read off the packets next to
 * natrelaysink and natrelaysrc, so that nothing between them can be missed.
 *
 *     send:     encoders ! payloaders ! (lines) natrelaysink
 *     receive:  natrelaysrc (lines) ! fakesink
 *
 * On stdout it tells what happens: "connected …", "flowing KIND …", "counting", "paused",
 * "resumed", "lost …", "gap KIND MS" (the longest time without a packet), "end", "stats …". SIGUSR1 makes a sender begin to write lines: what was
 * sent before anybody was there is no loss. SIGINT and SIGTERM end either. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <glib-unix.h>
#include <gst/gst.h>
#include <gst/rtp/rtp.h>

typedef struct {
  const char *kind;
  GMutex lock; /* guards the rest: a streaming thread writes, the main thread ends */
  GChecksum *sum;
  guint32 time;
  gboolean begun; /* there is an access unit in the making */
  gboolean whole; /* and its first packet was seen while we counted */
  gboolean flowing;
  gint64 last_us, gap_us; /* of its last packet; the longest time between two */
} Track;

typedef struct {
  gboolean sending;
  GMainLoop *loop;
  GstElement *pipeline;
  GstElement *end; /* natrelaysink or natrelaysrc */
  FILE *lines;
  FILE *plain;     /* payloads as sent, to look for in a capture; may be NULL */
  gint counting;   /* atomic */
  Track tracks[2]; /* video, audio */
  gint64 start_us;
  int code;
} Check;

static char *opt_uri, *opt_codec, *opt_hashes, *opt_plain, *opt_properties;
static double opt_seconds = 6, opt_pause_after, opt_pause;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri, "natrelay://…", "URI"},
    {"codec", 0, 0, G_OPTION_ARG_STRING, &opt_codec, "h264 (default), h265, vp8, mpegts", "NAME"},
    {"hashes", 0, 0, G_OPTION_ARG_FILENAME, &opt_hashes, "where the lines go", "FILE"},
    {"plain", 0, 0, G_OPTION_ARG_FILENAME, &opt_plain, "also keep all payloads", "FILE"},
    {"properties", 0, 0, G_OPTION_ARG_STRING, &opt_properties, "of the element, as for gst-launch",
        "TEXT"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "film after SIGUSR1 (default 6)", "S"},
    {"pause-after", 0, 0, G_OPTION_ARG_DOUBLE, &opt_pause_after, "stop the film after S", "S"},
    {"pause", 0, 0, G_OPTION_ARG_DOUBLE, &opt_pause, "for so long", "S"}, {NULL}};

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

/* ---- access units --------------------------------------------------------- */

/* With the track's lock. */
static void
end_unit (Check *check, Track *track)
{
  if (track->begun && track->whole) {
    fprintf (
        check->lines, "%s %u %s\n", track->kind, track->time, g_checksum_get_string (track->sum));
    fflush (check->lines);
  }
  track->begun = FALSE;
}

static void
begin_unit (Check *check, Track *track, guint32 time)
{
  track->begun = TRUE;
  track->time = time;
  track->whole = g_atomic_int_get (&check->counting);
  g_checksum_reset (track->sum);
}

static gint64
ms_since (gint64 us)
{
  return (g_get_monotonic_time () - us) / 1000;
}

/* With the track's lock. */
static void
note_time (Check *check, Track *track)
{
  gint64 now_us = g_get_monotonic_time ();

  if (!track->flowing)
    tell ("flowing %s after=%" G_GINT64_FORMAT "ms", track->kind, ms_since (check->start_us));
  else
    track->gap_us = MAX (track->gap_us, now_us - track->last_us);
  track->flowing = TRUE;
  track->last_us = now_us;
}

static void
take_packet (Check *check, Track *track, GstBuffer *buffer)
{
  GstRTPBuffer rtp = GST_RTP_BUFFER_INIT;
  guint32 time;

  if (!gst_rtp_buffer_map (buffer, GST_MAP_READ, &rtp))
    return;
  time = gst_rtp_buffer_get_timestamp (&rtp);
  g_mutex_lock (&track->lock);
  if (!track->begun || time != track->time) {
    end_unit (check, track);
    begin_unit (check, track, time);
  }
  g_checksum_update (
      track->sum, gst_rtp_buffer_get_payload (&rtp), gst_rtp_buffer_get_payload_len (&rtp));
  if (check->plain != NULL && track->whole)
    fwrite (
        gst_rtp_buffer_get_payload (&rtp), 1, gst_rtp_buffer_get_payload_len (&rtp), check->plain);
  note_time (check, track);
  g_mutex_unlock (&track->lock);
  gst_rtp_buffer_unmap (&rtp);
}

static gboolean
take_listed (GstBuffer **buffer, guint index, gpointer user)
{
  gpointer *both = user;

  take_packet (both[0], both[1], *buffer);
  return TRUE;
}

static GstPadProbeReturn
on_packets (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Check *check = g_object_get_data (G_OBJECT (pad), "check");
  gpointer both[] = {check, user};

  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER_LIST)
    gst_buffer_list_foreach (GST_PAD_PROBE_INFO_BUFFER_LIST (info), take_listed, both);
  else
    take_packet (check, user, GST_PAD_PROBE_INFO_BUFFER (info));
  return GST_PAD_PROBE_OK;
}

static void
watch_pad (Check *check, GstPad *pad, guint track)
{
  g_object_set_data (G_OBJECT (pad), "check", check);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, on_packets,
      &check->tracks[track], NULL);
}

/* ---- sending -------------------------------------------------------------- */

static const struct {
  const char *name, *encoder, *payloader;
  gboolean with_audio; /* as a track of its own */
} codecs[] = {
    {"h264",
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=1200 threads=1",
        "rtph264pay pt=96", TRUE},
    {"h265",
        "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=600 ! h265parse",
        "rtph265pay pt=96", TRUE},
    {"vp8", "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 target-bitrate=1200000",
        "rtpvp8pay pt=96", TRUE},
    {"mpegts",
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=1200 threads=1 ! "
        "h264parse ! mpegtsmux",
        "rtpmp2tpay pt=33", FALSE},
};

/* A pool keeps all raw pictures that were ever under way at once. After the process was suspended, or waited for a processor,
 * that is as many as the queue may hold: 30 of them (10 MB) would look like a leak. */
#define VIDEO                                                                                      \
  "videotestsrc is-live=true pattern=ball motion=hsweep background-color=0xff203040 ! "            \
  "video/x-raw,width=640,height=360,framerate=30/1 ! valve name=video-valve ! queue "              \
  "max-size-buffers=4 ! %s ! "                                                                     \
  "%s mtu=1160 name=video-pay ! natrelaysink name=end %s"
#define AUDIO                                                                                      \
  " audiotestsrc is-live=true wave=pink-noise samplesperbuffer=960 ! "                             \
  "audio/x-raw,rate=48000,channels=1 ! valve name=audio-valve ! queue ! opusenc ! "                \
  "rtpopuspay pt=97 name=audio-pay ! end."

static char *
sender_line (void)
{
  const char *codec = opt_codec != NULL ? opt_codec : "h264";
  const char *properties = opt_properties != NULL ? opt_properties : "";

  for (guint i = 0; i < G_N_ELEMENTS (codecs); i++) {
    if (strcmp (codecs[i].name, codec) == 0) {
      g_autofree char *video =
          g_strdup_printf (VIDEO, codecs[i].encoder, codecs[i].payloader, properties);
      return g_strconcat (video, codecs[i].with_audio ? AUDIO : "", NULL);
    }
  }
  return NULL;
}

static void
set_valves (Check *check, gboolean drop)
{
  const char *names[] = {"video-valve", "audio-valve"};

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    GstElement *valve = gst_bin_get_by_name (GST_BIN (check->pipeline), names[i]);
    if (valve != NULL) {
      g_object_set (valve, "drop", drop, NULL);
      gst_object_unref (valve);
    }
  }
  tell (drop ? "paused" : "resumed");
}

static gboolean
on_resume (gpointer user)
{
  set_valves (user, FALSE);
  return G_SOURCE_REMOVE;
}

static gboolean
on_pause (gpointer user)
{
  set_valves (user, TRUE);
  g_timeout_add ((guint)(opt_pause * 1000), on_resume, user);
  return G_SOURCE_REMOVE;
}

/* The film is over: EOS, so that natrelaysink lets the last packets be repaired. */
static gboolean
on_film_over (gpointer user)
{
  Check *check = user;

  gst_element_send_event (check->pipeline, gst_event_new_eos ());
  return G_SOURCE_REMOVE;
}

static gboolean
on_count (gpointer user)
{
  Check *check = user;

  if (g_atomic_int_compare_and_exchange (&check->counting, FALSE, TRUE)) {
    tell ("counting");
    if (opt_pause > 0)
      g_timeout_add ((guint)(opt_pause_after * 1000), on_pause, check);
    g_timeout_add ((guint)((opt_seconds + opt_pause) * 1000), on_film_over, check);
  }
  return G_SOURCE_CONTINUE;
}

static void
watch_payloader (Check *check, const char *name, guint track)
{
  GstElement *pay = gst_bin_get_by_name (GST_BIN (check->pipeline), name);

  if (pay != NULL) {
    GstPad *pad = gst_element_get_static_pad (pay, "src");
    watch_pad (check, pad, track);
    gst_object_unref (pad);
    gst_object_unref (pay);
  }
}

/* ---- receiving ------------------------------------------------------------ */

static void
on_pad (GstElement *end, GstPad *pad, gpointer user)
{
  Check *check = user;
  GstElement *sink = gst_element_factory_make ("fakesink", NULL);
  g_autofree char *name = gst_pad_get_name (pad);
  GstPad *peer = gst_element_get_static_pad (sink, "sink");

  g_object_set (sink, "sync", FALSE, "async", FALSE, NULL);
  gst_bin_add (GST_BIN (check->pipeline), sink);
  watch_pad (check, pad, g_str_has_prefix (name, "audio") ? 1 : 0);
  gst_element_sync_state_with_parent (sink);
  if (GST_PAD_LINK_FAILED (gst_pad_link (pad, peer)))
    tell ("error: could not link %s", name);
  gst_object_unref (peer);
}

static char *
receiver_line (void)
{
  return g_strdup_printf ("natrelaysrc name=end %s", opt_properties != NULL ? opt_properties : "");
}

/* ---- both ----------------------------------------------------------------- */

static void
tell_stats (Check *check)
{
  GstStructure *stats = NULL;
  g_autofree char *text = NULL;

  g_object_get (check->end, "stats", &stats, NULL);
  if (stats == NULL)
    return;
  text = gst_structure_to_string (stats);
  tell ("stats %s", text);
  gst_structure_free (stats);
}

static void
on_element_message (Check *check, const GstStructure *s)
{
  g_autofree char *text = NULL;

  if (s == NULL || !g_str_has_prefix (gst_structure_get_name (s), "natrelay-"))
    return;
  text = gst_structure_to_string (s);
  if (gst_structure_has_name (s, "natrelay-connected"))
    tell ("connected local=%s mapped=%s transport=%s after=%" G_GINT64_FORMAT "ms",
        gst_structure_get_string (s, "local-address"),
        gst_structure_get_string (s, "mapped-address"), gst_structure_get_string (s, "transport"),
        ms_since (check->start_us));
  else if (gst_structure_has_name (s, "natrelay-connection-lost"))
    tell ("lost %s", text);
  else
    tell ("message %s", text);
}

static void
on_trouble (Check *check, GstMessage *message, gboolean final)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *debug = NULL;

  if (final)
    gst_message_parse_error (message, &error, &debug);
  else
    gst_message_parse_warning (message, &error, &debug);
  tell ("%s: %s (%s)", final ? "error" : "warning", error->message, debug);
  if (final) {
    check->code = 1;
    g_main_loop_quit (check->loop);
  }
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user)
{
  Check *check = user;

  switch (GST_MESSAGE_TYPE (message)) {
  case GST_MESSAGE_ERROR: on_trouble (check, message, TRUE); break;
  case GST_MESSAGE_WARNING: on_trouble (check, message, FALSE); break;
  case GST_MESSAGE_ELEMENT: on_element_message (check, gst_message_get_structure (message)); break;
  case GST_MESSAGE_EOS: g_main_loop_quit (check->loop); break;
  default: break;
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
on_signal (gpointer user)
{
  Check *check = user;

  g_main_loop_quit (check->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
set_up (Check *check, GError **error)
{
  g_autofree char *line = check->sending ? sender_line () : receiver_line ();

  if (line == NULL) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "unknown codec %s", opt_codec);
    return FALSE;
  }
  check->pipeline = gst_parse_launch (line, error);
  if (check->pipeline == NULL || *error != NULL)
    return FALSE;
  if (!GST_IS_PIPELINE (check->pipeline)) {
    GstElement *only = check->pipeline;
    check->pipeline = gst_pipeline_new (NULL);
    gst_bin_add (GST_BIN (check->pipeline), only);
  }
  check->end = gst_bin_get_by_name (GST_BIN (check->pipeline), "end");
  g_object_set (check->end, "uri", opt_uri, NULL);
  if (check->sending) {
    watch_payloader (check, "video-pay", 0);
    watch_payloader (check, "audio-pay", 1);
  } else {
    check->counting = TRUE;
    g_signal_connect (check->end, "pad-added", G_CALLBACK (on_pad), check);
  }
  return TRUE;
}

static void
run (Check *check)
{
  GstBus *bus = gst_element_get_bus (check->pipeline);

  gst_bus_add_watch (bus, on_message, check);
  g_unix_signal_add (SIGINT, on_signal, check);
  g_unix_signal_add (SIGTERM, on_signal, check);
  if (check->sending)
    g_unix_signal_add (SIGUSR1, on_count, check);
  tell ("started");
  check->start_us = g_get_monotonic_time ();
  if (gst_element_set_state (check->pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE)
    g_main_loop_run (check->loop);
  tell_stats (check);
  gst_element_set_state (check->pipeline, GST_STATE_NULL);
  for (guint i = 0; i < G_N_ELEMENTS (check->tracks); i++) {
    Track *track = &check->tracks[i];

    end_unit (check, track);
    if (track->flowing)
      tell ("gap %s %" G_GINT64_FORMAT, track->kind, track->gap_us / 1000);
  }
  gst_bus_remove_watch (bus);
  gst_object_unref (bus);
  tell ("end");
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("send|receive");
  g_autoptr (GError) error = NULL;
  Check check = {.tracks = {{.kind = "video"}, {.kind = "audio"}}};

  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc != 2 || opt_uri == NULL ||
      opt_hashes == NULL) {
    g_printerr ("%s\n", error != NULL ? error->message : "needs send or receive, --uri, --hashes");
    return 2;
  }
  check.sending = strcmp (argv[1], "send") == 0;
  check.loop = g_main_loop_new (NULL, FALSE);
  check.lines = fopen (opt_hashes, "w");
  check.plain = opt_plain != NULL ? fopen (opt_plain, "w") : NULL;
  for (guint i = 0; i < G_N_ELEMENTS (check.tracks); i++)
    check.tracks[i].sum = g_checksum_new (G_CHECKSUM_SHA1);
  if (check.lines == NULL || !set_up (&check, &error)) {
    g_printerr ("%s\n", error != NULL ? error->message : "cannot write the lines");
    return 2;
  }
  run (&check);
  gst_object_unref (check.end);
  gst_object_unref (check.pipeline);
  g_main_loop_unref (check.loop);
  for (guint i = 0; i < G_N_ELEMENTS (check.tracks); i++)
    g_checksum_free (check.tracks[i].sum);
  if (check.plain != NULL)
    fclose (check.plain);
  fclose (check.lines);
  return check.code;
}
