/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/room.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/streamname.h"

/* Of a pattern. */
struct _NatRoom {
  GPtrArray *streams; /* NatDataStream that it matches, by age */
  guint reach; /* so many of them, from the first, were asked whether somebody publishes them */
  NatDataStream *places[NAT_ROOM_STREAMS_MAX]; /* who does, by age: all that the room gives */
  guint n_places;
  GPtrArray *changed; /* NatDataSession that did since all was settled; some may be gone */
};

/* What a session does not want; hashes, 0 = nothing. */
struct _NatTaste {
  guint64 subject, exclude;
};

guint64
nat_room_name_hash (const char *name)
{
  guint8 hash[NAT_SHA256_SIZE];
  guint64 out;

  nat_crypto_sha256 (name, strlen (name), hash);
  memcpy (&out, hash, sizeof out);
  return MAX (out, 1);
}

guint64
nat_room_subject_hash (const char *subject)
{
  return nat_subject_is_named (subject) ? nat_room_name_hash (subject) : 0;
}

/* ---- Ties -------------------------------------------------------------- */

static gint
compare_age (const NatDataStream *a, const NatDataStream *b)
{
  if (a->since_us != b->since_us)
    return a->since_us < b->since_us ? -1 : 1;
  return strcmp (a->name, b->name);
}

/* They are not tied yet: whoever enters is new, or has left. */
static void
tie (NatDataStream *pattern, NatDataStream *stream)
{
  GPtrArray *list = pattern->room->streams;
  guint at = list->len;

  if (!stream->rooms)
    stream->rooms = g_ptr_array_new ();
  while (at > 0 && compare_age (list->pdata[at - 1], stream) > 0)
    at--;
  g_ptr_array_insert (list, (gint)at, stream);
  g_ptr_array_add (stream->rooms, pattern);
}

static void
enter_pattern (NatRoster *r, NatDataStream *pattern)
{
  GHashTableIter it;
  gpointer value;

  g_hash_table_iter_init (&it, r->streams);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    NatDataStream *stream = value;

    if (!stream->room && stream->since_us != 0 &&
        nat_stream_glob_takes (pattern->name, stream->name))
      tie (pattern, stream);
  }
  g_ptr_array_add (r->patterns, pattern);
  nat_room_changed (r, pattern);
}

static void
enter_stream (NatRoster *r, NatDataStream *stream)
{
  if (stream->since_us == 0)
    return;
  for (guint i = 0; i < r->patterns->len; i++) {
    NatDataStream *pattern = r->patterns->pdata[i];

    if (nat_stream_glob_takes (pattern->name, stream->name)) {
      tie (pattern, stream);
      nat_room_changed (r, pattern);
    }
  }
}

void
nat_room_enter (NatRoster *r, NatDataStream *stream)
{
  if (!nat_stream_is_glob (stream->name)) {
    enter_stream (r, stream);
    return;
  }
  if (!stream->room) {
    stream->room = g_new0 (NatRoom, 1);
    stream->room->streams = g_ptr_array_new ();
    stream->room->changed = g_ptr_array_new ();
  }
  enter_pattern (r, stream);
}

static void
recount (NatRoster *r, NatDataStream *stream)
{
  stream->recount = TRUE;
  nat_roster_mark_stale (r, stream);
}

static void
forget_changes (NatRoom *room)
{
  for (guint i = 0; i < room->changed->len; i++)
    ((NatDataSession *)room->changed->pdata[i])->changed = FALSE;
  g_ptr_array_set_size (room->changed, 0);
}

static void
leave_pattern (NatRoster *r, NatDataStream *pattern)
{
  GPtrArray *list = pattern->room->streams;

  nat_room_changed (r, pattern);
  for (guint i = 0; i < list->len; i++)
    g_ptr_array_remove (((NatDataStream *)list->pdata[i])->rooms, pattern);
  g_ptr_array_set_size (list, 0);
  forget_changes (pattern->room);
  pattern->room->reach = pattern->room->n_places = 0;
  g_ptr_array_remove_fast (r->patterns, pattern);
}

void
nat_room_leave (NatRoster *r, NatDataStream *stream)
{
  if (stream->room)
    leave_pattern (r, stream);
  if (stream->rooms && stream->rooms->len > 0)
    recount (r, stream);
  while (stream->rooms && stream->rooms->len > 0) {
    NatDataStream *pattern = g_ptr_array_steal_index_fast (stream->rooms, stream->rooms->len - 1);

    g_ptr_array_remove (pattern->room->streams, stream);
    nat_room_changed (r, pattern); /* its place may be another's */
  }
}

