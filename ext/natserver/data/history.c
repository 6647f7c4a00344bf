/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A block is filled from both ends: packets from the front, one right after the other, and what is known of
 * each from the back. So an entry of an index, which may have outlived its block, is checked without looking
 * at bytes that the network wrote: it holds if its block is still the history's, has so many packets, and that one
 * is what was looked for. One block for each packet, or a size for each stream, was refused: the first wastes half of
 * the memory with audio, the second needs somebody who knows the rates beforehand.
 *
 * Packets that lie behind one another where they came are copied as one piece, later: memory that was not used for a second
 * or two is far away, and a long copy need not fetch what it writes over. That halves what keeping costs. */

#include "natserver/data/history.h"

#include <string.h>
#include <sys/mman.h>

#define NUMBER_BITS   9 /* of a packet in its block */
#define PACKETS_MAX   (1 << NUMBER_BITS)
#define BLOCKS_MAX    (G_MAXUINT32 >> NUMBER_BITS)
#define STREAM_MAX    (NAT_HISTORY_STREAM_MAX / NAT_HISTORY_BLOCK)
#define INDEX_MAX     (NAT_HISTORY_SPAN_MAX / NAT_HISTORY_SPAN) /* blocks of one source */
#define SIZES         (STREAM_MAX + NAT_TRACKS_MAX * INDEX_MAX + 1)
#define MEASURE_US    (500 * 1000)
#define DROPS_AT_ONCE 4           /* for one packet: letting go of a long picture is spread out */
#define PIN_US        (75 * 1000) /* everybody who reads says so within such a while */
#define TRIM_AT_ONCE  256
#define AHEAD         8  /* records, whose memory is fetched before it is written to */
#define LATE_START    16 /* packets that may have come before the one that starts their picture */

G_STATIC_ASSERT (NAT_HISTORY_SPAN * sizeof (guint32) == NAT_HISTORY_BLOCK);

typedef struct {
  NatHistory *owner; /* NULL: holds no packets */
  guint64 serial;    /* grows with each use of any block */
  gint64 last_us;    /* of its last packet */
  guint64 last_packet;
  guint32 next;    /* of the history, or of the free ones; 0 = none */
  guint16 used, n; /* bytes of packets, and packets */
} Block;

typedef struct {
  gint64 arrived_us;
  guint64 seq;
  guint32 ssrc;
  guint16 offset;
  guint16 len : 15, starts_picture : 1;
} Record;

G_STATIC_ASSERT (sizeof (Record) == 24);
G_STATIC_ASSERT (NAT_DATAGRAM_MAX < 1 << 15);

/* What is still to be copied. */
typedef struct {
  guint8 *to;
  const guint8 *from;
  gsize len; /* 0 = nothing */
  guint32 block;
} Run;

struct _NatHistoryPool {
  guint8 *memory; /* first the blocks' descriptions, then their bytes */
  gsize size;
  Block *blocks; /* n and one more: 0 is none */
  guint8 *bytes;
  guint32 n, fresh;   /* all; of these, those that were used before */
  guint32 free, cold; /* the first of the free ones: that hold memory, and that gave it back */
  guint n_used, n_resident, limit;
  guint64 serial, evictions;
  Run run;
  guint top; /* the most that any history has */
  NatHistory *by_size[SIZES];
};

/* ---- Pool -------------------------------------------------------------- */

NatHistoryPool *
nat_history_pool_new (gsize bytes)
{
  NatHistoryPool *pool = g_new0 (NatHistoryPool, 1);
  gsize descriptions;

  pool->n = (guint32)MIN (bytes / NAT_HISTORY_BLOCK, BLOCKS_MAX - 1);
  descriptions = ((gsize)pool->n + 1) * sizeof (Block);
  descriptions = (descriptions + NAT_HISTORY_BLOCK - 1) & ~(gsize)(NAT_HISTORY_BLOCK - 1);
  pool->size = descriptions + ((gsize)pool->n + 1) * NAT_HISTORY_BLOCK;
  pool->memory = mmap (
      NULL, pool->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pool->memory == MAP_FAILED) {
    g_free (pool);
    return NULL;
  }
  pool->limit = pool->n;
  pool->blocks = (Block *)(gpointer)pool->memory;
  pool->bytes = pool->memory + descriptions;
  return pool;
}

