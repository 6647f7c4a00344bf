/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A UDP socket of the relay's, before packets flow: bound, with what the system has of buffers and of segmentation
 * offload (udp(7): UDP_GRO, UDP_SEGMENT). What passes through it is udpio.c's. The thread that starts the relay. */

#include <netinet/udp.h>

#include "natproto/address.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

G_BEGIN_DECLS

typedef struct {
  int fd;
  NatAddress local;
  gboolean wildcard; /* bound to 0.0.0.0 or [::]: each datagram has its own local address */
  gboolean joins;    /* UDP_GRO */
  gboolean cuts;     /* UDP_SEGMENT */
  gsize send_buffer; /* as the system counts: twice what was asked for */
  gsize queued; /* of it: no less than there is, for what left since the last look is not known */
  guint32 overflow; /* as counted so far */
} NatUdpSocket;

/* listen, with port 0 the one that the system gave, becomes s->local. sibling: others are bound to the same. FALSE: error
 * says what the operator can do, and s->fd, if it is not negative, is the caller's to close. */
gboolean nat_udpsocket_open (
    NatUdpSocket *s, const NatAddress *listen, gboolean sibling, GError **error);
/* From now on others may bind to the same address, too. */
void nat_udpsocket_share (NatUdpSocket *s);
/* Asks for so many bytes to receive and to send; where it gets less, a line for a person goes to hints. */
void nat_udpsocket_size_buffers (NatUdpSocket *s, gsize wanted, GString *hints);

G_END_DECLS
