/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A record names its session by id, and its stream by name, and looks them up each time: so whoever ends, sleeps or
 * moves a session need not know of it. A subscriber of a room has one for each stream. */

#include "natserver/data/headstart.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/rtcpapp.h"
#include "natserver/data/historyreader.h"
#include "natserver/data/room.h"
#include "natserver/data/rtcpagg.h"

#define RATE_MIN     (20 * 1000 * 1000 / 8) /* bytes per second */
#define SPEED        4                      /* times the stream's rate, if that is more */
#define SPACING_US   2000
#define AT_ONCE      (16 * 1024)  /* bytes to one receiver without a pause */
#define TURN_MAX     (256 * 1024) /* bytes to all of them */
#define SESSIONS_MAX 1024
/* Longer would not be told from the live packets behind it, nor be opened (SFrame's replay window). */
#define PACKETS_MAX 16000
/* An older picture is worth a new one, if the encoder makes one when it is asked. */
#define STALE_US       (2 * G_USEC_PER_SEC)
#define OBEYS_US       (1 * G_USEC_PER_SEC)
#define LINGER_US      (2 * G_USEC_PER_SEC)
#define LINGER_TURN_US (50 * 1000)
#define REPORT_LIFE_US (1 * G_USEC_PER_SEC) /* receivers take no older one */

typedef struct {
  guint32 ssrc;
  gint64 picture_us;      /* when it came */
  NatHistoryReader whole; /* from its beginning on */
  NatHistoryReader reader;
  gboolean over;
} Source;

typedef struct _NatHeadstart NatHeadstart;
struct _NatHeadstart {
  guint8 id[NAT_SESSION_ID_SIZE];
  char stream[NAT_STREAM_NAME_MAX + 1];
  gint64 rate_min; /* its share of RATE_MIN */
  gboolean begun;
  guint n_sources, n_over;
  Source sources[NAT_TRACKS_MAX];
  NatLiveEdge edges[NAT_TRACKS_MAX];
  guint n_edges;
  gboolean told_again;
  gint64 begun_us, over_us;
  NatLimiter pace;
};

/* What is sent in one message: packets of one size. */
typedef struct {
  NatWorker *w;
  NatDataSession *s;
  NatDataStream *stream;
  NatUdpDest dest;
  struct iovec iov[NAT_UDPIO_SEGMENTS];
  NatUdpRun run;
  gsize bytes; /* so far, of all messages */
} Message;

/* ---- Records ----------------------------------------------------------- */

static gboolean
is_of (const NatHeadstart *h, const NatDataSession *s)
{
  return memcmp (h->id, s->id, sizeof h->id) == 0;
}

static void
prepare (NatWorker *w, const NatDataSession *s, const NatDataStream *stream, guint n)
{
  NatHeadstart *h = g_new0 (NatHeadstart, 1);

  memcpy (h->id, s->id, sizeof h->id);
  g_strlcpy (h->stream, stream->name, sizeof h->stream);
  h->rate_min = RATE_MIN / n;
  g_queue_push_tail (&w->headstarts, h);
  w->headstarts_prepared++;
}

gboolean
nat_headstart_prepare (NatWorker *w, NatDataSession *s)
{
  guint n = 0;

  if (!s->wants_headstart)
    return FALSE;
  s->wants_headstart = FALSE;
  while (nat_room_stream (s, n))
    n++;
  if (n == 0 || w->headstarts.length + n > SESSIONS_MAX)
    return FALSE;
  for (guint i = 0; i < n; i++)
    prepare (w, s, nat_room_stream (s, i), n);
  s->has_headstart = TRUE;
  return TRUE;
}

void
nat_headstart_clear (NatWorker *w)
{
  g_queue_clear_full (&w->headstarts, g_free);
}

/* The session, if it can be sent to. */
static NatDataSession *
session_of (NatWorker *w, const NatHeadstart *h)
{
  NatDataSession *s = nat_roster_find (w->roster, h->id);

  return s && s->state == NAT_DATA_REGISTERED && s->selected ? s : NULL;
}

static NatDataStream *
stream_of (NatWorker *w, const NatHeadstart *h)
{
  return g_hash_table_lookup (w->roster->streams, h->stream);
}

/* ---- The beginning ----------------------------------------------------- */

/* What the track has to give; FALSE: nothing came of it yet. */
static gboolean
measure (NatDataStream *stream, NatDataTrack *track, NatLiveEdge *edge, Source *source)
{
  guint64 highest = track->reception.seq.highest;
  NatHistoryPacket last;

  if (!track->reception.seq.started ||
      !nat_history_find (&stream->history, track->kept, highest, &last) || last.len < 12)
    return FALSE;
  *edge = (NatLiveEdge){
      .ssrc = track->info.ssrc, .timestamp = nat_read_u32 (last.data + 4), .seq = (guint16)highest};
  *source = (Source){.ssrc = track->info.ssrc, .picture_us = track->kept->start_us};
  if (strcmp (track->info.media, "video") == 0 &&
      nat_history_read_picture (&stream->history, track->kept, &source->reader) &&
      highest - source->reader.from < PACKETS_MAX)
    edge->behind = (guint16)(highest - source->reader.from + 1);
  source->whole = source->reader;
  return TRUE;
}

