/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the registry refuses, and what sessions take and may come to take. */

#include <string.h>

#include "natproto/streamname.h"
#include "natserver/control/registry-private.h"

/* What a session takes soon, here and in the data plane; and what it may come to take there: SRTCP contexts, further paths, what
 * it was sent again, its places in a room. */
#define SESSION_LATER 4096
#define PATTERN_LATER (NAT_ROOM_STREAMS_MAX * 256)

gint64
nat_registry_later (const NatRegistered *session)
{
  return SESSION_LATER + (session->stream->is_pattern ? PATTERN_LATER : 0);
}

NatProblemKind
nat_registry_refuse (const NatAsk *ask, const char *limit, NatProblemKind problem)
{
  if (ask->limit != NULL)
    *ask->limit = limit;
  return problem;
}

/* A description is parsed, kept, and read into the data plane. */
guint64
nat_registry_bytes (const NatAsk *ask, NatRole role)
{
  guint64 bytes = NAT_SESSION_BYTES + SESSION_LATER;

  if (role == NAT_ROLE_PUBLISHER)
    bytes += strlen (ask->description->sdp) + ask->tracks->n_tracks * NAT_TRACK_LATER;
  else if (nat_stream_is_glob (ask->stream))
    bytes += PATTERN_LATER;
  return bytes;
}

/* One subscriber more of that stream, or one pattern more. */
NatProblemKind
nat_registry_check_stream (NatRegistry *r, const NatAsk *ask)
{
  const NatStream *stream = g_hash_table_lookup (r->streams, ask->stream);
  guint most = nat_admission_limits (r->config.admission)->subscribers_per_stream;
  NatProblemKind problem = NAT_PROBLEM_NONE;
  const char *limit = NULL;

  if (stream != NULL && most != 0 && stream->subscribers >= most) {
    limit = "max-subscribers-per-stream";
    problem = NAT_PROBLEM_TOO_MANY_SESSIONS;
  } else if (stream == NULL && nat_stream_is_glob (ask->stream)) {
    limit = nat_rooms_limit (r, ask->stream, &problem);
  }
  return nat_registry_refuse (ask, limit, problem);
}
