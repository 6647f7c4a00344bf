/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "camera.h"

#include <stdio.h>
#include <string.h>

#define LOOK_S 1 /* between two looks whether packets came */

/* A pipeline that goes. What rtspsrc has read of a message it reads to its end, if the camera takes hours to send the
 * rest: a thread waits for that. */
typedef struct {
  GstElement *pipeline;
  gint down; /* atomic */
} Goodbye;

struct _Camera {
  const CameraConfig *config;
  void (*over) (gpointer user);
  gpointer user;

  GstElement *pipeline, *sink; /* NULL between two tries */
  Goodbye *goodbye;            /* of the last try, counted; NULL before that is over */
  guint bus_watch, look, retry;
  guint wait_s;        /* before the next try */
  guint silent_s;      /* since the last packet, in looks */
  gint *packets;       /* counted; atomic: since the last look; the pipeline's threads add */
  gboolean has_played; /* in this try */
};

static void try_later (Camera *camera, const char *cause);
static void take_down (Camera *camera);

/* ---- Tracks ------------------------------------------------------------ */

static GstPadProbeReturn
count_packet (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  gint *packets = user;

  g_atomic_int_inc (packets);
  return GST_PAD_PROBE_OK;
}

/* The first packet of a track brings its pad, in any order. The sink's are asked for before, so that it describes all
 * tracks at once, as the camera numbers them. ONVIF's metadata and the like are not asked for at all. */
static gboolean
select_stream (GstElement *source, guint number, GstCaps *caps, gpointer user)
{
  const char *media = gst_structure_get_string (gst_caps_get_structure (caps, 0), "media");
  g_autofree char *name = g_strdup_printf ("sink_%u", number);
  GstElement *sink;
  GstPad *pad;

  if (g_strcmp0 (media, "video") != 0 && g_strcmp0 (media, "audio") != 0)
    return FALSE;
  sink = gst_bin_get_by_name (GST_BIN (GST_OBJECT_PARENT (source)), "relay");
  pad = gst_element_request_pad_simple (sink, name);
  gst_object_unref (sink);
  if (!pad)
    return FALSE;
  gst_object_unref (pad);
  return TRUE;
}

/* "stream_1" (without a session manager), "recv_rtp_src_1_..." -> "sink_1" */
static GstPad *
end_of (GstElement *sink, GstPad *pad)
{
  g_autofree char *name = gst_pad_get_name (pad);
  g_autofree char *wanted = NULL;
  guint number;

  if (sscanf (name, "stream_%u", &number) != 1 && sscanf (name, "recv_rtp_src_%u_", &number) != 1)
    return NULL;
  wanted = g_strdup_printf ("sink_%u", number);
  return gst_element_get_static_pad (sink, wanted);
}

/* On the source's own thread, which the camera may not live to see the end of. */
static void
add_track (GstElement *source, GstPad *pad, gint *packets)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (GST_OBJECT_PARENT (source)), "relay");
  GstPad *end = end_of (sink, pad);

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST, count_packet,
      g_atomic_rc_box_acquire (packets), g_atomic_rc_box_release);
  if (!end || gst_pad_link (pad, end) != GST_PAD_LINK_OK)
    g_warning ("%s: a track of the camera (%s) cannot be sent%s",
        GST_OBJECT_NAME (GST_OBJECT_PARENT (source)), GST_PAD_NAME (pad),
        end ? "" : ": it was not announced");
  gst_clear_object (&end);
  gst_object_unref (sink);
}

/* ---- Saying what happens ----------------------------------------------- */

static void
say_playing (Camera *camera)
{
  GString *tracks = g_string_new (NULL);

  GST_OBJECT_LOCK (camera->sink);
  for (GList *link = camera->sink->sinkpads; link; link = link->next) {
    GstCaps *caps = gst_pad_get_current_caps (link->data);
    const char *name =
        caps ? gst_structure_get_string (gst_caps_get_structure (caps, 0), "encoding-name") : NULL;

    if (name)
      g_string_append_printf (tracks, "%s%s", tracks->len ? " and " : "", name);
    gst_clear_caps (&caps);
  }
  GST_OBJECT_UNLOCK (camera->sink);
  g_message ("%s: the camera plays %s", camera->config->name, tracks->str);
  g_string_free (tracks, TRUE);
}

