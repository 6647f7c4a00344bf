/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What waits for a connection: order, age, and bounds. */

#include "natserver/control/wsqueue.h"

#include <string.h>

static void
push (NatWsQueue *q, NatWsStore *store, NatRank rank, const char *text, gint64 time_us)
{
  NatWsBlock *block = nat_ws_block_new (store, rank, (const guint8 *)text, strlen (text));

  g_assert_true (nat_ws_queue_push (q, store, rank, block, 0, strlen (text), time_us));
  nat_ws_block_unref (store, block);
}

static void
expect (NatWsQueue *q, NatWsStore *store, gint64 now_us, const char *text)
{
  gsize len;
  const guint8 *data = nat_ws_queue_peek (q, store, now_us, &len);

  if (text == NULL) {
    g_assert_null (data);
    return;
  }
  g_assert_nonnull (data);
  g_assert_cmpmem (data, len, text, strlen (text));
  nat_ws_queue_drop (q, store);
}

static void
test_order (void)
{
  NatWsStore store = {0};
  NatWsQueue q = {0};

  push (&q, &store, NAT_RANK_VIDEO, "v1", 0);
  push (&q, &store, NAT_RANK_AUDIO, "a1", 1);
  push (&q, &store, NAT_RANK_VIDEO, "v2", 2);
  push (&q, &store, NAT_RANK_CONTROL, "c1", 3);
  push (&q, &store, NAT_RANK_AUDIO, "a2", 4);
  expect (&q, &store, 5, "c1");
  expect (&q, &store, 5, "a1");
  push (&q, &store, NAT_RANK_CONTROL, "c2", 5);
  expect (&q, &store, 5, "c2");
  expect (&q, &store, 5, "a2");
  expect (&q, &store, 5, "v1");
  expect (&q, &store, 5, "v2");
  expect (&q, &store, 5, NULL);
  g_assert_cmpuint (store.bytes, ==, 0);
  nat_ws_queue_clear (&q, &store);
}

static void
test_late (void)
{
  NatWsStore store = {0};
  NatWsQueue q = {0};

  push (&q, &store, NAT_RANK_VIDEO, "v1", 0);
  push (&q, &store, NAT_RANK_AUDIO, "a1", 0);
  push (&q, &store, NAT_RANK_CONTROL, "c1", 0);
  push (&q, &store, NAT_RANK_VIDEO, "v2", 1000);
  expect (&q, &store, NAT_WS_LATE_US + 1, "c1"); /* however old */
  expect (&q, &store, NAT_WS_LATE_US + 1, "v2");
  expect (&q, &store, NAT_WS_LATE_US + 1, NULL);
  g_assert_cmpuint (store.late[NAT_RANK_VIDEO], ==, 1);
  g_assert_cmpuint (store.late[NAT_RANK_AUDIO], ==, 1);
  g_assert_cmpuint (store.late[NAT_RANK_CONTROL], ==, 0);
  g_assert_cmpuint (store.bytes, ==, 0);
  nat_ws_queue_clear (&q, &store);
}

/* Against a plain list. */
static void
test_twin (void)
{
  NatWsStore store = {0};
  NatWsQueue q = {0};
  GQueue twin = G_QUEUE_INIT;
  gint64 now_us = 0;

  for (guint i = 0; i < 20000; i++) {
    if (g_test_rand_int_range (0, 100) < (i / 1000 % 2 ? 70 : 30)) {
      char *text = g_strdup_printf ("%u", i);

      push (&q, &store, NAT_RANK_VIDEO, text, now_us);
      g_queue_push_tail (&twin, text);
    } else {
      g_autofree char *text = g_queue_pop_head (&twin);
      expect (&q, &store, now_us, text);
    }
  }
  g_queue_clear_full (&twin, g_free);
  nat_ws_queue_clear (&q, &store);
  g_assert_cmpuint (store.bytes, ==, 0);
}

