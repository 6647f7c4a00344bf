/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "config.h"
#include "natclient/websocket.h"

#include <libsoup/soup.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "natclient/cause.h"
#include "natclient/source.h"

/* Who holds a link, and why that ends: the NatWebsocket while it is the current one; and libsoup, until
 * the attempt came back or the connection's "closed". nat_websocket_close cancels the one, or
 * shuts the socket down, which both sides of TLS then run into. */

#define UNSENT_MAX 16384 /* bytes that TCP holds without having sent them */
#define TURN_BYTES 16384 /* handed to libsoup before it gets its turn to write */
#define FRAME      14    /* bytes that a message grows by, at most */

#define INFORMATIONAL_MAX 8 /* answers of status 1xx; a relay sends one, 101 */

/* One attempt, and the connection that it became. */
typedef struct {
  NatWebsocket *w; /* a reference */
  gboolean abandoned;
  SoupSession *soup; /* which is told once where it connects to */
  SoupMessage *message;
  GCancellable *cancellable;
  GSource *timer;
  guint timeout_ms;
  gboolean timed_out;
  gboolean via_proxy;
  gboolean reached, secure; /* TLS began, and is ready */
  guint16 port;
  guint n_informational, informational; /* answers that another is to follow, and the last status */
  NatShown shown;

  SoupWebsocketConnection *connection; /* NULL = not yet */
  GSocket *socket;                     /* below it */
  NatAddress relay, local;
  NatOutbox *outbox;
  GSource *writable; /* NULL = nothing to send */

  GSource *flush; /* NULL = nothing in the batch */
  guint n, n_refused;
  NatUdpDatagram batch[NAT_UDP_BATCH];
  guint8 bytes[NAT_UDP_BATCH][NAT_DATAGRAM_MAX];
} Link;

struct _NatWebsocket {
  guint refs; /* the owner and each link */
  NatTrust *trust;
  NatRelayHost *relay_host;
  GProxyResolver *proxy; /* NULL = libsoup's own way */
  char *host, *where;
  NatWebsocketOps ops;
  gpointer user;
  Link *link; /* NULL = none */
};

/* ---- Life -------------------------------------------------------------- */

NatWebsocket *
nat_websocket_new (const NatSessionConfig *config, NatTrust *trust, NatRelayHost *relay,
    GProxyResolver *proxy, const NatWebsocketOps *ops, gpointer user)
{
  NatWebsocket *w = g_new0 (NatWebsocket, 1);
  gboolean v6 = strchr (config->host, ':') != NULL;

  w->refs = 1;
  w->trust = g_object_ref (trust);
  w->relay_host = nat_relay_host_ref (relay);
  g_set_object (&w->proxy, proxy);
  w->host = g_strdup (config->host);
  w->where = g_strdup_printf (v6 ? "[%s]" : "%s", config->host);
  w->ops = *ops;
  w->user = user;
  return w;
}

static void
websocket_unref (NatWebsocket *w)
{
  if (--w->refs > 0)
    return;
  g_object_unref (w->trust);
  nat_relay_host_unref (w->relay_host);
  g_clear_object (&w->proxy);
  g_free (w->host);
  g_free (w->where);
  g_free (w);
}

void
nat_websocket_free (NatWebsocket *w)
{
  if (w == NULL)
    return;
  nat_websocket_close (w);
  websocket_unref (w);
}

guint
nat_websocket_n_pending (const NatWebsocket *w)
{
  return w->refs - 1;
}

/* Once nobody holds it any more. */
static void
link_free (Link *l)
{
  nat_source_drop (&l->timer);
  nat_source_drop (&l->writable);
  nat_source_drop (&l->flush);
  g_signal_handlers_disconnect_by_data (l->message, l);
  g_object_unref (l->message);
  g_object_unref (l->cancellable);
  if (l->connection != NULL) {
    g_signal_handlers_disconnect_by_data (l->connection, l);
    g_object_unref (l->connection);
  }
  g_object_unref (l->soup);
  g_clear_object (&l->socket);
  g_clear_pointer (&l->outbox, nat_outbox_unref);
  nat_shown_clear (&l->shown);
  websocket_unref (l->w);
  g_free (l);
}

