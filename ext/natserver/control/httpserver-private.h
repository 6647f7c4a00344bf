/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The inside of the HTTPS server, for its files: httpserver.c (what becomes of a connection) and httpaccept.c (which
 * are taken, and who has to make room). */

#include "natserver/control/httpserver.h"
#include "natserver/control/neighbours.h"

G_BEGIN_DECLS

typedef enum {
  STATE_PEEK,
  STATE_HANDSHAKE,
  STATE_HEAD,
  STATE_CONTINUE,
  STATE_BODY,
  STATE_WAIT,
  STATE_RESPONSE,
  STATE_BYE,
  STATE_LINGER,
} ConnState;

typedef struct {
  GSource base;
  struct _NatHttpConn *conn;
} NatHttpConnSource;

typedef struct _NatHttpConn {
  NatHttpServer *server;
  GList link;           /* in server->conns, oldest first */
  GList handshake_link; /* in server->handshakes while PEEK or HANDSHAKE */
  GList idle_link;      /* in server->idlers while idle */
  gboolean idle;
  gconstpointer wait; /* in WAIT: for this */
  gboolean known;     /* who asks has a session here */
  NatNeighbour *neighbour;
  GSource *source;
  gpointer tag;
  int fd;
  NatTls *tls;
  ConnState state;
  gboolean late;  /* the deadline passed once, 408 is on its way */
  gboolean last;  /* the connection ends with this response */
  gboolean taken; /* ... here, and goes on elsewhere */
  gboolean turn;  /* more is here already, to be looked at when the others had their turn */
  gint64 deadline_us;
  NatAddress peer, local;
  GByteArray *in; /* head and body as they come */
  guint room;     /* that in has without growing */
  gsize begin;    /* of the head: an empty line before it counts for nothing */
  gsize scanned, head_len;
  NatHttpRequest request;
  GString *out;
  gsize out_pos;
  gsize lingered;
} NatHttpConn;

struct _NatHttpServer {
  NatHttpLimits limits;
  NatTlsIdentity *identity;
  NatHttpHandler handler;
  gpointer user;
  NatHttpTaker taker;
  gpointer taker_user;
  GPtrArray *listeners;
  guint resume; /* timeout that ends a pause */
  GQueue conns, handshakes;
  GQueue idlers; /* longest idle first */
  guint waiters; /* connections in WAIT */
  NatNeighbours *neighbours;
  NatHttpServerStats stats;
};

/* httpserver.c */
void nat_http_conn_new (
    NatHttpServer *server, int fd, const NatAddress *peer, NatNeighbour *neighbour);
void nat_http_conn_close (NatHttpConn *c);

/* httpaccept.c; listener is one of server->listeners. */
void nat_http_listener_free (gpointer listener);

G_END_DECLS
