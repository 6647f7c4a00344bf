/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The elements that seal and open: back to back they are invisible, and nothing else passes. */

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <string.h>

#include "gstnatrelaysframe.h"

#define SSRC 0x11223344

static GstHarness *
harness_new (GType type)
{
  GstElement *element = g_object_ref_sink (g_object_new (type, NULL));
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");

  gst_harness_set_src_caps_str (h, "application/x-rtp");
  gst_object_unref (element);
  return h;
}

static GstBuffer *
packet (guint16 seq, guint32 ssrc, guint payload_len)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 12 + payload_len, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  memset (map.data, 0, map.size);
  map.data[0] = 0x80;
  map.data[1] = 96;
  GST_WRITE_UINT16_BE (map.data + 2, seq);
  GST_WRITE_UINT32_BE (map.data + 8, ssrc);
  for (guint i = 0; i < payload_len; i++)
    map.data[12 + i] = (guint8)(seq + i);
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_PTS (buffer) = seq * GST_MSECOND;
  return buffer;
}

static void
assert_equal (GstBuffer *a, GstBuffer *b)
{
  GstMapInfo map;

  gst_buffer_map (b, &map, GST_MAP_READ);
  fail_unless_equals_int (gst_buffer_get_size (a), map.size);
  fail_unless_equals_int (gst_buffer_memcmp (a, 0, map.data, map.size), 0);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (a), GST_BUFFER_PTS (b));
  gst_buffer_unmap (b, &map);
}

static GstNatRelaySeal *
seal_of (GstHarness *h)
{
  return GST_NAT_RELAY_SEAL (h->element);
}

static GstNatRelayOpen *
open_of (GstHarness *h)
{
  return GST_NAT_RELAY_OPEN (h->element);
}

static GstNatRelayOpenStats
stats_of (GstHarness *h)
{
  GstNatRelayOpenStats stats;

  gst_nat_relay_open_get_stats (open_of (h), &stats);
  return stats;
}

static void
admit (GstHarness *open, const NatMediaKey *keys, guint n_keys)
{
  const guint32 ssrc = SSRC;

  gst_nat_relay_open_set_ssrcs (open_of (open), &ssrc, 1);
  gst_nat_relay_open_set_keys (open_of (open), keys, n_keys);
}

static const NatSframeSuite suites[] = {
    NAT_SFRAME_AES_128_GCM_SHA256_128, NAT_SFRAME_AES_256_GCM_SHA512_128};

GST_START_TEST (test_round_trip)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL),
             *open = harness_new (GST_TYPE_NAT_RELAY_OPEN);
  NatMediaKey key;

  nat_media_key_generate (&key, suites[__i__]);
  gst_nat_relay_seal_set_key (seal_of (seal), &key);
  admit (open, &key, 1);
  for (guint i = 0; i < 50; i++) {
    GstBuffer *sealed = gst_harness_push_and_pull (seal, packet ((guint16)i, SSRC, i * 20));
    GstBuffer *plain = packet ((guint16)i, SSRC, i * 20), *opened;
    guint8 bytes[64];

    fail_unless (gst_buffer_get_size (sealed) > gst_buffer_get_size (plain) + 16);
    gst_buffer_extract (plain, 0, bytes, 12);
    fail_unless_equals_int (gst_buffer_memcmp (sealed, 0, bytes, 12), 0);
    opened = gst_harness_push_and_pull (open, sealed);
    assert_equal (opened, plain);
    gst_buffer_unref (opened);
    gst_buffer_unref (plain);
  }
  fail_unless_equals_uint64 (stats_of (open).opened, 50);
  gst_harness_teardown (seal);
  gst_harness_teardown (open);
}
GST_END_TEST;

static gboolean received_list;

static GstPadProbeReturn
note_list (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  received_list = TRUE;
  fail_unless_equals_int (gst_buffer_list_length (GST_PAD_PROBE_INFO_BUFFER_LIST (info)), 8);
  return GST_PAD_PROBE_OK;
}

