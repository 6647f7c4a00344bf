/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Which stream an SSRC belongs to, and what it costs to know that. */

#include "natserver/data/tracks.h"

#include <string.h>
#include <time.h>

#include "natproto/crypto.h"
#include "natserver/data/room.h"

#define CHOSEN 8191u /* leaves no rest in GLib's tables of some thousand */

static NatDataSession *
add (NatRoster *r, NatRole role, const char *stream)
{
  static guint number;
  NatSessionCounters *c = nat_session_counters_new ();
  NatTicket t = {.role = role, .expires_s = 100};
  NatDataSession *s;

  number++;
  memcpy (t.session_id, &number, sizeof number);
  g_strlcpy (t.stream, stream, sizeof t.stream);
  s = nat_roster_add (r, &t, c, 1);
  nat_session_counters_unref (c);
  return s;
}

static NatDataSession *
publish (NatRoster *r, guint number)
{
  g_autofree char *name = g_strdup_printf ("room/%03u", number);
  NatDataSession *s = add (r, NAT_ROLE_PUBLISHER, name);

  nat_roster_set_publisher (r, s->stream, s->id);
  return s;
}

static NatDataSession *
watch (NatRoster *r)
{
  return add (r, NAT_ROLE_SUBSCRIBER, "room/*");
}

static NatDataTrack *
described (NatRoster *r, NatDataSession *publisher, guint32 ssrc)
{
  NatTracks tracks = {1, {{ssrc, 96, 90000, "video"}}};

  publisher->stream->version = 1;
  nat_roster_describe (r, publisher->stream, &tracks);
  return &publisher->stream->tracks[0];
}

static guint drawn;

void __real_nat_crypto_random (gpointer out, gsize len);
void __wrap_nat_crypto_random (gpointer out, gsize len);
void
__wrap_nat_crypto_random (gpointer out, gsize len)
{
  drawn++;
  __real_nat_crypto_random (out, len);
}

/* The tables of all workers share it. Were it drawn at the first SSRC, two workers could do so at a time, and one of them had its first
 * streams under a hash that is another since. It is the first test: nobody has drawn it before. */
static void
test_secret_before_threads (void)
{
  NatRoster *r = nat_roster_new ();

  drawn = 0;
  nat_tracks_hash (GUINT_TO_POINTER (7));
  g_assert_cmpuint (drawn, ==, 0);
  nat_roster_free (r);
}

/* Control lets no two streams have an SSRC. But one that it has no description of any more keeps its tracks until it is
 * described anew, and may be the older one in a room. */
static void
test_same_ssrc (void)
{
  NatRoster *r = nat_roster_new (), *to = nat_roster_new ();
  NatDataSession *watcher = watch (r), *p[2] = {publish (r, 1), publish (r, 2)};
  NatDataStream *stream;
  NatDataTrack *track;

  track = described (r, p[0], 42);
  g_assert_true (nat_room_track (r, watcher, 42, &stream) == track);
  p[0]->stream->version = 0;
  g_assert_null (nat_room_track (r, watcher, 42, &stream));
  track = described (r, p[1], 42);
  g_assert_true (nat_room_track (r, watcher, 42, &stream) == track);
  g_assert_true (stream == p[1]->stream);
  described (r, p[0], 43);
  g_assert_true (nat_room_track (r, watcher, 42, &stream) == track);
  nat_room_set_exclude (watcher, p[1]->stream->hash);
  g_assert_null (nat_room_track (r, watcher, 42, &stream));
  nat_room_set_exclude (watcher, 0);
  /* It goes with its tracks, and the other stays. */
  stream = p[1]->stream;
  nat_roster_detach (r, stream);
  nat_roster_attach (to, stream);
  g_assert_null (nat_room_track (r, watcher, 42, &stream));
  g_assert_nonnull (nat_room_track (r, watcher, 43, &stream));
  watcher = watch (to);
  g_assert_true (nat_room_track (to, watcher, 42, &stream) == track);
  nat_roster_free (r);
  nat_roster_free (to);
}

