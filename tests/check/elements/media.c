/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "media.h"

#include <gio/gio.h>
#include <gst/video/video.h>
#include <string.h>

#define PATIENCE   (PATIENCE_S * GST_SECOND)
#define GIVE_UP_US (20 * G_TIME_SPAN_SECOND)

/* ---- the relay ----------------------------------------------------------- */

RelayProcess relay;

static void forget_all (void);

void
relay_begin (void)
{
  relay_process_start (&relay);
}

void
relay_end (void)
{
  relay_process_clear (&relay);
  forget_all ();
}

gchar *
media_uri (const gchar *stream, gboolean publish)
{
  return g_strdup_printf (
      "natrelay://127.0.0.1:%u/%s?tls-fingerprint=%s&auth-token=%s&transport=udp", relay.port,
      stream, relay.fingerprint, publish ? relay.publish_token : relay.subscribe_token);
}

guint16
media_unused_port (void)
{
  GSocketListener *listener = g_socket_listener_new ();
  guint16 port = g_socket_listener_add_any_inet_port (listener, NULL, NULL);

  g_object_unref (listener);
  return port;
}

/* ---- flows --------------------------------------------------------------- */

void
flow_init (Flow *flow)
{
  g_mutex_init (&flow->lock);
  g_cond_init (&flow->cond);
  flow->sums = g_ptr_array_new_with_free_func (g_free);
  flow->nal_codec = 0;
  flow->unit = 0;
}

void
flow_clear (Flow *flow)
{
  g_ptr_array_unref (flow->sums);
  g_mutex_clear (&flow->lock);
  g_cond_clear (&flow->cond);
}

/* In H.264: 7, 8, 9; in H.265: 32 to 35. */
static gboolean
is_parameter (guint codec, guint8 first)
{
  guint type = codec == 264 ? first & 0x1f : (first >> 1) & 0x3f;

  return codec == 264 ? type >= 7 && type <= 9 : type >= 32 && type <= 35;
}

static gchar *
checksum (guint codec, const guint8 *data, gsize size)
{
  GChecksum *sum = g_checksum_new (G_CHECKSUM_SHA256);
  gchar *text;

  if (codec == 0)
    g_checksum_update (sum, data, (gssize)size);
  for (gsize at = 0; codec != 0 && at + 4 < size;) {
    gsize len = GST_READ_UINT32_BE (data + at);

    fail_unless (at + 4 + len <= size, "not length-prefixed NAL units");
    if (!is_parameter (codec, data[at + 4]))
      g_checksum_update (sum, data + at, (gssize)(4 + len));
    at += 4 + len;
  }
  text = g_strdup (g_checksum_get_string (sum));
  g_checksum_free (sum);
  return text;
}

static void
flow_take (GstElement *identity, GstBuffer *buffer, gpointer user)
{
  Flow *flow = user;
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_READ);
  g_mutex_lock (&flow->lock);
  if (flow->unit == 0)
    g_ptr_array_add (flow->sums, checksum (flow->nal_codec, map.data, map.size));
  for (gsize at = 0; flow->unit != 0 && at < map.size; at += flow->unit)
    g_ptr_array_add (flow->sums, checksum (0, map.data + at, MIN (flow->unit, map.size - at)));
  g_cond_broadcast (&flow->cond);
  g_mutex_unlock (&flow->lock);
  gst_buffer_unmap (buffer, &map);
}

void
flow_watch (Flow *flow, GstElement *pipeline, const gchar *identity)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), identity);

  fail_unless (element != NULL, "no %s", identity);
  g_object_set (element, "signal-handoffs", TRUE, NULL);
  g_signal_connect (element, "handoff", G_CALLBACK (flow_take), flow);
  gst_object_unref (element);
}

guint
flow_count (Flow *flow)
{
  guint n;

  g_mutex_lock (&flow->lock);
  n = flow->sums->len;
  g_mutex_unlock (&flow->lock);
  return n;
}

gboolean
flow_wait (Flow *flow, guint n, guint seconds)
{
  gint64 until = g_get_monotonic_time () + seconds * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;

  g_mutex_lock (&flow->lock);
  while (ok && flow->sums->len < n)
    ok = g_cond_wait_until (&flow->cond, &flow->lock, until);
  ok = flow->sums->len >= n;
  g_mutex_unlock (&flow->lock);
  return ok;
}

