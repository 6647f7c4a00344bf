/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The connection as applications see it: refusals on the bus, tokens, relays that go and come. */

#include <gst/check/gstcheck.h>
#include <gst/video/video.h>
#include <gio/gio.h>
#include <string.h>

#include "media.h"

#define VIDEO                                                                                      \
  "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1 ! vp8enc deadline=1 " \
  "! "                                                                                             \
  "rtpvp8pay mtu=1200"

static GstElement *
get (GstElement *pipeline, const gchar *name)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), name);

  fail_unless (element != NULL);
  gst_object_unref (element); /* the pipeline has it */
  return element;
}

static void
wait_stat (GstElement *element, const gchar *field, guint64 n)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;

  while (media_stat (element, field) < n) {
    fail_unless (g_get_monotonic_time () < until, "%s stays below %" G_GUINT64_FORMAT, field, n);
    g_usleep (10000);
  }
}

/* ---- refusals ------------------------------------------------------------ */

#define WRONG_FINGERPRINT "0000000000000000000000000000000000000000000000000000000000000000"

static gchar *
make_uri (const gchar *fingerprint, const gchar *token)
{
  return g_strdup_printf ("natrelay://127.0.0.1:%u/door?tls-fingerprint=%s&auth-token=%s",
      relay.port, fingerprint, token);
}

/* One error on the bus of each, with a text and a code that tell why; here for both roles. */
static void
assert_refused (const gchar *uri, gboolean publish, gint code, const gchar *says)
{
  GstElement *pipeline = publish ? media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", uri)
                                 : media_launch ("natrelaysrc name=r uri=\"%s\" ! fakesink", uri);

  media_play (pipeline);
  media_assert_error (pipeline, "r", GST_RESOURCE_ERROR, code, says);
  media_stop (pipeline);
}

GST_START_TEST (test_wrong_fingerprint)
{
  gchar *uri = make_uri (WRONG_FINGERPRINT, __i__ ? relay.publish_token : relay.subscribe_token);

  assert_refused (uri, __i__, GST_RESOURCE_ERROR_OPEN_READ_WRITE, "fingerprint");
  g_free (uri);
}
GST_END_TEST;

GST_START_TEST (test_wrong_token)
{
  gchar *none = make_uri (relay.fingerprint, ""), *junk = make_uri (relay.fingerprint, "junk");
  gchar *other = make_uri (relay.fingerprint, __i__ ? relay.subscribe_token : relay.publish_token);

  assert_refused (none, __i__, GST_RESOURCE_ERROR_NOT_AUTHORIZED, "");
  assert_refused (junk, __i__, GST_RESOURCE_ERROR_NOT_AUTHORIZED, "");
  /* A token to watch is none to publish. */
  assert_refused (other, __i__, GST_RESOURCE_ERROR_NOT_AUTHORIZED, "");
  g_free (none);
  g_free (junk);
  g_free (other);
}
GST_END_TEST;

GST_START_TEST (test_busy)
{
  g_autofree gchar *uri = media_uri ("door", TRUE);
  GstElement *first = media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", uri);
  GstElement *second = media_launch (VIDEO " ! natrelaysink name=r takeover=true uri=\"%s\"", uri);

  media_play (first);
  media_wait_element (first, "natrelay-connected");
  media_play (second);
  media_wait_element (second, "natrelay-connected");
  /* It is told by whom it was replaced, and does not fight. */
  media_assert_error (first, "r", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_BUSY, "");
  media_stop (first);
  media_stop (second);
}
GST_END_TEST;

/* ---- tokens -------------------------------------------------------------- */

GST_START_TEST (test_token_of_environment)
{
  GstElement *pipeline = media_launch (VIDEO
      " ! natrelaysink name=r uri=natrelay://127.0.0.1:%u/door tls-fingerprint=%s",
      relay.port, relay.fingerprint);

  g_setenv ("NATRELAY_AUTH_TOKEN", relay.publish_token, TRUE);
  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-connected");
  gst_element_set_state (pipeline, GST_STATE_READY);
  /* The property goes first. */
  g_object_set (get (pipeline, "r"), "auth-token", relay.subscribe_token, NULL);
  media_play (pipeline);
  media_assert_error (pipeline, "r", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_AUTHORIZED, "");
  media_stop (pipeline);
  g_unsetenv ("NATRELAY_AUTH_TOKEN");
}
GST_END_TEST;

