/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/negotiator.h"

#include <string.h>
#include <unistd.h>

#include "httpsserver.h"

#define JSON_HEAD "Content-Type: application/problem+json\r\nConnection: close\r\n"
#define TOKEN     "secret-token-of-the-test"

/* ---- One question ------------------------------------------------------ */

typedef struct {
  NatSessionConfig config;
  NatRequestKind kind;
  const char *token;
  guint timeout_ms;
  NatDescription *description;
  gboolean accept;
  guint accept_calls;
  GTlsCertificateFlags accept_errors;
  /* The answer. */
  gboolean answered;
  NatCause *cause;
  guint retry_after_ms;
  gboolean has_document;
  char session[NAT_SESSION_ID_TEXT + 1];
  NatAddress remote;
  gboolean via_proxy;
  gint64 took_us;
} Question;

static void
on_reply (NatReply *reply, gpointer user)
{
  Question *q = user;

  g_assert_false (q->answered);
  q->answered = TRUE;
  q->cause = g_steal_pointer (&reply->cause);
  q->retry_after_ms = reply->retry_after_ms;
  q->has_document = reply->document != NULL;
  if (q->has_document)
    g_strlcpy (q->session, reply->document->session, sizeof q->session);
  q->remote = reply->remote;
  q->via_proxy = reply->via_proxy;
  if (q->cause != NULL)
    g_test_message ("%s [%s]", q->cause->text, q->cause->detail ? q->cause->detail : "");
}

static gboolean
on_accept (GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user)
{
  Question *q = user;

  q->accept_calls++;
  q->accept_errors = errors;
  return q->accept;
}

static void
question_init (Question *q, guint16 port)
{
  memset (q, 0, sizeof *q);
  nat_session_config_init (&q->config);
  q->config.host = g_strdup ("127.0.0.1");
  q->config.port = port;
  q->config.second_port = 0; /* which is secondport.c's */
  q->config.stream = g_strdup ("house/door");
  q->token = TOKEN;
  q->timeout_ms = 5000;
}

static void
question_clear (Question *q)
{
  nat_session_config_clear (&q->config);
  nat_cause_free (q->cause);
}

static void
ask (Question *q)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  NatNegotiator *n;
  gint64 begin = g_get_monotonic_time ();

  g_main_context_push_thread_default (context);
  n = nat_negotiator_new (&q->config, on_accept, q, &q->cause);
  if (n != NULL) {
    nat_negotiator_send (
        n, q->kind, HTTPS_SESSION, q->description, q->token, q->timeout_ms, on_reply, q);
    g_assert_false (q->answered);
    while (!q->answered || nat_negotiator_n_pending (n) > 0)
      g_main_context_iteration (context, TRUE);
    nat_negotiator_free (n);
    while (g_main_context_iteration (context, FALSE))
      ;
  }
  g_main_context_pop_thread_default (context);
  q->took_us = g_get_monotonic_time () - begin;
}

static void
assert_cause (const Question *q, NatCauseKind kind, gboolean final, const char *word)
{
  g_assert_nonnull (q->cause);
  g_assert_cmpint (q->cause->kind, ==, kind);
  g_assert_cmpint (q->cause->final, ==, final);
  if (strstr (q->cause->text, word) == NULL)
    g_error ("\"%s\" does not say \"%s\"", q->cause->text, word);
  g_assert_null (strstr (q->cause->text, TOKEN));
  if (q->cause->detail != NULL)
    g_assert_null (strstr (q->cause->detail, TOKEN));
  g_assert_cmpuint (strlen (q->cause->text), <, 400);
}

static HttpsServer *
good_server (const char *pem)
{
  g_autofree char *text = https_session_answer (8443);

  return https_server_new (HTTPS_ANSWERS, text, pem);
}

/* ---- When all is well -------------------------------------------------- */

