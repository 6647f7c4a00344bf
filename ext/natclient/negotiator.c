/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "config.h"
#include "natclient/negotiator.h"

#include <libsoup/soup.h>
#include <string.h>

#include "natclient/cause.h"
#include "natclient/httpscause.h"
#include "natclient/proxy.h"
#include "natclient/source.h"
#include "natclient/trust.h"
#include "natproto/crypto.h"

#define RETRY_AFTER_MAX_S 300 /* no relay may send us to sleep for a day */

/* Where a port leads nowhere, the other one is tried (docs/design/transports.md). */
/* With a port that was never seen to work, at most a quarter of all the time; with the other one, twice as long after each
 * time that a proxy was not waited for. */
#define PATIENCE_MS       1000
#define OTHER_PATIENCE_MS 2000u
#define SLOW_PROXY_MAX    2 /* 8 s */
#define DOUBT             4 /* requests in a row, after which a port that did work may not any more */

struct _NatNegotiator {
  int refs; /* the owner and each request */
  SoupSession *soup;
  NatRole role;
  char *host, *stream;
  char *exclude;             /* NULL, or a stream name: nothing in it is JSON's */
  char *where;               /* "host:port" for people */
  char *via;                 /* connected to in place of host; or NULL */
  guint16 port, second_port; /* the URI's; and 443 */
  guint16 door;              /* that of the two where the relay answered last, or is asked first */
  gboolean proved;           /* it did answer there */
  guint failures;            /* requests in a row that reached nobody */
  guint slow_proxy;          /* detours that were given up while a proxy was busy with them */
  guint n_given_up;          /* attempts whose memory is still in use */
  gboolean takeover;
  gboolean instant_start; /* until a session was opened: whoever plays has a picture */
  NatTrust *trust;
  GProxyResolver *proxy;
  GList *requests;
};

/* One connection for a request. Until TLS is ready the relay has got nothing of it, so that another one, to
 * the other port, can take its place. */
typedef struct {
  NatRequest *r; /* NULL: given up */
  NatNegotiator *n;
  guint16 port;
  SoupMessage *message;
  GCancellable *cancellable;
  NatHttpsStage stage;
  gboolean begun;   /* the name is resolved: from now on it is the port that takes its time */
  gboolean reached; /* the port leads somewhere: TLS began */
  gboolean secure;  /* TLS is ready */
  gboolean via_proxy;
  NatAddress remote;
  NatShown shown; /* of certificates */
} Attempt;

struct _NatRequest {
  NatNegotiator *n;
  NatRequestKind kind;
  char *session, *token; /* NULL = none */
  GBytes *content;       /* NULL = none */
  guint16 usual;         /* the port that it began with */
  Attempt *attempt;      /* the current one; NULL = none any more */
  gboolean detoured;     /* the other port had its turn, or has */
  NatCause *blocked; /* why the usual port did not lead to the relay; NULL = it was slow, or did */
  GSource *timer, *patience;
  GInputStream *body;
  char *bytes; /* NAT_SESSION_DOCUMENT_MAX + 1: one more than may come */
  guint timeout_ms;
  gboolean timed_out;
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
  Attempt *a = user;

  return a->r != NULL && !a->r->cancelled &&
         nat_trust_accepts (a->n->trust, certificate, errors, &a->shown);
}

/* ---- Settings ---------------------------------------------------------- */

