/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelaysrc with a pattern: publishers come and go, and so do their pads. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "media.h"

#define VIDEO "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=25/1"
#define H264  VIDEO " ! x264enc tune=zerolatency key-int-max=25 ! rtph264pay mtu=1200 pt=96 ssrc=7"
#define VP8   VIDEO " ! vp8enc deadline=1 keyframe-max-dist=25 ! rtpvp8pay mtu=1200 pt=96 ssrc=7"
#define OPUS  "audiotestsrc is-live=true ! opusenc ! rtpopuspay pt=97"

/* ---- who listens ---------------------------------------------------------- */

typedef struct {
  GstElement *pipeline, *src;
  GMutex lock;
  GCond cond;
  GHashTable *pads;   /* name -> "STREAM ENCODING", of those that are there */
  GHashTable *counts; /* "STREAM ENCODING" -> buffers */
  guint no_more_pads;
} Listener;

static GstPadProbeReturn
count_buffer (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Listener *l = user;
  gpointer key, n;

  g_mutex_lock (&l->lock);
  key = g_hash_table_lookup (l->pads, GST_PAD_NAME (pad));
  if (key != NULL) {
    n = g_hash_table_lookup (l->counts, key);
    g_hash_table_replace (l->counts, g_strdup (key), GUINT_TO_POINTER (GPOINTER_TO_UINT (n) + 1));
    g_cond_broadcast (&l->cond);
  }
  g_mutex_unlock (&l->lock);
  return GST_PAD_PROBE_OK;
}

/* "STREAM ENCODING": by the title, with which the stream id must agree. */
static gchar *
describe_pad (GstPad *pad)
{
  GstEvent *event = gst_pad_get_sticky_event (pad, GST_EVENT_TAG, 0);
  GstCaps *caps = gst_pad_get_current_caps (pad);
  gchar *id = gst_pad_get_stream_id (pad), *title = NULL, *part, *text;
  GstTagList *tags;

  fail_unless (event != NULL && caps != NULL && id != NULL);
  gst_event_parse_tag (event, &tags);
  fail_unless (gst_tag_list_get_string (tags, GST_TAG_TITLE, &title));
  part = g_strdup_printf ("/%s/", title);
  fail_unless (strstr (id, part) != NULL, "%s is not of %s", id, title);
  text = g_strdup_printf (
      "%s %s", title, gst_structure_get_string (gst_caps_get_structure (caps, 0), "encoding-name"));
  g_free (part);
  g_free (title);
  g_free (id);
  gst_caps_unref (caps);
  gst_event_unref (event);
  return text;
}

static void
pad_added (GstElement *src, GstPad *pad, Listener *l)
{
  if (!GST_PAD_IS_SRC (pad))
    return;
  g_mutex_lock (&l->lock);
  g_hash_table_insert (l->pads, g_strdup (GST_PAD_NAME (pad)), describe_pad (pad));
  g_cond_broadcast (&l->cond);
  g_mutex_unlock (&l->lock);
  g_object_set_data (G_OBJECT (pad), "sink", media_drain (l->pipeline, pad));
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count_buffer, l, NULL);
}

static void
pad_removed (GstElement *src, GstPad *pad, Listener *l)
{
  GstElement *sink = g_object_get_data (G_OBJECT (pad), "sink");

  if (sink == NULL)
    return;
  gst_element_set_locked_state (sink, TRUE);
  gst_element_set_state (sink, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (l->pipeline), sink);
  g_mutex_lock (&l->lock);
  g_hash_table_remove (l->pads, GST_PAD_NAME (pad));
  g_cond_broadcast (&l->cond);
  g_mutex_unlock (&l->lock);
}

static void
no_more_pads (GstElement *src, Listener *l)
{
  l->no_more_pads++;
}

static void
listener_init (Listener *l, const gchar *pattern, const gchar *exclude)
{
  g_autofree gchar *uri = media_uri (pattern, FALSE);

  memset (l, 0, sizeof *l);
  g_mutex_init (&l->lock);
  g_cond_init (&l->cond);
  l->pads = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  l->counts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  l->pipeline = media_pipeline_new ();
  l->src = gst_element_factory_make ("natrelaysrc", NULL);
  g_object_set (l->src, "uri", uri, "exclude", exclude, NULL);
  g_signal_connect (l->src, "pad-added", G_CALLBACK (pad_added), l);
  g_signal_connect (l->src, "pad-removed", G_CALLBACK (pad_removed), l);
  g_signal_connect (l->src, "no-more-pads", G_CALLBACK (no_more_pads), l);
  gst_bin_add (GST_BIN (l->pipeline), l->src);
}

