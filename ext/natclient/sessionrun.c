/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/session-private.h"

#include <string.h>

#include "natclient/cause.h"
#include "natproto/crypto.h"
#include "natproto/demux.h"

#define UNSURE_US (60 * G_USEC_PER_SEC) /* how long a POST without an answer may have effects */
#define STABLE_US (5 * G_USEC_PER_SEC)  /* connected for so long: the backoff begins anew */

/* ---- Causes ------------------------------------------------------------ */

static NatCause *
cause_of_silence (NatSession *s)
{
  return nat_cause_new (NAT_CAUSE_SILENCE,
      "The relay %s does not answer any more; it is asked again until it does. Check the network "
      "connection, and that natrelay-server runs.",
      s->config.host);
}

static NatCause *
cause_of_no_udp (NatSession *s)
{
  guint16 port =
      s->have_document && s->document.n_udp > 0 ? s->document.udp[0].port : s->config.port;

  return nat_cause_new (NAT_CAUSE_NO_UDP,
      "The relay %s answers by HTTPS but not by UDP: let UDP port %u through on every firewall "
      "between here and the relay, in both directions.",
      s->config.host, port);
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
  nat_udp_close (s->udp);
  nat_sender_set_srtcp (&s->sender, NULL);
  g_clear_pointer (&s->srtcp, nat_srtcp_free);
  nat_crypto_wipe (s->srtcp_password, sizeof s->srtcp_password);
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

  if (s->srtcp != NULL && memcmp (s->srtcp_boot_id, boot_id, NAT_BOOT_ID_SIZE) == 0 &&
      strcmp (s->srtcp_password, password) == 0)
    return;
  memcpy (s->srtcp_boot_id, boot_id, NAT_BOOT_ID_SIZE);
  g_strlcpy (s->srtcp_password, password, sizeof s->srtcp_password);
  g_clear_pointer (&s->srtcp, nat_srtcp_free);
  s->srtcp = nat_srtcp_new (password, NAT_SRTCP_RELAY_TO_CLIENT, boot_id, s->epoch);
  nat_sender_set_srtcp (
      &s->sender, nat_srtcp_new (password, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, s->epoch));
}

static void
note_mapping (NatSession *s, const NatProberReport *report)
{
  NatAddress local;
  gboolean changed;

  nat_udp_local (s->udp, &report->relay, &local);
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
  GSocket *socket = nat_udp_socket (s->udp, report->relay.family);

  renew_srtcp (s, report->boot_id);
  if (accepted || !nat_address_equal (&s->relay, &report->relay))
    nat_sender_set_path (&s->sender, socket, &report->relay);
  s->relay = report->relay;
  note_mapping (s, report);
  if (accepted)
    nat_session_feed (s, NAT_FSM_REGISTERED, NULL);
  nat_session_sync_seen (s, report->boot_id, report->version);
}

/* ---- What the prober finds --------------------------------------------- */

static gboolean
families_of (NatSession *s, gboolean *v4, gboolean *v6)
{
  *v4 = *v6 = FALSE;
  *v4 = s->reached.family == 4;
  *v6 = s->reached.family == 6;
  for (guint i = 0; i < s->document.n_udp; i++) {
    *v4 = *v4 || s->document.udp[i].family == 4;
    *v6 = *v6 || s->document.udp[i].family == 6;
  }
  return *v4 || *v6;
}

/* Some NATs and routers keep sending an old flow where it does not lead any more, for as long as it
 * is kept alive; a flow from another port is a new one to them. */
static void
change_socket (NatSession *s)
{
  gboolean v4, v6;
  NatCause *cause;

  if (s->config.bind_port != 0)
    return;
  nat_sender_set_path (&s->sender, NULL, NULL);
  families_of (s, &v4, &v6);
  cause = nat_udp_open (s->udp, v4, v6);
  nat_cause_free (cause); /* the probes go on, and the next change may do better */
  if (s->relay.family != 0 && nat_udp_socket (s->udp, s->relay.family) != NULL)
    nat_sender_set_path (&s->sender, nat_udp_socket (s->udp, s->relay.family), &s->relay);
  nat_prober_socket_changed (s->prober, g_get_monotonic_time ());
}

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

void
nat_session_lost (NatSession *s, NatCause *cause)
{
  gboolean fresh = g_get_monotonic_time () - s->connected_us < STABLE_US;

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
  case NAT_PROBER_SILENT: nat_session_feed (s, NAT_FSM_SILENT, cause_of_silence (s)); break;
  case NAT_PROBER_STUCK: change_socket (s); break;
  case NAT_PROBER_LOST: on_lost (s); break;
  case NAT_PROBER_NO_ANSWER: nat_session_fail (s, cause_of_no_udp (s)); break;
  case NAT_PROBER_DISOWNED: on_disowned (s); break;
  case NAT_PROBER_FORBIDDEN: on_forbidden (s, report->reason); break;
  }
}

