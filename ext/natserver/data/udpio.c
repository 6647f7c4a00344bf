/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a datagram costs is the walk through the IP stack, and that is paid per message, not
 * per datagram: so datagrams of equal size are read as one (UDP_GRO) and sent as one (UDP_SEGMENT).
 * sendmmsg alone saves little; it is used because messages to many receivers come in a row.
 * io_uring and zero copy were measured and gain nothing here. */

#include "natserver/data/udpio.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "natproto/error.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define SLOT_SIZE  65536
#define SEND_BATCH 256
#define RX_CONTROL 128
#define TX_CONTROL (CMSG_SPACE (sizeof (struct in6_pktinfo)) + CMSG_SPACE (sizeof (guint16)))

typedef struct {
  int fd;
  NatAddress local;
  gboolean wildcard; /* bound to 0.0.0.0 or [::]: each datagram has its own local address */
} Socket;

typedef union {
  _Alignas(struct cmsghdr) guint8 bytes[RX_CONTROL];
} RxControl;

typedef union {
  _Alignas(struct cmsghdr) guint8 bytes[TX_CONTROL];
} TxControl;

struct _NatUdpio {
  guint n_sockets;
  Socket sockets[NAT_UDPIO_SOCKETS];
  NatWorkerCounters *counters;

  guint8 *buffers;
  struct mmsghdr rx[NAT_UDPIO_SLOTS];
  struct iovec rx_iov[NAT_UDPIO_SLOTS];
  struct sockaddr_in6 rx_name[NAT_UDPIO_SLOTS];
  RxControl rx_control[NAT_UDPIO_SLOTS];
  NatUdpSuper supers[NAT_UDPIO_SLOTS];

  struct mmsghdr tx[SEND_BATCH];
  TxControl tx_control[SEND_BATCH];
};

/* ---- Opening ----------------------------------------------------------- */

static void
bind_error (GError **error, const NatAddress *address, int code)
{
  char text[NAT_ADDRESS_TEXT_MAX];
  char *colon;

  nat_address_to_text (address, text);
  colon = strrchr (text, ':');
  if (colon)
    *colon = '\0';
  switch (code) {
  case EADDRINUSE:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "UDP port %u on %s is taken by another program; stop it (\"ss -lunp\" shows which it is) "
        "or choose another port",
        address->port, text);
    break;
  case EADDRNOTAVAIL:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "this machine has no address %s; listen on one that \"ip address\" shows, or on 0.0.0.0 "
        "or [::] for all",
        text);
    break;
  case EACCES:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "no permission to open UDP port %u on %s; ports below 1024 need CAP_NET_BIND_SERVICE "
        "(systemd: AmbientCapabilities=)",
        address->port, text);
    break;
  case EAFNOSUPPORT:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "this machine does not do IPv%u, so %s cannot be listened on", address->family, text);
    break;
  default:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT, "cannot open UDP port %u on %s: %s",
        address->port, text, g_strerror (code));
  }
}

static void
set_int (int fd, int level, int option, int value)
{
  /* Options that are a gain but no condition: an old kernel does without. */
  int ignored G_GNUC_UNUSED = setsockopt (fd, level, option, &value, sizeof value);
}

/* Asks for as much as the caller wants and tells what it got, in the unit asked. */
static gsize
size_buffer (int fd, int force_option, int option, gsize wanted)
{
  int value = (int)MIN (wanted, G_MAXINT / 2);
  socklen_t len = sizeof value;

  if (setsockopt (fd, SOL_SOCKET, force_option, &value, sizeof value) < 0)
    set_int (fd, SOL_SOCKET, option, value);
  if (getsockopt (fd, SOL_SOCKET, option, &value, &len) < 0)
    return 0;
  return (gsize)value / 2; /* Linux doubles it for its own book-keeping */
}

static void
buffer_hint (GString *hints, const char *what, const char *sysctl, gsize got, gsize wanted)
{
  if (got >= wanted || strstr (hints->str, sysctl) != NULL)
    return;
  g_string_append_printf (hints,
      "%sthe system limits UDP %s buffers to %" G_GSIZE_FORMAT " KiB (%" G_GSIZE_FORMAT
      " KiB wanted), so bursts may be lost; allow more with: sysctl -w %s=%" G_GSIZE_FORMAT,
      hints->len ? "\n" : "", what, got / 1024, wanted / 1024, sysctl, wanted);
}

