/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The worker's memory by itself, on a clock of the test's own: what is forgotten and when. */

#include "natserver/data/roster.h"

#include <malloc.h>
#include <string.h>

#define MINUTE_US (60 * G_USEC_PER_SEC)
#define HOUR_US   ((gint64)NAT_TICKET_LIFETIME_S * G_USEC_PER_SEC)

static NatWorkerCounters counters;

static NatUdpio *
open_io (void)
{
  NatAddress listen;
  NatUdpio *io;

  g_assert_true (nat_address_from_text (&listen, "127.0.0.1", 0));
  io = nat_udpio_new (&listen, 1, 65536, &counters, NULL, NULL);
  g_assert_nonnull (io);
  return io;
}

static NatTicket
ticket (guint8 number, NatRole role, gint64 expires_s)
{
  NatTicket t = {.role = role, .expires_s = expires_s};

  memset (t.session_id, number, sizeof t.session_id);
  strcpy (t.stream, "door");
  return t;
}

static NatDataSession *
add (NatRoster *r, guint8 number, NatRole role, gint64 expires_s)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatTicket t = ticket (number, role, expires_s);
  NatDataSession *s = nat_roster_add (r, &t, c, 1);

  nat_session_counters_unref (c);
  return s;
}

static NatUdpSource
source (guint16 port)
{
  NatUdpSource src = {0};

  g_assert_true (nat_address_from_text (&src.key.remote, "192.0.2.1", port));
  g_assert_true (nat_address_from_text (&src.key.local, "127.0.0.1:8443", 0));
  return src;
}

static void
prune_all (NatRoster *r, gint64 now_us, gint64 now_s)
{
  nat_roster_prune_sessions (r, 1, now_us, now_s);
  nat_roster_prune (r, now_us, now_s);
}

static void
test_prune (void)
{
  NatRoster *r = nat_roster_new ();
  NatDataSession *registered = add (r, 1, NAT_ROLE_SUBSCRIBER, 100);
  NatDataSession *dormant = add (r, 2, NAT_ROLE_SUBSCRIBER, 100);
  const guint8 gone[NAT_SESSION_ID_SIZE] = {9};

  add (r, 3, NAT_ROLE_SUBSCRIBER, 100);
  registered->state = NAT_DATA_REGISTERED;
  dormant->state = NAT_DATA_REGISTERED;
  nat_roster_sleep (r, dormant, 2);
  nat_roster_end (r, gone, NAT_REASON_REVOKED, 100);
  prune_all (r, 2, 99);
  g_assert_cmpuint (g_hash_table_size (r->sessions), ==, 3);
  g_assert_cmpint (nat_roster_ended (r, gone), ==, NAT_REASON_REVOKED);
  /* Tickets are over: only who is registered stays, until its consent ends. */
  prune_all (r, 2, 100);
  g_assert_cmpuint (g_hash_table_size (r->sessions), ==, 1);
  g_assert_true (nat_roster_find (r, registered->id) == registered);
  g_assert_cmpint (nat_roster_ended (r, gone), ==, NAT_REASON_NONE);
  g_assert_cmpuint (r->live->len, ==, 1);
  nat_roster_free (r);
}

/* Each call looks at no more than its share, and in the end all were looked at. */
static void
test_prune_by_shares (void)
{
  NatRoster *r = nat_roster_new ();
  const guint shares = 10, n = 200;
  guint left = n;

  for (guint i = 0; i < n; i++) {
    NatDataSession *s = add (r, (guint8)i, NAT_ROLE_SUBSCRIBER, i % 3 ? 100 : 200);

    if (i % 2) {
      s->state = NAT_DATA_REGISTERED;
      nat_roster_sleep (r, s, 2);
    }
  }
  for (guint i = 0; i < 2 * shares; i++) {
    guint before = left;

    nat_roster_prune_sessions (r, shares, 2, 100);
    left = g_hash_table_size (r->sessions);
    g_assert_cmpuint (r->live->len + r->dormant->len, ==, left);
    g_assert_cmpuint (before - left, <=, n / shares + 2);
  }
  g_assert_cmpuint (left, ==, (n + 2) / 3);
  nat_roster_settle (r);
  nat_roster_free (r);
}

