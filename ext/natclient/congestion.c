/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/congestion.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "natproto/rtp.h"

#define STREAMS    16
#define HISTORY    4096     /* packets remembered of each: 2 s at 16 Mbit/s and more */
#define REPAIR_US  10000000 /* no repair comes later than this */
#define REPORTED   4096     /* packets in one report, of all streams */
#define GROUP_US   5000     /* sent within this = one group, such as a picture */
#define GROUPS     64       /* of which arrival and size are remembered */
#define WINDOW_US  500000
#define TREND      12      /* groups that the trend is taken of */
#define JUMP_US    2000000 /* no queue grows by so much between two groups */
#define TREND_GAIN 4.0     /* as the draft's implementations have it */
#define THRESHOLD  12.5    /* ms: where the adaptive threshold starts */
#define OVERUSE_US 10000   /* so long above it before it counts */
#define BETA       0.85    /* what is left after overuse */
#define TRAIN_MIN  3       /* packets of a group that tell the link's rate */
#define TRAIN_US   3000    /* and it takes so long: arrival times come in milliseconds */
#define TRAINS     15
#define LOSS_US    500000
#define LOSS_MUCH  0.15
#define LOSSES     12
#define LOSSES_FEW 4
#define LOSS_FEW   50      /* packets; fewer tell nothing of loss */
#define LOWEST     30000.0 /* bits/s */

typedef enum { SENT_NONE, SENT_WAITING, SENT_TOLD } SentState;

typedef struct {
  gint64 sent_us;
  guint32 bytes;
  guint16 seq;
  guint8 state; /* SentState */
  gboolean resent;
} Sent;

typedef struct {
  guint32 ssrc;
  gint64 used_us;
  Sent sent[HISTORY];
} Stream;

typedef struct {
  gint64 sent_us, arrival_us;
  guint32 bytes;
} Arrival;

typedef struct {
  gint64 first_sent_us, last_sent_us, first_arrival_us, last_arrival_us;
  guint64 bytes, first_bytes;
  guint n;
} Group;

typedef enum { USAGE_NORMAL, USAGE_OVER, USAGE_UNDER } Usage;
typedef enum { PHASE_INCREASE, PHASE_HOLD } Phase;

struct _NatCongestion {
  Stream *streams[STREAMS];
  Arrival arrivals[REPORTED];
  guint n_arrivals;

  /* The relay's clock, unwrapped. */
  gboolean has_clock;
  guint32 clock_last;
  gint64 clock_high;

  gint64 since_us; /* when what is known of the path began; all from here on is of this path */
  Group current, before; /* the one that is filling, the last whole one */
  struct {
    gint64 arrival_us;
    guint64 bytes;
  } groups[GROUPS]; /* a ring */
  guint n_groups;

  /* Delay's trend. */
  gdouble accumulated_ms, smoothed_ms;
  struct {
    gdouble at_ms, delay_ms;
  } trend[TREND]; /* a ring */
  guint n_trend;
  gint64 trend_start_us;
  gdouble last_slope, threshold;
  gint64 threshold_us, over_since_us;
  guint n_over;
  Usage usage;

  gdouble trains[TRAINS]; /* bits/s, a ring */
  guint n_trains;
  gdouble link; /* bits/s: what they told last; 0 = nothing yet */

  Phase phase;
  gdouble rate;           /* bits/s by delay; 0 = not known */
  gdouble peak, peak_dev; /* arrival rates at overuse, and their relative deviation; 0 = none */
  gint64 rate_us, decreased_us;
  gdouble loss_rate; /* bits/s by loss; 0 = no limit */
  gdouble loss;
  gdouble losses[LOSSES]; /* of the last windows, a ring */
  guint n_losses;
  guint loss_all, loss_lost;
  gint64 loss_us;
};

NatCongestion *
nat_congestion_new (void)
{
  NatCongestion *c = g_new0 (NatCongestion, 1);

  c->threshold = THRESHOLD;
  return c;
}

void
nat_congestion_free (NatCongestion *c)
{
  if (!c)
    return;
  for (guint i = 0; i < STREAMS; i++)
    g_free (c->streams[i]);
  g_free (c);
}

void
nat_congestion_path_changed (NatCongestion *c, gint64 now_us)
{
  gsize from = G_STRUCT_OFFSET (NatCongestion, since_us);

  memset ((guint8 *)c + from, 0, sizeof *c - from);
  c->threshold = THRESHOLD;
  c->since_us = now_us;
}

