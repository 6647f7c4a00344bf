/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelaysink by itself: properties, pads, its input, and a relay that is not there. */

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gio/gio.h>
#include <string.h>

#include "media.h"

/* RFC 5737: an address where nobody is. */
#define NOWHERE "natrelay://192.0.2.1/door"
#define H264                                                                                       \
  "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,ssrc=(uint)1"

static GstElement *
sink_new (void)
{
  GstElement *sink = gst_element_factory_make ("natrelaysink", NULL);

  fail_unless (sink != NULL);
  return gst_object_ref_sink (sink);
}

/* A port where connections are taken and nobody says a word. */
static GSocketListener *
black_hole (guint16 *port)
{
  GSocketListener *listener = g_socket_listener_new ();

  *port = g_socket_listener_add_any_inet_port (listener, NULL, NULL);
  fail_unless (*port != 0);
  return listener;
}

GST_START_TEST (test_metadata)
{
  GstElementFactory *factory = gst_element_factory_find ("natrelaysink");

  fail_unless_equals_string (
      gst_element_factory_get_metadata (factory, GST_ELEMENT_METADATA_KLASS), "Sink/Network");
  fail_unless_equals_int (gst_element_factory_get_uri_type (factory), GST_URI_SINK);
  gst_object_unref (factory);
}
GST_END_TEST;

GST_START_TEST (test_defaults)
{
  GstElement *sink = sink_new ();
  gboolean wait, sync, takeover, reconnect;
  gdouble factor, max;
  guint timeout;
  gint retries;

  g_object_get (sink, "wait-for-connection", &wait, "sync", &sync, "takeover", &takeover,
      "auto-reconnect", &reconnect, "retries", &retries, "retry-backoff-factor", &factor,
      "retry-backoff-max", &max, "timeout", &timeout, NULL);
  fail_if (wait || takeover);
  fail_unless (sync && reconnect);
  fail_unless_equals_int (retries, -1);
  fail_unless_equals_int (timeout, 15);
  fail_unless_equals_float (factor, 0.25);
  fail_unless_equals_float (max, 10);
  media_wait_state (sink, "disconnected");
  fail_unless (GST_OBJECT_FLAG_IS_SET (sink, GST_ELEMENT_FLAG_SINK));
  fail_if (GST_OBJECT_FLAG_IS_SET (sink, GST_ELEMENT_FLAG_SOURCE));
  gst_object_unref (sink);
}
GST_END_TEST;

/* All that can be set is read again as it was set, but the token. */
GST_START_TEST (test_properties)
{
  static const struct {
    const gchar *name, *value;
  } cases[] = {
      {"uri", "natrelay://h:1/a/b"},
      {"tls-ca-file", "/ca.pem"},
      {"tls-fingerprint", "ab:cd"},
      {"tls-validation-flags", "unknown-ca+expired"},
      {"proxy", "http://proxy:3128"},
      {"bind-address", "127.0.0.1"},
      {"bind-port", "5000"},
      {"qos-dscp", "46"},
      {"buffer-size", "65536"},
      {"timeout", "3"},
      {"auto-reconnect", "false"},
      {"retries", "5"},
      {"encryption", "aes-256-gcm"},
      {"wait-for-connection", "true"},
      {"sync", "false"},
      {"takeover", "true"},
  };
  GstElement *sink = sink_new ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GParamSpec *pspec = g_object_class_find_property (G_OBJECT_GET_CLASS (sink), cases[i].name);
    GValue is = G_VALUE_INIT, expected = G_VALUE_INIT;

    fail_unless (pspec != NULL, "%s", cases[i].name);
    gst_util_set_object_arg (G_OBJECT (sink), cases[i].name, cases[i].value);
    g_value_init (&is, pspec->value_type);
    g_value_init (&expected, pspec->value_type);
    g_object_get_property (G_OBJECT (sink), cases[i].name, &is);
    fail_unless (gst_value_deserialize (&expected, cases[i].value));
    fail_unless_equals_int (gst_value_compare (&is, &expected), GST_VALUE_EQUAL);
    g_value_unset (&is);
    g_value_unset (&expected);
  }
  fail_if (g_object_class_find_property (G_OBJECT_GET_CLASS (sink), "auth-token")->flags &
           G_PARAM_READABLE);
  gst_object_unref (sink);
}
GST_END_TEST;