static void
test_requests (void)
{
  static const struct {
    NatRequestKind kind;
    NatRole role;
    gboolean takeover;
    const char *line;
    gboolean document;
    gboolean body;
  } rows[] = {
      {NAT_REQUEST_OPEN, NAT_ROLE_SUBSCRIBER, FALSE,
          "POST /v1/streams/house/door/subscribers HTTP/1.1\r\n", TRUE, TRUE},
      {NAT_REQUEST_OPEN, NAT_ROLE_PUBLISHER, FALSE,
          "POST /v1/streams/house/door/publishers HTTP/1.1\r\n", TRUE, TRUE},
      {NAT_REQUEST_OPEN, NAT_ROLE_PUBLISHER, TRUE,
          "POST /v1/streams/house/door/publishers?takeover=true HTTP/1.1\r\n", TRUE, TRUE},
      {NAT_REQUEST_OPEN, NAT_ROLE_SUBSCRIBER, TRUE,
          "POST /v1/streams/house/door/subscribers HTTP/1.1\r\n", TRUE, TRUE},
      {NAT_REQUEST_FETCH, NAT_ROLE_SUBSCRIBER, FALSE,
          "GET /v1/sessions/" HTTPS_SESSION " HTTP/1.1\r\n", TRUE, FALSE},
      {NAT_REQUEST_DESCRIBE, NAT_ROLE_PUBLISHER, FALSE,
          "PUT /v1/sessions/" HTTPS_SESSION "/description HTTP/1.1\r\n", TRUE, TRUE},
      {NAT_REQUEST_RENEW, NAT_ROLE_PUBLISHER, FALSE,
          "PUT /v1/sessions/" HTTPS_SESSION "/token HTTP/1.1\r\n", TRUE, TRUE},
      {NAT_REQUEST_CLOSE, NAT_ROLE_SUBSCRIBER, FALSE,
          "DELETE /v1/sessions/" HTTPS_SESSION " HTTP/1.1\r\n", FALSE, FALSE},
      {NAT_REQUEST_END, NAT_ROLE_PUBLISHER, FALSE,
          "DELETE /v1/sessions/" HTTPS_SESSION "?ended=true HTTP/1.1\r\n", FALSE, FALSE},
  };
  HttpsServer *server = good_server (NULL);
  NatDescription d = {(char *)"v=0\r\n"};

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree char *request = NULL;
    Question q;

    g_test_message ("row %u", i);
    question_init (&q, https_server_port (server));
    q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
    q.config.role = rows[i].role;
    q.config.takeover = rows[i].takeover;
    q.kind = rows[i].kind;
    if (rows[i].role == NAT_ROLE_PUBLISHER && rows[i].kind != NAT_REQUEST_RENEW && rows[i].body)
      q.description = &d;
    ask (&q);
    g_assert_null (q.cause);
    g_assert_cmpint (q.has_document, ==, rows[i].document);
    if (rows[i].document)
      g_assert_cmpstr (q.session, ==, HTTPS_SESSION);
    g_assert_cmpuint (q.remote.family, ==, 4);
    g_assert_true (nat_address_is_loopback (&q.remote));
    g_assert_cmpuint (q.remote.port, ==, https_server_port (server));
    g_assert_false (q.via_proxy);
    request = https_server_dup_request (server);
    g_assert_true (g_str_has_prefix (request, rows[i].line));
    g_assert_nonnull (strstr (request, "\r\nAuthorization: Bearer " TOKEN "\r\n"));
    g_assert_cmpint (
        strstr (request, "Content-Type: application/json\r\n") != NULL, ==, rows[i].body);
    if (q.description != NULL)
      g_assert_nonnull (strstr (request, "\"sdp\""));
    else if (rows[i].body)
      g_assert_true (g_str_has_suffix (request, "\r\n\r\n{}"));
    question_clear (&q);
  }
  https_server_free (server);
}

static void
test_no_token_no_field (void)
{
  HttpsServer *server = good_server (NULL);
  static const char *const tokens[] = {NULL, ""};

  for (guint i = 0; i < 2; i++) {
    g_autofree char *request = NULL;
    Question q;

    question_init (&q, https_server_port (server));
    q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
    q.token = tokens[i];
    ask (&q);
    g_assert_null (q.cause);
    request = https_server_dup_request (server);
    g_assert_null (strstr (request, "Authorization"));
    question_clear (&q);
  }
  https_server_free (server);
}

/* ---- Trust ------------------------------------------------------------- */

static void
test_fingerprint_forms (void)
{
  HttpsServer *server = good_server (NULL);
  const char *plain = https_server_fingerprint (server);
  GString *colons = g_string_new (NULL);
  char *forms[3];

  for (guint i = 0; i < 64; i += 2)
    g_string_append_printf (colons, "%s%.2s", i > 0 ? ":" : "", plain + i);
  forms[0] = g_strdup (plain);
  forms[1] = g_ascii_strup (plain, -1);
  forms[2] = g_ascii_strup (colons->str, -1);
  for (guint i = 0; i < 3; i++) {
    Question q;

    question_init (&q, https_server_port (server));
    q.config.tls_fingerprint = forms[i];
    ask (&q);
    g_assert_null (q.cause);
    g_assert_cmpuint (q.accept_calls, ==, 0);
    question_clear (&q);
  }
  g_string_free (colons, TRUE);
  https_server_free (server);
}