static void
listener_clear (Listener *l)
{
  media_stop (l->pipeline);
  fail_unless_equals_int (l->no_more_pads, 0);
  g_hash_table_unref (l->pads);
  g_hash_table_unref (l->counts);
  g_mutex_clear (&l->lock);
  g_cond_clear (&l->cond);
}

/* called with lock: "a/one H264, a/two OPUS", sorted */
static gchar *
listener_pads (Listener *l)
{
  GList *values = g_list_sort (g_hash_table_get_values (l->pads), (GCompareFunc)strcmp);
  GString *text = g_string_new (NULL);

  for (GList *link = values; link != NULL; link = link->next)
    g_string_append_printf (text, "%s%s", link == values ? "" : ", ", (gchar *)link->data);
  g_list_free (values);
  return g_string_free (text, FALSE);
}

static void
listener_wait_pads (Listener *l, const gchar *wanted)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gchar *pads = NULL;
  gboolean ok = TRUE;

  g_mutex_lock (&l->lock);
  while ((pads = listener_pads (l), strcmp (pads, wanted) != 0) && ok) {
    g_free (pads);
    ok = g_cond_wait_until (&l->cond, &l->lock, until);
  }
  g_mutex_unlock (&l->lock);
  fail_unless_equals_string (pads, wanted);
  g_free (pads);
}

/* 25 more buffers of each pad that is there. */
static void
listener_wait_flow (Listener *l)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gchar *silent = NULL;
  GHashTableIter it;
  gpointer key, text;

  g_mutex_lock (&l->lock);
  g_hash_table_remove_all (l->counts);
  g_hash_table_iter_init (&it, l->pads);
  while (silent == NULL && g_hash_table_iter_next (&it, &key, &text)) {
    gboolean ok = TRUE;

    while (ok && GPOINTER_TO_UINT (g_hash_table_lookup (l->counts, text)) < 25)
      ok = g_cond_wait_until (&l->cond, &l->lock, until);
    if (!ok)
      silent = g_strdup (text);
  }
  g_mutex_unlock (&l->lock);
  fail_unless (silent == NULL, "nothing comes of %s", silent);
}

/* ---- tests ---------------------------------------------------------------- */

/* Two publishers with one payload type, and at first one SSRC; one comes before the listener. */
GST_START_TEST (test_come_and_go)
{
  GstElement *ann = media_publish ("room/ann", H264, OPUS), *bob;
  Listener l;

  listener_init (&l, "room/*", NULL);
  media_play (l.pipeline);
  listener_wait_pads (&l, "room/ann H264, room/ann OPUS");
  listener_wait_flow (&l);
  bob = media_publish ("room/bob", VP8, "");
  listener_wait_pads (&l, "room/ann H264, room/ann OPUS, room/bob VP8");
  listener_wait_flow (&l);
  media_stop (ann);
  listener_wait_pads (&l, "room/bob VP8");
  listener_wait_flow (&l);
  ann = media_publish ("room/ann", VP8, OPUS);
  listener_wait_pads (&l, "room/ann OPUS, room/ann VP8, room/bob VP8");
  listener_wait_flow (&l);
  media_stop (bob);
  media_stop (ann);
  listener_wait_pads (&l, "");
  listener_clear (&l);
}
GST_END_TEST;

GST_START_TEST (test_exclude)
{
  GstElement *ann = media_publish ("room/ann", VP8, ""),
             *bob = media_publish ("room/bob", OPUS, "");
  Listener l, all;

  listener_init (&l, "room/*", "room/ann");
  listener_init (&all, "**", NULL);
  media_play (l.pipeline);
  media_play (all.pipeline);
  listener_wait_pads (&all, "room/ann VP8, room/bob OPUS");
  listener_wait_flow (&all);
  listener_wait_pads (&l, "room/bob OPUS");
  listener_wait_flow (&l);
  fail_unless (media_stat (l.src, "packets-received") > 0);
  listener_clear (&l);
  listener_clear (&all);
  media_stop (ann);
  media_stop (bob);
}
GST_END_TEST;

/* Paused, stopped and started again; a plain stream in between. */
GST_START_TEST (test_states)
{
  GstElement *ann = media_publish ("room/ann", H264, ""),
             *bob = media_publish ("room/bob", OPUS, "");
  Listener l;

  listener_init (&l, "room/*", NULL);
  for (guint i = 0; i < 3; i++) {
    media_play (l.pipeline);
    listener_wait_pads (&l, "room/ann H264, room/bob OPUS");
    listener_wait_flow (&l);
    gst_element_set_state (l.pipeline, GST_STATE_PAUSED);
    media_play (l.pipeline);
    listener_wait_flow (&l);
    gst_element_set_state (l.pipeline, i == 1 ? GST_STATE_NULL : GST_STATE_READY);
    listener_wait_pads (&l, "");
  }
  listener_clear (&l);
  media_stop (ann);
  media_stop (bob);
}
GST_END_TEST;

