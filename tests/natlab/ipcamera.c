/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An IP camera of the lab: RTSP at rtsp://owner:PASSWORD@127.0.0.1:PORT/live, with H.264 and G.711, digest authentication,
 * over UDP and TCP. It prints "ready", and is switched off by SIGKILL, as cameras are.
 *
 *     ipcamera PORT PASSWORD */

#include <stdio.h>
#include <stdlib.h>
#include <gst/rtsp-server/rtsp-server.h>

#define PIPELINE                                                                                   \
  "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 ! "  \
  "x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=15 ! "                    \
  "rtph264pay name=pay0 pt=96 config-interval=-1 "                                                 \
  "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000 ! alawenc ! "            \
  "rtppcmapay name=pay1 )"

/* Nobody without the password gets a description. */
static void
ask_for_password (GstRTSPServer *server, GstRTSPMediaFactory *factory, const char *password)
{
  GstRTSPAuth *auth = gst_rtsp_auth_new ();
  GstRTSPToken *token =
      gst_rtsp_token_new (GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, "owner", NULL);

  gst_rtsp_auth_set_supported_methods (auth, GST_RTSP_AUTH_DIGEST);
  gst_rtsp_auth_add_digest (auth, "owner", password, token);
  gst_rtsp_token_unref (token);
  gst_rtsp_server_set_auth (server, auth);
  g_object_unref (auth);
  gst_rtsp_media_factory_add_role (factory, "owner", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS,
      G_TYPE_BOOLEAN, TRUE, GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, G_TYPE_BOOLEAN, TRUE, NULL);
}

int
main (int argc, char **argv)
{
  GstRTSPServer *server;
  GstRTSPMediaFactory *factory;
  GstRTSPMountPoints *mounts;

  gst_init (&argc, &argv);
  if (argc != 3) {
    fprintf (stderr, "usage: ipcamera PORT PASSWORD\n");
    return 2;
  }
  server = gst_rtsp_server_new ();
  gst_rtsp_server_set_address (server, "127.0.0.1");
  gst_rtsp_server_set_service (server, argv[1]);
  factory = gst_rtsp_media_factory_new ();
  gst_rtsp_media_factory_set_launch (factory, PIPELINE);
  ask_for_password (server, factory, argv[2]);
  mounts = gst_rtsp_server_get_mount_points (server);
  gst_rtsp_mount_points_add_factory (mounts, "/live", factory);
  g_object_unref (mounts);
  if (gst_rtsp_server_attach (server, NULL) == 0) {
    fprintf (stderr, "ipcamera: port %s cannot be had\n", argv[1]);
    return 1;
  }
  printf ("ready\n");
  fflush (stdout);
  g_main_loop_run (g_main_loop_new (NULL, FALSE));
  return 0;
}
