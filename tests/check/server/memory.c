/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The account alone, over a process whose size the test says. */

#include "natserver/control/memory.h"

#define MIB ((guint64)1 << 20)

typedef struct {
  guint64 resident, cached;
  guint measured;
} Process;

static gboolean
measure (guint64 *resident, guint64 *cached, gpointer user)
{
  Process *p = user;

  *resident = p->resident;
  *cached = p->cached;
  p->measured++;
  return TRUE;
}

static NatMemory *
memory_of (Process *p, guint64 bound, guint64 cache)
{
  NatMemoryConfig config = {
      .bound = bound, .fixed = 16 * MIB, .cache = cache, .measure = measure, .user = p};

  return nat_memory_new (&config);
}

static NatMemoryStats
stats_of (NatMemory *m)
{
  NatMemoryStats stats;

  nat_memory_get_stats (m, &stats);
  return stats;
}

/* Takes until it is refused; how much that was, and the process grows by as much. */
static guint64
take_all (NatMemory *m, Process *p, guint64 each)
{
  guint64 all = 0;

  while (nat_memory_take (m, each)) {
    all += each;
    p->resident += each;
    g_assert_cmpuint (p->resident + 16 * MIB, <=, stats_of (m).bound);
  }
  return all;
}

/* What the cache has is not in others' way, but for its least; and it is told what is left. */
static void
test_cache_makes_room (void)
{
  Process p = {20 * MIB, 0, 0};
  NatMemory *m = memory_of (&p, 256 * MIB, 128 * MIB);
  guint64 all;

  g_assert_cmpuint (stats_of (m).cache, ==, 128 * MIB);
  p.resident += 128 * MIB;
  p.cached = 128 * MIB;
  nat_memory_measure (m);
  g_assert_cmpuint (stats_of (m).cache, ==, 128 * MIB);
  /* 256, less 16 fixed, 20 that were there, a 16th for surprises, and 16 that the cache keeps. */
  p.resident -= 128 * MIB;
  p.cached = 0;
  all = take_all (m, &p, MIB / 2);
  g_assert_cmpuint (all, <=, (256 - 16 - 20 - 16 - 16) * MIB);
  g_assert_cmpuint (all, >=, (256 - 16 - 20 - 16 - 16 - 2) * MIB);
  g_assert_cmpuint (stats_of (m).refused, ==, 1);
  g_assert_cmpuint (stats_of (m).cache, <=, 18 * MIB);
  g_assert_cmpuint (stats_of (m).cache, >=, 16 * MIB);
  p.resident = 20 * MIB;
  nat_memory_measure (m);
  g_assert_true (nat_memory_take (m, 100 * MIB));
  nat_memory_free (m);
}

/* Nothing is given twice, however seldom the system is asked; and what was announced and did not come is free again. */
static void
test_between_two_looks (void)
{
  Process p = {20 * MIB, 0, 0};
  NatMemory *m = memory_of (&p, 256 * MIB, 0);
  guint64 all = 0;

  while (nat_memory_take (m, 100 * MIB)) {
    all += 100 * MIB;
    p.resident += 100 * MIB;
  }
  g_assert_cmpuint (all, ==, 200 * MIB);
  nat_memory_measure (m);
  p.resident = 20 * MIB;
  g_assert_false (nat_memory_take (m, 100 * MIB));
  nat_memory_measure (m);
  g_assert_true (nat_memory_take (m, 100 * MIB));
  nat_memory_measure (m);
  g_assert_true (nat_memory_take (m, 200 * MIB));
  nat_memory_free (m);
}

/* What those who are there may come to take is kept for them. */
static void
test_promises (void)
{
  Process p = {20 * MIB, 0, 0};
  NatMemory *m = memory_of (&p, 256 * MIB, 0);

  nat_memory_promise (m, (gint64)(150 * MIB));
  nat_memory_measure (m);
  g_assert_false (nat_memory_take (m, 100 * MIB));
  g_assert_true (nat_memory_take (m, 50 * MIB));
  nat_memory_promise (m, -(gint64)(100 * MIB));
  g_assert_true (nat_memory_take (m, 100 * MIB));
  nat_memory_spend (m, 300 * MIB);
  g_assert_true (stats_of (m).is_full);
  nat_memory_measure (m);
  g_assert_false (stats_of (m).is_full);
  nat_memory_free (m);
  g_assert_true (nat_memory_take (NULL, G_MAXUINT64));
  nat_memory_spend (NULL, 1);
  nat_memory_promise (NULL, 1);
}

static void
test_the_system (void)
{
  guint64 before = 0, after = 0;
  gsize n = 64 * MIB;
  guint8 *bytes;

  g_assert_true (nat_memory_resident (&before));
  bytes = g_malloc (n);
  for (gsize i = 0; i < n; i += 1024)
    *(volatile guint8 *)(bytes + i) = 1;
  g_assert_true (nat_memory_resident (&after));
  g_assert_cmpuint (after, >=, before + n / 2);
  g_free (bytes);
  g_assert_cmpuint (nat_memory_of_machine (), >=, 16 * MIB);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/memory/cache-makes-room", test_cache_makes_room);
  g_test_add_func ("/memory/between-two-looks", test_between_two_looks);
  g_test_add_func ("/memory/promises", test_promises);
  g_test_add_func ("/memory/the-system", test_the_system);
  return g_test_run ();
}
