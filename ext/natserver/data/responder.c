/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The order of checks is RFC 8489 section 9.2.4's: complete, user, integrity, nonce; only then
 * what is ours: ended, epoch, selection. Nothing is remembered before all of them held. Error
 * answers are never longer than the request, authenticated or not: a captured request that is replayed
 * from a victim's address must gain nothing. */

#include "natserver/data/responder.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/rtp.h"
#include "natproto/stun.h"
#include "natproto/stunauth.h"
#include "natserver/data/exchange.h"
#include "natserver/data/repair.h"
#include "natserver/data/rtcpagg.h"

#define ANSWER_MAX    512
#define TELL_PRICE_US 20 /* of each who was told that the document changed */

/* One request on its way through the checks. */
typedef struct {
  NatWorker *w;
  const NatUdpSource *source;
  NatPath *path; /* registered, or NULL */
  NatStunMessage msg;

  NatTicket ticket; /* only the id, unless opened */
  gboolean opened;  /* the ticket was opened; else the credentials were remembered */
  gboolean expired;
  gint64 expires_s; /* the ticket's */
  guint8 key[NAT_STUN_KEY_SIZE];
  gboolean authentic; /* key fits: answers carry integrity */
  gint64 issued_us;   /* of its nonce */
  NatDataSession *session;

  gboolean challenges; /* the answer is a 401 or 438 with a fresh nonce */
  NatStunWriter out;
  guint8 answer[ANSWER_MAX];
} Request;

/* ---- Answers ----------------------------------------------------------- */

static void
begin (Request *q, NatStunType type)
{
  nat_stun_writer_init (&q->out, q->answer, sizeof q->answer, type, q->msg.transaction_id);
}

static void
begin_error (Request *q, guint code, const char *reason)
{
  begin (q, NAT_STUN_BINDING_ERROR);
  nat_stun_writer_add_error (&q->out, code, reason);
}

static gsize
finish (Request *q)
{
  if (q->authentic) {
    nat_stun_writer_add (&q->out, NAT_ATTR_BOOT_ID, q->w->boot_id, sizeof q->w->boot_id);
    nat_stun_writer_add_integrity (&q->out, q->key, sizeof q->key);
  }
  return nat_stun_writer_finish (&q->out);
}

static void
send_answer (Request *q, gsize len)
{
  NatUdpDest dest;

  nat_udpio_dest_init (q->w->io, &dest, q->source);
  nat_udpio_send_one (q->w->io, &dest, q->answer, len);
}

/* Ends with what begin_error began. */
static void
refuse (Request *q)
{
  gsize len = finish (q);

  if (len == 0 || len > q->msg.len) {
    nat_counter_add (&q->w->counters->drop_short, 1);
    return;
  }
  if (!q->authentic && !nat_strangers_take (&q->w->answers, &q->source->key.remote, q->w->now_us))
    return;
  if (q->challenges)
    nat_counter_add (&q->w->counters->stun_challenges, 1);
  send_answer (q, len);
}

static void
refuse_with_challenge (Request *q)
{
  NatWorker *w = q->w;
  char nonce[NAT_NONCE_LEN + 1];
  gint64 time_us = w->mesh ? nat_mesh_nonce_time (w->mesh, w->now_us) : w->now_us;

  nat_challenge_issue (w->challenge, time_us, &q->source->key.remote, &q->source->key.local, nonce);
  nat_stunauth_add_challenge (&q->out, nonce);
  q->challenges = TRUE;
  refuse (q);
}

static void
refuse_unauthenticated (Request *q)
{
  begin_error (q, 401, "Unauthenticated");
  refuse_with_challenge (q);
}

static void
refuse_stale (Request *q)
{
  begin_error (q, 438, "Stale Nonce");
  refuse_with_challenge (q);
}

static void
refuse_bad (Request *q)
{
  begin_error (q, 400, "Bad Request");
  refuse (q);
}

static void
refuse_forbidden (Request *q, NatReason reason)
{
  begin_error (q, 403, "Forbidden");
  nat_stun_writer_add_u32 (&q->out, NAT_ATTR_REASON, reason);
  refuse (q);
}

static void
refuse_unknown (Request *q)
{
  guint n = MIN (q->msg.n_unknown_required, G_N_ELEMENTS (q->msg.unknown_required));
  guint8 list[2 * G_N_ELEMENTS (q->msg.unknown_required)];

  for (guint i = 0; i < n; i++) {
    list[2 * i] = (guint8)(q->msg.unknown_required[i] >> 8);
    list[2 * i + 1] = (guint8)q->msg.unknown_required[i];
  }
  begin_error (q, 420, "Unknown Attribute");
  nat_stun_writer_add (&q->out, NAT_ATTR_UNKNOWN_ATTRIBUTES, list, 2 * n);
  refuse (q);
}

