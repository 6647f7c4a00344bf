/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayrepair.h"
#include "natproto/missing.h"
#include "natproto/messages.h"
#include "natproto/rtcp.h"
#include "natproto/rtcpapp.h"
#include "natproto/seqnum.h"

#include <string.h>

#define MS(n) ((gint64)(n)*1000)

/* Packets of one SSRC that may be missing at a time: 200 ms of 50 Mbit/s. */
#define MISSING_MAX 1024
/* A late packet is one if it is so near, or no further than what is missing; else the sender began anew. */
#define MISORDER 1024
/* Sequence numbers asked for in one round; the rest follows at once. */
#define ASK_MAX 256
/* One compound: a datagram that fits wherever media fits. */
#define COMPOUND_MAX 1100

#define CHECK_EVERY 256 /* packets between two looks at the round trip */
/* A gap shows with the next packet, and may be reordering: on each leg. */
#define NOTICE_US MS (10)
/* So many packets that came too late, and one to so many that came in time, are no mishap. */
#define LATE_MIN   8
#define LATE_SHARE 8

typedef struct {
  guint32 ssrc;
  NatSeqCounter counter;
  NatMissing missing;
  NatMissingPacket *memory;
  gint64 heard_us;
} Source;

struct _GstNatRelayRepair {
  const GstNatRelayRepairHooks *hooks;
  gpointer user;

  GMutex lock; /* guards all below; before the session's */
  gboolean enabled;
  gint64 latency_us;
  guint32 own_ssrc;
  Source sources[NAT_TRACKS_MAX];
  guint n_sources;
  guint64 nacks;
  GstNatRelayRepairStats gone; /* counts of sources that had to make room */
  guint unchecked;             /* packets since the round trip was looked at */
  gboolean told_too_short;
};

/* ---- sources ------------------------------------------------------------- */

static void
add_counts (GstNatRelayRepairStats *to, const NatMissing *missing)
{
  to->asked += missing->asked;
  to->recovered += missing->repaired;
  to->late += missing->late;
  to->reordered += missing->reordered;
}

/* called with lock */
static void
source_init (GstNatRelayRepair *self, Source *source, guint32 ssrc)
{
  source->ssrc = ssrc;
  nat_seq_counter_init (&source->counter);
  nat_missing_init (&source->missing, source->memory, MISSING_MAX);
  nat_missing_set_pace (&source->missing, self->hooks->rtt_us (self->user), self->latency_us);
}

/* called with lock; the one that was heard of last makes room where there is none */
static Source *
need_source (GstNatRelayRepair *self, guint32 ssrc)
{
  Source *source = NULL;

  for (guint i = 0; i < self->n_sources; i++) {
    if (self->sources[i].ssrc == ssrc)
      return &self->sources[i];
    if (source == NULL || self->sources[i].heard_us < source->heard_us)
      source = &self->sources[i];
  }
  if (self->n_sources < NAT_TRACKS_MAX) {
    source = &self->sources[self->n_sources++];
    source->memory = g_new (NatMissingPacket, MISSING_MAX);
  } else {
    add_counts (&self->gone, &source->missing);
  }
  source_init (self, source, ssrc);
  return source;
}

/* called with lock */
static void
forget_sources (GstNatRelayRepair *self)
{
  for (guint i = 0; i < self->n_sources; i++) {
    add_counts (&self->gone, &self->sources[i].missing);
    g_clear_pointer (&self->sources[i].memory, g_free);
  }
  self->n_sources = 0;
}

/* ---- is the latency enough? ---------------------------------------------- */

static guint
round_up_ms (gint64 us)
{
  return (guint)((us + MS (10) - 1) / MS (10) * 10);
}

/* called with lock; the latency in ms that would do, 0 if this one does. The publisher's round trip is not known here: it
 * is taken to be like ours. How long repairs really took says more, if many came too late. */
