/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/api.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/json.h"
#include "natserver/control/apicall.h"
#include "natserver/control/apilook.h"
#include "natserver/control/upgrade.h"

#define WEBSOCKET_BYTES (48 * 1024) /* of one that works */

/* ---- Bodies ------------------------------------------------------------ */

/* The type is insisted on: a web page in a browser can then not post here without asking first. */
static gboolean
check_media_type (NatCall *call)
{
  const char *type = call->request->content_type;
  gsize len = strlen (NAT_API_JSON);

  if (call->request->content_length == 0 ||
      (type != NULL && g_ascii_strncasecmp (type, NAT_API_JSON, len) == 0 &&
          strchr ("; \t", type[len]) != NULL))
    return TRUE;
  return nat_call_refuse (
      call, NAT_PROBLEM_MEDIA_TYPE, "Send the body with \"Content-Type: application/json\".");
}

/* The body's object: {} where there is none. NULL: it was refused. */
static JsonObject *
read_body (NatCall *call)
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
    nat_call_refuse (call, NAT_PROBLEM_BODY_INVALID, error->message);
  return object;
}

static gboolean
check_empty_document (NatCall *call)
{
  g_autoptr (JsonObject) object = read_body (call);

  return object != NULL;
}

/* What a subscriber may ask for. *exclude is the object's. */
static gboolean
read_wishes (NatCall *call, JsonObject *object, NatAsk *ask)
{
  g_autoptr (GError) error = NULL;

  if (!nat_json_get_boolean (
          object, "instant-start", NAT_JSON_OPTIONAL, &ask->instant_start, &error) ||
      !nat_json_get_string (
          object, "exclude", NAT_JSON_OPTIONAL, NAT_STREAM_NAME_MAX, &ask->exclude, &error))
    return nat_call_refuse (call, NAT_PROBLEM_BODY_INVALID, error->message);
  if (ask->exclude != NULL && !nat_stream_name_valid (ask->exclude))
    return nat_call_refuse (
        call, NAT_PROBLEM_BODY_INVALID, "The JSON member \"exclude\" must be a stream name");
  return TRUE;
}

static gboolean
read_description (NatCall *call, NatDescription *description, NatTracks *tracks)
{
  g_autoptr (GError) error = NULL;

  if (!check_media_type (call))
    return FALSE;
  if (!nat_description_from_json (description, call->request->body ? call->request->body : "",
          (gssize)call->request->content_length, &error))
    return nat_call_refuse (call, NAT_PROBLEM_DESCRIPTION_INVALID, error->message);
  if (nat_tracks_from_sdp (tracks, description->sdp, &error))
    return TRUE;
  nat_description_clear (description);
  return nat_call_refuse (call, NAT_PROBLEM_DESCRIPTION_INVALID, error->message);
}

/* ---- Session documents ------------------------------------------------- */

static void
add_etag (NatCall *call)
{
  char etag[64];

  nat_session_etag (
      nat_registry_boot_id (call->api->registry), nat_registered_version (call->session), etag);
  nat_http_response_add_field (call->response, "ETag", etag);
}

static void
answer_document (NatCall *call, guint status)
{
  NatSessionDocument document;

  if (!nat_registry_document (call->api->registry, call->now, call->session, &document)) {
    nat_session_document_clear (&document);
    nat_call_refuse_plainly (call, NAT_PROBLEM_RELAY_BUSY);
    return;
  }
  call->response->known = TRUE;
  if (call->api->websockets != NULL)
    g_strlcpy (document.websocket, NAT_WEBSOCKET_PATH, sizeof document.websocket);
  document.n_udp = nat_api_udp_addresses (call->api, &call->request->local, document.udp);
  nat_http_response_take_body (
      call->response, status, NAT_API_JSON, nat_session_document_to_json (&document));
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
stream_of (NatCall *call)
{
  const NatHttpRequest *rq = call->request;
  GString *name = g_string_new (rq->path[2]);

  for (guint i = 3; i + 1 < rq->n_path; i++)
    g_string_append_printf (name, "/%s", rq->path[i]);
  return g_string_free (name, FALSE);
}

static void
let_in (NatCall *call)
{
  nat_call_audit (call, NAT_AUDIT_GRANTED, NULL);
  answer_document (call, 201);
}

static gboolean
check_post (NatCall *call, NatRole role, const char *stream)
{
  guint retry_s;

  if (call->api->draining)
    return nat_call_refuse_plainly (call, NAT_PROBLEM_RELAY_DRAINING);
  if (call->request->waited == 0 &&
      !nat_admission_take (call->api->admission, &call->request->peer, call->now.us, &retry_s))
    return nat_call_refuse_hasty (call, "max-posts-per-second, max-posts-per-hour", retry_s);
  if (role == NAT_ROLE_SUBSCRIBER ? !nat_stream_glob_valid (stream)
                                  : !nat_stream_name_valid (stream))
    return nat_call_refuse (call, NAT_PROBLEM_STREAM_NAME_INVALID,
        "A stream name is at most 128 characters: segments of A-Z a-z 0-9 . _ ~ - joined by /. A "
        "subscriber may write * for one segment, and ** for the rest.");
  if (!nat_call_authenticate (call, nat_audit_action (role), stream) ||
      !nat_call_permit (call, role, stream))
    return FALSE;
  if (call->request->waited == 0 && !nat_admission_take_subject (call->api->admission,
                                        call->caller.subject, call->now.us, &retry_s))
    return nat_call_refuse_hasty (call, "max-posts-per-hour-per-subject", retry_s);
  return nat_call_ask_callback (call, nat_audit_action (role), stream);
}

static void
post_publisher (NatCall *call)
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
    nat_call_refuse (call, NAT_PROBLEM_QUERY_INVALID, "takeover must be true or false.");
    return;
  }
  if (!read_description (call, &description, &tracks))
    return;
  problem = nat_registry_publish (call->api->registry, call->now, &ask, &call->session);
  nat_description_clear (&description);
  if (problem != NAT_PROBLEM_NONE)
    nat_call_refuse_session (call, problem, limit);
  else
    let_in (call);
}

