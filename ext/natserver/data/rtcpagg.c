/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/rtcpagg.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"
#include "natproto/rtcp.h"
#include "natserver/data/headstart.h"
#include "natserver/data/repair.h"
#include "natserver/data/responder.h"
#include "natserver/data/room.h"

#define SR_SIZE  28          /* header, SSRC and sender info */
#define CCFB_US  (90 * 1000) /* a little less than two ticks */
#define CCFB_FEW 16          /* packets; fewer wait, at most as long as a receiver report does */
/* Sender reports that are passed on, a second and track. natrelaysink's are a second apart, others' more. */
#define REPORTS 4
/* Of a subscriber's compound: report blocks, questions and requests that are looked at. Each of NAT_TRACKS_MAX sources has one of
 * each, and a datagram holds 170. */
#define FEEDBACK_MAX 64

/* The session's context of its epoch in that direction, made at the first use. NULL: no client came yet. */
static NatSrtcp *
context (NatWorker *w, NatDataSession *s, NatSrtcpDirection direction)
{
  NatSrtcp **c = direction == NAT_SRTCP_CLIENT_TO_RELAY ? &s->from_client : &s->to_client;
  char password[NAT_PASSWORD_TEXT + 1];

  if (*c || !s->has_epoch || !nat_ticket_password (w->secrets, s->password_secret, s->id, password))
    return *c;
  *c = nat_srtcp_new (password, direction, w->boot_id, s->epoch);
  nat_crypto_wipe (password, sizeof password);
  return *c;
}

gboolean
nat_rtcpagg_send (NatWorker *w, NatDataSession *s, NatCompound compound, gsize len)
{
  NatSrtcp *srtcp;
  NatUdpDest dest;

  if (len == 0 || !s->selected)
    return FALSE;
  srtcp = context (w, s, NAT_SRTCP_RELAY_TO_CLIENT);
  len = srtcp ? nat_srtcp_protect (srtcp, compound, len) : 0;
  if (len == 0)
    return FALSE;
  nat_roster_dest (s->selected, &dest);
  if (!nat_udpio_send_one (w->io, &dest, compound, len))
    return FALSE;
  nat_counter_add (&s->counters->rtcp_sent, 1);
  return TRUE;
}

/* ---- To the publisher -------------------------------------------------- */

gsize
nat_rtcpagg_begin (const NatDataStream *stream, NatCompound compound)
{
  gsize len = nat_rtcp_write_rr (compound, NAT_COMPOUND_MAX, stream->relay_ssrc, NULL, 0);

  return len + nat_rtcp_write_sdes_cname (
                   compound + len, NAT_COMPOUND_MAX - len, stream->relay_ssrc, stream->cname);
}

static guint
report_blocks (NatWorker *w, NatDataStream *stream, NatRtcpReportBlock *blocks)
{
  guint n = 0;

  for (guint i = 0; i < stream->n_tracks; i++) {
    if (stream->tracks[i].reception.heard)
      nat_reception_report (&stream->tracks[i].reception, w->now_us, &blocks[n++]);
  }
  return n;
}

/* In microseconds, of a report block about the track. */
static guint64
jitter_of (const NatDataTrack *track, const NatRtcpReportBlock *block)
{
  return track->info.clock_rate == 0
             ? 0
             : (guint64)block->jitter * G_USEC_PER_SEC / track->info.clock_rate;
}

static void
show_jitter (const NatDataStream *stream, const NatRtcpReportBlock *blocks, guint n)
{
  guint64 worst = 0;

  for (guint i = 0; i < n; i++)
    worst = MAX (worst, jitter_of (nat_roster_track (stream, blocks[i].ssrc), &blocks[i]));
  if (n > 0)
    atomic_store_explicit (&stream->publisher->counters->jitter_us, worst, memory_order_relaxed);
}

static gboolean
picture_due (const NatWorker *w, const NatDataStream *stream, const NatDataTrack *track)
{
  gint64 interval_us = MAX (w->times.picture_us, stream->round_trip.smoothed_us);

  return track->picture_wanted &&
         (track->picture_us == 0 || w->now_us - track->picture_us >= interval_us);
}

static gsize
write_audience (NatDataStream *stream, guint8 *buf, gsize cap)
{
  NatAudience audience = {0};

  if (stream->audience)
    nat_audience_sum (stream->audience, &audience);
  return nat_rtcp_write_audience (buf, cap, stream->relay_ssrc, &audience);
}

static gsize
write_picture_requests (NatWorker *w, NatDataStream *stream, guint8 *buf, gsize cap)
{
  gsize len = 0;

  for (guint i = 0; i < stream->n_tracks; i++) {
    NatDataTrack *track = &stream->tracks[i];
    if (!picture_due (w, stream, track))
      continue;
    len += nat_rtcp_write_pli (buf + len, cap - len, stream->relay_ssrc, track->info.ssrc);
    track->picture_wanted = FALSE;
    track->picture_us = w->now_us;
  }
  return len;
}