GST_START_TEST (test_uri)
{
  GstElement *sink = gst_element_make_from_uri (
      GST_URI_SINK, "natrelay://h/d?encryption=none&auth-token=secret&retries=2", NULL, NULL);
  GError *error = NULL;
  gint retries;
  gchar *uri;

  fail_unless (sink != NULL);
  gst_object_ref_sink (sink);
  uri = gst_uri_handler_get_uri (GST_URI_HANDLER (sink));
  fail_unless_equals_string (uri, "natrelay://h/d?encryption=none&retries=2");
  g_free (uri);
  g_object_get (sink, "retries", &retries, "uri", &uri, NULL);
  fail_unless_equals_int (retries, 2);
  fail_unless (strstr (uri, "secret") == NULL);
  fail_unless (
      gst_uri_handler_set_uri (GST_URI_HANDLER (sink), uri, NULL), "what it says, it takes");
  g_free (uri);
  fail_if (gst_uri_handler_set_uri (GST_URI_HANDLER (sink), "natrelay://h/no such", &error));
  fail_unless (g_error_matches (error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI));
  g_clear_error (&error);
  /* the last good one stays */
  g_object_get (sink, "uri", &uri, NULL);
  fail_unless_equals_string (uri, "natrelay://h/d?encryption=none&retries=2");
  g_free (uri);

  fail_unless (gst_uri_handler_set_uri (GST_URI_HANDLER (sink), NOWHERE, NULL));
  gst_element_set_state (sink, GST_STATE_PAUSED);
  fail_if (gst_uri_handler_set_uri (GST_URI_HANDLER (sink), "natrelay://h/d", &error));
  fail_unless (g_error_matches (error, GST_URI_ERROR, GST_URI_ERROR_BAD_STATE));
  g_clear_error (&error);
  gst_element_set_state (sink, GST_STATE_NULL);
  gst_object_unref (sink);
}
GST_END_TEST;

GST_START_TEST (test_request_pads)
{
  GstElement *sink = sink_new ();
  GstPad *pads[16], *pad;

  pads[0] = gst_element_request_pad_simple (sink, "sink_7");
  fail_unless_equals_string (GST_PAD_NAME (pads[0]), "sink_7");
  pads[1] = gst_element_request_pad_simple (sink, "sink_%u");
  fail_unless_equals_string (GST_PAD_NAME (pads[1]), "sink_0");
  for (guint i = 2; i < 16; i++)
    fail_unless ((pads[i] = gst_element_request_pad_simple (sink, "sink_%u")) != NULL, "pad %u", i);
  fail_unless (gst_element_request_pad_simple (sink, "sink_%u") == NULL, "16 are enough");
  for (guint i = 0; i < 16; i += 2) {
    gst_element_release_request_pad (sink, pads[i]);
    gst_object_unref (pads[i]);
  }
  pad = gst_element_request_pad_simple (sink, "sink_%u");
  fail_unless (pad != NULL, "there is room again");
  gst_object_unref (pad);
  /* The others go with the element. */
  for (guint i = 1; i < 16; i += 2)
    gst_object_unref (pads[i]);
  gst_object_unref (sink);
}
GST_END_TEST;

static const struct {
  const gchar *setup, *says;
} bad_settings[] = {
    {"", "No stream"},
    {"uri=http://h/d", "http"},
    {"uri=natrelay://h", "no stream"},
    {"uri=natrelay://h/d?colour=red", "colour"},
    {"uri=natrelay://h/d tls-fingerprint=abc", "64 hex digits"},
};

GST_START_TEST (test_bad_settings)
{
  GstElement *pipeline = media_launch (
      "audiotestsrc ! opusenc ! rtpopuspay ! natrelaysink name=s %s", bad_settings[__i__].setup);

  fail_unless_equals_int (
      gst_element_set_state (pipeline, GST_STATE_PLAYING), GST_STATE_CHANGE_FAILURE);
  media_assert_error (
      pipeline, "s", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, bad_settings[__i__].says);
  media_stop (pipeline);
}
GST_END_TEST;

static const struct {
  const gchar *source;
  gint code;
  const gchar *says;
} bad_input[] = {
    {"fakesrc sizetype=fixed sizemax=100 filltype=zero num-buffers=50", GST_STREAM_ERROR_FORMAT,
        "without caps"},
    {"fakesrc sizetype=fixed sizemax=100 filltype=zero num-buffers=50 ! application/x-rtp",
        GST_STREAM_ERROR_FORMAT, "\"media\""},
    {"fakesrc sizetype=fixed sizemax=100 filltype=zero num-buffers=50 ! "
     "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000",
        GST_STREAM_ERROR_WRONG_TYPE, "not RTP"},
};

