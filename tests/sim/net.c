/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define QUEUE_MAX 256 /* datagrams that a socket holds */
#define ICMP      0.2 /* of those that a dead port gets, so many are answered */
#define FIRST_Z   20000

NetWatch net_watch;

typedef struct {
  guint16 y, z;
  guint8 site;
  gint64 used_us; /* by a packet from inside */
} Mapping;

typedef struct {
  GSocket *socket; /* NULL: closed */
  Link *link;
  guint16 y;
  GQueue inbox;
  GSource *source; /* NULL = none; it clears this when it goes */
  gboolean unreachable;
} Socket;

typedef struct {
  GSource source;
  Socket *socket;
} Ready;

typedef struct {
  int fd; /* -1: free */
  NatAddress local;
  GQueue inbox;
} Door;

static GPtrArray *links;
static Door doors[NET_RELAY_SOCKETS];
static Host *relay;
static guint16 next_z, next_y;

/* ---- Set-up ------------------------------------------------------------ */

void
net_begin (void)
{
  links = g_ptr_array_new ();
  for (guint i = 0; i < NET_RELAY_SOCKETS; i++)
    doors[i] = (Door){.fd = -1};
  relay = NULL;
  next_z = FIRST_Z;
  next_y = 1024;
  memset (&net_watch, 0, sizeof net_watch);
}

void
net_relay_gone (void)
{
  for (guint i = 0; i < NET_RELAY_SOCKETS; i++) {
    g_queue_clear_full (&doors[i].inbox, g_free);
    doors[i].fd = -1;
  }
}

void
net_end (void)
{
  net_relay_gone ();
  g_clear_pointer (&links, g_ptr_array_unref);
}

void
net_set_relay (Host *host)
{
  relay = host;
}

static void
socket_free (gpointer data)
{
  Socket *s = data;

  g_queue_clear_full (&s->inbox, g_free);
  if (s->source != NULL)
    ((Ready *)s->source)->socket = NULL;
  g_free (s);
}

void
net_link_init (Link *link, Host *host, guint8 number)
{
  memset (link, 0, sizeof *link);
  link->host = host;
  link->number = number;
  link->site = number;
  link->memory = MS (60000);
  link->mappings = g_array_new (FALSE, FALSE, sizeof (Mapping));
  link->sockets = g_ptr_array_new_with_free_func (socket_free);
  g_ptr_array_add (links, link);
}

void
net_link_clear (Link *link)
{
  g_ptr_array_remove (links, link);
  g_clear_pointer (&link->mappings, g_array_unref);
  g_clear_pointer (&link->sockets, g_ptr_array_unref);
}

Datagram *
net_datagram (const NatAddress *from, const NatAddress *to, gconstpointer data, gsize len)
{
  Datagram *d = g_malloc (sizeof *d + len);

  d->from = *from;
  d->to = *to;
  d->len = len;
  memcpy (d->data, data, len);
  return d;
}

/* ---- NAT --------------------------------------------------------------- */

#define SITES 100 /* a NAT whose outside address changes takes its number plus this, and so on */

static void
outside (guint8 site, guint16 z, NatAddress *out)
{
  guint8 ip[4] = {198, 51, 100, site};

  nat_address_from_ip (out, ip, 4, z);
}

Link *
net_link_of (const NatAddress *a)
{
  if (a->family != 4 || a->ip[0] != 198)
    return NULL;
  for (guint i = 0; i < links->len; i++) {
    Link *link = links->pdata[i];

    if (a->ip[3] % SITES == link->number)
      return link;
  }
  return NULL;
}

static gboolean
is_remembered (const Link *link, const Mapping *m)
{
  return world.now - m->used_us <= link->memory;
}

/* From inside: makes a mapping, or renews the one that is remembered. No port comes twice. */
static guint16
translate (Link *link, guint16 y, guint8 *site)
{
  Mapping fresh = {y, 0, link->site, world.now};

  *site = link->site;
  for (guint i = 0; i < link->mappings->len; i++) {
    Mapping *m = &g_array_index (link->mappings, Mapping, i);

    if (m->y == y && is_remembered (link, m)) {
      m->used_us = world.now;
      return m->z;
    }
    if (m->y == y)
      g_array_remove_index_fast (link->mappings, i--);
  }
  fresh.z = next_z++;
  g_array_append_val (link->mappings, fresh);
  return fresh.z;
}

static Socket *
inside (Link *link, const NatAddress *to)
{
  for (guint i = 0; i < link->mappings->len; i++) {
    Mapping *m = &g_array_index (link->mappings, Mapping, i);

    if (m->z != to->port || m->site != to->ip[3] || !is_remembered (link, m))
      continue;
    for (guint k = 0; k < link->sockets->len; k++) {
      Socket *s = link->sockets->pdata[k];

      if (s->socket != NULL && s->y == m->y)
        return s;
    }
  }
  return NULL;
}

