/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the elements that seal and open spend on a packet of 1200 bytes, buffers and pads included: in clear, and with each
 * suite. What differs is the price of secrecy at a client.
 */
#include <gst/check/gstharness.h>
#include <string.h>

#include "gstnatrelaysframe.h"
#include "micro.h"

#define PACKET 1160
#define SSRC   7
#define BATCH  64

typedef struct {
  GstHarness *seal, *open;
  GstBuffer *packet;
  GstBuffer *sealed[BATCH];
} Scene;

static GstHarness *
harness_new (GType type)
{
  GstElement *element = g_object_ref_sink (g_object_new (type, NULL));
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");

  gst_harness_set_src_caps_str (h, "application/x-rtp");
  gst_object_unref (element);
  return h;
}

/* As of a payloader: a buffer of its own that shares nobody's memory when it is opened. */
static void
run_seal (gpointer data)
{
  Scene *s = data;

  for (guint i = 0; i < BATCH; i++) {
    gst_harness_push (s->seal, gst_buffer_ref (s->packet));
    s->sealed[i] = gst_harness_pull (s->seal);
  }
  for (guint i = 0; i < BATCH; i++)
    gst_buffer_unref (s->sealed[i]);
}

static void
run_both (gpointer data)
{
  Scene *s = data;

  for (guint i = 0; i < BATCH; i++) {
    gst_harness_push (s->seal, gst_buffer_ref (s->packet));
    s->sealed[i] = gst_harness_pull (s->seal);
  }
  for (guint i = 0; i < BATCH; i++) {
    GstBuffer *opened;

    gst_harness_push (s->open, s->sealed[i]);
    opened = gst_harness_try_pull (s->open);
    bench_require (opened != NULL, "a packet is opened");
    gst_buffer_unref (opened);
  }
}

static void
measure (Scene *s, NatSframeSuite suite, const char *name, double seconds)
{
  const guint32 ssrc = SSRC;
  g_autofree char *seal = g_strdup_printf ("element-seal-%s", name);
  g_autofree char *both = g_strdup_printf ("element-seal-and-open-%s", name);
  NatMediaKey key;

  if (suite != NAT_SFRAME_NONE)
    nat_media_key_generate (&key, suite);
  gst_nat_relay_seal_set_key (
      GST_NAT_RELAY_SEAL (s->seal->element), suite != NAT_SFRAME_NONE ? &key : NULL);
  gst_nat_relay_open_set_ssrcs (GST_NAT_RELAY_OPEN (s->open->element), &ssrc, 1);
  gst_nat_relay_open_set_keys (
      GST_NAT_RELAY_OPEN (s->open->element), &key, suite != NAT_SFRAME_NONE);
  bench_micro_report (seal, seconds, run_seal, s, BATCH);
  bench_micro_report (both, seconds, run_both, s, BATCH);
}

int
main (int argc, char **argv)
{
  double seconds = bench_micro_seconds (argc, argv);
  guint8 bytes[PACKET];
  Scene s;

  gst_init (NULL, NULL);
  memset (bytes, 0x5a, sizeof bytes);
  memcpy (bytes, "\x80\x60\0\1\0\0\0\2\0\0\0\7", 12);
  s.packet = gst_buffer_new_memdup (bytes, sizeof bytes);
  s.seal = harness_new (GST_TYPE_NAT_RELAY_SEAL);
  s.open = harness_new (GST_TYPE_NAT_RELAY_OPEN);
  measure (&s, NAT_SFRAME_NONE, "clear", seconds);
  measure (&s, NAT_SFRAME_AES_128_GCM_SHA256_128, "128", seconds);
  measure (&s, NAT_SFRAME_AES_256_GCM_SHA512_128, "256", seconds);
  gst_harness_teardown (s.seal);
  gst_harness_teardown (s.open);
  gst_buffer_unref (s.packet);
  return 0;
}
