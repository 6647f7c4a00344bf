/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "natclient/cause.h"

#define IPV4_AND_UDP     28 /* bytes of headers */
#define IPV6_AND_UDP     48
#define BATCHES_PER_TURN 8 /* timers and HTTPS get their turn in a flood too */

typedef struct {
  NatUdp *udp;
  GSocket *socket; /* NULL = not open */
  GSource *source;
} Port;

struct _NatUdp {
  const NatSessionConfig *config;
  GMainContext *context;
  NatUdpOps ops;
  gpointer user;
  Port ports[2]; /* v4, v6 */
  GInputMessage messages[NAT_UDP_BATCH];
  GInputVector vectors[NAT_UDP_BATCH];
  GSocketAddress *addresses[NAT_UDP_BATCH];
  NatUdpDatagram batch[NAT_UDP_BATCH];
  guint8 bytes[NAT_UDP_BATCH][NAT_DATAGRAM_MAX + 1]; /* one more, to see what is too long */
};

GSocketAddress *
nat_udp_address (const NatAddress *a)
{
  struct sockaddr_in6 native;
  gsize len = nat_address_to_sockaddr (a, (struct sockaddr *)&native);

  return len == 0 ? NULL : g_socket_address_new_from_native (&native, len);
}

static void
address_of (GSocketAddress *address, NatAddress *out)
{
  struct sockaddr_storage native;
  gssize len = address == NULL ? -1 : g_socket_address_get_native_size (address);

  memset (out, 0, sizeof *out);
  if (len > 0 && (gsize)len <= sizeof native &&
      g_socket_address_to_native (address, &native, sizeof native, NULL))
    nat_address_from_sockaddr (out, (const struct sockaddr *)&native, (gsize)len);
}

NatUdp *
nat_udp_new (
    const NatSessionConfig *config, GMainContext *context, const NatUdpOps *ops, gpointer user)
{
  NatUdp *u = g_new0 (NatUdp, 1);

  u->config = config;
  u->context = context;
  u->ops = *ops;
  u->user = user;
  for (guint i = 0; i < NAT_UDP_BATCH; i++) {
    u->vectors[i].buffer = u->bytes[i];
    u->vectors[i].size = sizeof u->bytes[i];
    u->messages[i].address = &u->addresses[i];
    u->messages[i].vectors = &u->vectors[i];
    u->messages[i].num_vectors = 1;
    u->batch[i].data = u->bytes[i];
  }
  return u;
}

static void
close_port (Port *p)
{
  if (p->source != NULL) {
    g_source_destroy (p->source);
    g_clear_pointer (&p->source, g_source_unref);
  }
  /* No streaming thread is in a send: the sender lets go of the socket first, under its lock. Else the
   * descriptor could be another file's by then. */
  if (p->socket != NULL)
    g_socket_close (p->socket, NULL);
  g_clear_object (&p->socket);
}

void
nat_udp_close (NatUdp *u)
{
  close_port (&u->ports[0]);
  close_port (&u->ports[1]);
}

void
nat_udp_free (NatUdp *u)
{
  if (u == NULL)
    return;
  nat_udp_close (u);
  g_free (u);
}

/* ---- Receiving --------------------------------------------------------- */

/* What the kernel knows of datagrams that went nowhere waits in a queue of its own, and the socket
 * stays "ready" until that is read. */
static void
drain_errors (GSocket *socket)
{
#ifdef MSG_ERRQUEUE
  char payload[64], control[512];
  struct iovec iov = {payload, sizeof payload};
  gssize n;

  do {
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

    n = recvmsg (g_socket_get_fd (socket), &msg, MSG_ERRQUEUE | MSG_DONTWAIT);
  } while (n >= 0 || errno == EINTR);
#endif
}

static guint
collect (NatUdp *u, guint n_messages)
{
  guint n = 0;

  for (guint i = 0; i < n_messages; i++) {
    NatUdpDatagram *d = &u->batch[n];

    address_of (u->addresses[i], &d->from);
    g_clear_object (&u->addresses[i]);
    if (d->from.family == 0 || u->messages[i].bytes_received > NAT_DATAGRAM_MAX) {
      continue;
    }
    d->data = u->bytes[i];
    d->len = u->messages[i].bytes_received;
    n++;
  }
  return n;
}

