/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whoever joins gets the edges, then what is kept since the last picture, at its pace, once. */

#include <string.h>

#include "bareworker.h"
#include "datarelay.h"
#include "natproto/rtcp.h"
#include "natproto/rtcpapp.h"
#include "natserver/data/command.h"
#include "natserver/data/headstart.h"
#include "natserver/data/historypool.h"
#include "natserver/data/repair.h"
#include "natserver/data/room.h"

#define QUIET_MS 150
#define RECEIVER 0xabcdef01u
#define SIZE     1200
#define MARK_ID  14
#define START    0xa0 /* S and I */

typedef struct {
  DataRelay *r;
  NatTicket ticket;
  NatProbe *publisher;
} Fixture;

static void
describe (Fixture *f, guint32 version)
{
  const NatTracks tracks = {2, {{VIDEO_SSRC, 96, 90000, "video", FALSE, MARK_ID},
                                   {AUDIO_SSRC, 97, 48000, "audio", FALSE, 0}}};

  g_assert_true (nat_dataplane_set_description (
      f->r->dp, STREAM, &tracks, version, version == 2 ? f->ticket.session_id : NULL));
  g_assert_cmpint (
      nat_probe_indication (f->publisher, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
}

static void
set_up_with (Fixture *f, const NatDataTimes *times)
{
  f->r = data_relay_new ("127.0.0.1", FALSE, times);
  f->publisher = data_relay_publish (f->r, &f->ticket, NULL);
  describe (f, 2);
}

/* The stream stays where it is. */
static void
set_up (Fixture *f)
{
  NatDataTimes times;

  data_relay_default_times (&times);
  times.move_us = (gint64)3600 * G_USEC_PER_SEC;
  set_up_with (f, &times);
}

static void
tear_down (Fixture *f)
{
  nat_probe_free (f->publisher);
  data_relay_free (f->r);
}

/* A subscriber that wants a picture at once. */
static NatProbe *
join (Fixture *f, NatTicket *ticket)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatProbe *p;

  *ticket = data_relay_ticket (f->r, NAT_ROLE_SUBSCRIBER);
  p = data_relay_probe (f->r, ticket);
  g_assert_true (nat_dataplane_add_session (f->r->dp, ticket, c, &(NatWishes){.headstart = TRUE}));
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  nat_session_counters_unref (c);
  return p;
}

static void
write_video (guint8 *rtp, guint16 seq, guint8 mark)
{
  static const guint8 extension[] = {0xbe, 0xde, 0, 1, MARK_ID << 4, 0, 0, 0};

  nat_probe_write_rtp (rtp, SIZE, VIDEO_SSRC, seq, seq * 3000u);
  rtp[0] |= 0x10;
  memcpy (rtp + 12, extension, sizeof extension);
  rtp[17] = mark;
}

static void
send_video (Fixture *f, guint16 seq, guint8 mark)
{
  guint8 rtp[SIZE];

  write_video (rtp, seq, mark);
  nat_probe_send (f->publisher, rtp, sizeof rtp);
}

/* Packets from first up to last, of which the first starts a picture. */
static void
send_picture (Fixture *f, guint16 first, guint16 last)
{
  for (guint16 seq = first; seq != (guint16)(last + 1); seq++) {
    send_video (f, seq, seq == first ? START : 0x80);
    if (seq % 32 == 0)
      data_relay_sync (f->r); /* the socket's buffer is not endless */
  }
  data_relay_sync (f->r);
}

static void
assert_video (NatProbe *p, guint16 seq, guint8 mark)
{
  guint8 rtp[SIZE], got[NAT_DATAGRAM_MAX];

  write_video (rtp, seq, mark);
  g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, SIZE);
  g_assert_cmpuint ((guint)got[2] << 8 | got[3], ==, seq);
  g_assert_cmpmem (got, SIZE, rtp, SIZE);
}

