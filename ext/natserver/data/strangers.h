/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How much is said to those who proved nothing: to each neighbour (IPv6: one /64), and in all. So one who asks without end
 * leaves the others theirs. Neighbours share buckets by a hash that nobody outside knows: 32 KiB whoever sends, and who is
 * unlucky shares with a flooder until the relay starts anew. Whoever forges addresses by the thousand meets the limit of all.
 *
 * A table of those who asked was refused: it would be full of whatever addresses somebody forges. */

#include "natproto/neighbour.h"
#include "natserver/data/limiter.h"

G_BEGIN_DECLS

#define NAT_STRANGERS_BITS 12

typedef struct {
  NatLimiter all;
  gint64 cost_us, span_us;                 /* of one answer to a neighbour; what may come at once */
  guint64 factor;                          /* odd, random */
  gint64 full_us[1 << NAT_STRANGERS_BITS]; /* until then all that was said is earned */
} NatStrangers;

/* Both rates in a second. At once: a quarter of a second of each, and one at least. */
static inline void
nat_strangers_init (NatStrangers *s, gint64 all, gint64 each, gint64 now_us)
{
  memset (s, 0, sizeof *s);
  all = MAX (all, 1);
  each = CLAMP (each, 1, G_USEC_PER_SEC);
  nat_limiter_init (&s->all, all, MAX (all / 4, 1), now_us);
  s->cost_us = G_USEC_PER_SEC / each;
  s->span_us = MAX (G_USEC_PER_SEC / 4, s->cost_us);
  nat_crypto_random (&s->factor, sizeof s->factor);
  s->factor |= 1;
}

/* One more may be said to whoever sent from there. */
static inline gboolean
nat_strangers_take (NatStrangers *s, const NatAddress *to, gint64 now_us)
{
  guint64 hash = nat_neighbour_key (to) * s->factor;
  gint64 *full_us = &s->full_us[(hash ^ hash >> 29) * s->factor >> (64 - NAT_STRANGERS_BITS)];
  gint64 after_us = MAX (*full_us, now_us) + s->cost_us;

  if (after_us - now_us > s->span_us || !nat_limiter_take (&s->all, now_us, 1))
    return FALSE;
  *full_us = after_us;
  return TRUE;
}

G_END_DECLS