static gchar *
give_token (GstElement *element, gpointer token)
{
  return g_strdup (token);
}

/* Asked only when refused; the answer continues the session without an error. */
GST_START_TEST (test_request_auth_token)
{
  GstElement *pipeline = media_launch (VIDEO
      " ! natrelaysink name=r tls-fingerprint=%s auth-token=junk uri=natrelay://127.0.0.1:%u/door",
      relay.fingerprint, relay.port);

  g_signal_connect (
      get (pipeline, "r"), "request-auth-token", G_CALLBACK (give_token), relay.publish_token);
  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-connected");
  media_stop (pipeline);
}
GST_END_TEST;

/* An answer that is refused, too, or none, ends in one error. */
GST_START_TEST (test_request_auth_token_in_vain)
{
  GstElement *pipeline = media_launch ("natrelaysrc name=r tls-fingerprint=%s auth-token=junk "
                                       "uri=natrelay://127.0.0.1:%u/door ! fakesink",
      relay.fingerprint, relay.port);

  g_signal_connect (get (pipeline, "r"), "request-auth-token", G_CALLBACK (give_token),
      (gpointer)(__i__ ? "more junk" : NULL));
  media_play (pipeline);
  media_assert_error (pipeline, "r", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_AUTHORIZED, "");
  media_stop (pipeline);
}
GST_END_TEST;

typedef struct {
  GMutex lock;
  GCond cond;
  gboolean asked, answer;
} Dialog;

static gchar *
think_long (GstElement *element, Dialog *d)
{
  g_mutex_lock (&d->lock);
  d->asked = TRUE;
  g_cond_broadcast (&d->cond);
  while (!d->answer)
    g_cond_wait (&d->cond, &d->lock);
  g_mutex_unlock (&d->lock);
  return NULL;
}

/* A person closed the question after the pipeline was started anew with a good token: that is no failure. */
GST_START_TEST (test_late_answer)
{
  GstElement *pipeline = media_launch (VIDEO
      " ! natrelaysink name=r tls-fingerprint=%s auth-token=junk uri=natrelay://127.0.0.1:%u/door",
      relay.fingerprint, relay.port);
  GstElement *sink = get (pipeline, "r");
  Dialog d = {0};
  GstMessage *message;
  GstBus *bus;

  g_mutex_init (&d.lock);
  g_cond_init (&d.cond);
  g_signal_connect (sink, "request-auth-token", G_CALLBACK (think_long), &d);
  media_play (pipeline);
  g_mutex_lock (&d.lock);
  while (!d.asked)
    g_cond_wait (&d.cond, &d.lock);
  g_mutex_unlock (&d.lock);
  gst_element_set_state (pipeline, GST_STATE_READY);
  g_object_set (sink, "auth-token", relay.publish_token, NULL);
  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-connected");
  g_mutex_lock (&d.lock);
  d.answer = TRUE;
  g_cond_broadcast (&d.cond);
  g_mutex_unlock (&d.lock);
  bus = gst_element_get_bus (pipeline);
  /* The thread that asked lets go of the element when it is done. */
  while (GST_OBJECT_REFCOUNT_VALUE (sink) > 1) {
    message = gst_bus_timed_pop (bus, 10 * GST_MSECOND);
    fail_if (message != NULL && GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR,
        "the old session's error came");
    gst_clear_message (&message);
  }
  gst_object_unref (bus);
  media_stop (pipeline);
  g_mutex_clear (&d.lock);
  g_cond_clear (&d.cond);
}
GST_END_TEST;

/* A new token is taken while media flows, and nothing of it is lost. */
GST_START_TEST (test_token_while_playing)
{
  g_autofree gchar *uri = media_uri ("door", TRUE);
  GstElement *pipeline = media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", uri);
  GstElement *sink = get (pipeline, "r");
  guint64 sent;

  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-connected");
  g_object_set (sink, "auth-token", relay.publish_token, NULL);
  sent = media_stat (sink, "packets-sent");
  while (media_stat (sink, "packets-sent") < sent + 50)
    g_usleep (10000);
  media_wait_state (sink, "connected");
  fail_unless_equals_uint64 (media_stat (sink, "reconnects"), 0);
  media_stop (pipeline);
}
GST_END_TEST;