static gboolean
on_ready (GSocket *socket, GIOCondition condition, gpointer user)
{
  Port *p = user;
  NatUdp *u = p->udp;

  if (condition & G_IO_ERR) {
    drain_errors (socket);
    u->ops.unreachable (u->user);
  }
  for (guint turn = 0; turn < BATCHES_PER_TURN && p->socket == socket; turn++) {
    GError *error = NULL;
    gint got = g_socket_receive_messages (socket, u->messages, NAT_UDP_BATCH, 0, NULL, &error);
    guint n;

    if (got <= 0) {
      gboolean refused = g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);

      g_clear_error (&error);
      if (refused)
        continue; /* that was a message about the past: datagrams may wait behind it */
      break;
    }
    n = collect (u, (guint)got);
    u->ops.received (u->user, u->batch, n, (guint)got - n);
    if (got < NAT_UDP_BATCH)
      break;
  }
  return p->socket == socket ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

/* ---- Opening ----------------------------------------------------------- */

static void
set_options (const NatSessionConfig *config, GSocket *socket, gboolean v6)
{
  gint size = (gint)MIN (config->buffer_size, G_MAXINT / 4);

  if (v6)
    g_socket_set_option (socket, IPPROTO_IPV6, IPV6_V6ONLY, 1, NULL);
#ifdef IP_RECVERR
  g_socket_set_option (
      socket, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, 1, NULL);
#endif
  if (config->qos_dscp >= 0)
    g_socket_set_option (socket, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS,
        config->qos_dscp << 2, NULL);
  if (size > 0) {
    g_socket_set_option (socket, SOL_SOCKET, SO_RCVBUF, size, NULL);
    g_socket_set_option (socket, SOL_SOCKET, SO_SNDBUF, size, NULL);
  }
}

static GInetAddress *
bind_address (const NatSessionConfig *config, GSocketFamily family)
{
  if (config->bind_address == NULL || *config->bind_address == '\0')
    return g_inet_address_new_any (family);
  return g_inet_address_new_from_string (config->bind_address);
}

static gboolean
open_port (NatUdp *u, Port *p, gboolean v6, GError **error)
{
  GSocketFamily family = v6 ? G_SOCKET_FAMILY_IPV6 : G_SOCKET_FAMILY_IPV4;
  g_autoptr (GInetAddress) ip = bind_address (u->config, family);
  g_autoptr (GSocketAddress) address = NULL;
  g_autoptr (GSocket) socket = NULL;

  socket = g_socket_new (family, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, error);
  if (socket == NULL)
    return FALSE;
  g_socket_set_blocking (socket, FALSE);
  set_options (u->config, socket, v6);
  address = g_inet_socket_address_new (ip, u->config->bind_port);
  if (!g_socket_bind (socket, address, FALSE, error))
    return FALSE;
  p->udp = u;
  p->socket = g_steal_pointer (&socket);
  p->source = g_socket_create_source (p->socket, G_IO_IN, NULL);
  g_source_set_callback (p->source, G_SOURCE_FUNC (on_ready), p, NULL);
  g_source_attach (p->source, u->context);
  return TRUE;
}

static NatCause *
cause_of_bind (const NatUdp *u, const GError *error)
{
  const char *address = u->config->bind_address;
  NatCause *cause;

  if (u->config->bind_port == 0 && (address == NULL || *address == '\0'))
    cause = nat_cause_new (
        NAT_CAUSE_SOCKET, "No UDP socket can be opened on this machine: %s.", error->message);
  else
    cause = nat_cause_new (NAT_CAUSE_SOCKET,
        "The UDP socket cannot be bound to %s port %u (%s): check bind-address and bind-port; each "
        "element needs a port of its own.",
        address != NULL && *address != '\0' ? address : "any address", u->config->bind_port,
        error->message);
  return cause;
}

static NatCause *
cause_of_family (const NatUdp *u)
{
  const char *text = u->config->bind_address;
  g_autoptr (GInetAddress) ip = g_inet_address_new_from_string (text);
  NatCause *cause;

  if (ip == NULL) {
    cause = nat_cause_new (
        NAT_CAUSE_SOCKET, "bind-address \"%s\" is not an IP address of this machine.", text);
    cause->final = TRUE;
    return cause;
  }
  return nat_cause_new (NAT_CAUSE_SOCKET,
      "bind-address %s is of another address family than all of the relay's UDP addresses.", text);
}

void
nat_udp_add (NatUdp *u, guint8 family)
{
  const char *bound = u->config->bind_address;

  if ((bound == NULL || *bound == '\0') && nat_udp_socket (u, family) == NULL)
    open_port (u, &u->ports[family == 6 ? 1 : 0], family == 6, NULL);
}

