/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Several workers without threads: a worker looks when the test says so, and so it may sleep as long as a busy
 * machine lets one sleep. */

#include "natserver/data/exchange.h"

#include <string.h>

#include "bareworker.h"
#include "natproto/crypto.h"
#include "natserver/data/command.h"
#include "natserver/data/historypool.h"
#include "natserver/data/historyreader.h"
#include "probe.h"

#define WORKERS 2

typedef struct {
  NatMesh *mesh;
  NatWorker *w[WORKERS];
  gint stop; /* of the thread that turns them, if one does */
} Relay;

static void
relay_init (Relay *r)
{
  r->stop = FALSE;
  r->mesh = nat_mesh_new (WORKERS, nat_exchange_letter_size ());
  for (guint i = 0; i < WORKERS; i++)
    r->w[i] = bare_worker_new_of_several (r->mesh, i);
}

static void
relay_clear (Relay *r)
{
  for (guint i = 0; i < WORKERS; i++)
    nat_worker_free (r->w[i]);
  nat_mesh_free (r->mesh);
}

static NatUdpSource
source_of (guint16 port, guint heard)
{
  NatUdpSource source = {.worker = (guint8)heard};

  g_assert_true (nat_address_from_text (&source.key.remote, "127.0.0.1", port));
  g_assert_true (nat_address_from_text (&source.key.local, "127.0.0.1", 3478));
  return source;
}

/* A good Binding of s, which came to the owner by way of the worker that heard it. */
static NatPath *
bind_path (Relay *r, guint owner, NatDataSession *s, guint16 port, guint heard)
{
  NatWorker *w = r->w[owner];
  NatUdpSource source = source_of (port, heard);
  NatPath *path;

  w->now_us = g_get_monotonic_time ();
  path = nat_roster_validate_path (w->roster, s, &source, w->io, w->now_us);
  nat_roster_select (w->roster, path);
  nat_roster_activate (w->roster, s->stream);
  nat_exchange_heard (w, &source, path);
  nat_roster_settle (w->roster);
  return path;
}

static NatDataSession *
join (Relay *r, guint owner, const char *stream, NatRole role, guint16 port, guint heard)
{
  NatUdpSource source = source_of (port, heard);
  NatDataSession *s;

  nat_mesh_lock (r->mesh);
  nat_mesh_assign (r->mesh, stream, owner);
  nat_mesh_unlock (r->mesh);
  s = bare_worker_join (r->w[owner], stream, role, &source.key.remote);
  nat_roster_drop_path (r->w[owner]->roster, s->selected); /* its own socket's */
  bind_path (r, owner, s, port, heard);
  return s;
}

static void
hand_over (Relay *r, guint from)
{
  guint64 moved = nat_counter_get (&r->w[from]->counters->streams_moved);

  r->w[from]->now_us = g_get_monotonic_time ();
  nat_exchange_tick (r->w[from]);
  g_assert_cmpuint (nat_counter_get (&r->w[from]->counters->streams_moved), ==, moved + 1);
}

static gboolean
has_path (Relay *r, guint worker, guint16 port)
{
  NatUdpSource source = source_of (port, 0);

  return nat_roster_find_path (r->w[worker]->roster, &source.key) != NULL;
}

static gint
route_of (Relay *r, guint worker, guint16 port)
{
  NatUdpSource source = source_of (port, 0);

  return nat_exchange_route (r->w[worker], &source);
}

/* The usual first second of a publisher that another worker hears. */
static void
test_first_hand_over (void)
{
  Relay r;
  NatDataSession *s;

  relay_init (&r);
  s = join (&r, 0, "a", NAT_ROLE_PUBLISHER, 1000, 1);
  nat_exchange_drain (r.w[1]);
  g_assert_cmpint (route_of (&r, 1, 1000), ==, 0);
  hand_over (&r, 0);
  nat_exchange_drain (r.w[1]);
  g_assert_true (has_path (&r, 1, 1000));
  g_assert_nonnull (s->selected);
  g_assert_cmpint (route_of (&r, 1, 1000), ==, -1);
  g_assert_cmpint (route_of (&r, 0, 1000), ==, 1);
  relay_clear (&r);
}

