/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* To a worker: a mailbox of datagrams, which it serves where they lie. From a worker: letters of any length,
 * so that a picture for a hundred viewers lies there once, with a hundred numbers.
 *
 * The carrier is woken only if it rests. Both sides exchange that flag: whoever comes second in its order sees
 * what the other did before, the carrier the letter, or the worker that it must wake. */

#include "natserver/data/lane.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "natserver/data/bytering.h"
#include "natserver/data/mailbox.h"

struct _NatLane {
  NatTunnel *tunnel;
  int fd;
  NatMailbox *in;
  NatByteRing *out;
  NatWorkerCounters *counters;
  gboolean to_wake; /* the carrier's: letters since the last flush */
};

struct _NatTunnel {
  int fd;
  atomic_int resting; /* the carrier sleeps or is about to */
  guint n;
  guint reading;       /* whose letters are read */
  NatByteRing *unread; /* holds the letter that was given out last */
  NatLane lanes[];
};

/* ---- Set-up ------------------------------------------------------------ */

static gboolean
lane_init (NatTunnel *t, guint index)
{
  NatLane *lane = &t->lanes[index];

  lane->tunnel = t;
  lane->fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  lane->in = nat_mailbox_new (sizeof (NatLaneLetter), NAT_LANE_LETTERS);
  lane->out = nat_byte_ring_new (NAT_LANE_BYTES);
  return lane->fd >= 0;
}

NatTunnel *
nat_tunnel_new (guint n)
{
  NatTunnel *t = g_malloc0 (sizeof *t + n * sizeof t->lanes[0]);
  gboolean ok;

  t->fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  ok = t->fd >= 0;
  for (; ok && t->n < n; t->n++)
    ok = lane_init (t, t->n);
  if (!ok)
    g_clear_pointer (&t, nat_tunnel_free);
  return t;
}

void
nat_tunnel_free (NatTunnel *t)
{
  if (!t)
    return;
  for (guint i = 0; i < t->n; i++) {
    if (t->lanes[i].fd >= 0)
      close (t->lanes[i].fd);
    nat_mailbox_free (t->lanes[i].in);
    nat_byte_ring_free (t->lanes[i].out);
  }
  if (t->fd >= 0)
    close (t->fd);
  g_free (t);
}

NatLane *
nat_tunnel_open_lane (NatTunnel *t, guint worker, NatWorkerCounters *counters)
{
  t->lanes[worker].counters = counters;
  return &t->lanes[worker];
}

static void
wake (int fd)
{
  guint64 one = 1;
  ssize_t ignored G_GNUC_UNUSED = write (fd, &one, sizeof one);
}

static void
clear (int fd)
{
  guint64 wakeups;
  ssize_t ignored G_GNUC_UNUSED = read (fd, &wakeups, sizeof wakeups);
}

/* ---- The carrier's side ------------------------------------------------ */

/* The local port is the connection's number, not the listener's port, which says nothing: so the nonce of
 * one connection is none of the next, though it may come from the same port, and neither is its path. */
void
nat_tunnel_end_init (
    NatTunnelEnd *end, guint32 connection, const NatAddress *remote, const NatAddress *local)
{
  end->connection = connection;
  end->key.remote = *remote;
  end->key.local = *local;
  end->key.local.port = (guint16)connection;
  end->key.remote.transport = end->key.local.transport = NAT_TRANSPORT_WEBSOCKET;
}

/* A connection is always the same worker's to hear, as a 5-tuple is. */
static NatLaneLetter *
begin_letter (NatTunnel *t, const NatTunnelEnd *from, NatLaneKind kind, NatLane **lane)
{
  NatLaneLetter *letter;

  *lane = &t->lanes[from->connection % t->n];
  letter = nat_mailbox_write ((*lane)->in);
  if (!letter)
    return NULL;
  letter->source =
      (NatUdpSource){.key = from->key, .socket = NAT_UDPIO_TUNNEL, .scope = from->connection};
  letter->kind = (guint16)kind;
  letter->len = 0;
  return letter;
}

static void
post (NatLane *lane)
{
  nat_mailbox_post (lane->in);
  lane->to_wake = TRUE;
}

gboolean
nat_tunnel_deliver (NatTunnel *t, const NatTunnelEnd *from, gconstpointer data, gsize len)
{
  NatLane *lane;
  NatLaneLetter *letter =
      len <= NAT_DATAGRAM_MAX ? begin_letter (t, from, NAT_LANE_DATAGRAM, &lane) : NULL;

  if (!letter)
    return FALSE;
  letter->source.arrived_ns = nat_udpio_clock_ns ();
  letter->len = (guint16)len;
  memcpy (letter->data, data, len);
  post (lane);
  return TRUE;
}

gboolean
nat_tunnel_hang_up (NatTunnel *t, const NatTunnelEnd *from)
{
  NatLane *lane;

  if (!begin_letter (t, from, NAT_LANE_HANG_UP, &lane))
    return FALSE;
  post (lane);
  return TRUE;
}

void
nat_tunnel_flush (NatTunnel *t)
{
  for (guint i = 0; i < t->n; i++) {
    if (t->lanes[i].to_wake)
      wake (t->lanes[i].fd);
    t->lanes[i].to_wake = FALSE;
  }
}

const NatTunnelLetter *
nat_tunnel_next (NatTunnel *t)
{
  if (t->unread)
    nat_byte_ring_release (t->unread);
  t->unread = NULL;
  for (guint i = 0; i < t->n; i++) {
    NatByteRing *ring = t->lanes[t->reading].out;
    const NatTunnelLetter *letter = nat_byte_ring_peek (ring);

    t->reading = t->reading + 1 < t->n ? t->reading + 1 : 0;
    if (!letter)
      continue;
    t->unread = ring;
    return letter;
  }
  return NULL;
}

