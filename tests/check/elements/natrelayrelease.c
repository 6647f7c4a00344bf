/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelaysink's pads are taken away: while they wait, while another does, at the end, and from within what they call. */

#include <gst/check/gstcheck.h>

#include "media.h"

/* Whoever takes an idle pad away does not wait, though another track does. */
GST_START_TEST (test_release_while_waiting)
{
  GstElement *pipeline =
      media_launch (LIVE_VIDEO " ! queue name=q ! natrelaysink name=s wait-for-connection=true "
                               "uri=natrelay://127.0.0.1:%u/door",
          media_unused_port ());
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  GstElement *queue = gst_bin_get_by_name (GST_BIN (pipeline), "q");
  GstPad *idle = gst_element_request_pad_simple (sink, "sink_%u");
  gint64 begin;
  guint n = 0;

  media_play (pipeline);
  begin = g_get_monotonic_time ();
  while (n < 10) {
    fail_unless (g_get_monotonic_time () - begin < PATIENCE_S * G_TIME_SPAN_SECOND);
    g_usleep (10000);
    g_object_get (queue, "current-level-buffers", &n, NULL);
  }
  begin = g_get_monotonic_time ();
  gst_element_release_request_pad (sink, idle);
  fail_unless (g_get_monotonic_time () - begin < AT_ONCE, "taking a pad away took long");
  gst_object_unref (idle);
  gst_object_unref (queue);
  gst_object_unref (sink);
  media_stop (pipeline);
}
GST_END_TEST;

#define FILM                                                                                       \
  "videotestsrc ! video/x-raw,width=64,height=48,framerate=100/1 ! vp8enc deadline=1 ! "           \
  "rtpvp8pay mtu=1200"

/* How a pad's thread comes to wait in the element. */
static const struct {
  const gchar *source, *settings;
  GstState state;
} waits[] = {
    {LIVE_VIDEO, "wait-for-connection=true", GST_STATE_PLAYING},
    {FILM, "sync=true", GST_STATE_PAUSED},
    {FILM, "sync=false", GST_STATE_PAUSED},
    {FILM, "wait-for-connection=true", GST_STATE_PLAYING},
};

typedef struct {
  GMutex lock;
  GCond cond;
  GstElement *sink;
  GstPad *pad;
  gboolean done;
} Release;

static gpointer
release_pad (gpointer user)
{
  Release *release = user;

  gst_element_release_request_pad (release->sink, release->pad);
  g_mutex_lock (&release->lock);
  release->done = TRUE;
  g_cond_signal (&release->cond);
  g_mutex_unlock (&release->lock);
  return NULL;
}

static gboolean
await_release (Release *release)
{
  gint64 until = g_get_monotonic_time () + AT_ONCE;
  gboolean ok = TRUE;

  g_mutex_lock (&release->lock);
  while (ok && !release->done)
    ok = g_cond_wait_until (&release->cond, &release->lock, until);
  g_mutex_unlock (&release->lock);
  return ok;
}

/* As an application's own thread does it, but so that one that hangs can be seen and ended. */
static void
assert_released (GstElement *pipeline, GstElement *sink, const gchar *name)
{
  Release release = {.sink = sink, .pad = gst_element_get_static_pad (sink, name)};
  GThread *thread;
  gboolean ok;

  g_mutex_init (&release.lock);
  g_cond_init (&release.cond);
  thread = g_thread_new ("release", release_pad, &release);
  ok = await_release (&release);
  if (!ok)
    gst_element_set_state (pipeline, GST_STATE_NULL);
  g_thread_join (thread);
  g_mutex_clear (&release.lock);
  g_cond_clear (&release.cond);
  gst_object_unref (release.pad);
  fail_unless (ok, "taking %s away took long", name);
}

static void
await_full (GstElement *pipeline, const gchar *name)
{
  GstElement *queue = gst_bin_get_by_name (GST_BIN (pipeline), name);
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  guint n = 0;

  while (n < 10) {
    fail_unless (g_get_monotonic_time () < until, "%s does not fill", name);
    g_usleep (10000);
    g_object_get (queue, "current-level-buffers", &n, NULL);
  }
  gst_object_unref (queue);
}

