/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/repair.h"

#include "natproto/framemarking.h"
#include "natproto/rtcpapp.h"
#include "natserver/data/forward.h"
#include "natserver/data/headstart.h"
#include "natserver/data/room.h"
#include "natserver/data/rtcpagg.h"

#define SPACING_US        (4 * 1000) /* between two looks at all streams at least */
#define SPACING_STREAM_US 1          /* and more for each stream: a hundredth of a core or so */
#define RATE_US           (G_USEC_PER_SEC / 2)

/* Of the publisher. An answer that comes later than a second is of use to few, and after two nobody
 * has the packet any more. */
#define LIFE_US (1000 * 1000)
#define PACE_MIN_US                                                                                \
  (30 * 1000)          /* however near the publisher is: it may not have the packet at all */
#define ASKING_MAX 256 /* packets in one NACK */
#define OVER_US    (1 * G_USEC_PER_SEC) /* after a packet was beyond a limit, nothing is asked for */
/* Bytes per second of questions: a twentieth of what comes, as RTCP's share is (RFC 3550 section 6.2). A stream of little has more, since losing much of
 * it takes no fewer compounds. What waits for that is asked for later, if it is not too late then. */
#define ASKING_SHARE    20
#define ASKING_MIN      (16 * 1024)
#define ASKING_SAVED_US (2 * G_USEC_PER_SEC) /* so much of it at once */

/* What one subscriber may get again. */
#define RATE_MIN     (32 * 1024)  /* bytes per second; else half of the stream's */
#define BURST_MIN    (128 * 1024) /* bytes; else a second's worth of that */
#define ASKED_MAX    1024         /* packets looked up for one NACK */
#define ASKED_PER_S  16384        /* and in a second, however many NACKs; as many at once */
#define HOLD_UNKNOWN (20 * 1000)  /* microseconds; else three quarters of its round trip */
#define HOLD_MIN     (5 * 1000)
#define HOLD_MAX     (500 * 1000)
#define RECENT       128 /* packets remembered, a power of two */

#define TELL_US (50 * 1000) /* between two words to one that nothing is kept of what it asks for */
/* Numbers since a source began: of one that began before, 16 bits may stand for a number a turn later, too. */
#define BEGINNING_MAX 32768

/* What went to where a subscriber is no more was sent after we last heard of it, less the time that it takes to be
 * heard; this long if that is not known. */
#define UNHEARD_US (100 * 1000)

typedef struct {
  guint32 tag, ms;
} Recent;

struct _NatRepairQuota {
  NatLimiter bytes, asked;
  Recent recent[RECENT];
  gint64 told_us;
};

/* ---- What came --------------------------------------------------------- */

/* A look is at all streams, so that what is lost here and there must not bring one for each packet. */
static void
schedule (NatWorker *w, gint64 at_us)
{
  w->repair_us = MIN (w->repair_us, MAX (at_us, w->repair_from_us));
}

/* A late packet that was asked for tells the round trip, also if it came so soon that it looks
 * reordered: what is known of the round trip may be wrong. */
static void
note_late (NatDataStream *stream, NatDataTrack *track, NatMissingStatus status)
{
  gboolean answers = status != NAT_MISSING_OTHER && track->missing.answer_us > 0;

  if (answers || status == NAT_MISSING_REPAIRED || status == NAT_MISSING_LATE)
    nat_counter_add (&stream->publisher->counters->repairs_received, 1);
  if (!answers)
    return;
  nat_round_trip_sample (&stream->round_trip, track->missing.answer_us);
  atomic_store_explicit (&stream->publisher->counters->rtt_us,
      (guint64)stream->round_trip.smoothed_us, memory_order_relaxed);
}

static void
note_sequence (NatWorker *w, NatDataStream *stream, NatDataTrack *track, const NatReceived *a)
{
  NatMissingStatus status;

  if (a->status == NAT_SEQ_RESTART) {
    nat_missing_reset (&track->missing);
    nat_history_restart (track->kept);
  }
  status = nat_missing_receive (&track->missing, a->seq, w->now_us);
  if (a->status == NAT_SEQ_LATE)
    note_late (stream, track, status);
  schedule (w, nat_missing_deadline (&track->missing));
}