void
net_link_forget (Link *link, gboolean other_site)
{
  g_array_set_size (link->mappings, 0);
  if (other_site)
    link->site = link->site < SITES ? link->site + SITES : link->site - SITES;
}

gboolean
net_link_is_open (const Link *link, gboolean up, gboolean https)
{
  return !(up ? link->dark_up : link->dark_down) && !(https ? link->no_https : link->no_udp);
}

/* ---- Arrivals ---------------------------------------------------------- */

static Door *
door_of (const Datagram *d)
{
  Door *found[NET_RELAY_SOCKETS];
  guint n = 0;

  for (guint i = 0; i < NET_RELAY_SOCKETS; i++) {
    if (doors[i].fd >= 0 && nat_address_equal (&doors[i].local, &d->to))
      found[n++] = &doors[i];
  }
  /* As the kernel: each 5-tuple has one of the sockets of an address, always the same. */
  return n == 0 ? NULL : found[(d->from.port * 31u + d->from.ip[3]) % n];
}

static void
unreachable_arrives (gpointer a, gpointer b)
{
  net_unreachable (a);
}

static void
at_relay (Datagram *d)
{
  Door *door = door_of (d);
  Link *link = net_link_of (&d->from);

  if (door == NULL) {
    if (link != NULL && world_chance (ICMP))
      world_at (world.now + link->delay, unreachable_arrives, link, NULL);
    return;
  }
  if (door->inbox.length >= QUEUE_MAX || relay->asleep)
    return;
  if (net_watch.relay_heard != NULL)
    net_watch.relay_heard (d);
  g_queue_push_tail (&door->inbox, net_datagram (&d->from, &d->to, d->data, d->len));
  relay->ready = TRUE;
}

static void
wake (Socket *s)
{
  if (s->source != NULL)
    __real_g_source_set_ready_time (s->source, 0);
  s->link->host->ready = TRUE;
}

static void
at_client (Datagram *d)
{
  Link *link = net_link_of (&d->to);
  Socket *s = link == NULL ? NULL : inside (link, &d->to);

  if (s == NULL || s->inbox.length >= QUEUE_MAX || link->host->asleep)
    return;
  if (net_watch.client_heard != NULL)
    net_watch.client_heard (link, d);
  g_queue_push_tail (&s->inbox, net_datagram (&d->from, &d->to, d->data, d->len));
  wake (s);
}

static void
relay_arrives (gpointer a, gpointer b)
{
  at_relay (b);
}

static void
client_arrives (gpointer a, gpointer b)
{
  at_client (b);
}

void
net_inject (Datagram *d)
{
  world_at (world.now, net_link_of (&d->to) != NULL ? client_arrives : relay_arrives, NULL, d);
}

void
net_unreachable (Link *link)
{
  for (guint i = 0; i < link->sockets->len; i++) {
    Socket *s = link->sockets->pdata[i];

    if (s->socket == NULL)
      continue;
    s->unreachable = TRUE;
    wake (s);
  }
}

/* ---- On the way -------------------------------------------------------- */

static void
carry (Link *link, gboolean up, const Datagram *d)
{
  guint copies = world_chance (link->twice) ? 2 : 1;

  for (guint i = 0; i < copies; i++) {
    gint64 at = world.now + link->delay + world_between (0, link->jitter);

    if (net_link_is_open (link, up, FALSE) && !world_chance (link->loss))
      world_at (at, up ? relay_arrives : client_arrives, NULL,
          net_datagram (&d->from, &d->to, d->data, d->len));
  }
}

static void
client_sends (Socket *s, const NatAddress *to, gconstpointer data, gsize len)
{
  NatAddress from;
  Datagram *d;
  guint8 site;
  guint16 z = translate (s->link, s->y, &site);

  outside (site, z, &from);
  d = net_datagram (&from, to, data, len);
  if (net_watch.client_sent != NULL)
    net_watch.client_sent (s->link, z, d);
  carry (s->link, TRUE, d);
  g_free (d);
}

static void
relay_sends (const NatAddress *from, const NatAddress *to, gconstpointer data, gsize len)
{
  Link *link = net_link_of (to);
  Datagram *d = net_datagram (from, to, data, len);

  if (net_watch.relay_sent != NULL)
    net_watch.relay_sent (d);
  if (link != NULL)
    carry (link, FALSE, d);
  g_free (d);
}

/* ---- The client's sockets ---------------------------------------------- */

static Link *
link_of_host (const Host *host)
{
  for (guint i = 0; i < links->len; i++) {
    if (((Link *)links->pdata[i])->host == host)
      return links->pdata[i];
  }
  g_assert_not_reached ();
}