/* The same, but who hears the publisher sleeps until the stream is its own: the route that it finds is older
 * than that, and takes no path away. */
static void
test_route_is_older (void)
{
  Relay r;
  NatDataSession *s;

  relay_init (&r);
  s = join (&r, 0, "a", NAT_ROLE_PUBLISHER, 1000, 1);
  hand_over (&r, 0);
  nat_exchange_drain (r.w[1]);
  g_assert_true (has_path (&r, 1, 1000));
  g_assert_nonnull (s->selected);
  g_assert_cmpint (route_of (&r, 1, 1000), ==, -1);
  relay_clear (&r);
}

/* An address that was another's: that one is told to forget it, and hears so only when the stream is its own. */
static void
test_forget_is_older (void)
{
  Relay r;
  NatDataSession *s;

  relay_init (&r);
  join (&r, 1, "b", NAT_ROLE_SUBSCRIBER, 2000, 0);
  nat_exchange_drain (r.w[0]);
  g_assert_cmpint (route_of (&r, 0, 2000), ==, 1);
  join (&r, 0, "a", NAT_ROLE_PUBLISHER, 1000, 1);
  s = join (&r, 0, "a", NAT_ROLE_SUBSCRIBER, 2000, 0);
  hand_over (&r, 0);
  nat_exchange_drain (r.w[1]);
  g_assert_true (has_path (&r, 1, 2000));
  g_assert_nonnull (s->selected);
  relay_clear (&r);
}

/* But a later Binding at another worker takes the address along. */
static void
test_later_binding_takes (void)
{
  Relay r;
  NatDataSession *old;

  relay_init (&r);
  old = join (&r, 1, "b", NAT_ROLE_SUBSCRIBER, 2000, 1);
  g_usleep (10);
  join (&r, 0, "a", NAT_ROLE_SUBSCRIBER, 2000, 1);
  nat_exchange_drain (r.w[1]);
  g_assert_false (has_path (&r, 1, 2000));
  g_assert_null (old->selected);
  g_assert_cmpint (route_of (&r, 1, 2000), ==, 0);
  relay_clear (&r);
}

/* Control's: a session of a stream that the worker does not have yet. */
static void
post_add (Relay *r, guint owner, const char *stream, NatRole role)
{
  NatCommand c = {.type = NAT_COMMAND_ADD};

  nat_crypto_random (c.session.ticket.session_id, NAT_SESSION_ID_SIZE);
  c.session.ticket.role = role;
  c.session.ticket.expires_s = G_MAXINT64;
  strcpy (c.session.ticket.stream, stream);
  c.session.counters = nat_session_counters_new ();
  nat_mesh_lock (r->mesh);
  g_assert_cmpuint (nat_mesh_assign (r->mesh, stream, owner), ==, owner);
  g_assert_true (nat_ring_push (r->w[owner]->commands, &c));
  nat_mesh_unlock (r->mesh);
}

/* A pattern comes while the command that makes one of its streams still waits, and while that stream's owner looks for
 * those that must go: that one must go, too. */
static void
test_home_of_one_to_come (void)
{
  Relay r;

  relay_init (&r);
  post_add (&r, 0, "room/a", NAT_ROLE_PUBLISHER);
  post_add (&r, 0, "room/c", NAT_ROLE_PUBLISHER);
  post_add (&r, 1, "room/b", NAT_ROLE_PUBLISHER);
  post_add (&r, 0, "room/*", NAT_ROLE_SUBSCRIBER);
  r.w[1]->now_us = g_get_monotonic_time ();
  nat_exchange_tick (r.w[1]); /* it read its commands a moment before */
  g_assert_false (nat_roster_has_stream (r.w[1]->roster, "room/b"));
  nat_worker_drain_commands (r.w[1]);
  g_assert_true (nat_roster_has_stream (r.w[1]->roster, "room/b"));
  r.w[1]->now_us += G_USEC_PER_SEC;
  nat_exchange_tick (r.w[1]);
  g_assert_cmpuint (nat_counter_get (&r.w[1]->counters->streams_moved), ==, 1);
  nat_exchange_drain (r.w[0]);
  g_assert_true (nat_roster_has_stream (r.w[0]->roster, "room/b"));
  relay_clear (&r);
}

