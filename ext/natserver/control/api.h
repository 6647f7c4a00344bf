/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The routes of the relay's HTTPS port: from a request to the registry, and from its answer to JSON. */

#include "natserver/control/access.h"
#include "natserver/control/http.h"
#include "natserver/control/looks.h"
#include "natserver/control/registry.h"
#include "natserver/control/wsserver.h"

G_BEGIN_DECLS

typedef struct {
  NatRegistry *registry;
  NatAccess access;
  NatAdmission *admission;
  NatMemory *memory;        /* NULL: there is no bound */
  const NatAddress *listen; /* UDP, as bound */
  guint n_listen;
  const NatAddress *public_address; /* outside addresses of a 1:1 NAT; their ports do not count */
  guint n_public_address;
  gboolean draining;       /* no new sessions */
  NatWsServer *websockets; /* NULL: none are taken */
  NatLooks *looks;
} NatApi; /* all borrowed */

/* A NatHttpHandler; user is a NatApi. */
void nat_api_handle (const NatHttpRequest *request, NatHttpResponse *response, gpointer api);

/* Where a client whose HTTPS connection reached local is to send its datagrams, best first. */
guint nat_api_udp_addresses (
    const NatApi *api, const NatAddress *local, NatAddress out[NAT_UDP_ADDRESSES_MAX]);

G_END_DECLS
