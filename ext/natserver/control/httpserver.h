/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay's HTTPS port: it takes connections, shakes hands, reads one request of each and writes one
 * response, all on the default GMainContext and never waiting. Every resource that a stranger could
 * use up has its limit here. */

#include "natserver/control/http.h"
#include "natserver/control/tls.h"

G_BEGIN_DECLS

typedef struct {
  guint connections;             /* at a time, in all */
  guint connections_per_address; /* IPv6: per /64, what one customer of a provider has */
  guint handshakes;  /* under way at a time: a further one closes the stalest of whoever has most */
  guint deadline_ms; /* from accept to the end of the request */
} NatHttpLimits;

#define NAT_HTTP_LIMITS_DEFAULT                                                                    \
  {                                                                                                \
    1024, 64, 64, 10000                                                                            \
  }

/* Answers request; response->status must be set on return. */
typedef void (*NatHttpHandler) (
    const NatHttpRequest *request, NatHttpResponse *response, gpointer user);

typedef struct _NatHttpServer NatHttpServer;

NatHttpServer *nat_http_server_new (
    const NatHttpLimits *limits, NatTlsIdentity *identity, NatHttpHandler handler, gpointer user);
/* Closes everything at once. */
void nat_http_server_free (NatHttpServer *server);
/* For connections from now on; those that live keep the old one. */
void nat_http_server_set_identity (NatHttpServer *server, NatTlsIdentity *identity);
/* A TCP socket that is bound and will listen. Port 0: any; *local is what it got. The GError names the
 * address, the cause and what to do. Returns a descriptor, -1 on error. */
int nat_http_bind (const NatAddress *address, NatAddress *local, GError **error);
/* Starts to listen on a bound socket, which is the server's from now on. */
gboolean nat_http_server_listen (NatHttpServer *server, int fd, GError **error);

typedef struct {
  guint connections; /* now */
  guint64 requests;  /* answered, problems included */
  guint64 refused;   /* connections closed at accept or pushed out, for a limit */
} NatHttpServerStats;
void nat_http_server_get_stats (NatHttpServer *server, NatHttpServerStats *stats);

G_END_DECLS
