/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/tracks.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/neighbour.h"

void
nat_tracks_free (NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    g_free (stream->tracks[i].arrivals);
    g_free (stream->tracks[i].missing.packets);
  }
  g_free (stream->tracks);
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

guint
nat_tracks_hash (gconstpointer ssrc)
{
  guint64 key = GPOINTER_TO_UINT (ssrc);

  return nat_neighbour_hash (&key);
}

/* Control lets no two streams be described with one SSRC. But one whose description it let go keeps its tracks until it is described
 * anew, or forgotten: it has no publisher, or version 0. So where streams come that were described elsewhere, another's may be right. */
void
nat_tracks_enter (NatRoster *r, NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    gpointer ssrc = GUINT_TO_POINTER (stream->tracks[i].info.ssrc);
    const NatDataStream *other = g_hash_table_lookup (r->sources, ssrc);

    if (!other || !other->publisher || other->version == 0 ||
        (stream->publisher && stream->version != 0))
      g_hash_table_insert (r->sources, ssrc, stream);
  }
}

void
nat_tracks_leave (NatRoster *r, NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    gpointer ssrc = GUINT_TO_POINTER (stream->tracks[i].info.ssrc);

    if (g_hash_table_lookup (r->sources, ssrc) == stream)
      g_hash_table_remove (r->sources, ssrc);
  }
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

/* Packets that can be missing at a time, 32 bytes each. Pages that nothing was missing from are
 * never touched. */
static guint
missing_max (const NatTrack *info)
{
  return strcmp (info->media, "video") == 0 ? 512 : 64;
}

/* What came so far is no part of it any more. */
static void
restart_track (NatDataTrack *track)
{
  nat_reception_init (&track->reception, track->info.ssrc, track->info.clock_rate);
  nat_missing_reset (&track->missing);
  memset (&track->silence, 0, sizeof track->silence);
  track->lost_counted = 0;
  track->report_len = 0;
  track->obeys = FALSE;
}

void
nat_tracks_restart (NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++)
    restart_track (&stream->tracks[i]);
}

static void
new_track (NatDataStream *stream, NatDataTrack *track, const NatTrack *info)
{
  guint max = missing_max (info);

  track->info = *info;
  nat_missing_init (&track->missing, g_new (NatMissingPacket, max), max);
  track->kept = nat_history_add_source (&stream->history, info->ssrc);
  restart_track (track);
}

/* Counts go on for an SSRC that stays, and what the old track owns becomes the new one's. The reception
 * points into itself, so it is set up anew around the old numbers. */
static void
init_track (NatDataStream *stream, NatDataTrack *track, const NatTrack *info)
{
  NatDataTrack *old = nat_roster_track (stream, info->ssrc);

  if (old && old->missing.packets) {
    *track = *old;
    old->arrivals = NULL;
    old->missing.packets = NULL;
    track->reception.seen.words = track->reception.seen_words;
    track->reception.clock_rate = info->clock_rate;
    track->info = *info;
  } else {
    new_track (stream, track, info);
  }
  track->rank = strcmp (info->media, "audio") == 0 ? NAT_RANK_AUDIO : NAT_RANK_VIDEO;
  if (!info->ccfb)
    g_clear_pointer (&track->arrivals, g_free);
  else if (!track->arrivals)
    track->arrivals = g_new0 (NatArrivals, 1);
}

static gboolean
has_ssrc (const NatDataTrack *list, guint n, guint32 ssrc)
{
  for (guint i = 0; i < n; i++) {
    if (list[i].info.ssrc == ssrc)
      return TRUE;
  }
  return FALSE;
}

void
nat_roster_describe (NatRoster *r, NatDataStream *stream, const NatTracks *tracks)
{
  guint n = MIN (tracks->n_tracks, NAT_TRACKS_MAX);
  NatDataTrack *list = g_new0 (NatDataTrack, n);

  for (guint i = 0; i < n; i++) {
    init_track (stream, &list[i], &tracks->tracks[i]);
    announce (r, list[i].info.ssrc, 1);
  }
  for (guint i = 0; i < stream->n_tracks; i++) {
    announce (r, stream->tracks[i].info.ssrc, -1);
    if (!has_ssrc (list, n, stream->tracks[i].info.ssrc))
      nat_history_remove_source (&stream->history, stream->tracks[i].info.ssrc);
  }
  nat_tracks_leave (r, stream);
  nat_tracks_free (stream);
  stream->tracks = list;
  stream->n_tracks = n;
  for (guint i = 0; i < n; i++)
    g_hash_table_insert (r->sources, GUINT_TO_POINTER (list[i].info.ssrc), stream);
  /* Ours must not be one of theirs. */
  while (nat_roster_track (stream, stream->relay_ssrc))
    nat_crypto_random (&stream->relay_ssrc, sizeof stream->relay_ssrc);
}