/* A refusal is told, but ends nothing: with another token the same pipeline goes on. */
GST_START_TEST (test_token_after_refusal)
{
  GstElement *pipeline = media_launch (VIDEO
      " ! natrelaysink name=r wait-for-connection=%s tls-fingerprint=%s auth-token=junk "
      "uri=natrelay://127.0.0.1:%u/door",
      __i__ ? "true" : "false", relay.fingerprint, relay.port);
  GstElement *sink = get (pipeline, "r");

  media_play (pipeline);
  gst_message_unref (media_wait (pipeline, GST_MESSAGE_ERROR, GST_OBJECT (sink)));
  media_wait_state (sink, "failed");
  if (!__i__)
    wait_stat (sink, "packets-sent-dropped", media_stat (sink, "packets-sent-dropped") + 20);
  g_object_set (sink, "auth-token", relay.publish_token, NULL);
  wait_stat (sink, "packets-sent", 50);
  media_stop (pipeline);
}
GST_END_TEST;

/* ---- certificates -------------------------------------------------------- */

static gboolean
judge (
    GstElement *element, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer accept)
{
  fail_unless (G_IS_TLS_CERTIFICATE (certificate));
  fail_unless (errors & G_TLS_CERTIFICATE_UNKNOWN_CA);
  return accept != NULL;
}

GST_START_TEST (test_accept_certificate)
{
  GstElement *pipeline =
      media_launch ("natrelaysrc name=r auth-token=%s uri=natrelay://127.0.0.1:%u/door ! fakesink",
          relay.subscribe_token, relay.port);

  g_signal_connect (
      get (pipeline, "r"), "accept-certificate", G_CALLBACK (judge), GINT_TO_POINTER (__i__));
  media_play (pipeline);
  if (__i__)
    media_wait_element (pipeline, "natrelay-connected");
  else
    media_assert_error (pipeline, "r", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ_WRITE, "");
  media_stop (pipeline);
}
GST_END_TEST;

GST_START_TEST (test_ca_file)
{
  gchar *file = g_build_filename (relay.state_dir, "certificate.pem", NULL);
  GstElement *pipeline = media_launch ("natrelaysrc name=r tls-ca-file=\"%s\" auth-token=%s "
                                       "uri=natrelay://127.0.0.1:%u/door ! fakesink",
      file, relay.subscribe_token, relay.port);

  fail_unless (g_file_test (file, G_FILE_TEST_EXISTS), "no %s", file);
  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-connected");
  media_stop (pipeline);
  g_free (file);
}
GST_END_TEST;

/* ---- messages ------------------------------------------------------------ */

/* Each step begins and ends once, in order, and the addresses are told. */
GST_START_TEST (test_messages)
{
  g_autofree gchar *uri = media_uri ("door", FALSE);
  GstElement *pipeline = media_launch ("natrelaysrc name=r uri=\"%s\" ! fakesink", uri);
  GString *story = g_string_new (NULL);
  const GstStructure *s;
  GstMessage *message;
  gchar *code;

  media_play (pipeline);
  do {
    GstProgressType type;

    message = media_wait (
        pipeline, GST_MESSAGE_PROGRESS | GST_MESSAGE_ELEMENT, GST_OBJECT (get (pipeline, "r")));
    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ELEMENT)
      break;
    gst_message_parse_progress (message, &type, &code, NULL);
    g_string_append_printf (story, "%s%s ", type == GST_PROGRESS_TYPE_START ? "+" : "-", code);
    fail_unless (type == GST_PROGRESS_TYPE_START || type == GST_PROGRESS_TYPE_COMPLETE);
    g_free (code);
    gst_message_unref (message);
  } while (TRUE);
  fail_unless_equals_string (
      story->str, "+negotiate -negotiate +challenge -challenge +register -register ");
  s = gst_message_get_structure (message);
  fail_unless (gst_structure_has_name (s, "natrelay-connected"));
  fail_unless (g_str_has_prefix (gst_structure_get_string (s, "mapped-address"), "127.0.0.1:"));
  fail_unless (strstr (gst_structure_get_string (s, "relay-address"), "127.0.0.1:") != NULL);
  fail_unless_equals_string (gst_structure_get_string (s, "transport"), "udp");
  gst_message_unref (message);
  g_string_free (story, TRUE);
  media_stop (pipeline);
}
GST_END_TEST;