GST_START_TEST (test_bad_input)
{
  GstElement *pipeline =
      media_launch ("%s ! natrelaysink name=s uri=" NOWHERE, bad_input[__i__].source);

  media_play (pipeline);
  media_assert_error (
      pipeline, "s", GST_STREAM_ERROR, bad_input[__i__].code, bad_input[__i__].says);
  media_stop (pipeline);
}
GST_END_TEST;

/* What appsrc is unless told otherwise. */
GST_START_TEST (test_input_in_bytes)
{
  static const guint8 packet[] = {0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4};
  GstElement *pipeline = media_launch ("appsrc name=a caps=\"" H264 "\" ! natrelaysink name=s "
                                       "uri=" NOWHERE);
  GstElement *source = gst_bin_get_by_name (GST_BIN (pipeline), "a");
  GstBuffer *buffer = gst_buffer_new_memdup (packet, sizeof packet);
  GstFlowReturn ret;

  media_play (pipeline);
  g_signal_emit_by_name (source, "push-buffer", buffer, &ret);
  media_assert_error (pipeline, "s", GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "format=time");
  media_stop (pipeline);
  gst_buffer_unref (buffer);
  gst_object_unref (source);
}
GST_END_TEST;

static gboolean
nothing (GstClock *clock, GstClockTime time, GstClockID id, gpointer user)
{
  return TRUE;
}

/* It waits for the caps of its second track when it is thrown away; the clock has other things to do. */
GST_START_TEST (test_goes_while_it_waits)
{
  GstElement *sink = sink_new (), *gone = sink;
  GstClock *clock = gst_system_clock_obtain ();
  GstClockID other =
      gst_clock_new_single_shot_id (clock, gst_clock_get_time (clock) + 500 * GST_MSECOND);
  GstHarness *h;
  GstPad *second;

  gst_clock_id_wait_async (other, nothing, NULL, NULL);
  g_object_set (sink, "uri", NOWHERE, NULL);
  second = gst_element_request_pad_simple (sink, "sink_%u");
  h = gst_harness_new_with_element (sink, "sink_%u", NULL);
  gst_harness_set_src_caps_str (h, H264);
  gst_harness_teardown (h);
  gst_object_unref (second);
  g_object_add_weak_pointer (G_OBJECT (sink), (gpointer *)&gone);
  gst_object_unref (sink);
  fail_unless (gone == NULL, "something holds the element");
  gst_clock_id_unschedule (other);
  gst_clock_id_unref (other);
  gst_object_unref (clock);
}
GST_END_TEST;

/* ---- a relay that is not there ------------------------------------------- */

GST_START_TEST (test_absent_relay)
{
  GstElement *pipeline =
      media_launch (LIVE_VIDEO " ! identity name=tap ! natrelaysink name=s "
                               "retry-backoff-max=0.1 uri=natrelay://127.0.0.1:%u/door",
          media_unused_port ());
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  gint64 begin = g_get_monotonic_time ();
  GstMessage *message;
  GError *error;
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, pipeline, "tap");
  media_play (pipeline);
  message = media_wait (pipeline, GST_MESSAGE_WARNING, GST_OBJECT (sink));
  gst_message_parse_warning (message, &error, NULL);
  fail_unless (g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ_WRITE),
      "%s", error->message);
  g_error_free (error);
  gst_message_unref (message);
  for (guint i = 0; i < 3; i++)
    media_wait_element (pipeline, "natrelay-connection-attempt");
  fail_unless (flow_wait (&flow, 30, PATIENCE_S), "an absent relay held the pipeline");
  while (media_stat (sink, "packets-sent-dropped") < 10)
    fail_unless (flow_wait (&flow, flow_count (&flow) + 1, PATIENCE_S));
  fail_unless_equals_uint64 (media_stat (sink, "packets-sent"), 0);
  begin = g_get_monotonic_time ();
  gst_element_set_state (pipeline, GST_STATE_NULL);
  fail_unless (g_get_monotonic_time () - begin < AT_ONCE, "stopping took long");
  gst_object_unref (sink);
  media_stop (pipeline);
  flow_clear (&flow);
}
GST_END_TEST;

