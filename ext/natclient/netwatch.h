/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Tells that something about this machine's networks changed: an interface, an address, a route. Not what: whoever
 * is told looks at what concerns him.
 *
 * GNetworkMonitor is refused for this. There is one in a process, its news come in the main context of whoever asked for
 * it first, and that need not run (or, if it were our thread's, would end with it). It tells of nothing but routes. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct _NatNetwatch NatNetwatch;

/* changed is called in context, a moment after the first of several changes. NULL: the system does not tell. */
NatNetwatch *nat_netwatch_new (
    GMainContext *context, void (*changed) (gpointer user), gpointer user);
void nat_netwatch_free (NatNetwatch *watch);

G_END_DECLS
