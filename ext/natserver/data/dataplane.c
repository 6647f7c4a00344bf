/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One worker so far. More of them would each have sockets of their own on the same ports
 * (SO_REUSEPORT), and commands and events rings of their own; this file would choose the ring by session. */

#include "natserver/data/dataplane.h"

#include <string.h>

#include "natserver/data/worker.h"

struct _NatDataplane {
  NatWorker *worker;
  NatWorkerCounters *counters[1];
};

NatDataplane *
nat_dataplane_new (const NatDataplaneConfig *config, char **hints, GError **error)
{
  NatWorker *worker = nat_worker_new (config, hints, error);
  NatDataplane *dp;

  if (!worker)
    return NULL;
  dp = g_new0 (NatDataplane, 1);
  dp->worker = worker;
  dp->counters[0] = worker->counters;
  return dp;
}

void
nat_dataplane_free (NatDataplane *dp)
{
  if (!dp)
    return;
  nat_dataplane_stop (dp, NAT_REASON_GOING_AWAY);
  nat_worker_free (dp->worker);
  g_free (dp);
}

const NatAddress *
nat_dataplane_local (NatDataplane *dp, guint index)
{
  return nat_udpio_local (dp->worker->io, index);
}

void
nat_dataplane_set_times (NatDataplane *dp, const NatDataTimes *times)
{
  g_return_if_fail (!dp->worker->running);
  dp->worker->times = *times;
}

void
nat_dataplane_get_times (NatDataplane *dp, NatDataTimes *times)
{
  *times = dp->worker->times;
}

gboolean
nat_dataplane_start (NatDataplane *dp, GError **error)
{
  return nat_worker_start (dp->worker, error);
}

void
nat_dataplane_stop (NatDataplane *dp, NatReason reason)
{
  nat_worker_stop (dp->worker, reason);
}

guint
nat_dataplane_n_workers (NatDataplane *dp)
{
  return G_N_ELEMENTS (dp->counters);
}

NatWorkerCounters *const *
nat_dataplane_worker_counters (NatDataplane *dp)
{
  return dp->counters;
}

/* ---- Commands ---------------------------------------------------------- */

/* While no thread runs, its memory is ours: a relay that starts hands over any number of ended ids
 * without filling a ring that nobody empties yet. */
static gboolean
post (NatDataplane *dp, const NatCommand *command)
{
  NatWorker *w = dp->worker;

  if (!w->running) {
    w->now_us = g_get_monotonic_time ();
    nat_worker_apply (w, command);
    return TRUE;
  }
  if (nat_ring_push (w->commands, command))
    return TRUE;
  nat_counter_add (&w->counters->commands_refused, 1);
  return FALSE;
}

gboolean
nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket, NatSessionCounters *counters)
{
  NatCommand command = {.type = NAT_COMMAND_ADD};

  command.session.ticket = *ticket;
  command.session.counters = nat_session_counters_ref (counters);
  if (post (dp, &command))
    return TRUE;
  nat_session_counters_unref (counters);
  return FALSE;
}

gboolean
nat_dataplane_renew_session (NatDataplane *dp, const NatTicket *ticket)
{
  NatCommand command = {.type = NAT_COMMAND_RENEW};

  command.session.ticket = *ticket;
  return post (dp, &command);
}

gboolean
nat_dataplane_end_session (NatDataplane *dp, const guint8 session_id[NAT_SESSION_ID_SIZE],
    NatReason reason, gint64 until_s)
{
  NatCommand command = {.type = NAT_COMMAND_END};

  memcpy (command.end.id, session_id, NAT_SESSION_ID_SIZE);
  command.end.reason = reason;
  command.end.until_s = until_s;
  return post (dp, &command);
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
  return post (dp, &command);
}

/* ---- Events ------------------------------------------------------------ */

int
nat_dataplane_event_fd (NatDataplane *dp)
{
  return nat_ring_fd (dp->worker->events);
}

gboolean
nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event)
{
  return nat_ring_pop (dp->worker->events, event);
}
