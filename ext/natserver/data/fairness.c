/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What one stream may cost goes down by a quarter in each window in which the worker is behind, and up by an eighth in each in
 * which it has a quarter of its time left: who costs less than that notices nothing. It never goes below what a stream costs on average,
 * since then it is not some that cost too much. */

#include "natserver/data/fairness.h"

void
nat_fairness_init (NatFairness *f)
{
  *f = (NatFairness){.window = 1, .most = G_MAXUINT32};
}

/* Video may have three quarters of it, as of a send buffer. */
static guint32
share_of (const NatFairness *f, NatRank rank)
{
  return rank == NAT_RANK_VIDEO ? f->most - f->most / 4 : f->most;
}

/* By what they want, since what they were given becomes less with each window. Whoever sends alone takes nothing from anybody. */
static gboolean
are_equals (const NatFairness *f)
{
  return f->n <= 1 || (guint64)f->top * f->n <= f->wanted + f->wanted / 3;
}

static guint32
less (const NatFairness *f)
{
  guint64 most = nat_fairness_limits (f) ? f->most / 4 * 3 : f->top;
  guint64 average = f->n > 0 ? f->cost / f->n : 0;

  return are_equals (f) ? G_MAXUINT32
                        : (guint32)MIN (MAX (most, average + average / 3 + 1), G_MAXUINT32 - 1);
}

static guint32
more (const NatFairness *f, gboolean busy)
{
  if (!f->shed || f->most >= G_MAXUINT32 / 2)
    return G_MAXUINT32;
  return busy ? f->most : f->most + f->most / 8 + 1;
}

void
nat_fairness_turn (NatFairness *f, gboolean pressed, gint64 now_us)
{
  gint64 took_us = now_us - f->since_us;
  gboolean sends = f->watching && f->sending_us >= took_us / 2;
  guint32 most = pressed && sends ? less (f) : more (f, f->sending_us >= took_us / 4 * 3);

  *f = (NatFairness){.window = f->window + 1,
      .most = most,
      .watching = pressed || most != G_MAXUINT32,
      .since_us = now_us};
}

gboolean
nat_fairness_takes (NatFairness *f, NatShare *share, NatRank rank, guint cost)
{
  /* The first packet of a window in any case, which alone may cost more. */
  if (share->window == f->window && share->cost + cost > share_of (f, rank)) {
    f->shed = TRUE;
    nat_fairness_want (f, share, cost);
    return FALSE;
  }
  nat_fairness_note (f, share, cost);
  return TRUE;
}

/* If it was the first of its window, the next is. */
void
nat_fairness_give_back (NatFairness *f, NatShare *share, guint cost)
{
  share->cost -= cost;
  share->wanted -= cost;
  f->cost -= cost;
  f->wanted -= cost;
  if (share->cost > 0)
    return;
  *share = (NatShare){0};
  f->n--;
}
