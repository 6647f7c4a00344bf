/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Properties that are set when it does not suit: before anything flows, by a handler that hears of another one, and by several
 * threads while the state changes. What was set last is what holds. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "padwatcher.h"

#define OPUS "audiotestsrc is-live=true ! opusenc ! rtpopuspay"

/* What the pad says that it needs, in ms. */
static guint
pad_latency (GstElement *src, const gchar *name)
{
  GstPad *pad = gst_element_get_static_pad (src, name);
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min = 0;

  fail_unless (pad != NULL, "no %s", name);
  fail_unless (gst_pad_query (pad, query));
  gst_query_parse_latency (query, NULL, &min, NULL);
  gst_query_unref (query);
  gst_object_unref (pad);
  return (guint)(min / GST_MSECOND);
}

/* ---- the latency ---------------------------------------------------------- */

/* The publisher's place is kept, so there are pads; but he is gone, so nothing feeds them. */
GST_START_TEST (test_latency_before_anything_flows)
{
  GstElement *before = media_publish ("talk", OPUS, "");
  GstMessage *message;
  GstBus *bus;
  Watcher w;

  media_wait_element (before, "natrelay-connected");
  media_stop (before);
  watcher_init (&w, "talk", FALSE);
  media_play (w.pipeline);
  watcher_wait_story (&w, "+audio_0 . ");
  bus = gst_element_get_bus (w.pipeline);
  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_LATENCY)) != NULL)
    gst_message_unref (message);
  g_object_set (w.src, "latency", 700, NULL);
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_LATENCY);
  fail_unless (message != NULL, "the pipeline is not told to ask for it anew");
  fail_unless_equals_int (pad_latency (w.src, "audio_0"), 700);
  gst_message_unref (message);
  gst_object_unref (bus);
  watcher_clear (&w);
}
GST_END_TEST;

/* ---- set meanwhile --------------------------------------------------------- */

typedef struct {
  GstElement *src;
  gint told; /* atomic */
} Setter;

static void
set_once (GstObject *parent, GstObject *object, GParamSpec *pspec, Setter *s)
{
  if (g_atomic_int_add (&s->told, 1) == 0)
    g_object_set (s->src, "latency", 300, NULL);
}

/* A handler that hears of a setting, or another thread, is quicker: what was set before it does not come after it. */
GST_START_TEST (test_set_while_set)
{
  GstElement *ann = media_publish ("room/ann", OPUS, "");
  Setter s = {0};
  guint latency;
  Watcher w;

  watcher_init (&w, "room/*", TRUE);
  s.src = w.src;
  media_play (w.pipeline);
  watcher_wait_more (&w, 0, 20);
  g_signal_connect (w.src, "deep-notify::latency", G_CALLBACK (set_once), &s);
  g_object_set (w.src, "latency", 100, NULL);
  fail_unless (g_atomic_int_get (&s.told) > 1);
  g_object_get (w.src, "latency", &latency, NULL);
  fail_unless_equals_int (latency, 300);
  fail_unless_equals_int (pad_latency (w.src, "audio_0"), 300);
  watcher_clear (&w);
  media_stop (ann);
}
GST_END_TEST;

/* Also while what is for somebody new in a room is made. */
GST_START_TEST (test_set_while_somebody_comes)
{
  GstElement *ann = media_publish ("room/ann", OPUS, "");
  Setter s = {0};
  Watcher w;

  watcher_init (&w, "room/*", TRUE);
  s.src = w.src;
  g_signal_connect (w.src, "deep-notify::latency", G_CALLBACK (set_once), &s);
  media_play (w.pipeline);
  watcher_wait_more (&w, 0, 20);
  fail_unless (g_atomic_int_get (&s.told) > 0);
  fail_unless_equals_int (pad_latency (w.src, "audio_0"), 300);
  watcher_clear (&w);
  media_stop (ann);
}
GST_END_TEST;

/* ---- many threads ---------------------------------------------------------- */

#define THREADS 3
#define ROUNDS  15

typedef struct {
  GstElement *element;
  gchar *uris[2];
  gint done; /* atomic */
} Crowd;

