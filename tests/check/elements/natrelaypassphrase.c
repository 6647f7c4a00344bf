/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A stream that the relay is not to know: who has the passphrase plays it, who has not is told so and plays nothing, and the
 * passphrase itself is nowhere to be seen. */

#include <gst/check/gstcheck.h>
#include <glib/gstdio.h>
#include <string.h>

#include "lossy.h"
#include "media.h"

#define VIDEO                                                                                      \
  "videotestsrc is-live=true pattern=snow ! video/x-raw,width=160,height=120,framerate=50/1 ! "    \
  "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=25 target-bitrate=400000 ! identity name=tap ! " \
  "rtpvp8pay mtu=600"
#define SCREEN "rtpvp8depay ! identity name=tap ! fakesink sync=false"
#define SECRET "quarrel mango thunder ripple"

/* "natrelaysink uri=..." and likewise the source, called "n", with more properties. What a busy machine loses has a second to be
 * repaired; what is not lost does not wait for that. */
static GstElement *
sender_new (const gchar *stream, const gchar *properties)
{
  g_autofree gchar *uri = media_uri (stream, TRUE);

  return media_launch (VIDEO " ! natrelaysink name=n uri=\"%s\" %s", uri, properties);
}

static GstElement *
receiver_new (const gchar *stream, const gchar *properties)
{
  g_autofree gchar *uri = media_uri (stream, FALSE);

  return media_launch ("natrelaysrc name=n latency=1000 uri=\"%s\" %s ! " SCREEN, uri, properties);
}

static guint64
stat_of (GstElement *pipeline, const gchar *field)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), "n");
  guint64 value = media_stat (element, field);

  gst_object_unref (element);
  return value;
}

/* ---- those who have it ---------------------------------------------------- */

static const gchar *const encryptions[] = {"aes-128-gcm", "aes-256-gcm"};

#define UNITS 50

/* One that waits for the stream and one that comes late, one with the words and one with a file of them. */
GST_START_TEST (test_plays)
{
  g_autofree gchar *file = g_strdup_printf ("%s/key", relay.state_dir);
  g_autofree gchar *with_file =
      g_strdup_printf ("key-file=\"%s\" encryption=%s", file, encryptions[__i__]);
  g_autofree gchar *with_encryption =
      g_strdup_printf ("passphrase=\"" SECRET "\" encryption=%s", encryptions[__i__]);
  Side early, late, sender;

  fail_unless (g_file_set_contents (file, SECRET "\n", -1, NULL));
  side_init (&early, receiver_new ("door", with_file));
  side_init (&late, receiver_new ("door", "passphrase=\"" SECRET "\""));
  side_init (&sender, sender_new ("door", with_encryption));
  side_begin (&sender, &early);
  fail_unless (
      flow_wait (&early.flow, UNITS, PATIENCE_S), "%u units arrived", flow_count (&early.flow));
  media_play (late.pipeline);
  fail_unless (
      flow_wait (&late.flow, UNITS, PATIENCE_S), "%u units arrived late", flow_count (&late.flow));
  fail_unless_equals_uint64 (stat_of (early.pipeline, "packets-received-unknown-key"), 0);
  fail_unless_equals_uint64 (stat_of (late.pipeline, "packets-received-refused"), 0);
  side_end (&sender);
  side_assert_whole (&early, &sender, UNITS);
  side_assert_whole (&late, &sender, UNITS);
  side_clear (&sender);
  side_clear (&early);
  side_clear (&late);
}
GST_END_TEST;

/* Of input that can wait nothing is lost while the passphrase is being stretched. */
GST_START_TEST (test_wait_for_connection)
{
  g_autofree gchar *uri = media_uri ("door", TRUE);
  Side sender, receiver;

  side_init (&receiver, receiver_new ("door", "passphrase=\"" SECRET "\""));
  side_init (&sender,
      media_launch ("videotestsrc num-buffers=60 ! video/x-raw,width=160,height=120,framerate=50/1 "
                    "! vp8enc deadline=1 cpu-used=8 ! identity name=tap ! rtpvp8pay mtu=600 ! "
                    "natrelaysink wait-for-connection=true uri=\"%s\" passphrase=\"" SECRET "\"",
          uri));
  side_begin (&sender, &receiver);
  media_wait_eos (sender.pipeline);
  side_assert_whole (&receiver, &sender, 60);
  fail_unless_equals_int (flow_count (&sender.flow), 60);
  side_clear (&sender);
  side_clear (&receiver);
}
GST_END_TEST;

/* ---- those who have not ---------------------------------------------------- */

