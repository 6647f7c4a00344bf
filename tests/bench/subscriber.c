/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "traffic.h"

#include <netinet/in.h>
#include <string.h>
#include <time.h>

#define MESSAGES     64 /* read at once */
#define MESSAGES_GRO 8
#define PEEK         64 /* bytes copied when the rest is not looked at */

struct _BenchReceiver {
  gsize size;
  BenchReceiverMode mode;
  guint n_messages;
  gsize capacity;
  guint8 *buffers;
  struct mmsghdr messages[MESSAGES];
  struct iovec iov[MESSAGES];
  guint8 control[MESSAGES][64];
  guint32 phase;
  guint64 unique;
  gint64 last_ns;
  BenchStrays strays;
  BenchHistogram latency;
};

BenchReceiver *
bench_receiver_new (gsize size, BenchReceiverMode mode)
{
  BenchReceiver *r = g_new0 (BenchReceiver, 1);

  r->size = size;
  r->mode = mode;
  r->n_messages = mode.gro ? MESSAGES_GRO : MESSAGES;
  r->capacity = mode.gro ? 65536 : mode.verify ? 2048 : PEEK;
  r->buffers = g_malloc0 (r->n_messages * r->capacity);
  for (guint i = 0; i < r->n_messages; i++) {
    r->iov[i] = (struct iovec){r->buffers + i * r->capacity, r->capacity};
    r->messages[i].msg_hdr.msg_iov = &r->iov[i];
    r->messages[i].msg_hdr.msg_iovlen = 1;
    r->messages[i].msg_hdr.msg_control = mode.gro || mode.stamps ? r->control[i] : NULL;
  }
  return r;
}

void
bench_receiver_free (BenchReceiver *r)
{
  if (!r)
    return;
  g_free (r->buffers);
  g_free (r);
}

void
bench_receiver_begin (BenchReceiver *r, guint32 phase)
{
  r->phase = phase;
  r->unique = 0;
  r->last_ns = 0;
  memset (&r->strays, 0, sizeof r->strays);
  bench_histogram_clear (&r->latency);
}

const BenchHistogram *
bench_receiver_latency (BenchReceiver *r)
{
  return &r->latency;
}

const BenchStrays *
bench_receiver_strays (BenchReceiver *r)
{
  return &r->strays;
}

guint64
bench_receiver_unique (BenchReceiver *r)
{
  return r->unique;
}

gint64
bench_receiver_last_ns (BenchReceiver *r)
{
  return r->last_ns;
}

void
bench_subscriber_begin (BenchSubscriber *s)
{
  s->any = FALSE;
  s->unique = s->duplicates = s->reordered = 0;
}

/* TRUE the first time that this bit is set. */
static gboolean
mark (BenchSubscriber *s, guint32 sequence)
{
  guint8 *byte = &s->seen[(sequence % BENCH_WINDOW) / 8];
  guint8 bit = (guint8)(1u << (sequence % 8));
  gboolean first = !(*byte & bit);

  *byte |= bit;
  return first;
}

static void
advance (BenchSubscriber *s, guint32 sequence)
{
  guint32 ahead = sequence - s->highest;

  if (!s->any || ahead >= BENCH_WINDOW)
    memset (s->seen, 0, sizeof s->seen);
  else
    for (guint32 i = s->highest + 1; i != sequence; i++)
      s->seen[(i % BENCH_WINDOW) / 8] &= (guint8) ~(1u << (i % 8));
  s->seen[(sequence % BENCH_WINDOW) / 8] &= (guint8) ~(1u << (sequence % 8));
  s->highest = sequence;
  s->any = TRUE;
}

/* FALSE for one that came before, or too late to know. */
static gboolean
count (BenchSubscriber *s, guint32 sequence)
{
  gint32 ahead = (gint32)(sequence - s->highest);

  if (!s->any || ahead > 0)
    advance (s, sequence);
  else if (ahead <= -BENCH_WINDOW || !mark (s, sequence)) {
    s->duplicates++;
    return FALSE;
  } else
    s->reordered++;
  mark (s, sequence);
  s->unique++;
  return TRUE;
}

