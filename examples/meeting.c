/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A meeting: everybody publishes camera and microphone as ROOM/NAME, and sees and hears ROOM/\*, whoever that is.
 *
 *     camera ! vp8enc ! natrelaysink          natrelaysrc ! decodebin ! compositor ! screen
 *     microphone ! opusenc ! '                            ! decodebin ! audiomixer ! loudspeaker
 *                                                         ...one for each pad that comes
 *
 * With --test there are neither cameras nor windows, and it prints what came of whom. */

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "connection.h"

#define WIDTH   640
#define HEIGHT  480
#define LATENCY 200 /* ms, of natrelaysrc */
/* What mixers wait for: that, and a decoder. */
#define MIXER_LATENCY "min-upstream-latency=300000000"

static char *opt_room, *opt_name, *opt_publish_token, *opt_subscribe_token;
static double opt_seconds;
static gboolean opt_test;

static GOptionEntry options[] = {{"room", 0, 0, G_OPTION_ARG_STRING, &opt_room, "where to meet",
                                     "natrelay://HOST/ROOM[?PROPERTY=VALUE…]"},
    {"name", 0, 0, G_OPTION_ARG_STRING, &opt_name, "who you are", "NAME"},
    {"publish-token", 0, 0, G_OPTION_ARG_STRING, &opt_publish_token,
        "for ROOM/NAME (default: NATRELAY_AUTH_TOKEN)", "TOKEN"},
    {"subscribe-token", 0, 0, G_OPTION_ARG_STRING, &opt_subscribe_token,
        "for all of ROOM (default: the same)", "TOKEN"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {"test", 0, 0, G_OPTION_ARG_NONE, &opt_test, "no camera, no window, no sound", NULL}, {NULL}};

typedef struct {
  Connection connection;
  GstElement *pictures, *sounds; /* the mixers */
  GMutex lock;                   /* pads come and go on several threads */
  GPtrArray *faces;              /* Branch, of those who are seen */
} Meeting;

/* From one pad of natrelaysrc to a mixer. */
typedef struct {
  Meeting *meeting;
  char *stream; /* whose */
  gboolean video;
  GstElement *bin;
  GstPad *mixer_pad;
  guint buffers; /* decoded; these three under the meeting's lock */
  gint64 last_us, gap_us;
} Branch;

/* ---- who it is, and what came ----------------------------------------------- */

/* Each pad has tags: their title is the stream's name. (Its stream id ends in it as well.) */
static char *
stream_of (GstPad *pad)
{
  GstEvent *event = gst_pad_get_sticky_event (pad, GST_EVENT_TAG, 0);
  GstTagList *tags;
  char *title = NULL;

  if (event == NULL)
    return g_strdup ("somebody");
  gst_event_parse_tag (event, &tags);
  gst_tag_list_get_string (tags, GST_TAG_TITLE, &title);
  gst_event_unref (event);
  return title != NULL ? title : g_strdup ("somebody");
}

static const char *
media_of (const Branch *branch)
{
  return branch->video ? "video" : "audio";
}

static GstPadProbeReturn
on_buffer (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Branch *branch = user;
  gint64 now = g_get_monotonic_time ();
  gboolean first;

  g_mutex_lock (&branch->meeting->lock);
  first = branch->buffers++ == 0;
  if (!first)
    branch->gap_us = MAX (branch->gap_us, now - branch->last_us);
  branch->last_us = now;
  g_mutex_unlock (&branch->meeting->lock);
  if (first) {
    printf ("flows: %s %s\n", branch->stream, media_of (branch));
    fflush (stdout);
  }
  return GST_PAD_PROBE_OK;
}

/* ---- faces ------------------------------------------------------------------ */

/* called with the lock: a square of tiles */
static void
arrange (Meeting *meeting)
{
  guint n = meeting->faces->len, columns = (guint)ceil (sqrt (n));

  for (guint i = 0; i < n; i++) {
    Branch *branch = meeting->faces->pdata[i];
    guint width = WIDTH / columns, height = HEIGHT / columns;

    g_object_set (branch->mixer_pad, "xpos", i % columns * width, "ypos", i / columns * height,
        "width", width, "height", height, NULL);
  }
}

static void
branch_free (Branch *branch)
{
  g_free (branch->stream);
  g_free (branch);
}

static GstPad *
add_ghost (GstElement *bin, const char *element, const char *name)
{
  GstElement *inner = gst_bin_get_by_name (GST_BIN (bin), element);
  GstPad *target = gst_element_get_static_pad (inner, name);
  GstPad *ghost = gst_ghost_pad_new (name, target);

  gst_element_add_pad (bin, ghost);
  gst_object_unref (target);
  gst_object_unref (inner);
  return ghost;
}

static void
on_pad_added (GstElement *source, GstPad *pad, gpointer user)
{
  Meeting *meeting = user;
  Branch *branch = g_new0 (Branch, 1);
  GstElement *mixer;
  GstPad *sink, *src;

  branch->meeting = meeting;
  branch->stream = stream_of (pad);
  branch->video = g_str_has_prefix (GST_PAD_NAME (pad), "video");
  mixer = branch->video ? meeting->pictures : meeting->sounds;
  branch->bin = gst_parse_bin_from_description (
      branch->video ? "decodebin name=first ! queue ! videoconvert name=last"
                    : "decodebin name=first ! queue ! audioconvert ! audioresample name=last",
      FALSE, NULL);
  branch->mixer_pad = gst_element_request_pad_simple (mixer, "sink_%u");
  sink = add_ghost (branch->bin, "first", "sink");
  src = add_ghost (branch->bin, "last", "src");
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, on_buffer, branch, NULL);
  gst_bin_add (GST_BIN (meeting->connection.pipeline), branch->bin);
  gst_pad_link (src, branch->mixer_pad);
  g_object_set_data (G_OBJECT (pad), "branch", branch);
  if (branch->video) {
    g_mutex_lock (&meeting->lock);
    g_ptr_array_add (meeting->faces, branch);
    arrange (meeting);
    g_mutex_unlock (&meeting->lock);
  }
  gst_element_sync_state_with_parent (branch->bin);
  gst_pad_link (pad, sink); /* now that it is ready for what comes */
}

