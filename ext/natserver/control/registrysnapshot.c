/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The registry as metrics and status page see it. */

#include <string.h>

#include "natserver/control/registry-private.h"

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
  s->flow = session->flow;
  s->counters = nat_session_counters_ref (session->counters);
  g_ptr_array_add (snapshot->sessions, s);
}

/* "video, audio": each kind once. */
static void
write_media (const NatStream *stream, char *out, gsize size)
{
  *out = '\0';
  for (guint i = 0; i < stream->tracks.n_tracks; i++) {
    const char *media = stream->tracks.tracks[i].media;

    if (strstr (out, media) != NULL)
      continue;
    if (*out != '\0')
      g_strlcat (out, ", ", size);
    g_strlcat (out, media, size);
  }
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
  snapshot->trend_tick = r->trend_tick;
  snapshot->trend_us = r->measure_us;
  g_hash_table_iter_init (&iter, r->streams);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    NatStream *stream = value;
    NatStreamSnapshot *s = g_new0 (NatStreamSnapshot, 1);

    s->name = g_strdup (stream->name);
    s->publisher = state_text (stream->state);
    s->subscribers = stream->subscribers;
    s->version = stream->version;
    s->since_s = stream->publisher ? stream->since_s : 0;
    s->pattern = stream->is_pattern;
    s->flow = stream->flow;
    s->trend = stream->trend;
    write_media (stream, s->media, sizeof s->media);
    s->past = nat_session_counters_ref (stream->past);
    g_ptr_array_add (snapshot->streams, s);
  }
  g_hash_table_iter_init (&iter, r->sessions);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    snapshot_session (snapshot, value);
  g_ptr_array_sort (snapshot->streams, compare_names);
  g_ptr_array_sort (snapshot->sessions, compare_sessions);
}
