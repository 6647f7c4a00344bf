/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/registry.h"

#include <string.h>

#include "natproto/crypto.h"

typedef struct {
  char *name;
  guint32 version;
  NatPublisherState state;
  NatRegistered *publisher;                 /* NULL unless live */
  guint8 publisher_id[NAT_SESSION_ID_SIZE]; /* whose the description is */
  NatDescription description;
  NatTracks tracks;
  gboolean described; /* description and tracks are set */
  gboolean
      unknown; /* came back by tickets: clients know more than we do; version 0 in the data plane */
  gboolean untold; /* the data plane's ring was full: tell it again */
  gboolean over;   /* in grace: the publisher left with "ended" */
  gint64 grace_until_us;
  guint sessions, subscribers;
  NatSessionCounters *past;
} Stream;

struct _NatRegistered {
  NatTicket ticket;
  Stream *stream;
  NatSessionCounters *counters;
  NatAddress peer, mapped;
  gboolean has_peer; /* came by POST: counted for its address */
  gboolean registered;
  gint64 created_us, created_s;
};

struct _NatRegistry {
  NatRegistryConfig config;
  char boot_id[2 * NAT_BOOT_ID_SIZE + 1];
  GHashTable *streams;  /* name -> Stream */
  GHashTable *sessions; /* id -> NatRegistered */
  GQueue unsaid;        /* NatEnded that found the ring full */
  guint32
      version_floor; /* versions of streams that are forgotten: never used again in this start */
  NatSessionCounters *past;
};

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
stream_free (gpointer data)
{
  Stream *stream = data;

  nat_description_clear (&stream->description);
  nat_session_counters_unref (stream->past);
  g_free (stream->name);
  g_free (stream);
}

static void
session_free (gpointer data)
{
  NatRegistered *session = data;

  nat_session_counters_unref (session->counters);
  nat_crypto_wipe (session, sizeof *session);
  g_free (session);
}

NatRegistry *
nat_registry_new (const NatRegistryConfig *config)
{
  NatRegistry *r = g_new0 (NatRegistry, 1);

  r->config = *config;
  for (guint i = 0; i < NAT_BOOT_ID_SIZE; i++)
    g_snprintf (r->boot_id + 2 * i, 3, "%02x", config->boot_id[i]);
  r->streams = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, stream_free);
  r->sessions = g_hash_table_new_full (id_hash, id_equal, NULL, session_free);
  r->past = nat_session_counters_new ();
  g_queue_init (&r->unsaid);
  if (config->ended != NULL) {
    guint n;
    const NatEnded *ended = nat_ended_file_entries (config->ended, &n);

    for (guint i = 0; i < n; i++)
      g_queue_push_tail (&r->unsaid, g_memdup2 (&ended[i], sizeof ended[i]));
  }
  return r;
}

void
nat_registry_free (NatRegistry *r)
{
  g_hash_table_unref (r->sessions);
  g_hash_table_unref (r->streams);
  g_queue_clear_full (&r->unsaid, g_free);
  nat_session_counters_unref (r->past);
  g_free (r);
}

const char *
nat_registry_boot_id (NatRegistry *r)
{
  return r->boot_id;
}

/* ---- Telling the data plane -------------------------------------------- */

static void
stream_tell (NatRegistry *r, Stream *stream)
{
  stream->untold = !nat_dataplane_set_description (r->config.dataplane, stream->name,
      stream->described ? &stream->tracks : NULL, stream->unknown ? 0 : stream->version,
      stream->publisher ? stream->publisher->ticket.session_id : NULL);
}

/* 0 says that there is no description. */
static guint32
version_after (guint32 version)
{
  return version == G_MAXUINT32 ? 1 : version + 1;
}

static void
stream_changed (NatRegistry *r, Stream *stream)
{
  stream->version = version_after (stream->version);
  stream->unknown = FALSE;
  stream_tell (r, stream);
}

static void
tell_ended (NatRegistry *r, const NatEnded *ended)
{
  if (!g_queue_is_empty (&r->unsaid) ||
      !nat_dataplane_end_session (r->config.dataplane, ended->id, ended->reason, ended->until_s))
    g_queue_push_tail (&r->unsaid, g_memdup2 (ended, sizeof *ended));
}

gboolean
nat_registry_flush (NatRegistry *r)
{
  NatEnded *ended;

  while ((ended = g_queue_peek_head (&r->unsaid)) != NULL) {
    if (!nat_dataplane_end_session (r->config.dataplane, ended->id, ended->reason, ended->until_s))
      return FALSE;
    g_free (g_queue_pop_head (&r->unsaid));
  }
  return TRUE;
}

/* ---- Streams ----------------------------------------------------------- */