/* What stood still until its end has stalled, too; unless it is we who stop. */
static void
last_gap (Branch *branch)
{
  Meeting *meeting = branch->meeting;

  g_mutex_lock (&meeting->lock);
  if (branch->buffers > 0 && GST_STATE_TARGET (meeting->connection.pipeline) == GST_STATE_PLAYING)
    branch->gap_us = MAX (branch->gap_us, g_get_monotonic_time () - branch->last_us);
  g_mutex_unlock (&meeting->lock);
}

/* The mixer's pad first: what waits in it is let go. */
static void
on_pad_removed (GstElement *source, GstPad *pad, gpointer user)
{
  Meeting *meeting = user;
  Branch *branch = g_object_get_data (G_OBJECT (pad), "branch");

  if (branch == NULL)
    return;
  last_gap (branch);
  if (branch->video) {
    g_mutex_lock (&meeting->lock);
    g_ptr_array_remove (meeting->faces, branch);
    arrange (meeting);
    g_mutex_unlock (&meeting->lock);
  }
  gst_element_release_request_pad (
      branch->video ? meeting->pictures : meeting->sounds, branch->mixer_pad);
  gst_object_unref (branch->mixer_pad);
  gst_element_set_locked_state (branch->bin, TRUE);
  gst_element_set_state (branch->bin, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (meeting->connection.pipeline), branch->bin);
  printf ("gone: %s %s buffers=%u longest-gap-ms=%u\n", branch->stream, media_of (branch),
      branch->buffers, (guint)(branch->gap_us / 1000));
  fflush (stdout);
  branch_free (branch);
}

/* ---- the pipeline ----------------------------------------------------------- */

#define VIDEO_CAPS "video/x-raw,width=320,height=240,framerate=15/1"
#define SEND                                                                                       \
  "natrelaysink name=out "                                                                         \
  "%s ! videoconvert ! videoscale ! videorate ! " VIDEO_CAPS                                       \
  " ! queue ! vp8enc deadline=1 keyframe-max-dist=60 target-bitrate=300000 ! out. "                \
  "%s ! audioconvert ! audioresample ! queue ! opusenc ! out. "
