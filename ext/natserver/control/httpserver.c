/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One connection walks through the states below, in this order, and carries one request. All of them
 * share one absolute deadline, so that sending a byte now and then buys no time:
 *
 *   PEEK -> HANDSHAKE -> HEAD -> (CONTINUE) -> BODY -> RESPONSE -> BYE -> LINGER -> closed
 *
 * LINGER reads away what the client still sends after its answer: closing a socket with unread bytes
 * makes the system send a reset, which can destroy the answer before the client has read it. */

#include "natserver/control/httpserver.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <gio/gio.h>
#include <glib-unix.h>

#include "natproto/crypto.h"
#include "natserver/control/neighbour.h"

#define ACCEPTS_PER_WAKEUP 64
#define ACCEPT_PAUSE_MS    100
#define BACKLOG            512
#define READ_CHUNK         4096
#define LINGER_US          G_USEC_PER_SEC
#define LINGER_BYTES       (256 * 1024)
#define PARTING_US         G_USEC_PER_SEC /* for the answer to a request that came too late */

typedef enum {
  STATE_PEEK,
  STATE_HANDSHAKE,
  STATE_HEAD,
  STATE_CONTINUE,
  STATE_BODY,
  STATE_RESPONSE,
  STATE_BYE,
  STATE_LINGER,
} ConnState;

/* Lives while it has connections. */
typedef struct {
  guint64 key;
  guint connections, handshakes;
} Neighbour;

typedef struct {
  GSource base;
  struct _Conn *conn;
} ConnSource;

typedef struct _Conn {
  NatHttpServer *server;
  GList link;           /* in server->conns, oldest first */
  GList handshake_link; /* in server->handshakes while PEEK or HANDSHAKE */
  Neighbour *neighbour;
  GSource *source;
  gpointer tag;
  int fd;
  NatTls *tls;
  ConnState state;
  gboolean late; /* the deadline passed once, 408 is on its way */
  NatAddress peer, local;
  GByteArray *in; /* head and body as they come */
  guint room;     /* that in has without growing */
  gsize scanned, head_len;
  NatHttpRequest request;
  GString *out;
  gsize out_pos;
  gsize lingered;
} Conn;

typedef struct {
  NatHttpServer *server;
  int fd;
  guint watch; /* 0 while accepting is paused */
} Listener;

struct _NatHttpServer {
  NatHttpLimits limits;
  NatTlsIdentity *identity;
  NatHttpHandler handler;
  gpointer user;
  GPtrArray *listeners;
  guint resume; /* timeout that ends a pause */
  GQueue conns, handshakes;
  GHashTable *neighbours;
  NatHttpServerStats stats;
};

/* ---- Neighbours -------------------------------------------------------- */

static Neighbour *
neighbour_of (NatHttpServer *server, const NatAddress *peer)
{
  guint64 key = nat_neighbour_key (peer);
  Neighbour *found = g_hash_table_lookup (server->neighbours, &key);

  if (found == NULL) {
    found = g_new0 (Neighbour, 1);
    found->key = key;
    g_hash_table_insert (server->neighbours, &found->key, found);
  }
  return found;
}

static void
neighbour_release (NatHttpServer *server, Neighbour *neighbour)
{
  if (neighbour->connections == 0)
    g_hash_table_remove (server->neighbours, &neighbour->key);
}

/* ---- A connection's life ----------------------------------------------- */

static void
leave_handshake (Conn *c)
{
  if (c->state > STATE_HANDSHAKE)
    return;
  g_queue_unlink (&c->server->handshakes, &c->handshake_link);
  c->neighbour->handshakes--;
}

