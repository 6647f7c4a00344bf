/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/outbox.h"

#include <string.h>

typedef struct {
  gint64 put_us;
  guint16 len;
  guint8 data[NAT_DATAGRAM_MAX];
} Slot;

typedef struct {
  Slot *slots;
  guint size; /* a power of two */
  guint head, n;
} Ring;

struct _NatOutbox {
  gint refs;
  GMutex lock; /* guards the rest */
  gboolean closed;
  Ring control, media;
  guint late; /* media that was left out, and not told yet */
};

NatOutbox *
nat_outbox_new (void)
{
  NatOutbox *o = g_new0 (NatOutbox, 1);

  G_STATIC_ASSERT ((NAT_OUTBOX_MEDIA & (NAT_OUTBOX_MEDIA - 1)) == 0);
  G_STATIC_ASSERT ((NAT_OUTBOX_CONTROL & (NAT_OUTBOX_CONTROL - 1)) == 0);
  o->refs = 1;
  g_mutex_init (&o->lock);
  o->media.size = NAT_OUTBOX_MEDIA;
  o->media.slots = g_new (Slot, NAT_OUTBOX_MEDIA);
  o->control.size = NAT_OUTBOX_CONTROL;
  o->control.slots = g_new (Slot, NAT_OUTBOX_CONTROL);
  return o;
}

NatOutbox *
nat_outbox_ref (NatOutbox *o)
{
  g_atomic_int_inc (&o->refs);
  return o;
}

void
nat_outbox_unref (NatOutbox *o)
{
  if (!g_atomic_int_dec_and_test (&o->refs))
    return;
  g_free (o->media.slots);
  g_free (o->control.slots);
  g_mutex_clear (&o->lock);
  g_free (o);
}

/* ---- Rings (called with lock) ------------------------------------------ */

static gboolean
ring_put (Ring *r, gint64 now_us, const guint8 *data, gsize len)
{
  Slot *slot = &r->slots[(r->head + r->n) & (r->size - 1)];

  if (r->n == r->size)
    return FALSE;
  slot->put_us = now_us;
  slot->len = (guint16)len;
  memcpy (slot->data, data, len);
  r->n++;
  return TRUE;
}

static const Slot *
ring_first (const Ring *r)
{
  return r->n == 0 ? NULL : &r->slots[r->head];
}

static void
ring_pop (Ring *r)
{
  r->head = (r->head + 1) & (r->size - 1);
  r->n--;
}

static void
drop_late (NatOutbox *o, gint64 now_us)
{
  const Slot *slot;

  while ((slot = ring_first (&o->media)) != NULL && now_us - slot->put_us > NAT_OUTBOX_AGE_US) {
    ring_pop (&o->media);
    o->late++;
  }
}

/* ---- In and out -------------------------------------------------------- */

gboolean
nat_outbox_put (
    NatOutbox *o, gint64 now_us, NatOutboxKind kind, const guint8 *data, gsize len, gboolean *first)
{
  gboolean done = FALSE;

  *first = FALSE;
  if (len == 0 || len > NAT_DATAGRAM_MAX)
    return FALSE;
  g_mutex_lock (&o->lock);
  if (!o->closed) {
    *first = o->media.n == 0 && o->control.n == 0;
    if (o->media.n == o->media.size)
      drop_late (o, now_us); /* nothing is taken out: what is new is worth more */
    done = ring_put (kind == NAT_OUTBOX_IS_CONTROL ? &o->control : &o->media, now_us, data, len);
  }
  g_mutex_unlock (&o->lock);
  return done;
}

gsize
nat_outbox_take (NatOutbox *o, gint64 now_us, guint8 *out, guint *late)
{
  Ring *ring = &o->control;
  const Slot *slot;
  gsize len = 0;

  g_mutex_lock (&o->lock);
  slot = ring_first (ring);
  if (slot == NULL) {
    drop_late (o, now_us);
    ring = &o->media;
    slot = ring_first (ring);
  }
  if (slot != NULL) {
    len = slot->len;
    memcpy (out, slot->data, len);
    ring_pop (ring);
  }
  *late += o->late;
  o->late = 0;
  g_mutex_unlock (&o->lock);
  return len;
}

gboolean
nat_outbox_is_empty (NatOutbox *o)
{
  gboolean empty;

  g_mutex_lock (&o->lock);
  empty = o->media.n == 0 && o->control.n == 0;
  g_mutex_unlock (&o->lock);
  return empty;
}

guint
nat_outbox_close (NatOutbox *o)
{
  guint n;

  g_mutex_lock (&o->lock);
  n = o->media.n + o->late;
  o->late = 0;
  o->closed = TRUE;
  o->media.n = o->control.n = 0;
  g_mutex_unlock (&o->lock);
  return n;
}
