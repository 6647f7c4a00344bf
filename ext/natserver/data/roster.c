/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/roster.h"

#include <string.h>

#include "natproto/crypto.h"

#define STREAM_KEPT_US ((gint64)NAT_TICKET_LIFETIME_S * G_USEC_PER_SEC)

struct _NatDataEnded {
  guint8 id[NAT_SESSION_ID_SIZE]; /* first: it is the hash key */
  NatReason reason;
  gint64 until_s;
  const NatDataStream *stream; /* of the forgotten; only to be compared */
  NatDataEnded *next;          /* between two rosters */
};

static NatDataEnded *
new_ended (const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s)
{
  NatDataEnded *e = g_new0 (NatDataEnded, 1);

  memcpy (e->id, id, sizeof e->id);
  e->reason = reason;
  e->until_s = until_s;
  return e;
}

/* ---- The whole --------------------------------------------------------- */

/* Ids are random, and only those of genuine tickets get here: any four bytes are a good hash. */
static guint
id_hash (gconstpointer id)
{
  guint hash;

  memcpy (&hash, id, sizeof hash);
  return hash;
}

static gboolean
id_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, NAT_SESSION_ID_SIZE) == 0;
}

static void
free_session (NatDataSession *s)
{
  nat_srtcp_free (s->from_client);
  nat_srtcp_free (s->to_client);
  nat_session_counters_unref (s->counters);
  while (s->paths) {
    NatPath *next = s->paths->next;
    g_free (s->paths);
    s->paths = next;
  }
  g_free (s->rate);
  nat_crypto_wipe (s, sizeof *s);
  g_free (s);
}

static void
free_stream (gpointer data)
{
  NatDataStream *stream = data;

  g_free (stream->receivers);
  g_free (stream->tracks);
  g_free (stream->name);
  g_free (stream);
}

NatRoster *
nat_roster_new (void)
{
  NatRoster *r = g_new0 (NatRoster, 1);
  guint8 hash_key[16];

  nat_crypto_random (hash_key, sizeof hash_key);
  r->paths = nat_table_new (hash_key);
  nat_crypto_wipe (hash_key, sizeof hash_key);
  r->sessions = g_hash_table_new (id_hash, id_equal);
  r->streams = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, free_stream);
  r->ended = g_hash_table_new_full (id_hash, id_equal, g_free, NULL);
  r->forgotten = g_hash_table_new_full (id_hash, id_equal, g_free, NULL);
  r->ssrcs = g_hash_table_new (NULL, NULL);
  r->live = g_ptr_array_new ();
  g_queue_init (&r->active);
  return r;
}

void
nat_roster_free (NatRoster *r)
{
  GHashTableIter it;
  gpointer session;

  if (!r)
    return;
  nat_roster_settle (r);
  g_hash_table_iter_init (&it, r->sessions);
  while (g_hash_table_iter_next (&it, NULL, &session))
    free_session (session);
  g_hash_table_unref (r->sessions);
  g_hash_table_unref (r->streams);
  g_hash_table_unref (r->ended);
  g_hash_table_unref (r->forgotten);
  g_hash_table_unref (r->ssrcs);
  g_ptr_array_unref (r->live);
  nat_table_free (r->paths);
  g_free (r);
}

/* ---- Receivers --------------------------------------------------------- */

static void
mark_stale (NatRoster *r, NatDataStream *stream)
{
  if (stream->stale)
    return;
  stream->stale = TRUE;
  stream->next_stale = r->stale;
  r->stale = stream;
}

static gboolean
is_receiver (const NatDataSession *s)
{
  return s->role == NAT_ROLE_SUBSCRIBER && s->selected != NULL;
}

/* Grouped by socket: neighbours then share a system call. */
static NatReceivers *
build_receivers (const NatDataStream *stream)
{
  guint start[NAT_UDPIO_SOCKETS + 1] = {0};
  NatReceivers *new;

  for (const NatDataSession *s = stream->sessions; s; s = s->next) {
    if (is_receiver (s))
      start[s->selected->socket + 1]++;
  }
  for (guint i = 0; i < NAT_UDPIO_SOCKETS; i++)
    start[i + 1] += start[i];
  new = g_malloc (sizeof *new + start[NAT_UDPIO_SOCKETS] * sizeof new->list[0]);
  new->n = start[NAT_UDPIO_SOCKETS];
  for (NatDataSession *s = stream->sessions; s; s = s->next) {
    if (is_receiver (s)) {
      NatReceiver *receiver = &new->list[start[s->selected->socket]++];
      nat_roster_dest (s->selected, &receiver->dest);
      receiver->session = s;
      receiver->counters = s->counters;
    }
  }
  return new;
}

