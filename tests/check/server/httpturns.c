/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What one connection does in a turn of the main loop, with TCP as it is and TLS played by the test. */

#include "natserver/control/httpserver.h"

#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>

#include "natserver/control/httplisten.h"

#define BODY    (4u << 20)
#define AT_ONCE (256u * 1024)
#define RECORD  (16u * 1024)
#define REQUEST                                                                                    \
  "\x16GET / HTTP/1.1\r\nHost: relay\r\n\r\n" /* the first byte is all of the handshake */
#define REQUESTS 3

/* The linker puts these in the place of tls.c's. */
NatTls *__wrap_nat_tls_new (NatTlsIdentity *identity, int fd);
void __wrap_nat_tls_free (NatTls *tls);
NatTlsStatus __wrap_nat_tls_handshake (NatTls *tls);
NatTlsStatus __wrap_nat_tls_read (NatTls *tls, gpointer data, gsize size, gsize *n);
NatTlsStatus __wrap_nat_tls_write (NatTls *tls, gconstpointer data, gsize len, gsize *n);
NatTlsStatus __wrap_nat_tls_bye (NatTls *tls);
gboolean __wrap_nat_tls_has_more (NatTls *tls);
NatTlsIdentity *__wrap_nat_tls_identity_ref (NatTlsIdentity *identity);
void __wrap_nat_tls_identity_unref (NatTlsIdentity *identity);

static gsize written;
static gboolean reads_nothing; /* the client, for now */

NatTlsIdentity *
__wrap_nat_tls_identity_ref (NatTlsIdentity *identity)
{
  return identity;
}

void
__wrap_nat_tls_identity_unref (NatTlsIdentity *identity)
{
}

NatTls *
__wrap_nat_tls_new (NatTlsIdentity *identity, int fd)
{
  return (NatTls *)g_memdup2 (&fd, sizeof fd);
}

static int
fd_of (NatTls *tls)
{
  return *(int *)(gpointer)tls;
}

void
__wrap_nat_tls_free (NatTls *tls)
{
  g_free (tls);
}

NatTlsStatus
__wrap_nat_tls_handshake (NatTls *tls)
{
  char byte;

  return recv (fd_of (tls), &byte, 1, 0) == 1 ? NAT_TLS_OK : NAT_TLS_CLOSED;
}

NatTlsStatus
__wrap_nat_tls_read (NatTls *tls, gpointer data, gsize size, gsize *n)
{
  gssize got = recv (fd_of (tls), data, size, MSG_DONTWAIT);

  *n = (gsize)MAX (got, 0);
  return got > 0 ? NAT_TLS_OK : got == 0 ? NAT_TLS_CLOSED : NAT_TLS_WANT_READ;
}

/* As to a client that takes all at once. */
NatTlsStatus
__wrap_nat_tls_write (NatTls *tls, gconstpointer data, gsize len, gsize *n)
{
  *n = 0;
  if (reads_nothing)
    return NAT_TLS_WANT_READ; /* the socket itself has room, which would be a busy wait */
  *n = MIN (len, RECORD);
  written += *n;
  return NAT_TLS_OK;
}

NatTlsStatus
__wrap_nat_tls_bye (NatTls *tls)
{
  return NAT_TLS_OK;
}

gboolean
__wrap_nat_tls_has_more (NatTls *tls)
{
  return FALSE;
}

/* ---- The server -------------------------------------------------------- */

typedef struct {
  NatHttpServer *http;
  int client;
  guint asked;
  gboolean waits;         /* what is asked next has no answer yet */
  guint kept, kept_freed; /* what the handler had begun */
} Field;

static void
free_kept (gpointer field)
{
  ((Field *)field)->kept_freed++;
}

static void
answer (const NatHttpRequest *request, NatHttpResponse *response, gpointer user)
{
  Field *f = user;

  f->asked++;
  if (f->waits) {
    response->wait = f;
    response->kept = (NatHttpKept){f, free_kept};
    f->kept++;
    return;
  }
  g_assert_true (request->kept.data == NULL || request->kept.data == f);
  nat_http_response_take_body (response, 200, "text/plain", g_strnfill (BODY, 'x'));
}

