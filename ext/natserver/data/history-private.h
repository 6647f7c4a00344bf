/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The inside of a history, for its three files: history.c (one stream's packets, and the index that finds them),
 * historypool.c (the blocks that all streams of a worker share) and historyreader.c (in the order of arrival). One
 * thread: the worker's. A block is named by its number in the pool; 0 is none. */

#include <string.h>

#include "natserver/data/history.h"
#include "natserver/data/historypool.h"

G_BEGIN_DECLS

#define NAT_HISTORY_NUMBER_BITS   9 /* of a packet in its block */
#define NAT_HISTORY_STREAM_BLOCKS (NAT_HISTORY_STREAM_MAX / NAT_HISTORY_BLOCK)
#define NAT_HISTORY_INDEX_BLOCKS  (NAT_HISTORY_SPAN_MAX / NAT_HISTORY_SPAN) /* of one source */
#define NAT_HISTORY_SIZES                                                                          \
  (NAT_HISTORY_STREAM_BLOCKS + NAT_TRACKS_MAX * NAT_HISTORY_INDEX_BLOCKS + 1) /* 0 is one, too */

G_STATIC_ASSERT (NAT_HISTORY_SPAN * sizeof (guint32) == NAT_HISTORY_BLOCK);

typedef struct {
  NatHistory *owner; /* NULL: holds no packets */
  guint64 serial;    /* grows with each use of any block */
  gint64 last_us;    /* of its last packet */
  guint64 last_packet;
  guint32 next;    /* of the history, or of the free ones; 0 = none */
  guint16 used, n; /* bytes of packets, and packets */
} NatHistoryBlock;

typedef struct {
  gint64 arrived_us;
  guint64 seq;
  guint32 ssrc;
  guint16 offset;
  guint16 len : 15, starts_picture : 1;
} NatHistoryRecord;

G_STATIC_ASSERT (sizeof (NatHistoryRecord) == 24);
G_STATIC_ASSERT (NAT_DATAGRAM_MAX < 1 << 15);

/* What is still to be copied. */
typedef struct {
  guint8 *to;
  const guint8 *from;
  gsize len; /* 0 = nothing */
  guint32 block;
} NatHistoryRun;

struct _NatHistoryPool {
  guint8 *memory; /* first the blocks' descriptions, then their bytes */
  gsize size;
  NatHistoryBlock *blocks; /* n and one more: 0 is none */
  guint8 *bytes;
  guint32 n, fresh;   /* all; of these, those that were used before */
  guint32 free, cold; /* the first of the free ones: that hold memory, and that gave it back */
  guint n_used, n_resident, limit;
  guint64 serial, evictions;
  NatHistoryRun run;
  guint top; /* the most that any history has */
  NatHistory *by_size[NAT_HISTORY_SIZES];
};

/* ---- history.c ---- */

/* There is one: the oldest block with packets goes back to the pool, and starts of pictures in it are forgotten. */
void nat_history_drop_oldest (NatHistory *h);

/* ---- historypool.c ---- */

/* A block for h, that others may have to give: whoever has most, or h itself. 0: there is none to be had. */
guint32 nat_history_pool_take (NatHistory *h);
void nat_history_pool_give_back (NatHistory *h, guint32 block); /* to h's pool */

/* ---- historyreader.c ---- */

/* The lowest that a reader still wants; G_MAXUINT64 = none reads. */
guint64 nat_history_pin_lowest (const NatHistoryPin *p, gint64 now_us);

/* ---- For each packet, so in here ---- */

static inline guint8 *
nat_history_bytes_of (const NatHistoryPool *pool, guint32 block)
{
  return pool->bytes + (gsize)block * NAT_HISTORY_BLOCK;
}

static inline NatHistoryRecord *
nat_history_record_of (const NatHistoryPool *pool, guint32 block, guint32 number)
{
  return (NatHistoryRecord *)(gpointer)(nat_history_bytes_of (pool, block) + NAT_HISTORY_BLOCK) -
         number - 1;
}

/* nat_history_settle. */
static inline void
nat_history_run_copy (NatHistoryRun *run)
{
  if (run->len > 0)
    memcpy (run->to, run->from, run->len);
  run->len = 0;
}

/* What others get to know of the record of a packet in that block, whose bytes are settled for them. */
static inline void
nat_history_describe (
    const NatHistory *h, const NatHistoryRecord *r, guint32 block, NatHistoryPacket *packet)
{
  nat_history_run_copy (&h->pool->run);
  *packet = (NatHistoryPacket){.data = nat_history_bytes_of (h->pool, block) + r->offset,
      .len = r->len,
      .ssrc = r->ssrc,
      .seq = r->seq,
      .arrived_us = r->arrived_us,
      .starts_picture = r->starts_picture};
}

G_END_DECLS
