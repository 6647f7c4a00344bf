/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The loop: wait, read a batch, apply what control posted, serve the batch, send, settle, and
 * see to time. Commands are applied after a batch was read and before it is looked at: control posts a
 * session before it answers its client, so whoever has a ticket from us is known here. */

#include "natserver/data/worker.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "natproto/crypto.h"
#include "natproto/demux.h"
#include "natproto/error.h"
#include "natserver/data/batchsize.h"
#include "natserver/data/command.h"
#include "natserver/data/exchange.h"
#include "natserver/data/forward.h"
#include "natserver/data/headstart.h"
#include "natserver/data/historypool.h"
#include "natserver/data/repair.h"
#include "natserver/data/responder.h"
#include "natserver/data/rtcpagg.h"

#define EVENTS           4096 /* a power of two */
#define SOCKET_BUFFER    (8 * 1024 * 1024)
#define BATCHES_PER_TURN 4   /* of one socket, before the others and time get their turn */
#define LETTERS          128 /* of the tunnel that are served before their packets are sent */
#define TICK_US          (50 * 1000)
#define SCAN_TICKS       8 /* ticks in which every session is looked at once */
#define PRUNE_US         (10 * G_USEC_PER_SEC)
#define PRUNE_TICKS      200   /* PRUNE_US of them: as SCAN_TICKS */
#define ANSWERS_PER_S    20000 /* to the unauthenticated, all together */
#define ANSWERS_EACH     4     /* one neighbour may have a part in so many */
#define HINTS_PER_S      2000  /* to strangers that send media, all together */
#define HINTS_EACH       20
#define GOODBYE_GAP_US   (20 * 1000)
#define GOODBYE_LIMIT_US (100 * 1000) /* a first round that took longer has no second */
#define STRANGERS_US     (30 * G_USEC_PER_SEC)
#define MOVE_US          (1 * G_USEC_PER_SEC)

/* What it waits for, as the waiter's bits: its sockets, and after them */
#define BIT_COMMANDS NAT_UDPIO_SOCKETS
#define BIT_MAIL     (NAT_UDPIO_SOCKETS + 1)
#define BIT_TUNNEL   (NAT_UDPIO_SOCKETS + 2)

G_STATIC_ASSERT (BIT_TUNNEL < NAT_WAITER_MAX);

/* ---- Set-up ------------------------------------------------------------ */

static void
default_times (NatDataTimes *t)
{
  t->consent_us = NAT_CONSENT_US;
  t->silence_us = NAT_TAKEOVER_SILENCE_US;
  t->report_us = NAT_RECEIVER_REPORT_US;
  t->picture_us = NAT_PLI_INTERVAL_US;
  t->repeat_us = NAT_SILENCE_US;
  t->strangers_us = STRANGERS_US;
  t->move_us = MOVE_US;
}

static gboolean
may_forget (gpointer user, const char *stream)
{
  NatWorker *w = user;
  gboolean ok;

  nat_mesh_lock (w->mesh);
  ok = !nat_ring_waiting (w->commands); /* one might be for it */
  if (ok)
    nat_mesh_forget (w->mesh, stream);
  nat_mesh_unlock (w->mesh);
  return ok;
}

static void
take_place (NatWorker *w, const NatWorkerPlace *place)
{
  w->index = (guint8)place->index;
  w->cpu = place->cpu;
  w->mesh = place->mesh;
  if (place->tunnel)
    w->lane = nat_tunnel_open_lane (place->tunnel, place->index, w->counters);
  w->challenge = nat_challenge_new (place->challenge_key);
  if (place->meters)
    nat_roster_share_meters (w->roster, place->meters);
  /* What holds for all strangers together is shared out. */
  nat_strangers_init (
      &w->answers, ANSWERS_PER_S / place->n, ANSWERS_PER_S / ANSWERS_EACH / place->n, w->now_us);
  nat_strangers_init (&w->hints, HINTS_PER_S / place->n,
      MIN (HINTS_PER_S / HINTS_EACH, HINTS_PER_S / 4 / place->n), w->now_us);
  if (!w->mesh)
    return;
  w->exchange = nat_exchange_new (w->mesh, place->index);
  w->roster->all_ssrcs = nat_mesh_ssrcs (w->mesh);
  w->roster->may_forget = may_forget;
  w->roster->user = w;
}

