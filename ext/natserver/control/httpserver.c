/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One connection walks through the states below. A request has one absolute deadline (the first shares it
 * with the handshake), so that sending a byte now and then buys no time; a long answer has some more, by its length:
 *
 *   PEEK -> HANDSHAKE -> HEAD -> (CONTINUE) -> BODY -> RESPONSE -> BYE -> LINGER -> closed
 *                         ^                               |
 *                         +---- the client keeps it ------+
 *
 * BODY stays in WAIT while the handler needs an answer from elsewhere: nothing more is read, and others have their turn.
 *
 * After a 101 (docs/PROTOCOL.md section 4.2) RESPONSE is the last here, and somebody else has the connection.
 *
 * A connection idles in HEAD before the first byte of a further request: then it holds nothing but its
 * descriptor, and makes room for another as soon as a limit is reached.
 *
 * LINGER reads away what the client still sends after its answer: closing a socket with unread bytes
 * makes the system send a reset, which can destroy the answer before the client has read it. */

#include "natserver/control/httpserver-private.h"

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
#include "natserver/control/httplisten.h"
#include "natserver/control/neighbours.h"

#define READ_CHUNK   4096
#define SMALL        (16 * 1024) /* is what a connection takes in any case */
#define LEAST_RATE   (64 * 1024) /* bytes a second, of long answers: strangers get none */
#define LINGER_US    G_USEC_PER_SEC
#define LINGER_BYTES (256 * 1024)
#define WRITTEN_AT_ONCE                                                                            \
  (256 * 1024) /* of a long answer, to who takes it that fast: a quarter of a millisecond */
#define PARTING_US G_USEC_PER_SEC        /* for the answer to a request that came too late */
#define WAIT_US    (60 * G_USEC_PER_SEC) /* more than anything takes that is waited for */

/* ---- A connection's life ----------------------------------------------- */

static void
leave_handshake (NatHttpConn *c)
{
  if (c->state > STATE_HANDSHAKE)
    return;
  g_queue_unlink (&c->server->handshakes, &c->handshake_link);
  c->neighbour->hood->newcomers--;
}

static void
set_deadline (NatHttpConn *c, gint64 span_us)
{
  c->deadline_us = g_get_monotonic_time () + span_us;
  g_source_set_ready_time (c->source, c->deadline_us);
}

static void
leave_idle (NatHttpConn *c)
{
  if (!c->idle)
    return;
  c->idle = FALSE;
  g_queue_unlink (&c->server->idlers, &c->idle_link);
}

static void
leave_wait (NatHttpConn *c)
{
  if (c->wait == NULL)
    return;
  c->wait = NULL;
  c->server->waiters--;
}

