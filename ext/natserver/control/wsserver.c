/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One loop over epoll: GLib's looks at every source in every turn, which a thousand connections and some
 * thousand turns a second would feel. Edges, not levels: who was found readable is read until it has no more,
 * a bounded amount in each turn. */

#include "natserver/control/wsserver.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "natproto/error.h"
#include "natserver/control/neighbours.h"
#include "natserver/control/wsconn.h"

#define TICK_US          (100 * 1000)
#define EVENTS           256
#define LETTERS_PER_TURN 256
#define FAREWELL_US      G_USEC_PER_SEC
#define STOP_US          (200 * 1000)

/* Of the epoll, in place of a connection's number. */
#define TOKEN_WAKE   (G_GUINT64_CONSTANT (1) << 32)
#define TOKEN_TUNNEL (G_GUINT64_CONSTANT (2) << 32)

typedef struct {
  NatWsConn *conn;
  NatNeighbour *neighbour;
  GList link;          /* in server->all */
  GList stranger_link; /* in server->strangers, oldest first, while it is one */
  GList active_link;   /* in server->active */
  gboolean stranger, active, closing;
  gint64 deadline_us;
} Entry;

struct _NatWsServer {
  NatWsCommon common;
  pthread_t thread;
  gboolean running;
  int epoll, wake;

  GMutex lock; /* of the following */
  NatWsLimits new_limits;
  GQueue taken; /* NatHttpTaken, for the thread */
  gboolean stop;

  /* The thread's own. */
  NatWsLimits limits;
  GHashTable *entries; /* Entry by the connection's number */
  NatNeighbours *neighbours;
  GQueue all, strangers;
  GQueue active; /* to be served in the next turn */
  guint32 number;
  gint64 now_us, tick_us;
};

/* ---- Connections ------------------------------------------------------- */

static void
activate (NatWsServer *server, Entry *e)
{
  if (e->active)
    return;
  e->active = TRUE;
  g_queue_push_tail_link (&server->active, &e->active_link);
}

static void
leave_strangers (NatWsServer *server, Entry *e)
{
  if (!e->stranger)
    return;
  e->stranger = FALSE;
  g_queue_unlink (&server->strangers, &e->stranger_link);
  e->neighbour->hood->newcomers--;
}

static void
remove_entry (NatWsServer *server, Entry *e)
{
  leave_strangers (server, e);
  nat_neighbours_leave (server->neighbours, e->neighbour);
  g_queue_unlink (&server->all, &e->link);
  if (e->active)
    g_queue_unlink (&server->active, &e->active_link);
  g_hash_table_remove (server->entries, GUINT_TO_POINTER (e->conn->end.connection));
  nat_ws_conn_free (e->conn);
  g_free (e);
}

static void
close_entry (
    NatWsServer *server, Entry *e, NatWebsocketCode code, NatCounter *cause, const char *why)
{
  if (e->conn->state != NAT_WS_OPEN)
    return;
  nat_ws_conn_close (e->conn, code, cause, why);
  leave_strangers (server, e);
  activate (server, e);
}

static void
drop_taken (NatHttpTaken *taken)
{
  nat_tls_bye (taken->tls);
  nat_tls_free (taken->tls);
  close (taken->fd);
  g_free (taken);
}

/* One flooder pushes out himself. Those that close are none of them any more: they are about to go, and would have
 * whoever comes then pushed out in their stead. */
static void
push_out_stranger (NatWsServer *server)
{
  Entry *victim = NULL;

  for (GList *l = server->strangers.head; l != NULL; l = l->next) {
    Entry *e = l->data;

    if (e->conn->state == NAT_WS_OPEN &&
        (victim == NULL || e->neighbour->hood->newcomers > victim->neighbour->hood->newcomers))
      victim = e;
  }
  if (victim != NULL)
    close_entry (server, victim, NAT_WEBSOCKET_TRY_LATER,
        &server->common.counters->websocket_pushed_out, "its place is needed for another");
}

