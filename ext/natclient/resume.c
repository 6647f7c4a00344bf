/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/resume.h"

#include <time.h>

#define SLEEP_US G_USEC_PER_SEC

gint64
nat_resume_check (NatResume *r, gint64 monotonic_us, gint64 boottime_us)
{
  gint64 ahead_us = boottime_us - monotonic_us, slept_us = ahead_us - r->ahead_us;

  if (boottime_us < 0)
    return 0;
  if (r->known && slept_us < SLEEP_US)
    return 0;
  r->ahead_us = ahead_us;
  if (r->known)
    return slept_us;
  r->known = TRUE;
  return 0;
}

gint64
nat_resume_boottime_us (void)
{
#ifdef CLOCK_BOOTTIME
  struct timespec now;

  if (clock_gettime (CLOCK_BOOTTIME, &now) == 0)
    return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
#endif
  return -1;
}
