/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Frame marks from end to end: what comes out of natrelaysrc has them under the id that its caps announce, and
 * who publishes that again adds nothing. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "media.h"
#include "natproto/framemarking.h"
#include "natproto/rtp.h"

#define VIDEO                                                                                      \
  "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=50/1"
#define VP8 VIDEO " ! vp8enc deadline=1 keyframe-max-dist=9 ! rtpvp8pay mtu=400 picture-id-mode=2"

typedef struct {
  guint packets, unmarked, frames, keys, wrong;
  guint growth; /* bytes of the extension */
} MarksFound;

typedef struct {
  GMutex lock;
  GCond cond;
  MarksFound found;
} Marks;

/* VP8's own word for it, from the payload: S and partition 0; key frame. */
static void
marks_check (Marks *m, const guint8 *data, const NatRtpHeader *header, const NatFramemarking *mark)
{
  const guint8 *payload = data + header->header_len;
  gboolean first = (payload[0] & 0x17) == 0x10;
  gboolean key = first && (payload[4] & 1) == 0;

  m->found.wrong += mark->start != first || mark->end != header->marker;
  m->found.wrong += first && mark->independent != key;
  m->found.frames += mark->start;
  m->found.keys += mark->start && mark->independent;
}

static void
marks_take (GstElement *identity, GstBuffer *buffer, gpointer user)
{
  Marks *m = user;
  NatFramemarking mark;
  NatRtpHeader header;
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_READ);
  g_mutex_lock (&m->lock);
  if (!nat_rtp_parse (&header, map.data, map.size) ||
      !nat_framemarking_find (&mark, map.data, map.size, 14))
    m->found.unmarked++;
  else
    marks_check (m, map.data, &header, &mark);
  m->found.growth = MAX (m->found.growth, (guint)header.header_len - 12);
  m->found.packets++;
  g_cond_signal (&m->cond);
  g_mutex_unlock (&m->lock);
  gst_buffer_unmap (buffer, &map);
}

static void
marks_wait_and_assert (Marks *m, guint growth)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  MarksFound found;

  g_mutex_lock (&m->lock);
  while (m->found.keys < 4 && g_cond_wait_until (&m->cond, &m->lock, until))
    ;
  found = m->found;
  g_mutex_unlock (&m->lock);
  fail_unless (found.keys >= 4, "%u key frames of %u in %u packets", found.keys, found.frames,
      found.packets);
  fail_unless (found.frames > found.keys);
  fail_unless_equals_int (found.unmarked, 0);
  fail_unless_equals_int (found.wrong, 0);
  fail_unless_equals_int (found.growth, growth);
}

static void
marks_watch (Marks *m, GstElement *pipeline)
{
  GstElement *tap = gst_bin_get_by_name (GST_BIN (pipeline), "tap");

  *m = (Marks){0};
  g_mutex_init (&m->lock);
  g_cond_init (&m->cond);
  g_object_set (tap, "signal-handoffs", TRUE, NULL);
  g_signal_connect (tap, "handoff", G_CALLBACK (marks_take), m);
  gst_object_unref (tap);
}

static void
marks_clear (Marks *m)
{
  g_mutex_clear (&m->lock);
  g_cond_clear (&m->cond);
}

static const gchar *
extmap (GstElement *pipeline, const gchar *field)
{
  GstElement *tap = gst_bin_get_by_name (GST_BIN (pipeline), "tap");
  GstPad *pad = gst_element_get_static_pad (tap, "sink");
  GstCaps *caps = gst_pad_get_current_caps (pad);
  const gchar *uri =
      g_intern_string (gst_structure_get_string (gst_caps_get_structure (caps, 0), field));

  gst_caps_unref (caps);
  gst_object_unref (pad);
  gst_object_unref (tap);
  return uri;
}

static const gchar *const encryptions[] = {"none", "aes-128-gcm"};

GST_START_TEST (test_marks_arrive)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *receiver =
      media_launch ("natrelaysrc uri=\"%s\" ! identity name=tap ! fakesink", from);
  GstElement *sender =
      media_launch (VP8 " ! natrelaysink uri=\"%s\" encryption=%s", to, encryptions[__i__]);
  Marks marks;

  marks_watch (&marks, receiver);
  media_play (receiver);
  media_play (sender);
  marks_wait_and_assert (&marks, 8);
  fail_unless_equals_string (extmap (receiver, "extmap-14"), NAT_FRAMEMARKING_URI);
  media_stop (sender);
  media_stop (receiver);
  marks_clear (&marks);
}
GST_END_TEST;

/* natrelaysrc ! natrelaysink: one mark and one name for it, not two. */
GST_START_TEST (test_published_again)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  g_autofree gchar *to2 = media_uri ("gate", TRUE), *from2 = media_uri ("gate", FALSE);
  GstElement *receiver =
      media_launch ("natrelaysrc uri=\"%s\" ! identity name=tap ! fakesink", from2);
  GstElement *middle = media_launch ("natrelaysrc uri=\"%s\" ! natrelaysink uri=\"%s\"", from, to2);
  GstElement *sender = media_launch (VP8 " ! natrelaysink uri=\"%s\"", to);
  Marks marks;

  marks_watch (&marks, receiver);
  media_play (receiver);
  media_play (middle);
  media_play (sender);
  marks_wait_and_assert (&marks, 8);
  fail_unless_equals_string (extmap (receiver, "extmap-14"), NAT_FRAMEMARKING_URI);
  fail_unless (extmap (receiver, "extmap-13") == NULL);
  media_stop (sender);
  media_stop (middle);
  media_stop (receiver);
  marks_clear (&marks);
}
GST_END_TEST;

static Suite *
natrelaymarks_suite (void)
{
  Suite *s = suite_create ("natrelaymarks");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_loop_test (tc, test_marks_arrive, 0, G_N_ELEMENTS (encryptions));
  tcase_add_test (tc, test_published_again);
  return s;
}

GST_CHECK_MAIN (natrelaymarks);