static const struct {
  const gchar *sender, *receiver;
  GstStreamError code;
  const gchar *says;
} strangers[] = {
    {"passphrase=\"" SECRET "\"", "passphrase=\"" SECRET "s\"", GST_STREAM_ERROR_DECRYPT,
        "same passphrase"},
    {"passphrase=\"" SECRET "\"", "", GST_STREAM_ERROR_DECRYPT_NOKEY,
        "set the property passphrase"},
    {"", "passphrase=\"" SECRET "\"", GST_STREAM_ERROR_DECRYPT, "uses no passphrase"},
    {"encryption=none", "passphrase=\"" SECRET "\"", GST_STREAM_ERROR_DECRYPT,
        "uses no passphrase"},
    {"encryption=none", "encryption=aes-128-gcm", GST_STREAM_ERROR_DECRYPT, "weaker"},
    {"passphrase=\"" SECRET "\"", "passphrase=\"" SECRET "\" encryption=aes-256-gcm",
        GST_STREAM_ERROR_DECRYPT, "weaker"},
};

/* One error, and no packet of it comes out. */
GST_START_TEST (test_stranger)
{
  GstElement *sender = sender_new ("door", strangers[__i__].sender);
  Side receiver;

  side_init (&receiver, receiver_new ("door", strangers[__i__].receiver));
  media_play (sender);
  media_wait_element (sender, "natrelay-connected");
  media_play (receiver.pipeline);
  media_assert_error (
      receiver.pipeline, "n", GST_STREAM_ERROR, (gint)strangers[__i__].code, strangers[__i__].says);
  fail_unless_equals_int (flow_count (&receiver.flow), 0);
  side_clear (&receiver);
  media_stop (sender);
}
GST_END_TEST;

/* Until the relay knows that the publisher left. */
static void
watch_him_leave (GstElement *publisher)
{
  g_autofree gchar *uri = media_uri ("**", FALSE);
  GstElement *watcher = media_launch ("natrelaysrc uri=\"%s\" fakesink async=false", uri);

  media_play (watcher);
  media_wait_element (watcher, "natrelay-stream-added");
  media_stop (publisher);
  media_wait_element (watcher, "natrelay-stream-removed");
  media_stop (watcher);
}

/* Somebody without a passphrase was there and left; his place is kept for a while. Whoever waits for one with it is not told off, and
 * has what comes then. */
GST_START_TEST (test_successor)
{
  GstElement *before = sender_new ("door", "");
  Side sender, receiver;

  side_init (&sender, sender_new ("door", "passphrase=\"" SECRET "\""));
  side_init (&receiver, receiver_new ("door", "passphrase=\"" SECRET "\""));
  media_play (before);
  media_wait_element (before, "natrelay-connected");
  watch_him_leave (before);
  side_begin (&sender, &receiver);
  media_wait_element (sender.pipeline, "natrelay-connected");
  fail_unless (flow_wait (&receiver.flow, UNITS, PATIENCE_S));
  side_clear (&receiver);
  side_clear (&sender);
}
GST_END_TEST;

/* The same words for another stream are other keys, but in a room one stretching serves all. */
GST_START_TEST (test_room)
{
  static const gchar *const streams[] = {"room/alice", "room/bob"};
  GstElement *senders[2];
  Side receivers[2];

  for (guint i = 0; i < 2; i++) {
    senders[i] = sender_new (streams[i], "passphrase=\"" SECRET "\"");
    side_init (&receivers[i], receiver_new (streams[i], "passphrase=\"" SECRET "\""));
    media_play (senders[i]);
    media_play (receivers[i].pipeline);
  }
  for (guint i = 0; i < 2; i++)
    fail_unless (flow_wait (&receivers[i].flow, UNITS, PATIENCE_S), "nothing of %s", streams[i]);
  for (guint i = 0; i < 2; i++) {
    media_stop (senders[i]);
    side_clear (&receivers[i]);
  }
}
GST_END_TEST;

/* ---- settings -------------------------------------------------------------- */

static const struct {
  gboolean source;
  const gchar *properties, *says;
} wrong[] = {
    {FALSE, "passphrase=short", "10 to 1024"},
    {TRUE, "passphrase=short", "10 to 1024"},
    {FALSE, "passphrase=\"" SECRET "\" key-file=/dev/null", "one of them"},
    {TRUE, "key-file=/nowhere/at/all", "exists and can be read; \"/nowhere/at/all\""},
    {TRUE, "key-file=/dev/zero", "regular file"},
    {FALSE, "passphrase=\"" SECRET "\" encryption=none", "encryption is none"},
};

