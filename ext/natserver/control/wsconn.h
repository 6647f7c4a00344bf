/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One WebSocket connection: its TLS, its frames, and what waits for it. One thread, no call waits. When it is
 * to be served, and for how long it may live, is wsserver.h's to say. */

#include "natserver/control/httpserver.h"
#include "natserver/control/websocket.h"
#include "natserver/control/wsqueue.h"
#include "natserver/counters.h"
#include "natserver/data/dataplane.h"

G_BEGIN_DECLS

#define NAT_WS_RECORD_MAX                                                                          \
  (8 * 1024) /* bytes that are sealed at once: what is newer cannot overtake them */

/* Of all connections together. */
typedef struct {
  NatTunnel *tunnel;
  NatWebsocketCounters *counters;
  NatWsStore store;
  guint8 in[16 * 1024];
  guint8 out[NAT_WS_RECORD_MAX];
} NatWsCommon;

typedef enum {
  NAT_WS_OPEN,
  NAT_WS_CLOSING,  /* our close frame is to be sent */
  NAT_WS_FAREWELL, /* it was; waits for the client to go */
  NAT_WS_OVER,     /* the connection is no more */
} NatWsState;

typedef struct {
  NatWsCommon *common;
  NatTunnelEnd end;
  NatWsState state;
  int fd;
  NatTls *tls;
  NatWsFrames *ws;
  NatWsQueue queue;
  NatWebsocketCode code;       /* of our close frame */
  gboolean readable, writable; /* as far as we know */
  gboolean hung_up;            /* the data plane knows that it ended */
  gboolean bound;              /* a Binding was accepted on it */
  guint before_bound;          /* datagrams that came before */
  guint8 pong[NAT_WEBSOCKET_CONTROL_MAX];
  gsize pong_len;
  gboolean pong_due;
  guint8 *rest; /* of a record that TLS did not take at once */
  gsize rest_len;
} NatWsConn;

/* Takes what is in taken. number: NatTunnelEnd's. */
NatWsConn *nat_ws_conn_new (NatWsCommon *common, NatHttpTaken *taken, guint32 number);
void nat_ws_conn_free (NatWsConn *c); /* closes it as it is */

/* A datagram that is to be sent. */
void nat_ws_conn_push (
    NatWsConn *c, NatRank rank, NatWsBlock *block, gsize at, gsize len, gint64 time_us);
/* Reads what came (a bounded amount: readable stays, if there is more) and sends what waits. */
void nat_ws_conn_serve (NatWsConn *c, gint64 now_us);
/* Begins to close. cause: its counter. why: for the log. */
void nat_ws_conn_close (NatWsConn *c, NatWebsocketCode code, NatCounter *cause, const char *why);
/* Tells the data plane, if that is still to be done. FALSE: try again. */
gboolean nat_ws_conn_hang_up (NatWsConn *c);

G_END_DECLS
