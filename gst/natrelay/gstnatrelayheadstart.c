/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayheadstart.h"
#include "natproto/rtcpapp.h"

#include <string.h>

#define MS(n) ((n) * (gint64)G_TIME_SPAN_MILLISECOND)

/* More would not be told from the live ones after them, nor be opened (SFrame's replay window). */
#define PACKETS_MAX 16000
/* More that are not there before the first live one were not lost. */
#define GAP_MAX 256
/* Without a packet: the relay is gone, or what is missing does not come. Live media waits no longer. */
#define PATIENCE_US MS (500)
/* What comes so late after the end is a repeat: the RTP session would take it for a jump backwards. */
#define AFTERMATH_US (5 * G_TIME_SPAN_SECOND)
/* Packets that change places on the way are not missing; nor is the rest while it comes. */
#define REORDER_US  MS (10)
#define TAIL_US     MS (60)
#define ASK_MIN_US  MS (30)
#define ASK_AT_ONCE 128
/* So long nothing live comes: the source is quiet. The jitterbuffer takes for a new beginning what is more than a second off,
 * so when the source goes on, its times are those of what is live. */
#define QUIET_US MS (1010)
/* So long after the last one came the relay has let go of them: it keeps them for two seconds after the end. */
#define KEPT_US MS (3000)
/* The burst comes in its order. What is so far ahead of it came another way, unless there are some in a row. */
#define AHEAD_MAX  32
#define STRAYS_MAX 8

typedef enum {
  LIVE,   /* without a past, or before it is known of */
  COMING, /* announced */
  OVER,
} State;

/* Packets that should have come: those before top, and those from the edge to n. */
typedef struct {
  guint top, n;
} Extent;

typedef struct {
  guint32 ssrc;
  State state;
  gboolean begun;  /* a live packet came to its pad */
  gboolean passed; /* one went to the RTP session */
  guint16 first_seq;
  guint announced;     /* packets, up to the edge; 0 = none */
  guint n;             /* and those between that and the first live one */
  GstBuffer **packets; /* n places while COMING */
  guint next;          /* to be taken */
  guint top;           /* behind the last one that came in order */
  guint strays;        /* in a row that came far ahead of that */
  gint64 told_us;      /* it was announced */
  gint64 progress_us;  /* the last one came */
  gint64 quiet_us;     /* none has come since that look; 0 = one has */
  Extent settling;     /* when it was last looked what is missing, */
  Extent settled;      /* and the time before */
  gint64 looked_us;    /* 0 = never */
  gint64 asked_us;     /* 0 = never */
  gint64 over_us;
  gint64 heard_us; /* it was spoken of, or a packet came */
} Past;

struct _GstNatRelayHeadstart {
  const GstNatRelayHeadstartHooks *hooks;
  gpointer user;

  GMutex lock; /* guards all below */
  GCond cond;
  gboolean started;
  guint32 own_ssrc;
  Past pasts[NAT_TRACKS_MAX];
  guint n_pasts;
  GstNatRelayHeadstartStats stats;
};

/* called with lock */
static Past *
find_past (GstNatRelayHeadstart *self, guint32 ssrc)
{
  for (guint i = 0; i < self->n_pasts; i++) {
    if (self->pasts[i].ssrc == ssrc)
      return &self->pasts[i];
  }
  return NULL;
}

/* called with lock. It keeps nothing, feeds no pad, and no repeats are to be expected. */
static gboolean
may_go (const Past *past, gint64 now_us)
{
  return !past->begun &&
         (past->state == LIVE || (past->state == OVER && now_us - past->over_us >= AFTERMATH_US));
}

/* called with lock; that of which nothing was heard for longest, or NULL */
static Past *
find_unheard (GstNatRelayHeadstart *self, gint64 now_us)
{
  Past *unheard = NULL;

  for (guint i = 0; i < self->n_pasts; i++) {
    Past *past = &self->pasts[i];

    if (may_go (past, now_us) && (unheard == NULL || past->heard_us < unheard->heard_us))
      unheard = past;
  }
  return unheard;
}