static void
assert_no_rtp (NatProbe *p)
{
  guint8 got[NAT_DATAGRAM_MAX];

  g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, got, QUIET_MS), ==, -1);
}

/* The next EDGE; *reports: the sender reports in front of it. Returns how many edges, 0: none in time. */
static guint
hear_edges (NatProbe *p, NatLiveEdge edges[NAT_TRACKS_MAX], guint *reports, guint timeout_ms)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gssize len;

  while ((len = nat_probe_receive_rtcp (p, buf, timeout_ms)) > 0) {
    NatRtcpPacket packet;
    NatRtcpIter it;

    *reports = 0;
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (nat_rtcp_iter_next (&it, &packet)) {
      guint n = nat_rtcp_edges (&packet, edges);

      *reports += packet.type == NAT_RTCP_SR;
      if (n > 0)
        return n;
    }
  }
  return 0;
}

static gboolean
hears_pli (Fixture *f, guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;
  guint8 buf[NAT_DATAGRAM_MAX];
  NatRtcpPacket packet;
  NatRtcpIter it;
  gssize len;

  do {
    gint64 left = MAX (end - g_get_monotonic_time (), 0);

    len = nat_probe_receive_rtcp (f->publisher, buf, (guint)(left / 1000));
    if (len <= 0)
      return FALSE;
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (nat_rtcp_iter_next (&it, &packet)) {
      if (packet.type == NAT_RTCP_PSFB && packet.count == NAT_RTCP_FMT_PLI)
        return TRUE;
    }
  } while (TRUE);
}

static void
send_report (Fixture *f)
{
  guint8 buf[28 + NAT_SRTCP_OVERHEAD + 64] = {0x80, 200, 0, 6};

  for (guint i = 0; i < 4; i++)
    buf[4 + i] = (guint8)(VIDEO_SSRC >> (24 - 8 * i));
  buf[8] = 1;
  nat_probe_send_rtcp (f->publisher, buf, 28);
  data_relay_sync (f->r);
}

static gboolean
rtp_came_before (const NatProbe *p)
{
  for (GList *link = p->inbox.head; link; link = link->next) {
    gsize len;
    const guint8 *data = g_bytes_get_data (link->data, &len);

    if (nat_demux (data, len) == NAT_PACKET_RTP)
      return TRUE;
  }
  return FALSE;
}

/* Edges first, and twice, then the past in its order, then what is live; nothing of the sound, and no request. */
static void
test_joins (void)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  guint8 audio[200], pli[200];
  NatTicket ticket;
  guint reports;
  NatProbe *p;
  gsize len;
  Fixture f;

  set_up (&f);
  send_picture (&f, 65500, 65529);
  send_picture (&f, 65530, 3); /* the last picture counts; over the wrap */
  nat_probe_write_rtp (audio, sizeof audio, AUDIO_SSRC, 7, 960);
  nat_probe_send (f.publisher, audio, sizeof audio);
  send_report (&f);
  p = join (&f, &ticket);
  g_assert_cmpuint (hear_edges (p, edges, &reports, NAT_PROBE_WAIT_MS), ==, 2);
  g_assert_cmpuint (reports, ==, 1);
  g_assert_cmpuint (edges[0].ssrc, ==, VIDEO_SSRC);
  g_assert_cmpuint (edges[0].seq, ==, 3);
  g_assert_cmpuint (edges[0].timestamp, ==, 3 * 3000);
  g_assert_cmpuint (edges[0].behind, ==, 10);
  g_assert_cmpuint (edges[1].ssrc, ==, AUDIO_SSRC);
  g_assert_cmpuint (edges[1].seq, ==, 7);
  g_assert_cmpuint (edges[1].behind, ==, 0);
  g_assert_cmpuint (hear_edges (p, edges, &reports, NAT_PROBE_WAIT_MS), ==, 2);
  g_assert_false (rtp_came_before (p));
  for (guint16 seq = 65530; seq != 4; seq++)
    assert_video (p, seq, seq == 65530 ? START : 0x80);
  send_video (&f, 4, 0x80);
  assert_video (p, 4, 0x80);
  assert_no_rtp (p);
  g_assert_false (hears_pli (&f, QUIET_MS));
  g_assert_cmpuint (DATA_RELAY_COUNT (f.r, headstarts), ==, 1);
  g_assert_cmpuint (DATA_RELAY_COUNT (f.r, headstart_packets), ==, 10);

  /* It asks itself, as depayloaders do at their start: it has one already. */
  len = nat_rtcp_write_rr (pli, sizeof pli, RECEIVER, NULL, 0);
  len += nat_rtcp_write_pli (pli + len, sizeof pli - len, RECEIVER, VIDEO_SSRC);
  nat_probe_send_rtcp (p, pli, len);
  g_assert_false (hears_pli (&f, QUIET_MS));

  /* Once: neither a Binding more nor another address brings it again. */
  nat_probe_rebind (p, "127.0.0.1");
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  assert_no_rtp (p);
  nat_probe_free (p);
  tear_down (&f);
}