gboolean
flow_wait_last (Flow *received, Flow *sent, guint seconds)
{
  gint64 until = g_get_monotonic_time () + seconds * G_TIME_SPAN_SECOND;
  const gchar *last = sent->sums->pdata[sent->sums->len - 1];
  gboolean ok = TRUE, found = FALSE;

  g_mutex_lock (&received->lock);
  while (ok && !found) {
    found = received->sums->len > 0 &&
            strcmp (received->sums->pdata[received->sums->len - 1], last) == 0;
    if (!found)
      ok = g_cond_wait_until (&received->cond, &received->lock, until);
  }
  g_mutex_unlock (&received->lock);
  return found;
}

void
flow_assert_suffix (Flow *received, Flow *sent, guint n)
{
  guint len = received->sums->len, first;

  fail_unless (len >= n, "only %u of at least %u arrived", len, n);
  fail_unless (len <= sent->sums->len, "%u arrived of %u", len, sent->sums->len);
  first = sent->sums->len - len;
  for (guint i = 0; i < len; i++)
    fail_unless (strcmp (received->sums->pdata[i], sent->sums->pdata[first + i]) == 0,
        "unit %u of %u received differs from unit %u of %u sent", i, len, first + i,
        sent->sums->len);
}

/* ---- giving up ----------------------------------------------------------- */

static GMutex known_lock;
static GSList *known;   /* known_lock; of GWeakRef: the pipelines */
static GThread *tester; /* known_lock; who made them */

static GstElement *
know (GstElement *pipeline)
{
  GWeakRef *ref = g_new0 (GWeakRef, 1);

  g_weak_ref_init (ref, pipeline);
  g_mutex_lock (&known_lock);
  known = g_slist_prepend (known, ref);
  tester = g_thread_self ();
  g_mutex_unlock (&known_lock);
  return pipeline;
}

static void
weak_ref_free (gpointer ref)
{
  g_weak_ref_clear (ref);
  g_free (ref);
}

static void
forget_all (void)
{
  g_mutex_lock (&known_lock);
  g_slist_free_full (g_steal_pointer (&known), weak_ref_free);
  g_mutex_unlock (&known_lock);
}

static GPtrArray *
take_all (void)
{
  GPtrArray *all = g_ptr_array_new_with_free_func (gst_object_unref);

  g_mutex_lock (&known_lock);
  for (GSList *link = known; link != NULL; link = link->next) {
    gpointer pipeline = g_weak_ref_get (link->data);

    if (pipeline != NULL)
      g_ptr_array_add (all, pipeline);
  }
  g_mutex_unlock (&known_lock);
  return all;
}

static void
tell_error (GstMessage *message)
{
  GError *error = NULL;
  gchar *debug = NULL;

  gst_message_parse_error (message, &error, &debug);
  g_printerr (
      "%s: %s (%s)\n", GST_MESSAGE_SRC_NAME (message), error->message, debug != NULL ? debug : "");
  g_error_free (error);
  g_free (debug);
}

static void
tell_stats (const GValue *item, gpointer user)
{
  GObject *element = g_value_get_object (item);
  GstStructure *stats = NULL;
  gchar *text;

  if (strcmp (G_OBJECT_TYPE_NAME (element), "GstNatRelaySink") != 0 &&
      strcmp (G_OBJECT_TYPE_NAME (element), "GstNatRelaySrc") != 0)
    return;
  g_object_get (element, "stats", &stats, NULL);
  text = gst_structure_to_string (stats);
  g_printerr ("%s: %s\n", GST_OBJECT_NAME (element), text);
  g_free (text);
  gst_structure_free (stats);
}

static void
tell_pipeline (GstElement *pipeline)
{
  GstIterator *it = gst_bin_iterate_recurse (GST_BIN (pipeline));
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR)) != NULL) {
    tell_error (message);
    gst_message_unref (message);
  }
  gst_iterator_foreach (it, tell_stats, NULL);
  gst_iterator_free (it);
  gst_object_unref (bus);
}

/* Without forks, the next test runs in this process, and the frames of this one are gone. */
static gboolean
has_forks (void)
{
  return g_strcmp0 (g_getenv ("CK_FORK"), "no") != 0;
}

static gpointer
give_up (gpointer done)
{
  GPtrArray *all = take_all ();

  for (guint i = 0; i < all->len; i++)
    tell_pipeline (all->pdata[i]);
  for (guint i = 0; i < all->len && !has_forks (); i++)
    gst_element_set_state (all->pdata[i], GST_STATE_NULL);
  g_ptr_array_unref (all);
  g_async_queue_push (done, GINT_TO_POINTER (TRUE));
  g_async_queue_unref (done);
  return NULL;
}