/* What the end of "register" says of a viewer that registers now. Free with g_free(). */
static gchar *
registered_text (const gchar *uri)
{
  GstElement *pipeline = media_launch ("natrelaysrc name=r uri=\"%s\" ! fakesink", uri);
  gchar *code = NULL, *text = NULL;
  GstProgressType type;

  media_play (pipeline);
  do {
    GstMessage *message =
        media_wait (pipeline, GST_MESSAGE_PROGRESS, GST_OBJECT (get (pipeline, "r")));

    g_free (code);
    g_free (text);
    gst_message_parse_progress (message, &type, &code, &text);
    gst_message_unref (message);
  } while (g_strcmp0 (code, "register") != 0 || type != GST_PROGRESS_TYPE_COMPLETE);
  g_free (code);
  media_stop (pipeline);
  return text;
}

/* Whoever mistypes the stream's name is told that there is none, and nobody else. */
GST_START_TEST (test_nobody_publishes)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  gchar *room = media_uri ("room/*", FALSE), *before, *after, *in_room;
  GstElement *publisher = media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", to);

  before = registered_text (from);
  in_room = registered_text (room);
  media_play (publisher);
  media_wait_element (publisher, "natrelay-connected");
  after = registered_text (from);
  fail_unless (strstr (before, "; nobody publishes this stream now") != NULL, "%s", before);
  fail_unless (strstr (in_room, "nobody") == NULL, "%s", in_room);
  fail_unless (strstr (after, "nobody") == NULL, "%s", after);
  media_stop (publisher);
  g_free (before);
  g_free (after);
  g_free (in_room);
  g_free (room);
}
GST_END_TEST;

GST_START_TEST (test_stats)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *sender = media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", to);
  GstElement *receiver = media_launch ("natrelaysrc name=r uri=\"%s\" ! fakesink sync=false", from);
  static const gchar *const fields[] = {"local-address", "mapped-address", "relay-address",
      "transport", "rtt-ms", "rebinds", "reconnects", "attempts", "packets-received",
      "bytes-received", "packets-received-lost", "packets-received-dropped"};
  GstStructure *stats;

  media_play (receiver);
  media_play (sender);
  while (media_stat (get (receiver, "r"), "packets-received") < 50)
    g_usleep (10000);
  g_object_get (get (receiver, "r"), "stats", &stats, NULL);
  fail_unless (gst_structure_has_name (stats, "application/x-natrelay-statistics"));
  for (guint i = 0; i < G_N_ELEMENTS (fields); i++)
    fail_unless (gst_structure_has_field (stats, fields[i]), "no %s", fields[i]);
  gst_structure_free (stats);
  fail_unless (media_stat (get (sender, "r"), "packets-sent") >= 50);
  fail_unless (media_stat (get (sender, "r"), "bytes-sent") >= 50 * 30);
  media_stop (receiver);
  media_stop (sender);
}
GST_END_TEST;

/* ---- relays that go and come --------------------------------------------- */

static void
wait_packets (GstElement *src, guint64 more)
{
  guint64 now = media_stat (src, "packets-received");
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;

  while (media_stat (src, "packets-received") < now + more) {
    fail_unless (g_get_monotonic_time () < until, "nothing arrives");
    g_usleep (10000);
  }
}

/* First absent, then there, then killed and started again. */
/* What the relay tells of packets' arrival becomes a figure of what the link can take. */
GST_START_TEST (test_estimated_bitrate)
{
  g_autofree gchar *uri = media_uri ("door", TRUE);
  GstElement *pipeline = media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", uri);
  GstElement *sink = get (pipeline, "r");
  guint bitrate = 1;

  g_object_get (sink, "estimated-bitrate", &bitrate, NULL);
  fail_unless_equals_int (bitrate, 0);
  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-bitrate");
  g_object_get (sink, "estimated-bitrate", &bitrate, NULL);
  fail_unless (bitrate >= 30000 && bitrate < 1000000000, "%u bit/s", bitrate);
  fail_unless (media_stat (sink, "estimated-bitrate") > 0);
  media_stop (pipeline);
}
GST_END_TEST;

static void
on_subscribers (GstElement *sink, guint n, gint *seen)
{
  g_atomic_int_set (seen, (gint)n + 1);
}