void
nat_room_free (NatDataStream *stream)
{
  if (stream->room) {
    g_ptr_array_unref (stream->room->streams);
    g_ptr_array_unref (stream->room->changed);
    g_free (stream->room);
  }
  g_clear_pointer (&stream->rooms, g_ptr_array_unref);
  g_clear_pointer (&stream->guests, g_hash_table_unref);
}

/* A stream without a publisher takes nobody's place: there may be thousands, for minutes, and all that is done for a
 * room's people must not walk them. */
static void
give_places (NatRoom *room)
{
  room->n_places = 0;
  for (room->reach = 0; room->reach < room->streams->len && room->n_places < NAT_ROOM_STREAMS_MAX;
       room->reach++) {
    NatDataStream *stream = room->streams->pdata[room->reach];

    if (stream->publisher)
      room->places[room->n_places++] = stream;
  }
}

static gboolean
has_guests (const NatDataStream *stream)
{
  return stream->guests && g_hash_table_size (stream->guests) > 0;
}

/* One too many may have become one of them, or the other way round; one more than had a place, since one may have come
 * in between. Thousands that nobody publishes any more are let be: whoever publishes and goes, again and again, would
 * keep us busy. */
void
nat_room_changed (NatRoster *r, NatDataStream *pattern)
{
  GPtrArray *list = pattern->room->streams;
  guint before = pattern->room->reach;

  give_places (pattern->room);
  for (guint i = 0; i < list->len && i <= MAX (before, pattern->room->reach); i++) {
    NatDataStream *stream = list->pdata[i];

    if (stream->publisher || has_guests (stream))
      recount (r, stream);
  }
}

void
nat_room_session_changed (NatRoster *r, NatDataSession *s)
{
  NatRoom *room = s->stream->room;

  for (guint i = 0; i < room->n_places; i++)
    nat_roster_mark_stale (r, room->places[i]);
  if (room->n_places == 0 || s->changed)
    return;
  s->changed = TRUE;
  g_ptr_array_add (room->changed, s);
  r->rooms_changed = TRUE;
}

void
nat_rooms_settled (NatRoster *r)
{
  if (!r->rooms_changed)
    return;
  r->rooms_changed = FALSE;
  for (guint i = 0; i < r->patterns->len; i++)
    forget_changes (((NatDataStream *)r->patterns->pdata[i])->room);
}

void
nat_room_published (NatRoster *r, NatDataStream *stream)
{
  for (guint i = 0; stream->rooms && i < stream->rooms->len; i++)
    nat_room_changed (r, stream->rooms->pdata[i]);
}

/* ---- Tastes ------------------------------------------------------------ */

void
nat_room_add_session (NatDataSession *s, const char *subject)
{
  if (!s->stream->room)
    return;
  s->taste = g_new0 (NatTaste, 1);
  s->taste->subject = nat_room_subject_hash (subject);
}

void
nat_room_set_exclude (NatDataSession *s, guint64 exclude)
{
  if (s->stream->room && s->role == NAT_ROLE_SUBSCRIBER)
    s->taste->exclude = exclude;
}

/* Nobody wants to hear what he says himself. */
static gboolean
likes (const NatDataSession *s, const NatDataStream *stream)
{
  const NatTaste *taste = s->taste;

  return s->role == NAT_ROLE_SUBSCRIBER &&
         (taste->subject == 0 || taste->subject != stream->subject) &&
         (taste->exclude == 0 || taste->exclude != stream->hash);
}

/* ---- Who gets what ----------------------------------------------------- */

/* Those that have one are the oldest. */
static gboolean
has_place (const NatDataStream *pattern, const NatDataStream *stream)
{
  const NatRoom *room = pattern->room;

  return room->n_places > 0 && compare_age (stream, room->places[room->n_places - 1]) <= 0;
}

/* Where nobody publishes there is nothing to get. */
static void
visit_guests (const NatDataStream *stream, NatRoomVisit visit, gpointer user)
{
  for (guint i = 0; stream->publisher && stream->rooms && i < stream->rooms->len; i++) {
    const NatDataStream *pattern = stream->rooms->pdata[i];
    NatDataSession *s = has_place (pattern, stream) ? pattern->sessions : NULL;

    for (; s; s = s->next) {
      if (likes (s, stream))
        visit (s, user);
    }
  }
}