static Socket *
find (GSocket *socket)
{
  Link *link = link_of_host (world.on);

  for (guint i = 0; i < link->sockets->len; i++) {
    Socket *s = link->sockets->pdata[i];

    if (s->socket == socket)
      return s;
  }
  return NULL;
}

static gboolean
native (GSocketAddress *address, NatAddress *out)
{
  struct sockaddr_storage sa;

  return g_socket_address_to_native (address, &sa, sizeof sa, NULL) &&
         nat_address_from_sockaddr (out, (struct sockaddr *)&sa, sizeof sa);
}

static GSocketAddress *
socket_address (const NatAddress *a)
{
  struct sockaddr_in6 sa;
  gsize len = nat_address_to_sockaddr (a, (struct sockaddr *)&sa);

  return g_socket_address_new_from_native (&sa, len);
}

gboolean __wrap_g_socket_bind (GSocket *socket, GSocketAddress *a, gboolean reuse, GError **error);
gboolean
__wrap_g_socket_bind (GSocket *socket, GSocketAddress *a, gboolean reuse, GError **error)
{
  Socket *s = g_new0 (Socket, 1);

  s->socket = socket;
  s->link = link_of_host (world.on);
  s->y = next_y++;
  g_ptr_array_add (s->link->sockets, s);
  return TRUE;
}

gboolean __real_g_socket_close (GSocket *socket, GError **error);
gboolean __wrap_g_socket_close (GSocket *socket, GError **error);
gboolean
__wrap_g_socket_close (GSocket *socket, GError **error)
{
  Socket *s = find (socket);

  if (s != NULL)
    g_ptr_array_remove_fast (s->link->sockets, s);
  return __real_g_socket_close (socket, error);
}

gboolean __wrap_g_socket_connect (
    GSocket *socket, GSocketAddress *a, GCancellable *cancellable, GError **error);
gboolean
__wrap_g_socket_connect (
    GSocket *socket, GSocketAddress *a, GCancellable *cancellable, GError **error)
{
  return TRUE;
}

GSocketAddress *__wrap_g_socket_get_local_address (GSocket *socket, GError **error);
GSocketAddress *
__wrap_g_socket_get_local_address (GSocket *socket, GError **error)
{
  Socket *s = find (socket);
  guint8 ip[4] = {10, 0, 0, link_of_host (world.on)->number};
  NatAddress a;

  nat_address_from_ip (&a, ip, 4, s != NULL ? s->y : 0);
  return socket_address (&a);
}

static gboolean
ready_dispatch (GSource *source, GSourceFunc callback, gpointer user)
{
  Socket *s = ((Ready *)source)->socket;
  GIOCondition condition = G_IO_IN;

  __real_g_source_set_ready_time (source, -1);
  if (s == NULL || s->socket == NULL)
    return G_SOURCE_REMOVE;
  if (s->unreachable)
    condition |= G_IO_ERR;
  s->unreachable = FALSE;
  return ((GSocketSourceFunc)(void (*) (void))callback) (s->socket, condition, user);
}

static void
ready_finalize (GSource *source)
{
  Socket *s = ((Ready *)source)->socket;

  if (s != NULL)
    s->source = NULL;
}

GSource *__wrap_g_socket_create_source (
    GSocket *socket, GIOCondition condition, GCancellable *cancellable);
GSource *
__wrap_g_socket_create_source (GSocket *socket, GIOCondition condition, GCancellable *cancellable)
{
  static GSourceFuncs funcs = {NULL, NULL, ready_dispatch, ready_finalize, NULL, NULL};
  GSource *source = g_source_new (&funcs, sizeof (Ready));
  Socket *s = find (socket);

  ((Ready *)source)->socket = s;
  s->source = source;
  return source;
}

static gboolean
would_block (GError **error)
{
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "nothing there");
  return FALSE;
}

gint __wrap_g_socket_receive_messages (GSocket *socket, GInputMessage *messages, guint n,
    gint flags, GCancellable *cancellable, GError **error);
gint
__wrap_g_socket_receive_messages (GSocket *socket, GInputMessage *messages, guint n, gint flags,
    GCancellable *cancellable, GError **error)
{
  Socket *s = find (socket);
  guint got = 0;

  for (; got < n && s->inbox.length > 0; got++) {
    g_autofree Datagram *d = g_queue_pop_head (&s->inbox);

    *messages[got].address = socket_address (&d->from);
    messages[got].bytes_received = MIN (d->len, messages[got].vectors[0].size);
    memcpy (messages[got].vectors[0].buffer, d->data, messages[got].bytes_received);
  }
  return got > 0 || would_block (error) ? (gint)got : -1;
}

gssize __wrap_g_socket_send_to (GSocket *socket, GSocketAddress *address, const gchar *buffer,
    gsize size, GCancellable *cancellable, GError **error);
