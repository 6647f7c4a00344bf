/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/neighbours.h"

#include <string.h>

#include "natproto/neighbour.h"

#define HOOD_BYTES 6 /* of an IPv6 address: a /48 */

struct _NatNeighbours {
  GHashTable *by_key, *hoods;
};

NatNeighbours *
nat_neighbours_new (void)
{
  NatNeighbours *table = g_new0 (NatNeighbours, 1);
  guint64 key = 0;

  nat_neighbour_hash (&key); /* draws its secret, which all threads read from then on */
  table->by_key = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, NULL, g_free);
  table->hoods = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, NULL, g_free);
  return table;
}

void
nat_neighbours_free (NatNeighbours *table)
{
  g_hash_table_unref (table->by_key);
  g_hash_table_unref (table->hoods);
  g_free (table);
}

static NatNeighbourhood *
hood_of (NatNeighbours *table, const NatAddress *peer)
{
  NatAddress first = *peer;
  guint64 key;
  NatNeighbourhood *found;

  if (first.family == 6)
    memset (first.ip + HOOD_BYTES, 0, sizeof first.ip - HOOD_BYTES);
  key = nat_neighbour_key (&first);
  found = g_hash_table_lookup (table->hoods, &key);
  if (found == NULL) {
    found = g_new0 (NatNeighbourhood, 1);
    found->key = key;
    g_hash_table_insert (table->hoods, &found->key, found);
  }
  return found;
}

NatNeighbour *
nat_neighbours_join (NatNeighbours *table, const NatAddress *peer)
{
  guint64 key = nat_neighbour_key (peer);
  NatNeighbour *found = g_hash_table_lookup (table->by_key, &key);

  if (found == NULL) {
    found = g_new0 (NatNeighbour, 1);
    found->key = key;
    found->hood = hood_of (table, peer);
    g_hash_table_insert (table->by_key, &found->key, found);
  }
  found->connections++;
  found->hood->connections++;
  return found;
}

void
nat_neighbours_leave (NatNeighbours *table, NatNeighbour *neighbour)
{
  if (--neighbour->hood->connections == 0)
    g_hash_table_remove (table->hoods, &neighbour->hood->key);
  if (--neighbour->connections == 0)
    g_hash_table_remove (table->by_key, &neighbour->key);
}
