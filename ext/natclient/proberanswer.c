/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "natclient/prober-private.h"

#define MS(n) ((gint64)(n)*1000)

#define LEAD_US               MS (200) /* head start of the candidate that was challenged first */
#define ANSWERS_AT_ONCE       3        /* challenges answered in a row without waiting */
#define REFUSALS_MAX          2        /* 401s to answers to fresh nonces until we believe it */
#define SHORTEST_KEEPALIVE_US MS (1000)

/* A NAT that forgot us between two keepalives is asked to remember less. */
static void
note_mapped (NatProber *p, const NatAddress *mapped, NatProberReport *report)
{
  gint64 interval;

  report->moved = p->mapped_of_socket && mapped->transport == p->mapped.transport &&
                  !nat_address_equal (mapped, &p->mapped);
  if (report->moved && p->phase == NAT_PROBER_REGISTERED) {
    interval = p->shortened_us != 0 ? p->shortened_us : p->interval_us;
    p->shortened_us = MAX (SHORTEST_KEEPALIVE_US, interval / 2);
  }
  p->mapped = *mapped;
  p->mapped_of_socket = TRUE;
}

/* What is out to the others is not waited for any more; but a keepalive that is answered ends no question
 * to those that could be better. */
static void
select_candidate (NatProber *p, NatCandidate *c, gboolean keepalive)
{
  for (guint i = 0; i < p->n_candidates && !keepalive; i++)
    if (&p->candidates[i] != c) {
      nat_candidate_quiet (&p->candidates[i]);
      p->candidates[i].asked = FALSE;
    }
  p->selected = c;
  p->lead = NULL;
  nat_candidate_quiet (c);
  c->answers = c->refusals = 0;
}

static NatProberVerdict
on_success (
    NatProber *p, gint64 now_us, NatCandidate *c, NatTransaction *t, const NatStunMessage *msg)
{
  NatProberReport report = {.relay = c->relay, .size = t->size};
  gboolean was_registered = p->phase == NAT_PROBER_REGISTERED;
  gboolean anew = !was_registered || c != p->selected;

  if (!t->authenticated ||
      !nat_candidate_succeeded (&p->login, msg, &report.mapped, report.boot_id, &report.version))
    return NAT_PROBER_REFUSED;
  report.mapped.transport = c->relay.transport;
  t->done = TRUE;
  if (was_registered && nat_candidate_is_stream (c) && !nat_candidate_is_stream (p->selected)) {
    /* It went over by a Binding that was under way when we were served otherwise: it is asked back. What is out already
     * may have got there before. */
    nat_prober_check_anew (p, now_us);
    return NAT_PROBER_TAKEN;
  }
  if (c != p->selected) /* what is known is another way's */
    nat_rto_reset (&p->rto);
  nat_rto_answered (&p->rto, now_us - t->sent_us, t->repeated);
  note_mapped (p, &report.mapped, &report);
  if (!was_registered) {
    p->keepalive_us = G_MAXINT64;
    nat_flow_reset (&p->flow);
  }
  p->phase = NAT_PROBER_REGISTERED;
  p->goodbye = FALSE;
  p->success_us = now_us;
  nat_flow_answered (&p->flow, now_us);
  select_candidate (p, c, !anew);
  nat_prober_plan_keepalive (p, now_us);
  if (anew && !nat_candidate_is_stream (c) &&
      nat_candidate_has_stream (p->candidates, p->n_candidates))
    nat_prober_plan_confirmation (p, now_us);
  p->ops.event (p->user, was_registered ? NAT_PROBER_UPDATED : NAT_PROBER_ACCEPTED, &report);
  return NAT_PROBER_TAKEN;
}

static NatProberVerdict
on_forbidden (
    NatProber *p, const NatCandidate *c, const NatTransaction *t, const NatStunMessage *msg)
{
  NatProberReport report = {.relay = c->relay};
  guint32 reason = NAT_REASON_NONE;

  if (!t->authenticated || !nat_stun_verify (msg, p->login.key, sizeof p->login.key))
    return NAT_PROBER_REFUSED;
  nat_stun_slice_u32 (&msg->reason, &reason);
  report.reason = (NatReason)reason;
  if (msg->boot_id.len == NAT_BOOT_ID_SIZE)
    memcpy (report.boot_id, msg->boot_id.data, NAT_BOOT_ID_SIZE);
  nat_prober_enter_idle (p);
  p->ops.event (p->user, NAT_PROBER_FORBIDDEN, &report);
  return NAT_PROBER_TAKEN;
}

