/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/ring.h"

#include <poll.h>
#include <pthread.h>

typedef struct {
  guint64 number, check;
} Item;

static gboolean
readable (NatRing *ring, int timeout_ms)
{
  return poll (&(struct pollfd){nat_ring_fd (ring), POLLIN, 0}, 1, timeout_ms) == 1;
}

static void
test_order (void)
{
  NatRing *ring = nat_ring_new (sizeof (Item), 8);
  Item item;

  g_assert_false (readable (ring, 0));
  g_assert_false (nat_ring_pop (ring, &item));
  for (guint round = 0; round < 100; round++) {
    for (guint i = 0; i < 8; i++) {
      g_assert_cmpuint (nat_ring_space (ring), ==, 8 - i);
      g_assert_true (nat_ring_push (ring, &(Item){round * 8 + i, 0}));
    }
    g_assert_false (nat_ring_push (ring, &(Item){0, 0}));
    g_assert_true (nat_ring_waiting (ring));
    g_assert_true (readable (ring, 0));
    for (guint i = 0; i < 8; i++) {
      g_assert_true (nat_ring_pop (ring, &item));
      g_assert_cmpuint (item.number, ==, round * 8 + i);
    }
    g_assert_false (nat_ring_pop (ring, &item));
    g_assert_false (readable (ring, 0));
  }
  nat_ring_free (ring);
}

static void
test_wake (void)
{
  NatRing *ring = nat_ring_new (sizeof (Item), 2);
  Item item;

  nat_ring_wake (ring);
  g_assert_true (readable (ring, 0));
  g_assert_false (nat_ring_pop (ring, &item));
  g_assert_false (readable (ring, 0));
  nat_ring_free (ring);
}

#define MANY 200000

static void *
write_many (void *data)
{
  NatRing *ring = data;

  for (guint64 i = 0; i < MANY;) {
    if (nat_ring_push (ring, &(Item){i, ~i}))
      i++;
    else
      g_thread_yield ();
  }
  return NULL;
}

/* The reader sleeps whenever the ring is empty: a lost wake-up hangs the test. */
static void
test_threads (void)
{
  NatRing *ring = nat_ring_new (sizeof (Item), 64);
  pthread_t writer;
  Item item;

  g_assert_cmpint (pthread_create (&writer, NULL, write_many, ring), ==, 0);
  for (guint64 i = 0; i < MANY;) {
    if (!nat_ring_pop (ring, &item)) {
      g_assert_true (readable (ring, 30000));
      continue;
    }
    g_assert_cmpuint (item.number, ==, i);
    g_assert_cmpuint (item.check, ==, ~i);
    i++;
  }
  pthread_join (writer, NULL);
  g_assert_false (nat_ring_pop (ring, &item));
  nat_ring_free (ring);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ring/order", test_order);
  g_test_add_func ("/ring/wake", test_wake);
  g_test_add_func ("/ring/threads", test_threads);
  return g_test_run ();
}
