/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/wsqueue.h"

#include <string.h>

#define ROOM_MIN 16

struct _NatWsBlock {
  guint refs;
  guint32 len;
  guint8 data[];
};

/* ---- Blocks ------------------------------------------------------------ */

NatWsBlock *
nat_ws_block_new (NatWsStore *store, NatRank rank, const guint8 *data, gsize len)
{
  NatWsBlock *block;

  if (rank != NAT_RANK_CONTROL && store->bytes + len > NAT_WS_STORE_MAX)
    return NULL;
  block = g_malloc (sizeof *block + len);
  block->refs = 1;
  block->len = (guint32)len;
  memcpy (block->data, data, len);
  store->bytes += len;
  return block;
}

void
nat_ws_block_unref (NatWsStore *store, NatWsBlock *block)
{
  if (--block->refs > 0)
    return;
  store->bytes -= block->len;
  g_free (block);
}

/* ---- Lines ------------------------------------------------------------- */

static NatWsItem *
head (NatWsLine *line)
{
  return &line->items[line->first];
}

static void
make_room (NatWsLine *line)
{
  guint room = MAX (2 * line->room, ROOM_MIN);
  NatWsItem *items;

  if (line->n < line->room)
    return;
  items = g_new (NatWsItem, room);
  for (guint i = 0; i < line->n; i++)
    items[i] = line->items[(line->first + i) & (line->room - 1)];
  g_free (line->items);
  line->items = items;
  line->room = room;
  line->first = 0;
}

static void
shift (NatWsLine *line, NatWsStore *store)
{
  NatWsItem *item = head (line);

  line->bytes -= item->len;
  store->bytes -= sizeof *item;
  nat_ws_block_unref (store, item->block);
  line->first = (line->first + 1) & (line->room - 1);
  line->n--;
  if (line->n > 0 || line->room <= ROOM_MIN)
    return;
  g_clear_pointer (&line->items, g_free);
  line->room = line->first = 0;
}

/* ---- The queue --------------------------------------------------------- */

void
nat_ws_queue_clear (NatWsQueue *q, NatWsStore *store)
{
  for (guint rank = 0; rank < NAT_RANKS; rank++) {
    while (q->lines[rank].n > 0)
      shift (&q->lines[rank], store);
    g_free (q->lines[rank].items);
  }
  memset (q, 0, sizeof *q);
}

gboolean
nat_ws_queue_push (NatWsQueue *q, NatWsStore *store, NatRank rank, NatWsBlock *block, gsize at,
    gsize len, gint64 time_us)
{
  NatWsLine *line = &q->lines[rank];
  gsize most = rank == NAT_RANK_CONTROL ? NAT_WS_CONTROL_MAX : NAT_WS_MEDIA_MAX;

  if (line->bytes + len > most || line->n >= most / 64 ||
      (rank != NAT_RANK_CONTROL && store->bytes + sizeof *line->items > NAT_WS_STORE_MAX)) {
    store->beyond[rank]++;
    q->dropped++;
    return rank != NAT_RANK_CONTROL;
  }
  make_room (line);
  block->refs++;
  line->items[(line->first + line->n) & (line->room - 1)] =
      (NatWsItem){block, (guint32)at, (guint32)len, time_us};
  line->n++;
  line->bytes += len;
  store->bytes += sizeof *line->items;
  return TRUE;
}

static void
prune_line (NatWsQueue *q, NatWsStore *store, NatRank rank, gint64 now_us)
{
  NatWsLine *line = &q->lines[rank];

  while (line->n > 0 && now_us - head (line)->time_us > NAT_WS_LATE_US) {
    store->late[rank]++;
    q->dropped++;
    shift (line, store);
  }
}

void
nat_ws_queue_prune (NatWsQueue *q, NatWsStore *store, gint64 now_us)
{
  for (guint rank = NAT_RANK_CONTROL + 1; rank < NAT_RANKS; rank++)
    prune_line (q, store, (NatRank)rank, now_us);
}

const guint8 *
nat_ws_queue_peek (NatWsQueue *q, NatWsStore *store, gint64 now_us, gsize *len)
{
  nat_ws_queue_prune (q, store, now_us);
  for (guint rank = 0; rank < NAT_RANKS; rank++) {
    if (q->lines[rank].n == 0)
      continue;
    *len = head (&q->lines[rank])->len;
    return head (&q->lines[rank])->block->data + head (&q->lines[rank])->at;
  }
  return NULL;
}

void
nat_ws_queue_drop (NatWsQueue *q, NatWsStore *store)
{
  for (guint rank = 0; rank < NAT_RANKS; rank++) {
    if (q->lines[rank].n == 0)
      continue;
    shift (&q->lines[rank], store);
    return;
  }
}