static void
test_bounds (void)
{
  static guint8 data[64000];
  NatWsStore store = {0};
  NatWsQueue q = {0}, other = {0};
  NatWsBlock *media = nat_ws_block_new (&store, NAT_RANK_VIDEO, data, sizeof data);
  NatWsBlock *control = nat_ws_block_new (&store, NAT_RANK_CONTROL, data, 1000);
  gsize places;
  guint n = 0;

  g_assert_cmpuint (store.bytes, ==, sizeof data + 1000);
  /* What is there once costs once, however many wait for it; but for their places in the line. */
  while (store.beyond[NAT_RANK_VIDEO] == 0) {
    g_assert_true (nat_ws_queue_push (&q, &store, NAT_RANK_VIDEO, media, 0, 1000, 0));
    g_assert_true (nat_ws_queue_push (&other, &store, NAT_RANK_VIDEO, media, 1000, 1000, 0));
    n++;
  }
  g_assert_cmpuint (n, ==, NAT_WS_MEDIA_MAX / 1000 + 1);
  places = NAT_WS_MEDIA_MAX / 1000 * sizeof (NatWsItem);
  g_assert_cmpuint (store.bytes, ==, sizeof data + 1000 + 2 * places);
  for (n = 0; nat_ws_queue_push (&q, &store, NAT_RANK_CONTROL, control, 0, 1000, 0); n++)
    continue;
  g_assert_cmpuint (n, ==, NAT_WS_CONTROL_MAX / 1000);
  nat_ws_block_unref (&store, media);
  nat_ws_block_unref (&store, control);
  nat_ws_queue_clear (&q, &store);
  g_assert_cmpuint (store.bytes, ==, sizeof data + places);
  nat_ws_queue_clear (&other, &store);
  g_assert_cmpuint (store.bytes, ==, 0);
}

/* Small datagrams in many lines: what says where they are is bounded as well. */
static void
test_places_are_bounded (void)
{
  static NatWsQueue queues[128];
  NatWsStore store = {0};
  NatWsBlock *block = nat_ws_block_new (&store, NAT_RANK_VIDEO, (const guint8 *)"0123456789ab", 12);
  guint n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (queues); i++) {
    for (guint k = 0; k < NAT_WS_MEDIA_MAX / 64; k++)
      nat_ws_queue_push (&queues[i], &store, NAT_RANK_VIDEO, block, 0, 12, 0);
    n += queues[i].lines[NAT_RANK_VIDEO].n;
  }
  g_assert_cmpuint (n * sizeof (NatWsItem), <=, NAT_WS_STORE_MAX);
  g_assert_cmpuint (n * sizeof (NatWsItem), >, NAT_WS_STORE_MAX - 100);
  g_assert_cmpuint (store.beyond[NAT_RANK_VIDEO], ==, 128 * (NAT_WS_MEDIA_MAX / 64) - n);
  nat_ws_block_unref (&store, block);
  for (guint i = 0; i < G_N_ELEMENTS (queues); i++)
    nat_ws_queue_clear (&queues[i], &store);
  g_assert_cmpuint (store.bytes, ==, 0);
}

static void
test_store (void)
{
  static guint8 data[65536];
  NatWsStore store = {0};
  GPtrArray *blocks = g_ptr_array_new ();
  NatWsBlock *block;

  while ((block = nat_ws_block_new (&store, NAT_RANK_AUDIO, data, sizeof data)))
    g_ptr_array_add (blocks, block);
  g_assert_cmpuint (blocks->len, ==, NAT_WS_STORE_MAX / sizeof data);
  block = nat_ws_block_new (&store, NAT_RANK_CONTROL, data, 100); /* has its bound at each queue */
  g_assert_nonnull (block);
  g_ptr_array_add (blocks, block);
  for (guint i = 0; i < blocks->len; i++)
    nat_ws_block_unref (&store, blocks->pdata[i]);
  g_ptr_array_unref (blocks);
  g_assert_cmpuint (store.bytes, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/wsqueue/order", test_order);
  g_test_add_func ("/wsqueue/late", test_late);
  g_test_add_func ("/wsqueue/twin", test_twin);
  g_test_add_func ("/wsqueue/bounds", test_bounds);
  g_test_add_func ("/wsqueue/places-are-bounded", test_places_are_bounded);
  g_test_add_func ("/wsqueue/store", test_store);
  return g_test_run ();
}
