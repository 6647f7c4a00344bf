/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/apilook.h"

#include <string.h>

#include "natserver/observe/listing.h"
#include "natserver/observe/metrics.h"
#include "natserver/observe/statuspage.h"

/* The page's own files and its relay, nothing in line and nothing from elsewhere; and it sends no forms. */
#define CONTENT_SECURITY                                                                           \
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "  \
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "        \
  "'script'"

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

static NatSnapshot *
take_snapshot (NatCall *call)
{
  NatSnapshot *snapshot = nat_snapshot_new ();

  snapshot->now_us = call->now.us;
  nat_registry_snapshot (call->api->registry, snapshot);
  call->api->fill_snapshot (snapshot, call->api->user);
  return snapshot;
}

/* Figures are measured every two seconds: whoever has seen those needs no others. */
static gboolean
is_seen (NatCall *call)
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
  NatSnapshot *snapshot;
  guint samples = 0;

  if (!permit_list (call) || !query_number (call, "trend", &samples) || is_seen (call))
    return;
  snapshot = take_snapshot (call);
  nat_http_response_take_body (
      call->response, 200, NAT_API_JSON, nat_listing_streams (snapshot, samples));
  nat_snapshot_free (snapshot);
}

void
nat_api_list_sessions (NatCall *call)
{
  NatListingAsk ask = {.stream = nat_http_query_value (call->request, "stream")};
  NatSnapshot *snapshot;

  if (!permit_list (call) || !query_number (call, "from", &ask.from) || is_seen (call))
    return;
  ask.whole_id = call->caller.token.admin;
  snapshot = take_snapshot (call);
  nat_http_response_take_body (
      call->response, 200, NAT_API_JSON, nat_listing_sessions (snapshot, &ask));
  nat_snapshot_free (snapshot);
}

void
nat_api_get_metrics (NatCall *call)
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
