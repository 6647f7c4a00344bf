/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A token bucket: so many a second, and so many at once after a pause. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  gint64 rate;      /* tokens per second; 0 = no limit */
  gint64 burst;     /* tokens */
  gint64 level;     /* millionths of a token, so that nothing is lost between close calls */
  gint64 filled_us; /* when level was right */
} NatLimiter;

#define NAT_LIMITER_RATE_MAX (G_GINT64_CONSTANT (1) << 40)

static inline void
nat_limiter_init (NatLimiter *l, gint64 rate, gint64 burst, gint64 now_us)
{
  l->rate = MIN (rate, NAT_LIMITER_RATE_MAX);
  l->burst = MIN (burst, NAT_LIMITER_RATE_MAX);
  l->level = l->burst * G_USEC_PER_SEC;
  l->filled_us = now_us;
}

static inline void
nat_limiter_fill (NatLimiter *l, gint64 now_us)
{
  /* A second at most: keeps the product below in 64 bits. */
  gint64 elapsed = CLAMP (now_us - l->filled_us, 0, G_USEC_PER_SEC);

  l->level = MIN (l->level + elapsed * l->rate, l->burst * G_USEC_PER_SEC);
  l->filled_us = now_us;
}

/* Whole tokens that could be taken now. */
static inline gint64
nat_limiter_left (NatLimiter *l, gint64 now_us)
{
  if (l->rate == 0)
    return G_MAXINT64;
  nat_limiter_fill (l, now_us);
  return l->level / G_USEC_PER_SEC;
}

static inline gboolean
nat_limiter_take (NatLimiter *l, gint64 now_us, gint64 tokens)
{
  if (l->rate == 0)
    return TRUE;
  nat_limiter_fill (l, now_us);
  if (l->level < tokens * G_USEC_PER_SEC)
    return FALSE;
  l->level -= tokens * G_USEC_PER_SEC;
  return TRUE;
}

G_END_DECLS
