/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/neighbours.h"

#include "natproto/neighbour.h"

struct _NatNeighbours {
  GHashTable *by_key;
};

NatNeighbours *
nat_neighbours_new (void)
{
  NatNeighbours *table = g_new0 (NatNeighbours, 1);
  guint64 key = 0;

  nat_neighbour_hash (&key); /* draws its secret, which all threads read from then on */
  table->by_key = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, NULL, g_free);
  return table;
}

void
nat_neighbours_free (NatNeighbours *table)
{
  g_hash_table_unref (table->by_key);
  g_free (table);
}

NatNeighbour *
nat_neighbours_join (NatNeighbours *table, const NatAddress *peer)
{
  guint64 key = nat_neighbour_key (peer);
  NatNeighbour *found = g_hash_table_lookup (table->by_key, &key);

  if (found == NULL) {
    found = g_new0 (NatNeighbour, 1);
    found->key = key;
    g_hash_table_insert (table->by_key, &found->key, found);
  }
  found->connections++;
  return found;
}

void
nat_neighbours_leave (NatNeighbours *table, NatNeighbour *neighbour)
{
  if (--neighbour->connections == 0)
    g_hash_table_remove (table->by_key, &neighbour->key);
}
