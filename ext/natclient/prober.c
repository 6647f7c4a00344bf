/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/prober.h"

#include <string.h>

#include "natclient/candidate.h"
#include "natclient/flow.h"
#include "natclient/rto.h"
#include "natproto/crypto.h"
#include "natproto/stun.h"

#define MS(n) ((gint64)(n)*1000)

#define TRANSMISSIONS         5 /* at 0, 100, 300, 700 and 1500 ms (rto.h); given up at 3100 */
#define STAGGER_US            MS (100)  /* between candidates' first requests */
#define LEAD_US               MS (200)  /* head start of the candidate that was challenged first */
#define ANSWERS_AT_ONCE       3         /* challenges answered in a row without waiting */
#define REFUSALS_MAX          2         /* 401s to answers to fresh nonces until we believe it */
#define HINT_US               MS (1000) /* at most one Binding in this for hints */
#define KEEPALIVE_SUSPECT_US  MS (1500) /* a keepalive's third repetition got no answer; or later */
#define SHORTEST_SUSPECT_US   MS (250)
#define STREAM_SUSPECT_US     MS (1000) /* what TCP has to repeat comes later, not never */
#define SHORTEST_KEEPALIVE_US MS (1000)
#define BURST_US              MS (3000) /* after GOING_AWAY: probe as if it were silent */
#define BURST_PAUSE_US        MS (10000)
#define GONE_US               MS (1000) /* silent after GOING_AWAY for so long: LOST */
#define CONFIRM_US            MS (500) /* after UDP was selected beside the stream: did the relay, too? */
#define QUICK_PROBES          6 /* most silences are of a network that is there again at once */
#define QUICK_PROBE_US        MS (100)
#define STUCK_US              MS (5000) /* silent: another socket; LOST if refused elsewhere */
#define STUCK_AGAIN_US        MS (10000)

struct _NatProber {
  NatRole role;
  NatLogin login;
  NatProberOps ops;
  gpointer user;

  gint64 interval_us;  /* keepalive, before jitter */
  gint64 shortened_us; /* what a forgetful NAT taught us; 0 = nothing */

  NatProberPhase phase;
  NatCandidate candidates[NAT_CANDIDATES_MAX + 1]; /* the WebSocket is one more */
  guint n_candidates;
  NatCandidate *lead; /* CHALLENGING: whose challenge was answered first */
  NatCandidate *selected;
  guint nonce_serials;

  gint64 challenge_end_us;
  gint64 keepalive_us;
  gint64 suspect_us; /* G_MAXINT64 = no Binding is out, or none is overdue */
  gint64 probe_us, probe_step_us, stuck_us;
  guint probes;
  gint64 success_us;   /* last valid answer */
  gint64 hint_us;      /* last Binding for a hint; 0 = never */
  gboolean hint_waits; /* keepalive_us is earlier for one that came too soon */
  gint64 burst_end_us, burst_pause_us;
  gint64 lost_us;   /* PROBING: when it becomes SEEKING */
  gboolean goodbye; /* the relay said GOING_AWAY, and did not answer since */

  NatAddress mapped;
  gboolean mapped_of_socket; /* mapped was learned with the socket in use */
  NatRto rto;
  NatFlow flow;
};

NatProber *
nat_prober_new (
    NatRole role, const guint8 epoch[NAT_EPOCH_SIZE], const NatProberOps *ops, gpointer user)
{
  NatProber *p = g_new0 (NatProber, 1);

  p->role = role;
  p->login.epoch = epoch;
  p->ops = *ops;
  p->user = user;
  nat_flow_init (&p->flow, role);
  p->interval_us = MS (NAT_KEEPALIVE_MS);
  nat_rto_reset (&p->rto);
  return p;
}

void
nat_prober_free (NatProber *p)
{
  if (p == NULL)
    return;
  g_free (p->login.username);
  nat_crypto_wipe (p, sizeof *p);
  g_free (p);
}

/* ---- Transactions ------------------------------------------------------ */

/* A Binding with the nonce that we have, or else without credentials. */
static NatTransaction *
begin (NatProber *p, NatCandidate *c, gint64 now_us)
{
  NatTransaction *t = nat_candidate_next (c, now_us);

  p->ops.random (p->user, t->id, sizeof t->id);
  c->current = t;
  c->begin_us = G_MAXINT64;
  c->sends = 1;
  /* TCP repeats for itself. */
  c->resend_us = nat_candidate_is_stream (c) ? G_MAXINT64 : now_us + p->rto.rto_us;
  c->request_len = nat_candidate_write (c, t, &p->login, 0, c->request, sizeof c->request);
  if (c->request_len > 0)
    p->ops.send (p->user, &c->relay, c->request, c->request_len);
  return t;
}

