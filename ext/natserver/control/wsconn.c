/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/wsconn.h"

#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "natproto/crypto.h"

#define READ_BUDGET       (64 * 1024) /* bytes of one connection before the others have their turn */
#define BEFORE_BOUND      64          /* datagrams that a stranger may send */
#define NOTSENT_LOWAT     (16 * 1024) /* bytes that TCP takes beyond what is under way */
#define SEND_BUFFER       (256 * 1024)
#define UNACKNOWLEDGED_MS 30000 /* as consent: the peer's host is gone */

/* Options that are a gain but no condition. */
static void
set_int (int fd, int level, int option, int value)
{
  int ignored G_GNUC_UNUSED = setsockopt (fd, level, option, &value, sizeof value);
}

NatWsConn *
nat_ws_conn_new (NatWsCommon *common, NatHttpTaken *taken, guint32 number)
{
  NatWsConn *c = g_new0 (NatWsConn, 1);

  c->common = common;
  nat_tunnel_end_init (&c->end, number, &taken->peer, &taken->local);
  c->fd = taken->fd;
  c->tls = taken->tls;
  c->ws = nat_ws_frames_new ();
  c->readable = c->writable = TRUE;
  /* What TCP has taken it sends however late: so it takes little, and the rest waits here. */
  set_int (c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT);
  set_int (c->fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
  set_int (c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS);
  return c;
}

void
nat_ws_conn_free (NatWsConn *c)
{
  nat_ws_queue_clear (&c->queue, &c->common->store);
  g_free (c->rest);
  nat_ws_frames_free (c->ws);
  nat_tls_free (c->tls);
  close (c->fd);
  g_free (c);
}

gboolean
nat_ws_conn_hang_up (NatWsConn *c)
{
  c->hung_up = c->hung_up || nat_tunnel_hang_up (c->common->tunnel, &c->end);
  return c->hung_up;
}

/* ---- The end ----------------------------------------------------------- */

static void
forget_queue (NatWsConn *c)
{
  if (c->queue.dropped > 0)
    g_message ("a WebSocket client's connection was too slow for its stream: %" G_GUINT64_FORMAT
               " datagrams were not sent, since they were late",
        c->queue.dropped);
  nat_ws_queue_clear (&c->queue, &c->common->store);
  c->pong_due = FALSE;
}

static void
over (NatWsConn *c)
{
  if (c->state == NAT_WS_OPEN) {
    nat_counter_add (&c->common->counters->websocket_broken, 1);
    g_debug ("a WebSocket ended: the connection broke");
  }
  forget_queue (c);
  c->state = NAT_WS_OVER;
  c->readable = FALSE;
  nat_ws_conn_hang_up (c);
}

void
nat_ws_conn_close (NatWsConn *c, NatWebsocketCode code, NatCounter *cause, const char *why)
{
  if (c->state != NAT_WS_OPEN)
    return;
  nat_counter_add (cause, 1);
  g_debug ("a WebSocket is closed with %u: %s", (guint)code, why);
  forget_queue (c);
  c->state = NAT_WS_CLOSING;
  c->code = code;
  nat_ws_conn_hang_up (c);
}

/* ---- From the client --------------------------------------------------- */

static void
receive_message (NatWsConn *c, const guint8 *data, gsize len)
{
  NatWebsocketCounters *counters = c->common->counters;

  if (len == 0)
    return;
  nat_counter_add (&counters->websocket_received, 1);
  if ((!c->bound && ++c->before_bound > BEFORE_BOUND) ||
      !nat_tunnel_deliver (c->common->tunnel, &c->end, data, len))
    nat_counter_add (&counters->websocket_lost, 1);
}

static void
receive_ping (NatWsConn *c, const guint8 *data, gsize len)
{
  memcpy (c->pong, data, len);
  c->pong_len = len;
  c->pong_due = TRUE;
}

static void
close_as_asked (NatWsConn *c)
{
  NatWebsocketCounters *counters = c->common->counters;
  NatWebsocketCode code = nat_ws_frames_code (c->ws);

  if (code == NAT_WEBSOCKET_NORMAL)
    nat_ws_conn_close (c, code, &counters->websocket_left, "the client closed");
  else
    nat_ws_conn_close (c, code, &counters->websocket_malformed, "the client broke the protocol");
}

static void
receive_bytes (NatWsConn *c, const guint8 *bytes, gsize n)
{
  guint8 *data;
  gsize len;

  nat_ws_frames_feed (c->ws, bytes, n);
  while (c->state == NAT_WS_OPEN) {
    switch (nat_ws_frames_next (c->ws, &data, &len)) {
    case NAT_WEBSOCKET_MESSAGE: receive_message (c, data, len); break;
    case NAT_WEBSOCKET_PING: receive_ping (c, data, len); break;
    case NAT_WEBSOCKET_CLOSED: close_as_asked (c); break;
    case NAT_WEBSOCKET_MORE: return;
    }
  }
}

/* After our close frame what comes is read away: closing a socket with unread bytes resets it, and the frame
 * might be lost. */
static void
read_some (NatWsConn *c)
{
  NatWsCommon *common = c->common;

  for (gsize total = 0, n; c->readable && total < READ_BUDGET; total += n) {
    NatTlsStatus status = nat_tls_read (c->tls, common->in, sizeof common->in, &n);

    if (n > 0)
      receive_bytes (c, common->in, n);
    else if (status == NAT_TLS_CLOSED)
      over (c);
    else
      c->readable = FALSE;
  }
}

/* ---- To the client ----------------------------------------------------- */

void
nat_ws_conn_push (
    NatWsConn *c, NatRank rank, NatWsBlock *block, gsize at, gsize len, gint64 time_us)
{
  if (c->state == NAT_WS_OPEN &&
      !nat_ws_queue_push (&c->queue, &c->common->store, rank, block, at, len, time_us))
    nat_ws_conn_close (c, NAT_WEBSOCKET_TRY_LATER, &c->common->counters->websocket_slow,
        "the client does not read what must not be dropped");
}

/* As many frames as go into one record. */
static gsize
fill (NatWsConn *c, gint64 now_us)
{
  NatWsCommon *common = c->common;
  gsize used = 0, len;
  const guint8 *data;

  if (c->pong_due)
    used = nat_ws_frames_write (c->ws, NAT_WEBSOCKET_PONG, c->pong, c->pong_len, common->out);
  c->pong_due = FALSE;
  while ((data = nat_ws_queue_peek (&c->queue, &common->store, now_us, &len)) &&
         used + NAT_WEBSOCKET_HEADER_MAX + len <= sizeof common->out) {
    used += nat_ws_frames_write (c->ws, NAT_WEBSOCKET_BINARY, data, len, common->out + used);
    nat_ws_queue_drop (&c->queue, &common->store);
    nat_counter_add (&common->counters->websocket_sent, 1);
  }
  return used;
}

/* FALSE: TLS did not take all; the rest is kept, which must be given again as it is. */
static gboolean
write_bytes (NatWsConn *c, const guint8 *bytes, gsize len)
{
  NatTlsStatus status = NAT_TLS_OK;
  guint8 *rest = NULL;

  while (len > 0 && status == NAT_TLS_OK) {
    gsize n;

    status = nat_tls_write (c->tls, bytes, len, &n);
    bytes += n;
    len -= n;
  }
  if (len > 0)
    rest = g_memdup2 (bytes, len);
  g_free (c->rest);
  c->rest = rest;
  c->rest_len = len;
  if (len > 0)
    c->writable = FALSE;
  if (status == NAT_TLS_CLOSED)
    over (c);
  return len == 0;
}

static void
say_goodbye (NatWsConn *c)
{
  nat_tls_bye (c->tls);
  shutdown (c->fd, SHUT_WR);
  c->writable = FALSE;
}

static gboolean
write_close (NatWsConn *c)
{
  guint8 frame[NAT_WEBSOCKET_HEADER_MAX + 2];

  c->state = NAT_WS_FAREWELL;
  return write_bytes (c, frame, nat_ws_frames_write_close (c->ws, c->code, frame));
}

static void
write_all (NatWsConn *c, gint64 now_us)
{
  gsize len;

  if (c->rest_len > 0 && !write_bytes (c, c->rest, c->rest_len))
    return;
  while (c->state == NAT_WS_OPEN && (len = fill (c, now_us)) > 0) {
    if (!write_bytes (c, c->common->out, len))
      return;
  }
  if (c->state == NAT_WS_CLOSING && !write_close (c))
    return;
  if (c->state == NAT_WS_FAREWELL)
    say_goodbye (c);
}

void
nat_ws_conn_serve (NatWsConn *c, gint64 now_us)
{
  if (c->readable)
    read_some (c);
  if (c->writable)
    write_all (c, now_us);
}
