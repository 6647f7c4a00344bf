/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/httplisten.h"

#include <errno.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <gio/gio.h>

#define BACKLOG 512

static const char *
bind_hint (int code)
{
  switch (code) {
  case EADDRINUSE:
    return "another program uses this port; stop it or choose another one with --listen";
  case EACCES: return "ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit grants it)";
  case EADDRNOTAVAIL: return "this machine has no such address; see \"ip address\"";
  default: return "check the address given with --listen";
  }
}

static int
bind_socket (const NatAddress *address, NatAddress *local)
{
  struct sockaddr_storage sa;
  socklen_t len = (socklen_t)nat_address_to_sockaddr (address, (struct sockaddr *)&sa);
  int fd = socket (
      address->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int one = 1;
  int saved;

  if (fd < 0)
    return -1;
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (address->family == 6)
    setsockopt (fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (bind (fd, (struct sockaddr *)&sa, len) == 0) {
    len = sizeof sa;
    if (getsockname (fd, (struct sockaddr *)&sa, &len) == 0)
      nat_address_from_sockaddr (local, (struct sockaddr *)&sa, len);
    return fd;
  }
  saved = errno;
  close (fd);
  errno = saved;
  return -1;
}

static void
set_bind_error (GError **error, const NatAddress *address, int code)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code),
      "The relay cannot listen at TCP %s: %s. Hint: %s.", nat_address_to_text (address, text),
      g_strerror (code), bind_hint (code));
}

int
nat_http_bind (const NatAddress *address, NatAddress *local, GError **error)
{
  int fd = bind_socket (address, local);

  if (fd < 0)
    set_bind_error (error, address, errno);
  return fd;
}

/* With SO_REUSEADDR two programs may bind one port; only one of them may listen. */
gboolean
nat_http_listen (int fd, GError **error)
{
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  NatAddress local = {0};
  int code;

  if (listen (fd, BACKLOG) == 0)
    return TRUE;
  code = errno;
  if (getsockname (fd, (struct sockaddr *)&sa, &len) == 0)
    nat_address_from_sockaddr (&local, (struct sockaddr *)&sa, len);
  set_bind_error (error, &local, code);
  return FALSE;
}

gboolean
nat_http_hint_plain (int fd)
{
  static const char hint[] = "HTTP/1.1 400 Bad Request\r\n"
                             "Content-Type: text/plain\r\n"
                             "Connection: close\r\n\r\n"
                             "This port speaks HTTPS: use https:// in the address.\n";

  return send (fd, hint, sizeof hint - 1, MSG_NOSIGNAL) >= 0;
}