void
nat_roster_settle (NatRoster *r)
{
  for (NatDataStream *stream = r->stale; stream; stream = stream->next_stale) {
    stream->receivers->next = r->retired_receivers;
    r->retired_receivers = stream->receivers;
    stream->receivers = build_receivers (stream);
    stream->stale = FALSE;
  }
  r->stale = NULL;
  while (r->retired_receivers) {
    NatReceivers *old = r->retired_receivers;
    r->retired_receivers = old->next;
    g_free (old);
  }
  while (r->retired_sessions) {
    NatDataSession *old = r->retired_sessions;
    r->retired_sessions = old->next;
    free_session (old);
  }
}

/* ---- Paths ------------------------------------------------------------- */

NatPath *
nat_roster_find_path (NatRoster *r, const NatPathKey *key)
{
  return (NatPath *)nat_table_find (r->paths, key);
}

void
nat_roster_drop_path (NatRoster *r, NatPath *path)
{
  NatDataSession *s = path->session;
  NatPath **link = &s->paths;

  nat_table_remove (r->paths, &path->key);
  if (s->selected == path) {
    s->selected = NULL;
    mark_stale (r, s->stream);
  }
  while (*link != path)
    link = &(*link)->next;
  *link = path->next;
  g_free (path);
}

void
nat_roster_dest (const NatPath *path, NatUdpDest *dest)
{
  NatUdpSource source = {.key = path->key, .socket = path->socket, .interface = path->interface};

  nat_udpio_dest_fill (dest, &source, path->many_locals);
}

void
nat_roster_select (NatRoster *r, NatPath *path)
{
  NatDataSession *s = path->session;

  s->selected = path;
  mark_stale (r, s->stream);
}

/* Makes room for one more: the one goes that was valid longest ago and is not selected. */
static void
drop_oldest_path (NatRoster *r, NatDataSession *s)
{
  NatPath *oldest = NULL;
  guint n = 0;

  for (NatPath *p = s->paths; p; p = p->next) {
    n++;
    if (p != s->selected && (!oldest || p->valid_us < oldest->valid_us))
      oldest = p;
  }
  if (n >= NAT_PATHS_MAX)
    nat_roster_drop_path (r, oldest);
}

static NatPath *
new_path (NatRoster *r, NatDataSession *s, const NatUdpSource *source, const NatUdpio *io)
{
  NatPath *path;

  drop_oldest_path (r, s);
  path = g_new0 (NatPath, 1);
  path->key = source->key;
  path->session = s;
  path->socket = (guint8)source->socket;
  path->interface = source->interface;
  path->many_locals = nat_udpio_has_many_locals (io, source->socket);
  path->next = s->paths;
  s->paths = path;
  nat_table_insert (r->paths, &path->key);
  return path;
}

NatPath *
nat_roster_validate_path (
    NatRoster *r, NatDataSession *s, const NatUdpSource *source, const NatUdpio *io, gint64 now_us)
{
  NatPath *path = nat_roster_find_path (r, &source->key);

  if (path && path->session != s) {
    nat_roster_drop_path (r, path);
    path = NULL;
  }
  if (!path)
    path = new_path (r, s, source, io);
  path->valid_us = now_us;
  return path;
}

/* ---- Sessions ---------------------------------------------------------- */

NatDataSession *
nat_roster_find (NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE])
{
  return g_hash_table_lookup (r->sessions, id);
}

static void
join_live (NatRoster *r, NatDataSession *s)
{
  s->live_index = r->live->len;
  g_ptr_array_add (r->live, s);
}

static void
leave_live (NatRoster *r, NatDataSession *s)
{
  g_ptr_array_remove_index_fast (r->live, s->live_index);
  if (s->live_index < r->live->len)
    ((NatDataSession *)r->live->pdata[s->live_index])->live_index = s->live_index;
}

static void
enlist (NatRoster *r, NatDataSession *s)
{
  join_live (r, s);
  if (s->stream->has_publisher && id_equal (s->stream->publisher_id, s->id))
    s->stream->publisher = s;
}

/* From here on no packet finds the session and none is sent to it. */
static void
unlist (NatRoster *r, NatDataSession *s)
{
  while (s->paths)
    nat_roster_drop_path (r, s->paths);
  if (s->stream->publisher == s)
    s->stream->publisher = NULL;
  if (s->state == NAT_DATA_DORMANT)
    return;
  leave_live (r, s);
}