static void
tick (Relay *r, guint worker)
{
  r->w[worker]->now_us += G_USEC_PER_SEC;
  nat_exchange_tick (r->w[worker]);
}

static gboolean
has_stream (Relay *r, guint worker, const char *stream)
{
  return nat_roster_has_stream (r->w[worker]->roster, stream);
}

static void
add (Relay *r, guint owner, const char *stream, NatRole role)
{
  post_add (r, owner, stream, role);
  nat_worker_drain_commands (r->w[owner]);
}

/* It is on its way to another worker when a pattern comes whose home is where it was. */
static void
test_home_of_one_on_its_way (void)
{
  Relay r;

  relay_init (&r);
  add (&r, 0, "room/b", NAT_ROLE_PUBLISHER);
  add (&r, 0, "room/c", NAT_ROLE_PUBLISHER);
  join (&r, 0, "room/a", NAT_ROLE_PUBLISHER, 1000, 1);
  hand_over (&r, 0);
  add (&r, 0, "room/*", NAT_ROLE_SUBSCRIBER);
  tick (&r, 1); /* it looks before it takes the stream */
  nat_exchange_drain (r.w[1]);
  g_assert_true (has_stream (&r, 1, "room/a"));
  tick (&r, 1);
  nat_exchange_drain (r.w[0]);
  g_assert_true (has_stream (&r, 0, "room/a"));
  tick (&r, 0);
  g_assert_true (has_stream (&r, 0, "room/a"));
  relay_clear (&r);
}