static Field *
field_new_with (const char *text, guint deadline_ms)
{
  NatHttpLimits limits = NAT_HTTP_LIMITS_DEFAULT;
  Field *f = g_new0 (Field, 1);
  struct sockaddr_storage sa;
  NatAddress any, local;
  socklen_t len;
  int fd;

  limits.deadline_ms = deadline_ms;
  limits.idle_ms = 600000;
  f->http = nat_http_server_new (&limits, NULL, answer, f);
  nat_address_from_text (&any, "127.0.0.1:0", 0);
  fd = nat_http_bind (&any, &local, NULL);
  g_assert_true (fd >= 0 && nat_http_server_listen (f->http, fd, NULL));
  f->client = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  len = (socklen_t)nat_address_to_sockaddr (&local, (struct sockaddr *)&sa);
  g_assert_cmpint (connect (f->client, (struct sockaddr *)&sa, len), ==, 0);
  g_assert_cmpint (send (f->client, text, strlen (text), 0), ==, (gssize)strlen (text));
  return f;
}

static Field *
field_new (const char *text)
{
  return field_new_with (text, 600000);
}

static void
field_free (Field *f)
{
  nat_http_server_free (f->http);
  if (f->client >= 0)
    close (f->client);
  g_free (f);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Field, field_free)

/* A turn of the main loop, in which a connection writes no more than that. */
static void
bounded_turn (void)
{
  written = 0;
  g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (written, <=, AT_ONCE + RECORD);
}

/* ---- Tests ------------------------------------------------------------- */

static void
test_a_long_answer_in_turns (void)
{
  g_autoptr (Field) f = field_new (REQUEST);
  gsize all = 0;

  for (; all < BODY; all += written)
    bounded_turn ();
  g_assert_cmpuint (f->asked, ==, 1);
}

/* Sent in one piece: each has its turns. */
static void
test_requests_in_turns (void)
{
  g_autoptr (Field) f = field_new (
      REQUEST "GET / HTTP/1.1\r\nHost: relay\r\n\r\nGET / HTTP/1.1\r\nHost: relay\r\n\r\n");
  gsize all = 0;

  for (; all < REQUESTS * BODY; all += written) {
    guint before = f->asked;

    bounded_turn ();
    g_assert_cmpuint (f->asked - before, <=, 1);
  }
  g_assert_cmpuint (f->asked, ==, REQUESTS);
}

static void
test_what_was_begun_is_kept (void)
{
  g_autoptr (Field) f = field_new (REQUEST);

  f->waits = TRUE;
  while (f->kept == 0)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (f->kept_freed, ==, 0);
  f->waits = FALSE;
  nat_http_server_wake (f->http, f);
  g_assert_cmpuint (f->asked, ==, 2);
  for (gsize all = written; all < BODY; all += written)
    bounded_turn ();
  while (f->kept_freed == 0) /* the request is done with */
    bounded_turn ();
  g_assert_cmpuint (f->kept_freed, ==, 1);
}

static gboolean
pass (gpointer is_over)
{
  *(gboolean *)is_over = TRUE;
  return G_SOURCE_REMOVE;
}

/* Four megabytes may take longer than the request: whoever has a slow link gets them, too. */
static void
test_a_long_answer_has_its_time (void)
{
  g_autoptr (Field) f = field_new_with (REQUEST, 1000);
  NatHttpServerStats stats;
  gboolean is_over = FALSE;

  reads_nothing = TRUE;
  g_timeout_add (1500, pass, &is_over);
  while (!is_over)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (f->asked, ==, 1);
  nat_http_server_get_stats (f->http, &stats);
  g_assert_cmpuint (stats.connections, ==, 1);
  reads_nothing = FALSE;
  g_assert_cmpint (send (f->client, "G", 1, 0), ==, 1); /* wakes the server */
  for (gsize all = 0; all < BODY; all += written)
    bounded_turn ();
}

static void
test_who_waits_and_goes (void)
{
  g_autoptr (Field) f = field_new (REQUEST);
  struct linger now = {1, 0}; /* by a reset */

  f->waits = TRUE;
  while (f->kept == 0)
    g_main_context_iteration (NULL, TRUE);
  setsockopt (f->client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close (f->client);
  f->client = -1;
  while (f->kept_freed == 0)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (f->kept_freed, ==, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/httpturns/" #name, test_##name)
  T (a_long_answer_in_turns);
  T (requests_in_turns);
  T (what_was_begun_is_kept);
  T (a_long_answer_has_its_time);
  T (who_waits_and_goes);
  return g_test_run ();
}
