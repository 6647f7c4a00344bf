/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One film over three transports, and what of it arrives:
 *
 *     rival send|receive --over natrelay|srt|udp --to WHERE --lines FILE
 *
 * The film is a file, so that it is the same each time, and a busy machine can send it.
 * WHERE is a URI of natrelay or SRT, or HOST:PORT of a plain UDP forwarder, which has the picture
 * there and the sound at the next port. A line is written for each access unit:
 *
 *     video SHA1 KEY TIME        audio SHA1 0 TIME
 *
 * SHA1 is of what a decoder decodes (H.264: slices, without start codes, parameter sets and the
 * like, which a multiplexer may add; Opus: the packet), KEY is 1 where a picture stands alone, TIME
 * is the machine's monotonic clock in ns where the unit goes into payloader or multiplexer, or
 * comes out of their opposites. A sender writes from SIGUSR1 on for --seconds, and sends for two
 * more: no transport's end is measured. race.py and recover.py compare. "playing TIME" says when
 * the program had started, and the pipeline was to. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <gst/gst.h>

#define RUN_ON 2 /* s */

typedef struct {
  const char *over;
  GMainLoop *loop;
  GstElement *pipeline;
  FILE *lines;
  GMutex lock; /* guards lines: two streaming threads write */
  gint counting;
  gint flowing[2];     /* video, audio; atomic */
  GSocket *sockets[2]; /* of a UDP receiver */
  int code;
} Rival;

static char *opt_over, *opt_to, *opt_lines, *opt_film;
static double opt_seconds = 10;
static int opt_latency = 300;

static GOptionEntry options[] = {
    {"over", 0, 0, G_OPTION_ARG_STRING, &opt_over, "natrelay, srt or udp", "NAME"},
    {"to", 0, 0, G_OPTION_ARG_STRING, &opt_to, "URI, or HOST:PORT", "WHERE"},
    {"lines", 0, 0, G_OPTION_ARG_FILENAME, &opt_lines, "where the lines go", "FILE"},
    {"film", 0, 0, G_OPTION_ARG_FILENAME, &opt_film, "what is sent: Matroska, H.264 and Opus",
        "FILE"},
    {"latency", 0, 0, G_OPTION_ARG_INT, &opt_latency, "of the receiver; SRT: of each leg", "MS"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "film after SIGUSR1 (10)", "S"}, {NULL}};

static void
tell (const char *text)
{
  puts (text);
  fflush (stdout);
}

/* ---- access units ---------------------------------------------------------- */

/* The next NAL unit of a byte stream at or after *@at, without its start code and the zeros before
 * the next one's; NULL at the end. */
static const guint8 *
next_nal (const guint8 *data, gsize size, gsize *at, gsize *length)
{
  gsize i = *at, begin;

  while (i + 3 <= size && !(data[i] == 0 && data[i + 1] == 0 && data[i + 2] == 1))
    i++;
  if (i + 3 >= size)
    return NULL;
  begin = i += 3;
  while (i + 3 <= size && !(data[i] == 0 && data[i + 1] == 0 && data[i + 2] <= 1))
    i++;
  *at = i = i + 3 <= size ? i : size;
  *length = i - begin;
  return data + begin;
}

/* Feeds the slices of an access unit to @sum; TRUE if it stands alone. */
static gboolean
sum_slices (GChecksum *sum, const guint8 *data, gsize size)
{
  gboolean key = FALSE;
  const guint8 *nal;
  gsize at = 0, length;

  while ((nal = next_nal (data, size, &at, &length)) != NULL) {
    guint type = nal[0] & 31;
    if (type < 1 || type > 5)
      continue;
    g_checksum_update (sum, nal, length);
    key |= type == 5;
  }
  return key;
}

static GstPadProbeReturn
on_unit (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Rival *rival = user;
  gboolean audio = g_object_get_data (G_OBJECT (pad), "audio") != NULL, key = FALSE;
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA1);
  gint64 now = g_get_monotonic_time () * 1000;
  GstMapInfo map;

  if (g_atomic_int_compare_and_exchange (&rival->flowing[audio], FALSE, TRUE))
    tell (audio ? "flowing audio" : "flowing video");
  if (!g_atomic_int_get (&rival->counting) ||
      !gst_buffer_map (GST_PAD_PROBE_INFO_BUFFER (info), &map, GST_MAP_READ))
    return GST_PAD_PROBE_OK;
  if (audio)
    g_checksum_update (sum, map.data, map.size);
  else
    key = sum_slices (sum, map.data, map.size);
  gst_buffer_unmap (GST_PAD_PROBE_INFO_BUFFER (info), &map);
  g_mutex_lock (&rival->lock);
  fprintf (rival->lines, "%s %s %d %" G_GINT64_FORMAT "\n", audio ? "audio" : "video",
      g_checksum_get_string (sum), key, now);
  fflush (rival->lines);
  g_mutex_unlock (&rival->lock);
  return GST_PAD_PROBE_OK;
}