GST_START_TEST (test_settings)
{
  GstElement *pipeline = wrong[__i__].source ? receiver_new ("door", wrong[__i__].properties)
                                             : sender_new ("door", wrong[__i__].properties);

  fail_unless_equals_int (
      gst_element_set_state (pipeline, GST_STATE_PLAYING), GST_STATE_CHANGE_FAILURE);
  media_assert_error (
      pipeline, "n", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, wrong[__i__].says);
  media_stop (pipeline);
}
GST_END_TEST;

/* ---- nothing of it is shown ------------------------------------------------- */

static gint logged,
    shown; /* atomic; messages, and those in which the secret stood, or what it can be guessed by */
static gint offers; /* atomic; descriptions among them */

static void
search_log (GstDebugCategory *category, GstDebugLevel level, const gchar *file,
    const gchar *function, gint line, GObject *object, GstDebugMessage *message, gpointer user)
{
  const gchar *text = gst_debug_message_get (message);

  g_atomic_int_inc (&logged);
  if (text != NULL && (strstr (text, "thunder") != NULL || strstr (text, "quarrel") != NULL ||
                          strstr (text, "a=natrelay-passphrase") != NULL))
    g_atomic_int_inc (&shown);
  if (text != NULL && g_str_has_prefix (text, "offering") && strstr (text, "m=video") != NULL)
    g_atomic_int_inc (&offers);
}

static void
assert_hidden (GstElement *pipeline)
{
  gchar *dot = gst_debug_bin_to_dot_data (GST_BIN (pipeline), GST_DEBUG_GRAPH_SHOW_VERBOSE);
  GstElement *n = gst_bin_get_by_name (GST_BIN (pipeline), "n");
  GParamSpec *pspec = g_object_class_find_property (G_OBJECT_GET_CLASS (n), "passphrase");
  gchar *uri = gst_uri_handler_get_uri (GST_URI_HANDLER (n)), *same;
  GstStructure *stats;
  gchar *text;

  fail_if (pspec->flags & G_PARAM_READABLE);
  g_object_get (n, "uri", &same, "stats", &stats, NULL);
  text = gst_structure_to_string (stats);
  fail_unless_equals_string (uri, same);
  fail_if (strstr (uri, "thunder") != NULL || strstr (uri, "passphrase") != NULL, "%s", uri);
  fail_if (strstr (dot, "thunder") != NULL);
  fail_if (strstr (text, "thunder") != NULL);
  gst_structure_free (stats);
  gst_object_unref (n);
  g_free (text);
  g_free (dot);
  g_free (uri);
  g_free (same);
}

/* Everything is logged, from the URI that has the secret in it to the end; and of a receiver that has the wrong one. The log is
 * the elements' own: what becomes of the text of a pipeline before they see it is not theirs. */
GST_START_TEST (test_is_not_shown)
{
  GstElement *sender = sender_new ("door", ""), *receiver = receiver_new ("door", "");
  GstElement *sink = gst_bin_get_by_name (GST_BIN (sender), "n");
  GstElement *src = gst_bin_get_by_name (GST_BIN (receiver), "n");
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  gchar *secret_to = g_strconcat (to, "&passphrase=quarrel%20mango%20thunder", NULL);
  gchar *secret_from = g_strconcat (from, "&passphrase=mango%20thunder%20quarrel", NULL);

  /* Not also to the terminal, where it would bury what a test says that fails. */
  gst_debug_remove_log_function (gst_debug_log_default);
  gst_debug_add_log_function (search_log, NULL, NULL);
  gst_debug_set_threshold_from_string ("*:9", TRUE);
  gst_debug_set_active (TRUE);
  logged = shown = offers = 0;
  g_object_set (sink, "uri", secret_to, NULL);
  g_object_set (src, "uri", secret_from, NULL);
  media_play (sender);
  media_wait_element (sender, "natrelay-connected");
  media_play (receiver);
  media_assert_error (receiver, "n", GST_STREAM_ERROR, GST_STREAM_ERROR_DECRYPT, "same passphrase");
  assert_hidden (sender);
  assert_hidden (receiver);
  gst_object_unref (sink);
  gst_object_unref (src);
  media_stop (receiver);
  media_stop (sender);
  gst_debug_set_threshold_from_string ("", TRUE);
  gst_debug_remove_log_function (search_log);
  gst_debug_add_log_function (gst_debug_log_default, NULL, NULL);
  fail_unless (g_atomic_int_get (&logged) > 1000);
  fail_unless (g_atomic_int_get (&offers) > 0);
  fail_unless_equals_int (g_atomic_int_get (&shown), 0);
  g_free (secret_to);
  g_free (secret_from);
}
GST_END_TEST;

/* ---- changed on the way ------------------------------------------------------ */

