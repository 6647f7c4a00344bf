/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application that shows what a stream carries: one decodebin for each pad that natrelaysrc brings.
 *
 *     natrelaysrc ! decodebin ! convert ! tee ! (measured) fakesink
 *                                             ! autovideosink, with --window
 *                 ! decodebin ! convert ! autoaudiosink, or fakesink
 *
 * What camera.c has drawn into the frames tells which of them never came, and how old each was when it was
 * due on the screen. */

#include <stdio.h>
#include <stdlib.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include "connection.h"
#include "framestamp.h"

static char *opt_uri, *opt_picture;
static double opt_seconds;
static int opt_picture_frame = 150;
static gboolean opt_window;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri, "what to watch", "natrelay://…"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {"window", 0, 0, G_OPTION_ARG_NONE, &opt_window, "open a window and play the sound", NULL},
    {"picture", 0, 0, G_OPTION_ARG_FILENAME, &opt_picture, "save one frame as PNG", "FILE"},
    {"picture-frame", 0, 0, G_OPTION_ARG_INT, &opt_picture_frame, "which (default 150)", "N"},
    {NULL}};

typedef struct {
  Connection connection;
  GMutex lock;  /* guards the rest, which the streaming threads write */
  GArray *ages; /* guint32, ms from birth to screen */
  guint32 first, last, frames;
  guint sounds;
} Viewer;

/* ---- what is measured ------------------------------------------------------ */

static void
save_picture (GstBuffer *buffer, GstCaps *caps)
{
  g_autoptr (GError) error = NULL;

  if (!frame_save (buffer, caps, opt_picture, &error))
    g_printerr ("no picture: %s\n", error->message);
}

static void
count_frame (Viewer *viewer, const FrameStamp *stamp)
{
  guint32 age = frame_stamp_now () - stamp->ms;

  g_mutex_lock (&viewer->lock);
  if (viewer->frames == 0) {
    viewer->first = stamp->number;
    printf ("picture: the first is frame %u\n", stamp->number);
    fflush (stdout);
  }
  viewer->last = stamp->number;
  viewer->frames++;
  g_array_append_val (viewer->ages, age);
  g_mutex_unlock (&viewer->lock);
}

/* fakesink calls it when the frame is due: when a screen would show it. */
static void
on_frame_due (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  FrameStamp stamp;
  GstVideoInfo video;
  GstVideoFrame frame;
  gboolean stamped = FALSE;

  if (gst_video_info_from_caps (&video, caps) &&
      gst_video_frame_map (&frame, &video, buffer, GST_MAP_READ)) {
    stamped = frame_stamp_read (&frame, &stamp);
    gst_video_frame_unmap (&frame);
  }
  if (stamped)
    count_frame (user, &stamp);
  if (stamped && opt_picture != NULL && stamp.number == (guint32)opt_picture_frame)
    save_picture (buffer, caps);
  gst_caps_unref (caps);
}

static void
on_sound_due (GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user)
{
  Viewer *viewer = user;

  g_mutex_lock (&viewer->lock);
  viewer->sounds++;
  g_mutex_unlock (&viewer->lock);
}

static int
by_size (gconstpointer a, gconstpointer b)
{
  guint32 x = *(const guint32 *)a, y = *(const guint32 *)b;

  return x < y ? -1 : x > y;
}

static void
print_measured (Viewer *viewer)
{
  guint n = viewer->ages->len;

  printf ("frames=%u\nsound-buffers=%u\n", viewer->frames, viewer->sounds);
  if (n == 0)
    return;
  g_array_sort (viewer->ages, by_size);
  printf ("frames-missing=%u\n", viewer->last - viewer->first + 1 - viewer->frames);
  printf ("latency-ms-median=%u\n", g_array_index (viewer->ages, guint32, n / 2));
  printf ("latency-ms-95th=%u\n", g_array_index (viewer->ages, guint32, n * 95 / 100));
}

