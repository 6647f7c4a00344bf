/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/registry-private.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/hex.h"

/* After a restart of the relay: until then, who is still there shows itself. */
#define ROOM_SETTLES_US (5 * G_USEC_PER_SEC)
#define CATCH_UP        16  /* times what is heard at once: what lies in a worker's ring */
#define TOLD_AT_ONCE    512 /* sessions that the data plane tells: two milliseconds or so */

static guint
id_hash (gconstpointer id)
{
  guint h;

  memcpy (&h, id, sizeof h); /* random bytes, drawn by us or sealed in our tickets */
  return h;
}

static gboolean
id_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, NAT_SESSION_ID_SIZE) == 0;
}

static void
session_free (gpointer data)
{
  NatRegistered *session = data;

  nat_session_counters_unref (session->counters);
  g_free (session->exclude);
  nat_crypto_wipe (session, sizeof *session);
  g_free (session);
}

NatRegistry *
nat_registry_new (const NatRegistryConfig *config)
{
  NatRegistry *r = g_new0 (NatRegistry, 1);

  r->config = *config;
  nat_hex_encode (config->boot_id, sizeof config->boot_id, r->boot_id);
  r->streams = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, nat_registry_stream_free);
  r->patterns = g_ptr_array_new ();
  r->ssrcs = g_hash_table_new (NULL, NULL);
  r->sessions = g_hash_table_new_full (id_hash, id_equal, NULL, session_free);
  r->streams_in_order = g_sequence_new (NULL);
  r->sessions_in_order = g_sequence_new (NULL);
  r->past = nat_session_counters_new ();
  r->unsaid = config->ended ? nat_ended_file_take_found (config->ended)
                            : g_array_new (FALSE, FALSE, sizeof (NatEnded));
  return r;
}

void
nat_registry_free (NatRegistry *r)
{
  g_sequence_free (r->sessions_in_order);
  g_sequence_free (r->streams_in_order);
  g_hash_table_unref (r->sessions);
  g_hash_table_unref (r->streams);
  g_ptr_array_unref (r->patterns);
  g_hash_table_unref (r->ssrcs);
  g_array_unref (r->unsaid);
  nat_session_counters_unref (r->past);
  g_free (r);
}

guint
nat_registry_n_sessions (NatRegistry *r)
{
  return g_hash_table_size (r->sessions);
}

const char *
nat_registry_boot_id (NatRegistry *r)
{
  return r->boot_id;
}

/* ---- Telling the data plane -------------------------------------------- */

static void
tell_ended (NatRegistry *r, const NatEnded *ended)
{
  if (r->unsaid->len > 0 ||
      !nat_dataplane_end_session (r->config.dataplane, ended->id, ended->reason, ended->until_s))
    g_array_append_val (r->unsaid, *ended);
}

gboolean
nat_registry_flush (NatRegistry *r)
{
  for (; r->said < r->unsaid->len; r->said++) {
    const NatEnded *e = &g_array_index (r->unsaid, NatEnded, r->said);

    if (!nat_dataplane_end_session (r->config.dataplane, e->id, e->reason, e->until_s))
      return FALSE;
  }
  if (r->said > 0) { /* a new one: they may have been many */
    g_array_unref (r->unsaid);
    r->unsaid = g_array_new (FALSE, FALSE, sizeof (NatEnded));
    r->said = 0;
  }
  return TRUE;
}

/* ---- Sessions ---------------------------------------------------------- */

static void
add_counters (NatSessionCounters *sum, const NatSessionCounters *c)
{
#define NAT_SESSION_COUNTER(name, unit, help)                                                      \
  nat_counter_add (&sum->name, nat_counter_get (&c->name));
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
}

/* A session that comes back may bring along the counters that were summed up when it went. */
static void
take_back_counters (NatSessionCounters *sum, const NatSessionCounters *c)
{
#define NAT_SESSION_COUNTER(name, unit, help)                                                      \
  atomic_store (&sum->name, nat_counter_get (&sum->name) -                                         \
                                MIN (nat_counter_get (&sum->name), nat_counter_get (&c->name)));
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
}

