/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Which cameras go where: from the command line (one), or from a GKeyFile with a group for each. */

#include <gst/gst.h>
#include <gst/rtsp/gstrtsptransport.h>

G_BEGIN_DECLS

typedef struct {
  char *name;     /* what messages call it; of its group */
  char *location; /* rtsp:// or rtsps://, with user and password if it wants them */
  char *relay;    /* natrelay:// */
  char *token;    /* NULL = in the relay's URI, in NATRELAY_AUTH_TOKEN, or none */
  GstRTSPLowerTrans transports;
  guint latency_ms; /* for reordering what came from the camera; 0 = none */
} CameraConfig;

#define CAMERA_LATENCY_MS     100
#define CAMERA_LATENCY_MAX_MS 10000

CameraConfig *camera_config_new (
    const char *name, const char *location, const char *relay, GError **error);
void camera_config_free (CameraConfig *config);
/* "auto", "udp" or "tcp". */
gboolean camera_config_set_transport (CameraConfig *config, const char *word, GError **error);

/* CameraConfig of each group, at least one. The GError names file, group and key. */
GPtrArray *camera_config_load (const char *path, GError **error);

/* The location without user and password, for people. */
char *camera_config_describe (const CameraConfig *config);

G_END_DECLS