void
nat_websocket_close (NatWebsocket *w)
{
  Link *l = w->link;
  guint left;

  if (l == NULL)
    return;
  w->link = NULL;
  l->abandoned = TRUE;
  nat_source_drop (&l->timer);
  nat_source_drop (&l->writable);
  nat_source_drop (&l->flush);
  if (l->connection == NULL) {
    g_cancellable_cancel (l->cancellable);
    return;
  }
  left = nat_outbox_close (l->outbox);
  if (left > 0)
    w->ops.late (w->user, left);
  g_socket_shutdown (l->socket, TRUE, TRUE, NULL);
}

/* The end of the current link that nobody asked for; takes cause. */
static void
link_ended (Link *l, NatCause *cause)
{
  NatWebsocket *w = l->w;
  guint left = l->outbox == NULL ? 0 : nat_outbox_close (l->outbox);

  w->link = NULL;
  l->abandoned = TRUE;
  if (left > 0)
    w->ops.late (w->user, left);
  w->ops.closed (w->user, cause);
  nat_cause_free (cause);
}

/* ---- Receiving --------------------------------------------------------- */

static void
flush (Link *l)
{
  guint n = l->n, n_refused = l->n_refused;

  l->n = l->n_refused = 0;
  if (!l->abandoned && n + n_refused > 0)
    l->w->ops.received (l->w->user, l->batch, n, n_refused);
}

static gboolean
on_flush (gpointer user)
{
  Link *l = user;

  g_clear_pointer (&l->flush, g_source_unref);
  flush (l);
  return G_SOURCE_REMOVE;
}

static void
plan_flush (Link *l)
{
  if (l->flush != NULL)
    return;
  l->flush = g_idle_source_new ();
  g_source_set_priority (l->flush, G_PRIORITY_DEFAULT);
  g_source_set_callback (l->flush, on_flush, l, NULL);
  g_source_attach (l->flush, g_main_context_get_thread_default ());
}

/* libsoup reads all that is there, message by message: they go on together. */
static void
on_message (
    SoupWebsocketConnection *connection, SoupWebsocketDataType type, GBytes *bytes, gpointer user)
{
  Link *l = user;
  gsize len;
  const guint8 *data = g_bytes_get_data (bytes, &len);

  if (l->abandoned)
    return;
  if (type != SOUP_WEBSOCKET_DATA_BINARY || len == 0 || len > NAT_DATAGRAM_MAX) {
    l->n_refused++;
  } else {
    NatUdpDatagram *d = &l->batch[l->n];

    d->data = l->bytes[l->n++];
    d->len = len;
    d->from = l->relay;
    memcpy (d->data, data, len);
  }
  if (l->n == NAT_UDP_BATCH)
    flush (l);
  else
    plan_flush (l);
}

/* ---- Sending ----------------------------------------------------------- */

/* The other end may have said goodbye, and "closed" not have come yet: libsoup takes nothing then, and says so
 * each time as a critical warning; GLib warns of a source for the socket that it closed. What waits is left out when
 * it closes. */
static gboolean
takes (const Link *l)
{
  return soup_websocket_connection_get_state (l->connection) == SOUP_WEBSOCKET_STATE_OPEN;
}

/* Its priority is below that of libsoup's own source, which so has nothing left to write, or finds the
 * socket as full as we do: what was handed to it before is on its way. */
static gboolean
on_writable (GSocket *socket, GIOCondition condition, gpointer user)
{
  Link *l = user;
  gint64 now_us = g_get_monotonic_time ();
  guint8 data[NAT_DATAGRAM_MAX];
  gsize handed = 0, len = 1;
  guint late = 0;

  while (takes (l) && handed < TURN_BYTES &&
         (len = nat_outbox_take (l->outbox, now_us, data, &late)) > 0) {
    soup_websocket_connection_send_binary (l->connection, data, len);
    handed += len + FRAME;
  }
  if (late > 0)
    l->w->ops.late (l->w->user, late);
  if (len > 0 && takes (l))
    return G_SOURCE_CONTINUE;
  g_clear_pointer (&l->writable, g_source_unref);
  return G_SOURCE_REMOVE;
}