/* Who does not want it, and where nothing is kept: the publisher is asked, as ever. */
static void
test_without (gconstpointer data)
{
  gboolean wanted = GPOINTER_TO_INT (data);
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatTicket ticket;
  guint reports;
  NatProbe *p;
  Fixture f;

  set_up (&f);
  if (wanted) {
    for (guint16 seq = 1; seq < 5; seq++)
      send_video (&f, seq, 0x80);
    data_relay_sync (f.r);
    p = join (&f, &ticket);
    g_assert_cmpuint (hear_edges (p, edges, &reports, NAT_PROBE_WAIT_MS), ==, 1);
    g_assert_cmpuint (edges[0].behind, ==, 0);
  } else {
    send_picture (&f, 1, 4);
    p = data_relay_subscribe (f.r, NULL, NULL);
    g_assert_cmpuint (hear_edges (p, edges, &reports, QUIET_MS), ==, 0);
  }
  g_assert_true (hears_pli (&f, NAT_PROBE_WAIT_MS));
  assert_no_rtp (p);
  send_video (&f, 5, 0x80);
  assert_video (p, 5, 0x80);
  g_assert_cmpuint (DATA_RELAY_COUNT (f.r, headstarts), ==, 0);
  nat_probe_free (p);
  tear_down (&f);
}

/* Turn by turn, by the worker's own clock: 60 packets of 1200 bytes take 22 ms at 20 Mbit/s, or longer on a busy machine. A
 * socket takes so many also where nobody looks into it meanwhile. */
static void
test_turns (void)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatTicket ticket;
  guint reports;
  gint64 begin;
  NatProbe *p;
  Fixture f;

  set_up (&f);
  send_picture (&f, 1, 60);
  /* From before the first could come: they may have come before we look. */
  begin = g_get_monotonic_time ();
  p = join (&f, &ticket);
  g_assert_cmpuint (hear_edges (p, edges, &reports, NAT_PROBE_WAIT_MS), ==, 1);
  g_assert_cmpuint (edges[0].behind, ==, 60);
  for (guint16 seq = 1; seq <= 60; seq++)
    assert_video (p, seq, seq == 1 ? START : 0x80);
  g_assert_cmpint (g_get_monotonic_time () - begin, >, 20 * 1000);
  nat_probe_free (p);
  tear_down (&f);
}

