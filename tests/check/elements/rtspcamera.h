/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* An IP camera: GStreamer's RTSP server with a thread of its own, and what its camera made. */

#include <gst/rtsp-server/rtsp-server.h>

#include "media.h"

typedef struct {
  const gchar *launch;
  const gchar *user, *password; /* NULL: it asks for none; else by digest */
  GMainContext *context;
  GMainLoop *loop;
  GThread *thread;
  GstRTSPServer *server;
  guint source;
  Flow video, audio; /* what passed its identities "v" and "a", over all starts */
  gint clients;      /* atomic: how many have come */
} RtspCamera;

/* launch: a pipeline for GstRTSPMediaFactory. */
void rtsp_camera_init (RtspCamera *camera, guint nal_codec, const gchar *launch);
void rtsp_camera_clear (RtspCamera *camera);
/* It answers at rtsp://127.0.0.1:PORT/live from now on. port 0: a free one. Returns the port. */
gint rtsp_camera_start (RtspCamera *camera, gint port);
/* When whoever it played for has gone. */
void rtsp_camera_stop (RtspCamera *camera);
/* While it plays: its power is off. */
void rtsp_camera_vanish (RtspCamera *camera);
