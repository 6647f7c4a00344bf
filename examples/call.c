/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* IP telephony: one call, from behind any NAT to behind any other. Each side publishes its own voice and plays
 * the other's, in one pipeline, so that the echo canceller knows what the loudspeaker says.
 *
 *     microphone ! (echo canceller) ! opusenc ! natrelaysink     natrelay://relay/call/alice
 *     natrelaysrc ! opusdec ! (probe) ! loudspeaker              natrelay://relay/call/bob
 *
 * The other side runs the same with --me bob --peer alice. Either may come first, go and come back.
 *
 * From mouth to ear it takes a period of the microphone, Opus's look-ahead, the way, --latency for what
 * comes late or must be asked for again, and what the loudspeaker keeps in its buffer. */

#include <locale.h>
#include <gst/gst.h>

#include "connection.h"

static char *opt_uri, *opt_me, *opt_peer, *opt_source, *opt_sink;
static double opt_seconds;
static int opt_frame = 10, opt_latency = 60, opt_buffer = 16, opt_bitrate = 48000;
static gboolean opt_tone, opt_no_echo;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri, "the call, at a relay", "natrelay://…"},
    {"me", 0, 0, G_OPTION_ARG_STRING, &opt_me, "this side's name in it", "NAME"},
    {"peer", 0, 0, G_OPTION_ARG_STRING, &opt_peer, "the other's", "NAME"},
    {"source", 0, 0, G_OPTION_ARG_STRING, &opt_source, "microphone (default: autoaudiosrc)",
        "ELEMENTS"},
    {"sink", 0, 0, G_OPTION_ARG_STRING, &opt_sink, "loudspeaker (default: autoaudiosink)",
        "ELEMENTS"},
    {"tone", 0, 0, G_OPTION_ARG_NONE, &opt_tone, "a tick each second in the microphone's place",
        NULL},
    {"no-echo-cancellation", 0, 0, G_OPTION_ARG_NONE, &opt_no_echo, "for headphones", NULL},
    {"frame", 0, 0, G_OPTION_ARG_INT, &opt_frame, "of Opus: 10 (default) or 20", "MS"},
    {"bitrate", 0, 0, G_OPTION_ARG_INT, &opt_bitrate, "of Opus (default 48000)", "BIT/S"},
    {"latency", 0, 0, G_OPTION_ARG_INT, &opt_latency, "of natrelaysrc (default 60)", "MS"},
    {"buffer", 0, 0, G_OPTION_ARG_INT, &opt_buffer, "of the loudspeaker (default 16)", "MS"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {NULL}};

#define TONE  "audiotestsrc is-live=true wave=ticks samplesperbuffer=480"
#define VOICE "audio/x-raw,format=S16LE,rate=48000,channels=1"

/* Opus has 2.5 ms of look-ahead instead of 6.5 this way, and hides what is lost (plc). */
#define PIPELINE                                                                                   \
  "%s ! audioconvert ! audioresample ! " VOICE " ! %s"                                             \
  "opusenc audio-type=restricted-lowdelay frame-size=%d bitrate=%d ! natrelaysink name=speak "     \
  "natrelaysrc name=listen latency=%d "                                                            \
  "listen.audio_0 ! rtpopusdepay ! opusdec plc=true ! audioconvert ! audioresample ! " VOICE       \
  " ! %s%s"

/* Against noise it would have 10 ms more. */
#define CANCELLER "webrtcdsp probe=heard noise-suppression=false ! "
#define PROBE     "webrtcechoprobe name=heard ! "

/* It is in GStreamer's "bad" plugins, not everywhere. */
static gboolean
has_canceller (void)
{
  GstElementFactory *factory = gst_element_factory_find ("webrtcdsp");

  if (factory == NULL)
    return FALSE;
  gst_object_unref (factory);
  return TRUE;
}

/* @name below the call's URI, whose properties stay. */
static char *
uri_of (const char *name)
{
  GstUri *uri = gst_uri_from_string (opt_uri);
  char *text = NULL;

  if (uri != NULL && gst_uri_append_path_segment (uri, name))
    text = gst_uri_to_string (uri);
  g_clear_pointer (&uri, gst_uri_unref);
  return text;
}

