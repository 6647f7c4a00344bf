/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/api.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/json.h"

#define JSON "application/json"
/* The pages hold no scripts and load nothing. */
#define CONTENT_SECURITY "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

typedef struct {
  const NatApi *api;
  const NatHttpRequest *request;
  NatHttpResponse *response;
  NatTime now;
  NatCaller caller;
  NatRegistered *session; /* after find_session */
} Call;

/* ---- Saying no --------------------------------------------------------- */

static const char *
retry_after (NatProblemKind kind)
{
  switch (kind) {
  case NAT_PROBLEM_STREAM_BUSY: return "3"; /* NAT_TAKEOVER_SILENCE_US */
  case NAT_PROBLEM_RELAY_BUSY: return "1";
  case NAT_PROBLEM_RELAY_FULL:
  case NAT_PROBLEM_TOO_MANY_SESSIONS: return "30";
  default: return NULL;
  }
}

static const char *
challenge (NatProblemKind kind)
{
  switch (kind) {
  case NAT_PROBLEM_TOKEN_MISSING: return "Bearer realm=\"" NAT_REALM "\"";
  case NAT_PROBLEM_TOKEN_INVALID:
  case NAT_PROBLEM_TOKEN_EXPIRED: return "Bearer realm=\"" NAT_REALM "\", error=\"invalid_token\"";
  case NAT_PROBLEM_NOT_PERMITTED:
    return "Bearer realm=\"" NAT_REALM "\", error=\"insufficient_scope\"";
  default: return NULL;
  }
}

/* Always FALSE, for return statements. */
static gboolean
refuse (Call *call, NatProblemKind kind, const char *detail)
{
  nat_http_response_problem (call->response, kind, detail);
  if (retry_after (kind) != NULL)
    nat_http_response_add_field (call->response, "Retry-After", retry_after (kind));
  if (challenge (kind) != NULL && !call->caller.open)
    nat_http_response_add_field (call->response, "WWW-Authenticate", challenge (kind));
  return FALSE;
}

static const char *
detail_of (NatProblemKind kind)
{
  switch (kind) {
  case NAT_PROBLEM_STREAM_BUSY:
    return "It sent something within the last 3 seconds. Stop it, use another stream name, or ask "
           "with takeover=true and a token that allows takeover.";
  case NAT_PROBLEM_TOO_MANY_SESSIONS:
    return "This address or this token has as many sessions as the relay allows; old ones end 30 "
           "seconds after their clients go.";
  case NAT_PROBLEM_RELAY_FULL:
    return "Ask again later, or have the relay's operator raise max-sessions.";
  default: return "Ask again in a moment.";
  }
}

/* ---- Who asks ---------------------------------------------------------- */

static gboolean
authenticate (Call *call)
{
  g_autofree char *detail = NULL;
  NatProblemKind kind = nat_auth_check (
      call->api->auth, call->request->authorization, call->now.s, &call->caller, &detail);

  return kind == NAT_PROBLEM_NONE || refuse (call, kind, detail);
}

static gboolean
permit (Call *call, NatRole role, const char *stream)
{
  if (nat_caller_may (&call->caller, role, stream))
    return TRUE;
  return refuse (call, NAT_PROBLEM_NOT_PERMITTED,
      role == NAT_ROLE_PUBLISHER
          ? "The token does not allow to publish this stream; its \"publish\" claim must name it."
          : "The token does not allow to watch this stream; its \"subscribe\" claim must name it.");
}

/* A proxy on this machine makes strangers look like it; it says so, and they are strangers again. */
static gboolean
is_local_peer (Call *call)
{
  return nat_address_is_loopback (&call->request->peer) && !call->request->forwarded;
}

static gboolean
may_list (Call *call)
{
  return call->caller.token.list || call->caller.token.admin;
}

/* For pages that tell much about the relay and nothing that opens it. */
static gboolean
permit_look (Call *call)
{
  if (call->request->authorization == NULL && is_local_peer (call))
    return TRUE;
  if (!authenticate (call))
    return FALSE;
  return call->caller.open || may_list (call) ||
         refuse (call, NAT_PROBLEM_NOT_PERMITTED,
             "Looking at the relay from elsewhere needs a token with \"list\" or \"admin\".");
}

