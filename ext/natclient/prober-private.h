/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The inside of a prober, for its two files: prober.c (when which Binding is sent, and when silence means something) and
 * proberanswer.c (what a response or an indication means, RFC 8489 sections 6.3.2 to 6.3.4 and 9.2.5). Times are the
 * caller's now_us; G_MAXINT64 = never. Whoever has the prober is the only one to call. */

#include "natclient/candidate.h"
#include "natclient/flow.h"
#include "natclient/prober.h"
#include "natclient/rto.h"

G_BEGIN_DECLS

#define NAT_PROBER_GONE_US  (1000 * 1000) /* silent after GOING_AWAY for so long: LOST */
#define NAT_PROBER_STUCK_US (5000 * 1000) /* silent: another socket; LOST if refused elsewhere */

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

/* ---- prober.c ---- */

/* A Binding with the nonce that we have, or else without credentials; its transaction is the candidate's. */
NatTransaction *nat_prober_begin (NatProber *p, NatCandidate *c, gint64 now_us);
void nat_prober_enter_idle (NatProber *p);
/* REGISTERED, and the selected candidate answered: when it is asked again. */
void nat_prober_plan_keepalive (NatProber *p, gint64 now_us);
/* After that, where UDP was selected beside the stream. */
void nat_prober_plan_confirmation (NatProber *p, gint64 now_us);
/* REGISTERED: asks the selected candidate, whatever is out to it already. */
void nat_prober_check_anew (NatProber *p, gint64 now_us);
/* REGISTERED: the relay says that it stops. */
void nat_prober_going_away (NatProber *p, gint64 now_us);

G_END_DECLS
