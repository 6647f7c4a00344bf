/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "ownnetwork.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static gboolean
write_file (const char *path, const char *text)
{
  FILE *file = fopen (path, "w");
  gboolean ok = file && fputs (text, file) >= 0;

  return file && fclose (file) == 0 && ok;
}

gboolean
own_network_run (const char *command)
{
  g_autofree char *line = g_strdup_printf ("PATH=$PATH:/usr/sbin:/sbin; %s", command);
  const char *argv[] = {"sh", "-c", line, NULL};
  int status;

  return g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
             &status, NULL) &&
         g_spawn_check_wait_status (status, NULL);
}

gboolean
own_network_enter (void)
{
  g_autofree char *uid = g_strdup_printf ("0 %u 1", (guint)geteuid ());
  g_autofree char *gid = g_strdup_printf ("0 %u 1", (guint)getegid ());

  if (unshare (CLONE_NEWUSER | CLONE_NEWNET) < 0)
    return FALSE;
  return write_file ("/proc/self/setgroups", "deny") && write_file ("/proc/self/uid_map", uid) &&
         write_file ("/proc/self/gid_map", gid) && own_network_run ("ip link set lo up");
}
