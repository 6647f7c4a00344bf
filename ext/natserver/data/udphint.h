/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What a person is told about UDP sockets: why one cannot be opened, what the system withholds, what was
 * found out while packets flow, and what to do about it. */

#include "natproto/address.h"

G_BEGIN_DECLS

/* code: of errno, after socket or bind. */
void nat_udphint_bind_error (GError **error, const NatAddress *address, int code);
/* Adds a line for each buffer that is smaller than wanted, all in bytes; once. */
void nat_udphint_buffers (GString *lines, gsize receive, gsize send, gsize wanted);
/* Adds a line for what the system cannot; once. joins: UDP_GRO, cuts: UDP_SEGMENT. */
void nat_udphint_offload (GString *lines, gboolean joins, gboolean cuts);

/* Seen while packets flow. */
typedef enum {
  NAT_UDPHINT_NO_OFFLOAD = 1 << 0, /* EIO, EINVAL: a message was not cut */
  NAT_UDPHINT_LONG = 1 << 1,       /* EMSGSIZE: nor this, for its datagrams are too long */
  NAT_UDPHINT_SEND_FULL = 1 << 2,  /* EAGAIN */
  NAT_UDPHINT_NO_MEMORY = 1 << 3,  /* ENOBUFS, ENOMEM; a device's full queue says nothing */
  NAT_UDPHINT_OVERFLOW = 1 << 4,   /* of a receive buffer */
} NatUdphintFinding;

/* A line for each finding. buffer: bytes that each socket has for sending. Allocated. */
char *nat_udphint_findings (guint findings, gsize buffer);

G_END_DECLS