static void
say_no_descriptors (GError **error)
{
  g_set_error_literal (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
      "the system gives no more file descriptors; raise the limit (ulimit -n, or LimitNOFILE= "
      "in the unit)");
}

NatWorker *
nat_worker_new (
    const NatDataplaneConfig *config, const NatWorkerPlace *place, char **hints, GError **error)
{
  NatWorker *w = g_new0 (NatWorker, 1);
  gsize buffer = config->socket_buffer ? config->socket_buffer : SOCKET_BUFFER;

  default_times (&w->times);
  memcpy (w->boot_id, config->boot_id, sizeof w->boot_id);
  w->secrets = config->secrets;
  w->busy_poll = config->busy_poll;
  w->now_us = w->started_us = g_get_monotonic_time ();
  w->counters = g_aligned_alloc0 (1, sizeof *w->counters, 64);
  w->commands = nat_ring_new (sizeof (NatCommand), NAT_COMMANDS);
  w->events = nat_ring_new (sizeof (NatEvent), EVENTS);
  w->roster = nat_roster_new ();
  w->repair_us = w->headstart_us = G_MAXINT64;
  w->pool_limit = config->cache_bytes / place->n;
  w->cache_limit = w->pool_limit;
  if (config->dormant_max > 0)
    w->roster->dormant_max = MAX (config->dormant_max / place->n, 1);
  if (config->cache_bytes > 0)
    w->roster->pool = w->pool = nat_history_pool_new (config->cache_bytes / place->n);
  take_place (w, place);
  w->batch_size = NAT_UDPIO_SLOTS;
  nat_fairness_init (&w->fairness);
  w->forward = nat_forward_new ();
  if (!w->commands || !w->events)
    say_no_descriptors (error);
  else if (config->cache_bytes > 0 && !w->pool)
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "the system does not give %" G_GSIZE_FORMAT
        " MiB of address space for lost packets; ask for less with --cache-mb",
        config->cache_bytes / place->n >> 20);
  else if (place->first)
    w->io = nat_udpio_new_sibling (place->first, buffer, w->counters, error);
  else
    w->io = nat_udpio_new (config->listen, config->n_listen, buffer, w->counters, hints, error);
  if (w->io)
    nat_udpio_set_lane (w->io, w->lane);
  else
    g_clear_pointer (&w, nat_worker_free);
  return w;
}

static void
free_unread (NatWorker *w)
{
  NatCommand command;
  NatEvent event;

  while (w->commands && nat_ring_pop (w->commands, &command))
    nat_command_clear (&command);
  while (w->events && nat_ring_pop (w->events, &event)) {
    if (event.type == NAT_EVENT_REVIVED)
      nat_session_counters_unref (event.counters);
  }
}

void
nat_worker_free (NatWorker *w)
{
  if (!w)
    return;
  free_unread (w);
  nat_waiter_free (w->waiter);
  nat_udpio_free (w->io);
  nat_headstart_clear (w);
  nat_roster_free (w->roster);
  nat_history_pool_free (w->pool);
  nat_challenge_free (w->challenge);
  nat_forward_free (w->forward);
  nat_exchange_free (w->exchange);
  nat_ring_free (w->commands);
  nat_ring_free (w->events);
  g_aligned_free (w->counters);
  g_free (w);
}

/* Wherever lists of receivers were built: what is forwarded next would be before the past of those who are in one now. */
static void
begin_headstarts (NatWorker *w)
{
  if (w->headstarts_prepared > 0)
    nat_headstart_begin (w);
}

/* ---- Commands ---------------------------------------------------------- */

void
nat_worker_drain_commands (NatWorker *w)
{
  NatCommand command;

  while (nat_ring_pop (w->commands, &command)) {
    /* A stream that was ours before the command was posted is here before it is applied. */
    if (w->exchange)
      nat_exchange_adopt (w);
    nat_command_apply (w, &command);
  }
  begin_headstarts (w);
}

