/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/prober.h"

#include <string.h>

#include "natclient/flow.h"
#include "natproto/crypto.h"
#include "natproto/stun.h"
#include "natproto/stunauth.h"

#define MS(n) ((gint64)(n)*1000)

#define FIRST_RTO_US  MS (100) /* doubled after each repetition */
#define TRANSMISSIONS 5        /* at 0, 100, 300, 700 and 1500 ms; given up at 3100 */
#define STAGGER_US    MS (100) /* between candidates' first requests */
#define LEAD_US       MS (200) /* head start of the candidate that was challenged first */
#define SHORTEST_REQUEST                                                                           \
  192 /* bytes, more than any challenge: the relay answers no
                                         * stranger with more than it was sent */
#define REQUEST_MAX           1280
#define NONCE_MAX             160       /* bytes of NONCE and of PASSWORD-ALGORITHMS that we keep */
#define ANSWERS_AT_ONCE       3         /* challenges answered in a row without waiting */
#define REFUSALS_MAX          2         /* 401s to answers to fresh nonces until we believe it */
#define TRANSACTIONS          16        /* probes under way: 4 s of round trip at 250 ms */
#define HINT_US               MS (1000) /* at most one Binding in this for hints */
#define KEEPALIVE_SUSPECT_US  MS (1500) /* a keepalive's third repetition got no answer */
#define SHORTEST_SUSPECT_US   MS (250)
#define SHORTEST_KEEPALIVE_US MS (1000)
#define BURST_US              MS (3000) /* after GOING_AWAY: probe as if it were silent */
#define BURST_PAUSE_US        MS (10000)
#define STUCK_US              MS (5000)
#define STUCK_AGAIN_US        MS (10000)

typedef struct {
  guint8 id[12];
  gint64 sent_us; /* first transmission; 0 = slot is free */
  gboolean done;  /* answered; what comes after is the answer to a repetition */
  gboolean authenticated;
  gboolean answer;   /* sent at once for a challenge: its nonce is fresh */
  gboolean repeated; /* its round trip tells nothing (Karn) */
  guint nonce_serial;
} Transaction;

/* A relay address, and the arbitrary word that it last gave us. */
typedef struct {
  NatAddress relay;
  gint64 begin_us;  /* CHALLENGING: when its (next) first request goes; G_MAXINT64 = not */
  gint64 resend_us; /* G_MAXINT64 = nothing to repeat */
  guint sends;
  guint8 request[REQUEST_MAX]; /* kept for repetitions */
  gsize request_len;
  Transaction *current; /* of request */

  guint nonce_serial; /* 0 = no nonce */
  guint8 nonce[NONCE_MAX], algorithms[NONCE_MAX];
  guint16 nonce_len, algorithms_len;
  guint answers;  /* in a row, without success */
  guint refusals; /* 401s to fresh answers, in a row */

  Transaction ring[TRANSACTIONS];
  guint next;
} Candidate;

struct _NatProber {
  NatRole role;
  guint8 epoch[NAT_EPOCH_SIZE];
  NatProberOps ops;
  gpointer user;

  char *username;
  char realm[32];
  guint8 key[NAT_STUN_KEY_SIZE];
  gint64 interval_us;  /* keepalive, before jitter */
  gint64 shortened_us; /* what a forgetful NAT taught us; 0 = nothing */

  NatProberPhase phase;
  Candidate candidates[NAT_CANDIDATES_MAX];
  guint n_candidates;
  Candidate *lead; /* CHALLENGING: whose challenge was answered first */
  Candidate *selected;
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

  NatAddress mapped;
  gboolean mapped_of_socket; /* mapped was learned with the socket in use */
  guint srtt_us;

  NatFlow flow;
};

