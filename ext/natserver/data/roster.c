/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/roster.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natserver/data/room.h"
#include "natserver/data/tracks.h"

/* Control keeps a publisher's place for NAT_GRACE_US and speaks of the stream until then; whoever comes
 * later makes it anew. */
#define STREAM_KEPT_US (2 * 60 * G_USEC_PER_SEC)

struct _NatDataEnded {
  guint8 id[NAT_SESSION_ID_SIZE]; /* first: it is the hash key */
  NatReason reason;
  gint64 until_s;
  NatDataStream *stream; /* of the forgotten; it stays while this does */
  NatDataEnded *next;    /* between two rosters */
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

static void
forgotten_free (gpointer data)
{
  NatDataEnded *e = data;

  e->stream->n_forgotten--;
  g_free (e);
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

void
nat_data_session_free (NatDataSession *s)
{
  nat_srtcp_free (s->from_client);
  nat_srtcp_free (s->to_client);
  nat_session_counters_unref (s->counters);
  while (s->paths) {
    NatPath *next = s->paths->next;
    g_free (s->paths);
    s->paths = next;
  }
  if (s->role == NAT_ROLE_PUBLISHER)
    nat_budget_free (s->budget);
  else
    g_free (s->taste);
  g_free (s->repairs);
  nat_crypto_wipe (s, sizeof *s);
  g_free (s);
}

static void
free_stream (gpointer data)
{
  NatDataStream *stream = data;

  nat_history_dispose (&stream->history);
  nat_heirloom_free (stream->heirloom);
  g_free (stream->receivers);
  g_free (stream->audience);
  nat_room_free (stream);
  nat_tracks_free (stream);
  nat_verifier_free (stream->verifier);
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
  r->ended = nat_ended_set_new ();
  r->forgotten = g_hash_table_new_full (id_hash, id_equal, forgotten_free, NULL);
  nat_tracks_hash (NULL); /* draws its secret, which all workers read from then on */
  r->ssrcs = g_hash_table_new (nat_tracks_hash, NULL);
  r->sources = g_hash_table_new (nat_tracks_hash, NULL);
  r->patterns = g_ptr_array_new ();
  r->live = g_ptr_array_new ();
  r->dormant = g_ptr_array_new ();
  r->dormant_max = NAT_DORMANT_MAX;
  r->meters = nat_meters_new ();
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
    nat_data_session_free (session);
  g_hash_table_unref (r->sessions);
  g_hash_table_unref (r->forgotten);
  g_hash_table_unref (r->streams);
  nat_ended_set_free (r->ended);
  g_hash_table_unref (r->ssrcs);
  g_hash_table_unref (r->sources);
  g_ptr_array_unref (r->patterns);
  g_ptr_array_unref (r->live);
  g_ptr_array_unref (r->dormant);
  nat_table_free (r->paths);
  nat_meters_unref (r->meters);
  g_free (r);
}

void
nat_roster_share_meters (NatRoster *r, NatMeters *meters)
{
  nat_meters_unref (r->meters);
  r->meters = nat_meters_ref (meters);
}

/* A subscriber of a pattern is a receiver of all that it matches. */
static void
mark_receivers_stale (NatRoster *r, NatDataSession *s)
{
  if (s->stream->room)
    nat_room_session_changed (r, s);
  else
    nat_roster_mark_stale (r, s->stream);
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
    mark_receivers_stale (r, s);
    if (s->stream->audience)
      nat_audience_leave (s->stream->audience, &s->member);
  }
  while (*link != path)
    link = &(*link)->next;
  *link = path->next;
  g_free (path);
}

void
nat_roster_dest (const NatPath *path, NatUdpDest *dest)
{
  NatUdpSource source = {.key = path->key, .socket = path->socket, .scope = path->scope};

  nat_udpio_dest_fill (dest, &source, path->many_locals);
  dest->apart = path->apart;
}

void
nat_roster_select (NatRoster *r, NatPath *path)
{
  NatDataSession *s = path->session;

  s->selected = path;
  mark_receivers_stale (r, s);
  if (s->role != NAT_ROLE_SUBSCRIBER || s->stream->room)
    return;
  if (!s->stream->audience)
    s->stream->audience = g_new0 (NatAudienceCounts, 1);
  nat_audience_join (s->stream->audience, &s->member);
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
  path->scope = source->scope;
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
  if (s->role == NAT_ROLE_PUBLISHER)
    nat_budget_heard_from (s->budget, &source->key.remote, now_us);
  return path;
}

/* ---- Sessions ---------------------------------------------------------- */

NatDataSession *
nat_roster_find (NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE])
{
  return g_hash_table_lookup (r->sessions, id);
}

/* Every session is in one of two arrays, which its state says. */
static GPtrArray *
list_of (NatRoster *r, const NatDataSession *s)
{
  return s->state == NAT_DATA_DORMANT ? r->dormant : r->live;
}

