/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The worker's memory by itself, on a clock of the test's own: what is forgotten and when. */

#include "natserver/data/roster.h"

#include <malloc.h>
#include <string.h>

#define HOUR_US ((gint64)NAT_TICKET_LIFETIME_S * G_USEC_PER_SEC)

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
  nat_roster_prune (r, 2, 99);
  g_assert_cmpuint (g_hash_table_size (r->sessions), ==, 3);
  g_assert_cmpint (nat_roster_ended (r, gone), ==, NAT_REASON_REVOKED);
  /* Tickets are over: only who is registered stays, until its consent ends. */
  nat_roster_prune (r, 2, 100);
  g_assert_cmpuint (g_hash_table_size (r->sessions), ==, 1);
  g_assert_true (nat_roster_find (r, registered->id) == registered);
  g_assert_cmpint (nat_roster_ended (r, gone), ==, NAT_REASON_NONE);
  g_assert_cmpuint (r->live->len, ==, 1);
  nat_roster_free (r);
}

/* Whoever registers and leaves again and again fills no memory, and no key is used twice for it. */
static void
test_dormant_are_bounded (void)
{
  NatRoster *r = nat_roster_new ();
  NatTicket t = ticket (1, NAT_ROLE_SUBSCRIBER, 100);
  NatDataSession *first = NULL;

  for (guint i = 0; i < NAT_DORMANT_MAX + 3; i++) {
    NatSessionCounters *c = nat_session_counters_new ();
    NatDataSession *s;

    memcpy (t.session_id, &i, sizeof i);
    s = nat_roster_add (r, &t, c, 1);
    first = first ? first : s;
    nat_session_counters_unref (c);
    nat_roster_sleep (r, s, 1);
    nat_roster_settle (r);
    g_assert_cmpint (nat_roster_ended (r, t.session_id), ==,
        i < NAT_DORMANT_MAX ? NAT_REASON_NONE : NAT_REASON_EXPIRED);
  }
  g_assert_cmpuint (g_hash_table_size (r->sessions), ==, NAT_DORMANT_MAX);
  g_assert_cmpuint (r->n_dormant, ==, NAT_DORMANT_MAX);
  nat_roster_wake (r, first);
  g_assert_cmpuint (r->n_dormant, ==, NAT_DORMANT_MAX - 1);
  nat_roster_prune (r, 2, 100);
  g_assert_cmpuint (r->n_dormant, ==, 0);
  g_assert_cmpuint (g_hash_table_size (r->ended), ==, 0);
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
  from->n_dormant = NAT_DORMANT_MAX; /* full: the next is forgotten */
  nat_roster_sleep (from, lost, 5);
  from->n_dormant = 0;
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
  g_assert_cmpuint (from->live->len + from->n_dormant + from->active.length, ==, 0);
  g_assert_null (nat_roster_find_path (from, &two.key));
  g_assert_false (nat_roster_has_stream (from, "door"));
  nat_roster_attach (to, stream);
  nat_roster_settle (to);
  g_assert_true (nat_roster_find (to, p->id) == p && nat_roster_find (to, s->id) == s);
  g_assert_cmpuint (to->n_dormant, ==, 1);
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

static void
test_empty_stream (void)
{
  static const NatTracks tracks = {1, {{42, 96, 90000, "video"}}};
  NatRoster *r = nat_roster_new ();
  NatDataSession *s = add (r, 1, NAT_ROLE_PUBLISHER, 100);
  NatDataStream *stream = s->stream;

  nat_roster_describe (r, stream, &tracks);
  nat_roster_activate (r, stream);
  nat_roster_prune (r, 10 * HOUR_US, 1);
  g_assert_cmpuint (g_hash_table_size (r->streams), ==, 1);
  nat_roster_remove (r, s, 10 * HOUR_US);
  nat_roster_settle (r);
  nat_roster_prune (r, 11 * HOUR_US - 1, 1);
  g_assert_cmpuint (g_hash_table_size (r->streams), ==, 1);
  g_assert_true (nat_roster_ssrc_announced (r, 42));
  nat_roster_prune (r, 11 * HOUR_US, 1);
  g_assert_cmpuint (g_hash_table_size (r->streams), ==, 0);
  g_assert_false (nat_roster_ssrc_announced (r, 42));
  g_assert_null (r->active.head);
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

  nat_roster_set_publisher (r, stream, p->id);
  g_assert_true (stream->publisher == p);
  nat_roster_describe (r, stream, &first);
  nat_reception_update (&nat_roster_track (stream, 2)->reception, &h, 1);
  nat_roster_describe (r, stream, &second);
  g_assert_null (nat_roster_track (stream, 1));
  g_assert_false (nat_roster_ssrc_announced (r, 1));
  /* What stayed goes on counting, and knows what it saw. */
  g_assert_cmpuint (nat_roster_track (stream, 2)->reception.seq.received, ==, 1);
  nat_reception_update (&nat_roster_track (stream, 2)->reception, &h, 1);
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
  nat_roster_renew (s, &t, 1);
  g_assert_cmpint (s->expires_s, ==, 200);
  g_assert_cmpint (s->rate->rate, ==, 1000);
  /* The older ticket is still good for a Binding, but does not take back what the newer said. */
  t.expires_s = 100;
  t.max_kbps = 0;
  nat_roster_renew (s, &t, 1);
  g_assert_cmpint (s->expires_s, ==, 200);
  g_assert_cmpint (s->rate->rate, ==, 1000);
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
  g_test_add_func ("/roster/dormant-are-bounded", test_dormant_are_bounded);
  g_test_add_func ("/roster/change-rosters", test_change_rosters);
  g_test_add_func ("/roster/empty-stream", test_empty_stream);
  g_test_add_func ("/roster/generations", test_generations);
  g_test_add_func ("/roster/describe", test_describe);
  g_test_add_func ("/roster/renew", test_renew);
  g_test_add_func ("/roster/many", test_many);
  return g_test_run ();
}
