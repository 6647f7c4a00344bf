/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A request on its way through the routes: who asks, whether he may, and how he is told that he may not. */

#include "natserver/control/api.h"
#include "natserver/control/audit.h"

G_BEGIN_DECLS

#define NAT_API_JSON "application/json"

typedef struct {
  const NatApi *api;
  const NatHttpRequest *request;
  NatHttpResponse *response;
  NatTime now;
  NatCaller caller;
  NatRegistered *session; /* after find_session */
  const char *action;     /* what access is asked for, and to which stream (or NULL): for the log */
  const char *stream;
} NatCall;

/* Always FALSE, for return statements. */
gboolean nat_call_refuse (NatCall *call, NatProblemKind kind, const char *detail);
/* With what there is to say about any such problem. */
gboolean nat_call_refuse_plainly (NatCall *call, NatProblemKind kind);
gboolean nat_call_refuse_hasty (NatCall *call, const char *limit, guint retry_s);
/* limit: an option's name, or NULL. */
void nat_call_refuse_session (NatCall *call, NatProblemKind kind, const char *limit);
void nat_call_audit (NatCall *call, NatAuditVerdict verdict, const char *why);

/* Each of these: FALSE where it is no, and where it is not known yet. */

gboolean nat_call_authenticate (NatCall *call, const char *action, const char *stream);
/* The callback's word, of which nat_auth_check and the token's claims know nothing. */
gboolean nat_call_ask_callback (NatCall *call, const char *action, const char *stream);
/* The token's word. */
gboolean nat_call_permit (NatCall *call, NatRole role, const char *stream);

G_END_DECLS
