/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application with both elements in it, as a video doorbell or a robot has: it sends its own stream and plays
 * another's, and minds all that the bus says. It stands alone: nothing of connection.c is used.
 *
 *     out:  test film ! x264enc ! natrelaysink          natrelay://relay/robots/ann
 *     in:   natrelaysrc ! decodebin ! autovideosink     natrelay://relay/robots/bob
 *
 * Each is a pipeline of its own, so that one may fail, end or be started anew while the other plays on. What
 * follows from each message stands in on_element() and on_error(). The rule is: natrelay reconnects by itself, so
 * a WARNING or a lost connection is something to show; an ERROR is something to act on. */

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <glib-unix.h>
#include <gst/gst.h>

static char *opt_uri, *opt_me, *opt_peer, *opt_token_file;
static const char *opt_sink = "autovideosink";

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri, "the relay, and whatever is the same for both",
        "natrelay://HOST[?…]"},
    {"me", 0, 0, G_OPTION_ARG_STRING, &opt_me, "the stream to send", "STREAM"},
    {"peer", 0, 0, G_OPTION_ARG_STRING, &opt_peer, "the stream to play", "STREAM"},
    {"token-file", 0, 0, G_OPTION_ARG_FILENAME, &opt_token_file,
        "access token; read again when it runs out (default: $NATRELAY_AUTH_TOKEN)", "FILE"},
    {"sink", 0, 0, G_OPTION_ARG_STRING, &opt_sink, "where pictures go (default: autovideosink)",
        "ELEMENTS"},
    {NULL}};

#define AGAIN_S      5 /* before a pipeline that failed is started anew */
#define GOODBYE_MS   2000
#define HIGHEST_KBIT 4000
#define LOWEST_KBIT  150

typedef struct _App App;

/* One of the two directions. */
typedef struct {
  App *app;
  const char *name; /* for people */
  GstElement *pipeline, *end, *encoder;
  guint watch, again; /* GSource ids, or 0 */
  guint audience;     /* as was said last */
  gboolean over;      /* it will not be started again */
} Way;

struct _App {
  GMainLoop *loop;
  Way out, in;
  guint goodbye; /* GSource id, while it ends; or 0 */
  int code;
};

static void G_GNUC_PRINTF (2, 3) say (const Way *way, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  printf ("%s: %s\n", way->name, text);
  fflush (stdout);
}

/* ---- what the bus says: things to show -------------------------------------- */

/* How far a connection has come, in words for people; its codes are "negotiate", "challenge" and "register". */
static void
on_progress (Way *way, GstMessage *message)
{
  g_autofree char *code = NULL;
  g_autofree char *text = NULL;
  GstProgressType type;

  gst_message_parse_progress (message, &type, &code, &text);
  if (type == GST_PROGRESS_TYPE_START)
    say (way, "%s ...", text);
  else if (type == GST_PROGRESS_TYPE_ERROR)
    say (way, "%s failed: %s", code, text);
}

static void
on_warning (Way *way, GstMessage *message)
{
  g_autoptr (GError) error = NULL;

  gst_message_parse_warning (message, &error, NULL);
  say (way, "warning: %s", error->message);
}

/* ---- what the bus says: things to act on ------------------------------------ */

static const char *
text_of (const GstStructure *s, const char *field)
{
  const char *text = gst_structure_get_string (s, field);

  return text != NULL ? text : "?";
}

static guint
number_of (const GstStructure *s, const char *field)
{
  guint number = 0;

  gst_structure_get_uint (s, field, &number);
  return number;
}

/* The link takes so much; headers and what the encoder overshoots want a tenth of it. */
static void
follow_bitrate (Way *way, guint bits_per_s)
{
  guint kbit = CLAMP (bits_per_s / 1000 * 9 / 10, LOWEST_KBIT, HIGHEST_KBIT);

  if (way->encoder != NULL)
    g_object_set (way->encoder, "bitrate", kbit, NULL);
  say (way, "the encoder makes %u kbit/s", kbit);
}

/* The message also comes when those who watch fare better or worse. */
static void
follow_audience (Way *way, guint audience)
{
  if (audience != way->audience)
    say (way, "watched by %u", audience);
  way->audience = audience;
}