void
nat_history_pool_free (NatHistoryPool *pool)
{
  if (!pool)
    return;
  g_assert (pool->n_used == 0);
  munmap (pool->memory, pool->size);
  g_free (pool);
}

gsize
nat_history_pool_used (const NatHistoryPool *pool)
{
  return (gsize)pool->n_used * NAT_HISTORY_BLOCK;
}

gsize
nat_history_pool_resident (const NatHistoryPool *pool)
{
  return (gsize)pool->n_resident * NAT_HISTORY_BLOCK;
}

guint64
nat_history_pool_evictions (const NatHistoryPool *pool)
{
  return pool->evictions;
}

static guint8 *
bytes_of (const NatHistoryPool *pool, guint32 block)
{
  return pool->bytes + (gsize)block * NAT_HISTORY_BLOCK;
}

/* Histories of one size are a list, so that one with the most blocks is found at once. */
static void
resize (NatHistory *h, gint change)
{
  NatHistoryPool *pool = h->pool;

  if (h->next)
    h->next->prev = h->prev;
  if (h->prev)
    h->prev->next = h->next;
  else if (h->n_blocks > 0)
    pool->by_size[h->n_blocks] = h->next;
  h->n_blocks += (guint)change;
  pool->n_used += (guint)change;
  h->next = h->prev = NULL;
  if (h->n_blocks > 0) {
    h->next = pool->by_size[h->n_blocks];
    if (h->next)
      h->next->prev = h;
    pool->by_size[h->n_blocks] = h;
  }
  pool->top = MAX (pool->top, h->n_blocks);
  while (pool->top > 0 && !pool->by_size[pool->top])
    pool->top--;
}

static guint32
pop (NatHistoryPool *pool, guint32 *list)
{
  guint32 block = *list;

  *list = pool->blocks[block].next;
  return block;
}

/* No more than most are used before. */
static guint32
take_free (NatHistory *h, guint most)
{
  NatHistoryPool *pool = h->pool;
  guint32 block;

  if (pool->n_used >= most)
    return 0;
  if (pool->free) {
    block = pop (pool, &pool->free);
  } else {
    /* Neither the limit nor what is used is ever more than there are. */
    block = pool->cold ? pop (pool, &pool->cold) : ++pool->fresh;
    pool->n_resident++;
  }
  pool->blocks[block] = (Block){.serial = ++pool->serial};
  resize (h, 1);
  return block;
}

static void
give_back (NatHistory *h, guint32 block)
{
  Block *b = &h->pool->blocks[block];

  if (h->pool->run.block == block)
    h->pool->run.len = 0; /* nobody will read it */
  b->owner = NULL;
  b->next = h->pool->free;
  h->pool->free = block;
  resize (h, -1);
}

static void
drop_oldest (NatHistory *h)
{
  guint32 block = h->oldest;

  for (NatHistorySource *s = h->sources; s; s = s->next) {
    if (s->has_start && s->start.block == block)
      s->has_start = FALSE;
  }
  h->oldest = h->pool->blocks[block].next;
  if (h->oldest == 0)
    h->newest = 0;
  h->n_packet_blocks--;
  give_back (h, block);
}

static void
forget_source (NatHistory *h, NatHistorySource *s)
{
  s->has_start = FALSE;
  for (guint i = 0; i < s->span / NAT_HISTORY_SPAN; i++)
    give_back (h, s->index[i]);
  s->span = 0;
  s->measured_us = 0;
  s->pinned = (NatHistoryPin){0};
}