guint64
nat_congestion_bitrate (const NatCongestion *c)
{
  gdouble rate = c->loss_rate > 0 ? MIN (c->rate, c->loss_rate) : c->rate;

  return c->rate > 0 ? (guint64)MAX (rate, LOWEST) : 0;
}

gdouble
nat_congestion_loss (const NatCongestion *c)
{
  return c->loss;
}

/* ---- What was sent ------------------------------------------------------ */

static Stream *
find_stream (NatCongestion *c, guint32 ssrc)
{
  for (guint i = 0; i < STREAMS && c->streams[i]; i++) {
    if (c->streams[i]->ssrc == ssrc)
      return c->streams[i];
  }
  return NULL;
}

/* A new one takes the place of the one that is silent for the longest, when all are taken. */
static Stream *
make_stream (NatCongestion *c, guint32 ssrc)
{
  guint at = 0;

  for (guint i = 0; i < STREAMS; i++) {
    if (!c->streams[i]) {
      at = i;
      break;
    }
    if (c->streams[i]->used_us < c->streams[at]->used_us)
      at = i;
  }
  g_free (c->streams[at]);
  c->streams[at] = g_new0 (Stream, 1);
  c->streams[at]->ssrc = ssrc;
  return c->streams[at];
}

static Sent *
find_sent (NatCongestion *c, guint32 ssrc, guint16 seq)
{
  Stream *s = find_stream (c, ssrc);
  Sent *sent = s ? &s->sent[seq % HISTORY] : NULL;

  return sent && sent->state != SENT_NONE && sent->seq == seq ? sent : NULL;
}

void
nat_congestion_sent (NatCongestion *c, const guint8 *packet, gsize len, gint64 now_us)
{
  NatRtpHeader h;
  Stream *s;
  Sent *sent;

  if (!nat_rtp_parse (&h, packet, len))
    return;
  s = find_stream (c, h.ssrc);
  if (!s)
    s = make_stream (c, h.ssrc);
  s->used_us = now_us;
  sent = &s->sent[h.seq % HISTORY];
  if (sent->state != SENT_NONE && sent->seq == h.seq && now_us - sent->sent_us < REPAIR_US)
    sent->resent = TRUE;
  else
    *sent = (Sent){now_us, (guint32)len, h.seq, SENT_WAITING, FALSE};
}

/* ---- How fast it arrives ------------------------------------------------ */

/* Bits per second of the groups that arrived in the window before the last one; 0: too few. */
static gdouble
arrival_rate (const NatCongestion *c)
{
  guint n = MIN (c->n_groups, GROUPS), used = 0;
  guint newest = (c->n_groups - 1) % GROUPS;
  gint64 end, first = 0;
  guint64 bytes = 0;

  if (n < 3)
    return 0;
  end = c->groups[newest].arrival_us;
  for (guint i = 0; i < n; i++) {
    guint k = (newest + GROUPS - i) % GROUPS;

    if (end - c->groups[k].arrival_us > WINDOW_US)
      break;
    first = c->groups[k].arrival_us;
    bytes += c->groups[k].bytes;
    used++;
  }
  /* n groups span n - 1 gaps. */
  if (used < 3 || end - first < WINDOW_US / 5)
    return 0;
  return (gdouble)bytes * 8e6 / (gdouble)(end - first) * (used - 1) / used;
}

static int
compare_double (gconstpointer a, gconstpointer b)
{
  gdouble x = *(const gdouble *)a, y = *(const gdouble *)b;

  return (x > y) - (x < y);
}

/* The link's own rate as the spacing of bursts tells it, the median; 0: too few have told. */
static gdouble
train_rate (const NatCongestion *c)
{
  gdouble sorted[TRAINS];

  if (c->n_trains < TRAINS)
    return 0;
  memcpy (sorted, c->trains, sizeof sorted);
  qsort (sorted, TRAINS, sizeof *sorted, compare_double);
  return sorted[TRAINS / 2];
}