/* In the middle of it the session ends, its stream gets other sources, or the relay stops. */
static void
test_ends (gconstpointer data)
{
  const char *how = data;
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatTicket ticket;
  guint reports;
  NatProbe *p;
  Fixture f;

  set_up (&f);
  send_picture (&f, 1, 600);
  p = join (&f, &ticket);
  g_assert_cmpuint (hear_edges (p, edges, &reports, NAT_PROBE_WAIT_MS), ==, 1);
  assert_video (p, 1, START);
  if (strcmp (how, "session") == 0) {
    g_assert_true (
        nat_dataplane_end_session (f.r->dp, ticket.session_id, NAT_REASON_ENDED, ticket.expires_s));
  } else if (strcmp (how, "tracks") == 0) {
    data_relay_describe (f.r, 3, NULL);
    g_assert_true (nat_dataplane_set_description (f.r->dp, STREAM,
        &(NatTracks){1, {{VIDEO_SSRC + 1, 96, 90000, "video", FALSE, MARK_ID}}}, 4, NULL));
  }
  if (strcmp (how, "relay") != 0) {
    data_relay_sync (f.r);
    for (guint i = 0; i < 600; i++) {
      guint8 got[NAT_DATAGRAM_MAX];

      if (nat_probe_receive (p, NAT_PACKET_RTP, got, QUIET_MS) < 0)
        break;
    }
    g_assert_cmpuint (DATA_RELAY_COUNT (f.r, headstart_packets), <, 600);
  }
  nat_probe_free (p);
  tear_down (&f);
}

/* ---- From worker to worker --------------------------------------------- */

/* Until the owner hears the publisher itself: nothing more is passed on for its media. */
static void
wait_for_owner (Fixture *f, NatProbe *watcher, guint16 *seq)
{
  gint64 end = g_get_monotonic_time () + NAT_PROBE_WAIT_MS * 1000;
  guint64 before;

  do {
    data_relay_drain_events (f->r);
    g_usleep (5000); /* no more of them than go along */
    before = DATA_RELAY_COUNT (f->r, passed_on);
    send_video (f, ++*seq, 0x80);
    assert_video (watcher, *seq, 0x80);
    g_assert_cmpint (g_get_monotonic_time (), <, end);
  } while (DATA_RELAY_COUNT (f->r, passed_on) > before);
}

static void
assert_repaired (NatProbe *p, guint16 seq)
{
  guint8 buf[200];
  gsize len = nat_rtcp_write_rr (buf, sizeof buf, RECEIVER, NULL, 0);
  guint n = 1;

  len += nat_rtcp_write_nack (buf + len, sizeof buf - len, RECEIVER, VIDEO_SSRC, &seq, &n);
  nat_probe_send_rtcp (p, buf, len);
  assert_video (p, seq, 0x80);
}

/* Another worker hears the publisher, and another: whoever joins gets the picture from before, and who lost a packet of then
 * gets that. */
static void
test_moves (void)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatProbe *watcher;
  guint16 seq = 40;
  NatDataTimes times;
  guint reports;
  Fixture f;

  data_relay_default_times (&times);
  times.move_us = 0;
  set_up_with (&f, &times);
  watcher = data_relay_subscribe (f.r, NULL, NULL);
  send_picture (&f, 1, seq);
  assert_video (watcher, 1, START);
  for (guint16 i = 2; i <= seq; i++)
    assert_video (watcher, i, 0x80);
  for (guint round = 0; round < 2 * data_relay_workers (); round++) {
    NatTicket ticket;
    NatProbe *p;

    data_relay_move (f.r, f.publisher, round % data_relay_workers ());
    g_assert_cmpint (nat_probe_bind (f.publisher, NAT_PROBE_SELECT), ==, 0);
    wait_for_owner (&f, watcher, &seq);
    assert_repaired (watcher, (guint16)(round + 2));
    p = join (&f, &ticket);
    g_assert_cmpuint (hear_edges (p, edges, &reports, NAT_PROBE_WAIT_MS), ==, 1);
    g_assert_cmpuint (edges[0].behind, ==, seq);
    for (guint16 i = 1; i <= seq; i++)
      assert_video (p, i, i == 1 ? START : 0x80);
    nat_probe_free (p);
  }
  g_assert_cmpuint (DATA_RELAY_COUNT (f.r, streams_moved), >=, 2 * data_relay_workers () - 1);
  nat_probe_free (watcher);
  tear_down (&f);
}