/* A compound begins with a report, and a report's interval begins anew with it: so a picture
 * request takes the next report along. */
static void
speak (NatWorker *w, NatDataStream *stream)
{
  NatRtcpReportBlock blocks[NAT_TRACKS_MAX];
  NatCompound buf;
  guint n = report_blocks (w, stream, blocks);
  gsize len = nat_rtcp_write_rr (buf, NAT_COMPOUND_MAX, stream->relay_ssrc, blocks, n);

  len += nat_rtcp_write_sdes_cname (
      buf + len, NAT_COMPOUND_MAX - len, stream->relay_ssrc, stream->cname);
  len += write_audience (stream, buf + len, NAT_COMPOUND_MAX - len);
  len += write_picture_requests (w, stream, buf + len, NAT_COMPOUND_MAX - len);
  stream->report_us = w->now_us;
  stream->rtp_arrived = FALSE;
  show_jitter (stream, blocks, n);
  nat_rtcpagg_send (w, stream->publisher, buf, len);
}

static gboolean
can_speak (const NatDataStream *stream)
{
  return stream->publisher && stream->publisher->selected && stream->publisher->has_epoch;
}

static gboolean
pictures_are_due (const NatWorker *w, const NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    if (picture_due (w, stream, &stream->tracks[i]))
      return TRUE;
  }
  return FALSE;
}

static gboolean
pictures_are_wanted (const NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    if (stream->tracks[i].picture_wanted)
      return TRUE;
  }
  return FALSE;
}

static guint
arrivals_waiting (const NatDataStream *stream)
{
  guint n = 0;

  for (guint i = 0; i < stream->n_tracks; i++)
    n += stream->tracks[i].arrivals ? nat_arrival_waiting (stream->tracks[i].arrivals) : 0;
  return n;
}

/* Often enough to follow the link, but not dearer than what it tells of: few packets wait for each other. */
static gboolean
ccfb_is_due (const NatWorker *w, const NatDataStream *stream)
{
  guint n = arrivals_waiting (stream);

  return n > 0 &&
         w->now_us - stream->ccfb_us >= (n < CCFB_FEW ? w->times.report_us * 3 / 4 : CCFB_US);
}

/* By itself, as RFC 5506 allows. */
static void
send_ccfb (NatWorker *w, NatDataStream *stream)
{
  NatCcfbWriter writer;
  NatCompound buf;
  gsize len;

  nat_ccfb_writer_init (&writer, buf, NAT_CCFB_MAX, stream->relay_ssrc);
  for (guint i = 0; i < stream->n_tracks; i++) {
    NatDataTrack *track = &stream->tracks[i];

    if (track->arrivals)
      nat_arrival_report (track->arrivals, &writer, track->info.ssrc, w->now_us);
  }
  len = nat_ccfb_writer_end (&writer, nat_arrival_timestamp (w->now_us));
  stream->ccfb_us = w->now_us;
  nat_rtcpagg_send (w, stream->publisher, buf, len);
}

/* Reports come a little early rather than late: the tick is coarse. */
static gboolean
report_is_due (const NatWorker *w, const NatDataStream *stream)
{
  return stream->rtp_arrived && w->now_us - stream->report_us >= w->times.report_us * 3 / 4;
}

static gboolean
is_idle (const NatDataStream *stream)
{
  return !stream->untold && nat_repair_is_idle (stream);
}

static void
serve_stream (NatWorker *w, NatDataStream *stream)
{
  nat_repair_tick (w, stream);
  if (stream->untold)
    nat_responder_tell_version (w, stream);
  if (!can_speak (stream)) {
    /* What is wanted stays wanted; a publisher that comes starts the stream's timers again. */
    stream->rtp_arrived = FALSE;
    if (is_idle (stream))
      nat_roster_deactivate (w->roster, stream);
    return;
  }
  if (report_is_due (w, stream) || pictures_are_due (w, stream))
    speak (w, stream);
  if (ccfb_is_due (w, stream))
    send_ccfb (w, stream);
  if (!stream->rtp_arrived && !pictures_are_wanted (stream) && arrivals_waiting (stream) == 0 &&
      is_idle (stream))
    nat_roster_deactivate (w->roster, stream);
}

void
nat_rtcpagg_tick (NatWorker *w)
{
  for (GList *link = w->roster->active.head, *next; link; link = next) {
    next = link->next;
    serve_stream (w, link->data);
  }
}

static void
want_picture (NatWorker *w, NatDataStream *stream, NatDataTrack *track)
{
  track->picture_wanted = TRUE;
  nat_roster_activate (w->roster, stream);
  if (can_speak (stream) && picture_due (w, stream, track))
    speak (w, stream);
}

