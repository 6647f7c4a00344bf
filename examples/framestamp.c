/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "framestamp.h"

#include <string.h>

#define SQUARE 16
#define BITS   32
#define BLACK  16
#define WHITE  235

guint32
frame_stamp_now (void)
{
  return (guint32)(g_get_real_time () / 1000);
}

static guint32
check_bits (guint32 number, guint32 ms)
{
  guint32 mix = (number ^ ms) * 2654435761u;

  return mix >> 24;
}

static gboolean
big_enough (GstVideoFrame *frame)
{
  return GST_VIDEO_FRAME_WIDTH (frame) >= FRAME_STAMP_MIN_WIDTH &&
         GST_VIDEO_FRAME_HEIGHT (frame) >= FRAME_STAMP_MIN_HEIGHT;
}

/* The top left pixel of bit 0 of a row; row 1 is the lowest. */
static guint8 *
row_start (GstVideoFrame *frame, guint row)
{
  guint line = GST_VIDEO_FRAME_HEIGHT (frame) - (2 - row) * SQUARE;

  return (guint8 *)GST_VIDEO_FRAME_PLANE_DATA (frame, 0) +
         line * GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0);
}

static void
write_row (GstVideoFrame *frame, guint row, guint32 bits)
{
  guint8 *start = row_start (frame, row);

  for (guint y = 0; y < SQUARE; y++)
    for (guint bit = 0; bit < BITS; bit++)
      memset (start + y * GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0) + bit * SQUARE,
          bits >> (BITS - 1 - bit) & 1 ? WHITE : BLACK, SQUARE);
}

/* The middle of each square; its edges are what an encoder blurs. */
static guint32
read_row (GstVideoFrame *frame, guint row)
{
  guint8 *start = row_start (frame, row);
  guint32 bits = 0;

  for (guint bit = 0; bit < BITS; bit++) {
    guint sum = 0;
    for (guint y = SQUARE / 4; y < SQUARE * 3 / 4; y++)
      for (guint x = SQUARE / 4; x < SQUARE * 3 / 4; x++)
        sum += start[y * GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0) + bit * SQUARE + x];
    bits = bits << 1 | (sum > 128 * SQUARE * SQUARE / 4);
  }
  return bits;
}

gboolean
frame_stamp_write (GstVideoFrame *frame, const FrameStamp *stamp)
{
  if (!big_enough (frame))
    return FALSE;
  write_row (frame, 0, stamp->number << 8 | check_bits (stamp->number & 0xffffff, stamp->ms));
  write_row (frame, 1, stamp->ms);
  return TRUE;
}

gboolean
frame_stamp_read (GstVideoFrame *frame, FrameStamp *stamp)
{
  guint32 upper;

  if (!big_enough (frame))
    return FALSE;
  upper = read_row (frame, 0);
  stamp->ms = read_row (frame, 1);
  stamp->number = upper >> 8;
  return (upper & 0xff) == check_bits (stamp->number, stamp->ms);
}

gboolean
frame_save (GstBuffer *buffer, GstCaps *caps, const char *file, GError **error)
{
  GstSample *raw = gst_sample_new (buffer, caps, NULL, NULL);
  GstCaps *png = gst_caps_new_empty_simple ("image/png");
  GstSample *picture = gst_video_convert_sample (raw, png, 5 * GST_SECOND, error);
  gboolean ok = FALSE;

  if (picture != NULL) {
    GstMapInfo map;
    if (gst_buffer_map (gst_sample_get_buffer (picture), &map, GST_MAP_READ)) {
      ok = g_file_set_contents (file, (const char *)map.data, (gssize)map.size, error);
      gst_buffer_unmap (gst_sample_get_buffer (picture), &map);
    }
    gst_sample_unref (picture);
  }
  gst_caps_unref (png);
  gst_sample_unref (raw);
  return ok;
}
