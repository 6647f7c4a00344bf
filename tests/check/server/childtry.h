/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Whether this machine lets a test do what cannot be undone: a test that cannot is skipped, and counted as that. */

#include <sys/wait.h>
#include <unistd.h>
#include <glib.h>

/* In a child, which takes what try did along. */
static inline gboolean
works_in_child (gboolean (*try) (gconstpointer user), gconstpointer user)
{
  int status = 0;
  pid_t child = fork ();

  if (child == 0)
    _exit (try (user) ? 0 : 1);
  return child > 0 && waitpid (child, &status, 0) == child && status == 0;
}
