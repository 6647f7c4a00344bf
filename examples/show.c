/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application that receives a stream and shows it: the shortest that does it right.
 *
 *     natrelaysrc ! decodebin ! videoconvert ! autovideosink
 *                 ! decodebin ! audioconvert ! audioresample ! autoaudiosink
 *
 * natrelaysrc has a pad for each track of the stream, and they come when the publisher does. If a publisher
 * comes back with other tracks, the old pads go and new ones come: a branch lives as long as its pad. */

#include <locale.h>
#include <stdio.h>
#include <gst/gst.h>

#include "connection.h"

static char *opt_uri;
static const char *opt_video_sink = "autovideosink", *opt_audio_sink = "autoaudiosink";
static double opt_seconds;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri,
        "what to show; the access token is taken from NATRELAY_AUTH_TOKEN", "natrelay://…"},
    {"video-sink", 0, 0, G_OPTION_ARG_STRING, &opt_video_sink,
        "where pictures go (default: autovideosink)", "ELEMENTS"},
    {"audio-sink", 0, 0, G_OPTION_ARG_STRING, &opt_audio_sink,
        "where sound goes (default: autoaudiosink)", "ELEMENTS"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {NULL}};

/* What the first picture, or the first sound, looks like. */
static GstPadProbeReturn
on_first (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  const GstStructure *s = caps != NULL ? gst_caps_get_structure (caps, 0) : NULL;
  int width, height, rate;

  if (s != NULL && gst_structure_get_int (s, "width", &width) &&
      gst_structure_get_int (s, "height", &height))
    printf ("picture: %dx%d\n", width, height);
  else if (s != NULL && gst_structure_get_int (s, "rate", &rate))
    printf ("sound: %d Hz\n", rate);
  fflush (stdout);
  gst_clear_caps (&caps);
  return GST_PAD_PROBE_REMOVE;
}

/* decodebin has found out what it is: raw pictures or raw sound from here on. */
static void
on_decoded (GstElement *decodebin, GstPad *pad, GstElement *branch)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  gboolean video = gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/x-raw");
  g_autofree char *line =
      video ? g_strdup_printf ("queue ! videoconvert ! %s", opt_video_sink)
            : g_strdup_printf ("queue ! audioconvert ! audioresample ! %s", opt_audio_sink);
  g_autoptr (GError) error = NULL;
  GstElement *output = gst_parse_bin_from_description (line, TRUE, &error);
  GstPad *sink;

  gst_caps_unref (caps);
  if (output == NULL) {
    g_printerr ("%s\n", error->message);
    return;
  }
  /* The pipeline plays already: whether this output is ready is its own business. */
  g_object_set (output, "async-handling", TRUE, NULL);
  gst_bin_add (GST_BIN (branch), output);
  sink = gst_element_get_static_pad (output, "sink");
  gst_pad_add_probe (sink, GST_PAD_PROBE_TYPE_BUFFER, on_first, NULL, NULL);
  gst_pad_link (pad, sink);
  gst_object_unref (sink);
  gst_element_sync_state_with_parent (output);
}

/* A track: its branch is a bin with a decoder, and later what shows it. It is named as the pad. */
static void
on_pad_added (GstElement *source, GstPad *pad, GstElement *pipeline)
{
  g_autofree char *name = gst_pad_get_name (pad);
  GstElement *branch = gst_bin_new (name);
  GstElement *decodebin = gst_element_factory_make ("decodebin", NULL);
  GstPad *inner = gst_element_get_static_pad (decodebin, "sink"), *sink;

  printf ("track: %s\n", name);
  fflush (stdout);
  gst_bin_add (GST_BIN (branch), decodebin);
  sink = gst_ghost_pad_new ("sink", inner);
  gst_element_add_pad (branch, sink);
  g_signal_connect (decodebin, "pad-added", G_CALLBACK (on_decoded), branch);
  gst_bin_add (GST_BIN (pipeline), branch);
  gst_pad_link (pad, sink);
  gst_element_sync_state_with_parent (branch);
  gst_object_unref (inner);
}

/* The pad is unlinked already; what hung on it goes, too. */
static void
on_pad_removed (GstElement *source, GstPad *pad, GstElement *pipeline)
{
  g_autofree char *name = gst_pad_get_name (pad);
  GstElement *branch = gst_bin_get_by_name (GST_BIN (pipeline), name);

  if (branch == NULL)
    return;
  gst_element_set_locked_state (branch, TRUE);
  gst_bin_remove (GST_BIN (pipeline), branch);
  gst_element_set_state (branch, GST_STATE_NULL);
  gst_object_unref (branch);
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- shows a natrelay stream");
  g_autoptr (GError) error = NULL;
  Connection connection = {0};

  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_uri == NULL) {
    g_printerr ("%s (try --help)\n", error != NULL ? error->message : "give an --uri");
    return 2;
  }
  connection.end = gst_element_factory_make ("natrelaysrc", NULL);
  if (connection.end == NULL) {
    g_printerr ("natrelaysrc is not there: set GST_PLUGIN_PATH to build/gst/natrelay\n");
    return 2;
  }
  connection.pipeline = gst_pipeline_new (NULL);
  gst_bin_add (GST_BIN (connection.pipeline), connection.end);
  g_object_set (connection.end, "uri", opt_uri, NULL);
  g_signal_connect (connection.end, "pad-added", G_CALLBACK (on_pad_added), connection.pipeline);
  g_signal_connect (
      connection.end, "pad-removed", G_CALLBACK (on_pad_removed), connection.pipeline);
  connection_run (&connection, opt_seconds);
  gst_object_unref (connection.pipeline);
  return connection.code;
}
