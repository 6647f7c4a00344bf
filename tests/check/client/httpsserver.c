/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "httpsserver.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

#include "natproto/negotiation.h"

#define STALL   "HTTP/1.1 100 Continue\r\n\r\n"
#define LATE_MS 1500 /* unless told otherwise */

struct _HttpsServer {
  HttpsManner manner; /* under lock */
  char *answer;       /* under lock */
  GTlsCertificate *certificate;
  char fingerprint[65];
  GSocket *listener;
  guint16 port;
  GThread *thread;
  GCancellable *stop;
  guint16 through; /* before the first request */
  guint through_ms;
  guint late_ms; /* before the first request */
  GMutex lock;
  GList *threads;   /* under lock */
  guint n_requests; /* under lock */
  guint n_calls;    /* under lock */
  char *request;    /* under lock */
};

typedef struct {
  HttpsServer *server;
  HttpsManner manner;
  GSocketConnection *connection;
} Call;

/* ---- Certificate ------------------------------------------------------- */

static void
set_fields (gnutls_x509_crt_t crt, const char *name, time_t from_s)
{
  static const unsigned char ip[4] = {127, 0, 0, 1};
  static const unsigned char ip6[16] = {[15] = 1};

  gnutls_x509_crt_set_version (crt, 3);
  gnutls_x509_crt_set_serial (crt, "\1", 1);
  gnutls_x509_crt_set_activation_time (crt, from_s);
  gnutls_x509_crt_set_expiration_time (crt, from_s + 7200);
  gnutls_x509_crt_set_dn (crt, name, NULL);
  gnutls_x509_crt_set_subject_alt_name (crt, GNUTLS_SAN_DNSNAME, "localhost", 9, GNUTLS_FSAN_SET);
  gnutls_x509_crt_set_subject_alt_name (crt, GNUTLS_SAN_IPADDRESS, ip, 4, GNUTLS_FSAN_APPEND);
  gnutls_x509_crt_set_subject_alt_name (crt, GNUTLS_SAN_IPADDRESS, ip6, 16, GNUTLS_FSAN_APPEND);
  gnutls_x509_crt_set_basic_constraints (crt, 0, -1);
}

static char *export(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
  gnutls_datum_t crt_pem, key_pem = {NULL, 0};
  char *pem;

  gnutls_x509_crt_export2 (crt, GNUTLS_X509_FMT_PEM, &crt_pem);
  if (key != NULL)
    gnutls_x509_privkey_export2_pkcs8 (key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &key_pem);
  pem = g_strconcat ((char *)crt_pem.data, (char *)key_pem.data, NULL);
  gnutls_free (crt_pem.data);
  gnutls_free (key_pem.data);
  return pem;
}

char *
https_make_certificate (gboolean expired)
{
  return https_make_certificate_from (expired ? 1000 - time (NULL) : -3600);
}

char *
https_make_certificate_from (gint64 in_s)
{
  gnutls_x509_privkey_t key;
  gnutls_x509_crt_t crt;
  char *pem;

  gnutls_x509_privkey_init (&key);
  gnutls_x509_privkey_generate (
      key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS (GNUTLS_ECC_CURVE_SECP256R1), 0);
  gnutls_x509_crt_init (&crt);
  set_fields (crt, "CN=relay of a test", time (NULL) + in_s);
  gnutls_x509_crt_set_key (crt, key);
  g_assert_cmpint (gnutls_x509_crt_sign2 (crt, crt, key, GNUTLS_DIG_SHA256, 0), ==, 0);
  pem = export(crt, key);
  gnutls_x509_crt_deinit (crt);
  gnutls_x509_privkey_deinit (key);
  return pem;
}

