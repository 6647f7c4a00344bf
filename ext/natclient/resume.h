/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Whether the machine slept: CLOCK_BOOTTIME goes on meanwhile, CLOCK_MONOTONIC, by which all timers go, does not. No
 * timer is late after a sleep, so nobody would notice what others forgot of us in it. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  gint64 ahead_us; /* boot time less monotonic time */
  gboolean known;
} NatResume;

/* Microseconds slept since the last call, 0 = no sleep of a second or more. boottime_us < 0: there is no such clock. */
gint64 nat_resume_check (NatResume *r, gint64 monotonic_us, gint64 boottime_us);
/* -1 = there is no such clock. */
gint64 nat_resume_boottime_us (void);

G_END_DECLS