static void
conn_close (Conn *c)
{
  leave_handshake (c);
  g_queue_unlink (&c->server->conns, &c->link);
  c->neighbour->connections--;
  neighbour_release (c->server, c->neighbour);
  g_source_destroy (c->source);
  g_source_unref (c->source);
  g_clear_pointer (&c->tls, nat_tls_free);
  close (c->fd);
  nat_http_request_clear (&c->request);
  nat_crypto_wipe (c->in->data, c->in->len);
  g_byte_array_unref (c->in);
  if (c->out != NULL) {
    nat_crypto_wipe (c->out->str, c->out->len);
    g_string_free (c->out, TRUE);
  }
  g_free (c);
}

static void
conn_set_out (Conn *c, GString *bytes, ConnState state)
{
  if (c->out != NULL)
    g_string_free (c->out, TRUE);
  c->out = bytes;
  c->out_pos = 0;
  c->state = state;
}

static void
conn_respond (Conn *c, NatHttpResponse *response)
{
  gboolean with_body = c->request.method != NAT_HTTP_HEAD;

  c->server->stats.requests++;
  conn_set_out (c,
      nat_http_response_to_bytes (response, g_get_real_time () / G_USEC_PER_SEC, with_body),
      STATE_RESPONSE);
}

static void
conn_respond_problem (Conn *c, NatProblemKind kind, const char *detail)
{
  NatHttpResponse response;

  nat_http_response_init (&response);
  nat_http_response_problem (&response, kind, detail);
  conn_respond (c, &response);
  nat_http_response_clear (&response);
}

static void
conn_handle (Conn *c)
{
  NatHttpResponse response;

  nat_http_response_init (&response);
  c->request.body = (const char *)c->in->data + c->head_len;
  c->request.peer = c->peer;
  c->request.local = c->local;
  c->server->handler (&c->request, &response, c->server->user);
  conn_respond (c, &response);
  nat_http_response_clear (&response);
}

static void
conn_linger (Conn *c)
{
  shutdown (c->fd, SHUT_WR);
  c->state = STATE_LINGER;
  g_source_set_ready_time (c->source, g_get_monotonic_time () + LINGER_US);
}

/* ---- The states -------------------------------------------------------- */

/* Somebody who speaks plain HTTP to this port deserves a hint more than a broken handshake. */
static NatTlsStatus
step_peek (Conn *c)
{
  static const char hint[] = "HTTP/1.1 400 Bad Request\r\n"
                             "Content-Type: text/plain\r\n"
                             "Connection: close\r\n\r\n"
                             "This port speaks HTTPS: use https:// in the address.\n";
  guint8 first;
  gssize n = recv (c->fd, &first, 1, MSG_PEEK);

  if (n < 0)
    return errno == EAGAIN || errno == EINTR ? NAT_TLS_WANT_READ : NAT_TLS_CLOSED;
  if (n == 0)
    return NAT_TLS_CLOSED;
  if (!g_ascii_isupper (first)) {
    c->state = STATE_HANDSHAKE;
    return NAT_TLS_OK;
  }
  if (send (c->fd, hint, sizeof hint - 1, MSG_NOSIGNAL) < 0)
    return NAT_TLS_CLOSED;
  leave_handshake (c);
  conn_linger (c);
  return NAT_TLS_OK;
}

static NatTlsStatus
step_handshake (Conn *c)
{
  NatTlsStatus status;

  if (c->tls == NULL)
    c->tls = nat_tls_new (c->server->identity, c->fd);
  status = nat_tls_handshake (c->tls);
  if (status == NAT_TLS_OK) {
    leave_handshake (c);
    c->state = STATE_HEAD;
  }
  return status;
}

/* Growing by itself the array would leave what it holds, a token and keys, behind in freed memory. */
static void
make_room (Conn *c)
{
  guint wanted = MAX (2 * c->in->len, 2 * READ_CHUNK);
  GByteArray *old = c->in;

  if (old->len + READ_CHUNK <= c->room)
    return;
  c->in = g_byte_array_sized_new (wanted);
  g_byte_array_append (c->in, old->data, old->len);
  c->room = wanted;
  nat_crypto_wipe (old->data, old->len);
  g_byte_array_unref (old);
}