static NatReason
ended (NatRoster *r, guint number)
{
  guint8 id[NAT_SESSION_ID_SIZE];

  memset (id, 1, sizeof id);
  memcpy (id, &number, sizeof number);
  return nat_roster_ended (r, id);
}

/* Whoever registers and leaves again and again fills no memory, no key is used twice for it, and it is those who left
 * first that must negotiate anew. */
static void
test_dormant_are_bounded (void)
{
  NatRoster *r = nat_roster_new ();
  NatTicket t = ticket (1, NAT_ROLE_SUBSCRIBER, 100);
  NatDataSession *last = NULL;

  for (guint i = 0; i < NAT_DORMANT_MAX + 3; i++) {
    NatSessionCounters *c = nat_session_counters_new ();
    NatDataSession *s;

    memcpy (t.session_id, &i, sizeof i);
    last = s = nat_roster_add (r, &t, c, 1);
    nat_session_counters_unref (c);
    nat_roster_sleep (r, s, 1);
    nat_roster_settle (r);
    g_assert_cmpint (ended (r, i), ==, NAT_REASON_NONE);
    if (i >= NAT_DORMANT_MAX)
      g_assert_cmpint (ended (r, i - NAT_DORMANT_MAX), ==, NAT_REASON_EXPIRED);
    g_assert_cmpint (
        ended (r, i < NAT_DORMANT_MAX ? 0 : i - NAT_DORMANT_MAX + 1), ==, NAT_REASON_NONE);
  }
  g_assert_cmpuint (g_hash_table_size (r->sessions), ==, NAT_DORMANT_MAX);
  g_assert_cmpuint (r->dormant->len, ==, NAT_DORMANT_MAX);
  nat_roster_wake (r, last);
  g_assert_cmpuint (r->dormant->len, ==, NAT_DORMANT_MAX - 1);
  prune_all (r, 2, 100);
  g_assert_cmpuint (r->dormant->len, ==, 0);
  g_assert_cmpuint (nat_ended_set_size (r->ended), ==, 0);
  nat_roster_free (r);
}

/* A stream takes all of its sessions along, awake, dormant and forgotten. */
static void
test_change_rosters (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *from = nat_roster_new (), *to = nat_roster_new ();
  NatUdpSource one = source (1), two = source (2);
  NatDataSession *p = add (from, 1, NAT_ROLE_PUBLISHER, 100),
                 *s = add (from, 2, NAT_ROLE_SUBSCRIBER, 100),
                 *lost = add (from, 3, NAT_ROLE_SUBSCRIBER, 100), *squatter;
  NatTicket other = ticket (4, NAT_ROLE_SUBSCRIBER, 100);
  NatSessionCounters *c = nat_session_counters_new ();
  NatDataStream *stream = p->stream;
  guint8 lost_id[NAT_SESSION_ID_SIZE];

  memcpy (lost_id, lost->id, sizeof lost_id);
  nat_roster_select (from, nat_roster_validate_path (from, p, &one, io, 5));
  nat_roster_select (from, nat_roster_validate_path (from, s, &two, io, 5));
  nat_roster_activate (from, stream);
  from->dormant_max = 0; /* full: the next is forgotten */
  nat_roster_sleep (from, lost, 5);
  from->dormant_max = NAT_DORMANT_MAX;
  nat_roster_sleep (from, p, 5);
  nat_roster_settle (from);
  /* An older path of the same address gives way. */
  strcpy (other.stream, "gate");
  squatter = nat_roster_add (to, &other, c, 1);
  nat_roster_select (to, nat_roster_validate_path (to, squatter, &two, io, 4));
  nat_roster_settle (to);
  nat_roster_detach (from, stream);
  g_assert_cmpuint (g_hash_table_size (from->sessions), ==, 0);
  g_assert_cmpuint (g_hash_table_size (from->forgotten), ==, 0);
  g_assert_cmpuint (from->live->len + from->dormant->len + from->active.length, ==, 0);
  g_assert_null (nat_roster_find_path (from, &two.key));
  g_assert_false (nat_roster_has_stream (from, "door"));
  nat_roster_attach (to, stream);
  nat_roster_settle (to);
  g_assert_true (nat_roster_find (to, p->id) == p && nat_roster_find (to, s->id) == s);
  g_assert_cmpuint (to->dormant->len, ==, 1);
  g_assert_cmpuint (to->live->len, ==, 2);
  g_assert_cmpuint (to->active.length, ==, 1);
  g_assert_cmpint (nat_roster_ended (to, lost_id), ==, NAT_REASON_EXPIRED);
  g_assert_true (nat_roster_find_path (to, &two.key) == s->selected);
  g_assert_null (squatter->selected);
  g_assert_cmpuint (squatter->stream->receivers->n, ==, 0);
  g_assert_cmpuint (stream->receivers->n, ==, 1);
  nat_session_counters_unref (c);
  nat_roster_free (from);
  nat_roster_free (to);
}