static Stream *
stream_get (NatRegistry *r, const char *name)
{
  Stream *stream = g_hash_table_lookup (r->streams, name);

  if (stream != NULL)
    return stream;
  stream = g_new0 (Stream, 1);
  stream->name = g_strdup (name);
  stream->version = version_after (r->version_floor);
  stream->past = nat_session_counters_new ();
  g_hash_table_insert (r->streams, stream->name, stream);
  return stream;
}

static void
stream_forget_if_idle (NatRegistry *r, Stream *stream)
{
  if (stream->sessions > 0 || stream->state == NAT_PUBLISHER_GRACE)
    return;
  r->version_floor = MAX (r->version_floor, stream->version);
  g_hash_table_remove (r->streams, stream->name);
}

static void
stream_undescribe (Stream *stream)
{
  nat_description_clear (&stream->description);
  memset (&stream->tracks, 0, sizeof stream->tracks);
  stream->described = FALSE;
}

static void
stream_describe (Stream *stream, NatDescription *description, const NatTracks *tracks)
{
  nat_description_clear (&stream->description);
  stream->description = *description;
  memset (description, 0, sizeof *description);
  stream->tracks = *tracks;
  stream->described = TRUE;
}

static void
stream_set_publisher (Stream *stream, NatRegistered *session)
{
  stream->publisher = session;
  memcpy (stream->publisher_id, session->ticket.session_id, NAT_SESSION_ID_SIZE);
  stream->state = NAT_PUBLISHER_LIVE;
  stream->over = FALSE;
  g_message ("stream %s is live", stream->name);
}

static void
stream_enter_grace (NatRegistry *r, Stream *stream, NatTime now, gboolean over)
{
  stream->publisher = NULL;
  stream->state = NAT_PUBLISHER_GRACE;
  stream->over = over;
  stream->grace_until_us = now.us + NAT_GRACE_US;
  g_message ("stream %s lost its publisher", stream->name);
  stream_changed (r, stream);
}

static void
stream_end_grace (NatRegistry *r, Stream *stream)
{
  stream->state = stream->over ? NAT_PUBLISHER_ENDED : NAT_PUBLISHER_NONE;
  stream_undescribe (stream);
  stream_changed (r, stream);
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
  session->counters = counters;
  session->created_us = now.us;
  session->created_s = now.s;
  session->stream = stream_get (r, ticket->stream);
  session->stream->sessions++;
  if (ticket->role == NAT_ROLE_SUBSCRIBER)
    session->stream->subscribers++;
  g_hash_table_insert (r->sessions, session->ticket.session_id, session);
  return session;
}

/* Takes a session out of all tables and frees it. Who else may know it: its stream, as publisher
 * (cleared here), and the data plane, which has its own copy and is told by the callers. */
static void
session_remove (NatRegistry *r, NatTime now, NatRegistered *session, gboolean over)
{
  Stream *stream = session->stream;

  nat_admission_leave (
      r->config.admission, session->has_peer ? &session->peer : NULL, session->ticket.subject);
  add_counters (stream->past, session->counters);
  add_counters (r->past, session->counters);
  stream->sessions--;
  if (session->ticket.role == NAT_ROLE_SUBSCRIBER)
    stream->subscribers--;
  if (stream->publisher == session)
    stream_enter_grace (r, stream, now, over);
  g_hash_table_remove (r->sessions, session->ticket.session_id);
  stream_forget_if_idle (r, stream);
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
  ticket->takeover = ask->caller->token.takeover ? 1 : 0;
  g_strlcpy (ticket->subject, ask->caller->subject, sizeof ticket->subject);
  g_strlcpy (ticket->stream, ask->stream, sizeof ticket->stream);
}

static NatProblemKind
session_new (NatRegistry *r, NatTime now, const NatAsk *ask, NatRole role, NatRegistered **out)
{
  NatSessionCounters *counters;
  NatProblemKind problem;
  NatTicket ticket;

  problem = nat_admission_enter (r->config.admission, ask->peer, ask->caller->subject);
  if (problem != NAT_PROBLEM_NONE)
    return problem;
  make_ticket (r, now, ask, role, &ticket);
  counters = nat_session_counters_new ();
  if (!nat_dataplane_add_session (r->config.dataplane, &ticket, counters)) {
    nat_session_counters_unref (counters);
    nat_admission_leave (r->config.admission, ask->peer, ask->caller->subject);
    return NAT_PROBLEM_RELAY_BUSY;
  }
  *out = session_add (r, now, &ticket, counters);
  (*out)->peer = *ask->peer;
  (*out)->has_peer = TRUE;
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
  Stream *stream = g_hash_table_lookup (r->streams, ask->stream);
  NatRegistered *old = stream ? stream->publisher : NULL;
  gboolean fresh = stream == NULL;
  NatProblemKind problem;

  if (old != NULL && !may_replace (now, old, ask))
    return NAT_PROBLEM_STREAM_BUSY;
  problem = session_new (r, now, ask, NAT_ROLE_PUBLISHER, session);
  if (problem != NAT_PROBLEM_NONE)
    return problem;
  stream = (*session)->stream;
  stream_set_publisher (stream, *session); /* before the old one goes: no grace in between */
  stream_describe (stream, ask->description, ask->tracks);
  if (old != NULL)
    nat_registry_end (r, now, old, NAT_REASON_SUPERSEDED, FALSE);
  if (fresh)
    stream_tell (r, stream); /* nobody saw its first version yet */
  else
    stream_changed (r, stream);
  return NAT_PROBLEM_NONE;
}