static NatTlsStatus
read_more (Conn *c)
{
  guint8 chunk[READ_CHUNK];
  gsize n;
  NatTlsStatus status = nat_tls_read (c->tls, chunk, sizeof chunk, &n);

  if (n == 0)
    return status;
  make_room (c);
  g_byte_array_append (c->in, chunk, (guint)n);
  nat_crypto_wipe (chunk, n);
  return status;
}

static void
head_complete (Conn *c)
{
  const char *why;
  NatProblemKind problem = nat_http_parse_head (&c->request, c->in->data, c->head_len, &why);

  if (problem != NAT_PROBLEM_NONE)
    conn_respond_problem (c, problem, why);
  else if (c->request.expects_continue && c->in->len - c->head_len < c->request.content_length)
    conn_set_out (c, g_string_new ("HTTP/1.1 100 Continue\r\n\r\n"), STATE_CONTINUE);
  else
    c->state = STATE_BODY;
}

static NatTlsStatus
step_head (Conn *c)
{
  NatTlsStatus status = read_more (c);
  NatProblemKind problem;

  if (status != NAT_TLS_OK)
    return status;
  problem = nat_http_find_head (c->in->data, c->in->len, &c->scanned, &c->head_len);
  if (problem == NAT_PROBLEM_HEADER_TOO_LARGE || problem == NAT_PROBLEM_TARGET_TOO_LONG)
    conn_respond_problem (c, problem, "A request header may have at most 8192 bytes.");
  else if (problem != NAT_PROBLEM_NONE)
    conn_respond_problem (
        c, problem, "The header holds a zero byte or a line that does not end with CR LF.");
  else if (c->head_len > 0)
    head_complete (c);
  return NAT_TLS_OK;
}

/* What comes behind the body is not read: one connection, one request. */
static NatTlsStatus
step_body (Conn *c)
{
  if (c->in->len - c->head_len < c->request.content_length)
    return read_more (c);
  conn_handle (c);
  return NAT_TLS_OK;
}

static NatTlsStatus
step_write (Conn *c, ConnState next)
{
  gsize n;
  NatTlsStatus status =
      nat_tls_write (c->tls, c->out->str + c->out_pos, c->out->len - c->out_pos, &n);

  c->out_pos += n;
  if (c->out_pos == c->out->len) {
    nat_crypto_wipe (c->out->str, c->out->len);
    c->state = next;
  }
  return status;
}

static NatTlsStatus
step_bye (Conn *c)
{
  NatTlsStatus status = nat_tls_bye (c->tls);

  if (status != NAT_TLS_OK)
    return status;
  conn_linger (c);
  return NAT_TLS_OK;
}

static NatTlsStatus
step_linger (Conn *c)
{
  guint8 chunk[READ_CHUNK];
  gssize n = recv (c->fd, chunk, sizeof chunk, 0);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return NAT_TLS_WANT_READ;
  if (n <= 0)
    return NAT_TLS_CLOSED;
  c->lingered += (gsize)n;
  return c->lingered > LINGER_BYTES ? NAT_TLS_CLOSED : NAT_TLS_OK;
}

static NatTlsStatus
conn_step (Conn *c)
{
  switch (c->state) {
  case STATE_PEEK: return step_peek (c);
  case STATE_HANDSHAKE: return step_handshake (c);
  case STATE_HEAD: return step_head (c);
  case STATE_CONTINUE: return step_write (c, STATE_BODY);
  case STATE_BODY: return step_body (c);
  case STATE_RESPONSE: return step_write (c, STATE_BYE);
  case STATE_BYE: return step_bye (c);
  default: return step_linger (c);
  }
}

/* Goes on until the socket has no more; what GnuTLS has read ahead is thus never left behind. */
static void
conn_run (Conn *c)
{
  NatTlsStatus status;

  do {
    status = conn_step (c);
  } while (status == NAT_TLS_OK);
  if (status == NAT_TLS_CLOSED)
    conn_close (c);
  else
    g_source_modify_unix_fd (c->source, c->tag, status == NAT_TLS_WANT_WRITE ? G_IO_OUT : G_IO_IN);
}

