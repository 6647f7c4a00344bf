/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* An IP address and port as a plain value: comparable with memcmp, hashable, fit
 * for tables. IPv4-mapped IPv6 addresses are folded to IPv4 when they come in. An IPv6 scope is not
 * kept: link-local addresses cannot be answered. */

#include <glib.h>

G_BEGIN_DECLS

struct sockaddr;

typedef struct {
  guint8 ip[16];    /* network order; IPv4 in the first four bytes, the rest zero */
  guint16 port;     /* host order */
  guint8 family;    /* 4, 6, or 0 for "none" */
  guint8 transport; /* NatTransport; part of the identity of a path */
} NatAddress;

typedef enum {
  NAT_TRANSPORT_UDP = 0,
  NAT_TRANSPORT_WEBSOCKET = 1,
} NatTransport;

#define NAT_ADDRESS_TEXT_MAX 64 /* bytes with the closing zero */

/* FALSE, and *out is "none", for a family other than AF_INET and AF_INET6 or a short len. */
gboolean nat_address_from_sockaddr (NatAddress *out, const struct sockaddr *sa, gsize len);
/* From 4 or 16 bytes in network order; FALSE, and *out is "none", for another len. */
gboolean nat_address_from_ip (NatAddress *out, const guint8 *ip, gsize len, guint16 port);
/* Writes at most sizeof(struct sockaddr_in6) bytes; returns the length, 0 for "none". */
gsize nat_address_to_sockaddr (const NatAddress *a, struct sockaddr *out);
/* "192.0.2.1:5000", "[2001:db8::1]:5000"; always terminated. Returns text. */
const char *nat_address_to_text (const NatAddress *a, char text[NAT_ADDRESS_TEXT_MAX]);
/* Numeric "ADDRESS:PORT" or "[V6]:PORT", or without port (then default_port). No DNS. */
gboolean nat_address_from_text (NatAddress *out, const char *text, guint16 default_port);
gboolean nat_address_equal (const NatAddress *a, const NatAddress *b);
gboolean nat_address_is_loopback (const NatAddress *a);
gboolean nat_address_is_any (const NatAddress *a);

G_END_DECLS
