/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/session-private.h"

#include <string.h>

#include "natclient/cause.h"
#include "natproto/crypto.h"

#define UNSURE_US     (60 * G_USEC_PER_SEC) /* how long a POST without an answer may have effects */
#define RETRY_PACE_US G_USEC_PER_SEC        /* where signs may be of a way, or of a container */
#define STABLE_US     (5 * G_USEC_PER_SEC)  /* connected for so long: the backoff begins anew */

/* ---- Causes ------------------------------------------------------------ */

static NatCause *
cause_of_silence (NatSession *s)
{
  if (nat_prober_was_told (s->prober))
    return nat_cause_new (NAT_CAUSE_GOING_AWAY,
        "The relay %s said that it stops; it is asked again until it, or another of that name, "
        "answers. If it was not to stop, look at its log.",
        s->config.host);
  return nat_cause_new (NAT_CAUSE_SILENCE,
      "The relay %s does not answer any more; it is asked again until it does. Check the network "
      "connection, and that natrelay-server runs.",
      s->config.host);
}

static NatCause *
cause_of_reason (NatSession *s, NatReason reason)
{
  NatCause *cause;

  switch (reason) {
  case NAT_REASON_SUPERSEDED:
    cause = nat_cause_new (NAT_CAUSE_SUPERSEDED,
        "Another publisher has taken the stream \"%s\" over. Stop one of the two, or give each a "
        "stream name of its own.",
        s->config.stream);
    break;
  case NAT_REASON_REVOKED:
    cause = nat_cause_new (NAT_CAUSE_NOT_AUTHORIZED,
        "The relay %s has withdrawn the permission for the stream \"%s\": set another auth-token.",
        s->config.host, s->config.stream);
    break;
  case NAT_REASON_EXPIRED:
    cause = nat_cause_new (NAT_CAUSE_NOT_FOUND,
        "The session with the relay %s has run out; a new one is negotiated.", s->config.host);
    break;
  default:
    cause = nat_cause_new (NAT_CAUSE_ENDED, "The relay %s has ended the stream \"%s\".",
        s->config.host, s->config.stream);
    break;
  }
  nat_cause_set_detail (cause, "Binding refused with 403, reason %d", (int)reason);
  cause->final = reason != NAT_REASON_EXPIRED;
  return cause;
}

void
nat_session_note_cause (NatSession *s, const NatCause *cause)
{
  g_mutex_lock (&s->lock);
  nat_cause_free (s->stats.last_cause);
  s->stats.last_cause = nat_cause_copy (cause);
  g_mutex_unlock (&s->lock);
}

/* ---- Mapping ----------------------------------------------------------- */

void
nat_session_plan_probe (NatSession *s)
{
  gint64 deadline;

  if (nat_prober_wants_sent (s->prober))
    nat_sender_tell_next (&s->sender);
  deadline = nat_prober_deadline (s->prober);
  g_source_set_ready_time (s->probe_timer, deadline == G_MAXINT64 ? -1 : MAX (deadline, 0));
}

static void
on_probe_timer (NatSession *s)
{
  nat_session_net_check_sleep (s);
  nat_prober_sent (s->prober, nat_sender_last_us (&s->sender));
  nat_prober_tick (s->prober, g_get_monotonic_time ());
  nat_session_plan_probe (s);
}

static void
forget_mapping (NatSession *s)
{
  nat_sender_set_path (&s->sender, NULL, NULL);
  memset (&s->relay, 0, sizeof s->relay);
}

static void
forget (NatSession *s)
{
  forget_mapping (s);
  nat_prober_stop (s->prober);
  nat_session_path_close (s);
  nat_sender_set_srtcp (&s->sender, NULL);
  g_clear_pointer (&s->srtcp, nat_srtcp_free);
  nat_epoch_leave (&s->epoch);
  nat_session_sync_cancel (s);
  nat_session_document_clear (&s->document);
  s->have_document = FALSE;
  nat_session_timer_set (s->renew_timer, -1);
  nat_session_plan_probe (s);
}