static void
conn_deadline (Conn *c)
{
  if (c->late || (c->state != STATE_HEAD && c->state != STATE_BODY)) {
    conn_close (c);
    return;
  }
  c->late = TRUE;
  g_source_set_ready_time (c->source, g_get_monotonic_time () + PARTING_US);
  conn_respond_problem (c, NAT_PROBLEM_REQUEST_TIMEOUT,
      "The whole request must arrive within the relay's deadline (10 seconds unless configured).");
  conn_run (c);
}

static gboolean
conn_dispatch (GSource *source, GSourceFunc callback, gpointer user)
{
  Conn *c = ((ConnSource *)source)->conn;
  gint64 ready_us = g_source_get_ready_time (source);

  if (ready_us >= 0 && g_source_get_time (source) >= ready_us)
    conn_deadline (c);
  else
    conn_run (c);
  return G_SOURCE_CONTINUE; /* conn_close destroys the source itself */
}

static GSourceFuncs conn_source_funcs = {.dispatch = conn_dispatch};

/* ---- Accepting --------------------------------------------------------- */

/* The stalest handshake of the neighbour that has most under way: one flooder pushes out himself. */
static void
push_out_handshake (NatHttpServer *server)
{
  Conn *victim = NULL;

  for (GList *l = server->handshakes.head; l != NULL; l = l->next) {
    Conn *c = l->data;

    if (victim == NULL || c->neighbour->handshakes > victim->neighbour->handshakes)
      victim = c;
  }
  if (victim != NULL) {
    server->stats.refused++;
    conn_close (victim);
  }
}

static void
conn_new (NatHttpServer *server, int fd, const NatAddress *peer, Neighbour *neighbour)
{
  Conn *c = g_new0 (Conn, 1);
  struct sockaddr_storage local;
  socklen_t len = sizeof local;

  c->server = server;
  c->fd = fd;
  c->peer = *peer;
  if (getsockname (fd, (struct sockaddr *)&local, &len) == 0)
    nat_address_from_sockaddr (&c->local, (struct sockaddr *)&local, len);
  c->neighbour = neighbour;
  neighbour->connections++;
  neighbour->handshakes++;
  c->in = g_byte_array_new ();
  c->link.data = c->handshake_link.data = c;
  g_queue_push_tail_link (&server->conns, &c->link);
  g_queue_push_tail_link (&server->handshakes, &c->handshake_link);
  c->source = g_source_new (&conn_source_funcs, sizeof (ConnSource));
  ((ConnSource *)c->source)->conn = c;
  c->tag = g_source_add_unix_fd (c->source, fd, G_IO_IN);
  g_source_set_ready_time (
      c->source, g_get_monotonic_time () + (gint64)server->limits.deadline_ms * 1000);
  g_source_attach (c->source, NULL);
}