/* A Binding that is not repeated: the next probe is its repetition. */
static void
probe (NatProber *p, NatCandidate *c, gint64 now_us)
{
  begin (p, c, now_us);
  c->resend_us = G_MAXINT64;
}

static void
resend (NatProber *p, NatCandidate *c, gint64 now_us)
{
  if (c->sends >= TRANSMISSIONS) {
    c->resend_us = G_MAXINT64;
    /* A challenge goes on until its limit; a keepalive is the business of suspect_us. */
    if (p->phase == NAT_PROBER_CHALLENGING)
      c->begin_us = now_us;
    return;
  }
  c->current->repeated = TRUE;
  c->resend_us = now_us + (p->rto.rto_us << c->sends);
  c->sends++;
  if (c->request_len > 0)
    p->ops.send (p->user, &c->relay, c->request, c->request_len);
}

/* ---- Phases ------------------------------------------------------------ */

/* Two round trips are due where the nonce is too old, or where there is none. */
static gint64
suspicion (const NatProber *p, gint64 shortest_us)
{
  return MAX (shortest_us, 3 * (gint64)nat_rto_reckon (&p->rto));
}

static gint64
fast_suspicion (const NatProber *p)
{
  gboolean stream = p->selected != NULL && nat_candidate_is_stream (p->selected);

  return suspicion (p, stream ? STREAM_SUSPECT_US : SHORTEST_SUSPECT_US);
}

/* Jitter goes downwards only: the interval is what the NAT is known to bear. */
static gint64
jittered_interval (NatProber *p)
{
  guint32 random;
  gint64 interval = p->interval_us;

  if (p->shortened_us != 0)
    interval = MIN (interval, p->shortened_us);
  p->ops.random (p->user, &random, sizeof random);
  return interval - (gint64)(((guint64)(interval / 5) * random) >> 32);
}

/* A Binding on the selected path, unless one is out already; no answer in suspect_us is silence. */
static void
check (NatProber *p, gint64 now_us, gint64 suspect_us)
{
  gint64 suspicion = now_us + suspect_us;

  if (p->suspect_us == G_MAXINT64) {
    p->keepalive_us = now_us + jittered_interval (p);
    p->suspect_us = suspicion;
    begin (p, p->selected, now_us);
    return;
  }
  p->suspect_us = MIN (p->suspect_us, suspicion);
}

static void
enter_idle (NatProber *p)
{
  p->phase = NAT_PROBER_IDLE;
  p->selected = p->lead = NULL;
  for (guint i = 0; i < p->n_candidates; i++)
    nat_candidate_quiet (&p->candidates[i]);
}

static void
enter_probing (NatProber *p, gint64 now_us)
{
  p->phase = NAT_PROBER_PROBING;
  p->probe_us = now_us;
  p->probe_step_us = NAT_PROBE_US;
  p->probes = 0;
  p->stuck_us = now_us + STUCK_US;
  p->suspect_us = G_MAXINT64;
  /* Who said that it goes needs no half a minute to be believed. */
  p->goodbye = now_us < p->burst_end_us;
  p->lost_us = p->goodbye ? now_us + GONE_US : p->success_us + NAT_CONSENT_US;
  if (p->selected != NULL)
    nat_candidate_quiet (p->selected);
}

void
nat_prober_set_credentials (NatProber *p, gint64 now_us, const char *username, const char *realm,
    const char *password, guint keepalive_ms)
{
  p->interval_us = MS (keepalive_ms);
  if (g_strcmp0 (username, p->login.username) == 0 && strcmp (realm, p->login.realm) == 0 &&
      p->phase != NAT_PROBER_IDLE)
    return;
  g_free (p->login.username);
  p->login.username = g_strdup (username);
  g_strlcpy (p->login.realm, realm, sizeof p->login.realm);
  nat_stun_key (username, strlen (username), realm, password, p->login.key);
  /* What is under way was signed with the old key, and its answer would not fit the new one. */
  if (p->phase == NAT_PROBER_REGISTERED && p->suspect_us != G_MAXINT64)
    begin (p, p->selected, now_us);
}