NatCause *
nat_udp_open (NatUdp *u, gboolean want_v4, gboolean want_v6)
{
  const char *bound = u->config->bind_address;
  GError *error = NULL;
  NatCause *cause;

  nat_udp_close (u);
  if (bound != NULL && *bound != '\0') {
    g_autoptr (GInetAddress) ip = g_inet_address_new_from_string (bound);

    want_v4 = want_v4 && ip != NULL && g_inet_address_get_family (ip) == G_SOCKET_FAMILY_IPV4;
    want_v6 = want_v6 && ip != NULL && g_inet_address_get_family (ip) == G_SOCKET_FAMILY_IPV6;
    if (!want_v4 && !want_v6)
      return cause_of_family (u);
  }
  if (want_v4)
    open_port (u, &u->ports[0], FALSE, &error);
  if (want_v6)
    open_port (u, &u->ports[1], TRUE, error == NULL ? &error : NULL);
  if (u->ports[0].socket != NULL || u->ports[1].socket != NULL) {
    g_clear_error (&error);
    return NULL;
  }
  if (error == NULL)
    return nat_cause_new (NAT_CAUSE_NO_UDP, "The relay names no UDP address.");
  cause = cause_of_bind (u, error);
  g_error_free (error);
  return cause;
}

/* ---- Sending, addresses ------------------------------------------------ */

GSocket *
nat_udp_socket (const NatUdp *u, guint8 family)
{
  return u->ports[family == 6 ? 1 : 0].socket;
}

gboolean
nat_udp_is_queue_full (const GError *error)
{
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_FAILED) &&
         strstr (error->message, g_strerror (ENOBUFS)) != NULL;
}

gboolean
nat_udp_send (NatUdp *u, const NatAddress *to, const guint8 *data, gsize len)
{
  GSocket *socket = nat_udp_socket (u, to->family);
  g_autoptr (GSocketAddress) address = NULL;
  g_autoptr (GError) error = NULL;

  if (socket == NULL)
    return TRUE;
  address = nat_udp_address (to);
  if (g_socket_send_to (socket, address, (const gchar *)data, len, NULL, &error) >= 0)
    return TRUE;
  /* The error of an earlier datagram is told to the next one, which then was not sent. */
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
    return g_socket_send_to (socket, address, (const gchar *)data, len, NULL, NULL) >= 0;
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_MESSAGE_TOO_LARGE) ||
         nat_udp_is_queue_full (error);
}

/* What the kernel would choose shows on a socket that is connected; ours must not be. NULL: no way there. */
static GSocket *
connected (const NatAddress *relay)
{
  GSocketFamily family = relay->family == 6 ? G_SOCKET_FAMILY_IPV6 : G_SOCKET_FAMILY_IPV4;
  g_autoptr (GSocketAddress) remote = nat_udp_address (relay);
  g_autoptr (GSocket) scout =
      g_socket_new (family, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);

  if (scout == NULL || remote == NULL || !g_socket_connect (scout, remote, NULL, NULL))
    return NULL;
  return g_steal_pointer (&scout);
}

guint
nat_udp_payload_max (const NatAddress *relay)
{
  gint mtu = 0;
#ifdef IP_MTU
  g_autoptr (GSocket) scout = connected (relay);
  gboolean v6 = relay->family == 6;

  if (scout == NULL || !g_socket_get_option (scout, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                           v6 ? IPV6_MTU : IP_MTU, &mtu, NULL))
    return 0;
  mtu -= v6 ? IPV6_AND_UDP : IPV4_AND_UDP;
#endif
  return (guint)MAX (mtu, 0);
}

gboolean
nat_udp_scout (const NatAddress *relay, NatAddress *local)
{
  g_autoptr (GSocket) scout = connected (relay);
  g_autoptr (GSocketAddress) chosen = NULL;

  memset (local, 0, sizeof *local);
  if (scout == NULL)
    return FALSE;
  chosen = g_socket_get_local_address (scout, NULL);
  address_of (chosen, local);
  local->port = 0;
  return local->family != 0;
}

void
nat_udp_local (const NatUdp *u, const NatAddress *relay, NatAddress *local)
{
  GSocket *socket = nat_udp_socket (u, relay->family);
  g_autoptr (GSocketAddress) bound = NULL;
  NatAddress chosen;

  memset (local, 0, sizeof *local);
  if (socket == NULL || (bound = g_socket_get_local_address (socket, NULL)) == NULL)
    return;
  address_of (bound, local);
  if (!nat_address_is_any (local) || !nat_udp_scout (relay, &chosen))
    return;
  chosen.port = local->port;
  *local = chosen;
}