static gboolean
permit_list (Call *call)
{
  if (!authenticate (call))
    return FALSE;
  if (call->caller.open ? is_local_peer (call) : may_list (call))
    return TRUE;
  return refuse (call, NAT_PROBLEM_NOT_PERMITTED,
      call->caller.open ? "An open relay shows its lists to its own machine only."
                        : "Lists need a token with \"list\" or \"admin\".");
}

/* ---- Bodies ------------------------------------------------------------ */

/* The type is insisted on: a web page in a browser can then not post here without asking first. */
static gboolean
check_media_type (Call *call)
{
  const char *type = call->request->content_type;
  gsize len = strlen (JSON);

  if (call->request->content_length == 0 ||
      (type != NULL && g_ascii_strncasecmp (type, JSON, len) == 0 &&
          strchr ("; \t", type[len]) != NULL))
    return TRUE;
  return refuse (
      call, NAT_PROBLEM_MEDIA_TYPE, "Send the body with \"Content-Type: application/json\".");
}

/* A body that says nothing yet: {} or none at all. */
static gboolean
check_empty_document (Call *call)
{
  g_autoptr (GError) error = NULL;
  JsonObject *object;

  if (!check_media_type (call))
    return FALSE;
  if (call->request->content_length == 0)
    return TRUE;
  object = nat_json_parse (call->request->body, (gssize)call->request->content_length,
      NAT_DOCUMENT_MAX, "The body", &error);
  if (object == NULL)
    return refuse (call, NAT_PROBLEM_BODY_INVALID, error->message);
  json_object_unref (object);
  return TRUE;
}

static gboolean
read_description (Call *call, NatDescription *description, NatTracks *tracks)
{
  g_autoptr (GError) error = NULL;

  if (!check_media_type (call))
    return FALSE;
  if (!nat_description_from_json (description, call->request->body ? call->request->body : "",
          (gssize)call->request->content_length, &error))
    return refuse (call, NAT_PROBLEM_DESCRIPTION_INVALID, error->message);
  if (nat_tracks_from_sdp (tracks, description->sdp, &error))
    return TRUE;
  nat_description_clear (description);
  return refuse (call, NAT_PROBLEM_DESCRIPTION_INVALID, error->message);
}

/* ---- Session documents ------------------------------------------------- */

static void
add_address (NatAddress *out, guint *n, const NatAddress *ip, guint16 port)
{
  NatAddress a = *ip;

  a.port = port;
  a.transport = NAT_TRANSPORT_UDP;
  for (guint i = 0; i < *n; i++) {
    if (nat_address_equal (&out[i], &a))
      return;
  }
  if (*n < NAT_UDP_ADDRESSES_MAX)
    out[(*n)++] = a;
}

static void
add_listen (
    const NatApi *api, const NatAddress *local, const NatAddress *listen, NatAddress *out, guint *n)
{
  gboolean translated = FALSE;

  for (guint i = 0; i < api->n_public_address; i++) {
    if (api->public_address[i].family == listen->family && !nat_address_is_loopback (local)) {
      add_address (out, n, &api->public_address[i], listen->port);
      translated = TRUE;
    }
  }
  if (translated)
    return;
  if (!nat_address_is_any (listen)) {
    if (nat_address_is_loopback (listen) == nat_address_is_loopback (local))
      add_address (out, n, listen, listen->port);
  } else if (listen->family == local->family) {
    add_address (out, n, local, listen->port);
  }
}

guint
nat_api_udp_addresses (
    const NatApi *api, const NatAddress *local, NatAddress out[NAT_UDP_ADDRESSES_MAX])
{
  guint n = 0;

  /* First the port that HTTPS came through: a firewall that lets one in lets the other in. */
  for (guint i = 0; i < api->n_listen; i++) {
    if (api->listen[i].port == local->port)
      add_listen (api, local, &api->listen[i], out, &n);
  }
  for (guint i = 0; i < api->n_listen; i++)
    add_listen (api, local, &api->listen[i], out, &n);
  if (n == 0 && local->family != 0)
    add_address (out, &n, local, local->port);
  return n;
}