void
nat_prober_start (
    NatProber *p, gint64 now_us, const NatAddress *candidates, guint n, guint timeout_ms)
{
  p->n_candidates = MIN (n, NAT_CANDIDATES_MAX);
  p->mapped_of_socket = p->mapped_of_socket && p->mapped.transport == NAT_TRANSPORT_UDP;
  p->phase = NAT_PROBER_CHALLENGING;
  p->selected = p->lead = NULL;
  p->challenge_end_us = now_us + MS (timeout_ms);
  p->keepalive_us = p->suspect_us = G_MAXINT64;
  p->hint_us = 0;
  p->hint_waits = FALSE;
  p->burst_end_us = 0;
  p->goodbye = FALSE;
  nat_rto_reset (&p->rto);
  for (guint i = 0; i < p->n_candidates; i++) {
    NatCandidate *c = &p->candidates[i];

    c->relay = candidates[i];
    nat_candidate_forget (c);
    c->begin_us = now_us + i * STAGGER_US;
  }
  nat_prober_tick (p, now_us);
}

void
nat_prober_stop (NatProber *p)
{
  enter_idle (p);
}

void
nat_prober_socket_changed (NatProber *p, gint64 now_us)
{
  p->mapped_of_socket = FALSE;
  for (guint i = 0; i < p->n_candidates; i++) {
    NatCandidate *c = &p->candidates[i];

    if (nat_candidate_is_free (c) || nat_candidate_is_stream (c))
      continue;
    nat_candidate_forget (c);
    if (p->lead == c)
      p->lead = NULL;
    if (p->phase == NAT_PROBER_CHALLENGING)
      c->begin_us = now_us + i * STAGGER_US;
  }
  if (p->phase == NAT_PROBER_REGISTERED) {
    if (nat_candidate_is_stream (p->selected))
      return;
    p->suspect_us = G_MAXINT64;
    check (p, now_us, fast_suspicion (p));
  } else if (p->phase == NAT_PROBER_PROBING || p->phase == NAT_PROBER_SEEKING) {
    p->probe_us = now_us;
    p->probe_step_us = NAT_PROBE_US;
  }
}

/* ---- Ways that come and go --------------------------------------------- */

void
nat_prober_add (NatProber *p, gint64 now_us, const NatAddress *relay)
{
  NatCandidate *c;

  if (p->phase == NAT_PROBER_IDLE ||
      nat_candidate_at (p->candidates, p->n_candidates, relay) != NULL)
    return;
  c = nat_candidate_free_place (p->candidates, &p->n_candidates, G_N_ELEMENTS (p->candidates));
  if (c == NULL)
    return;
  memset (c, 0, sizeof *c);
  c->relay = *relay;
  nat_candidate_forget (c);
  if (p->phase == NAT_PROBER_REGISTERED)
    return;
  c->asked = TRUE;
  c->begin_us = now_us;
  nat_prober_tick (p, now_us);
}

void
nat_prober_remove (NatProber *p, gint64 now_us, const NatAddress *relay)
{
  NatCandidate *c = nat_candidate_at (p->candidates, p->n_candidates, relay);
  gboolean selected = c != NULL && c == p->selected;

  if (c == NULL || p->phase == NAT_PROBER_IDLE)
    return;
  if (p->lead == c)
    p->lead = NULL;
  if (selected)
    p->selected = NULL;
  if (nat_candidate_is_stream (c) && p->mapped.transport == NAT_TRANSPORT_WEBSOCKET)
    p->mapped_of_socket = FALSE;
  memset (c, 0, sizeof *c);
  nat_candidate_quiet (c);
  if (selected && p->phase == NAT_PROBER_REGISTERED) {
    enter_probing (p, now_us);
    p->ops.event (p->user, NAT_PROBER_SILENT, NULL);
  }
}

void
nat_prober_ask (NatProber *p, gint64 now_us, NatTransport transport)
{
  if (p->phase != NAT_PROBER_REGISTERED)
    return;
  for (guint i = 0; i < p->n_candidates; i++) {
    NatCandidate *c = &p->candidates[i];

    if (nat_candidate_is_free (c) || c == p->selected || c->relay.transport != transport)
      continue;
    c->asked = TRUE;
    c->answers = 0;
    begin (p, c, now_us);
  }
}

void
nat_prober_try_size (NatProber *p, gint64 now_us, guint bytes)
{
  NatCandidate *c = p->selected;
  guint8 request[NAT_DATAGRAM_MAX];
  NatTransaction *t;

  if (p->phase != NAT_PROBER_REGISTERED || nat_candidate_is_stream (c))
    return;
  t = nat_candidate_next (c, now_us);
  p->ops.random (p->user, t->id, sizeof t->id);
  t->size = bytes;
  p->ops.send (p->user, &c->relay, request,
      nat_candidate_write (c, t, &p->login, bytes, request, sizeof request));
}

