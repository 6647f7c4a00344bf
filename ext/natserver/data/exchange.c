/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Several workers. docs/design/workers.md says why it is so; in short:
 *
 * A stream has one owner. The owner's roster holds the stream, all its sessions, their paths and
 * their SRTCP contexts, and the owner alone reads and writes them, answers their Bindings and sends to them.
 * No other worker holds any part of it. So no lock is needed, and no key and index come twice.
 *
 * The kernel gives each 5-tuple to one worker's socket, for as long as the relay runs: that worker
 * hears it. What a worker hears for others it copies into the owner's mailbox. It knows the owner by a
 * route (address -> owner), which the owner sends it after each good Binding that came this way. A route
 * is a hint: a wrong one costs detours, three at most, and runs out after 30 s. For an address without
 * a route only a genuine ticket helps, which names the stream; the mesh knows its owner.
 *
 * The owner hands a stream over, between two batches, to the worker that hears its publisher: at once
 * while no media came yet, else after that has held for a second, and never twice in a second, so that
 * a storm of rebinds moves nothing. The stream changes rosters under the mesh's lock, and only when no command of control waits
 * for the old owner and control has read all of its events: both then stay in order. */

#include "natserver/data/exchange.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/demux.h"
#include "natproto/streamname.h"

#define HOPS_MAX 3
#define CHUNK    128 /* letters that are served before their packets are sent */

#define HOMES_US    1000 /* looking for who must go home takes about that each time, */
#define HOMES_SHARE 20   /* and one part in so many of all time */

typedef enum {
  LETTER_DATAGRAM, /* the sender heard it */
  LETTER_ROUTE,    /* send to the sender what comes from there */
  LETTER_FORGET,   /* what comes from there is another's by now */
} LetterType;

typedef struct {
  NatUdpSource source;
  gint64 time_us;  /* ROUTE: when the sender said so */
  gint64 valid_us; /* ROUTE, FORGET: the address's last good Binding that the sender knew of */
  guint16 type, len;
  guint8 data[NAT_DATAGRAM_MAX];
} Letter;

/* 64 bytes with the allocator's own, and about 50 in the table and the list. */
typedef struct {
  NatPathKey key; /* first: what nat_table_find gives is a Route */
  gint64 time_us; /* when its owner said so */
  guint index;    /* in the list */
  guint owner;
} Route;

struct _NatExchange {
  NatMesh *mesh;
  guint index, n;
  NatTable *routes;
  GPtrArray *list; /* the same, for pruning */
  guint64 to_wake; /* a bit for each worker */
  guint homes; /* up to that change of the mesh's homes, all that is here is where it must be, */
  GPtrArray *strays; /* but for those names: they were on their way at a change */
  gint64 homes_us;   /* not asked again before */
  gsize to_pack;     /* bytes of histories that may still go along at this tick, */
  gsize to_unpack;   /* and that may still be taken in in this turn */
};

G_STATIC_ASSERT (NAT_WORKERS_MAX <= 64);

gsize
nat_exchange_letter_size (void)
{
  return sizeof (Letter);
}

NatExchange *
nat_exchange_new (NatMesh *mesh, guint index)
{
  NatExchange *x = g_new0 (NatExchange, 1);
  guint8 hash_key[16];

  x->mesh = mesh;
  x->index = index;
  x->n = nat_mesh_n_workers (mesh);
  x->to_unpack = NAT_HEIRLOOM_MAX;
  nat_crypto_random (hash_key, sizeof hash_key);
  x->routes = nat_table_new (hash_key);
  nat_crypto_wipe (hash_key, sizeof hash_key);
  x->list = g_ptr_array_new_with_free_func (g_free);
  x->strays = g_ptr_array_new_with_free_func (g_free);
  return x;
}

void
nat_exchange_free (NatExchange *x)
{
  if (!x)
    return;
  nat_table_free (x->routes);
  g_ptr_array_unref (x->list);
  g_ptr_array_unref (x->strays);
  g_free (x);
}

int
nat_exchange_fd (NatExchange *x)
{
  return nat_mesh_fd (x->mesh, x->index);
}

/* ---- Routes ------------------------------------------------------------ */

static Route *
find_route (NatExchange *x, const NatPathKey *key)
{
  return (Route *)nat_table_find (x->routes, key);
}