static void
succeed (Request *q)
{
  begin (q, NAT_STUN_BINDING_SUCCESS);
  nat_stun_writer_add_mapped_address (&q->out, &q->source->key.remote);
  nat_stun_writer_add_u32 (&q->out, NAT_ATTR_VERSION, q->session->stream->version);
  nat_counter_add (&q->w->counters->stun_success, 1);
  send_answer (q, finish (q));
}

/* ---- Who is it? -------------------------------------------------------- */

static gint64
unix_now (void)
{
  return g_get_real_time () / G_USEC_PER_SEC;
}

/* The usual case: a keepalive from an address that is registered, with the username of last time. */
static gboolean
recall (Request *q)
{
  NatDataSession *s = q->path ? q->path->session : NULL;

  if (!s || !nat_roster_remembers (s, &q->msg.username))
    return FALSE;
  memcpy (q->ticket.session_id, s->id, sizeof s->id);
  memcpy (q->key, s->key, sizeof q->key);
  q->expires_s = s->username_expires_s;
  q->expired = unix_now () >= s->username_expires_s;
  return TRUE;
}

static gboolean
open_ticket (Request *q)
{
  const NatStunSlice *name = &q->msg.username;
  char password[NAT_PASSWORD_TEXT + 1];
  NatTicketStatus status =
      nat_ticket_open (q->w->secrets, (const char *)name->data, name->len, unix_now (), &q->ticket);

  if (status == NAT_TICKET_FOREIGN ||
      !nat_ticket_password (
          q->w->secrets, q->ticket.password_secret, q->ticket.session_id, password))
    return FALSE;
  nat_stun_key ((const char *)name->data, name->len, NAT_REALM, password, q->key);
  nat_crypto_wipe (password, sizeof password);
  q->opened = TRUE;
  q->expires_s = q->ticket.expires_s;
  q->expired = status == NAT_TICKET_EXPIRED;
  return TRUE;
}

static gboolean
authenticate (Request *q)
{
  q->authentic =
      (recall (q) || open_ticket (q)) && nat_stun_verify (&q->msg, q->key, sizeof q->key);
  if (!q->authentic)
    nat_counter_add (&q->w->counters->stun_forged, 1);
  return q->authentic;
}

static gboolean
nonce_is_good (Request *q)
{
  NatWorker *w = q->w;
  /* Another's clock may have been read a moment after ours. */
  gint64 now_us = w->mesh ? MAX (w->now_us, nat_mesh_last_nonce (w->mesh)) : w->now_us;

  return nat_challenge_check (w->challenge, now_us, &q->source->key.remote, &q->source->key.local,
             q->msg.nonce.data, q->msg.nonce.len, &q->issued_us) == NAT_CHALLENGE_GOOD;
}

/* ---- What does it change? ---------------------------------------------- */

/* New keys only with a nonce issued after all that the old epoch was seen with: else a replay of an
 * old request would bring back old keys with their first index. */
static gboolean
epoch_holds (const Request *q)
{
  const NatDataSession *s = q->session;

  return !s || !s->has_epoch || memcmp (s->epoch, q->msg.epoch.data, sizeof s->epoch) == 0 ||
         q->issued_us > s->nonce_us;
}

/* USE-CANDIDATE on the selected path holds; elsewhere it needs a later nonce than the selection, and what held
 * it since. */
static gboolean
selection_holds (const Request *q)
{
  const NatDataSession *s = q->session;

  return !q->msg.use_candidate || !s || (s->selected && s->selected == q->path) ||
         q->issued_us > s->selection_us;
}

/* The contexts of the old epoch go; those of the new one are made when they are needed. */
static void
adopt_epoch (Request *q)
{
  NatDataSession *s = q->session;

  if (s->has_epoch && memcmp (s->epoch, q->msg.epoch.data, sizeof s->epoch) == 0)
    return;
  s->has_epoch = TRUE;
  memcpy (s->epoch, q->msg.epoch.data, sizeof s->epoch);
  g_clear_pointer (&s->from_client, nat_srtcp_free);
  g_clear_pointer (&s->to_client, nat_srtcp_free);
}

static void
adopt_credentials (Request *q)
{
  if (!q->opened)
    return;
  nat_roster_renew (q->session, &q->ticket);
  nat_roster_remember (q->session, &q->msg.username, q->expires_s, q->key);
}

