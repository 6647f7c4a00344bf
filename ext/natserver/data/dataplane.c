/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The workers together, as control sees them. What concerns a stream goes to the worker that owns
 * it, under the mesh's lock: so it comes there after the stream itself, should that just have changed
 * hands. What ended is told to all. */

#include "natserver/data/dataplane.h"

#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natserver/data/command.h"
#include "natserver/data/exchange.h"
#include "natserver/data/room.h"
#include "natserver/data/udphint.h"
#include "natserver/data/worker.h"

struct _NatDataplane {
  guint n;
  NatWorker *workers[NAT_WORKERS_MAX];
  NatWorkerCounters *counters[NAT_WORKERS_MAX];
  NatMesh *mesh; /* NULL: one worker */
  NatTunnel *tunnel;
  NatMeters *meters;
  int event_fd;  /* of several: an epoll of their rings */
  guint turn;    /* who gets the next new stream */
  guint reading; /* whose events are read */
  guint told;    /* findings that poll_hints gave */
  guint told_limits;
};

/* ---- Set-up ------------------------------------------------------------ */

/* Cores that we may run on, in order; returns how many. */
static guint
allowed_cpus (gint cpus[NAT_WORKERS_MAX])
{
  cpu_set_t set;
  guint n = 0;

  if (sched_getaffinity (0, sizeof set, &set) < 0)
    return 0;
  for (gint i = 0; i < CPU_SETSIZE && n < NAT_WORKERS_MAX; i++) {
    if (CPU_ISSET ((gsize)i, &set))
      cpus[n++] = i;
  }
  return n;
}

guint
nat_dataplane_default_workers (void)
{
  gint cpus[NAT_WORKERS_MAX];

  return MAX (allowed_cpus (cpus), 1);
}

static gboolean
add_workers (
    NatDataplane *dp, const NatDataplaneConfig *config, guint n, char **hints, GError **error)
{
  gint cpus[NAT_WORKERS_MAX];
  gboolean pinned = allowed_cpus (cpus) >= n && n > 1;
  guint8 key[32];

  nat_crypto_random (key, sizeof key);
  for (dp->n = 0; dp->n < n; dp->n++) {
    NatWorkerPlace place = {key, dp->mesh, dp->n ? dp->workers[0]->io : NULL, dp->tunnel,
        dp->meters, dp->n, n, pinned ? cpus[dp->n] : -1};
    NatWorker *w = nat_worker_new (config, &place, dp->n ? NULL : hints, error);

    if (!w)
      break;
    dp->workers[dp->n] = w;
    dp->counters[dp->n] = w->counters;
  }
  nat_crypto_wipe (key, sizeof key);
  return dp->n == n;
}

static gboolean
join_events (NatDataplane *dp)
{
  struct epoll_event event = {.events = EPOLLIN};
  gboolean ok;

  if (!dp->mesh)
    return TRUE;
  dp->event_fd = epoll_create1 (EPOLL_CLOEXEC);
  ok = dp->event_fd >= 0;
  for (guint i = 0; ok && i < dp->n; i++)
    ok = epoll_ctl (dp->event_fd, EPOLL_CTL_ADD, nat_ring_fd (dp->workers[i]->events), &event) == 0;
  return ok;
}

/* Spinning workers on all cores: what else runs here would have to wait for the scheduler's mercy. */
static void
hint_cores (const NatDataplane *dp, char **hints)
{
  guint cores = nat_dataplane_default_workers ();
  char *before = *hints;

  if (dp->n < cores)
    return;
  *hints = g_strdup_printf (
      "%s%sbusy-poll: %u workers that never sleep leave no core of %u to HTTPS and "
      "the rest of the machine; use fewer (--workers), or no busy-poll",
      before ? before : "", before ? "\n" : "", dp->n, cores);
  g_free (before);
}

NatDataplane *
nat_dataplane_new (const NatDataplaneConfig *config, char **hints, GError **error)
{
  NatDataplane *dp = g_new0 (NatDataplane, 1);
  guint n =
      config->workers ? MIN (config->workers, NAT_WORKERS_MAX) : nat_dataplane_default_workers ();
  gboolean ok;

  dp->event_fd = -1;
  dp->meters = nat_meters_new ();
  nat_meters_set_rates (dp->meters, config->rates);
  dp->tunnel = nat_tunnel_new (n);
  ok = dp->tunnel != NULL;
  if (ok && n > 1) {
    dp->mesh = nat_mesh_new (n, nat_exchange_letter_size ());
    ok = dp->mesh != NULL;
  }
  if (ok && !add_workers (dp, config, n, hints, error))
    g_clear_pointer (&dp, nat_dataplane_free);
  else if (!ok || !join_events (dp)) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "the system gives no more file descriptors; raise the limit (ulimit -n, or LimitNOFILE= "
        "in the unit)");
    g_clear_pointer (&dp, nat_dataplane_free);
  }
  if (dp && config->busy_poll && hints)
    hint_cores (dp, hints);
  return dp;
}