static gboolean
is_of_sink (Camera *camera, GstMessage *message)
{
  return GST_MESSAGE_SRC (message) == GST_OBJECT (camera->sink);
}

/* The relay's side, in the words of natrelaysink. Why it went wrong comes in another message, too. */
static void
say_progress (Camera *camera, GstMessage *message)
{
  GstProgressType type;
  g_autofree char *code = NULL;
  g_autofree char *text = NULL;

  gst_message_parse_progress (message, &type, &code, &text);
  if (type != GST_PROGRESS_TYPE_ERROR)
    g_message ("%s: %s", camera->config->name, text);
}

static void
say_setback (Camera *camera, GstMessage *message)
{
  const GstStructure *s = gst_message_get_structure (message);

  if (gst_structure_has_name (s, "natrelay-connection-attempt") ||
      gst_structure_has_name (s, "natrelay-connection-lost"))
    g_message ("%s: %s", camera->config->name, gst_structure_get_string (s, "text"));
}

/* ---- The pipeline ------------------------------------------------------ */

static gboolean
is_superseded (GstMessage *message)
{
  const GstStructure *details = NULL;
  const char *cause;

  gst_message_parse_error_details (message, &details);
  cause = details ? gst_structure_get_string (details, "cause") : NULL;
  return g_strcmp0 (cause, "superseded") == 0;
}

/* What rtspsrc says of a camera names neither whom it asked nor what to do. */
static const char *
explain (const GError *error)
{
  if (g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ_WRITE))
    return "The camera does not answer: check that it is on, and its address";
  if (g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_AUTHORIZED))
    return "The camera wants another user or password: check them in its address, "
           "rtsp://USER:PASSWORD@...";
  if (g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND))
    return "The camera has no such stream: check what follows host and port in its address";
  return error->message;
}