static NatRegistered *
session_add (NatRegistry *r, NatTime now, const NatTicket *ticket, NatSessionCounters *counters)
{
  NatRegistered *session = g_new0 (NatRegistered, 1);

  session->ticket = *ticket;
  session->usernames_until_s = ticket->expires_s;
  session->counters = counters;
  session->created_us = now.us;
  session->created_s = now.s;
  session->stream = nat_registry_stream_get (r, ticket->stream);
  nat_memory_promise (r->config.memory, nat_registry_later (session));
  session->stream->sessions++;
  if (ticket->role == NAT_ROLE_SUBSCRIBER)
    session->stream->subscribers++;
  nat_registry_measure_from (r, session);
  nat_registry_survey_session (r, session);
  g_hash_table_insert (r->sessions, session->ticket.session_id, session);
  session->in_turn.data = session;
  session->looked_at = r->round;
  g_queue_push_tail_link (&r->in_turn, &session->in_turn);
  return session;
}

/* Takes a session out of all tables and frees it. Who else may know it: its stream, as publisher
 * (cleared here), and the data plane, which has its own copy and is told by the callers. */
static void
session_remove (NatRegistry *r, NatTime now, NatRegistered *session, gboolean over)
{
  NatStream *stream = session->stream;

  nat_admission_leave (r->config.admission, &(NatEntrant){session->has_peer ? &session->peer : NULL,
                                                session->ticket.subject, session->ticket.role});
  nat_memory_promise (r->config.memory, -nat_registry_later (session));
  nat_registry_measure_leave (r, session);
  nat_registry_survey_leave (r, session);
  add_counters (stream->past, session->counters);
  add_counters (r->past, session->counters);
  stream->sessions--;
  if (session->ticket.role == NAT_ROLE_SUBSCRIBER)
    stream->subscribers--;
  if (stream->publisher == session)
    nat_registry_stream_enter_grace (r, stream, now, over);
  g_queue_unlink (&r->in_turn, &session->in_turn);
  g_hash_table_remove (r->sessions, session->ticket.session_id);
  nat_registry_stream_forget_if_idle (r, stream);
}

static gint64
last_life_us (NatRegistered *session)
{
  return MAX (session->created_us, (gint64)nat_counter_get (&session->counters->last_received_us));
}

static void
make_ticket (NatRegistry *r, NatTime now, const NatAsk *ask, NatRole role, NatTicket *ticket)
{
  memset (ticket, 0, sizeof *ticket);
  nat_crypto_random (ticket->session_id, sizeof ticket->session_id);
  ticket->role = role;
  ticket->password_secret = nat_secrets_current (r->config.secrets);
  ticket->token_expires_s = nat_caller_expires_s (ask->caller);
  ticket->expires_s = MIN (now.s + NAT_TICKET_LIFETIME_S, ticket->token_expires_s);
  ticket->max_kbps = ask->caller->token.max_kbps;
  ticket->max_packets = ask->caller->token.max_packets;
  ticket->takeover = ask->caller->token.takeover ? 1 : 0;
  ticket->voucher = ask->caller->token.voucher;
  g_strlcpy (ticket->subject, ask->caller->subject, sizeof ticket->subject);
  g_strlcpy (ticket->stream, ask->stream, sizeof ticket->stream);
}

static NatProblemKind
session_new (NatRegistry *r, NatTime now, const NatAsk *ask, NatRole role, NatRegistered **out)
{
  NatEntrant who = {ask->peer, ask->caller->subject, role};
  NatWishes wishes = {ask->instant_start, ask->exclude};
  NatSessionCounters *counters;
  const char *limit;
  NatProblemKind problem;
  NatTicket ticket;

  if (!nat_memory_take (r->config.memory, nat_registry_bytes (ask, role)))
    return nat_registry_refuse (ask, "max-memory-mb", NAT_PROBLEM_RELAY_FULL);
  problem = nat_admission_enter (r->config.admission, &who, &limit);
  if (problem != NAT_PROBLEM_NONE)
    return nat_registry_refuse (ask, limit, problem);
  make_ticket (r, now, ask, role, &ticket);
  counters = nat_session_counters_new ();
  if (!nat_dataplane_add_session (r->config.dataplane, &ticket, counters, &wishes)) {
    nat_session_counters_unref (counters);
    nat_admission_leave (r->config.admission, &who);
    return NAT_PROBLEM_RELAY_BUSY;
  }
  *out = session_add (r, now, &ticket, counters);
  (*out)->peer = *ask->peer;
  (*out)->has_peer = TRUE;
  (*out)->exclude = g_strdup (ask->exclude);
  (*out)->recheck_us = ask->caller->decided_until_us;
  return NAT_PROBLEM_NONE;
}