/* Both contexts stay while relay, session and we are the same: an index is never used twice. */
static void
renew_srtcp (NatSession *s, const guint8 boot_id[NAT_BOOT_ID_SIZE])
{
  const char *password = s->document.password;
  NatEpochStep step = nat_epoch_enter (&s->epoch, password, boot_id);

  if (step == NAT_EPOCH_SAME)
    return;
  g_clear_pointer (&s->srtcp, nat_srtcp_free);
  s->srtcp = nat_srtcp_new (password, NAT_SRTCP_RELAY_TO_CLIENT, boot_id, s->epoch.bytes);
  nat_sender_set_srtcp (
      &s->sender, nat_srtcp_new (password, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, s->epoch.bytes));
  if (step == NAT_EPOCH_CHANGED)
    nat_prober_hint (s->prober, g_get_monotonic_time ());
}

static void
note_mapping (NatSession *s, const NatProberReport *report)
{
  NatAddress local;
  gboolean changed;

  nat_session_path_local (s, &report->relay, &local);
  g_mutex_lock (&s->lock);
  changed = !nat_address_equal (&s->stats.mapped, &report->mapped) ||
            !nat_address_equal (&s->stats.relay, &report->relay) ||
            !nat_address_equal (&s->stats.local, &local);
  s->stats.mapped = report->mapped;
  s->stats.relay = report->relay;
  s->stats.local = local;
  s->stats.rtt_us = nat_prober_rtt_us (s->prober);
  if (report->moved)
    s->stats.rebinds++;
  g_mutex_unlock (&s->lock);
  if (changed)
    NAT_SESSION_CALL (s, mapped, &local, &report->mapped, &report->relay);
}

/* Everything that an authenticated answer tells, before and after the table hears of it. */
static void
take_report (NatSession *s, const NatProberReport *report, gboolean accepted)
{
  renew_srtcp (s, report->boot_id);
  if (!nat_address_equal (&s->relay, &report->relay))
    nat_session_size_reset (s);
  if (accepted || !nat_address_equal (&s->relay, &report->relay))
    nat_session_path_use (s, &report->relay);
  s->relay = report->relay;
  nat_session_net_note (s);
  nat_session_path_registered (s, &report->relay);
  note_mapping (s, report);
  nat_session_size_seen (s, report->size);
  if (accepted)
    nat_session_feed (s, NAT_FSM_REGISTERED, NULL);
  nat_session_sync_seen (s, report->boot_id, report->version);
}

/* ---- What the prober finds --------------------------------------------- */

/* Once more, after what happened just now? */
static gboolean
may_retry (NatSession *s)
{
  gint retries = s->config.retries;

  return s->config.auto_reconnect && (retries < 0 || s->attempt < (guint)retries);
}

static void
on_lost (NatSession *s)
{
  NatCause *cause = cause_of_silence (s);

  forget_mapping (s);
  if (!may_retry (s)) {
    nat_session_fail (s, cause);
    return;
  }
  cause->attempt = ++s->attempt;
  nat_session_feed (s, NAT_FSM_LOST, cause);
}

/* The backoff begins anew after a connection that held, however that ended: once for each. */
static void
note_stability (NatSession *s)
{
  if (s->was_connected && g_get_monotonic_time () - s->connected_us >= STABLE_US)
    nat_backoff_reset (&s->backoff);
  s->was_connected = FALSE;
}

void
nat_session_lost (NatSession *s, NatCause *cause)
{
  gboolean fresh = g_get_monotonic_time () - s->connected_us < STABLE_US;

  if (!fresh)
    note_stability (s);
  switch (s->state) {
  case NAT_SESSION_CONNECTED:
  case NAT_SESSION_SUSPECT:
    /* A session that is lost again and again is no reason to negotiate in a loop. */
    if (s->config.auto_reconnect && !fresh)
      nat_session_feed (s, NAT_FSM_SESSION_LOST, cause);
    else
      nat_session_fail (s, cause);
    break;
  case NAT_SESSION_CHALLENGING: nat_session_fail (s, cause); break;
  case NAT_SESSION_WAITING:
    nat_session_feed (s, NAT_FSM_SESSION_LOST, cause);
    nat_session_retry_now (s); /* there is a relay again */
    break;
  default: nat_session_feed (s, NAT_FSM_SESSION_LOST, cause); break;
  }
}