/* Neither starting nor stopping waits for the network. */
GST_START_TEST (test_black_hole)
{
  guint16 port;
  GSocketListener *listener = black_hole (&port);
  GstElement *pipeline = media_launch (LIVE_VIDEO
      " ! identity name=tap ! natrelaysink name=s uri=natrelay://127.0.0.1:%u/door",
      port);
  gint64 begin = g_get_monotonic_time ();
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, pipeline, "tap");
  media_play (pipeline);
  fail_unless (g_get_monotonic_time () - begin < AT_ONCE, "starting took long");
  fail_unless (flow_wait (&flow, 30, PATIENCE_S));
  begin = g_get_monotonic_time ();
  gst_element_set_state (pipeline, GST_STATE_NULL);
  fail_unless (g_get_monotonic_time () - begin < AT_ONCE, "stopping took long");
  media_stop (pipeline);
  g_object_unref (listener);
  flow_clear (&flow);
}
GST_END_TEST;

static const gchar *const givers_up[] = {
    "auto-reconnect=false", "retries=2 retry-backoff-factor=0.01"};

GST_START_TEST (test_gives_up)
{
  GstElement *pipeline =
      media_launch (LIVE_VIDEO " ! natrelaysink name=s %s uri=natrelay://127.0.0.1:%u/door",
          givers_up[__i__], media_unused_port ());

  media_play (pipeline);
  media_assert_error (pipeline, "s", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ_WRITE, "");
  media_stop (pipeline);
}
GST_END_TEST;

GST_START_TEST (test_wait_for_connection)
{
  GstElement *pipeline = media_launch (LIVE_VIDEO
      " ! identity name=tap ! natrelaysink name=s wait-for-connection=true retry-backoff-max=0.05 "
      "uri=natrelay://127.0.0.1:%u/door",
      media_unused_port ());
  gint64 begin;
  Flow flow;

  flow_init (&flow);
  flow_watch (&flow, pipeline, "tap");
  media_play (pipeline);
  /* Many attempts, that is time enough for a hundred frames; yet but one is under way. */
  for (guint i = 0; i < 10; i++)
    media_wait_element (pipeline, "natrelay-connection-attempt");
  fail_unless (flow_count (&flow) <= 3, "%u passed", flow_count (&flow));
  begin = g_get_monotonic_time ();
  gst_element_set_state (pipeline, GST_STATE_NULL);
  fail_unless (g_get_monotonic_time () - begin < AT_ONCE, "stopping took long");
  media_stop (pipeline);
  flow_clear (&flow);
}
GST_END_TEST;

/* ---- warnings and the clock ---------------------------------------------- */

GST_START_TEST (test_warns_about_size_once)
{
  GstElement *pipeline =
      media_launch ("videotestsrc pattern=snow num-buffers=20 ! "
                    "video/x-raw,format=I420,width=320,height=240 ! jpegenc ! rtpjpegpay mtu=1400 "
                    "name=pay ! natrelaysink name=s sync=false uri=" NOWHERE);
  GstBus *bus = gst_element_get_bus (pipeline);
  guint warnings = 0;
  GstMessage *message;
  GError *error;

  media_play (pipeline);
  media_wait_eos (pipeline);
  gst_element_set_state (pipeline, GST_STATE_READY);
  gst_bus_set_flushing (bus, TRUE);
  gst_bus_set_flushing (bus, FALSE);
  media_play (pipeline);
  do {
    message = media_wait (pipeline, GST_MESSAGE_WARNING | GST_MESSAGE_EOS, NULL);
    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS)
      break;
    gst_message_parse_warning (message, &error, NULL);
    warnings += strstr (error->message, "mtu=1200 on pay") != NULL;
    g_error_free (error);
    gst_message_unref (message);
  } while (TRUE);
  gst_message_unref (message);
  fail_unless_equals_int (warnings, 1);
  gst_object_unref (bus);
  media_stop (pipeline);
}
GST_END_TEST;

/* From a source that is not live. */
static GstClockTime
time_of_sound (guint seconds, const gchar *setup)
{
  GstElement *pipeline = media_launch ("audiotestsrc num-buffers=%u samplesperbuffer=960 ! "
                                       "audio/x-raw,rate=48000 ! opusenc ! rtpopuspay ! "
                                       "natrelaysink name=s %s uri=" NOWHERE,
      seconds * 50, setup);
  gint64 begin = g_get_monotonic_time (), took;

  media_play (pipeline);
  media_wait_eos (pipeline);
  took = g_get_monotonic_time () - begin;
  media_stop (pipeline);
  return (GstClockTime)took * GST_USECOND;
}