static void
wait_for_subscribers (gint *seen, gint n)
{
  gint64 end = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;

  while (g_atomic_int_get (seen) != n + 1 && g_get_monotonic_time () < end)
    g_usleep (10000);
  fail_unless_equals_int (g_atomic_int_get (seen) - 1, n);
}

/* Who watches comes to the publisher's ear: two come, one goes. */
GST_START_TEST (test_audience)
{
  g_autofree gchar *uri = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *pipeline = media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", uri);
  GstElement *sink = get (pipeline, "r"), *viewers[2];
  gint added = 0, removed = 0;
  GstStructure *stats;
  guint n = 0;

  g_signal_connect (sink, "subscriber-added", G_CALLBACK (on_subscribers), &added);
  g_signal_connect (sink, "subscriber-removed", G_CALLBACK (on_subscribers), &removed);
  media_play (pipeline);
  for (guint i = 0; i < 2; i++) {
    viewers[i] = media_launch ("natrelaysrc uri=\"%s\" ! fakesink", from);
    media_play (viewers[i]);
  }
  wait_for_subscribers (&added, 2);
  media_wait_element (pipeline, "natrelay-audience");
  media_stop (viewers[0]);
  wait_for_subscribers (&removed, 1);
  g_object_get (sink, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint (stats, "subscribers", &n));
  fail_unless_equals_int (n, 1);
  gst_structure_free (stats);
  media_stop (viewers[1]);
  media_stop (pipeline);
}
GST_END_TEST;

GST_START_TEST (test_relay_comes_and_goes)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  GstElement *sender =
      media_launch (VIDEO " ! natrelaysink name=r retry-backoff-max=0.5 uri=\"%s\"", to);
  GstElement *receiver = media_launch ("natrelaysrc name=r retry-backoff-max=0.5 uri=\"%s\" ! "
                                       "identity name=tap ! fakesink sync=false",
      from);
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, receiver, "tap");
  relay_process_kill (&relay);
  media_play (sender);
  media_play (receiver);
  media_wait_element (sender, "natrelay-connection-attempt");
  media_wait_element (receiver, "natrelay-connection-attempt");
  relay_process_restart (&relay);
  media_wait_element (sender, "natrelay-connected");
  fail_unless (flow_wait (&flow, 50, PATIENCE_S));
  for (guint i = 0; i < 2; i++) {
    relay_process_kill (&relay);
    media_wait_state (get (receiver, "r"), "suspect");
    relay_process_restart (&relay);
    media_wait_state (get (receiver, "r"), "connected");
    media_wait_state (get (sender, "r"), "connected");
    wait_packets (get (receiver, "r"), 50);
    fail_unless (
        flow_wait (&flow, flow_count (&flow) + 50, PATIENCE_S), "no media after restart %u", i);
  }
  media_stop (sender);
  media_stop (receiver);
  flow_clear (&flow);
}
GST_END_TEST;

/* What flows out of the queue is held: so much lies in it. */
static void
wait_until_held (GstElement *queue)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  guint n = 0;

  while (n < 10) {
    fail_unless (g_get_monotonic_time () < until, "nothing holds the packets");
    g_usleep (10000);
    g_object_get (queue, "current-level-buffers", &n, NULL);
  }
}

/* A pause while it waits for the relay is no end: what was held goes out when both are over. */
GST_START_TEST (test_pause_while_waiting)
{
  g_autofree gchar *uri = media_uri ("door", TRUE);
  GstElement *pipeline =
      media_launch (VIDEO " ! queue name=q ! natrelaysink name=r wait-for-connection=true "
                          "retry-backoff-max=0.2 uri=\"%s\"",
          uri);
  GstElement *sink = get (pipeline, "r"), *queue = get (pipeline, "q");
  GstPad *src = gst_element_get_static_pad (queue, "src");

  relay_process_kill (&relay);
  media_play (pipeline);
  media_wait_element (pipeline, "natrelay-connection-attempt");
  wait_until_held (queue);
  for (guint i = 0; i < 2; i++) {
    fail_if (gst_element_set_state (pipeline, GST_STATE_PAUSED) == GST_STATE_CHANGE_FAILURE);
    media_play (pipeline);
    media_wait_element (pipeline, "natrelay-connection-attempt");
  }
  fail_unless_equals_uint64 (media_stat (sink, "packets-sent-dropped"), 0);
  relay_process_restart (&relay);
  media_wait_element (pipeline, "natrelay-connected");
  wait_stat (sink, "packets-sent", 50);
  fail_unless_equals_int (gst_pad_get_last_flow_return (src), GST_FLOW_OK);
  gst_object_unref (src);
  media_stop (pipeline);
}
GST_END_TEST;

