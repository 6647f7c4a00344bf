/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The session's UDP sockets, one per address family, non-blocking, not connected: the relay may
 * answer at any of its addresses. All on the thread of one GMainContext, except that the GSocket
 * itself may be used for sending by anybody who holds a reference. */

#include "natclient/session.h"

G_BEGIN_DECLS

#define NAT_UDP_BATCH 32 /* datagrams read by one system call */

typedef struct {
  guint8 *data; /* NAT_DATAGRAM_MAX bytes of room */
  gsize len;
  NatAddress from;
} NatUdpDatagram;

typedef struct {
  /* May close the sockets; the batch stays readable until it returns. n_dropped: that came too, but
   * were longer than NAT_DATAGRAM_MAX or of no address. */
  void (*received) (gpointer user, NatUdpDatagram *batch, guint n, guint n_dropped);
  /* The kernel says that something that we sent went nowhere. No more than a hint. */
  void (*unreachable) (gpointer user);
} NatUdpOps;

typedef struct _NatUdp NatUdp;

/* Address, port, DSCP and buffer size from config, which must outlive the NatUdp. */
NatUdp *nat_udp_new (
    const NatSessionConfig *config, GMainContext *context, const NatUdpOps *ops, gpointer user);
void nat_udp_free (NatUdp *u);

/* Opens what is wanted and can be had. NULL: at least one family works. */
NatCause *nat_udp_open (NatUdp *u, gboolean want_v4, gboolean want_v6);
void nat_udp_close (NatUdp *u);
GSocket *nat_udp_socket (const NatUdp *u, guint8 family); /* 4 or 6; NULL = none */
/* One of the other family besides those that are open, unless bind-address forbids it. */
void nat_udp_add (NatUdp *u, guint8 family);
/* So IP_RECVERR has Linux tell that the interface's queue dropped a datagram (ENOBUFS). GIO's code for it is that of others,
 * too, but the system's word is in its text. */
gboolean nat_udp_is_queue_full (const GError *error);
/* FALSE: there is no way there, says the system. A datagram that a full queue dropped was sent. */
gboolean nat_udp_send (NatUdp *u, const NatAddress *to, const guint8 *data, gsize len);
/* Our own address as the kernel would choose it for this relay: y. */
void nat_udp_local (const NatUdp *u, const NatAddress *relay, NatAddress *local);
/* The same without a socket of ours, and without a port. FALSE: there is no way to the relay now. */
gboolean nat_udp_scout (const NatAddress *relay, NatAddress *local);
/* Bytes of the largest datagram that goes there in one piece, as far as the system knows: by the interface, or by ICMP;
 * 0 = it does not know. */
guint nat_udp_payload_max (const NatAddress *relay);

GSocketAddress *nat_udp_address (const NatAddress *a);

G_END_DECLS
