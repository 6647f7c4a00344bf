/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Ids of sessions that ended before their tickets did, each in 8 bytes: 61 bits of the id and the reason.
 * An id is 16 random bytes that the relay drew, so 61 of its bits name it: among 1e6 ended ids and 1e5
 * live ones, the chance that one is taken for another is below 1e-7. A table is between 3/8 and 3/4
 * full, that is 11 to 21 bytes for an id (half as much again while it grows).
 *
 * They are kept in generations by the end of their tickets, and forgotten a generation at a time, when
 * the last ticket of it is over, without a pass over them. What a table costs is its growth, when all of
 * it moves: 4 ms at 100,000 ids, 30 ms at 800,000. One thread. */

#include <glib.h>
#include "natproto/messages.h"

G_BEGIN_DECLS

typedef struct _NatEndedSet NatEndedSet;

NatEndedSet *nat_ended_set_new (void);
void nat_ended_set_free (NatEndedSet *set);
/* until_s: Unix time, when the id's last ticket ends; it is kept until then at least. 0: until the next
 * pruning. */
void nat_ended_set_add (
    NatEndedSet *set, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s);
/* NAT_REASON_NONE: it is not there. */
NatReason nat_ended_set_find (const NatEndedSet *set, const guint8 id[NAT_SESSION_ID_SIZE]);
void nat_ended_set_prune (NatEndedSet *set, gint64 now_s);
guint nat_ended_set_size (const NatEndedSet *set);
gsize nat_ended_set_bytes (const NatEndedSet *set); /* of all its tables */

G_END_DECLS