NatProblemKind
nat_registry_subscribe (NatRegistry *r, NatTime now, const NatAsk *ask, NatRegistered **session)
{
  NatProblemKind problem = session_new (r, now, ask, NAT_ROLE_SUBSCRIBER, session);

  /* The first one of a stream brings its version along; for the others it is known. */
  if (problem == NAT_PROBLEM_NONE && (*session)->stream->sessions == 1)
    stream_tell (r, (*session)->stream);
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
  return TRUE;
}

gboolean
nat_registry_renew (NatRegistry *r, NatTime now, NatRegistered *session, const NatCaller *caller)
{
  NatTicket ticket = session->ticket;

  ticket.token_expires_s = nat_caller_expires_s (caller);
  ticket.max_kbps = caller->token.max_kbps;
  ticket.takeover = caller->token.takeover ? 1 : 0;
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
  if (session->stream->described)
    fill_description (session, &out->description);
  return TRUE;
}

void
nat_registry_describe (NatRegistry *r, NatTime now, NatRegistered *session,
    NatDescription *description, const NatTracks *tracks)
{
  g_return_if_fail (session->stream->publisher == session);
  stream_describe (session->stream, description, tracks);
  stream_changed (r, session->stream);
}

void
nat_registry_end (
    NatRegistry *r, NatTime now, NatRegistered *session, NatReason reason, gboolean ended)
{
  /* Whatever usernames it was given: none of them lives longer than this. */
  NatEnded e = {.reason = reason, .until_s = now.s + NAT_TICKET_LIFETIME_S};
  g_autoptr (GError) error = NULL;

  memcpy (e.id, session->ticket.session_id, sizeof e.id);
  tell_ended (r, &e);
  if (r->config.ended != NULL && !nat_ended_file_add (r->config.ended, &e, now.s, &error))
    g_warning ("an ended session could come back after a restart: %s", error->message);
  session_remove (r, now, session, ended);
}

/* ---- What the data plane says ------------------------------------------ */

static void
revive_publisher (NatRegistry *r, NatTime now, NatRegistered *session)
{
  Stream *stream = session->stream;
  gboolean same =
      memcmp (stream->publisher_id, session->ticket.session_id, NAT_SESSION_ID_SIZE) == 0;

  if (stream->publisher != NULL) { /* somebody else took the place in the meantime */
    nat_registry_end (r, now, session, NAT_REASON_SUPERSEDED, FALSE);
    return;
  }
  stream_set_publisher (stream, session);
  if (stream->described && same) {
    stream_changed (r, stream);
    return;
  }
  stream_undescribe (stream);
  stream->unknown = TRUE; /* version 0: the publisher PUTs its description again */
  stream_tell (r, stream);
}

static void
revive (NatRegistry *r, NatTime now, NatEvent *event)
{
  NatRegistered *session = nat_registry_find (r, event->ticket.session_id);
  gboolean fresh = !g_hash_table_contains (r->streams, event->ticket.stream);

  if (session != NULL) { /* the data plane forgot it, we did not yet */
    if (session->counters != event->counters) {
      add_counters (session->stream->past, session->counters);
      add_counters (r->past, session->counters);
    }
    nat_session_counters_unref (session->counters);
    session->counters = event->counters;
    return;
  }
  nat_admission_enter (r->config.admission, NULL, event->ticket.subject);
  session = session_add (r, now, &event->ticket, event->counters);
  take_back_counters (r->past, session->counters);
  take_back_counters (session->stream->past, session->counters);
  if (session->ticket.role == NAT_ROLE_PUBLISHER) {
    revive_publisher (r, now, session);
  } else if (fresh) {
    /* The publisher's own Binding may be a moment behind: until then its place is kept. */
    session->stream->unknown = TRUE;
    session->stream->state = NAT_PUBLISHER_GRACE;
    session->stream->grace_until_us = now.us + NAT_GRACE_US;
  } else if (session->stream->sessions == 1) {
    stream_tell (r, session->stream);
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
    break;
  case NAT_EVENT_GONE: session_remove (r, now, session, FALSE); break;
  default: break; /* silence shows in the counters */
  }
}