/* The relay is killed and comes back: nobody's pads go. */
GST_START_TEST (test_relay_restarts)
{
  GstElement *ann = media_publish ("room/ann", H264, ""),
             *bob = media_publish ("room/bob", OPUS, "");
  gchar *before, *after;
  Listener l;

  listener_init (&l, "room/*", NULL);
  media_play (l.pipeline);
  listener_wait_pads (&l, "room/ann H264, room/bob OPUS");
  listener_wait_flow (&l);
  g_mutex_lock (&l.lock);
  before = g_strjoinv (" ", (gchar **)g_hash_table_get_keys_as_array (l.pads, NULL));
  g_mutex_unlock (&l.lock);
  relay_process_kill (&relay);
  relay_process_restart (&relay);
  listener_wait_flow (&l);
  g_mutex_lock (&l.lock);
  after = g_strjoinv (" ", (gchar **)g_hash_table_get_keys_as_array (l.pads, NULL));
  g_mutex_unlock (&l.lock);
  fail_unless_equals_string (before, after);
  g_free (before);
  g_free (after);
  listener_clear (&l);
  media_stop (ann);
  media_stop (bob);
}
GST_END_TEST;

/* Those whom nobody hears are an error of settings. */
GST_START_TEST (test_settings)
{
  g_autofree gchar *to = media_uri ("room/*", TRUE), *from = media_uri ("room/*", FALSE);
  GstElement *sink = media_launch ("audiotestsrc ! opusenc ! natrelaysink name=e uri=\"%s\"", to);
  GstElement *src = media_launch ("natrelaysrc name=e exclude=room/* uri=\"%s\" ! fakesink", from);

  gst_element_set_state (sink, GST_STATE_PLAYING);
  media_assert_error (sink, "e", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "one stream");
  gst_element_set_state (src, GST_STATE_PLAYING);
  media_assert_error (src, "e", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "exclude");
  media_stop (sink);
  media_stop (src);
}
GST_END_TEST;

static void
read_stats (GstObject *parent, GstObject *object, GParamSpec *pspec, gpointer told)
{
  GstStructure *stats = NULL;

  g_object_get (parent, "stats", &stats, NULL);
  fail_unless (stats != NULL);
  gst_structure_free (stats);
  g_atomic_int_inc ((gint *)told);
}

/* A handler that is called because a setting went to everybody asks the element something. */
GST_START_TEST (test_setting_is_told)
{
  GstElement *ann = media_publish ("room/ann", OPUS, "");
  gint told = 0;
  Listener l;

  listener_init (&l, "room/*", NULL);
  media_play (l.pipeline);
  listener_wait_pads (&l, "room/ann OPUS");
  listener_wait_flow (&l);
  g_signal_connect (l.src, "deep-notify::latency", G_CALLBACK (read_stats), &told);
  g_object_set (l.src, "latency", 300, NULL);
  fail_unless (g_atomic_int_get (&told) > 0);
  listener_clear (&l);
  media_stop (ann);
}
GST_END_TEST;

/* What was counted of who left stays counted. */
GST_START_TEST (test_counts_stay)
{
  GstElement *ann = media_publish ("room/ann", H264, "");
  Listener before, l;
  guint64 past;

  listener_init (&before, "room/*", NULL);
  media_play (before.pipeline);
  listener_wait_pads (&before, "room/ann H264");
  listener_wait_flow (&before);
  listener_init (&l, "room/*", NULL);
  media_play (l.pipeline);
  listener_wait_pads (&l, "room/ann H264");
  listener_wait_flow (&l);
  past = media_stat (l.src, "packets-of-the-past");
  fail_unless (past > 0, "nothing was counted");
  media_stop (ann);
  listener_wait_pads (&l, "");
  fail_unless (media_stat (l.src, "packets-of-the-past") >= past, "it is forgotten");
  listener_clear (&before);
  listener_clear (&l);
}
GST_END_TEST;

typedef struct {
  GstElement *src;
  gint told; /* atomic */
} Adjuster;

static void
adjust (GstStreamCollection *collection, GstStream *stream, GParamSpec *pspec, Adjuster *a)
{
  g_object_set (a->src, "latency", 300, NULL);
  g_atomic_int_inc (&a->told);
}