static void
measure_all (NatHeadstart *h, NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    Source source;

    if (!measure (stream, &stream->tracks[i], &h->edges[h->n_edges], &source))
      continue;
    if (h->edges[h->n_edges++].behind > 0)
      h->sources[h->n_sources++] = source;
  }
}

static gsize
copy_reports (NatWorker *w, const NatDataStream *stream, guint8 *buf, gsize cap)
{
  gsize len = 0;

  for (guint i = 0; i < stream->n_tracks; i++) {
    const NatDataTrack *track = &stream->tracks[i];

    if (track->report_len == 0 || w->now_us - track->report_us > REPORT_LIFE_US ||
        len + track->report_len > cap)
      continue;
    memcpy (buf + len, track->report, track->report_len);
    len += track->report_len;
  }
  return len;
}

static void
tell_edges (NatWorker *w, NatHeadstart *h, NatDataSession *s, const NatDataStream *stream)
{
  NatCompound buf;
  gsize len = nat_rtcpagg_begin (stream, buf);

  len += copy_reports (w, stream, buf + len, NAT_COMPOUND_MAX / 2);
  len += nat_rtcp_write_edges (
      buf + len, NAT_COMPOUND_MAX - len, stream->relay_ssrc, h->edges, h->n_edges);
  nat_rtcpagg_send (w, s, buf, len);
}

/* The edges come before all else. */
static void
begin (NatWorker *w, NatHeadstart *h, NatDataSession *s, NatDataStream *stream)
{
  gint64 rate = MAX (SPEED * stream->rate, h->rate_min);

  h->begun = TRUE;
  h->begun_us = h->over_us = w->now_us;
  nat_limiter_init (
      &h->pace, rate, MAX (AT_ONCE, rate * SPACING_US / G_USEC_PER_SEC * 2), w->now_us);
  measure_all (h, stream);
  if (h->n_edges > 0)
    tell_edges (w, h, s, stream);
  nat_rtcpagg_want_pictures (w, s, stream);
  nat_counter_add (&w->counters->headstarts, h->n_sources > 0);
}

/* FALSE: not yet. Who came is missing in a list that is still to be built: what comes meanwhile would be lost to it. */
static gboolean
begin_one (NatWorker *w, GList *link)
{
  NatHeadstart *h = link->data;
  NatDataSession *s = session_of (w, h);
  NatDataStream *stream = s ? stream_of (w, h) : NULL;

  if (stream && stream->stale)
    return FALSE;
  if (stream) {
    begin (w, h, s, stream);
    w->headstart_us = w->now_us;
  } else {
    g_queue_delete_link (&w->headstarts, link);
    g_free (h);
  }
  return TRUE;
}

/* Lists may wait for a while, and batches do not: all are looked at only when one was built. */
void
nat_headstart_begin (NatWorker *w)
{
  guint left = w->headstarts_prepared;

  if (w->roster->stale && w->headstarts_looked == w->roster->n_built)
    return;
  w->headstarts_looked = w->roster->n_built;
  for (GList *link = w->headstarts.head, *next; link && left > 0; link = next) {
    next = link->next;
    if (((NatHeadstart *)link->data)->begun)
      continue;
    left--;
    w->headstarts_prepared -= begin_one (w, link) ? 1 : 0;
  }
  nat_headstart_run (w);
}

/* ---- Packets ----------------------------------------------------------- */

static void
flush_message (Message *m)
{
  NatUdpMessage message = {&m->dest, &m->run, NULL, 0};
  NatSessionCounters *c = m->s->counters;

  if (m->run.n_packets == 0)
    return;
  nat_udpio_send (m->w->io, &message, 1);
  nat_counter_add (&c->packets_sent, message.n_sent);
  nat_counter_add (&c->bytes_sent, message.n_sent * m->run.segment);
  nat_counter_add (&c->packets_unsent, m->run.n_packets - message.n_sent);
  nat_counter_add (&m->w->counters->headstart_packets, message.n_sent);
  m->run = (NatUdpRun){.iov = m->iov};
}

static void
add_packet (Message *m, const NatHistoryPacket *packet)
{
  if (!nat_udp_run_has_room (&m->run, packet->len))
    flush_message (m);
  nat_udp_run_add (&m->run, m->iov, packet->data, packet->len);
  m->bytes += packet->len;
}

/* What came after the beginning went to the session as to everybody. */
static gboolean
read_next (NatHeadstart *h, NatDataStream *stream, Source *source, NatHistoryPacket *packet)
{
  const NatDataTrack *track = nat_roster_track (stream, source->ssrc);

  return track && track->kept == source->reader.source &&
         nat_history_read (&stream->history, &source->reader, packet) == NAT_HISTORY_PACKET &&
         packet->arrived_us <= h->begun_us;
}