static void
set_route (NatExchange *x, const NatPathKey *key, guint owner, gint64 time_us)
{
  Route *route = find_route (x, key);

  if (!route) {
    route = g_new0 (Route, 1);
    route->key = *key;
    route->index = x->list->len;
    g_ptr_array_add (x->list, route);
    nat_table_insert (x->routes, &route->key);
  }
  route->owner = owner;
  route->time_us = time_us;
}

static void
drop_route (NatExchange *x, Route *route)
{
  guint index = route->index;

  nat_table_remove (x->routes, &route->key);
  g_ptr_array_remove_index_fast (x->list, index); /* frees it */
  if (index < x->list->len)
    ((Route *)x->list->pdata[index])->index = index;
}

void
nat_exchange_prune (NatWorker *w)
{
  NatExchange *x = w->exchange;

  for (guint i = x->list->len; i > 0; i--) {
    Route *route = x->list->pdata[i - 1];
    if (w->now_us - route->time_us > w->times.consent_us)
      drop_route (x, route);
  }
}

guint
nat_exchange_n_routes (const NatWorker *w)
{
  return w->exchange->list->len;
}

gint
nat_exchange_route (NatWorker *w, const NatUdpSource *source)
{
  Route *route = find_route (w->exchange, &source->key);

  return route && source->hops < HOPS_MAX ? (gint)route->owner : -1;
}

/* ---- Letters ----------------------------------------------------------- */

static void
post_letter (NatExchange *x, guint to)
{
  nat_mailbox_post (nat_mesh_mailbox (x->mesh, x->index, to));
  nat_mesh_notify (x->mesh, to);
  x->to_wake |= (guint64)1 << to;
}

void
nat_exchange_forward (
    NatWorker *w, guint to, const NatUdpSource *source, const guint8 *data, gsize len)
{
  NatExchange *x = w->exchange;
  Letter *letter = NULL;

  if (source->hops < HOPS_MAX && len <= sizeof letter->data)
    letter = nat_mailbox_write (nat_mesh_mailbox (x->mesh, x->index, to));
  if (!letter) {
    nat_counter_add (&w->counters->passed_lost, 1);
    return;
  }
  letter->type = LETTER_DATAGRAM;
  letter->source = *source;
  letter->source.hops++;
  letter->len = (guint16)len;
  memcpy (letter->data, data, len);
  nat_counter_add (&w->counters->passed_on, 1); /* before anybody can see what comes of it */
  post_letter (x, to);
}

/* If it does not fit: the next Binding brings another. */
static void
write_note (NatWorker *w, guint to, LetterType type, const NatPathKey *key, gint64 valid_us)
{
  NatExchange *x = w->exchange;
  Letter *letter = nat_mailbox_write (nat_mesh_mailbox (x->mesh, x->index, to));

  if (!letter)
    return;
  letter->type = (guint16)type;
  letter->source.key = *key;
  letter->time_us = w->now_us;
  letter->valid_us = valid_us;
  post_letter (x, to);
}

void
nat_exchange_heard (NatWorker *w, const NatUdpSource *source, NatPath *path)
{
  NatExchange *x = w->exchange;
  Route *route = NULL;

  path->heard = source->worker;
  if (path->heard != x->index)
    write_note (w, path->heard, LETTER_ROUTE, &path->key, path->valid_us);
  else
    route = find_route (x, &path->key);
  if (!route)
    return;
  write_note (w, route->owner, LETTER_FORGET, &path->key, path->valid_us);
  drop_route (x, route);
}

void
nat_exchange_forget (NatWorker *w, const NatPathKey *key)
{
  Route *route = find_route (w->exchange, key);

  if (!route)
    return;
  write_note (w, route->owner, LETTER_FORGET, key, w->now_us + 1);
  drop_route (w->exchange, route);
}

/* Who hears an address decides whose it is: the worker that the last Binding came to. A letter may be
 * older than the stream that came from its sender meanwhile, with that very Binding. */
static void
read_route (NatWorker *w, guint from, const Letter *letter)
{
  NatExchange *x = w->exchange;
  Route *route = find_route (x, &letter->source.key);
  NatPath *path = nat_roster_find_path (w->roster, &letter->source.key);

  if ((route && route->time_us > letter->time_us) || (path && path->valid_us >= letter->valid_us))
    return;
  if (path)
    nat_roster_drop_path (w->roster, path);
  if (route && route->owner != from)
    write_note (w, route->owner, LETTER_FORGET, &letter->source.key, letter->valid_us);
  set_route (x, &letter->source.key, from, letter->time_us);
}

