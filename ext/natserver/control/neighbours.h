/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How many connections each neighbour (neighbour.h) has. */

#include <glib.h>
#include "natproto/address.h"

G_BEGIN_DECLS

/* Lives while it has connections. */
typedef struct {
  guint64 key;
  guint connections;
  guint newcomers; /* of them: that proved nothing yet. The owner's to count */
} NatNeighbour;

typedef struct _NatNeighbours NatNeighbours; /* one thread, but for its making: that is control's */

NatNeighbours *nat_neighbours_new (void);
void nat_neighbours_free (NatNeighbours *table);
/* One connection more. */
NatNeighbour *nat_neighbours_join (NatNeighbours *table, const NatAddress *peer);
void nat_neighbours_leave (NatNeighbours *table, NatNeighbour *neighbour);

G_END_DECLS
