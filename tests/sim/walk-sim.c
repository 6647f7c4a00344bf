/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A walk through all states of a mapping. From what the relay knows (nothing, a session that control made, paths that
 * proved themselves, the one that is selected, consent that ran out, a session that ended) every event is tried,
 * and from every state that comes of it again, until there is no new one. On each arrow
 *
 * - all that is sent keeps the promises (promises.h): no media before a valid answer, no answer longer than its
 *   request, nothing remembered for a stranger;
 * - media flows if, and only if, its sender is the stream's publisher at a registered place and somebody is mapped;
 * - and no state is without a way out: left alone, the relay forgets all of it. */

#include <string.h>

#include "promises.h"

#define SEQUENCE_MAX 24

/* Where they are, and where they go. */
#define CAMERA_HOME 0
#define CAMERA_AWAY 1
#define VIEWER_HOME 2
#define VIEWER_AWAY 3
#define THIEF       5

static guint16 seq;

/* ---- Events ------------------------------------------------------------ */

static void
make_camera (void)
{
  small_add (SMALL_CAMERA, 0, FALSE);
}

static void
make_viewer (void)
{
  small_add (SMALL_VIEWER, 0, FALSE);
}

static void
describe (void)
{
  small_describe (SMALL_CAMERA, 3, 7, TRUE);
}

/* As after a restart. */
static void
describe_nothing (void)
{
  small_describe (SMALL_CAMERA, 0, 0, FALSE);
}

static void
end_camera (void)
{
  small_end_session (SMALL_CAMERA, NAT_REASON_ENDED);
}

static void
end_viewer (void)
{
  small_end_session (SMALL_VIEWER, NAT_REASON_REVOKED);
}

static void
bind_camera (void)
{
  small_bind (SMALL_CAMERA, CAMERA_HOME, SMALL_SELECT, TRUE);
}

static void
move_camera (void)
{
  small_bind (SMALL_CAMERA, CAMERA_AWAY, SMALL_SELECT, TRUE);
}

static void
bind_viewer (void)
{
  small_bind (SMALL_VIEWER, VIEWER_HOME, SMALL_SELECT, TRUE);
}

static void
move_viewer (void)
{
  small_bind (SMALL_VIEWER, VIEWER_AWAY, SMALL_SELECT, TRUE);
}

static void
probe_viewer (void)
{
  small_bind (SMALL_VIEWER, VIEWER_AWAY, 0, TRUE);
}

static void
keep_viewer (void)
{
  small_bind (SMALL_VIEWER, VIEWER_HOME, SMALL_SELECT, FALSE);
}

static void
new_life (void)
{
  if (small_is_known (SMALL_VIEWER))
    small_new_epoch (SMALL_VIEWER);
  bind_viewer ();
}

static void
forge (void)
{
  small_bind (SMALL_VIEWER, VIEWER_AWAY, SMALL_SELECT | SMALL_WRONG_KEY, TRUE);
}

/* The viewer's own words, from elsewhere. */
static void
repeat_elsewhere (guint flags)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize len = small_request (SMALL_VIEWER, VIEWER_HOME, flags, buf);

  if (len > 0)
    small_deliver (THIEF, buf, len, len);
}

static void
steal (void)
{
  repeat_elsewhere (SMALL_SELECT);
}

static void
sneak_in (void)
{
  repeat_elsewhere (0);
}

static void
ask (void)
{
  small_challenge (THIEF, 200);
}

static void
ask_briefly (void)
{
  small_challenge (THIEF, 28);
}

static void
wait_a_little (void)
{
  small_pass (G_USEC_PER_SEC);
}

/* Twice is more than consent lasts. */
static void
wait_a_while (void)
{
  small_pass (16 * G_USEC_PER_SEC);
}

static void
wait_for_consent (void)
{
  small_pass (31 * G_USEC_PER_SEC);
}

static void
wait_for_ticket (void)
{
  small_pass (G_GINT64_CONSTANT (3700) * G_USEC_PER_SEC);
}