static void
read_forget (NatWorker *w, const Letter *letter)
{
  NatPath *path = nat_roster_find_path (w->roster, &letter->source.key);

  if (path && path->valid_us < letter->valid_us)
    nat_roster_drop_path (w->roster, path);
}

static guint
read_letter (NatWorker *w, guint from, Letter *letter)
{
  switch ((LetterType)letter->type) {
  case LETTER_DATAGRAM: nat_worker_serve (w, &letter->source, letter->data, letter->len); return 1;
  case LETTER_ROUTE: read_route (w, from, letter); break;
  case LETTER_FORGET: read_forget (w, letter); break;
  }
  return 0;
}

/* Packets are sent from where they lie, so the places are given back after that. */
static guint
read_some (NatWorker *w, guint from, NatMailbox *box, guint n)
{
  guint datagrams = 0;

  w->now_us = g_get_monotonic_time ();
  if (nat_ring_waiting (w->commands))
    nat_worker_drain_commands (w);
  for (guint i = 0; i < n; i++)
    datagrams += read_letter (w, from, nat_mailbox_peek (box, i));
  nat_worker_flush (w);
  nat_mailbox_release (box, n);
  return datagrams;
}

gboolean
nat_exchange_has_mail (NatWorker *w)
{
  return nat_mesh_has_mail (w->exchange->mesh, w->exchange->index);
}

guint
nat_exchange_drain (NatWorker *w)
{
  NatExchange *x = w->exchange;
  guint datagrams = 0;

  for (guint from = 0; from < x->n; from++) {
    NatMailbox *box = nat_mesh_mailbox (x->mesh, from, x->index);
    guint left = box ? nat_mailbox_waiting (box) : 0;

    /* After that look: what its old owner sent behind a stream must find the stream here. */
    nat_exchange_adopt (w);
    for (guint n; left > 0; left -= n) {
      n = MIN (left, CHUNK);
      datagrams += read_some (w, from, box, n);
    }
  }
  return datagrams;
}

void
nat_exchange_clear (NatWorker *w)
{
  nat_mesh_clear_mail (w->exchange->mesh, w->exchange->index);
}

void
nat_exchange_flush (NatWorker *w)
{
  NatExchange *x = w->exchange;

  if (w->busy_poll) /* then all do, and nobody sleeps */
    x->to_wake = 0;
  for (guint i = 0; x->to_wake != 0; i++, x->to_wake >>= 1) {
    if (x->to_wake & 1)
      nat_mesh_wake (x->mesh, i);
  }
}

/* ---- Owners ------------------------------------------------------------ */

gint
nat_exchange_owner (NatWorker *w, const char *stream)
{
  NatExchange *x = w->exchange;
  gint owner;

  if (nat_roster_has_stream (w->roster, stream))
    return (gint)x->index;
  nat_mesh_lock (x->mesh);
  owner = nat_mesh_owner (x->mesh, stream);
  nat_mesh_unlock (x->mesh);
  if (owner == (gint)x->index)
    nat_exchange_adopt (w);
  return owner;
}

gboolean
nat_exchange_claim (NatWorker *w, const char *stream)
{
  NatExchange *x = w->exchange;
  gint owner;

  if (nat_roster_has_stream (w->roster, stream))
    return TRUE;
  nat_mesh_lock (x->mesh);
  owner = nat_mesh_owner (x->mesh, stream);
  if (owner < 0 && nat_mesh_assign (x->mesh, stream, x->index) == x->index) {
    nat_mesh_unlock (x->mesh);
    return TRUE;
  }
  nat_mesh_unlock (x->mesh);
  nat_exchange_adopt (w);
  return owner == (gint)x->index && !nat_roster_has_stream (w->roster, stream);
}

/* ---- Handing over ------------------------------------------------------ */

/* Whoever hears its addresses learns of the new owner. */
static void
announce (NatWorker *w, NatDataStream *stream)
{
  NatExchange *x = w->exchange;

  for (NatDataSession *s = stream->sessions; s; s = s->next) {
    for (NatPath *p = s->paths; p; p = p->next) {
      Route *route = find_route (x, &p->key);

      if (route)
        drop_route (x, route);
      if (p->heard != x->index)
        write_note (w, p->heard, LETTER_ROUTE, &p->key, p->valid_us);
    }
  }
}