/* What is always there keeps the mixers going while nobody else is. */
#define RECEIVE                                                                                    \
  "natrelaysrc name=in "                                                                           \
  "videotestsrc is-live=true pattern=black ! video/x-raw,width=640,height=480,framerate=15/1 ! "   \
  "compositor name=pictures " MIXER_LATENCY " ! videoconvert ! %s "                                \
  "audiotestsrc is-live=true wave=silence ! audiomixer name=sounds " MIXER_LATENCY                 \
  " ! audioconvert ! %s "

/* "natrelay://host/room?x=y" and "ann" become "natrelay://host/room/ann?x=y". */
static char *
uri_of (const char *segment)
{
  const char *query = strchr (opt_room, '?');
  gsize len = query != NULL ? (gsize)(query - opt_room) : strlen (opt_room);

  return g_strdup_printf ("%.*s/%s%s", (int)len, opt_room, segment, query != NULL ? query : "");
}

/* What this participant publishes must not come back. (With tokens that name people, it does not anyway.) */
static char *
own_stream (void)
{
  g_autofree char *uri = uri_of (opt_name);
  const char *host = strstr (uri, "://"), *path = host != NULL ? strchr (host + 3, '/') : NULL;

  return path != NULL ? g_strndup (path + 1, strcspn (path + 1, "?")) : NULL;
}

static gboolean
build (Meeting *meeting)
{
  g_autofree char *text = g_strdup_printf (SEND RECEIVE,
      opt_test ? "videotestsrc is-live=true pattern=ball" : "autovideosrc",
      opt_test ? "audiotestsrc is-live=true" : "autoaudiosrc",
      opt_test ? "fakesink sync=true" : "autovideosink",
      opt_test ? "fakesink sync=true" : "autoaudiosink");
  g_autofree char *to = uri_of (opt_name), *from = uri_of ("*"), *own = own_stream ();
  g_autoptr (GError) error = NULL;
  GstElement *out;

  meeting->connection.pipeline = gst_parse_launch (text, &error);
  if (error != NULL) {
    g_printerr ("%s\n", error->message);
    return FALSE;
  }
  meeting->pictures = gst_bin_get_by_name (GST_BIN (meeting->connection.pipeline), "pictures");
  meeting->sounds = gst_bin_get_by_name (GST_BIN (meeting->connection.pipeline), "sounds");
  meeting->connection.end = gst_bin_get_by_name (GST_BIN (meeting->connection.pipeline), "in");
  out = gst_bin_get_by_name (GST_BIN (meeting->connection.pipeline), "out");
  g_object_set (out, "uri", to, NULL);
  if (opt_publish_token != NULL)
    g_object_set (out, "auth-token", opt_publish_token, NULL);
  gst_object_unref (out);
  g_object_set (
      meeting->connection.end, "uri", from, "exclude", own, "latency", (guint)LATENCY, NULL);
  if (opt_subscribe_token != NULL)
    g_object_set (meeting->connection.end, "auth-token", opt_subscribe_token, NULL);
  g_signal_connect (meeting->connection.end, "pad-added", G_CALLBACK (on_pad_added), meeting);
  g_signal_connect (meeting->connection.end, "pad-removed", G_CALLBACK (on_pad_removed), meeting);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- meets others in a room");
  g_autoptr (GError) error = NULL;
  Meeting meeting = {.faces = g_ptr_array_new ()};

  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_room == NULL ||
      opt_name == NULL) {
    g_printerr ("%s (try --help)\n", error != NULL ? error->message : "give --room and --name");
    return 2;
  }
  if (!build (&meeting))
    return 2;
  connection_run (&meeting.connection, opt_seconds);
  gst_object_unref (meeting.pictures);
  gst_object_unref (meeting.sounds);
  gst_object_unref (meeting.connection.end);
  gst_object_unref (meeting.connection.pipeline);
  g_ptr_array_unref (meeting.faces);
  if (opt_test)
    gst_deinit (); /* for GStreamer's leak tracer; others need not */
  return meeting.connection.code;
}
