/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/notify.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

void
nat_notify (const char *state)
{
  const char *path = g_getenv ("NOTIFY_SOCKET");
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  gsize len = path ? strlen (path) : 0;
  int fd;

  if (len < 2 || len >= sizeof sa.sun_path || (path[0] != '/' && path[0] != '@'))
    return;
  memcpy (sa.sun_path, path, len);
  if (sa.sun_path[0] == '@')
    sa.sun_path[0] = '\0'; /* an abstract name */
  fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return;
  if (sendto (fd, state, strlen (state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
          (socklen_t)(offsetof (struct sockaddr_un, sun_path) + len)) < 0)
    g_debug ("the service manager was not told");
  close (fd);
}
