/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the relay tells of an audience becomes signals, messages and fields, each when it should. */

#include "gstnatrelayaudience.h"

#include <gst/check/gstcheck.h>

/* An element that tells. */
typedef GstBin Publisher;
typedef GstBinClass PublisherClass;
static GType publisher_get_type (void);
G_DEFINE_TYPE (Publisher, publisher, GST_TYPE_BIN)

static void
publisher_class_init (PublisherClass *klass)
{
  gst_nat_relay_audience_install (G_OBJECT_CLASS (klass));
}

static void
publisher_init (Publisher *self)
{
}

typedef struct {
  GstNatRelayAudience audience;
  GstElement *element;
  GstBus *bus;
  guint added, removed; /* signals since they were looked at */
} Ear;

static void
on_signal (GstElement *element, guint subscribers, guint *count)
{
  ++*count;
}

static void
ear_init (Ear *ear)
{
  memset (ear, 0, sizeof *ear);
  gst_nat_relay_audience_init (&ear->audience);
  ear->element = gst_object_ref_sink (g_object_new (publisher_get_type (), NULL));
  ear->bus = gst_bus_new ();
  gst_element_set_bus (ear->element, ear->bus);
  g_signal_connect (ear->element, "subscriber-added", G_CALLBACK (on_signal), &ear->added);
  g_signal_connect (ear->element, "subscriber-removed", G_CALLBACK (on_signal), &ear->removed);
}

static void
ear_clear (Ear *ear)
{
  gst_element_set_bus (ear->element, NULL);
  gst_object_unref (ear->bus);
  gst_object_unref (ear->element);
  gst_nat_relay_audience_clear (&ear->audience);
}

/* The relay tells this; so many signals and messages come of it. */
static void
hear (Ear *ear, guint joined, guint left, guint8 loss, guint added, guint removed, guint messages)
{
  NatAudience now = {
      .receivers = joined - left, .joined = joined, .left = left, .worst_loss = loss};
  guint8 bytes[64];
  NatDatagram packet = {bytes, nat_rtcp_write_rr (bytes, sizeof bytes, 1, NULL, 0)};
  GstMessage *message;

  packet.len += nat_rtcp_write_audience (bytes + packet.len, sizeof bytes - packet.len, 1, &now);
  ear->added = ear->removed = 0;
  gst_nat_relay_audience_rtcp (&ear->audience, ear->element, &packet);
  fail_unless_equals_int (ear->added, added);
  fail_unless_equals_int (ear->removed, removed);
  for (; (message = gst_bus_pop (ear->bus)) != NULL; messages--) {
    fail_unless (gst_message_has_name (message, "natrelay-audience"));
    gst_message_unref (message);
  }
  fail_unless_equals_int (messages, 0);
}

GST_START_TEST (test_comes_and_goes)
{
  Ear ear;

  ear_init (&ear);
  hear (&ear, 0, 0, 0, 0, 0, 1);
  hear (&ear, 0, 0, 0, 0, 0, 0);
  hear (&ear, 2, 0, 0, 1, 0, 1);
  hear (&ear, 2, 0, 9, 0, 0, 1);
  hear (&ear, 3, 1, 9, 1, 1, 1);
  hear (&ear, 3, 2, 9, 0, 1, 1);
  ear_clear (&ear);
}
GST_END_TEST;

/* Those who were there before the publisher have come for it; those who left before are nobody's concern. */
GST_START_TEST (test_was_there_before)
{
  Ear ear;

  ear_init (&ear);
  hear (&ear, 7, 5, 0, 1, 0, 1);
  gst_nat_relay_audience_reset (&ear.audience);
  hear (&ear, 7, 7, 0, 0, 0, 1);
  ear_clear (&ear);
}
GST_END_TEST;

/* Its counts begin with 0: that is nobody who came. */
GST_START_TEST (test_relay_restarts)
{
  Ear ear;

  ear_init (&ear);
  hear (&ear, 7, 5, 0, 1, 0, 1);
  hear (&ear, 0, 0, 0, 0, 1, 1);
  hear (&ear, 2, 0, 0, 1, 0, 1);
  hear (&ear, 1, 0, 0, 0, 1, 1);
  hear (&ear, 4, 3, 0, 1, 1, 1);
  hear (&ear, 1, 0, 0, 0, 0, 0);
  ear_clear (&ear);
}
GST_END_TEST;

GST_START_TEST (test_stats)
{
  GstStructure *stats = gst_structure_new_empty ("stats");
  gdouble loss;
  guint n;
  Ear ear;

  ear_init (&ear);
  gst_nat_relay_audience_stats (&ear.audience, stats);
  fail_unless_equals_int (gst_structure_n_fields (stats), 0);
  hear (&ear, 3, 1, 64, 1, 0, 1);
  gst_nat_relay_audience_stats (&ear.audience, stats);
  fail_unless (gst_structure_get (
      stats, "subscribers", G_TYPE_UINT, &n, "subscribers-worst-loss", G_TYPE_DOUBLE, &loss, NULL));
  fail_unless_equals_int (n, 2);
  fail_unless_equals_float (loss, 0.25);
  gst_structure_free (stats);
  ear_clear (&ear);
}
GST_END_TEST;

static Suite *
natrelayaudience_suite (void)
{
  Suite *s = suite_create ("natrelayaudience");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_comes_and_goes);
  tcase_add_test (tc, test_was_there_before);
  tcase_add_test (tc, test_relay_restarts);
  tcase_add_test (tc, test_stats);
  return s;
}

GST_CHECK_MAIN (natrelayaudience);