static gboolean
is_video (const NatDataTrack *track)
{
  return strcmp (track->info.media, "video") == 0;
}

void
nat_rtcpagg_want_pictures (NatWorker *w, NatDataSession *s, NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks; i++) {
    NatDataTrack *track = &stream->tracks[i];
    if (is_video (track) && !nat_headstart_serves (w, s, track))
      want_picture (w, stream, track);
  }
}

void
nat_rtcpagg_joined (NatWorker *w, NatDataSession *s)
{
  if (s->role == NAT_ROLE_PUBLISHER)
    nat_roster_activate (w->roster, s->stream);
  else if (!nat_headstart_prepare (w, s)) {
    NatDataStream *stream;

    for (guint i = 0; (stream = nat_room_stream (s, i)) != NULL; i++)
      nat_rtcpagg_want_pictures (w, s, stream);
  }
}

/* Media that came before its description was known went nowhere, and the picture with it. */
void
nat_rtcpagg_described (NatWorker *w, NatDataStream *stream)
{
  for (guint i = 0; i < stream->n_tracks && stream->receivers->n > 0; i++) {
    NatDataTrack *track = &stream->tracks[i];
    if (is_video (track) && !track->reception.seq.started)
      want_picture (w, stream, track);
  }
}

/* ---- From a subscriber ------------------------------------------------- */

/* By one compound, the worst of what its blocks say. */
typedef struct {
  guint n; /* things said so far */
  gboolean any;
  guint8 fraction_lost;
  guint64 jitter_us;
} Told;

/* A report without blocks leads another packet, or nothing came: it does not say that nothing was lost. */
static void
read_report (NatWorker *w, NatDataSession *s, const NatRtcpReportBlock *block, Told *told)
{
  NatDataStream *stream;
  const NatDataTrack *track = nat_room_track (w->roster, s, block->ssrc, &stream);
  NatAudienceMember *member = track ? nat_room_member (stream, s) : NULL;
  gint64 rtt = track ? nat_reception_round_trip (&track->reception, block, w->now_us) : 0;

  if (!track)
    return;
  if (rtt > 0 && nat_headstart_is_recent (w, s))
    rtt = 0;
  if (rtt > 0 && member)
    nat_audience_rtt (stream->audience, member, (guint64)rtt);
  if (rtt > 0)
    atomic_store_explicit (&s->counters->rtt_us, (guint64)rtt, memory_order_relaxed);
  told->any = TRUE;
  told->fraction_lost = MAX (told->fraction_lost, block->fraction_lost);
  told->jitter_us = MAX (told->jitter_us, jitter_of (track, block));
  if (member)
    nat_audience_loss (stream->audience, member, told->fraction_lost);
}

/* Who says the same thing a hundred times makes work of it. */
static gboolean
may_say (NatWorker *w, Told *told)
{
  if (told->n++ < FEEDBACK_MAX)
    return TRUE;
  nat_counter_add (&w->counters->feedback_limited, 1);
  return FALSE;
}

static void
read_reports (NatWorker *w, NatDataSession *s, const NatRtcpPacket *packet, Told *told)
{
  NatRtcpReportBlock block;

  for (guint i = 0; nat_rtcp_report_block (packet, i, &block) && may_say (w, told); i++)
    read_report (w, s, &block, told);
  if (!told->any)
    return;
  atomic_store_explicit (&s->counters->fraction_lost, told->fraction_lost, memory_order_relaxed);
  atomic_store_explicit (&s->counters->jitter_us, told->jitter_us, memory_order_relaxed);
}

static void
read_feedback (NatWorker *w, NatDataSession *s, const NatRtcpPacket *packet)
{
  NatDataStream *stream;
  NatDataTrack *track;
  guint32 ssrc;

  if (packet->count != NAT_RTCP_FMT_PLI && packet->count != NAT_RTCP_FMT_FIR)
    return;
  if (!nat_rtcp_media_ssrc (packet, &ssrc))
    return;
  track = nat_room_track (w->roster, s, ssrc, &stream);
  if (!track)
    return;
  nat_counter_add (&s->counters->keyframe_requests, 1);
  if (nat_headstart_serves (w, s, track))
    return;
  want_picture (w, stream, track);
}

static void
receive_from_subscriber (NatWorker *w, NatDataSession *s, NatRtcpIter *it)
{
  NatRtcpPacket packet;
  Told told = {0};

  while (nat_rtcp_iter_next (it, &packet)) {
    if (packet.type == NAT_RTCP_RR || packet.type == NAT_RTCP_SR)
      read_reports (w, s, &packet, &told);
    else if (packet.type == NAT_RTCP_PSFB && may_say (w, &told))
      read_feedback (w, s, &packet);
    else if (packet.type == NAT_RTCP_RTPFB && packet.count == NAT_RTCP_FMT_NACK &&
             may_say (w, &told)) {
      nat_counter_add (&s->counters->repair_requests, 1);
      nat_repair_answer (w, s, &packet);
    }
  }
}