/* The oldest goes of whoever has most, or one's own if that is no more. */
static gboolean
make_room (NatHistory *h)
{
  NatHistoryPool *pool = h->pool;
  NatHistory *victim = pool->top > h->n_blocks + 1 ? pool->by_size[pool->top] : h;

  if (victim->oldest) {
    drop_oldest (victim);
  } else {
    if (victim == h)
      return FALSE;
    nat_history_clear (victim); /* indices without a packet */
  }
  pool->evictions++;
  return TRUE;
}

/* While the pool is on its way down to a lower limit, it grows by nothing, but goes on keeping what comes. */
static guint32
take_block (NatHistory *h)
{
  guint most = MAX (h->pool->limit, h->pool->n_used);
  guint32 block = take_free (h, h->pool->limit);

  return block || !make_room (h) ? block : take_free (h, most);
}

void
nat_history_pool_set_limit (NatHistoryPool *pool, gsize bytes)
{
  pool->limit = (guint)MIN (bytes / NAT_HISTORY_BLOCK, pool->n);
}

/* Whoever has most gives his oldest; and of those that are free, memory goes back to the system. */
void
nat_history_pool_trim (NatHistoryPool *pool)
{
  for (guint n = 0; n < TRIM_AT_ONCE && pool->n_used > pool->limit; n++) {
    NatHistory *victim = pool->by_size[pool->top];

    if (victim->oldest)
      drop_oldest (victim);
    else
      nat_history_clear (victim); /* indices without a packet */
    pool->evictions++;
  }
  for (guint n = 0; n < TRIM_AT_ONCE && pool->free && pool->n_resident > pool->limit; n++) {
    guint32 block = pop (pool, &pool->free);

    madvise (bytes_of (pool, block), NAT_HISTORY_BLOCK, MADV_DONTNEED);
    pool->blocks[block].next = pool->cold;
    pool->cold = block;
    pool->n_resident--;
  }
}

/* ---- The whole --------------------------------------------------------- */

void
nat_history_set_pool (NatHistory *h, NatHistoryPool *pool)
{
  g_assert (h->n_blocks == 0);
  h->pool = pool;
}

void
nat_history_clear (NatHistory *h)
{
  while (h->oldest)
    drop_oldest (h);
  for (NatHistorySource *s = h->sources; s; s = s->next)
    forget_source (h, s);
  h->span = 0;
}

void
nat_history_dispose (NatHistory *h)
{
  nat_history_clear (h);
  while (h->sources) {
    NatHistorySource *next = h->sources->next;
    g_free (h->sources);
    h->sources = next;
  }
}

gsize
nat_history_bytes (const NatHistory *h)
{
  return (gsize)h->n_blocks * NAT_HISTORY_BLOCK;
}

NatHistorySource *
nat_history_find_source (const NatHistory *h, guint32 ssrc)
{
  NatHistorySource *s = h->sources;

  while (s && s->ssrc != ssrc)
    s = s->next;
  return s;
}

NatHistorySource *
nat_history_add_source (NatHistory *h, guint32 ssrc)
{
  NatHistorySource *s = nat_history_find_source (h, ssrc);

  if (s)
    return s;
  s = g_new0 (NatHistorySource, 1);
  s->ssrc = ssrc;
  s->next = h->sources;
  h->sources = s;
  return s;
}

void
nat_history_remove_source (NatHistory *h, guint32 ssrc)
{
  for (NatHistorySource **link = &h->sources; *link; link = &(*link)->next) {
    NatHistorySource *s = *link;

    if (s->ssrc != ssrc)
      continue;
    *link = s->next;
    forget_source (h, s);
    g_free (s);
    return;
  }
}

/* ---- What may go ------------------------------------------------------- */

static guint64
lowest_pinned (const NatHistoryPin *p, gint64 now_us)
{
  return p->since_us > 0 && now_us - p->since_us <= 2 * PIN_US ? MIN (p->lowest, p->before)
                                                               : G_MAXUINT64;
}