/* TRUE: the stream goes another way from now on. */
static gboolean
adopt_path (Request *q)
{
  NatDataSession *s = q->session;
  gboolean moved;

  q->path = nat_roster_validate_path (q->w->roster, s, q->source, q->w->io, q->w->now_us);
  if (!q->msg.use_candidate)
    return FALSE;
  if (s->selected == q->path) {
    s->selection_us = MAX (s->selection_us, q->issued_us);
    return FALSE;
  }
  moved = s->selected != NULL || s->selection_us != 0;
  s->selection_us = q->issued_us;
  nat_roster_select (q->w->roster, q->path);
  if (moved)
    nat_counter_add (&s->counters->moves, 1);
  return moved;
}

/* A nonce's first use follows its challenge at once, mostly: enough to begin with, here and where the publisher moved, until
 * repairs tell. Observers see the newest. */
static void
learn_round_trip (Request *q, gboolean moved)
{
  NatDataSession *s = q->session;
  NatRoundTrip *rt = &s->stream->round_trip;
  gint64 us = q->w->now_us - q->issued_us;

  if (s->role != NAT_ROLE_PUBLISHER || q->issued_us <= s->nonce_us)
    return;
  if (!rt->measured)
    nat_round_trip_sample (rt, us);
  else if (moved)
    nat_round_trip_moved (rt, us);
  if (us > 0 && us <= NAT_ROUND_TRIP_MAX_US)
    atomic_store_explicit (&s->counters->rtt_us, (guint64)us, memory_order_relaxed);
}

/* Genuine, but of a stream that another worker owns: the rest is for that one to judge. Not what was captured and comes from elsewhere, or
 * too late, which any worker can refuse: it would fill the owner's mailbox. */
static gboolean
pass_on (Request *q)
{
  gint owner;

  if (!q->w->exchange || !q->opened)
    return FALSE;
  owner = nat_exchange_owner (q->w, q->ticket.stream);
  if (owner < 0 || owner == q->w->index) {
    /* It may be another's since a stream came to us. */
    q->path = nat_roster_find_path (q->w->roster, &q->source->key);
    return FALSE;
  }
  if (!nonce_is_good (q))
    return FALSE;
  nat_exchange_forward (q->w, (guint)owner, q->source, q->msg.bytes, q->msg.len);
  return TRUE;
}

/* All checks held: from here on the request is believed. */
static void
accept_request (Request *q)
{
  gboolean revived = !q->session || q->session->state == NAT_DATA_DORMANT, had_path, moved;
  gint64 heard_us;

  if (!q->session && atomic_load_explicit (&q->w->is_full, memory_order_relaxed)) {
    nat_counter_add (&q->w->counters->revivals_refused, 1);
    refuse_forbidden (q, NAT_REASON_EXPIRED); /* whoever negotiates anew hears why not */
    return;
  }
  if (revived) {
    if (q->w->exchange && !nat_exchange_claim (q->w, q->ticket.stream)) {
      pass_on (q); /* a room it belongs to is elsewhere */
      return;
    }
    q->session = nat_lifecycle_revive (q->w, &q->ticket);
  }
  had_path = q->session->selected != NULL;
  heard_us = q->session->active_us;
  adopt_epoch (q);
  adopt_credentials (q);
  moved = adopt_path (q);
  if (q->w->exchange)
    nat_exchange_heard (q->w, q->source, q->path);
  learn_round_trip (q, moved);
  q->session->nonce_us = MAX (q->session->nonce_us, q->issued_us);
  nat_lifecycle_bound (q->w, q->path);
  if (q->source->socket == NAT_UDPIO_TUNNEL)
    nat_lane_bound (q->w->lane, q->source->scope);
  succeed (q);
  if (!had_path && q->session->selected)
    nat_rtcpagg_joined (q->w, q->session);
  /* Also one whose connection broke, and which comes back by another. */
  if (moved && !revived && q->session->role == NAT_ROLE_SUBSCRIBER)
    nat_repair_moved (q->w, q->session, heard_us);
}

static void
serve (Request *q)
{
  NatReason ended = nat_roster_ended (q->w->roster, q->ticket.session_id);

  if (ended == NAT_REASON_NONE && q->expired)
    ended = NAT_REASON_EXPIRED;
  q->session = nat_roster_find (q->w->roster, q->ticket.session_id);
  if (ended != NAT_REASON_NONE)
    refuse_forbidden (q, ended);
  else if (q->msg.n_unknown_required > 0)
    refuse_unknown (q);
  else if (q->msg.epoch.len != NAT_EPOCH_SIZE)
    refuse_bad (q);
  else if (!epoch_holds (q) || !selection_holds (q))
    refuse_stale (q);
  else if (nat_lifecycle_has_room (q->w))
    accept_request (q);
  /* No room for the events: control is behind. Silence makes the client ask again. */
}

