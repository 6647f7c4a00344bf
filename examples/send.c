/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application that sends this machine's webcam; where there is none, a test film; or any file.
 *
 *     webcam or test film ! convert ! x264enc ! natrelaysink
 *            ticks, or --microphone ! opusenc ! (the same)
 *     --file: filesrc ! parsebin, each of its pads ! natrelaysink, which sends it at its own speed */

#include <locale.h>
#include <stdio.h>
#include <gst/gst.h>

#include "connection.h"

static char *opt_uri, *opt_file;
static double opt_seconds;
static gboolean opt_microphone, opt_test;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri,
        "where to send; the access token is taken from NATRELAY_AUTH_TOKEN", "natrelay://…"},
    {"file", 0, 0, G_OPTION_ARG_FILENAME, &opt_file, "send this film, without encoding it again",
        "FILE"},
    {"test", 0, 0, G_OPTION_ARG_NONE, &opt_test, "the test film, even where there is a webcam",
        NULL},
    {"microphone", 0, 0, G_OPTION_ARG_NONE, &opt_microphone,
        "the microphone's sound instead of ticks", NULL},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {NULL}};

/* A queue before each encoder gives it a thread of its own: sound does not wait for pictures. */
#define ENCODE_VIDEO                                                                               \
  "videoconvert ! video/x-raw,format=I420 ! queue ! "                                              \
  "x264enc tune=zerolatency speed-preset=veryfast bitrate=1500 key-int-max=60 ! end."
#define ENCODE_AUDIO "audioconvert ! audioresample ! queue ! opusenc ! end."
#define FILM                                                                                       \
  "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! "    \
  "timeoverlay"
#define TICKS "audiotestsrc is-live=true wave=ticks samplesperbuffer=960"

/* The first webcam that the machine has, or NULL. GStreamer asks whatever manages them: Video4Linux,
 * PipeWire. */
static GstElement *
find_webcam (void)
{
  GstDeviceMonitor *monitor = gst_device_monitor_new ();
  GstElement *webcam = NULL;
  GList *devices = NULL;

  gst_device_monitor_add_filter (monitor, "Video/Source", NULL);
  if (!opt_test && gst_device_monitor_start (monitor)) {
    devices = gst_device_monitor_get_devices (monitor);
    gst_device_monitor_stop (monitor);
  }
  if (devices != NULL) {
    g_autofree char *name = gst_device_get_display_name (devices->data);

    webcam = gst_device_create_element (devices->data, "webcam");
    printf ("source: %s\n", name);
  } else {
    printf ("source: a test film\n");
  }
  g_list_free_full (devices, gst_object_unref);
  gst_object_unref (monitor);
  return webcam;
}

static GstElement *
build_live (GError **error)
{
  GstElement *webcam = find_webcam ();
  g_autofree char *line = g_strdup_printf ("natrelaysink name=end %s%s %s name=picture ! %s",
      opt_microphone ? "autoaudiosrc ! " : TICKS " ! ", ENCODE_AUDIO,
      webcam != NULL ? "identity" : FILM, ENCODE_VIDEO);
  GstElement *pipeline = gst_parse_launch (line, error), *picture;

  if (webcam == NULL || pipeline == NULL)
    return pipeline;
  picture = gst_bin_get_by_name (GST_BIN (pipeline), "picture");
  gst_bin_add (GST_BIN (pipeline), webcam);
  gst_element_link (webcam, picture);
  gst_object_unref (picture);
  return pipeline;
}

/* A track of the file: natrelaysink finds the payloader for it. */
static void
on_track (GstElement *parsebin, GstPad *pad, GstElement *sink)
{
  GstPad *to = gst_element_request_pad_simple (sink, "sink_%u");

  if (gst_pad_link (pad, to) != GST_PAD_LINK_OK)
    g_printerr ("a track of the file cannot be sent\n");
  gst_object_unref (to);
}

static GstElement *
build_file (GError **error)
{
  GstElement *pipeline =
      gst_parse_launch ("filesrc name=file ! parsebin name=tracks natrelaysink name=end", error);
  GstElement *file, *tracks, *sink;

  if (pipeline == NULL)
    return NULL;
  file = gst_bin_get_by_name (GST_BIN (pipeline), "file");
  tracks = gst_bin_get_by_name (GST_BIN (pipeline), "tracks");
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "end");
  g_object_set (file, "location", opt_file, NULL);
  g_signal_connect_object (tracks, "pad-added", G_CALLBACK (on_track), sink, 0);
  gst_object_unref (file);
  gst_object_unref (tracks);
  gst_object_unref (sink);
  return pipeline;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new ("- sends a webcam, a test film or a file to a natrelay relay");
  g_autoptr (GError) error = NULL;
  Connection connection = {0};

  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_uri == NULL) {
    g_printerr ("%s (try --help)\n", error != NULL ? error->message : "give an --uri");
    return 2;
  }
  connection.pipeline = opt_file != NULL ? build_file (&error) : build_live (&error);
  if (error != NULL) {
    g_printerr ("%s\n", error->message);
    gst_clear_object (&connection.pipeline);
    return 2;
  }
  connection.end = gst_bin_get_by_name (GST_BIN (connection.pipeline), "end");
  g_object_set (connection.end, "uri", opt_uri, NULL);
  connection_run (&connection, opt_seconds);
  gst_object_unref (connection.end);
  gst_object_unref (connection.pipeline);
  return connection.code;
}