void
nat_websocket_kick (NatWebsocket *w)
{
  Link *l = w->link;

  if (l == NULL || l->connection == NULL || l->writable != NULL || !takes (l))
    return;
  l->writable = g_socket_create_source (l->socket, G_IO_OUT, NULL);
  g_source_set_priority (l->writable, G_PRIORITY_DEFAULT + 1);
  g_source_set_callback (l->writable, G_SOURCE_FUNC (on_writable), l, NULL);
  g_source_attach (l->writable, g_main_context_get_thread_default ());
}

void
nat_websocket_send (NatWebsocket *w, const guint8 *data, gsize len)
{
  gboolean first;

  if (!nat_websocket_is_open (w))
    return;
  nat_outbox_put (
      w->link->outbox, g_get_monotonic_time (), NAT_OUTBOX_IS_CONTROL, data, len, &first);
  nat_websocket_kick (w);
}

/* ---- Opening ----------------------------------------------------------- */

static void
on_closed (SoupWebsocketConnection *connection, gpointer user)
{
  Link *l = user;
  gushort code = soup_websocket_connection_get_close_code (connection);

  flush (l);
  if (!l->abandoned) {
    NatCause *cause = nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "The WebSocket to the relay %s was closed; it is opened again.", l->w->where);

    nat_cause_set_detail (cause, "close code %u", code);
    link_ended (l, cause);
  }
  link_free (l);
}

static GSocket *
socket_of (GIOStream *stream)
{
  GSocket *socket = NULL;

  g_object_ref (stream);
  while (stream != NULL && socket == NULL) {
    GIOStream *below = NULL;

    if (G_IS_TCP_WRAPPER_CONNECTION (stream))
      below = g_object_ref (
          g_tcp_wrapper_connection_get_base_io_stream (G_TCP_WRAPPER_CONNECTION (stream)));
    else if (G_IS_SOCKET_CONNECTION (stream))
      socket = g_object_ref (g_socket_connection_get_socket (G_SOCKET_CONNECTION (stream)));
    else if (G_IS_TLS_CONNECTION (stream))
      g_object_get (stream, "base-io-stream", &below, NULL);
    else
      g_object_get (stream, "base-iostream", &below, NULL); /* libsoup's */
    g_object_unref (stream);
    stream = below;
  }
  g_clear_object (&stream);
  return socket;
}

static void
read_address (GSocketAddress *address, NatAddress *out)
{
  guint8 native[128];
  gssize len = address == NULL ? -1 : g_socket_address_get_native_size (address);

  memset (out, 0, sizeof *out);
  if (len > 0 && (gsize)len <= sizeof native &&
      g_socket_address_to_native (address, native, sizeof native, NULL))
    nat_address_from_sockaddr (out, (const struct sockaddr *)native, (gsize)len);
  g_object_unref (address);
}

static void
prepare_socket (Link *l)
{
  GSocketAddress *local = g_socket_get_local_address (l->socket, NULL);
  GSocketAddress *remote = g_socket_get_remote_address (l->socket, NULL);

  g_socket_set_timeout (l->socket, 0);
  g_socket_set_option (l->socket, IPPROTO_TCP, TCP_NODELAY, 1, NULL);
#ifdef TCP_NOTSENT_LOWAT
  g_socket_set_option (l->socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX, NULL);
#else
  g_socket_set_option (l->socket, SOL_SOCKET, SO_SNDBUF, 4 * UNSENT_MAX, NULL);
#endif
  if (local != NULL)
    read_address (local, &l->local);
  if (remote != NULL)
    read_address (remote, &l->relay);
  if (l->via_proxy)
    memset (&l->relay, 0, sizeof l->relay); /* that is the proxy's */
  l->relay.transport = NAT_TRANSPORT_WEBSOCKET;
}

