/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The element that brings tracks together: caps once, segments when they differ, EOS from all, flushes, and
 * events to the track that they are for. */

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>

#include "gstnatrelaybundle.h"

#define CAPS                                                                                       \
  "application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96,ssrc=(uint)%u"

typedef struct {
  GstElement *bundle;
  GstHarness *tracks[2], *out;
  GString *story; /* events and buffers that left, a word each */
} Fixture;

static GstPadProbeReturn
tell (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Fixture *f = user;

  if (info->type & GST_PAD_PROBE_TYPE_BUFFER)
    g_string_append (f->story, "buffer ");
  else
    g_string_append_printf (f->story, "%s ", GST_EVENT_TYPE_NAME (GST_PAD_PROBE_INFO_EVENT (info)));
  return GST_PAD_PROBE_OK;
}

static void
fixture_add_track (Fixture *f, guint i)
{
  gchar *caps = g_strdup_printf (CAPS, i + 1);

  f->tracks[i] = gst_harness_new_with_element (f->bundle, "sink_%u", NULL);
  gst_harness_set_src_caps_str (f->tracks[i], caps);
  g_free (caps);
}

static void
fixture_init (Fixture *f)
{
  GstPad *src;

  f->bundle = gst_object_ref_sink (g_object_new (GST_TYPE_NAT_RELAY_BUNDLE, NULL));
  f->story = g_string_new (NULL);
  f->out = gst_harness_new_with_element (f->bundle, NULL, "src");
  src = gst_element_get_static_pad (f->bundle, "src");
  gst_pad_add_probe (src,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM |
          GST_PAD_PROBE_TYPE_EVENT_FLUSH,
      tell, f, NULL);
  gst_object_unref (src);
  fixture_add_track (f, 0);
  fixture_add_track (f, 1);
}

static void
fixture_clear (Fixture *f)
{
  for (guint i = 0; i < 2; i++) {
    if (f->tracks[i] != NULL)
      gst_harness_teardown (f->tracks[i]);
  }
  gst_harness_teardown (f->out);
  g_string_free (f->story, TRUE);
  gst_object_unref (f->bundle);
}

static void
assert_push (Fixture *f, guint i, GstFlowReturn ret)
{
  fail_unless_equals_int (gst_harness_push (f->tracks[i], gst_buffer_new_memdup ("rtp", 3)), ret);
}

static void
push (Fixture *f, guint i)
{
  assert_push (f, i, GST_FLOW_OK);
}

static void
assert_story (Fixture *f, const gchar *story)
{
  fail_unless_equals_string (f->story->str, story);
  g_string_truncate (f->story, 0);
}

GST_START_TEST (test_order)
{
  Fixture f;

  fixture_init (&f);
  assert_story (&f, "");
  push (&f, 0);
  assert_story (&f, "stream-start caps segment buffer ");
  push (&f, 0);
  push (&f, 1);
  push (&f, 0);
  push (&f, 1);
  assert_story (&f, "buffer caps buffer buffer buffer ");
  fixture_clear (&f);
}
GST_END_TEST;

GST_START_TEST (test_eos_of_all)
{
  Fixture f;

  fixture_init (&f);
  push (&f, 0);
  assert_story (&f, "stream-start caps segment buffer ");
  gst_harness_push_event (f.tracks[0], gst_event_new_eos ());
  assert_story (&f, "");
  push (&f, 1);
  assert_story (&f, "caps buffer ");
  gst_harness_push_event (f.tracks[1], gst_event_new_eos ());
  assert_story (&f, "eos ");
  fixture_clear (&f);
}
GST_END_TEST;

/* What a thread of its own tells is told when this is over. */
static void
await_eos (Fixture *f)
{
  gboolean eos = FALSE;

  while (!eos) {
    GstEvent *event = gst_harness_pull_event (f->out);

    fail_unless (event != NULL, "no EOS came");
    eos = GST_EVENT_TYPE (event) == GST_EVENT_EOS;
    gst_event_unref (event);
  }
}