/* ---- What the relay knows ---------------------------------------------- */

static NatRoster *
roster (void)
{
  return small.workers[0]->roster;
}

static NatDataStream *
stream (void)
{
  return g_hash_table_lookup (roster ()->streams, "room/a");
}

static NatPath *
path_of (guint place)
{
  NatPathKey key;

  memset (&key, 0, sizeof key);
  key.remote = *small_place (place);
  key.local = *nat_dataplane_local (small.dp, 0);
  return nat_roster_find_path (roster (), &key);
}

static const char *
tell_age (gint64 us)
{
  gint64 age_s = (small.now_us - us) / G_USEC_PER_SEC;

  return age_s > 25 ? " long ago" : age_s > 10 ? " a while ago" : "";
}

static void
tell_session (GString *out, SmallActor actor)
{
  const guint8 *id = small_ticket (actor)->session_id;
  const NatDataSession *s = nat_roster_find (roster (), id);
  NatReason ended = nat_roster_ended (roster (), id);

  g_string_append_printf (out, " known=%d ended=%u", small_is_known (actor), ended);
  if (!s)
    return;
  g_string_append_printf (out, " state=%u epoch=%u srtcp=%d%d selected=", s->state, s->has_epoch,
      s->from_client != NULL, s->to_client != NULL);
  for (guint place = 0; place < SMALL_PLACES; place++) {
    const NatPath *path = path_of (place);

    if (s->selected && s->selected == path)
      g_string_append_printf (out, "%u", place);
  }
  g_string_append (out, " paths=");
  for (guint place = 0; place < SMALL_PLACES; place++) {
    const NatPath *path = path_of (place);

    if (path && path->session == s)
      g_string_append_printf (out, "%u%s,", place, tell_age (path->valid_us));
  }
}

static char *
tell_state (void)
{
  const NatDataStream *st = stream ();
  GString *out = g_string_new ("camera:");

  tell_session (out, SMALL_CAMERA);
  g_string_append (out, " viewer:");
  tell_session (out, SMALL_VIEWER);
  if (st)
    g_string_append_printf (out, " stream: version=%u tracks=%u named=%u published=%d receivers=%u",
        st->version, st->n_tracks, st->has_publisher, st->publisher != NULL, st->receivers->n);
  return g_string_free (out, FALSE);
}

/* ---- Media ------------------------------------------------------------- */

static gboolean
should_flow (guint place)
{
  const NatPath *path = path_of (place);
  const NatDataStream *st = stream ();

  return st && path && path->session == st->publisher && st->version != 0 && st->n_tracks > 0 &&
         st->receivers->n > 0;
}

static void
send_media (guint place)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize len = small_write_rtp (buf, 200, SMALL_A_VIDEO, ++seq, FALSE);
  gboolean flows = should_flow (place);
  guint64 before = small.rtp_sent;

  small_deliver (place, buf, len, len);
  g_assert_cmpuint (small.rtp_sent - before, ==, flows);
}

static void
send_from_home (void)
{
  send_media (CAMERA_HOME);
}

static void
send_from_away (void)
{
  send_media (CAMERA_AWAY);
}

static void
send_as_thief (void)
{
  send_media (THIEF);
}

/* ---- The walk ---------------------------------------------------------- */

typedef struct {
  const char *name;
  void (*run) (void);
} Event;

#define EVENT(what)                                                                                \
  {                                                                                                \
#what, what                                                                                    \
  }

typedef struct {
  const Event *events;
  guint n_events;
  void (*prepare) (void);
  GHashTable *seen; /* of states */
  GQueue todo;      /* GBytes: the shortest way to each, as indices of events */
  guint arrows, longest;
  gboolean flowed;
} Walk;

static void
go (const Walk *walk, const guint8 *way, gsize n)
{
  seq = 0;
  small_begin (1);
  if (walk->prepare)
    walk->prepare ();
  for (gsize i = 0; i < n; i++)
    walk->events[way[i]].run ();
}

