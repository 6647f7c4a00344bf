/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Head and tail count bytes for ever, modulo 2^32. A letter lies in one piece: where it would not fit before
 * the end of the memory, a mark says that the reader goes on at its beginning. The writer publishes by its
 * release store of tail, the reader gives back by its release store of head. */

#include "natserver/data/bytering.h"

#include <stdatomic.h>

#define ALIGN 8u
#define SKIP  G_MAXUINT32 /* in place of a size: nothing more before the end */

/* In front of every letter. */
typedef struct {
  _Alignas(8) guint32 size; /* with this header, a multiple of ALIGN */
} Header;

struct _NatByteRing {
  _Alignas(64) atomic_uint head; /* reader's */
  _Alignas(64) atomic_uint tail; /* writer's */
  guint32 reserved;              /* writer's: what the commit adds to tail */
  _Alignas(64) guint32 mask;
  guint8 *bytes;
};

NatByteRing *
nat_byte_ring_new (guint32 capacity)
{
  NatByteRing *ring;

  g_return_val_if_fail (
      capacity >= 64 && capacity <= 1u << 30 && (capacity & (capacity - 1)) == 0, NULL);
  ring = g_aligned_alloc0 (1, sizeof *ring, 64);
  ring->mask = capacity - 1;
  ring->bytes = g_malloc (capacity);
  return ring;
}

void
nat_byte_ring_free (NatByteRing *ring)
{
  if (!ring)
    return;
  g_free (ring->bytes);
  g_aligned_free (ring);
}

static Header *
at (NatByteRing *ring, guint32 position)
{
  return (Header *)(gpointer)(ring->bytes + (position & ring->mask));
}

gpointer
nat_byte_ring_reserve (NatByteRing *ring, guint32 size, guint32 fill)
{
  guint32 tail = atomic_load_explicit (&ring->tail, memory_order_relaxed);
  guint32 used = tail - atomic_load_explicit (&ring->head, memory_order_acquire);
  guint32 to_end = ring->mask + 1 - (tail & ring->mask);
  guint32 skip = 0, need;

  if (size > ring->mask / 2)
    return NULL;
  need = (size + (guint32)sizeof (Header) + ALIGN - 1) & ~(ALIGN - 1);
  if (need > to_end)
    skip = to_end;
  if (used + skip + need > MIN (fill, ring->mask + 1))
    return NULL;
  if (skip > 0)
    at (ring, tail)->size = SKIP;
  at (ring, tail + skip)->size = need;
  ring->reserved = skip + need;
  return at (ring, tail + skip) + 1;
}

void
nat_byte_ring_commit (NatByteRing *ring)
{
  guint32 tail = atomic_load_explicit (&ring->tail, memory_order_relaxed);

  atomic_store_explicit (&ring->tail, tail + ring->reserved, memory_order_release);
  ring->reserved = 0;
}

gpointer
nat_byte_ring_peek (NatByteRing *ring)
{
  guint32 head = atomic_load_explicit (&ring->head, memory_order_relaxed);

  if (head == atomic_load_explicit (&ring->tail, memory_order_acquire))
    return NULL;
  if (at (ring, head)->size == SKIP)
    head += ring->mask + 1 - (head & ring->mask);
  return at (ring, head) + 1;
}

void
nat_byte_ring_release (NatByteRing *ring)
{
  guint32 head = atomic_load_explicit (&ring->head, memory_order_relaxed);

  if (at (ring, head)->size == SKIP)
    head += ring->mask + 1 - (head & ring->mask);
  atomic_store_explicit (&ring->head, head + at (ring, head)->size, memory_order_release);
}
