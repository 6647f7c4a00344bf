/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Which of our UDP addresses a client is told. */

#include "natserver/control/api.h"

static void
add_address (NatAddress *out, guint *n, const NatAddress *ip, guint16 port)
{
  NatAddress a = *ip;

  a.port = port;
  a.transport = NAT_TRANSPORT_UDP;
  for (guint i = 0; i < *n; i++) {
    if (nat_address_equal (&out[i], &a))
      return;
  }
  if (*n < NAT_UDP_ADDRESSES_MAX)
    out[(*n)++] = a;
}

static void
add_listen (
    const NatApi *api, const NatAddress *local, const NatAddress *listen, NatAddress *out, guint *n)
{
  gboolean translated = FALSE;

  for (guint i = 0; i < api->n_public_address; i++) {
    if (api->public_address[i].family == listen->family && !nat_address_is_loopback (local)) {
      add_address (out, n, &api->public_address[i], listen->port);
      translated = TRUE;
    }
  }
  if (translated)
    return;
  if (!nat_address_is_any (listen)) {
    if (nat_address_is_loopback (listen) == nat_address_is_loopback (local))
      add_address (out, n, listen, listen->port);
  } else if (listen->family == local->family) {
    add_address (out, n, local, listen->port);
  }
}

guint
nat_api_udp_addresses (
    const NatApi *api, const NatAddress *local, NatAddress out[NAT_UDP_ADDRESSES_MAX])
{
  guint n = 0;

  /* First the port that HTTPS came through: a firewall that lets one in lets the other in. */
  for (guint i = 0; i < api->n_listen; i++) {
    if (api->listen[i].port == local->port)
      add_listen (api, local, &api->listen[i], out, &n);
  }
  for (guint i = 0; i < api->n_listen; i++)
    add_listen (api, local, &api->listen[i], out, &n);
  if (n == 0 && local->family != 0)
    add_address (out, &n, local, local->port);
  return n;
}
