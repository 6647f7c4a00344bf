/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natserver/data/command.h"

#include "natserver/data/responder.h"
#include "natserver/data/room.h"
#include "natserver/data/rtcpagg.h"

static void
apply_add (NatWorker *w, const NatCommand *c)
{
  const NatTicket *ticket = &c->session.ticket;
  NatDataSession *s = nat_roster_find (w->roster, ticket->session_id);

  if (!s)
    s = nat_roster_add (w->roster, ticket, c->session.counters, w->now_us);
  nat_roster_govern (s, ticket);
  s->wants_headstart = c->session.headstart != FALSE;
  nat_room_set_exclude (s, c->session.exclude);
  nat_session_counters_unref (c->session.counters);
}

static void
apply_renew (NatWorker *w, const NatTicket *ticket)
{
  NatDataSession *s = nat_roster_find (w->roster, ticket->session_id);

  if (s)
    nat_roster_govern (s, ticket);
}

static void
apply_end (NatWorker *w, const guint8 *id, NatReason reason, gint64 until_s)
{
  NatDataSession *s = nat_roster_find (w->roster, id);

  if (reason == NAT_REASON_NONE)
    reason = NAT_REASON_ENDED;
  nat_roster_end (w->roster, id, reason, until_s);
  if (!s)
    return;
  nat_responder_indicate_session (w, s, reason);
  nat_lifecycle_ended (w, s);
  nat_roster_remove (w->roster, s, w->now_us);
}

/* An SSRC that goes leaves its place in the verifier to another. */
static void
describe_tracks (NatWorker *w, NatDataStream *stream, const NatTracks *tracks)
{
  guint32 ssrcs[NAT_TRACKS_MAX];

  nat_roster_describe (w->roster, stream, tracks);
  for (guint i = 0; i < stream->n_tracks; i++)
    ssrcs[i] = stream->tracks[i].info.ssrc;
  nat_verifier_set_ssrcs (stream->verifier, ssrcs, stream->n_tracks);
}

static void
apply_describe (NatWorker *w, const NatCommand *c)
{
  NatDataStream *stream = nat_roster_stream (w->roster, c->describe.stream, w->now_us);

  stream->version = c->describe.version;
  if (c->describe.has_publisher)
    nat_roster_set_publisher (w->roster, stream, c->describe.publisher_id);
  if (c->describe.has_tracks)
    describe_tracks (w, stream, &c->describe.tracks);
  stream->untold = TRUE;
  nat_responder_tell_version (w, stream);
  nat_rtcpagg_described (w, stream);
}

/* Control tells the same keys with each change of the stream's document. Were it another verifier each time, all that came before
 * would be taken once more. */
static void
apply_verify (NatWorker *w, const NatCommand *c)
{
  NatDataStream *stream = nat_roster_stream (w->roster, c->verify.stream, w->now_us);
  NatVerifier *told = c->verify.verifier;

  if (stream->verifier && told) {
    nat_verifier_change_keys (stream->verifier, told);
    nat_verifier_free (told);
  } else {
    nat_verifier_free (stream->verifier);
    stream->verifier = told;
  }
}

void
nat_command_apply (NatWorker *w, const NatCommand *command)
{
  switch (command->type) {
  case NAT_COMMAND_ADD: apply_add (w, command); break;
  case NAT_COMMAND_RENEW: apply_renew (w, &command->session.ticket); break;
  case NAT_COMMAND_END:
    apply_end (w, command->end.id, command->end.reason, command->end.until_s);
    break;
  case NAT_COMMAND_DESCRIBE: apply_describe (w, command); break;
  case NAT_COMMAND_VERIFY: apply_verify (w, command); break;
  }
  nat_roster_settle_some (w->roster, w->now_us);
}

void
nat_command_clear (NatCommand *command)
{
  if (command->type == NAT_COMMAND_ADD)
    nat_session_counters_unref (command->session.counters);
  else if (command->type == NAT_COMMAND_VERIFY)
    nat_verifier_free (command->verify.verifier);
}
