/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "config.h"
#include "natclient/negotiator.h"

#include <libsoup/soup.h>
#include <string.h>

#include "natclient/cause.h"
#include "natclient/trust.h"
#include "natproto/crypto.h"

#define RETRY_AFTER_MAX_S 300 /* no relay may send us to sleep for a day */
#define FINGERPRINT_TEXT  (2 * NAT_SHA256_SIZE)

/* How far a connection came: a timeout is told in these words. */
typedef enum {
  STAGE_START,
  STAGE_RESOLVING,
  STAGE_CONNECTING,
  STAGE_TLS,
  STAGE_ANSWER,
} Stage;

struct _NatNegotiator {
  int refs; /* the owner and each request */
  SoupSession *soup;
  NatRole role;
  char *host, *stream;
  char *where; /* "host:port" for people */
  guint16 port;
  gboolean takeover;
  NatTrust *trust;
  GTlsCertificateFlags validation;
  NatAcceptFunc accept;
  gpointer user;
  gboolean accepted; /* asked about one certificate once, and about the next again */
  guint8 accepted_digest[NAT_SHA256_SIZE];
  GList *requests;
};

struct _NatRequest {
  NatNegotiator *n;
  NatRequestKind kind;
  SoupMessage *message;
  GCancellable *cancellable;
  GSource *timer;
  GInputStream *body;
  char *bytes; /* NAT_DOCUMENT_MAX + 1: one more than may come */
  gboolean had_token;
  guint timeout_ms;
  Stage stage;
  gboolean timed_out;
  gboolean via_proxy;
  NatAddress remote;
  gboolean refused_certificate;
  GTlsCertificateFlags certificate_errors;
  char fingerprint[FINGERPRINT_TEXT + 1]; /* of what the other side showed */
  gboolean cancelled;
  NatReplyFunc func; /* NULL: nobody waits */
  gpointer user;
};

/* ---- Trust ------------------------------------------------------------- */

/* On the negotiator's thread: GIO brings the question back from its handshake thread. */
static gboolean
on_accept_certificate (
    SoupMessage *message, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user)
{
  NatRequest *r = user;
  NatNegotiator *n = r->n;
  guint8 digest[NAT_SHA256_SIZE];
  gboolean good;

  if (r->cancelled || !nat_trust_digest (certificate, digest))
    return FALSE;
  for (guint i = 0; i < NAT_SHA256_SIZE; i++)
    g_snprintf (r->fingerprint + 2 * i, 3, "%02x", digest[i]);
  r->certificate_errors = errors;
  if (nat_trust_is_pinned (n->trust))
    good = nat_trust_is_pin (n->trust, digest);
  else
    good = (errors & n->validation) == 0 ||
           (n->accepted && nat_crypto_equal (digest, n->accepted_digest, sizeof digest)) ||
           (n->accept != NULL && n->accept (certificate, errors, n->user));
  if (good) {
    n->accepted = TRUE;
    memcpy (n->accepted_digest, digest, sizeof digest);
  }
  r->refused_certificate = !good;
  return good;
}

/* ---- Settings ---------------------------------------------------------- */

static gboolean
set_proxy (NatNegotiator *n, const NatSessionConfig *config, NatCause **cause)
{
  g_autoptr (GProxyResolver) resolver = NULL;

  if (config->proxy == NULL || *config->proxy == '\0')
    return TRUE; /* the system's, which is SoupSession's default */
  if (!g_uri_is_valid (config->proxy, G_URI_FLAGS_NONE, NULL)) {
    *cause = nat_cause_new (NAT_CAUSE_PROXY,
        "The proxy setting is not a URI; it looks like http://proxy.example.org:3128.");
    return FALSE;
  }
  resolver = g_simple_proxy_resolver_new (config->proxy, NULL);
  soup_session_set_proxy_resolver (n->soup, resolver);
  return TRUE;
}

static void
negotiator_unref (NatNegotiator *n)
{
  if (--n->refs > 0)
    return;
  g_object_unref (n->soup);
  g_clear_object (&n->trust);
  g_free (n->host);
  g_free (n->stream);
  g_free (n->where);
  g_free (n);
}