/* Whoever is challenged first gets a head start: two selections at once would race. */
static void
answer_challenge (NatProber *p, NatCandidate *c, gint64 now_us)
{
  if (p->phase == NAT_PROBER_CHALLENGING) {
    if (p->lead == NULL)
      p->lead = c;
    if (p->lead != c) {
      nat_candidate_quiet (c);
      c->begin_us = now_us + LEAD_US;
      return;
    }
  }
  if (++c->answers > ANSWERS_AT_ONCE) {
    /* The relay challenges whatever we say: the timers' pace is enough for that. */
    nat_candidate_quiet (c);
    if (p->phase == NAT_PROBER_CHALLENGING)
      c->begin_us = now_us + MS (1000);
    return;
  }
  nat_prober_begin (p, c, now_us)->answer = TRUE;
}

/* That one knows our session at one address and not at another happens where a name leads to several relays. Whoever
 * served us is believed; else all must say so. If it is silent, or gone, we do not wait as long as without that. */
static gboolean
is_disowned (NatProber *p, NatCandidate *by, gint64 now_us)
{
  gboolean all = TRUE;

  by->disowns = TRUE;
  nat_candidate_quiet (by);
  if (p->lead == by)
    p->lead = NULL;
  for (guint i = 0; i < p->n_candidates; i++)
    all = all && (p->candidates[i].disowns || nat_candidate_is_free (&p->candidates[i]));
  p->lost_us =
      MIN (p->lost_us, now_us + (p->selected != NULL ? NAT_PROBER_STUCK_US : NAT_PROBER_GONE_US));
  return all || by == p->selected;
}

static NatProberVerdict
on_challenge (NatProber *p, gint64 now_us, NatCandidate *c, NatTransaction *t, guint code,
    const NatStunMessage *msg)
{
  /* Late: this request went out before the nonce that we have now. */
  if (t->nonce_serial != c->nonce_serial) {
    t->done = TRUE;
    return NAT_PROBER_TAKEN;
  }
  /* The relay holds another path for selected, as we do: a late keepalive moves nothing back. */
  if (p->phase == NAT_PROBER_REGISTERED && c != p->selected && !c->asked) {
    t->done = TRUE;
    return NAT_PROBER_TAKEN;
  }
  if (!nat_candidate_challenged (c, msg, p->login.realm, ++p->nonce_serials))
    return NAT_PROBER_REFUSED;
  t->done = TRUE;
  if (code == 401 && t->answer && ++c->refusals >= REFUSALS_MAX) {
    if (is_disowned (p, c, now_us)) {
      nat_prober_enter_idle (p);
      p->ops.event (p->user, NAT_PROBER_DISOWNED, NULL);
    }
    return NAT_PROBER_TAKEN;
  }
  answer_challenge (p, c, now_us);
  return NAT_PROBER_TAKEN;
}

static NatProberVerdict
on_indication (NatProber *p, gint64 now_us, const NatStunMessage *msg)
{
  guint32 reason;

  if (!nat_stun_slice_u32 (&msg->reason, &reason))
    return NAT_PROBER_REFUSED;
  if (p->phase != NAT_PROBER_REGISTERED)
    return NAT_PROBER_TAKEN;
  if (reason == NAT_REASON_GOING_AWAY)
    nat_prober_going_away (p, now_us);
  else
    nat_prober_hint (p, now_us);
  return NAT_PROBER_TAKEN;
}

NatProberVerdict
nat_prober_input (
    NatProber *p, gint64 now_us, const NatAddress *from, const guint8 *data, gsize len)
{
  NatStunMessage msg;
  NatCandidate *c = nat_candidate_at (p->candidates, p->n_candidates, from);
  NatTransaction *t;
  guint code;

  if (c == NULL || p->phase == NAT_PROBER_IDLE || nat_stun_parse (&msg, data, len) != NAT_STUN_OK)
    return NAT_PROBER_REFUSED;
  if (!msg.has_fingerprint)
    return NAT_PROBER_REFUSED;
  if (msg.type == NAT_STUN_BINDING_INDICATION)
    return on_indication (p, now_us, &msg);
  t = nat_candidate_find (c, msg.transaction_id);
  if (t == NULL)
    return NAT_PROBER_REFUSED;
  if (t->done)
    return NAT_PROBER_TAKEN;
  if (msg.type == NAT_STUN_BINDING_SUCCESS)
    return on_success (p, now_us, c, t, &msg);
  if (msg.type != NAT_STUN_BINDING_ERROR)
    return NAT_PROBER_REFUSED;
  code = nat_stun_error_code (&msg, NULL);
  if (code == 401 || code == 438)
    return on_challenge (p, now_us, c, t, code, &msg);
  if (code == 403)
    return on_forbidden (p, c, t, &msg);
  return NAT_PROBER_REFUSED;
}