int
nat_tunnel_fd (NatTunnel *t)
{
  return t->fd;
}

gboolean
nat_tunnel_rest (NatTunnel *t)
{
  clear (t->fd);
  atomic_exchange_explicit (&t->resting, 1, memory_order_acq_rel);
  for (guint i = 0; i < t->n; i++) {
    if (!nat_byte_ring_peek (t->lanes[i].out))
      continue;
    atomic_exchange_explicit (&t->resting, 0, memory_order_acq_rel);
    return FALSE;
  }
  return TRUE;
}

/* ---- A worker's side --------------------------------------------------- */

int
nat_lane_fd (NatLane *lane)
{
  return lane->fd;
}

void
nat_lane_clear (NatLane *lane)
{
  clear (lane->fd);
}

guint
nat_lane_waiting (NatLane *lane)
{
  return nat_mailbox_waiting (lane->in);
}

NatLaneLetter *
nat_lane_peek (NatLane *lane, guint index)
{
  return nat_mailbox_peek (lane->in, index);
}

void
nat_lane_release (NatLane *lane, guint n)
{
  nat_mailbox_release (lane->in, n);
}

/* What a rank may fill: as with a socket's send buffer (docs/design/overload.md). */
static guint32
share (NatRank rank)
{
  switch (rank) {
  case NAT_RANK_VIDEO: return NAT_LANE_BYTES / 4 * 3;
  case NAT_RANK_AUDIO: return NAT_LANE_BYTES / 16 * 15;
  default: return NAT_LANE_BYTES;
  }
}

/* A letter whose numbers and datagrams are still to be written. */
static NatTunnelLetter *
reserve (NatLane *lane, const NatTunnelLetter *about)
{
  gsize size = sizeof *about + about->n_to * sizeof about->to[0] + about->bytes;
  NatTunnelLetter *letter =
      nat_byte_ring_reserve (lane->out, (guint32)size, share ((NatRank)about->rank));

  if (!letter)
    return NULL;
  *letter = *about;
  letter->time_us = g_get_monotonic_time ();
  return letter;
}

static void
publish (NatLane *lane)
{
  NatTunnel *t = lane->tunnel;

  nat_byte_ring_commit (lane->out);
  if (atomic_exchange_explicit (&t->resting, 0, memory_order_acq_rel))
    wake (t->fd);
}

static void
count (NatLane *lane, NatRank rank, guint packets, gboolean sent)
{
  NatWorkerCounters *c = lane->counters;
  NatCounter *const unsent[NAT_RANKS] = {&c->unsent_control, &c->unsent_audio, &c->unsent_video};

  nat_counter_add (sent ? &c->datagrams_sent : &c->send_tunnel_full, packets);
  if (!sent)
    nat_counter_add (unsent[rank], packets);
}

static void
write_run (NatTunnelLetter *letter, const NatUdpRun *run)
{
  guint8 *data = (guint8 *)(letter->to + letter->n_to);

  for (guint i = 0; i < run->n_iov; i++) {
    memcpy (data, run->iov[i].iov_base, run->iov[i].iov_len);
    data += run->iov[i].iov_len;
  }
}

static gboolean
goes_along (const NatUdpMessage *m, const NatUdpRun *run)
{
  return m->run == run && m->n_done == 0;
}

/* The first message's run, to all of them that have the same. */
static void
send_run (NatLane *lane, NatUdpMessage *messages, guint n)
{
  const NatUdpRun *run = messages[0].run;
  NatTunnelLetter about = {.kind = NAT_TUNNEL_PACKETS,
      .rank = run->rank,
      .bytes = (guint32)run->bytes,
      .segment = (guint32)run->segment};
  NatTunnelLetter *letter;
  guint k = 0;

  for (guint i = 0; i < n; i++)
    about.n_to += goes_along (&messages[i], run);
  letter = reserve (lane, &about);
  for (guint i = 0; i < n; i++) {
    if (!goes_along (&messages[i], run))
      continue;
    if (letter)
      letter->to[k++] = messages[i].dest->name.connection;
    messages[i].n_sent = letter ? run->n_packets : 0;
    messages[i].n_done = run->n_packets;
  }
  count (lane, run->rank, about.n_to * run->n_packets, letter != NULL);
  if (!letter)
    return;
  write_run (letter, run);
  publish (lane);
}

void
nat_lane_send (NatLane *lane, NatUdpMessage *messages, guint n)
{
  for (guint i = 0; i < n; i++) {
    if (messages[i].n_done == 0)
      send_run (lane, messages + i, n - i);
  }
}

gboolean
nat_lane_send_one (NatLane *lane, guint32 connection, gconstpointer data, gsize len)
{
  NatTunnelLetter about = {.kind = NAT_TUNNEL_PACKETS,
      .rank = NAT_RANK_CONTROL,
      .n_to = 1,
      .bytes = (guint32)len,
      .segment = (guint32)len};
  NatTunnelLetter *letter = reserve (lane, &about);

  count (lane, NAT_RANK_CONTROL, 1, letter != NULL);
  if (!letter)
    return FALSE;
  letter->to[0] = connection;
  memcpy (letter->to + 1, data, len);
  publish (lane);
  return TRUE;
}

void
nat_lane_bound (NatLane *lane, guint32 connection)
{
  NatTunnelLetter about = {.kind = NAT_TUNNEL_BOUND, .rank = NAT_RANK_CONTROL, .n_to = 1};
  NatTunnelLetter *letter = reserve (lane, &about);

  if (!letter)
    return; /* the next Binding tells again */
  letter->to[0] = connection;
  publish (lane);
}