/* ---- Datagrams --------------------------------------------------------- */

static void
receive_media (
    NatWorker *w, const NatUdpSource *source, NatPath *path, gboolean rtcp, guint8 *data, gsize len)
{
  if (!path)
    nat_responder_stranger (w, source, rtcp, data, len);
  else if (rtcp)
    nat_rtcpagg_receive (w, path, data, len);
  else
    nat_forward_receive (w, path, data, len);
}

/* Returns the source's path, which a Binding may have changed. */
static NatPath *
receive_datagram (NatWorker *w, const NatUdpSource *source, NatPath *path, guint8 *data, gsize len)
{
  if (len > NAT_DATAGRAM_MAX) {
    nat_counter_add (&w->counters->drop_oversize, 1);
    return path;
  }
  switch (nat_demux (data, len)) {
  case NAT_PACKET_STUN:
    nat_responder_receive (w, source, path, data, len);
    return nat_roster_find_path (w->roster, &source->key);
  case NAT_PACKET_RTP: receive_media (w, source, path, FALSE, data, len); break;
  case NAT_PACKET_RTCP: receive_media (w, source, path, TRUE, data, len); break;
  case NAT_PACKET_OTHER: nat_counter_add (&w->counters->drop_unknown, 1); break;
  }
  return path;
}

/* FALSE: nobody's, as far as we know. */
static gboolean
pass_on (NatWorker *w, const NatUdpSource *source, const guint8 *data, gsize len)
{
  gint owner = nat_exchange_route (w, source);

  if (owner < 0 || len > NAT_DATAGRAM_MAX || nat_demux (data, len) == NAT_PACKET_OTHER)
    return FALSE;
  nat_exchange_forward (w, (guint)owner, source, data, len);
  return TRUE;
}

void
nat_worker_serve (NatWorker *w, const NatUdpSource *source, guint8 *data, gsize len)
{
  NatPath *path = nat_roster_find_path (w->roster, &source->key);

  w->arrived_ns = source->arrived_ns;
  /* A Binding's ticket says whose it is, and the route of its address may be of another session. */
  if (path || nat_demux (data, len) == NAT_PACKET_STUN || !pass_on (w, source, data, len))
    receive_datagram (w, source, path, data, len);
}

/* How long that takes tells whether it is the sending that keeps the worker from what waits for it. */
static void
send_batch (NatWorker *w)
{
  gint64 start_us = w->fairness.watching ? g_get_monotonic_time () : 0;

  nat_forward_flush (w);
  if (start_us > 0)
    w->fairness.sending_us += g_get_monotonic_time () - start_us;
}

void
nat_worker_flush (NatWorker *w)
{
  send_batch (w);
  if (w->pool)
    nat_history_settle (w->pool); /* who waits for a packet does not wait for that */
  nat_roster_settle_some (w->roster, w->now_us);
  begin_headstarts (w);
}

/* One look-up for a super-packet, but every datagram in it is told apart. */
static guint
receive_super (NatWorker *w, NatUdpSuper *super)
{
  NatPath *path = nat_roster_find_path (w->roster, &super->source.key);
  gsize at = 0;
  guint n = 0;

  super->source.worker = w->index;
  w->arrived_ns = super->source.arrived_ns;
  do {
    gsize len = MIN (super->segment, super->len - at);

    if (path || !w->exchange || !pass_on (w, &super->source, super->data + at, len))
      path = receive_datagram (w, &super->source, path, super->data + at, len);
    at += len;
    n++;
  } while (at < super->len);
  return n;
}