void
nat_repair_received (NatWorker *w, NatDataStream *stream, NatDataTrack *track,
    const NatReceived *arrival, const guint8 *data, gsize len)
{
  gboolean starts;

  if (arrival->status == NAT_SEQ_BAD)
    return;
  note_sequence (w, stream, track, arrival);
  if (arrival->duplicate)
    return;
  if (arrival->status != NAT_SEQ_LATE) {
    nat_silence_heard (&track->silence, w->now_us);
    schedule (w, w->now_us + MAX (w->times.repeat_us, SPACING_US));
  }
  stream->bytes += len;
  starts = nat_framemarking_begins_picture (data, len, track->info.framemarking_id);
  if (starts)
    nat_headstart_picture (w, track);
  nat_history_append (&stream->history, track->kept, arrival->seq, data, len, starts, w->now_us);
}

/* ---- To the publisher -------------------------------------------------- */

/* Who makes gaps, a broken encoder perhaps, is not sent many times what it sends. */
static gboolean
may_ask (const NatWorker *w, const NatDataStream *stream)
{
  return stream->asking_us <= w->now_us;
}

static void
pay_for (const NatWorker *w, NatDataStream *stream, gsize len)
{
  gint64 rate = MAX (stream->rate / ASKING_SHARE, ASKING_MIN);

  stream->asking_us =
      MAX (stream->asking_us, w->now_us - ASKING_SAVED_US) + (gint64)len * G_USEC_PER_SEC / rate;
}

/* An empty report leads, as compounds must; the one that counts comes at its own time. */
static void
send_nack (NatWorker *w, NatDataStream *stream, guint32 ssrc, const guint16 *seqs, guint n)
{
  NatCompound buf;
  gsize len = nat_rtcpagg_begin (stream, buf);

  len +=
      nat_rtcp_write_nack (buf + len, NAT_COMPOUND_MAX - len, stream->relay_ssrc, ssrc, seqs, &n);
  pay_for (w, stream, len);
  if (nat_rtcpagg_send (w, stream->publisher, buf, len))
    nat_counter_add (&stream->publisher->counters->repairs_asked, n);
}

static void
ask (NatWorker *w, NatDataStream *stream, NatDataTrack *track)
{
  const NatRoundTrip *rt = &stream->round_trip;
  NatMissing *m = &track->missing;
  guint16 seqs[ASKING_MAX];
  guint n;

  if (nat_missing_deadline (m) > w->now_us)
    return;
  /* What was beyond a limit would be so again. */
  if (!stream->publisher || (stream->over_us > 0 && w->now_us - stream->over_us < OVER_US)) {
    nat_missing_reset (m);
    return;
  }
  nat_missing_set_pace (m, MAX (rt->smoothed_us + rt->variation_us, PACE_MIN_US), LIFE_US);
  while (may_ask (w, stream) && (n = nat_missing_due (m, w->now_us, seqs, ASKING_MAX)) > 0) {
    send_nack (w, stream, track->info.ssrc, seqs, n);
    if (n < ASKING_MAX)
      break;
  }
  nat_counter_add (&stream->publisher->counters->repairs_given_up, m->lost - track->given_up);
  track->given_up = m->lost;
}

/* ---- Silence ----------------------------------------------------------- */

static void
repeat_last (NatWorker *w, NatDataStream *stream, NatDataTrack *track)
{
  NatHistoryPacket last;

  if (w->now_us < nat_silence_due (&track->silence, w->times.repeat_us))
    return;
  track->silence.noticed = TRUE;
  if (w->times.repeat_us == 0 ||
      !nat_history_find (&stream->history, track->kept, track->reception.seq.highest, &last))
    return;
  w->arrived_ns = nat_udpio_clock_ns (); /* the wait was not the relay's */
  nat_forward_repeat (w, stream, track, last.data, last.len);
  nat_counter_add (&w->counters->repeated, 1);
}

/* ---- Time -------------------------------------------------------------- */