/* A second takes a second; with sync=false twenty take no more than it is work. */
GST_START_TEST (test_sync)
{
  GstClockTime with = time_of_sound (1, ""), without = time_of_sound (20, "sync=false");

  fail_unless (with >= 950 * GST_MSECOND, "took %" GST_TIME_FORMAT, GST_TIME_ARGS (with));
  fail_unless (without < 15 * GST_SECOND, "took %" GST_TIME_FORMAT, GST_TIME_ARGS (without));
}
GST_END_TEST;

/* What a live source gives goes out at once, however late its time stamps say it should. */
GST_START_TEST (test_live_is_not_delayed)
{
  GstElement *sink = sink_new ();
  GstHarness *h;
  guint8 packet[] = {0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4};
  gint64 begin;

  g_object_set (sink, "uri", NOWHERE, NULL);
  h = gst_harness_new_with_element (sink, "sink_%u", NULL);
  gst_harness_use_systemclock (h);
  gst_harness_set_live (h, TRUE);
  gst_harness_set_src_caps_str (h, H264);
  gst_harness_play (h);
  begin = g_get_monotonic_time ();
  for (guint i = 0; i < 10; i++) {
    GstBuffer *buffer = gst_buffer_new_memdup (packet, sizeof packet);

    GST_BUFFER_PTS (buffer) = 3600 * GST_SECOND;
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  }
  fail_unless (g_get_monotonic_time () - begin < AT_ONCE);
  gst_harness_teardown (h);
  gst_object_unref (sink);
}
GST_END_TEST;

/* ---- nothing linked ------------------------------------------------------ */

/* Whoever forgets to link is told, once; an application may request its pads in PLAYING. The first to play has its patience first. */
GST_START_TEST (test_warns_of_no_pad)
{
  GstElement *pipeline = media_pipeline_new (), *sinks[] = {sink_new (), sink_new ()};
  GstMessage *message;
  GError *error;
  GstPad *pad;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (guint i = 0; i < 2; i++) {
    g_object_set (sinks[i], "uri", NOWHERE, NULL);
    gst_bin_add (GST_BIN (pipeline), sinks[i]);
    fail_unless (gst_element_sync_state_with_parent (sinks[i]));
  }
  pad = gst_element_request_pad_simple (sinks[0], "sink_%u");
  message = media_wait (pipeline, GST_MESSAGE_WARNING, NULL);
  gst_message_parse_warning (message, &error, NULL);
  fail_unless (g_error_matches (error, GST_CORE_ERROR, GST_CORE_ERROR_PAD), "%s", error->message);
  fail_unless (GST_MESSAGE_SRC (message) == GST_OBJECT (sinks[1]), "%s", error->message);
  fail_unless (strstr (error->message, "x264enc") != NULL, "%s", error->message);
  g_error_free (error);
  gst_message_unref (message);
  gst_object_unref (pad);
  for (guint i = 0; i < 2; i++)
    gst_object_unref (sinks[i]);
  media_stop (pipeline);
}
GST_END_TEST;

static Suite *
natrelaysink_suite (void)
{
  Suite *s = suite_create ("natrelaysink");
  TCase *tc = tcase_create ("general"), *absent = tcase_create ("absent relay");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_metadata);
  tcase_add_test (tc, test_defaults);
  tcase_add_test (tc, test_properties);
  tcase_add_test (tc, test_uri);
  tcase_add_test (tc, test_request_pads);
  tcase_add_loop_test (tc, test_bad_settings, 0, G_N_ELEMENTS (bad_settings));
  tcase_add_test (tc, test_goes_while_it_waits);
  tcase_add_test (tc, test_input_in_bytes);
  tcase_add_loop_test (tc, test_bad_input, 0, G_N_ELEMENTS (bad_input));
  tcase_add_test (tc, test_warns_about_size_once);
  tcase_add_test (tc, test_sync);
  tcase_add_test (tc, test_live_is_not_delayed);
  tcase_add_test (tc, test_warns_of_no_pad);
  suite_add_tcase (s, absent);
  tcase_add_test (absent, test_absent_relay);
  tcase_add_test (absent, test_black_hole);
  tcase_add_loop_test (absent, test_gives_up, 0, G_N_ELEMENTS (givers_up));
  tcase_add_test (absent, test_wait_for_connection);
  return s;
}

GST_CHECK_MAIN (natrelaysink);
