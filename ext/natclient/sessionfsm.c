/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/sessionfsm.h"

typedef struct {
  gboolean defined;
  NatSessionState next;
  guint actions;
} Cell;

#define ON(event, state, what) [NAT_FSM_##event] = {TRUE, NAT_SESSION_##state, what}
#define DO(action)             NAT_DO_##action
#define BYE                    (DO (CANCEL_HTTPS) | DO (CANCEL_RETRY) | DO (FORGET) | DO (GOODBYE))

/* A session whose consent ran out keeps its prober while it negotiates a new one, so REGISTERED and
 * SESSION_LOST of the old one may come in NEGOTIATING and WAITING: whoever answers first wins. */
static const Cell table[NAT_FSM_N_STATES][NAT_FSM_N_EVENTS] =
    {
        [NAT_SESSION_DISCONNECTED] =
            {
                ON (START, NEGOTIATING, DO (NEGOTIATE)),
            },
        [NAT_SESSION_NEGOTIATING] =
            {
                ON (DOCUMENT, CHALLENGING, DO (CHALLENGE)),
                ON (FAILED, WAITING, DO (ARM_RETRY)),
                ON (REFUSED, FAILED, DO (CANCEL_HTTPS) | DO (FORGET)),
                ON (REGISTERED, CONNECTED, DO (CANCEL_HTTPS) | DO (SETTLE)),
                ON (SESSION_LOST, NEGOTIATING, DO (FORGET)),
                ON (STOP, DISCONNECTED, BYE),
            },
        [NAT_SESSION_CHALLENGING] =
            {
                ON (REGISTERED, CONNECTED, DO (SETTLE)),
                ON (FAILED, WAITING, DO (FORGET) | DO (ARM_RETRY)),
                ON (REFUSED, FAILED, DO (FORGET)),
                ON (STOP, DISCONNECTED, BYE),
            },
        [NAT_SESSION_CONNECTED] =
            {
                ON (SILENT, SUSPECT, 0),
                ON (FAILED, WAITING, DO (FORGET) | DO (ARM_RETRY)),
                ON (SESSION_LOST, NEGOTIATING, DO (FORGET) | DO (NEGOTIATE)),
                ON (REFUSED, FAILED, DO (FORGET)),
                ON (STOP, DISCONNECTED, BYE),
            },
        [NAT_SESSION_SUSPECT] =
            {
                ON (REGISTERED, CONNECTED, DO (SETTLE)),
                ON (LOST, WAITING, DO (ARM_RETRY)),
                ON (FAILED, WAITING, DO (FORGET) | DO (ARM_RETRY)),
                ON (SESSION_LOST, NEGOTIATING, DO (FORGET) | DO (NEGOTIATE)),
                ON (REFUSED, FAILED, DO (FORGET)),
                ON (STOP, DISCONNECTED, BYE),
            },
        [NAT_SESSION_WAITING] =
            {
                ON (RETRY, NEGOTIATING, DO (NEGOTIATE)),
                ON (REGISTERED, CONNECTED, DO (CANCEL_RETRY) | DO (SETTLE)),
                ON (SESSION_LOST, WAITING, DO (FORGET)),
                ON (REFUSED, FAILED, DO (CANCEL_RETRY) | DO (FORGET)),
                ON (STOP, DISCONNECTED, BYE),
            },
        [NAT_SESSION_FAILED] =
            {
                ON (TOKEN, NEGOTIATING, DO (NEGOTIATE)),
                ON (STOP, DISCONNECTED, BYE),
            },
};

gboolean
nat_fsm_step (NatSessionState state, NatFsmEvent event, NatSessionState *next, guint *actions)
{
  const Cell *cell = &table[state][event];

  *next = cell->defined ? cell->next : state;
  *actions = cell->actions;
  return cell->defined;
}

const char *
nat_fsm_event_name (NatFsmEvent event)
{
  static const char *const names[NAT_FSM_N_EVENTS] = {
      [NAT_FSM_START] = "start",
      [NAT_FSM_STOP] = "stop",
      [NAT_FSM_DOCUMENT] = "document",
      [NAT_FSM_FAILED] = "failed",
      [NAT_FSM_REFUSED] = "refused",
      [NAT_FSM_REGISTERED] = "registered",
      [NAT_FSM_SILENT] = "silent",
      [NAT_FSM_LOST] = "lost",
      [NAT_FSM_SESSION_LOST] = "session-lost",
      [NAT_FSM_RETRY] = "retry",
      [NAT_FSM_TOKEN] = "token",
  };
  return names[event];
}

const char *
nat_fsm_action_name (NatFsmAction action)
{
  switch (action) {
  case NAT_DO_NEGOTIATE: return "negotiate";
  case NAT_DO_CHALLENGE: return "challenge";
  case NAT_DO_SETTLE: return "settle";
  case NAT_DO_ARM_RETRY: return "arm-retry";
  case NAT_DO_CANCEL_RETRY: return "cancel-retry";
  case NAT_DO_CANCEL_HTTPS: return "cancel-https";
  case NAT_DO_FORGET: return "forget";
  case NAT_DO_GOODBYE: return "goodbye";
  }
  return NULL;
}
