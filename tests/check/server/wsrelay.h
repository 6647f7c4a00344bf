/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A whole relay on loopback but for its negotiation: HTTPS port, the thread that has the WebSockets, and the data
 * plane behind it. */

#include "datarelay.h"
#include "natserver/control/wsserver.h"

G_BEGIN_DECLS

typedef struct {
  DataRelay *r;
  NatTlsIdentity *identity;
  NatHttpServer *http;
  NatWsServer *server;
  NatWebsocketCounters *counters;
  NatAddress address; /* HTTPS */
  GMainLoop *loop;
  GThread *thread; /* control's */
} WsRelay;

void ws_relay_start (WsRelay *f, const NatWsLimits *limits);
/* A test may have freed server itself, and set it to NULL. */
void ws_relay_stop (WsRelay *f);
/* Adds a session and registers p, whatever carries it, as its client, selected. Returns p. */
NatProbe *ws_relay_register (WsRelay *f, NatProbe *p, NatTicket *ticket);

G_END_DECLS