#define SAME_SSRC VIDEO " ssrc=1"

/* Two scripts were given one SSRC. The second draws another, also where it waits for the connection. The picture that was
 * dropped meanwhile may be the one to begin with: another is asked for when the relay can take it. */
GST_START_TEST (test_ssrc_in_use)
{
  g_autofree gchar *door = media_uri ("door", TRUE), *gate = media_uri ("gate", TRUE);
  GstElement *first = media_launch (SAME_SSRC " ! natrelaysink name=r uri=\"%s\"", door);
  GstElement *second = media_launch (SAME_SSRC " ! natrelaysink name=r wait-for-connection=%s "
                                               "retry-backoff-max=0.2 uri=\"%s\"",
      __i__ ? "true" : "false", gate);
  guint wishes = 0;

  media_watch_wishes (get (second, "r"), &wishes);
  media_play (first);
  wait_stat (get (first, "r"), "packets-sent", 10);
  media_play (second);
  media_wait_element (second, "natrelay-connected");
  wait_stat (get (second, "r"), "packets-sent", 50);
  fail_unless (media_stat (get (second, "r"), "attempts") > 1, "the relay took one SSRC twice");
  media_await_wish (&wishes);
  media_stop (second);
  media_stop (first);
}
GST_END_TEST;

/* A camera that is there before its relay. */
GST_START_TEST (test_relay_comes_later)
{
  g_autofree gchar *uri = media_uri ("door", TRUE);
  GstElement *pipeline =
      media_launch (VIDEO " ! natrelaysink name=r retry-backoff-max=0.2 uri=\"%s\"", uri);
  guint wishes = 0;

  media_watch_wishes (get (pipeline, "r"), &wishes);
  relay_process_kill (&relay);
  media_play (pipeline);
  wait_stat (get (pipeline, "r"), "packets-sent-dropped", 10);
  relay_process_restart (&relay);
  media_await_wish (&wishes);
  media_stop (pipeline);
}
GST_END_TEST;

/* ---- states -------------------------------------------------------------- */

static GstMessage *
next_progress (GstElement *pipeline, GstClockTime patience)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (bus, patience, GST_MESSAGE_PROGRESS);

  gst_object_unref (bus);
  return message;
}

static void
wait_for_caps (GstElement *sink)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  GstPad *pad = gst_element_get_static_pad (sink, "sink_0");

  while (!gst_pad_has_current_caps (pad)) {
    fail_unless (g_get_monotonic_time () < until, "no caps came");
    g_usleep (1000);
  }
  gst_object_unref (pad);
}

/* A progress that began in PAUSED would make gst-launch-1.0 wait for the network before it plays, a file
 * for a relay that is not there, or one branch for another. */
GST_START_TEST (test_no_network_before_playing)
{
  g_autofree gchar *uri = media_uri ("door", __i__);
  GstElement *pipeline = __i__ ? media_launch ("audiotestsrc ! audioconvert ! rtpL16pay mtu=1200 ! "
                                               "natrelaysink name=r uri=\"%s\"",
                                     uri)
                               : media_launch ("natrelaysrc name=r uri=\"%s\" ! fakesink", uri);
  GstMessage *message;
  GstProgressType type;

  for (guint round = 0; round < 2; round++) {
    gst_element_set_state (pipeline, GST_STATE_PAUSED);
    if (__i__)
      wait_for_caps (get (pipeline, "r"));
    message = next_progress (pipeline, 200 * GST_MSECOND);
    fail_unless (message == NULL, "a progress in PAUSED");
    media_play (pipeline);
    message = next_progress (pipeline, 20 * GST_SECOND);
    fail_unless (message != NULL, "no progress in PLAYING");
    gst_message_parse_progress (message, &type, NULL, NULL);
    fail_unless_equals_int (type, GST_PROGRESS_TYPE_START);
    gst_message_unref (message);
    media_wait_element (pipeline, "natrelay-connected");
    gst_element_set_state (pipeline, GST_STATE_READY);
  }
  media_stop (pipeline);
}
GST_END_TEST;