static void
watch (Rival *rival, const char *name)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (rival->pipeline), name);
  GstPad *pad = gst_element_get_static_pad (element, "src");

  if (strcmp (name, "audio") == 0)
    g_object_set_data (G_OBJECT (pad), "audio", rival);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_unit, rival, NULL);
  gst_object_unref (pad);
  gst_object_unref (element);
}

/* ---- pipelines ------------------------------------------------------------- */

#define VIDEO                                                                                      \
  "filesrc location=\"%s\" ! matroskademux name=film "                                             \
  "film.video_0 ! queue ! h264parse config-interval=-1 ! "                                         \
  "video/x-h264,stream-format=byte-stream,alignment=au ! clocksync ! identity name=video ! "
#define AUDIO " film.audio_0 ! queue ! clocksync ! identity name=audio ! "

#define UNITS  "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au ! "
#define SCREEN "identity name=video ! fakesink sync=false async=false "
#define SOUND  "identity name=audio ! fakesink sync=false async=false "
#define RTP_IN                                                                                     \
  "caps=\"application/x-rtp,media=%s,clock-rate=%d,encoding-name=%s,payload=%d\" ! "               \
  "rtpjitterbuffer latency=%d ! "

static char *
sender_line (char **place)
{
  if (strcmp (opt_over, "natrelay") == 0)
    return g_strdup_printf (VIDEO
        "rtph264pay pt=96 mtu=1160 ! natrelaysink name=end uri=\"%s\"" AUDIO
        "rtpopuspay pt=97 ! end.",
        opt_film, opt_to);
  if (strcmp (opt_over, "srt") == 0)
    return g_strdup_printf (VIDEO
        "mpegtsmux name=mux alignment=7 ! "
        "srtsink wait-for-connection=false sync=false latency=%d uri=\"%s\"" AUDIO "mux.",
        opt_film, opt_latency, opt_to);
  if (place[0] == NULL || place[1] == NULL)
    return NULL;
  return g_strdup_printf (VIDEO
      "rtph264pay pt=96 mtu=1200 ! udpsink sync=false host=%s port=%d" AUDIO
      "rtpopuspay pt=97 ! udpsink sync=false host=%s port=%d",
      opt_film, place[0], atoi (place[1]), place[0], atoi (place[1]) + 1);
}

static char *
receiver_line (char **place)
{
  if (strcmp (opt_over, "natrelay") == 0)
    return g_strdup_printf ("natrelaysrc name=end latency=%d uri=\"%s\" "
                            "end.video_0 ! queue ! rtph264depay ! " UNITS SCREEN
                            "end.audio_0 ! queue ! rtpopusdepay ! " SOUND,
        opt_latency, opt_to);
  if (strcmp (opt_over, "srt") == 0)
    return g_strdup_printf ("srtsrc latency=%d uri=\"%s\" ! tsdemux name=demux "
                            "demux. ! video/x-h264 ! queue ! " UNITS SCREEN
                            "demux. ! audio/x-opus ! queue ! " SOUND,
        opt_latency, opt_to);
  if (place[0] == NULL || place[1] == NULL)
    return NULL;
  return g_strdup_printf ("udpsrc name=udp0 " RTP_IN "rtph264depay ! " UNITS SCREEN
                          "udpsrc name=udp1 " RTP_IN "rtpopusdepay ! " SOUND,
      "video", 90000, "H264", 96, opt_latency, "audio", 48000, "OPUS", 97, opt_latency);
}

/* ---- a UDP receiver shows itself to the forwarder, through its NAT ---------- */

static gboolean
on_hello (gpointer user)
{
  Rival *rival = user;

  for (guint i = 0; i < 2; i++)
    g_socket_send (rival->sockets[i], "hello", 5, NULL, NULL);
  return G_SOURCE_CONTINUE;
}

static gboolean
open_sockets (Rival *rival, char **place, GError **error)
{
  for (guint i = 0; i < 2; i++) {
    g_autofree char *name = g_strdup_printf ("udp%u", i);
    g_autoptr (GSocketAddress) far =
        g_inet_socket_address_new_from_string (place[0], (guint)atoi (place[1]) + i);
    GstElement *src = gst_bin_get_by_name (GST_BIN (rival->pipeline), name);

    rival->sockets[i] =
        g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, error);
    if (rival->sockets[i] == NULL || !g_socket_connect (rival->sockets[i], far, NULL, error))
      return FALSE;
    g_object_set (src, "socket", rival->sockets[i], "close-socket", FALSE, NULL);
    gst_object_unref (src);
  }
  on_hello (rival);
  g_timeout_add (200, on_hello, rival);
  return TRUE;
}

