/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/apicall.h"

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
is_vouched (NatCall *call)
{
  return nat_voucher_kind (&call->caller.token.voucher) != NAT_VOUCHER_NONE;
}

void
nat_call_audit (NatCall *call, NatAuditVerdict verdict, const char *why)
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

gboolean
nat_call_refuse (NatCall *call, NatProblemKind kind, const char *detail)
{
  if (is_about_access (kind))
    nat_call_audit (call, NAT_AUDIT_REFUSED, detail);
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

gboolean
nat_call_refuse_plainly (NatCall *call, NatProblemKind kind)
{
  return nat_call_refuse (call, kind, detail_of (kind));
}

void
nat_call_refuse_session (NatCall *call, NatProblemKind kind, const char *limit)
{
  g_autofree char *detail =
      g_strdup_printf ("The relay allows no more (%s). Sessions end 30 seconds after their "
                       "clients go; ask again later, or have its operator raise it.",
          limit ? limit : "");

  nat_call_refuse (call, kind, limit ? detail : detail_of (kind));
}

gboolean
nat_call_refuse_hasty (NatCall *call, const char *limit, guint retry_s)
{
  g_autofree char *after = g_strdup_printf ("%u", retry_s);
  g_autofree char *detail =
      g_strdup_printf ("Ask again after the seconds that the Retry-After field says (%s).", limit);

  nat_call_refuse (call, NAT_PROBLEM_TOO_MANY_REQUESTS, detail);
  nat_http_response_add_field (call->response, "Retry-After", after);
  return FALSE;
}

/* ---- Who asks ---------------------------------------------------------- */

/* FALSE where it is no, and where it is not known yet. */
static gboolean
heed (NatCall *call, NatVerdict verdict)
{
  g_autofree char *detail = verdict.detail;

  call->response->wait = verdict.wait;
  if (verdict.wait != NULL)
    return FALSE;
  return verdict.problem == NAT_PROBLEM_NONE || nat_call_refuse (call, verdict.problem, detail);
}

gboolean
nat_call_authenticate (NatCall *call, const char *action, const char *stream)
{
  call->action = action;
  call->stream = stream;
  return heed (call,
      nat_access_who (&call->api->access, call->request, call->now.us, call->now.s, &call->caller));
}

gboolean
nat_call_ask_callback (NatCall *call, const char *action, const char *stream)
{
  return heed (call, nat_access_decide (&call->api->access, call->request, call->now.us,
                         &call->caller, action, stream, &call->caller.decided_until_us));
}

gboolean
nat_call_permit (NatCall *call, NatRole role, const char *stream)
{
  gboolean publishes = role == NAT_ROLE_PUBLISHER;
  g_autofree char *detail = NULL;

  if (call->caller.unknown || nat_caller_may (&call->caller, role, stream))
    return TRUE;
  detail = g_strdup_printf ("The token does not permit %s \"%s\"; its \"%s\" claim must name it.",
      publishes ? "publishing" : "watching", stream, publishes ? "publish" : "subscribe");
  return nat_call_refuse (call, NAT_PROBLEM_NOT_PERMITTED, detail);
}
