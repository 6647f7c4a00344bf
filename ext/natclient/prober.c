/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/prober.h"

#include <string.h>

#include "natclient/prober-private.h"
#include "natproto/crypto.h"

#define MS(n) ((gint64)(n)*1000)

#define TRANSMISSIONS        5 /* at 0, 100, 300, 700 and 1500 ms (rto.h); given up at 3100 */
#define STAGGER_US           MS (100)  /* between candidates' first requests */
#define HINT_US              MS (1000) /* at most one Binding in this for hints */
#define KEEPALIVE_SUSPECT_US MS (1500) /* a keepalive's third repetition got no answer; or later */
#define SHORTEST_SUSPECT_US  MS (250)
#define STREAM_SUSPECT_US    MS (1000) /* what TCP has to repeat comes later, not never */
#define BURST_US             MS (3000) /* after GOING_AWAY: probe as if it were silent */
#define BURST_PAUSE_US       MS (10000)
#define CONFIRM_US           MS (500) /* after UDP was selected beside the stream: did the relay, too? */
#define QUICK_PROBES         6 /* most silences are of a network that is there again at once */
#define QUICK_PROBE_US       MS (100)
#define STUCK_AGAIN_US       MS (10000)

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
NatTransaction *
nat_prober_begin (NatProber *p, NatCandidate *c, gint64 now_us)
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
  nat_prober_begin (p, c, now_us);
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
    nat_prober_begin (p, p->selected, now_us);
    return;
  }
  p->suspect_us = MIN (p->suspect_us, suspicion);
}

static void
check_soon (NatProber *p, gint64 now_us)
{
  check (p, now_us, fast_suspicion (p));
}

void
nat_prober_check_anew (NatProber *p, gint64 now_us)
{
  p->suspect_us = G_MAXINT64;
  check_soon (p, now_us);
}

void
nat_prober_plan_keepalive (NatProber *p, gint64 now_us)
{
  gint64 wait = now_us < p->burst_end_us ? NAT_PROBE_US : jittered_interval (p);

  p->suspect_us = G_MAXINT64;
  /* A hint that came too soon after another may have asked for an earlier one. */
  if (p->keepalive_us <= now_us || p->keepalive_us > now_us + wait)
    p->keepalive_us = now_us + wait;
}

/* What is in the stream may be an answer to a later challenge than ours was, and the relay would go over to it however late it
 * comes. With a nonce that is asked for from now on we hold the path against all that. */
void
nat_prober_plan_confirmation (NatProber *p, gint64 now_us)
{
  p->selected->nonce_serial = 0;
  p->keepalive_us = MIN (p->keepalive_us, now_us + CONFIRM_US);
}

void
nat_prober_enter_idle (NatProber *p)
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
  p->stuck_us = now_us + NAT_PROBER_STUCK_US;
  p->suspect_us = G_MAXINT64;
  /* Who said that it goes needs no half a minute to be believed. */
  p->goodbye = now_us < p->burst_end_us;
  p->lost_us = p->goodbye ? now_us + NAT_PROBER_GONE_US : p->success_us + NAT_CONSENT_US;
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
    nat_prober_begin (p, p->selected, now_us);
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
  nat_prober_enter_idle (p);
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
    nat_prober_check_anew (p, now_us);
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
  /* One place is the stream's, however many addresses a name had in time. */
  if (relay->transport == NAT_TRANSPORT_UDP &&
      nat_candidate_n_udp (p->candidates, p->n_candidates) >= NAT_CANDIDATES_MAX)
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
    nat_prober_begin (p, c, now_us);
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
  check_soon (p, now_us);
}

/* The relay stops, and is back on the same port in a moment, perhaps: the sooner we ask, the shorter
 * the gap. Without authority, so bounded: a liar gets 12 Bindings out of us in 10 s. */
void
nat_prober_going_away (NatProber *p, gint64 now_us)
{
  if (now_us < p->burst_pause_us)
    return;
  p->burst_pause_us = now_us + BURST_PAUSE_US;
  p->burst_end_us = now_us + BURST_US;
  check_soon (p, now_us);
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
    check_soon (p, now_us);
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

      nat_prober_begin (p, c, now_us)->answer = answer;
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
      nat_prober_enter_idle (p);
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