/* A bit of every third packet, each time another. */
static gboolean
flip_a_bit (const LossyDatagram *d, gpointer user)
{
  gint *flips = user;
  guint bit;

  if (d->rtp && !d->repeat && !d->up && GST_READ_UINT16_BE (d->data + 2) % 3 == 1) {
    bit = (guint)g_atomic_int_add (flips, 1) * 37 % (guint)(d->len * 8);
    d->data[bit / 8] ^= (guint8)(1 << bit % 8);
  }
  return FALSE;
}

/* Headers, SFrame's, text and tags: whatever was changed is refused, asked for again, and the film is whole. */
GST_START_TEST (test_flipped_bits)
{
  gint flips = 0;
  Lossy *way = lossy_new ("127.0.0.2", relay.port, flip_a_bit, &flips);
  g_autofree gchar *from =
      g_strdup_printf ("natrelay://127.0.0.2:%u/door?tls-fingerprint=%s&auth-token=%s", relay.port,
          relay.fingerprint, relay.subscribe_token);
  Side sender, receiver;

  side_init (&sender, sender_new ("door", "passphrase=\"" SECRET "\""));
  side_init (&receiver,
      media_launch (
          "natrelaysrc name=n latency=1000 uri=\"%s\" passphrase=\"" SECRET "\" ! " SCREEN, from));
  side_begin (&sender, &receiver);
  fail_unless (
      flow_wait (&receiver.flow, 150, PATIENCE_S), "%u units arrived", flow_count (&receiver.flow));
  side_end (&sender);
  side_assert_whole (&receiver, &sender, 150);
  fail_unless (g_atomic_int_get (&flips) > 50);
  /* The rest had a header of nobody's, or became RTCP that is none. */
  fail_unless (stat_of (receiver.pipeline, "packets-received-refused") > (guint64)flips / 2);
  side_clear (&sender);
  side_clear (&receiver);
  lossy_free (way);
}
GST_END_TEST;

/* Valgrind makes a key of a passphrase in a minute. */
#define LONG_PATIENCE_S (4 * PATIENCE_S)

static void
assert_no_error (GstElement *pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);

  fail_unless (message == NULL, "an error came late");
  gst_object_unref (bus);
}

static void
wait_connected (GstElement *element)
{
  gint64 until = g_get_monotonic_time () + LONG_PATIENCE_S * G_TIME_SPAN_SECOND;

  while (!media_has_state (element, "connected")) {
    fail_unless (g_get_monotonic_time () < until, "%s does not connect", GST_OBJECT_NAME (element));
    g_usleep (10000);
  }
}

/* To judge what the publisher proves takes a slow machine seconds. Who corrects the passphrase meanwhile and
 * starts anew hears no more of what was wrong with the other. */
GST_START_TEST (test_started_anew_while_judged)
{
  GstElement *sender = sender_new ("door", "passphrase=\"" SECRET "\"");
  Side receiver;
  GstElement *src, *sink = gst_bin_get_by_name (GST_BIN (sender), "n");
  GstBus *bus;

  side_init (&receiver, receiver_new ("door", "passphrase=\"quarrel mango thunder riddle\""));
  src = gst_bin_get_by_name (GST_BIN (receiver.pipeline), "n");
  bus = gst_element_get_bus (receiver.pipeline);
  media_play (sender);
  wait_connected (sink);
  media_play (receiver.pipeline);
  wait_connected (src);
  gst_element_set_state (receiver.pipeline, GST_STATE_READY);
  gst_bus_set_flushing (bus, TRUE);
  gst_bus_set_flushing (bus, FALSE);
  g_object_set (src, "passphrase", SECRET, NULL);
  media_play (receiver.pipeline);
  fail_unless (flow_wait (&receiver.flow, 50, LONG_PATIENCE_S));
  assert_no_error (receiver.pipeline);
  gst_object_unref (bus);
  gst_object_unref (src);
  gst_object_unref (sink);
  side_clear (&receiver);
  media_stop (sender);
}
GST_END_TEST;

static Suite *
natrelaypassphrase_suite (void)
{
  Suite *s = suite_create ("natrelaypassphrase");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_loop_test (tc, test_plays, 0, G_N_ELEMENTS (encryptions));
  tcase_add_test (tc, test_wait_for_connection);
  tcase_add_loop_test (tc, test_stranger, 0, G_N_ELEMENTS (strangers));
  tcase_add_test (tc, test_successor);
  tcase_add_test (tc, test_room);
  tcase_add_loop_test (tc, test_settings, 0, G_N_ELEMENTS (wrong));
  tcase_add_test (tc, test_is_not_shown);
  tcase_add_test (tc, test_flipped_bits);
  tcase_add_test (tc, test_started_anew_while_judged);
  return s;
}

GST_CHECK_MAIN (natrelaypassphrase);