static void
admit (NatHttpServer *server, int fd, const struct sockaddr *sa, socklen_t len)
{
  Neighbour *neighbour;
  NatAddress peer;
  int one = 1;

  if (!nat_address_from_sockaddr (&peer, sa, len)) {
    close (fd);
    return;
  }
  neighbour = neighbour_of (server, &peer);
  if (server->conns.length >= server->limits.connections ||
      neighbour->connections >= server->limits.connections_per_address) {
    server->stats.refused++;
    g_debug ("a connection was closed at once: too many at a time");
    neighbour_release (server, neighbour);
    close (fd);
    return;
  }
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  conn_new (server, fd, &peer, neighbour);
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

/* No descriptor is left: the oldest connections give up theirs, and we take a breath, since whoever
 * waits keeps the listening socket readable. */
static void
out_of_descriptors (NatHttpServer *server)
{
  guint n = server->conns.length / 8 + 1;

  g_warning (
      "the system gives no more descriptors (%s); raise LimitNOFILE or lower max-connections",
      g_strerror (errno));
  for (; n > 0 && server->conns.head != NULL; n--) {
    server->stats.refused++;
    conn_close (server->conns.head->data);
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

/* ---- The server -------------------------------------------------------- */

static void
listener_free (gpointer data)
{
  Listener *l = data;

  g_clear_handle_id (&l->watch, g_source_remove);
  close (l->fd);
  g_free (l);
}

NatHttpServer *
nat_http_server_new (
    const NatHttpLimits *limits, NatTlsIdentity *identity, NatHttpHandler handler, gpointer user)
{
  NatHttpServer *server = g_new0 (NatHttpServer, 1);

  server->limits = *limits;
  server->identity = nat_tls_identity_ref (identity);
  server->handler = handler;
  server->user = user;
  server->listeners = g_ptr_array_new_with_free_func (listener_free);
  g_queue_init (&server->conns);
  g_queue_init (&server->handshakes);
  server->neighbours = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, NULL, g_free);
  return server;
}

void
nat_http_server_free (NatHttpServer *server)
{
  g_clear_handle_id (&server->resume, g_source_remove);
  g_ptr_array_unref (server->listeners);
  while (server->conns.head != NULL)
    conn_close (server->conns.head->data);
  g_hash_table_unref (server->neighbours);
  nat_tls_identity_unref (server->identity);
  g_free (server);
}

void
nat_http_server_set_identity (NatHttpServer *server, NatTlsIdentity *identity)
{
  nat_tls_identity_ref (identity);
  nat_tls_identity_unref (server->identity);
  server->identity = identity;
}

static const char *
bind_hint (int code)
{
  switch (code) {
  case EADDRINUSE:
    return "another program uses this port; stop it or choose another one with --listen";
  case EACCES: return "ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit grants it)";
  case EADDRNOTAVAIL: return "this machine has no such address; see \"ip address\"";
  default: return "check the address given with --listen";
  }
}

static int
bind_socket (const NatAddress *address, NatAddress *local)
{
  struct sockaddr_storage sa;
  socklen_t len = (socklen_t)nat_address_to_sockaddr (address, (struct sockaddr *)&sa);
  int fd = socket (
      address->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int one = 1;
  int saved;

  if (fd < 0)
    return -1;
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (address->family == 6)
    setsockopt (fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (bind (fd, (struct sockaddr *)&sa, len) == 0) {
    len = sizeof sa;
    if (getsockname (fd, (struct sockaddr *)&sa, &len) == 0)
      nat_address_from_sockaddr (local, (struct sockaddr *)&sa, len);
    return fd;
  }
  saved = errno;
  close (fd);
  errno = saved;
  return -1;
}

static void
set_bind_error (GError **error, const NatAddress *address, int code)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code),
      "The relay cannot listen at TCP %s: %s. Hint: %s.", nat_address_to_text (address, text),
      g_strerror (code), bind_hint (code));
}

int
nat_http_bind (const NatAddress *address, NatAddress *local, GError **error)
{
  int fd = bind_socket (address, local);

  if (fd < 0)
    set_bind_error (error, address, errno);
  return fd;
}

gboolean
nat_http_server_listen (NatHttpServer *server, int fd, GError **error)
{
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  NatAddress local = {0};
  Listener *l;

  /* With SO_REUSEADDR two programs may bind one port; only one of them may listen. */
  if (listen (fd, BACKLOG) != 0) {
    int code = errno;

    if (getsockname (fd, (struct sockaddr *)&sa, &len) == 0)
      nat_address_from_sockaddr (&local, (struct sockaddr *)&sa, len);
    set_bind_error (error, &local, code);
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

void
nat_http_server_get_stats (NatHttpServer *server, NatHttpServerStats *stats)
{
  *stats = server->stats;
  stats->connections = server->conns.length;
}