static void
add_entry (NatWsServer *server, NatHttpTaken *taken, NatNeighbour *neighbour)
{
  Entry *e = g_new0 (Entry, 1);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};

  while (g_hash_table_contains (server->entries, GUINT_TO_POINTER (server->number)))
    server->number++;
  e->conn = nat_ws_conn_new (&server->common, taken, server->number);
  e->neighbour = neighbour;
  e->link.data = e->stranger_link.data = e->active_link.data = e;
  e->deadline_us = server->now_us + server->limits.stranger_us;
  e->stranger = TRUE;
  neighbour->hood->newcomers++;
  event.data.u64 = server->number++;
  g_hash_table_insert (server->entries, GUINT_TO_POINTER (e->conn->end.connection), e);
  g_queue_push_tail_link (&server->all, &e->link);
  g_queue_push_tail_link (&server->strangers, &e->stranger_link);
  nat_counter_add (&server->common.counters->websocket_opened, 1);
  if (epoll_ctl (server->epoll, EPOLL_CTL_ADD, e->conn->fd, &event) < 0)
    close_entry (server, e, NAT_WEBSOCKET_TRY_LATER, &server->common.counters->websocket_pushed_out,
        "the system does not watch it");
  activate (server, e); /* TLS may have read ahead */
  if (server->strangers.length > server->limits.strangers)
    push_out_stranger (server);
}

static void
adopt (NatWsServer *server, NatHttpTaken *taken)
{
  NatNeighbour *neighbour = nat_neighbours_join (server->neighbours, &taken->peer);

  if (server->all.length >= server->limits.connections ||
      neighbour->connections > server->limits.connections_per_address) {
    nat_counter_add (&server->common.counters->websocket_pushed_out, 1);
    g_debug ("a WebSocket was closed at once: too many at a time");
    nat_neighbours_leave (server->neighbours, neighbour);
    drop_taken (taken);
    return;
  }
  add_entry (server, taken, neighbour);
  g_free (taken);
}

/* Returns whether the thread is to end. */
static gboolean
look_at_orders (NatWsServer *server)
{
  GQueue taken;
  NatHttpTaken *next;
  gboolean stop;

  g_mutex_lock (&server->lock);
  taken = server->taken;
  g_queue_init (&server->taken);
  server->limits = server->new_limits;
  stop = server->stop;
  g_mutex_unlock (&server->lock);
  while ((next = g_queue_pop_head (&taken)))
    adopt (server, next);
  return stop;
}

/* ---- Letters of the data plane ----------------------------------------- */

static void
push_packets (NatWsServer *server, const NatTunnelLetter *letter, NatWsBlock *block, Entry *e)
{
  for (gsize at = 0; at < letter->bytes; at += letter->segment)
    nat_ws_conn_push (e->conn, (NatRank)letter->rank, block, at,
        MIN (letter->segment, letter->bytes - at), letter->time_us);
  activate (server, e);
}

static void
count_unsent (NatWsServer *server, const NatTunnelLetter *letter, guint receivers)
{
  guint packets = letter->segment ? (letter->bytes + letter->segment - 1) / letter->segment : 0;

  server->common.store.beyond[letter->rank] += (guint64)packets * receivers;
}

static void
deliver (NatWsServer *server, const NatTunnelLetter *letter)
{
  NatWsStore *store = &server->common.store;
  NatWsBlock *block = nat_ws_block_new (
      store, (NatRank)letter->rank, nat_tunnel_letter_data (letter), letter->bytes);

  if (block == NULL) {
    count_unsent (server, letter, letter->n_to);
    return;
  }
  for (guint i = 0; i < letter->n_to; i++) {
    Entry *e = g_hash_table_lookup (server->entries, GUINT_TO_POINTER (letter->to[i]));

    if (e != NULL && e->conn->state == NAT_WS_OPEN)
      push_packets (server, letter, block, e);
    else
      nat_counter_add (&server->common.counters->websocket_gone, 1);
  }
  nat_ws_block_unref (store, block);
}

static void
note_bound (NatWsServer *server, const NatTunnelLetter *letter)
{
  Entry *e = g_hash_table_lookup (server->entries, GUINT_TO_POINTER (letter->to[0]));

  if (e == NULL || e->conn->state != NAT_WS_OPEN)
    return;
  e->conn->bound = TRUE;
  leave_strangers (server, e);
  e->deadline_us = server->now_us + server->limits.consent_us;
}

/* Returns whether there may be more. */
static gboolean
read_letters (NatWsServer *server)
{
  const NatTunnelLetter *letter = NULL;

  for (guint i = 0; i < LETTERS_PER_TURN && (letter = nat_tunnel_next (server->common.tunnel));
       i++) {
    if (letter->kind == NAT_TUNNEL_BOUND)
      note_bound (server, letter);
    else
      deliver (server, letter);
  }
  return letter != NULL;
}

/* ---- Time -------------------------------------------------------------- */