static void
add_etag (Call *call)
{
  char etag[64];

  nat_session_etag (
      nat_registry_boot_id (call->api->registry), nat_registered_version (call->session), etag);
  nat_http_response_add_field (call->response, "ETag", etag);
}

static void
answer_document (Call *call, guint status)
{
  NatSessionDocument document;

  if (!nat_registry_document (call->api->registry, call->now, call->session, &document)) {
    nat_session_document_clear (&document);
    refuse (call, NAT_PROBLEM_RELAY_BUSY, detail_of (NAT_PROBLEM_RELAY_BUSY));
    return;
  }
  document.n_udp = nat_api_udp_addresses (call->api, &call->request->local, document.udp);
  nat_http_response_take_body (
      call->response, status, JSON, nat_session_document_to_json (&document));
  add_etag (call);
  if (status == 201) {
    g_autofree char *location = g_strconcat ("/v1/sessions/", document.session, NULL);

    nat_http_response_add_field (call->response, "Location", location);
  }
  nat_session_document_clear (&document);
}

/* ---- POST /v1/streams/NAME/... ----------------------------------------- */

/* NAME may hold '/': it is all between "v1/streams" and the last segment. */
static char *
stream_of (Call *call)
{
  const NatHttpRequest *rq = call->request;
  GString *name = g_string_new (rq->path[2]);

  for (guint i = 3; i + 1 < rq->n_path; i++)
    g_string_append_printf (name, "/%s", rq->path[i]);
  return g_string_free (name, FALSE);
}

static gboolean
check_post (Call *call, NatRole role, const char *stream)
{
  guint retry_s;

  if (!nat_admission_take (call->api->admission, &call->request->peer, call->now.us, &retry_s)) {
    char text[16];

    g_snprintf (text, sizeof text, "%u", retry_s);
    refuse (call, NAT_PROBLEM_TOO_MANY_REQUESTS,
        "Ask again after the seconds that the Retry-After field says.");
    nat_http_response_add_field (call->response, "Retry-After", text);
    return FALSE;
  }
  if (!nat_stream_name_valid (stream))
    return refuse (call, NAT_PROBLEM_STREAM_NAME_INVALID,
        "A stream name is at most 128 characters: segments of A-Z a-z 0-9 . _ ~ - joined by /.");
  return authenticate (call) && permit (call, role, stream);
}

static void
post_publisher (Call *call)
{
  g_autofree char *stream = stream_of (call);
  NatDescription description = {0};
  NatTracks tracks;
  NatAsk ask = {stream, &call->caller, &call->request->peer, FALSE, &description, &tracks};
  NatProblemKind problem;

  if (!check_post (call, NAT_ROLE_PUBLISHER, stream))
    return;
  if (!nat_http_query_flag (call->request, "takeover", &ask.takeover)) {
    refuse (call, NAT_PROBLEM_QUERY_INVALID, "takeover must be true or false.");
    return;
  }
  if (!read_description (call, &description, &tracks))
    return;
  problem = nat_registry_publish (call->api->registry, call->now, &ask, &call->session);
  nat_description_clear (&description);
  if (problem != NAT_PROBLEM_NONE)
    refuse (call, problem, detail_of (problem));
  else
    answer_document (call, 201);
}

static void
post_subscriber (Call *call)
{
  g_autofree char *stream = stream_of (call);
  NatAsk ask = {stream, &call->caller, &call->request->peer, FALSE, NULL, NULL};
  NatProblemKind problem;

  if (!check_post (call, NAT_ROLE_SUBSCRIBER, stream) || !check_empty_document (call))
    return;
  problem = nat_registry_subscribe (call->api->registry, call->now, &ask, &call->session);
  if (problem != NAT_PROBLEM_NONE)
    refuse (call, problem, detail_of (problem));
  else
    answer_document (call, 201);
}

/* ---- /v1/sessions/ID --------------------------------------------------- */