GST_START_TEST (test_lists_stay_lists)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL);
  GstBufferList *list = gst_buffer_list_new ();
  NatMediaKey key;

  received_list = FALSE;
  nat_media_key_generate (&key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  gst_nat_relay_seal_set_key (seal_of (seal), &key);
  gst_pad_add_probe (seal->sinkpad, GST_PAD_PROBE_TYPE_BUFFER_LIST, note_list, NULL, NULL);
  for (guint i = 0; i < 8; i++)
    gst_buffer_list_insert (list, -1, packet ((guint16)i, SSRC, 100));
  /* One that cannot be sealed is left out. */
  gst_buffer_list_insert (list, 3, gst_buffer_new_memdup ("no rtp", 6));
  fail_unless_equals_int (gst_pad_push_list (seal->srcpad, list), GST_FLOW_OK);
  fail_unless (received_list);
  fail_unless_equals_uint64 (gst_nat_relay_seal_get_dropped (seal_of (seal)), 1);
  gst_harness_teardown (seal);
}
GST_END_TEST;

static const guint8 *
bytes_of (GstBuffer *buffer)
{
  GstMapInfo map;

  fail_unless (gst_buffer_map (buffer, &map, GST_MAP_READ));
  gst_buffer_unmap (buffer, &map);
  return map.data;
}

/* What comes in lists is opened where it lies, as what comes alone is. */
GST_START_TEST (test_lists_are_opened_in_place)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL),
             *open = harness_new (GST_TYPE_NAT_RELAY_OPEN);
  GstBufferList *list = gst_buffer_list_new ();
  const guint8 *bytes[8];
  NatMediaKey key;

  nat_media_key_generate (&key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  gst_nat_relay_seal_set_key (seal_of (seal), &key);
  admit (open, &key, 1);
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++) {
    GstBuffer *sealed = gst_harness_push_and_pull (seal, packet ((guint16)i, SSRC, 100));

    bytes[i] = bytes_of (sealed);
    gst_buffer_list_insert (list, -1, sealed);
  }
  /* One that cannot be opened is left out. */
  gst_buffer_list_insert (list, 3, packet (8, SSRC, 100));
  fail_unless_equals_int (gst_pad_push_list (open->srcpad, list), GST_FLOW_OK);
  for (guint i = 0; i < G_N_ELEMENTS (bytes); i++) {
    GstBuffer *opened = gst_harness_pull (open), *plain = packet ((guint16)i, SSRC, 100);

    assert_equal (opened, plain);
    fail_unless (bytes_of (opened) == bytes[i]);
    gst_buffer_unref (opened);
    gst_buffer_unref (plain);
  }
  fail_unless_equals_int (gst_harness_buffers_in_queue (open), 0);
  gst_harness_teardown (seal);
  gst_harness_teardown (open);
}
GST_END_TEST;

GST_START_TEST (test_nothing_passes_without_key)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL),
             *open = harness_new (GST_TYPE_NAT_RELAY_OPEN);
  const guint32 ssrc = SSRC;
  NatMediaKey key;

  fail_unless_equals_int (gst_harness_push (seal, packet (1, SSRC, 10)), GST_FLOW_OK);
  fail_unless_equals_int (gst_harness_buffers_received (seal), 0);
  nat_media_key_generate (&key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  gst_nat_relay_seal_set_key (seal_of (seal), &key);
  gst_nat_relay_seal_reset (seal_of (seal));
  fail_unless_equals_int (gst_harness_push (seal, packet (2, SSRC, 10)), GST_FLOW_OK);
  fail_unless_equals_int (gst_harness_buffers_received (seal), 0);
  fail_unless_equals_uint64 (gst_nat_relay_seal_get_dropped (seal_of (seal)), 2);

  gst_nat_relay_open_set_ssrcs (open_of (open), &ssrc, 1);
  fail_unless_equals_int (gst_harness_push (open, packet (1, SSRC, 10)), GST_FLOW_OK);
  fail_unless_equals_int (gst_harness_buffers_received (open), 0);
  fail_unless_equals_uint64 (stats_of (open).unknown_key, 1);
  gst_harness_teardown (seal);
  gst_harness_teardown (open);
}
GST_END_TEST;