static void
negotiator_unref (NatNegotiator *n)
{
  if (--n->refs > 0)
    return;
  g_object_unref (n->soup);
  g_clear_object (&n->trust);
  g_clear_object (&n->proxy);
  g_free (n->host);
  g_free (n->exclude);
  g_free (n->stream);
  g_free (n->via);
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
  if (config->exclude != NULL && nat_stream_name_valid (config->exclude))
    n->exclude = g_strdup (config->exclude);
  n->port = n->door = config->port;
  n->second_port = config->second_port;
  n->where = g_strdup_printf (v6 ? "[%s]:%u" : "%s:%u", config->host, config->port);
  n->takeover = config->takeover;
  n->instant_start = config->instant_start && config->role == NAT_ROLE_SUBSCRIBER;
  n->soup = soup_session_new_with_options ("timeout", MAX (config->timeout_ms / 1000, 1),
      "user-agent", "natrelay/" PACKAGE_VERSION, NULL);
  soup_session_remove_feature_by_type (n->soup, SOUP_TYPE_CONTENT_DECODER);
  n->trust = nat_trust_new (config, accept, user, cause);
  if (n->trust != NULL) {
    soup_session_set_tls_database (n->soup, nat_trust_database (n->trust));
    n->proxy = nat_proxy_resolver_new (config, cause);
    if (n->proxy != NULL) {
      soup_session_set_proxy_resolver (n->soup, n->proxy);
      return n;
    }
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
  nat_trust_ask_nobody (n->trust);
}

void
nat_negotiator_free (NatNegotiator *n)
{
  if (n == NULL)
    return;
  nat_negotiator_cancel (n);
  negotiator_unref (n);
}

NatTrust *
nat_negotiator_trust (const NatNegotiator *n)
{
  return n->trust;
}

GProxyResolver *
nat_negotiator_proxy (const NatNegotiator *n)
{
  return n->proxy;
}

guint
nat_negotiator_n_pending (const NatNegotiator *n)
{
  return g_list_length (n->requests) + n->n_given_up;
}

static guint16
other_port (const NatNegotiator *n, guint16 port)
{
  if (n->second_port == 0)
    return port;
  return port == n->port ? n->second_port : n->port;
}

void
nat_negotiator_set_via (NatNegotiator *n, const char *via)
{
  g_free (n->via);
  n->via = g_strdup (via);
}

const char *
nat_negotiator_via (const NatNegotiator *n)
{
  return n->via;
}

guint16
nat_negotiator_port (const NatNegotiator *n, gboolean other)
{
  return other ? other_port (n, n->door) : n->door;
}

/* ---- Causes ------------------------------------------------------------ */

static NatHttpsStory
story_of (const NatRequest *r)
{
  const NatNegotiator *n = r->n;
  const Attempt *a = r->attempt;
  NatHttpsStory story = {.trust = n->trust,
      .host = n->host,
      .where = n->where,
      .port = n->port,
      .stage = a->stage,
      .timeout_ms = r->timeout_ms,
      .timed_out = r->timed_out,
      .via_proxy = a->via_proxy,
      .had_token = r->token != NULL,
      .shown = &a->shown};

  return story;
}

static NatCause *
cause_of_error (const NatRequest *r, const GError *error)
{
  NatHttpsStory story = story_of (r);

  return nat_https_cause_of_error (&story, error);
}

/* ---- Answers ----------------------------------------------------------- */

static gint64
date_of (SoupMessage *message, const char *field)
{
  const char *text =
      soup_message_headers_get_one (soup_message_get_response_headers (message), field);
  g_autoptr (GDateTime) date = text == NULL ? NULL : soup_date_time_new_from_http_string (text);

  return date == NULL ? 0 : g_date_time_to_unix (date);
}

/* A date is one of the clock that Date tells, and ours may be another. */
static guint
read_retry_after (SoupMessage *message)
{
  const char *text =
      soup_message_headers_get_one (soup_message_get_response_headers (message), "Retry-After");
  guint64 s;

  if (text == NULL)
    return 0;
  if (!g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT32, &s, NULL)) {
    gint64 now = date_of (message, "Date");

    now = now != 0 ? now : g_get_real_time () / G_USEC_PER_SEC;
    s = (guint64)MAX (date_of (message, "Retry-After") - now, 0);
  }
  return (guint)(MIN (s, RETRY_AFTER_MAX_S) * 1000);
}

