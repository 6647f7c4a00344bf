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

static RelayProcess relay;

static void
setup (void)
{
  relay_process_start (&relay);
}

static void
teardown (void)
{
  relay_process_clear (&relay);
}

/* "natrelaysink uri=..." and likewise the source, called "n", with more properties. What a busy machine loses has a second to be
 * repaired; what is not lost does not wait for that. */
static GstElement *
sender_new (const gchar *stream, const gchar *properties)
{
  gchar *uri = media_uri (&relay, stream, TRUE);
  GstElement *sender = media_launch (VIDEO " ! natrelaysink name=n uri=\"%s\" %s", uri, properties);

  g_free (uri);
  return sender;
}

static GstElement *
receiver_new (const gchar *stream, const gchar *properties)
{
  gchar *uri = media_uri (&relay, stream, FALSE);
  GstElement *receiver =
      media_launch ("natrelaysrc name=n latency=1000 uri=\"%s\" %s ! " SCREEN, uri, properties);

  g_free (uri);
  return receiver;
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
  gchar *file = g_strdup_printf ("%s/key", relay.state_dir), *with_file, *with_encryption;
  GstElement *early, *late, *sender;
  Flow sent, whole, rest;

  fail_unless (g_file_set_contents (file, SECRET "\n", -1, NULL));
  with_file = g_strdup_printf ("key-file=\"%s\" encryption=%s", file, encryptions[__i__]);
  with_encryption = g_strdup_printf ("passphrase=\"" SECRET "\" encryption=%s", encryptions[__i__]);
  early = receiver_new ("door", with_file);
  late = receiver_new ("door", "passphrase=\"" SECRET "\"");
  sender = sender_new ("door", with_encryption);
  flow_init (&sent);
  flow_init (&whole);
  flow_init (&rest);
  flow_watch (&sent, sender, "tap");
  flow_watch (&whole, early, "tap");
  flow_watch (&rest, late, "tap");
  media_play (early);
  media_wait_element (early, "natrelay-connected");
  media_play (sender);
  fail_unless (flow_wait (&whole, UNITS, PATIENCE_S), "%u units arrived", flow_count (&whole));
  media_play (late);
  fail_unless (flow_wait (&rest, UNITS, PATIENCE_S), "%u units arrived late", flow_count (&rest));
  fail_unless_equals_uint64 (stat_of (early, "packets-received-unknown-key"), 0);
  fail_unless_equals_uint64 (stat_of (late, "packets-received-refused"), 0);
  gst_element_send_event (sender, gst_event_new_eos ());
  media_wait_eos (sender);
  fail_unless (flow_wait_last (&whole, &sent, PATIENCE_S));
  fail_unless (flow_wait_last (&rest, &sent, PATIENCE_S));
  media_stop (sender);
  media_stop (early);
  media_stop (late);
  flow_assert_suffix (&whole, &sent, UNITS);
  flow_assert_suffix (&rest, &sent, UNITS);
  flow_clear (&sent);
  flow_clear (&whole);
  flow_clear (&rest);
  g_free (file);
  g_free (with_file);
  g_free (with_encryption);
}
GST_END_TEST;

/* Of input that can wait nothing is lost while the passphrase is being stretched. */
GST_START_TEST (test_wait_for_connection)
{
  gchar *uri = media_uri (&relay, "door", TRUE);
  GstElement *receiver = receiver_new ("door", "passphrase=\"" SECRET "\"");
  GstElement *sender =
      media_launch ("videotestsrc num-buffers=60 ! video/x-raw,width=160,height=120,framerate=50/1 "
                    "! vp8enc deadline=1 cpu-used=8 ! identity name=tap ! rtpvp8pay mtu=600 ! "
                    "natrelaysink wait-for-connection=true uri=\"%s\" passphrase=\"" SECRET "\"",
          uri);
  Flow sent, received;

  flow_init (&sent);
  flow_init (&received);
  flow_watch (&sent, sender, "tap");
  flow_watch (&received, receiver, "tap");
  media_play (receiver);
  media_wait_element (receiver, "natrelay-connected");
  media_play (sender);
  media_wait_eos (sender);
  fail_unless (flow_wait_last (&received, &sent, PATIENCE_S));
  media_stop (sender);
  media_stop (receiver);
  fail_unless_equals_int (flow_count (&sent), 60);
  flow_assert_suffix (&received, &sent, 60);
  flow_clear (&sent);
  flow_clear (&received);
  g_free (uri);
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
  GstElement *receiver = receiver_new ("door", strangers[__i__].receiver);
  Flow received;

  flow_init (&received);
  flow_watch (&received, receiver, "tap");
  media_play (sender);
  media_wait_element (sender, "natrelay-connected");
  media_play (receiver);
  media_assert_error (
      receiver, "n", GST_STREAM_ERROR, (gint)strangers[__i__].code, strangers[__i__].says);
  fail_unless_equals_int (flow_count (&received), 0);
  media_stop (receiver);
  media_stop (sender);
  flow_clear (&received);
}
GST_END_TEST;