/* The block with which the oldest picture begins that somebody may still want. */
static guint64
first_wanted (const NatHistory *h, gint64 now_us)
{
  guint64 serial = G_MAXUINT64;

  for (const NatHistorySource *s = h->sources; s; s = s->next) {
    if (s->has_start && now_us - s->start_us <= NAT_HISTORY_PICTURE_US)
      serial = MIN (serial, s->start.serial);
  }
  return MIN (serial, lowest_pinned (&h->pinned, now_us));
}

static gboolean
is_old (const NatHistory *h, const Block *b, gint64 now_us)
{
  return now_us - b->last_us > NAT_HISTORY_KEEP_US ||
         h->n_packets - b->last_packet > MAX (h->span, NAT_HISTORY_SPAN);
}

/* Before one more block is taken. */
static void
trim (NatHistory *h, gint64 now_us)
{
  guint64 wanted = first_wanted (h, now_us);

  for (guint n = 0; n < DROPS_AT_ONCE && h->oldest; n++) {
    const Block *b = &h->pool->blocks[h->oldest];

    if (h->n_packet_blocks < STREAM_MAX && (b->serial >= wanted || !is_old (h, b, now_us)))
      return;
    drop_oldest (h);
  }
}

void
nat_history_expire (NatHistory *h, gint64 now_us)
{
  guint64 wanted;

  if (h->n_blocks == 0)
    return;
  wanted = first_wanted (h, now_us);
  while (h->oldest && h->pool->blocks[h->oldest].serial < wanted &&
         is_old (h, &h->pool->blocks[h->oldest], now_us))
    drop_oldest (h);
  if (!h->oldest)
    nat_history_clear (h);
}

/* ---- Index ------------------------------------------------------------- */

static guint32 *
slot (const NatHistory *h, const NatHistorySource *s, guint64 seq)
{
  guint32 block = s->index[(seq & (s->span - 1)) / NAT_HISTORY_SPAN];

  return (guint32 *)(gpointer)bytes_of (h->pool, block) + seq % NAT_HISTORY_SPAN;
}

static guint32
new_index_block (NatHistory *h)
{
  guint32 block = take_block (h);

  if (block)
    memset (bytes_of (h->pool, block), 0, NAT_HISTORY_BLOCK);
  return block;
}

static void
forget_entries (NatHistory *h, NatHistorySource *s)
{
  for (guint i = 0; i < s->span / NAT_HISTORY_SPAN; i++)
    memset (bytes_of (h->pool, s->index[i]), 0, NAT_HISTORY_BLOCK);
}

/* Entries stand for the last numbers up to the highest, as many as the span; those of packets that are not
 * there are 0. */
static guint32 *
open_slot (NatHistory *h, NatHistorySource *s, guint64 seq)
{
  guint32 *entry = NULL;

  if (s->span == 0) {
    s->index[0] = new_index_block (h);
    if (!s->index[0])
      return NULL;
    s->span = NAT_HISTORY_SPAN;
    s->highest = seq;
    return slot (h, s, seq);
  }
  if (seq <= s->highest)
    return s->highest - seq < s->span ? slot (h, s, seq) : NULL;
  if (seq - s->highest >= s->span) {
    forget_entries (h, s);
    s->highest = seq - 1;
  }
  for (; s->highest < seq; *entry = 0)
    entry = slot (h, s, ++s->highest);
  return entry;
}

static Record *
record_of (const NatHistoryPool *pool, guint32 block, guint32 number)
{
  return (Record *)(gpointer)(bytes_of (pool, block) + NAT_HISTORY_BLOCK) - number - 1;
}

static const Record *
find (const NatHistory *h, const NatHistorySource *s, guint64 seq, NatHistoryPlace *place)
{
  const Record *r;
  const Block *b;
  guint32 entry;

  if (seq > s->highest || s->highest - seq >= s->span)
    return NULL;
  entry = *slot (h, s, seq);
  place->block = entry >> NUMBER_BITS;
  place->number = entry % PACKETS_MAX;
  b = &h->pool->blocks[place->block];
  if (entry == 0 || b->owner != h || place->number >= b->n)
    return NULL;
  place->serial = b->serial;
  r = record_of (h->pool, place->block, place->number);
  return r->seq == seq && r->ssrc == s->ssrc ? r : NULL;
}

