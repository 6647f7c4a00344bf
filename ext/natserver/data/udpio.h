/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What passes through the relay's UDP sockets. The only file that knows recvmmsg and sendmmsg, and with udpsocket.c, which
 * opens them, segmentation offload (UDP_GRO, UDP_SEGMENT) and packet information (IP_PKTINFO): what arrives comes as
 * super-packets with the address of ours that they were sent to, and what is sent leaves from the address that the
 * destination says. */

#include <netinet/in.h>
#include <sys/uio.h>

#include "natserver/counters.h"
#include "natserver/data/path.h"
#include "natserver/data/rank.h"

G_BEGIN_DECLS

#define NAT_UDPIO_SOCKETS 8
#define NAT_UDPIO_TUNNEL                                                                           \
  NAT_UDPIO_SOCKETS /* in place of a socket's index: by the tunnel (tunnel.h) */
#define NAT_UDPIO_OUTLETS  (NAT_UDPIO_SOCKETS + 1)
#define NAT_UDPIO_SLOTS    16    /* super-packets read at once, 64 KiB each */
#define NAT_UDPIO_SEGMENTS 64    /* datagrams in one message; Linux's own limit before 6.9 */
#define NAT_UDPIO_RUN_MAX  65000 /* bytes in one message; an IP packet holds 65,507 */

typedef struct _NatUdpio NatUdpio; /* one thread */
typedef struct _NatLane NatLane;   /* lane.h */

/* Where a datagram came from. */
typedef struct {
  NatPathKey key;    /* the sender, and which address of ours it chose */
  gint64 arrived_ns; /* when the system got it: the clock of nat_udpio_clock_ns */
  guint socket;      /* index */
  guint32 scope;     /* link-local senders: the interface; the tunnel's: the connection; else 0 */
  guint8 worker;     /* whose socket heard it */
  guint8 hops;       /* how often one worker gave it to another since */
} NatUdpSource;

/* Datagrams that arrived back to back from one source: each is segment bytes long, only the last
 * may be shorter. One datagram: segment == len. */
typedef struct {
  NatUdpSource source;
  guint8 *data; /* may be changed in place */
  gsize len;
  gsize segment;
} NatUdpSuper;

/* Where to send and from which address: everything that the system call wants, made once for
 * a path. Nothing in it points anywhere, so that it can be copied. */
typedef struct {
  union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    guint32 connection; /* the tunnel's */
  } name;
  guint8 socket;
  guint8 name_len;
  guint8 control_len; /* 0: the socket has only one address */
  /* nat_udpio_send's. */
  guint8
      apart : 6; /* the system does not cut messages to there, and is asked again after so many */
  guint8 unsure : 1; /* it may have refused them for another reason */
  guint8 again : 1;  /* apart became 0 */
  _Alignas(struct cmsghdr) guint8 control[CMSG_SPACE (sizeof (struct in6_pktinfo))];
} NatUdpDest;

/* Datagrams to be sent in one go: of equal length, only the last may be shorter. Every entry
 * of iov holds whole datagrams. */
typedef struct {
  const struct iovec *iov;
  guint n_iov;
  guint n_packets; /* at most NAT_UDPIO_SEGMENTS */
  gsize segment;   /* bytes of each datagram but the last */
  gsize bytes;     /* sum, at most NAT_UDPIO_RUN_MAX if there are several */
  NatRank rank;
} NatUdpRun;

typedef struct {
  NatUdpDest *dest;
  const NatUdpRun *run;
  gpointer user; /* the caller's */
  guint n_sent;  /* out: datagrams that the system took */
  guint n_done;  /* nat_udpio_send's: sent or given up, from the first on */
  int refusal;   /* nat_udpio_send's: why it waits for the second try; 0 = it does not */
} NatUdpMessage;

/* One more datagram in an entry of its own, iov being the run's. There is room. */
static inline void
nat_udp_run_add (NatUdpRun *run, struct iovec *iov, const guint8 *data, gsize len)
{
  iov[run->n_iov++] = (struct iovec){(gpointer)data, len};
  run->segment = len;
  run->bytes += len;
  run->n_packets++;
}

/* A run whose datagrams are all of one length has room for one of len bytes. */
static inline gboolean
nat_udp_run_has_room (const NatUdpRun *run, gsize len)
{
  return run->n_packets == 0 || (run->segment == len && run->n_packets < NAT_UDPIO_SEGMENTS &&
                                    run->bytes + len <= NAT_UDPIO_RUN_MAX);
}

/* Binds a socket to each address. buffer: bytes for SO_RCVBUF and SO_SNDBUF. hints: lines for a
 * person, or NULL; allocated. The counters outlive the NatUdpio. */
NatUdpio *nat_udpio_new (const NatAddress *listen, guint n_listen, gsize buffer,
    NatWorkerCounters *counters, char **hints, GError **error);
/* Sockets of its own on the addresses of first: the kernel gives each 5-tuple to one of them, always the
 * same. Before packets flow. Until then nobody else can have bound the ports. */
NatUdpio *nat_udpio_new_sibling (
    NatUdpio *first, gsize buffer, NatWorkerCounters *counters, GError **error);
void nat_udpio_free (NatUdpio *io);
/* Who takes what goes by the tunnel. It outlives the NatUdpio. */
void nat_udpio_set_lane (NatUdpio *io, NatLane *lane);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatUdpio, nat_udpio_free)
guint nat_udpio_n_sockets (const NatUdpio *io);
int nat_udpio_fd (const NatUdpio *io, guint socket); /* to wait for only */
const NatAddress *nat_udpio_local (const NatUdpio *io, guint socket);

/* Reads what is there, max (1 to NAT_UDPIO_SLOTS) at most, and never waits. *supers is valid until the
 * next call. Returns how many; fewer than max: no more was there. */
guint nat_udpio_receive (NatUdpio *io, guint socket, guint max, NatUdpSuper **supers);

void nat_udpio_dest_init (const NatUdpio *io, NatUdpDest *dest, const NatUdpSource *source);
/* The same without the NatUdpio, for one that is kept: many_locals as below. */
void nat_udpio_dest_fill (NatUdpDest *dest, const NatUdpSource *source, gboolean many_locals);
/* Whether the socket is bound to a wildcard. */
gboolean nat_udpio_has_many_locals (const NatUdpio *io, guint socket);
/* Sends in order, as few system calls as can be; neighbours with the same socket share one. What a full
 * buffer refuses is tried once more after the rest; what is refused again is dropped and counted by
 * its cause. Never waits. */
void nat_udpio_send (NatUdpio *io, NatUdpMessage *messages, guint n);
/* One datagram of control. */
gboolean nat_udpio_send_one (NatUdpio *io, const NatUdpDest *dest, gconstpointer data, gsize len);

/* Nanoseconds, comparable with arrived_ns. */
gint64 nat_udpio_clock_ns (void);
/* Counts what the system threw away because we did not read it in time. Now and then. TRUE: there was some, or much of a
 * receive buffer waits to be read. */
gboolean nat_udpio_count_overflow (NatUdpio *io);
/* What was found out while packets flow: of NatUdphintFinding. Any thread. */
guint nat_udpio_findings (const NatUdpio *io);
gsize nat_udpio_buffer (const NatUdpio *io); /* bytes that a socket was given for sending */

G_END_DECLS