static guint
latency_needed (GstNatRelayRepair *self, gint64 rtt_us)
{
  gint64 needed = 2 * (rtt_us + NOTICE_US);

  for (guint i = 0; i < self->n_sources; i++) {
    const NatMissing *missing = &self->sources[i].missing;

    if (missing->late >= LATE_MIN && missing->late > missing->repaired / LATE_SHARE)
      needed = MAX (needed, missing->latest_us + NOTICE_US);
  }
  return rtt_us > 0 && needed > self->latency_us ? round_up_ms (needed) : 0;
}

/* called with lock; the latency to be told of, or 0. Also hands the round trip on. */
static guint
check_pace (GstNatRelayRepair *self, guint *rtt_ms)
{
  guint rtt_us = self->hooks->rtt_us (self->user), needed;

  self->unchecked = 0;
  for (guint i = 0; i < self->n_sources; i++)
    nat_missing_set_pace (&self->sources[i].missing, rtt_us, self->latency_us);
  if (self->told_too_short)
    return 0;
  needed = latency_needed (self, rtt_us);
  self->told_too_short = needed > 0;
  *rtt_ms = (rtt_us + 500) / 1000;
  return needed;
}

/* ---- packets ------------------------------------------------------------- */

static guint
misorder (const NatMissing *missing)
{
  guint64 oldest = missing->n > 0 ? missing->highest - missing->packets[0].seq : 0;

  return (guint)MAX (oldest, MISORDER);
}

/* called with lock; how late it is */
static gint64
take_packet (GstNatRelayRepair *self, guint32 ssrc, guint16 seq, gint64 now_us)
{
  Source *source = need_source (self, ssrc);
  guint64 extended;

  source->heard_us = now_us;
  switch (nat_seq_counter_update (&source->counter, seq, misorder (&source->missing), &extended)) {
  case NAT_SEQ_BAD: return 0;
  case NAT_SEQ_RESTART: nat_missing_reset (&source->missing); break;
  case NAT_SEQ_NEXT:
  case NAT_SEQ_GAP:
  case NAT_SEQ_LATE: break;
  }
  if (nat_missing_receive (&source->missing, extended, now_us) == NAT_MISSING_LATE)
    self->unchecked = CHECK_EVERY;
  return source->missing.late_us;
}

gint64
gst_nat_relay_repair_receive (GstNatRelayRepair *self, guint32 ssrc, guint16 seq, gint64 now_us)
{
  guint needed_ms = 0, latency_ms = 0, rtt_ms = 0;
  gint64 late_us = 0;

  g_mutex_lock (&self->lock);
  if (self->enabled) {
    late_us = take_packet (self, ssrc, seq, now_us);
    if (++self->unchecked >= CHECK_EVERY)
      needed_ms = check_pace (self, &rtt_ms);
    latency_ms = (guint)(self->latency_us / 1000);
  }
  g_mutex_unlock (&self->lock);
  if (needed_ms > 0)
    self->hooks->too_short (self->user, latency_ms, needed_ms, rtt_ms);
  return late_us;
}

/* called with lock */
static void
take_beginning (GstNatRelayRepair *self, const NatLiveEdge *edge)
{
  for (guint i = 0; i < self->n_sources; i++) {
    Source *source = &self->sources[i];
    guint64 highest = source->counter.highest;

    if (source->ssrc == edge->ssrc && source->counter.started)
      nat_missing_give_up (&source->missing, highest - (guint16)((guint16)highest - edge->seq));
  }
}

void
gst_nat_relay_repair_take_rtcp (GstNatRelayRepair *self, const guint8 *data, gsize len)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatRtcpPacket packet;
  NatRtcpIter it;

  if (!nat_rtcp_iter_init (&it, data, len))
    return;
  g_mutex_lock (&self->lock);
  while (nat_rtcp_iter_next (&it, &packet)) {
    guint n = nat_rtcp_edges (&packet, edges);

    for (guint i = 0; i < n; i++)
      if (edges[i].behind == 0)
        take_beginning (self, &edges[i]);
  }
  g_mutex_unlock (&self->lock);
}