/* Follows a picture's burst at once, and forgets it over some seconds. */
static void
measure_rate (NatWorker *w, NatDataStream *stream)
{
  gint64 took = w->now_us - stream->rate_us;

  if (took < RATE_US)
    return;
  stream->rate = MAX (
      (gint64)(stream->bytes * G_USEC_PER_SEC / (guint64)took), stream->rate - stream->rate / 8);
  stream->bytes = 0;
  stream->rate_us = w->now_us;
}

/* Returns when the stream is to be looked at next. */
static gint64
serve_stream (NatWorker *w, NatDataStream *stream)
{
  gint64 next = G_MAXINT64;

  measure_rate (w, stream);
  for (guint i = 0; i < stream->n_tracks; i++) {
    NatDataTrack *track = &stream->tracks[i];

    ask (w, stream, track);
    repeat_last (w, stream, track);
    next = MIN (next, nat_missing_deadline (&track->missing));
    next = MIN (next, nat_silence_due (&track->silence, w->times.repeat_us));
  }
  return next;
}

void
nat_repair_run (NatWorker *w)
{
  gint64 next = G_MAXINT64;

  if (w->now_us < w->repair_us)
    return;
  for (GList *link = w->roster->active.head; link; link = link->next)
    next = MIN (next, serve_stream (w, link->data));
  nat_forward_flush (w); /* before anything can be appended to a history */
  w->repair_from_us = w->now_us + SPACING_US + (gint64)w->roster->active.length * SPACING_STREAM_US;
  w->repair_us = MAX (next, w->repair_from_us);
}

void
nat_repair_tick (NatWorker *w, NatDataStream *stream)
{
  nat_history_expire (&stream->history, w->now_us);
  nat_history_grow (&stream->history, w->now_us);
  if (stream->publisher)
    atomic_store_explicit (&stream->publisher->counters->cached_bytes,
        nat_history_bytes (&stream->history), memory_order_relaxed);
}

gboolean
nat_repair_is_idle (const NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    const NatDataTrack *track = &stream->tracks[i];
    if (track->missing.n > 0 || nat_silence_due (&track->silence, NAT_SILENCE_US) != G_MAXINT64)
      return FALSE;
  }
  return stream->history.n_blocks == 0;
}

/* ---- To a subscriber --------------------------------------------------- */

/* Packets of one size become one message. */
typedef struct {
  NatWorker *w;
  NatDataSession *s;
  NatDataStream *stream;
  NatDataTrack *track;
  gint64 hold_us, flight_us;
  guint asked;
  gboolean enough; /* whatever else is asked for is too much */
  gboolean before; /* something that the publisher, as it is now, never sent */
  NatUdpDest dest;
  struct iovec iov[NAT_UDPIO_SEGMENTS];
  NatUdpRun run;
} Answer;

static void
flush_answer (Answer *a)
{
  NatUdpMessage m = {&a->dest, &a->run, NULL, 0};
  NatSessionCounters *c = a->s->counters;

  if (a->run.n_packets == 0)
    return;
  nat_udpio_send (a->w->io, &m, 1);
  nat_counter_add (&c->repairs_sent, m.n_sent);
  nat_counter_add (&c->packets_sent, m.n_sent);
  nat_counter_add (&c->bytes_sent, m.n_sent * a->run.segment);
  nat_counter_add (&c->packets_unsent, a->run.n_packets - m.n_sent);
  a->run = (NatUdpRun){.iov = a->iov, .rank = a->track->rank};
}

static void
add_packet (Answer *a, const NatHistoryPacket *packet)
{
  if (!nat_udp_run_has_room (&a->run, packet->len))
    flush_answer (a);
  nat_udp_run_add (&a->run, a->iov, packet->data, packet->len);
}

/* What was sent last to this subscriber of those that share the place. */
static Recent *
recent_of (const Answer *a, guint64 seq)
{
  return &a->s->repairs->recent[seq % RECENT];
}

static Recent
recent_now (const Answer *a, guint64 seq)
{
  return (Recent){a->track->info.ssrc ^ (guint32)seq * 0x9e3779b1u, (guint32)(a->w->now_us / 1000)};
}