NatProber *
nat_prober_new (
    NatRole role, const guint8 epoch[NAT_EPOCH_SIZE], const NatProberOps *ops, gpointer user)
{
  NatProber *p = g_new0 (NatProber, 1);

  p->role = role;
  memcpy (p->epoch, epoch, NAT_EPOCH_SIZE);
  p->ops = *ops;
  p->user = user;
  nat_flow_init (&p->flow, role);
  p->interval_us = MS (NAT_KEEPALIVE_MS);
  return p;
}

void
nat_prober_free (NatProber *p)
{
  if (p == NULL)
    return;
  g_free (p->username);
  nat_crypto_wipe (p, sizeof *p);
  g_free (p);
}

/* ---- Transactions ------------------------------------------------------ */

static void
quiet (Candidate *c)
{
  c->begin_us = c->resend_us = G_MAXINT64;
  c->current = NULL;
}

static void
forget_nonce (Candidate *c)
{
  c->nonce_serial = 0;
  c->answers = c->refusals = 0;
  memset (c->ring, 0, sizeof c->ring);
  quiet (c);
}

static Transaction *
transaction_new (NatProber *p, Candidate *c, gint64 now_us)
{
  Transaction *t = &c->ring[c->next++ % TRANSACTIONS];

  memset (t, 0, sizeof *t);
  p->ops.random (p->user, t->id, sizeof t->id);
  t->sent_us = MAX (now_us, 1);
  t->nonce_serial = c->nonce_serial;
  t->authenticated = c->nonce_serial != 0;
  return t;
}

static gsize
write_request (NatProber *p, Candidate *c, const Transaction *t)
{
  NatStunWriter w;
  NatStunAuthChallenge challenge = {{(const guint8 *)p->realm, (guint16)strlen (p->realm)},
      {c->nonce, c->nonce_len}, {c->algorithms, c->algorithms_len}};

  nat_stun_writer_init (&w, c->request, sizeof c->request, NAT_STUN_BINDING_REQUEST, t->id);
  if (!t->authenticated) {
    nat_stun_writer_pad_to (&w, SHORTEST_REQUEST, NAT_STUN_FINGERPRINT_SIZE);
    return nat_stun_writer_finish (&w);
  }
  nat_stunauth_add_answer (&w, p->username, &challenge);
  nat_stun_writer_add (&w, NAT_ATTR_EPOCH, p->epoch, sizeof p->epoch);
  /* Every Binding selects: on the selected path it holds, and after the NAT moved us the answer
   * to the new challenge moves the stream at once. */
  nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  nat_stun_writer_pad_to (
      &w, SHORTEST_REQUEST, NAT_STUN_INTEGRITY_SIZE + NAT_STUN_FINGERPRINT_SIZE);
  nat_stun_writer_add_integrity (&w, p->key, sizeof p->key);
  return nat_stun_writer_finish (&w);
}

/* A Binding with the nonce that we have, or else without credentials. */
static Transaction *
begin (NatProber *p, Candidate *c, gint64 now_us)
{
  Transaction *t = transaction_new (p, c, now_us);

  c->current = t;
  c->begin_us = G_MAXINT64;
  c->sends = 1;
  c->resend_us = now_us + FIRST_RTO_US;
  c->request_len = write_request (p, c, t);
  if (c->request_len > 0)
    p->ops.send (p->user, &c->relay, c->request, c->request_len);
  return t;
}

/* A Binding that is not repeated: the next probe is its repetition. */
static void
probe (NatProber *p, Candidate *c, gint64 now_us)
{
  begin (p, c, now_us);
  c->resend_us = G_MAXINT64;
}

static void
resend (NatProber *p, Candidate *c, gint64 now_us)
{
  if (c->sends >= TRANSMISSIONS) {
    c->resend_us = G_MAXINT64;
    /* A challenge goes on until its limit; a keepalive is the business of suspect_us. */
    if (p->phase == NAT_PROBER_CHALLENGING)
      c->begin_us = now_us;
    return;
  }
  c->current->repeated = TRUE;
  c->resend_us = now_us + (FIRST_RTO_US << c->sends);
  c->sends++;
  if (c->request_len > 0)
    p->ops.send (p->user, &c->relay, c->request, c->request_len);
}

