/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How many connections each neighbour (neighbour.h) has, and each neighbourhood: an IPv4 address, or the /48 of an IPv6
 * address, which is what some customers have, of 65,536 neighbours. A neighbour has a limit of his own; where all is taken,
 * whose neighbourhood has most makes room. */

#include <glib.h>
#include "natproto/address.h"

G_BEGIN_DECLS

/* Each lives while it has connections. */
typedef struct {
  guint64 key;
  guint connections;
  guint newcomers; /* of them: that proved nothing yet. The owner's to count */
} NatNeighbourhood;

typedef struct {
  guint64 key;
  guint connections;
  NatNeighbourhood *hood;
} NatNeighbour;

typedef struct _NatNeighbours NatNeighbours; /* one thread, but for its making: that is control's */

NatNeighbours *nat_neighbours_new (void);
void nat_neighbours_free (NatNeighbours *table);
/* One connection more. */
NatNeighbour *nat_neighbours_join (NatNeighbours *table, const NatAddress *peer);
void nat_neighbours_leave (NatNeighbours *table, NatNeighbour *neighbour);

G_END_DECLS
