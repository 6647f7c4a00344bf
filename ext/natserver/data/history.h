/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The packets of one stream as they came, for repair and for whoever joins. They lie in blocks of a
 * worker's pool (historypool.h), in the order of arrival, and each source (SSRC) has an index from sequence
 * number to packet; historyreader.h reads them in order. What is kept, and for how long, is said in docs/design/repair.md.
 *
 * One thread: the pool's. Nothing here allocates but the making of sources. Times are monotonic microseconds, sequence
 * numbers the extended ones of seqnum.h. */

#include <glib.h>

#include "natproto/messages.h"

G_BEGIN_DECLS

#define NAT_HISTORY_BLOCK      16384 /* bytes */
#define NAT_HISTORY_SPAN       4096  /* packets of a source that can be found, at first */
#define NAT_HISTORY_SPAN_MAX   16384 /* ... where so many are worth it */
#define NAT_HISTORY_KEEP_US    (2 * G_USEC_PER_SEC)  /* as long, if they are no more than that */
#define NAT_HISTORY_PICTURE_US (30 * G_USEC_PER_SEC) /* since the start of a picture at most */
#define NAT_HISTORY_STREAM_MAX (32 * 1024 * 1024)    /* bytes of one stream */
#define NAT_HISTORY_COST       256 /* copying a packet takes as long as so many bytes at least */

typedef struct _NatHistoryPool NatHistoryPool;
typedef struct _NatHistory NatHistory;
typedef struct _NatHistorySource NatHistorySource;

/* A place in a history that stays right while packets come and go. */
typedef struct {
  guint64 serial; /* of the block when the place was taken */
  guint32 block, number;
} NatHistoryPlace;

/* The lowest of what readers said, each as often as nat_history_pin wants: in this while, and in the one before. */
typedef struct {
  guint64 lowest, before;
  gint64 since_us; /* the while; 0 = none yet */
} NatHistoryPin;

struct _NatHistorySource {
  NatHistorySource *next;
  guint32 ssrc;
  guint32 index[NAT_HISTORY_SPAN_MAX / NAT_HISTORY_SPAN]; /* blocks */
  guint32 span;         /* packets that they are for, a power of two; 0 = no packet yet */
  guint64 highest;      /* valid if there is an index */
  guint64 measured_seq; /* highest, when it was measured how fast it grows */
  gint64 measured_us;   /* 0 = not yet */
  /* The last packet with which a picture can start, and where to begin reading from it on. */
  gboolean has_start;
  guint64 start_seq;
  gint64 start_us;
  NatHistoryPlace start;
  NatHistoryPin pinned; /* numbers with which readers begin */
};

/* A part of the stream; its fields are those of the files that history-private.h names. */
struct _NatHistory {
  NatHistoryPool *pool; /* NULL: nothing is kept */
  NatHistorySource *sources;
  NatHistory *next, *prev; /* those of the pool with as many blocks */
  guint32 oldest, newest;  /* blocks with packets; 0 = none */
  guint n_packet_blocks;
  guint n_blocks;       /* with those of the indices */
  guint32 span;         /* the longest of the sources'; 0 as NAT_HISTORY_SPAN */
  guint64 n_packets;    /* that ever came */
  NatHistoryPin pinned; /* serials of blocks that are read */
};

typedef struct {
  const guint8 *data; /* as it came; valid until the next packet is kept */
  gsize len;
  guint32 ssrc;
  guint64 seq;
  gint64 arrived_us;
  gboolean starts_picture;
} NatHistoryPacket;

/* h is zeroed memory, or cleared; it stays where it is. pool: NULL = keep nothing. */
void nat_history_set_pool (NatHistory *h, NatHistoryPool *pool);
/* Gives back all memory; sources stay, and know nothing. */
void nat_history_clear (NatHistory *h);
/* The same, and frees the sources. */
void nat_history_dispose (NatHistory *h);
gsize nat_history_bytes (const NatHistory *h);

/* The source of that SSRC, made if there is none. Owned by h. */
NatHistorySource *nat_history_add_source (NatHistory *h, guint32 ssrc);
NatHistorySource *nat_history_find_source (const NatHistory *h, guint32 ssrc); /* or NULL */
/* Its packets stay until their time, but cannot be found any more. */
void nat_history_remove_source (NatHistory *h, guint32 ssrc);

/* Keeps one packet of at most NAT_DATAGRAM_MAX bytes. FALSE: there is no room, or seq is too far behind.
 * seq must not be there yet. data stays as it is until the pool is settled, or one of its packets was read. */
gboolean nat_history_append (NatHistory *h, NatHistorySource *source, guint64 seq,
    const guint8 *data, gsize len, gboolean starts_picture, gint64 now_us);
/* The source's numbers jumped: no picture of before leads to what comes now. */
void nat_history_restart (NatHistorySource *source);
/* Copies what was not copied yet. Before the buffers are used again from which packets were kept. */
void nat_history_settle (NatHistoryPool *pool);
/* O(1). */
gboolean nat_history_find (
    const NatHistory *h, const NatHistorySource *source, guint64 seq, NatHistoryPacket *packet);
/* Lets more packets be found of sources of which more are kept than that: those since a picture that may still be wanted, or of
 * NAT_HISTORY_KEEP_US at the rate at which they come. Now and then, off the packets' way: it takes some 20 us when there is something to do. */
void nat_history_grow (NatHistory *h, gint64 now_us);
/* Lets go what is too old, also when no packets come. Now and then. */
void nat_history_expire (NatHistory *h, gint64 now_us);

G_END_DECLS