static void
describe (const NatHistory *h, const Record *r, guint32 block, NatHistoryPacket *packet)
{
  nat_history_settle (h->pool);
  *packet = (NatHistoryPacket){.data = bytes_of (h->pool, block) + r->offset,
      .len = r->len,
      .ssrc = r->ssrc,
      .seq = r->seq,
      .arrived_us = r->arrived_us,
      .starts_picture = r->starts_picture};
}

gboolean
nat_history_find (
    const NatHistory *h, const NatHistorySource *source, guint64 seq, NatHistoryPacket *packet)
{
  NatHistoryPlace place;
  const Record *r = find (h, source, seq, &place);

  if (r)
    describe (h, r, place.block, packet);
  return r != NULL;
}

/* ---- More index -------------------------------------------------------- */

/* As many blocks more as there are; all or none. */
static gboolean
take_index (NatHistory *h, NatHistorySource *s, guint n)
{
  for (guint i = 0; i < n; i++) {
    s->index[n + i] = new_index_block (h);
    if (s->index[n + i])
      continue;
    while (i > 0)
      give_back (h, s->index[n + --i]);
    return FALSE;
  }
  return TRUE;
}

/* Of two numbers that shared an entry one has the bit that counts now: its entry is among the new ones. */
static void
double_span (NatHistory *h, NatHistorySource *s)
{
  guint32 span = s->span, entry;

  if (!take_index (h, s, span / NAT_HISTORY_SPAN))
    return;
  for (guint64 i = 0; i < span && i <= s->highest; i++) {
    guint64 seq = s->highest - i;

    if (!(seq & span))
      continue;
    s->span = span;
    entry = *slot (h, s, seq);
    *slot (h, s, seq) = 0;
    s->span = 2 * span;
    *slot (h, s, seq) = entry;
  }
  s->span = 2 * span;
  h->span = MAX (h->span, s->span);
}

/* Of the numbers up to the highest, how many somebody may ask for. */
static guint64
worth_finding (NatHistorySource *s, gint64 now_us)
{
  guint64 n = 0, pinned = lowest_pinned (&s->pinned, now_us);

  if (s->has_start && now_us - s->start_us <= NAT_HISTORY_PICTURE_US)
    n = s->highest - s->start_seq + 1;
  if (pinned <= s->highest)
    n = MAX (n, s->highest - pinned + 1);
  if (s->measured_us > 0 && now_us - s->measured_us < MEASURE_US)
    return n;
  if (s->measured_us > 0)
    n = MAX (n,
        (s->highest - s->measured_seq) * NAT_HISTORY_KEEP_US / (guint64)(now_us - s->measured_us));
  s->measured_us = now_us;
  s->measured_seq = s->highest;
  return n;
}

/* Before it is full. */
void
nat_history_grow (NatHistory *h, gint64 now_us)
{
  for (NatHistorySource *s = h->sources; s; s = s->next) {
    if (s->span > 0 && worth_finding (s, now_us) > s->span / 4 * 3 &&
        s->span < NAT_HISTORY_SPAN_MAX)
      double_span (h, s);
  }
}

/* ---- Keeping ----------------------------------------------------------- */

void
nat_history_settle (NatHistoryPool *pool)
{
  Run *run = &pool->run;

  if (run->len > 0)
    memcpy (run->to, run->from, run->len);
  run->len = 0;
}

static void
copy_later (NatHistoryPool *pool, guint32 block, guint8 *to, const guint8 *from, gsize len)
{
  Run *run = &pool->run;

  if (run->len > 0 && run->from + run->len == from && run->to + run->len == to) {
    run->len += len;
    return;
  }
  nat_history_settle (pool);
  *run = (Run){to, from, len, block};
}