static void
check_entry (NatWsServer *server, Entry *e)
{
  NatWsConn *c = e->conn;

  nat_ws_queue_prune (&c->queue, &server->common.store, server->now_us);
  if (c->state == NAT_WS_OVER) {
    if (nat_ws_conn_hang_up (c))
      remove_entry (server, e);
  } else if (server->now_us < e->deadline_us) {
    return;
  } else if (c->state == NAT_WS_OPEN) {
    close_entry (server, e, NAT_WEBSOCKET_POLICY, &server->common.counters->websocket_unbound,
        c->bound ? "no Binding for the time of consent" : "no Binding in time");
  } else if (nat_ws_conn_hang_up (c)) {
    remove_entry (server, e);
  }
}

static void
publish_counts (NatWsServer *server)
{
  NatWebsocketCounters *c = server->common.counters;
  const NatWsStore *store = &server->common.store;
  const struct {
    NatCounter *to;
    guint64 value;
  } counts[] = {{&c->websocket_connections, server->all.length},
      {&c->websocket_strangers, server->strangers.length},
      {&c->websocket_waiting_bytes, store->bytes},
      {&c->websocket_late_audio, store->late[NAT_RANK_AUDIO]},
      {&c->websocket_late_video, store->late[NAT_RANK_VIDEO]},
      {&c->websocket_beyond, store->beyond[NAT_RANK_AUDIO] + store->beyond[NAT_RANK_VIDEO]}};

  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    atomic_store_explicit (counts[i].to, counts[i].value, memory_order_relaxed);
}

static void
tick (NatWsServer *server)
{
  for (GList *l = server->all.head, *next; l != NULL; l = next) {
    next = l->next;
    check_entry (server, l->data);
  }
  server->tick_us = server->now_us;
}

/* ---- The loop ---------------------------------------------------------- */

static void
serve (NatWsServer *server, Entry *e)
{
  nat_ws_conn_serve (e->conn, server->now_us);
  if (e->conn->state != NAT_WS_OPEN && !e->closing) {
    e->closing = TRUE;
    leave_strangers (server, e);
    e->deadline_us = server->now_us + FAREWELL_US;
  } else if (e->conn->state == NAT_WS_OPEN && e->conn->readable) {
    activate (server, e);
  }
  if (e->conn->state == NAT_WS_OVER && nat_ws_conn_hang_up (e->conn))
    remove_entry (server, e);
}

/* Those that are active now; who becomes so meanwhile has the next turn. */
static void
serve_active (NatWsServer *server)
{
  for (guint n = server->active.length; n > 0 && server->active.head != NULL; n--) {
    Entry *e = server->active.head->data;

    g_queue_unlink (&server->active, &e->active_link);
    e->active = FALSE;
    serve (server, e);
  }
}

static void
note_event (NatWsServer *server, const struct epoll_event *event)
{
  Entry *e;
  guint64 count;

  if (event->data.u64 == TOKEN_WAKE) {
    ssize_t ignored G_GNUC_UNUSED = read (server->wake, &count, sizeof count);
    return;
  }
  if (event->data.u64 == TOKEN_TUNNEL)
    return; /* nat_tunnel_rest clears it */
  e = g_hash_table_lookup (server->entries, GUINT_TO_POINTER ((guint)event->data.u64));
  if (e == NULL)
    return;
  if (event->events & ~(guint32)EPOLLOUT)
    e->conn->readable = TRUE;
  if (event->events & ~(guint32)(EPOLLIN | EPOLLRDHUP))
    e->conn->writable = TRUE;
  activate (server, e);
}

/* Milliseconds. */
static int
patience (NatWsServer *server, gboolean more)
{
  if (more || server->active.length > 0 || !nat_tunnel_rest (server->common.tunnel))
    return 0;
  return server->all.length > 0 ? TICK_US / 1000 : -1;
}

static void
turn (NatWsServer *server, gboolean *more)
{
  struct epoll_event events[EVENTS];
  int n = epoll_wait (server->epoll, events, EVENTS, patience (server, *more));

  server->now_us = g_get_monotonic_time ();
  for (int i = 0; i < n; i++)
    note_event (server, &events[i]);
  *more = read_letters (server);
  serve_active (server);
  if (server->now_us - server->tick_us >= TICK_US)
    tick (server);
  nat_tunnel_flush (server->common.tunnel);
  publish_counts (server);
}

static void
close_all (NatWsServer *server)
{
  for (GList *l = server->all.head; l != NULL; l = l->next)
    close_entry (server, l->data, NAT_WEBSOCKET_GOING_AWAY,
        &server->common.counters->websocket_stopped, "the relay stops");
}