static gboolean
find_session (Call *call, gboolean admin_may)
{
  guint8 id[NAT_SESSION_ID_SIZE];
  const NatTicket *ticket;

  if (!authenticate (call))
    return FALSE;
  if (nat_session_id_from_text (call->request->path[2], -1, id))
    call->session = nat_registry_find (call->api->registry, id);
  if (call->session == NULL)
    return refuse (call, NAT_PROBLEM_SESSION_UNKNOWN,
        "It ended, or its client was silent for 30 seconds. Negotiate a new one with POST.");
  ticket = nat_registered_ticket (call->session);
  if (call->caller.open || (admin_may && call->caller.token.admin))
    return TRUE;
  if (strcmp (call->caller.subject, ticket->subject) != 0)
    return refuse (call, NAT_PROBLEM_NOT_PERMITTED,
        nat_caller_is_named (&call->caller) ? "The session belongs to another token subject."
                                            : "The session belongs to another token; one that is "
                                              "to follow it needs the same \"sub\".");
  return permit (call, ticket->role, ticket->stream);
}

static void
get_session (Call *call)
{
  if (find_session (call, FALSE))
    answer_document (call, 200);
}

static void
delete_session (Call *call)
{
  gboolean ended;

  if (!find_session (call, TRUE))
    return;
  if (!nat_http_query_flag (call->request, "ended", &ended)) {
    refuse (call, NAT_PROBLEM_QUERY_INVALID, "ended must be true or false.");
    return;
  }
  nat_registry_end (call->api->registry, call->now, call->session, NAT_REASON_ENDED, ended);
  call->session = NULL;
  call->response->status = 204;
}

static gboolean
version_matches (Call *call)
{
  g_auto (GStrv) tags = NULL;
  char etag[64];

  if (call->request->if_match == NULL)
    return TRUE;
  nat_session_etag (
      nat_registry_boot_id (call->api->registry), nat_registered_version (call->session), etag);
  tags = g_strsplit (call->request->if_match, ",", -1);
  for (guint i = 0; tags[i] != NULL; i++) {
    if (strcmp (g_strstrip (tags[i]), "*") == 0 || strcmp (tags[i], etag) == 0)
      return TRUE;
  }
  return FALSE;
}

static void
put_description (Call *call)
{
  NatDescription description = {0};
  NatTracks tracks;

  if (!find_session (call, FALSE))
    return;
  if (nat_registered_ticket (call->session)->role != NAT_ROLE_PUBLISHER) {
    refuse (call, NAT_PROBLEM_NOT_PERMITTED, "Only the publisher of a stream describes it.");
    return;
  }
  if (!version_matches (call)) {
    refuse (call, NAT_PROBLEM_VERSION_MISMATCH,
        "GET the session, compare, and PUT again with the ETag of that answer in If-Match.");
    add_etag (call);
    return;
  }
  if (!read_description (call, &description, &tracks))
    return;
  nat_registry_describe (call->api->registry, call->now, call->session, &description, &tracks);
  answer_document (call, 200);
}

static void
put_token (Call *call)
{
  if (!find_session (call, FALSE) || !check_empty_document (call))
    return;
  if (nat_registry_renew (call->api->registry, call->now, call->session, &call->caller))
    answer_document (call, 200);
  else
    refuse (call, NAT_PROBLEM_RELAY_BUSY, detail_of (NAT_PROBLEM_RELAY_BUSY));
}

/* ---- Lists and pages --------------------------------------------------- */

static NatSnapshot *
take_snapshot (Call *call)
{
  NatSnapshot *snapshot = nat_snapshot_new ();

  snapshot->now_us = call->now.us;
  nat_registry_snapshot (call->api->registry, snapshot);
  call->api->fill_snapshot (snapshot, call->api->user);
  return snapshot;
}

static void
append_text (GString *out, const char *text)
{
  g_string_append_c (out, '"');
  for (; *text != '\0'; text++) {
    if (g_ascii_iscntrl (*text))
      g_string_append_printf (out, "\\u%04x", (guint)(guchar)*text);
    else if (*text == '"' || *text == '\\')
      g_string_append_printf (out, "\\%c", *text);
    else
      g_string_append_c (out, *text);
  }
  g_string_append_c (out, '"');
}

static void
append_stream (GString *out, const NatStreamSnapshot *s)
{
  g_string_append (out, "{\"name\":");
  append_text (out, s->name);
  g_string_append_printf (out, ",\"publisher\":\"%s\",\"subscribers\":%u,\"version\":%u}",
      s->publisher, s->subscribers, s->version);
}