gssize
__wrap_g_socket_send_to (GSocket *socket, GSocketAddress *address, const gchar *buffer, gsize size,
    GCancellable *cancellable, GError **error)
{
  NatAddress to;

  if (native (address, &to))
    client_sends (find (socket), &to, buffer, size);
  return (gssize)size;
}

gint __wrap_g_socket_send_messages (GSocket *socket, GOutputMessage *messages, guint n, gint flags,
    GCancellable *cancellable, GError **error);
gint
__wrap_g_socket_send_messages (GSocket *socket, GOutputMessage *messages, guint n, gint flags,
    GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < n; i++) {
    NatAddress to;

    g_assert_cmpuint (messages[i].num_vectors, ==, 1);
    if (native (messages[i].address, &to))
      client_sends (find (socket), &to, messages[i].vectors[0].buffer, messages[i].vectors[0].size);
  }
  return (gint)n;
}

/* ---- The relay's sockets ----------------------------------------------- */

static Door *
door_of_fd (int fd)
{
  for (guint i = 0; i < NET_RELAY_SOCKETS; i++) {
    if (doors[i].fd == fd)
      return &doors[i];
  }
  return NULL;
}

guint
net_relay_waiting (void)
{
  guint n = 0;

  for (guint i = 0; i < NET_RELAY_SOCKETS; i++)
    n += doors[i].inbox.length;
  return n;
}

int __wrap_bind (int fd, const struct sockaddr *name, socklen_t len);
int
__wrap_bind (int fd, const struct sockaddr *name, socklen_t len)
{
  Door *door = door_of_fd (-1);

  if (name->sa_family == AF_NETLINK)
    return 0; /* there is no news of interfaces here */
  g_assert_nonnull (door);
  g_assert_true (nat_address_from_sockaddr (&door->local, name, len));
  door->fd = fd;
  return 0;
}

int __wrap_getsockname (int fd, struct sockaddr *name, socklen_t *len);
int
__wrap_getsockname (int fd, struct sockaddr *name, socklen_t *len)
{
  *len = (socklen_t)nat_address_to_sockaddr (&door_of_fd (fd)->local, name);
  return 0;
}

int __wrap_recvmmsg (
    int fd, struct mmsghdr *messages, guint n, int flags, struct timespec *timeout);
int
__wrap_recvmmsg (int fd, struct mmsghdr *messages, guint n, int flags, struct timespec *timeout)
{
  Door *door = door_of_fd (fd);
  guint got = 0;

  for (; got < n && door->inbox.length > 0; got++) {
    struct msghdr *h = &messages[got].msg_hdr;
    g_autofree Datagram *d = g_queue_pop_head (&door->inbox);

    messages[got].msg_len = (guint)MIN (d->len, h->msg_iov[0].iov_len);
    memcpy (h->msg_iov[0].iov_base, d->data, messages[got].msg_len);
    h->msg_namelen = (socklen_t)nat_address_to_sockaddr (&d->from, h->msg_name);
    h->msg_controllen = 0;
  }
  if (got > 0)
    return (int)got;
  errno = EAGAIN;
  return -1;
}

/* Bytes of each datagram of the message. */
static gsize
segment_of (struct msghdr *h, gsize len)
{
  for (struct cmsghdr *c = h->msg_controllen ? CMSG_FIRSTHDR (h) : NULL; c;
       c = CMSG_NXTHDR (h, c)) {
    guint16 segment;

    if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_SEGMENT)
      continue;
    memcpy (&segment, CMSG_DATA (c), sizeof segment);
    return segment;
  }
  return len;
}

static void
send_message (int fd, const struct msghdr *message)
{
  struct msghdr h = *message;
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  NatAddress to;
  gsize segment;

  for (gsize i = 0; i < h.msg_iovlen; i++)
    g_byte_array_append (bytes, h.msg_iov[i].iov_base, (guint)h.msg_iov[i].iov_len);
  g_assert_true (nat_address_from_sockaddr (&to, h.msg_name, h.msg_namelen));
  segment = segment_of (&h, bytes->len);
  for (gsize at = 0; at < bytes->len; at += segment)
    relay_sends (&door_of_fd (fd)->local, &to, bytes->data + at, MIN (segment, bytes->len - at));
}

int __wrap_sendmmsg (int fd, struct mmsghdr *messages, guint n, int flags);
int
__wrap_sendmmsg (int fd, struct mmsghdr *messages, guint n, int flags)
{
  for (guint i = 0; i < n; i++)
    send_message (fd, &messages[i].msg_hdr);
  return (int)n;
}

gssize __wrap_sendmsg (int fd, const struct msghdr *message, int flags);
gssize
__wrap_sendmsg (int fd, const struct msghdr *message, int flags)
{
  send_message (fd, message);
  return (gssize)message->msg_iov[0].iov_len;
}