gint64
gst_nat_relay_repair_deadline (GstNatRelayRepair *self)
{
  gint64 deadline = G_MAXINT64;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->n_sources; i++)
    deadline = MIN (deadline, nat_missing_deadline (&self->sources[i].missing));
  g_mutex_unlock (&self->lock);
  return deadline;
}

/* ---- questions ----------------------------------------------------------- */

typedef struct {
  guint8 bytes[COMPOUND_MAX];
  gsize len;
} Compound;

/* called with lock */
static void
compound_send (GstNatRelayRepair *self, Compound *compound)
{
  if (compound->len == 0)
    return;
  self->hooks->send (self->user, compound->bytes, compound->len);
  self->nacks++;
  compound->len = 0;
}

/* called with lock; feedback may go without a report (RFC 5506) */
static void
compound_add (
    GstNatRelayRepair *self, Compound *compound, guint32 ssrc, const guint16 *seqs, guint n)
{
  while (n > 0) {
    guint some = n;

    compound->len += nat_rtcp_write_nack (compound->bytes + compound->len,
        COMPOUND_MAX - compound->len, self->own_ssrc, ssrc, seqs, &some);
    seqs += some;
    n -= some;
    if (n > 0)
      compound_send (self, compound);
  }
}

void
gst_nat_relay_repair_run (GstNatRelayRepair *self, gint64 now_us)
{
  Compound compound = {.len = 0};
  guint16 seqs[ASK_MAX];

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->n_sources; i++) {
    Source *source = &self->sources[i];
    guint n;

    do {
      n = nat_missing_due (&source->missing, now_us, seqs, ASK_MAX);
      compound_add (self, &compound, source->ssrc, seqs, n);
    } while (n == ASK_MAX);
  }
  compound_send (self, &compound);
  g_mutex_unlock (&self->lock);
}

/* ---- the whole ----------------------------------------------------------- */

GstNatRelayRepair *
gst_nat_relay_repair_new (const GstNatRelayRepairHooks *hooks, gpointer user)
{
  GstNatRelayRepair *self = g_new0 (GstNatRelayRepair, 1);

  g_mutex_init (&self->lock);
  self->hooks = hooks;
  self->user = user;
  self->enabled = TRUE;
  return self;
}

void
gst_nat_relay_repair_free (GstNatRelayRepair *self)
{
  forget_sources (self);
  g_mutex_clear (&self->lock);
  g_free (self);
}

void
gst_nat_relay_repair_set_enabled (GstNatRelayRepair *self, gboolean enabled)
{
  g_mutex_lock (&self->lock);
  self->enabled = enabled;
  if (!enabled)
    forget_sources (self);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_repair_set_latency (GstNatRelayRepair *self, GstClockTime latency)
{
  g_mutex_lock (&self->lock);
  self->latency_us = (gint64)GST_TIME_AS_USECONDS (latency);
  self->unchecked = CHECK_EVERY;
  self->told_too_short = FALSE;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_repair_start (GstNatRelayRepair *self, guint32 own_ssrc)
{
  g_mutex_lock (&self->lock);
  forget_sources (self);
  memset (&self->gone, 0, sizeof self->gone);
  self->nacks = 0;
  self->own_ssrc = own_ssrc;
  self->unchecked = 0;
  self->told_too_short = FALSE;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_repair_skip (GstNatRelayRepair *self)
{
  g_mutex_lock (&self->lock);
  forget_sources (self);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_repair_get_stats (GstNatRelayRepair *self, GstNatRelayRepairStats *stats)
{
  g_mutex_lock (&self->lock);
  *stats = self->gone;
  stats->nacks = self->nacks;
  for (guint i = 0; i < self->n_sources; i++)
    add_counts (stats, &self->sources[i].missing);
  g_mutex_unlock (&self->lock);
}