/* called with lock; NULL: so many tracks there cannot be. SSRCs that are of none make room. */
static Past *
need_past (GstNatRelayHeadstart *self, guint32 ssrc, gint64 now_us)
{
  Past *past = find_past (self, ssrc);

  if (past == NULL) {
    past = self->n_pasts < NAT_TRACKS_MAX ? &self->pasts[self->n_pasts++]
                                          : find_unheard (self, now_us);
    if (past != NULL)
      *past = (Past){.ssrc = ssrc};
  }
  if (past != NULL)
    past->heard_us = now_us;
  return past;
}

/* called with lock */
static void
end_past (GstNatRelayHeadstart *self, Past *past, gint64 now_us)
{
  if (past->state != COMING)
    return;
  for (guint i = past->next; i < past->n; i++)
    gst_clear_buffer (&past->packets[i]);
  g_clear_pointer (&past->packets, g_free);
  self->stats.given_up += past->next < past->n;
  past->state = OVER;
  past->over_us = now_us;
  g_cond_broadcast (&self->cond);
}

/* ---- what is missing ----------------------------------------------------- */

/* called with lock. Feedback may go without a report (RFC 5506). */
static void
send_nack (GstNatRelayHeadstart *self, Past *past, guint16 *seqs, guint n)
{
  guint8 compound[NAT_DATAGRAM_MAX];
  gsize len = nat_rtcp_write_nack (compound, sizeof compound, self->own_ssrc, past->ssrc, seqs, &n);

  self->hooks->send (self->user, compound, len);
  self->stats.nacks++;
}

/* called with lock. What is settled should have come two looks ago: it is not on another way. Where nothing comes any
 * more, the end is missing, too. */
static guint
find_missing (const Past *past, gint64 now_us, guint16 seqs[ASK_AT_ONCE])
{
  guint to = now_us - past->quiet_us >= TAIL_US ? past->n : past->settled.top, n = 0;

  if (now_us - past->progress_us >= KEPT_US)
    return 0;
  for (guint i = past->next; i < past->n && n < ASK_AT_ONCE; i++) {
    if (past->packets[i] == NULL && (i < to || (i >= past->announced && i < past->settled.n)))
      seqs[n++] = (guint16)(past->first_seq + i);
  }
  return n;
}

/* called with lock, whenever a packet comes, and while one is waited for: whoever takes them may be slow, and the relay keeps
 * them only for a while. Returns when to look again. */
static gint64
ask_for_missing (GstNatRelayHeadstart *self, Past *past, gint64 now_us)
{
  guint16 seqs[ASK_AT_ONCE];
  gint64 interval;
  guint n;

  if (now_us - past->looked_us < REORDER_US)
    return past->looked_us + REORDER_US;
  interval = MAX ((gint64)self->hooks->rtt_us (self->user) * 3 / 2, ASK_MIN_US);
  past->looked_us = now_us;
  if (past->quiet_us == 0)
    past->quiet_us = now_us;
  past->settled = past->settling;
  past->settling = (Extent){past->top, past->n};
  if (now_us - past->asked_us < interval)
    return past->asked_us + interval;
  n = find_missing (past, now_us, seqs);
  if (n == 0)
    return now_us + REORDER_US;
  send_nack (self, past, seqs, n);
  past->asked_us = now_us;
  return now_us + interval;
}

/* ---- what comes ---------------------------------------------------------- */

/* called with lock. An EDGE comes twice, in case that one is lost. A track that plays already (the client had to join
 * again) has no use for the past, but must be kept from it all the same. */
static void
take_edge (GstNatRelayHeadstart *self, const NatLiveEdge *edge, gint64 now_us)
{
  guint16 first_seq = (guint16)(edge->seq - edge->behind + 1);
  Past *past = need_past (self, edge->ssrc, now_us);

  if (past == NULL || edge->behind == 0 || edge->behind > PACKETS_MAX ||
      (past->announced == edge->behind && past->first_seq == first_seq))
    return;
  end_past (self, past, now_us);
  past->first_seq = first_seq;
  past->announced = past->n = edge->behind;
  past->next = past->top = past->strays = 0;
  past->settling = past->settled = (Extent){0};
  past->told_us = past->progress_us = now_us;
  past->quiet_us = past->looked_us = past->asked_us = 0;
  past->state = past->begun ? OVER : COMING;
  past->over_us = now_us;
  if (past->state == COMING)
    past->packets = g_new0 (GstBuffer *, past->n);
}