/* ---- Rooms ------------------------------------------------------------- */

static NatDataSession *
publish_in_room (NatRoster *r, guint number)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatTicket t = ticket ((guint8)number, NAT_ROLE_PUBLISHER, 100);
  NatDataSession *s;

  g_snprintf (t.stream, sizeof t.stream, "room/%03u", number);
  s = nat_roster_add (r, &t, c, 1);
  nat_roster_set_publisher (r, s->stream, s->id);
  nat_session_counters_unref (c);
  return s;
}

static NatDataSession *
watch_room (NatRoster *r, NatUdpio *io)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatTicket t = ticket (0, NAT_ROLE_SUBSCRIBER, 100);
  NatUdpSource from = source (1);
  NatDataSession *s;

  strcpy (t.stream, "room/*");
  s = nat_roster_add (r, &t, c, 1);
  nat_roster_select (r, nat_roster_validate_path (r, s, &from, io, 5));
  nat_session_counters_unref (c);
  return s;
}

/* Of the streams from first on, all but the last n have the receiver. */
static void
assert_places (NatRoster *r, NatDataSession **p, guint first, guint without)
{
  const guint n = NAT_ROOM_STREAMS_MAX + 2;

  nat_roster_settle (r);
  for (guint i = first; i < n; i++)
    g_assert_cmpuint (p[i]->stream->receivers->n, ==, i < n - without);
}

static void
test_places (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatDataSession *watcher = watch_room (r, io), *p[NAT_ROOM_STREAMS_MAX + 2];

  for (guint i = 0; i < G_N_ELEMENTS (p); i++)
    p[i] = publish_in_room (r, i + 1);
  assert_places (r, p, 0, 2);
  nat_roster_sleep (r, p[0], 5);
  assert_places (r, p, 1, 1);
  g_assert_cmpuint (p[0]->stream->receivers->n, ==, 0);
  nat_roster_wake (r, p[0]);
  assert_places (r, p, 0, 2);
  nat_roster_remove (r, p[0], 5);
  prune_all (r, 3 * MINUTE_US, 99);
  g_assert_false (nat_roster_has_stream (r, "room/001"));
  assert_places (r, p, 1, 1);
  /* Another is: now it is the newest, and of nobody. */
  nat_roster_set_publisher (r, p[1]->stream, p[2]->id);
  nat_roster_settle (r);
  assert_places (r, p, 2, 0);
  nat_roster_remove (r, watcher, 5);
  nat_roster_settle (r);
  for (guint i = 1; i < G_N_ELEMENTS (p); i++)
    g_assert_cmpuint (p[i]->stream->receivers->n + g_hash_table_size (p[i]->stream->guests), ==, 0);
  nat_roster_free (r);
}

#define WATCHERS 200