NatNegotiator *
nat_negotiator_new (
    const NatSessionConfig *config, NatAcceptFunc accept, gpointer user, NatCause **cause)
{
  NatNegotiator *n = g_new0 (NatNegotiator, 1);
  gboolean v6 = strchr (config->host, ':') != NULL;

  n->refs = 1;
  n->role = config->role;
  n->host = g_strdup (config->host);
  n->stream = g_strdup (config->stream);
  n->port = config->port;
  n->where = g_strdup_printf (v6 ? "[%s]:%u" : "%s:%u", config->host, config->port);
  n->takeover = config->takeover;
  n->validation = config->tls_validation_flags;
  n->accept = accept;
  n->user = user;
  n->soup = soup_session_new_with_options ("timeout", MAX (config->timeout_ms / 1000, 1),
      "user-agent", "natrelay/" PACKAGE_VERSION, NULL);
  soup_session_remove_feature_by_type (n->soup, SOUP_TYPE_CONTENT_DECODER);
  n->trust = nat_trust_new (config, cause);
  if (n->trust != NULL) {
    soup_session_set_tls_database (n->soup, nat_trust_database (n->trust));
    if (set_proxy (n, config, cause))
      return n;
  }
  (*cause)->final = TRUE;
  negotiator_unref (n);
  return NULL;
}

void
nat_negotiator_cancel (NatNegotiator *n)
{
  for (GList *l = n->requests; l != NULL; l = l->next)
    nat_request_cancel (l->data);
  n->accept = NULL;
}

void
nat_negotiator_free (NatNegotiator *n)
{
  if (n == NULL)
    return;
  nat_negotiator_cancel (n);
  negotiator_unref (n);
}

guint
nat_negotiator_n_pending (const NatNegotiator *n)
{
  return g_list_length (n->requests);
}

/* ---- Causes ------------------------------------------------------------ */

static NatCause *
cause_of_timeout (const NatRequest *r)
{
  const char *where = r->n->where;
  guint s = (r->timeout_ms + 999) / 1000;

  switch (r->stage) {
  case STAGE_START:
  case STAGE_RESOLVING:
    return nat_cause_new (NAT_CAUSE_TIMEOUT,
        "The name of the relay %s was not resolved within %u s: check the network connection and "
        "the name server (DNS).",
        where, s);
  case STAGE_CONNECTING:
    return nat_cause_new (NAT_CAUSE_TIMEOUT,
        "The relay %s did not answer within %u s: check that it runs, and that firewalls let TCP "
        "port %u through.",
        where, s, r->n->port);
  default:
    return nat_cause_new (NAT_CAUSE_TIMEOUT,
        "The relay %s took the connection but said nothing for %u s: check that it is "
        "natrelay-server that listens on this port, and that it is not overloaded.",
        where, s);
  }
}

static const char *
why_untrusted (GTlsCertificateFlags errors)
{
  if (errors & G_TLS_CERTIFICATE_EXPIRED)
    return "it has expired";
  if (errors & G_TLS_CERTIFICATE_NOT_ACTIVATED)
    return "it is not valid yet (is this machine's clock right?)";
  if (errors & G_TLS_CERTIFICATE_REVOKED)
    return "it was revoked";
  if (errors & G_TLS_CERTIFICATE_UNKNOWN_CA)
    return "nobody whom this machine trusts signed it, as with a relay's own certificate";
  if (errors & G_TLS_CERTIFICATE_BAD_IDENTITY)
    return "it was made for another name";
  return "its signature is too weak or broken";
}

static NatCause *
cause_of_certificate (const NatRequest *r)
{
  NatCause *cause;

  if (nat_trust_is_pinned (r->n->trust))
    cause = nat_cause_new (NAT_CAUSE_TLS,
        "%s is not the relay that tls-fingerprint names: it shows a certificate with the "
        "fingerprint %s. If the relay has a new certificate, take the fingerprint that "
        "natrelay-server prints when it starts; otherwise somebody stands between.",
        r->n->where, r->fingerprint);
  else
    cause = nat_cause_new (NAT_CAUSE_TLS,
        "The certificate of %s is not trusted: %s. If the fingerprint that natrelay-server printed "
        "when it started is the same as this, set tls-fingerprint=%s.",
        r->n->where, why_untrusted (r->certificate_errors), r->fingerprint);
  cause->final = TRUE;
  nat_cause_set_detail (cause, "certificate SHA-256 %s, GTlsCertificateFlags 0x%x", r->fingerprint,
      (guint)r->certificate_errors);
  return cause;
}

