/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Open addressing with linear probing. Strangers choose no ids, so their own bits are the hash. A slot is
 * never 0, as no reason is. */

#include "natserver/data/endedset.h"

#include <string.h>

#define REASON_MASK    7u
#define FIRST_CAPACITY 64                          /* slots; a power of 2, like all */
#define GENERATIONS    3                           /* one more than an hour's ends fall into */
#define SPAN_S         (NAT_TICKET_LIFETIME_S / 2) /* of the ends in one generation */

G_STATIC_ASSERT (NAT_REASON_REVOKED <= REASON_MASK && NAT_REASON_NONE == 0);

typedef struct {
  guint64 *slots;
  guint capacity, n;
  gint64 first_s, last_s; /* ends of tickets: of the first that came, the latest */
} Generation;

struct _NatEndedSet {
  Generation list[GENERATIONS]; /* oldest first */
  guint n;
  Generation brief; /* until the next pruning */
};

NatEndedSet *
nat_ended_set_new (void)
{
  return g_new0 (NatEndedSet, 1);
}

void
nat_ended_set_free (NatEndedSet *set)
{
  for (guint i = 0; i < set->n; i++)
    g_free (set->list[i].slots);
  g_free (set->brief.slots);
  g_free (set);
}

static guint64
bits_of (const guint8 id[NAT_SESSION_ID_SIZE])
{
  guint64 bits;

  memcpy (&bits, id, sizeof bits);
  return bits & ~(guint64)REASON_MASK;
}

/* The slot of the id, or the free one where it would go. */
static guint64 *
slot_of (const Generation *g, guint64 bits)
{
  guint at = (guint)(bits >> 32) & (g->capacity - 1);

  while (g->slots[at] != 0 && (g->slots[at] & ~(guint64)REASON_MASK) != bits)
    at = (at + 1) & (g->capacity - 1);
  return &g->slots[at];
}

static void
grow (Generation *g)
{
  Generation old = *g;

  g->capacity = MAX (2 * old.capacity, FIRST_CAPACITY);
  g->slots = g_new0 (guint64, g->capacity);
  for (guint i = 0; i < old.capacity; i++) {
    if (old.slots[i] != 0)
      *slot_of (g, old.slots[i] & ~(guint64)REASON_MASK) = old.slots[i];
  }
  g_free (old.slots);
}

static Generation *
generation_for (NatEndedSet *set, gint64 until_s)
{
  Generation *newest = set->n > 0 ? &set->list[set->n - 1] : NULL;

  /* Where clocks jump there may be no other left: the newest then lives longer. */
  if (newest != NULL && (until_s - newest->first_s < SPAN_S || set->n == GENERATIONS))
    return newest;
  newest = &set->list[set->n++];
  *newest = (Generation){.first_s = until_s, .last_s = until_s};
  return newest;
}

void
nat_ended_set_add (
    NatEndedSet *set, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s)
{
  Generation *g;
  guint64 *slot;

  g_return_if_fail (reason != NAT_REASON_NONE && reason <= REASON_MASK);
  g = until_s > 0 ? generation_for (set, until_s) : &set->brief;
  g->last_s = MAX (g->last_s, until_s);
  if (4 * (g->n + 1) > 3 * g->capacity)
    grow (g);
  slot = slot_of (g, bits_of (id));
  g->n += *slot == 0;
  *slot = bits_of (id) | reason;
}

static NatReason
find (const Generation *g, const guint8 id[NAT_SESSION_ID_SIZE])
{
  return g->capacity > 0 ? (NatReason)(*slot_of (g, bits_of (id)) & REASON_MASK) : NAT_REASON_NONE;
}

NatReason
nat_ended_set_find (const NatEndedSet *set, const guint8 id[NAT_SESSION_ID_SIZE])
{
  NatReason reason = NAT_REASON_NONE;

  for (guint i = set->n; i > 0 && reason == NAT_REASON_NONE; i--)
    reason = find (&set->list[i - 1], id);
  return reason ? reason : find (&set->brief, id);
}

void
nat_ended_set_prune (NatEndedSet *set, gint64 now_s)
{
  guint kept = 0;

  for (guint i = 0; i < set->n; i++) {
    if (set->list[i].last_s <= now_s)
      g_free (set->list[i].slots);
    else
      set->list[kept++] = set->list[i];
  }
  set->n = kept;
  g_free (set->brief.slots);
  memset (&set->brief, 0, sizeof set->brief);
}

guint
nat_ended_set_size (const NatEndedSet *set)
{
  guint n = set->brief.n;

  for (guint i = 0; i < set->n; i++)
    n += set->list[i].n;
  return n;
}

gsize
nat_ended_set_bytes (const NatEndedSet *set)
{
  gsize bytes = set->brief.capacity * sizeof (guint64);

  for (guint i = 0; i < set->n; i++)
    bytes += set->list[i].capacity * sizeof (guint64);
  return bytes;
}