static NatDataSession *
watch (NatRoster *r, NatUdpio *io, const char *stream, guint number)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatTicket t = ticket (255, NAT_ROLE_SUBSCRIBER, 100);
  NatUdpSource from = source ((guint16)(1000 + number));
  NatDataSession *s;

  memcpy (t.session_id, &number, sizeof number);
  strcpy (t.stream, stream);
  s = nat_roster_add (r, &t, c, 1);
  nat_roster_select (r, nat_roster_validate_path (r, s, &from, io, 5));
  nat_session_counters_unref (c);
  return s;
}

static gboolean
names (const NatDataStream *stream, const NatDataSession *s)
{
  for (guint i = 0; i < stream->receivers->n; i++) {
    if (stream->receivers->list[i].session == s)
      return TRUE;
  }
  return FALSE;
}

/* A large room's lists are built a part at a time, in the order in which they waited, also where somebody comes each time; and what a
 * list names that was not built yet is there. */
static void
test_settle_some (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatDataSession *p[NAT_ROOM_STREAMS_MAX], *gone, *came;
  gint64 now_us = HOUR_US; /* steps are so long that all was paid for */
  guint parts = 1, n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (p); i++)
    p[i] = publish_in_room (r, i + 1);
  gone = watch (r, io, "room/*", 0);
  for (guint i = 1; i < WATCHERS; i++)
    watch (r, io, "room/*", i);
  nat_roster_settle (r);
  nat_roster_remove (r, gone, 5);
  came = watch (r, io, "room/*", WATCHERS);
  for (; nat_roster_settle_some (r, now_us += MINUTE_US), r->stale; parts++) {
    n = 0;
    for (guint i = 0; i < G_N_ELEMENTS (p); i++) {
      g_assert_true (names (p[i]->stream, came) != names (p[i]->stream, gone));
      g_assert_false (names (p[i]->stream, gone) && gone->selected);
      n += names (p[i]->stream, came);
    }
    g_assert_cmpuint (n, ==, parts * (NAT_SETTLE_SOME / (WATCHERS + 1) + 1));
  }
  g_assert_cmpuint (parts, >, 2);
  for (guint i = 0; i < G_N_ELEMENTS (p); i++) {
    g_assert_cmpuint (p[i]->stream->receivers->n, ==, WATCHERS);
    g_assert_cmpuint (g_hash_table_size (p[i]->stream->guests), ==, WATCHERS);
    g_assert_cmpuint (p[i]->stream->audience->receivers, ==, WATCHERS);
  }
  came = watch (r, io, "room/*", WATCHERS + 1);
  for (guint i = 0; i < parts; i++) {
    watch (r, io, "room/*", WATCHERS + 2 + i);
    nat_roster_settle_some (r, now_us += MINUTE_US);
  }
  for (guint i = 0; i < G_N_ELEMENTS (p); i++)
    g_assert_true (names (p[i]->stream, came));
  nat_roster_settle (r);
  for (guint i = 0; i < G_N_ELEMENTS (p); i++) {
    g_assert_cmpuint (p[i]->stream->receivers->n, ==, WATCHERS + 1 + parts);
    g_assert_cmpuint (g_hash_table_size (p[i]->stream->guests), ==, WATCHERS + 1 + parts);
  }
  nat_roster_free (r);
}

#define AUDIENCE 10000
#define BATCH_US 100

static void
move (NatRoster *r, NatUdpio *io, NatDataSession *s, gint64 now_us)
{
  NatUdpSource from = source ((guint16)(20000 + now_us / BATCH_US % 40000));

  nat_roster_select (r, nat_roster_validate_path (r, s, &from, io, now_us));
}

static guint16
port_in_list (const NatDataStream *stream, const NatDataSession *s)
{
  for (guint i = 0; i < stream->receivers->n; i++) {
    if (stream->receivers->list[i].session == s)
      return ntohs (stream->receivers->list[i].dest.name.in.sin_port);
  }
  return 0;
}

/* One of a large audience moves at every batch. The lists that it has built take less than a tenth of the time, it is sent to where it
 * is soon, and so is who comes elsewhere. */