/* ---- Answers ----------------------------------------------------------- */

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

static void
plan_keepalive (NatProber *p, gint64 now_us)
{
  gint64 wait = now_us < p->burst_end_us ? NAT_PROBE_US : jittered_interval (p);

  p->suspect_us = G_MAXINT64;
  /* A hint that came too soon after another may have asked for an earlier one. */
  if (p->keepalive_us <= now_us || p->keepalive_us > now_us + wait)
    p->keepalive_us = now_us + wait;
}

/* What is in the stream may be an answer to a later challenge than ours was, and the relay would go over to it however late it
 * comes. With a nonce that is asked for from now on we hold the path against all that. */
static void
plan_confirmation (NatProber *p, gint64 now_us)
{
  p->selected->nonce_serial = 0;
  p->keepalive_us = MIN (p->keepalive_us, now_us + CONFIRM_US);
}

/* The relay went over to the stream, by a Binding that was under way when we were served otherwise: it is asked back. What
 * is out already may have got there before. */
static void
ask_back (NatProber *p, gint64 now_us)
{
  p->suspect_us = G_MAXINT64;
  check (p, now_us, fast_suspicion (p));
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
    ask_back (p, now_us);
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
  plan_keepalive (p, now_us);
  if (anew && !nat_candidate_is_stream (c) &&
      nat_candidate_has_stream (p->candidates, p->n_candidates))
    plan_confirmation (p, now_us);
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
  enter_idle (p);
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
  begin (p, c, now_us)->answer = TRUE;
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
  p->lost_us = MIN (p->lost_us, now_us + (p->selected != NULL ? STUCK_US : GONE_US));
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
      enter_idle (p);
      p->ops.event (p->user, NAT_PROBER_DISOWNED, NULL);
    }
    return NAT_PROBER_TAKEN;
  }
  answer_challenge (p, c, now_us);
  return NAT_PROBER_TAKEN;
}

/* ---- Hints ------------------------------------------------------------- */

void
nat_prober_hint (NatProber *p, gint64 now_us)
{
  if (p->phase != NAT_PROBER_REGISTERED)
    return;
  if (p->hint_us != 0 && now_us < p->hint_us + HINT_US) {
    p->hint_waits = TRUE;
    p->keepalive_us = MIN (p->keepalive_us, p->hint_us + HINT_US);
    return;
  }
  p->hint_us = now_us;
  check (p, now_us, fast_suspicion (p));
}

/* The relay stops, and is back on the same port in a moment, perhaps: the sooner we ask, the shorter
 * the gap. Without authority, so bounded: a liar gets 12 Bindings out of us in 10 s. */