static void
test_fingerprint_nonsense (void)
{
  static const char *const bad[] = {"12", "zz", "0x", ":::", "::", "12345",
      "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f00"};

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    Question q;

    question_init (&q, 1);
    q.config.tls_fingerprint = g_strdup (bad[i]);
    ask (&q);
    g_assert_false (q.answered);
    assert_cause (&q, NAT_CAUSE_TLS, TRUE, "tls-fingerprint");
    question_clear (&q);
  }
}

/* A wrong pin refuses before anything secret is sent, and says what was shown. */
static void
test_fingerprint_mismatch (void)
{
  HttpsServer *server = good_server (NULL);
  Question q;

  question_init (&q, https_server_port (server));
  q.config.tls_fingerprint = g_strnfill (64, 'a');
  q.accept = TRUE; /* nobody is asked */
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, TRUE, "tls-fingerprint");
  g_assert_nonnull (strstr (q.cause->text, https_server_fingerprint (server)));
  g_assert_cmpuint (q.accept_calls, ==, 0);
  g_assert_cmpuint (https_server_n_requests (server), ==, 0);
  question_clear (&q);
  https_server_free (server);
}

static gboolean
has_ipv6 (void)
{
  g_autoptr (GSocket) socket =
      g_socket_new (G_SOCKET_FAMILY_IPV6, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
  g_autoptr (GSocketAddress) address = g_inet_socket_address_new_from_string ("::1", 0);

  return socket != NULL && g_socket_bind (socket, address, FALSE, NULL);
}

static char *
write_file (const char *text)
{
  char *path;
  gint fd = g_file_open_tmp ("natrelay-ca-XXXXXX.pem", &path, NULL);

  g_assert_cmpint (fd, >=, 0);
  close (fd);
  g_assert_true (g_file_set_contents (path, text, -1, NULL));
  return path;
}

/* The authority's file, also by a path that is not absolute; and a pin holds on top of it. */
/* Somebody who inspects TLS: with a pin one error that says so, with his authority all is well. */
static void
test_interception (void)
{
  g_autofree char *authority = NULL;
  g_autofree char *pem = https_make_forged_certificate (&authority);
  HttpsServer *server = good_server (pem);
  Question q;

  question_init (&q, https_server_port (server));
  q.config.tls_fingerprint = g_strnfill (64, 'a');
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, TRUE, "interception");
  g_assert_nonnull (strstr (q.cause->text, "Virus Shield of a test"));
  question_clear (&q);
  question_init (&q, https_server_port (server));
  q.config.tls_ca_file = write_file (authority);
  ask (&q);
  g_assert_null (q.cause);
  unlink (q.config.tls_ca_file);
  question_clear (&q);
  https_server_free (server);
}

static void
test_ca_file (void)
{
  g_autofree char *pem = https_make_certificate (FALSE);
  g_autofree char *path = write_file (pem);
  g_autofree char *cwd = g_get_current_dir ();
  g_autofree char *folder = g_path_get_dirname (path);
  HttpsServer *server = good_server (pem);

  for (guint i = 0; i < 3; i++) {
    Question q;

    g_test_message ("way %u", i);
    question_init (&q, https_server_port (server));
    q.config.tls_ca_file = i == 1 ? g_path_get_basename (path) : g_strdup (path);
    if (i == 2)
      q.config.tls_fingerprint = g_strnfill (64, '0');
    g_assert_cmpint (chdir (folder), ==, 0);
    ask (&q);
    if (i == 2)
      assert_cause (&q, NAT_CAUSE_TLS, TRUE, "fingerprint");
    else
      g_assert_null (q.cause);
    g_assert_cmpuint (https_server_n_requests (server), ==, i == 0 ? 1 : 2);
    question_clear (&q);
  }
  g_assert_cmpint (chdir (cwd), ==, 0);
  g_assert_cmpint (unlink (path), ==, 0);
  https_server_free (server);
}

