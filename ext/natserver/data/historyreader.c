/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natserver/data/historyreader.h"

#include "natserver/data/history-private.h"

#define PIN_US (75 * 1000) /* everybody who reads says so within such a while */

gboolean
nat_history_read_picture (
    const NatHistory *h, const NatHistorySource *source, NatHistoryReader *reader)
{
  if (!h->pool || !source->has_start)
    return FALSE;
  *reader = (NatHistoryReader){source, source->start_seq, source->start};
  return TRUE;
}

static gsize
cost_of (const NatHistoryBlock *b)
{
  return MAX (NAT_HISTORY_BLOCK, (gsize)b->n * NAT_HISTORY_COST);
}

gboolean
nat_history_read_newest (const NatHistory *h, gsize bytes, NatHistoryReader *reader, gsize *size)
{
  guint32 block;

  *size = 0;
  for (block = h->oldest; block; block = h->pool->blocks[block].next)
    *size += cost_of (&h->pool->blocks[block]);
  for (block = h->oldest; block && *size > bytes; block = h->pool->blocks[block].next)
    *size -= cost_of (&h->pool->blocks[block]);
  if (!block)
    return FALSE;
  *reader = (NatHistoryReader){.place = {h->pool->blocks[block].serial, block, 0}};
  return TRUE;
}

/* The record at the place, which moves behind it; NULL at the edge. */
static const NatHistoryRecord *
step (const NatHistory *h, NatHistoryPlace *place)
{
  const NatHistoryBlock *b = &h->pool->blocks[place->block];

  if (place->number >= b->n) {
    if (b->next == 0)
      return NULL;
    place->block = b->next;
    place->serial = h->pool->blocks[b->next].serial;
    place->number = 0;
  }
  return nat_history_record_of (h->pool, place->block, place->number++);
}

NatHistoryStep
nat_history_read (const NatHistory *h, NatHistoryReader *reader, NatHistoryPacket *packet)
{
  const NatHistoryBlock *b = h->pool ? &h->pool->blocks[reader->place.block] : NULL;
  const NatHistoryRecord *r;

  if (!b || b->owner != h || b->serial != reader->place.serial)
    return NAT_HISTORY_GONE;
  while ((r = step (h, &reader->place))) {
    if (reader->source && (r->ssrc != reader->source->ssrc || r->seq < reader->from))
      continue;
    nat_history_describe (h, r, reader->place.block, packet);
    return NAT_HISTORY_PACKET;
  }
  return NAT_HISTORY_EDGE;
}

/* ---- Pins -------------------------------------------------------------- */

guint64
nat_history_pin_lowest (const NatHistoryPin *p, gint64 now_us)
{
  return p->since_us > 0 && now_us - p->since_us <= 2 * PIN_US ? MIN (p->lowest, p->before)
                                                               : G_MAXUINT64;
}

/* While one while is being heard, what was heard in the one before holds: so nobody is forgotten whose turn comes late. */
static void
pin (NatHistoryPin *p, guint64 at, gint64 now_us)
{
  if (now_us - p->since_us <= PIN_US) {
    p->lowest = MIN (p->lowest, at);
    return;
  }
  p->before = now_us - p->since_us <= 2 * PIN_US ? p->lowest : at;
  p->lowest = at;
  p->since_us = now_us;
}

void
nat_history_pin (NatHistory *h, const NatHistoryReader *reader, gint64 now_us)
{
  NatHistorySource *s = h->sources;

  pin (&h->pinned, reader->place.serial, now_us);
  while (s && s != reader->source)
    s = s->next;
  if (s)
    pin (&s->pinned, reader->from, now_us);
}