/* The last that had not ended is taken away. */
GST_START_TEST (test_eos_by_release)
{
  Fixture f;

  fixture_init (&f);
  push (&f, 0);
  push (&f, 1);
  g_string_truncate (f.story, 0);
  gst_harness_push_event (f.tracks[0], gst_event_new_eos ());
  assert_story (&f, "");
  gst_harness_teardown (f.tracks[1]);
  f.tracks[1] = NULL;
  await_eos (&f);
  assert_story (&f, "eos ");
  fixture_clear (&f);
}
GST_END_TEST;

GST_START_TEST (test_flush)
{
  Fixture f;
  GstSegment segment;

  fixture_init (&f);
  push (&f, 0);
  g_string_truncate (f.story, 0);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_start ());
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (f.tracks[0], gst_event_new_segment (&segment));
  push (&f, 0);
  push (&f, 1);
  assert_story (&f, "flush-start flush-stop segment buffer caps buffer ");
  fixture_clear (&f);
}
GST_END_TEST;

/* What is flushed stops; who sends beside it goes on, and is introduced when there is somebody to hear it. */
GST_START_TEST (test_flush_beside)
{
  Fixture f;

  fixture_init (&f);
  push (&f, 0);
  g_string_truncate (f.story, 0);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_start ());
  assert_push (&f, 1, GST_FLOW_OK);
  assert_push (&f, 0, GST_FLOW_FLUSHING);
  assert_push (&f, 1, GST_FLOW_OK);
  assert_story (&f, "flush-start ");
  fail_unless_equals_uint64 (gst_nat_relay_bundle_get_dropped (GST_NAT_RELAY_BUNDLE (f.bundle)), 2);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_stop (TRUE));
  push (&f, 1);
  assert_story (&f, "flush-stop caps segment buffer ");
  /* What stops behind all of them is nobody's flush. */
  gst_pad_set_active (f.out->sinkpad, FALSE);
  assert_push (&f, 1, GST_FLOW_FLUSHING);
  fixture_clear (&f);
}
GST_END_TEST;

/* Taken away while it is flushed, it takes the flush along; another's flush goes on. */
GST_START_TEST (test_release_in_flush)
{
  Fixture f;

  fixture_init (&f);
  push (&f, 1);
  g_string_truncate (f.story, 0);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_start ());
  if (__i__)
    gst_harness_push_event (f.tracks[1], gst_event_new_flush_start ());
  gst_harness_teardown (f.tracks[0]);
  f.tracks[0] = NULL;
  if (__i__) {
    assert_story (&f, "flush-start flush-start ");
    assert_push (&f, 1, GST_FLOW_FLUSHING);
  } else {
    assert_story (&f, "flush-start flush-stop ");
    push (&f, 1);
    assert_story (&f, "segment buffer ");
  }
  fixture_clear (&f);
}
GST_END_TEST;

static void
push_beside (GstElement *bundle, GstPad *gone, gpointer user)
{
  if (GST_PAD_IS_SINK (gone))
    push (user, 1);
}

/* At no moment of that is somebody told to stop who sends beside it. */
GST_START_TEST (test_push_while_flush_goes)
{
  Fixture f;
  gulong id;

  fixture_init (&f);
  push (&f, 1);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_start ());
  push (&f, 1);
  id = g_signal_connect (f.bundle, "pad-removed", G_CALLBACK (push_beside), &f);
  gst_harness_teardown (f.tracks[0]);
  f.tracks[0] = NULL;
  g_signal_handler_disconnect (f.bundle, id);
  fixture_clear (&f);
}
GST_END_TEST;

static gpointer
push_into_flush (gpointer user)
{
  assert_push (user, 1, GST_FLOW_FLUSHING);
  return NULL;
}

/* On a neighbour's thread, whose turn it is: the track's own comes to wait for the next, and is flushed then. */
static GstPadProbeReturn
flush_who_waits (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Fixture *f = user;
  GstPad *waits = gst_pad_get_peer (f->tracks[1]->srcpad);
  GThread *thread = g_thread_new ("waits", push_into_flush, f);

  while (GST_PAD_STREAM_TRYLOCK (waits)) {
    GST_PAD_STREAM_UNLOCK (waits);
    g_usleep (1000);
  }
  gst_harness_push_event (f->tracks[1], gst_event_new_flush_start ());
  g_thread_join (thread);
  gst_object_unref (waits);
  return GST_PAD_PROBE_REMOVE;
}