GST_START_TEST (test_clear)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL),
             *open = harness_new (GST_TYPE_NAT_RELAY_OPEN);
  GstBuffer *buffer = packet (1, SSRC, 10), *plain = packet (1, SSRC, 10);

  gst_nat_relay_seal_set_key (seal_of (seal), NULL);
  admit (open, NULL, 0);
  buffer = gst_harness_push_and_pull (seal, buffer);
  assert_equal (buffer, plain);
  buffer = gst_harness_push_and_pull (open, buffer);
  assert_equal (buffer, plain);
  gst_buffer_unref (buffer);
  gst_buffer_unref (plain);
  gst_harness_teardown (seal);
  gst_harness_teardown (open);
}
GST_END_TEST;

GST_START_TEST (test_open_refuses)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL),
             *open = harness_new (GST_TYPE_NAT_RELAY_OPEN);
  NatMediaKey key, other;
  GstBuffer *sealed;
  guint8 byte;

  nat_media_key_generate (&key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  do
    nat_media_key_generate (&other, NAT_SFRAME_AES_128_GCM_SHA256_128);
  while (other.kid == key.kid);
  gst_nat_relay_seal_set_key (seal_of (seal), &key);
  admit (open, &key, 1);

  /* replayed */
  sealed = gst_harness_push_and_pull (seal, packet (1, SSRC, 100));
  gst_harness_push (open, gst_buffer_copy_deep (sealed));
  gst_harness_push (open, gst_buffer_copy_deep (sealed));
  fail_unless_equals_uint64 (stats_of (open).replayed, 1);
  fail_unless_equals_uint64 (stats_of (open).refused, 0);
  gst_buffer_unref (sealed);
  /* one bit in the payload, one in the header */
  for (guint at = 8; at < 100; at += 60) {
    sealed = gst_harness_push_and_pull (seal, packet (2, SSRC, 100));
    gst_buffer_extract (sealed, at == 8 ? 1 : at, &byte, 1);
    byte ^= 0x80;
    sealed = gst_buffer_make_writable (sealed);
    gst_buffer_fill (sealed, at == 8 ? 1 : at, &byte, 1);
    gst_harness_push (open, sealed);
  }
  fail_unless_equals_uint64 (stats_of (open).refused, 2);
  /* in clear where it should be sealed, no RTP, an SSRC that nobody announced */
  gst_harness_push (open, gst_buffer_new_memdup ("x", 1));
  fail_unless_equals_uint64 (stats_of (open).refused, 3);
  gst_harness_push (open, gst_harness_push_and_pull (seal, packet (3, SSRC + 1, 100)));
  fail_unless_equals_uint64 (stats_of (open).unannounced, 1);
  /* another key */
  gst_nat_relay_open_set_keys (open_of (open), &other, 1);
  gst_harness_push (open, gst_harness_push_and_pull (seal, packet (4, SSRC, 100)));
  fail_unless_equals_uint64 (stats_of (open).unknown_key, 1);
  fail_unless_equals_int (gst_harness_buffers_received (open), 1);
  gst_harness_teardown (seal);
  gst_harness_teardown (open);
}
GST_END_TEST;

typedef struct {
  GstHarness *seal, *open;
  NatMediaKey keys[2];
  guint events[3];
} Roll;

static void
on_seal_event (GstNatRelaySealEvent event, gpointer user)
{
  Roll *r = user;

  r->events[event]++;
  if (event != GST_NAT_RELAY_SEAL_WEARS_OUT)
    return;
  nat_media_key_generate_next (&r->keys[1], &r->keys[0]);
  gst_nat_relay_open_set_keys (open_of (r->open), r->keys, 2);
  gst_nat_relay_seal_roll_to (seal_of (r->seal), &r->keys[1], 0, 0);
}