static void
on_element (Way *way, const GstStructure *s)
{
  g_autofree char *whole = gst_structure_to_string (s);

  if (gst_structure_has_name (s, "natrelay-connected"))
    say (way, "connected over %s, seen as %s (reconnects: %u)", text_of (s, "transport"),
        text_of (s, "mapped-address"), number_of (s, "reconnects"));
  else if (gst_structure_has_name (s, "natrelay-connection-lost"))
    say (way, "lost: %s; it tries again", text_of (s, "text"));
  else if (gst_structure_has_name (s, "natrelay-connection-attempt"))
    say (way, "attempt %u: %s; the next in %u ms", number_of (s, "attempt"), text_of (s, "text"),
        number_of (s, "retry-ms"));
  else if (gst_structure_has_name (s, "natrelay-transport"))
    say (way, "goes over %s now", text_of (s, "transport"));
  else if (gst_structure_has_name (s, "natrelay-bitrate"))
    follow_bitrate (way, number_of (s, "estimated-bitrate"));
  else if (gst_structure_has_name (s, "natrelay-audience"))
    follow_audience (way, number_of (s, "subscribers"));
  else if (gst_structure_has_name (s, "natrelay-latency-short")) {
    /* Repairs need that long. The pipeline is told by a LATENCY message. */
    g_object_set (way->end, "latency", number_of (s, "needed-ms"), NULL);
    say (way, "latency is %u ms now", number_of (s, "needed-ms"));
  } else if (g_str_has_prefix (gst_structure_get_name (s), "natrelay-"))
    say (way, "%s", whole); /* natrelay-path-size, natrelay-tracks-changed: on_pad() has done it */
}

static void way_start (Way *way);
static void way_stop (Way *way);

static gboolean
on_again (gpointer user)
{
  Way *way = user;

  way->again = 0;
  way_start (way);
  return G_SOURCE_REMOVE;
}

/* An ERROR ends a pipeline. Which it is, the message's details tell as "cause" (docs/elements lists them):
 * what a person must change is not tried again, the rest is after some seconds. */
static void
on_error (Way *way, GstMessage *message)
{
  static const char *const final[] = {"superseded", "not-authorized", "protocol", NULL};
  g_autoptr (GError) error = NULL;
  const GstStructure *details = NULL;
  const char *cause = NULL;

  gst_message_parse_error (message, &error, NULL);
  gst_message_parse_error_details (message, &details);
  if (details != NULL)
    cause = gst_structure_get_string (details, "cause");
  say (way, "error: %s", error->message);
  way_stop (way);
  if (cause != NULL && !g_strv_contains (final, cause)) {
    way->again = g_timeout_add_seconds (AGAIN_S, on_again, way);
    return;
  }
  way->over = TRUE;
  way->app->code = 1;
  if (way->app->out.over && way->app->in.over)
    g_main_loop_quit (way->app->loop);
}

/* Of our own goodbye: the relay has told the audience that this is the end, or they went before. */
static void
on_eos (Way *way)
{
  say (way, "the end");
  if (way->app->goodbye != 0)
    g_main_loop_quit (way->app->loop);
}

/* The default clock was a device that is gone. */
static void
on_clock_lost (Way *way)
{
  gst_element_set_state (way->pipeline, GST_STATE_PAUSED);
  gst_element_set_state (way->pipeline, GST_STATE_PLAYING);
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user)
{
  Way *way = user;

  switch (GST_MESSAGE_TYPE (message)) {
  case GST_MESSAGE_ERROR: on_error (way, message); return G_SOURCE_REMOVE; /* it is stopped */
  case GST_MESSAGE_WARNING: on_warning (way, message); break;
  case GST_MESSAGE_PROGRESS: on_progress (way, message); break;
  case GST_MESSAGE_ELEMENT: on_element (way, gst_message_get_structure (message)); break;
  case GST_MESSAGE_LATENCY: gst_bin_recalculate_latency (GST_BIN (way->pipeline)); break;
  case GST_MESSAGE_CLOCK_LOST: on_clock_lost (way); break;
  case GST_MESSAGE_EOS: on_eos (way); break;
  default: break;
  }
  return G_SOURCE_CONTINUE;
}

/* ---- the elements ------------------------------------------------------------ */

/* On a thread of the element's. The string is its to free; NULL leaves things as they are. */
static char *
on_request_auth_token (GstElement *end, Way *way)
{
  char *token = NULL;

  if (opt_token_file != NULL && g_file_get_contents (opt_token_file, &token, NULL, NULL))
    g_strstrip (token);
  return token;
}

/* On a streaming thread. One picture is shown; what else the stream has is left alone, which stops nothing. */
static void
on_pad (GstElement *source, GstPad *pad, GstElement *show)
{
  GstPad *sink = gst_element_get_static_pad (show, "sink");

  if (g_str_has_prefix (GST_PAD_NAME (pad), "video_") && !gst_pad_is_linked (sink))
    gst_pad_link (pad, sink);
  gst_object_unref (sink);
}

static GstPadProbeReturn
on_first_picture (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  say (user, "the first picture");
  return GST_PAD_PROBE_REMOVE;
}

static GstElement *
build_out (Way *way, GError **error)
{
  GstElement *pipeline = gst_parse_launch (
      "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! "
      "queue ! x264enc name=encoder tune=zerolatency speed-preset=ultrafast key-int-max=60 "
      "bitrate=1000 ! natrelaysink name=end",
      error);

  if (pipeline != NULL)
    way->encoder = gst_bin_get_by_name (GST_BIN (pipeline), "encoder");
  return pipeline;
}