/* Once libsoup has let go of it. */
static void
attempt_free (Attempt *a)
{
  g_signal_handlers_disconnect_by_data (a->message, a);
  nat_shown_clear (&a->shown);
  g_object_unref (a->message);
  g_object_unref (a->cancellable);
  negotiator_unref (a->n);
  g_free (a);
}

static void
request_free (NatRequest *r)
{
  nat_source_drop (&r->timer);
  nat_source_drop (&r->patience);
  r->n->requests = g_list_remove (r->n->requests, r);
  g_clear_object (&r->body);
  g_clear_pointer (&r->attempt, attempt_free);
  if (r->bytes != NULL)
    nat_crypto_wipe (r->bytes, NAT_SESSION_DOCUMENT_MAX + 1);
  g_free (r->bytes);
  g_clear_pointer (&r->content, g_bytes_unref);
  nat_cause_free (r->blocked);
  nat_crypto_wipe_free (r->token);
  g_free (r->session);
  negotiator_unref (r->n);
  g_free (r);
}

/* The end of every request: calls back, once, and frees. Takes cause. */
static void
request_done (NatRequest *r, NatCause *cause, NatSessionDocument *document)
{
  NatReply reply = {.kind = r->kind, .cause = cause, .document = document};
  NatReplyFunc func = r->func;

  r->func = NULL;
  if (r->attempt != NULL) {
    reply.remote = r->attempt->remote;
    reply.via_proxy = r->attempt->via_proxy;
  }
  if (r->kind == NAT_REQUEST_OPEN && cause == NULL)
    r->n->instant_start = FALSE;
  if (cause != NULL && cause->http_status != 0 && r->attempt != NULL)
    reply.retry_after_ms = read_retry_after (r->attempt->message);
  if (cause == NULL || (cause->http_status != 0 && cause->kind != NAT_CAUSE_PROXY))
    reply.date_s = date_of (r->attempt->message, "Date");
  if (cause != NULL && cause->http_status == 0 && !r->cancelled)
    r->n->failures++;
  if (func != NULL)
    func (&reply, r->user);
  nat_cause_free (reply.cause);
  request_free (r);
}

/* ---- Two ports --------------------------------------------------------- */

static void attempt_begin (NatRequest *r, guint16 port);

static gboolean
is_detour (const NatRequest *r)
{
  return r->attempt != NULL && r->attempt->port != r->usual;
}

/* A port that was seen to work is not blocked: the relay is away, and back in a moment. */
static gboolean
may_detour (const NatRequest *r)
{
  return !r->detoured && !r->cancelled && !r->timed_out && r->kind != NAT_REQUEST_CLOSE &&
         r->kind != NAT_REQUEST_END && other_port (r->n, r->usual) != r->usual &&
         (!r->n->proved || r->n->failures >= DOUBT);
}

static void
detour (NatRequest *r)
{
  r->detoured = TRUE;
  attempt_begin (r, other_port (r->n, r->usual));
}

/* The other port is not the relay's, either: what is told is of the usual one, which may have been slow. */
static void
detour_failed (NatRequest *r)
{
  if (r->blocked != NULL)
    request_done (r, g_steal_pointer (&r->blocked), NULL);
  else
    attempt_begin (r, r->usual);
}

/* Its memory goes when libsoup lets go of it. */
static void
attempt_give_up (Attempt *a)
{
  a->r->attempt = NULL;
  a->r = NULL;
  a->n->n_given_up++;
  g_cancellable_cancel (a->cancellable);
}

/* A proxy may yet have led there: what it said of the usual port is no last word. */
static void
hurry (NatRequest *r)
{
  r->n->slow_proxy++;
  if (r->blocked != NULL)
    r->blocked->final = FALSE;
}

static gboolean
on_patience (gpointer user)
{
  NatRequest *r = user;
  gboolean was_detour = is_detour (r);

  g_clear_pointer (&r->patience, g_source_unref);
  if (r->attempt == NULL || r->attempt->reached || r->cancelled || r->timed_out)
    return G_SOURCE_REMOVE;
  if (was_detour || may_detour (r)) {
    if (was_detour && r->attempt->via_proxy)
      hurry (r);
    attempt_give_up (r->attempt);
    if (was_detour)
      detour_failed (r);
    else
      detour (r);
  }
  return G_SOURCE_REMOVE;
}