/* What several owners send at once may be more than goes into one turn: then what is older is lost, as the old owners could
 * have lost it. */
static void
unpack (NatExchange *x, NatDataStream *stream)
{
  if (stream->heirloom)
    x->to_unpack -= nat_heirloom_unpack (stream->heirloom, &stream->history, x->to_unpack);
  g_clear_pointer (&stream->heirloom, nat_heirloom_free);
}

void
nat_exchange_adopt (NatWorker *w)
{
  NatExchange *x = w->exchange;
  NatDataStream *stream = nat_mesh_take (x->mesh, x->index), *next;

  /* What we say of its addresses is later than all that was said before. */
  if (stream)
    w->now_us = g_get_monotonic_time ();
  for (; stream; stream = next) {
    next = stream->next_stale;
    nat_roster_attach (w->roster, stream);
    unpack (x, stream);
    if (stream->homes != nat_mesh_homes (x->mesh))
      g_ptr_array_add (x->strays, g_strdup (stream->name));
    w->repair_us = w->repair_from_us = 0; /* it may have gaps */
    announce (w, stream);
  }
}

/* What others still send us goes on to the new owner. */
static void
leave_routes (NatWorker *w, NatDataStream *stream, guint to)
{
  for (NatDataSession *s = stream->sessions; s; s = s->next) {
    for (NatPath *p = s->paths; p; p = p->next)
      set_route (w->exchange, &p->key, to, w->now_us);
  }
}

/* Before the lock, which a copy would hold for too long. What does not go into this turn stays behind: waiting for the next would
 * keep many streams of one pattern from it for seconds. */
static void
pack (NatExchange *x, NatDataStream *stream)
{
  stream->heirloom = nat_heirloom_new (&stream->history, x->to_pack);
  x->to_pack -= nat_heirloom_size (stream->heirloom);
}

/* As far as this worker knows by itself. */
static gboolean
may_leave (NatWorker *w)
{
  return !nat_ring_waiting (w->commands) && nat_ring_is_drained (w->events);
}

/* FALSE: not now. */
static gboolean
hand_over (NatWorker *w, NatDataStream *stream, guint to)
{
  NatExchange *x = w->exchange;
  gboolean ready;

  if (!may_leave (w))
    return FALSE;
  nat_roster_settle (w->roster); /* before the lock, as a copy */
  pack (x, stream);
  nat_mesh_lock (x->mesh);
  ready = !nat_mesh_is_closed (x->mesh) && may_leave (w);
  if (!ready)
    g_clear_pointer (&stream->heirloom, nat_heirloom_free);
  if (ready) {
    leave_routes (w, stream, to);
    nat_roster_detach (w->roster, stream);
    stream->steered_us = 0;
    stream->moved_us = w->now_us;
    nat_counter_add (&w->counters->streams_moved, 1); /* as in nat_exchange_forward */
    nat_mesh_hand_over (x->mesh, stream, to);
  }
  nat_mesh_unlock (x->mesh);
  if (!ready)
    return FALSE;
  nat_mesh_notify (x->mesh, to);
  x->to_wake |= (guint64)1 << to;
  return TRUE;
}

static gboolean
is_fresh (const NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    if (stream->tracks[i].reception.seq.started)
      return FALSE;
  }
  return TRUE;
}

static void
learn_home (NatWorker *w, NatDataStream *stream)
{
  NatMesh *m = w->exchange->mesh;

  nat_mesh_lock (m);
  stream->home = nat_mesh_home (m, stream->name);
  stream->homes = nat_mesh_homes (m);
  nat_mesh_unlock (m);
}

/* Where the stream must be, or -1; asked anew only when that may have changed. */
static gint
home_of (NatWorker *w, NatDataStream *stream)
{
  guint homes = nat_mesh_homes (w->exchange->mesh);

  if (homes == 0) /* no pattern ever */
    return -1;
  if (stream->rooms && stream->rooms->len > 0)
    return (gint)w->exchange->index;
  if (stream->homes != homes)
    learn_home (w, stream);
  return stream->home;
}

