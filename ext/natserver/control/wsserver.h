/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The thread that has the WebSocket connections: it passes datagrams between them and the data plane, and
 * ends those that nobody needs. docs/design/websocket.md says why it is a thread of its own. */

#include "natserver/control/httpserver.h"
#include "natserver/counters.h"
#include "natserver/data/dataplane.h"

G_BEGIN_DECLS

typedef struct {
  guint connections;             /* at a time, in all */
  guint connections_per_address; /* IPv6: per /64 */
  guint strangers;    /* without a Binding yet; one more closes the oldest of whoever has most */
  gint64 stranger_us; /* from the Upgrade to the first accepted Binding */
  gint64 consent_us;  /* from each of those to the next */
} NatWsLimits;

#define NAT_WS_STRANGERS 256

typedef struct _NatWsServer NatWsServer;

/* Starts the thread. The tunnel outlives it. */
NatWsServer *nat_ws_server_new (const NatWsLimits *limits, NatTunnel *tunnel, GError **error);
/* Says goodbye to all, within 200 ms. After nat_dataplane_stop, so that its last words get there. */
void nat_ws_server_free (NatWsServer *server);
void nat_ws_server_set_limits (NatWsServer *server, const NatWsLimits *limits);
/* FALSE: as many are there as may be. */
gboolean nat_ws_server_has_room (NatWsServer *server);
/* A NatHttpTaker; user is the NatWsServer. */
void nat_ws_server_take (NatHttpTaken *taken, gpointer server);
NatWebsocketCounters *nat_ws_server_counters (NatWsServer *server);

G_END_DECLS