static void
test_mover (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatDataSession *mover = watch (r, io, "door", 0), *other;
  gint64 now_us = HOUR_US, end_us = now_us + G_USEC_PER_SEC, came_us;
  guint built;

  for (guint i = 1; i < AUDIENCE; i++)
    watch (r, io, "door", i);
  nat_roster_settle (r);
  built = r->n_built;
  for (; now_us < end_us; now_us += BATCH_US) {
    move (r, io, mover, now_us);
    nat_roster_settle_some (r, now_us);
  }
  built = r->n_built - built;
  g_test_message ("%u lists in a second", built);
  g_assert_cmpuint (built, >=, 50);
  g_assert_cmpuint (built, <=, 101); /* 73 ms, and all of the time if it were one a batch */
  other = watch (r, io, "yard", AUDIENCE);
  for (came_us = now_us; !names (other->stream, other); now_us += BATCH_US) {
    move (r, io, mover, now_us);
    nat_roster_settle_some (r, now_us);
  }
  g_assert_cmpint (now_us - came_us, <=,
      2 * AUDIENCE + 10 * BATCH_US); /* one is owed for, one stands before it */
  for (came_us = now_us; r->stale; now_us += BATCH_US)
    nat_roster_settle_some (r, now_us);
  g_assert_cmpint (now_us - came_us, <=, AUDIENCE + 10 * BATCH_US);
  g_assert_cmpuint (port_in_list (mover->stream, mover), ==, mover->selected->key.remote.port);
  g_assert_cmpuint (mover->stream->receivers->n, ==, AUDIENCE);
  nat_roster_free (r);
}

#define ROOM_STREAMS 64
#define ROOM_GUESTS  2000

/* A room's guest is in as many lists as somebody publishes there. That he moves again before those are built is one change, else they
 * would be built at once, unpaid, as soon as he had moved often enough. */
static void
test_room_mover (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatDataSession *mover, *publisher = NULL;
  gint64 now_us = HOUR_US, end_us = now_us + G_USEC_PER_SEC, came_us;
  guint built;

  for (guint i = 0; i < ROOM_STREAMS; i++)
    publisher = publish_in_room (r, i + 1);
  for (guint i = 1; i < ROOM_GUESTS; i++)
    watch (r, io, "room/*", i);
  mover = watch (r, io, "room/*", 0);
  nat_roster_settle (r);
  built = r->n_built;
  for (; now_us < end_us; now_us += BATCH_US) {
    move (r, io, mover, now_us);
    nat_roster_settle_some (r, now_us);
  }
  built = r->n_built - built;
  g_test_message ("%u lists in a second", built);
  g_assert_cmpuint (built, >=, 250);
  g_assert_cmpuint (built, <=, G_USEC_PER_SEC / ROOM_GUESTS + 5);
  for (came_us = now_us; r->stale; now_us += BATCH_US)
    nat_roster_settle_some (r, now_us);
  g_assert_cmpint (now_us - came_us, <=, (ROOM_STREAMS + 1) * (ROOM_GUESTS + 10));
  g_assert_cmpuint (port_in_list (publisher->stream, mover), ==, mover->selected->key.remote.port);
  g_assert_cmpuint (publisher->stream->receivers->n, ==, ROOM_GUESTS);
  g_assert_cmpuint (g_hash_table_size (publisher->stream->guests), ==, ROOM_GUESTS);
  nat_roster_free (r);
}

/* Lists so large that they are never paid for keep nobody waiting for more than a tick. */
static void
test_debt (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatDataSession *s = watch (r, io, "door", 0);

  r->paid_us = HOUR_US + MINUTE_US;
  nat_roster_settle_some (r, HOUR_US);
  g_assert_false (names (s->stream, s));
  nat_roster_settle_some (r, HOUR_US + 50 * 1000);
  g_assert_true (names (s->stream, s));
  nat_roster_free (r);
}