/* ---- With a clock of ours ---------------------------------------------- */

#define FILM_MS 2 /* between two packets */

typedef struct {
  NatWorker *w;
  NatDataSession *publisher;
  guint16 seq; /* of the last packet */
} Film;

static void
film_begin (Film *film)
{
  NatCommand c = {.type = NAT_COMMAND_DESCRIBE};
  NatAddress nobody;

  film->w = bare_worker_new ("127.0.0.1", 1024 * 1024);
  film->w->roster->pool = film->w->pool = nat_history_pool_new (64 * 1024 * 1024);
  g_assert_true (nat_address_from_text (&nobody, "127.0.0.1", 9));
  film->publisher = bare_worker_join (film->w, STREAM, NAT_ROLE_PUBLISHER, &nobody);
  film->seq = 0;
  strcpy (c.describe.stream, STREAM);
  c.describe.version = 2;
  c.describe.has_tracks = TRUE;
  c.describe.tracks = (NatTracks){1, {{VIDEO_SSRC, 96, 90000, "video", FALSE, MARK_ID}}};
  nat_command_apply (film->w, &c);
}

/* n packets, the first of which has that mark; time goes on. */
static void
film_play (Film *film, guint8 mark, guint n)
{
  NatWorker *w = film->w;
  guint8 rtp[SIZE];

  for (; n > 0; n--, mark = 0x80) {
    w->now_us += FILM_MS * 1000;
    write_video (rtp, ++film->seq, mark);
    nat_forward_receive (w, film->publisher->selected, rtp, sizeof rtp);
    nat_worker_flush (w);
    nat_headstart_run (w);
    if (film->seq % 32 == 0)
      nat_repair_tick (w, film->publisher->stream);
  }
}

static NatDataSession *
film_join_from (Film *film, const NatAddress *from)
{
  NatDataSession *s = bare_worker_join (film->w, STREAM, NAT_ROLE_SUBSCRIBER, from);

  s->wants_headstart = TRUE;
  g_assert_true (nat_headstart_prepare (film->w, s));
  nat_worker_flush (film->w);
  return s;
}

static NatDataSession *
film_join (Film *film, const NatProbe *p)
{
  return film_join_from (film, &p->local);
}

/* Of this turn: one live packet, and those of the past, of which *past was the last. */
static void
film_hear (Film *film, NatProbe *p, guint16 *past)
{
  guint sent = (guint)nat_counter_get (&film->w->counters->headstart_packets), n_live = 0;
  guint8 got[NAT_DATAGRAM_MAX];

  while (*past < sent || n_live == 0) {
    guint16 seq;

    g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, SIZE);
    seq = (guint16)((guint)got[2] << 8 | got[3]);
    if (seq == film->seq)
      n_live++;
    else
      g_assert_cmpuint (seq, ==, ++*past);
  }
  g_assert_cmpuint (n_live, ==, 1);
}

/* 600 packets take as long as 20 Mbit/s or four times the stream's rate want, and what is live does not wait for them. A
 * worker that was held up does not make up for it: the way to the receiver could not take that. */
static void
test_pace (void)
{
  static const struct {
    gint64 rate, pace; /* bytes per second */
    guint held_up_ms;
  } cases[] = {{0, 2500000, 0}, {0, 2500000, 100}, {2000000, 8000000, 0}, {2000000, 8000000, 100}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    gint64 ideal = 600 * SIZE * (gint64)1000 / (cases[i].pace / 1000), begin, took;
    guint most = MAX (16 * 1024, (guint)(cases[i].pace / 250)) / SIZE + 1; /* in one turn */
    guint16 past = 0, before;
    Film film;
    NatProbe *p;

    g_test_message ("case %u", i);
    film_begin (&film);
    p = nat_probe_new ("127.0.0.1", nat_udpio_local (film.w->io, 0));
    film_play (&film, START, 600);
    film.publisher->stream->rate = cases[i].rate;
    begin = film.w->now_us;
    film_join (&film, p);
    film.w->now_us += cases[i].held_up_ms * 1000;
    while (past < 600) {
      before = past;
      film_play (&film, 0x80, 1);
      film_hear (&film, p, &past);
      g_assert_cmpuint (past - before, <=, most);
    }
    took = film.w->now_us - begin - cases[i].held_up_ms * 1000;
    g_assert_cmpint (took, >=, ideal * 9 / 10);
    g_assert_cmpint (took, <=, ideal + 2 * FILM_MS * 1000);
    nat_probe_free (p);
    nat_worker_free (film.w);
  }
}