static void
on_forbidden (NatSession *s, NatReason reason)
{
  NatCause *cause = cause_of_reason (s, reason);

  if (reason == NAT_REASON_SUPERSEDED && g_get_monotonic_time () < s->unsure_until_us)
    cause->final = FALSE; /* by ourselves, as far as we know */
  if (!cause->final) {
    nat_session_lost (s, cause);
  } else if (s->open != NULL) {
    /* It may be our own negotiation that ended the old session. Its answer will tell. */
    nat_cause_free (s->usurper);
    s->usurper = cause;
    nat_session_feed (s, NAT_FSM_SESSION_LOST, NULL);
  } else {
    nat_session_fail (s, cause);
  }
}

static void
on_disowned (NatSession *s)
{
  nat_session_lost (s, nat_cause_new (NAT_CAUSE_NOT_FOUND,
                           "The relay %s does not know this session any more; a new one is "
                           "negotiated.",
                           s->config.host));
}

static void
on_prober_event (gpointer user, NatProberEvent event, const NatProberReport *report)
{
  NatSession *s = user;

  switch (event) {
  case NAT_PROBER_ACCEPTED: take_report (s, report, TRUE); break;
  case NAT_PROBER_UPDATED: take_report (s, report, FALSE); break;
  case NAT_PROBER_SILENT:
    nat_session_path_silent (s);
    nat_session_feed (s, NAT_FSM_SILENT, cause_of_silence (s));
    break;
  case NAT_PROBER_STUCK:
    nat_session_net_look_anew (s);
    if (s->config.bind_port == 0)
      nat_session_path_change_socket (s);
    break;
  case NAT_PROBER_LOST: on_lost (s); break;
  case NAT_PROBER_NO_ANSWER: nat_session_fail (s, nat_session_path_cause (s)); break;
  case NAT_PROBER_DISOWNED: on_disowned (s); break;
  case NAT_PROBER_FORBIDDEN: on_forbidden (s, report->reason); break;
  }
}

static void
on_prober_send (gpointer user, const NatAddress *relay, const guint8 *data, gsize len)
{
  NatSession *s = user;

  /* Not here and now: the prober is at work. */
  if (!nat_session_path_send (s, relay, data, len))
    nat_session_wish (s, NAT_WISH_TROUBLE);
}

static void
on_prober_random (gpointer user, gpointer out, gsize len)
{
  nat_crypto_random (out, len);
}

/* ---- Negotiation ------------------------------------------------------- */

static void
challenge (NatSession *s)
{
  NatAddress candidates[NAT_CANDIDATES_MAX];
  const NatSessionDocument *d = &s->document;
  gint64 now_us = g_get_monotonic_time ();
  NatCause *cause;
  guint n;

  forget_mapping (s);
  nat_prober_stop (s->prober);
  cause = nat_session_path_open (s);
  if (cause != NULL) {
    nat_session_fail (s, cause);
    return;
  }
  n = nat_session_path_candidates (s, candidates);
  nat_prober_set_credentials (
      s->prober, now_us, d->username, d->realm, d->password, d->keepalive_ms);
  nat_session_path_begin_race (s);
  nat_prober_socket_changed (s->prober, now_us);
  nat_prober_start (s->prober, now_us, candidates, n, s->config.timeout_ms);
  nat_session_plan_probe (s);
}