/* ---- From the publisher ------------------------------------------------ */

/* While the worker cannot follow, of the streams that cost most reports give way like sound. */
static gboolean
is_fair (NatWorker *w, NatDataStream *stream)
{
  return !nat_fairness_limits (&w->fairness) || nat_fairness_takes (&w->fairness, &stream->share,
                                                    NAT_RANK_AUDIO, 1 + stream->receivers->n);
}

/* Each costs encryption and a message for every receiver, in front of all media, and no budget counts it: a publisher
 * that sent nothing else would hold up all other streams. */
static gboolean
may_report (NatWorker *w, NatDataStream *stream)
{
  NatLimiter *l = &stream->reports;
  gint64 rate = REPORTS * (gint64)stream->n_tracks;

  if (l->rate == 0)
    nat_limiter_init (l, rate, 2 * rate, w->now_us);
  l->rate = rate; /* tracks come and go */
  l->burst = 2 * rate;
  if (nat_limiter_take (l, w->now_us, 1) && is_fair (w, stream))
    return TRUE;
  nat_counter_add (&w->counters->reports_limited, 1);
  return FALSE;
}

/* The report without its blocks: those were about us. One that goes nowhere is not noted either: no receiver will quote
 * it. */
static gsize
copy_sender_report (NatWorker *w, NatDataStream *stream, const NatRtcpPacket *sr, guint8 *out)
{
  NatDataTrack *track = nat_roster_track (stream, nat_rtcp_sender_ssrc (sr));
  NatRtcpSenderInfo info;

  if (!track || !nat_rtcp_sender_info (sr, &info) || !may_report (w, stream))
    return 0;
  nat_reception_sender_report (&track->reception, info.ntp, w->now_us);
  memcpy (out, sr->data, SR_SIZE);
  out[0] = 0x80;
  out[2] = 0;
  out[3] = SR_SIZE / 4 - 1;
  return SR_SIZE;
}

/* Chunks for announced sources only, as far as the first tells; padding was taken off by the walk,
 * so the length is written anew. */
static gsize
copy_description (NatDataStream *stream, const NatRtcpPacket *sdes, guint8 *out)
{
  if (!nat_roster_track (stream, nat_rtcp_sender_ssrc (sdes)))
    return 0;
  memcpy (out, sdes->data, sdes->len);
  out[0] &= 0xdf;
  out[2] = (guint8)((sdes->len / 4 - 1) >> 8);
  out[3] = (guint8)(sdes->len / 4 - 1);
  return sdes->len;
}

static void
pass_on (NatWorker *w, NatDataStream *stream, const guint8 *plain, gsize len)
{
  const NatReceivers *receivers = stream->receivers;
  NatCompound buf;

  for (guint i = 0; i < receivers->n; i++) {
    memcpy (buf, plain, len);
    nat_rtcpagg_send (w, receivers->list[i].session, buf, len);
  }
}

/* What comes out is never longer than what came in. */
static void
receive_from_publisher (NatWorker *w, NatDataStream *stream, NatRtcpIter *it)
{
  guint8 plain[NAT_COMPOUND_MAX];
  NatRtcpPacket packet;
  gsize len = 0;

  while (nat_rtcp_iter_next (it, &packet)) {
    if (packet.type == NAT_RTCP_SR)
      len += copy_sender_report (w, stream, &packet, plain + len);
    else if (packet.type == NAT_RTCP_SDES && len > 0)
      len += copy_description (stream, &packet, plain + len);
  }
  if (len == 0)
    return;
  nat_headstart_report (w, nat_roster_track (stream, nat_read_u32 (plain + 4)), plain, len);
  pass_on (w, stream, plain, len);
}

void
nat_rtcpagg_receive (NatWorker *w, NatPath *path, guint8 *data, gsize len)
{
  NatDataSession *s = path->session;
  NatSrtcp *srtcp = context (w, s, NAT_SRTCP_CLIENT_TO_RELAY);
  NatRtcpIter it;

  if (!srtcp || nat_srtcp_unprotect (srtcp, data, &len) != NAT_SRTCP_OK ||
      !nat_rtcp_iter_init (&it, data, len)) {
    nat_counter_add (&s->counters->rtcp_refused, 1);
    return;
  }
  nat_lifecycle_heard (w, s);
  nat_counter_add (&s->counters->rtcp_received, 1);
  if (s->role == NAT_ROLE_SUBSCRIBER)
    receive_from_subscriber (w, s, &it);
  else if (s->stream->publisher == s)
    receive_from_publisher (w, s->stream, &it);
}