static void
arm_patience (NatRequest *r)
{
  guint ms = is_detour (r) ? OTHER_PATIENCE_MS << MIN (r->n->slow_proxy, SLOW_PROXY_MAX)
                           : MIN (PATIENCE_MS, r->timeout_ms / 4);

  nat_source_drop (&r->patience);
  if (!is_detour (r) && !may_detour (r))
    return;
  r->patience = g_timeout_source_new (ms);
  g_source_set_callback (r->patience, on_patience, r, NULL);
  g_source_attach (r->patience, g_main_context_get_thread_default ());
}

/* How long the name server takes is neither port's fault, and asking it anew is no quicker. */
static void
attempt_begun (Attempt *a)
{
  if (a->r != NULL && !a->begun)
    arm_patience (a->r);
  a->begun = TRUE;
}

/* The port did not lead to anybody whose answer counts. */
static gboolean
leads_nowhere (const Attempt *a, const GError *error)
{
  if (a->secure || a->shown.refused || error->domain == G_RESOLVER_ERROR)
    return FALSE;
  return error->domain != G_IO_ERROR ||
         (error->code != G_IO_ERROR_HOST_NOT_FOUND && error->code != G_IO_ERROR_PROXY_AUTH_FAILED &&
             error->code != G_IO_ERROR_PROXY_NEED_AUTH && error->code != G_IO_ERROR_CANCELLED);
}

static void
attempt_failed (NatRequest *r, const GError *error)
{
  Attempt *a = r->attempt;
  NatCause *cause = cause_of_error (r, error);

  if (is_detour (r) && !a->secure && !r->cancelled && (!r->timed_out || r->blocked != NULL)) {
    nat_cause_free (cause);
    g_clear_pointer (&r->attempt, attempt_free);
    detour_failed (r);
  } else if (may_detour (r) && leads_nowhere (a, error)) {
    r->blocked = cause;
    g_clear_pointer (&r->attempt, attempt_free);
    detour (r);
  } else {
    request_done (r, cause, NULL);
  }
}

/* What a stranger at the other port says is no relay's word. */
static gboolean
is_strangers (const NatRequest *r, const NatCause *cause)
{
  return cause != NULL && cause->kind == NAT_CAUSE_PROXY && is_detour (r);
}

/* Takes cause. */
static void
request_answered_with (NatRequest *r, NatCause *cause, NatSessionDocument *document)
{
  if (is_strangers (r, cause)) {
    nat_cause_free (cause);
    g_clear_object (&r->body);
    g_clear_pointer (&r->bytes, g_free);
    g_clear_pointer (&r->attempt, attempt_free);
    detour_failed (r);
    return;
  }
  if (cause == NULL || cause->kind != NAT_CAUSE_PROXY) {
    r->n->door = r->attempt->port;
    r->n->proved = TRUE;
    r->n->failures = 0;
  }
  request_done (r, cause, document);
}