static void
on_open_reply (NatReply *reply, gpointer user)
{
  NatSession *s = user;
  NatCause *cause = g_steal_pointer (&reply->cause);

  s->open = NULL;
  nat_session_sync_clock (s, reply->date_s);
  if (cause != NULL) {
    s->retry_after_ms = reply->retry_after_ms;
    if (cause->kind == NAT_CAUSE_SSRC_IN_USE)
      NAT_SESSION_CALL (s, ssrc_in_use, cause);
    if (cause->http_status == 0)
      s->unsure_until_us = g_get_monotonic_time () + UNSURE_US;
    /* A token that was set meanwhile deserves its try. */
    if (cause->kind == NAT_CAUSE_NOT_AUTHORIZED) {
      g_mutex_lock (&s->lock);
      if (s->token_serial != s->open_token_serial)
        cause->final = FALSE;
      g_mutex_unlock (&s->lock);
    }
    nat_session_fail (s, cause);
    return;
  }
  g_clear_pointer (&s->usurper, nat_cause_free);
  s->answered_us = g_get_monotonic_time ();
  s->reached = reply->remote;
  nat_session_sync_cancel (s);
  nat_session_document_clear (&s->document);
  s->document = *reply->document;
  memset (reply->document, 0, sizeof *reply->document);
  s->have_document = TRUE;
  nat_session_net_note (s);
  g_mutex_lock (&s->lock);
  s->stats.via_proxy = reply->via_proxy;
  if (s->description_serial != s->open_description_serial)
    s->wants |= NAT_WANT_DESCRIBE;
  if (s->token_serial != s->open_token_serial)
    s->wants |= NAT_WANT_RENEW; /* the session has the one that it was asked for with */
  g_mutex_unlock (&s->lock);
  if (s->config.role == NAT_ROLE_PUBLISHER)
    NAT_SESSION_CALL (s, described, s->open_description_serial);
  nat_session_feed (s, NAT_FSM_DOCUMENT, NULL);
}

static gboolean
on_accept (GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user)
{
  NatSession *s = user;
  gboolean accepted = FALSE;

  g_rec_mutex_lock (&s->calling);
  if (!s->stopped && s->callbacks.accept_certificate != NULL)
    accepted = s->callbacks.accept_certificate (s, certificate, errors, s->user);
  g_rec_mutex_unlock (&s->calling);
  return accepted;
}

/* POST, or nothing yet: a publisher without a description waits for one in this state. */
void
nat_session_negotiate (NatSession *s)
{
  NatDescription offer = {0};
  NatCause *cause = NULL;
  char *token;

  if (s->open != NULL)
    return;
  g_mutex_lock (&s->lock);
  offer = s->description;
  offer.sdp = g_strdup (s->description.sdp);
  s->open_description_serial = s->description_serial;
  g_mutex_unlock (&s->lock);
  if (s->config.role == NAT_ROLE_PUBLISHER && offer.sdp == NULL)
    return;
  if (s->negotiator == NULL)
    s->negotiator = nat_negotiator_new (&s->config, on_accept, s, &cause);
  if (cause != NULL) {
    nat_description_clear (&offer);
    nat_session_fail (s, cause);
    return;
  }
  if (!nat_session_net_is_ready (s)) {
    nat_description_clear (&offer);
    return;
  }
  nat_session_net_resolve (s);
  token = nat_session_dup_token (s, &s->open_token_serial);
  g_mutex_lock (&s->lock);
  s->stats.attempts++;
  g_mutex_unlock (&s->lock);
  s->asked_us = g_get_monotonic_time ();
  s->open = nat_negotiator_send (s->negotiator, NAT_REQUEST_OPEN, NULL,
      s->config.role == NAT_ROLE_PUBLISHER ? &offer : NULL, token, s->config.timeout_ms,
      on_open_reply, s);
  nat_crypto_wipe_free (token);
  nat_description_clear (&offer);
}

/* ---- The table at work ------------------------------------------------- */

static void
arm_retry (NatSession *s, NatCause *cause)
{
  guint wait;

  note_stability (s);
  wait = nat_backoff_next (&s->backoff, nat_session_random ());
  wait = MAX (wait, s->retry_after_ms);
  s->retry_after_ms = 0;
  s->failed_us = g_get_monotonic_time ();
  s->retry_us = s->failed_us + (gint64)wait * 1000;
  if (cause != NULL)
    cause->retry_ms = wait;
  nat_session_timer_set (s->retry_timer, wait);
}

static void
settle (NatSession *s)
{
  s->attempt = 0;
  s->was_connected = TRUE;
  s->connected_us = g_get_monotonic_time ();
  g_mutex_lock (&s->lock);
  if (s->ever_connected)
    s->stats.reconnects++;
  g_mutex_unlock (&s->lock);
  s->ever_connected = TRUE;
}