/* On a thread of its own: what made the test fail may hold up this, too. */
void
media_give_up (const gchar *file, gint line)
{
  GAsyncQueue *done;

  if (tester == NULL)
    return;
  if (g_thread_self () != tester) {
    if (!has_forks ())
      g_error ("%s:%d: failed on a thread that is not the test's", file, line);
    return;
  }
  done = g_async_queue_new ();
  g_thread_unref (g_thread_new ("gives up", give_up, g_async_queue_ref (done)));
  if (g_async_queue_timeout_pop (done, GIVE_UP_US) == NULL && !has_forks ())
    g_error ("%s:%d: failed, and a pipeline does not stop", file, line);
  g_async_queue_unref (done);
}

/* ---- pipelines ----------------------------------------------------------- */

GstElement *
media_pipeline_new (void)
{
  return know (gst_pipeline_new (NULL));
}

GstElement *
media_launch (const gchar *format, ...)
{
  GError *error = NULL;
  GstElement *pipeline;
  va_list args;
  gchar *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  pipeline = gst_parse_launch (text, &error);
  fail_unless (error == NULL, "%s: %s", text, error != NULL ? error->message : "");
  g_free (text);
  return know (pipeline);
}

GstElement *
media_drain (GstElement *pipeline, GstPad *pad)
{
  GstElement *sink = gst_element_factory_make ("fakesink", NULL);
  GstPad *sinkpad = gst_element_get_static_pad (sink, "sink");

  g_object_set (sink, "sync", FALSE, "async", FALSE, "enable-last-sample", FALSE, NULL);
  gst_bin_add (GST_BIN (pipeline), sink);
  gst_element_sync_state_with_parent (sink);
  fail_unless_equals_int (gst_pad_link (pad, sinkpad), GST_PAD_LINK_OK);
  gst_object_unref (sinkpad);
  return sink;
}

void
media_play (GstElement *pipeline)
{
  fail_if (gst_element_set_state (pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE);
}

void
media_stop (GstElement *pipeline)
{
  fail_unless_equals_int (
      gst_element_set_state (pipeline, GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
  gst_object_unref (pipeline);
}

static void
fail_on_error (GstMessage *message)
{
  GError *error = NULL;
  gchar *debug = NULL;

  gst_message_parse_error (message, &error, &debug);
  ck_abort_msg ("%s: %s (%s)", GST_MESSAGE_SRC_NAME (message), error->message, debug);
}

GstMessage *
media_wait (GstElement *pipeline, GstMessageType types, GstObject *from)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  do {
    message = gst_bus_timed_pop_filtered (bus, PATIENCE, types | GST_MESSAGE_ERROR);
    fail_unless (message != NULL, "no message within %u s", PATIENCE_S);
    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR && !(types & GST_MESSAGE_ERROR))
      fail_on_error (message);
    if (from == NULL || GST_MESSAGE_SRC (message) == from)
      break;
    gst_message_unref (message);
  } while (TRUE);
  gst_object_unref (bus);
  return message;
}

void
media_wait_element (GstElement *pipeline, const gchar *name)
{
  gboolean found;

  do {
    GstMessage *message = media_wait (pipeline, GST_MESSAGE_ELEMENT, NULL);

    found = gst_message_has_name (message, name);
    gst_message_unref (message);
  } while (!found);
}

void
media_wait_eos (GstElement *pipeline)
{
  gst_message_unref (media_wait (pipeline, GST_MESSAGE_EOS, NULL));
}

static void
assert_no_more (GstElement *pipeline, const gchar *element)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR)) != NULL) {
    fail_if (g_strcmp0 (GST_MESSAGE_SRC_NAME (message), element) == 0, "a second error from %s",
        element);
    gst_message_unref (message);
  }
  gst_object_unref (bus);
}

void
media_assert_error (
    GstElement *pipeline, const gchar *element, GQuark domain, gint code, const gchar *says)
{
  GstMessage *message = media_wait (pipeline, GST_MESSAGE_ERROR, NULL);
  GError *error = NULL;

  gst_message_parse_error (message, &error, NULL);
  fail_unless_equals_string (GST_MESSAGE_SRC_NAME (message), element);
  fail_unless (g_error_matches (error, domain, code), "%s %d: %s",
      g_quark_to_string (error->domain), error->code, error->message);
  fail_unless (strstr (error->message, says) != NULL, "\"%s\" is not in: %s", says, error->message);
  g_error_free (error);
  gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_READY);
  assert_no_more (pipeline, element);
}