static void
set_width (GstElement *sender, gint width)
{
  GstElement *size = gst_bin_get_by_name (GST_BIN (sender), "size");
  GstCaps *caps = gst_caps_new_simple (
      "video/x-raw", "width", G_TYPE_INT, width, "height", G_TYPE_INT, 120, NULL);

  g_object_set (size, "caps", caps, NULL);
  gst_caps_unref (caps);
  gst_object_unref (size);
}

/* A handler that is called because a stream has other caps sets something. */
GST_START_TEST (test_caps_are_told)
{
  GstElement *ann = media_publish ("room/ann",
      "videotestsrc is-live=true ! video/x-raw,framerate=25/1 ! "
      "capsfilter name=size caps=video/x-raw,width=160,height=120 ! "
      "x264enc tune=zerolatency key-int-max=25 ! rtph264pay mtu=1200",
      "");
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  GstStreamCollection *collection = NULL;
  GstMessage *message;
  Adjuster a = {0};
  Listener l;

  listener_init (&l, "room/*", NULL);
  a.src = l.src;
  media_play (l.pipeline);
  message = media_wait (l.pipeline, GST_MESSAGE_STREAM_COLLECTION, NULL);
  gst_message_parse_stream_collection (message, &collection);
  gst_message_unref (message);
  fail_unless_equals_int (gst_stream_collection_get_size (collection), 1);
  g_signal_connect (collection, "stream-notify", G_CALLBACK (adjust), &a);
  listener_wait_flow (&l);
  set_width (ann, 320);
  while (g_atomic_int_get (&a.told) == 0 && g_get_monotonic_time () < until)
    g_usleep (5000);
  fail_unless (g_atomic_int_get (&a.told) > 0, "the handler did not return, or was not called");
  listener_wait_flow (&l);
  listener_wait_pads (&l, "room/ann H264");
  g_signal_handlers_disconnect_by_data (collection, &a);
  gst_object_unref (collection);
  listener_clear (&l);
  media_stop (ann);
}
GST_END_TEST;

typedef struct {
  GMutex lock;
  GCond cond;
  gboolean entered, leave;
} Handler;

static void
linger (GstElement *src, GstPad *pad, Handler *h)
{
  g_mutex_lock (&h->lock);
  h->entered = TRUE;
  g_cond_broadcast (&h->cond);
  while (!h->leave)
    g_cond_wait (&h->cond, &h->lock);
  g_mutex_unlock (&h->lock);
}

static void
went (gpointer user, GObject *where)
{
  Handler *h = user;

  g_mutex_lock (&h->lock);
  h->entered = FALSE;
  g_cond_broadcast (&h->cond);
  g_mutex_unlock (&h->lock);
}

/* A handler of "pad-added" that does not return for the stop; what it comes back to is still there. */
GST_START_TEST (test_handler_lingers)
{
  GstElement *ann = media_publish ("room/ann", OPUS, "");
  g_autofree gchar *from = media_uri ("room/*", FALSE);
  GstElement *pipeline = media_pipeline_new ();
  GstElement *src = gst_element_factory_make ("natrelaysrc", NULL);
  Handler h = {0};

  g_mutex_init (&h.lock);
  g_cond_init (&h.cond);
  g_object_set (src, "uri", from, NULL);
  g_signal_connect (src, "pad-added", G_CALLBACK (linger), &h);
  g_object_weak_ref (G_OBJECT (src), went, &h);
  gst_bin_add (GST_BIN (pipeline), src);
  media_play (pipeline);
  g_mutex_lock (&h.lock);
  while (!h.entered)
    g_cond_wait (&h.cond, &h.lock);
  g_mutex_unlock (&h.lock);
  media_stop (pipeline);
  g_mutex_lock (&h.lock);
  h.leave = TRUE;
  g_cond_broadcast (&h.cond);
  while (h.entered)
    g_cond_wait (&h.cond, &h.lock);
  g_mutex_unlock (&h.lock);
  media_stop (ann);
  g_mutex_clear (&h.lock);
  g_cond_clear (&h.cond);
}
GST_END_TEST;

static Suite *
natrelayroom_suite (void)
{
  Suite *s = suite_create ("natrelayroom");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_test (tc, test_come_and_go);
  tcase_add_test (tc, test_exclude);
  tcase_add_test (tc, test_states);
  tcase_add_test (tc, test_relay_restarts);
  tcase_add_test (tc, test_settings);
  tcase_add_test (tc, test_setting_is_told);
  tcase_add_test (tc, test_counts_stay);
  tcase_add_test (tc, test_caps_are_told);
  tcase_add_test (tc, test_handler_lingers);
  return s;
}

GST_CHECK_MAIN (natrelayroom);