/* Who comes or goes costs nothing for each of those who went before. */
static void
test_left_streams (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatDataStream *left[100];
  NatDataSession *last;

  watch_room (r, io);
  for (guint i = 0; i < G_N_ELEMENTS (left); i++) {
    NatDataSession *s = publish_in_room (r, i + 1);

    left[i] = s->stream;
    nat_roster_settle (r);
    g_assert_cmpuint (left[i]->receivers->n, ==, 1);
    nat_roster_remove (r, s, 5);
    nat_roster_settle (r);
    g_assert_cmpuint (left[i]->receivers->n, ==, 0);
  }
  last = publish_in_room (r, 200);
  for (guint i = 0; i < G_N_ELEMENTS (left); i++)
    g_assert_false (left[i]->stale);
  nat_roster_settle (r);
  g_assert_cmpuint (last->stream->receivers->n, ==, 1);
  nat_roster_free (r);
}

static void
test_empty_stream (void)
{
  static const NatTracks tracks = {1, {{42, 96, 90000, "video"}}};
  NatRoster *r = nat_roster_new ();
  NatDataSession *s = add (r, 1, NAT_ROLE_PUBLISHER, 100);
  NatDataStream *stream = s->stream;

  nat_roster_describe (r, stream, &tracks);
  nat_roster_activate (r, stream);
  prune_all (r, 10 * HOUR_US, 1);
  g_assert_cmpuint (g_hash_table_size (r->streams), ==, 1);
  nat_roster_remove (r, s, 10 * HOUR_US);
  nat_roster_settle (r);
  prune_all (r, 10 * HOUR_US + 2 * MINUTE_US - 1, 1);
  g_assert_cmpuint (g_hash_table_size (r->streams), ==, 1);
  g_assert_true (nat_roster_ssrc_announced (r, 42));
  prune_all (r, 10 * HOUR_US + 2 * MINUTE_US, 1);
  g_assert_cmpuint (g_hash_table_size (r->streams), ==, 0);
  g_assert_false (nat_roster_ssrc_announced (r, 42));
  g_assert_null (r->active.head);
  nat_roster_free (r);
}

/* Its sessions' ids are known for as long as their tickets are good, so that no key is used again from its first index; but
 * nothing else is left of it. */
static void
test_forgotten_sessions (void)
{
  static const NatTracks tracks = {1, {{42, 96, 90000, "video"}}};
  const gint64 later_us = 10 * MINUTE_US;
  NatRoster *r = nat_roster_new ();
  NatDataSession *s = add (r, 1, NAT_ROLE_PUBLISHER, 100);
  NatDataStream *stream = s->stream;
  guint8 id[NAT_SESSION_ID_SIZE];

  memcpy (id, s->id, sizeof id);
  stream->version = 1;
  nat_roster_set_publisher (r, stream, id);
  nat_roster_describe (r, stream, &tracks);
  nat_roster_activate (r, stream);
  r->dormant_max = 0;
  nat_roster_sleep (r, s, 1);
  prune_all (r, 2 * MINUTE_US, 99);
  g_assert_true (nat_roster_ssrc_announced (r, 42));
  prune_all (r, later_us, 99);
  g_assert_true (nat_roster_has_stream (r, "door"));
  g_assert_cmpint (nat_roster_ended (r, id), ==, NAT_REASON_EXPIRED);
  g_assert_false (nat_roster_ssrc_announced (r, 42));
  g_assert_true (stream->version == 0 && !stream->has_publisher && !stream->active);
  prune_all (r, later_us, 100);
  g_assert_false (nat_roster_has_stream (r, "door"));
  g_assert_cmpint (nat_roster_ended (r, id), ==, NAT_REASON_NONE);
  nat_roster_free (r);
}