static void
size_buffers (int fd, gsize wanted, GString *hints)
{
  buffer_hint (hints, "receive", "net.core.rmem_max",
      size_buffer (fd, SO_RCVBUFFORCE, SO_RCVBUF, wanted), wanted);
  buffer_hint (hints, "send", "net.core.wmem_max",
      size_buffer (fd, SO_SNDBUFFORCE, SO_SNDBUF, wanted), wanted);
}

static void
set_options (Socket *s)
{
  gboolean v4 = s->local.family == 4;

  set_int (s->fd, IPPROTO_UDP, UDP_GRO, 1);
  if (!v4)
    set_int (s->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (s->wildcard)
    set_int (s->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
}

static gboolean
open_socket (Socket *s, const NatAddress *listen, gboolean sibling, GError **error)
{
  struct sockaddr_storage sa;
  struct sockaddr *name = (struct sockaddr *)&sa;
  socklen_t len = nat_address_to_sockaddr (listen, name);

  s->local = *listen;
  s->wildcard = nat_address_is_any (listen);
  s->fd = socket (name->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (s->fd < 0) {
    bind_error (error, listen, errno);
    return FALSE;
  }
  set_options (s);
  if (sibling)
    set_int (s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (bind (s->fd, name, len) < 0) {
    bind_error (error, listen, errno);
    return FALSE;
  }
  len = sizeof sa;
  return getsockname (s->fd, name, &len) == 0 && nat_address_from_sockaddr (&s->local, name, len);
}

static void
prepare_receive (NatUdpio *io)
{
  for (guint i = 0; i < NAT_UDPIO_SLOTS; i++) {
    struct msghdr *h = &io->rx[i].msg_hdr;

    io->rx_iov[i] = (struct iovec){io->buffers + i * SLOT_SIZE, SLOT_SIZE};
    h->msg_name = &io->rx_name[i];
    h->msg_iov = &io->rx_iov[i];
    h->msg_iovlen = 1;
    h->msg_control = io->rx_control[i].bytes;
  }
}

static NatUdpio *
open_all (const NatAddress *listen, guint n_listen, gsize buffer, NatWorkerCounters *counters,
    gboolean sibling, GString *hints, GError **error)
{
  g_autoptr (NatUdpio) io = g_new0 (NatUdpio, 1);

  io->counters = counters;
  io->buffers = g_malloc (NAT_UDPIO_SLOTS * SLOT_SIZE);
  prepare_receive (io);
  for (guint i = 0; i < n_listen; i++) {
    io->n_sockets++;
    if (!open_socket (&io->sockets[i], &listen[i], sibling, error))
      return NULL;
    size_buffers (io->sockets[i].fd, buffer, hints);
  }
  return g_steal_pointer (&io);
}

NatUdpio *
nat_udpio_new (const NatAddress *listen, guint n_listen, gsize buffer, NatWorkerCounters *counters,
    char **hints, GError **error)
{
  g_autoptr (GString) lines = g_string_new (NULL);
  NatUdpio *io;

  g_return_val_if_fail (n_listen > 0 && n_listen <= NAT_UDPIO_SOCKETS, NULL);
  io = open_all (listen, n_listen, buffer, counters, FALSE, lines, error);
  if (hints)
    *hints = io && lines->len ? g_strdup (lines->str) : NULL;
  return io;
}

/* The first binds alone, so that a port which another program has is noticed, and shares after that. */
NatUdpio *
nat_udpio_new_sibling (NatUdpio *first, gsize buffer, NatWorkerCounters *counters, GError **error)
{
  g_autoptr (GString) told = g_string_new (NULL); /* by the first */
  NatAddress listen[NAT_UDPIO_SOCKETS];

  for (guint i = 0; i < first->n_sockets; i++) {
    listen[i] = first->sockets[i].local;
    set_int (first->sockets[i].fd, SOL_SOCKET, SO_REUSEPORT, 1);
  }
  return open_all (listen, first->n_sockets, buffer, counters, TRUE, told, error);
}

void
nat_udpio_free (NatUdpio *io)
{
  if (!io)
    return;
  for (guint i = 0; i < io->n_sockets; i++) {
    if (io->sockets[i].fd >= 0)
      close (io->sockets[i].fd);
  }
  g_free (io->buffers);
  g_free (io);
}

guint
nat_udpio_n_sockets (const NatUdpio *io)
{
  return io->n_sockets;
}

int
nat_udpio_fd (const NatUdpio *io, guint socket)
{
  return io->sockets[socket].fd;
}

const NatAddress *
nat_udpio_local (const NatUdpio *io, guint socket)
{
  return &io->sockets[socket].local;
}

/* ---- Receiving --------------------------------------------------------- */

static void
read_control (struct msghdr *h, NatUdpSuper *super)
{
  NatAddress *local = &super->source.key.local;
  guint16 port = local->port;

  for (struct cmsghdr *c = CMSG_FIRSTHDR (h); c; c = CMSG_NXTHDR (h, c)) {
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      int segment;
      memcpy (&segment, CMSG_DATA (c), sizeof segment);
      super->segment = segment > 0 ? (gsize)segment : super->len;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy (&info, CMSG_DATA (c), sizeof info);
      nat_address_from_ip (local, (guint8 *)&info.ipi_spec_dst, 4, port);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy (&info, CMSG_DATA (c), sizeof info);
      nat_address_from_ip (local, info.ipi6_addr.s6_addr, 16, port);
    }
  }
}

static void
read_slot (NatUdpio *io, guint slot, guint socket)
{
  NatUdpSuper *super = &io->supers[slot];
  struct msghdr *h = &io->rx[slot].msg_hdr;
  const struct sockaddr_in6 *name = &io->rx_name[slot];

  memset (&super->source, 0, sizeof super->source);
  super->source.socket = socket;
  super->source.key.local = io->sockets[socket].local;
  super->data = io->rx_iov[slot].iov_base;
  super->len = super->segment = io->rx[slot].msg_len;
  nat_address_from_sockaddr (&super->source.key.remote, h->msg_name, h->msg_namelen);
  if (name->sin6_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL (&name->sin6_addr))
    super->source.interface = name->sin6_scope_id;
  read_control (h, super);
  nat_counter_add (&io->counters->datagrams_received,
      super->len > super->segment ? (super->len + super->segment - 1) / super->segment : 1);
}

guint
nat_udpio_receive (NatUdpio *io, guint socket, NatUdpSuper **supers)
{
  int n;

  for (guint i = 0; i < NAT_UDPIO_SLOTS; i++) {
    io->rx[i].msg_hdr.msg_namelen = sizeof io->rx_name[i];
    io->rx[i].msg_hdr.msg_controllen = RX_CONTROL;
  }
  n = recvmmsg (io->sockets[socket].fd, io->rx, NAT_UDPIO_SLOTS, MSG_DONTWAIT, NULL);
  for (int i = 0; i < n; i++)
    read_slot (io, (guint)i, socket);
  *supers = io->supers;
  return n > 0 ? (guint)n : 0;
}

/* ---- Sending ----------------------------------------------------------- */

static void
set_control (NatUdpDest *dest, int level, int type, gconstpointer data, gsize len)
{
  struct cmsghdr *c = (struct cmsghdr *)dest->control;

  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN (len);
  memcpy (CMSG_DATA (c), data, len);
  dest->control_len = CMSG_SPACE (len);
}

gboolean
nat_udpio_has_many_locals (const NatUdpio *io, guint socket)
{
  return io->sockets[socket].wildcard;
}

void
nat_udpio_dest_init (const NatUdpio *io, NatUdpDest *dest, const NatUdpSource *source)
{
  nat_udpio_dest_fill (dest, source, io->sockets[source->socket].wildcard);
}

void
nat_udpio_dest_fill (NatUdpDest *dest, const NatUdpSource *source, gboolean many_locals)
{
  const NatAddress *local = &source->key.local;

  memset (dest, 0, sizeof *dest);
  dest->socket = (guint8)source->socket;
  dest->name_len = (guint8)nat_address_to_sockaddr (&source->key.remote, &dest->name.any);
  if (local->family == 6)
    dest->name.in6.sin6_scope_id = source->interface;
  if (!many_locals || nat_address_is_any (local))
    return;
  if (local->family == 4) {
    struct in_pktinfo info = {0};
    memcpy (&info.ipi_spec_dst, local->ip, 4);
    set_control (dest, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  } else {
    struct in6_pktinfo info = {0};
    memcpy (&info.ipi6_addr, local->ip, 16);
    info.ipi6_ifindex = source->interface;
    set_control (dest, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
  }
}

static void
fill_header (struct msghdr *h, const NatUdpDest *dest, const struct iovec *iov, guint n_iov)
{
  /* The system only reads these; its struct serves both directions and so has no const. */
  h->msg_name = (gpointer)&dest->name;
  h->msg_namelen = dest->name_len;
  h->msg_iov = (struct iovec *)iov;
  h->msg_iovlen = n_iov;
  h->msg_control = dest->control_len ? (gpointer)dest->control : NULL;
  h->msg_controllen = dest->control_len;
  h->msg_flags = 0;
}

static void
add_segment_size (struct msghdr *h, const NatUdpDest *dest, guint16 segment, TxControl *control)
{
  struct cmsghdr *c = (struct cmsghdr *)(control->bytes + dest->control_len);

  memcpy (control->bytes, dest->control, dest->control_len);
  c->cmsg_level = IPPROTO_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN (sizeof segment);
  memcpy (CMSG_DATA (c), &segment, sizeof segment);
  h->msg_control = control->bytes;
  h->msg_controllen = dest->control_len + CMSG_SPACE (sizeof segment);
}

static void
prepare (NatUdpio *io, guint i, const NatUdpMessage *m)
{
  struct msghdr *h = &io->tx[i].msg_hdr;

  fill_header (h, m->dest, m->run->iov, m->run->n_iov);
  if (m->run->n_packets > 1)
    add_segment_size (h, m->dest, (guint16)m->run->segment, &io->tx_control[i]);
}

static gboolean
buffer_full (int code)
{
  return code == EAGAIN || code == EWOULDBLOCK || code == ENOBUFS;
}

static void
count_refused (NatUdpio *io, int code, guint packets)
{
  nat_counter_add (
      buffer_full (code) ? &io->counters->send_again : &io->counters->send_failed, packets);
}

gboolean
nat_udpio_send_one (NatUdpio *io, const NatUdpDest *dest, gconstpointer data, gsize len)
{
  struct iovec iov = {(gpointer)data, len};
  struct msghdr h;

  fill_header (&h, dest, &iov, 1);
  if (sendmsg (io->sockets[dest->socket].fd, &h, MSG_NOSIGNAL) < 0) {
    count_refused (io, errno, 1);
    return FALSE;
  }
  nat_counter_add (&io->counters->datagrams_sent, 1);
  return TRUE;
}

/* The system would not cut this message (a path with a small MTU, a driver without checksums):
 * cut it here, where IP may still fragment what is too long. */
static void
send_apart (NatUdpio *io, NatUdpMessage *m)
{
  for (guint i = 0; i < m->run->n_iov; i++) {
    const guint8 *data = m->run->iov[i].iov_base;
    gsize left = m->run->iov[i].iov_len;

    while (left > 0) {
      gsize len = MIN (left, m->run->segment);

      m->n_sent += nat_udpio_send_one (io, m->dest, data, len);
      data += len;
      left -= len;
    }
  }
}

/* The system refused this message, and with it the call. FALSE: the rest has no chance either. */
static gboolean
handle_refusal (NatUdpio *io, NatUdpMessage *m, int code)
{
  if (m->run->n_packets > 1 && (code == EINVAL || code == EIO || code == EMSGSIZE)) {
    send_apart (io, m);
    return TRUE;
  }
  count_refused (io, code, m->run->n_packets);
  return code != EAGAIN && code != EWOULDBLOCK;
}

/* n messages of one socket, at most SEND_BATCH. */
static void
send_batch (NatUdpio *io, NatUdpMessage *messages, guint n)
{
  int fd = io->sockets[messages[0].dest->socket].fd;

  for (guint i = 0; i < n; i++)
    prepare (io, i, &messages[i]);
  for (guint i = 0; i < n;) {
    int done = sendmmsg (fd, io->tx + i, n - i, MSG_NOSIGNAL);

    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0 && !handle_refusal (io, &messages[i], errno)) {
      /* The socket's buffer is full: each further try would cost a call and get the same answer. */
      while (++i < n)
        count_refused (io, EAGAIN, messages[i].run->n_packets);
      return;
    }
    for (int k = 0; k < done; k++) {
      messages[i + (guint)k].n_sent = messages[i + (guint)k].run->n_packets;
      nat_counter_add (&io->counters->datagrams_sent, messages[i + (guint)k].n_sent);
    }
    i += done > 0 ? (guint)done : 1;
  }
}

void
nat_udpio_send (NatUdpio *io, NatUdpMessage *messages, guint n)
{
  for (guint start = 0, end; start < n; start = end) {
    messages[start].n_sent = 0;
    for (end = start + 1; end < n && end - start < SEND_BATCH &&
                          messages[end].dest->socket == messages[start].dest->socket;
         end++)
      messages[end].n_sent = 0;
    send_batch (io, messages + start, end - start);
  }
}