static void
join_list (NatRoster *r, NatDataSession *s)
{
  GPtrArray *list = list_of (r, s);

  s->index = list->len;
  g_ptr_array_add (list, s);
}

static void
leave_list (NatRoster *r, NatDataSession *s)
{
  GPtrArray *list = list_of (r, s);

  g_ptr_array_remove_index_fast (list, s->index);
  if (s->index < list->len)
    ((NatDataSession *)list->pdata[s->index])->index = s->index;
}

static void
enlist (NatRoster *r, NatDataSession *s)
{
  join_list (r, s);
  if (!s->stream->has_publisher || !id_equal (s->stream->publisher_id, s->id))
    return;
  s->stream->publisher = s;
  nat_room_published (r, s->stream);
}

/* From here on no packet finds the session and none is sent to it. */
static void
unlist (NatRoster *r, NatDataSession *s)
{
  while (s->paths)
    nat_roster_drop_path (r, s->paths);
  if (s->stream->publisher == s) {
    s->stream->publisher = NULL;
    nat_room_published (r, s->stream);
  }
  leave_list (r, s);
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
  if (s->role == NAT_ROLE_PUBLISHER) {
    s->stream->subject = nat_room_subject_hash (ticket->subject);
    s->budget = nat_budget_new (r->meters, &s->stream->meter);
  } else {
    nat_room_add_session (s, ticket->subject);
  }
  nat_roster_renew (s, ticket);
  g_hash_table_insert (r->sessions, s->id, s);
  enlist (r, s);
  return s;
}

static void
limit_rate (NatDataSession *s, const NatTicket *ticket)
{
  NatRate claim = {ticket->max_kbps, ticket->max_packets}, before;

  if (s->role != NAT_ROLE_PUBLISHER)
    return;
  before = nat_budget_claimed (s->budget);
  if (!s->has_claim || claim.kbps != before.kbps || claim.packets != before.packets)
    nat_budget_claim (s->budget, ticket->subject, &claim, s->counters);
  s->has_claim = TRUE;
}

void
nat_roster_renew (NatDataSession *s, const NatTicket *ticket)
{
  if (ticket->expires_s < s->expires_s)
    return;
  s->expires_s = ticket->expires_s;
  if (!s->governed)
    limit_rate (s, ticket);
}

void
nat_roster_govern (NatDataSession *s, const NatTicket *ticket)
{
  s->governed = TRUE;
  s->expires_s = MAX (s->expires_s, ticket->expires_s);
  limit_rate (s, ticket);
}

static void
remember_forgotten (NatRoster *r, const NatDataSession *s)
{
  NatDataEnded *e = new_ended (s->id, NAT_REASON_EXPIRED, s->expires_s);

  e->stream = s->stream;
  e->stream->n_forgotten++;
  g_hash_table_replace (r->forgotten, e, e);
}

/* In turn, so that the one goes that has been there longest, or nearly: were it the last, those who flood would keep their
 * places. Whoever takes the place that becomes free is the last, behind whom the turn comes to only when it was all round. */
static void
forget_one (NatRoster *r, gint64 now_us)
{
  NatDataSession *s = r->dormant->pdata[r->forget % MAX (r->dormant->len - 1, 1)];

  r->forget++;
  /* Just forgotten, its SRTCP keys would be used again from their first index. */
  remember_forgotten (r, s);
  nat_roster_remove (r, s, now_us);
}

void
nat_roster_sleep (NatRoster *r, NatDataSession *s, gint64 now_us)
{
  unlist (r, s);
  s->state = NAT_DATA_DORMANT;
  join_list (r, s);
  memset (&s->told_mapped, 0, sizeof s->told_mapped);
  if (r->dormant->len > r->dormant_max)
    forget_one (r, now_us);
}

void
nat_roster_wake (NatRoster *r, NatDataSession *s)
{
  leave_list (r, s);
  s->state = NAT_DATA_EXPECTED;
  s->told_silent = FALSE;
  enlist (r, s);
}

