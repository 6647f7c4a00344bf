/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/apilook.h"

#include <string.h>

#include "natserver/control/looks.h"
#include "natserver/observe/statuspage.h"

/* The page's own files and its relay, nothing in line and nothing from elsewhere; and it sends no forms. */
#define CONTENT_SECURITY                                                                           \
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "  \
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "        \
  "'script'"

#define ETAG_SIZE (2 * NAT_BOOT_ID_SIZE + 32)

/* ---- Who may look ------------------------------------------------------ */

/* A proxy on this machine makes strangers look like it; it says so, and they are strangers again. */
static gboolean
is_local_peer (NatCall *call)
{
  return nat_address_is_loopback (&call->request->peer) && !call->request->forwarded;
}

static gboolean
may_list (NatCall *call)
{
  /* Who is unknown, comes here only with the callback's yes. */
  return call->caller.unknown || call->caller.token.list || call->caller.token.admin;
}

/* For pages that tell much about the relay and nothing that opens it. */
static gboolean
permit_look (NatCall *call)
{
  if (call->request->authorization == NULL && is_local_peer (call))
    return TRUE;
  if (!nat_call_authenticate (call, "look", NULL) || !nat_call_ask_callback (call, "list", NULL))
    return FALSE;
  return call->caller.open || may_list (call) ||
         nat_call_refuse (call, NAT_PROBLEM_NOT_PERMITTED,
             "Looking at the relay from elsewhere needs a token with \"list\" or \"admin\".");
}

static gboolean
permit_list (NatCall *call)
{
  if (!nat_call_authenticate (call, "list", NULL) || !nat_call_ask_callback (call, "list", NULL))
    return FALSE;
  if (call->caller.open ? is_local_peer (call) : may_list (call))
    return TRUE;
  return nat_call_refuse (call, NAT_PROBLEM_NOT_PERMITTED,
      call->caller.open ? "An open relay shows its lists to its own machine only."
                        : "Lists need a token with \"list\" or \"admin\".");
}

/* ---- Lists and pages --------------------------------------------------- */

static void
write_etag (NatCall *call, guint64 tick, char etag[ETAG_SIZE])
{
  g_snprintf (etag, ETAG_SIZE, "W/\"%s-%" G_GUINT64_FORMAT "\"",
      nat_registry_boot_id (call->api->registry), tick);
}

/* Figures are measured every two seconds: whoever has seen those needs no others. */
static gboolean
is_seen (NatCall *call)
{
  const char *seen = call->request->if_none_match;
  char etag[ETAG_SIZE];

  write_etag (call, nat_registry_trend_tick (call->api->registry), etag);
  if (call->request->kept.data != NULL || seen == NULL || strcmp (seen, etag) != 0)
    return FALSE;
  nat_http_response_add_field (call->response, "ETag", etag);
  call->response->status = 304;
  return TRUE;
}

/* NULL: it takes more turns, and the request waits for it. */
static NatLook *
take_look (NatCall *call, const NatLookAsk *ask)
{
  NatLook *look = call->request->kept.data;

  if (look == NULL) {
    look = nat_look_new (call->api->looks, call->now, ask);
    call->response->kept = (NatHttpKept){look, nat_look_free};
  }
  if (nat_look_is_whole (look))
    return look;
  call->response->wait = look;
  return NULL;
}

static void
answer_list (NatCall *call, const NatLookAsk *ask)
{
  NatLook *look = take_look (call, ask);
  char etag[ETAG_SIZE];

  if (look == NULL)
    return;
  write_etag (call, nat_look_tick (look), etag);
  nat_http_response_add_field (call->response, "ETag", etag);
  nat_http_response_take_body (call->response, 200, NAT_API_JSON, nat_look_take_text (look));
}

/* A number in the query that is 0 where it is absent. */
static gboolean
query_number (NatCall *call, const char *name, guint *value)
{
  const char *text = nat_http_query_value (call->request, name);
  guint64 number = 0;

  if (text != NULL && !g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT, &number, NULL))
    return nat_call_refuse (
        call, NAT_PROBLEM_QUERY_INVALID, "from and trend must be whole numbers.");
  *value = (guint)number;
  return TRUE;
}

void
nat_api_list_streams (NatCall *call)
{
  NatLookAsk ask = {.kind = NAT_LOOK_STREAMS};

  if (permit_list (call) && query_number (call, "trend", &ask.samples) && !is_seen (call))
    answer_list (call, &ask);
}

void
nat_api_list_sessions (NatCall *call)
{
  NatLookAsk ask = {
      .kind = NAT_LOOK_SESSIONS, .stream = nat_http_query_value (call->request, "stream")};

  if (!permit_list (call) || !query_number (call, "from", &ask.from) || is_seen (call))
    return;
  ask.whole_id = call->caller.token.admin;
  answer_list (call, &ask);
}

void
nat_api_get_metrics (NatCall *call)
{
  NatLook *look =
      permit_look (call) ? take_look (call, &(NatLookAsk){.kind = NAT_LOOK_METRICS}) : NULL;

  if (look != NULL)
    nat_http_response_take_body (
        call->response, 200, "text/plain; version=0.0.4; charset=utf-8", nat_look_take_text (look));
}

/* The page itself says nothing of the relay: what it shows, it asks for with the token of whoever looks. */
void
nat_api_get_page (NatCall *call)
{
  const NatPageFile *file = nat_statuspage_file (call->request->path[0]);

  nat_http_response_take_body (call->response, 200, file->content_type, g_strdup (file->text));
  nat_http_response_add_field (call->response, "Content-Security-Policy", CONTENT_SECURITY);
  nat_http_response_add_field (call->response, "Referrer-Policy", "no-referrer");
  nat_http_response_add_field (call->response, "Cross-Origin-Opener-Policy", "same-origin");
  nat_http_response_add_field (call->response, "Cross-Origin-Resource-Policy", "same-origin");
}
