/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "config.h"
#include "natclient/negotiator-private.h"

#include <string.h>

#include "natclient/cause.h"
#include "natclient/proxy.h"
#include "natclient/source.h"
#include "natproto/crypto.h"

#define RETRY_AFTER_MAX_S 300 /* no relay may send us to sleep for a day */

/* ---- Settings ---------------------------------------------------------- */

void
nat_negotiator_unref (NatNegotiator *n)
{
  if (--n->refs > 0)
    return;
  nat_relay_host_unref (n->relay);
  g_clear_object (&n->trust);
  g_clear_object (&n->proxy);
  g_free (n->host);
  g_free (n->exclude);
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
  if (config->exclude != NULL && nat_stream_name_valid (config->exclude))
    n->exclude = g_strdup (config->exclude);
  n->port = n->door = config->port;
  n->second_port = config->second_port;
  n->where = g_strdup_printf (v6 ? "[%s]:%u" : "%s:%u", config->host, config->port);
  n->takeover = config->takeover;
  n->instant_start = config->instant_start && config->role == NAT_ROLE_SUBSCRIBER;
  n->timeout_s = MAX (config->timeout_ms / 1000, 1);
  n->relay = nat_relay_host_new (config->host);
  n->trust = nat_trust_new (config, accept, user, cause);
  if (n->trust != NULL)
    n->proxy = nat_proxy_resolver_new (config, cause);
  if (n->proxy != NULL)
    return n;
  (*cause)->final = TRUE;
  nat_negotiator_unref (n);
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
  nat_negotiator_unref (n);
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

guint16
nat_negotiator_other_port (const NatNegotiator *n, guint16 port)
{
  if (n->second_port == 0)
    return port;
  return port == n->port ? n->second_port : n->port;
}

void
nat_negotiator_network_changed (NatNegotiator *n)
{
  n->proved = FALSE;
  nat_relay_host_forgive (n->relay, n->port);
  nat_relay_host_forgive (n->relay, n->second_port);
  nat_negotiator_look_anew (n);
}

void
nat_negotiator_look_anew (NatNegotiator *n)
{
  nat_relay_host_look_anew (n->relay);
}

NatRelayHost *
nat_negotiator_relay (const NatNegotiator *n)
{
  return n->relay;
}

guint16
nat_negotiator_port (const NatNegotiator *n, gboolean other)
{
  return other ? nat_negotiator_other_port (n, n->door) : n->door;
}

/* ---- Causes ------------------------------------------------------------ */

NatHttpsStory
nat_request_story (const NatAttempt *a)
{
  const NatNegotiator *n = a->n;
  const NatRequest *r = a->r;
  NatHttpsStory story = {.trust = n->trust,
      .host = n->host,
      .where = n->where,
      .proxy = nat_proxy_resolver_where (n->proxy),
      .port = n->port,
      .stage = a->stage,
      .timeout_ms = r->timeout_ms,
      .timed_out = r->timed_out,
      .via_proxy = a->via_proxy,
      .had_token = r->token != NULL,
      .shown = &a->shown};

  return story;
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

static void
request_free (NatRequest *r)
{
  nat_source_drop (&r->timer);
  nat_source_drop (&r->patience);
  r->n->requests = g_list_remove (r->n->requests, r);
  g_clear_object (&r->body);
  g_clear_pointer (&r->attempt, nat_attempt_free);
  if (r->bytes != NULL)
    nat_crypto_wipe (r->bytes, NAT_SESSION_DOCUMENT_MAX + 1);
  g_free (r->bytes);
  g_clear_pointer (&r->content, g_bytes_unref);
  nat_cause_free (r->blocked);
  nat_crypto_wipe_free (r->token);
  g_free (r->session);
  nat_negotiator_unref (r->n);
  g_free (r);
}

void
nat_request_done (NatRequest *r, NatCause *cause, NatSessionDocument *document)
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

/* What a stranger at the other port says is no relay's word. */
static gboolean
is_strangers (const NatRequest *r, const NatCause *cause)
{
  return cause != NULL && cause->kind == NAT_CAUSE_PROXY && nat_attempt_is_detour (r->attempt);
}

/* Takes cause. */
static void
request_answered_with (NatRequest *r, NatCause *cause, NatSessionDocument *document)
{
  if (is_strangers (r, cause)) {
    nat_cause_free (cause);
    g_clear_object (&r->body);
    g_clear_pointer (&r->bytes, g_free);
    nat_request_met_stranger (r);
    return;
  }
  if (cause == NULL || cause->kind != NAT_CAUSE_PROXY) {
    r->n->door = r->attempt->port;
    r->n->proved = TRUE;
    r->n->failures = 0;
  }
  nat_request_done (r, cause, document);
}

static void
request_answered (NatRequest *r, gsize len)
{
  guint status = soup_message_get_status (r->attempt->message);
  const char *reason = soup_message_get_reason_phrase (r->attempt->message);
  NatHttpsStory story = nat_request_story (r->attempt);
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
  NatHttpsStory story;
  gsize len = 0;

  if (!g_input_stream_read_all_finish (G_INPUT_STREAM (source), result, &len, &error)) {
    /* Closing a body that is not at its end would wait for the rest. */
    g_cancellable_cancel (r->attempt->cancellable);
    story = nat_request_story (r->attempt);
    nat_request_done (r, nat_https_cause_of_error (&story, error), NULL);
    g_error_free (error);
    return;
  }
  if (len > NAT_SESSION_DOCUMENT_MAX) {
    g_cancellable_cancel (r->attempt->cancellable);
    len = 0; /* no relay's answer is so long */
  }
  request_answered (r, len);
}

void
nat_request_read (NatRequest *r, GInputStream *body)
{
  r->body = body;
  r->bytes = g_malloc0 (NAT_SESSION_DOCUMENT_MAX + 1);
  g_input_stream_read_all_async (r->body, r->bytes, NAT_SESSION_DOCUMENT_MAX + 1,
      G_PRIORITY_DEFAULT, r->attempt->cancellable, on_body, r);
}

/* ---- Requests ---------------------------------------------------------- */

static gboolean
on_timeout (gpointer user)
{
  NatRequest *r = user;

  r->timed_out = TRUE;
  nat_relay_host_forgive (r->n->relay, r->usual);
  nat_request_cancel_attempts (r);
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

static GUri *
request_uri (const NatRequest *r, guint16 port)
{
  const NatNegotiator *n = r->n;
  g_autofree char *path = request_path (n, r->kind, r->session);
  const char *query = NULL;

  if (r->kind == NAT_REQUEST_OPEN && n->role == NAT_ROLE_PUBLISHER && n->takeover)
    query = "takeover=true";
  if (r->kind == NAT_REQUEST_END)
    query = "ended=true";
  return g_uri_build (SOUP_HTTP_URI_FLAGS, "https", NULL, n->host, port, path, query, NULL);
}

static void
set_token (SoupMessage *message, const char *token)
{
  char *field = g_strconcat ("Bearer ", token, NULL);

  soup_message_headers_replace (soup_message_get_request_headers (message), "Authorization", field);
  nat_crypto_wipe_free (field);
}

SoupMessage *
nat_request_message (const NatRequest *r, guint16 port)
{
  g_autoptr (GUri) uri = request_uri (r, port);
  SoupMessage *message = soup_message_new_from_uri (request_method (r->kind), uri);

  /* The next request is far away, and the way to the relay may be another by then. */
  soup_message_add_flags (message, SOUP_MESSAGE_NO_REDIRECT | SOUP_MESSAGE_NEW_CONNECTION);
  soup_message_headers_append (soup_message_get_request_headers (message), "Connection", "close");
  if (r->token != NULL)
    set_token (message, r->token);
  if (r->content != NULL)
    soup_message_set_request_body_from_bytes (message, "application/json", r->content);
  return message;
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
  if (kind == NAT_REQUEST_OPEN)
    nat_relay_host_look_anew (n->relay); /* it may have moved */
  r->timer = g_timeout_source_new (timeout_ms);
  g_source_set_callback (r->timer, on_timeout, r, NULL);
  g_source_attach (r->timer, g_main_context_get_thread_default ());
  nat_request_connect (r);
  return r;
}

void
nat_request_cancel (NatRequest *r)
{
  r->cancelled = TRUE;
  r->func = NULL;
  nat_request_cancel_attempts (r);
}