/* Who vouches for the certificate must vouch for this host; also where the host is an address. */
static void
test_identity (void)
{
  static const struct {
    const char *ip, *host;
    gboolean good;
  } rows[] = {
      {"127.0.0.1", "127.0.0.1", TRUE},
      {"127.0.0.1", "localhost", TRUE},
      {"127.0.0.2", "127.0.0.2", FALSE},
      {"::1", "::1", TRUE},
      {"::", "::ffff:127.0.0.2", FALSE},
  };
  g_autofree char *pem = https_make_certificate (FALSE);
  g_autofree char *path = write_file (pem);
  g_autofree char *text = https_session_answer (8443);

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    HttpsServer *server;
    Question q;

    g_test_message ("row %u", i);
    if (strchr (rows[i].ip, ':') != NULL && !has_ipv6 ())
      continue;
    server = https_server_new_at (rows[i].ip, HTTPS_ANSWERS, text, pem);
    question_init (&q, https_server_port (server));
    g_free (q.config.host);
    q.config.host = g_strdup (rows[i].host);
    q.config.tls_ca_file = g_strdup (path);
    ask (&q);
    if (rows[i].good)
      g_assert_null (q.cause);
    else
      assert_cause (&q, NAT_CAUSE_TLS, TRUE, "another name");
    g_assert_cmpuint (https_server_n_requests (server), ==, rows[i].good);
    question_clear (&q);
    https_server_free (server);
  }
  g_assert_cmpint (unlink (path), ==, 0);
}

static void
test_ca_file_missing (void)
{
  Question q;

  question_init (&q, 1);
  q.config.tls_ca_file = g_strdup ("no/such/file.pem");
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, TRUE, "no/such/file.pem");
  question_clear (&q);
}

static void
test_untrusted (void)
{
  HttpsServer *server = good_server (NULL);
  Question q;

  question_init (&q, https_server_port (server));
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, TRUE, "tls-fingerprint=");
  g_assert_nonnull (strstr (q.cause->text, https_server_fingerprint (server)));
  g_assert_cmpuint (q.accept_calls, ==, 1);
  g_assert_true (q.accept_errors & G_TLS_CERTIFICATE_UNKNOWN_CA);
  g_assert_cmpuint (https_server_n_requests (server), ==, 0);
  question_clear (&q);

  question_init (&q, https_server_port (server));
  q.accept = TRUE;
  ask (&q);
  g_assert_null (q.cause);
  g_assert_cmpuint (q.accept_calls, ==, 1);
  question_clear (&q);

  question_init (&q, https_server_port (server));
  q.config.tls_validation_flags &= ~(guint)G_TLS_CERTIFICATE_UNKNOWN_CA;
  ask (&q);
  g_assert_null (q.cause);
  g_assert_cmpuint (q.accept_calls, ==, 0);
  question_clear (&q);
  https_server_free (server);
}

static void
test_expired (void)
{
  g_autofree char *pem = https_make_certificate (TRUE);
  HttpsServer *server = good_server (pem);
  Question q;

  question_init (&q, https_server_port (server));
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, TRUE, "expired");
  question_clear (&q);
  /* A pin is about this certificate, whatever its dates say: a camera's clock may be wrong. */
  question_init (&q, https_server_port (server));
  q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  ask (&q);
  g_assert_null (q.cause);
  question_clear (&q);
  https_server_free (server);
}

/* A clock without a battery begins in 1970, or where it was switched off, and is set soon after. */
static void
test_not_yet (void)
{
  g_autofree char *pem = https_make_certificate_from (3600);
  g_autofree char *path = write_file (pem);
  HttpsServer *server = good_server (pem);
  Question q;

  question_init (&q, https_server_port (server));
  q.config.tls_ca_file = g_strdup (path);
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, FALSE, "as this machine's clock says");
  question_clear (&q);
  /* Time does not make a stranger's certificate one of ours. */
  question_init (&q, https_server_port (server));
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, TRUE, "not valid yet");
  question_clear (&q);
  g_assert_cmpint (unlink (path), ==, 0);
  https_server_free (server);
}

/* ---- Ways to fail ------------------------------------------------------ */

static void
test_unknown_host (void)
{
  Question q;

  question_init (&q, 8443);
  g_free (q.config.host);
  q.config.host = g_strdup ("relay.invalid");
  ask (&q);
  g_assert_nonnull (q.cause);
  assert_cause (&q, NAT_CAUSE_UNKNOWN_HOST, FALSE, "relay.invalid");
  question_clear (&q);
}