/* ---- What requests do -------------------------------------------------- */

static gboolean
may_replace (NatTime now, NatRegistered *old, const NatAsk *ask)
{
  const NatCaller *caller = ask->caller;

  /* The same camera, started again. */
  if (nat_caller_is_named (caller) && strcmp (caller->subject, old->ticket.subject) == 0)
    return TRUE;
  if (now.us - last_life_us (old) >= NAT_TAKEOVER_SILENCE_US)
    return TRUE;
  return ask->takeover && (caller->open || caller->token.takeover);
}

NatProblemKind
nat_registry_publish (NatRegistry *r, NatTime now, const NatAsk *ask, NatRegistered **session)
{
  NatStream *stream = g_hash_table_lookup (r->streams, ask->stream);
  NatRegistered *old = stream ? stream->publisher : NULL;
  gboolean fresh = stream == NULL;
  NatProblemKind problem;

  if (old != NULL && !may_replace (now, old, ask))
    return NAT_PROBLEM_STREAM_BUSY;
  if (nat_rooms_ssrc_in_use (r, ask->stream, ask->tracks))
    return NAT_PROBLEM_SSRC_IN_USE;
  problem = session_new (r, now, ask, NAT_ROLE_PUBLISHER, session);
  if (problem != NAT_PROBLEM_NONE)
    return problem;
  stream = (*session)->stream;
  nat_registry_stream_set_publisher (
      r, stream, *session); /* before the old one goes: no grace in between */
  nat_registry_stream_describe (r, stream, ask->description, ask->tracks);
  if (old != NULL)
    nat_registry_end (r, now, old, NAT_REASON_SUPERSEDED, FALSE);
  if (fresh) { /* nobody saw its first version yet */
    nat_registry_stream_tell (r, stream);
    nat_rooms_changed (r, stream);
  } else {
    nat_registry_changed (r, stream);
  }
  return NAT_PROBLEM_NONE;
}

NatProblemKind
nat_registry_subscribe (NatRegistry *r, NatTime now, const NatAsk *ask, NatRegistered **session)
{
  NatProblemKind problem = nat_registry_check_stream (r, ask);

  if (problem == NAT_PROBLEM_NONE)
    problem = session_new (r, now, ask, NAT_ROLE_SUBSCRIBER, session);
  /* The first one of a stream brings its version along; for the others it is known. */
  if (problem == NAT_PROBLEM_NONE && (*session)->stream->sessions == 1)
    nat_registry_stream_tell (r, (*session)->stream);
  return problem;
}

NatRegistered *
nat_registry_find (NatRegistry *r, const guint8 id[NAT_SESSION_ID_SIZE])
{
  return g_hash_table_lookup (r->sessions, id);
}

const NatTicket *
nat_registered_ticket (NatRegistered *session)
{
  return &session->ticket;
}

guint32
nat_registered_version (NatRegistered *session)
{
  return session->stream->version;
}

static gboolean
renew_until (NatRegistry *r, NatTime now, NatRegistered *session, NatTicket *ticket)
{
  ticket->expires_s = MIN (now.s + NAT_TICKET_LIFETIME_S, ticket->token_expires_s);
  if (!nat_dataplane_renew_session (r->config.dataplane, ticket))
    return FALSE;
  session->ticket = *ticket;
  session->usernames_until_s = MAX (session->usernames_until_s, ticket->expires_s);
  return TRUE;
}

gboolean
nat_registry_renew (NatRegistry *r, NatTime now, NatRegistered *session, const NatCaller *caller)
{
  NatTicket ticket = session->ticket;

  ticket.token_expires_s = nat_caller_expires_s (caller);
  ticket.max_kbps = caller->token.max_kbps;
  ticket.max_packets = caller->token.max_packets;
  ticket.takeover = caller->token.takeover ? 1 : 0;
  ticket.voucher = caller->token.voucher;
  session->recheck_us = caller->decided_until_us;
  session->unanswered_us = 0; /* this was an answer */
  return renew_until (r, now, session, &ticket);
}

static gboolean
renew_if_old (NatRegistry *r, NatTime now, NatRegistered *session)
{
  NatTicket ticket = session->ticket;

  if (ticket.expires_s - now.s >= NAT_TICKET_LIFETIME_S / 2 ||
      ticket.token_expires_s <= ticket.expires_s)
    return TRUE;
  return renew_until (r, now, session, &ticket);
}

