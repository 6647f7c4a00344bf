/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Head and tail count items for ever; their difference is the fill. The writer publishes an
 * item by its release store of tail, the reader gives the place back by its release store of
 * head. A mutex would do for the rates here, but it would let a descheduled control thread
 * hold up the packets. */

#include "natserver/data/ring.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "natproto/crypto.h"

struct _NatRing {
  _Alignas(64) atomic_uint head; /* reader's */
  _Alignas(64) atomic_uint tail; /* writer's */
  _Alignas(64) gsize item_size;
  guint mask;
  int fd;
  guint8 *items;
};

NatRing *
nat_ring_new (gsize item_size, guint capacity)
{
  NatRing *ring;
  int fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);

  g_return_val_if_fail (capacity > 0 && (capacity & (capacity - 1)) == 0, NULL);
  if (fd < 0)
    return NULL;
  ring = g_aligned_alloc0 (1, sizeof *ring, 64);
  ring->item_size = item_size;
  ring->mask = capacity - 1;
  ring->fd = fd;
  /* Touched now: the first round through the ring then takes no page fault on the packet path. */
  ring->items = g_malloc_n (capacity, item_size);
  memset (ring->items, 0, capacity * item_size);
  return ring;
}

void
nat_ring_free (NatRing *ring)
{
  if (!ring)
    return;
  nat_crypto_wipe (ring->items, (ring->mask + 1) * ring->item_size);
  g_free (ring->items);
  close (ring->fd);
  g_aligned_free (ring);
}

void
nat_ring_wake (NatRing *ring)
{
  guint64 one = 1;
  /* It fails only when 2^64 - 2 wake-ups are pending, and then the reader is awake. */
  ssize_t ignored G_GNUC_UNUSED = write (ring->fd, &one, sizeof one);
}

guint
nat_ring_space (NatRing *ring)
{
  guint tail = atomic_load_explicit (&ring->tail, memory_order_relaxed);
  guint head = atomic_load_explicit (&ring->head, memory_order_acquire);

  return ring->mask + 1 - (tail - head);
}

gboolean
nat_ring_is_drained (NatRing *ring)
{
  return nat_ring_space (ring) == ring->mask + 1;
}

gboolean
nat_ring_push (NatRing *ring, gconstpointer item)
{
  guint tail = atomic_load_explicit (&ring->tail, memory_order_relaxed);

  if (nat_ring_space (ring) == 0)
    return FALSE;
  memcpy (ring->items + (tail & ring->mask) * ring->item_size, item, ring->item_size);
  atomic_store_explicit (&ring->tail, tail + 1, memory_order_release);
  nat_ring_wake (ring);
  return TRUE;
}

gboolean
nat_ring_waiting (NatRing *ring)
{
  return atomic_load_explicit (&ring->head, memory_order_relaxed) !=
         atomic_load_explicit (&ring->tail, memory_order_acquire);
}

static gboolean
take (NatRing *ring, gpointer item)
{
  guint head = atomic_load_explicit (&ring->head, memory_order_relaxed);
  guint8 *place = ring->items + (head & ring->mask) * ring->item_size;

  if (!nat_ring_waiting (ring))
    return FALSE;
  memcpy (item, place, ring->item_size);
  atomic_store_explicit (&ring->head, head + 1, memory_order_release);
  return TRUE;
}

gboolean
nat_ring_pop (NatRing *ring, gpointer item)
{
  guint64 wakeups;

  if (take (ring, item))
    return TRUE;
  /* Clear first, look again after: an item pushed in between is found now or wakes us. */
  if (read (ring->fd, &wakeups, sizeof wakeups) < 0)
    return FALSE;
  return take (ring, item);
}

int
nat_ring_fd (NatRing *ring)
{
  return ring->fd;
}
