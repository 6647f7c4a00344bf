/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A WebSocket client that can also do everything wrong: TLS by GnuTLS, frames by hand, no thread until it
 * becomes a probe. Every call waits itself, with a limit. */

#include "probe.h"

G_BEGIN_DECLS

#define WS_GONE    (-1) /* the connection ended */
#define WS_TIMEOUT (-2)

typedef struct _WsClient WsClient;

/* TCP and TLS are there on return. buffer: bytes for what the system receives; 0 = as it likes. */
WsClient *ws_client_new (const NatAddress *relay, int buffer);
void ws_client_free (WsClient *c); /* breaks off */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (WsClient, ws_client_free)
const NatAddress *ws_client_local (WsClient *c);

void ws_client_send_raw (WsClient *c, gconstpointer data, gsize len);
/* The head of the answer to what was sent; "" if the connection ended. Allocated. */
char *ws_client_read_head (WsClient *c);
/* The opening handshake of PROTOCOL.md, which must succeed. */
void ws_client_upgrade (WsClient *c);
/* first: FIN, reserved bits and opcode. */
void ws_client_send (WsClient *c, guint8 first, gconstpointer data, gsize len);
/* The next frame's opcode, WS_GONE or WS_TIMEOUT. data holds 65536. */
gint ws_client_receive (WsClient *c, guint8 *data, gsize *len, guint timeout_ms);
/* Reads until the relay closes: the code, 0 if it only ended. */
guint ws_client_close_code (WsClient *c);

/* A probe by way of it, which is the probe's from now on. pause: while it is set nothing is read from TCP; may be
 * NULL. */
NatProbe *ws_client_to_probe (WsClient *c, gint *pause);
/* All of it at once. */
NatProbe *ws_client_probe (const NatAddress *relay);

G_END_DECLS