/* A loudspeaker for talking, whichever it is: autoaudiosink chooses one when it is started, and has no such properties
 * itself. Its buffer is small: 200 ms is what GStreamer's keep. A stream that is not where its time stamps say goes
 * there from 5 ms on (else 40: so much may be left of the first packets, which come late). And no 20 ms
 * are kept for decoding, for which Opus needs less than one. Microphones are well as they are. */
static void
set_up_loudspeaker (GstElement *element)
{
  gint64 buffer_us = (gint64)opt_buffer * 1000;

  if (g_object_class_find_property (G_OBJECT_GET_CLASS (element), "alignment-threshold") == NULL)
    return;
  g_object_set (element, "buffer-time", buffer_us, "latency-time", buffer_us / 4, "drift-tolerance",
      (gint64)5000, "alignment-threshold", 5 * GST_MSECOND, "discont-wait", 100 * GST_MSECOND,
      "processing-deadline", (GstClockTime)0, NULL);
}

static void
on_element_added (GstBin *pipeline, GstBin *bin, GstElement *element, gpointer user)
{
  set_up_loudspeaker (element);
}

static void
on_element_found (const GValue *item, gpointer user)
{
  set_up_loudspeaker (g_value_get_object (item));
}

static void
set_up_loudspeakers (GstBin *pipeline)
{
  GstIterator *it = gst_bin_iterate_recurse (pipeline);

  gst_iterator_foreach (it, on_element_found, NULL);
  gst_iterator_free (it);
  g_signal_connect (pipeline, "deep-element-added", G_CALLBACK (on_element_added), NULL);
}

/* FALSE: that is no URI. */
static gboolean
set_uri (GstElement *element, const char *name)
{
  g_autofree char *uri = uri_of (name);

  return uri != NULL && gst_uri_handler_set_uri (GST_URI_HANDLER (element), uri, NULL);
}

static gboolean
build (Connection *connection, GError **error)
{
  gboolean cancel = !opt_no_echo && has_canceller ();
  const char *source = opt_source != NULL ? opt_source : "autoaudiosrc";
  g_autofree char *line = g_strdup_printf (PIPELINE, opt_tone ? TONE : source,
      cancel ? CANCELLER : "", opt_frame, opt_bitrate, opt_latency, cancel ? PROBE : "",
      opt_sink != NULL ? opt_sink : "autoaudiosink");

  connection->pipeline = gst_parse_launch (line, error);
  if (connection->pipeline == NULL || *error != NULL)
    return FALSE;
  connection->end = gst_bin_get_by_name (GST_BIN (connection->pipeline), "speak");
  connection->other_end = gst_bin_get_by_name (GST_BIN (connection->pipeline), "listen");
  set_up_loudspeakers (GST_BIN (connection->pipeline));
  if (set_uri (connection->end, opt_me) && set_uri (connection->other_end, opt_peer))
    return TRUE;
  g_set_error (error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI,
      "\"%s\" with \"%s\" and \"%s\" makes no stream names", opt_uri, opt_me, opt_peer);
  return FALSE;
}

static gboolean
parse (int *argc, char ***argv, GError **error)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new ("- talks to somebody through a natrelay relay");

  g_option_context_set_description (context,
      "  call --uri natrelay://relay.example.org/call --me alice --peer bob\n"
      "  call --uri natrelay://relay.example.org/call --me bob --peer alice\n\n"
      "NATRELAY_AUTH_TOKEN holds a token for both: natrelay-token create --publish call/alice "
      "--subscribe call/bob\n");
  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  return g_option_context_parse (context, argc, argv, error);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  Connection connection = {0};

  if (!parse (&argc, &argv, &error) || opt_uri == NULL || opt_me == NULL || opt_peer == NULL) {
    g_printerr (
        "%s (try --help)\n", error != NULL ? error->message : "give --uri, --me and --peer");
    return 2;
  }
  if (!build (&connection, &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  connection_run (&connection, opt_seconds);
  gst_object_unref (connection.end);
  gst_object_unref (connection.other_end);
  gst_object_unref (connection.pipeline);
  return connection.code;
}
