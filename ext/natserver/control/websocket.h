/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* WebSocket (RFC 6455), the server's side, as bytes: frames in, messages out, and back. No socket, no
 * memory that a client could make grow. Only binary messages of a datagram's size are taken. */

#include <glib.h>
#include "natproto/messages.h"

G_BEGIN_DECLS

#define NAT_WEBSOCKET_ACCEPT_TEXT 28 /* chars of Sec-WebSocket-Accept */
#define NAT_WEBSOCKET_HEADER_MAX  4  /* bytes in front of what we send */
#define NAT_WEBSOCKET_CONTROL_MAX 125

/* RFC 6455 section 7.4.1. */
typedef enum {
  NAT_WEBSOCKET_NORMAL = 1000,
  NAT_WEBSOCKET_GOING_AWAY = 1001,
  NAT_WEBSOCKET_PROTOCOL_ERROR = 1002,
  NAT_WEBSOCKET_UNSUPPORTED = 1003,
  NAT_WEBSOCKET_INVALID_TEXT = 1007,
  NAT_WEBSOCKET_POLICY = 1008,
  NAT_WEBSOCKET_TOO_BIG = 1009,
  NAT_WEBSOCKET_TRY_LATER = 1013,
} NatWebsocketCode;

typedef enum {
  NAT_WEBSOCKET_BINARY = 0x2,
  NAT_WEBSOCKET_CLOSE = 0x8,
  NAT_WEBSOCKET_PONG = 0xa,
} NatWebsocketOpcode;

/* What answers Sec-WebSocket-Key. FALSE: that is no 16 bytes in base64. */
gboolean nat_ws_accept (const char *key, char accept[NAT_WEBSOCKET_ACCEPT_TEXT + 1]);

typedef struct _NatWebsocket NatWsFrames; /* one connection, one thread */

NatWsFrames *nat_ws_frames_new (void);
void nat_ws_frames_free (NatWsFrames *ws);

typedef enum {
  NAT_WEBSOCKET_MORE,    /* all was read */
  NAT_WEBSOCKET_MESSAGE, /* a whole one */
  NAT_WEBSOCKET_PING,    /* to be answered by a pong with the same bytes */
  NAT_WEBSOCKET_CLOSED,  /* by the client, or for its mistake: nothing more is read */
} NatWebsocketEvent;

/* Gives it bytes as they came. They must stay until nat_ws_frames_next says NAT_WEBSOCKET_MORE. */
void nat_ws_frames_feed (NatWsFrames *ws, const guint8 *data, gsize len);
/* What comes next in them. *data, *len of MESSAGE and PING; valid until the next call. */
NatWebsocketEvent nat_ws_frames_next (NatWsFrames *ws, guint8 **data, gsize *len);
/* After CLOSED: the code to answer with. */
NatWebsocketCode nat_ws_frames_code (const NatWsFrames *ws);

/* Writes a frame to out, which has room for len and NAT_WEBSOCKET_HEADER_MAX. Returns its length. len: at most
 * 65535, of control frames NAT_WEBSOCKET_CONTROL_MAX. */
gsize nat_ws_frames_write (
    NatWsFrames *ws, NatWebsocketOpcode opcode, gconstpointer data, gsize len, guint8 *out);
gsize nat_ws_frames_write_close (NatWsFrames *ws, NatWebsocketCode code, guint8 *out);

G_END_DECLS