static gboolean
may_send (const NatHeadstart *h)
{
  return h->pace.level >= (gint64)NAT_DATAGRAM_MAX * G_USEC_PER_SEC;
}

/* Until the pace or the turn says stop. */
static void
send_source (NatHeadstart *h, Source *source, Message *m)
{
  NatHistoryPacket packet;

  while (may_send (h) && m->bytes < TURN_MAX) {
    if (!read_next (h, m->stream, source, &packet)) {
      source->over = TRUE;
      h->n_over++;
      return;
    }
    nat_limiter_take (&h->pace, m->w->now_us, (gint64)packet.len);
    add_packet (m, &packet);
  }
}

/* All of it: what was sent may be lost, and is then asked for, until some time after the end. */
static void
pin_sources (NatWorker *w, const NatHeadstart *h, NatDataStream *stream)
{
  for (guint i = 0; i < h->n_sources; i++)
    nat_history_pin (&stream->history, &h->sources[i].whole, w->now_us);
}

/* FALSE: the record is of no use any more. */
static gboolean
serve (NatWorker *w, NatHeadstart *h, gsize *bytes)
{
  NatDataSession *s = session_of (w, h);
  NatDataStream *stream = stream_of (w, h);
  Message m = {.w = w, .s = s, .stream = stream, .bytes = *bytes};

  if (!s || !stream)
    return FALSE;
  pin_sources (w, h, stream);
  if (h->n_over == h->n_sources)
    return w->now_us - h->over_us < LINGER_US;
  /* Not before the next turn, when the edges are told again: without them the past would be taken for what is live. */
  if (w->now_us == h->begun_us)
    return TRUE;
  if (!h->told_again)
    tell_edges (w, h, s, stream);
  h->told_again = TRUE;
  m.run.iov = m.iov;
  nat_roster_dest (s->selected, &m.dest);
  nat_limiter_take (&h->pace, w->now_us, 0);
  for (guint i = 0; i < h->n_sources; i++) {
    if (!h->sources[i].over)
      send_source (h, &h->sources[i], &m);
  }
  flush_message (&m);
  h->over_us = w->now_us;
  *bytes = m.bytes;
  return TRUE;
}

void
nat_headstart_run (NatWorker *w)
{
  guint n_sending = 0;
  gsize bytes = 0;

  if (w->now_us < w->headstart_us)
    return;
  /* Whoever was served is last next time. */
  for (guint n = w->headstarts.length; n > 0 && bytes < TURN_MAX; n--) {
    NatHeadstart *h = g_queue_pop_head (&w->headstarts);

    if (h->begun && !serve (w, h, &bytes)) {
      g_free (h);
      continue;
    }
    n_sending += h->begun && h->n_over < h->n_sources;
    g_queue_push_tail (&w->headstarts, h);
  }
  if (w->headstarts.length == w->headstarts_prepared) /* which begin when they are receivers */
    w->headstart_us = G_MAXINT64;
  else
    w->headstart_us =
        w->now_us + (n_sending > 0 || bytes >= TURN_MAX ? SPACING_US : LINGER_TURN_US);
}

/* ---- Is a picture worth asking for? ------------------------------------ */

static gboolean
gives (const NatHeadstart *h, const NatDataTrack *track)
{
  for (guint i = 0; i < h->n_sources; i++) {
    if (h->sources[i].ssrc == track->info.ssrc)
      return !track->obeys || h->begun_us - h->sources[i].picture_us <= STALE_US;
  }
  return FALSE;
}

/* The session's next record from that link on. All are looked at for who may have one only, since whoever reports or asks for
 * pictures would have a crowd's records looked through each time. */
static GList *
next_of (NatDataSession *s, GList *link)
{
  while (link && !is_of (link->data, s))
    link = link->next;
  return link;
}

gboolean
nat_headstart_serves (const NatWorker *w, NatDataSession *s, const NatDataTrack *track)
{
  if (!nat_headstart_is_recent (w, s))
    return FALSE;
  for (GList *link = next_of (s, w->headstarts.head); link; link = next_of (s, link->next)) {
    if (gives (link->data, track))
      return TRUE;
  }
  return FALSE;
}

gboolean
nat_headstart_is_recent (const NatWorker *w, NatDataSession *s)
{
  if (s->has_headstart)
    s->has_headstart = next_of (s, w->headstarts.head) != NULL;
  return s->has_headstart;
}

void
nat_headstart_picture (NatWorker *w, NatDataTrack *track)
{
  track->obeys = track->picture_us > 0 && w->now_us - track->picture_us < OBEYS_US;
}

void
nat_headstart_report (NatWorker *w, NatDataTrack *track, const guint8 *compound, gsize len)
{
  track->report_len = (guint16)(len <= sizeof track->report ? len : 0);
  memcpy (track->report, compound, track->report_len);
  track->report_us = w->now_us;
}
