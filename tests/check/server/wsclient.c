/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "wsclient.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

struct _WsClient {
  int fd;
  gnutls_certificate_credentials_t credentials;
  gnutls_session_t tls;
  NatAddress local;
  GByteArray *in; /* read, not used yet */
  gboolean gone;
  int probe; /* our end of the probe's sockets */
  gint *pause;
};

static void
connect_tcp (WsClient *c, const NatAddress *relay, int buffer)
{
  struct sockaddr_storage sa;
  struct sockaddr *name = (struct sockaddr *)&sa;
  socklen_t len = nat_address_to_sockaddr (relay, name);
  int one = 1;

  c->fd = socket (name->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  g_assert_cmpint (c->fd, >=, 0);
  if (buffer > 0)
    g_assert_cmpint (setsockopt (c->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer), ==, 0);
  g_assert_cmpint (connect (c->fd, name, len), ==, 0);
  setsockopt (c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  len = sizeof sa;
  g_assert_cmpint (getsockname (c->fd, name, &len), ==, 0);
  g_assert_true (nat_address_from_sockaddr (&c->local, name, len));
}

WsClient *
ws_client_new (const NatAddress *relay, int buffer)
{
  WsClient *c = g_new0 (WsClient, 1);
  int result;

  connect_tcp (c, relay, buffer);
  c->in = g_byte_array_new ();
  g_assert_cmpint (gnutls_certificate_allocate_credentials (&c->credentials), ==, 0);
  g_assert_cmpint (gnutls_init (&c->tls, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL), ==, 0);
  gnutls_set_default_priority (c->tls);
  gnutls_credentials_set (c->tls, GNUTLS_CRD_CERTIFICATE, c->credentials);
  gnutls_transport_set_int (c->tls, c->fd);
  do {
    result = gnutls_handshake (c->tls);
  } while (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED);
  g_assert_cmpint (result, ==, 0);
  return c;
}

void
ws_client_free (WsClient *c)
{
  if (!c)
    return;
  gnutls_deinit (c->tls);
  gnutls_certificate_free_credentials (c->credentials);
  close (c->fd);
  g_byte_array_unref (c->in);
  g_free (c);
}

const NatAddress *
ws_client_local (WsClient *c)
{
  return &c->local;
}

/* ---- Bytes ------------------------------------------------------------- */

void
ws_client_send_raw (WsClient *c, gconstpointer data, gsize len)
{
  const guint8 *at = data;

  while (len > 0 && !c->gone) {
    gssize n = gnutls_record_send (c->tls, at, len);

    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
      continue;
    c->gone = n < 0;
    at += MAX (n, 0);
    len -= (gsize)MAX (n, 0);
  }
}

/* FALSE: the connection ended, or nothing came in time. */
static gboolean
read_more (WsClient *c, gint64 deadline_us)
{
  guint8 bytes[16384];
  gint64 left = deadline_us - g_get_monotonic_time ();
  gssize n;

  if (c->gone)
    return FALSE;
  if (gnutls_record_check_pending (c->tls) == 0 &&
      poll (&(struct pollfd){c->fd, POLLIN, 0}, 1, (int)CLAMP (left / 1000 + 1, 0, 60000)) <= 0)
    return FALSE;
  n = gnutls_record_recv (c->tls, bytes, sizeof bytes);
  if (n > 0)
    g_byte_array_append (c->in, bytes, (guint)n);
  else
    c->gone = n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED;
  return !c->gone;
}

static gint64
deadline (guint timeout_ms)
{
  return g_get_monotonic_time () + (gint64)timeout_ms * 1000;
}

/* ---- HTTP -------------------------------------------------------------- */

char *
ws_client_read_head (WsClient *c)
{
  gint64 end = deadline (NAT_PROBE_WAIT_MS);

  for (;;) {
    const char *found =
        c->in->len ? g_strstr_len ((const char *)c->in->data, c->in->len, "\r\n\r\n") : NULL;

    if (found) {
      gsize len = (gsize)(found + 4 - (const char *)c->in->data);
      char *head = g_strndup ((const char *)c->in->data, len);

      g_byte_array_remove_range (c->in, 0, (guint)len);
      return head;
    }
    if (!read_more (c, end))
      return g_strdup ("");
  }
}

void
ws_client_upgrade (WsClient *c)
{
  static const char request[] = "GET /v1/websocket HTTP/1.1\r\n"
                                "Host: relay.example.org:8443\r\n"
                                "Connection: keep-alive, Upgrade\r\n"
                                "Upgrade: WebSocket\r\n"
                                "Sec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                "Sec-WebSocket-Protocol: chat, natrelay.v1\r\n\r\n";
  g_autofree char *head = NULL;

  ws_client_send_raw (c, request, sizeof request - 1);
  head = ws_client_read_head (c);
  g_assert_true (g_str_has_prefix (head, "HTTP/1.1 101 Switching Protocols\r\n"));
  g_assert_nonnull (strstr (head, "\r\nConnection: Upgrade\r\n"));
  g_assert_nonnull (strstr (head, "\r\nUpgrade: websocket\r\n"));
  g_assert_nonnull (strstr (head, "\r\nSec-WebSocket-Protocol: natrelay.v1\r\n"));
  g_assert_nonnull (strstr (head, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  g_assert_null (strstr (head, "Content-Length"));
}

/* ---- Frames ------------------------------------------------------------ */

void
ws_client_send (WsClient *c, guint8 first, gconstpointer data, gsize len)
{
  static const guint8 mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  GByteArray *frame = g_byte_array_new ();
  guint8 head[4] = {first, 0x80 | (guint8)MIN (len, 126), (guint8)(len >> 8), (guint8)len};

  g_byte_array_append (frame, head, len < 126 ? 2 : 4);
  g_byte_array_append (frame, mask, sizeof mask);
  for (gsize i = 0; i < len; i++) {
    guint8 byte = ((const guint8 *)data)[i] ^ mask[i % 4];
    g_byte_array_append (frame, &byte, 1);
  }
  ws_client_send_raw (c, frame->data, frame->len);
  g_byte_array_unref (frame);
}

/* Takes a frame out of what was read; -1: it is not whole. */
static gint
take_frame (WsClient *c, guint8 *data, gsize *len)
{
  const guint8 *in = c->in->data;
  guint head = 2;
  gint opcode;

  if (c->in->len < 4 && (c->in->len < 2 || in[1] >= 126))
    return -1;
  g_assert_cmpuint (in[1], <=, 126); /* not masked, and short */
  g_assert_cmpuint (in[0] & 0xf0, ==, 0x80);
  *len = in[1];
  if (in[1] == 126) {
    *len = (gsize)in[2] << 8 | in[3];
    head = 4;
  }
  if (c->in->len < head + *len)
    return -1;
  opcode = in[0] & 0x0f;
  memcpy (data, in + head, *len);
  g_byte_array_remove_range (c->in, 0, head + (guint)*len);
  return opcode;
}

gint
ws_client_receive (WsClient *c, guint8 *data, gsize *len, guint timeout_ms)
{
  gint64 end = deadline (timeout_ms);
  gint opcode;

  while ((opcode = take_frame (c, data, len)) < 0) {
    if (!read_more (c, end))
      return c->gone ? WS_GONE : WS_TIMEOUT;
    if (g_get_monotonic_time () >= end && (opcode = take_frame (c, data, len)) < 0)
      return WS_TIMEOUT;
  }
  return opcode;
}

guint
ws_client_close_code (WsClient *c)
{
  guint8 data[65536];
  gsize len;
  gint opcode;
  guint code = 0;

  while ((opcode = ws_client_receive (c, data, &len, NAT_PROBE_WAIT_MS)) >= 0) {
    g_assert_cmpuint (code, ==, 0); /* nothing comes behind it */
    if (opcode == 8) {
      g_assert_cmpuint (len, >=, 2);
      code = (guint)data[0] << 8 | data[1];
    }
  }
  g_assert_cmpint (opcode, ==, WS_GONE);
  return code;
}

/* ---- As a probe -------------------------------------------------------- */

/* TRUE: there was something. */
static gboolean
pass_down (WsClient *c)
{
  guint8 data[65536];
  gsize len;
  gint opcode;

  read_more (c, 0);
  while ((opcode = take_frame (c, data, &len)) >= 0) {
    if (opcode == 2 && send (c->probe, data, len, MSG_NOSIGNAL) < 0)
      return FALSE;
    if (opcode == 8)
      return FALSE;
  }
  return !c->gone;
}

static gboolean
pass_up (WsClient *c)
{
  guint8 data[NAT_DATAGRAM_MAX];
  gssize n = recv (c->probe, data, sizeof data, MSG_DONTWAIT);

  if (n < 0)
    return errno == EAGAIN;
  if (n > 0)
    ws_client_send (c, 0x82, data, (gsize)n);
  return n > 0;
}

static gpointer
run (gpointer data)
{
  WsClient *c = data;
  gboolean more = TRUE;

  while (more) {
    gboolean pause = c->pause && g_atomic_int_get (c->pause);
    struct pollfd fds[] = {{pause ? -1 : c->fd, POLLIN, 0}, {c->probe, POLLIN, 0}};

    if (pause || gnutls_record_check_pending (c->tls) == 0)
      poll (fds, 2, pause ? 20 : 200);
    if (fds[1].revents)
      more = pass_up (c);
    if (more && !pause && (fds[0].revents || gnutls_record_check_pending (c->tls) > 0))
      more = pass_down (c);
  }
  close (c->probe);
  ws_client_free (c);
  return NULL;
}

NatProbe *
ws_client_to_probe (WsClient *c, gint *pause)
{
  int fds[2], size = 4 * 1024 * 1024;
  NatAddress local = c->local;

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), ==, 0);
  setsockopt (fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  c->probe = fds[1];
  c->pause = pause;
  g_thread_unref (g_thread_new ("websocket", run, c));
  return nat_probe_new_carried (fds[0], &local);
}

NatProbe *
ws_client_probe (const NatAddress *relay)
{
  WsClient *c = ws_client_new (relay, 0);

  ws_client_upgrade (c);
  return ws_client_to_probe (c, NULL);
}