/* What the workers said last goes out first. */
static void
wind_up (NatWsServer *server)
{
  gint64 end_us = g_get_monotonic_time () + STOP_US;
  gboolean more = TRUE;

  while (more)
    turn (server, &more);
  close_all (server);
  while (server->all.length > 0 && g_get_monotonic_time () < end_us)
    turn (server, &more);
  while (server->all.head != NULL)
    remove_entry (server, server->all.head->data);
}

static void *
run (void *data)
{
  NatWsServer *server = data;
  gboolean more = FALSE;

  server->now_us = server->tick_us = g_get_monotonic_time ();
  while (!look_at_orders (server))
    turn (server, &more);
  wind_up (server);
  return NULL;
}

/* ---- Control's side ---------------------------------------------------- */

static gboolean
watch (NatWsServer *server, int fd, guint64 token, guint32 events)
{
  struct epoll_event event = {.events = events, .data.u64 = token};

  return epoll_ctl (server->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Signals are the control thread's. */
static int
start (NatWsServer *server)
{
  sigset_t every, before;
  int code;

  sigfillset (&every);
  pthread_sigmask (SIG_SETMASK, &every, &before);
  code = pthread_create (&server->thread, NULL, run, server);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (code == 0)
    pthread_setname_np (server->thread, "nat-websocket");
  server->running = code == 0;
  return code;
}

NatWsServer *
nat_ws_server_new (const NatWsLimits *limits, NatTunnel *tunnel, GError **error)
{
  NatWsServer *server = g_new0 (NatWsServer, 1);
  int code = 0;

  server->common.tunnel = tunnel;
  server->common.counters = g_aligned_alloc0 (1, sizeof *server->common.counters, 64);
  server->limits = server->new_limits = *limits;
  g_mutex_init (&server->lock);
  server->entries = g_hash_table_new (NULL, NULL);
  server->neighbours = nat_neighbours_new ();
  server->epoll = epoll_create1 (EPOLL_CLOEXEC);
  server->wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (server->epoll < 0 || server->wake < 0 || !watch (server, server->wake, TOKEN_WAKE, EPOLLIN) ||
      !watch (server, nat_tunnel_fd (tunnel), TOKEN_TUNNEL, EPOLLIN | EPOLLET))
    code = errno;
  else
    code = start (server);
  if (code == 0)
    return server;
  g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
      "the thread for WebSockets cannot be started (%s); raise the limits on tasks and descriptors "
      "(TasksMax=, LimitNOFILE= in the unit)",
      g_strerror (code));
  nat_ws_server_free (server);
  return NULL;
}

static void
wake (NatWsServer *server)
{
  guint64 one = 1;
  ssize_t ignored G_GNUC_UNUSED = write (server->wake, &one, sizeof one);
}

static void
join (NatWsServer *server)
{
  if (!server->running)
    return;
  g_mutex_lock (&server->lock);
  server->stop = TRUE;
  g_mutex_unlock (&server->lock);
  wake (server);
  pthread_join (server->thread, NULL);
}

void
nat_ws_server_free (NatWsServer *server)
{
  join (server);
  g_queue_clear_full (&server->taken, (GDestroyNotify)drop_taken);
  g_hash_table_unref (server->entries);
  nat_neighbours_free (server->neighbours);
  if (server->epoll >= 0)
    close (server->epoll);
  if (server->wake >= 0)
    close (server->wake);
  g_mutex_clear (&server->lock);
  g_aligned_free (server->common.counters);
  g_free (server);
}

void
nat_ws_server_set_limits (NatWsServer *server, const NatWsLimits *limits)
{
  g_mutex_lock (&server->lock);
  server->new_limits = *limits;
  g_mutex_unlock (&server->lock);
}

gboolean
nat_ws_server_has_room (NatWsServer *server)
{
  guint64 n = nat_counter_get (&server->common.counters->websocket_connections);
  gboolean room;

  g_mutex_lock (&server->lock);
  room = n + server->taken.length < server->new_limits.connections;
  g_mutex_unlock (&server->lock);
  return room;
}

void
nat_ws_server_take (NatHttpTaken *taken, gpointer data)
{
  NatWsServer *server = data;

  g_mutex_lock (&server->lock);
  g_queue_push_tail (&server->taken, taken);
  g_mutex_unlock (&server->lock);
  wake (server);
}

NatWebsocketCounters *
nat_ws_server_counters (NatWsServer *server)
{
  return server->common.counters;
}