static void
take_error (Camera *camera, GstMessage *message)
{
  g_autoptr (GError) error = NULL;
  gboolean by_sink = is_of_sink (camera, message);

  gst_message_parse_error (message, &error, NULL);
  if (!(camera->over && by_sink && is_superseded (message))) {
    try_later (camera, by_sink ? error->message : explain (error));
    return;
  }
  g_warning ("%s: %s; given up", camera->config->name, error->message);
  take_down (camera);
  camera->over (camera->user);
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user)
{
  Camera *camera = user;

  switch (GST_MESSAGE_TYPE (message)) {
  case GST_MESSAGE_ERROR: take_error (camera, message); return G_SOURCE_REMOVE;
  case GST_MESSAGE_EOS: try_later (camera, "the camera ended the stream"); return G_SOURCE_REMOVE;
  case GST_MESSAGE_PROGRESS:
    if (is_of_sink (camera, message))
      say_progress (camera, message);
    break;
  case GST_MESSAGE_ELEMENT:
    if (is_of_sink (camera, message))
      say_setback (camera, message);
    break;
  case GST_MESSAGE_LATENCY: gst_bin_recalculate_latency (GST_BIN (camera->pipeline)); break;
  default: break;
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
look (gpointer user)
{
  Camera *camera = user;
  gboolean heard = g_atomic_int_and ((guint *)camera->packets, 0) > 0;

  camera->silent_s = heard ? 0 : camera->silent_s + LOOK_S;
  if (heard && !camera->has_played) {
    camera->has_played = TRUE;
    camera->wait_s = CAMERA_RETRY_S;
    say_playing (camera);
  }
  if (camera->silent_s < CAMERA_SILENCE_S)
    return G_SOURCE_CONTINUE;
  camera->look = 0;
  try_later (camera, "the camera sends nothing");
  return G_SOURCE_REMOVE;
}

static void
release_packets (gpointer packets, GClosure *closure)
{
  g_atomic_rc_box_release (packets);
}

static void
build (Camera *camera)
{
  const CameraConfig *config = camera->config;
  GstElement *source = gst_element_factory_make ("rtspsrc", "camera");
  GstBus *bus;

  camera->sink = gst_element_factory_make ("natrelaysink", "relay");
  camera->pipeline = gst_pipeline_new (config->name);
  gst_bin_add_many (GST_BIN (camera->pipeline), source, camera->sink, NULL);
  g_object_set (source, "location", config->location, "protocols", config->transports, "latency",
      config->latency_ms, "teardown-timeout", GST_SECOND / 4, NULL);
  g_object_set (camera->sink, "uri", config->relay, NULL);
  if (config->token)
    g_object_set (camera->sink, "auth-token", config->token, NULL);
  camera->packets = g_atomic_rc_box_new0 (gint);
  g_signal_connect (source, "select-stream", G_CALLBACK (select_stream), NULL);
  g_signal_connect_data (source, "pad-added", G_CALLBACK (add_track),
      g_atomic_rc_box_acquire (camera->packets), release_packets, 0);
  bus = gst_element_get_bus (camera->pipeline);
  camera->bus_watch = gst_bus_add_watch (bus, on_message, camera);
  gst_object_unref (bus);
}

static gpointer
say_goodbye (gpointer data)
{
  Goodbye *goodbye = data;

  gst_element_set_state (goodbye->pipeline, GST_STATE_NULL);
  gst_object_unref (goodbye->pipeline);
  g_atomic_int_set (&goodbye->down, TRUE);
  g_atomic_rc_box_release (goodbye);
  g_main_context_wakeup (NULL);
  return NULL;
}

/* Nothing of it calls us any more; it goes by itself. */
static void
take_down (Camera *camera)
{
  g_clear_handle_id (&camera->look, g_source_remove);
  g_clear_handle_id (&camera->bus_watch, g_source_remove);
  if (!camera->pipeline)
    return;
  camera->sink = NULL;
  g_clear_pointer (&camera->packets, g_atomic_rc_box_release);
  camera->goodbye = g_atomic_rc_box_new0 (Goodbye);
  camera->goodbye->pipeline = g_steal_pointer (&camera->pipeline);
  g_thread_unref (g_thread_new ("goodbye", say_goodbye, g_atomic_rc_box_acquire (camera->goodbye)));
}

static gboolean
try (gpointer user)
{
  Camera *camera = user;

  /* What does not go must not become many. */
  if (!camera_is_down (camera))
    return G_SOURCE_CONTINUE;
  camera->retry = 0;
  camera->has_played = FALSE;
  camera->silent_s = 0;
  g_clear_pointer (&camera->goodbye, g_atomic_rc_box_release);
  build (camera);
  camera->look = g_timeout_add_seconds (LOOK_S, look, camera);
  gst_element_set_state (camera->pipeline, GST_STATE_PLAYING);
  return G_SOURCE_REMOVE;
}

/* Also from the pipeline's own watch, which then must remove itself. */
static void
try_later (Camera *camera, const char *cause)
{
  gsize length = strlen (cause);

  if (g_str_has_suffix (cause, "."))
    length--;
  g_warning (
      "%s: %.*s; next try in %u s", camera->config->name, (int)length, cause, camera->wait_s);
  take_down (camera);
  camera->retry = g_timeout_add_seconds (camera->wait_s, try, camera);
  camera->wait_s = MIN (2 * camera->wait_s, CAMERA_RETRY_MAX_S);
}

Camera *
camera_new (const CameraConfig *config, void (*over) (gpointer user), gpointer user)
{
  Camera *camera = g_new0 (Camera, 1);
  g_autofree char *location = camera_config_describe (config);

  camera->config = config;
  camera->over = over;
  camera->user = user;
  camera->wait_s = CAMERA_RETRY_S;
  g_message ("%s: asking %s", config->name, location);
  try (camera);
  return camera;
}

void
camera_stop (Camera *camera)
{
  g_clear_handle_id (&camera->retry, g_source_remove);
  take_down (camera);
}

gboolean
camera_is_down (const Camera *camera)
{
  return !camera->pipeline && (!camera->goodbye || g_atomic_int_get (&camera->goodbye->down));
}

void
camera_free (Camera *camera)
{
  camera_stop (camera);
  g_clear_pointer (&camera->goodbye, g_atomic_rc_box_release);
  g_free (camera);
}
