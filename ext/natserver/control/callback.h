/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A web server of the operator's that decides: it is POSTed who wants what (docs/PROTOCOL.md section 2.7), and says yes
 * or no. Answers are kept for a while, so that a room that fills asks few questions, and a server that is down is not
 * asked at every request; what it does not answer, nobody may. Nobody waits here: a question that is under way
 * is looked at again when its answer came. */

#include "natproto/address.h"
#include "natserver/control/auth.h"
#include "natserver/control/fetch.h"

G_BEGIN_DECLS

#define NAT_CALLBACK_CACHE          10000 /* answers kept */
#define NAT_CALLBACK_OPEN           64    /* questions under way at a time */
#define NAT_CALLBACK_OPEN_STRANGERS 8     /* ... beside them, that strangers ask without a limit */
#define NAT_CALLBACK_OPEN_SESSIONS  16    /* ... beside them, about sessions that live */
#define NAT_CALLBACK_ALLOW_S        60    /* that a yes holds, unless the answer says otherwise */
#define NAT_CALLBACK_DENY_S         10    /* ... and a no */
#define NAT_CALLBACK_FAIL_S         2     /* that it is not asked again, after no answer */
#define NAT_CALLBACK_MAX_S          3600

typedef enum {
  NAT_DECISION_PENDING, /* look again when the answer came */
  NAT_DECISION_ALLOWED,
  NAT_DECISION_DENIED,
  NAT_DECISION_FAILED, /* no answer, or none that can be read */
} NatDecisionKind;

typedef struct {
  NatDecisionKind kind;
  gint64 until_us; /* monotonic: so long it holds */
  char *why;       /* DENIED, FAILED: a sentence for a person; may be NULL */
  char *subject;   /* ALLOWED: who that is; NULL = it did not say */
  guint32 max_kbps;
  gboolean takeover;
} NatDecision;

/* What is asked about. */
typedef struct {
  const char *action;      /* publish, subscribe, list */
  const char *stream;      /* NULL: none */
  const NatAddress *from;  /* NULL: not known */
  const NatCaller *caller; /* NULL: see ticket */
  const char *token;       /* that we do not know, for the callback alone; else NULL */
  const NatTicket *ticket; /* of a session that is to go on; else NULL */
  gboolean limited;        /* how often somebody may ask it (admission.h) */
} NatQuestion;

typedef struct _NatCallback NatCallback;
/* answered: a question has its answer; what is the decision that was pending. */
NatCallback *nat_callback_new (void (*answered) (gconstpointer what, gpointer user), gpointer user);
void nat_callback_free (NatCallback *c);
/* url NULL: there is none, everything is allowed. Forgets all answers; what the fetcher before had under way, is to be
 * ended first, and whoever waits for it is told to look again. */
void nat_callback_set (NatCallback *c, NatFetcher *fetcher, const char *url, guint timeout_ms);
gboolean nat_callback_is_set (const NatCallback *c);
/* For one more question about a session that lives. */
gboolean nat_callback_has_room (const NatCallback *c);
/* Asks, if it has to. The decision is good until the main loop goes on. */
const NatDecision *nat_callback_ask (NatCallback *c, const NatQuestion *question, gint64 now_us);

G_END_DECLS