/* Sent a moment ago: what the subscriber says may have crossed it. */
static gboolean
has_crossed (const Answer *a, guint64 seq)
{
  const Recent *last = recent_of (a, seq);
  Recent now = recent_now (a, seq);

  return last->tag == now.tag && (gint64)(now.ms - last->ms) * 1000 < a->hold_us;
}

static void
answer_one (Answer *a, guint16 number)
{
  NatSessionCounters *c = a->s->counters;
  guint64 highest = a->track->reception.seq.highest;
  guint64 seq = highest - (guint16)((guint16)highest - number);
  NatHistoryPacket packet;

  if (++a->asked > ASKED_MAX || !nat_limiter_take (&a->s->repairs->asked, a->w->now_us, 1)) {
    a->enough = TRUE;
    nat_counter_add (&c->repairs_limited, 1);
  } else if (!nat_history_find (&a->stream->history, a->track->kept, seq, &packet)) {
    /* What comes late goes to everybody: whoever asked for it need not ask again. */
    if (nat_missing_awaits (&a->track->missing, seq)) {
      nat_counter_add (&c->repairs_awaited, 1);
    } else {
      nat_counter_add (&c->repairs_unknown, 1);
      a->before |= seq < a->track->reception.seq.base;
    }
  } else if (a->w->now_us - packet.arrived_us < a->flight_us || has_crossed (a, seq)) {
    nat_counter_add (&c->repairs_crossed, 1);
  } else if (!nat_limiter_take (&a->s->repairs->bytes, a->w->now_us, (gint64)packet.len)) {
    nat_counter_add (&c->repairs_limited, 1);
  } else {
    *recent_of (a, seq) = recent_now (a, seq);
    add_packet (a, &packet);
  }
}

static void
answer_entry (Answer *a, const NatRtcpNackEntry *entry)
{
  answer_one (a, entry->first);
  for (guint bit = 0; entry->following >> bit; bit++) {
    if (entry->following >> bit & 1)
      answer_one (a, (guint16)(entry->first + 1 + bit));
  }
}

static void
set_quota (NatWorker *w, NatDataSession *s)
{
  gint64 rate = MAX (nat_room_rate (s) / 2, RATE_MIN);

  if (!s->repairs) {
    s->repairs = g_new0 (NatRepairQuota, 1);
    nat_limiter_init (&s->repairs->bytes, rate, MAX (rate, BURST_MIN), w->now_us);
    nat_limiter_init (&s->repairs->asked, ASKED_PER_S, ASKED_PER_S, w->now_us);
  }
  s->repairs->bytes.rate = rate;
  s->repairs->bytes.burst = MAX (rate, BURST_MIN);
}

/* What went to everybody so short a time ago cannot have been missed: it was missing here, too, when the
 * question was sent. */
static gint64
flight_time (const NatDataSession *s)
{
  return MIN ((gint64)nat_counter_get (&s->counters->rtt_us) / 2, HOLD_MAX);
}

static gint64
hold_time (const NatDataSession *s)
{
  gint64 rtt_us = (gint64)nat_counter_get (&s->counters->rtt_us);

  return rtt_us == 0 ? HOLD_UNKNOWN : CLAMP (rtt_us * 3 / 4, HOLD_MIN, HOLD_MAX);
}

/* A publisher that began anew under its old SSRC, or a relay that did: whoever saw the numbers before takes the jump for a
 * loss, and asks until the packets are too old. Told where the numbers begin, it stops. */
static void
tell_beginning (const Answer *a)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatCompound buf;
  guint n = 0;
  gsize len;

  if (a->w->now_us - a->s->repairs->told_us < TELL_US)
    return;
  a->s->repairs->told_us = a->w->now_us;
  for (guint i = 0; i < a->stream->n_tracks && n < NAT_TRACKS_MAX; i++) {
    const NatDataTrack *track = &a->stream->tracks[i];
    const NatSeqCounter *seq = &track->reception.seq;

    if (seq->started && seq->highest - seq->base < BEGINNING_MAX)
      edges[n++] = (NatLiveEdge){.ssrc = track->info.ssrc, .seq = (guint16)(seq->base - 1)};
  }
  if (n == 0)
    return;
  len = nat_rtcpagg_begin (a->stream, buf);
  len += nat_rtcp_write_edges (buf + len, NAT_COMPOUND_MAX - len, a->stream->relay_ssrc, edges, n);
  nat_rtcpagg_send (a->w, a->s, buf, len);
}