static void
note_train (NatCongestion *c, const Group *g)
{
  gint64 spread = g->last_arrival_us - g->first_arrival_us;
  gint64 sending = g->last_sent_us - g->first_sent_us;

  /* Slower than it was sent: the link spread it, not the sender. */
  if (g->n < TRAIN_MIN || spread < TRAIN_US || spread < 2 * sending)
    return;
  c->trains[c->n_trains++ % TRAINS] = (gdouble)(g->bytes - g->first_bytes) * 8e6 / (gdouble)spread;
  /* The count says no more than "full"; keep it small. */
  if (c->n_trains == 2 * TRAINS)
    c->n_trains = TRAINS;
}

/* ---- Delay's trend ------------------------------------------------------ */

/* Least squares over the ring; ms of delay per ms. */
static gdouble
slope (const NatCongestion *c)
{
  gdouble x = 0, y = 0, xy = 0, xx = 0;

  for (guint i = 0; i < TREND; i++) {
    x += c->trend[i].at_ms / TREND;
    y += c->trend[i].delay_ms / TREND;
  }
  for (guint i = 0; i < TREND; i++) {
    gdouble dx = c->trend[i].at_ms - x;

    xy += dx * (c->trend[i].delay_ms - y);
    xx += dx * dx;
  }
  return xx > 0 ? xy / xx : 0;
}

/* Follows what is usual, so that a link that always jitters does not count as full; fast downwards. */
static void
adapt_threshold (NatCongestion *c, gdouble trend, gint64 now_us)
{
  gdouble ms = (gdouble)MIN (now_us - c->threshold_us, 100000) / 1000;
  gdouble k = fabs (trend) < c->threshold ? 0.039 : 0.0087;

  c->threshold_us = now_us;
  if (fabs (trend) > c->threshold + 15)
    return; /* a sudden jump is no habit */
  c->threshold = CLAMP (c->threshold + k * (fabs (trend) - c->threshold) * ms, 6, 600);
}

static void
detect (NatCongestion *c, gdouble gradient, gint64 now_us)
{
  gdouble trend = gradient * MIN (c->n_trend, 60) * TREND_GAIN;

  if (trend > c->threshold) {
    if (c->n_over++ == 0)
      c->over_since_us = now_us;
    if (c->n_over > 1 && now_us - c->over_since_us >= OVERUSE_US && gradient >= c->last_slope)
      c->usage = USAGE_OVER;
  } else {
    c->n_over = 0;
    c->usage = trend < -c->threshold ? USAGE_UNDER : USAGE_NORMAL;
  }
  c->last_slope = gradient;
  adapt_threshold (c, trend, now_us);
}

static void
note_variation (NatCongestion *c, gdouble variation_ms, gint64 arrival_us)
{
  guint at = c->n_trend % TREND;

  if (c->n_trend == 0)
    c->trend_start_us = c->threshold_us = arrival_us;
  c->accumulated_ms += variation_ms;
  c->smoothed_ms = 0.9 * c->smoothed_ms + 0.1 * c->accumulated_ms;
  c->trend[at].at_ms = (gdouble)(arrival_us - c->trend_start_us) / 1000;
  c->trend[at].delay_ms = c->smoothed_ms;
  if (++c->n_trend >= TREND)
    detect (c, slope (c), arrival_us);
  /* Only its being large matters. */
  if (c->n_trend == 60 * TREND)
    c->n_trend = 30 * TREND;
}

/* ---- Groups ------------------------------------------------------------- */

static void
forget_trend (NatCongestion *c)
{
  c->n_trend = 0;
  c->n_over = 0;
  c->accumulated_ms = c->smoothed_ms = c->last_slope = 0;
  c->usage = USAGE_NORMAL;
  c->before.n = 0;
}

/* A larger picture takes longer to arrive, whatever the queue does. */
static gdouble
own_delay_ms (NatCongestion *c, const Group *g, const Group *before)
{
  gdouble train = train_rate (c);

  if (train > 0)
    c->link = train;
  return c->link > 0 ? ((gdouble)g->bytes - (gdouble)before->bytes) * 8000 / c->link : 0;
}

