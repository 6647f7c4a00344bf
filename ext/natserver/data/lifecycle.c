/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Others report facts (bound, heard, time passed); this file alone decides what state a session
 * is in and what control hears of it. An event that does not fit the ring is not lost: the
 * session stays as it was, and the next check tries again. */

#include <string.h>

#include "natserver/data/worker.h"

static gboolean
post (NatWorker *w, NatEventType type, const NatDataSession *s, const NatAddress *mapped)
{
  NatEvent event = {.type = type};

  memcpy (event.session_id, s->id, sizeof event.session_id);
  if (mapped)
    event.mapped = *mapped;
  if (nat_ring_push (w->events, &event))
    return TRUE;
  nat_counter_add (&w->counters->events_lost, 1);
  return FALSE;
}

gboolean
nat_lifecycle_has_room (NatWorker *w)
{
  return nat_ring_space (w->events) >= 2;
}

NatDataSession *
nat_lifecycle_revive (NatWorker *w, const NatTicket *ticket)
{
  NatDataSession *s = nat_roster_find (w->roster, ticket->session_id);
  NatEvent event = {.type = NAT_EVENT_REVIVED, .ticket = *ticket};

  if (s) {
    nat_roster_wake (w->roster, s);
    nat_roster_renew (s, ticket);
    event.counters = nat_session_counters_ref (s->counters);
  } else {
    event.counters = nat_session_counters_new ();
    s = nat_roster_add (w->roster, ticket, event.counters, w->now_us);
  }
  memcpy (event.session_id, s->id, sizeof event.session_id);
  if (!nat_ring_push (w->events, &event))
    g_assert_not_reached (); /* the caller saw that there is room */
  return s;
}

void
nat_lifecycle_ended (NatWorker *w, NatDataSession *s)
{
  post (w, NAT_EVENT_GONE, s, NULL);
}

static void
tell_moved (NatWorker *w, NatDataSession *s)
{
  const NatAddress *mapped = s->selected ? &s->selected->key.remote : NULL;

  if (!mapped || nat_address_equal (mapped, &s->told_mapped))
    return;
  if (post (w, NAT_EVENT_MOVED, s, mapped))
    s->told_mapped = *mapped;
}

void
nat_lifecycle_bound (NatWorker *w, NatPath *path)
{
  NatDataSession *s = path->session;

  s->binding_us = w->now_us;
  nat_counter_add (&s->counters->bindings, 1);
  atomic_store_explicit (&s->counters->last_binding_us, (guint64)w->now_us, memory_order_relaxed);
  if (s->state == NAT_DATA_EXPECTED) {
    if (!post (w, NAT_EVENT_REGISTERED, s, &path->key.remote))
      g_assert_not_reached (); /* as above */
    s->state = NAT_DATA_REGISTERED;
    s->told_mapped = path->key.remote;
  }
  tell_moved (w, s);
  nat_lifecycle_heard (w, s);
}

void
nat_lifecycle_heard (NatWorker *w, NatDataSession *s)
{
  s->active_us = w->now_us;
  atomic_store_explicit (&s->counters->last_received_us, (guint64)w->now_us, memory_order_relaxed);
  if (s->told_silent && post (w, NAT_EVENT_ACTIVE, s, NULL))
    s->told_silent = FALSE;
}

static void
check_paths (NatWorker *w, NatDataSession *s)
{
  for (NatPath *p = s->paths, *next; p; p = next) {
    next = p->next;
    if (w->now_us - p->valid_us > w->times.consent_us)
      nat_roster_drop_path (w->roster, p);
  }
}

static void
check_silence (NatWorker *w, NatDataSession *s)
{
  if (s->role == NAT_ROLE_PUBLISHER && !s->told_silent &&
      w->now_us - s->active_us > w->times.silence_us && post (w, NAT_EVENT_SILENT, s, NULL))
    s->told_silent = TRUE;
}

void
nat_lifecycle_check (NatWorker *w, NatDataSession *s)
{
  if (s->state != NAT_DATA_REGISTERED)
    return;
  check_paths (w, s);
  if (s->role == NAT_ROLE_PUBLISHER)
    nat_budget_check (s->budget, s->counters);
  check_silence (w, s);
  tell_moved (w, s);
  if (w->now_us - s->binding_us > w->times.consent_us && post (w, NAT_EVENT_GONE, s, NULL))
    nat_roster_sleep (w->roster, s, w->now_us);
}
