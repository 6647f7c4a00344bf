/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a datagram costs is the walk through the IP stack, and that is paid per message, not
 * per datagram: so datagrams of equal size are read as one (UDP_GRO) and sent as one (UDP_SEGMENT).
 * sendmmsg alone saves little; it is used because messages to many receivers come in a row.
 * io_uring and zero copy were measured and gain nothing here. */

#include "natserver/data/udpio.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/udp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "natserver/data/lane.h"
#include "natserver/data/udphint.h"
#include "natserver/data/udpsocket.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

#define SLOT_SIZE  65536
#define SEND_BATCH 256
#define RX_CONTROL 128
#define NO_BUFFERS 8    /* such refusals in a call, then it is given up */
#define HELD_BACK  (-1) /* among the codes of errno: there is no room for its rank */
#define APART      63   /* messages to whom the system would not cut one; then it is asked again */
#define MEMINFO_WORDS                                                                              \
  9 /* of SO_MEMINFO: bytes to be read, how many may be, ...; the last counts what was dropped */
#define TX_CONTROL (CMSG_SPACE (sizeof (struct in6_pktinfo)) + CMSG_SPACE (sizeof (guint16)))

typedef union {
  _Alignas(struct cmsghdr) guint8 bytes[RX_CONTROL];
} RxControl;

typedef union {
  _Alignas(struct cmsghdr) guint8 bytes[TX_CONTROL];
} TxControl;

struct _NatUdpio {
  guint n_sockets;
  NatUdpSocket sockets[NAT_UDPIO_SOCKETS];
  NatWorkerCounters *counters;
  NatLane *lane;

  guint8 *buffers;
  struct mmsghdr rx[NAT_UDPIO_SLOTS];
  struct iovec rx_iov[NAT_UDPIO_SLOTS];
  struct sockaddr_in6 rx_name[NAT_UDPIO_SLOTS];
  RxControl rx_control[NAT_UDPIO_SLOTS];
  NatUdpSuper supers[NAT_UDPIO_SLOTS];

  /* Slots of one system call: a message each, or a datagram of one that is sent apart. */
  struct mmsghdr tx[SEND_BATCH];
  TxControl tx_control[SEND_BATCH];
  struct iovec tx_iov[SEND_BATCH];
  NatUdpMessage *tx_message[SEND_BATCH];
  guint tx_packets[SEND_BATCH];

  _Atomic guint findings;
};

/* ---- Opening ----------------------------------------------------------- */

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
    if (!nat_udpsocket_open (&io->sockets[i], &listen[i], sibling, error))
      return NULL;
    nat_udpsocket_size_buffers (&io->sockets[i], buffer, hints);
    nat_udphint_offload (hints, io->sockets[i].joins, io->sockets[i].cuts);
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
    nat_udpsocket_share (&first->sockets[i]);
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

void
nat_udpio_set_lane (NatUdpio *io, NatLane *lane)
{
  io->lane = lane;
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
find (NatUdpio *io, guint finding)
{
  atomic_store_explicit (&io->findings,
      atomic_load_explicit (&io->findings, memory_order_relaxed) | finding, memory_order_relaxed);
}

gint64
nat_udpio_clock_ns (void)
{
  struct timespec t;

  clock_gettime (CLOCK_REALTIME, &t); /* what the system stamps datagrams with */
  return (gint64)t.tv_sec * 1000000000 + t.tv_nsec;
}

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
    } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
      struct timespec t;
      memcpy (&t, CMSG_DATA (c), sizeof t);
      super->source.arrived_ns = (gint64)t.tv_sec * 1000000000 + t.tv_nsec;
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
    super->source.scope = name->sin6_scope_id;
  read_control (h, super);
  if (super->source.arrived_ns == 0)
    super->source.arrived_ns = nat_udpio_clock_ns ();
  nat_counter_add (&io->counters->datagrams_received,
      super->len > super->segment ? (super->len + super->segment - 1) / super->segment : 1);
}

