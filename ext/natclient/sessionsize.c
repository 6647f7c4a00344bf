/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/session-private.h"

#define STUN_UNIT 4 /* bytes; a message's length is a multiple of it */

/* The application hears of each change once. */
static void
tell (NatSession *s)
{
  if (s->path_size.limit == s->size_told)
    return;
  s->size_told = s->path_size.limit;
  NAT_SESSION_CALL (s, path_size, s->size_told);
}

static void
plan (NatSession *s)
{
  gint64 due = s->path_size.due_us;

  g_source_set_ready_time (s->size_timer, due == G_MAXINT64 ? -1 : MAX (due, 0));
}

static void
on_size_timer (NatSession *s)
{
  gint64 now_us = g_get_monotonic_time ();
  guint bytes = nat_path_size_due (&s->path_size, s->size_seen_us, now_us);

  if (bytes > 0)
    nat_prober_try_size (s->prober, now_us, bytes);
  tell (s);
  plan (s);
  nat_session_plan_probe (s);
}

void
nat_session_size_look (NatSession *s)
{
  guint known;

  if (s->relay.family == 0 || s->relay.transport != NAT_TRANSPORT_UDP)
    return;
  known = nat_udp_payload_max (&s->relay);
  if (known > 0)
    nat_path_size_told (&s->path_size, known);
  tell (s);
  plan (s);
}

/* With each Binding we look at what was sent since: sizes change when caps do, which is seldom. */
void
nat_session_size_seen (NatSession *s, guint size)
{
  gint64 now_us = g_get_monotonic_time ();
  guint sent = s->config.role == NAT_ROLE_PUBLISHER ? nat_sender_take_largest (&s->sender)
                                                    : NAT_PATH_SIZE_MIN;

  s->size_seen_us = now_us;
  if (s->relay.transport != NAT_TRANSPORT_UDP)
    return;
  if (size > 0)
    nat_path_size_answered (&s->path_size, size, now_us);
  nat_path_size_sent (&s->path_size, (sent + STUN_UNIT - 1) / STUN_UNIT * STUN_UNIT, now_us);
  nat_session_size_look (s);
}

void
nat_session_size_reset (NatSession *s)
{
  nat_path_size_reset (&s->path_size);
  tell (s);
  plan (s);
}

void
nat_session_size_begin (NatSession *s)
{
  s->size_timer = nat_session_timer_new (s, on_size_timer);
  nat_path_size_reset (&s->path_size);
}

void
nat_session_size_end (NatSession *s)
{
  nat_source_drop (&s->size_timer);
}
