/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "https.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "natproto/error.h"
#include "natproto/negotiation.h"
#include "udpsocket.h"

#define HEAD_MAX  4096
#define TIMEOUT_S 10

struct _BenchHttps {
  BenchSockaddr to;
  BenchHttpsReuse reuse;
  BenchHttpsCounts counts;
  gnutls_certificate_credentials_t anyone;
  gnutls_session_t tls; /* NULL = no connection */
  int fd;
  gnutls_datum_t ticket;
  char text[HEAD_MAX + NAT_DOCUMENT_MAX];
  gsize len;
};

static gboolean
fail (GError **error, const char *what, const char *why)
{
  g_set_error (error, NAT_ERROR, NAT_ERROR_PROTOCOL, "HTTPS: %s: %s", what, why);
  return FALSE;
}

BenchHttps *
bench_https_new (const NatAddress *server, BenchHttpsReuse reuse)
{
  BenchHttps *h = g_new0 (BenchHttps, 1);

  h->to = bench_sockaddr (server);
  h->reuse = reuse;
  h->fd = -1;
  if (gnutls_certificate_allocate_credentials (&h->anyone) < 0)
    g_error ("GnuTLS gives no credentials");
  return h;
}

static void
hang_up (BenchHttps *h)
{
  g_clear_pointer (&h->tls, gnutls_deinit);
  if (h->fd >= 0)
    close (h->fd);
  h->fd = -1;
}

void
bench_https_free (BenchHttps *h)
{
  if (!h)
    return;
  hang_up (h);
  gnutls_free (h->ticket.data);
  gnutls_certificate_free_credentials (h->anyone);
  g_free (h);
}

BenchHttpsCounts
bench_https_counts (const BenchHttps *h)
{
  return h->counts;
}

static gboolean
open_tcp (BenchHttps *h, GError **error)
{
  struct timeval limit = {.tv_sec = TIMEOUT_S};
  int on = 1;

  h->fd = socket (h->to.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (h->fd < 0 || connect (h->fd, (const struct sockaddr *)&h->to.sa, h->to.len) < 0)
    return fail (error, "no connection", g_strerror (errno));
  setsockopt (h->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt (h->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt (h->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return TRUE;
}

static gboolean
shake_hands (BenchHttps *h, GError **error)
{
  int e = gnutls_init (&h->tls, GNUTLS_CLIENT);

  if (e < 0)
    return fail (error, "no TLS session", gnutls_strerror (e));
  gnutls_set_default_priority (h->tls);
  gnutls_credentials_set (h->tls, GNUTLS_CRD_CERTIFICATE, h->anyone);
  gnutls_transport_set_int (h->tls, h->fd);
  if (h->ticket.data)
    gnutls_session_set_data (h->tls, h->ticket.data, h->ticket.size);
  do
    e = gnutls_handshake (h->tls);
  while (e == GNUTLS_E_INTERRUPTED || e == GNUTLS_E_WARNING_ALERT_RECEIVED);
  if (e < 0)
    return fail (error, "no TLS handshake", gnutls_strerror (e));
  h->counts.connections++;
  h->counts.resumed += gnutls_session_is_resumed (h->tls) ? 1 : 0;
  return TRUE;
}

static gboolean
send_request (BenchHttps *h, const char *path, const char *body, GError **error)
{
  const char *token = g_getenv ("NATRELAY_AUTH_TOKEN");
  g_autofree char *text =
      g_strdup_printf ("POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                       "Content-Length: %" G_GSIZE_FORMAT "\r\n%s%s%s%s\r\n%s",
          path, strlen (body), h->reuse.keep ? "" : "Connection: close\r\n",
          token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "", body);
  gssize n = gnutls_record_send (h->tls, text, strlen (text));

  if (n == (gssize)strlen (text))
    return TRUE;
  return fail (error, "the request was not sent", n < 0 ? gnutls_strerror ((int)n) : "cut short");
}

/* FALSE: no more comes. */
static gboolean
read_more (BenchHttps *h, GError **error)
{
  gssize n;

  do
    n = gnutls_record_recv (h->tls, h->text + h->len, sizeof h->text - 1 - h->len);
  while (n == GNUTLS_E_INTERRUPTED);
  if (n > 0)
    h->len += (gsize)n;
  h->text[h->len] = 0;
  if (n > 0)
    return TRUE;
  return fail (error, "no answer", n < 0 ? gnutls_strerror ((int)n) : "the connection ended");
}

/* The head's field, or NULL. */
static const char *
field_of (const char *head, const char *name)
{
  const char *line = strstr (head, "\r\n");

  for (; line && line[2] != '\r'; line = strstr (line + 2, "\r\n"))
    if (g_ascii_strncasecmp (line + 2, name, strlen (name)) == 0)
      return line + 2 + strlen (name) + strspn (line + 2 + strlen (name), " ");
  return NULL;
}

static char *
read_answer (BenchHttps *h, gboolean *ends, GError **error)
{
  const char *length, *connection;
  char *body;

  h->len = 0;
  h->text[0] = 0;
  while (!(body = strstr (h->text, "\r\n\r\n")))
    if (!read_more (h, error))
      return NULL;
  body += 4;
  length = field_of (h->text, "Content-Length:");
  while (length && strlen (body) < strtoul (length, NULL, 10))
    if (!read_more (h, error))
      return NULL;
  connection = field_of (h->text, "Connection:");
  *ends = connection && g_str_has_prefix (connection, "close");
  return body;
}

static void
remember_ticket (BenchHttps *h)
{
  if (!(gnutls_session_get_flags (h->tls) & GNUTLS_SFLAGS_SESSION_TICKET))
    return;
  gnutls_free (h->ticket.data);
  h->ticket = (gnutls_datum_t){0};
  gnutls_session_get_data2 (h->tls, &h->ticket);
}

const char *
bench_https_post (BenchHttps *h, const char *path, const char *body, GError **error)
{
  gboolean ends = TRUE;
  char *answer;

  if (!h->tls && (!open_tcp (h, error) || !shake_hands (h, error))) {
    hang_up (h);
    return NULL;
  }
  answer = send_request (h, path, body, error) ? read_answer (h, &ends, error) : NULL;
  if (answer && h->reuse.resume)
    remember_ticket (h);
  if (!answer || ends || !h->reuse.keep)
    hang_up (h);
  h->counts.requests++;
  if (answer && !g_str_has_prefix (h->text, "HTTP/1.1 201")) {
    fail (error, "the relay said", h->text);
    return NULL;
  }
  return answer;
}