/* Whether a packet that was lost comes again. */
static gboolean
comes_again (Film *film, NatDataSession *s, guint16 seq)
{
  guint64 before = nat_counter_get (&s->counters->repairs_sent);
  guint8 nack[NAT_DATAGRAM_MAX];
  NatRtcpPacket packet;
  NatRtcpIter it;
  guint n = 1;

  g_assert_true (nat_rtcp_iter_init (
      &it, nack, nat_rtcp_write_nack (nack, sizeof nack, RECEIVER, VIDEO_SSRC, &seq, &n)));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  nat_repair_answer (film->w, s, &packet);
  return nat_counter_get (&s->counters->repairs_sent) > before;
}

/* Rooms whose people come and go: a place among those who are given a picture, and a share of the pace, is for each stream
 * that is published, and not for those that were. */
static void
test_left_streams (void)
{
  const guint left = 100, here = 2;
  NatWorker *w = bare_worker_new ("127.0.0.1", 65536);
  NatDataSession *s, *back = NULL, *last[2];
  NatDataStream *stream;
  NatAddress nobody;

  g_assert_true (nat_address_from_text (&nobody, "127.0.0.1", 9));
  for (guint i = 0; i < left + here; i++) {
    g_autofree char *name = g_strdup_printf ("room/%03u", i);

    s = bare_worker_join (w, name, NAT_ROLE_PUBLISHER, &nobody);
    s->stream->rate = 1000;
    last[i % here] = s;
    if (i >= left)
      continue;
    nat_roster_sleep (w->roster, s, w->now_us);
    back = s;
  }
  s = bare_worker_join (w, "room/*", NAT_ROLE_SUBSCRIBER, &nobody);
  s->wants_headstart = TRUE;
  g_assert_true (nat_headstart_prepare (w, s));
  g_assert_cmpuint (w->headstarts.length, ==, here);
  for (guint i = 0; i < here; i++)
    g_assert_true (nat_room_stream (s, i) == last[i]->stream);
  g_assert_null (nat_room_stream (s, here));
  g_assert_cmpint (nat_room_rate (s), ==, here * 1000);
  g_assert_nonnull (nat_room_track (w->roster, s, VIDEO_SSRC, &stream));
  g_assert_true (stream == last[1]->stream); /* which was described with it last */
  /* Who comes back is the oldest. */
  nat_roster_wake (w->roster, back);
  g_assert_true (nat_room_stream (s, 0) == back->stream);
  g_assert_cmpint (nat_room_rate (s), ==, (here + 1) * 1000);
  nat_roster_remove (w->roster, last[0], w->now_us);
  g_assert_true (nat_room_stream (s, 1) == last[1]->stream);
  g_assert_null (nat_room_stream (s, 2));
  nat_worker_free (w);
}