static void
request_answered (NatRequest *r, gsize len)
{
  guint status = soup_message_get_status (r->attempt->message);
  const char *reason = soup_message_get_reason_phrase (r->attempt->message);
  NatHttpsStory story = story_of (r);
  NatSessionDocument document;
  GError *error = NULL;
  NatCause *cause;

  memset (&document, 0, sizeof document);
  if (status < 200 || status > 299) {
    cause = nat_https_cause_of_status (&story, status, reason, r->bytes, len);
    request_answered_with (r, cause, NULL);
  } else if (r->kind == NAT_REQUEST_CLOSE || r->kind == NAT_REQUEST_END) {
    request_answered_with (r, NULL, NULL);
  } else if (nat_session_document_from_json (&document, r->bytes, (gssize)len, &error)) {
    request_answered_with (r, NULL, &document);
  } else {
    cause = nat_https_cause_of_stranger (&story, status, reason);
    nat_cause_set_detail (cause, "HTTP %u: %s", status, error->message);
    cause->http_status = status;
    g_error_free (error);
    request_answered_with (r, cause, NULL);
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
    g_cancellable_cancel (r->attempt->cancellable);
    request_done (r, cause_of_error (r, error), NULL);
    g_error_free (error);
    return;
  }
  if (len > NAT_SESSION_DOCUMENT_MAX) {
    g_cancellable_cancel (r->attempt->cancellable);
    len = 0; /* no relay's answer is so long */
  }
  request_answered (r, len);
}

static void
on_head (GObject *source, GAsyncResult *result, gpointer user)
{
  Attempt *a = user;
  NatRequest *r = a->r;
  g_autoptr (GError) error = NULL;
  GInputStream *body = soup_session_send_finish (SOUP_SESSION (source), result, &error);

  if (r == NULL) {
    g_clear_object (&body);
    a->n->n_given_up--;
    attempt_free (a);
    return;
  }
  if (body == NULL) {
    attempt_failed (r, error);
    return;
  }
  r->body = body;
  r->bytes = g_malloc0 (NAT_SESSION_DOCUMENT_MAX + 1);
  g_input_stream_read_all_async (r->body, r->bytes, NAT_SESSION_DOCUMENT_MAX + 1,
      G_PRIORITY_DEFAULT, a->cancellable, on_body, r);
}

/* ---- Requests ---------------------------------------------------------- */

/* The address that a connection is being made to tells whether it leads through a proxy; the one
 * that it reached is the relay's own, and the first to try by UDP. */
static void
on_network_event (
    SoupMessage *message, GSocketClientEvent event, GIOStream *connection, gpointer user)
{
  Attempt *a = user;
  g_autoptr (GSocketAddress) address = NULL;
  guint8 native[128];

  switch (event) {
  case G_SOCKET_CLIENT_RESOLVING: a->stage = NAT_HTTPS_RESOLVING; return;
  case G_SOCKET_CLIENT_CONNECTING:
    a->stage = NAT_HTTPS_CONNECTING;
    attempt_begun (a);
    break;
  case G_SOCKET_CLIENT_CONNECTED: a->stage = NAT_HTTPS_ANSWER; break;
  case G_SOCKET_CLIENT_PROXY_NEGOTIATING: a->via_proxy = TRUE; return;
  case G_SOCKET_CLIENT_TLS_HANDSHAKING:
    a->stage = NAT_HTTPS_TLS;
    a->reached = TRUE;
    nat_trust_hide_literal (a->n->trust, connection);
    return;
  case G_SOCKET_CLIENT_TLS_HANDSHAKED:
    a->stage = NAT_HTTPS_ANSWER;
    a->secure = TRUE;
    return;
  default: return;
  }
  if (!G_IS_SOCKET_CONNECTION (connection))
    return;
  address = g_socket_connection_get_remote_address (G_SOCKET_CONNECTION (connection), NULL);
  if (address == NULL)
    return;
  if (G_IS_PROXY_ADDRESS (address))
    a->via_proxy = TRUE;
  else if (event == G_SOCKET_CLIENT_CONNECTED && !a->via_proxy &&
           g_socket_address_to_native (address, native, sizeof native, NULL))
    nat_address_from_sockaddr (&a->remote, (const struct sockaddr *)native,
        (gsize)g_socket_address_get_native_size (address));
}

