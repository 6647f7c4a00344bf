/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Which registered path does this datagram come on? One look-up per received packet, among
 * a hundred thousand. Strangers choose addresses and ports, so the hash is keyed. */

#include <glib.h>
#include "natserver/data/path.h"

G_BEGIN_DECLS

typedef struct _NatTable NatTable; /* one thread */

NatTable *nat_table_new (const guint8 hash_key[16]);
void nat_table_free (NatTable *table);

/* Keys belong to the caller, stay where they are while in the table, and are the first member
 * of what the caller wants to find. An equal key that is there already is replaced and returned. */
const NatPathKey *nat_table_insert (NatTable *table, const NatPathKey *key);
const NatPathKey *nat_table_find (const NatTable *table, const NatPathKey *key);
/* Takes out this very key (not just an equal one). FALSE: it is not in the table. */
gboolean nat_table_remove (NatTable *table, const NatPathKey *key);
guint nat_table_size (const NatTable *table);

G_END_DECLS
