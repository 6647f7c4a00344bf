/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The routes of the relay's HTTPS port: from a request to the registry, and from its answer to JSON. */

#include "natserver/control/http.h"
#include "natserver/control/registry.h"

G_BEGIN_DECLS

#define NAT_API_LIST_MAX 1000 /* sessions or streams in one answer */

typedef struct {
  NatRegistry *registry;
  NatAuth *auth;
  NatAdmission *admission;
  const NatAddress *listen; /* UDP, as bound */
  guint n_listen;
  const NatAddress *public_address; /* outside addresses of a 1:1 NAT; their ports do not count */
  guint n_public_address;
  /* What control does not know; user is theirs. */
  void (*fill_snapshot) (NatSnapshot *snapshot, gpointer user);
  char *(*metrics) (const NatSnapshot *snapshot, gpointer user);
  /* addresses FALSE: without clients' addresses and subjects. */
  char *(*status_page) (const NatSnapshot *snapshot, gboolean addresses, gpointer user);
  gpointer user;
} NatApi; /* all borrowed */

/* A NatHttpHandler; user is a NatApi. */
void nat_api_handle (const NatHttpRequest *request, NatHttpResponse *response, gpointer api);

/* Where a client whose HTTPS connection reached local is to send its datagrams, best first. */
guint nat_api_udp_addresses (
    const NatApi *api, const NatAddress *local, NatAddress out[NAT_UDP_ADDRESSES_MAX]);

G_END_DECLS
