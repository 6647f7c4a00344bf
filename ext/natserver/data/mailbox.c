/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* As ring.c, but the reader looks at letters in their places: packets are sent on from there, so
 * that one copy, the writer's, is all. */

#include "natserver/data/mailbox.h"

#include <stdatomic.h>

struct _NatMailbox {
  _Alignas(64) atomic_uint head; /* reader's */
  _Alignas(64) atomic_uint tail; /* writer's */
  _Alignas(64) gsize letter_size;
  guint mask;
  guint8 *letters;
};

NatMailbox *
nat_mailbox_new (gsize letter_size, guint capacity)
{
  NatMailbox *m;

  g_return_val_if_fail (capacity > 0 && (capacity & (capacity - 1)) == 0, NULL);
  m = g_aligned_alloc0 (1, sizeof *m, 64);
  m->letter_size = (letter_size + 63) & ~(gsize)63;
  m->mask = capacity - 1;
  m->letters = g_malloc0_n (capacity, m->letter_size);
  return m;
}

void
nat_mailbox_free (NatMailbox *m)
{
  if (!m)
    return;
  g_free (m->letters);
  g_aligned_free (m);
}

gpointer
nat_mailbox_write (NatMailbox *m)
{
  guint tail = atomic_load_explicit (&m->tail, memory_order_relaxed);
  guint head = atomic_load_explicit (&m->head, memory_order_acquire);

  return tail - head > m->mask ? NULL : m->letters + (tail & m->mask) * m->letter_size;
}

void
nat_mailbox_post (NatMailbox *m)
{
  guint tail = atomic_load_explicit (&m->tail, memory_order_relaxed);

  atomic_store_explicit (&m->tail, tail + 1, memory_order_release);
}

guint
nat_mailbox_waiting (NatMailbox *m)
{
  return atomic_load_explicit (&m->tail, memory_order_acquire) -
         atomic_load_explicit (&m->head, memory_order_relaxed);
}

gpointer
nat_mailbox_peek (NatMailbox *m, guint index)
{
  guint head = atomic_load_explicit (&m->head, memory_order_relaxed);

  return m->letters + ((head + index) & m->mask) * m->letter_size;
}

void
nat_mailbox_release (NatMailbox *m, guint n)
{
  guint head = atomic_load_explicit (&m->head, memory_order_relaxed);

  atomic_store_explicit (&m->head, head + n, memory_order_release);
}