void
nat_registry_poll (NatRegistry *r, NatTime now)
{
  NatEvent event;

  while (nat_dataplane_poll_event (r->config.dataplane, &event))
    take_event (r, now, &event);
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
check_session (NatRegistry *r, NatTime now, NatRegistered *session)
{
  if (session->ticket.token_expires_s <= now.s)
    nat_registry_end (r, now, session, NAT_REASON_EXPIRED, FALSE);
  else if (!session->registered && now.us - session->created_us >= NAT_REGISTER_WITHIN_US)
    drop_unregistered (r, now, session);
}

static void
sync_ended (NatRegistry *r, NatTime now)
{
  g_autoptr (GError) error = NULL;

  if (r->config.ended != NULL && !nat_ended_file_sync (r->config.ended, now.s, &error))
    g_warning ("ended sessions could come back after a restart: %s", error->message);
}

static gboolean
is_due (NatTime now, NatRegistered *session)
{
  return session->ticket.token_expires_s <= now.s ||
         (!session->registered && now.us - session->created_us >= NAT_REGISTER_WITHIN_US);
}

void
nat_registry_tick (NatRegistry *r, NatTime now)
{
  g_autoptr (GPtrArray) due = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer value;

  nat_registry_poll (r, now);
  nat_registry_flush (r);
  sync_ended (r, now);
  g_hash_table_iter_init (&iter, r->sessions);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    if (is_due (now, value))
      g_ptr_array_add (due, value);
  }
  /* Removing one session never removes another. */
  for (guint i = 0; i < due->len; i++)
    check_session (r, now, g_ptr_array_index (due, i));
  g_ptr_array_set_size (due, 0);
  g_hash_table_iter_init (&iter, r->streams);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    Stream *stream = value;

    if (stream->untold)
      stream_tell (r, stream);
    if (stream->state == NAT_PUBLISHER_GRACE && now.us >= stream->grace_until_us)
      g_ptr_array_add (due, stream);
  }
  for (guint i = 0; i < due->len; i++) {
    stream_end_grace (r, g_ptr_array_index (due, i));
    stream_forget_if_idle (r, g_ptr_array_index (due, i));
  }
}

/* ---- Looking ----------------------------------------------------------- */

static const char *
state_text (NatPublisherState state)
{
  switch (state) {
  case NAT_PUBLISHER_LIVE: return "live";
  case NAT_PUBLISHER_GRACE: return "grace";
  case NAT_PUBLISHER_ENDED: return "ended";
  default: return "none";
  }
}

static void
snapshot_session (NatSnapshot *snapshot, NatRegistered *session)
{
  NatSessionSnapshot *s = g_new0 (NatSessionSnapshot, 1);

  nat_session_id_to_text (session->ticket.session_id, s->id);
  s->role = session->ticket.role;
  s->stream = g_strdup (session->ticket.stream);
  s->subject = g_strdup (session->ticket.subject);
  s->mapped = session->mapped;
  s->created_s = session->created_s;
  s->expires_s = session->ticket.token_expires_s;
  s->registered = session->registered;
  s->counters = nat_session_counters_ref (session->counters);
  g_ptr_array_add (snapshot->sessions, s);
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  const NatStreamSnapshot *const *x = a, *const *y = b;

  return strcmp ((*x)->name, (*y)->name);
}

static gint
compare_sessions (gconstpointer a, gconstpointer b)
{
  const NatSessionSnapshot *const *x = a, *const *y = b;
  gint order = strcmp ((*x)->stream, (*y)->stream);

  if (order == 0)
    order = (gint)(*x)->role - (gint)(*y)->role;
  return order ? order : strcmp ((*x)->id, (*y)->id);
}

void
nat_registry_snapshot (NatRegistry *r, NatSnapshot *snapshot)
{
  GHashTableIter iter;
  gpointer value;

  snapshot->past = nat_session_counters_ref (r->past);
  g_hash_table_iter_init (&iter, r->streams);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    Stream *stream = value;
    NatStreamSnapshot *s = g_new0 (NatStreamSnapshot, 1);

    s->name = g_strdup (stream->name);
    s->publisher = state_text (stream->state);
    s->subscribers = stream->subscribers;
    s->version = stream->version;
    s->past = nat_session_counters_ref (stream->past);
    g_ptr_array_add (snapshot->streams, s);
  }
  g_hash_table_iter_init (&iter, r->sessions);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    snapshot_session (snapshot, value);
  g_ptr_array_sort (snapshot->streams, compare_names);
  g_ptr_array_sort (snapshot->sessions, compare_sessions);
}