/* Both go to another worker, one after the other, and the publisher of one has left. */
static void
test_moved (gconstpointer left_first)
{
  NatRoster *r = nat_roster_new (), *to = nat_roster_new ();
  NatDataSession *watcher = watch (to), *p[2] = {publish (r, 1), publish (r, 2)};
  NatDataStream *streams[2] = {p[0]->stream, p[1]->stream}, *stream;

  described (r, p[0], 42);
  nat_roster_remove (r, p[0], 1);
  described (r, p[1], 42);
  for (guint i = 0; i < 2; i++) {
    stream = streams[left_first ? i : 1 - i];
    nat_roster_detach (r, stream);
    nat_roster_attach (to, stream);
  }
  g_assert_true (nat_room_track (to, watcher, 42, &stream) == &streams[1]->tracks[0]);
  nat_roster_free (r);
  nat_roster_free (to);
}

/* Nanoseconds of CPU for as many look-ups as a compound has things to say, the best of some. */
static gint64
cost_of_compound (NatRoster *r, const NatDataSession *watcher, guint32 ssrc)
{
  gint64 best = G_MAXINT64;

  for (guint i = 0; i < 20; i++) {
    struct timespec before, after;
    NatDataStream *stream;

    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &before);
    for (guint k = 0; k < 64; k++)
      g_assert_nonnull (nat_room_track (r, watcher, ssrc, &stream));
    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &after);
    best = MIN (
        best, (gint64)(after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec);
  }
  return best;
}

/* What is said about a source costs about the same in a room of a thousand of them. */
static void
test_many_sources (void)
{
  NatRoster *r = nat_roster_new ();
  NatDataSession *watcher = watch (r), *s;
  NatTracks tracks = {.n_tracks = NAT_TRACKS_MAX};
  gint64 one = 0, all = 0;

  for (guint i = 0; i < NAT_ROOM_STREAMS_MAX; i++) {
    s = publish (r, i + 1);
    s->stream->version = 1;
    for (guint k = 0; k < NAT_TRACKS_MAX; k++)
      tracks.tracks[k] = (NatTrack){1 + i * NAT_TRACKS_MAX + k, 96, 90000, "video"};
    nat_roster_describe (r, s->stream, &tracks);
    if (i == 0)
      one = cost_of_compound (r, watcher, 1);
  }
  all = cost_of_compound (r, watcher, NAT_ROOM_STREAMS_MAX * NAT_TRACKS_MAX);
  g_test_message ("%" G_GINT64_FORMAT " ns, of one %" G_GINT64_FORMAT, all, one);
  g_assert_cmpint (all, <, 30 * one);
  nat_roster_free (r);
}

/* Nanoseconds of CPU for a thousand datagrams of strangers. */
static gint64
cost_of_strangers (NatRoster *r)
{
  struct timespec before, after;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &before);
  for (guint32 k = 0; k < 1000; k++)
    g_assert_false (nat_roster_ssrc_announced (r, CHOSEN * (5000 + k)));
  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &after);
  return (gint64)(after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
}

/* Publishers who choose their SSRCs so that a table's places fill up in a row, as GLib's would, make no work of what strangers send. */
static void
test_chosen_sources (void)
{
  NatRoster *r = nat_roster_new ();
  NatTracks tracks = {.n_tracks = NAT_TRACKS_MAX};
  gint64 few = G_MAXINT64, many = G_MAXINT64;
  guint32 ssrc = 0;

  for (guint i = 0; i < 20; i++)
    few = MIN (few, cost_of_strangers (r));
  for (guint i = 0; i < 256; i++) {
    NatDataSession *s = publish (r, i + 1);

    for (guint k = 0; k < NAT_TRACKS_MAX; k++)
      tracks.tracks[k] = (NatTrack){ssrc += CHOSEN, 96, 90000, "video"};
    nat_roster_describe (r, s->stream, &tracks);
  }
  for (guint i = 0; i < 20; i++)
    many = MIN (many, cost_of_strangers (r));
  g_test_message ("%" G_GINT64_FORMAT " ns, and %" G_GINT64_FORMAT, few, many);
  g_assert_cmpint (many, <, 30 * few);
  nat_roster_free (r);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tracks/secret-before-threads", test_secret_before_threads);
  g_test_add_func ("/tracks/same-ssrc", test_same_ssrc);
  g_test_add_data_func ("/tracks/moved-first", GINT_TO_POINTER (TRUE), test_moved);
  g_test_add_data_func ("/tracks/moved-last", GINT_TO_POINTER (FALSE), test_moved);
  g_test_add_func ("/tracks/many-sources", test_many_sources);
  g_test_add_func ("/tracks/chosen-sources", test_chosen_sources);
  return g_test_run ();
}