static void
finish_group (NatCongestion *c)
{
  const Group *g = &c->current, *b = &c->before;

  if (b->n > 0 && g->last_sent_us - b->last_sent_us > 4 * WINDOW_US)
    forget_trend (c); /* after a pause the path may be another one */
  if (b->n > 0) {
    gint64 variation =
        (g->last_arrival_us - b->last_arrival_us) - (g->last_sent_us - b->last_sent_us);

    if (ABS (variation) > JUMP_US)
      forget_trend (c); /* another relay's clock, or the link stood still */
    else
      note_variation (c, (gdouble)variation / 1000 - own_delay_ms (c, g, b), g->last_arrival_us);
  }
  note_train (c, g);
  c->groups[c->n_groups % GROUPS].arrival_us = g->last_arrival_us;
  c->groups[c->n_groups % GROUPS].bytes = g->bytes;
  if (++c->n_groups == 2 * GROUPS)
    c->n_groups = GROUPS;
  c->before = c->current;
}

static void
note_arrival (NatCongestion *c, const Arrival *a)
{
  Group *g = &c->current;

  if (g->n > 0 && a->sent_us - g->first_sent_us > GROUP_US) {
    finish_group (c);
    g->n = 0;
  }
  if (g->n == 0)
    *g = (Group){a->sent_us, a->sent_us, a->arrival_us, a->arrival_us, 0, a->bytes, 0};
  g->n++;
  g->bytes += a->bytes;
  g->last_sent_us = MAX (g->last_sent_us, a->sent_us);
  g->first_arrival_us = MIN (g->first_arrival_us, a->arrival_us);
  g->last_arrival_us = MAX (g->last_arrival_us, a->arrival_us);
}

/* ---- What follows ------------------------------------------------------- */

static gboolean
near_peak (const NatCongestion *c, gdouble arriving)
{
  return c->peak > 0 && arriving < c->peak * (1 + 3 * c->peak_dev) &&
         arriving > c->peak * (1 - 3 * c->peak_dev);
}

static void
remember_peak (NatCongestion *c, gdouble arriving)
{
  gdouble off;

  if (c->peak == 0 || arriving < c->peak * (1 - 3 * c->peak_dev)) {
    c->peak = arriving;
    c->peak_dev = 0.1;
    return;
  }
  off = fabs (arriving - c->peak) / c->peak;
  c->peak += 0.05 * (arriving - c->peak);
  c->peak_dev = CLAMP (0.95 * c->peak_dev + 0.05 * off, 0.03, 0.2);
}

/* Slowly near the rate at which the link was full before, else by 8 % a second; by more while bursts say that
 * it has twice the room. What arrives bounds the growth alone: little may be there to send, as of a still picture, and
 * that says nothing of the link. */
static void
increase (NatCongestion *c, gdouble arriving, gdouble seconds)
{
  gdouble train = train_rate (c), most = MAX (1.5 * arriving + 10000, 0.85 * train);
  gdouble before = c->rate;

  if (arriving > c->peak * (1 + 3 * c->peak_dev) || train > 2 * c->peak)
    c->peak = 0; /* it is another link now */
  if (near_peak (c, arriving))
    c->rate += MAX (0.02 * c->rate, 10000) * seconds;
  else
    c->rate *= pow (c->peak == 0 && c->rate < train / 2 ? 1.5 : 1.08, seconds);
  /* Where much is lost, a queue too short to be seen may be what loses it. */
  if (c->loss > 0.05 && c->link > 0)
    most = before = MIN (most, 0.9 * c->link);
  c->rate = MIN (c->rate, MAX (MAX (most, before), LOWEST));
}

static void
decrease (NatCongestion *c, gdouble arriving, gint64 now_us)
{
  c->rate = MIN (c->rate, BETA * arriving);
  remember_peak (c, arriving);
  c->decreased_us = now_us;
  /* Until the queue has drained. */
  c->phase = PHASE_HOLD;
  c->n_trains = 0; /* those that came through a queue with others */
}

static void
follow_delay (NatCongestion *c, gint64 now_us)
{
  gdouble arriving = arrival_rate (c);
  gdouble seconds = CLAMP ((gdouble)(now_us - c->rate_us) / 1e6, 0, 1);

  if (arriving <= 0)
    return;
  if (c->rate == 0)
    c->rate = MAX (1.5 * arriving, LOWEST);
  else if (c->usage == USAGE_OVER && now_us - c->decreased_us > 300000)
    decrease (c, arriving, now_us);
  else if (c->usage == USAGE_UNDER)
    c->phase = PHASE_HOLD;
  else if (c->usage == USAGE_NORMAL && c->phase == PHASE_HOLD)
    c->phase = PHASE_INCREASE;
  else if (c->usage == USAGE_NORMAL && c->loss <= LOSS_MUCH)
    increase (c, arriving, seconds);
  c->rate_us = now_us;
}

