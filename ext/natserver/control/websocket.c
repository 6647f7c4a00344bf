/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* wslay reads and writes frames, and undoes the mask. What frames make up a message, and what clients may not
 * do, is here: wslay's own layer for that takes memory for each message and each fragment, has a queue without
 * ages, and does not show whether a frame was masked. */

#include "natserver/control/websocket.h"

#include <string.h>
#include <wslay/wslay.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */

struct _NatWebsocket {
  wslay_frame_context_ptr frames;

  /* What was fed and is not read. */
  const guint8 *in;
  gsize in_len;

  /* The frame under way. */
  gboolean inside;
  guint64 left; /* bytes of it to come */
  guint8 opcode;
  gboolean final;

  gboolean begun; /* a message, whose last frame is to come */
  guint8 message[NAT_DATAGRAM_MAX];
  gsize message_len;
  guint8 control[NAT_WEBSOCKET_CONTROL_MAX];
  gsize control_len;
  NatWebsocketCode code; /* 0: not closed */

  /* Where nat_ws_frames_write writes. */
  guint8 *out;
  gsize out_len;
};

gboolean
nat_ws_accept (const char *key, char accept[NAT_WEBSOCKET_ACCEPT_TEXT + 1])
{
  g_autofree guint8 *nonce = NULL;
  g_autofree char *text = g_strconcat (key, GUID, NULL);
  g_autofree char *again = NULL;
  g_autofree char *encoded = NULL;
  g_autoptr (GChecksum) sha1 = g_checksum_new (G_CHECKSUM_SHA1);
  guint8 digest[20];
  gsize len = sizeof digest;

  if (strlen (key) != 24)
    return FALSE;
  nonce = g_base64_decode (key, &len);
  again = g_base64_encode (nonce, len);
  if (len != 16 || strcmp (again, key) != 0)
    return FALSE;
  len = sizeof digest;
  g_checksum_update (sha1, (const guchar *)text, (gssize)strlen (text));
  g_checksum_get_digest (sha1, digest, &len);
  encoded = g_base64_encode (digest, len);
  g_strlcpy (accept, encoded, NAT_WEBSOCKET_ACCEPT_TEXT + 1);
  return TRUE;
}

/* ---- Where wslay reads and writes -------------------------------------- */

static ssize_t
on_read (guint8 *buf, gsize len, int flags, gpointer user)
{
  NatWsFrames *ws = user;
  gsize n = MIN (len, ws->in_len);

  if (n == 0)
    return -1;
  memcpy (buf, ws->in, n);
  ws->in += n;
  ws->in_len -= n;
  return (ssize_t)n;
}

static ssize_t
on_write (const guint8 *data, gsize len, int flags, gpointer user)
{
  NatWsFrames *ws = user;

  memcpy (ws->out + ws->out_len, data, len);
  ws->out_len += len;
  return (ssize_t)len;
}

NatWsFrames *
nat_ws_frames_new (void)
{
  static const struct wslay_frame_callbacks callbacks = {on_write, on_read, NULL};
  NatWsFrames *ws = g_new0 (NatWsFrames, 1);

  if (wslay_frame_context_init (&ws->frames, &callbacks, ws) != 0)
    g_error ("a WebSocket cannot be made"); /* no memory: g_malloc would abort as well */
  return ws;
}

void
nat_ws_frames_free (NatWsFrames *ws)
{
  wslay_frame_context_free (ws->frames);
  g_free (ws);
}

/* ---- Reading ----------------------------------------------------------- */

void
nat_ws_frames_feed (NatWsFrames *ws, const guint8 *data, gsize len)
{
  ws->in = data;
  ws->in_len = len;
}

static NatWebsocketEvent
close_with (NatWsFrames *ws, NatWebsocketCode code)
{
  ws->code = code;
  return NAT_WEBSOCKET_CLOSED;
}

/* 0, or the code for what the frame's header says. */
static NatWebsocketCode
check_header (NatWsFrames *ws, const struct wslay_frame_iocb *f)
{
  if (f->rsv != 0 || !f->mask)
    return NAT_WEBSOCKET_PROTOCOL_ERROR;
  if (wslay_is_ctrl_frame (f->opcode))
    return f->opcode <= WSLAY_PONG && f->fin && f->payload_length <= sizeof ws->control
               ? 0
               : NAT_WEBSOCKET_PROTOCOL_ERROR;
  if (f->opcode > WSLAY_BINARY_FRAME || (f->opcode == WSLAY_CONTINUATION_FRAME) != ws->begun)
    return NAT_WEBSOCKET_PROTOCOL_ERROR;
  if (f->opcode == WSLAY_TEXT_FRAME)
    return NAT_WEBSOCKET_UNSUPPORTED;
  return f->payload_length > sizeof ws->message - ws->message_len ? NAT_WEBSOCKET_TOO_BIG : 0;
}

