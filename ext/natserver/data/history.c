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

#include "natserver/data/history-private.h"
#include "natserver/data/historypool.h"

#define PACKETS_MAX   (1 << NAT_HISTORY_NUMBER_BITS)
#define MEASURE_US    (500 * 1000)
#define DROPS_AT_ONCE 4  /* for one packet: letting go of a long picture is spread out */
#define AHEAD         8  /* records, whose memory is fetched before it is written to */
#define LATE_START    16 /* packets that may have come before the one that starts their picture */

void
nat_history_drop_oldest (NatHistory *h)
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
  nat_history_pool_give_back (h, block);
}

static void
forget_source (NatHistory *h, NatHistorySource *s)
{
  s->has_start = FALSE;
  for (guint i = 0; i < s->span / NAT_HISTORY_SPAN; i++)
    nat_history_pool_give_back (h, s->index[i]);
  s->span = 0;
  s->measured_us = 0;
  s->pinned = (NatHistoryPin){0};
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
    nat_history_drop_oldest (h);
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

void
nat_history_restart (NatHistorySource *source)
{
  source->has_start = FALSE;
}

/* ---- What may go ------------------------------------------------------- */

/* The block with which the oldest picture begins that somebody may still want. */
static guint64
first_wanted (const NatHistory *h, gint64 now_us)
{
  guint64 serial = G_MAXUINT64;

  for (const NatHistorySource *s = h->sources; s; s = s->next) {
    if (s->has_start && now_us - s->start_us <= NAT_HISTORY_PICTURE_US)
      serial = MIN (serial, s->start.serial);
  }
  return MIN (serial, nat_history_pin_lowest (&h->pinned, now_us));
}

static gboolean
is_old (const NatHistory *h, const NatHistoryBlock *b, gint64 now_us)
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
    const NatHistoryBlock *b = &h->pool->blocks[h->oldest];

    if (h->n_packet_blocks < NAT_HISTORY_STREAM_BLOCKS &&
        (b->serial >= wanted || !is_old (h, b, now_us)))
      return;
    nat_history_drop_oldest (h);
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
    nat_history_drop_oldest (h);
  if (!h->oldest)
    nat_history_clear (h);
}

/* ---- Index ------------------------------------------------------------- */

static guint32 *
slot (const NatHistory *h, const NatHistorySource *s, guint64 seq)
{
  guint32 block = s->index[(seq & (s->span - 1)) / NAT_HISTORY_SPAN];

  return (guint32 *)(gpointer)nat_history_bytes_of (h->pool, block) + seq % NAT_HISTORY_SPAN;
}

static guint32
new_index_block (NatHistory *h)
{
  guint32 block = nat_history_pool_take (h);

  if (block)
    memset (nat_history_bytes_of (h->pool, block), 0, NAT_HISTORY_BLOCK);
  return block;
}

static void
forget_entries (NatHistory *h, NatHistorySource *s)
{
  for (guint i = 0; i < s->span / NAT_HISTORY_SPAN; i++)
    memset (nat_history_bytes_of (h->pool, s->index[i]), 0, NAT_HISTORY_BLOCK);
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

static const NatHistoryRecord *
find (const NatHistory *h, const NatHistorySource *s, guint64 seq, NatHistoryPlace *place)
{
  const NatHistoryRecord *r;
  const NatHistoryBlock *b;
  guint32 entry;

  if (seq > s->highest || s->highest - seq >= s->span)
    return NULL;
  entry = *slot (h, s, seq);
  place->block = entry >> NAT_HISTORY_NUMBER_BITS;
  place->number = entry % PACKETS_MAX;
  b = &h->pool->blocks[place->block];
  if (entry == 0 || b->owner != h || place->number >= b->n)
    return NULL;
  place->serial = b->serial;
  r = nat_history_record_of (h->pool, place->block, place->number);
  return r->seq == seq && r->ssrc == s->ssrc ? r : NULL;
}

gboolean
nat_history_find (
    const NatHistory *h, const NatHistorySource *source, guint64 seq, NatHistoryPacket *packet)
{
  NatHistoryPlace place;
  const NatHistoryRecord *r = find (h, source, seq, &place);

  if (r)
    nat_history_describe (h, r, place.block, packet);
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
      nat_history_pool_give_back (h, s->index[n + --i]);
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
  guint64 n = 0, pinned = nat_history_pin_lowest (&s->pinned, now_us);

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
  nat_history_run_copy (&pool->run);
}

static void
copy_later (NatHistoryPool *pool, guint32 block, guint8 *to, const guint8 *from, gsize len)
{
  NatHistoryRun *run = &pool->run;

  if (run->len > 0 && run->from + run->len == from && run->to + run->len == to) {
    run->len += len;
    return;
  }
  nat_history_run_copy (run);
  *run = (NatHistoryRun){to, from, len, block};
}

static gboolean
has_room (const NatHistoryBlock *b, gsize len)
{
  return b->n < PACKETS_MAX &&
         b->used + len + (b->n + 1U) * sizeof (NatHistoryRecord) <= NAT_HISTORY_BLOCK;
}

/* The block that has room for one more. */
static NatHistoryBlock *
make_space (NatHistory *h, gsize len, gint64 now_us)
{
  NatHistoryBlock *b = h->newest ? &h->pool->blocks[h->newest] : NULL;
  guint32 block;

  if (b && has_room (b, len))
    return b;
  trim (h, now_us);
  block = nat_history_pool_take (h);
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
  NatHistoryBlock *b;

  if (!pool || len > NAT_DATAGRAM_MAX || !(entry = open_slot (h, source, seq)))
    return FALSE;
  b = make_space (h, len, now_us);
  if (!b)
    return FALSE;
  *entry = h->newest << NAT_HISTORY_NUMBER_BITS | b->n;
  *nat_history_record_of (pool, h->newest, b->n) =
      (NatHistoryRecord){now_us, seq, source->ssrc, b->used, (guint16)len, starts_picture != FALSE};
  __builtin_prefetch (nat_history_record_of (pool, h->newest, b->n + AHEAD), 1);
  copy_later (pool, h->newest, nat_history_bytes_of (pool, h->newest) + b->used, data, len);
  if (starts_picture)
    note_start (h, source, seq, (NatHistoryPlace){b->serial, h->newest, b->n}, now_us);
  b->used += (guint16)len;
  b->n++;
  b->last_us = now_us;
  b->last_packet = ++h->n_packets;
  return TRUE;
}