static gchar *
websocket_uri (const gchar *token)
{
  return g_strdup_printf (
      "natrelay://127.0.0.1:%u/door?tls-fingerprint=%s&auth-token=%s&transport=websocket",
      relay.port, relay.fingerprint, token);
}

/* Both over a WebSocket, and so they say. */
GST_START_TEST (test_websocket)
{
  gchar *to = websocket_uri (relay.publish_token), *from = websocket_uri (relay.subscribe_token);
  GstElement *sender = media_launch (VIDEO " ! natrelaysink name=r uri=\"%s\"", to);
  GstElement *receiver = media_launch ("natrelaysrc name=r uri=\"%s\" ! fakesink sync=false", from);
  GstStructure *stats;

  media_play (receiver);
  media_play (sender);
  wait_packets (get (receiver, "r"), 100);
  for (guint i = 0; i < 2; i++) {
    g_object_get (get (i == 0 ? sender : receiver, "r"), "stats", &stats, NULL);
    fail_unless_equals_string (gst_structure_get_string (stats, "transport"), "websocket");
    gst_structure_free (stats);
  }
  media_stop (sender);
  media_stop (receiver);
  g_free (to);
  g_free (from);
}
GST_END_TEST;

/* What is read back ends in logs and pictures of pipelines. */
GST_START_TEST (test_proxy_is_read_back_without_password)
{
  static const gchar *const cases[][2] = {
      {"http://proxy.example.org:3128", "http://proxy.example.org:3128"},
      {"http://me:secret@proxy.example.org:3128", "http://me@proxy.example.org:3128"},
      {"http://me:sec:ret@[2001:db8::1]:3128", "http://me@[2001:db8::1]:3128"},
      {"http://me@proxy.example.org", "http://me@proxy.example.org"},
      {"socks5://me:secret@proxy.example.org", "socks5://me@proxy.example.org"},
      {"me:secret@proxy.example.org:3128", "me@proxy.example.org:3128"},
      {"proxy.example.org:3128", "proxy.example.org:3128"},
      {NULL, NULL},
  };
  GstElement *src = gst_element_factory_make ("natrelaysrc", NULL);
  gchar *text;

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_object_set (src, "proxy", cases[i][0], NULL);
    g_object_get (src, "proxy", &text, NULL);
    fail_unless_equals_string (text, cases[i][1]);
    g_free (text);
  }
  g_object_set (src, "uri", "natrelay://h/d?proxy=http%3A//me:secret%40p&latency=100", NULL);
  g_object_get (src, "uri", &text, NULL);
  fail_unless_equals_string (text, "natrelay://h/d?latency=100");
  g_free (text);
  gst_object_unref (src);
}
GST_END_TEST;

static Suite *
natrelayconnection_suite (void)
{
  Suite *s = suite_create ("natrelayconnection");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_loop_test (tc, test_wrong_fingerprint, 0, 2);
  tcase_add_loop_test (tc, test_wrong_token, 0, 2);
  tcase_add_test (tc, test_busy);
  tcase_add_test (tc, test_token_of_environment);
  tcase_add_test (tc, test_request_auth_token);
  tcase_add_loop_test (tc, test_request_auth_token_in_vain, 0, 2);
  tcase_add_test (tc, test_late_answer);
  tcase_add_test (tc, test_token_while_playing);
  tcase_add_loop_test (tc, test_token_after_refusal, 0, 2);
  tcase_add_loop_test (tc, test_accept_certificate, 0, 2);
  tcase_add_test (tc, test_ca_file);
  tcase_add_test (tc, test_messages);
  tcase_add_test (tc, test_nobody_publishes);
  tcase_add_test (tc, test_websocket);
  tcase_add_test (tc, test_proxy_is_read_back_without_password);
  tcase_add_test (tc, test_stats);
  tcase_add_test (tc, test_estimated_bitrate);
  tcase_add_test (tc, test_audience);
  tcase_add_test (tc, test_relay_comes_and_goes);
  tcase_add_test (tc, test_pause_while_waiting);
  tcase_add_loop_test (tc, test_ssrc_in_use, 0, 2);
  tcase_add_test (tc, test_relay_comes_later);
  tcase_add_loop_test (tc, test_no_network_before_playing, 0, 2);
  return s;
}

GST_CHECK_MAIN (natrelayconnection);
