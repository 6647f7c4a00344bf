/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Datagrams over TLS where UDP does not get through: one binary WebSocket message each (RFC 6455;
 * docs/PROTOCOL.md 4.2), through a proxy where there is one. One connection, or one attempt at it, at
 * a time. All on the thread whose default GMainContext was current when it was made, except that the
 * outbox takes datagrams from anybody.
 *
 * Late media is left out in the outbox, not in TCP: the connection is given no more than it can send
 * about at once (TCP_NOTSENT_LOWAT). */

#include "natclient/outbox.h"
#include "natclient/relayhost.h"
#include "natclient/session.h"
#include "natclient/trust.h"
#include "natclient/udp.h"

G_BEGIN_DECLS

typedef struct _NatWebsocket NatWebsocket;

/* May call anything here but nat_websocket_free. */
typedef struct {
  void (*opened) (gpointer user);
  /* It ended, or could not be opened; cause is valid during the call. Not after nat_websocket_close. */
  void (*closed) (gpointer user, const NatCause *cause);
  /* The batch stays readable until it returns. n_refused: messages that are no datagrams. */
  void (*received) (gpointer user, NatUdpDatagram *batch, guint n, guint n_refused);
  /* Of the media that was put into the outbox, so much was not sent. */
  void (*late) (gpointer user, guint n);
} NatWebsocketOps;

/* Keeps nothing of config. proxy: NULL is libsoup's own way. */
NatWebsocket *nat_websocket_new (const NatSessionConfig *config, NatTrust *trust,
    NatRelayHost *relay, GProxyResolver *proxy, const NatWebsocketOps *ops, gpointer user);
/* Closes; what a library still holds is freed when it lets go. */
void nat_websocket_free (NatWebsocket *w);

/* Closes the one before. path: the session document's. opened or closed will be called, never from within. */
void nat_websocket_open (NatWebsocket *w, const char *path, guint16 port, guint timeout_ms);
/* Nothing is called back any more. */
void nat_websocket_close (NatWebsocket *w);
gboolean nat_websocket_is_open (const NatWebsocket *w);

/* Of the open connection: the relay, with transport WEBSOCKET ("none" but for that behind a proxy), and
 * our own end. */
void nat_websocket_addresses (const NatWebsocket *w, NatAddress *relay, NatAddress *local);
/* NULL unless it is open; not owned by the caller. Whoever puts something in where nothing was has
 * nat_websocket_kick called. */
NatOutbox *nat_websocket_outbox (NatWebsocket *w);
void nat_websocket_kick (NatWebsocket *w);
void nat_websocket_send (NatWebsocket *w, const guint8 *data, gsize len); /* control */

/* Connections and attempts whose memory is still in use, closed ones too. */
guint nat_websocket_n_pending (const NatWebsocket *w);

G_END_DECLS