static void
test_refused_port (void)
{
  HttpsServer *server = good_server (NULL);
  guint16 port = https_server_port (server);
  Question q;

  https_server_free (server);
  question_init (&q, port);
  ask (&q);
  assert_cause (&q, NAT_CAUSE_UNREACHABLE, FALSE, "natrelay-server");
  question_clear (&q);
}

static void
test_timeouts (void)
{
  static const HttpsManner manners[] = {HTTPS_HANGS, HTTPS_SLOW};

  for (guint i = 0; i < G_N_ELEMENTS (manners); i++) {
    HttpsServer *server = https_server_new (manners[i], "", NULL);
    Question q;

    question_init (&q, https_server_port (server));
    q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
    q.timeout_ms = 300;
    ask (&q);
    assert_cause (&q, NAT_CAUSE_TIMEOUT, FALSE, "said nothing");
    g_assert_cmpint (q.took_us, >=, 290 * 1000);
    g_assert_cmpint (q.took_us, <, 2000 * 1000);
    question_clear (&q);
    https_server_free (server);
  }
}

static void
test_not_tls (void)
{
  HttpsServer *server = https_server_new (HTTPS_PLAIN, "HTTP/1.1 200 OK\r\n\r\n", NULL);
  Question q;

  question_init (&q, https_server_port (server));
  ask (&q);
  assert_cause (&q, NAT_CAUSE_TLS, FALSE, "natrelay-server");
  question_clear (&q);
  https_server_free (server);

  server = https_server_new (HTTPS_CLOSES, NULL, NULL);
  question_init (&q, https_server_port (server));
  ask (&q);
  assert_cause (&q, NAT_CAUSE_UNREACHABLE, FALSE, "127.0.0.1");
  question_clear (&q);
  https_server_free (server);
}

static void
test_not_http (void)
{
  HttpsServer *server = https_server_new (HTTPS_ANSWERS, "220 mail.example.org ESMTP\r\n", NULL);
  Question q;

  question_init (&q, https_server_port (server));
  q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  ask (&q);
  assert_cause (&q, NAT_CAUSE_PROXY, FALSE, "HTTP");
  question_clear (&q);
  https_server_free (server);
}