/* Until the relay knows that the publisher left. */
static void
watch_him_leave (GstElement *publisher)
{
  gchar *uri = media_uri (&relay, "**", FALSE);
  GstElement *watcher = media_launch ("natrelaysrc uri=\"%s\" fakesink async=false", uri);

  media_play (watcher);
  media_wait_element (watcher, "natrelay-stream-added");
  media_stop (publisher);
  media_wait_element (watcher, "natrelay-stream-removed");
  media_stop (watcher);
  g_free (uri);
}

/* Somebody without a passphrase was there and left; his place is kept for a while. Whoever waits for one with it is not told off, and
 * has what comes then. */
GST_START_TEST (test_successor)
{
  GstElement *before = sender_new ("door", ""),
             *sender = sender_new ("door", "passphrase=\"" SECRET "\"");
  GstElement *receiver = receiver_new ("door", "passphrase=\"" SECRET "\"");
  Flow received;

  flow_init (&received);
  flow_watch (&received, receiver, "tap");
  media_play (before);
  media_wait_element (before, "natrelay-connected");
  watch_him_leave (before);
  media_play (receiver);
  media_wait_element (receiver, "natrelay-connected");
  media_play (sender);
  media_wait_element (sender, "natrelay-connected");
  fail_unless (flow_wait (&received, UNITS, PATIENCE_S));
  media_stop (receiver);
  media_stop (sender);
  flow_clear (&received);
}
GST_END_TEST;

/* The same words for another stream are other keys, but in a room one stretching serves all. */
GST_START_TEST (test_room)
{
  GstElement *a = sender_new ("room/alice", "passphrase=\"" SECRET "\"");
  GstElement *b = sender_new ("room/bob", "passphrase=\"" SECRET "\"");
  GstElement *to_a = receiver_new ("room/alice", "passphrase=\"" SECRET "\"");
  GstElement *to_b = receiver_new ("room/bob", "passphrase=\"" SECRET "\"");
  Flow from_a, from_b;

  flow_init (&from_a);
  flow_init (&from_b);
  flow_watch (&from_a, to_a, "tap");
  flow_watch (&from_b, to_b, "tap");
  media_play (a);
  media_play (b);
  media_play (to_a);
  media_play (to_b);
  fail_unless (flow_wait (&from_a, UNITS, PATIENCE_S));
  fail_unless (flow_wait (&from_b, UNITS, PATIENCE_S));
  media_stop (a);
  media_stop (b);
  media_stop (to_a);
  media_stop (to_b);
  flow_clear (&from_a);
  flow_clear (&from_b);
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
    {TRUE, "key-file=/nowhere/at/all", "exists"},
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
  gchar *to = media_uri (&relay, "door", TRUE), *from = media_uri (&relay, "door", FALSE);
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
  g_free (to);
  g_free (from);
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
  gchar *from = g_strdup_printf ("natrelay://127.0.0.2:%u/door?tls-fingerprint=%s&auth-token=%s",
      relay.port, relay.fingerprint, relay.subscribe_token);
  GstElement *sender = sender_new ("door", "passphrase=\"" SECRET "\"");
  GstElement *receiver = media_launch (
      "natrelaysrc name=n latency=1000 uri=\"%s\" passphrase=\"" SECRET "\" ! " SCREEN, from);
  Flow sent, received;

  flow_init (&sent);
  flow_init (&received);
  flow_watch (&sent, sender, "tap");
  flow_watch (&received, receiver, "tap");
  media_play (receiver);
  media_wait_element (receiver, "natrelay-connected");
  media_play (sender);
  fail_unless (flow_wait (&received, 150, PATIENCE_S), "%u units arrived", flow_count (&received));
  gst_element_send_event (sender, gst_event_new_eos ());
  media_wait_eos (sender);
  fail_unless (flow_wait_last (&received, &sent, PATIENCE_S));
  fail_unless (g_atomic_int_get (&flips) > 50);
  /* The rest had a header of nobody's, or became RTCP that is none. */
  fail_unless (stat_of (receiver, "packets-received-refused") > (guint64)flips / 2);
  media_stop (sender);
  media_stop (receiver);
  flow_assert_suffix (&received, &sent, 150);
  lossy_free (way);
  flow_clear (&sent);
  flow_clear (&received);
  g_free (from);
}
GST_END_TEST;

static Suite *
natrelaypassphrase_suite (void)
{
  Suite *s = suite_create ("natrelaypassphrase");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, setup, teardown);
  tcase_add_loop_test (tc, test_plays, 0, G_N_ELEMENTS (encryptions));
  tcase_add_test (tc, test_wait_for_connection);
  tcase_add_loop_test (tc, test_stranger, 0, G_N_ELEMENTS (strangers));
  tcase_add_test (tc, test_successor);
  tcase_add_test (tc, test_room);
  tcase_add_loop_test (tc, test_settings, 0, G_N_ELEMENTS (wrong));
  tcase_add_test (tc, test_is_not_shown);
  tcase_add_test (tc, test_flipped_bits);
  return s;
}

GST_CHECK_MAIN (natrelaypassphrase);