/* The generation in use stays whole until the quiescent point. */
static void
test_generations (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatUdpSource one = source (1), two = source (2);
  NatDataSession *a = add (r, 1, NAT_ROLE_SUBSCRIBER, 100),
                 *b = add (r, 2, NAT_ROLE_SUBSCRIBER, 100);
  NatReceivers *before;

  nat_roster_select (r, nat_roster_validate_path (r, a, &one, io, 1));
  nat_roster_select (r, nat_roster_validate_path (r, b, &two, io, 1));
  g_assert_cmpuint (a->stream->receivers->n, ==, 0);
  nat_roster_settle (r);
  before = a->stream->receivers;
  g_assert_cmpuint (before->n, ==, 2);
  nat_roster_remove (r, a, 1);
  g_assert_true (b->stream->receivers == before);
  g_assert_cmpuint (before->n, ==, 2);
  g_assert_cmpmem (before->list[0].session->id, 1, before->list[0].session == a ? "\1" : "\2", 1);
  nat_roster_settle (r);
  g_assert_cmpuint (b->stream->receivers->n, ==, 1);
  g_assert_true (b->stream->receivers->list[0].session == b);
  g_assert_null (nat_roster_find_path (r, &one.key));
  g_assert_nonnull (nat_roster_find_path (r, &two.key));
  nat_roster_free (r);
}

static void
test_describe (void)
{
  static const NatTracks first = {2, {{1, 96, 90000, "video"}, {2, 97, 48000, "audio"}}};
  static const NatTracks second = {2, {{2, 97, 48000, "audio"}, {3, 98, 90000, "video"}}};
  static const NatTracks unannounced = {1, {{0, 96, 90000, "video"}}};
  NatRoster *r = nat_roster_new ();
  NatDataSession *p = add (r, 1, NAT_ROLE_PUBLISHER, 100), *q = add (r, 2, NAT_ROLE_PUBLISHER, 100);
  NatDataStream *stream = p->stream;
  NatRtpHeader h = {.ssrc = 2, .seq = 10};
  NatReceived received;

  nat_roster_set_publisher (r, stream, p->id);
  g_assert_true (stream->publisher == p);
  nat_roster_describe (r, stream, &first);
  nat_reception_update (&nat_roster_track (stream, 2)->reception, &h, 1, &received);
  nat_roster_describe (r, stream, &second);
  g_assert_null (nat_roster_track (stream, 1));
  g_assert_false (nat_roster_ssrc_announced (r, 1));
  /* What stayed goes on counting, and knows what it saw. */
  g_assert_cmpuint (nat_roster_track (stream, 2)->reception.seq.received, ==, 1);
  nat_reception_update (&nat_roster_track (stream, 2)->reception, &h, 1, &received);
  g_assert_cmpuint (nat_roster_track (stream, 2)->reception.seq.received, ==, 1);
  /* Another publisher begins anew. */
  nat_roster_set_publisher (r, stream, q->id);
  g_assert_false (nat_roster_track (stream, 2)->reception.seq.started);
  nat_roster_describe (r, stream, &unannounced);
  g_assert_null (nat_roster_track (stream, 0));
  nat_roster_free (r);
}

static void
test_renew (void)
{
  NatRoster *r = nat_roster_new ();
  NatDataSession *s = add (r, 1, NAT_ROLE_PUBLISHER, 100);
  NatTicket t = ticket (1, NAT_ROLE_PUBLISHER, 200);

  t.max_kbps = 8;
  nat_roster_renew (s, &t);
  g_assert_cmpint (s->expires_s, ==, 200);
  g_assert_cmpuint (nat_budget_claimed (s->budget).kbps, ==, 8);
  /* The older ticket is still good for a Binding, but does not take back what the newer said. */
  t.expires_s = 100;
  t.max_kbps = 0;
  nat_roster_renew (s, &t);
  g_assert_cmpint (s->expires_s, ==, 200);
  g_assert_cmpuint (nat_budget_claimed (s->budget).kbps, ==, 8);
  nat_roster_free (r);
}

/* What control says holds at once, with a token that ends sooner and against any ticket. */
static void
test_govern (void)
{
  NatRoster *r = nat_roster_new ();
  NatDataSession *s = add (r, 1, NAT_ROLE_PUBLISHER, 200);
  NatTicket t = ticket (1, NAT_ROLE_PUBLISHER, 100);

  t.max_kbps = 8;
  nat_roster_govern (s, &t);
  g_assert_cmpuint (nat_budget_claimed (s->budget).kbps, ==, 8);
  g_assert_cmpint (s->expires_s, ==, 200); /* the older ticket is good as long as ever */
  t.max_kbps = 800;
  t.expires_s = 300;
  nat_roster_renew (s, &t);
  g_assert_cmpuint (nat_budget_claimed (s->budget).kbps, ==, 8);
  g_assert_cmpint (s->expires_s, ==, 300);
  t.max_kbps = 0;
  nat_roster_govern (s, &t);
  g_assert_cmpuint (nat_budget_claimed (s->budget).kbps, ==, 0);
  nat_roster_free (r);
}

