/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/statedir.h"

#include <string.h>
#include <unistd.h>

char *
nat_state_dir_default (void)
{
  const char *wanted = g_getenv ("NATRELAY_STATE_DIR");
  const char *managed = g_getenv ("STATE_DIRECTORY");

  if (wanted != NULL && *wanted != '\0')
    return g_strdup (wanted);
  /* systemd joins several with ':'; the first one is ours. */
  if (managed != NULL && *managed == '/')
    return g_strndup (managed, strcspn (managed, ":"));
  if (geteuid () == 0)
    return g_strdup ("/var/lib/natrelay");
  return g_build_filename (g_get_user_state_dir (), "natrelay", NULL);
}