/* What the link loses whatever is sent: the least of the last windows; 0 until enough have been seen. A link that
 * loses a fifth is full, whatever it was before. */
static gdouble
usual_loss (const NatCongestion *c)
{
  gdouble least = 1;

  for (guint i = 0; i < MIN (c->n_losses, LOSSES); i++)
    least = MIN (least, c->losses[i]);
  return c->n_losses < LOSSES_FEW ? 0 : MIN (least, LOSS_MUCH);
}

/* Loss little above the usual is air, a tenth above it a queue that runs over. */
static void
follow_loss (NatCongestion *c, gint64 now_us)
{
  gdouble share, more;

  if (now_us - c->loss_us < LOSS_US || c->loss_all < LOSS_FEW)
    return;
  share = (gdouble)c->loss_lost / c->loss_all;
  c->losses[c->n_losses++ % LOSSES] = share;
  if (c->n_losses == 2 * LOSSES)
    c->n_losses = LOSSES;
  more = share - usual_loss (c);
  /* Chance alone makes a few packets more; two standard deviations are left to it. */
  if (more > 0.1 + 2 * sqrt (0.1 / c->loss_all) && c->rate > 0)
    c->loss_rate = (gdouble)nat_congestion_bitrate (c) * (1 - 0.5 * more);
  else if (more < 0.05 && c->loss_rate > 0)
    c->loss_rate *= 1.05;
  if (c->loss_rate > c->rate)
    c->loss_rate = 0;
  c->loss = share;
  c->loss_all = c->loss_lost = 0;
  c->loss_us = now_us;
}

/* ---- Feedback ----------------------------------------------------------- */

/* Microseconds of the relay's clock. */
static gint64
unwrap (NatCongestion *c, guint32 timestamp)
{
  gint32 ahead = (gint32)(timestamp - c->clock_last);

  if (!c->has_clock) {
    c->has_clock = TRUE;
    c->clock_high = timestamp;
  } else {
    c->clock_high += ahead;
  }
  c->clock_last = timestamp;
  return c->clock_high * G_USEC_PER_SEC / 65536;
}

static void
read_metric (NatCongestion *c, guint32 ssrc, guint16 seq, const NatCcfbMetric *m, gint64 report_us)
{
  Sent *sent = find_sent (c, ssrc, seq);

  if (!sent || sent->state == SENT_TOLD)
    return;
  sent->state = SENT_TOLD;
  if (sent->sent_us < c->since_us)
    return;
  c->loss_all++;
  if (!m->received || sent->resent) {
    c->loss_lost++;
    return;
  }
  if (m->age > NAT_CCFB_AGE_MAX || c->n_arrivals == REPORTED)
    return;
  c->arrivals[c->n_arrivals++] =
      (Arrival){sent->sent_us, report_us - (gint64)m->age * G_USEC_PER_SEC / 1024, sent->bytes};
}

static int
compare_arrivals (gconstpointer a, gconstpointer b)
{
  gint64 x = ((const Arrival *)a)->sent_us, y = ((const Arrival *)b)->sent_us;

  return (x > y) - (x < y);
}

gboolean
nat_congestion_feedback (NatCongestion *c, const NatRtcpPacket *packet, gint64 now_us)
{
  NatCcfbBlock block;
  NatCcfbIter it;
  guint32 timestamp;
  gint64 report_us;

  if (!nat_ccfb_iter_init (&it, packet, &timestamp))
    return FALSE;
  report_us = unwrap (c, timestamp);
  c->n_arrivals = 0;
  while (nat_ccfb_iter_next (&it, &block)) {
    for (guint i = 0; i < block.n_metrics; i++) {
      NatCcfbMetric m = nat_ccfb_metric (&block, i);

      read_metric (c, block.ssrc, (guint16)(block.begin_seq + i), &m, report_us);
    }
  }
  /* Streams come one after the other in a report; the link carried them mixed. */
  qsort (c->arrivals, c->n_arrivals, sizeof *c->arrivals, compare_arrivals);
  for (guint i = 0; i < c->n_arrivals; i++)
    note_arrival (c, &c->arrivals[i]);
  follow_delay (c, now_us);
  follow_loss (c, now_us);
  return TRUE;
}