static void
on_prober_send (gpointer user, const NatAddress *relay, const guint8 *data, gsize len)
{
  NatSession *s = user;

  nat_udp_send (s->udp, relay, data, len);
}

static void
on_prober_random (gpointer user, gpointer out, gsize len)
{
  nat_crypto_random (out, len);
}

/* ---- Datagrams --------------------------------------------------------- */

typedef struct {
  NatDatagram rtp[NAT_UDP_BATCH];
  guint n_rtp;
  guint64 bytes;
  guint n_rtcp, n_rtcp_refused, n_refused, n_packets;
} Arrivals;

static void
deliver_rtp (NatSession *s, Arrivals *a, gint64 now_us)
{
  if (a->n_rtp == 0)
    return;
  a->n_packets += a->n_rtp;
  nat_prober_heard (s->prober, now_us);
  NAT_SESSION_CALL (s, rtp, a->rtp, a->n_rtp);
  a->n_rtp = 0;
}

static void
take_rtp (NatSession *s, Arrivals *a, NatUdpDatagram *d)
{
  if (s->srtcp == NULL || s->config.role == NAT_ROLE_PUBLISHER) {
    a->n_refused++;
    return;
  }
  a->rtp[a->n_rtp].data = d->data;
  a->rtp[a->n_rtp++].len = d->len;
  a->bytes += d->len;
}

static void
take_rtcp (NatSession *s, Arrivals *a, NatUdpDatagram *d, gint64 now_us)
{
  if (s->srtcp == NULL || nat_srtcp_unprotect (s->srtcp, d->data, &d->len) != NAT_SRTCP_OK) {
    a->n_rtcp_refused++;
    return;
  }
  a->n_rtcp++;
  if (s->config.role == NAT_ROLE_PUBLISHER)
    nat_prober_heard (s->prober, now_us);
  NAT_SESSION_CALL (s, rtcp, d->data, d->len);
}

static void
take_stun (NatSession *s, Arrivals *a, const NatUdpDatagram *d, gint64 now_us)
{
  if (nat_prober_input (s->prober, now_us, &d->from, d->data, d->len) != NAT_PROBER_TAKEN)
    a->n_refused++;
}

static void
note_arrivals (NatSession *s, const Arrivals *a)
{
  g_mutex_lock (&s->lock);
  s->stats.packets_received += a->n_packets;
  s->stats.bytes_received += a->bytes;
  s->stats.rtcp_received += a->n_rtcp;
  s->stats.rtcp_refused += a->n_rtcp_refused;
  s->stats.datagrams_refused += a->n_refused;
  g_mutex_unlock (&s->lock);
}

static void
on_datagrams (gpointer user, NatUdpDatagram *batch, guint n, guint n_dropped)
{
  NatSession *s = user;
  gint64 now_us = g_get_monotonic_time ();
  Arrivals a = {.n_refused = n_dropped};

  for (guint i = 0; i < n; i++) {
    NatUdpDatagram *d = &batch[i];
    NatPacketKind kind = nat_demux (d->data, d->len);

    if (kind != NAT_PACKET_RTP)
      deliver_rtp (s, &a, now_us);
    if (!nat_prober_is_candidate (s->prober, &d->from))
      kind = NAT_PACKET_OTHER;
    switch (kind) {
    case NAT_PACKET_RTP: take_rtp (s, &a, d); break;
    case NAT_PACKET_RTCP: take_rtcp (s, &a, d, now_us); break;
    case NAT_PACKET_STUN: take_stun (s, &a, d, now_us); break;
    case NAT_PACKET_OTHER: a.n_refused++; break;
    }
  }
  deliver_rtp (s, &a, now_us);
  note_arrivals (s, &a);
  nat_session_plan_probe (s);
}

static void
on_unreachable (gpointer user)
{
  NatSession *s = user;

  nat_prober_hint (s->prober, g_get_monotonic_time ());
  nat_session_plan_probe (s);
}

/* ---- Negotiation ------------------------------------------------------- */

static void
add_candidate (NatAddress *out, guint *n, const NatAddress *a)
{
  if (a->family == 0 || nat_address_is_any (a) || *n == NAT_CANDIDATES_MAX)
    return;
  for (guint i = 0; i < *n; i++)
    if (nat_address_equal (&out[i], a))
      return;
  out[(*n)++] = *a;
}

/* First where HTTPS got through, at each port that the relay names; then what it names itself. */
static guint
candidates_of (NatSession *s, NatAddress out[NAT_CANDIDATES_MAX])
{
  guint n = 0;

  for (guint i = 0; i < s->document.n_udp; i++) {
    NatAddress a = s->reached;

    a.port = s->document.udp[i].port;
    add_candidate (out, &n, &a);
  }
  for (guint i = 0; i < s->document.n_udp; i++)
    add_candidate (out, &n, &s->document.udp[i]);
  return n;
}