/* Two patterns and their streams, at two workers, until a third one matches streams of both. */
static void
test_homes_join (void)
{
  static const char *const names[] = {"a/*", "a/one", "a/two", "b/*", "b/one", "b/two", "*/one"};
  Relay r;

  relay_init (&r);
  for (guint i = 0; i + 1 < G_N_ELEMENTS (names); i++)
    add (&r, i / 3, names[i], i % 3 ? NAT_ROLE_PUBLISHER : NAT_ROLE_SUBSCRIBER);
  for (guint i = 0; i < WORKERS; i++)
    tick (&r, i);
  g_assert_true (has_stream (&r, 0, "a/one") && has_stream (&r, 1, "b/one"));
  add (&r, 0, "*/one", NAT_ROLE_SUBSCRIBER);
  for (guint i = 0; i < 2 * WORKERS; i++) {
    tick (&r, i % WORKERS);
    nat_exchange_drain (r.w[(i + 1) % WORKERS]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    g_assert_true (has_stream (&r, 0, names[i]));
  relay_clear (&r);
}

#define MANY 1000

static gint64
time_all_homes (Relay *r)
{
  gint64 start_us = g_get_monotonic_time ();

  for (guint i = 0; i < MANY; i++) {
    g_autofree char *name = g_strdup_printf ("hall/%u", i);

    g_assert_cmpint (nat_mesh_home (r->mesh, name), ==, -1);
  }
  return g_get_monotonic_time () - start_us;
}

/* A pattern comes where there are many: a worker holds its streams against that one, not against all. */
static void
test_one_of_many_patterns (void)
{
  gint64 best_us = G_MAXINT64, all_us;
  Relay r;

  relay_init (&r);
  for (guint i = 0; i < MANY; i++) {
    g_autofree char *pattern = g_strdup_printf ("room%u/*", i);
    g_autofree char *stream = g_strdup_printf ("hall/%u", i);

    add (&r, 1, pattern, NAT_ROLE_SUBSCRIBER);
    add (&r, 0, stream, NAT_ROLE_PUBLISHER);
  }
  while (nat_mesh_homes (r.mesh) != nat_exchange_homes (r.w[0]))
    tick (&r, 0);
  all_us = time_all_homes (&r);
  for (guint i = 0; i < 5; i++) {
    g_autofree char *pattern = g_strdup_printf ("one%u/*", i);
    gint64 start_us;

    add (&r, 1, pattern, NAT_ROLE_SUBSCRIBER);
    start_us = g_get_monotonic_time ();
    tick (&r, 0);
    best_us = MIN (best_us, g_get_monotonic_time () - start_us);
    g_assert_cmpuint (nat_mesh_homes (r.mesh), ==, nat_exchange_homes (r.w[0]));
  }
  g_test_message ("%u us; all against all: %u us", (guint)best_us, (guint)all_us);
  g_assert_cmpint (best_us, <, all_us / 10);
  relay_clear (&r);
}

/* ---- Sessions that were one too many ----------------------------------- */

static gpointer
turn (gpointer user)
{
  Relay *r = user;

  while (!g_atomic_int_get (&r->stop)) {
    for (guint i = 0; i < WORKERS; i++)
      nat_worker_spin (r->w[i]);
  }
  return NULL;
}

static NatSecrets *
give_secrets (Relay *r)
{
  NatSecrets *secrets = nat_secrets_new ();
  guint8 secret[32];

  nat_crypto_random (secret, sizeof secret);
  nat_secrets_add (secrets, 1, secret);
  for (guint i = 0; i < WORKERS; i++)
    r->w[i]->secrets = secrets;
  return secrets;
}

/* The second worker is at the first one's address, as in a relay. */
static void
share_address (Relay *r)
{
  nat_udpio_free (r->w[1]->io);
  r->w[1]->io = nat_udpio_new_sibling (r->w[0]->io, 65536, r->w[1]->counters, NULL);
  g_assert_nonnull (r->w[1]->io);
}

static NatProbe *
heard_by_second (Relay *r)
{
  for (;;) {
    NatProbe *p = nat_probe_new ("127.0.0.1", nat_udpio_local (r->w[0]->io, 0));
    guint64 before = nat_counter_get (&r->w[1]->counters->stun_challenges);

    g_assert_cmpint (nat_probe_challenge (p, 200, NAT_PROBE_WAIT_MS), ==, 401);
    if (nat_counter_get (&r->w[1]->counters->stun_challenges) > before)
      return p;
    nat_probe_free (p);
  }
}

/* A session that went to sleep while too many did, of a stream that has no other: who comes back with its ticket minutes
 * later, and is heard by another worker, must not begin the same SRTCP keys again at their first index. */
static void
test_forgotten_is_not_revived (void)
{
  Relay r;
  NatCommand c = {.type = NAT_COMMAND_ADD};
  NatTicket *t = &c.session.ticket;
  g_autoptr (NatProbe) p = NULL;
  NatSecrets *secrets;
  GThread *thread;
  gint64 now_s = g_get_real_time () / G_USEC_PER_SEC;

  relay_init (&r);
  share_address (&r);
  secrets = give_secrets (&r);
  *t = (NatTicket){.role = NAT_ROLE_SUBSCRIBER,
      .password_secret = nat_secrets_current (secrets),
      .expires_s = now_s + NAT_TICKET_LIFETIME_S,
      .token_expires_s = G_MAXINT64};
  nat_crypto_random (t->session_id, sizeof t->session_id);
  strcpy (t->stream, "door");
  c.session.counters = nat_session_counters_new ();
  g_assert_true (nat_exchange_claim (r.w[0], "door"));
  nat_command_apply (r.w[0], &c);
  r.w[0]->roster->dormant_max = 0;
  nat_roster_sleep (
      r.w[0]->roster, nat_roster_find (r.w[0]->roster, t->session_id), r.w[0]->now_us);
  nat_roster_prune (r.w[0]->roster, r.w[0]->now_us + 10 * 60 * (gint64)G_USEC_PER_SEC, now_s);
  thread = g_thread_new ("workers", turn, &r);
  p = heard_by_second (&r);
  nat_probe_set_ticket (p, secrets, t);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
  g_assert_cmpint (p->reason, ==, NAT_REASON_EXPIRED);
  g_atomic_int_set (&r.stop, TRUE);
  g_thread_join (thread);
  relay_clear (&r);
  nat_secrets_free (secrets);
}

/* ---- Histories --------------------------------------------------------- */

#define KEPT 1000 /* bytes of a packet */

static void
give_pools (Relay *r, gsize bytes_0, gsize bytes_1)
{
  r->w[0]->roster->pool = r->w[0]->pool = nat_history_pool_new (bytes_0);
  r->w[1]->roster->pool = r->w[1]->pool = bytes_1 > 0 ? nat_history_pool_new (bytes_1) : NULL;
}

static void
keep (NatDataStream *stream, guint track, guint64 seq, gboolean starts)
{
  guint8 data[KEPT];

  memset (data, (guint8)seq, sizeof data);
  g_assert_true (nat_history_append (&stream->history, stream->tracks[track].kept, seq, data,
      sizeof data, starts, g_get_monotonic_time ()));
  nat_history_settle (stream->history.pool);
}

static gboolean
is_kept (NatDataStream *stream, guint track, guint64 seq)
{
  NatHistoryPacket p;

  if (!nat_history_find (&stream->history, stream->tracks[track].kept, seq, &p))
    return FALSE;
  g_assert_cmpuint (p.len, ==, KEPT);
  g_assert_cmpuint (p.data[KEPT - 1], ==, (guint8)seq);
  return TRUE;
}

/* Its publisher, whom worker 1 hears, sent n packets, and of the sound one after each. */
static NatDataStream *
filmed (Relay *r, const char *name, guint16 port, guint first, guint n)
{
  NatDataStream *stream = join (r, 0, name, NAT_ROLE_PUBLISHER, port, 1)->stream;

  for (guint i = first; i < first + n; i++) {
    keep (stream, 0, i, i == first);
    keep (stream, 1, i, FALSE);
  }
  return stream;
}

/* In order, pictures by what was known of them: one from before the numbers jumped stays useless. Then on, and back. */
static void
test_history_goes_along (void)
{
  NatHistoryReader reader;
  NatHistoryPacket p;
  NatDataStream *a, *b;
  Relay r;

  relay_init (&r);
  give_pools (&r, 64 << 20, 64 << 20);
  a = filmed (&r, "a", 1000, 100, 50);
  b = filmed (&r, "b", 1001, 100, 50);
  nat_history_restart (b->tracks[0].kept);
  r.w[0]->now_us = g_get_monotonic_time ();
  nat_exchange_tick (r.w[0]);
  g_assert_false (is_kept (a, 0, 100));
  nat_exchange_drain (r.w[1]);
  g_assert_cmpuint (nat_history_pool_used (r.w[0]->pool), ==, 0);
  keep (a, 0, 150, FALSE);
  g_assert_true (nat_history_read_picture (&a->history, a->tracks[0].kept, &reader));
  for (guint64 seq = 100; seq <= 150; seq++) {
    g_assert_cmpint (nat_history_read (&a->history, &reader, &p), ==, NAT_HISTORY_PACKET);
    g_assert_cmpuint (p.seq, ==, seq);
    g_assert_true (is_kept (a, 0, seq));
    g_assert_true (seq == 150 || is_kept (a, 1, seq));
  }
  g_assert_cmpint (nat_history_read (&a->history, &reader, &p), ==, NAT_HISTORY_EDGE);
  g_assert_false (nat_history_read_picture (&b->history, b->tracks[0].kept, &reader));
  g_assert_true (is_kept (b, 0, 100));
  relay_clear (&r);
}

/* The newest of what is more than goes into a turn; of who comes after it in that turn, nothing. */
static void
test_history_too_long (void)
{
  guint n = NAT_HEIRLOOM_MAX / KEPT;
  NatDataStream *a, *b;
  Relay r;

  relay_init (&r);
  give_pools (&r, 64 << 20, 64 << 20);
  a = filmed (&r, "a", 1000, 1, n);
  b = filmed (&r, "b", 1001, 1, n);
  r.w[0]->now_us = g_get_monotonic_time ();
  nat_exchange_tick (r.w[0]);
  nat_exchange_drain (r.w[1]);
  g_assert_cmpuint (is_kept (a, 0, n) + is_kept (b, 0, n), ==, 1);
  g_assert_false (is_kept (a, 0, 1));
  g_assert_cmpuint (nat_history_pool_used (r.w[1]->pool), <=, NAT_HEIRLOOM_MAX + (64 << 10));
  g_assert_cmpuint (nat_history_pool_used (r.w[1]->pool), >, NAT_HEIRLOOM_MAX / 2);
  relay_clear (&r);
}

/* Two ticks without a look: the second heirloom is taken in first, and of the other what still goes into the turn, which is the newest.
 * How often it looks in the turn makes no difference. */
static void
test_history_in_turn (void)
{
  guint n = NAT_HEIRLOOM_MAX / KEPT, sent = 100;
  NatDataStream *a, *b, *c;
  Relay r;

  relay_init (&r);
  give_pools (&r, 64 << 20, 64 << 20);
  a = filmed (&r, "a", 1000, 1, n);
  hand_over (&r, 0);
  b = filmed (&r, "b", 1001, 1, sent);
  hand_over (&r, 0);
  nat_exchange_drain (r.w[1]);
  g_assert_true (is_kept (b, 0, 1) && is_kept (b, 0, sent));
  g_assert_true (is_kept (a, 0, n) && is_kept (a, 1, n));
  c = filmed (&r, "c", 1002, 1, sent);
  hand_over (&r, 0);
  nat_exchange_drain (r.w[1]);
  g_assert_false (is_kept (c, 0, 1));
  g_assert_cmpuint (nat_history_pool_used (r.w[1]->pool), <=, NAT_HEIRLOOM_MAX + (128 << 10));
  nat_exchange_end_turn (r.w[1]);
  filmed (&r, "d", 1003, 1, sent);
  hand_over (&r, 0);
  nat_exchange_drain (r.w[1]);
  g_assert_cmpuint (nat_history_pool_used (r.w[1]->pool), >, NAT_HEIRLOOM_MAX + (128 << 10));
  relay_clear (&r);
}

/* They take longer than their bytes. */
static void
test_history_small_packets (void)
{
  guint most = NAT_HEIRLOOM_MAX / NAT_HISTORY_COST;
  guint64 before;
  NatDataStream *a;
  Relay r;

  relay_init (&r);
  give_pools (&r, 64 << 20, 64 << 20);
  a = join (&r, 0, "a", NAT_ROLE_PUBLISHER, 1000, 1)->stream;
  for (guint i = 1; i <= 2 * most; i++) {
    for (guint track = 0; track < 2; track++)
      nat_history_append (&a->history, a->tracks[track].kept, i, (const guint8 *)"", 1,
          track == 0 && i == 1, g_get_monotonic_time ());
    if (i % 1000 == 0)
      nat_history_grow (&a->history, g_get_monotonic_time ());
  }
  nat_history_settle (a->history.pool);
  hand_over (&r, 0);
  before = a->history.n_packets;
  nat_exchange_drain (r.w[1]);
  g_assert_cmpuint (a->history.n_packets - before, <=, most);
  g_assert_cmpuint (a->history.n_packets - before, >, most / 4);
  relay_clear (&r);
}

/* A new owner that keeps nothing, or has room for little. */
static void
test_history_no_room (void)
{
  static const gsize pools[] = {0, 5 * NAT_HISTORY_BLOCK};

  for (guint i = 0; i < G_N_ELEMENTS (pools); i++) {
    NatDataStream *a;
    Relay r;

    relay_init (&r);
    give_pools (&r, 64 << 20, pools[i]);
    a = filmed (&r, "a", 1000, 1, 100);
    hand_over (&r, 0);
    nat_exchange_drain (r.w[1]);
    g_assert_null (a->heirloom);
    g_assert_cmpint (pools[i] > 0 && is_kept (a, 0, 100), ==, i == 1);
    g_assert_false (pools[i] > 0 && is_kept (a, 0, 1));
    relay_clear (&r);
  }
}

/* ---- Who ends on the way ----------------------------------------------- */

/* As control says it. */
static void
post_end (Relay *r, const guint8 *id)
{
  NatCommand c = {
      .type = NAT_COMMAND_END, .end.reason = NAT_REASON_ENDED, .end.until_s = G_MAXINT64};

  memcpy (c.end.id, id, NAT_SESSION_ID_SIZE);
  nat_mesh_lock (r->mesh);
  for (guint i = 0; i < WORKERS; i++)
    g_assert_true (nat_ring_push (r->w[i]->commands, &c));
  nat_mesh_unlock (r->mesh);
}

static void
take_commands (Relay *r)
{
  for (guint i = 0; i < WORKERS; i++) {
    nat_worker_drain_commands (r->w[i]);
    nat_exchange_drain (r->w[i]);
  }
}

static void
assert_over (Relay *r, const guint8 *id)
{
  for (guint i = 0; i < WORKERS; i++) {
    g_assert_null (nat_roster_find (r->w[i]->roster, id));
    g_assert_cmpint (nat_roster_ended (r->w[i]->roster, id), ==, NAT_REASON_ENDED);
    g_assert_false (has_path (r, i, 1000));
    nat_roster_prune (r->w[i]->roster, g_get_monotonic_time () + 600 * (gint64)G_USEC_PER_SEC, 0);
    g_assert_false (nat_roster_has_stream (r->w[i]->roster, "a"));
    g_assert_cmpuint (nat_history_pool_used (r->w[i]->pool), ==, 0);
  }
}

/* Nobody is left when it comes: nothing of its history is, either, and the next of its name begins with none. */
static void
test_ends_on_its_way (void)
{
  guint8 id[NAT_SESSION_ID_SIZE];
  NatDataStream *a;
  Relay r;

  relay_init (&r);
  give_pools (&r, 64 << 20, 64 << 20);
  a = filmed (&r, "a", 1000, 100, 50);
  memcpy (id, a->publisher->id, sizeof id);
  hand_over (&r, 0);
  g_assert_nonnull (a->heirloom);
  post_end (&r, id);
  take_commands (&r);
  assert_over (&r, id);
  a = join (&r, 1, "a", NAT_ROLE_PUBLISHER, 1000, 1)->stream;
  g_assert_false (is_kept (a, 0, 149));
  relay_clear (&r);
}

/* The publisher ends, a viewer stays, or the other way round: the history is whose it was. */
static void
test_one_ends_on_its_way (void)
{
  for (guint publisher = 0; publisher < 2; publisher++) {
    NatDataSession *viewer;
    NatDataStream *a;
    Relay r;

    relay_init (&r);
    give_pools (&r, 64 << 20, 64 << 20);
    a = filmed (&r, "a", 1000, 100, 50);
    viewer = join (&r, 0, "a", NAT_ROLE_SUBSCRIBER, 2000, 0);
    hand_over (&r, 0);
    g_assert_nonnull (a->heirloom);
    post_end (&r, publisher ? a->publisher->id : viewer->id);
    take_commands (&r);
    g_assert_null (a->heirloom);
    g_assert_cmpint (has_path (&r, 1, 1000), ==, !publisher);
    g_assert_cmpint (has_path (&r, 1, 2000), ==, publisher);
    g_assert_true (is_kept (a, 0, 100) && is_kept (a, 1, 149));
    relay_clear (&r);
  }
}

/* It stays, with its history, where the relay stops before it went. */
static void
test_stops_before_its_way (void)
{
  NatDataStream *a;
  Relay r;

  relay_init (&r);
  give_pools (&r, 64 << 20, 64 << 20);
  a = filmed (&r, "a", 1000, 100, 50);
  nat_mesh_close (r.mesh);
  r.w[0]->now_us = g_get_monotonic_time ();
  nat_exchange_tick (r.w[0]);
  g_assert_null (a->heirloom);
  g_assert_true (has_path (&r, 0, 1000) && is_kept (a, 0, 100));
  relay_clear (&r);
}

typedef struct {
  Relay *r;
  guint index;
} Turner;

/* One worker's thread. When it is told to stop, all commands were posted. */
static gpointer
turn_one (gpointer user)
{
  Turner *t = user;
  NatWorker *w = t->r->w[t->index];
  gboolean stop;

  do {
    stop = g_atomic_int_get (&t->r->stop);
    w->now_us = g_get_monotonic_time ();
    nat_exchange_tick (w);
    nat_exchange_drain (w);
    nat_worker_drain_commands (w);
    nat_exchange_end_turn (w);
  } while (!stop);
  return NULL;
}

/* Its old owner, its new one and control at the same time, whoever is first. */
static void
test_ends_at_any_time (void)
{
  guint moved = 0;

  for (guint i = 0; i < 40; i++) {
    Turner turners[WORKERS];
    GThread *threads[WORKERS];
    guint8 id[NAT_SESSION_ID_SIZE];
    Relay r;

    relay_init (&r);
    give_pools (&r, 64 << 20, 64 << 20);
    memcpy (id, filmed (&r, "a", 1000, 100, 200)->publisher->id, sizeof id);
    for (guint k = 0; k < WORKERS; k++) {
      turners[k] = (Turner){&r, k};
      threads[k] = g_thread_new ("worker", turn_one, &turners[k]);
    }
    g_usleep (i * 10);
    post_end (&r, id);
    g_atomic_int_set (&r.stop, TRUE);
    for (guint k = 0; k < WORKERS; k++)
      g_thread_join (threads[k]);
    assert_over (&r, id);
    moved += (guint)nat_counter_get (&r.w[0]->counters->streams_moved);
    relay_clear (&r);
  }
  g_test_message ("%u of 40 were on their way or there", moved);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/exchange/first-hand-over", test_first_hand_over);
  g_test_add_func ("/exchange/route-is-older", test_route_is_older);
  g_test_add_func ("/exchange/forget-is-older", test_forget_is_older);
  g_test_add_func ("/exchange/later-binding-takes", test_later_binding_takes);
  g_test_add_func ("/exchange/home-of-one-to-come", test_home_of_one_to_come);
  g_test_add_func ("/exchange/home-of-one-on-its-way", test_home_of_one_on_its_way);
  g_test_add_func ("/exchange/homes-join", test_homes_join);
  g_test_add_func ("/exchange/one-of-many-patterns", test_one_of_many_patterns);
  g_test_add_func ("/exchange/forgotten-is-not-revived", test_forgotten_is_not_revived);
  g_test_add_func ("/exchange/history-goes-along", test_history_goes_along);
  g_test_add_func ("/exchange/history-too-long", test_history_too_long);
  g_test_add_func ("/exchange/history-in-turn", test_history_in_turn);
  g_test_add_func ("/exchange/history-small-packets", test_history_small_packets);
  g_test_add_func ("/exchange/history-no-room", test_history_no_room);
  g_test_add_func ("/exchange/ends-on-its-way", test_ends_on_its_way);
  g_test_add_func ("/exchange/one-ends-on-its-way", test_one_ends_on_its_way);
  g_test_add_func ("/exchange/stops-before-its-way", test_stops_before_its_way);
  g_test_add_func ("/exchange/ends-at-any-time", test_ends_at_any_time);
  return g_test_run ();
}
