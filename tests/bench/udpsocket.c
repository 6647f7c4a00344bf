/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "udpsocket.h"

#include <errno.h>
#include <gio/gio.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "natproto/stun.h"

BenchSockaddr
bench_sockaddr (const NatAddress *a)
{
  BenchSockaddr s = {0};

  s.len = (socklen_t)nat_address_to_sockaddr (a, (struct sockaddr *)&s.sa);
  return s;
}

NatAddress
bench_address (const char *text, guint offset)
{
  NatAddress a;

  if (!text || !nat_address_from_text (&a, text, 0) || a.port + offset > 65535) {
    g_printerr ("\"%s\" (plus %u) is no ADDRESS:PORT\n", text ? text : "", offset);
    exit (2);
  }
  if (a.port)
    a.port = (guint16)(a.port + offset);
  return a;
}

static void
set_buffer (int fd, int force, int polite)
{
  int bytes = BENCH_SOCKET_BUFFER;

  if (setsockopt (fd, SOL_SOCKET, force, &bytes, sizeof bytes) < 0)
    setsockopt (fd, SOL_SOCKET, polite, &bytes, sizeof bytes);
}

int
bench_udp_socket (const NatAddress *local, GError **error)
{
  BenchSockaddr sa = bench_sockaddr (local);
  char text[NAT_ADDRESS_TEXT_MAX];
  int fd = socket (sa.sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || bind (fd, (struct sockaddr *)&sa.sa, sa.len) < 0) {
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "cannot bind UDP %s: %s",
        nat_address_to_text (local, text), g_strerror (errno));
    if (fd >= 0)
      close (fd);
    return -1;
  }
  set_buffer (fd, SO_RCVBUFFORCE, SO_RCVBUF);
  set_buffer (fd, SO_SNDBUFFORCE, SO_SNDBUF);
  return fd;
}

NatAddress
bench_socket_local (int fd)
{
  struct sockaddr_storage sa = {0};
  socklen_t len = sizeof sa;
  NatAddress a;

  getsockname (fd, (struct sockaddr *)&sa, &len);
  nat_address_from_sockaddr (&a, (struct sockaddr *)&sa, len);
  return a;
}

static gboolean
enable (int fd, int level, int option, const char *name, GError **error)
{
  int on = 1;

  if (setsockopt (fd, level, option, &on, sizeof on) == 0)
    return TRUE;
  g_set_error (
      error, G_IO_ERROR, g_io_error_from_errno (errno), "no %s: %s", name, g_strerror (errno));
  return FALSE;
}

gboolean
bench_enable_gro (int fd, GError **error)
{
  return enable (fd, SOL_UDP, UDP_GRO, "UDP_GRO", error);
}

gboolean
bench_enable_stamps (int fd, GError **error)
{
  return enable (fd, SOL_SOCKET, SO_TIMESTAMPNS, "SO_TIMESTAMPNS", error);
}

void
bench_come_first (void)
{
  if (setpriority (PRIO_PROCESS, 0, -20) < 0)
    g_debug ("no priority: %s", g_strerror (errno));
  prctl (PR_SET_TIMERSLACK, 1000);
}

void
bench_many_descriptors (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit (RLIMIT_NOFILE, &limit);
  }
}

int
bench_receive_buffer (int fd)
{
  int bytes = 0;
  socklen_t len = sizeof bytes;

  getsockopt (fd, SOL_SOCKET, SO_RCVBUF, &bytes, &len);
  return bytes;
}

gsize
bench_stun_exchange (
    int fd, const NatAddress *to, const guint8 *request, gsize len, guint8 *reply, gsize cap)
{
  BenchSockaddr sa = bench_sockaddr (to);

  for (guint try = 0; try < 5; try++) {
    gint64 end = bench_now_ns () + 500 * G_GINT64_CONSTANT (1000000);

    sendto (fd, request, len, 0, (struct sockaddr *)&sa.sa, sa.len);
    for (gint64 left = end - bench_now_ns (); left > 0; left = end - bench_now_ns ()) {
      struct pollfd p = {.fd = fd, .events = POLLIN};
      gssize n;

      if (poll (&p, 1, (int)(left / 1000000) + 1) <= 0)
        continue;
      n = recv (fd, reply, cap, MSG_DONTWAIT);
      if (n >= NAT_STUN_HEADER_SIZE && memcmp (reply + 4, request + 4, 16) == 0)
        return (gsize)n;
    }
  }
  return 0;
}

gint64
bench_now_ns (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (gint64)t.tv_sec * 1000000000 + t.tv_nsec;
}
