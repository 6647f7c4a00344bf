/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application that records a stream into files of some minutes each, so that a crash or a power cut costs the
 * last second at most.
 *
 *     natrelaysrc ! parsebin ! queue ! splitmuxsink     NAME-20261127T130502Z-00000.mkv, -00001, …
 *                 ! parsebin ! queue ! (the same)
 *
 * Nothing is decoded. What makes the files survive: Matroska needs no end to be played, and filesink writes at once
 * (buffer-mode). Each begins with a key frame, so each plays alone. */

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include "connection.h"

static char *opt_uri;
static const char *opt_directory = ".", *opt_name = "stream";
static double opt_seconds;
static int opt_segment = 60, opt_keep;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri,
        "what to record; the access token is taken from NATRELAY_AUTH_TOKEN", "natrelay://…"},
    {"directory", 0, 0, G_OPTION_ARG_FILENAME, &opt_directory,
        "where to; made if it is not there (default: here)", "DIR"},
    {"name", 0, 0, G_OPTION_ARG_STRING, &opt_name, "what files' names begin with (default: stream)",
        "NAME"},
    {"segment", 0, 0, G_OPTION_ARG_INT, &opt_segment,
        "the longest that a file gets; each begins with a key frame (default 60)", "SECONDS"},
    {"keep", 0, 0, G_OPTION_ARG_INT, &opt_keep, "keep only the last N files (default: all)", "N"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {NULL}};

typedef struct {
  Connection connection;
  char *
      started; /* the time, in each file's name: a recorder that was started again overwrites nothing */
  gboolean records;
} Recorder;

/* ---- files ----------------------------------------------------------------- */

static char *
on_format_location (GstElement *splitmux, guint number, Recorder *recorder)
{
  g_autofree char *base = g_strdup_printf ("%s-%s-%05u.mkv", opt_name, recorder->started, number);
  char *path = g_build_filename (opt_directory, base, NULL);

  printf ("file: %s\n", path);
  fflush (stdout);
  return path;
}

/* Each file has a sink of its own: what it is given is to be in the file, and not in a buffer of ours. */
static void
on_sink_added (GstElement *splitmux, GstElement *sink, gpointer user)
{
  gst_util_set_object_arg (G_OBJECT (sink), "buffer-mode", "unbuffered");
}

static GstElement *
splitmux_new (Recorder *recorder)
{
  GstElement *splitmux = gst_element_factory_make ("splitmuxsink", NULL);
  GstElement *muxer = gst_element_factory_make ("matroskamux", NULL);

  g_signal_connect (splitmux, "format-location", G_CALLBACK (on_format_location), recorder);
  g_signal_connect (splitmux, "sink-added", G_CALLBACK (on_sink_added), NULL);
  g_object_set (splitmux, "muxer", muxer, "max-size-time", opt_segment * GST_SECOND, "max-files",
      opt_keep, "async-handling", TRUE, NULL);
  return splitmux;
}

/* ---- tracks ---------------------------------------------------------------- */

static void
on_parsed (GstElement *parsebin, GstPad *pad, GstElement *queue)
{
  GstPad *sink = gst_element_get_static_pad (queue, "sink");

  if (gst_pad_link (pad, sink) != GST_PAD_LINK_OK)
    g_printerr ("a track is of a kind that the file cannot hold\n");
  gst_object_unref (sink);
}

/* natrelaysrc's pad ! parsebin ! queue ! splitmuxsink. The muxer must know of all its tracks before the first
 * packet comes to it: its pads are asked for here. */
