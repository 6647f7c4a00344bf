/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "carrier.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 1024

typedef struct {
  int fd; /* -1: hung up */
  NatTunnelEnd end;
  guint bound;
} Connection;

struct _Carrier {
  NatTunnel *tunnel;
  void (*begin) (void);
  GThread *thread;
  int wake;
  GMutex lock; /* of all below */
  Connection connections[MANY];
  guint n;
  guint64 letters, to;
  gboolean stop, stall;
};

static void
fetch (Carrier *c)
{
  const NatTunnelLetter *letter;

  while (!c->stall && (letter = nat_tunnel_next (c->tunnel))) {
    const guint8 *data = nat_tunnel_letter_data (letter);

    c->letters++;
    c->to += letter->n_to;
    for (guint i = 0; i < letter->n_to; i++) {
      Connection *to = &c->connections[letter->to[i]];

      if (letter->kind == NAT_TUNNEL_BOUND)
        to->bound++;
      for (gsize at = 0; at < letter->bytes && to->fd >= 0; at += letter->segment)
        send (to->fd, data + at, MIN (letter->segment, letter->bytes - at),
            MSG_NOSIGNAL | (letter->rank == NAT_RANK_CONTROL ? 0 : MSG_DONTWAIT));
    }
  }
}

static void
read_from (Carrier *c, Connection *from)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gssize n;

  while ((n = recv (from->fd, buf, sizeof buf, MSG_DONTWAIT)) > 0)
    nat_tunnel_deliver (c->tunnel, &from->end, buf, (gsize)n);
  if (n < 0 && errno == EAGAIN)
    return;
  if (!nat_tunnel_hang_up (c->tunnel, &from->end))
    return; /* next time */
  close (from->fd);
  from->fd = -1;
}

static gpointer
run (gpointer data)
{
  Carrier *c = data;
  struct pollfd fds[MANY + 2];
  guint64 count;

  if (c->begin)
    c->begin ();
  g_mutex_lock (&c->lock);
  while (!c->stop) {
    guint n = c->n;
    gboolean rest = c->stall || nat_tunnel_rest (c->tunnel);

    for (guint i = 0; i < n; i++)
      fds[i] = (struct pollfd){c->connections[i].fd, POLLIN, 0};
    fds[n] = (struct pollfd){c->wake, POLLIN, 0};
    fds[n + 1] = (struct pollfd){c->stall ? -1 : nat_tunnel_fd (c->tunnel), POLLIN, 0};
    g_mutex_unlock (&c->lock);
    poll (fds, n + 2, rest ? -1 : 0);
    g_mutex_lock (&c->lock);
    if (fds[n].revents && read (c->wake, &count, sizeof count) < 0)
      continue;
    fetch (c);
    for (guint i = 0; i < n; i++) {
      if (fds[i].revents)
        read_from (c, &c->connections[i]);
    }
    nat_tunnel_flush (c->tunnel);
  }
  g_mutex_unlock (&c->lock);
  return NULL;
}

Carrier *
carrier_new (NatDataplane *dp, void (*begin) (void))
{
  Carrier *c = g_new0 (Carrier, 1);

  c->tunnel = nat_dataplane_tunnel (dp);
  c->begin = begin;
  c->wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  g_mutex_init (&c->lock);
  c->thread = g_thread_new ("carrier", run, c);
  return c;
}

static void
wake (Carrier *c)
{
  guint64 one = 1;

  g_assert_cmpint (write (c->wake, &one, sizeof one), ==, sizeof one);
}

void
carrier_free (Carrier *c)
{
  if (!c)
    return;
  g_mutex_lock (&c->lock);
  c->stop = TRUE;
  g_mutex_unlock (&c->lock);
  wake (c);
  g_thread_join (c->thread);
  for (guint i = 0; i < c->n; i++) {
    if (c->connections[i].fd >= 0)
      close (c->connections[i].fd);
  }
  close (c->wake);
  g_mutex_clear (&c->lock);
  g_free (c);
}

NatProbe *
carrier_connect (Carrier *c, const char *remote, guint32 *connection)
{
  NatAddress address, local;
  Connection *new;
  int fds[2];

  g_assert_true (nat_address_from_text (&address, remote, 0));
  g_assert_true (nat_address_from_text (&local, "192.0.2.1:8443", 0));
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), ==, 0);
  g_mutex_lock (&c->lock);
  g_assert_cmpuint (c->n, <, MANY);
  new = &c->connections[c->n];
  new->fd = fds[0];
  nat_tunnel_end_init (&new->end, c->n, &address, &local);
  if (connection)
    *connection = c->n;
  c->n++;
  g_mutex_unlock (&c->lock);
  wake (c);
  return nat_probe_new_carried (fds[1], &address);
}

guint
carrier_bound (Carrier *c, guint32 connection)
{
  guint bound;

  g_mutex_lock (&c->lock);
  bound = c->connections[connection].bound;
  g_mutex_unlock (&c->lock);
  return bound;
}

void
carrier_count (Carrier *c, guint64 *letters, guint64 *to)
{
  g_mutex_lock (&c->lock);
  *letters = c->letters;
  *to = c->to;
  g_mutex_unlock (&c->lock);
}

void
carrier_stall (Carrier *c, gboolean stall)
{
  g_mutex_lock (&c->lock);
  c->stall = stall;
  g_mutex_unlock (&c->lock);
  wake (c);
}
