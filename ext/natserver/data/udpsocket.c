/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natserver/data/udpsocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "natserver/data/udphint.h"

/* Options that are a gain but no condition: an old kernel does without. */
static gboolean
set_int (int fd, int level, int option, int value)
{
  return setsockopt (fd, level, option, &value, sizeof value) == 0;
}

/* Asks for as much as the caller wants and tells what it got, in the unit asked. */
static gsize
size_buffer (int fd, int force_option, int option, gsize wanted)
{
  int value = (int)MIN (wanted, G_MAXINT / 2);
  socklen_t len = sizeof value;

  if (setsockopt (fd, SOL_SOCKET, force_option, &value, sizeof value) < 0)
    set_int (fd, SOL_SOCKET, option, value);
  if (getsockopt (fd, SOL_SOCKET, option, &value, &len) < 0)
    return 0;
  return (gsize)value / 2; /* Linux doubles it for its own book-keeping */
}

void
nat_udpsocket_size_buffers (NatUdpSocket *s, gsize wanted, GString *hints)
{
  gsize receive = size_buffer (s->fd, SO_RCVBUFFORCE, SO_RCVBUF, wanted);
  gsize send = size_buffer (s->fd, SO_SNDBUFFORCE, SO_SNDBUF, wanted);

  nat_udphint_buffers (hints, receive, send, wanted);
  s->send_buffer = 2 * send;
}

static void
set_options (NatUdpSocket *s)
{
  gboolean v4 = s->local.family == 4;

  s->joins = set_int (s->fd, IPPROTO_UDP, UDP_GRO, 1);
  s->cuts = set_int (s->fd, IPPROTO_UDP, UDP_SEGMENT, 0);
  set_int (s->fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
  if (!v4)
    set_int (s->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (s->wildcard)
    set_int (s->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
}

void
nat_udpsocket_share (NatUdpSocket *s)
{
  set_int (s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

gboolean
nat_udpsocket_open (NatUdpSocket *s, const NatAddress *listen, gboolean sibling, GError **error)
{
  struct sockaddr_storage sa;
  struct sockaddr *name = (struct sockaddr *)&sa;
  socklen_t len = nat_address_to_sockaddr (listen, name);

  s->local = *listen;
  s->wildcard = nat_address_is_any (listen);
  s->fd = socket (name->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (s->fd < 0) {
    nat_udphint_bind_error (error, listen, errno);
    return FALSE;
  }
  set_options (s);
  if (sibling)
    nat_udpsocket_share (s);
  if (bind (s->fd, name, len) < 0) {
    nat_udphint_bind_error (error, listen, errno);
    return FALSE;
  }
  len = sizeof sa;
  return getsockname (s->fd, name, &len) == 0 && nat_address_from_sockaddr (&s->local, name, len);
}
