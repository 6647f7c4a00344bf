/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A frame's number and its time of birth, drawn into the picture itself as black and white squares that
 * outlive any encoder: so a viewer knows which frame it sees, and how old it is. */

#include <gst/gst.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

/* Squares of 16 pixels, 32 in a row, two rows, at the left bottom: 24 bits number, 8 bits check; 32 bits
 * of milliseconds since 1970. */
#define FRAME_STAMP_MIN_WIDTH  512
#define FRAME_STAMP_MIN_HEIGHT 32

typedef struct {
  guint32 number; /* 24 bits */
  guint32 ms;     /* wraps after 49 days: only differences mean anything */
} FrameStamp;

guint32 frame_stamp_now (void);
/* I420 (luma in plane 0). FALSE: the picture is too small. */
gboolean frame_stamp_write (GstVideoFrame *frame, const FrameStamp *stamp);
/* FALSE: no stamp that can be read. */
gboolean frame_stamp_read (GstVideoFrame *frame, FrameStamp *stamp);

/* Saves the picture as PNG. FALSE: error is set. */
gboolean frame_save (GstBuffer *buffer, GstCaps *caps, const char *file, GError **error);

G_END_DECLS