static void
challenge (NatSession *s)
{
  NatAddress candidates[NAT_CANDIDATES_MAX];
  const NatSessionDocument *d = &s->document;
  gint64 now_us = g_get_monotonic_time ();
  gboolean v4, v6;
  NatCause *cause;
  guint n;

  families_of (s, &v4, &v6);
  forget_mapping (s);
  nat_prober_stop (s->prober);
  cause = nat_udp_open (s->udp, v4, v6);
  if (cause != NULL) {
    nat_session_fail (s, cause);
    return;
  }
  n = candidates_of (s, candidates);
  nat_prober_set_credentials (
      s->prober, now_us, d->username, d->realm, d->password, d->keepalive_ms);
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
  if (cause != NULL) {
    s->retry_after_ms = reply->retry_after_ms;
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
  s->reached = reply->remote;
  nat_session_sync_cancel (s);
  nat_session_document_clear (&s->document);
  s->document = *reply->document;
  memset (reply->document, 0, sizeof *reply->document);
  s->have_document = TRUE;
  g_mutex_lock (&s->lock);
  s->stats.via_proxy = reply->via_proxy;
  if (s->description_serial != s->open_description_serial)
    s->wants |= NAT_WANT_DESCRIBE;
  g_mutex_unlock (&s->lock);
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
  token = nat_session_dup_token (s, &s->open_token_serial);
  g_mutex_lock (&s->lock);
  s->stats.attempts++;
  g_mutex_unlock (&s->lock);
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

  if (s->was_connected && s->connected_us != 0 &&
      g_get_monotonic_time () - s->connected_us > STABLE_US) {
    nat_backoff_reset (&s->backoff);
    s->was_connected = FALSE;
  }
  wait = nat_backoff_next (&s->backoff, nat_session_random ());
  wait = MAX (wait, s->retry_after_ms);
  s->retry_after_ms = 0;
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

static void
goodbye (NatSession *s)
{
  guint serial;
  char *token;

  s->leaving = TRUE;
  if (!s->have_document || s->negotiator == NULL)
    return;
  token = nat_session_dup_token (s, &serial);
  nat_negotiator_send (s->negotiator, s->ended ? NAT_REQUEST_END : NAT_REQUEST_CLOSE,
      s->document.session, NULL, token, 1000, NULL, NULL);
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

void
nat_session_fail (NatSession *s, NatCause *cause)
{
  if (s->usurper != NULL) {
    nat_cause_free (cause);
    cause = g_steal_pointer (&s->usurper);
  }
  if (!may_retry (s))
    cause->final = TRUE;
  cause->attempt = ++s->attempt;
  nat_session_feed (s, cause->final ? NAT_FSM_REFUSED : NAT_FSM_FAILED, cause);
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
    nat_session_sync_want (s, NAT_WANT_RENEW);
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
  if (wishes & NAT_WISH_TROUBLE)
    nat_prober_hint (s->prober, g_get_monotonic_time ());
  if (wishes & NAT_WISH_SENT)
    nat_prober_sent (s->prober, nat_sender_last_us (&s->sender));
  nat_session_plan_probe (s);
}

/* ---- Begin and end ----------------------------------------------------- */

void
nat_session_run_begin (NatSession *s)
{
  static const NatProberOps prober_ops = {on_prober_send, on_prober_event, on_prober_random};
  static const NatUdpOps udp_ops = {on_datagrams, on_unreachable};

  s->prober = nat_prober_new (s->config.role, s->epoch, &prober_ops, s);
  s->udp = nat_udp_new (&s->config, s->context, &udp_ops, s);
  nat_backoff_init (&s->backoff, s->config.backoff_factor, s->config.backoff_max);
  nat_backoff_init (&s->sync_backoff, s->config.backoff_factor, s->config.backoff_max);
  s->probe_timer = nat_session_timer_new (s, on_probe_timer);
  s->retry_timer = nat_session_timer_new (s, on_retry_timer);
  s->renew_timer = nat_session_timer_new (s, nat_session_on_renew_timer);
  s->expiry_timer = nat_session_timer_new (s, nat_session_on_expiry_timer);
  s->sync_timer = nat_session_timer_new (s, nat_session_sync_run);
}

static void
timer_free (GSource **timer)
{
  g_source_destroy (*timer);
  g_clear_pointer (timer, g_source_unref);
}

void
nat_session_run_end (NatSession *s)
{
  timer_free (&s->probe_timer);
  timer_free (&s->retry_timer);
  timer_free (&s->renew_timer);
  timer_free (&s->expiry_timer);
  timer_free (&s->sync_timer);
  g_clear_pointer (&s->prober, nat_prober_free);
  g_clear_pointer (&s->udp, nat_udp_free);
  g_clear_pointer (&s->srtcp, nat_srtcp_free);
  if (s->negotiator != NULL)
    nat_negotiator_cancel (s->negotiator);
}