/* Two tracks flush, and the end of one's flush lets nothing out of what the other had under way. */
GST_START_TEST (test_flush_of_both)
{
  GstPad *src;
  Fixture f;

  fixture_init (&f);
  push (&f, 1);
  src = gst_element_get_static_pad (f.bundle, "src");
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, flush_who_waits, &f, NULL);
  gst_harness_push (f.tracks[0], gst_buffer_new_memdup ("rtp", 3));
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_start ());
  g_string_truncate (f.story, 0);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_stop (TRUE));
  assert_push (&f, 1, GST_FLOW_FLUSHING);
  assert_story (&f, "flush-stop ");
  gst_object_unref (src);
  fixture_clear (&f);
}
GST_END_TEST;

/* Whoever comes during the flush is introduced after it, though another is before. */
GST_START_TEST (test_caps_beside_flush)
{
  GstSegment segment;
  Fixture f;

  fixture_init (&f);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_start ());
  push (&f, 1);
  gst_harness_push_event (f.tracks[0], gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (f.tracks[0], gst_event_new_segment (&segment));
  push (&f, 0);
  push (&f, 1);
  assert_story (&f, "flush-start flush-stop stream-start caps segment buffer caps buffer ");
  fixture_clear (&f);
}
GST_END_TEST;

/* Used again after READY, as on the first day. */
GST_START_TEST (test_used_twice)
{
  Fixture f;

  fixture_init (&f);
  push (&f, 0);
  g_string_truncate (f.story, 0);
  gst_element_set_state (f.bundle, GST_STATE_READY);
  gst_element_set_state (f.bundle, GST_STATE_PLAYING);
  for (guint i = 0; i < 2; i++) {
    gst_harness_teardown (f.tracks[i]);
    fixture_add_track (&f, i);
  }
  push (&f, 1);
  assert_story (&f, "stream-start caps segment buffer ");
  fixture_clear (&f);
}
GST_END_TEST;

static GstEvent *
wish (guint ssrc)
{
  return gst_event_new_custom (GST_EVENT_CUSTOM_UPSTREAM,
      gst_structure_new ("GstForceKeyUnit", "ssrc", G_TYPE_UINT, ssrc, NULL));
}

static guint
count_wishes (GstHarness *h)
{
  guint n = 0;
  GstEvent *event;

  while ((event = gst_harness_try_pull_upstream_event (h)) != NULL) {
    n += gst_event_has_name (event, "GstForceKeyUnit");
    gst_event_unref (event);
  }
  return n;
}

GST_START_TEST (test_events_find_their_track)
{
  Fixture f;

  fixture_init (&f);
  push (&f, 0);
  push (&f, 1);
  fail_unless (gst_harness_push_upstream_event (f.out, wish (2)));
  fail_unless_equals_int (count_wishes (f.tracks[0]), 0);
  fail_unless_equals_int (count_wishes (f.tracks[1]), 1);
  fail_unless (gst_harness_push_upstream_event (f.out, wish (1)));
  fail_unless_equals_int (count_wishes (f.tracks[0]), 1);
  fail_unless_equals_int (count_wishes (f.tracks[1]), 0);
  fail_if (gst_harness_push_upstream_event (f.out, wish (3)));
  fixture_clear (&f);
}
GST_END_TEST;

static Suite *
natrelaybundle_suite (void)
{
  Suite *s = suite_create ("natrelaybundle");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_order);
  tcase_add_test (tc, test_eos_of_all);
  tcase_add_test (tc, test_eos_by_release);
  tcase_add_test (tc, test_flush);
  tcase_add_test (tc, test_flush_beside);
  tcase_add_loop_test (tc, test_release_in_flush, 0, 2);
  tcase_add_test (tc, test_push_while_flush_goes);
  tcase_add_test (tc, test_flush_of_both);
  tcase_add_test (tc, test_caps_beside_flush);
  tcase_add_test (tc, test_used_twice);
  tcase_add_test (tc, test_events_find_their_track);
  return s;
}

GST_CHECK_MAIN (natrelaybundle);