/* ---- Phases ------------------------------------------------------------ */

static gint64
fast_suspicion (const NatProber *p)
{
  return MAX (SHORTEST_SUSPECT_US, 3 * (gint64)p->srtt_us);
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
    quiet (&p->candidates[i]);
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
  quiet (p->selected);
}

void
nat_prober_set_credentials (NatProber *p, gint64 now_us, const char *username, const char *realm,
    const char *password, guint keepalive_ms)
{
  p->interval_us = MS (keepalive_ms);
  if (g_strcmp0 (username, p->username) == 0 && strcmp (realm, p->realm) == 0 &&
      p->phase != NAT_PROBER_IDLE)
    return;
  g_free (p->username);
  p->username = g_strdup (username);
  g_strlcpy (p->realm, realm, sizeof p->realm);
  nat_stun_key (username, strlen (username), realm, password, p->key);
  /* What is under way was signed with the old key, and its answer would not fit the new one. */
  if (p->phase == NAT_PROBER_REGISTERED && p->suspect_us != G_MAXINT64)
    begin (p, p->selected, now_us);
}

void
nat_prober_start (
    NatProber *p, gint64 now_us, const NatAddress *candidates, guint n, guint timeout_ms)
{
  p->n_candidates = MIN (n, NAT_CANDIDATES_MAX);
  p->phase = NAT_PROBER_CHALLENGING;
  p->selected = p->lead = NULL;
  p->challenge_end_us = now_us + MS (timeout_ms);
  p->keepalive_us = p->suspect_us = G_MAXINT64;
  p->hint_us = 0;
  p->hint_waits = FALSE;
  p->burst_end_us = 0;
  p->srtt_us = 0;
  for (guint i = 0; i < p->n_candidates; i++) {
    Candidate *c = &p->candidates[i];

    c->relay = candidates[i];
    forget_nonce (c);
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
  for (guint i = 0; i < p->n_candidates; i++)
    forget_nonce (&p->candidates[i]);
  if (p->phase == NAT_PROBER_CHALLENGING) {
    p->lead = NULL;
    for (guint i = 0; i < p->n_candidates; i++)
      p->candidates[i].begin_us = now_us + i * STAGGER_US;
  } else if (p->phase == NAT_PROBER_REGISTERED) {
    p->suspect_us = G_MAXINT64;
    check (p, now_us, fast_suspicion (p));
  } else if (p->phase != NAT_PROBER_IDLE) {
    p->probe_us = now_us;
  }
}

/* ---- Answers ----------------------------------------------------------- */

static Candidate *
find_candidate (NatProber *p, const NatAddress *from)
{
  for (guint i = 0; i < p->n_candidates; i++)
    if (nat_address_equal (&p->candidates[i].relay, from))
      return &p->candidates[i];
  return NULL;
}

static Transaction *
find_transaction (Candidate *c, const guint8 *id)
{
  for (guint i = 0; i < TRANSACTIONS; i++)
    if (c->ring[i].sent_us != 0 && memcmp (c->ring[i].id, id, sizeof c->ring[i].id) == 0)
      return &c->ring[i];
  return NULL;
}

static void
measure (NatProber *p, const Transaction *t, gint64 now_us)
{
  gint64 rtt = now_us - t->sent_us;

  if (t->repeated || rtt < 0 || rtt > MS (10000))
    return;
  rtt = MAX (rtt, 1);
  p->srtt_us = p->srtt_us == 0 ? (guint)rtt : (guint)((7 * (gint64)p->srtt_us + rtt) / 8);
}

/* A NAT that forgot us between two keepalives is asked to remember less. */
static void
note_mapped (NatProber *p, const NatAddress *mapped, NatProberReport *report)
{
  gint64 interval;

  report->moved = p->mapped_of_socket && !nat_address_equal (mapped, &p->mapped);
  if (report->moved && p->phase == NAT_PROBER_REGISTERED) {
    interval = p->shortened_us != 0 ? p->shortened_us : p->interval_us;
    p->shortened_us = MAX (SHORTEST_KEEPALIVE_US, interval / 2);
  }
  p->mapped = *mapped;
  p->mapped_of_socket = TRUE;
}

static gboolean
read_success (NatProber *p, const NatStunMessage *msg, NatAddress *mapped, NatProberReport *report)
{
  if (!nat_stun_verify (msg, p->key, sizeof p->key))
    return FALSE;
  if (msg->boot_id.len != NAT_BOOT_ID_SIZE || !nat_stun_mapped_address (msg, mapped) ||
      !nat_stun_slice_u32 (&msg->version, &report->version))
    return FALSE;
  memcpy (report->boot_id, msg->boot_id.data, NAT_BOOT_ID_SIZE);
  return TRUE;
}

static void
select_candidate (NatProber *p, Candidate *c)
{
  for (guint i = 0; i < p->n_candidates; i++)
    if (&p->candidates[i] != c)
      quiet (&p->candidates[i]);
  p->selected = c;
  p->lead = NULL;
  quiet (c);
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

static NatProberVerdict
on_success (NatProber *p, gint64 now_us, Candidate *c, Transaction *t, const NatStunMessage *msg)
{
  NatProberReport report = {.relay = c->relay};
  gboolean was_registered = p->phase == NAT_PROBER_REGISTERED;

  if (!t->authenticated || !read_success (p, msg, &report.mapped, &report))
    return NAT_PROBER_REFUSED;
  measure (p, t, now_us);
  t->done = TRUE;
  note_mapped (p, &report.mapped, &report);
  if (!was_registered) {
    p->keepalive_us = G_MAXINT64;
    nat_flow_reset (&p->flow);
  }
  p->phase = NAT_PROBER_REGISTERED;
  p->success_us = now_us;
  nat_flow_answered (&p->flow, now_us);
  select_candidate (p, c);
  plan_keepalive (p, now_us);
  p->ops.event (p->user, was_registered ? NAT_PROBER_UPDATED : NAT_PROBER_ACCEPTED, &report);
  return NAT_PROBER_TAKEN;
}

static NatProberVerdict
on_forbidden (NatProber *p, const Candidate *c, const Transaction *t, const NatStunMessage *msg)
{
  NatProberReport report = {.relay = c->relay};
  guint32 reason = NAT_REASON_NONE;

  if (!t->authenticated || !nat_stun_verify (msg, p->key, sizeof p->key))
    return NAT_PROBER_REFUSED;
  nat_stun_slice_u32 (&msg->reason, &reason);
  report.reason = (NatReason)reason;
  if (msg->boot_id.len == NAT_BOOT_ID_SIZE)
    memcpy (report.boot_id, msg->boot_id.data, NAT_BOOT_ID_SIZE);
  enter_idle (p);
  p->ops.event (p->user, NAT_PROBER_FORBIDDEN, &report);
  return NAT_PROBER_TAKEN;
}

static gboolean
store_challenge (NatProber *p, Candidate *c, const NatStunMessage *msg)
{
  NatStunAuthChallenge challenge;

  if (!nat_stunauth_challenge (msg, &challenge) ||
      !nat_stun_slice_equal (&challenge.realm, p->realm))
    return FALSE;
  if (challenge.nonce.len > NONCE_MAX || challenge.password_algorithms.len > NONCE_MAX)
    return FALSE;
  memcpy (c->nonce, challenge.nonce.data, challenge.nonce.len);
  c->nonce_len = challenge.nonce.len;
  memcpy (c->algorithms, challenge.password_algorithms.data, challenge.password_algorithms.len);
  c->algorithms_len = challenge.password_algorithms.len;
  c->nonce_serial = ++p->nonce_serials;
  return TRUE;
}

/* Whoever is challenged first gets a head start: two selections at once would race. */
static void
answer_challenge (NatProber *p, Candidate *c, gint64 now_us)
{
  if (p->phase == NAT_PROBER_CHALLENGING) {
    if (p->lead == NULL)
      p->lead = c;
    if (p->lead != c) {
      quiet (c);
      c->begin_us = now_us + LEAD_US;
      return;
    }
  }
  if (++c->answers > ANSWERS_AT_ONCE) {
    /* The relay challenges whatever we say: the timers' pace is enough for that. */
    quiet (c);
    if (p->phase == NAT_PROBER_CHALLENGING)
      c->begin_us = now_us + MS (1000);
    return;
  }
  begin (p, c, now_us)->answer = TRUE;
}

static NatProberVerdict
on_challenge (NatProber *p, gint64 now_us, Candidate *c, Transaction *t, guint code,
    const NatStunMessage *msg)
{
  /* Late: this request went out before the nonce that we have now. */
  if (t->nonce_serial != c->nonce_serial) {
    t->done = TRUE;
    return NAT_PROBER_TAKEN;
  }
  if (!store_challenge (p, c, msg))
    return NAT_PROBER_REFUSED;
  t->done = TRUE;
  if (code == 401 && t->answer && ++c->refusals >= REFUSALS_MAX) {
    enter_idle (p);
    p->ops.event (p->user, NAT_PROBER_DISOWNED, NULL);
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
  Candidate *c = find_candidate (p, from);
  Transaction *t;
  guint code;

  if (c == NULL || p->phase == NAT_PROBER_IDLE || nat_stun_parse (&msg, data, len) != NAT_STUN_OK)
    return NAT_PROBER_REFUSED;
  if (!msg.has_fingerprint)
    return NAT_PROBER_REFUSED;
  if (msg.type == NAT_STUN_BINDING_INDICATION)
    return on_indication (p, now_us, &msg);
  t = find_transaction (c, msg.transaction_id);
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
  case NAT_PROBER_PROBING: return MIN (d, MIN (p->probe_us, p->success_us + NAT_CONSENT_US));
  case NAT_PROBER_SEEKING: return MIN (d, p->probe_us);
  }
  return d;
}

/* The other candidates are asked now and then: the network that answers may be another one now. */
static void
send_probes (NatProber *p, gint64 now_us)
{
  gboolean all = ++p->probes % 4 == 0 || p->phase == NAT_PROBER_SEEKING;

  for (guint i = 0; i < p->n_candidates; i++) {
    Candidate *c = &p->candidates[i];

    if (c == p->selected || all) {
      c->answers = 0;
      probe (p, c, now_us);
    }
  }
  if (p->phase == NAT_PROBER_SEEKING)
    p->probe_step_us = MIN (2 * p->probe_step_us, NAT_SEEK_US);
  p->probe_us = now_us + p->probe_step_us;
}

static void
tick_probing (NatProber *p, gint64 now_us)
{
  gboolean stuck = FALSE;

  if (now_us >= p->success_us + NAT_CONSENT_US) {
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
    check (p, now_us, burst ? fast_suspicion (p) : KEEPALIVE_SUSPECT_US);
    p->keepalive_us = now_us + (burst ? NAT_PROBE_US : jittered_interval (p));
  }
}

static void
tick_candidates (NatProber *p, gint64 now_us)
{
  for (guint i = 0; i < p->n_candidates; i++) {
    Candidate *c = &p->candidates[i];

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

guint
nat_prober_rtt_us (const NatProber *p)
{
  return p->srtt_us;
}

gboolean
nat_prober_is_candidate (const NatProber *p, const NatAddress *address)
{
  return p->phase != NAT_PROBER_IDLE && find_candidate ((NatProber *)p, address) != NULL;
}