static gboolean
link_begin (Link *l)
{
  l->socket = socket_of (soup_websocket_connection_get_io_stream (l->connection));
  if (l->socket == NULL)
    return FALSE;
  prepare_socket (l);
  l->outbox = nat_outbox_new ();
  soup_websocket_connection_set_max_incoming_payload_size (l->connection, NAT_DATAGRAM_MAX);
  g_signal_connect (l->connection, "message", G_CALLBACK (on_message), l);
  g_signal_connect (l->connection, "closed", G_CALLBACK (on_closed), l);
  return TRUE;
}

static NatCause *
cause_of_error (const Link *l, const GError *error)
{
  gboolean stalls = l->n_informational > INFORMATIONAL_MAX;
  guint status = stalls ? l->informational : soup_message_get_status (l->message);
  const char *where = l->w->where;
  gsize len = strlen (error->message);
  NatCause *cause;

  if (l->shown.refused)
    return nat_trust_cause (l->w->trust, where, &l->shown);
  if (len > 0 && error->message[len - 1] == '.')
    len--;
  if (l->timed_out)
    cause =
        nat_cause_new (NAT_CAUSE_TIMEOUT, "The WebSocket to the relay %s was not open within %u s.",
            where, (l->timeout_ms + 999) / 1000);
  else if (status >= 300 || stalls)
    cause = nat_cause_new (l->via_proxy ? NAT_CAUSE_PROXY : NAT_CAUSE_PROTOCOL,
        "Instead of opening a WebSocket, %s answered \"%u %s\".",
        l->via_proxy ? "the proxy or the relay behind it" : where, status,
        soup_status_get_phrase (status));
  else
    cause = nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "The WebSocket to the relay %s could not be opened: %.*s.", where, (int)len,
        error->message);
  nat_cause_set_detail (
      cause, "%s %d: %s", g_quark_to_string (error->domain), error->code, error->message);
  return cause;
}

/* Who hangs in TLS is passed over the next time, until those that are left are no better. */
static void
note_way (const Link *l)
{
  if (l->secure)
    return;
  if (l->timed_out && l->reached && l->relay.family != 0)
    nat_relay_host_hangs (l->w->relay_host, &l->relay);
  else
    nat_relay_host_forgive (l->w->relay_host, l->port);
}

static void
on_connected (GObject *source, GAsyncResult *result, gpointer user)
{
  Link *l = user;
  NatWebsocket *w = l->w;
  GError *error = NULL;

  nat_source_drop (&l->timer);
  l->connection = soup_session_websocket_connect_finish (SOUP_SESSION (source), result, &error);
  if (l->connection != NULL && !link_begin (l))
    g_set_error (&error, G_IO_ERROR, G_IO_ERROR_FAILED, "no TCP socket is below it");
  if (error == NULL) {
    if (l->abandoned)
      g_socket_shutdown (l->socket, TRUE, TRUE, NULL);
    else
      w->ops.opened (w->user);
    return;
  }
  if (!l->abandoned) {
    note_way (l);
    link_ended (l, cause_of_error (l, error));
  }
  g_error_free (error);
  link_free (l);
}

static gboolean
on_accept_certificate (
    SoupMessage *message, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user)
{
  Link *l = user;

  return !l->abandoned && nat_trust_accepts (l->w->trust, certificate, errors, &l->shown);
}

static void
note_address (Link *l, GSocketClientEvent event, GIOStream *connection)
{
  GSocketAddress *address;

  if (!G_IS_SOCKET_CONNECTION (connection))
    return;
  address = g_socket_connection_get_remote_address (G_SOCKET_CONNECTION (connection), NULL);
  if (address == NULL)
    return;
  if (G_IS_PROXY_ADDRESS (address))
    l->via_proxy = TRUE;
  if (event == G_SOCKET_CLIENT_CONNECTED && !l->via_proxy)
    read_address (address, &l->relay);
  else
    g_object_unref (address);
}

