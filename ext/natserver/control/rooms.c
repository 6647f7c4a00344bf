/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/registry-private.h"

#include <string.h>

#include "natproto/streamname.h"
#include "natproto/ticket.h"

/* Of descriptions in one document, so that a client may bound what it reads. */
#define DESCRIPTIONS_MAX (NAT_SESSION_DOCUMENT_MAX / 2)

void
nat_rooms_changed (NatRegistry *r, const NatStream *stream)
{
  for (guint i = 0; i < r->patterns->len && !stream->is_pattern; i++) {
    NatStream *pattern = r->patterns->pdata[i];

    /* While it is not clear who is there, nobody is told that somebody is not. */
    if (!pattern->unknown && nat_stream_glob_takes (pattern->name, stream->name))
      nat_registry_changed (r, pattern);
  }
}

/* ---- Ties -------------------------------------------------------------- */

static void
enter_pattern (NatRegistry *r, NatStream *pattern)
{
  GHashTableIter iter;
  gpointer value;

  pattern->members = g_hash_table_new (NULL, NULL);
  g_hash_table_iter_init (&iter, r->streams);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    NatStream *stream = value;

    if (!stream->is_pattern && nat_stream_glob_takes (pattern->name, stream->name))
      g_hash_table_add (pattern->members, stream);
  }
  for (guint i = 0; i < r->patterns->len; i++) {
    NatStream *other = r->patterns->pdata[i];

    if (nat_stream_globs_meet (other->name, pattern->name)) {
      other->meets++;
      pattern->meets++;
    }
  }
  g_ptr_array_add (r->patterns, pattern);
}

void
nat_rooms_enter (NatRegistry *r, NatStream *stream)
{
  if (stream->is_pattern)
    enter_pattern (r, stream);
  for (guint i = 0; i < r->patterns->len && !stream->is_pattern; i++) {
    NatStream *pattern = r->patterns->pdata[i];

    if (nat_stream_glob_takes (pattern->name, stream->name))
      g_hash_table_add (pattern->members, stream);
  }
}

void
nat_rooms_leave (NatRegistry *r, NatStream *stream)
{
  if (stream->is_pattern)
    g_ptr_array_remove_fast (r->patterns, stream);
  for (guint i = 0; i < r->patterns->len; i++) {
    NatStream *pattern = r->patterns->pdata[i];

    if (!stream->is_pattern)
      g_hash_table_remove (pattern->members, stream);
    else if (nat_stream_globs_meet (pattern->name, stream->name))
      pattern->meets--;
  }
}

/* Patterns that match one stream meet each other, all of them. So if more than so many did, with the new one, as many
 * others would have so many that they meet: too many that meet the new one alone, as everything meets "**", are none of
 * that kind. */
const char *
nat_rooms_limit (NatRegistry *r, const char *pattern, NatProblemKind *problem)
{
  const NatAdmissionLimits *limits = nat_admission_limits (r->config.admission);
  guint n = 0;

  *problem = NAT_PROBLEM_RELAY_FULL;
  if (limits->patterns != 0 && r->patterns->len >= limits->patterns)
    return "max-patterns";
  for (guint i = 0; i < r->patterns->len; i++) {
    const NatStream *other = r->patterns->pdata[i];

    n += other->meets + 1 >= limits->patterns_per_stream &&
         nat_stream_globs_meet (other->name, pattern);
  }
  *problem = NAT_PROBLEM_TOO_MANY_SESSIONS;
  if (limits->patterns_per_stream != 0 && n >= limits->patterns_per_stream)
    return "max-patterns-per-stream";
  *problem = NAT_PROBLEM_NONE;
  return NULL;
}

/* ---- The document ------------------------------------------------------ */

static gboolean
is_there (const NatStream *stream)
{
  if (stream->state == NAT_PUBLISHER_LIVE)
    return stream->described || stream->unknown;
  return stream->state == NAT_PUBLISHER_GRACE && stream->described && !stream->left;
}

static gboolean
wants (const NatRegistered *session, const NatStream *stream)
{
  if (session->exclude != NULL && strcmp (session->exclude, stream->name) == 0)
    return FALSE;
  return !nat_subject_is_named (session->ticket.subject) ||
         strcmp (session->ticket.subject, stream->subject) != 0;
}

static gint
compare_since (gconstpointer a, gconstpointer b)
{
  const NatStream *const *x = a, *const *y = b;

  return (*x)->since < (*y)->since ? -1 : (*x)->since > (*y)->since;
}

/* Those that the data plane gives it (data/room.h), first come, first served. */
static GPtrArray *
streams_of (const NatStream *pattern)
{
  GPtrArray *streams = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, pattern->members);
  while (g_hash_table_iter_next (&iter, &value, NULL)) {
    if (is_there (value))
      g_ptr_array_add (streams, value);
  }
  g_ptr_array_sort (streams, compare_since);
  if (streams->len > NAT_ROOM_STREAMS_MAX)
    g_ptr_array_set_size (streams, NAT_ROOM_STREAMS_MAX);
  return streams;
}

void
nat_rooms_fill (const NatRegistered *session, NatSessionDocument *out)
{
  g_autoptr (GPtrArray) streams = streams_of (session->stream);
  gsize bytes = 0;

  out->is_room = TRUE;
  out->streams = g_new0 (NatRoomStream, streams->len + 1);
  for (guint i = 0; i < streams->len; i++) {
    const NatStream *stream = streams->pdata[i];
    NatRoomStream *item = &out->streams[out->n_streams];

    if (!wants (session, stream))
      continue;
    if (stream->described)
      bytes += strlen (stream->description.sdp);
    if (bytes > DESCRIPTIONS_MAX)
      return;
    out->n_streams++;
    item->name = g_strdup (stream->name);
    item->publisher = stream->state;
    if (!stream->described)
      continue;
    item->description = stream->description;
    item->description.sdp = g_strdup (stream->description.sdp);
  }
}

/* ---- SSRCs ------------------------------------------------------------- */

/* Whoever gets two streams tells them apart by their SSRCs, and whoever publishes cannot know who that will be: so
 * they are one relay's, not one stream's. */

gboolean
nat_rooms_ssrc_in_use (NatRegistry *r, const char *stream, const NatTracks *tracks)
{
  for (guint i = 0; i < tracks->n_tracks; i++) {
    const NatStream *owner =
        g_hash_table_lookup (r->ssrcs, GUINT_TO_POINTER (tracks->tracks[i].ssrc));

    if (owner != NULL && strcmp (owner->name, stream) != 0)
      return TRUE;
  }
  return FALSE;
}

void
nat_rooms_claim (NatRegistry *r, NatStream *stream)
{
  for (guint i = 0; i < stream->tracks.n_tracks; i++)
    g_hash_table_insert (r->ssrcs, GUINT_TO_POINTER (stream->tracks.tracks[i].ssrc), stream);
}

void
nat_rooms_release (NatRegistry *r, NatStream *stream)
{
  for (guint i = 0; i < stream->tracks.n_tracks; i++)
    g_hash_table_remove (r->ssrcs, GUINT_TO_POINTER (stream->tracks.tracks[i].ssrc));
}