/* ---- elements ------------------------------------------------------------ */

typedef struct {
  GMutex lock;
  GCond cond;
} Notice;

static void
notice (GObject *object, GParamSpec *pspec, gpointer user)
{
  Notice *n = user;

  g_mutex_lock (&n->lock);
  g_cond_signal (&n->cond);
  g_mutex_unlock (&n->lock);
}

gboolean
media_has_state (GstElement *element, const gchar *nick)
{
  GValue value = G_VALUE_INIT;
  GEnumValue *is;

  g_value_init (&value,
      g_object_class_find_property (G_OBJECT_GET_CLASS (element), "connection-state")->value_type);
  g_object_get_property (G_OBJECT (element), "connection-state", &value);
  is = g_enum_get_value (g_type_class_peek (G_VALUE_TYPE (&value)), g_value_get_enum (&value));
  g_value_unset (&value);
  return strcmp (is->value_nick, nick) == 0;
}

void
media_wait_state (GstElement *element, const gchar *nick)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;
  gulong id;
  Notice n;

  g_mutex_init (&n.lock);
  g_cond_init (&n.cond);
  id = g_signal_connect (element, "notify::connection-state", G_CALLBACK (notice), &n);
  g_mutex_lock (&n.lock);
  while (ok && !media_has_state (element, nick))
    ok = g_cond_wait_until (&n.cond, &n.lock, until);
  g_mutex_unlock (&n.lock);
  fail_unless (media_has_state (element, nick), "the connection never was %s", nick);
  g_signal_handler_disconnect (element, id);
}

guint64
media_stat (GstElement *element, const gchar *field)
{
  GstStructure *stats = NULL;
  guint64 n64 = 0;
  guint n = 0;

  g_object_get (element, "stats", &stats, NULL);
  if (!gst_structure_get_uint64 (stats, field, &n64) && gst_structure_get_uint (stats, field, &n))
    n64 = n;
  gst_structure_free (stats);
  return n64;
}

enum { WISH_IN_TIME = 1, WISH_TOO_EARLY = 2 };

static GstPadProbeReturn
note_wish (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  GstElement *sink = GST_ELEMENT (GST_PAD_PARENT (pad));

  if (gst_video_event_is_force_key_unit (GST_PAD_PROBE_INFO_EVENT (info)))
    g_atomic_int_or (
        (guint *)user, media_has_state (sink, "connected") ? WISH_IN_TIME : WISH_TOO_EARLY);
  return GST_PAD_PROBE_OK;
}

void
media_watch_wishes (GstElement *sink, guint *wishes)
{
  GstPad *pad = gst_element_get_static_pad (sink, "sink_0");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, note_wish, wishes, NULL);
  gst_object_unref (pad);
}

void
media_await_wish (guint *wishes)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;

  while (g_atomic_int_get (wishes) == 0) {
    fail_unless (g_get_monotonic_time () < until, "nobody asked for a picture to begin with");
    g_usleep (1000);
  }
  fail_unless_equals_int (g_atomic_int_get (wishes), WISH_IN_TIME);
}

/* ---- films --------------------------------------------------------------- */

void
side_init (Side *side, GstElement *pipeline)
{
  side->pipeline = pipeline;
  flow_init (&side->flow);
  flow_watch (&side->flow, pipeline, "tap");
}

void
side_clear (Side *side)
{
  media_stop (side->pipeline);
  flow_clear (&side->flow);
}

void
side_begin (Side *sender, Side *receiver)
{
  media_play (receiver->pipeline);
  media_wait_element (receiver->pipeline, "natrelay-connected");
  media_play (sender->pipeline);
}

void
side_end (Side *sender)
{
  gst_element_send_event (sender->pipeline, gst_event_new_eos ());
  media_wait_eos (sender->pipeline);
}

void
side_assert_whole (Side *receiver, Side *sender, guint n)
{
  fail_unless (flow_wait_last (&receiver->flow, &sender->flow, PATIENCE_S),
      "the last unit is missing, %u are there of %u", flow_count (&receiver->flow),
      flow_count (&sender->flow));
  flow_assert_suffix (&receiver->flow, &sender->flow, n);
}

GstElement *
media_publish (const gchar *stream, const gchar *first, const gchar *second)
{
  g_autofree gchar *uri = media_uri (stream, TRUE);
  GstElement *pipeline = media_launch ("natrelaysink name=s uri=\"%s\" %s ! s. %s%s", uri, first,
      second, *second != '\0' ? " ! s." : "");

  media_play (pipeline);
  return pipeline;
}
