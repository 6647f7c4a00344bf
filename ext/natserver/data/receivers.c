/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The lists of receivers, built anew at the quiescent point when somebody came, went or moved. In a large room that are
 * many lists, so they may be built a part at a time, between batches: until its turn comes a stream is sent to those of before. What a
 * list names is freed only when none is left to be built.
 *
 * A list of ten thousand takes 0.7 ms, and whoever moves without end (a new port each time) would have it built for every
 * batch. So lists are paid for in time, fourteen times what they take, and who changes all the time has the next one later, with all that
 * changed meanwhile. To replace one entry where it is was refused: a guest of a room is in 64 lists, and who comes and goes would have to be
 * bounded all the same. */

#include <string.h>

#include "natserver/data/room.h"

#define WAITING_MAX 512 /* sessions that left wait for that; then all are built at once */

#define PRICE_US 1 /* of each receiver in a list that was built */
/* So much may be saved up, so that small lists do not wait; and nobody waits longer for one that was built before. */
#define SAVED_US NAT_SETTLE_SOME
#define DEBT_US  (50 * 1000)

/* ---- Receivers --------------------------------------------------------- */

void
nat_roster_mark_stale (NatRoster *r, NatDataStream *stream)
{
  if (stream->stale)
    return;
  stream->stale = TRUE;
  stream->next_stale = NULL;
  if (r->stale)
    r->last_stale->next_stale = stream;
  else
    r->stale = stream;
  r->last_stale = stream;
}

static gboolean
is_receiver (const NatDataSession *s)
{
  return s->role == NAT_ROLE_SUBSCRIBER && s->selected != NULL;
}

/* Where in the list the next receiver of each socket goes. */
typedef struct {
  guint place[NAT_UDPIO_OUTLETS + 1];
  NatReceivers *list;
} Building;

static void
count_receiver (NatDataSession *s, gpointer user)
{
  Building *b = user;

  if (is_receiver (s))
    b->place[s->selected->socket + 1]++;
}

static void
put_receiver (NatDataSession *s, gpointer user)
{
  Building *b = user;
  NatReceiver *receiver;

  if (!is_receiver (s))
    return;
  receiver = &b->list->list[b->place[s->selected->socket]++];
  nat_roster_dest (s->selected, &receiver->dest);
  receiver->session = s;
  receiver->counters = s->counters;
}

/* Grouped by socket: neighbours then share a system call. */
static NatReceivers *
build_receivers (const NatDataStream *stream)
{
  Building b = {{0}, NULL};

  if (!stream->room)
    nat_room_visit_receivers (stream, count_receiver, &b);
  for (guint i = 0; i < NAT_UDPIO_OUTLETS; i++)
    b.place[i + 1] += b.place[i];
  b.list = g_malloc (sizeof *b.list + b.place[NAT_UDPIO_OUTLETS] * sizeof b.list->list[0]);
  b.list->n = b.place[NAT_UDPIO_OUTLETS];
  if (!stream->room)
    nat_room_visit_receivers (stream, put_receiver, &b);
  return b.list;
}

/* What sending found out about a way outlives the list: else each join and leave in a large audience would
 * have it found out anew, at a refused message for each. */
static void
keep_findings (const NatReceivers *old)
{
  for (guint i = 0; i < old->n; i++) {
    const NatUdpDest *dest = &old->list[i].dest;
    NatPath *path = dest->apart || dest->again ? old->list[i].session->selected : NULL;
    NatUdpDest now;

    if (!path)
      continue;
    nat_roster_dest (path, &now);
    if (now.socket == dest->socket && now.name_len == dest->name_len &&
        memcmp (&now.name, &dest->name, dest->name_len) == 0)
      path->apart = dest->apart;
  }
}

/* Returns about what that cost, in receivers: one is for the list. */
static guint
renew (NatRoster *r, NatDataStream *stream)
{
  keep_findings (stream->receivers);
  stream->receivers->next = r->retired_receivers;
  r->retired_receivers = stream->receivers;
  stream->receivers = build_receivers (stream);
  nat_room_count_guests (stream);
  stream->stale = FALSE;
  r->n_built++;
  r->paid_us += (gint64)(stream->receivers->n + 1) * PRICE_US;
  return stream->receivers->n + 1;
}

static void
free_retired (NatRoster *r)
{
  while (r->retired_receivers) {
    NatReceivers *old = r->retired_receivers;
    r->retired_receivers = old->next;
    g_free (old);
  }
  if (r->stale) /* the list of one that waits may still name a session that is gone */
    return;
  nat_rooms_settled (r); /* some of those that changed are gone */
  while (r->retired_sessions) {
    NatDataSession *old = r->retired_sessions;
    r->retired_sessions = old->next;
    nat_data_session_free (old);
  }
  r->n_waiting = 0;
}

/* First come, first served: who changes all the time keeps nobody else waiting. */
static void
settle (NatRoster *r, guint most, gint64 now_us)
{
  for (guint n = 0; r->stale && n < most && r->paid_us <= now_us;) {
    NatDataStream *stream = r->stale;

    r->stale = stream->next_stale;
    n += renew (r, stream);
  }
  free_retired (r);
}

void
nat_roster_settle (NatRoster *r)
{
  settle (r, G_MAXUINT, G_MAXINT64);
}

void
nat_roster_settle_some (NatRoster *r, gint64 now_us)
{
  if (r->n_waiting > WAITING_MAX) {
    nat_roster_settle (r);
    return;
  }
  if (r->stale)
    r->paid_us = CLAMP (r->paid_us, now_us - SAVED_US, now_us + DEBT_US);
  settle (r, NAT_SETTLE_SOME, now_us);
}
