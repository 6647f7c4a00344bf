/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A ring between exactly one writing and one reading thread: fixed-size items, copied in and
 * out, no lock. The descriptor is readable while items may wait, so that either side can sleep
 * in poll. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct _NatRing NatRing;

/* capacity: a power of two. NULL when the system has no descriptor left. */
NatRing *nat_ring_new (gsize item_size, guint capacity);
void nat_ring_free (NatRing *ring); /* wipes what is in it */

/* Writer's side. FALSE: full. */
gboolean nat_ring_push (NatRing *ring, gconstpointer item);
guint nat_ring_space (NatRing *ring);         /* items that surely fit now */
gboolean nat_ring_is_drained (NatRing *ring); /* the reader took all */
/* Wakes the reader; push does so by itself. */
void nat_ring_wake (NatRing *ring);

/* Reader's side. FALSE: empty, and then the descriptor is cleared. */
gboolean nat_ring_pop (NatRing *ring, gpointer item);
gboolean nat_ring_waiting (NatRing *ring); /* a look that costs no system call */
int nat_ring_fd (NatRing *ring);

G_END_DECLS
