/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/flow.h"

#include <string.h>

#define MS(n) ((gint64)(n)*1000)

#define SHORTEST_GAP_US MS (20)   /* three of them are the 60 ms of the rule */
#define LONGEST_GAP_US  MS (1000) /* what is longer is a pause, no gap */
#define STUTTER_US      MS (500)  /* between two questions about a flow that stutters */
#define REPORT_US       MS (1000)

void
nat_flow_init (NatFlow *f, NatRole role)
{
  memset (f, 0, sizeof *f);
  f->role = role;
}

void
nat_flow_reset (NatFlow *f)
{
  f->flowing = FALSE;
  f->heard_us = 0;
  f->sending_us = 0;
}

void
nat_flow_heard (NatFlow *f, gint64 now_us)
{
  gint64 gap = now_us - f->heard_us;

  /* The usual gap is the longest of late, forgotten slowly: frames come in bursts, and the pause
   * between two of them is no silence. */
  if (f->heard_us != 0 && gap <= LONGEST_GAP_US)
    f->gap_us = MAX (gap, f->gap_us - f->gap_us / 64);
  f->heard_us = MAX (now_us, 1);
  f->flowing = TRUE;
}

void
nat_flow_sent (NatFlow *f, gint64 when_us)
{
  if (when_us <= f->sent_us)
    return;
  f->sent_us = when_us;
  if (f->sending_us == 0)
    f->sending_us = when_us;
}

void
nat_flow_answered (NatFlow *f, gint64 now_us)
{
  f->answered_us = now_us;
}

gint64
nat_flow_deadline (const NatFlow *f)
{
  gint64 due;

  if (f->role == NAT_ROLE_PUBLISHER) {
    if (f->sending_us == 0)
      return G_MAXINT64;
    due = MAX (MAX (f->heard_us, f->answered_us), f->sending_us) + REPORT_US;
  } else {
    if (!f->flowing)
      return G_MAXINT64;
    due = f->heard_us + 3 * MAX (f->gap_us, SHORTEST_GAP_US);
  }
  return MAX (due, f->ask_us);
}

gboolean
nat_flow_is_dry (NatFlow *f, gint64 now_us)
{
  if (now_us < nat_flow_deadline (f))
    return FALSE;
  f->flowing = FALSE;
  if (f->role == NAT_ROLE_PUBLISHER && f->sent_us < now_us - REPORT_US) {
    f->sending_us = 0; /* it is we who are silent */
    return FALSE;
  }
  f->ask_us = now_us + (f->role == NAT_ROLE_PUBLISHER ? REPORT_US : STUTTER_US);
  return TRUE;
}