static gboolean
on_timeout (gpointer user)
{
  NatRequest *r = user;

  r->timed_out = TRUE;
  if (r->attempt != NULL)
    g_cancellable_cancel (r->attempt->cancellable);
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
request_message (const NatRequest *r, guint16 port)
{
  const NatNegotiator *n = r->n;
  g_autofree char *path = request_path (n, r->kind, r->session);
  const char *query = NULL;
  g_autoptr (GUri) uri = NULL;

  if (r->kind == NAT_REQUEST_OPEN && n->role == NAT_ROLE_PUBLISHER && n->takeover)
    query = "takeover=true";
  if (r->kind == NAT_REQUEST_END)
    query = "ended=true";
  uri = g_uri_build (SOUP_HTTP_URI_FLAGS, "https", NULL, n->via != NULL ? n->via : n->host, port,
      path, query, NULL);
  return soup_message_new_from_uri (request_method (r->kind), uri);
}

static void
set_token (SoupMessage *message, const char *token)
{
  char *field = g_strconcat ("Bearer ", token, NULL);

  soup_message_headers_replace (soup_message_get_request_headers (message), "Authorization", field);
  nat_crypto_wipe_free (field);
}

/* What a subscriber may ask for. */
static char *
wishes_text (const NatNegotiator *n)
{
  const char *instant = n->instant_start ? "\"instant-start\":true" : "";

  if (n->exclude == NULL)
    return g_strdup_printf ("{%s}", instant);
  return g_strdup_printf (
      "{%s%s\"exclude\":\"%s\"}", instant, *instant != '\0' ? "," : "", n->exclude);
}

/* Free with nat_crypto_wipe_free. */
static char *
body_text (const NatNegotiator *n, NatRequestKind kind, const NatDescription *description)
{
  if (description != NULL)
    return nat_description_to_json (description);
  return kind == NAT_REQUEST_OPEN ? wishes_text (n) : g_strdup ("{}");
}

static GBytes *
content_of (const NatNegotiator *n, NatRequestKind kind, const NatDescription *description)
{
  char *json;

  if (kind != NAT_REQUEST_OPEN && kind != NAT_REQUEST_DESCRIBE && kind != NAT_REQUEST_RENEW)
    return NULL;
  json = body_text (n, kind, description);
  return g_bytes_new_with_free_func (
      json, strlen (json), (GDestroyNotify)nat_crypto_wipe_free, json);
}

static void
attempt_begin (NatRequest *r, guint16 port)
{
  Attempt *a = g_new0 (Attempt, 1);

  r->attempt = a;
  a->r = r;
  a->n = r->n;
  a->n->refs++;
  a->port = port;
  a->cancellable = g_cancellable_new ();
  a->message = request_message (r, port);
  /* The next request is far away, and the way to the relay may be another by then. */
  soup_message_add_flags (a->message, SOUP_MESSAGE_NO_REDIRECT | SOUP_MESSAGE_NEW_CONNECTION);
  soup_message_headers_append (
      soup_message_get_request_headers (a->message), "Connection", "close");
  if (r->token != NULL)
    set_token (a->message, r->token);
  if (r->content != NULL)
    soup_message_set_request_body_from_bytes (a->message, "application/json", r->content);
  g_signal_connect (a->message, "accept-certificate", G_CALLBACK (on_accept_certificate), a);
  g_signal_connect (a->message, "network-event", G_CALLBACK (on_network_event), a);
  nat_source_drop (&r->patience); /* that was with the attempt before */
  soup_session_send_async (r->n->soup, a->message, G_PRIORITY_DEFAULT, a->cancellable, on_head, a);
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
  r->usual = n->door;
  r->session = g_strdup (session);
  r->token = token != NULL && *token != '\0' ? g_strdup (token) : NULL;
  r->content = content_of (n, kind, description);
  r->timer = g_timeout_source_new (timeout_ms);
  g_source_set_callback (r->timer, on_timeout, r, NULL);
  g_source_attach (r->timer, g_main_context_get_thread_default ());
  attempt_begin (r, r->usual);
  return r;
}

void
nat_request_cancel (NatRequest *r)
{
  r->cancelled = TRUE;
  r->func = NULL;
  if (r->attempt != NULL)
    g_cancellable_cancel (r->attempt->cancellable);
}