static void
consider (NatWorker *w, NatDataStream *stream)
{
  const NatPath *path = stream->publisher ? stream->publisher->selected : NULL;
  gboolean rested;

  if (!path || path->heard == w->exchange->index) {
    stream->steered_us = 0;
    return;
  }
  if (stream->steered_us == 0 || stream->steered_to != path->heard) {
    stream->steered_us = w->now_us;
    stream->steered_to = path->heard;
  }
  rested = stream->moved_us == 0 || w->now_us - stream->moved_us >= w->times.move_us;
  if (rested && (is_fresh (stream) || w->now_us - stream->steered_us >= w->times.move_us) &&
      home_of (w, stream) < 0)
    hand_over (w, stream, path->heard);
}

/* FALSE: it must go, but cannot now. */
static gboolean
take_home (NatWorker *w, NatDataStream *stream)
{
  return stream->home < 0 || stream->home == (gint)w->exchange->index ||
         hand_over (w, stream, (guint)stream->home);
}

static GPtrArray *
find_streams (NatWorker *w, const NatHome *home)
{
  GPtrArray *found = g_ptr_array_new ();
  GHashTableIter it;
  gpointer value;

  g_hash_table_iter_init (&it, w->roster->streams);
  while (g_hash_table_iter_next (&it, NULL, &value)) {
    NatDataStream *stream = value;

    if (!stream->room && nat_stream_glob_takes (home->pattern, stream->name))
      g_ptr_array_add (found, stream);
  }
  return found;
}

/* The pattern first: what it matched is then nobody's, and goes without having the others' receivers built anew each
 * time. */
static gboolean
take_all_home (NatWorker *w, const NatHome *home)
{
  NatDataStream *pattern = g_hash_table_lookup (w->roster->streams, home->pattern);
  g_autoptr (GPtrArray) leaving = NULL;
  gboolean ok = TRUE;

  if (home->home == w->exchange->index)
    return TRUE;
  leaving = find_streams (w, home);
  if (pattern)
    g_ptr_array_insert (leaving, 0, pattern);
  for (guint i = 0; i < leaving->len && ok; i++) {
    NatDataStream *stream = leaving->pdata[i];

    stream->home = (gint)home->home;
    stream->homes = home->homes;
    ok = take_home (w, stream);
  }
  return ok;
}

static gboolean
see_to_stray (NatWorker *w)
{
  GPtrArray *strays = w->exchange->strays;
  NatDataStream *stream = g_hash_table_lookup (w->roster->streams, strays->pdata[strays->len - 1]);

  if (stream)
    learn_home (w, stream);
  if (stream && !take_home (w, stream))
    return FALSE;
  g_ptr_array_set_size (strays, (gint)strays->len - 1);
  return TRUE;
}

/* One change of homes. While a command waits, it may make a stream that must go, for control may have posted that before
 * the pattern came. */
static gboolean
see_to_change (NatWorker *w)
{
  NatExchange *x = w->exchange;
  NatHome home;
  gboolean found = nat_mesh_next_home (x->mesh, x->homes, &home);

  if (found && (!take_all_home (w, &home) || nat_ring_waiting (w->commands)))
    return FALSE;
  x->homes = found ? home.changed : home.homes;
  return TRUE;
}

static gboolean
is_home (const NatExchange *x)
{
  return x->strays->len == 0 && x->homes == nat_mesh_homes (x->mesh);
}

/* A pattern came, or joined two groups: streams that it matches go where it is. Those that cannot go now go at the next
 * tick. All streams are held against each such pattern, and patterns may come all the time. */
static void
go_home (NatWorker *w)
{
  NatExchange *x = w->exchange;
  gint64 start_us, us = 0;
  gboolean more = TRUE;

  if (is_home (x) || w->now_us < x->homes_us)
    return;
  for (start_us = g_get_monotonic_time (); more && us < HOMES_US && !is_home (x);) {
    more = x->strays->len > 0 ? see_to_stray (w) : see_to_change (w);
    us = g_get_monotonic_time () - start_us;
  }
  x->homes_us = w->now_us + HOMES_SHARE * us;
}

guint
nat_exchange_homes (const NatWorker *w)
{
  return w->exchange->homes;
}

void
nat_exchange_end_turn (NatWorker *w)
{
  w->exchange->to_unpack = NAT_HEIRLOOM_MAX;
}

void
nat_exchange_tick (NatWorker *w)
{
  w->exchange->to_pack = NAT_HEIRLOOM_MAX;
  go_home (w);
  for (GList *link = w->roster->active.head, *next; link; link = next) {
    next = link->next;
    consider (w, link->data);
  }
}