guint
nat_udpio_receive (NatUdpio *io, guint socket, guint max, NatUdpSuper **supers)
{
  int n;

  for (guint i = 0; i < max; i++) {
    io->rx[i].msg_hdr.msg_namelen = sizeof io->rx_name[i];
    io->rx[i].msg_hdr.msg_controllen = RX_CONTROL;
  }
  n = recvmmsg (io->sockets[socket].fd, io->rx, max, MSG_DONTWAIT, NULL);
  /* An error of the socket is told once, in place of what lies there; and of that nobody will tell again. */
  if (n < 0 && errno != EAGAIN)
    n = recvmmsg (io->sockets[socket].fd, io->rx, max, MSG_DONTWAIT, NULL);
  for (int i = 0; i < n; i++)
    read_slot (io, (guint)i, socket);
  *supers = io->supers;
  return n > 0 ? (guint)n : 0;
}

gboolean
nat_udpio_count_overflow (NatUdpio *io)
{
  gboolean pressed = FALSE;

  for (guint i = 0; i < io->n_sockets; i++) {
    NatUdpSocket *s = &io->sockets[i];
    guint32 info[MEMINFO_WORDS] = {0};
    socklen_t len = sizeof info;

    if (getsockopt (s->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
      continue;
    pressed |= info[0] > info[1] / 4 || info[MEMINFO_WORDS - 1] != s->overflow;
    if (info[MEMINFO_WORDS - 1] == s->overflow)
      continue;
    nat_counter_add (
        &io->counters->receive_overflow, (guint32)(info[MEMINFO_WORDS - 1] - s->overflow));
    s->overflow = info[MEMINFO_WORDS - 1];
    find (io, NAT_UDPHINT_OVERFLOW);
  }
  return pressed;
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
  return socket < io->n_sockets && io->sockets[socket].wildcard;
}

void
nat_udpio_dest_init (const NatUdpio *io, NatUdpDest *dest, const NatUdpSource *source)
{
  nat_udpio_dest_fill (dest, source, nat_udpio_has_many_locals (io, source->socket));
}

void
nat_udpio_dest_fill (NatUdpDest *dest, const NatUdpSource *source, gboolean many_locals)
{
  const NatAddress *local = &source->key.local;

  memset (dest, 0, sizeof *dest);
  dest->socket = (guint8)source->socket;
  if (source->socket == NAT_UDPIO_TUNNEL) {
    dest->name.connection = source->scope;
    return;
  }
  dest->name_len = (guint8)nat_address_to_sockaddr (&source->key.remote, &dest->name.any);
  if (local->family == 6)
    dest->name.in6.sin6_scope_id = source->scope;
  if (!many_locals || nat_address_is_any (local))
    return;
  if (local->family == 4) {
    struct in_pktinfo info = {0};
    memcpy (&info.ipi_spec_dst, local->ip, 4);
    set_control (dest, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  } else {
    struct in6_pktinfo info = {0};
    memcpy (&info.ipi6_addr, local->ip, 16);
    info.ipi6_ifindex = source->scope;
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

/* Takes the next slot for packets datagrams of m. */
static void
add_slot (
    NatUdpio *io, guint slot, NatUdpMessage *m, const struct iovec *iov, guint n_iov, guint packets)
{
  struct msghdr *h = &io->tx[slot].msg_hdr;

  fill_header (h, m->dest, iov, n_iov);
  if (packets > 1)
    add_segment_size (h, m->dest, (guint16)m->run->segment, &io->tx_control[slot]);
  io->tx_message[slot] = m;
  io->tx_packets[slot] = packets;
}

/* The system would not cut this message (no offload, a path with a small MTU): it is cut here, where
 * IP may still fragment what is too long. */
static guint
add_apart (NatUdpio *io, guint slots, NatUdpMessage *m)
{
  const NatUdpRun *run = m->run;
  guint k = 0;

  if (m->dest->apart > 0 && m->n_done == 0 && --m->dest->apart == 0)
    m->dest->again = TRUE;
  for (guint i = 0; i < run->n_iov; i++) {
    for (gsize at = 0; at < run->iov[i].iov_len && slots < SEND_BATCH; at += run->segment, k++) {
      if (k < m->n_done)
        continue;
      io->tx_iov[slots] = (struct iovec){
          (guint8 *)run->iov[i].iov_base + at, MIN (run->segment, run->iov[i].iov_len - at)};
      add_slot (io, slots, m, &io->tx_iov[slots], 1, 1);
      slots++;
    }
  }
  return slots;
}

static gboolean
is_due (const NatUdpMessage *m)
{
  return m->n_done < m->run->n_packets && m->refusal == 0;
}

/* The system charges for whole pages and its own structures, of each datagram: also of those that it cuts
 * a message into. */
static gsize
cost (gsize bytes, guint packets)
{
  return 2 * bytes + 768 * (gsize)packets;
}

static gsize
cost_of (const NatUdpRun *run)
{
  return cost (run->bytes, run->n_packets);
}

/* What a rank may fill of the send buffer. */
static gsize
share (const NatUdpSocket *s, NatRank rank)
{
  switch (rank) {
  case NAT_RANK_VIDEO: return s->send_buffer / 4 * 3;
  case NAT_RANK_AUDIO: return s->send_buffer / 16 * 15;
  default: return G_MAXSIZE;
  }
}

static gboolean
fits_in (const NatUdpSocket *s, const NatUdpMessage *m)
{
  gsize most = share (s, m->run->rank);

  /* Where the buffer is small, the longest message still has its turn. */
  return s->queued <= most / 2 || s->queued + cost_of (m->run) <= most;
}

/* While slots are filled. */
typedef struct {
  gboolean asked; /* the system, how much is in the buffer */
  gsize filled;   /* cost of the slots, of which the system does not know yet */
} Filling;

/* The system is asked only when all that was sent since might be in the buffer still: with 8 MiB, once in
 * thousands of datagrams. */
static gboolean
takes_room (NatUdpSocket *s, const NatUdpMessage *m, Filling *f)
{
  int queued;

  if (!fits_in (s, m) && !f->asked && ioctl (s->fd, SIOCOUTQ, &queued) == 0) {
    f->asked = TRUE;
    s->queued = (gsize)queued + f->filled;
  }
  if (!fits_in (s, m))
    return FALSE;
  s->queued += cost_of (m->run);
  f->filled += cost_of (m->run);
  return TRUE;
}

/* Slots for what is due and has room; returns how many. */
static guint
fill (NatUdpio *io, NatUdpSocket *s, NatUdpMessage *messages, guint n)
{
  Filling filling = {0};
  guint slots = 0;

  for (guint i = 0; i < n && slots < SEND_BATCH; i++) {
    NatUdpMessage *m = &messages[i];

    if (!is_due (m) || !takes_room (s, m, &filling))
      continue;
    if (m->run->n_packets > 1 && (m->dest->apart || m->n_done > 0 || !s->cuts))
      slots = add_apart (io, slots, m);
    else
      add_slot (io, slots++, m, m->run->iov, m->run->n_iov, m->run->n_packets);
  }
  return slots;
}

/* ---- Refusals ---------------------------------------------------------- */

/* docs/design/overload.md says what is done about each, and why. */

static NatCounter *
cause (NatWorkerCounters *c, int code)
{
  switch (code) {
  case HELD_BACK: return &c->send_held_back;
  case EAGAIN: return &c->send_buffer_full;
  case ENOBUFS:
  case ENOMEM: return &c->send_no_buffers;
  case EPERM:
  case EACCES: return &c->send_forbidden;
  case EMSGSIZE: return &c->send_too_long;
  case ENETUNREACH:
  case EHOSTUNREACH:
  case ENETDOWN:
  case EHOSTDOWN:
  case ECONNREFUSED: return &c->send_unreachable;
  default: return &c->send_failed;
  }
}

static void
count_refused (NatUdpio *io, NatRank rank, int code, guint packets)
{
  NatWorkerCounters *c = io->counters;
  NatCounter *const unsent[NAT_RANKS] = {&c->unsent_control, &c->unsent_audio, &c->unsent_video};

  nat_counter_add (cause (c, code), packets);
  nat_counter_add (unsent[rank], packets);
  if (code == EAGAIN || code == HELD_BACK)
    find (io, NAT_UDPHINT_SEND_FULL);
}

/* ICMP may have brought it, for another datagram than this one: the system hands it to whoever sends next. */
static gboolean
may_be_late (int code)
{
  return code == ECONNREFUSED || code == EHOSTUNREACH || code == ENETUNREACH || code == EHOSTDOWN ||
         code == EPROTO || code == ENOPROTOOPT;
}

gboolean
nat_udpio_send_one (NatUdpio *io, const NatUdpDest *dest, gconstpointer data, gsize len)
{
  NatUdpSocket *s = &io->sockets[dest->socket];
  struct iovec iov = {(gpointer)data, len};
  struct msghdr h;
  gssize sent;

  if (dest->socket == NAT_UDPIO_TUNNEL)
    return nat_lane_send_one (io->lane, dest->name.connection, data, len);
  fill_header (&h, dest, &iov, 1);
  sent = sendmsg (s->fd, &h, MSG_NOSIGNAL);
  if (sent < 0 && may_be_late (errno))
    sent = sendmsg (s->fd, &h, MSG_NOSIGNAL);
  s->queued += cost (len, 1);
  if (sent < 0) {
    count_refused (io, NAT_RANK_CONTROL, errno, 1);
    return FALSE;
  }
  nat_counter_add (&io->counters->datagrams_sent, 1);
  return TRUE;
}

/* ---- Batches ----------------------------------------------------------- */

typedef enum {
  ON_AGAIN,   /* the same slot */
  ON_NEXT,    /* what follows */
  ON_MESSAGE, /* what follows its message */
  ON_REFILL,  /* the slots are not right any more */
  ON_FULL,    /* the socket takes no more */
} On;

typedef struct {
  gboolean late;    /* one that may be late was there */
  guint no_buffers; /* so many were refused */
  int full;         /* why the socket takes no more */
} Refusals;

/* EINVAL says either that a message was not cut, which its datagrams will show, or, to them as well, that there is no way
 * from that address of ours. */
static On
handle_invalid (NatUdpio *io, guint slot, int code)
{
  NatUdpMessage *m = io->tx_message[slot];

  if (io->tx_packets[slot] > 1) {
    if (code != EINVAL)
      find (io, code == EMSGSIZE ? NAT_UDPHINT_LONG : NAT_UDPHINT_NO_OFFLOAD);
    m->dest->unsure = code == EINVAL;
    m->dest->apart = APART;
    return ON_REFILL;
  }
  count_refused (io, m->run->rank, code, m->run->n_packets - m->n_done);
  m->n_done = m->run->n_packets;
  m->dest->apart = m->dest->unsure = 0;
  m->dest->again = TRUE;
  return ON_MESSAGE;
}

/* The system refused this slot, and with it the call. */
static On
handle_refusal (NatUdpio *io, guint slot, int code, Refusals *seen)
{
  NatUdpMessage *m = io->tx_message[slot];

  if (code == EINTR)
    return ON_AGAIN;
  seen->full = code;
  if (code == EAGAIN)
    return ON_FULL;
  if (may_be_late (code) && !seen->late) {
    seen->late = TRUE;
    return ON_AGAIN;
  }
  if (code == ENOBUFS || code == ENOMEM) {
    find (io, NAT_UDPHINT_NO_MEMORY);
    m->refusal = code;
    return ++seen->no_buffers < NO_BUFFERS ? ON_MESSAGE : ON_FULL;
  }
  if (code == EINVAL || (io->tx_packets[slot] > 1 && (code == EIO || code == EMSGSIZE)))
    return handle_invalid (io, slot, code);
  count_refused (io, m->run->rank, code, io->tx_packets[slot]);
  m->n_done += io->tx_packets[slot];
  return ON_NEXT;
}

static void
took (NatUdpio *io, guint slot, guint n)
{
  guint packets = 0;

  for (guint i = slot; i < slot + n; i++) {
    NatUdpMessage *m = io->tx_message[i];

    m->n_sent += io->tx_packets[i];
    m->n_done += io->tx_packets[i];
    packets += io->tx_packets[i];
    if (io->tx_packets[i] == m->run->n_packets)
      continue;
    nat_counter_add (&io->counters->send_apart, 1);
    if (m->dest->unsure)
      find (io, NAT_UDPHINT_NO_OFFLOAD);
    m->dest->unsure = 0;
  }
  nat_counter_add (&io->counters->datagrams_sent, packets);
}

static On
push (NatUdpio *io, const NatUdpSocket *s, guint slots, int *full)
{
  Refusals seen = {0};

  for (guint i = 0, first; i < slots;) {
    int n = sendmmsg (s->fd, io->tx + i, slots - i, MSG_NOSIGNAL);
    On on = n > 0 ? ON_AGAIN : handle_refusal (io, i, errno, &seen);

    if (n > 0) {
      took (io, i, (guint)n);
      i += (guint)n;
    } else if (on == ON_MESSAGE) {
      for (first = i; i < slots && io->tx_message[i] == io->tx_message[first];)
        i++;
    } else if (on == ON_NEXT) {
      i++;
    } else if (on != ON_AGAIN) {
      *full = seen.full;
      return on;
    }
  }
  return ON_NEXT;
}

/* n messages of one socket. Returns how many were refused. */
static guint
send_group (NatUdpio *io, NatUdpMessage *messages, guint n)
{
  NatUdpSocket *s = &io->sockets[messages[0].dest->socket];
  On on = ON_NEXT;
  int full = 0;
  guint refused = 0;

  for (guint slots; on != ON_FULL && (slots = fill (io, s, messages, n)) > 0;)
    on = push (io, s, slots, &full);
  for (guint i = 0; i < n; i++) {
    if (is_due (&messages[i]))
      messages[i].refusal = on == ON_FULL ? full : HELD_BACK;
    refused += messages[i].refusal != 0;
  }
  return refused;
}

static guint
send_groups (NatUdpio *io, NatUdpMessage *messages, guint n)
{
  guint refused = 0;

  for (guint start = 0, end; start < n; start = end) {
    for (end = start + 1; end < n && messages[end].dest->socket == messages[start].dest->socket;)
      end++;
    if (messages[start].dest->socket == NAT_UDPIO_TUNNEL)
      nat_lane_send (io->lane, messages + start, end - start);
    else
      refused += send_group (io, messages + start, end - start);
  }
  return refused;
}

void
nat_udpio_send (NatUdpio *io, NatUdpMessage *messages, guint n)
{
  for (guint i = 0; i < n; i++) {
    messages[i].n_sent = messages[i].n_done = 0;
    messages[i].refusal = 0;
  }
  if (send_groups (io, messages, n) == 0)
    return;
  for (guint i = 0; i < n; i++) {
    if (messages[i].refusal != 0)
      nat_counter_add (
          &io->counters->send_retried, messages[i].run->n_packets - messages[i].n_done);
    messages[i].refusal = 0;
  }
  send_groups (io, messages, n);
  for (guint i = 0; i < n; i++) {
    if (messages[i].refusal != 0)
      count_refused (io, messages[i].run->rank, messages[i].refusal,
          messages[i].run->n_packets - messages[i].n_done);
  }
}

guint
nat_udpio_findings (const NatUdpio *io)
{
  return atomic_load_explicit ((_Atomic guint *)&io->findings, memory_order_relaxed);
}

gsize
nat_udpio_buffer (const NatUdpio *io)
{
  return io->sockets[0].send_buffer / 2;
}
