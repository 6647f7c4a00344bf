/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/api.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/json.h"
#include "natserver/control/audit.h"
#include "natserver/control/upgrade.h"
#include "natserver/observe/listing.h"
#include "natserver/observe/metrics.h"
#include "natserver/observe/statuspage.h"

#define JSON            "application/json"
#define WEBSOCKET_BYTES (48 * 1024) /* of one that works */
/* The page's own files and its relay, nothing in line and nothing from elsewhere; and it sends no forms. */
#define CONTENT_SECURITY                                                                           \
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "  \
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "        \
  "'script'"

typedef struct {
  const NatApi *api;
  const NatHttpRequest *request;
  NatHttpResponse *response;
  NatTime now;
  NatCaller caller;
  NatRegistered *session; /* after find_session */
  const char *action;     /* what access is asked for, and to which stream (or NULL): for the log */
  const char *stream;
} Call;

/* ---- Saying no --------------------------------------------------------- */

static const char *
retry_after (NatProblemKind kind)
{
  switch (kind) {
  case NAT_PROBLEM_STREAM_BUSY: return "3"; /* NAT_TAKEOVER_SILENCE_US */
  case NAT_PROBLEM_RELAY_BUSY:
  case NAT_PROBLEM_CALLBACK_FAILED: return "1";
  case NAT_PROBLEM_KEYS_MISSING: return "5";
  case NAT_PROBLEM_RELAY_DRAINING: return "10";
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

static gboolean
is_vouched (Call *call)
{
  return nat_voucher_kind (&call->caller.token.voucher) != NAT_VOUCHER_NONE;
}

static void
audit (Call *call, NatAuditVerdict verdict, const char *why)
{
  NatAudit line = {.action = call->action,
      .stream = call->stream,
      .who = call->caller.subject,
      .by = is_vouched (call) ? nat_voucher_word (&call->caller.token.voucher) : NULL,
      .id = call->caller.token.id,
      .from = &call->request->peer,
      .session = call->session ? nat_registered_ticket (call->session)->session_id : NULL};

  nat_audit (&line, verdict, why);
}

static gboolean
is_about_access (NatProblemKind kind)
{
  guint status = nat_problem_status (kind);

  return status == 401 || status == 403 || kind == NAT_PROBLEM_KEYS_MISSING ||
         kind == NAT_PROBLEM_CALLBACK_FAILED;
}

/* Always FALSE, for return statements. */
static gboolean
refuse (Call *call, NatProblemKind kind, const char *detail)
{
  if (is_about_access (kind))
    audit (call, NAT_AUDIT_REFUSED, detail);
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
  case NAT_PROBLEM_SSRC_IN_USE:
    return "Draw other SSRCs (RFC 3550 section 8), describe those, and ask again.";
  case NAT_PROBLEM_RELAY_DRAINING:
    return "It ends when the last session is over. Ask another relay, or this one once it is back.";
  default: return "Ask again in a moment.";
  }
}

/* limit: an option's name, or NULL. */
static void
refuse_session (Call *call, NatProblemKind kind, const char *limit)
{
  g_autofree char *detail =
      g_strdup_printf ("The relay allows no more (%s). Sessions end 30 seconds after their "
                       "clients go; ask again later, or have its operator raise it.",
          limit ? limit : "");

  refuse (call, kind, limit ? detail : detail_of (kind));
}

static gboolean
refuse_hasty (Call *call, const char *limit, guint retry_s)
{
  g_autofree char *after = g_strdup_printf ("%u", retry_s);
  g_autofree char *detail =
      g_strdup_printf ("Ask again after the seconds that the Retry-After field says (%s).", limit);

  refuse (call, NAT_PROBLEM_TOO_MANY_REQUESTS, detail);
  nat_http_response_add_field (call->response, "Retry-After", after);
  return FALSE;
}

/* ---- Who asks ---------------------------------------------------------- */

/* FALSE where it is no, and where it is not known yet. */
static gboolean
heed (Call *call, NatVerdict verdict)
{
  g_autofree char *detail = verdict.detail;

  call->response->wait = verdict.wait;
  if (verdict.wait != NULL)
    return FALSE;
  return verdict.problem == NAT_PROBLEM_NONE || refuse (call, verdict.problem, detail);
}

static gboolean
authenticate (Call *call, const char *action, const char *stream)
{
  call->action = action;
  call->stream = stream;
  return heed (call,
      nat_access_who (&call->api->access, call->request, call->now.us, call->now.s, &call->caller));
}

/* The callback's word, of which nat_auth_check and the token's claims know nothing. */
static gboolean
ask_callback (Call *call, const char *action, const char *stream)
{
  return heed (call, nat_access_decide (&call->api->access, call->request, call->now.us,
                         &call->caller, action, stream, &call->caller.decided_until_us));
}

static gboolean
permit (Call *call, NatRole role, const char *stream)
{
  if (call->caller.unknown || nat_caller_may (&call->caller, role, stream))
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
  /* Who is unknown, comes here only with the callback's yes. */
  return call->caller.unknown || call->caller.token.list || call->caller.token.admin;
}

/* For pages that tell much about the relay and nothing that opens it. */
static gboolean
permit_look (Call *call)
{
  if (call->request->authorization == NULL && is_local_peer (call))
    return TRUE;
  if (!authenticate (call, "look", NULL) || !ask_callback (call, "list", NULL))
    return FALSE;
  return call->caller.open || may_list (call) ||
         refuse (call, NAT_PROBLEM_NOT_PERMITTED,
             "Looking at the relay from elsewhere needs a token with \"list\" or \"admin\".");
}

static gboolean
permit_list (Call *call)
{
  if (!authenticate (call, "list", NULL) || !ask_callback (call, "list", NULL))
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

/* The body's object: {} where there is none. NULL: it was refused. */
static JsonObject *
read_body (Call *call)
{
  g_autoptr (GError) error = NULL;
  JsonObject *object;

  if (!check_media_type (call))
    return NULL;
  if (call->request->content_length == 0)
    return json_object_new ();
  object = nat_json_parse (call->request->body, (gssize)call->request->content_length,
      NAT_DOCUMENT_MAX, "The body", &error);
  if (object == NULL)
    refuse (call, NAT_PROBLEM_BODY_INVALID, error->message);
  return object;
}

static gboolean
check_empty_document (Call *call)
{
  g_autoptr (JsonObject) object = read_body (call);

  return object != NULL;
}

/* What a subscriber may ask for. *exclude is the object's. */
static gboolean
read_wishes (Call *call, JsonObject *object, NatAsk *ask)
{
  g_autoptr (GError) error = NULL;

  if (!nat_json_get_boolean (
          object, "instant-start", NAT_JSON_OPTIONAL, &ask->instant_start, &error) ||
      !nat_json_get_string (
          object, "exclude", NAT_JSON_OPTIONAL, NAT_STREAM_NAME_MAX, &ask->exclude, &error))
    return refuse (call, NAT_PROBLEM_BODY_INVALID, error->message);
  if (ask->exclude != NULL && !nat_stream_name_valid (ask->exclude))
    return refuse (
        call, NAT_PROBLEM_BODY_INVALID, "The JSON member \"exclude\" must be a stream name");
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
  call->response->known = TRUE;
  if (call->api->websockets != NULL)
    g_strlcpy (document.websocket, NAT_WEBSOCKET_PATH, sizeof document.websocket);
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

static void
let_in (Call *call)
{
  audit (call, NAT_AUDIT_GRANTED, NULL);
  answer_document (call, 201);
}

static gboolean
check_post (Call *call, NatRole role, const char *stream)
{
  guint retry_s;

  if (call->api->draining)
    return refuse (call, NAT_PROBLEM_RELAY_DRAINING, detail_of (NAT_PROBLEM_RELAY_DRAINING));
  if (call->request->waited == 0 &&
      !nat_admission_take (call->api->admission, &call->request->peer, call->now.us, &retry_s))
    return refuse_hasty (call, "max-posts-per-second, max-posts-per-hour", retry_s);
  if (role == NAT_ROLE_SUBSCRIBER ? !nat_stream_glob_valid (stream)
                                  : !nat_stream_name_valid (stream))
    return refuse (call, NAT_PROBLEM_STREAM_NAME_INVALID,
        "A stream name is at most 128 characters: segments of A-Z a-z 0-9 . _ ~ - joined by /. A "
        "subscriber may write * for one segment, and ** for the rest.");
  if (!authenticate (call, nat_audit_action (role), stream) || !permit (call, role, stream))
    return FALSE;
  if (call->request->waited == 0 && !nat_admission_take_subject (call->api->admission,
                                        call->caller.subject, call->now.us, &retry_s))
    return refuse_hasty (call, "max-posts-per-hour-per-subject", retry_s);
  return ask_callback (call, nat_audit_action (role), stream);
}

static void
post_publisher (Call *call)
{
  g_autofree char *stream = stream_of (call);
  NatDescription description = {0};
  const char *limit = NULL;
  NatTracks tracks;
  NatAsk ask = {.stream = stream,
      .caller = &call->caller,
      .peer = &call->request->peer,
      .description = &description,
      .tracks = &tracks,
      .limit = &limit};
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
    refuse_session (call, problem, limit);
  else
    let_in (call);
}

static void
post_subscriber (Call *call)
{
  g_autofree char *stream = stream_of (call);
  const char *limit = NULL;
  NatAsk ask = {
      .stream = stream, .caller = &call->caller, .peer = &call->request->peer, .limit = &limit};
  g_autoptr (JsonObject) object = NULL;
  NatProblemKind problem;

  if (!check_post (call, NAT_ROLE_SUBSCRIBER, stream))
    return;
  object = read_body (call);
  if (object == NULL || !read_wishes (call, object, &ask))
    return;
  problem = nat_registry_subscribe (call->api->registry, call->now, &ask, &call->session);
  if (problem != NAT_PROBLEM_NONE)
    refuse_session (call, problem, limit);
  else
    let_in (call);
}

/* ---- /v1/sessions/ID --------------------------------------------------- */

static gboolean
find_session (Call *call, gboolean admin_may)
{
  guint8 id[NAT_SESSION_ID_SIZE];
  const NatTicket *ticket;

  if (!authenticate (call, "session", NULL))
    return FALSE;
  if (nat_session_id_from_text (call->request->path[2], -1, id))
    call->session = nat_registry_find (call->api->registry, id);
  if (call->session == NULL)
    return refuse (call, NAT_PROBLEM_SESSION_UNKNOWN,
        "It ended, or its client was silent for 30 seconds. Negotiate a new one with POST.");
  ticket = nat_registered_ticket (call->session);
  call->stream = ticket->stream;
  if (call->caller.unknown && !ask_callback (call, nat_audit_action (ticket->role), ticket->stream))
    return FALSE;
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
  call->action = "end";
  if (strcmp (call->caller.subject, nat_registered_ticket (call->session)->subject) != 0)
    audit (call, NAT_AUDIT_GRANTED, NULL);
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
  NatProblemKind problem;
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
  problem =
      nat_registry_describe (call->api->registry, call->now, call->session, &description, &tracks);
  nat_description_clear (&description);
  if (problem != NAT_PROBLEM_NONE)
    refuse_session (call, problem, problem == NAT_PROBLEM_RELAY_FULL ? "max-memory-mb" : NULL);
  else
    answer_document (call, 200);
}

static void
put_token (Call *call)
{
  const NatTicket *ticket;

  if (!find_session (call, FALSE) || !check_empty_document (call))
    return;
  ticket = nat_registered_ticket (call->session);
  call->action = "renew";
  if (!ask_callback (call, nat_audit_action (ticket->role), ticket->stream))
    return;
  if (nat_registry_renew (call->api->registry, call->now, call->session, &call->caller)) {
    audit (call, NAT_AUDIT_GRANTED, NULL);
    answer_document (call, 200);
  } else
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

/* Figures are measured every two seconds: whoever has seen those needs no others. */
static gboolean
is_seen (Call *call)
{
  const char *seen = call->request->if_none_match;
  char etag[2 * NAT_BOOT_ID_SIZE + 32];

  g_snprintf (etag, sizeof etag, "W/\"%s-%" G_GUINT64_FORMAT "\"",
      nat_registry_boot_id (call->api->registry), nat_registry_trend_tick (call->api->registry));
  nat_http_response_add_field (call->response, "ETag", etag);
  if (seen == NULL || strcmp (seen, etag) != 0)
    return FALSE;
  call->response->status = 304;
  return TRUE;
}

/* A number in the query that is 0 where it is absent. */
static gboolean
query_number (Call *call, const char *name, guint *value)
{
  const char *text = nat_http_query_value (call->request, name);
  guint64 number = 0;

  if (text != NULL && !g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT, &number, NULL))
    return refuse (call, NAT_PROBLEM_QUERY_INVALID, "from and trend must be whole numbers.");
  *value = (guint)number;
  return TRUE;
}

static void
list_streams (Call *call)
{
  NatSnapshot *snapshot;
  guint samples = 0;

  if (!permit_list (call) || !query_number (call, "trend", &samples) || is_seen (call))
    return;
  snapshot = take_snapshot (call);
  nat_http_response_take_body (call->response, 200, JSON, nat_listing_streams (snapshot, samples));
  nat_snapshot_free (snapshot);
}

static void
list_sessions (Call *call)
{
  NatListingAsk ask = {.stream = nat_http_query_value (call->request, "stream")};
  NatSnapshot *snapshot;

  if (!permit_list (call) || !query_number (call, "from", &ask.from) || is_seen (call))
    return;
  ask.whole_id = call->caller.token.admin;
  snapshot = take_snapshot (call);
  nat_http_response_take_body (call->response, 200, JSON, nat_listing_sessions (snapshot, &ask));
  nat_snapshot_free (snapshot);
}

static void
get_health (Call *call)
{
  /* A load balancer sends nobody here any more who has no session yet. */
  if (call->api->draining)
    refuse (call, NAT_PROBLEM_RELAY_DRAINING, detail_of (NAT_PROBLEM_RELAY_DRAINING));
  else
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
      nat_metrics_to_text (snapshot));
  nat_snapshot_free (snapshot);
}

/* The page itself says nothing of the relay: what it shows, it asks for with the token of whoever looks. */
static void
get_page (Call *call)
{
  const NatPageFile *file = nat_statuspage_file (call->request->path[0]);

  nat_http_response_take_body (call->response, 200, file->content_type, g_strdup (file->text));
  nat_http_response_add_field (call->response, "Content-Security-Policy", CONTENT_SECURITY);
  nat_http_response_add_field (call->response, "Referrer-Policy", "no-referrer");
  nat_http_response_add_field (call->response, "Cross-Origin-Opener-Policy", "same-origin");
  nat_http_response_add_field (call->response, "Cross-Origin-Resource-Policy", "same-origin");
}

static void
get_websocket (Call *call)
{
  if (call->api->websockets == NULL)
    refuse (call, NAT_PROBLEM_NOT_FOUND, "This relay takes no WebSockets (max-websockets is 0).");
  else
    nat_upgrade_answer (call->request, call->response,
        nat_ws_server_has_room (call->api->websockets) &&
            nat_memory_take (call->api->memory, WEBSOCKET_BYTES));
}

/* ---- Routes ------------------------------------------------------------ */

typedef struct {
  NatHttpMethod method;
  void (*handle) (Call *call);
} Action;

/* Patterns of nat_http_path_matches. */
static const struct {
  const char *path;
  Action actions[2];
} routes[] = {
    {"", {{NAT_HTTP_GET, get_page}}},
    {"status.css", {{NAT_HTTP_GET, get_page}}},
    {"status.js", {{NAT_HTTP_GET, get_page}}},
    {"status.svg", {{NAT_HTTP_GET, get_page}}},
    {"healthz", {{NAT_HTTP_GET, get_health}}},
    {"metrics", {{NAT_HTTP_GET, get_metrics}}},
    {&NAT_WEBSOCKET_PATH[1], {{NAT_HTTP_GET, get_websocket}}},
    {"v1/streams", {{NAT_HTTP_GET, list_streams}}},
    {"v1/streams/**/publishers", {{NAT_HTTP_POST, post_publisher}}},
    {"v1/streams/**/subscribers", {{NAT_HTTP_POST, post_subscriber}}},
    {"v1/sessions", {{NAT_HTTP_GET, list_sessions}}},
    {"v1/sessions/*", {{NAT_HTTP_GET, get_session}, {NAT_HTTP_DELETE, delete_session}}},
    {"v1/sessions/*/description", {{NAT_HTTP_PUT, put_description}}},
    {"v1/sessions/*/token", {{NAT_HTTP_PUT, put_token}}},
};

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

    if (!nat_http_path_matches (call->request, routes[i].path))
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
  Call call = {.api = user, .request = request, .response = response, .action = "request"};

  call.now.us = g_get_monotonic_time ();
  call.now.s = g_get_real_time () / G_USEC_PER_SEC;
  nat_registry_poll (call.api->registry, call.now);
  dispatch (&call);
  if (response->wait == NULL)
    g_debug ("HTTPS request answered with %u", response->status);
  if (response->wait == NULL &&
      response->status == 0) /* cannot be; but a client shall have an answer */
    refuse (&call, NAT_PROBLEM_INTERNAL, "Please report this.");
  nat_caller_clear (&call.caller);
}
