/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/access.h"

/* A request that waited so often is not let wait again, whatever goes round in circles. Each key set that comes counts, a
 * reload, and the callback's answer after those. */
#define WAITS_MAX 12

static NatVerdict
refuse (NatProblemKind problem, const char *detail)
{
  NatVerdict v = {problem, g_strdup (detail), NULL};

  return v;
}

static NatVerdict
wait_for (const NatHttpRequest *request, gconstpointer what, NatProblemKind otherwise)
{
  NatVerdict v = {NAT_PROBLEM_NONE, NULL, what};

  return request->waited < WAITS_MAX ? v : refuse (otherwise, "Ask again in a moment.");
}

/* They are asked for once. After that it waits for what is under way: the first set that comes need not be that of the
 * token's issuer, and a reload asks for all anew. */
static gboolean
keys_may_come (const NatAccess *a, const NatHttpRequest *request, gint64 now_us)
{
  return request->waited == 0 ? nat_jwks_urls_look (a->jwks, now_us)
                              : nat_jwks_urls_under_way (a->jwks);
}

NatVerdict
nat_access_who (const NatAccess *a, const NatHttpRequest *request, gint64 now_us, gint64 now_s,
    NatCaller *caller)
{
  NatVerdict v = {NAT_PROBLEM_NONE, NULL, NULL};

  v.problem = nat_auth_check (a->auth, request->authorization, now_s, caller, &v.detail);
  /* The callback is told a token only when it is certain that it is none of ours. */
  if ((v.problem != NAT_PROBLEM_TOKEN_INVALID && !caller->unknown) || a->jwks == NULL ||
      !nat_auth_lacks_key (a->auth, request->authorization))
    return v;
  if (keys_may_come (a, request, now_us)) {
    g_free (v.detail);
    return wait_for (request, a->jwks, NAT_PROBLEM_KEYS_MISSING);
  }
  if (caller->unknown || !nat_auth_is_incomplete (a->auth))
    return v;
  g_free (v.detail);
  return refuse (NAT_PROBLEM_KEYS_MISSING,
      "The issuer of the tokens does not give out its keys; the relay's log says why.");
}

static void
take_identity (NatCaller *caller, const NatDecision *d)
{
  if (!caller->unknown)
    return;
  nat_caller_take_subject (caller, d->subject);
  caller->token.max_kbps = d->max_kbps;
  caller->token.takeover = d->takeover;
}

NatVerdict
nat_access_decide (const NatAccess *a, const NatHttpRequest *request, gint64 now_us,
    NatCaller *caller, const char *action, const char *stream, gint64 *until_us)
{
  NatVerdict yes = {NAT_PROBLEM_NONE, NULL, NULL};
  NatQuestion question = {.action = action,
      .stream = stream,
      .from = &request->peer,
      .caller = caller,
      .token = caller->unknown ? nat_auth_bearer (request->authorization) : NULL,
      .limited = request->method == NAT_HTTP_POST};
  const NatDecision *d;

  *until_us = 0;
  if (a->callback == NULL || !nat_callback_is_set (a->callback))
    return yes;
  d = nat_callback_ask (a->callback, &question, now_us);
  switch (d->kind) {
  case NAT_DECISION_ALLOWED:
    take_identity (caller, d);
    *until_us = d->until_us;
    return yes;
  case NAT_DECISION_PENDING: return wait_for (request, d, NAT_PROBLEM_CALLBACK_FAILED);
  case NAT_DECISION_DENIED:
    return refuse (NAT_PROBLEM_NOT_PERMITTED,
        d->why != NULL ? d->why : "The relay's access callback does not allow it.");
  default:
    return refuse (NAT_PROBLEM_CALLBACK_FAILED,
        "The relay's access callback did not answer as it should; the relay's log says how.");
  }
}
