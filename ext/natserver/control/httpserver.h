/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay's HTTPS port: it takes connections, shakes hands, reads requests one after another and writes
 * a response to each, all on the default GMainContext and never waiting. Every resource that a
 * stranger could use up has its limit here. */

#include "natserver/control/http.h"
#include "natserver/control/memory.h"
#include "natserver/control/tls.h"

G_BEGIN_DECLS

typedef struct {
  guint connections;             /* at a time, in all */
  guint connections_per_address; /* IPv6: per /64, what one customer of a provider has */
  guint handshakes;  /* under way at a time: a further one closes the stalest of whoever has most */
  guint deadline_ms; /* from accept, or the first byte of a further request, to the request's end */
  guint idle_ms;     /* between an answer and the next request; at a limit, who idles goes first */
  NatMemory *memory; /* is asked before anything grows, and outlives the server; NULL: no bound */
} NatHttpLimits;

#define NAT_HTTP_IDLE_MS 5000

#define NAT_HTTP_LIMITS_DEFAULT                                                                    \
  {                                                                                                \
    1024, 64, 64, 10000, NAT_HTTP_IDLE_MS, NULL                                                    \
  }

/* Answers request: response->status is set on return, or response->wait. */
typedef void (*NatHttpHandler) (
    const NatHttpRequest *request, NatHttpResponse *response, gpointer user);

/* A connection that changes hands after its 101. */
typedef struct {
  int fd;
  NatTls *tls;
  NatAddress peer, local;
} NatHttpTaken;

/* taken and what is in it are the taker's. */
typedef void (*NatHttpTaker) (NatHttpTaken *taken, gpointer user);

typedef struct _NatHttpServer NatHttpServer;

NatHttpServer *nat_http_server_new (
    const NatHttpLimits *limits, NatTlsIdentity *identity, NatHttpHandler handler, gpointer user);
/* Closes everything at once. */
void nat_http_server_free (NatHttpServer *server);
/* For connections from now on; those that live keep the old one. */
void nat_http_server_set_identity (NatHttpServer *server, NatTlsIdentity *identity);
/* From now on; whoever is there stays. */
void nat_http_server_set_limits (NatHttpServer *server, const NatHttpLimits *limits);
/* Who gets the connections whose response says that they are taken. Before the first request. */
void nat_http_server_set_taker (NatHttpServer *server, NatHttpTaker taker, gpointer user);
/* Starts to listen on a bound socket (httplisten.h), which is the server's from now on. */
gboolean nat_http_server_listen (NatHttpServer *server, int fd, GError **error);

/* Something came of what requests wait for: each is put to the handler again. Not from within the handler. */
void nat_http_server_wake (NatHttpServer *server, gconstpointer what);

typedef struct {
  guint connections; /* now */
  guint64 requests;  /* answered, problems included */
  guint64 refused;   /* connections closed at accept or pushed out, for a limit */
} NatHttpServerStats;
void nat_http_server_get_stats (NatHttpServer *server, NatHttpServerStats *stats);

G_END_DECLS