/* A relay that does not answer holds nobody up for long. */
static void
goodbye (NatSession *s)
{
  guint serial;
  char *token;

  s->leaving = TRUE;
  s->goodbye_ms = s->state == NAT_SESSION_CONNECTED ? NAT_GOODBYE_MS : NAT_GOODBYE_MS / 4;
  if (!s->have_document || s->negotiator == NULL)
    return;
  token = nat_session_dup_token (s, &serial);
  nat_negotiator_send (s->negotiator, s->ended ? NAT_REQUEST_END : NAT_REQUEST_CLOSE,
      s->document.session, NULL, token, s->goodbye_ms, NULL, NULL);
  nat_crypto_wipe_free (token);
}

static void
cancel_https (NatSession *s)
{
  if (s->open != NULL) {
    nat_request_cancel (s->open);
    s->unsure_until_us = g_get_monotonic_time () + UNSURE_US;
  }
  s->open = NULL;
  g_clear_pointer (&s->usurper, nat_cause_free);
}

/* What ends something, before others hear of the new state. The goodbye needs the document. */
static void
act_before (NatSession *s, guint actions, NatCause *cause)
{
  if (actions & NAT_DO_CANCEL_RETRY)
    nat_session_timer_set (s->retry_timer, -1);
  if (actions & NAT_DO_CANCEL_HTTPS)
    cancel_https (s);
  if (actions & NAT_DO_GOODBYE)
    goodbye (s);
  if (actions & NAT_DO_FORGET)
    forget (s);
  if (actions & NAT_DO_ARM_RETRY)
    arm_retry (s, cause);
  if (actions & NAT_DO_SETTLE)
    settle (s);
}

static void
act_after (NatSession *s, guint actions)
{
  if (actions & NAT_DO_NEGOTIATE)
    nat_session_negotiate (s);
  if (actions & NAT_DO_CHALLENGE)
    challenge (s);
  if (actions & NAT_DO_SETTLE)
    nat_session_sync_run (s);
}

static void
enter (NatSession *s, NatSessionState state, const NatCause *cause)
{
  gboolean changed = s->state != state;

  s->state = state;
  g_rec_mutex_lock (&s->calling);
  g_mutex_lock (&s->lock);
  if (!s->stopped)
    s->stats.state = state;
  g_mutex_unlock (&s->lock);
  g_rec_mutex_unlock (&s->calling);
  if (changed)
    NAT_SESSION_CALL (s, state, state, cause);
}

void
nat_session_feed (NatSession *s, NatFsmEvent event, NatCause *cause)
{
  NatSessionState next;
  guint actions;

  if (!nat_fsm_step (s->state, event, &next, &actions)) {
    nat_cause_free (cause);
    return;
  }
  act_before (s, actions, cause);
  if (cause != NULL) {
    s->failure = cause->kind;
    nat_session_note_cause (s, cause);
  }
  enter (s, next, cause);
  nat_cause_free (cause);
  act_after (s, actions);
  if (event == NAT_FSM_DOCUMENT)
    nat_session_sync_take_document (s, NULL);
}

/* The relay was there. Who stands in its place now, as a login page or a proxy that wants its password again, may go. */
void
nat_session_may_pass (const NatSession *s, NatCause *cause)
{
  if (s->ever_connected && (cause->kind == NAT_CAUSE_TLS || cause->kind == NAT_CAUSE_PROXY))
    cause->final = FALSE;
}

void
nat_session_fail (NatSession *s, NatCause *cause)
{
  nat_session_may_pass (s, cause);
  if (s->usurper != NULL) {
    nat_cause_free (cause);
    cause = g_steal_pointer (&s->usurper);
  }
  if (!may_retry (s))
    cause->final = TRUE;
  cause->attempt = ++s->attempt;
  nat_session_feed (s, cause->final ? NAT_FSM_REFUSED : NAT_FSM_FAILED, cause);
}

void
nat_session_renegotiate (NatSession *s)
{
  gboolean asking;

  if (s->state != NAT_SESSION_NEGOTIATING)
    return;
  asking = nat_session_net_stop_asking (s);
  if (s->open == NULL && !asking)
    return;
  cancel_https (s);
  nat_session_negotiate (s);
}

void
nat_session_retry_now (NatSession *s)
{
  if (s->state != NAT_SESSION_WAITING)
    return;
  nat_backoff_reset (&s->backoff);
  nat_session_timer_set (s->retry_timer, 0);
}