void
gst_nat_relay_headstart_take_rtcp (GstNatRelayHeadstart *self, const guint8 *data, gsize len)
{
  gint64 now_us = g_get_monotonic_time ();
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatRtcpPacket packet;
  NatRtcpIter it;

  if (!nat_rtcp_iter_init (&it, data, len))
    return;
  while (nat_rtcp_iter_next (&it, &packet)) {
    guint n = nat_rtcp_edges (&packet, edges);

    g_mutex_lock (&self->lock);
    for (guint i = 0; i < n && self->started; i++)
      take_edge (self, &edges[i], now_us);
    g_mutex_unlock (&self->lock);
  }
}

/* called with lock. Packets before top that are not there are missing; those behind it were not sent yet. What the
 * publisher's leg lost goes to everybody once it is repaired, the packets of the last moment before the edge among them. */
static void
note_top (Past *past, guint index)
{
  if (index >= past->announced || index < past->top ||
      (index - past->top >= AHEAD_MAX && ++past->strays < STRAYS_MAX))
    return;
  past->top = index + 1;
  past->strays = 0;
}

/* called with lock. The first live packet that comes is not the first that was sent, if that was lost: the RTP session begins
 * with what it sees first and takes no other, so what is between the edge and it is of the past, and can be waited for. */
static void
reach (Past *past, guint live)
{
  if (live <= past->n || live - past->n > GAP_MAX || live > PACKETS_MAX)
    return;
  past->packets = g_renew (GstBuffer *, past->packets, live);
  memset (past->packets + past->n, 0, (live - past->n) * sizeof *past->packets);
  past->n = live;
}

/* called with lock */
static void
keep_packet (GstNatRelayHeadstart *self, Past *past, guint index, GstBuffer *packet, gint64 now_us)
{
  if (index < past->next || past->packets[index] != NULL)
    return;
  past->packets[index] = gst_buffer_ref (packet);
  note_top (past, index);
  past->progress_us = now_us;
  past->quiet_us = 0;
  self->stats.packets++;
  if (index == past->next)
    g_cond_broadcast (&self->cond);
}

gboolean
gst_nat_relay_headstart_take_packet (
    GstNatRelayHeadstart *self, guint32 ssrc, guint16 seq, GstBuffer *packet)
{
  gint64 now_us = g_get_monotonic_time ();
  gboolean taken = FALSE;
  Past *past;
  guint index;

  g_mutex_lock (&self->lock);
  past = self->started ? need_past (self, ssrc, now_us) : NULL;
  if (past != NULL && past->state != LIVE) {
    index = (guint16)(seq - past->first_seq);
    if (past->state == COMING && !past->passed)
      reach (past, index);
    taken = index < past->n && (past->state == COMING || now_us - past->over_us < AFTERMATH_US);
    if (taken && past->state == COMING)
      keep_packet (self, past, index, packet, now_us);
    if (past->state == COMING)
      ask_for_missing (self, past, now_us);
  }
  if (past != NULL)
    past->passed |= !taken;
  g_mutex_unlock (&self->lock);
  return taken;
}

/* ---- a quiet source ------------------------------------------------------ */

/* called with lock; *look_us: when to look again, if that is sooner */
static GstBuffer *
release_last (GstNatRelayHeadstart *self, Past *past, gint64 now_us, gint64 *look_us)
{
  gint64 due_us = past->told_us + QUIET_US;

  if (past->state != COMING || past->passed)
    return NULL;
  if (now_us >= due_us && past->packets[past->n - 1] != NULL) {
    past->passed = TRUE;
    return g_steal_pointer (&past->packets[--past->n]);
  }
  if (now_us >= due_us && now_us - past->progress_us >= KEPT_US)
    return NULL;
  *look_us = MIN (*look_us, now_us >= due_us ? ask_for_missing (self, past, now_us) : due_us);
  return NULL;
}

GstBuffer *
gst_nat_relay_headstart_release (GstNatRelayHeadstart *self, gint64 now_us, gint64 *look_us)
{
  GstBuffer *packet = NULL;

  *look_us = G_MAXINT64;
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->n_pasts && packet == NULL; i++)
    packet = release_last (self, &self->pasts[i], now_us, look_us);
  g_mutex_unlock (&self->lock);
  return packet;
}

