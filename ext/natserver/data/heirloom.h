/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The newest part of a history on its way from one worker's pool to another's: a copy that belongs to neither, and lives from
 * the hand-over until the new owner looks. */

#include "natserver/data/history.h"

G_BEGIN_DECLS

#define NAT_HEIRLOOM_MAX                                                                           \
  (2 * 1024 * 1024) /* bytes: a third of a millisecond to pack, one to unpack */

typedef struct _NatHeirloom NatHeirloom;

/* Of what can be found in h, the newest of no more than so many bytes. NULL: there is none. */
NatHeirloom *nat_heirloom_new (const NatHistory *h, gsize bytes);
void nat_heirloom_free (NatHeirloom *heirloom);
gsize nat_heirloom_size (
    const NatHeirloom *heirloom); /* as nat_history_read_newest counts; 0 for NULL */
/* Into h, which has the same sources and no packet yet, as far as its pool has room for a stream: the newest that so many bytes may
 * be spent on. Returns how many were. */
gsize nat_heirloom_unpack (const NatHeirloom *heirloom, NatHistory *h, gsize bytes);

G_END_DECLS
