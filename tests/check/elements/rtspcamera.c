/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "rtspcamera.h"

#include <string.h>

static void
camera_configure (GstRTSPMediaFactory *factory, GstRTSPMedia *media, RtspCamera *camera)
{
  GstElement *element = gst_rtsp_media_get_element (media);

  flow_watch (&camera->video, element, "v");
  flow_watch (&camera->audio, element, "a");
  gst_object_unref (element);
}

static gpointer
camera_run (gpointer user)
{
  RtspCamera *camera = user;

  g_main_context_push_thread_default (camera->context);
  g_main_loop_run (camera->loop);
  g_main_context_pop_thread_default (camera->context);
  return NULL;
}

static void
camera_client (GstRTSPServer *server, GstRTSPClient *client, RtspCamera *camera)
{
  g_atomic_int_inc (&camera->clients);
}

void
rtsp_camera_init (RtspCamera *camera, guint nal_codec, const gchar *launch)
{
  memset (camera, 0, sizeof *camera);
  flow_init (&camera->video);
  flow_init (&camera->audio);
  camera->video.nal_codec = nal_codec;
  camera->launch = launch;
}

void
rtsp_camera_clear (RtspCamera *camera)
{
  flow_clear (&camera->video);
  flow_clear (&camera->audio);
}

/* Nobody without the password gets a description. */
static void
ask_for_password (RtspCamera *camera, GstRTSPMediaFactory *factory)
{
  GstRTSPAuth *auth = gst_rtsp_auth_new ();
  GstRTSPToken *token =
      gst_rtsp_token_new (GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, "owner", NULL);

  gst_rtsp_auth_set_supported_methods (auth, GST_RTSP_AUTH_DIGEST);
  gst_rtsp_auth_add_digest (auth, camera->user, camera->password, token);
  gst_rtsp_token_unref (token);
  gst_rtsp_server_set_auth (camera->server, auth);
  g_object_unref (auth);
  gst_rtsp_media_factory_add_role (factory, "owner", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS,
      G_TYPE_BOOLEAN, TRUE, GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, G_TYPE_BOOLEAN, TRUE, NULL);
}

gint
rtsp_camera_start (RtspCamera *camera, gint port)
{
  GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new ();
  GstRTSPMountPoints *mounts;
  g_autofree gchar *service = g_strdup_printf ("%d", port);

  camera->context = g_main_context_new ();
  camera->loop = g_main_loop_new (camera->context, FALSE);
  camera->server = gst_rtsp_server_new ();
  gst_rtsp_server_set_address (camera->server, "127.0.0.1");
  gst_rtsp_server_set_service (camera->server, service);
  g_signal_connect (camera->server, "client-connected", G_CALLBACK (camera_client), camera);
  gst_rtsp_media_factory_set_launch (factory, camera->launch);
  g_signal_connect (factory, "media-configure", G_CALLBACK (camera_configure), camera);
  if (camera->user)
    ask_for_password (camera, factory);
  mounts = gst_rtsp_server_get_mount_points (camera->server);
  gst_rtsp_mount_points_add_factory (mounts, "/live", factory);
  g_object_unref (mounts);
  camera->source = gst_rtsp_server_attach (camera->server, camera->context);
  fail_unless (camera->source != 0, "no RTSP server");
  camera->thread = g_thread_new ("camera", camera_run, camera);
  return gst_rtsp_server_get_bound_port (camera->server);
}

/* rtspsrc waits a tenth of a second for the answer to its TEARDOWN, and closes the connection: the camera works until
 * the server's own threads have ended, which is then. To close it from here, too, would be a race. */
void
rtsp_camera_stop (RtspCamera *camera)
{
  g_main_loop_quit (camera->loop);
  g_thread_join (camera->thread);
  g_source_destroy (g_main_context_find_source_by_id (camera->context, camera->source));
  g_object_unref (camera->server);
  gst_rtsp_thread_pool_cleanup ();
  g_main_loop_unref (camera->loop);
  g_main_context_unref (camera->context);
}

static GstRTSPFilterResult
drop (GstRTSPServer *server, GstRTSPClient *client, gpointer user)
{
  return GST_RTSP_FILTER_REMOVE;
}

void
rtsp_camera_vanish (RtspCamera *camera)
{
  gst_rtsp_server_client_filter (camera->server, drop, NULL);
  rtsp_camera_stop (camera);
}