NatDataSession *
nat_roster_add (NatRoster *r, const NatTicket *ticket, NatSessionCounters *counters, gint64 now_us)
{
  NatDataSession *s = g_new0 (NatDataSession, 1);

  memcpy (s->id, ticket->session_id, sizeof s->id);
  s->role = ticket->role;
  s->password_secret = ticket->password_secret;
  s->counters = nat_session_counters_ref (counters);
  s->stream = nat_roster_stream (r, ticket->stream, now_us);
  s->next = s->stream->sessions;
  if (s->next)
    s->next->prev = s;
  s->stream->sessions = s;
  nat_roster_renew (s, ticket, now_us);
  g_hash_table_insert (r->sessions, s->id, s);
  enlist (r, s);
  return s;
}

void
nat_roster_renew (NatDataSession *s, const NatTicket *ticket, gint64 now_us)
{
  gint64 rate = (gint64)ticket->max_kbps * 1000 / 8;

  if (ticket->expires_s < s->expires_s)
    return;
  s->expires_s = ticket->expires_s;
  if (rate == (s->rate ? s->rate->rate : 0))
    return;
  g_clear_pointer (&s->rate, g_free);
  if (rate == 0)
    return;
  s->rate = g_new (NatLimiter, 1);
  /* A second's worth at once: pictures come in bursts. */
  nat_limiter_init (s->rate, rate, MAX (rate, NAT_DATAGRAM_MAX), now_us);
}

static void
remember_forgotten (NatRoster *r, const NatDataSession *s)
{
  NatDataEnded *e = new_ended (s->id, NAT_REASON_EXPIRED, s->expires_s);

  e->stream = s->stream;
  g_hash_table_replace (r->forgotten, e, e);
}

void
nat_roster_sleep (NatRoster *r, NatDataSession *s, gint64 now_us)
{
  unlist (r, s);
  s->state = NAT_DATA_DORMANT;
  r->n_dormant++;
  memset (&s->told_mapped, 0, sizeof s->told_mapped);
  if (r->n_dormant <= NAT_DORMANT_MAX)
    return;
  /* Just forgotten, its SRTCP keys would be used again from their first index. */
  remember_forgotten (r, s);
  nat_roster_remove (r, s, now_us);
}

void
nat_roster_wake (NatRoster *r, NatDataSession *s)
{
  s->state = NAT_DATA_EXPECTED;
  r->n_dormant--;
  s->told_silent = FALSE;
  enlist (r, s);
}

void
nat_roster_remove (NatRoster *r, NatDataSession *s, gint64 now_us)
{
  NatDataStream *stream = s->stream;

  unlist (r, s);
  if (s->state == NAT_DATA_DORMANT)
    r->n_dormant--;
  g_hash_table_remove (r->sessions, s->id);
  if (s->next)
    s->next->prev = s->prev;
  if (s->prev)
    s->prev->next = s->next;
  else
    stream->sessions = s->next;
  if (!stream->sessions)
    stream->empty_us = now_us;
  s->next = r->retired_sessions;
  r->retired_sessions = s;
}

gboolean
nat_roster_remembers (const NatDataSession *s, const NatStunSlice *username)
{
  return s->username_len > 0 && s->username_len == username->len &&
         memcmp (s->username_tail, username->data + username->len - NAT_USERNAME_TAIL,
             NAT_USERNAME_TAIL) == 0;
}

void
nat_roster_remember (NatDataSession *s, const NatStunSlice *username, gint64 expires_s,
    const guint8 key[NAT_STUN_KEY_SIZE])
{
  g_return_if_fail (username->len >= NAT_USERNAME_TAIL);
  s->username_len = (guint16)username->len;
  memcpy (s->username_tail, username->data + username->len - NAT_USERNAME_TAIL, NAT_USERNAME_TAIL);
  s->username_expires_s = expires_s;
  memcpy (s->key, key, sizeof s->key);
}

/* ---- Streams ----------------------------------------------------------- */

NatDataStream *
nat_roster_stream (NatRoster *r, const char *name, gint64 now_us)
{
  NatDataStream *stream = g_hash_table_lookup (r->streams, name);
  guint8 random[8];

  if (stream)
    return stream;
  stream = g_new0 (NatDataStream, 1);
  stream->name = g_strdup (name);
  stream->empty_us = now_us;
  stream->receivers = g_new0 (NatReceivers, 1);
  stream->first_pending = stream->last_pending = -1;
  stream->active_link.data = stream;
  nat_crypto_random (&stream->relay_ssrc, sizeof stream->relay_ssrc);
  nat_crypto_random (random, sizeof random);
  nat_base64url_encode (random, sizeof random, stream->cname);
  g_strlcat (stream->cname, "@" NAT_REALM, sizeof stream->cname);
  g_hash_table_insert (r->streams, stream->name, stream);
  return stream;
}

