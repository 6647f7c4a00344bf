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

static void
free_session (gpointer data)
{
  NatSessionSnapshot *s = data;

  nat_session_counters_unref (s->counters);
  g_free (s->stream);
  g_free (s->subject);
  g_free (s);
}

static void
free_stream (gpointer data)
{
  NatStreamSnapshot *s = data;

  nat_session_counters_unref (s->past);
  g_free (s->name);
  g_free (s);
}

NatSnapshot *
nat_snapshot_new (void)
{
  NatSnapshot *s = g_new0 (NatSnapshot, 1);

  s->streams = g_ptr_array_new_with_free_func (free_stream);
  s->sessions = g_ptr_array_new_with_free_func (free_session);
  return s;
}

void
nat_snapshot_free (NatSnapshot *s)
{
  if (!s)
    return;
  nat_session_counters_unref (s->past);
  g_ptr_array_unref (s->streams);
  g_ptr_array_unref (s->sessions);
  g_free (s);
}
