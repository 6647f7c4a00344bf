/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bareworker.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natserver/data/command.h"
#include "probe.h"

static const guint8 challenge_key[32];

static NatWorker *
make (const char *listen, gsize buffer, const NatWorkerPlace *place)
{
  NatDataplaneConfig config = {.n_listen = 1, .workers = place->n, .socket_buffer = buffer};
  g_autoptr (GError) error = NULL;
  NatWorker *w;

  g_assert_true (nat_address_from_text (&config.listen[0], listen, 0));
  w = nat_worker_new (&config, place, NULL, &error);
  g_assert_no_error (error);
  return w;
}

NatWorker *
bare_worker_new (const char *listen, gsize buffer)
{
  NatWorkerPlace place = {.challenge_key = challenge_key, .n = 1, .cpu = -1};

  return make (listen, buffer, &place);
}

NatWorker *
bare_worker_new_of_several (NatMesh *mesh, guint index)
{
  NatWorkerPlace place = {.challenge_key = challenge_key,
      .mesh = mesh,
      .index = index,
      .n = nat_mesh_n_workers (mesh),
      .cpu = -1};

  return make ("127.0.0.1", 65536, &place);
}

static void
describe (NatWorker *w, const char *stream, const guint8 *publisher)
{
  NatCommand c = {.type = NAT_COMMAND_DESCRIBE};

  strcpy (c.describe.stream, stream);
  c.describe.version = 1;
  c.describe.has_tracks = c.describe.has_publisher = TRUE;
  c.describe.tracks = (NatTracks){
      2, {{BARE_VIDEO_SSRC, 96, 90000, "video"}, {BARE_AUDIO_SSRC, 97, 48000, "audio"}}};
  memcpy (c.describe.publisher_id, publisher, NAT_SESSION_ID_SIZE);
  nat_command_apply (w, &c);
}

NatDataSession *
bare_worker_join (NatWorker *w, const char *stream, NatRole role, const NatAddress *from)
{
  return bare_worker_join_at (w, stream, role, from, nat_udpio_local (w->io, 0));
}

NatDataSession *
bare_worker_join_at (
    NatWorker *w, const char *stream, NatRole role, const NatAddress *from, const NatAddress *local)
{
  NatCommand c = {.type = NAT_COMMAND_ADD};
  NatUdpSource source = {.key = {.remote = *from, .local = *local}};
  NatDataSession *s;

  nat_crypto_random (c.session.ticket.session_id, NAT_SESSION_ID_SIZE);
  c.session.ticket.role = role;
  c.session.ticket.expires_s = G_MAXINT64;
  strcpy (c.session.ticket.stream, stream);
  c.session.counters = nat_session_counters_new ();
  nat_command_apply (w, &c);
  s = nat_roster_find (w->roster, c.session.ticket.session_id);
  if (role == NAT_ROLE_PUBLISHER)
    describe (w, stream, s->id);
  s->state = NAT_DATA_REGISTERED;
  nat_roster_select (w->roster, nat_roster_validate_path (w->roster, s, &source, w->io, w->now_us));
  nat_roster_settle (w->roster);
  return s;
}

void
bare_worker_receive (
    NatWorker *w, NatDataSession *publisher, guint32 ssrc, guint16 seq, guint8 *data, gsize len)
{
  nat_probe_write_rtp (data, len, ssrc, seq, seq);
  w->arrived_ns = nat_udpio_clock_ns ();
  nat_forward_receive (w, publisher->selected, data, len);
}