void
nat_roster_remove (NatRoster *r, NatDataSession *s, gint64 now_us)
{
  NatDataStream *stream = s->stream;

  unlist (r, s);
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
  r->n_waiting++;
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
  for (guint i = 0; i < NAT_RANKS; i++)
    stream->jobs[i] = -1;
  stream->active_link.data = stream;
  nat_history_set_pool (&stream->history, r->pool);
  nat_round_trip_init (&stream->round_trip);
  nat_crypto_random (&stream->relay_ssrc, sizeof stream->relay_ssrc);
  nat_crypto_random (random, sizeof random);
  nat_base64url_encode (random, sizeof random, stream->cname);
  g_strlcat (stream->cname, "@" NAT_REALM, sizeof stream->cname);
  stream->hash = nat_room_name_hash (name);
  g_hash_table_insert (r->streams, stream->name, stream);
  nat_room_enter (r, stream);
  return stream;
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
  nat_room_leave (r, stream);
  stream->since_us = g_get_monotonic_time ();
  nat_room_enter (r, stream);
  nat_history_clear (&stream->history);
  nat_round_trip_init (&stream->round_trip);
  nat_tracks_restart (stream);
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

  if (stream->n_forgotten == 0)
    return;
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
  for (guint i = 0; i < NAT_RANKS; i++)
    g_assert (stream->jobs[i] < 0);
  /* Nobody's receivers are another roster's. */
  nat_room_leave (r, stream);
  nat_roster_settle (r);
  nat_history_clear (&stream->history);
  nat_history_set_pool (&stream->history, NULL);
  for (NatDataSession *s = stream->sessions; s; s = s->next) {
    for (NatPath *p = s->paths; p; p = p->next)
      nat_table_remove (r->paths, &p->key);
    g_hash_table_remove (r->sessions, s->id);
    leave_list (r, s);
  }
  detach_forgotten (r, stream);
  nat_tracks_leave (r, stream);
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
  nat_history_set_pool (&stream->history, r->pool);
  for (NatDataSession *s = stream->sessions; s; s = s->next) {
    g_hash_table_insert (r->sessions, s->id, s);
    join_list (r, s);
    for (NatPath *p = s->paths, *next; p; p = next) {
      next = p->next;
      attach_path (r, p);
    }
  }
  if (stream->active)
    g_queue_push_tail_link (&r->active, &stream->active_link);
  attach_forgotten (r, stream);
  nat_tracks_enter (r, stream);
  g_hash_table_insert (r->streams, stream->name, stream);
  nat_room_enter (r, stream);
}

/* ---- Ended ids, and what has run out ----------------------------------- */

void
nat_roster_end (
    NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s)
{
  nat_ended_set_add (r->ended, id, reason, until_s);
}

NatReason
nat_roster_ended (NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE])
{
  NatReason reason = nat_ended_set_find (r->ended, id);
  const NatDataEnded *e;

  if (reason != NAT_REASON_NONE)
    return reason;
  e = g_hash_table_lookup (r->forgotten, id);
  return e ? e->reason : NAT_REASON_NONE;
}

static gboolean
ended_is_over (gpointer key, gpointer value, gpointer now_s)
{
  return ((NatDataEnded *)key)->until_s <= *(gint64 *)now_s;
}

static void
prune_list (NatRoster *r, GPtrArray *list, guint *at, guint share, gint64 now_us, gint64 now_s)
{
  for (guint n = list->len / share + 1; n > 0 && list->len > 0; n--) {
    NatDataSession *s;

    if (*at >= list->len)
      *at = 0;
    s = list->pdata[*at];
    if (s->state != NAT_DATA_REGISTERED && s->expires_s <= now_s)
      nat_roster_remove (r, s, now_us); /* and another takes its place */
    else
      (*at)++;
  }
}

void
nat_roster_prune_sessions (NatRoster *r, guint share, gint64 now_us, gint64 now_s)
{
  prune_list (r, r->live, &r->prune_live, share, now_us, now_s);
  prune_list (r, r->dormant, &r->prune_dormant, share, now_us, now_s);
}

/* What control said of it, and what came. */
static void
clear_stream (NatRoster *r, NatDataStream *stream)
{
  static const NatTracks none;

  nat_roster_describe (r, stream, &none);
  nat_history_clear (&stream->history);
  nat_roster_deactivate (r, stream);
  g_clear_pointer (&stream->verifier, nat_verifier_free);
  stream->version = 0;
  stream->has_publisher = FALSE;
  if (stream->room)
    return;
  nat_room_leave (r, stream);
  stream->since_us = 0;
}

/* A stream that nobody has any more, but some of whose sessions were forgotten, stays for as long as their tickets are good:
 * the ids are known to its owner only, and were it gone, whichever worker hears such a client next would take the stream, and
 * begin the client's SRTCP keys again at their first index. */
static void
prune_streams (NatRoster *r, gint64 now_us)
{
  GHashTableIter it;
  gpointer value;

  g_hash_table_iter_init (&it, r->streams);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    NatDataStream *stream = value;

    if (stream->sessions || now_us - stream->empty_us < STREAM_KEPT_US)
      continue;
    if (stream->n_forgotten > 0)
      clear_stream (r, stream);
    if (stream->n_forgotten > 0 || (r->may_forget && !r->may_forget (r->user, stream->name)))
      continue;
    clear_stream (r, stream);
    nat_room_leave (r, stream);
    if (stream->room || stream->rooms)
      nat_roster_settle (r); /* it is not among the stale */
    g_hash_table_iter_remove (&it);
  }
}

void
nat_roster_prune (NatRoster *r, gint64 now_us, gint64 now_s)
{
  nat_ended_set_prune (r->ended, now_s);
  g_hash_table_foreach_remove (r->forgotten, ended_is_over, &now_s);
  nat_roster_settle (r); /* no stream that goes is still in the list of the stale */
  prune_streams (r, now_us);
}
