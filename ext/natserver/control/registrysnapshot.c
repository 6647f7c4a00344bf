/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Streams and sessions as observers see them, and in their order. */

#include <string.h>

#include "natserver/control/registry-private.h"

/* ---- Streams ----------------------------------------------------------- */

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

static void
tell_of_publisher (const NatRegistered *publisher, NatStreamSnapshot *s)
{
  s->heard = publisher->registered;
  s->transport = publisher->mapped.transport;
  s->rtt_us = nat_counter_get (&publisher->counters->rtt_us);
  s->jitter_us = nat_counter_get (&publisher->counters->jitter_us);
}

NatStreamSnapshot *
nat_registry_snapshot_stream (const NatStream *stream)
{
  NatStreamSnapshot *s = g_new0 (NatStreamSnapshot, 1);

  s->name = g_strdup (stream->name);
  s->publisher = state_text (stream->state);
  s->subscribers = stream->subscribers;
  s->version = stream->version;
  s->since_s = stream->publisher != NULL ? stream->since_s : 0;
  s->pattern = stream->is_pattern;
  s->flow = stream->flow;
  s->trend = stream->trend != NULL ? nat_trend_ref (stream->trend) : NULL;
  write_media (stream, s->media, sizeof s->media);
  if (stream->publisher != NULL)
    tell_of_publisher (stream->publisher, s);
  return s;
}

gint
nat_registry_compare_streams (gconstpointer a, gconstpointer b, gpointer unused)
{
  const NatStream *x = a, *y = b;

  return strcmp (x->name, y->name);
}

/* ---- Sessions ---------------------------------------------------------- */

gint
nat_registry_compare_sessions (gconstpointer a, gconstpointer b, gpointer unused)
{
  const NatRegistered *x = a, *y = b;
  gint order = x->stream == y->stream ? 0 : strcmp (x->stream->name, y->stream->name);

  if (order == 0)
    order = (gint)x->ticket.role - (gint)y->ticket.role;
  return order != 0 ? order
                    : memcmp (x->ticket.session_id, y->ticket.session_id, NAT_SESSION_ID_SIZE);
}

static NatSessionSnapshot *
snapshot_session (const NatRegistered *session)
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
  return s;
}

/* Where its sessions begin: no role is less than its. */
static GSequenceIter *
first_of (NatRegistry *r, NatStream *stream)
{
  NatRegistered before_all = {.stream = stream};

  return g_sequence_search (r->sessions_in_order, &before_all, nat_registry_compare_sessions, NULL);
}

NatSessionList *
nat_registry_list (NatRegistry *r, NatTime now, const char *stream, guint from, guint most)
{
  NatSessionList *list = nat_session_list_new ();
  NatStream *of = stream != NULL ? g_hash_table_lookup (r->streams, stream) : NULL;
  GSequenceIter *iter = g_sequence_get_begin_iter (r->sessions_in_order);

  if (stream == NULL)
    list->total = g_hash_table_size (r->sessions);
  else if (of != NULL)
    list->total = of->sessions;
  if (of != NULL)
    iter = first_of (r, of);
  list->now_us = now.us;
  list->trend_tick = r->trend_tick;
  iter = g_sequence_iter_move (iter, (gint)MIN (from, list->total));
  for (guint i = from; i < list->total && i - from < most; i++) {
    g_ptr_array_add (list->sessions, snapshot_session (g_sequence_get (iter)));
    iter = g_sequence_iter_next (iter);
  }
  return list;
}
