/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>
#include <sys/socket.h>
#include "natproto/address.h"

G_BEGIN_DECLS

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BENCH_SOCKET_BUFFER (8 << 20) /* bytes; the same for every loop and every socket of ours */
#define BENCH_GSO_BYTES     65000     /* what one message with UDP_SEGMENT may hold */
#define BENCH_GSO_SEGMENTS  64

typedef struct {
  struct sockaddr_storage sa;
  socklen_t len;
} BenchSockaddr;

BenchSockaddr bench_sockaddr (const NatAddress *a);
/* "ADDRESS:PORT", the port plus offset; ends the program with a message when it is not one. */
NatAddress bench_address (const char *text, guint offset);
/* A bound UDP socket with big buffers; port 0 = any. -1 with an error. */
int bench_udp_socket (const NatAddress *local, GError **error);
NatAddress bench_socket_local (int fd);
gboolean bench_enable_gro (int fd, GError **error);
/* The kernel stamps what comes in. */
gboolean bench_enable_stamps (int fd, GError **error);
/* Before others on its core, where that is allowed, and with timers that are in time. */
void bench_come_first (void);
/* As many descriptors as this process may have. */
void bench_many_descriptors (void);
/* Bytes that SO_RCVBUF really holds, as the kernel counts them. */
int bench_receive_buffer (int fd);

/* One STUN transaction over a socket that may carry other datagrams too: sends request until a
 * message with its transaction id comes back. Returns the length, 0 after 2.5 s. */
gsize bench_stun_exchange (
    int fd, const NatAddress *to, const guint8 *request, gsize len, guint8 *reply, gsize cap);

/* Monotonic nanoseconds. */
gint64 bench_now_ns (void);

G_END_DECLS