/* ---- the run --------------------------------------------------------------- */

static gboolean
on_quit (gpointer user)
{
  g_main_loop_quit (((Rival *)user)->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_film_over (gpointer user)
{
  Rival *rival = user;

  g_atomic_int_set (&rival->counting, FALSE);
  g_timeout_add_seconds (RUN_ON, on_quit, rival);
  return G_SOURCE_REMOVE;
}

static gboolean
on_count (gpointer user)
{
  Rival *rival = user;

  if (g_atomic_int_compare_and_exchange (&rival->counting, FALSE, TRUE)) {
    tell ("counting");
    g_timeout_add ((guint)(opt_seconds * 1000), on_film_over, rival);
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user)
{
  Rival *rival = user;
  g_autoptr (GError) error = NULL;
  g_autofree char *debug = NULL;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error (message, &error, &debug);
    printf ("error: %s (%s)\n", error->message, debug);
    rival->code = 1;
    g_main_loop_quit (rival->loop);
  } else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_WARNING) {
    gst_message_parse_warning (message, &error, &debug);
    printf ("warning: %s (%s)\n", error->message, debug);
  } else if (gst_message_has_name (message, "natrelay-connected")) {
    tell ("connected");
  }
  return G_SOURCE_CONTINUE;
}

/* How often natrelay negotiated: once, if its session outlived all that happened. And by what its
 * packets went in the end. */
static void
tell_way (Rival *rival)
{
  GstElement *end = gst_bin_get_by_name (GST_BIN (rival->pipeline), "end");
  GstStructure *stats = NULL;
  guint attempts;

  if (end == NULL)
    return;
  g_object_get (end, "stats", &stats, NULL);
  if (gst_structure_get_uint (stats, "attempts", &attempts)) {
    printf ("attempts %u\ntransport %s\n", attempts,
        gst_structure_has_field (stats, "transport") ? gst_structure_get_string (stats, "transport")
                                                     : "none");
    fflush (stdout);
  }
  gst_structure_free (stats);
  gst_object_unref (end);
}

static gboolean
set_up (Rival *rival, gboolean sending, GError **error)
{
  g_auto (GStrv) place = g_strsplit (opt_to, ":", 2);
  g_autofree char *line = sending ? sender_line (place) : receiver_line (place);

  if (line == NULL) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "udp wants HOST:PORT");
    return FALSE;
  }
  rival->pipeline = gst_parse_launch (line, error);
  if (rival->pipeline == NULL || *error != NULL)
    return FALSE;
  watch (rival, "video");
  watch (rival, "audio");
  if (sending) {
    g_unix_signal_add (SIGUSR1, on_count, rival);
    return TRUE;
  }
  rival->counting = TRUE;
  return strcmp (opt_over, "udp") != 0 || open_sockets (rival, place, error);
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("send|receive");
  g_autoptr (GError) error = NULL;
  Rival rival = {0};

  gboolean sending;

  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc != 2 || opt_over == NULL ||
      opt_to == NULL || opt_lines == NULL) {
    g_printerr ("%s\n", error != NULL ? error->message : "needs --over, --to and --lines");
    return 2;
  }
  sending = strcmp (argv[1], "send") == 0;
  rival.lines = fopen (opt_lines, "w");
  if (rival.lines == NULL || (sending && opt_film == NULL) || !set_up (&rival, sending, &error)) {
    g_printerr ("%s\n", error != NULL ? error->message : "no film, or no place for the lines");
    return 2;
  }
  rival.loop = g_main_loop_new (NULL, FALSE);
  GstBus *bus = gst_element_get_bus (rival.pipeline);
  gst_bus_add_watch (bus, on_message, &rival);
  g_unix_signal_add (SIGINT, on_quit, &rival);
  g_unix_signal_add (SIGTERM, on_quit, &rival);
  printf ("playing %" G_GINT64_FORMAT "\n", g_get_monotonic_time () * 1000);
  if (gst_element_set_state (rival.pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE)
    g_main_loop_run (rival.loop);
  tell_way (&rival);
  gst_element_set_state (rival.pipeline, GST_STATE_NULL);
  gst_bus_remove_watch (bus);
  gst_object_unref (bus);
  gst_object_unref (rival.pipeline);
  for (guint i = 0; i < 2; i++)
    g_clear_object (&rival.sockets[i]);
  g_main_loop_unref (rival.loop);
  fclose (rival.lines);
  tell ("end");
  return rival.code;
}