static void
add_track (GstBin *pipeline, GstPad *from, GstElement *splitmux, gboolean video)
{
  GstElement *parsebin = gst_element_factory_make ("parsebin", NULL);
  GstElement *queue = gst_element_factory_make ("queue", NULL);
  GstPad *into = gst_element_get_static_pad (parsebin, "sink");
  GstPad *out = gst_element_get_static_pad (queue, "src");
  GstPad *track = gst_element_request_pad_simple (splitmux, video ? "video" : "audio_%u");

  g_signal_connect (parsebin, "pad-added", G_CALLBACK (on_parsed), queue);
  gst_bin_add_many (pipeline, parsebin, queue, NULL);
  gst_pad_link (out, track);
  gst_pad_link (from, into);
  gst_element_sync_state_with_parent (queue);
  gst_element_sync_state_with_parent (parsebin);
  gst_object_unref (track);
  gst_object_unref (out);
  gst_object_unref (into);
}

/* All tracks of the stream are there. It has one picture at most here; splitmuxsink takes no second. */
static void
on_no_more_pads (GstElement *source, Recorder *recorder)
{
  GstBin *pipeline = GST_BIN (recorder->connection.pipeline);
  GstElement *splitmux;
  gboolean has_video = FALSE;

  if (recorder->records)
    return;
  recorder->records = TRUE;
  splitmux = splitmux_new (recorder);
  gst_bin_add (pipeline, splitmux);
  for (GList *link = source->srcpads; link != NULL; link = link->next) {
    gboolean video = g_str_has_prefix (GST_PAD_NAME (link->data), "video");
    gboolean audio = g_str_has_prefix (GST_PAD_NAME (link->data), "audio");

    if ((video && !has_video) || audio) {
      printf ("track: %s\n", GST_PAD_NAME (link->data));
      add_track (pipeline, link->data, splitmux, video);
      has_video = has_video || video;
    }
  }
  gst_element_sync_state_with_parent (splitmux);
  /* What came before there was anybody for it is gone: begin with a key frame now, not with the next. */
  for (GList *link = source->srcpads; link != NULL; link = link->next)
    gst_pad_send_event (
        link->data, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE, 0));
}

/* Other tracks than before, in the same file, no muxer can have: begin anew. */
static void
on_pad_removed (GstElement *source, GstPad *pad, Recorder *recorder)
{
  if (GST_STATE (recorder->connection.pipeline) == GST_STATE_PLAYING)
    GST_ELEMENT_ERROR (source, STREAM, WRONG_TYPE,
        ("The publisher came back with other tracks; start this again to record them"), (NULL));
}

/* ---------------------------------------------------------------------------- */

static gboolean
build (Recorder *recorder)
{
  GstElement *source = gst_element_factory_make ("natrelaysrc", NULL);

  if (source == NULL) {
    g_printerr ("natrelaysrc is not there: set GST_PLUGIN_PATH to build/gst/natrelay\n");
    return FALSE;
  }
  recorder->connection.pipeline = gst_pipeline_new (NULL);
  recorder->connection.end = source;
  recorder->connection.finishes = TRUE;
  gst_bin_add (GST_BIN (recorder->connection.pipeline), source);
  /* A recording begins where it begins; and what was lost has more time to come again than a viewer would give. */
  g_object_set (source, "uri", opt_uri, "instant-start", FALSE, "latency", 1000, NULL);
  g_signal_connect (source, "no-more-pads", G_CALLBACK (on_no_more_pads), recorder);
  g_signal_connect (source, "pad-removed", G_CALLBACK (on_pad_removed), recorder);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new ("- records a natrelay stream into files that survive a crash");
  g_autoptr (GError) error = NULL;
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  Recorder recorder = {.started = g_date_time_format (now, "%Y%m%dT%H%M%SZ")};

  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_uri == NULL ||
      opt_segment < 1 || opt_keep < 0) {
    g_printerr ("%s (try --help)\n",
        error != NULL ? error->message : "give an --uri, a --segment of 1 or more, a --keep of 0");
    return 2;
  }
  if (g_mkdir_with_parents (opt_directory, 0777) != 0) {
    g_printerr ("%s: %s\n", opt_directory, g_strerror (errno));
    return 2;
  }
  if (!build (&recorder))
    return 2;
  connection_run (&recorder.connection, opt_seconds);
  gst_object_unref (recorder.connection.pipeline);
  g_free (recorder.started);
  return recorder.connection.code;
}