static void
going_away (NatProber *p, gint64 now_us)
{
  if (now_us < p->burst_pause_us)
    return;
  p->burst_pause_us = now_us + BURST_PAUSE_US;
  p->burst_end_us = now_us + BURST_US;
  check (p, now_us, fast_suspicion (p));
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
    going_away (p, now_us);
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

/* ---- Flow -------------------------------------------------------------- */

void
nat_prober_heard (NatProber *p, gint64 now_us)
{
  if (p->phase == NAT_PROBER_REGISTERED)
    nat_flow_heard (&p->flow, now_us);
}

void
nat_prober_sent (NatProber *p, gint64 when_us)
{
  if (p->role == NAT_ROLE_PUBLISHER && p->phase == NAT_PROBER_REGISTERED)
    nat_flow_sent (&p->flow, when_us);
}

gboolean
nat_prober_wants_sent (const NatProber *p)
{
  return p->role == NAT_ROLE_PUBLISHER && p->phase == NAT_PROBER_REGISTERED &&
         p->flow.sending_us == 0;
}

/* ---- Timers ------------------------------------------------------------ */

gint64
nat_prober_deadline (const NatProber *p)
{
  gint64 d = p->phase == NAT_PROBER_REGISTERED ? nat_flow_deadline (&p->flow) : G_MAXINT64;

  for (guint i = 0; i < p->n_candidates && p->phase != NAT_PROBER_IDLE; i++)
    d = MIN (d, MIN (p->candidates[i].begin_us, p->candidates[i].resend_us));
  switch (p->phase) {
  case NAT_PROBER_IDLE: return G_MAXINT64;
  case NAT_PROBER_CHALLENGING: return MIN (d, p->challenge_end_us);
  case NAT_PROBER_REGISTERED: return MIN (d, MIN (p->keepalive_us, p->suspect_us));
  case NAT_PROBER_PROBING: return MIN (d, MIN (p->probe_us, p->lost_us));
  case NAT_PROBER_SEEKING: return MIN (d, p->probe_us);
  }
  return d;
}

/* The other candidates are asked now and then: the network that answers may be another one now. The third time
 * they are: the one that we had gets a head start, and no more. */
static void
send_probes (NatProber *p, gint64 now_us)
{
  gboolean all = ++p->probes % 4 == 3 || p->phase == NAT_PROBER_SEEKING || p->selected == NULL;

  for (guint i = 0; i < p->n_candidates; i++) {
    NatCandidate *c = &p->candidates[i];

    if (!nat_candidate_is_free (c) && (c == p->selected || (all && !c->disowns))) {
      c->answers = 0;
      probe (p, c, now_us);
    }
  }
  if (p->phase == NAT_PROBER_SEEKING && now_us >= p->success_us + NAT_CONSENT_US)
    p->probe_step_us = MIN (2 * p->probe_step_us, NAT_SEEK_US);
  p->probe_us = now_us + (p->probes < QUICK_PROBES ? MIN (QUICK_PROBE_US, p->probe_step_us)
                                                   : p->probe_step_us);
}

static void
tick_probing (NatProber *p, gint64 now_us)
{
  gboolean stuck = FALSE;

  if (now_us >= p->lost_us) {
    p->phase = NAT_PROBER_SEEKING;
    p->ops.event (p->user, NAT_PROBER_LOST, NULL);
    return;
  }
  if (now_us >= p->stuck_us) {
    p->stuck_us = now_us + STUCK_AGAIN_US;
    stuck = TRUE;
  }
  if (now_us >= p->probe_us)
    send_probes (p, now_us);
  if (stuck)
    p->ops.event (p->user, NAT_PROBER_STUCK, NULL);
}

static void
tick_registered (NatProber *p, gint64 now_us)
{
  if (now_us >= p->suspect_us) {
    enter_probing (p, now_us);
    p->ops.event (p->user, NAT_PROBER_SILENT, NULL);
    return;
  }
  if (nat_flow_is_dry (&p->flow, now_us))
    check (p, now_us, fast_suspicion (p));
  if (now_us >= p->keepalive_us) {
    gboolean burst = now_us < p->burst_end_us;

    if (p->hint_waits)
      p->hint_us = now_us;
    p->hint_waits = FALSE;
    check (p, now_us, burst ? fast_suspicion (p) : suspicion (p, KEEPALIVE_SUSPECT_US));
    p->keepalive_us = now_us + (burst ? NAT_PROBE_US : jittered_interval (p));
  }
}

static void
tick_candidates (NatProber *p, gint64 now_us)
{
  for (guint i = 0; i < p->n_candidates; i++) {
    NatCandidate *c = &p->candidates[i];

    if (now_us >= c->begin_us) {
      gboolean answer = c->nonce_serial != 0;

      begin (p, c, now_us)->answer = answer;
    } else if (now_us >= c->resend_us) {
      resend (p, c, now_us);
    }
  }
}

void
nat_prober_tick (NatProber *p, gint64 now_us)
{
  if (p->phase == NAT_PROBER_IDLE)
    return;
  tick_candidates (p, now_us);
  switch (p->phase) {
  case NAT_PROBER_CHALLENGING:
    if (now_us >= p->challenge_end_us) {
      enter_idle (p);
      p->ops.event (p->user, NAT_PROBER_NO_ANSWER, NULL);
    }
    break;
  case NAT_PROBER_REGISTERED: tick_registered (p, now_us); break;
  case NAT_PROBER_PROBING: tick_probing (p, now_us); break;
  case NAT_PROBER_SEEKING:
    if (now_us >= p->probe_us)
      send_probes (p, now_us);
    break;
  case NAT_PROBER_IDLE: break;
  }
}

/* ---- Questions --------------------------------------------------------- */

NatProberPhase
nat_prober_phase (const NatProber *p)
{
  return p->phase;
}

gboolean
nat_prober_was_told (const NatProber *p)
{
  return p->goodbye;
}

guint
nat_prober_rtt_us (const NatProber *p)
{
  return p->rto.srtt_us;
}

gboolean
nat_prober_is_candidate (const NatProber *p, const NatAddress *address)
{
  return p->phase != NAT_PROBER_IDLE &&
         nat_candidate_at (p->candidates, p->n_candidates, address) != NULL;
}
