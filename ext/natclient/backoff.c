/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/backoff.h"

#define LONGEST_S   3600.0
#define SHORTEST_MS 10 /* also with a factor of 0, a dead relay is not hammered */

static guint
seconds_to_ms (gdouble s)
{
  return (guint)(CLAMP (s, 0.0, LONGEST_S) * 1000.0);
}

void
nat_backoff_init (NatBackoff *b, gdouble factor_s, gdouble max_s)
{
  b->first_ms = MAX (seconds_to_ms (factor_s), SHORTEST_MS);
  b->max_ms = MAX (seconds_to_ms (max_s), SHORTEST_MS);
  b->waits = 0;
}

void
nat_backoff_reset (NatBackoff *b)
{
  b->waits = 0;
}

guint
nat_backoff_next (NatBackoff *b, guint32 random)
{
  guint64 step = b->first_ms;
  guint shift = MIN (b->waits, 24);
  guint64 half;

  step = MIN (step << shift, b->max_ms);
  b->waits++;
  half = step / 2;
  /* Scaled, not modulo: every value in the upper half is as likely as another. */
  return (guint)(half + (((step - half) * (guint64)random) >> 32));
}