static void
append_session (GString *out, const NatSessionSnapshot *s, gboolean whole_id)
{
  char address[NAT_ADDRESS_TEXT_MAX];

  /* The id is a key to the session where there are no tokens. */
  g_string_append_printf (out,
      "{\"session\":\"%.*s\",\"role\":\"%s\",\"stream\":", whole_id ? NAT_SESSION_ID_TEXT : 8,
      s->id, s->role == NAT_ROLE_PUBLISHER ? "publisher" : "subscriber");
  append_text (out, s->stream);
  g_string_append (out, ",\"subject\":");
  append_text (out, s->subject);
  g_string_append_printf (out, ",\"registered\":%s", s->registered ? "true" : "false");
  if (s->mapped.family != 0)
    g_string_append_printf (out, ",\"mapped\":\"%s\"", nat_address_to_text (&s->mapped, address));
  g_string_append_printf (out, ",\"created-s\":%" G_GINT64_FORMAT, s->created_s);
  if (s->expires_s != G_MAXINT64)
    g_string_append_printf (out, ",\"expires-s\":%" G_GINT64_FORMAT, s->expires_s);
#define NAT_SESSION_COUNTER(name, unit, help)                                                      \
  g_string_append_printf (                                                                         \
      out, ",\"" #name "\":%" G_GUINT64_FORMAT, nat_counter_get (&s->counters->name));
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
  g_string_append_c (out, '}');
}

static void
answer_list (Call *call, GString *list, guint total)
{
  g_string_append_printf (list, "],\"total\":%u}", total);
  nat_http_response_take_body (call->response, 200, JSON, g_string_free (list, FALSE));
}

static void
list_streams (Call *call)
{
  NatSnapshot *snapshot;
  GString *list;

  if (!permit_list (call))
    return;
  snapshot = take_snapshot (call);
  list = g_string_new ("{\"streams\":[");
  for (guint i = 0; i < MIN (snapshot->streams->len, NAT_API_LIST_MAX); i++) {
    if (i > 0)
      g_string_append_c (list, ',');
    append_stream (list, g_ptr_array_index (snapshot->streams, i));
  }
  answer_list (call, list, snapshot->streams->len);
  nat_snapshot_free (snapshot);
}

static void
list_sessions (Call *call)
{
  const char *stream = nat_http_query_value (call->request, "stream");
  NatSnapshot *snapshot;
  GString *list;
  guint found = 0;

  if (!permit_list (call))
    return;
  snapshot = take_snapshot (call);
  list = g_string_new ("{\"sessions\":[");
  for (guint i = 0; i < snapshot->sessions->len; i++) {
    NatSessionSnapshot *s = g_ptr_array_index (snapshot->sessions, i);

    if ((stream != NULL && strcmp (stream, s->stream) != 0) || found++ >= NAT_API_LIST_MAX)
      continue;
    if (found > 1)
      g_string_append_c (list, ',');
    append_session (list, s, call->caller.token.admin);
  }
  answer_list (call, list, found);
  nat_snapshot_free (snapshot);
}

static void
get_health (Call *call)
{
  nat_http_response_take_body (call->response, 200, JSON, g_strdup ("{\"status\":\"ok\"}"));
}

static void
get_metrics (Call *call)
{
  NatSnapshot *snapshot;

  if (!permit_look (call))
    return;
  snapshot = take_snapshot (call);
  nat_http_response_take_body (call->response, 200, "text/plain; version=0.0.4; charset=utf-8",
      call->api->metrics (snapshot, call->api->user));
  nat_snapshot_free (snapshot);
}

static void
get_status_page (Call *call)
{
  NatSnapshot *snapshot;

  if (!permit_look (call))
    return;
  snapshot = take_snapshot (call);
  nat_http_response_take_body (call->response, 200, "text/html; charset=utf-8",
      call->api->status_page (snapshot, is_local_peer (call) || may_list (call), call->api->user));
  nat_http_response_add_field (call->response, "Content-Security-Policy", CONTENT_SECURITY);
  nat_http_response_add_field (call->response, "Referrer-Policy", "no-referrer");
  nat_snapshot_free (snapshot);
}

/* ---- Routes ------------------------------------------------------------ */

typedef struct {
  NatHttpMethod method;
  void (*handle) (Call *call);
} Action;

/* In a path, "*" is one segment and "**" one or more. */
static const struct {
  const char *path;
  Action actions[2];
} routes[] = {
    {"", {{NAT_HTTP_GET, get_status_page}}},
    {"healthz", {{NAT_HTTP_GET, get_health}}},
    {"metrics", {{NAT_HTTP_GET, get_metrics}}},
    {"v1/streams", {{NAT_HTTP_GET, list_streams}}},
    {"v1/streams/**/publishers", {{NAT_HTTP_POST, post_publisher}}},
    {"v1/streams/**/subscribers", {{NAT_HTTP_POST, post_subscriber}}},
    {"v1/sessions", {{NAT_HTTP_GET, list_sessions}}},
    {"v1/sessions/*", {{NAT_HTTP_GET, get_session}, {NAT_HTTP_DELETE, delete_session}}},
    {"v1/sessions/*/description", {{NAT_HTTP_PUT, put_description}}},
    {"v1/sessions/*/token", {{NAT_HTTP_PUT, put_token}}},
};

static gboolean
path_matches (const char *pattern, const NatHttpRequest *rq)
{
  g_auto (GStrv) words = g_strsplit (pattern, "/", -1);
  guint n = g_strv_length (words);
  guint at = 0;

  if (*pattern == '\0')
    return rq->n_path == 1 && *rq->path[0] == '\0';
  for (guint i = 0; i < n; i++) {
    if (strcmp (words[i], "**") == 0) {
      if (rq->n_path < at + 1 + (n - i - 1))
        return FALSE;
      at = rq->n_path - (n - i - 1);
      continue;
    }
    if (at >= rq->n_path ||
        (*words[i] == '*' ? *rq->path[at] == '\0' : strcmp (words[i], rq->path[at]) != 0))
      return FALSE;
    at++;
  }
  return at == rq->n_path;
}

static void
refuse_method (Call *call, const Action *actions)
{
  g_autoptr (GString) allow = g_string_new (NULL);

  for (guint i = 0; i < 2 && actions[i].handle != NULL; i++) {
    const char *text = actions[i].method == NAT_HTTP_GET      ? "GET, HEAD"
                       : actions[i].method == NAT_HTTP_POST   ? "POST"
                       : actions[i].method == NAT_HTTP_DELETE ? "DELETE"
                                                              : "PUT";

    g_string_append_printf (allow, "%s%s", i > 0 ? ", " : "", text);
  }
  refuse (call, NAT_PROBLEM_METHOD_NOT_ALLOWED, "The Allow field says what is.");
  nat_http_response_add_field (call->response, "Allow", allow->str);
}

static void
dispatch (Call *call)
{
  NatHttpMethod method =
      call->request->method == NAT_HTTP_HEAD ? NAT_HTTP_GET : call->request->method;

  for (guint i = 0; i < G_N_ELEMENTS (routes); i++) {
    const Action *actions = routes[i].actions;

    if (!path_matches (routes[i].path, call->request))
      continue;
    for (guint k = 0; k < 2 && actions[k].handle != NULL; k++) {
      if (actions[k].method == method) {
        actions[k].handle (call);
        return;
      }
    }
    refuse_method (call, actions);
    return;
  }
  refuse (call, NAT_PROBLEM_NOT_FOUND, "The relay's addresses are described in PROTOCOL.md.");
}

void
nat_api_handle (const NatHttpRequest *request, NatHttpResponse *response, gpointer user)
{
  Call call = {.api = user, .request = request, .response = response};

  call.now.us = g_get_monotonic_time ();
  call.now.s = g_get_real_time () / G_USEC_PER_SEC;
  nat_registry_poll (call.api->registry, call.now);
  dispatch (&call);
  g_debug ("HTTPS request answered with %u", response->status);
  if (response->status == 0) /* cannot be; but a client shall have an answer */
    refuse (&call, NAT_PROBLEM_INTERNAL, "Please report this.");
  nat_caller_clear (&call.caller);
}
