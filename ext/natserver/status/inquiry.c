/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/status/inquiry.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natproto/json.h"
#include "natproto/messages.h"
#include "natserver/control/tls.h"
#include "natserver/status/figures.h"

/* ---- Where to ---------------------------------------------------------- */

gboolean
nat_inquiry_parse_url (NatInquiry *relay, const char *url, GError **error)
{
  const char *rest = g_str_has_prefix (url, "https://") ? url + strlen ("https://") : url;
  g_autofree char *where = g_strndup (rest, strcspn (rest, "/?#"));
  char *colon = strrchr (where, ':'), *bracket = strrchr (where, ']');
  guint64 port = NAT_DEFAULT_PORT;
  gboolean ok = strstr (rest, "://") == NULL;

  if (colon != NULL && (bracket == NULL ? strchr (where, ':') == colon : colon > bracket)) {
    ok &= g_ascii_string_to_unsigned (colon + 1, 10, 1, 65535, &port, NULL);
    *colon = '\0';
  }
  if (bracket != NULL) {
    ok &= *where == '[' && bracket[1] == '\0';
    *bracket = '\0';
  }
  relay->host = g_strdup (bracket != NULL && ok ? where + 1 : where);
  relay->port = (guint16)port;
  if (ok && *relay->host != '\0')
    return TRUE;
  return nat_error_set (error, NAT_ERROR_ARGUMENT,
      "\"%s\" is no relay's address; write it like https://relay.example.org:8443", url);
}

void
nat_inquiry_clear (NatInquiry *relay)
{
  g_free (relay->host);
  g_free (relay->fingerprint);
  g_free (relay->ca_file);
  if (relay->token != NULL)
    nat_crypto_wipe_free (relay->token);
  memset (relay, 0, sizeof *relay);
}

static int
connect_one (const struct addrinfo *a)
{
  struct timeval limit = {NAT_INQUIRY_TIMEOUT_S, 0};
  int fd = socket (a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

  if (fd < 0)
    return -1;
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect's, too */
  if (connect (fd, a->ai_addr, a->ai_addrlen) == 0)
    return fd;
  close (fd);
  return -1;
}

static int
connect_any (const NatInquiry *relay, GError **error)
{
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  g_autofree char *port = g_strdup_printf ("%u", relay->port);
  int result = getaddrinfo (relay->host, port, &hints, &found), fd = -1, code = 0;

  if (result != 0) {
    nat_error_set (
        error, NAT_ERROR_ARGUMENT, "%s is not found: %s", relay->host, gai_strerror (result));
    return -1;
  }
  for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
    fd = connect_one (a);
    code = errno;
  }
  freeaddrinfo (found);
  if (fd < 0)
    nat_error_set (error, NAT_ERROR_ARGUMENT, "no relay answers at %s port %u: %s", relay->host,
        relay->port, code == EINPROGRESS ? "no answer in time" : g_strerror (code));
  return fd;
}

/* ---- HTTP -------------------------------------------------------------- */

static gboolean
ask (NatTls *tls, const NatInquiry *relay, const char *path)
{
  gboolean literal = strchr (relay->host, ':') != NULL;
  g_autoptr (GString) text = g_string_sized_new (8192);
  gsize n, sent = 0;

  g_string_printf (text, "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nConnection: close\r\n", path,
      literal ? "[" : "", relay->host, literal ? "]" : "", relay->port);
  if (relay->token != NULL)
    g_string_append_printf (text, "Authorization: Bearer %s\r\n", relay->token);
  g_string_append (text, "\r\n");
  while (
      sent < text->len && nat_tls_write (tls, text->str + sent, text->len - sent, &n) == NAT_TLS_OK)
    sent += n;
  nat_crypto_wipe (text->str, text->len);
  return sent == text->len;
}

/* Up to its end. FALSE: that did not come in time, or was too long in coming. */
static gboolean
read_answer (NatTls *tls, GString *out)
{
  NatTlsStatus status;
  char chunk[16384];
  gsize n;

  while ((status = nat_tls_read (tls, chunk, sizeof chunk, &n)) == NAT_TLS_OK) {
    g_string_append_len (out, chunk, (gssize)n);
    if (out->len > NAT_FIGURES_MAX)
      return FALSE;
  }
  return status == NAT_TLS_CLOSED;
}

/* What a problem document says (RFC 9457), or the status alone. */
static void
explain (guint status, const char *body, GError **error)
{
  g_autoptr (JsonObject) problem = nat_json_parse (body, -1, 16384, "The answer", NULL);
  const char *title = "", *detail = "";

  if (problem != NULL) {
    nat_json_get_string (problem, "title", NAT_JSON_OPTIONAL, 1000, &title, NULL);
    nat_json_get_string (problem, "detail", NAT_JSON_OPTIONAL, 1000, &detail, NULL);
  }
  nat_error_set (error, NAT_ERROR_NOT_PERMITTED, "the relay answers %u%s%s%s%s", status,
      *title ? ": " : "", title, *detail ? ". " : "", detail);
}

static char *
take_body (const GString *answer, GError **error)
{
  const char *body = strstr (answer->str, "\r\n\r\n");
  guint64 status = 0;

  if (body == NULL || !g_str_has_prefix (answer->str, "HTTP/1.1 ") || answer->len < 12) {
    nat_error_set (error, NAT_ERROR_PROTOCOL, "what answers there is no relay");
    return NULL;
  }
  status = g_ascii_strtoull (answer->str + strlen ("HTTP/1.1 "), NULL, 10);
  if (status == 200)
    return g_strdup (body + 4);
  explain ((guint)status, body + 4, error);
  return NULL;
}

char *
nat_inquiry_get (const NatInquiry *relay, const char *path, GError **error)
{
  NatTlsPeer peer = {relay->host, relay->fingerprint, relay->ca_file};
  g_autoptr (GString) answer = g_string_new (NULL);
  int fd = connect_any (relay, error);
  NatTls *tls = fd >= 0 ? nat_tls_connect (fd, &peer, error) : NULL;
  char *body = NULL;

  if (tls != NULL && ask (tls, relay, path) && read_answer (tls, answer))
    body = take_body (answer, error);
  else if (tls != NULL)
    nat_error_set (error, NAT_ERROR_PROTOCOL, "the relay's answer did not come to its end");
  if (tls != NULL)
    nat_tls_free (tls);
  if (fd >= 0)
    close (fd);
  return body;
}