static NatCause *
cause_of_io_error (const NatRequest *r, const GError *error)
{
  const char *where = r->n->where;

  switch (error->code) {
  case G_IO_ERROR_TIMED_OUT: return cause_of_timeout (r);
  case G_IO_ERROR_CONNECTION_REFUSED:
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "Nothing listens at %s: check that natrelay-server runs there, and that the uri has its "
        "host and port.",
        where);
  case G_IO_ERROR_HOST_UNREACHABLE:
  case G_IO_ERROR_NETWORK_UNREACHABLE:
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "There is no way to %s: check this machine's network connection.", where);
  case G_IO_ERROR_HOST_NOT_FOUND:
    return nat_cause_new (NAT_CAUSE_UNKNOWN_HOST,
        "The relay's name \"%s\" is not known: check the host in the uri.", r->n->host);
  case G_IO_ERROR_PROXY_FAILED:
  case G_IO_ERROR_PROXY_AUTH_FAILED:
  case G_IO_ERROR_PROXY_NEED_AUTH:
  case G_IO_ERROR_PROXY_NOT_ALLOWED:
    return nat_cause_new (
        NAT_CAUSE_PROXY, "The proxy does not lead to the relay %s: %s.", where, error->message);
  default:
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "The connection to %s broke: %s. If this goes on, check what stands between.", where,
        error->message);
  }
}

static NatCause *
cause_of_resolver_error (const NatRequest *r, const GError *error)
{
  if (error->code == (int)G_RESOLVER_ERROR_TEMPORARY_FAILURE)
    return nat_cause_new (NAT_CAUSE_UNKNOWN_HOST,
        "The name server did not answer when asked for \"%s\": check this machine's network "
        "connection.",
        r->n->host);
  return nat_cause_new (NAT_CAUSE_UNKNOWN_HOST,
      "The relay's name \"%s\" is not known: check the host in the uri, and this machine's name "
      "server (DNS).",
      r->n->host);
}

static NatCause *
cause_of_tls_error (const NatRequest *r, const GError *error)
{
  /* GIO says "not TLS" of a peer that hangs up during the handshake, as a relay that stops does. */
  if (error->code == (int)G_TLS_ERROR_EOF || error->code == (int)G_TLS_ERROR_NOT_TLS)
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "%s closed the connection before it was secure: check that it is natrelay-server that "
        "listens on this port; it may be starting, stopping or busy.",
        r->n->where);
  return nat_cause_new (NAT_CAUSE_TLS,
      "No secure connection with %s (%s): check that it is natrelay-server that listens on this "
      "port.",
      r->n->where, error->message);
}

static NatCause *
cause_of_error (const NatRequest *r, const GError *error)
{
  NatCause *cause;

  if (r->timed_out)
    cause = cause_of_timeout (r);
  else if (r->refused_certificate)
    return cause_of_certificate (r);
  else if (error->domain == G_RESOLVER_ERROR)
    cause = cause_of_resolver_error (r, error);
  else if (error->domain == G_TLS_ERROR)
    cause = cause_of_tls_error (r, error);
  else if (error->domain == G_IO_ERROR)
    cause = cause_of_io_error (r, error);
  else
    cause = nat_cause_new (NAT_CAUSE_PROXY,
        "What %s answered is not HTTP: check that the uri has the host and port of "
        "natrelay-server.",
        r->n->where);
  nat_cause_set_detail (
      cause, "%s %d: %s", g_quark_to_string (error->domain), error->code, error->message);
  return cause;
}

/* Whether asking again without a person's help can make sense. */
static gboolean
status_is_final (guint status)
{
  return status >= 400 && status < 500 && status != 404 && status != 408 && status != 409 &&
         status != 410 && status != 421 && status != 425 && status != 429;
}

