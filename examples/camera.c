/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An application that sends a film with sound to a relay, in the fewest lines that still do it right.
 *
 *     source ! convert ! (stamp) ! encode ! natrelaysink
 *                                 sound ! encode ! (the same)
 *
 * Beside that it draws number and time of birth into every frame, so that viewer.c can tell what was lost and
 * how old a picture is. */

#include <locale.h>
#include <stdio.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include "connection.h"
#include "framestamp.h"

static char *opt_uri, *opt_source, *opt_picture;
static double opt_seconds;
static int opt_picture_frame = 150;

static GOptionEntry options[] = {
    {"uri", 0, 0, G_OPTION_ARG_STRING, &opt_uri,
        "where to send; the access token is taken from NATRELAY_AUTH_TOKEN", "natrelay://…"},
    {"source", 0, 0, G_OPTION_ARG_STRING, &opt_source,
        "what to send, e.g. \"v4l2src device=/dev/video0\" (default: a test film)", "ELEMENTS"},
    {"seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt_seconds, "for how long (default: until Ctrl-C)",
        "S"},
    {"picture", 0, 0, G_OPTION_ARG_FILENAME, &opt_picture, "save one frame as PNG", "FILE"},
    {"picture-frame", 0, 0, G_OPTION_ARG_INT, &opt_picture_frame,
        "which frame that is (default 150)", "N"},
    {NULL}};

#define TEST_FILM                                                                                  \
  "videotestsrc is-live=true pattern=ball motion=hsweep background-color=0xff1d3557 ! "            \
  "video/x-raw,width=640,height=360,framerate=30/1 ! "                                             \
  "clockoverlay halignment=left valignment=top font-desc=\"Sans 14\" ! "                           \
  "timeoverlay halignment=right valignment=top font-desc=\"Sans 24\""

#define PIPELINE                                                                                   \
  "%s ! videoconvert ! video/x-raw,format=I420 ! identity name=stamp ! "                           \
  "queue ! x264enc tune=zerolatency speed-preset=veryfast bitrate=1500 key-int-max=60 ! "          \
  "natrelaysink name=end "                                                                         \
  "audiotestsrc is-live=true wave=ticks samplesperbuffer=960 ! audio/x-raw,rate=48000 ! "          \
  "audioconvert ! queue ! opusenc ! end."

static void
save_picture (GstPad *pad, GstBuffer *buffer)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  g_autoptr (GError) error = NULL;

  if (!frame_save (buffer, caps, opt_picture, &error))
    g_printerr ("no picture: %s\n", error->message);
  gst_caps_unref (caps);
}

/* On the streaming thread, before the encoder. */
static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  guint32 *number = user;
  GstBuffer *buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));
  GstCaps *caps = gst_pad_get_current_caps (pad);
  FrameStamp stamp = {*number, frame_stamp_now ()};
  GstVideoInfo video;
  GstVideoFrame frame;

  GST_PAD_PROBE_INFO_DATA (info) = buffer;
  if (gst_video_info_from_caps (&video, caps) &&
      gst_video_frame_map (&frame, &video, buffer, GST_MAP_WRITE)) {
    frame_stamp_write (&frame, &stamp);
    gst_video_frame_unmap (&frame);
  }
  gst_caps_unref (caps);
  if (opt_picture != NULL && *number == (guint32)opt_picture_frame)
    save_picture (pad, buffer);
  *number += 1;
  return GST_PAD_PROBE_OK;
}

static gboolean
build (Connection *connection, guint32 *number, GError **error)
{
  g_autofree char *line = g_strdup_printf (PIPELINE, opt_source ? opt_source : TEST_FILM);
  GstElement *stamp;
  GstPad *pad;

  connection->pipeline = gst_parse_launch (line, error);
  if (connection->pipeline == NULL || *error != NULL)
    return FALSE;
  connection->end = gst_bin_get_by_name (GST_BIN (connection->pipeline), "end");
  g_object_set (connection->end, "uri", opt_uri, NULL);
  stamp = gst_bin_get_by_name (GST_BIN (connection->pipeline), "stamp");
  pad = gst_element_get_static_pad (stamp, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, number, NULL);
  gst_object_unref (pad);
  gst_object_unref (stamp);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- sends a film to a natrelay relay");
  g_autoptr (GError) error = NULL;
  Connection connection = {0};
  guint32 number = 0;

  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error) || opt_uri == NULL) {
    g_printerr ("%s (try --help)\n", error != NULL ? error->message : "give an --uri");
    return 2;
  }
  if (!build (&connection, &number, &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  connection_run (&connection, opt_seconds);
  printf ("frames=%u\n", number);
  gst_object_unref (connection.end);
  gst_object_unref (connection.pipeline);
  return connection.code;
}
