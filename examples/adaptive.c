/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application whose encoder follows what the link can take, between a lowest and a highest bitrate.
 *
 *     test film ! x264enc ! pay ! natrelaysink
 *                   ^                  |
 *                bitrate  <-  estimated-bitrate
 *
 * A line "bitrate=… estimated=…", in kbit/s, is printed with every change. */

#include <locale.h>
#include <stdio.h>
#include <gst/gst.h>

#include "connection.h"

static char *opt_uri;
static double opt_seconds;
static int opt_lowest = 150, opt_highest = 8000;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri,
        "where to send; the access token is taken from NATRELAY_AUTH_TOKEN", "natrelay://…"},
    {"lowest", 0, 0, G_OPTION_ARG_INT, &opt_lowest, "least bitrate of the encoder (default 150)",
        "KBIT/S"},
    {"highest", 0, 0, G_OPTION_ARG_INT, &opt_highest,
        "highest bitrate of the encoder (default 8000)", "KBIT/S"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {NULL}};

/* A picture with much to encode, so that the encoder uses what it is given; and a short buffer of its
 * own, so that it follows within a picture or two. */
#define PIPELINE                                                                                   \
  "videotestsrc is-live=true pattern=snow ! video/x-raw,width=640,height=360,framerate=30/1 ! "    \
  "queue ! x264enc name=encoder tune=zerolatency speed-preset=ultrafast key-int-max=60 "           \
  "vbv-buf-capacity=120 bitrate=500 ! natrelaysink name=end"

/* On a thread of the element's. Packets' headers and what the encoder overshoots want a tenth. */
static void
on_estimate (GstElement *sink, GParamSpec *pspec, GstElement *encoder)
{
  guint estimated = 0, bitrate;

  g_object_get (sink, "estimated-bitrate", &estimated, NULL);
  bitrate = (guint)CLAMP (estimated / 1000.0 * 0.9, opt_lowest, opt_highest);
  g_object_set (encoder, "bitrate", bitrate, NULL);
  printf ("bitrate=%u estimated=%u\n", bitrate, estimated / 1000);
  fflush (stdout);
}

static gboolean
build (Connection *connection, GError **error)
{
  GstElement *encoder;

  connection->pipeline = gst_parse_launch (PIPELINE, error);
  if (connection->pipeline == NULL || *error != NULL)
    return FALSE;
  connection->end = gst_bin_get_by_name (GST_BIN (connection->pipeline), "end");
  g_object_set (connection->end, "uri", opt_uri, NULL);
  encoder = gst_bin_get_by_name (GST_BIN (connection->pipeline), "encoder");
  g_object_set (encoder, "bitrate", CLAMP (500, opt_lowest, opt_highest), NULL);
  g_signal_connect_object (
      connection->end, "notify::estimated-bitrate", G_CALLBACK (on_estimate), encoder, 0);
  gst_object_unref (encoder); /* the pipeline has it */
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new ("- sends a film at the bitrate that the link can take");
  g_autoptr (GError) error = NULL;
  Connection connection = {0};

  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_uri == NULL ||
      opt_lowest < 1 || opt_lowest > opt_highest) {
    g_printerr ("%s (try --help)\n",
        error != NULL ? error->message : "give an --uri, and lowest <= highest");
    return 2;
  }
  if (!build (&connection, &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  connection_run (&connection, opt_seconds);
  gst_object_unref (connection.end);
  gst_object_unref (connection.pipeline);
  return connection.code;
}