static NatWebsocketCode
begin_frame (NatWsFrames *ws, const struct wslay_frame_iocb *f)
{
  NatWebsocketCode code;

  if (!ws->begun)
    ws->message_len = 0;
  code = check_header (ws, f);
  ws->inside = TRUE;
  ws->left = f->payload_length;
  ws->opcode = f->opcode;
  ws->final = f->fin != 0;
  if (wslay_is_ctrl_frame (f->opcode))
    ws->control_len = 0;
  else
    ws->begun = TRUE;
  return code;
}

/* A chunk is no longer than its frame's header said, which fits. */
static void
take_chunk (NatWsFrames *ws, const struct wslay_frame_iocb *f)
{
  gboolean control = wslay_is_ctrl_frame (ws->opcode);
  guint8 *to = control ? ws->control : ws->message;
  gsize *len = control ? &ws->control_len : &ws->message_len;

  if (f->data_length > 0)
    memcpy (to + *len, f->data, f->data_length);
  *len += f->data_length;
  ws->left -= f->data_length;
}

/* Those that RFC 6455 section 7.4 lets somebody send. */
static gboolean
code_is_valid (guint code)
{
  return (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
         (code >= 3000 && code <= 4999);
}

static NatWebsocketEvent
read_close (NatWsFrames *ws)
{
  const guint8 *d = ws->control;

  if (ws->control_len == 0)
    return close_with (ws, NAT_WEBSOCKET_NORMAL);
  if (ws->control_len == 1 || !code_is_valid ((guint)d[0] << 8 | d[1]))
    return close_with (ws, NAT_WEBSOCKET_PROTOCOL_ERROR);
  if (!g_utf8_validate_len ((const char *)d + 2, ws->control_len - 2, NULL))
    return close_with (ws, NAT_WEBSOCKET_INVALID_TEXT);
  return close_with (ws, NAT_WEBSOCKET_NORMAL);
}

/* A frame is whole. NAT_WEBSOCKET_MORE: nothing comes of it yet. */
static NatWebsocketEvent
end_frame (NatWsFrames *ws, guint8 **data, gsize *len)
{
  ws->inside = FALSE;
  switch (ws->opcode) {
  case WSLAY_CONNECTION_CLOSE: return read_close (ws);
  case WSLAY_PONG: return NAT_WEBSOCKET_MORE;
  case WSLAY_PING:
    *data = ws->control;
    *len = ws->control_len;
    return NAT_WEBSOCKET_PING;
  default: break;
  }
  if (!ws->final)
    return NAT_WEBSOCKET_MORE;
  ws->begun = FALSE;
  *data = ws->message;
  *len = ws->message_len;
  return NAT_WEBSOCKET_MESSAGE;
}

NatWebsocketEvent
nat_ws_frames_next (NatWsFrames *ws, guint8 **data, gsize *len)
{
  while (ws->code == 0) {
    struct wslay_frame_iocb f = {0};
    ssize_t n = wslay_frame_recv (ws->frames, &f);
    NatWebsocketCode code = 0;
    NatWebsocketEvent event;

    if (n == WSLAY_ERR_WANT_READ)
      return NAT_WEBSOCKET_MORE;
    if (n < 0)
      return close_with (ws, NAT_WEBSOCKET_PROTOCOL_ERROR);
    if (!ws->inside)
      code = begin_frame (ws, &f);
    if (code != 0)
      return close_with (ws, code);
    take_chunk (ws, &f);
    if (ws->left > 0)
      continue;
    event = end_frame (ws, data, len);
    if (event != NAT_WEBSOCKET_MORE)
      return event;
  }
  return NAT_WEBSOCKET_CLOSED;
}

NatWebsocketCode
nat_ws_frames_code (const NatWsFrames *ws)
{
  return ws->code;
}

/* ---- Writing ----------------------------------------------------------- */

gsize
nat_ws_frames_write (
    NatWsFrames *ws, NatWebsocketOpcode opcode, gconstpointer data, gsize len, guint8 *out)
{
  struct wslay_frame_iocb f = {
      .fin = 1, .opcode = (guint8)opcode, .payload_length = len, .data = data, .data_length = len};

  ws->out = out;
  ws->out_len = 0;
  if (wslay_frame_send (ws->frames, &f) != (ssize_t)len)
    g_assert_not_reached (); /* on_write takes all */
  return ws->out_len;
}

gsize
nat_ws_frames_write_close (NatWsFrames *ws, NatWebsocketCode code, guint8 *out)
{
  guint8 bytes[2] = {(guint8)(code >> 8), (guint8)code};

  return nat_ws_frames_write (ws, NAT_WEBSOCKET_CLOSE, bytes, sizeof bytes, out);
}
