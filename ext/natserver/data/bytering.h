/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A ring of letters of any length between exactly one writing and one reading thread, without a lock: written
 * in place, read in place. ring.h is the one for items of one size, which are copied and wake the reader. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct _NatByteRing NatByteRing;

/* capacity: bytes, a power of two from 64 to 2^30. The memory is the system's until it is first written. */
NatByteRing *nat_byte_ring_new (guint32 capacity);
void nat_byte_ring_free (NatByteRing *ring); /* NULL is allowed */

/* Writer's side. Room for size bytes (aligned to 8) for a letter that the reader sees after the commit; NULL:
 * there is none. fill: of all bytes, so many may be in use with it; at most the capacity. */
gpointer nat_byte_ring_reserve (NatByteRing *ring, guint32 size, guint32 fill);
void nat_byte_ring_commit (NatByteRing *ring);

/* Reader's side. The oldest letter, NULL: there is none. It stays until its release. */
gpointer nat_byte_ring_peek (NatByteRing *ring);
void nat_byte_ring_release (NatByteRing *ring);

G_END_DECLS