/* The next key is announced, then used; nothing is lost, and the old counter starts anew. */
GST_START_TEST (test_roll)
{
  Roll r = {harness_new (GST_TYPE_NAT_RELAY_SEAL), harness_new (GST_TYPE_NAT_RELAY_OPEN)};

  nat_media_key_generate (&r.keys[0], NAT_SFRAME_AES_128_GCM_SHA256_128);
  gst_nat_relay_seal_set_key (seal_of (r.seal), &r.keys[0]);
  gst_nat_relay_seal_set_hook (seal_of (r.seal), on_seal_event, &r);
  gst_nat_relay_seal_set_roll_packets (seal_of (r.seal), 10);
  admit (r.open, r.keys, 1);
  for (guint i = 0; i < 15; i++)
    gst_harness_push (r.open, gst_harness_push_and_pull (r.seal, packet ((guint16)i, SSRC, 50)));
  for (guint i = 0; i < G_N_ELEMENTS (r.events); i++)
    fail_unless_equals_int (r.events[i], 1);
  fail_unless_equals_uint64 (stats_of (r.open).opened, 15);
  /* The last five came under the new key: without it they would not have been opened. */
  gst_nat_relay_open_set_keys (open_of (r.open), r.keys, 1);
  gst_harness_push (r.open, gst_harness_push_and_pull (r.seal, packet (15, SSRC, 50)));
  fail_unless_equals_uint64 (stats_of (r.open).unknown_key, 1);
  gst_harness_teardown (r.seal);
  gst_harness_teardown (r.open);
}
GST_END_TEST;

static gpointer
push_and_pull (gpointer h)
{
  return gst_harness_push_and_pull (h, packet (1, SSRC, 50));
}

static gpointer
push_only (gpointer h)
{
  gst_harness_push (h, packet (2, SSRC, 50));
  return NULL;
}

/* What waits for a key has it as soon as it is there, and gives up when there will be none. */
GST_START_TEST (test_held)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL);
  GstBuffer *sealed;
  NatMediaKey key;
  GThread *thread;

  nat_media_key_generate (&key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  gst_nat_relay_seal_set_held (seal_of (seal), TRUE);
  thread = g_thread_new ("push", push_and_pull, seal);
  fail_unless_equals_int (gst_harness_buffers_received (seal), 0);
  gst_nat_relay_seal_set_key (seal_of (seal), &key);
  sealed = g_thread_join (thread);
  fail_unless (gst_buffer_get_size (sealed) > 62 + 16);
  gst_buffer_unref (sealed);
  gst_nat_relay_seal_reset (seal_of (seal));
  gst_nat_relay_seal_set_held (seal_of (seal), TRUE);
  thread = g_thread_new ("push", push_only, seal);
  gst_nat_relay_seal_reset (seal_of (seal));
  g_thread_join (thread);
  fail_unless_equals_int (gst_harness_buffers_received (seal), 1);
  fail_unless_equals_uint64 (gst_nat_relay_seal_get_dropped (seal_of (seal)), 1);
  gst_harness_teardown (seal);
}
GST_END_TEST;

static GstPadProbeReturn
note_packet (GstPad *pad, GstPadProbeInfo *info, gpointer entered)
{
  g_atomic_int_inc ((gint *)entered);
  return GST_PAD_PROBE_OK;
}