static void
handle (Request *q)
{
  NatStunAuthStatus credentials = nat_stunauth_inspect (&q->msg);

  if (credentials == NAT_STUNAUTH_COMPLETE && authenticate (q) && pass_on (q))
    return;
  nat_counter_add (&q->w->counters->stun_requests, 1);
  if (credentials == NAT_STUNAUTH_INCOMPLETE)
    refuse_bad (q);
  else if (!q->authentic)
    refuse_unauthenticated (q);
  else if (!nonce_is_good (q))
    refuse_stale (q);
  else
    serve (q);
}

void
nat_responder_receive (
    NatWorker *w, const NatUdpSource *source, NatPath *path, const guint8 *data, gsize len)
{
  Request q;

  memset (&q, 0, G_STRUCT_OFFSET (Request, answer));
  q.w = w;
  q.source = source;
  q.path = path;
  if (nat_stun_parse (&q.msg, data, len) != NAT_STUN_OK) {
    nat_counter_add (&w->counters->drop_malformed, 1);
    return;
  }
  if (q.msg.type != NAT_STUN_BINDING_REQUEST) {
    nat_counter_add (&w->counters->drop_unknown, 1);
    return;
  }
  handle (&q);
  nat_crypto_wipe (q.key, sizeof q.key);
}

/* ---- Indications ------------------------------------------------------- */

static gsize
write_indication (guint8 *buf, gsize cap, NatReason reason)
{
  guint8 transaction_id[12];
  NatStunWriter out;

  nat_crypto_random (transaction_id, sizeof transaction_id);
  nat_stun_writer_init (&out, buf, cap, NAT_STUN_BINDING_INDICATION, transaction_id);
  nat_stun_writer_add_u32 (&out, NAT_ATTR_REASON, reason);
  return nat_stun_writer_finish (&out);
}

void
nat_responder_indicate (NatWorker *w, const NatUdpDest *dest, NatReason reason)
{
  guint8 buf[64];

  nat_udpio_send_one (w->io, dest, buf, write_indication (buf, sizeof buf, reason));
}

void
nat_responder_indicate_session (NatWorker *w, NatDataSession *s, NatReason reason)
{
  NatPath *path = s->selected;
  NatUdpDest dest;

  for (NatPath *p = s->paths; p && !s->selected; p = p->next) {
    if (!path || p->valid_us > path->valid_us)
      path = p;
  }
  if (!path)
    return;
  nat_roster_dest (path, &dest);
  nat_responder_indicate (w, &dest, reason);
}

/* A message to each, and who describes a stream to ten thousand again and again would hold up all others: so that is paid for in
 * time, ten times what it takes, and what changes meanwhile is told with it. */
void
nat_responder_tell_version (NatWorker *w, NatDataStream *stream)
{
  guint n = 0;

  if (w->now_us < stream->tell_us) {
    nat_roster_activate (w->roster, stream);
    return;
  }
  stream->untold = FALSE;
  for (NatDataSession *s = stream->sessions; s; s = s->next, n++)
    nat_responder_indicate_session (w, s, NAT_REASON_DESCRIPTION);
  stream->tell_us = w->now_us + (gint64)n * TELL_PRICE_US;
}

static gboolean
stranger_ssrc (gboolean rtcp, const guint8 *data, gsize len, guint32 *ssrc)
{
  NatRtpHeader h;

  if (!rtcp) {
    if (!nat_rtp_parse (&h, data, len))
      return FALSE;
    *ssrc = h.ssrc;
    return TRUE;
  }
  if (len < 8 + NAT_SRTCP_OVERHEAD)
    return FALSE;
  memcpy (ssrc, data + 4, 4); /* SRTCP leaves it in the clear */
  *ssrc = GUINT32_FROM_BE (*ssrc);
  return TRUE;
}

void
nat_responder_stranger (
    NatWorker *w, const NatUdpSource *source, gboolean rtcp, const guint8 *data, gsize len)
{
  guint8 buf[64];
  NatUdpDest dest;
  guint32 ssrc;
  gsize n;

  nat_counter_add (&w->counters->drop_unregistered, 1);
  if (!stranger_ssrc (rtcp, data, len, &ssrc))
    return;
  if (w->now_us - w->started_us > w->times.strangers_us &&
      !nat_roster_ssrc_announced (w->roster, ssrc))
    return;
  if (!nat_strangers_take (&w->hints, &source->key.remote, w->now_us))
    return;
  n = write_indication (buf, sizeof buf, NAT_REASON_REGISTER);
  if (n > len)
    return;
  nat_udpio_dest_init (w->io, &dest, source);
  nat_udpio_send_one (w->io, &dest, buf, n);
}