static gboolean
has_room (const Block *b, gsize len)
{
  return b->n < PACKETS_MAX && b->used + len + (b->n + 1U) * sizeof (Record) <= NAT_HISTORY_BLOCK;
}

/* The block that has room for one more. */
static Block *
make_space (NatHistory *h, gsize len, gint64 now_us)
{
  Block *b = h->newest ? &h->pool->blocks[h->newest] : NULL;
  guint32 block;

  if (b && has_room (b, len))
    return b;
  trim (h, now_us);
  block = take_block (h);
  if (!block)
    return NULL;
  h->pool->blocks[block].owner = h;
  if (h->newest)
    h->pool->blocks[h->newest].next = block;
  else
    h->oldest = block;
  h->newest = block;
  h->n_packet_blocks++;
  return &h->pool->blocks[block];
}

static gboolean
is_before (const NatHistoryPlace *a, const NatHistoryPlace *b)
{
  return a->serial < b->serial || (a->serial == b->serial && a->number < b->number);
}

/* Reordered or repaired, it may come after others of its picture: reading begins with the first. */
static void
note_start (NatHistory *h, NatHistorySource *s, guint64 seq, NatHistoryPlace place, gint64 now_us)
{
  NatHistoryPlace other;

  if (s->has_start && s->start_seq > seq)
    return;
  for (guint64 i = seq + 1; i <= MIN (seq + LATE_START, s->highest); i++) {
    if (find (h, s, i, &other) && is_before (&other, &place))
      place = other;
  }
  s->has_start = TRUE;
  s->start_seq = seq;
  s->start_us = now_us;
  s->start = place;
}

gboolean
nat_history_append (NatHistory *h, NatHistorySource *source, guint64 seq, const guint8 *data,
    gsize len, gboolean starts_picture, gint64 now_us)
{
  NatHistoryPool *pool = h->pool;
  guint32 *entry;
  Block *b;

  if (!pool || len > NAT_DATAGRAM_MAX || !(entry = open_slot (h, source, seq)))
    return FALSE;
  b = make_space (h, len, now_us);
  if (!b)
    return FALSE;
  *entry = h->newest << NUMBER_BITS | b->n;
  *record_of (pool, h->newest, b->n) =
      (Record){now_us, seq, source->ssrc, b->used, (guint16)len, starts_picture != FALSE};
  __builtin_prefetch (record_of (pool, h->newest, b->n + AHEAD), 1);
  copy_later (pool, h->newest, bytes_of (pool, h->newest) + b->used, data, len);
  if (starts_picture)
    note_start (h, source, seq, (NatHistoryPlace){b->serial, h->newest, b->n}, now_us);
  b->used += (guint16)len;
  b->n++;
  b->last_us = now_us;
  b->last_packet = ++h->n_packets;
  return TRUE;
}

/* ---- Reading ----------------------------------------------------------- */

void
nat_history_restart (NatHistorySource *source)
{
  source->has_start = FALSE;
}

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
cost_of (const Block *b)
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
static const Record *
step (const NatHistory *h, NatHistoryPlace *place)
{
  const Block *b = &h->pool->blocks[place->block];

  if (place->number >= b->n) {
    if (b->next == 0)
      return NULL;
    place->block = b->next;
    place->serial = h->pool->blocks[b->next].serial;
    place->number = 0;
  }
  return record_of (h->pool, place->block, place->number++);
}

NatHistoryStep
nat_history_read (const NatHistory *h, NatHistoryReader *reader, NatHistoryPacket *packet)
{
  const Block *b = h->pool ? &h->pool->blocks[reader->place.block] : NULL;
  const Record *r;

  if (!b || b->owner != h || b->serial != reader->place.serial)
    return NAT_HISTORY_GONE;
  while ((r = step (h, &reader->place))) {
    if (reader->source && (r->ssrc != reader->source->ssrc || r->seq < reader->from))
      continue;
    describe (h, r, reader->place.block, packet);
    return NAT_HISTORY_PACKET;
  }
  return NAT_HISTORY_EDGE;
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