/* Its list waited, and is built when a command comes: its past is sent before what comes then, not behind it. */
static void
test_before_all_else (void)
{
  static const NatCommand other = {.type = NAT_COMMAND_DESCRIBE, .describe = {.stream = "a"}};
  NatDataSession *s;
  NatAddress from;
  Film film;

  film_begin (&film);
  g_assert_true (nat_address_from_text (&from, "127.0.0.1", 10));
  film_play (&film, START, 10);
  s = bare_worker_join (film.w, STREAM, NAT_ROLE_SUBSCRIBER, &from);
  nat_roster_mark_stale (film.w->roster, s->stream);
  s->wants_headstart = TRUE;
  g_assert_true (nat_headstart_prepare (film.w, s));
  film.w->roster->paid_us = film.w->now_us + 10000;
  nat_worker_flush (film.w);
  g_assert_true (s->stream->stale);
  film.w->now_us += 10000;
  g_assert_true (nat_ring_push (film.w->commands, &other));
  nat_worker_drain_commands (film.w);
  g_assert_false (s->stream->stale);
  g_assert_cmpuint (nat_counter_get (&film.w->counters->headstarts), ==, 1);
  nat_worker_free (film.w);
}

/* While others come and go all the time, there is always a list that is still to be built. Whoever joins elsewhere begins as soon as its
 * own is. */
static void
test_others_wait (void)
{
  NatDataSession *other[2], *s;
  NatDataStream *stream;
  NatAddress from;
  guint turns = 0;
  Film film;

  film_begin (&film);
  stream = film.publisher->stream;
  g_assert_true (nat_address_from_text (&from, "127.0.0.1", 10));
  other[0] = bare_worker_join (film.w, "a", NAT_ROLE_PUBLISHER, &from);
  from.port++;
  other[1] = bare_worker_join (film.w, "b", NAT_ROLE_PUBLISHER, &from);
  from.port++;
  film_play (&film, START, 10);
  s = bare_worker_join (film.w, STREAM, NAT_ROLE_SUBSCRIBER, &from);
  for (guint i = 0; i < 2; i++)
    nat_roster_mark_stale (film.w->roster, other[i]->stream);
  nat_roster_mark_stale (film.w->roster, stream);
  s->wants_headstart = TRUE;
  g_assert_true (nat_headstart_prepare (film.w, s));
  for (; stream->stale && turns < 10; turns++) {
    g_assert_cmpuint (nat_counter_get (&film.w->counters->headstarts), ==, 0);
    film.w->roster->paid_us = film.w->now_us; /* one of them, and then it waits */
    nat_worker_flush (film.w);
    for (guint i = 0; i < 2; i++)
      nat_roster_mark_stale (film.w->roster, other[i]->stream);
  }
  g_assert_cmpuint (turns, ==, 3);
  g_assert_cmpuint (nat_counter_get (&film.w->counters->headstarts), ==, 1);
  g_assert_cmpuint (film.w->headstarts_prepared, ==, 0);
  /* Who is gone before its list is built is forgotten. */
  from.port++;
  s = bare_worker_join (film.w, STREAM, NAT_ROLE_SUBSCRIBER, &from);
  s->wants_headstart = TRUE;
  g_assert_true (nat_headstart_prepare (film.w, s));
  nat_roster_remove (film.w->roster, s, film.w->now_us);
  film.w->now_us += 1000;
  nat_worker_flush (film.w);
  g_assert_cmpuint (film.w->headstarts_prepared, ==, 0);
  g_assert_cmpuint (film.w->headstarts.length, ==, 1);
  nat_worker_free (film.w);
}

/* The next picture starts in the middle of it. What was sent before that, and lost, comes again all the same, until whoever
 * joined had the time to ask. */
static void
test_lost (void)
{
  Film film;
  NatDataSession *s;
  NatProbe *p;

  film_begin (&film);
  p = nat_probe_new ("127.0.0.1", nat_udpio_local (film.w->io, 0));
  film_play (&film, START, 4500);
  s = film_join (&film, p);
  film_play (&film, START, 250);
  g_assert_cmpuint (nat_counter_get (&film.w->counters->headstart_packets), <, 2000);
  g_assert_true (comes_again (&film, s, 1));
  while (nat_counter_get (&film.w->counters->headstart_packets) < 4500)
    film_play (&film, 0x80, 32);
  film_play (&film, 0x80, 500 / FILM_MS);
  for (guint16 seq = 2; seq < 4500; seq += 300)
    g_assert_true (comes_again (&film, s, seq));
  /* It does not stay for ever. */
  film_play (&film, 0x80, 4000 / FILM_MS);
  g_assert_false (comes_again (&film, s, 3));
  nat_probe_free (p);
  nat_worker_free (film.w);
}