/* Nor does who takes away a pad whose thread waits; the track that stays still waits, and is not stopped. */
GST_START_TEST (test_release_of_who_waits)
{
  GstElement *pipeline = media_launch ("%s ! queue name=q ! natrelaysink name=s %s "
                                       "uri=natrelay://127.0.0.1:%u/door "
                                       "%s ! queue name=p ! s.",
      waits[__i__].source, waits[__i__].settings, media_unused_port (), waits[__i__].source);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  GstElement *stays = gst_bin_get_by_name (GST_BIN (pipeline), "p");
  GstPad *src = gst_element_get_static_pad (stays, "src");

  fail_if (gst_element_set_state (pipeline, waits[__i__].state) == GST_STATE_CHANGE_FAILURE);
  await_full (pipeline, "q");
  await_full (pipeline, "p");
  assert_released (pipeline, sink, "sink_0");
  fail_unless_equals_int (gst_pad_get_last_flow_return (src), GST_FLOW_OK);
  assert_released (pipeline, sink, "sink_1");
  gst_object_unref (src);
  gst_object_unref (stays);
  gst_object_unref (sink);
  media_stop (pipeline);
}
GST_END_TEST;

static GstPadProbeReturn
count_flush (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_FLUSH_START)
    g_atomic_int_inc ((gint *)user);
  return GST_PAD_PROBE_OK;
}

static void
watch_flushes (GstElement *sink, gint *flushes)
{
  GstIterator *elements = gst_bin_iterate_all_by_element_factory_name (GST_BIN (sink), "rtpbin");
  GValue value = G_VALUE_INIT;
  GstPad *pad;

  fail_unless_equals_int (gst_iterator_next (elements, &value), GST_ITERATOR_OK);
  pad = gst_element_get_static_pad (g_value_get_object (&value), "send_rtp_sink_0");
  fail_unless (pad != NULL);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_FLUSH, count_flush, flushes, NULL);
  gst_object_unref (pad);
  g_value_unset (&value);
  gst_iterator_free (elements);
}

/* A film waits for the clock nearly always, and long here; its neighbours are not flushed with it. */
GST_START_TEST (test_release_of_film)
{
  GstElement *pipeline = media_launch (
      "videotestsrc ! video/x-raw,width=64,height=48,framerate=1/2 ! "
      "vp8enc deadline=1 ! rtpvp8pay mtu=1200 ! queue ! identity name=tap ! natrelaysink name=s "
      "uri=natrelay://127.0.0.1:%u/door " LIVE_VIDEO " ! s.",
      media_unused_port ());
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  GstElement *tap = gst_bin_get_by_name (GST_BIN (pipeline), "tap");
  GstPad *src = gst_element_get_static_pad (tap, "src"), *peer = gst_pad_get_peer (src);
  gint flushes = 0;
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, pipeline, "tap");
  watch_flushes (sink, &flushes);
  media_play (pipeline);
  /* The second waits. */
  fail_unless (flow_wait (&flow, 2, PATIENCE_S));
  assert_released (pipeline, sink, GST_PAD_NAME (peer));
  fail_unless_equals_int (g_atomic_int_get (&flushes), 0);
  gst_object_unref (peer);
  gst_object_unref (src);
  gst_object_unref (tap);
  gst_object_unref (sink);
  media_stop (pipeline);
  flow_clear (&flow);
}
GST_END_TEST;

static GstPadProbeReturn
release_at_eos (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  gint *released = user;
  GstElement *sink;
  GstPad *peer;

  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) != GST_EVENT_EOS)
    return GST_PAD_PROBE_OK;
  peer = gst_pad_get_peer (pad);
  sink = gst_pad_get_parent_element (peer);
  gst_element_release_request_pad (sink, peer);
  gst_object_unref (sink);
  gst_object_unref (peer);
  g_atomic_int_set (released, TRUE);
  return GST_PAD_PROBE_DROP;
}

