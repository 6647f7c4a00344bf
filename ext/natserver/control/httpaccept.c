/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Which connections the HTTPS server takes, and who makes room for them. */

#include "natserver/control/httpserver-private.h"

#include <errno.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <glib-unix.h>

#include "natserver/control/httplisten.h"

#define ACCEPTS_PER_WAKEUP 64
#define ACCEPT_PAUSE_MS    100
#define CONN_BYTES         (48 * 1024) /* of TLS, and of small requests */
/* Are taken however little memory is left: whoever runs the relay may want to look. */
#define CONNS_LEAST 8

typedef struct {
  NatHttpServer *server;
  int fd;
  guint watch; /* 0 while accepting is paused */
} Listener;

/* The stalest handshake of the neighbourhood that has most under way: one flooder pushes out himself. */
static void
push_out_handshake (NatHttpServer *server)
{
  NatHttpConn *victim = NULL;

  for (GList *l = server->handshakes.head; l != NULL; l = l->next) {
    NatHttpConn *c = l->data;

    if (victim == NULL || c->neighbour->hood->newcomers > victim->neighbour->hood->newcomers)
      victim = c;
  }
  if (victim != NULL) {
    server->stats.refused++;
    nat_http_conn_close (victim);
  }
}

/* neighbour has the new connection counted already. */
static gboolean
is_over_limit (const NatHttpServer *server, const NatNeighbour *neighbour)
{
  return server->conns.length >= server->limits.connections ||
         neighbour->connections > server->limits.connections_per_address ||
         (server->conns.length >= CONNS_LEAST &&
             !nat_memory_take (server->limits.memory, CONN_BYTES));
}

/* Whoever idles longest, of the neighbour if it is he who has too many: strangers first, so that they push
 * out each other however many they are. */
static NatHttpConn *
find_idler (const NatHttpServer *server, const NatNeighbour *of, gboolean known)
{
  for (GList *l = server->idlers.head; l != NULL; l = l->next) {
    NatHttpConn *c = l->data;

    if (c->known == known && (of == NULL || c->neighbour == of))
      return c;
  }
  return NULL;
}

static void
push_out_idler (NatHttpServer *server, const NatNeighbour *neighbour)
{
  gboolean own = neighbour->connections > server->limits.connections_per_address;
  const NatNeighbour *of = own ? neighbour : NULL;
  NatHttpConn *victim = find_idler (server, of, FALSE);

  if (victim == NULL)
    victim = find_idler (server, of, TRUE);
  if (victim == NULL)
    return;
  nat_tls_bye (victim->tls);
  nat_http_conn_close (victim);
}

/* Nobody idles. Of those who did not show yet that they have a session here, the one who has been there longest of the
 * neighbourhood that has most: who has many addresses may take all places, with requests that never come whole or answers
 * that he does not read, but no longer than until somebody else comes. Who comes counts already, and equals stay. */
static void
push_out_crowd (NatHttpServer *server, const NatNeighbour *neighbour)
{
  const NatNeighbourhood *most = neighbour->hood;
  NatHttpConn *victim = NULL;

  if (server->conns.length < server->limits.connections ||
      neighbour->connections > server->limits.connections_per_address)
    return;
  for (GList *l = server->conns.head; l != NULL; l = l->next) {
    NatHttpConn *c = l->data;

    if (c->known || c->neighbour->hood->connections <= most->connections)
      continue;
    victim = c;
    most = c->neighbour->hood;
  }
  if (victim == NULL)
    return;
  server->stats.refused++;
  nat_http_conn_close (victim);
}

static void
admit (NatHttpServer *server, int fd, const struct sockaddr *sa, socklen_t len)
{
  NatNeighbour *neighbour;
  NatAddress peer;
  int one = 1;

  if (!nat_address_from_sockaddr (&peer, sa, len)) {
    close (fd);
    return;
  }
  /* The new one counts: whoever makes room for it does not take the record along. */
  neighbour = nat_neighbours_join (server->neighbours, &peer);
  if (is_over_limit (server, neighbour))
    push_out_idler (server, neighbour);
  push_out_crowd (server, neighbour);
  if (is_over_limit (server, neighbour)) {
    server->stats.refused++;
    g_debug ("a connection was closed at once: too many at a time");
    nat_neighbours_leave (server->neighbours, neighbour);
    close (fd);
    return;
  }
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  nat_http_conn_new (server, fd, &peer, neighbour);
  if (server->handshakes.length > server->limits.handshakes)
    push_out_handshake (server);
}

static gboolean accept_ready (int fd, GIOCondition condition, gpointer user);

static void
set_accepting (NatHttpServer *server, gboolean on)
{
  for (guint i = 0; i < server->listeners->len; i++) {
    Listener *l = g_ptr_array_index (server->listeners, i);

    if (on && l->watch == 0)
      l->watch = g_unix_fd_add (l->fd, G_IO_IN, accept_ready, l);
    else if (!on && l->watch != 0)
      g_clear_handle_id (&l->watch, g_source_remove);
  }
}

static gboolean
resume (gpointer user)
{
  NatHttpServer *server = user;

  server->resume = 0;
  set_accepting (server, TRUE);
  return G_SOURCE_REMOVE;
}

/* No descriptor is left: the idle, then the oldest connections give up theirs, and we take a breath, since
 * whoever waits keeps the listening socket readable. */
static void
out_of_descriptors (NatHttpServer *server)
{
  guint n = server->conns.length / 8 + 1;

  g_warning (
      "the system gives no more descriptors (%s); raise LimitNOFILE or lower max-connections",
      g_strerror (errno));
  for (; n > 0 && server->conns.head != NULL; n--) {
    server->stats.refused++;
    nat_http_conn_close ((server->idlers.head ? server->idlers.head : server->conns.head)->data);
  }
  set_accepting (server, FALSE);
  if (server->resume == 0)
    server->resume = g_timeout_add (ACCEPT_PAUSE_MS, resume, server);
}

static gboolean
accept_ready (int fd, GIOCondition condition, gpointer user)
{
  NatHttpServer *server = ((Listener *)user)->server;

  for (guint i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    int conn = accept4 (fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (conn >= 0) {
      admit (server, conn, (struct sockaddr *)&sa, len);
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      out_of_descriptors (server); /* removes this very watch */
      return G_SOURCE_CONTINUE;
    }
    /* EAGAIN: all taken. Else that one connection failed, and the rest waits for the next turn. */
    break;
  }
  return G_SOURCE_CONTINUE;
}

void
nat_http_listener_free (gpointer data)
{
  Listener *l = data;

  g_clear_handle_id (&l->watch, g_source_remove);
  close (l->fd);
  g_free (l);
}

gboolean
nat_http_server_listen (NatHttpServer *server, int fd, GError **error)
{
  Listener *l;

  if (!nat_http_listen (fd, error)) {
    close (fd);
    return FALSE;
  }
  l = g_new0 (Listener, 1);
  l->server = server;
  l->fd = fd;
  g_ptr_array_add (server->listeners, l);
  l->watch = g_unix_fd_add (fd, G_IO_IN, accept_ready, l);
  return TRUE;
}
