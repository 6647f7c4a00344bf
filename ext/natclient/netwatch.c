/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/netwatch.h"

#ifdef __linux__
#include <errno.h>
#include <glib-unix.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "natclient/source.h"

/* One change of network is a dozen messages: the address first, then its routes. */
#define GATHER_MS 20

struct _NatNetwatch {
  int fd;
  GMainContext *context; /* outlives this: the session's */
  GSource *news;
  GSource *gathered; /* NULL = nothing to tell */
  void (*changed) (gpointer user);
  gpointer user;
};

static gboolean
on_gathered (gpointer user)
{
  NatNetwatch *w = user;

  nat_source_drop (&w->gathered);
  w->changed (w->user);
  return G_SOURCE_REMOVE;
}

static gboolean
on_news (gint fd, GIOCondition condition, gpointer user)
{
  NatNetwatch *w = user;
  char message[4096];
  gssize n;

  /* A queue that overflowed (ENOBUFS) is news as well. What stands in them is of no interest. */
  do
    n = recv (fd, message, sizeof message, MSG_DONTWAIT);
  while (n > 0 || (n < 0 && (errno == EINTR || errno == ENOBUFS)));
  if (w->gathered != NULL)
    return G_SOURCE_CONTINUE;
  w->gathered = g_timeout_source_new (GATHER_MS);
  g_source_set_callback (w->gathered, on_gathered, w, NULL);
  g_source_attach (w->gathered, w->context);
  return G_SOURCE_CONTINUE;
}

static int
open_netlink (void)
{
  struct sockaddr_nl address = {.nl_family = AF_NETLINK,
      .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                   RTMGRP_IPV6_ROUTE};
  int fd = socket (AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

  if (fd >= 0 && bind (fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  if (fd >= 0)
    close (fd);
  return -1;
}

NatNetwatch *
nat_netwatch_new (GMainContext *context, void (*changed) (gpointer user), gpointer user)
{
  int fd = open_netlink ();
  NatNetwatch *w;

  if (fd < 0)
    return NULL;
  w = g_new0 (NatNetwatch, 1);
  w->fd = fd;
  w->context = context;
  w->changed = changed;
  w->user = user;
  w->news = g_unix_fd_source_new (fd, G_IO_IN);
  g_source_set_callback (w->news, G_SOURCE_FUNC (on_news), w, NULL);
  g_source_attach (w->news, context);
  return w;
}

void
nat_netwatch_free (NatNetwatch *w)
{
  if (w == NULL)
    return;
  nat_source_drop (&w->news);
  if (w->gathered != NULL)
    nat_source_drop (&w->gathered);
  close (w->fd);
  g_free (w);
}
#else
NatNetwatch *
nat_netwatch_new (GMainContext *context, void (*changed) (gpointer user), gpointer user)
{
  return NULL;
}

void
nat_netwatch_free (NatNetwatch *watch)
{
}
#endif