/* The pad's own thread takes it away at its end, while another track waits in the element. */
GST_START_TEST (test_release_at_end)
{
  GstElement *pipeline =
      media_launch (LIVE_VIDEO " ! queue name=q ! natrelaysink name=s wait-for-connection=true "
                               "uri=natrelay://127.0.0.1:%u/door videotestsrc num-buffers=0 ! "
                               "vp8enc ! rtpvp8pay name=e ! s.",
          media_unused_port ());
  GstElement *ends = gst_bin_get_by_name (GST_BIN (pipeline), "e");
  GstPad *src = gst_element_get_static_pad (ends, "src");
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gint released = FALSE;

  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, release_at_eos, &released, NULL);
  media_play (pipeline);
  while (!g_atomic_int_get (&released)) {
    fail_unless (g_get_monotonic_time () < until, "the pad does not go");
    g_usleep (1000);
  }
  gst_object_unref (src);
  gst_object_unref (ends);
  media_stop (pipeline);
}
GST_END_TEST;

/* ---- by who is told ------------------------------------------------------- */

typedef struct {
  GstElement *sink;
  GstMessageType when;
  gint done; /* atomic */
} Teller;

/* TRUE: a thread is in it, and not this one. */
static gboolean
is_busy (GstPad *pad)
{
  if (!GST_PAD_STREAM_TRYLOCK (pad))
    return TRUE;
  GST_PAD_STREAM_UNLOCK (pad);
  return FALSE;
}

/* The thread that tells it is one track's, and the other's comes into the element meanwhile. */
static void
await_neighbour (GList *pads)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean busy = FALSE;

  while (!busy && g_get_monotonic_time () < until) {
    for (GList *l = pads; l != NULL; l = l->next)
      busy = busy || is_busy (l->data);
    g_usleep (1000);
  }
}

static void
ref_pad (gpointer pad, gpointer unused)
{
  gst_object_ref (pad);
}

static GstBusSyncReply
release_all (GstBus *bus, GstMessage *message, gpointer user)
{
  Teller *teller = user;
  GList *pads;

  if (GST_MESSAGE_TYPE (message) != teller->when || g_atomic_int_get (&teller->done))
    return GST_BUS_PASS;
  GST_OBJECT_LOCK (teller->sink);
  pads = g_list_copy (teller->sink->sinkpads);
  g_list_foreach (pads, ref_pad, NULL);
  GST_OBJECT_UNLOCK (teller->sink);
  if (teller->when == GST_MESSAGE_STREAM_START)
    await_neighbour (pads);
  for (GList *l = pads; l != NULL; l = l->next)
    gst_element_release_request_pad (teller->sink, l->data);
  g_list_free_full (pads, gst_object_unref);
  g_atomic_int_set (&teller->done, TRUE);
  return GST_BUS_PASS;
}

static const struct {
  GstMessageType when;
  const gchar *source;
} tellings[] = {
    {GST_MESSAGE_STREAM_START, LIVE_VIDEO},
    {GST_MESSAGE_EOS, "videotestsrc num-buffers=3 ! vp8enc ! rtpvp8pay"},
};

/* Who takes all tracks away when he is told of the stream does so on the thread of one that holds up the others. */
GST_START_TEST (test_release_in_message)
{
  GstElement *pipeline =
      media_launch ("%s ! queue ! natrelaysink name=s uri=natrelay://127.0.0.1:%u/door "
                    "%s ! queue ! s.",
          tellings[__i__].source, media_unused_port (), tellings[__i__].source);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  Teller teller = {.sink = sink, .when = tellings[__i__].when};
  GstBus *bus = gst_element_get_bus (pipeline);

  gst_bus_set_sync_handler (bus, release_all, &teller, NULL);
  media_play (pipeline);
  while (!g_atomic_int_get (&teller.done)) {
    fail_unless (g_get_monotonic_time () < until, "the pads do not go");
    g_usleep (1000);
  }
  gst_bus_set_sync_handler (bus, NULL, NULL, NULL);
  gst_object_unref (bus);
  gst_object_unref (sink);
  media_stop (pipeline);
}
GST_END_TEST;

static Suite *
natrelayrelease_suite (void)
{
  Suite *s = suite_create ("natrelayrelease");
  TCase *tc = tcase_create ("absent relay");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_release_while_waiting);
  tcase_add_loop_test (tc, test_release_of_who_waits, 0, G_N_ELEMENTS (waits));
  tcase_add_test (tc, test_release_of_film);
  tcase_add_test (tc, test_release_at_end);
  tcase_add_loop_test (tc, test_release_in_message, 0, G_N_ELEMENTS (tellings));
  return s;
}

GST_CHECK_MAIN (natrelayrelease);