static NatCauseKind
kind_of_status (guint status)
{
  switch (status) {
  case 401:
  case 403: return NAT_CAUSE_NOT_AUTHORIZED;
  case 404:
  case 410: return NAT_CAUSE_NOT_FOUND;
  case 409: return NAT_CAUSE_BUSY;
  case 408:
  case 429: return NAT_CAUSE_SERVER;
  default: return status >= 500 ? NAT_CAUSE_SERVER : NAT_CAUSE_PROTOCOL;
  }
}

static NatCause *
cause_of_problem (const NatRequest *r, guint status, const NatProblem *problem)
{
  const char *detail = problem->detail != NULL ? problem->detail : "";

  if (status == 401 && !r->had_token)
    return nat_cause_new (NAT_CAUSE_NOT_AUTHORIZED,
        "The relay %s asks for an access token: set auth-token (or NATRELAY_AUTH_TOKEN) to one "
        "that natrelay-server printed when it started or that natrelay-token made.",
        r->n->where);
  return nat_cause_new (
      kind_of_status (status), "%s (relay %s): %s", problem->title, r->n->where, detail);
}

/* No relay speaks so: a proxy, a login page, or another server. */
static NatCause *
cause_of_stranger (const NatRequest *r, guint status)
{
  const char *reason = soup_message_get_reason_phrase (r->message);

  if (reason == NULL)
    reason = "";
  if (r->via_proxy)
    return nat_cause_new (NAT_CAUSE_PROXY,
        "The proxy answered \"%u %s\" instead of the relay %s: it must allow CONNECT to port %u.",
        status, reason, r->n->where, r->n->port);
  return nat_cause_new (NAT_CAUSE_PROXY,
      "%s answered \"%u %s\", and not as a relay does: check that the uri has the host and port of "
      "natrelay-server, and that no proxy or login page stands between.",
      r->n->where, status, reason);
}

static NatCause *
cause_of_status (const NatRequest *r, guint status, gsize len)
{
  NatProblem problem = {0};
  NatCause *cause;

  if (nat_problem_from_json (&problem, r->bytes, (gssize)len))
    cause = cause_of_problem (r, status, &problem);
  else
    cause = cause_of_stranger (r, status);
  cause->final = status_is_final (status);
  cause->http_status = status;
  nat_cause_set_detail (
      cause, "HTTP %u%s%s", status, problem.type ? ", " : "", problem.type ? problem.type : "");
  nat_problem_clear (&problem);
  return cause;
}

/* ---- Answers ----------------------------------------------------------- */

static guint
read_retry_after (SoupMessage *message)
{
  const char *text =
      soup_message_headers_get_one (soup_message_get_response_headers (message), "Retry-After");
  guint64 s;

  if (text == NULL)
    return 0;
  if (!g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT32, &s, NULL)) {
    g_autoptr (GDateTime) date = soup_date_time_new_from_http_string (text);
    gint64 wait =
        date == NULL ? 0 : g_date_time_to_unix (date) - g_get_real_time () / G_USEC_PER_SEC;

    s = (guint64)MAX (wait, 0);
  }
  return (guint)(MIN (s, RETRY_AFTER_MAX_S) * 1000);
}

static void
request_free (NatRequest *r)
{
  if (r->timer != NULL) {
    g_source_destroy (r->timer);
    g_source_unref (r->timer);
  }
  g_signal_handlers_disconnect_by_data (r->message, r);
  r->n->requests = g_list_remove (r->n->requests, r);
  g_clear_object (&r->body);
  g_object_unref (r->message);
  g_object_unref (r->cancellable);
  if (r->bytes != NULL)
    nat_crypto_wipe (r->bytes, NAT_DOCUMENT_MAX + 1);
  g_free (r->bytes);
  negotiator_unref (r->n);
  g_free (r);
}

/* The end of every request: calls back, once, and frees. Takes cause. */
static void
request_done (NatRequest *r, NatCause *cause, NatSessionDocument *document)
{
  NatReply reply = {r->kind, cause, 0, document, r->remote, r->via_proxy};
  NatReplyFunc func = r->func;

  r->func = NULL;
  if (cause != NULL && cause->http_status != 0)
    reply.retry_after_ms = read_retry_after (r->message);
  if (func != NULL)
    func (&reply, r->user);
  nat_cause_free (reply.cause);
  request_free (r);
}

