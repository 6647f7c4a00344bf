/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who was let in and may no longer. A session's ticket names what vouched for it (natproto/voucher.h), so this holds
 * for those that live, when the relay reads its settings anew, and for those that come back: after a
 * restart, or from where the relay had lost sight of them. */

#include "natserver/control/registry-private.h"

#include "natserver/control/audit.h"

static void
audit (const NatTicket *ticket, const NatAddress *from, const char *why)
{
  NatAudit line = {.action = nat_audit_action (ticket->role),
      .stream = ticket->stream,
      .who = ticket->subject,
      .by = nat_voucher_word (&ticket->voucher),
      .from = from,
      .session = ticket->session_id};

  nat_audit (&line, NAT_AUDIT_ENDED, why);
}

void
nat_registry_put_out (
    NatRegistry *r, NatTime now, NatRegistered *session, NatReason reason, const char *why)
{
  audit (&session->ticket, session->registered ? &session->mapped : NULL, why);
  nat_registry_end (r, now, session, reason, FALSE);
}

gboolean
nat_registry_may_return (NatRegistry *r, NatTime now, NatTicket *ticket)
{
  gint64 until_s = r->config.auth != NULL ? nat_auth_vouches (r->config.auth, ticket) : G_MAXINT64;

  if (until_s > 0) {
    ticket->token_expires_s = MIN (ticket->token_expires_s, until_s);
    return TRUE;
  }
  audit (ticket, NULL, "it came back, but what let it in was withdrawn");
  nat_registry_say_ended (r, now, ticket->session_id, NAT_REASON_REVOKED, ticket->expires_s);
  return FALSE;
}

gboolean
nat_registry_judge (NatRegistry *r, NatTime now, NatRegistered *session)
{
  gint64 until_s = nat_auth_vouches (r->config.auth, &session->ticket);

  if (until_s > 0) {
    session->ticket.token_expires_s = MIN (session->ticket.token_expires_s, until_s);
    return FALSE;
  }
  nat_registry_put_out (r, now, session, NAT_REASON_REVOKED, "what let it in was withdrawn");
  r->revoked++;
  return TRUE;
}

void
nat_registry_judged (NatRegistry *r)
{
  if (r->revoked > 0)
    g_message ("%u sessions ended: what let them in was withdrawn", r->revoked);
  r->revoked = 0;
}

gboolean
nat_registry_revoke (NatRegistry *r, NatTime now)
{
  g_return_val_if_fail (r->config.auth != NULL, FALSE);
  nat_registry_look_anew (r);
  r->judging = r->round;
  return nat_registry_go_on (r, now);
}