static char *
make_username (NatRegistry *r, const NatTicket *ticket)
{
  char text[NAT_TICKET_TEXT_MAX + 1];
  guint8 iv[12];

  nat_crypto_random (iv, sizeof iv);
  nat_ticket_seal (r->config.secrets, ticket, iv, text);
  return g_strdup (text);
}

static void
fill_description (NatRegistered *session, NatDescription *out)
{
  const NatDescription *d = &session->stream->description;

  out->sdp = g_strdup (d->sdp);
  if (session->ticket.role != NAT_ROLE_SUBSCRIBER)
    return; /* whoever made the keys has them */
  memcpy (out->media_keys, d->media_keys, sizeof out->media_keys);
  out->n_media_keys = d->n_media_keys;
}

gboolean
nat_registry_document (NatRegistry *r, NatTime now, NatRegistered *session, NatSessionDocument *out)
{
  memset (out, 0, sizeof *out);
  if (!renew_if_old (r, now, session))
    return FALSE;
  nat_session_id_to_text (session->ticket.session_id, out->session);
  out->username = make_username (r, &session->ticket);
  g_strlcpy (out->realm, NAT_REALM, sizeof out->realm);
  if (!nat_ticket_password (r->config.secrets, session->ticket.password_secret,
          session->ticket.session_id, out->password))
    return FALSE;
  out->keepalive_ms = NAT_KEEPALIVE_MS;
  out->expires_s = MAX (0, session->ticket.expires_s - now.s);
  g_strlcpy (out->boot_id, r->boot_id, sizeof out->boot_id);
  out->version = session->stream->version;
  out->publisher = session->stream->state;
  if (session->stream->is_pattern)
    nat_rooms_fill (session, out);
  else if (session->stream->described)
    fill_description (session, &out->description);
  return TRUE;
}

NatProblemKind
nat_registry_describe (NatRegistry *r, NatTime now, NatRegistered *session,
    NatDescription *description, const NatTracks *tracks)
{
  g_return_val_if_fail (session->stream->publisher == session, NAT_PROBLEM_INTERNAL);
  if (nat_rooms_ssrc_in_use (r, session->stream->name, tracks))
    return NAT_PROBLEM_SSRC_IN_USE;
  if (!nat_memory_take (
          r->config.memory, strlen (description->sdp) + tracks->n_tracks * NAT_TRACK_LATER))
    return NAT_PROBLEM_RELAY_FULL;
  nat_registry_stream_describe (r, session->stream, description, tracks);
  nat_registry_changed (r, session->stream);
  return NAT_PROBLEM_NONE;
}

void
nat_registry_say_ended (NatRegistry *r, NatTime now, const guint8 id[NAT_SESSION_ID_SIZE],
    NatReason reason, gint64 usernames_until_s)
{
  /* Whatever usernames it was given: none of them lives longer than this, unless the clock was set back. */
  NatEnded e = {
      .reason = reason, .until_s = MAX (now.s + NAT_TICKET_LIFETIME_S, usernames_until_s)};

  memcpy (e.id, id, sizeof e.id);
  tell_ended (r, &e);
  if (r->config.ended != NULL)
    nat_ended_file_add (r->config.ended, &e, now.s);
}

void
nat_registry_end (
    NatRegistry *r, NatTime now, NatRegistered *session, NatReason reason, gboolean ended)
{
  nat_registry_say_ended (r, now, session->ticket.session_id, reason, session->usernames_until_s);
  if (session->stream->publisher == session)
    session->stream->left = reason == NAT_REASON_ENDED;
  session_remove (r, now, session, ended);
}

/* ---- What the data plane says ------------------------------------------ */

static void
revive_publisher (NatRegistry *r, NatTime now, NatRegistered *session)
{
  NatStream *stream = session->stream;
  gboolean same =
      memcmp (stream->publisher_id, session->ticket.session_id, NAT_SESSION_ID_SIZE) == 0;

  if (stream->publisher != NULL) { /* somebody else took the place in the meantime */
    nat_registry_end (r, now, session, NAT_REASON_SUPERSEDED, FALSE);
    return;
  }
  nat_registry_stream_set_publisher (r, stream, session);
  if (stream->described && same) {
    nat_registry_changed (r, stream);
    return;
  }
  nat_registry_stream_undescribe (r, stream);
  stream->unknown = TRUE; /* version 0: the publisher PUTs its description again */
  nat_registry_stream_tell (r, stream);
  nat_rooms_changed (r, stream);
}

