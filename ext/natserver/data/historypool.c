/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natserver/data/historypool.h"

#include <sys/mman.h>

#include "natserver/data/history-private.h"

#define BLOCKS_MAX   (G_MAXUINT32 >> NAT_HISTORY_NUMBER_BITS)
#define TRIM_AT_ONCE 256

NatHistoryPool *
nat_history_pool_new (gsize bytes)
{
  NatHistoryPool *pool = g_new0 (NatHistoryPool, 1);
  gsize descriptions;

  pool->n = (guint32)MIN (bytes / NAT_HISTORY_BLOCK, BLOCKS_MAX - 1);
  descriptions = ((gsize)pool->n + 1) * sizeof (NatHistoryBlock);
  descriptions = (descriptions + NAT_HISTORY_BLOCK - 1) & ~(gsize)(NAT_HISTORY_BLOCK - 1);
  pool->size = descriptions + ((gsize)pool->n + 1) * NAT_HISTORY_BLOCK;
  pool->memory = mmap (
      NULL, pool->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pool->memory == MAP_FAILED) {
    g_free (pool);
    return NULL;
  }
  pool->limit = pool->n;
  pool->blocks = (NatHistoryBlock *)(gpointer)pool->memory;
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
  pool->blocks[block] = (NatHistoryBlock){.serial = ++pool->serial};
  resize (h, 1);
  return block;
}

void
nat_history_pool_give_back (NatHistory *h, guint32 block)
{
  NatHistoryBlock *b = &h->pool->blocks[block];

  if (h->pool->run.block == block)
    h->pool->run.len = 0; /* nobody will read it */
  b->owner = NULL;
  b->next = h->pool->free;
  h->pool->free = block;
  resize (h, -1);
}

static void
evict (NatHistory *victim)
{
  if (victim->oldest)
    nat_history_drop_oldest (victim);
  else
    nat_history_clear (victim); /* indices without a packet */
  victim->pool->evictions++;
}

/* The oldest goes of whoever has most, or one's own if that is no more. */
static gboolean
make_room (NatHistory *h)
{
  NatHistoryPool *pool = h->pool;
  NatHistory *victim = pool->top > h->n_blocks + 1 ? pool->by_size[pool->top] : h;

  if (victim == h && !h->oldest)
    return FALSE;
  evict (victim);
  return TRUE;
}

/* While the pool is on its way down to a lower limit, it grows by nothing, but goes on keeping what comes. */
guint32
nat_history_pool_take (NatHistory *h)
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
  for (guint n = 0; n < TRIM_AT_ONCE && pool->n_used > pool->limit; n++)
    evict (pool->by_size[pool->top]);
  for (guint n = 0; n < TRIM_AT_ONCE && pool->free && pool->n_resident > pool->limit; n++) {
    guint32 block = pop (pool, &pool->free);

    madvise (nat_history_bytes_of (pool, block), NAT_HISTORY_BLOCK, MADV_DONTNEED);
    pool->blocks[block].next = pool->cold;
    pool->cold = block;
    pool->n_resident--;
  }
}