/* Somebody who would fill our memory is cut off. */
static void
test_endless (void)
{
  HttpsServer *server = https_server_new (
      HTTPS_ENDLESS, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", NULL);
  Question q;

  question_init (&q, https_server_port (server));
  q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  q.timeout_ms = 40 * 1000;
  ask (&q);
  assert_cause (&q, NAT_CAUSE_PROXY, FALSE, "127.0.0.1");
  g_assert_cmpint (q.took_us, <, 30 * G_USEC_PER_SEC); /* not what timeout ended */
  question_clear (&q);
  https_server_free (server);
}

#define PROBLEM(status, extra)                                                                     \
  "HTTP/1.1 " status " X\r\n" JSON_HEAD extra "\r\n"                                               \
  "{\"type\":\"https://natrelay.example.org/problems/x\",\"title\":\"The title\","                 \
  "\"status\":" status ",\"detail\":\"The detail.\"}"
#define SSRC_IN_USE                                                                                \
  "HTTP/1.1 409 X\r\n" JSON_HEAD                                                                   \
  "\r\n{\"type\":\"https://natrelay.example.org/problems/ssrc-in-use\",\"title\":\"The title\","   \
  "\"status\":409,\"detail\":\"The detail.\"}"
#define HTML(status)                                                                               \
  "HTTP/1.1 " status " Some Reason\r\nContent-Type: text/html\r\n\r\n<html>no</html>"

static void
test_statuses (void)
{
  static const struct {
    const char *answer;
    NatCauseKind kind;
    guint status;
    gboolean final;
    const char *word;
    guint retry_after_ms;
  } rows[] = {
      {PROBLEM ("400", ""), NAT_CAUSE_PROTOCOL, 400, TRUE, "The detail.", 0},
      {PROBLEM ("401", ""), NAT_CAUSE_NOT_AUTHORIZED, 401, TRUE, "The detail.", 0},
      {PROBLEM ("403", ""), NAT_CAUSE_NOT_AUTHORIZED, 403, TRUE, "The title", 0},
      {PROBLEM ("404", ""), NAT_CAUSE_NOT_FOUND, 404, FALSE, "The detail.", 0},
      {PROBLEM ("409", "Retry-After: 3\r\n"), NAT_CAUSE_BUSY, 409, FALSE, "The detail.", 3000},
      {SSRC_IN_USE, NAT_CAUSE_SSRC_IN_USE, 409, FALSE, "The detail.", 0},
      {PROBLEM ("422", ""), NAT_CAUSE_PROTOCOL, 422, TRUE, "The detail.", 0},
      {PROBLEM ("429", "Retry-After: 30\r\n"), NAT_CAUSE_SERVER, 429, FALSE, "The detail.", 30000},
      {PROBLEM ("500", ""), NAT_CAUSE_SERVER, 500, FALSE, "The detail.", 0},
      {PROBLEM ("503", "Retry-After: 99999999\r\n"), NAT_CAUSE_SERVER, 503, FALSE, "The detail.",
          300000},
      {PROBLEM ("503", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), NAT_CAUSE_SERVER, 503,
          FALSE, "The", 0},
      {PROBLEM ("503", "Date: Sun, 06 Nov 1994 08:49:17 GMT\r\n"
                       "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
          NAT_CAUSE_SERVER, 503, FALSE, "The", 20000}, /* by the relay's clock */
      {PROBLEM ("503", "Retry-After: soon\r\n"), NAT_CAUSE_SERVER, 503, FALSE, "The", 0},
      {HTML ("500"), NAT_CAUSE_PROXY, 500, FALSE, "500 Some Reason", 0},
      {HTML ("502"), NAT_CAUSE_PROXY, 502, FALSE, "natrelay-server", 0},
      {HTML ("404"), NAT_CAUSE_PROXY, 404, FALSE, "natrelay-server", 0},
      {HTML ("403"), NAT_CAUSE_PROXY, 403, TRUE, "natrelay-server", 0},
      {HTML ("200"), NAT_CAUSE_PROXY, 200, FALSE, "login page", 0},
      {"HTTP/1.1 302 Found\r\nLocation: https://portal.example/\r\nContent-Length: 0\r\n\r\n",
          NAT_CAUSE_PROXY, 302, FALSE, "302", 0},
      {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"session\":5}", NAT_CAUSE_PROXY,
          200, FALSE, "natrelay-server", 0},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NAT_CAUSE_PROXY, 200, FALSE,
          "natrelay-server", 0},
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    HttpsServer *server = https_server_new (HTTPS_ANSWERS, rows[i].answer, NULL);
    Question q;

    g_test_message ("row %u", i);
    question_init (&q, https_server_port (server));
    q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
    ask (&q);
    assert_cause (&q, rows[i].kind, rows[i].final, rows[i].word);
    g_assert_cmpuint (q.cause->http_status, ==, rows[i].status);
    g_assert_cmpuint (q.retry_after_ms, ==, rows[i].retry_after_ms);
    g_assert_false (q.has_document);
    g_assert_cmpuint (https_server_n_requests (server), ==, 1);
    question_clear (&q);
    https_server_free (server);
  }
}

/* ---- Proxies ----------------------------------------------------------- */

static void
test_proxy (void)
{
  HttpsServer *server = good_server (NULL);
  HttpsServer *proxy = https_server_new (HTTPS_PROXY, NULL, NULL);
  g_autofree char *request = NULL, *relayed = NULL;
  g_autofree char *line = g_strdup_printf ("CONNECT 127.0.0.1:%u ", https_server_port (server));
  Question q;

  question_init (&q, https_server_port (server));
  q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  q.config.proxy = g_strdup_printf ("http://me:p%%61ss@127.0.0.1:%u", https_server_port (proxy));
  ask (&q);
  g_assert_null (q.cause);
  g_assert_true (q.has_document);
  g_assert_true (q.via_proxy);
  g_assert_cmpuint (q.remote.family, ==, 0); /* the proxy is no relay */
  request = https_server_dup_request (proxy);
  g_assert_true (g_str_has_prefix (request, line));
  g_assert_nonnull (strstr (request, "Basic bWU6cGFzcw==")); /* me:pass */
  g_assert_null (strstr (request, TOKEN));
  relayed = https_server_dup_request (server);
  g_assert_null (
      strstr (relayed, "Proxy-Authorization")); /* which is none of the relay's business */
  question_clear (&q);
  https_server_free (proxy);
  https_server_free (server);
}

static void
test_proxy_refuses (void)
{
  HttpsServer *proxy = https_server_new (HTTPS_PROXY,
      "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", NULL);
  Question q;

  question_init (&q, 8443);
  q.config.proxy = g_strdup_printf ("http://127.0.0.1:%u", https_server_port (proxy));
  ask (&q);
  assert_cause (&q, NAT_CAUSE_PROXY, TRUE, "proxy");
  question_clear (&q);
  https_server_free (proxy);

  question_init (&q, 8443);
  q.config.proxy = g_strdup ("proxy.example.org 3128");
  ask (&q);
  assert_cause (&q, NAT_CAUSE_PROXY, TRUE, "URI");
  question_clear (&q);
}

/* ---- Cancelling -------------------------------------------------------- */

static void
never (NatReply *reply, gpointer user)
{
  g_error ("a cancelled request called back");
}

static void
test_cancel (void)
{
  static const HttpsManner manners[] = {HTTPS_HANGS, HTTPS_SLOW, HTTPS_ANSWERS, HTTPS_ENDLESS};
  g_autofree char *text = https_session_answer (8443);

  for (guint i = 0; i < 40; i++) {
    g_autoptr (GMainContext) context = g_main_context_new ();
    HttpsServer *server =
        https_server_new (manners[i % 4], i % 4 == 3 ? "HTTP/1.1 200 OK\r\n\r\n" : text, NULL);
    NatNegotiator *n;
    NatRequest *r;
    Question q;
    gint64 end = g_get_monotonic_time () + g_test_rand_int_range (0, 20) * 1000, cancelled;
    gboolean mine = i % 2 == 0;

    question_init (&q, https_server_port (server));
    q.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
    g_main_context_push_thread_default (context);
    n = nat_negotiator_new (&q.config, NULL, NULL, &q.cause);
    r = nat_negotiator_send (n, NAT_REQUEST_FETCH, HTTPS_SESSION, NULL, NULL, 10000,
        manners[i % 4] == HTTPS_ANSWERS || manners[i % 4] == HTTPS_ENDLESS ? NULL : never, NULL);
    while (g_get_monotonic_time () < end && nat_negotiator_n_pending (n) > 0)
      g_main_context_iteration (context, FALSE);
    if (mine && nat_negotiator_n_pending (n) > 0)
      nat_request_cancel (r);
    else
      nat_negotiator_cancel (n);
    cancelled = g_get_monotonic_time ();
    while (nat_negotiator_n_pending (n) > 0)
      g_main_context_iteration (context, TRUE);
    g_assert_cmpint (g_get_monotonic_time () - cancelled, <, 5000 * 1000);
    nat_negotiator_free (n);
    while (g_main_context_iteration (context, FALSE))
      ;
    g_main_context_pop_thread_default (context);
    question_clear (&q);
    https_server_free (server);
  }
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/negotiator/requests", test_requests);
  g_test_add_func ("/negotiator/no-token", test_no_token_no_field);
  g_test_add_func ("/negotiator/fingerprint-forms", test_fingerprint_forms);
  g_test_add_func ("/negotiator/fingerprint-nonsense", test_fingerprint_nonsense);
  g_test_add_func ("/negotiator/fingerprint-mismatch", test_fingerprint_mismatch);
  g_test_add_func ("/negotiator/interception", test_interception);
  g_test_add_func ("/negotiator/ca-file", test_ca_file);
  g_test_add_func ("/negotiator/identity", test_identity);
  g_test_add_func ("/negotiator/ca-file-missing", test_ca_file_missing);
  g_test_add_func ("/negotiator/untrusted", test_untrusted);
  g_test_add_func ("/negotiator/expired", test_expired);
  g_test_add_func ("/negotiator/not-yet", test_not_yet);
  g_test_add_func ("/negotiator/unknown-host", test_unknown_host);
  g_test_add_func ("/negotiator/refused-port", test_refused_port);
  g_test_add_func ("/negotiator/timeouts", test_timeouts);
  g_test_add_func ("/negotiator/not-tls", test_not_tls);
  g_test_add_func ("/negotiator/not-http", test_not_http);
  g_test_add_func ("/negotiator/endless", test_endless);
  g_test_add_func ("/negotiator/statuses", test_statuses);
  g_test_add_func ("/negotiator/proxy", test_proxy);
  g_test_add_func ("/negotiator/proxy-refuses", test_proxy_refuses);
  g_test_add_func ("/negotiator/cancel", test_cancel);
  return g_test_run ();
}
