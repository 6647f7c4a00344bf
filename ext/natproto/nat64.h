/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* IPv4 addresses as a network that has only IPv6 translates them (RFC 6052), and how its prefix is found from
 * what its name server says of ipv4only.arpa (RFC 7050). */

#include "natproto/address.h"

G_BEGIN_DECLS

#define NAT_NAT64_NAME "ipv4only.arpa" /* has IPv4 addresses only, which everybody knows */

typedef struct {
  guint8 bytes[16];
  guint8 length; /* bits: 32, 40, 48, 56, 64 or 96; 0 = no prefix */
} NatNat64;

/* named: an IPv6 address that NAT_NAT64_NAME leads to. FALSE, and no prefix: nobody translates by it. */
gboolean nat_nat64_find (NatNat64 *out, const NatAddress *named);
/* The same port and transport. FALSE, and *out is "none", without a prefix, or if v4 is none. */
gboolean nat_nat64_map (const NatNat64 *prefix, const NatAddress *v4, NatAddress *out);

G_END_DECLS
