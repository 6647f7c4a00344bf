/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/waiter.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TIMER NAT_WAITER_MAX /* where others have their bit */

struct _NatWaiter {
  int epoll, timer;
  gint64 set_us; /* when the timer goes off; G_MAXINT64 = it is not set, or did so */
};

static gboolean
watch (NatWaiter *waiter, guint32 what, int fd, guint32 events)
{
  struct epoll_event event = {.events = events, .data.u32 = what};

  return epoll_ctl (waiter->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

NatWaiter *
nat_waiter_new (void)
{
  NatWaiter *waiter = g_new0 (NatWaiter, 1);

  waiter->set_us = G_MAXINT64;
  waiter->epoll = epoll_create1 (EPOLL_CLOEXEC);
  waiter->timer = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  /* Edge-triggered, so that nobody need read it. */
  if (waiter->epoll < 0 || waiter->timer < 0 ||
      !watch (waiter, TIMER, waiter->timer, EPOLLIN | EPOLLET))
    g_clear_pointer (&waiter, nat_waiter_free);
  return waiter;
}

void
nat_waiter_free (NatWaiter *waiter)
{
  if (!waiter)
    return;
  if (waiter->epoll >= 0)
    close (waiter->epoll);
  if (waiter->timer >= 0)
    close (waiter->timer);
  g_free (waiter);
}

gboolean
nat_waiter_add (NatWaiter *waiter, guint bit, int fd, NatWaiterKind kind)
{
  g_return_val_if_fail (bit < NAT_WAITER_MAX, FALSE);
  return watch (waiter, bit, fd, EPOLLIN | (kind == NAT_WAITER_ONCE ? EPOLLET : 0));
}

/* A time that moved away costs no call: it is set anew when the old one is over. */
static void
set_timer (NatWaiter *waiter, gint64 at_us)
{
  struct itimerspec at = {
      .it_value = {(time_t)(at_us / G_USEC_PER_SEC), (long)(at_us % G_USEC_PER_SEC * 1000)}};

  if (at_us >= waiter->set_us)
    return;
  if (timerfd_settime (waiter->timer, TFD_TIMER_ABSTIME, &at, NULL) < 0)
    g_error ("timerfd_settime failed: %s", g_strerror (errno));
  waiter->set_us = at_us;
}

guint32
nat_waiter_wait (NatWaiter *waiter, gint64 until_us, gint64 now_us)
{
  struct epoll_event events[NAT_WAITER_MAX + 1];
  gboolean due = until_us <= now_us;
  guint32 bits = 0;
  int n;

  if (!due)
    set_timer (waiter, until_us);
  n = epoll_wait (waiter->epoll, events, G_N_ELEMENTS (events), due ? 0 : -1);
  if (n < 0 && errno != EINTR)
    g_error ("epoll_wait failed: %s", g_strerror (errno));
  for (int i = 0; i < n; i++) {
    if (events[i].data.u32 == TIMER)
      waiter->set_us = G_MAXINT64;
    else
      bits |= (guint32)1 << events[i].data.u32;
  }
  return bits;
}
