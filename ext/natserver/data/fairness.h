/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Which streams give way when a worker cannot follow. A receive buffer that runs over loses what comes, without regard to
 * whose it is: one stream to a large audience would take nine packets of ten from all that come to the same socket.
 * Reading a packet costs next to nothing of what sending it to everybody does. So a worker that is behind, because it sends,
 * drops of the streams that cost most before they cost anything, so much that it follows: a stream that wants less
 * than the others loses nothing (max-min fairness). A worker that is behind for another reason drops nothing here.
 *
 * No clock and no I/O. While a worker follows, a packet and a batch pay a comparison each. */

#include <glib.h>

#include "natserver/data/rank.h"

G_BEGIN_DECLS

/* A stream's. Zeroed memory is one that cost nothing yet. */
typedef struct {
  guint32 window;
  guint32 cost;   /* datagrams that came or went in that window */
  guint32 wanted; /* the same, with those of what gave way */
} NatShare;

typedef struct {
  guint32 window; /* number of it */
  guint32 most;   /* that one stream may cost in a window; G_MAXUINT32 = as much as it likes */
  guint32 top, n; /* what was wanted of the dearest stream in this one; how many cost anything */
  guint64 cost, wanted;        /* of all streams, as of NatShare */
  gboolean shed;               /* somebody gave way */
  gboolean watching;           /* what streams cost, and how long sending takes, is wanted */
  gint64 since_us, sending_us; /* when the window began, and how much of it was sending */
} NatFairness;

void nat_fairness_init (NatFairness *f);
/* A window ends, and the next begins. pressed: datagrams pile up in front of the worker. */
void nat_fairness_turn (NatFairness *f, gboolean pressed, gint64 now_us);
/* While it limits: one more packet of the stream, which costs so much, may be sent; then that is noted. */
gboolean nat_fairness_takes (NatFairness *f, NatShare *share, NatRank rank, guint cost);
/* The packet that was taken last is not sent after all. */
void nat_fairness_give_back (NatFairness *f, NatShare *share, guint cost);

static inline gboolean
nat_fairness_limits (const NatFairness *f)
{
  return f->most != G_MAXUINT32;
}

/* Costs are to be noted, but by nat_fairness_takes. */
static inline gboolean
nat_fairness_wants_costs (const NatFairness *f)
{
  return f->watching && !nat_fairness_limits (f);
}

/* What they would cost, given way or not. */
static inline void
nat_fairness_want (NatFairness *f, NatShare *share, guint cost)
{
  share->wanted += cost;
  f->wanted += cost;
  f->top = MAX (f->top, share->wanted);
}

/* What a stream's packets cost. */
static inline void
nat_fairness_note (NatFairness *f, NatShare *share, guint cost)
{
  if (share->window != f->window) {
    *share = (NatShare){.window = f->window};
    f->n++;
  }
  share->cost += cost;
  f->cost += cost;
  nat_fairness_want (f, share, cost);
}

G_END_DECLS