static void
on_network_event (
    SoupMessage *message, GSocketClientEvent event, GIOStream *connection, gpointer user)
{
  Link *l = user;

  switch (event) {
  case G_SOCKET_CLIENT_CONNECTING:
  case G_SOCKET_CLIENT_CONNECTED: note_address (l, event, connection); break;
  case G_SOCKET_CLIENT_PROXY_NEGOTIATING: l->via_proxy = TRUE; break;
  case G_SOCKET_CLIENT_TLS_HANDSHAKING:
    l->reached = TRUE;
    if (!l->abandoned)
      nat_trust_hide_literal (l->w->trust, connection);
    break;
  case G_SOCKET_CLIENT_TLS_HANDSHAKED: l->secure = TRUE; break;
  default: break;
  }
}

/* As long as something comes, libsoup reads, and no timer has its turn. */
static void
on_informational (SoupMessage *message, gpointer user)
{
  Link *l = user;

  l->informational = soup_message_get_status (message);
  if (++l->n_informational > INFORMATIONAL_MAX)
    g_cancellable_cancel (l->cancellable);
}

static gboolean
on_timeout (gpointer user)
{
  Link *l = user;

  l->timed_out = TRUE;
  g_cancellable_cancel (l->cancellable);
  return G_SOURCE_REMOVE;
}

static SoupSession *
soup_for (const NatWebsocket *w, guint16 port)
{
  g_autoptr (GSocketConnectable) at = nat_relay_host_at (w->relay_host, port);
  SoupSession *soup = soup_session_new_with_options (
      "remote-connectable", at, "user-agent", "natrelay/" PACKAGE_VERSION, NULL);

  soup_session_set_tls_database (soup, nat_trust_database (w->trust));
  if (w->proxy != NULL)
    soup_session_set_proxy_resolver (soup, w->proxy);
  return soup;
}

void
nat_websocket_open (NatWebsocket *w, const char *path, guint16 port, guint timeout_ms)
{
  static const char *const protocols[] = {NAT_WEBSOCKET_PROTOCOL, NULL};
  g_autoptr (GUri) uri =
      g_uri_build (SOUP_HTTP_URI_FLAGS, "wss", NULL, w->host, port, path, NULL, NULL);
  Link *l = g_new0 (Link, 1);

  nat_websocket_close (w);
  w->link = l;
  w->refs++;
  l->w = w;
  l->timeout_ms = timeout_ms;
  l->port = port;
  l->soup = soup_for (w, port);
  l->cancellable = g_cancellable_new ();
  l->message = soup_message_new_from_uri ("GET", uri);
  soup_message_add_flags (l->message, SOUP_MESSAGE_NO_REDIRECT);
  g_signal_connect (l->message, "accept-certificate", G_CALLBACK (on_accept_certificate), l);
  g_signal_connect (l->message, "network-event", G_CALLBACK (on_network_event), l);
  g_signal_connect (l->message, "got-informational", G_CALLBACK (on_informational), l);
  l->timer = g_timeout_source_new (timeout_ms);
  g_source_set_callback (l->timer, on_timeout, l, NULL);
  g_source_attach (l->timer, g_main_context_get_thread_default ());
  soup_session_websocket_connect_async (l->soup, l->message, NULL, (char **)protocols,
      G_PRIORITY_DEFAULT, l->cancellable, on_connected, l);
}

/* ---- Questions --------------------------------------------------------- */

gboolean
nat_websocket_is_open (const NatWebsocket *w)
{
  return w->link != NULL && w->link->connection != NULL;
}

void
nat_websocket_addresses (const NatWebsocket *w, NatAddress *relay, NatAddress *local)
{
  memset (relay, 0, sizeof *relay);
  memset (local, 0, sizeof *local);
  if (!nat_websocket_is_open (w))
    return;
  *relay = w->link->relay;
  *local = w->link->local;
}

NatOutbox *
nat_websocket_outbox (NatWebsocket *w)
{
  return nat_websocket_is_open (w) ? w->link->outbox : NULL;
}