/* ---- what is taken ------------------------------------------------------- */

gboolean
gst_nat_relay_headstart_begin (GstNatRelayHeadstart *self, guint32 ssrc)
{
  gboolean coming = FALSE;
  Past *past;

  g_mutex_lock (&self->lock);
  past = self->started ? need_past (self, ssrc, g_get_monotonic_time ()) : NULL;
  if (past != NULL) {
    past->begun = TRUE;
    coming = past->state == COMING;
  }
  g_mutex_unlock (&self->lock);
  return coming;
}

/* called with lock, which is let go meanwhile. FALSE: it does not come. */
static gboolean
wait_for_next (GstNatRelayHeadstart *self, guint32 ssrc)
{
  gint64 waiting_us = g_get_monotonic_time ();
  Past *past;

  while ((past = find_past (self, ssrc)) != NULL && past->state == COMING && self->started) {
    gint64 now_us = g_get_monotonic_time (), until, given_up_us;

    if (past->next == past->n)
      return FALSE;
    if (past->packets[past->next] != NULL)
      return TRUE;
    given_up_us = MAX (past->progress_us, waiting_us) + PATIENCE_US;
    if (now_us >= given_up_us)
      return FALSE;
    until = ask_for_missing (self, past, now_us);
    g_cond_wait_until (&self->cond, &self->lock, MIN (until, given_up_us));
  }
  return FALSE;
}

GstBuffer *
gst_nat_relay_headstart_next (GstNatRelayHeadstart *self, guint32 ssrc, gboolean *complete)
{
  GstBuffer *packet = NULL;
  Past *past;

  g_mutex_lock (&self->lock);
  if (wait_for_next (self, ssrc)) {
    past = find_past (self, ssrc);
    packet = g_steal_pointer (&past->packets[past->next]);
    past->next++;
  } else {
    past = find_past (self, ssrc);
    *complete = past != NULL && past->n > 0 && past->next == past->n;
    if (past != NULL)
      end_past (self, past, g_get_monotonic_time ());
  }
  g_mutex_unlock (&self->lock);
  return packet;
}

void
gst_nat_relay_headstart_end (GstNatRelayHeadstart *self, guint32 ssrc)
{
  Past *past;

  g_mutex_lock (&self->lock);
  past = find_past (self, ssrc);
  if (past != NULL)
    end_past (self, past, g_get_monotonic_time ());
  g_mutex_unlock (&self->lock);
}

/* ---- the whole ----------------------------------------------------------- */

/* called with lock */
static void
forget_all (GstNatRelayHeadstart *self)
{
  for (guint i = 0; i < self->n_pasts; i++)
    end_past (self, &self->pasts[i], 0);
  self->n_pasts = 0;
  g_cond_broadcast (&self->cond);
}

void
gst_nat_relay_headstart_forget (GstNatRelayHeadstart *self, guint32 ssrc)
{
  Past *past;

  g_mutex_lock (&self->lock);
  past = find_past (self, ssrc);
  if (past != NULL) {
    end_past (self, past, 0);
    *past = self->pasts[--self->n_pasts];
  }
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_headstart_start (GstNatRelayHeadstart *self, guint32 own_ssrc)
{
  g_mutex_lock (&self->lock);
  forget_all (self);
  self->stats = (GstNatRelayHeadstartStats){0};
  self->own_ssrc = own_ssrc;
  self->started = TRUE;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_headstart_stop (GstNatRelayHeadstart *self)
{
  g_mutex_lock (&self->lock);
  self->started = FALSE;
  forget_all (self);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_headstart_get_stats (GstNatRelayHeadstart *self, GstNatRelayHeadstartStats *stats)
{
  g_mutex_lock (&self->lock);
  *stats = self->stats;
  g_mutex_unlock (&self->lock);
}

GstNatRelayHeadstart *
gst_nat_relay_headstart_new (const GstNatRelayHeadstartHooks *hooks, gpointer user)
{
  GstNatRelayHeadstart *self = g_new0 (GstNatRelayHeadstart, 1);

  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->hooks = hooks;
  self->user = user;
  return self;
}

void
gst_nat_relay_headstart_free (GstNatRelayHeadstart *self)
{
  gst_nat_relay_headstart_stop (self);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}
