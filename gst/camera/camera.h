/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One RTSP camera, pushed to a relay as it is: no transcoding, no depayloading.
 *
 *     rtspsrc ! natrelaysink
 *
 * natrelaysink sees to the relay's side by itself. Here is what the camera's side needs: whatever ends the pipeline (a
 * camera that went away, one that says nothing any more) takes it down, and after a while it is built anew, for
 * ever. All functions are for the thread of the default GMainContext. */

#include "cameraconfig.h"

G_BEGIN_DECLS

#define CAMERA_SILENCE_S 10 /* without a packet, then the camera is lost */
#define CAMERA_RETRY_S                                                                             \
  1 /* before the first further try; doubled with each that brought nothing ... */
#define CAMERA_RETRY_MAX_S 30 /* ... up to this */

typedef struct _Camera Camera;

/* over: called when there is no use in further tries (another publisher took the stream); may be NULL. config is
 * borrowed. */
Camera *camera_new (const CameraConfig *config, void (*over) (gpointer user), gpointer user);
/* Begins to end it: over is called no more. */
void camera_stop (Camera *camera);
/* It has ended, which wakes the main context: soon, but for a camera that stands still in the middle of a message. */
gboolean camera_is_down (const Camera *camera);
/* What has not ended by then is left to itself. */
void camera_free (Camera *camera);

G_END_DECLS