/* TRUE: nobody was here before. */
static gboolean
arrive (Walk *walk, const guint8 *way, gsize n)
{
  char *state = tell_state ();
  gboolean is_new = g_hash_table_add (walk->seen, state);

  walk->flowed |= small.rtp_sent > 0;
  if (is_new)
    g_queue_push_tail (&walk->todo, g_bytes_new (way, n));
  return is_new;
}

/* Each way ends with all that is forgotten. */
static void
leave (void)
{
  small_finish ();
  g_assert_null (stream ());
  small_end ();
}

static void
try_all (Walk *walk, GBytes *from)
{
  guint8 way[SEQUENCE_MAX];
  gsize n;
  const guint8 *known = g_bytes_get_data (from, &n);

  g_assert_cmpuint (n, <, SEQUENCE_MAX);
  if (n > 0)
    memcpy (way, known, n);
  walk->longest = MAX (walk->longest, (guint)n);
  for (guint i = 0; i < walk->n_events; i++) {
    way[n] = (guint8)i;
    go (walk, way, n + 1);
    walk->arrows++;
    if (arrive (walk, way, n + 1))
      leave ();
    else
      small_end ();
  }
}

static void
walk_all (Walk *walk, guint at_least)
{
  GBytes *from;

  walk->seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_queue_init (&walk->todo);
  go (walk, NULL, 0);
  arrive (walk, NULL, 0);
  leave ();
  while ((from = g_queue_pop_head (&walk->todo))) {
    try_all (walk, from);
    g_bytes_unref (from);
  }
  g_test_message ("%u states, %u arrows, %u events to the farthest", g_hash_table_size (walk->seen),
      walk->arrows, walk->longest);
  g_assert_cmpuint (g_hash_table_size (walk->seen), >=, at_least);
  g_assert_true (walk->flowed);
  g_hash_table_unref (walk->seen);
}

static void
a_film_runs (void)
{
  make_camera ();
  describe ();
  bind_camera ();
}

static void
somebody_watches (void)
{
  make_viewer ();
  bind_viewer ();
}

static void
test_viewer (void)
{
  static const Event events[] = {EVENT (make_viewer), EVENT (bind_viewer), EVENT (move_viewer),
      EVENT (probe_viewer), EVENT (keep_viewer), EVENT (new_life), EVENT (forge), EVENT (steal),
      EVENT (sneak_in), EVENT (ask), EVENT (ask_briefly), EVENT (wait_a_while),
      EVENT (send_from_home), EVENT (send_as_thief), EVENT (end_viewer), EVENT (wait_a_little),
      EVENT (bind_camera), EVENT (wait_for_consent), EVENT (wait_for_ticket)};
  Walk walk = {.events = events, .n_events = G_N_ELEMENTS (events), .prepare = a_film_runs};

  walk_all (&walk, 20);
}

static void
test_camera (void)
{
  static const Event events[] = {EVENT (make_camera), EVENT (describe), EVENT (describe_nothing),
      EVENT (bind_camera), EVENT (move_camera), EVENT (send_from_home), EVENT (send_from_away),
      EVENT (send_as_thief), EVENT (end_camera), EVENT (wait_a_little), EVENT (bind_viewer),
      EVENT (wait_for_consent), EVENT (wait_for_ticket)};
  Walk walk = {.events = events, .n_events = G_N_ELEMENTS (events), .prepare = somebody_watches};

  walk_all (&walk, 20);
}

/* Both, each with one place. */
static void
test_both (void)
{
  static const Event events[] = {EVENT (make_camera), EVENT (make_viewer), EVENT (describe),
      EVENT (bind_camera), EVENT (bind_viewer), EVENT (send_from_home), EVENT (end_camera),
      EVENT (end_viewer), EVENT (wait_for_consent)};
  Walk walk = {.events = events, .n_events = G_N_ELEMENTS (events)};

  walk_all (&walk, 30);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/walk/viewer", test_viewer);
  g_test_add_func ("/walk/camera", test_camera);
  g_test_add_func ("/walk/both", test_both);
  return g_test_run ();
}