NatDataTrack *
nat_roster_track (const NatDataStream *stream, guint32 ssrc)
{
  /* 0 in a track says that it announces none. */
  for (guint i = 0; i < stream->n_tracks && ssrc != 0; i++) {
    if (stream->tracks[i].info.ssrc == ssrc)
      return &stream->tracks[i];
  }
  return NULL;
}

static guint
announcements (NatRoster *r, guint32 ssrc)
{
  return GPOINTER_TO_UINT (g_hash_table_lookup (r->ssrcs, GUINT_TO_POINTER (ssrc)));
}

gboolean
nat_roster_ssrc_announced (NatRoster *r, guint32 ssrc)
{
  return r->all_ssrcs ? nat_ssrc_filter_has (r->all_ssrcs, ssrc) : announcements (r, ssrc) > 0;
}

static void
announce (NatRoster *r, guint32 ssrc, gint change)
{
  guint n;

  if (r->all_ssrcs) {
    nat_ssrc_filter_change (r->all_ssrcs, ssrc, change);
    return;
  }
  n = announcements (r, ssrc) + (guint)change;
  if (n > 0)
    g_hash_table_insert (r->ssrcs, GUINT_TO_POINTER (ssrc), GUINT_TO_POINTER (n));
  else
    g_hash_table_remove (r->ssrcs, GUINT_TO_POINTER (ssrc));
}

/* Counts go on for an SSRC that stays. The reception points into itself, so it is set up anew
 * around the old numbers. */
static void
init_track (NatDataTrack *track, const NatTrack *info, const NatDataTrack *old)
{
  if (old) {
    *track = *old;
    track->reception.seen.words = track->reception.seen_words;
    track->reception.clock_rate = info->clock_rate;
  } else {
    nat_reception_init (&track->reception, info->ssrc, info->clock_rate);
  }
  track->info = *info;
}

void
nat_roster_describe (NatRoster *r, NatDataStream *stream, const NatTracks *tracks)
{
  guint n = MIN (tracks->n_tracks, NAT_TRACKS_MAX);
  NatDataTrack *list = g_new0 (NatDataTrack, n);

  for (guint i = 0; i < n; i++) {
    init_track (&list[i], &tracks->tracks[i], nat_roster_track (stream, tracks->tracks[i].ssrc));
    announce (r, list[i].info.ssrc, 1);
  }
  for (guint i = 0; i < stream->n_tracks; i++)
    announce (r, stream->tracks[i].info.ssrc, -1);
  g_free (stream->tracks);
  stream->tracks = list;
  stream->n_tracks = n;
  /* Ours must not be one of theirs. */
  while (nat_roster_track (stream, stream->relay_ssrc))
    nat_crypto_random (&stream->relay_ssrc, sizeof stream->relay_ssrc);
}

void
nat_roster_set_publisher (NatRoster *r, NatDataStream *stream, const guint8 id[NAT_SESSION_ID_SIZE])
{
  NatDataSession *s = nat_roster_find (r, id);

  if (stream->has_publisher && id_equal (stream->publisher_id, id))
    return;
  stream->has_publisher = TRUE;
  memcpy (stream->publisher_id, id, sizeof stream->publisher_id);
  stream->publisher = s && s->stream == stream && s->state != NAT_DATA_DORMANT ? s : NULL;
  for (guint i = 0; i < stream->n_tracks; i++)
    nat_reception_init (&stream->tracks[i].reception, stream->tracks[i].info.ssrc,
        stream->tracks[i].info.clock_rate);
}

void
nat_roster_activate (NatRoster *r, NatDataStream *stream)
{
  if (stream->active)
    return;
  stream->active = TRUE;
  g_queue_push_tail_link (&r->active, &stream->active_link);
}

void
nat_roster_deactivate (NatRoster *r, NatDataStream *stream)
{
  if (!stream->active)
    return;
  stream->active = FALSE;
  g_queue_unlink (&r->active, &stream->active_link);
}

/* ---- From roster to roster --------------------------------------------- */

gboolean
nat_roster_has_stream (NatRoster *r, const char *name)
{
  return g_hash_table_contains (r->streams, name);
}