static gboolean
intact (BenchReceiver *r, const guint8 *data)
{
  for (gsize k = BENCH_SIZE_MIN; k < r->size; k++)
    if (data[k] != bench_filler (k))
      return FALSE;
  return data[0] == 0x80 && (data[1] & 0x7f) == BENCH_PAYLOAD_TYPE;
}

static void
judge (BenchReceiver *r, BenchSubscriber *s, const guint8 *data, gsize len, gint64 now)
{
  BenchProbe probe = {0};

  if (len >= BENCH_SIZE_MIN)
    memcpy (&probe, data + BENCH_RTP_HEADER, sizeof probe);
  if (probe.magic != BENCH_PROBE_MAGIC)
    r->strays.other++;
  else if (len != r->size || (r->mode.verify && !intact (r, data)))
    r->strays.damaged++;
  else if (probe.phase != r->phase)
    r->strays.stale++;
  else if (probe.publisher != s->publisher)
    r->strays.misrouted++;
  else if (count (s, probe.sequence)) {
    bench_histogram_add (&r->latency, now - probe.sent_ns);
    r->unique++;
    r->last_ns = now;
  }
}

static gsize
segment_of (struct msghdr *m, gsize len)
{
  for (struct cmsghdr *c = CMSG_FIRSTHDR (m); c; c = CMSG_NXTHDR (m, c)) {
    int segment;

    if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO)
      continue;
    memcpy (&segment, CMSG_DATA (c), sizeof segment);
    return segment > 0 ? (gsize)segment : len;
  }
  return len;
}

/* Monotonic, like our own: real is CLOCK_REALTIME's at the time now. */
static gint64
arrival_of (struct msghdr *m, gint64 now, gint64 real)
{
  for (struct cmsghdr *c = CMSG_FIRSTHDR (m); c; c = CMSG_NXTHDR (m, c)) {
    struct timespec t;

    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
      continue;
    memcpy (&t, CMSG_DATA (c), sizeof t);
    return now - (real - ((gint64)t.tv_sec * 1000000000 + t.tv_nsec));
  }
  return now;
}

static gint64
real_now_ns (void)
{
  struct timespec t;

  clock_gettime (CLOCK_REALTIME, &t);
  return (gint64)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
judge_message (BenchReceiver *r, BenchSubscriber *s, guint i, gint64 now)
{
  const guint8 *data = r->iov[i].iov_base;
  gsize len = r->messages[i].msg_len, segment = len;

  if (r->mode.gro)
    segment = segment_of (&r->messages[i].msg_hdr, len);
  for (gsize at = 0; at < len; at += segment)
    judge (r, s, data + at, MIN (segment, len - at), now);
}

/* The receiver never sleeps on its sockets, and uses no epoll: waking it would be charged to
 * the relay, in whose context loopback delivers. */
gboolean
bench_receiver_read (BenchReceiver *r, BenchSubscriber *s)
{
  gint64 now, real;
  int n;

  for (guint i = 0; (r->mode.gro || r->mode.stamps) && i < r->n_messages; i++)
    r->messages[i].msg_hdr.msg_controllen = sizeof r->control[i];
  n = recvmmsg (s->fd, r->messages, r->n_messages, MSG_DONTWAIT | MSG_TRUNC, NULL);
  if (n <= 0)
    return FALSE;
  now = bench_now_ns ();
  real = r->mode.stamps ? real_now_ns () : 0;
  for (int i = 0; i < n; i++)
    judge_message (
        r, s, (guint)i, r->mode.stamps ? arrival_of (&r->messages[i].msg_hdr, now, real) : now);
  return n == (int)r->n_messages;
}

void
bench_drain (int fd)
{
  guint8 byte;

  while (recv (fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0)
    ;
}
