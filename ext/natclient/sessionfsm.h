/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What a session does, as a table: in this state, on this event, go there and do that. No time,
 * no I/O, no memory. Whether a failure can pass (auto-reconnect, retries, kind of cause) is decided
 * before the event is chosen, so that the table has no conditions. docs/design/sessionfsm.gv draws
 * it, and a test holds the drawing to the table. */

#include "natclient/session.h"

G_BEGIN_DECLS

typedef enum {
  NAT_FSM_START,
  NAT_FSM_STOP,
  NAT_FSM_DOCUMENT,     /* the relay answered with credentials and addresses */
  NAT_FSM_FAILED,       /* an attempt failed for a cause that can pass */
  NAT_FSM_REFUSED,      /* ... for one that stays until a person acts */
  NAT_FSM_REGISTERED,   /* the relay accepted an answer to its challenge */
  NAT_FSM_SILENT,       /* it did not answer a Binding in time */
  NAT_FSM_LOST,         /* ... nor any for as long as consent lasts */
  NAT_FSM_SESSION_LOST, /* it answers, but does not know the session any more */
  NAT_FSM_RETRY,        /* the wait is over */
  NAT_FSM_TOKEN,        /* a new token, and the old one was what failed */
  NAT_FSM_N_EVENTS
} NatFsmEvent;

typedef enum {
  NAT_DO_NEGOTIATE = 1 << 0, /* POST, once there is something to offer */
  NAT_DO_CHALLENGE = 1 << 1, /* sockets, candidates, first Binding */
  NAT_DO_SETTLE = 1 << 2,    /* connected: counters of attempts back to zero, document in step */
  NAT_DO_ARM_RETRY = 1 << 3,
  NAT_DO_CANCEL_RETRY = 1 << 4,
  NAT_DO_CANCEL_HTTPS = 1 << 5, /* a negotiation under way is not needed any more */
  NAT_DO_FORGET = 1 << 6,       /* mapping, sockets and prober of the session are dropped */
  NAT_DO_GOODBYE = 1 << 7,
} NatFsmAction;
#define NAT_FSM_N_ACTIONS 8
#define NAT_FSM_N_STATES  (NAT_SESSION_FAILED + 1)

/* FALSE: the event means nothing in this state; *next is state, *actions 0. */
gboolean nat_fsm_step (
    NatSessionState state, NatFsmEvent event, NatSessionState *next, guint *actions);
const char *nat_fsm_event_name (NatFsmEvent event);
const char *nat_fsm_action_name (NatFsmAction action); /* of a single bit */

G_END_DECLS
