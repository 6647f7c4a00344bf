/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/counters.h"

/* Aligned to cache lines: neighbours in memory may belong to another worker. */
typedef struct {
  _Alignas(64) NatSessionCounters counters; /* first: a pointer to it is a pointer to the box */
  atomic_uint references;
} Box;

NatSessionCounters *
nat_session_counters_new (void)
{
  Box *box = g_aligned_alloc0 (1, sizeof *box, 64);

  atomic_init (&box->references, 1);
  return &box->counters;
}

NatSessionCounters *
nat_session_counters_ref (NatSessionCounters *c)
{
  atomic_fetch_add_explicit (&((Box *)c)->references, 1, memory_order_relaxed);
  return c;
}

void
nat_session_counters_unref (NatSessionCounters *c)
{
  Box *box = (Box *)c;

  if (c && atomic_fetch_sub_explicit (&box->references, 1, memory_order_acq_rel) == 1)
    g_aligned_free (box);
}

/* ---- Sums -------------------------------------------------------------- */

void
nat_sums_add (NatSums *sums, const NatSessionCounters *c)
{
#define NAT_SESSION_COUNTER(name, unit, help) sums->name += nat_counter_get (&c->name);
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
}

void
nat_sums_join (NatSums *sums, const NatSums *more)
{
#define NAT_SESSION_COUNTER(name, unit, help) sums->name += more->name;
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
}
