/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/outbox.h"

#include <string.h>

typedef struct {
  gint64 put_us;
  guint16 len;
  guint8 data[];
} Packet;

typedef struct {
  Packet **packets;
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

/* ---- Rings (called with lock) ------------------------------------------ */

static gboolean
ring_put (Ring *r, gint64 now_us, const guint8 *data, gsize len)
{
  Packet *packet;

  if (r->n == r->size)
    return FALSE;
  packet = g_malloc (sizeof *packet + len);
  packet->put_us = now_us;
  packet->len = (guint16)len;
  memcpy (packet->data, data, len);
  r->packets[(r->head + r->n++) & (r->size - 1)] = packet;
  return TRUE;
}

static const Packet *
ring_first (const Ring *r)
{
  return r->n == 0 ? NULL : r->packets[r->head];
}

static void
ring_pop (Ring *r)
{
  g_free (r->packets[r->head]);
  r->head = (r->head + 1) & (r->size - 1);
  r->n--;
}

static void
ring_clear (Ring *r)
{
  while (r->n > 0)
    ring_pop (r);
}

static void
drop_late (NatOutbox *o, gint64 now_us)
{
  const Packet *packet;

  while ((packet = ring_first (&o->media)) != NULL && now_us - packet->put_us > NAT_OUTBOX_AGE_US) {
    ring_pop (&o->media);
    o->late++;
  }
}

/* ---- Life -------------------------------------------------------------- */

NatOutbox *
nat_outbox_new (void)
{
  NatOutbox *o = g_new0 (NatOutbox, 1);

  G_STATIC_ASSERT ((NAT_OUTBOX_MEDIA & (NAT_OUTBOX_MEDIA - 1)) == 0);
  G_STATIC_ASSERT ((NAT_OUTBOX_CONTROL & (NAT_OUTBOX_CONTROL - 1)) == 0);
  o->refs = 1;
  g_mutex_init (&o->lock);
  o->media.size = NAT_OUTBOX_MEDIA;
  o->media.packets = g_new (Packet *, NAT_OUTBOX_MEDIA);
  o->control.size = NAT_OUTBOX_CONTROL;
  o->control.packets = g_new (Packet *, NAT_OUTBOX_CONTROL);
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
  ring_clear (&o->media);
  ring_clear (&o->control);
  g_free (o->media.packets);
  g_free (o->control.packets);
  g_mutex_clear (&o->lock);
  g_free (o);
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
  const Packet *packet;
  gsize len = 0;

  g_mutex_lock (&o->lock);
  packet = ring_first (ring);
  if (packet == NULL) {
    drop_late (o, now_us);
    ring = &o->media;
    packet = ring_first (ring);
  }
  if (packet != NULL) {
    len = packet->len;
    memcpy (out, packet->data, len);
    ring_pop (ring);
  }
  *late += o->late;
  o->late = 0;
  g_mutex_unlock (&o->lock);
  return len;
}

guint
nat_outbox_close (NatOutbox *o)
{
  guint n;

  g_mutex_lock (&o->lock);
  n = o->media.n + o->late;
  o->late = 0;
  o->closed = TRUE;
  ring_clear (&o->media);
  ring_clear (&o->control);
  g_mutex_unlock (&o->lock);
  return n;
}