static void
detach_forgotten (NatRoster *r, NatDataStream *stream)
{
  GHashTableIter it;
  gpointer value;

  g_hash_table_iter_init (&it, r->forgotten);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    NatDataEnded *e = value;

    if (e->stream != stream)
      continue;
    g_hash_table_iter_steal (&it);
    e->next = stream->forgotten;
    stream->forgotten = e;
  }
}

static void
attach_forgotten (NatRoster *r, NatDataStream *stream)
{
  while (stream->forgotten) {
    NatDataEnded *e = stream->forgotten;

    stream->forgotten = e->next;
    g_hash_table_replace (r->forgotten, e, e);
  }
}

void
nat_roster_detach (NatRoster *r, NatDataStream *stream)
{
  g_assert (!stream->stale && stream->first_pending < 0);
  for (NatDataSession *s = stream->sessions; s; s = s->next) {
    for (NatPath *p = s->paths; p; p = p->next)
      nat_table_remove (r->paths, &p->key);
    g_hash_table_remove (r->sessions, s->id);
    if (s->state == NAT_DATA_DORMANT)
      r->n_dormant--;
    else
      leave_live (r, s);
  }
  detach_forgotten (r, stream);
  if (stream->active)
    g_queue_unlink (&r->active, &stream->active_link);
  g_hash_table_steal (r->streams, stream->name);
}

static void
attach_path (NatRoster *r, NatPath *path)
{
  NatPath *here = nat_roster_find_path (r, &path->key);

  if (here && here->valid_us > path->valid_us) {
    nat_roster_drop_path (r, path);
    return;
  }
  if (here)
    nat_roster_drop_path (r, here);
  nat_table_insert (r->paths, &path->key);
}

void
nat_roster_attach (NatRoster *r, NatDataStream *stream)
{
  for (NatDataSession *s = stream->sessions; s; s = s->next) {
    g_hash_table_insert (r->sessions, s->id, s);
    if (s->state == NAT_DATA_DORMANT)
      r->n_dormant++;
    else
      join_live (r, s);
    for (NatPath *p = s->paths, *next; p; p = next) {
      next = p->next;
      attach_path (r, p);
    }
  }
  if (stream->active)
    g_queue_push_tail_link (&r->active, &stream->active_link);
  attach_forgotten (r, stream);
  g_hash_table_insert (r->streams, stream->name, stream);
}

/* ---- Ended ids, and what has run out ----------------------------------- */

void
nat_roster_end (
    NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s)
{
  NatDataEnded *e = new_ended (id, reason, until_s);

  g_hash_table_replace (r->ended, e, e);
}

NatReason
nat_roster_ended (NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE])
{
  const NatDataEnded *e = g_hash_table_lookup (r->ended, id);

  if (!e)
    e = g_hash_table_lookup (r->forgotten, id);
  return e ? e->reason : NAT_REASON_NONE;
}

static gboolean
ended_is_over (gpointer key, gpointer value, gpointer now_s)
{
  return ((NatDataEnded *)key)->until_s <= *(gint64 *)now_s;
}

static void
prune_sessions (NatRoster *r, gint64 now_us, gint64 now_s)
{
  GHashTableIter it;
  gpointer value;

  g_hash_table_iter_init (&it, r->sessions);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    NatDataSession *s = value;

    if (s->state != NAT_DATA_REGISTERED && s->expires_s <= now_s) {
      /* Out of the hash first, the way that an iteration allows. */
      g_hash_table_iter_remove (&it);
      nat_roster_remove (r, s, now_us);
    }
  }
}

static void
prune_streams (NatRoster *r, gint64 now_us)
{
  static const NatTracks none;
  GHashTableIter it;
  gpointer value;

  g_hash_table_iter_init (&it, r->streams);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    NatDataStream *stream = value;

    if (stream->sessions || now_us - stream->empty_us < STREAM_KEPT_US ||
        (r->may_forget && !r->may_forget (r->user, stream->name)))
      continue;
    nat_roster_describe (r, stream, &none);
    nat_roster_deactivate (r, stream);
    g_hash_table_iter_remove (&it);
  }
}

void
nat_roster_prune (NatRoster *r, gint64 now_us, gint64 now_s)
{
  g_hash_table_foreach_remove (r->ended, ended_is_over, &now_s);
  g_hash_table_foreach_remove (r->forgotten, ended_is_over, &now_s);
  prune_sessions (r, now_us, now_s);
  nat_roster_settle (r); /* no stream that goes is still in the list of the stale */
  prune_streams (r, now_us);
}