static void
request_answered (NatRequest *r, gsize len)
{
  guint status = soup_message_get_status (r->message);
  NatSessionDocument document;
  GError *error = NULL;
  NatCause *cause;

  memset (&document, 0, sizeof document);
  if (status < 200 || status > 299) {
    request_done (r, cause_of_status (r, status, len), NULL);
  } else if (r->kind == NAT_REQUEST_CLOSE || r->kind == NAT_REQUEST_END) {
    request_done (r, NULL, NULL);
  } else if (nat_session_document_from_json (&document, r->bytes, (gssize)len, &error)) {
    request_done (r, NULL, &document);
  } else {
    cause = cause_of_stranger (r, status);
    nat_cause_set_detail (cause, "HTTP %u: %s", status, error->message);
    cause->http_status = status;
    g_error_free (error);
    request_done (r, cause, NULL);
  }
  nat_session_document_clear (&document);
}

static void
on_body (GObject *source, GAsyncResult *result, gpointer user)
{
  NatRequest *r = user;
  GError *error = NULL;
  gsize len = 0;

  if (!g_input_stream_read_all_finish (G_INPUT_STREAM (source), result, &len, &error)) {
    /* Closing a body that is not at its end would wait for the rest. */
    g_cancellable_cancel (r->cancellable);
    request_done (r, cause_of_error (r, error), NULL);
    g_error_free (error);
    return;
  }
  if (len > NAT_DOCUMENT_MAX) {
    g_cancellable_cancel (r->cancellable);
    len = 0; /* no relay's answer is so long */
  }
  request_answered (r, len);
}

static void
on_head (GObject *source, GAsyncResult *result, gpointer user)
{
  NatRequest *r = user;
  GError *error = NULL;

  r->body = soup_session_send_finish (SOUP_SESSION (source), result, &error);
  if (r->body == NULL) {
    request_done (r, cause_of_error (r, error), NULL);
    g_error_free (error);
    return;
  }
  r->bytes = g_malloc0 (NAT_DOCUMENT_MAX + 1);
  g_input_stream_read_all_async (
      r->body, r->bytes, NAT_DOCUMENT_MAX + 1, G_PRIORITY_DEFAULT, r->cancellable, on_body, r);
}

/* ---- Requests ---------------------------------------------------------- */

/* The address that a connection is being made to tells whether it leads through a proxy; the one
 * that it reached is the relay's own, and the first to try by UDP. */
static void
on_network_event (
    SoupMessage *message, GSocketClientEvent event, GIOStream *connection, gpointer user)
{
  NatRequest *r = user;
  g_autoptr (GSocketAddress) address = NULL;
  guint8 native[128];

  switch (event) {
  case G_SOCKET_CLIENT_RESOLVING: r->stage = STAGE_RESOLVING; return;
  case G_SOCKET_CLIENT_CONNECTING: r->stage = STAGE_CONNECTING; break;
  case G_SOCKET_CLIENT_CONNECTED: r->stage = STAGE_ANSWER; break;
  case G_SOCKET_CLIENT_PROXY_NEGOTIATING: r->via_proxy = TRUE; return;
  case G_SOCKET_CLIENT_TLS_HANDSHAKING:
    r->stage = STAGE_TLS;
    nat_trust_hide_literal (r->n->trust, connection);
    return;
  case G_SOCKET_CLIENT_TLS_HANDSHAKED: r->stage = STAGE_ANSWER; return;
  default: return;
  }
  if (!G_IS_SOCKET_CONNECTION (connection))
    return;
  address = g_socket_connection_get_remote_address (G_SOCKET_CONNECTION (connection), NULL);
  if (address == NULL)
    return;
  if (G_IS_PROXY_ADDRESS (address))
    r->via_proxy = TRUE;
  else if (event == G_SOCKET_CLIENT_CONNECTED && !r->via_proxy &&
           g_socket_address_to_native (address, native, sizeof native, NULL))
    nat_address_from_sockaddr (&r->remote, (const struct sockaddr *)native,
        (gsize)g_socket_address_get_native_size (address));
}

static gboolean
on_timeout (gpointer user)
{
  NatRequest *r = user;

  r->timed_out = TRUE;
  g_cancellable_cancel (r->cancellable);
  return G_SOURCE_REMOVE;
}