static void
post_subscriber (NatCall *call)
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
    nat_call_refuse_session (call, problem, limit);
  else
    let_in (call);
}

/* ---- /v1/sessions/ID --------------------------------------------------- */

static gboolean
find_session (NatCall *call, gboolean admin_may)
{
  guint8 id[NAT_SESSION_ID_SIZE];
  const NatTicket *ticket;

  if (!nat_call_authenticate (call, "session", NULL))
    return FALSE;
  if (nat_session_id_from_text (call->request->path[2], -1, id))
    call->session = nat_registry_find_waiting (call->api->registry, call->now, id);
  if (call->session == NULL)
    return nat_call_refuse (call, NAT_PROBLEM_SESSION_UNKNOWN,
        "It ended, or its client was silent for 30 seconds. Negotiate a new one with POST.");
  ticket = nat_registered_ticket (call->session);
  call->stream = ticket->stream;
  if (call->caller.unknown &&
      !nat_call_ask_callback (call, nat_audit_action (ticket->role), ticket->stream))
    return FALSE;
  if (call->caller.open || (admin_may && call->caller.token.admin))
    return TRUE;
  if (strcmp (call->caller.subject, ticket->subject) != 0)
    return nat_call_refuse (call, NAT_PROBLEM_NOT_PERMITTED,
        nat_caller_is_named (&call->caller) ? "The session belongs to another token subject."
                                            : "The session belongs to another token; one that is "
                                              "to follow it needs the same \"sub\".");
  return nat_call_permit (call, ticket->role, ticket->stream);
}

static void
get_session (NatCall *call)
{
  if (find_session (call, FALSE))
    answer_document (call, 200);
}

static void
delete_session (NatCall *call)
{
  gboolean ended;

  if (!find_session (call, TRUE))
    return;
  if (!nat_http_query_flag (call->request, "ended", &ended)) {
    nat_call_refuse (call, NAT_PROBLEM_QUERY_INVALID, "ended must be true or false.");
    return;
  }
  call->action = "end";
  if (strcmp (call->caller.subject, nat_registered_ticket (call->session)->subject) != 0)
    nat_call_audit (call, NAT_AUDIT_GRANTED, NULL);
  nat_registry_end (call->api->registry, call->now, call->session, NAT_REASON_ENDED, ended);
  call->session = NULL;
  call->response->status = 204;
}