/* What it was refused for, each once. */
static void
hint_limits (NatDataplane *dp, GString *lines)
{
  static const char *const names[] = {"max-kbps-per-stream", "max-packets-per-stream",
      "max-kbps-per-subject (or max-kbps of a token)",
      "max-packets-per-subject (or max-packets of a token)", "max-kbps-per-address",
      "max-packets-per-address", "max-kbps", "max-packets"};
  guint fresh = nat_meters_refused (dp->meters) & ~dp->told_limits;

  dp->told_limits |= fresh;
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    if (fresh >> i & 1)
      g_string_append_printf (lines,
          "%smedia is dropped, for somebody sends more than %s allows: rtp_over_limit in "
          "/v1/sessions says who, natrelay_drop_... in /metrics how much",
          lines->len ? "\n" : "", names[i]);
  }
}

char *
nat_dataplane_poll_hints (NatDataplane *dp)
{
  GString *lines = g_string_new (NULL);
  guint fresh = 0;

  for (guint i = 0; i < dp->n; i++)
    fresh |= nat_udpio_findings (dp->workers[i]->io);
  fresh &= ~dp->told;
  dp->told |= fresh;
  if (fresh) {
    g_autofree char *text = nat_udphint_findings (fresh, nat_udpio_buffer (dp->workers[0]->io));

    g_string_append (lines, text);
  }
  hint_limits (dp, lines);
  return g_string_free (lines, lines->len == 0);
}

void
nat_dataplane_free (NatDataplane *dp)
{
  if (!dp)
    return;
  nat_dataplane_stop (dp, NAT_REASON_GOING_AWAY);
  for (guint i = 0; i < dp->n; i++)
    nat_worker_free (dp->workers[i]);
  nat_mesh_free (dp->mesh);
  nat_tunnel_free (dp->tunnel);
  nat_meters_unref (dp->meters);
  if (dp->event_fd >= 0)
    close (dp->event_fd);
  g_free (dp);
}

const NatAddress *
nat_dataplane_local (NatDataplane *dp, guint index)
{
  return nat_udpio_local (dp->workers[0]->io, index);
}

void
nat_dataplane_set_times (NatDataplane *dp, const NatDataTimes *times)
{
  for (guint i = 0; i < dp->n; i++) {
    g_return_if_fail (!dp->workers[i]->running);
    dp->workers[i]->times = *times;
  }
}

void
nat_dataplane_get_times (NatDataplane *dp, NatDataTimes *times)
{
  *times = dp->workers[0]->times;
}

gboolean
nat_dataplane_start (NatDataplane *dp, GError **error)
{
  for (guint i = 0; i < dp->n; i++) {
    if (!nat_worker_start (dp->workers[i], error))
      return FALSE;
  }
  return TRUE;
}

/* All at once: each says its goodbyes while the others say theirs. */
void
nat_dataplane_stop (NatDataplane *dp, NatReason reason)
{
  if (dp->mesh)
    nat_mesh_close (dp->mesh);
  for (guint i = 0; i < dp->n; i++)
    nat_worker_ask_to_stop (dp->workers[i], reason);
  for (guint i = 0; i < dp->n; i++)
    nat_worker_join (dp->workers[i]);
}

gsize
nat_dataplane_reserved (NatDataplane *dp)
{
  return dp->n * (NAT_LANE_BYTES + NAT_LANE_LETTERS * sizeof (NatLaneLetter)) +
         (dp->mesh ? nat_mesh_letters (dp->mesh) * nat_exchange_letter_size () : 0);
}

void
nat_dataplane_set_memory (NatDataplane *dp, gsize cache_bytes, gboolean is_full)
{
  for (guint i = 0; i < dp->n; i++) {
    atomic_store_explicit (&dp->workers[i]->cache_limit, cache_bytes / dp->n, memory_order_relaxed);
    atomic_store_explicit (&dp->workers[i]->is_full, is_full != FALSE, memory_order_relaxed);
  }
}

void
nat_dataplane_set_rates (NatDataplane *dp, const NatRate rates[NAT_LIMITS])
{
  nat_meters_set_rates (dp->meters, rates);
}

NatTunnel *
nat_dataplane_tunnel (NatDataplane *dp)
{
  return dp->tunnel;
}

guint
nat_dataplane_n_workers (NatDataplane *dp)
{
  return dp->n;
}

NatWorkerCounters *const *
nat_dataplane_worker_counters (NatDataplane *dp)
{
  return dp->counters;
}

/* ---- Commands ---------------------------------------------------------- */

/* What may be thousands at once, and is told again where it found no room, leaves some to who waits for an answer. */
static guint
leaves_room (NatCommandType type)
{
  switch (type) {
  case NAT_COMMAND_END: return NAT_COMMANDS / 2;
  case NAT_COMMAND_DESCRIBE:
  case NAT_COMMAND_VERIFY: return NAT_COMMANDS / 4;
  default: return 0;
  }
}

static gboolean
has_room (NatWorker *w, const NatCommand *command)
{
  if (!w->running || nat_ring_space (w->commands) > leaves_room (command->type))
    return TRUE;
  nat_counter_add (&w->counters->commands_refused, 1);
  return FALSE;
}

