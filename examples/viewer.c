/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application that shows what a stream carries: one decodebin for each pad that natrelaysrc brings.
 *
 *     natrelaysrc ! decodebin ! convert ! tee ! fakesink, which measures
 *                                             ! autovideosink, with --window
 *                 ! decodebin ! convert ! autoaudiosink with --sound, else fakesink
 *
 * What camera.c has drawn into the frames tells which of them never came, and how old each was when it was
 * due on the screen. */

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include "connection.h"
#include "framestamp.h"

static char *opt_uri, *opt_picture;
static double opt_seconds;
static int opt_picture_frame = 150;
static gboolean opt_window, opt_sound;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri,
        "what to watch; the access token is taken from NATRELAY_AUTH_TOKEN", "natrelay://…"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {"window", 0, 0, G_OPTION_ARG_NONE, &opt_window, "open a window", NULL},
    {"sound", 0, 0, G_OPTION_ARG_NONE, &opt_sound, "play the sound", NULL},
    {"picture", 0, 0, G_OPTION_ARG_FILENAME, &opt_picture, "save one frame as PNG", "FILE"},
    {"picture-frame", 0, 0, G_OPTION_ARG_INT, &opt_picture_frame,
        "which frame that is (default 150)", "N"},
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
on_sound (GstElement *identity, GstBuffer *buffer, gpointer user)
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

/* All pictures go to what measures; a window comes beside it when it is open. */
#define VIDEO                                                                                      \
  "videoconvert ! video/x-raw,format=I420 ! tee name=t ! queue ! "                                 \
  "fakesink name=due sync=true async=false signal-handoffs=true"
#define WINDOW "queue leaky=downstream ! videoconvert ! autovideosink"
#define AUDIO                                                                                      \
  "audioconvert ! audioresample ! identity name=due signal-handoffs=true ! "                       \
  "fakesink sync=true async=false"
#define LOUDSPEAKER                                                                                \
  "audioconvert ! audioresample ! identity name=due signal-handoffs=true ! autoaudiosink"

/* A window that is late must not make the decoder leave frames out: they are counted beside it. */
static GstPadProbeReturn
on_upstream_event (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  return GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_QOS ? GST_PAD_PROBE_DROP
                                                                           : GST_PAD_PROBE_OK;
}

/* An output that comes while the others play: whether it is ready is nobody's business but its own. */
static GstElement *
output_new (const char *line)
{
  GstElement *bin = gst_parse_bin_from_description (line, TRUE, NULL);

  g_object_set (bin, "async-handling", TRUE, NULL);
  return bin;
}

typedef struct {
  GstElement *bin, *tee;
} Beside;

/* On the main thread: a window takes its time to open, and the stream does not wait for it. Nor does it
 * end where no window can be had. */
static gboolean
open_window (gpointer user)
{
  Beside *beside = user;
  GstElement *window = output_new (WINDOW);

  gst_bin_add (GST_BIN (beside->bin), window);
  if (gst_element_sync_state_with_parent (window)) {
    GstPad *from = gst_element_request_pad_simple (beside->tee, "src_%u");
    GstPad *to = gst_element_get_static_pad (window, "sink");
    gst_pad_add_probe (to, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, on_upstream_event, NULL, NULL);
    gst_pad_link (from, to);
    gst_object_unref (to);
    gst_object_unref (from);
  } else {
    gst_element_set_state (window, GST_STATE_NULL);
    gst_bin_remove (GST_BIN (beside->bin), window);
  }
  gst_object_unref (beside->tee);
  gst_object_unref (beside->bin);
  g_free (beside);
  return G_SOURCE_REMOVE;
}

static void
add_window (GstElement *bin)
{
  Beside *beside = g_new (Beside, 1);

  beside->bin = gst_object_ref (bin);
  beside->tee = gst_bin_get_by_name (GST_BIN (bin), "t");
  g_idle_add (open_window, beside);
}

static gboolean
is_video (GstPad *pad)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  const char *name = gst_structure_get_name (gst_caps_get_structure (caps, 0));
  gboolean video = g_str_has_prefix (name, "video/");

  gst_caps_unref (caps);
  return video;
}

/* A track decoded: from here on it is raw video or raw audio. */
static void
on_decoded (GstElement *decodebin, GstPad *pad, gpointer user)
{
  Viewer *viewer = user;
  gboolean video = is_video (pad);
  const char *line = video ? VIDEO : opt_sound ? LOUDSPEAKER : AUDIO;
  GstElement *rest = output_new (line);
  GstElement *due = gst_bin_get_by_name (GST_BIN (rest), "due");
  GstPad *sink = gst_element_get_static_pad (rest, "sink");

  if (video)
    g_signal_connect (due, "handoff", G_CALLBACK (on_frame_due), viewer);
  else
    g_signal_connect (due, "handoff", G_CALLBACK (on_sound), viewer);
  gst_bin_add (GST_BIN (viewer->connection.pipeline), rest);
  gst_pad_link (pad, sink);
  gst_element_sync_state_with_parent (rest);
  if (video && opt_window)
    add_window (rest);
  gst_object_unref (sink);
  gst_object_unref (due);
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

  setlocale (LC_CTYPE, "");
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
