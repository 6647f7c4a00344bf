/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How long an answer takes, smoothed as RFC 6298 section 2 does. Microseconds. */

#include <glib.h>
#include <stdlib.h>

G_BEGIN_DECLS

#define NAT_ROUND_TRIP_INITIAL_US (100 * 1000)
#define NAT_ROUND_TRIP_MAX_US     (1000 * 1000)

typedef struct {
  gint64 smoothed_us, variation_us;
  gboolean measured;
} NatRoundTrip;

static inline void
nat_round_trip_init (NatRoundTrip *rt)
{
  *rt = (NatRoundTrip){.smoothed_us = NAT_ROUND_TRIP_INITIAL_US};
}

/* Not of a question that was repeated: nobody knows which one was answered. */
static inline void
nat_round_trip_sample (NatRoundTrip *rt, gint64 us)
{
  us = CLAMP (us, 1, NAT_ROUND_TRIP_MAX_US);
  if (!rt->measured) {
    *rt = (NatRoundTrip){us, us / 2, TRUE};
    return;
  }
  rt->variation_us += (llabs (rt->smoothed_us - us) - rt->variation_us) / 4;
  rt->smoothed_us += (us - rt->smoothed_us) / 8;
}

/* Of a challenge on another way than before. Its answer may have been repeated, or held back for the head start of a way that
 * did not come up: that is an answer too late by hundreds of milliseconds, and none is too early. */
static inline void
nat_round_trip_moved (NatRoundTrip *rt, gint64 us)
{
  if (us >= rt->smoothed_us)
    return;
  rt->measured = FALSE;
  nat_round_trip_sample (rt, us);
}

G_END_DECLS