/* ---- Memory ------------------------------------------------------------ */

#define MAPPINGS    100000u
#define PER_STREAM  100u
#define MAPPING_MAX 512 /* bytes, without counters and SRTCP */

static gsize
allocated (void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  struct mallinfo2 info = mallinfo2 ();

  return info.uordblks + info.hblkhd;
#else
  return 0; /* the mappings are made all the same */
#endif
}

static void
register_one (NatRoster *r, NatUdpio *io, guint i, NatSessionCounters *c)
{
  NatTicket t = ticket (0, i % PER_STREAM ? NAT_ROLE_SUBSCRIBER : NAT_ROLE_PUBLISHER, 100);
  NatUdpSource src = source ((guint16)(1024 + i % 60000));
  NatDataSession *s;

  memcpy (t.session_id, &i, sizeof i);
  g_snprintf (t.stream, sizeof t.stream, "stream-%u", i / PER_STREAM);
  src.key.remote.ip[3] = (guint8)(i / 60000);
  s = nat_roster_add (r, &t, c, 1);
  s->state = NAT_DATA_REGISTERED;
  nat_roster_select (r, nat_roster_validate_path (r, s, &src, io, 1));
  if (i % PER_STREAM == PER_STREAM - 1)
    nat_roster_settle (r);
}

static void
test_many (void)
{
  g_autoptr (NatUdpio) io = open_io ();
  NatRoster *r = nat_roster_new ();
  NatSessionCounters *c = nat_session_counters_new ();
  NatUdpSource last = source (1024 + (MAPPINGS - 1) % 60000);
  gsize before = allocated (), each;

  for (guint i = 0; i < MAPPINGS; i++)
    register_one (r, io, i, c);
  each = (allocated () - before) / MAPPINGS;
  g_test_message ("%" G_GSIZE_FORMAT " bytes for a mapping", each);
  g_assert_cmpuint (r->live->len, ==, MAPPINGS);
  g_assert_cmpuint (nat_table_size (r->paths), ==, MAPPINGS);
  last.key.remote.ip[3] = (guint8)((MAPPINGS - 1) / 60000);
  g_assert_nonnull (nat_roster_find_path (r, &last.key));
  g_assert_cmpuint (
      nat_roster_find_path (r, &last.key)->session->stream->receivers->n, ==, PER_STREAM - 1);
  g_assert_cmpuint (each, <, MAPPING_MAX);
  nat_roster_free (r);
  nat_session_counters_unref (c);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/roster/prune", test_prune);
  g_test_add_func ("/roster/prune-by-shares", test_prune_by_shares);
  g_test_add_func ("/roster/dormant-are-bounded", test_dormant_are_bounded);
  g_test_add_func ("/roster/change-rosters", test_change_rosters);
  g_test_add_func ("/roster/places", test_places);
  g_test_add_func ("/roster/settle-some", test_settle_some);
  g_test_add_func ("/roster/mover", test_mover);
  g_test_add_func ("/roster/room-mover", test_room_mover);
  g_test_add_func ("/roster/debt", test_debt);
  g_test_add_func ("/roster/left-streams", test_left_streams);
  g_test_add_func ("/roster/empty-stream", test_empty_stream);
  g_test_add_func ("/roster/forgotten-sessions", test_forgotten_sessions);
  g_test_add_func ("/roster/generations", test_generations);
  g_test_add_func ("/roster/describe", test_describe);
  g_test_add_func ("/roster/renew", test_renew);
  g_test_add_func ("/roster/govern", test_govern);
  g_test_add_func ("/roster/many", test_many);
  return g_test_run ();
}