void
nat_http_conn_close (NatHttpConn *c)
{
  leave_wait (c);
  leave_handshake (c);
  leave_idle (c);
  g_queue_unlink (&c->server->conns, &c->link);
  nat_neighbours_leave (c->server->neighbours, c->neighbour);
  g_source_destroy (c->source);
  g_source_unref (c->source);
  g_clear_pointer (&c->tls, nat_tls_free);
  if (c->fd >= 0)
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
conn_set_out (NatHttpConn *c, GString *bytes, ConnState state)
{
  if (c->out != NULL)
    g_string_free (c->out, TRUE);
  c->out = bytes;
  c->out_pos = 0;
  c->state = state;
}

static void
conn_respond (NatHttpConn *c, NatHttpResponse *response)
{
  gboolean with_body = c->request.method != NAT_HTTP_HEAD;

  c->server->stats.requests++;
  c->last = response->last;
  c->taken = response->taken && c->server->taker != NULL;
  conn_set_out (c,
      nat_http_response_to_bytes (response, g_get_real_time () / G_USEC_PER_SEC, with_body),
      STATE_RESPONSE);
  if (c->out->len <= SMALL)
    return;
  nat_memory_spend (c->server->limits.memory, c->out->len);
  set_deadline (c, (gint64)c->server->limits.deadline_ms * 1000 +
                       (gint64)c->out->len * G_USEC_PER_SEC / LEAST_RATE);
}

static void
conn_respond_problem (NatHttpConn *c, NatProblemKind kind, const char *detail)
{
  NatHttpResponse response;

  /* Where the next request would begin, nobody can tell. */
  nat_http_response_init (&response);
  response.last = TRUE;
  nat_http_response_problem (&response, kind, detail);
  if (kind == NAT_PROBLEM_RELAY_FULL)
    nat_http_response_add_field (&response, "Retry-After", "30");
  conn_respond (c, &response);
  nat_http_response_clear (&response);
}

static void
conn_wait (NatHttpConn *c, NatHttpResponse *response)
{
  c->wait = response->wait;
  if (response->kept.data != NULL) {
    c->request.kept = response->kept;
    response->kept.data = NULL;
  }
  c->server->waiters++;
  c->request.waited++;
  c->state = STATE_WAIT;
  set_deadline (c, WAIT_US);
}

static void
conn_handle (NatHttpConn *c)
{
  NatHttpResponse response;

  nat_http_response_init (&response);
  response.last = c->request.last;
  c->request.body = (const char *)c->in->data + c->begin + c->head_len;
  c->request.peer = c->peer;
  c->request.local = c->local;
  c->server->handler (&c->request, &response, c->server->user);
  c->known |= response.known;
  if (response.wait != NULL)
    conn_wait (c, &response);
  else
    conn_respond (c, &response);
  nat_http_response_clear (&response);
}

static void
conn_linger (NatHttpConn *c)
{
  shutdown (c->fd, SHUT_WR);
  c->state = STATE_LINGER;
  set_deadline (c, LINGER_US);
}

/* The answer is out and the client may ask again. What it sent already stays, and has its turn. */
static void
conn_next_request (NatHttpConn *c)
{
  gsize used = c->begin + c->head_len + c->request.content_length;
  GByteArray *old = c->in;

  c->room = MAX (READ_CHUNK, (guint)(old->len - used));
  c->in = g_byte_array_sized_new (c->room);
  g_byte_array_append (c->in, old->data + used, old->len - (guint)used);
  nat_crypto_wipe (old->data, old->len);
  g_byte_array_unref (old);
  nat_http_request_clear (&c->request);
  g_string_free (g_steal_pointer (&c->out), TRUE);
  c->begin = c->scanned = c->head_len = 0;
  c->state = STATE_HEAD;
  if (c->in->len > 0) {
    c->turn = TRUE;
    set_deadline (c, (gint64)c->server->limits.deadline_ms * 1000);
    return;
  }
  c->turn = nat_tls_has_more (c->tls);
  c->idle = TRUE;
  g_queue_push_tail_link (&c->server->idlers, &c->idle_link);
  set_deadline (c, (gint64)c->server->limits.idle_ms * 1000);
}

/* ---- The states -------------------------------------------------------- */

static NatTlsStatus
step_peek (NatHttpConn *c)
{
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
  if (!nat_http_hint_plain (c->fd))
    return NAT_TLS_CLOSED;
  leave_handshake (c);
  conn_linger (c);
  return NAT_TLS_OK;
}

static NatTlsStatus
step_handshake (NatHttpConn *c)
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
static gboolean
make_room (NatHttpConn *c)
{
  guint wanted = MAX (2 * c->in->len, 2 * READ_CHUNK);
  GByteArray *old = c->in;

  if (old->len + READ_CHUNK <= c->room)
    return TRUE;
  if (wanted > SMALL && !nat_memory_take (c->server->limits.memory, wanted))
    return FALSE;
  c->in = g_byte_array_sized_new (wanted);
  g_byte_array_append (c->in, old->data, old->len);
  c->room = wanted;
  nat_crypto_wipe (old->data, old->len);
  g_byte_array_unref (old);
  return TRUE;
}

static NatTlsStatus
read_more (NatHttpConn *c)
{
  guint8 chunk[READ_CHUNK];
  gsize n;
  NatTlsStatus status = nat_tls_read (c->tls, chunk, sizeof chunk, &n);

  if (n == 0)
    return status;
  if (c->idle) {
    leave_idle (c);
    set_deadline (c, (gint64)c->server->limits.deadline_ms * 1000);
  }
  if (make_room (c))
    g_byte_array_append (c->in, chunk, (guint)n);
  else
    conn_respond_problem (c, NAT_PROBLEM_RELAY_FULL,
        "Its memory has no room for so long a request (max-memory-mb in its settings).");
  nat_crypto_wipe (chunk, n);
  return status;
}

/* So much of it is here. */
static gsize
body_len (const NatHttpConn *c)
{
  return c->in->len - c->begin - c->head_len;
}

static void
head_complete (NatHttpConn *c)
{
  const char *why;
  NatProblemKind problem =
      nat_http_parse_head (&c->request, c->in->data + c->begin, c->head_len, &why);

  if (problem != NAT_PROBLEM_NONE)
    conn_respond_problem (c, problem, why);
  else if (c->request.expects_continue && body_len (c) < c->request.content_length)
    conn_set_out (c, g_string_new ("HTTP/1.1 100 Continue\r\n\r\n"), STATE_CONTINUE);
  else
    c->state = STATE_BODY;
}

/* Old clients send one behind a body (RFC 9112 section 2.2). One, for whoever sends only those wants
 * nothing. */
static void
pass_over_empty_line (NatHttpConn *c)
{
  if (c->begin > 0 || c->in->len < 2 || memcmp (c->in->data, "\r\n", 2) != 0)
    return;
  c->begin = 2;
  c->scanned = 0;
}

static NatTlsStatus
step_head (NatHttpConn *c)
{
  NatProblemKind problem;

  if (c->begin + c->scanned == c->in->len) {
    NatTlsStatus status = read_more (c);

    if (status != NAT_TLS_OK || c->state != STATE_HEAD)
      return status;
  }
  pass_over_empty_line (c);
  problem =
      nat_http_find_head (c->in->data + c->begin, c->in->len - c->begin, &c->scanned, &c->head_len);
  if (problem == NAT_PROBLEM_HEADER_TOO_LARGE || problem == NAT_PROBLEM_TARGET_TOO_LONG)
    conn_respond_problem (c, problem, "A request header may have at most 8192 bytes.");
  else if (problem != NAT_PROBLEM_NONE)
    conn_respond_problem (
        c, problem, "The header holds a zero byte or a line that does not end with CR LF.");
  else if (c->head_len > 0)
    head_complete (c);
  return NAT_TLS_OK;
}

static NatTlsStatus
step_body (NatHttpConn *c)
{
  if (body_len (c) < c->request.content_length)
    return read_more (c);
  conn_handle (c);
  return NAT_TLS_OK;
}

static NatTlsStatus
step_write (NatHttpConn *c, ConnState next)
{
  gsize n, turn = c->out_pos / WRITTEN_AT_ONCE;
  NatTlsStatus status =
      nat_tls_write (c->tls, c->out->str + c->out_pos, c->out->len - c->out_pos, &n);

  c->out_pos += n;
  if (c->out_pos < c->out->len && c->out_pos / WRITTEN_AT_ONCE > turn)
    return NAT_TLS_WANT_WRITE; /* then the others' turn */
  if (c->out_pos == c->out->len) {
    nat_crypto_wipe (c->out->str, c->out->len);
    c->state = next;
  }
  return status;
}

/* A client that speaks before it has the answer is none of RFC 6455. */
static NatTlsStatus
hand_on (NatHttpConn *c)
{
  NatHttpTaken *taken;

  if (body_len (c) > 0 || c->server->taker == NULL) /* it went since, for the relay stops */
    return NAT_TLS_CLOSED;
  taken = g_new (NatHttpTaken, 1);
  *taken = (NatHttpTaken){c->fd, g_steal_pointer (&c->tls), c->peer, c->local};
  c->fd = -1;
  c->server->taker (taken, c->server->taker_user);
  return NAT_TLS_CLOSED;
}

static NatTlsStatus
step_response (NatHttpConn *c)
{
  NatTlsStatus status = step_write (c, STATE_BYE);

  if (c->state == STATE_BYE && c->taken)
    return hand_on (c);
  if (c->state != STATE_BYE || c->last)
    return status;
  conn_next_request (c);
  return NAT_TLS_WANT_READ; /* one request, then the others' turn */
}

static NatTlsStatus
step_bye (NatHttpConn *c)
{
  NatTlsStatus status = nat_tls_bye (c->tls);

  if (status != NAT_TLS_OK)
    return status;
  conn_linger (c);
  return NAT_TLS_OK;
}

static NatTlsStatus
step_linger (NatHttpConn *c)
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
conn_step (NatHttpConn *c)
{
  switch (c->state) {
  case STATE_PEEK: return step_peek (c);
  case STATE_HANDSHAKE: return step_handshake (c);
  case STATE_HEAD: return step_head (c);
  case STATE_CONTINUE: return step_write (c, STATE_BODY);
  case STATE_BODY: return step_body (c);
  case STATE_WAIT:
    return NAT_TLS_CLOSED; /* nothing but the end of the connection is listened for */
  case STATE_RESPONSE: return step_response (c);
  case STATE_BYE: return step_bye (c);
  default: return step_linger (c);
  }
}

/* Until the socket has no more or a request is answered: what was read ahead is never left behind. */
static void
conn_run (NatHttpConn *c)
{
  NatTlsStatus status;

  do {
    status = conn_step (c);
  } while (status == NAT_TLS_OK && c->state != STATE_WAIT);
  if (c->state == STATE_WAIT && status == NAT_TLS_OK) {
    g_source_modify_unix_fd (c->source, c->tag, 0);
    return;
  }
  if (status == NAT_TLS_CLOSED) {
    nat_http_conn_close (c);
    return;
  }
  g_source_modify_unix_fd (c->source, c->tag, status == NAT_TLS_WANT_WRITE ? G_IO_OUT : G_IO_IN);
  if (c->turn)
    g_source_set_ready_time (c->source, 0);
}

static void
conn_deadline (NatHttpConn *c)
{
  if (c->idle) { /* a goodbye says that no request of its got lost */
    nat_tls_bye (c->tls);
    nat_http_conn_close (c);
    return;
  }
  if (c->late || (c->state != STATE_HEAD && c->state != STATE_BODY)) {
    nat_http_conn_close (c);
    return;
  }
  c->late = TRUE;
  set_deadline (c, PARTING_US);
  conn_respond_problem (c, NAT_PROBLEM_REQUEST_TIMEOUT,
      "The whole request must arrive within the relay's deadline (10 seconds unless configured).");
  conn_run (c);
}

static gboolean
conn_dispatch (GSource *source, GSourceFunc callback, gpointer user)
{
  NatHttpConn *c = ((NatHttpConnSource *)source)->conn;

  if (c->turn) {
    c->turn = FALSE;
    g_source_set_ready_time (source, c->deadline_us);
  }
  if (g_source_get_time (source) >= c->deadline_us)
    conn_deadline (c);
  else
    conn_run (c);
  return G_SOURCE_CONTINUE; /* conn_close destroys the source itself */
}

static GSourceFuncs conn_source_funcs = {.dispatch = conn_dispatch};

void
nat_http_conn_new (NatHttpServer *server, int fd, const NatAddress *peer, NatNeighbour *neighbour)
{
  NatHttpConn *c = g_new0 (NatHttpConn, 1);
  struct sockaddr_storage local;
  socklen_t len = sizeof local;

  c->server = server;
  c->fd = fd;
  c->peer = *peer;
  if (getsockname (fd, (struct sockaddr *)&local, &len) == 0)
    nat_address_from_sockaddr (&c->local, (struct sockaddr *)&local, len);
  c->neighbour = neighbour;
  neighbour->hood->newcomers++;
  c->in = g_byte_array_new ();
  c->link.data = c->handshake_link.data = c->idle_link.data = c;
  g_queue_push_tail_link (&server->conns, &c->link);
  g_queue_push_tail_link (&server->handshakes, &c->handshake_link);
  c->source = g_source_new (&conn_source_funcs, sizeof (NatHttpConnSource));
  ((NatHttpConnSource *)c->source)->conn = c;
  c->tag = g_source_add_unix_fd (c->source, fd, G_IO_IN);
  set_deadline (c, (gint64)server->limits.deadline_ms * 1000);
  g_source_attach (c->source, NULL);
}

/* ---- The server -------------------------------------------------------- */

NatHttpServer *
nat_http_server_new (
    const NatHttpLimits *limits, NatTlsIdentity *identity, NatHttpHandler handler, gpointer user)
{
  NatHttpServer *server = g_new0 (NatHttpServer, 1);

  server->limits = *limits;
  server->identity = nat_tls_identity_ref (identity);
  server->handler = handler;
  server->user = user;
  server->listeners = g_ptr_array_new_with_free_func (nat_http_listener_free);
  g_queue_init (&server->conns);
  g_queue_init (&server->handshakes);
  g_queue_init (&server->idlers);
  server->neighbours = nat_neighbours_new ();
  return server;
}

void
nat_http_server_free (NatHttpServer *server)
{
  g_clear_handle_id (&server->resume, g_source_remove);
  g_ptr_array_unref (server->listeners);
  while (server->conns.head != NULL)
    nat_http_conn_close (server->conns.head->data);
  nat_neighbours_free (server->neighbours);
  nat_tls_identity_unref (server->identity);
  g_free (server);
}

void
nat_http_server_wake (NatHttpServer *server, gconstpointer what)
{
  g_autoptr (GPtrArray) woken = NULL;

  if (server->waiters == 0)
    return;
  woken = g_ptr_array_new ();
  for (GList *l = server->conns.head; l != NULL; l = l->next) {
    if (((NatHttpConn *)l->data)->wait == what)
      g_ptr_array_add (woken, l->data);
  }
  /* None of these ends another. */
  for (guint i = 0; i < woken->len; i++) {
    NatHttpConn *c = woken->pdata[i];

    leave_wait (c);
    c->state = STATE_BODY;
    set_deadline (c, (gint64)server->limits.deadline_ms * 1000);
    conn_run (c);
  }
}

void
nat_http_server_set_taker (NatHttpServer *server, NatHttpTaker taker, gpointer user)
{
  server->taker = taker;
  server->taker_user = user;
}

void
nat_http_server_set_limits (NatHttpServer *server, const NatHttpLimits *limits)
{
  server->limits = *limits;
}

void
nat_http_server_set_identity (NatHttpServer *server, NatTlsIdentity *identity)
{
  nat_tls_identity_ref (identity);
  nat_tls_identity_unref (server->identity);
  server->identity = identity;
}

void
nat_http_server_get_stats (NatHttpServer *server, NatHttpServerStats *stats)
{
  *stats = server->stats;
  stats->connections = server->conns.length;
}