/* A source whose numbers jump, as when the camera starts anew: the picture of before is none for who joins now, who would
 * wait for thousands of packets in between that never were. */
static void
test_jump (void)
{
  const NatDataTrack *track;
  NatDataSession *s;
  Film film;
  NatProbe *p;

  film_begin (&film);
  p = nat_probe_new ("127.0.0.1", nat_udpio_local (film.w->io, 0));
  film_play (&film, START, 10);
  track = nat_roster_track (film.publisher->stream, VIDEO_SSRC);
  s = film_join (&film, p);
  g_assert_true (nat_headstart_serves (film.w, s, track));
  film.seq += 5000;
  film_play (&film, 0x80, 2); /* two in a row are believed */
  s = film_join (&film, p);
  g_assert_false (nat_headstart_serves (film.w, s, track));
  film_play (&film, START, 2);
  s = film_join (&film, p);
  g_assert_true (nat_headstart_serves (film.w, s, track));
  nat_probe_free (p);
  nat_worker_free (film.w);
}

/* Nanoseconds of CPU for a hundred picture requests of s. */
static gint64
cost_of_requests (Film *film, NatDataSession *s, const NatDataTrack *track)
{
  struct timespec before, after;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &before);
  for (guint i = 0; i < 100; i++)
    g_assert_false (nat_headstart_serves (film->w, s, track));
  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &after);
  return (gint64)(after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
}

/* Who has no head start is not looked for among the thousand that have one, at each of a hundred requests in a datagram. */
static void
test_crowd (void)
{
  NatDataSession *s;
  NatDataTrack *track;
  NatAddress from;
  gint64 cost = G_MAXINT64;
  Film film;

  film_begin (&film);
  g_assert_true (nat_address_from_text (&from, "127.0.0.1", 10));
  s = bare_worker_join (film.w, STREAM, NAT_ROLE_SUBSCRIBER, &from);
  film_play (&film, START, 10);
  track = nat_roster_track (film.publisher->stream, VIDEO_SSRC);
  for (from.port = 1000; from.port < 2000; from.port++)
    film_join_from (&film, &from);
  g_assert_cmpuint (film.w->headstarts.length, ==, 1000);
  for (guint i = 0; i < 5; i++)
    cost = MIN (cost, cost_of_requests (&film, s, track));
  g_assert_cmpint (cost, <, 20 * 1000); /* 1 us, and 400 if it were looked for */
  nat_worker_free (film.w);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/headstart/joins", test_joins);
  g_test_add_data_func ("/headstart/not-wanted", GINT_TO_POINTER (FALSE), test_without);
  g_test_add_data_func ("/headstart/nothing-kept", GINT_TO_POINTER (TRUE), test_without);
  g_test_add_func ("/headstart/turns", test_turns);
  g_test_add_data_func ("/headstart/session-ends", "session", test_ends);
  g_test_add_data_func ("/headstart/other-tracks", "tracks", test_ends);
  g_test_add_data_func ("/headstart/relay-stops", "relay", test_ends);
  if (data_relay_workers () > 1)
    g_test_add_func ("/headstart/moves", test_moves);
  g_test_add_func ("/headstart/left-streams", test_left_streams);
  g_test_add_func ("/headstart/before-all-else", test_before_all_else);
  g_test_add_func ("/headstart/others-wait", test_others_wait);
  g_test_add_func ("/headstart/pace", test_pace);
  g_test_add_func ("/headstart/lost", test_lost);
  g_test_add_func ("/headstart/jump", test_jump);
  g_test_add_func ("/headstart/crowd", test_crowd);
  return g_test_run ();
}