/* While no thread runs, its memory is ours: a relay that starts hands over any number of ended ids
 * without filling a ring that nobody empties yet. */
static gboolean
post_to (NatWorker *w, const NatCommand *command)
{
  if (!w->running) {
    w->now_us = g_get_monotonic_time ();
    nat_command_apply (w, command);
    return TRUE;
  }
  return has_room (w, command) && nat_ring_push (w->commands, command);
}

/* To the stream's owner. One that is new goes to each worker in turn, until a publisher is heard. make:
 * the command makes the stream; else without one there is nothing to do. */
static gboolean
post (NatDataplane *dp, const char *stream, gboolean make, const NatCommand *command)
{
  gboolean ok = TRUE;
  gint owner, found;

  if (!dp->mesh)
    return post_to (dp->workers[0], command);
  nat_mesh_lock (dp->mesh);
  owner = found = nat_mesh_owner (dp->mesh, stream);
  if (owner < 0 && make) {
    owner = (gint)nat_mesh_assign (dp->mesh, stream, dp->turn++ % dp->n);
  }
  if (owner >= 0)
    ok = post_to (dp->workers[owner], command);
  if (!ok && found < 0)
    nat_mesh_forget (dp->mesh, stream);
  nat_mesh_unlock (dp->mesh);
  return ok;
}

/* To all or to none. */
static gboolean
post_to_all (NatDataplane *dp, const NatCommand *command)
{
  gboolean ok = TRUE;

  if (!dp->mesh)
    return post_to (dp->workers[0], command);
  /* Not while a stream changes hands: one of its owners must see it. */
  nat_mesh_lock (dp->mesh);
  for (guint i = 0; i < dp->n && ok; i++)
    ok = has_room (dp->workers[i], command);
  for (guint i = 0; i < dp->n && ok; i++)
    post_to (dp->workers[i], command);
  nat_mesh_unlock (dp->mesh);
  return ok;
}

gboolean
nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket, NatSessionCounters *counters,
    const NatWishes *wishes)
{
  NatCommand command = {.type = NAT_COMMAND_ADD};

  command.session.ticket = *ticket;
  if (wishes) {
    command.session.headstart = wishes->headstart;
    command.session.exclude = wishes->exclude ? nat_room_name_hash (wishes->exclude) : 0;
  }
  command.session.counters = nat_session_counters_ref (counters);
  if (post (dp, ticket->stream, TRUE, &command))
    return TRUE;
  nat_session_counters_unref (counters);
  return FALSE;
}

gboolean
nat_dataplane_renew_session (NatDataplane *dp, const NatTicket *ticket)
{
  NatCommand command = {.type = NAT_COMMAND_RENEW};

  command.session.ticket = *ticket;
  return post (dp, ticket->stream, FALSE, &command);
}

gboolean
nat_dataplane_end_session (NatDataplane *dp, const guint8 session_id[NAT_SESSION_ID_SIZE],
    NatReason reason, gint64 until_s)
{
  NatCommand command = {.type = NAT_COMMAND_END};

  memcpy (command.end.id, session_id, NAT_SESSION_ID_SIZE);
  command.end.reason = reason;
  command.end.until_s = until_s;
  return post_to_all (dp, &command);
}

gboolean
nat_dataplane_set_description (NatDataplane *dp, const char *stream, const NatTracks *tracks,
    guint32 version, const guint8 *publisher_id)
{
  NatCommand command = {.type = NAT_COMMAND_DESCRIBE};

  g_return_val_if_fail (strlen (stream) <= NAT_STREAM_NAME_MAX, FALSE);
  strcpy (command.describe.stream, stream);
  command.describe.version = version;
  if (tracks) {
    command.describe.has_tracks = TRUE;
    command.describe.tracks = *tracks;
  }
  if (publisher_id) {
    command.describe.has_publisher = TRUE;
    memcpy (command.describe.publisher_id, publisher_id, NAT_SESSION_ID_SIZE);
  }
  return post (dp, stream, TRUE, &command);
}

gboolean
nat_dataplane_set_verifier (NatDataplane *dp, const char *stream, NatVerifier *verifier)
{
  NatCommand command = {.type = NAT_COMMAND_VERIFY};

  g_return_val_if_fail (strlen (stream) <= NAT_STREAM_NAME_MAX, FALSE);
  strcpy (command.verify.stream, stream);
  command.verify.verifier = verifier;
  if (post (dp, stream, TRUE, &command))
    return TRUE;
  nat_verifier_free (verifier);
  return FALSE;
}

/* ---- Events ------------------------------------------------------------ */

/* A stream changes hands only when all events of its old owner were read: so a session's events come
 * in their order, whichever ring each comes from. */

int
nat_dataplane_event_fd (NatDataplane *dp)
{
  return dp->mesh ? dp->event_fd : nat_ring_fd (dp->workers[0]->events);
}

gboolean
nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event)
{
  for (guint i = 0; i < dp->n; i++) {
    if (nat_ring_pop (dp->workers[dp->reading]->events, event))
      return TRUE;
    dp->reading = (dp->reading + 1) % dp->n;
  }
  return FALSE;
}