/* The data plane forgot the session, we did not yet. counters: taken over. */
static void
take_counters (NatRegistry *r, NatRegistered *session, NatSessionCounters *counters)
{
  if (session->counters == counters) {
    nat_session_counters_unref (counters);
    return;
  }
  nat_registry_measure_leave (r, session);
  nat_registry_survey_count (r, session);
  add_counters (session->stream->past, session->counters);
  add_counters (r->past, session->counters);
  nat_session_counters_unref (session->counters);
  session->counters = counters;
  nat_registry_measure_from (r, session);
}

static void
revive (NatRegistry *r, NatTime now, NatEvent *event)
{
  NatRegistered *session = nat_registry_find (r, event->ticket.session_id);
  gboolean fresh = !g_hash_table_contains (r->streams, event->ticket.stream);
  const char *limit;

  if (session != NULL) {
    take_counters (r, session, event->counters);
    return;
  }
  if (!nat_registry_may_return (r, now, &event->ticket)) {
    nat_session_counters_unref (event->counters);
    return;
  }
  nat_admission_enter (
      r->config.admission, &(NatEntrant){NULL, event->ticket.subject, event->ticket.role}, &limit);
  nat_memory_spend (r->config.memory, NAT_SESSION_BYTES);
  session = session_add (r, now, &event->ticket, event->counters);
  nat_registry_survey_count_stream (r, session->stream);
  take_back_counters (r->past, session->counters);
  take_back_counters (session->stream->past, session->counters);
  if (session->ticket.role == NAT_ROLE_PUBLISHER) {
    revive_publisher (r, now, session);
  } else if (fresh) {
    /* The publisher's own Binding may be a moment behind: until then its place is kept. */
    session->stream->unknown = TRUE;
    session->stream->state = NAT_PUBLISHER_GRACE;
    session->stream->grace_until_us =
        now.us + (session->stream->is_pattern ? ROOM_SETTLES_US : NAT_GRACE_US);
  } else if (session->stream->sessions == 1) {
    nat_registry_stream_tell (r, session->stream);
  }
}

static void
take_event (NatRegistry *r, NatTime now, NatEvent *event)
{
  NatRegistered *session;

  if (event->type == NAT_EVENT_REVIVED) {
    revive (r, now, event);
    return;
  }
  session = nat_registry_find (r, event->session_id);
  if (session == NULL)
    return; /* ended in the meantime */
  switch (event->type) {
  case NAT_EVENT_REGISTERED:
  case NAT_EVENT_MOVED:
    session->registered = TRUE;
    session->mapped = event->mapped;
    if (event->type == NAT_EVENT_MOVED)
      nat_registry_say (
          G_LOG_LEVEL_DEBUG, session, "session-moved", "has a client at another address");
    else
      nat_registry_say (G_LOG_LEVEL_DEBUG, session, "session-registered", "has a new client");
    break;
  case NAT_EVENT_GONE:
    nat_registry_say (G_LOG_LEVEL_DEBUG, session, "session-gone", "has a client less");
    session_remove (r, now, session, FALSE);
    break;
  default: break; /* silence shows in the counters */
  }
}

/* If all clients are gone at once, the workers tell of them as fast as we listen. */
gboolean
nat_registry_poll (NatRegistry *r, NatTime now)
{
  NatEvent event;

  for (guint n = 0; n < NAT_REGISTRY_HEARD_AT_ONCE; n++) {
    if (!nat_dataplane_poll_event (r->config.dataplane, &event))
      return FALSE;
    take_event (r, now, &event);
  }
  return TRUE;
}

NatRegistered *
nat_registry_find_waiting (NatRegistry *r, NatTime now, const guint8 id[NAT_SESSION_ID_SIZE])
{
  NatRegistered *session = nat_registry_find (r, id);

  for (guint n = 0; session == NULL && n < CATCH_UP && nat_registry_poll (r, now); n++)
    session = nat_registry_find (r, id);
  return session != NULL ? session : nat_registry_find (r, id);
}

/* ---- Deadlines --------------------------------------------------------- */

/* Never registered: the data plane forgets it as well, and holds nothing against it for long. */
static void
drop_unregistered (NatRegistry *r, NatTime now, NatRegistered *session)
{
  NatEnded e = {.reason = NAT_REASON_EXPIRED, .until_s = 0};

  memcpy (e.id, session->ticket.session_id, sizeof e.id);
  tell_ended (r, &e);
  session_remove (r, now, session, FALSE);
}

