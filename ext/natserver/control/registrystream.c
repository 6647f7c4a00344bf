/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/registry-private.h"

#include <string.h>

#include "natproto/streamname.h"
#include "natserver/observe/log.h"

/* 0 says that there is no description. */
static guint32
version_after (guint32 version)
{
  return version == G_MAXUINT32 ? 1 : version + 1;
}

NatStream *
nat_registry_stream_get (NatRegistry *r, const char *name)
{
  NatStream *stream = g_hash_table_lookup (r->streams, name);

  if (stream != NULL)
    return stream;
  stream = g_new0 (NatStream, 1);
  stream->name = g_strdup (name);
  stream->version = version_after (r->version_floor);
  stream->past = nat_session_counters_new ();
  stream->is_pattern = nat_stream_is_glob (name);
  nat_registry_measure_stream (r, stream);
  nat_registry_survey_stream (r, stream);
  nat_rooms_enter (r, stream);
  g_hash_table_insert (r->streams, stream->name, stream);
  return stream;
}

void
nat_registry_stream_free (gpointer data)
{
  NatStream *stream = data;

  nat_description_clear (&stream->description);
  nat_session_counters_unref (stream->past);
  g_clear_pointer (&stream->trend, nat_trend_unref);
  g_clear_pointer (&stream->members, g_hash_table_unref);
  g_free (stream->name);
  g_free (stream);
}

void
nat_registry_stream_forget_if_idle (NatRegistry *r, NatStream *stream)
{
  if (stream->sessions > 0 || stream->state == NAT_PUBLISHER_GRACE)
    return;
  r->version_floor = MAX (r->version_floor, stream->version);
  nat_rooms_release (r, stream);
  r->n_trends -= stream->trend != NULL;
  nat_memory_promise (r->config.memory, -(gint64)stream->tracks.n_tracks * NAT_TRACK_LATER);
  nat_rooms_leave (r, stream);
  nat_registry_measure_no_more (r, stream);
  nat_registry_survey_no_more (r, stream);
  g_hash_table_remove (r->streams, stream->name);
}

/* What verifies packets is there before those that are described now; each time, for the data plane may have forgotten the stream. */
void
nat_registry_stream_tell (NatRegistry *r, NatStream *stream)
{
  stream->untold =
      (r->config.verify_media && stream->described &&
          !nat_dataplane_set_verifier (
              r->config.dataplane, stream->name, nat_verifier_for (&stream->description))) ||
      !nat_dataplane_set_description (r->config.dataplane, stream->name,
          stream->described ? &stream->tracks : NULL, stream->unknown ? 0 : stream->version,
          stream->publisher ? stream->publisher->ticket.session_id : NULL);
  r->streams_wait |= stream->untold;
}

void
nat_registry_changed (NatRegistry *r, NatStream *stream)
{
  stream->version = version_after (stream->version);
  stream->unknown = FALSE;
  nat_registry_stream_tell (r, stream);
  nat_rooms_changed (r, stream);
}

void
nat_registry_stream_undescribe (NatRegistry *r, NatStream *stream)
{
  nat_rooms_release (r, stream);
  nat_memory_promise (r->config.memory, -(gint64)stream->tracks.n_tracks * NAT_TRACK_LATER);
  nat_description_clear (&stream->description);
  memset (&stream->tracks, 0, sizeof stream->tracks);
  stream->described = FALSE;
}

void
nat_registry_stream_describe (
    NatRegistry *r, NatStream *stream, NatDescription *description, const NatTracks *tracks)
{
  nat_rooms_release (r, stream);
  nat_memory_promise (r->config.memory,
      ((gint64)tracks->n_tracks - (gint64)stream->tracks.n_tracks) * NAT_TRACK_LATER);
  nat_description_clear (&stream->description);
  stream->description = *description;
  memset (description, 0, sizeof *description);
  stream->tracks = *tracks;
  stream->described = TRUE;
  nat_rooms_claim (r, stream);
}

void
nat_registry_say (
    GLogLevelFlags level, const NatRegistered *session, const char *event, const char *what)
{
  const NatAddress *from = session->mapped.family != 0 ? &session->mapped : &session->peer;
  char id[NAT_SESSION_ID_TEXT + 1], address[NAT_ADDRESS_TEXT_MAX];
  const NatTicket *t = &session->ticket;

  nat_session_id_to_text (t->session_id, id);
  nat_log_event (level,
      &(NatLogEvent){event, t->stream, t->role == NAT_ROLE_PUBLISHER ? "publisher" : "subscriber",
          t->subject, from->family != 0 ? nat_address_to_text (from, address) : NULL, id},
      "stream %s %s", t->stream, what);
}

void
nat_registry_stream_set_publisher (NatRegistry *r, NatStream *stream, NatRegistered *session)
{
  stream->publisher = session;
  stream->since = ++r->publishers;
  stream->since_s = session->created_s;
  g_strlcpy (stream->subject, session->ticket.subject, sizeof stream->subject);
  memcpy (stream->publisher_id, session->ticket.session_id, NAT_SESSION_ID_SIZE);
  stream->state = NAT_PUBLISHER_LIVE;
  stream->over = stream->left = FALSE;
  nat_registry_say (G_LOG_LEVEL_MESSAGE, session, "stream-live", "is live");
}

void
nat_registry_stream_enter_grace (NatRegistry *r, NatStream *stream, NatTime now, gboolean over)
{
  nat_registry_say (G_LOG_LEVEL_MESSAGE, stream->publisher, "stream-lost", "lost its publisher");
  stream->publisher = NULL;
  stream->state = NAT_PUBLISHER_GRACE;
  stream->over = over;
  stream->grace_until_us = now.us + NAT_GRACE_US;
  nat_registry_changed (r, stream);
}

void
nat_registry_stream_end_grace (NatRegistry *r, NatStream *stream)
{
  stream->state = stream->over ? NAT_PUBLISHER_ENDED : NAT_PUBLISHER_NONE;
  nat_registry_stream_undescribe (r, stream);
  nat_registry_changed (r, stream);
}