char *
https_make_forged_certificate (char **authority)
{
  gnutls_x509_privkey_t keys[2];
  gnutls_x509_crt_t crts[2]; /* the authority's, the server's */
  char *pem;

  for (guint i = 0; i < 2; i++) {
    gnutls_x509_privkey_init (&keys[i]);
    gnutls_x509_privkey_generate (
        keys[i], GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS (GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init (&crts[i]);
    set_fields (
        crts[i], i == 0 ? "CN=Virus Shield of a test" : "CN=relay of a test", time (NULL) - 3600);
    gnutls_x509_crt_set_key (crts[i], keys[i]);
  }
  gnutls_x509_crt_set_basic_constraints (crts[0], 1, 0);
  gnutls_x509_crt_set_serial (crts[1], "\2", 1);
  for (guint i = 0; i < 2; i++)
    g_assert_cmpint (
        gnutls_x509_crt_sign2 (crts[i], crts[0], keys[0], GNUTLS_DIG_SHA256, 0), ==, 0);
  pem = export(crts[1], keys[1]);
  if (authority != NULL)
    *authority = export(crts[0], NULL);
  for (guint i = 0; i < 2; i++) {
    gnutls_x509_crt_deinit (crts[i]);
    gnutls_x509_privkey_deinit (keys[i]);
  }
  return pem;
}

static void
read_fingerprint (HttpsServer *s)
{
  GByteArray *der = NULL;
  char *text;

  g_object_get (s->certificate, "certificate", &der, NULL);
  text = g_compute_checksum_for_data (G_CHECKSUM_SHA256, der->data, der->len);
  g_strlcpy (s->fingerprint, text, sizeof s->fingerprint);
  g_free (text);
  g_byte_array_unref (der);
}

/* ---- One connection ---------------------------------------------------- */

/* Without a database: loading the system's would take longer than all the rest. */
static GIOStream *
secure (Call *c)
{
  GType type = g_tls_backend_get_server_connection_type (g_tls_backend_get_default ());
  GIOStream *tls = g_initable_new (type, NULL, NULL, "base-io-stream", c->connection, "certificate",
      c->server->certificate, "database", NULL, "require-close-notify", FALSE, NULL);

  if (tls != NULL && !g_tls_connection_handshake (G_TLS_CONNECTION (tls), c->server->stop, NULL))
    g_clear_object (&tls);
  return tls;
}

static gsize
body_length (const char *head)
{
  const char *field = strcasestr (head, "\ncontent-length:");

  return field == NULL ? 0 : (gsize)g_ascii_strtoull (field + 16, NULL, 10);
}

static gboolean
read_request (Call *c, GIOStream *stream)
{
  GString *text = g_string_new (NULL);
  gboolean whole = FALSE;

  while (!whole) {
    char buf[4096];
    gssize n = g_input_stream_read (
        g_io_stream_get_input_stream (stream), buf, sizeof buf, c->server->stop, NULL);
    const char *end;

    if (n <= 0)
      break;
    g_string_append_len (text, buf, n);
    end = strstr (text->str, "\r\n\r\n");
    /* A ClientHello is no request; a web server without TLS answers it all the same. */
    whole =
        c->manner == HTTPS_PLAIN || (end != NULL && strlen (end + 4) >= body_length (text->str));
  }
  g_mutex_lock (&c->server->lock);
  if (whole)
    c->server->n_requests++;
  g_free (c->server->request);
  c->server->request = g_string_free (text, FALSE);
  g_mutex_unlock (&c->server->lock);
  return whole;
}

static gboolean
say (Call *c, GIOStream *stream, const char *text)
{
  return g_output_stream_write_all (
      g_io_stream_get_output_stream (stream), text, strlen (text), NULL, c->server->stop, NULL);
}

static void
wait_for_stop (Call *c)
{
  GPollFD fd;

  g_cancellable_make_pollfd (c->server->stop, &fd);
  while (!g_cancellable_is_cancelled (c->server->stop))
    g_poll (&fd, 1, 1000);
  g_cancellable_release_fd (c->server->stop);
}

static void
wait_ms (Call *c, guint ms)
{
  GPollFD fd;

  g_cancellable_make_pollfd (c->server->stop, &fd);
  g_poll (&fd, 1, (gint)ms);
  g_cancellable_release_fd (c->server->stop);
}

static gboolean
copy_once (GSocket *from, GSocket *to)
{
  char buf[16384];
  gssize n = g_socket_receive (from, buf, sizeof buf, NULL, NULL);

  return n > 0 && g_socket_send (to, buf, (gsize)n, NULL, NULL) == n;
}

static void
tunnel (Call *c, const char *target)
{
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketConnection) other =
      g_socket_client_connect_to_host (client, target, 0, NULL, NULL);
  GSocket *a = g_socket_connection_get_socket (c->connection), *b;
  GPollFD fds[3] = {{g_socket_get_fd (a), G_IO_IN, 0}};

  if (other == NULL || !say (c, G_IO_STREAM (c->connection), "HTTP/1.1 200 OK\r\n\r\n"))
    return;
  b = g_socket_connection_get_socket (other);
  fds[1] = (GPollFD){g_socket_get_fd (b), G_IO_IN, 0};
  g_cancellable_make_pollfd (c->server->stop, &fds[2]);
  while (g_poll (fds, 3, -1) > 0 && fds[2].revents == 0)
    if ((fds[0].revents != 0 && !copy_once (a, b)) || (fds[1].revents != 0 && !copy_once (b, a)))
      break;
  g_cancellable_release_fd (c->server->stop);
}

static char *
dup_answer (HttpsServer *s)
{
  char *text;

  g_mutex_lock (&s->lock);
  text = g_strdup (s->answer);
  g_mutex_unlock (&s->lock);
  return text;
}

static void
say_answer (Call *c, GIOStream *stream)
{
  g_autofree char *text = dup_answer (c->server);

  say (c, stream, text);
}

static gboolean
is_let_through (Call *c, const char *request)
{
  g_autofree char *line = g_strdup_printf ("CONNECT 127.0.0.1:%u ", c->server->through);

  if (!g_str_has_prefix (request, line))
    return FALSE;
  wait_ms (c, c->server->through_ms);
  return TRUE;
}

static void
proxy (Call *c)
{
  g_autofree char *request = NULL, *refusal = NULL;
  char *end;

  if (!read_request (c, G_IO_STREAM (c->connection)))
    return;
  request = https_server_dup_request (c->server);
  if (!is_let_through (c, request))
    refusal = dup_answer (c->server);
  if (refusal != NULL || !g_str_has_prefix (request, "CONNECT ")) {
    say (c, G_IO_STREAM (c->connection), refusal);
    return;
  }
  end = strchr (request + 8, ' ');
  *end = '\0';
  tunnel (c, request + 8);
}

static void
answer (Call *c)
{
  GIOStream *stream =
      c->manner == HTTPS_PLAIN ? g_object_ref (G_IO_STREAM (c->connection)) : secure (c);

  if (stream == NULL)
    return;
  if (read_request (c, stream)) {
    if (c->manner == HTTPS_SLOW)
      wait_for_stop (c);
    say_answer (c, stream);
    while (c->manner == HTTPS_ENDLESS && say (c, stream, "0123456789abcdef"))
      ;
    while (c->manner == HTTPS_STALLS && say (c, stream, STALL STALL STALL STALL STALL STALL))
      ;
  }
  g_io_stream_close (stream, NULL, NULL);
  g_object_unref (stream);
}

static gpointer
serve (gpointer data)
{
  Call *c = data;

  switch (c->manner) {
  case HTTPS_HANGS: wait_for_stop (c); break;
  case HTTPS_CLOSES: break;
  case HTTPS_PROXY: proxy (c); break;
  case HTTPS_LATE:
    wait_ms (c, c->server->late_ms);
    answer (c);
    break;
  default: answer (c); break;
  }
  g_io_stream_close (G_IO_STREAM (c->connection), NULL, NULL);
  g_object_unref (c->connection);
  g_free (c);
  return NULL;
}

/* ---- The server -------------------------------------------------------- */

static gpointer
accept_all (gpointer data)
{
  HttpsServer *s = data;
  GSocket *socket;

  while ((socket = g_socket_accept (s->listener, s->stop, NULL)) != NULL) {
    Call *c = g_new0 (Call, 1);

    c->server = s;
    c->connection = g_socket_connection_factory_create_connection (socket);
    g_object_unref (socket);
    g_mutex_lock (&s->lock);
    c->manner = s->manner;
    s->n_calls++;
    s->threads = g_list_prepend (s->threads, g_thread_new ("https", serve, c));
    g_mutex_unlock (&s->lock);
  }
  return NULL;
}

static HttpsServer *
new_at (const char *ip, guint16 port, HttpsManner manner, const char *text, const char *pem)
{
  HttpsServer *s = g_new0 (HttpsServer, 1);
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new_from_string (ip, port);
  g_autoptr (GSocketAddress) got = NULL;
  g_autofree char *made = pem == NULL ? https_make_certificate (FALSE) : NULL;

  g_mutex_init (&s->lock);
  s->manner = manner;
  s->late_ms = LATE_MS;
  s->answer = g_strdup (text);
  s->stop = g_cancellable_new ();
  s->certificate = g_tls_certificate_new_from_pem (pem != NULL ? pem : made, -1, NULL);
  g_assert_nonnull (s->certificate);
  read_fingerprint (s);
  s->listener = g_socket_new (
      g_socket_address_get_family (any), G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
  g_assert_true (g_socket_bind (s->listener, any, TRUE, NULL));
  g_assert_true (g_socket_listen (s->listener, NULL));
  got = g_socket_get_local_address (s->listener, NULL);
  s->port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (got));
  s->thread = g_thread_new ("accept", accept_all, s);
  return s;
}

HttpsServer *
https_server_new (HttpsManner manner, const char *text, const char *pem)
{
  return https_server_new_at ("127.0.0.1", manner, text, pem);
}

HttpsServer *
https_server_new_at (const char *ip, HttpsManner manner, const char *text, const char *pem)
{
  return new_at (ip, 0, manner, text, pem);
}

HttpsServer *
https_server_new_on (
    const char *ip, guint16 port, HttpsManner manner, const char *text, const char *pem)
{
  return new_at (ip, port, manner, text, pem);
}

void
https_server_set_manner (HttpsServer *s, HttpsManner manner)
{
  g_mutex_lock (&s->lock);
  s->manner = manner;
  g_mutex_unlock (&s->lock);
}

void
https_server_set_answer (HttpsServer *s, const char *text)
{
  g_mutex_lock (&s->lock);
  g_free (s->answer);
  s->answer = g_strdup (text);
  g_mutex_unlock (&s->lock);
}

void
https_server_let_through (HttpsServer *s, guint16 port, guint after_ms)
{
  s->through = port;
  s->through_ms = after_ms;
}

void
https_server_set_late (HttpsServer *s, guint ms)
{
  s->late_ms = ms;
}

guint16
https_server_port (HttpsServer *s)
{
  return s->port;
}

const char *
https_server_fingerprint (HttpsServer *s)
{
  return s->fingerprint;
}

guint
https_server_n_requests (HttpsServer *s)
{
  guint n;

  g_mutex_lock (&s->lock);
  n = s->n_requests;
  g_mutex_unlock (&s->lock);
  return n;
}

guint
https_server_n_calls (HttpsServer *s)
{
  guint n;

  g_mutex_lock (&s->lock);
  n = s->n_calls;
  g_mutex_unlock (&s->lock);
  return n;
}

char *
https_server_dup_request (HttpsServer *s)
{
  char *request;

  g_mutex_lock (&s->lock);
  request = g_strdup (s->request != NULL ? s->request : "");
  g_mutex_unlock (&s->lock);
  return request;
}

void
https_server_free (HttpsServer *s)
{
  g_cancellable_cancel (s->stop);
  g_thread_join (s->thread);
  for (GList *l = s->threads; l != NULL; l = l->next)
    g_thread_join (l->data);
  g_list_free (s->threads);
  g_object_unref (s->listener);
  g_object_unref (s->certificate);
  g_object_unref (s->stop);
  g_free (s->answer);
  g_free (s->request);
  g_mutex_clear (&s->lock);
  g_free (s);
}

/* ---- What it may say ---------------------------------------------------- */

char *
https_session_answer (guint16 udp_port)
{
  NatSessionDocument d = {.session = HTTPS_SESSION,
      .username = (char *)"user",
      .realm = NAT_REALM,
      .password = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
      .n_udp = 1,
      .keepalive_ms = 4000,
      .expires_s = 3600,
      .boot_id = "000102030405060708090a0b0c0d0e0f",
      .version = 3,
      .publisher = NAT_PUBLISHER_NONE};
  g_autofree char *json = NULL;

  g_assert_true (nat_address_from_text (&d.udp[0], "127.0.0.1", udp_port));
  json = nat_session_document_to_json (&d);
  return g_strdup_printf (
      "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %u\r\n"
      "Connection: close\r\n\r\n%s",
      (guint)strlen (json), json);
}

void
https_forget_proxies (void)
{
  g_unsetenv ("https_proxy");
  g_unsetenv ("HTTPS_PROXY");
  g_unsetenv ("all_proxy");
  g_unsetenv ("ALL_PROXY");
}
