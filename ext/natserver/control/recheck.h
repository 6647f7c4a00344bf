/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The callback that let a session in is asked again when its answer has run out, as long as the session lives: a later no
 * ends it. While there is no answer at all the session goes on for a grace, for a callback that restarts
 * shall not end every stream; after that it ends, too. */

#include "natserver/control/callback.h"
#include "natserver/control/registry.h"

G_BEGIN_DECLS

#define NAT_RECHECK_LOOKS_AT_ONCE 4096 /* at sessions: one millisecond */

typedef struct _NatRecheck NatRecheck;
/* Both are borrowed. */
NatRecheck *nat_recheck_new (NatRegistry *registry, NatCallback *callback);
void nat_recheck_free (NatRecheck *c);
/* Asks about sessions whose decision ran out; about once a second. grace_s: that a session outlives a callback that
 * does not answer. TRUE: there are so many that some are not looked at yet, by nat_recheck_go_on, NAT_REGISTRY_SOON_MS from
 * now. */
gboolean nat_recheck_tick (NatRecheck *c, NatTime now, guint grace_s);
gboolean nat_recheck_go_on (NatRecheck *c, NatTime now); /* TRUE: as above */
/* The callback has answered (nat_callback_new). */
void nat_recheck_answered (NatRecheck *c, NatTime now, gconstpointer what);

G_END_DECLS