/* TRUE: there may be more. */
static gboolean
receive_from (NatWorker *w, guint socket)
{
  for (guint batch = 0; batch < BATCHES_PER_TURN; batch++) {
    NatUdpSuper *supers;
    guint size = w->batch_size, n = nat_udpio_receive (w->io, socket, size, &supers);
    gint64 start_us;

    if (n == 0)
      return FALSE;
    w->now_us = g_get_monotonic_time ();
    if (nat_ring_waiting (w->commands))
      nat_worker_drain_commands (w);
    /* A route that was told before the owner answered is known before the client's next packet. */
    if (w->exchange && nat_exchange_has_mail (w))
      w->nap.datagrams += nat_exchange_drain (w);
    start_us = w->now_us;
    for (guint i = 0; i < n; i++)
      w->nap.datagrams += receive_super (w, &supers[i]);
    nat_worker_flush (w);
    if (w->exchange)
      nat_exchange_flush (w);
    w->now_us = g_get_monotonic_time ();
    w->batch_size = nat_batch_size_next (size, n, w->now_us - start_us);
    if (n < size)
      return FALSE;
  }
  return TRUE;
}

static void
hang_up (NatWorker *w, const NatPathKey *key)
{
  NatPath *path = nat_roster_find_path (w->roster, key);

  if (path)
    nat_roster_drop_path (w->roster, path);
  else if (w->exchange)
    nat_exchange_forget (w, key);
}

/* Packets are sent from where they lie, so the places are given back after that. */
static void
receive_letters (NatWorker *w, guint n)
{
  w->now_us = g_get_monotonic_time ();
  if (nat_ring_waiting (w->commands))
    nat_worker_drain_commands (w);
  if (w->exchange && nat_exchange_has_mail (w)) /* as in receive_from */
    w->nap.datagrams += nat_exchange_drain (w);
  for (guint i = 0; i < n; i++) {
    NatLaneLetter *letter = nat_lane_peek (w->lane, i);
    NatUdpSuper super = {letter->source, letter->data, letter->len, letter->len};

    if (letter->kind == NAT_LANE_HANG_UP) {
      hang_up (w, &letter->source.key);
      continue;
    }
    nat_counter_add (
        &w->counters->datagrams_received, 1); /* before anybody sees what comes of it */
    w->nap.datagrams += receive_super (w, &super);
  }
  nat_worker_flush (w);
  nat_lane_release (w->lane, n);
}

/* No more than was there at first, so that the sockets have their turn. */
static void
receive_from_tunnel (NatWorker *w)
{
  guint left = nat_lane_waiting (w->lane);

  for (guint n; left > 0; left -= n) {
    n = MIN (left, LETTERS);
    receive_letters (w, n);
  }
}

/* ---- Time -------------------------------------------------------------- */

/* A part of the sessions at each tick, so that a hundred thousand are no hiccup. */
static void
scan_sessions (NatWorker *w)
{
  GPtrArray *live = w->roster->live;

  for (guint n = live->len / SCAN_TICKS + 1; n > 0 && live->len > 0; n--) {
    NatDataSession *s;

    if (w->scan >= live->len)
      w->scan = 0;
    s = live->pdata[w->scan];
    nat_lifecycle_check (w, s);
    /* One that went dormant left its place to another. */
    if (s->state != NAT_DATA_DORMANT)
      w->scan++;
  }
}

/* Sessions a part at a time, too; where nobody is live, ticks may be rare, and a pause hurts nobody. */
static void
prune (NatWorker *w)
{
  gboolean live = w->roster->live->len > 0, due = w->now_us - w->prune_us >= PRUNE_US;
  gint64 now_s = g_get_real_time () / G_USEC_PER_SEC;

  if (live || due)
    nat_roster_prune_sessions (w->roster, live ? PRUNE_TICKS : 1, w->now_us, now_s);
  if (!due)
    return;
  w->prune_us = w->now_us;
  nat_roster_prune (w->roster, w->now_us, now_s);
  if (w->exchange)
    nat_exchange_prune (w);
}

static void
see_to_memory (NatWorker *w)
{
  gsize limit = atomic_load_explicit (&w->cache_limit, memory_order_relaxed);

  if (!w->pool)
    return;
  if (w->pool_limit != limit)
    nat_history_pool_set_limit (w->pool, limit);
  w->pool_limit = limit;
  nat_history_pool_trim (w->pool);
  atomic_store_explicit (&w->counters->cache_resident_bytes, nat_history_pool_resident (w->pool),
      memory_order_relaxed);
  atomic_store_explicit (
      &w->counters->cache_bytes, nat_history_pool_used (w->pool), memory_order_relaxed);
  atomic_store_explicit (
      &w->counters->cache_evictions, nat_history_pool_evictions (w->pool), memory_order_relaxed);
}

