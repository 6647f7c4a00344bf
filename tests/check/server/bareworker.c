/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bareworker.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "natproto/crypto.h"
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
  nat_worker_apply (w, &c);
}

NatDataSession *
bare_worker_join (NatWorker *w, const char *stream, NatRole role, const NatAddress *from)
{
  NatCommand c = {.type = NAT_COMMAND_ADD};
  NatUdpSource source = {.key = {.remote = *from, .local = *nat_udpio_local (w->io, 0)}};
  NatDataSession *s;

  nat_crypto_random (c.session.ticket.session_id, NAT_SESSION_ID_SIZE);
  c.session.ticket.role = role;
  c.session.ticket.expires_s = G_MAXINT64;
  strcpy (c.session.ticket.stream, stream);
  c.session.counters = nat_session_counters_new ();
  nat_worker_apply (w, &c);
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

static gboolean
write_file (const char *path, const char *text)
{
  FILE *file = fopen (path, "w");
  gboolean ok = file && fputs (text, file) >= 0;

  return file && fclose (file) == 0 && ok;
}

gboolean
bare_worker_run (const char *command)
{
  g_autofree char *line = g_strdup_printf ("PATH=$PATH:/usr/sbin:/sbin; %s", command);
  const char *argv[] = {"sh", "-c", line, NULL};
  int status;

  return g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
             &status, NULL) &&
         g_spawn_check_wait_status (status, NULL);
}

gboolean
bare_worker_own_network (void)
{
  g_autofree char *uid = g_strdup_printf ("0 %u 1", (guint)geteuid ());
  g_autofree char *gid = g_strdup_printf ("0 %u 1", (guint)getegid ());

  if (unshare (CLONE_NEWUSER | CLONE_NEWNET) < 0)
    return FALSE;
  return write_file ("/proc/self/setgroups", "deny") && write_file ("/proc/self/uid_map", uid) &&
         write_file ("/proc/self/gid_map", gid) && bare_worker_run ("ip link set lo up");
}