void
nat_repair_answer (NatWorker *w, NatDataSession *s, const NatRtcpPacket *nack)
{
  Answer a = {.w = w, .s = s};
  NatRtcpNackEntry entry;
  guint32 ssrc;

  a.track =
      nat_rtcp_media_ssrc (nack, &ssrc) ? nat_room_track (w->roster, s, ssrc, &a.stream) : NULL;
  if (!a.track || !a.track->reception.seq.started || !s->selected)
    return;
  set_quota (w, s);
  a.hold_us = hold_time (s);
  a.flight_us = flight_time (s);
  a.run = (NatUdpRun){.iov = a.iov, .rank = a.track->rank};
  nat_roster_dest (s->selected, &a.dest);
  for (guint i = 0; nat_rtcp_nack_entry (nack, i, &entry); i++) {
    if (a.enough)
      nat_counter_add (
          &s->counters->repairs_limited, 1 + (guint)__builtin_popcount (entry.following));
    else
      answer_entry (&a, &entry);
  }
  flush_answer (&a);
  if (a.before)
    tell_beginning (&a);
}

/* ---- To a subscriber that moved ---------------------------------------- */

/* The track's first packet that came at since_us or later and is still kept, no more bytes of them than *bytes, from
 * which they are taken. Walks back from the newest: if not all can be sent, it is the oldest that the subscriber got, or
 * that come too late. */
static guint64
first_unheard (const Answer *a, gint64 since_us, gint64 *bytes)
{
  guint64 highest = a->track->reception.seq.highest, first = highest + 1;
  NatHistoryPacket packet;

  for (guint n = 0; n < NAT_HISTORY_SPAN && n <= highest; n++) {
    if (!nat_limiter_take (&a->s->repairs->asked, a->w->now_us, 1))
      break;
    if (!nat_history_find (&a->stream->history, a->track->kept, highest - n, &packet))
      continue;
    if (packet.arrived_us < since_us || *bytes < (gint64)packet.len)
      break;
    *bytes -= (gint64)packet.len;
    first = packet.seq;
  }
  return first;
}

static void
send_unheard (Answer *a, gint64 since_us)
{
  gint64 bytes = nat_limiter_left (&a->s->repairs->bytes, a->w->now_us);
  guint64 highest = a->track->reception.seq.highest;
  NatHistoryPacket packet;

  for (guint64 seq = first_unheard (a, since_us, &bytes); seq <= highest; seq++) {
    if (!nat_history_find (&a->stream->history, a->track->kept, seq, &packet) ||
        !nat_limiter_take (&a->s->repairs->bytes, a->w->now_us, (gint64)packet.len))
      continue;
    *recent_of (a, seq) = recent_now (a, seq);
    add_packet (a, &packet);
  }
  flush_answer (a);
}

static void
send_stream_unheard (Answer *a, NatRank rank, gint64 since_us)
{
  for (guint i = 0; i < a->stream->n_tracks; i++) {
    a->track = &a->stream->tracks[i];
    a->run = (NatUdpRun){.iov = a->iov, .rank = rank};
    if (a->track->rank == rank && a->track->reception.seq.started)
      send_unheard (a, since_us);
  }
}

void
nat_repair_moved (NatWorker *w, NatDataSession *s, gint64 heard_us)
{
  gint64 rtt_us = (gint64)nat_counter_get (&s->counters->rtt_us);
  Answer a = {.w = w, .s = s};

  set_quota (w, s);
  nat_roster_dest (s->selected, &a.dest);
  heard_us -= rtt_us == 0 ? UNHEARD_US : MIN (rtt_us, HOLD_MAX);
  heard_us = MAX (heard_us, w->now_us - NAT_HISTORY_KEEP_US);
  for (NatRank rank = NAT_RANK_AUDIO; rank < NAT_RANKS; rank++) {
    for (guint n = 0; (a.stream = nat_room_stream (s, n)) != NULL; n++)
      send_stream_unheard (&a, rank, heard_us);
  }
}