static gboolean
version_matches (NatCall *call)
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
put_description (NatCall *call)
{
  NatDescription description = {0};
  NatProblemKind problem;
  NatTracks tracks;

  if (!find_session (call, FALSE))
    return;
  if (nat_registered_ticket (call->session)->role != NAT_ROLE_PUBLISHER) {
    nat_call_refuse (
        call, NAT_PROBLEM_NOT_PERMITTED, "Only the publisher of a stream describes it.");
    return;
  }
  if (!version_matches (call)) {
    nat_call_refuse (call, NAT_PROBLEM_VERSION_MISMATCH,
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
    nat_call_refuse_session (
        call, problem, problem == NAT_PROBLEM_RELAY_FULL ? "max-memory-mb" : NULL);
  else
    answer_document (call, 200);
}

static void
put_token (NatCall *call)
{
  const NatTicket *ticket;

  if (!find_session (call, FALSE) || !check_empty_document (call))
    return;
  ticket = nat_registered_ticket (call->session);
  call->action = "renew";
  if (!nat_call_ask_callback (call, nat_audit_action (ticket->role), ticket->stream))
    return;
  if (nat_registry_renew (call->api->registry, call->now, call->session, &call->caller)) {
    nat_call_audit (call, NAT_AUDIT_GRANTED, NULL);
    answer_document (call, 200);
  } else
    nat_call_refuse_plainly (call, NAT_PROBLEM_RELAY_BUSY);
}

/* ---- Others ------------------------------------------------------------ */

static void
get_health (NatCall *call)
{
  /* A load balancer sends nobody here any more who has no session yet. */
  if (call->api->draining)
    nat_call_refuse_plainly (call, NAT_PROBLEM_RELAY_DRAINING);
  else
    nat_http_response_take_body (
        call->response, 200, NAT_API_JSON, g_strdup ("{\"status\":\"ok\"}"));
}

static void
get_websocket (NatCall *call)
{
  if (call->api->websockets == NULL)
    nat_call_refuse (
        call, NAT_PROBLEM_NOT_FOUND, "This relay takes no WebSockets (max-websockets is 0).");
  else
    nat_upgrade_answer (call->request, call->response,
        nat_ws_server_has_room (call->api->websockets) &&
            nat_memory_take (call->api->memory, WEBSOCKET_BYTES));
}

/* ---- Routes ------------------------------------------------------------ */

typedef struct {
  NatHttpMethod method;
  void (*handle) (NatCall *call);
} Action;

/* Patterns of nat_http_path_matches. */
static const struct {
  const char *path;
  Action actions[2];
} routes[] = {
    {"", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"status.css", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"status.svg", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"status.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"plots.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"sessions.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"sky.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"state.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"streams.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"trend.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"words.js", {{NAT_HTTP_GET, nat_api_get_page}}},
    {"healthz", {{NAT_HTTP_GET, get_health}}},
    {"metrics", {{NAT_HTTP_GET, nat_api_get_metrics}}},
    {&NAT_WEBSOCKET_PATH[1], {{NAT_HTTP_GET, get_websocket}}},
    {"v1/streams", {{NAT_HTTP_GET, nat_api_list_streams}}},
    {"v1/streams/**/publishers", {{NAT_HTTP_POST, post_publisher}}},
    {"v1/streams/**/subscribers", {{NAT_HTTP_POST, post_subscriber}}},
    {"v1/sessions", {{NAT_HTTP_GET, nat_api_list_sessions}}},
    {"v1/sessions/*", {{NAT_HTTP_GET, get_session}, {NAT_HTTP_DELETE, delete_session}}},
    {"v1/sessions/*/description", {{NAT_HTTP_PUT, put_description}}},
    {"v1/sessions/*/token", {{NAT_HTTP_PUT, put_token}}},
};

static void
refuse_method (NatCall *call, const Action *actions)
{
  g_autoptr (GString) allow = g_string_new (NULL);

  for (guint i = 0; i < 2 && actions[i].handle != NULL; i++) {
    const char *text = actions[i].method == NAT_HTTP_GET      ? "GET, HEAD"
                       : actions[i].method == NAT_HTTP_POST   ? "POST"
                       : actions[i].method == NAT_HTTP_DELETE ? "DELETE"
                                                              : "PUT";

    g_string_append_printf (allow, "%s%s", i > 0 ? ", " : "", text);
  }
  nat_call_refuse (call, NAT_PROBLEM_METHOD_NOT_ALLOWED, "The Allow field says what is.");
  nat_http_response_add_field (call->response, "Allow", allow->str);
}

static void
dispatch (NatCall *call)
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
  nat_call_refuse (
      call, NAT_PROBLEM_NOT_FOUND, "The relay's addresses are described in PROTOCOL.md.");
}

void
nat_api_handle (const NatHttpRequest *request, NatHttpResponse *response, gpointer user)
{
  NatCall call = {.api = user, .request = request, .response = response, .action = "request"};

  call.now.us = g_get_monotonic_time ();
  call.now.s = g_get_real_time () / G_USEC_PER_SEC;
  nat_registry_poll (call.api->registry, call.now);
  dispatch (&call);
  if (response->wait == NULL)
    g_debug ("HTTPS request answered with %u", response->status);
  if (response->wait == NULL &&
      response->status == 0) /* cannot be; but a client shall have an answer */
    nat_call_refuse (&call, NAT_PROBLEM_INTERNAL, "Please report this.");
  nat_caller_clear (&call.caller);
}