void
nat_session_retry_soon (NatSession *s)
{
  gint64 due = MIN (s->retry_us, s->failed_us + RETRY_PACE_US);

  if (s->state == NAT_SESSION_WAITING)
    nat_session_timer_set (s->retry_timer, MAX (due - g_get_monotonic_time (), 0) / 1000);
}

static void
on_retry_timer (NatSession *s)
{
  nat_session_feed (s, NAT_FSM_RETRY, NULL);
}

/* ---- Wishes of other threads ------------------------------------------- */

static void
on_token (NatSession *s)
{
  nat_session_sync_token (s);
  if (s->state == NAT_SESSION_FAILED) {
    s->attempt = 0;
    if (s->failure == NAT_CAUSE_NOT_AUTHORIZED)
      nat_session_feed (s, NAT_FSM_TOKEN, NULL);
  } else if (s->have_document) {
    nat_session_sync_let_in (s);
  }
}

static void
on_description (NatSession *s)
{
  if (s->config.role != NAT_ROLE_PUBLISHER)
    return;
  if (s->state == NAT_SESSION_NEGOTIATING && s->open == NULL)
    nat_session_negotiate (s);
  else if (s->have_document)
    nat_session_sync_want (s, NAT_WANT_DESCRIBE);
}

void
nat_session_on_wishes (NatSession *s, guint wishes)
{
  if (wishes & NAT_WISH_STOP) {
    nat_session_feed (s, NAT_FSM_STOP, NULL);
    s->leaving = TRUE;
    return;
  }
  if (wishes & NAT_WISH_START) {
    nat_session_sync_token (s);
    nat_session_feed (s, NAT_FSM_START, NULL);
    return; /* what was set before is in that already */
  }
  if (wishes & NAT_WISH_TOKEN)
    on_token (s);
  if (wishes & NAT_WISH_DESCRIPTION)
    on_description (s);
  if (wishes & NAT_WISH_TROUBLE) {
    nat_prober_hint (s->prober, g_get_monotonic_time ());
    nat_session_net_look (s);
  }
  if ((wishes & NAT_WISH_QUEUED) && s->websocket != NULL)
    nat_websocket_kick (s->websocket);
  if (wishes & NAT_WISH_SENT)
    nat_prober_sent (s->prober, nat_sender_last_us (&s->sender));
  nat_session_plan_probe (s);
}

/* ---- Begin and end ----------------------------------------------------- */

void
nat_session_run_begin (NatSession *s)
{
  static const NatProberOps prober_ops = {on_prober_send, on_prober_event, on_prober_random};

  s->prober = nat_prober_new (s->config.role, s->epoch.bytes, &prober_ops, s);
  nat_session_path_begin (s);
  nat_session_net_begin (s);
  nat_session_size_begin (s);
  nat_backoff_init (&s->backoff, s->config.backoff_factor, s->config.backoff_max);
  nat_backoff_init (&s->sync_backoff, s->config.backoff_factor, s->config.backoff_max);
  nat_backoff_init (&s->warn_backoff, 1.0, 60.0);
  s->warn_s = G_MAXINT64;
  s->race_timer = nat_session_timer_new (s, nat_session_path_on_race_timer);
  s->probe_timer = nat_session_timer_new (s, on_probe_timer);
  s->retry_timer = nat_session_timer_new (s, on_retry_timer);
  s->renew_timer = nat_session_timer_new (s, nat_session_on_renew_timer);
  s->expiry_timer = nat_session_timer_new (s, nat_session_on_expiry_timer);
  s->sync_timer = nat_session_timer_new (s, nat_session_sync_run);
}

void
nat_session_run_end (NatSession *s)
{
  nat_source_drop (&s->race_timer);
  nat_source_drop (&s->probe_timer);
  nat_source_drop (&s->retry_timer);
  nat_source_drop (&s->renew_timer);
  nat_source_drop (&s->expiry_timer);
  nat_source_drop (&s->sync_timer);
  g_clear_pointer (&s->prober, nat_prober_free);
  nat_session_size_end (s);
  nat_session_net_end (s);
  nat_session_path_end (s);
  g_clear_pointer (&s->srtcp, nat_srtcp_free);
  if (s->negotiator != NULL)
    nat_negotiator_cancel (s->negotiator);
}