static char *
request_path (const NatNegotiator *n, NatRequestKind kind, const char *session)
{
  switch (kind) {
  case NAT_REQUEST_OPEN:
    return g_strdup_printf ("/v1/streams/%s/%s", n->stream,
        n->role == NAT_ROLE_PUBLISHER ? "publishers" : "subscribers");
  case NAT_REQUEST_DESCRIBE: return g_strdup_printf ("/v1/sessions/%s/description", session);
  case NAT_REQUEST_RENEW: return g_strdup_printf ("/v1/sessions/%s/token", session);
  default: return g_strdup_printf ("/v1/sessions/%s", session);
  }
}

static const char *
request_method (NatRequestKind kind)
{
  switch (kind) {
  case NAT_REQUEST_OPEN: return "POST";
  case NAT_REQUEST_FETCH: return "GET";
  case NAT_REQUEST_DESCRIBE:
  case NAT_REQUEST_RENEW: return "PUT";
  default: return "DELETE";
  }
}

static SoupMessage *
request_message (const NatNegotiator *n, NatRequestKind kind, const char *session)
{
  g_autofree char *path = request_path (n, kind, session);
  const char *query = NULL;
  g_autoptr (GUri) uri = NULL;

  if (kind == NAT_REQUEST_OPEN && n->role == NAT_ROLE_PUBLISHER && n->takeover)
    query = "takeover=true";
  if (kind == NAT_REQUEST_END)
    query = "ended=true";
  uri = g_uri_build (SOUP_HTTP_URI_FLAGS, "https", NULL, n->host, n->port, path, query, NULL);
  return soup_message_new_from_uri (request_method (kind), uri);
}

static void
set_token (SoupMessage *message, const char *token)
{
  char *field = g_strconcat ("Bearer ", token, NULL);

  soup_message_headers_replace (soup_message_get_request_headers (message), "Authorization", field);
  nat_crypto_wipe_free (field);
}

static void
set_body (SoupMessage *message, NatRequestKind kind, const NatDescription *description)
{
  char *json;
  GBytes *bytes;

  if (kind != NAT_REQUEST_OPEN && kind != NAT_REQUEST_DESCRIBE && kind != NAT_REQUEST_RENEW)
    return;
  json = description != NULL ? nat_description_to_json (description) : g_strdup ("{}");
  bytes =
      g_bytes_new_with_free_func (json, strlen (json), (GDestroyNotify)nat_crypto_wipe_free, json);
  soup_message_set_request_body_from_bytes (message, "application/json", bytes);
  g_bytes_unref (bytes);
}

NatRequest *
nat_negotiator_send (NatNegotiator *n, NatRequestKind kind, const char *session,
    const NatDescription *description, const char *token, guint timeout_ms, NatReplyFunc func,
    gpointer user)
{
  NatRequest *r = g_new0 (NatRequest, 1);

  r->n = n;
  n->refs++;
  n->requests = g_list_prepend (n->requests, r);
  r->kind = kind;
  r->func = func;
  r->user = user;
  r->timeout_ms = timeout_ms;
  r->cancellable = g_cancellable_new ();
  r->message = request_message (n, kind, session);
  soup_message_add_flags (r->message, SOUP_MESSAGE_NO_REDIRECT | SOUP_MESSAGE_NEW_CONNECTION);
  r->had_token = token != NULL && *token != '\0';
  if (r->had_token)
    set_token (r->message, token);
  set_body (r->message, kind, description);
  g_signal_connect (r->message, "accept-certificate", G_CALLBACK (on_accept_certificate), r);
  g_signal_connect (r->message, "network-event", G_CALLBACK (on_network_event), r);
  r->timer = g_timeout_source_new (timeout_ms);
  g_source_set_callback (r->timer, on_timeout, r, NULL);
  g_source_attach (r->timer, g_main_context_get_thread_default ());
  soup_session_send_async (n->soup, r->message, G_PRIORITY_DEFAULT, r->cancellable, on_head, r);
  return r;
}

void
nat_request_cancel (NatRequest *r)
{
  r->cancelled = TRUE;
  r->func = NULL;
  g_cancellable_cancel (r->cancellable);
}