static void
sync_ended (NatRegistry *r, NatTime now)
{
  g_autoptr (GError) error = NULL;

  if (r->config.ended != NULL && !nat_ended_file_sync (r->config.ended, now.s, &error))
    g_warning ("ended sessions could come back after a restart: %s. Make room there; it is tried "
               "again every second",
        error->message);
}

/* TRUE: it is gone. */
static gboolean
check_session (NatRegistry *r, NatTime now, NatRegistered *session)
{
  guint64 before = session->looked_at;

  session->looked_at = r->round;
  if (before < r->judging && nat_registry_judge (r, now, session))
    return TRUE;
  if (session->ticket.token_expires_s <= now.s)
    nat_registry_put_out (r, now, session, NAT_REASON_EXPIRED, "the permission ran out");
  else if (!session->registered && now.us - session->created_us >= NAT_REGISTER_WITHIN_US)
    drop_unregistered (r, now, session);
  else
    return FALSE;
  return TRUE;
}

void
nat_registry_look_anew (NatRegistry *r)
{
  r->round++;
}

static gboolean
is_looking (NatRegistry *r)
{
  const GList *first = r->in_turn.head;

  return first != NULL && ((NatRegistered *)first->data)->looked_at != r->round;
}

/* Whoever comes, and whoever was looked at, goes to the tail with the number of the present round. So the head waits longest,
 * whoever comes or goes meanwhile, or begins another round. TRUE: some wait. */
static gboolean
look (NatRegistry *r, NatTime now)
{
  guint looks = 0, ends = 0;

  while (is_looking (r)) {
    GList *first = r->in_turn.head;

    if (looks == NAT_REGISTRY_LOOKS_AT_ONCE || ends == NAT_REGISTRY_ENDS_AT_ONCE)
      return TRUE;
    looks++;
    g_queue_unlink (&r->in_turn, first);
    g_queue_push_tail_link (&r->in_turn, first);
    if (check_session (r, now, first->data)) /* never removes another */
      ends++;
  }
  nat_registry_judged (r);
  return FALSE;
}

/* The data plane tells all sessions of a stream what became of it, between two looks at its sockets. After a start,
 * the graces of whatever did not come back end at one time: media would wait for thousands of datagrams. */
static gboolean
check_streams (NatRegistry *r, NatTime now)
{
  g_autoptr (GPtrArray) due = g_ptr_array_new ();
  gboolean more = FALSE;
  guint told = 0;
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, r->streams);
  while (!more && g_hash_table_iter_next (&iter, NULL, &value)) {
    NatStream *stream = value;
    gboolean over = stream->state == NAT_PUBLISHER_GRACE && now.us >= stream->grace_until_us;

    if (!stream->untold && !over)
      continue;
    more = told >= TOLD_AT_ONCE;
    told += 1 + stream->sessions;
    if (over && !more)
      g_ptr_array_add (due, stream);
    else if (!more)
      nat_registry_stream_tell (r, stream);
  }
  for (guint i = 0; i < due->len; i++) {
    nat_registry_stream_end_grace (r, g_ptr_array_index (due, i));
    nat_registry_stream_forget_if_idle (r, g_ptr_array_index (due, i));
  }
  return more;
}

/* TRUE: some of it waits. */
static gboolean
work_off (NatRegistry *r, NatTime now)
{
  gboolean waits = nat_registry_measure_on (r);

  waits |= look (r, now);
  waits |= !nat_registry_flush (r);
  /* A walk over all streams is dear: once a second, and in the turns between only while one was not told. */
  if (r->streams_wait) {
    r->streams_wait = FALSE;
    if (check_streams (r, now))
      r->streams_wait = TRUE;
  }
  return r->streams_wait || waits;
}

gboolean
nat_registry_go_on (NatRegistry *r, NatTime now)
{
  nat_registry_poll (r, now);
  return work_off (r, now);
}

gboolean
nat_registry_tick (NatRegistry *r, NatTime now)
{
  nat_registry_poll (r, now);
  sync_ended (r, now);
  if (!is_looking (r)) /* else no round of very many would ever end */
    nat_registry_look_anew (r);
  r->streams_wait = TRUE;
  nat_registry_measure (r, now);
  return work_off (r, now);
}
