/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One bound for all memory of the relay, under any traffic (docs/design/memory.md). What the system says that the process has
 * is the truth, and is looked at every second and whenever much was given since; what was given since then is added to it, and what
 * may become of sessions that are there is set aside for them. The cache of packets gets what is left, and gives it back first; when it
 * has its least, whoever wants something new is refused. Control's thread.
 *
 * An account of every allocation was refused: it would be wrong by what the allocator and the libraries take, and a bound that
 * is kept on paper only stops no OOM killer. */

#include <glib.h>

G_BEGIN_DECLS

/* All in bytes. */
typedef struct {
  guint64 bound;
  guint64 fixed; /* that the process may touch at any time without asking: rings, queues */
  guint64 cache; /* the most that the cache may have */
  /* What the process has, and the cache of it; FALSE: the system does not say. */
  gboolean (*measure) (guint64 *resident, guint64 *cached, gpointer user);
  gpointer user;
} NatMemoryConfig;

typedef struct _NatMemory NatMemory;

NatMemory *nat_memory_new (const NatMemoryConfig *config);
void nat_memory_free (NatMemory *m);

/* About once a second. */
void nat_memory_measure (NatMemory *m);
/* Something new that takes so much, soon. FALSE: it must not be; counted. m NULL: all may be. */
gboolean nat_memory_take (NatMemory *m, guint64 bytes);
/* The same for what cannot be refused any more. */
void nat_memory_spend (NatMemory *m, guint64 bytes);
/* So much more (or less) may be touched later by what is there now. */
void nat_memory_promise (NatMemory *m, gint64 change);

typedef struct {
  guint64 bound, resident;
  guint64 cache;    /* what the cache may have now */
  guint64 refused;  /* times that take said no */
  gboolean is_full; /* it would say no to anything */
} NatMemoryStats;
void nat_memory_get_stats (NatMemory *m, NatMemoryStats *stats);

/* What the process has, as the system says. */
gboolean nat_memory_resident (guint64 *bytes);
/* What this machine has, or the limit of the process's control group if that is less. */
guint64 nat_memory_of_machine (void);

G_END_DECLS
