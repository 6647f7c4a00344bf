/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Plays the thread that has WebSocket clients' connections, without TLS and WebSocket: each connection is
 * a pair of sockets, of which a probe has one. */

#include "natserver/data/dataplane.h"
#include "probe.h"

G_BEGIN_DECLS

typedef struct _Carrier Carrier;

/* begin, if not NULL, is called first in its thread. */
Carrier *carrier_new (NatDataplane *dp, void (*begin) (void));
void carrier_free (Carrier *c); /* hangs up for all */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Carrier, carrier_free)

/* A client at remote ("198.51.100.7:4000"); freeing the probe hangs up. *connection may be NULL. */
NatProbe *carrier_connect (Carrier *c, const char *remote, guint32 *connection);
/* How often its Bindings were accepted. */
guint carrier_bound (Carrier *c, guint32 connection);
/* Letters fetched since the start, and connections in them. */
void carrier_count (Carrier *c, guint64 *letters, guint64 *to);
/* TRUE: fetches nothing any more. */
void carrier_stall (Carrier *c, gboolean stall);

G_END_DECLS