static GstElement *
build_in (Way *way, GError **error)
{
  g_autofree char *line =
      g_strdup_printf ("natrelaysrc name=end decodebin name=show ! videoconvert ! queue name=due ! "
                       "%s",
          opt_sink);
  GstElement *pipeline = gst_parse_launch (line, error), *end, *show, *due;
  GstPad *pad;

  if (pipeline == NULL)
    return NULL;
  end = gst_bin_get_by_name (GST_BIN (pipeline), "end");
  show = gst_bin_get_by_name (GST_BIN (pipeline), "show");
  due = gst_bin_get_by_name (GST_BIN (pipeline), "due");
  pad = gst_element_get_static_pad (due, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_first_picture, way, NULL);
  g_signal_connect_object (end, "pad-added", G_CALLBACK (on_pad), show, 0);
  gst_object_unref (pad);
  gst_object_unref (due);
  gst_object_unref (show);
  gst_object_unref (end);
  return pipeline;
}

/* natrelay://HOST?QUERY -> natrelay://HOST/STREAM?QUERY */
static char *
uri_of (const char *stream)
{
  gsize host = strcspn (opt_uri, "?");

  return g_strdup_printf ("%.*s/%s%s", (int)host, opt_uri, stream, opt_uri + host);
}

static void
way_start (Way *way)
{
  gboolean sends = way == &way->app->out;
  g_autofree char *uri = uri_of (sends ? opt_me : opt_peer);
  g_autofree char *token = NULL;
  g_autoptr (GError) error = NULL;
  GstBus *bus;

  way->pipeline = sends ? build_out (way, &error) : build_in (way, &error);
  if (error != NULL) {
    say (way, "%s", error->message);
    gst_clear_object (&way->pipeline);
    way->over = TRUE;
    way->app->code = 1;
    return;
  }
  way->end = gst_bin_get_by_name (GST_BIN (way->pipeline), "end");
  g_object_set (way->end, "uri", uri, NULL);
  token = on_request_auth_token (way->end, way);
  if (token != NULL)
    g_object_set (way->end, "auth-token", token, NULL);
  g_signal_connect (way->end, "request-auth-token", G_CALLBACK (on_request_auth_token), way);
  bus = gst_element_get_bus (way->pipeline);
  way->watch = gst_bus_add_watch (bus, on_message, way);
  gst_object_unref (bus);
  gst_element_set_state (way->pipeline, GST_STATE_PLAYING);
}

/* After that nothing of it calls us any more: what was still on the bus is dropped with the watch. */
static void
way_stop (Way *way)
{
  g_clear_handle_id (&way->again, g_source_remove);
  g_clear_handle_id (&way->watch, g_source_remove);
  if (way->pipeline == NULL)
    return;
  gst_element_set_state (way->pipeline, GST_STATE_NULL);
  gst_clear_object (&way->encoder);
  gst_clear_object (&way->end);
  gst_clear_object (&way->pipeline);
}

/* ---- the end ------------------------------------------------------------------ */

static gboolean
on_goodbye_over (gpointer user)
{
  App *app = user;

  app->goodbye = 0;
  g_main_loop_quit (app->loop);
  return G_SOURCE_REMOVE;
}

/* EOS first: it ends the stream for who watches. Without it they would wait for us to come back. */
static gboolean
on_interrupt (gpointer user)
{
  App *app = user;

  if (app->goodbye != 0 || app->out.pipeline == NULL) {
    g_main_loop_quit (app->loop);
    return G_SOURCE_CONTINUE;
  }
  app->goodbye = g_timeout_add (GOODBYE_MS, on_goodbye_over, app);
  gst_element_send_event (app->out.pipeline, gst_event_new_eos ());
  return G_SOURCE_CONTINUE;
}

static int
run (void)
{
  App app = {.loop = g_main_loop_new (NULL, FALSE),
      .out = {.app = &app, .name = "out"},
      .in = {.app = &app, .name = "in"}};
  guint interrupt = g_unix_signal_add (SIGINT, on_interrupt, &app);
  guint terminate = g_unix_signal_add (SIGTERM, on_interrupt, &app);

  way_start (&app.out);
  way_start (&app.in);
  if (!app.out.over || !app.in.over)
    g_main_loop_run (app.loop);
  way_stop (&app.out);
  way_stop (&app.in);
  g_clear_handle_id (&app.goodbye, g_source_remove);
  g_source_remove (interrupt);
  g_source_remove (terminate);
  g_main_loop_unref (app.loop);
  return app.code;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new ("- sends a stream and plays another, by way of a natrelay relay");
  g_autoptr (GError) error = NULL;

  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_uri == NULL ||
      opt_me == NULL || opt_peer == NULL) {
    g_printerr (
        "%s (try --help)\n", error != NULL ? error->message : "give --uri, --me and --peer");
    return 2;
  }
  return run ();
}