/* Who flushes waits for no key; who comes after the flush does again. */
GST_START_TEST (test_held_and_flushed)
{
  GstHarness *seal = harness_new (GST_TYPE_NAT_RELAY_SEAL);
  GstPad *sink = gst_element_get_static_pad (seal->element, "sink");
  GstSegment segment;
  NatMediaKey key;
  GThread *thread;
  gint entered = 0;

  gst_pad_add_probe (sink, GST_PAD_PROBE_TYPE_BUFFER, note_packet, &entered, NULL);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  nat_media_key_generate (&key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  gst_nat_relay_seal_set_held (seal_of (seal), TRUE);
  for (guint i = 0; i < 2; i++) {
    thread = g_thread_new ("push", push_only, seal);
    while (g_atomic_int_get (&entered) == (gint)i)
      g_thread_yield ();
    fail_unless (gst_harness_push_event (seal, gst_event_new_flush_start ()));
    g_thread_join (thread);
    fail_unless (gst_harness_push_event (seal, gst_event_new_flush_stop (FALSE)));
    fail_unless (gst_harness_push_event (seal, gst_event_new_segment (&segment)));
  }
  fail_unless_equals_int (gst_harness_buffers_received (seal), 0);
  thread = g_thread_new ("push", push_and_pull, seal);
  gst_nat_relay_seal_set_key (seal_of (seal), &key);
  gst_buffer_unref (g_thread_join (thread));
  gst_object_unref (sink);
  gst_harness_teardown (seal);
}
GST_END_TEST;

/* A way behind the opener on which a packet stays until it is let go. */
typedef struct {
  GMutex lock;
  GCond cond;
  gboolean entered, leave, through;
  GstHarness *open;
} Way;

static GstPadProbeReturn
stay (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Way *way = user;

  g_mutex_lock (&way->lock);
  way->entered = TRUE;
  g_cond_broadcast (&way->cond);
  while (!way->leave)
    g_cond_wait (&way->cond, &way->lock);
  way->through = TRUE;
  g_mutex_unlock (&way->lock);
  return GST_PAD_PROBE_OK;
}

static void
way_let_go (Way *way)
{
  g_mutex_lock (&way->lock);
  way->leave = TRUE;
  g_cond_broadcast (&way->cond);
  g_mutex_unlock (&way->lock);
}

static gpointer
let_go_soon (gpointer way)
{
  g_usleep (50 * G_TIME_SPAN_MILLISECOND);
  way_let_go (way);
  return NULL;
}

/* What is under way is waited for; but not for ever. */
GST_START_TEST (test_shut)
{
  Way way = {.open = harness_new (GST_TYPE_NAT_RELAY_OPEN)};
  GstPad *pad = gst_element_get_static_pad (way.open->element, "src");
  GThread *pusher, *helper = NULL;
  gboolean through;

  g_mutex_init (&way.lock);
  g_cond_init (&way.cond);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, stay, &way, NULL);
  admit (way.open, NULL, 0);
  pusher = g_thread_new ("push", push_only, way.open);
  g_mutex_lock (&way.lock);
  while (!way.entered)
    g_cond_wait (&way.cond, &way.lock);
  g_mutex_unlock (&way.lock);
  if (__i__ == 0)
    helper = g_thread_new ("lets go", let_go_soon, &way);
  gst_nat_relay_open_shut (open_of (way.open));
  g_mutex_lock (&way.lock);
  through = way.through;
  g_mutex_unlock (&way.lock);
  way_let_go (&way);
  g_clear_pointer (&helper, g_thread_join);
  g_thread_join (pusher);
  fail_unless_equals_int (through, __i__ == 0);
  gst_harness_push (way.open, packet (3, SSRC, 50));
  fail_unless_equals_int (gst_harness_buffers_received (way.open), 1);
  gst_object_unref (pad);
  gst_harness_teardown (way.open);
  g_mutex_clear (&way.lock);
  g_cond_clear (&way.cond);
}
GST_END_TEST;

static Suite *
natrelaysframe_suite (void)
{
  Suite *s = suite_create ("natrelaysframe");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_round_trip, 0, G_N_ELEMENTS (suites));
  tcase_add_test (tc, test_lists_stay_lists);
  tcase_add_test (tc, test_lists_are_opened_in_place);
  tcase_add_test (tc, test_nothing_passes_without_key);
  tcase_add_test (tc, test_clear);
  tcase_add_test (tc, test_open_refuses);
  tcase_add_test (tc, test_roll);
  tcase_add_test (tc, test_held);
  tcase_add_test (tc, test_held_and_flushed);
  tcase_add_loop_test (tc, test_shut, 0, 2);
  return s;
}

GST_CHECK_MAIN (natrelaysframe);