void
nat_room_visit_receivers (const NatDataStream *stream, NatRoomVisit visit, gpointer user)
{
  for (NatDataSession *s = stream->sessions; s; s = s->next)
    visit (s, user);
  visit_guests (stream, visit, user);
}

typedef struct {
  NatAudienceMember member;
  gboolean here;
} Guest;

static void
add_guest (NatDataSession *s, gpointer user)
{
  NatDataStream *stream = user;
  Guest *guest;

  if (!s->selected)
    return;
  guest = g_hash_table_lookup (stream->guests, s);
  if (!guest) {
    guest = g_new0 (Guest, 1);
    g_hash_table_insert (stream->guests, s, guest);
    if (!stream->audience)
      stream->audience = g_new0 (NatAudienceCounts, 1);
    nat_audience_join (stream->audience, &guest->member);
  }
  guest->here = TRUE;
}

static void
count_all (NatDataStream *stream)
{
  GHashTableIter it;
  gpointer value;

  visit_guests (stream, add_guest, stream);
  g_hash_table_iter_init (&it, stream->guests);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    Guest *guest = value;

    if (!guest->here) {
      nat_audience_leave (stream->audience, &guest->member);
      g_hash_table_iter_remove (&it);
    } else {
      guest->here = FALSE;
    }
  }
}

/* The session may be gone, but it is not freed before all was settled: it has no path. */
static void
count_one (NatDataStream *stream, const NatDataStream *pattern, NatDataSession *s)
{
  Guest *guest = g_hash_table_lookup (stream->guests, s);

  if (s->selected && stream->publisher && has_place (pattern, stream) && likes (s, stream)) {
    add_guest (s, stream);
    guest = g_hash_table_lookup (stream->guests, s);
    guest->here = FALSE;
  } else if (guest) {
    nat_audience_leave (stream->audience, &guest->member);
    g_hash_table_remove (stream->guests, s);
  }
}

void
nat_room_count_guests (NatDataStream *stream)
{
  gboolean all = stream->recount;

  stream->recount = FALSE;
  if (!stream->guests && (!stream->rooms || stream->rooms->len == 0))
    return;
  if (!stream->guests)
    stream->guests = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  if (all)
    count_all (stream);
  for (guint i = 0; !all && i < stream->rooms->len; i++) {
    const NatDataStream *pattern = stream->rooms->pdata[i];

    for (guint k = 0; k < pattern->room->changed->len; k++)
      count_one (stream, pattern, pattern->room->changed->pdata[k]);
  }
}

NatAudienceMember *
nat_room_member (NatDataStream *stream, NatDataSession *s)
{
  Guest *guest;

  if (s->stream == stream)
    return stream->audience ? &s->member : NULL;
  guest = stream->guests ? g_hash_table_lookup (stream->guests, s) : NULL;
  return guest ? &guest->member : NULL;
}

NatDataStream *
nat_room_stream (const NatDataSession *s, guint n)
{
  const NatRoom *room = s->stream->room;

  if (!room)
    return n == 0 ? s->stream : NULL;
  for (guint i = 0; i < room->n_places; i++) {
    if (likes (s, room->places[i]) && n-- == 0)
      return room->places[i];
  }
  return NULL;
}

static gboolean
gives (const NatRoom *room, const NatDataStream *stream)
{
  for (guint i = 0; i < room->n_places; i++) {
    if (room->places[i] == stream)
      return TRUE;
  }
  return FALSE;
}

/* Not by a walk over all tracks of a room, of which there may be a thousand, while a compound has something to say about 64. */
NatDataTrack *
nat_room_track (NatRoster *r, const NatDataSession *s, guint32 ssrc, NatDataStream **stream)
{
  const NatRoom *room = s->stream->room;

  *stream = s->stream;
  if (!room)
    return nat_roster_track (s->stream, ssrc);
  *stream = g_hash_table_lookup (r->sources, GUINT_TO_POINTER (ssrc));
  return *stream && (*stream)->version != 0 && gives (room, *stream) && likes (s, *stream)
             ? nat_roster_track (*stream, ssrc)
             : NULL;
}

gint64
nat_room_rate (const NatDataSession *s)
{
  const NatRoom *room = s->stream->room;
  gint64 rate = 0;

  if (!room)
    return s->stream->rate;
  for (guint i = 0; i < room->n_places; i++)
    rate += room->places[i]->rate;
  return rate;
}