/* now_us was just read. */
static void
tick (NatWorker *w)
{
  nat_repair_run (w);
  if (w->roster->stale || w->headstarts_prepared > 0)
    nat_worker_flush (w);
  nat_headstart_run (w);
  if (w->now_us - w->tick_us < TICK_US)
    return;
  w->tick_us = w->now_us;
  nat_fairness_turn (&w->fairness, nat_udpio_count_overflow (w->io), w->now_us);
  if (w->exchange)
    nat_exchange_tick (w);
  nat_rtcpagg_tick (w);
  see_to_memory (w);
  scan_sessions (w);
  prune (w);
  nat_roster_settle_some (w->roster, w->now_us);
  begin_headstarts (w);
}

/* How long to wait: until the next tick, repair or headstart while there are sessions, until the next pruning
 * while something is remembered, else for ever. */
static gint64
next_time (const NatWorker *w)
{
  if (w->roster->live->len > 0)
    return MIN (w->tick_us + TICK_US, MIN (w->repair_us, w->headstart_us));
  if (g_hash_table_size (w->roster->sessions) > 0 || nat_ended_set_size (w->roster->ended) > 0 ||
      (w->exchange && nat_exchange_n_routes (w) > 0))
    return w->now_us + PRUNE_US;
  return G_MAXINT64;
}

/* And no longer than until the next list of receivers may be built. */
static gint64
wait_until (const NatWorker *w)
{
  if (w->unread)
    return 0;
  return w->roster->stale ? MIN (w->roster->paid_us, next_time (w)) : next_time (w);
}

/* ---- The thread -------------------------------------------------------- */

static void
indicate_all (NatWorker *w, NatReason reason)
{
  for (guint i = 0; i < w->roster->live->len; i++)
    nat_responder_indicate_session (w, w->roster->live->pdata[i], reason);
}

static void
say_goodbye (NatWorker *w, NatReason reason)
{
  gint64 start = g_get_monotonic_time ();

  indicate_all (w, reason);
  if (g_get_monotonic_time () - start > GOODBYE_LIMIT_US)
    return;
  g_usleep (GOODBYE_GAP_US);
  indicate_all (w, reason);
}

static void
see_to_mail (NatWorker *w)
{
  nat_exchange_clear (w);
  if (nat_exchange_has_mail (w))
    w->nap.datagrams += nat_exchange_drain (w);
  nat_exchange_flush (w);
}

/* TRUE: there was something, and now_us is when that was sent. (Not if the clock stood still; then it is read once more.) */
static gboolean
receive_from_sockets (NatWorker *w, guint32 which)
{
  gint64 before_us = w->now_us;
  guint32 unread = 0;

  for (guint i = 0; i < nat_udpio_n_sockets (w->io); i++) {
    if (which >> i & 1 && receive_from (w, i))
      unread |= (guint32)1 << i;
  }
  w->unread = unread;
  return w->now_us != before_us;
}

static void
end_turn (NatWorker *w)
{
  nat_exchange_flush (w);
  nat_exchange_end_turn (w);
}

/* The clock is read by whoever acts: commands, mail, the tunnel and each batch on their own, and when a batch was sent that is the
 * time of what follows. What it waits until may so be over already; then it does not wait. */
static void
turn (NatWorker *w)
{
  guint32 heard = nat_waiter_wait (w->waiter, wait_until (w), w->now_us);

  nat_counter_add (&w->counters->wakeups, 1);
  if (heard >> BIT_COMMANDS & 1) {
    w->now_us = g_get_monotonic_time ();
    nat_worker_drain_commands (w);
  }
  if (heard >> BIT_MAIL & 1)
    see_to_mail (w);
  if (heard >> BIT_TUNNEL & 1) {
    nat_lane_clear (w->lane);
    receive_from_tunnel (w);
  }
  if (!receive_from_sockets (w, heard | w->unread))
    w->now_us = g_get_monotonic_time ();
  tick (w);
  if (w->exchange)
    end_turn (w);
  if (nat_nap_is_due (&w->nap, w->now_us))
    nanosleep (&(struct timespec){0, NAT_NAP_NS}, NULL);
}

