/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What a thread waits for: descriptors that have something to read, and a time. poll would enter into the queue of each of
 * them, set a timer, and take all that back, whenever it waits; here the descriptors are known to the system once, and
 * the timer stays set as long as it is not too late. One thread. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_WAITER_MAX 32

typedef struct _NatWaiter NatWaiter;

NatWaiter *nat_waiter_new (void); /* NULL when the system has no descriptor left */
void nat_waiter_free (NatWaiter *waiter);

typedef enum {
  NAT_WAITER_WHILE, /* told as long as there is something to read */
  NAT_WAITER_ONCE,  /* told when something comes: whoever did not read all of it must know that */
} NatWaiterKind;

/* bit: below NAT_WAITER_MAX, it stands for fd. FALSE: the system refuses. */
gboolean nat_waiter_add (NatWaiter *waiter, guint bit, int fd, NatWaiterKind kind);

/* Monotonic microseconds; G_MAXINT64 is never, and what is past means a look without waiting. Returns the bits of what
 * there is; none: it is time, or somewhat earlier, since the time of a wait before may still wake this one. now_us may be as old
 * as that is cheaper than to read the clock: if until_us is over since, that is noticed, by a call more. */
guint32 nat_waiter_wait (NatWaiter *waiter, gint64 until_us, gint64 now_us);

G_END_DECLS