/* FALSE: not the elements' own. A certificate that is set alone has one value. */
static gboolean
is_own (const GParamSpec *pspec, GstElement *element)
{
  return pspec->owner_type == G_OBJECT_TYPE (element) && pspec->value_type != G_TYPE_TLS_DATABASE;
}

static void
set_one (const Crowd *c, GParamSpec *pspec, guint round)
{
  static const gchar *const texts[][3] = {
      {"tls-fingerprint", "", NULL},
      {"proxy", "http://me:secret@127.0.0.1:1", NULL},
      {"bind-address", "127.0.0.1", NULL},
      {"exclude", "somebody", NULL},
      {"auth-token", "one", "another"},
      {"tls-ca-file", "/nowhere", NULL},
      {"key-file", "/nowhere", NULL},
  };

  if (strcmp (pspec->name, "uri") == 0)
    g_object_set (c->element, "uri", c->uris[round % 2], NULL);
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    if (strcmp (pspec->name, texts[i][0]) == 0)
      g_object_set (c->element, pspec->name, texts[i][1 + round % 2], NULL);
  }
  if (pspec->value_type != G_TYPE_STRING)
    g_object_set_property (
        G_OBJECT (c->element), pspec->name, g_param_spec_get_default_value (pspec));
}

static gpointer
set_and_get (gpointer user)
{
  Crowd *c = user;
  GParamSpec **pspecs;
  guint n;

  pspecs = g_object_class_list_properties (G_OBJECT_GET_CLASS (c->element), &n);
  for (guint round = 0; !g_atomic_int_get (&c->done); round++) {
    for (guint i = 0; i < n; i++) {
      GValue value = G_VALUE_INIT;

      if (!is_own (pspecs[i], c->element))
        continue;
      if (pspecs[i]->flags & G_PARAM_WRITABLE)
        set_one (c, pspecs[i], round);
      if (pspecs[i]->flags & G_PARAM_READABLE) {
        g_value_init (&value, pspecs[i]->value_type);
        g_object_get_property (G_OBJECT (c->element), pspecs[i]->name, &value);
        g_value_unset (&value);
      }
    }
    g_usleep (100);
  }
  g_free (pspecs);
  return NULL;
}

/* Whatever is read is whole, and nothing is freed twice: sanitizers and valgrind look. A start may well be refused, as for a
 * file that is not there. */
GST_START_TEST (test_many_threads)
{
  static const GstState states[] = {
      GST_STATE_PLAYING, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_NULL};
  static const gchar *const factories[] = {"natrelaysrc", "natrelaysink"};
  GThread *threads[THREADS];
  guint16 port = media_unused_port ();
  Crowd c = {.element = gst_element_factory_make (factories[__i__], NULL)};

  for (guint i = 0; i < 2; i++)
    c.uris[i] = g_strdup_printf ("natrelay://127.0.0.1:%u/stream%u?timeout=%u", port, i, i + 1);
  for (guint i = 0; i < THREADS; i++)
    threads[i] = g_thread_new ("sets", set_and_get, &c);
  for (guint i = 0; i < ROUNDS * G_N_ELEMENTS (states); i++) {
    gst_element_set_state (c.element, states[i % G_N_ELEMENTS (states)]);
    g_usleep (2000);
  }
  g_atomic_int_set (&c.done, TRUE);
  for (guint i = 0; i < THREADS; i++)
    g_thread_join (threads[i]);
  gst_element_set_state (c.element, GST_STATE_NULL);
  gst_object_unref (c.element);
  g_free (c.uris[0]);
  g_free (c.uris[1]);
}
GST_END_TEST;

static Suite *
natrelaysettings_suite (void)
{
  Suite *s = suite_create ("natrelaysettings");
  TCase *media = tcase_create ("media"), *threads = tcase_create ("threads");

  suite_add_tcase (s, media);
  tcase_add_checked_fixture (media, relay_begin, relay_end);
  tcase_add_test (media, test_latency_before_anything_flows);
  tcase_add_test (media, test_set_while_set);
  tcase_add_test (media, test_set_while_somebody_comes);
  suite_add_tcase (s, threads);
  tcase_add_loop_test (threads, test_many_threads, 0, 2);
  return s;
}

GST_CHECK_MAIN (natrelaysettings);