void
nat_worker_spin (NatWorker *w)
{
  if (nat_ring_waiting (w->commands)) {
    w->now_us = g_get_monotonic_time ();
    nat_worker_drain_commands (w);
  }
  if (w->exchange && nat_exchange_has_mail (w))
    nat_exchange_drain (w);
  if (w->lane)
    receive_from_tunnel (w);
  for (guint i = 0; i < nat_udpio_n_sockets (w->io); i++)
    receive_from (w, i);
  w->now_us = g_get_monotonic_time ();
  tick (w);
  if (w->exchange)
    end_turn (w);
}

static void *
run (void *data)
{
  NatWorker *w = data;
  gint stop;

  prctl (PR_SET_TIMERSLACK, 1000UL, 0, 0, 0); /* naps are short */
  while ((stop = atomic_load_explicit (&w->stop, memory_order_acquire)) == 0) {
    if (w->busy_poll)
      nat_worker_spin (w);
    else
      turn (w);
  }
  nat_worker_drain_commands (w);
  if (w->exchange)
    nat_exchange_adopt (w); /* nobody hands over any more */
  say_goodbye (w, (NatReason)(stop - 1));
  return NULL;
}

/* Sockets tell of new datagrams only, so that the system need not look again whether there are still others: receive_from says
 * what it left. */
static gboolean
prepare_to_wait (NatWorker *w)
{
  gboolean ok;

  w->waiter = nat_waiter_new ();
  ok =
      w->waiter &&
      nat_waiter_add (w->waiter, BIT_COMMANDS, nat_ring_fd (w->commands), NAT_WAITER_WHILE) &&
      (!w->exchange ||
          nat_waiter_add (w->waiter, BIT_MAIL, nat_exchange_fd (w->exchange), NAT_WAITER_WHILE)) &&
      (!w->lane || nat_waiter_add (w->waiter, BIT_TUNNEL, nat_lane_fd (w->lane), NAT_WAITER_WHILE));
  for (guint i = 0; ok && i < nat_udpio_n_sockets (w->io); i++)
    ok = nat_waiter_add (w->waiter, i, nat_udpio_fd (w->io, i), NAT_WAITER_ONCE);
  return ok;
}

/* A gain, no condition: a machine may take the core away meanwhile. */
static void
pin (NatWorker *w)
{
  cpu_set_t set;

  if (w->cpu < 0)
    return;
  CPU_ZERO (&set);
  CPU_SET ((gsize)w->cpu, &set);
  pthread_setaffinity_np (w->thread, sizeof set, &set);
}

gboolean
nat_worker_start (NatWorker *w, GError **error)
{
  sigset_t all, before;
  int code;

  if (!w->busy_poll && !prepare_to_wait (w)) {
    say_no_descriptors (error);
    return FALSE;
  }
  w->now_us = w->started_us = g_get_monotonic_time ();
  /* Signals are the control thread's. */
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  code = pthread_create (&w->thread, NULL, run, w);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (code != 0) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "the system refuses another thread (%s); raise the limit on tasks (ulimit -u, or TasksMax= "
        "in the unit)",
        g_strerror (code));
    return FALSE;
  }
  pthread_setname_np (w->thread, "nat-data");
  pin (w);
  w->running = TRUE;
  return TRUE;
}

void
nat_worker_ask_to_stop (NatWorker *w, NatReason reason)
{
  if (!w->running)
    return;
  atomic_store_explicit (&w->stop, (gint)reason + 1, memory_order_release);
  nat_ring_wake (w->commands);
}

void
nat_worker_join (NatWorker *w)
{
  if (!w->running)
    return;
  pthread_join (w->thread, NULL);
  w->running = FALSE;
}
