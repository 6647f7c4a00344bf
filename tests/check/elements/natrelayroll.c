/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Keys are rolled while packets flow: nobody loses one, neither those who were there nor those who come in the middle
 * of it. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "media.h"

#define VIDEO                                                                                      \
  "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=25/1 ! "    \
  "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=25 ! identity name=tap ! rtpvp8pay mtu=600"
#define SCREEN "rtpvp8depay ! identity name=tap ! fakesink sync=false"

static GstElement *
named (Side *side)
{
  return gst_bin_get_by_name (GST_BIN (side->pipeline), "n");
}

static gboolean
roll (GstElement *sink)
{
  gboolean begun = FALSE;

  g_signal_emit_by_name (sink, "roll-key", &begun);
  return begun;
}

static void
wait_for_rolls (GstElement *sink, Flow *sent, guint n)
{
  /* Packets pass, so each unit is a chance for it to have happened. */
  for (guint i = 0; media_stat (sink, "key-rolls") < n; i++) {
    fail_unless (i < 1500, "no roll within a minute");
    fail_unless (flow_wait (sent, flow_count (sent) + 1, PATIENCE_S));
  }
}

static const gchar *const secrets[] = {"", "passphrase=\"quarrel mango thunder ripple\""};

/* One subscriber from the beginning, one that comes while the next key is announced but not used yet, one that comes after. */
GST_START_TEST (test_roll)
{
  g_autofree gchar *to = media_uri ("door", TRUE), *from = media_uri ("door", FALSE);
  Side sender, receivers[3];
  GstElement *sink;

  side_init (
      &sender, media_launch (VIDEO " ! natrelaysink name=n uri=\"%s\" %s", to, secrets[__i__]));
  sink = named (&sender);
  fail_if (roll (sink));
  for (guint i = 0; i < 3; i++)
    side_init (
        &receivers[i], media_launch ("natrelaysrc name=n latency=1000 uri=\"%s\" %s ! " SCREEN,
                           from, secrets[__i__]));
  side_begin (&sender, &receivers[0]);
  fail_unless (flow_wait (&receivers[0].flow, 25, PATIENCE_S));
  fail_unless (roll (sink));
  fail_if (roll (sink), "two rolls at once");
  media_play (receivers[1].pipeline);
  fail_unless (flow_wait (&receivers[1].flow, 25, PATIENCE_S));
  fail_unless_equals_uint64 (media_stat (sink, "key-rolls"), 0);
  wait_for_rolls (sink, &sender.flow, 1);
  media_play (receivers[2].pipeline);
  fail_unless (flow_wait (&receivers[2].flow, 25, PATIENCE_S));
  side_end (&sender);
  for (guint i = 0; i < 3; i++) {
    GstElement *src = named (&receivers[i]);

    side_assert_whole (&receivers[i], &sender, 25);
    fail_unless_equals_uint64 (media_stat (src, "packets-received-unknown-key"), 0);
    fail_unless_equals_uint64 (media_stat (src, "packets-received-refused"), 0);
    gst_object_unref (src);
    side_clear (&receivers[i]);
  }
  gst_object_unref (sink);
  side_clear (&sender);
}
GST_END_TEST;

/* ---- a large audience ---------------------------------------------------- */

#define AUDIENCE 50

/* Under valgrind fewer have to do: fifty decoders' worth of threads would take it an hour. */
static guint
audience_size (void)
{
  const gchar *preload = g_getenv ("LD_PRELOAD");

  return preload != NULL && strstr (preload, "vgpreload") != NULL ? 3 : AUDIENCE;
}

static GstElement *
audience_new (Flow *flows, guint n)
{
  g_autofree gchar *uri = media_uri ("door", FALSE);
  GString *text = g_string_new (NULL);
  GstElement *audience;

  for (guint i = 0; i < n; i++)
    g_string_append_printf (text,
        "natrelaysrc name=n%u latency=1000 uri=\"%s\" %s ! rtpvp8depay ! identity name=tap%u ! "
        "fakesink sync=false ",
        i, uri, secrets[1], i);
  audience = media_launch ("%s", text->str);
  for (guint i = 0; i < n; i++) {
    gchar *name = g_strdup_printf ("tap%u", i);

    flow_init (&flows[i]);
    flow_watch (&flows[i], audience, name);
    g_free (name);
  }
  g_string_free (text, TRUE);
  return audience;
}

static guint64
audience_stat (GstElement *audience, guint i, const gchar *field)
{
  gchar *name = g_strdup_printf ("n%u", i);
  GstElement *src = gst_bin_get_by_name (GST_BIN (audience), name);
  guint64 value = media_stat (src, field);

  gst_object_unref (src);
  g_free (name);
  return value;
}

/* Fifty watch: each has every unit from its first to the last. */
GST_START_TEST (test_audience)
{
  g_autofree gchar *to = media_uri ("door", TRUE);
  Flow received[AUDIENCE];
  GstElement *sink, *audience;
  guint n = audience_size ();
  Side sender;

  side_init (&sender, media_launch (VIDEO " ! natrelaysink name=n uri=\"%s\" %s", to, secrets[1]));
  sink = named (&sender);
  audience = audience_new (received, n);
  media_play (sender.pipeline);
  media_wait_element (sender.pipeline, "natrelay-connected");
  media_play (audience);
  for (guint i = 0; i < n; i++)
    fail_unless (
        flow_wait (&received[i], 10, PATIENCE_S), "%u has %u units", i, flow_count (&received[i]));
  fail_unless (roll (sink));
  wait_for_rolls (sink, &sender.flow, 1);
  fail_unless (flow_wait (&received[0], flow_count (&received[0]) + 25, PATIENCE_S));
  side_end (&sender);
  for (guint i = 0; i < n; i++) {
    fail_unless (
        flow_wait_last (&received[i], &sender.flow, PATIENCE_S), "%u misses the last unit", i);
    fail_unless_equals_uint64 (audience_stat (audience, i, "packets-received-unknown-key"), 0);
  }
  media_stop (audience);
  for (guint i = 0; i < n; i++) {
    flow_assert_suffix (&received[i], &sender.flow, 35);
    flow_clear (&received[i]);
  }
  gst_object_unref (sink);
  side_clear (&sender);
}
GST_END_TEST;

/* There is nothing to roll in clear. */
GST_START_TEST (test_in_clear)
{
  g_autofree gchar *to = media_uri ("door", TRUE);
  GstElement *sender = media_launch (VIDEO " ! natrelaysink name=n encryption=none uri=\"%s\"", to);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (sender), "n");

  media_play (sender);
  media_wait_element (sender, "natrelay-connected");
  fail_if (roll (sink));
  gst_object_unref (sink);
  media_stop (sender);
}
GST_END_TEST;

static Suite *
natrelayroll_suite (void)
{
  Suite *s = suite_create ("natrelayroll");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_checked_fixture (tc, relay_begin, relay_end);
  tcase_add_loop_test (tc, test_roll, 0, G_N_ELEMENTS (secrets));
  tcase_add_test (tc, test_audience);
  tcase_add_test (tc, test_in_clear);
  return s;
}

GST_CHECK_MAIN (natrelayroll);