/* ---- the pipeline ---------------------------------------------------------- */

#define MEASURED "fakesink name=due sync=true signal-handoffs=true"

/* A track decoded: from here on it is raw video or raw audio. */
static void
on_decoded (GstElement *decodebin, GstPad *pad, gpointer user)
{
  Viewer *viewer = user;
  GstCaps *caps = gst_pad_get_current_caps (pad);
  gboolean video =
      g_str_has_prefix (gst_structure_get_name (gst_caps_get_structure (caps, 0)), "video/");
  g_autoptr (GError) error = NULL;
  GstElement *rest, *due;
  GstPad *sink;

  rest = gst_parse_bin_from_description (
      video
          ? (opt_window ? "videoconvert ! video/x-raw,format=I420 ! tee name=t ! queue ! " MEASURED
                          " t. ! queue ! videoconvert ! autovideosink"
                        : "videoconvert ! video/x-raw,format=I420 ! " MEASURED)
          : (opt_window ? "audioconvert ! audioresample ! tee name=t ! queue ! " MEASURED
                          " t. ! queue ! autoaudiosink"
                        : MEASURED),
      TRUE, &error);
  gst_caps_unref (caps);
  if (rest == NULL) {
    g_printerr ("%s\n", error->message);
    return;
  }
  due = gst_bin_get_by_name (GST_BIN (rest), "due");
  g_signal_connect (due, "handoff", G_CALLBACK (video ? on_frame_due : on_sound_due), viewer);
  gst_object_unref (due);
  gst_bin_add (GST_BIN (viewer->connection.pipeline), rest);
  sink = gst_element_get_static_pad (rest, "sink");
  gst_pad_link (pad, sink);
  gst_object_unref (sink);
  gst_element_sync_state_with_parent (rest);
}

/* A track of the stream: video_0, audio_0, … all come together, as soon as the publisher is known. */
static void
on_track (GstElement *source, GstPad *pad, gpointer user)
{
  Viewer *viewer = user;
  GstElement *decodebin = gst_element_factory_make ("decodebin", NULL);
  g_autofree char *name = gst_pad_get_name (pad);
  GstPad *sink = gst_element_get_static_pad (decodebin, "sink");

  printf ("track: %s\n", name);
  fflush (stdout);
  g_signal_connect (decodebin, "pad-added", G_CALLBACK (on_decoded), viewer);
  gst_bin_add (GST_BIN (viewer->connection.pipeline), decodebin);
  gst_pad_link (pad, sink);
  gst_object_unref (sink);
  gst_element_sync_state_with_parent (decodebin);
}

static gboolean
build (Viewer *viewer)
{
  GstElement *source = gst_element_factory_make ("natrelaysrc", "end");

  if (source == NULL) {
    g_printerr ("natrelaysrc is not there: set GST_PLUGIN_PATH to build/gst/natrelay\n");
    return FALSE;
  }
  viewer->connection.pipeline = gst_pipeline_new (NULL);
  viewer->connection.end = gst_object_ref (source);
  gst_bin_add (GST_BIN (viewer->connection.pipeline), source);
  g_object_set (source, "uri", opt_uri, NULL);
  g_signal_connect (source, "pad-added", G_CALLBACK (on_track), viewer);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- shows a natrelay stream");
  g_autoptr (GError) error = NULL;
  Viewer viewer = {.ages = g_array_new (FALSE, FALSE, sizeof (guint32))};

  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_uri == NULL) {
    g_printerr ("%s (try --help)\n", error != NULL ? error->message : "give an --uri");
    return 2;
  }
  if (!build (&viewer))
    return 2;
  connection_run (&viewer.connection, opt_seconds);
  print_measured (&viewer);
  gst_object_unref (viewer.connection.end);
  gst_object_unref (viewer.connection.pipeline);
  g_array_unref (viewer.ages);
  return viewer.connection.code;
}
