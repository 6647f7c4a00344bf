/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A batch's packets are strung together per stream as they are checked; the flush cuts each string
 * into runs of equal size, and every run goes to every receiver as one message. Nothing is copied:
 * the runs point into the receive buffers, which stay until the next read. */

#include "natserver/data/forward.h"

#include <string.h>

#define PENDING_MAX (NAT_UDPIO_SLOTS * NAT_UDPIO_SEGMENTS)
#define SEND_MAX    256

typedef struct {
  guint8 *data;
  gsize len;
  gint next; /* of the same stream; -1 = last */
} Pending;

struct _NatForward {
  Pending pending[PENDING_MAX];
  guint n_pending;
  NatDataStream *streams[PENDING_MAX]; /* that have pending packets */
  guint n_streams;

  /* Of the stream that is being flushed. */
  struct iovec iov[PENDING_MAX];
  NatUdpRun runs[PENDING_MAX];
  guint n_iov, n_runs;
  NatUdpMessage messages[SEND_MAX];
  guint n_messages;
};

NatForward *
nat_forward_new (void)
{
  return g_new0 (NatForward, 1);
}

void
nat_forward_free (NatForward *f)
{
  g_free (f);
}

/* ---- Checks ------------------------------------------------------------ */

static void
count_received (NatDataSession *s, const NatDataStream *stream, gsize len)
{
  NatSessionCounters *c = s->counters;
  guint64 lost = 0;

  for (guint i = 0; i < stream->n_tracks; i++)
    lost += nat_reception_lost (&stream->tracks[i].reception);
  nat_counter_add (&c->packets_received, 1);
  nat_counter_add (&c->bytes_received, len);
  atomic_store_explicit (&c->packets_lost, lost, memory_order_relaxed);
}

static void
keep (NatWorker *w, NatDataStream *stream, guint8 *data, gsize len)
{
  NatForward *f = w->forward;
  gint index;

  if (f->n_pending == PENDING_MAX)
    nat_forward_flush (w);
  index = (gint)f->n_pending++;
  f->pending[index] = (Pending){data, len, -1};
  if (stream->first_pending < 0) {
    stream->first_pending = index;
    f->streams[f->n_streams++] = stream;
  } else {
    f->pending[stream->last_pending].next = index;
  }
  stream->last_pending = index;
}

/* Version 0 says that the relay lacks the description: whatever tracks are left are another's. */
static NatDataTrack *
check (NatWorker *w, NatDataSession *s, const NatRtpHeader *h, gsize len)
{
  NatDataTrack *track = nat_roster_track (s->stream, h->ssrc);

  if (s->stream->publisher == s && s->stream->version != 0 && track &&
      (!s->rate || nat_limiter_take (s->rate, w->now_us, (gint64)len)))
    return track;
  nat_counter_add (&s->counters->rtp_refused, 1);
  return NULL;
}

void
nat_forward_receive (NatWorker *w, NatPath *path, guint8 *data, gsize len)
{
  NatDataSession *s = path->session;
  NatDataTrack *track;
  NatRtpHeader h;

  if (!nat_rtp_parse (&h, data, len)) {
    nat_counter_add (&s->counters->rtp_refused, 1);
    nat_counter_add (&w->counters->drop_malformed, 1);
    return;
  }
  nat_lifecycle_heard (w, s);
  track = check (w, s, &h, len);
  if (!track)
    return;
  nat_reception_update (&track->reception, &h, w->now_us);
  count_received (s, s->stream, len);
  s->stream->rtp_arrived = TRUE;
  nat_roster_activate (w->roster, s->stream);
  keep (w, s->stream, data, len);
}

/* ---- Flush ------------------------------------------------------------- */

/* Whether the packet may follow in the run: its sizes so far are equal, this one is no
 * longer, and one message still holds it. */
static gboolean
fits (const NatUdpRun *run, gsize len)
{
  return len > 0 && len <= run->segment && run->bytes == run->n_packets * run->segment &&
         run->n_packets < NAT_UDPIO_SEGMENTS && run->bytes + len <= NAT_UDPIO_RUN_MAX;
}

static void
append (NatForward *f, const Pending *p)
{
  NatUdpRun *run = f->n_runs ? &f->runs[f->n_runs - 1] : NULL;
  struct iovec *last = f->n_iov ? &f->iov[f->n_iov - 1] : NULL;

  if (!run || !fits (run, p->len)) {
    run = &f->runs[f->n_runs++];
    *run = (NatUdpRun){.iov = &f->iov[f->n_iov], .segment = p->len};
    last = NULL;
  }
  run->n_packets++;
  run->bytes += p->len;
  if (last && (guint8 *)last->iov_base + last->iov_len == p->data) {
    last->iov_len += p->len;
  } else {
    f->iov[f->n_iov++] = (struct iovec){p->data, p->len};
    run->n_iov++;
  }
}

static void
account (const NatUdpMessage *m)
{
  NatSessionCounters *c = m->user;
  guint n = m->n_sent;
  /* A run that went out in part is counted by its usual size. */
  guint64 bytes = n == m->run->n_packets ? m->run->bytes : n * m->run->segment;

  nat_counter_add (&c->packets_sent, n);
  nat_counter_add (&c->bytes_sent, bytes);
  nat_counter_add (&c->packets_unsent, m->run->n_packets - n);
}

static void
send_messages (NatWorker *w)
{
  NatForward *f = w->forward;

  if (f->n_messages == 0)
    return;
  nat_udpio_send (w->io, f->messages, f->n_messages);
  for (guint i = 0; i < f->n_messages; i++)
    account (&f->messages[i]);
  f->n_messages = 0;
}

static void
send_to (NatWorker *w, const NatReceiver *receiver)
{
  NatForward *f = w->forward;

  for (guint i = 0; i < f->n_runs; i++) {
    if (f->n_messages == SEND_MAX)
      send_messages (w);
    f->messages[f->n_messages++] =
        (NatUdpMessage){&receiver->dest, &f->runs[i], receiver->counters, 0};
  }
}

static void
flush_stream (NatWorker *w, NatDataStream *stream)
{
  NatForward *f = w->forward;
  const NatReceivers *receivers = stream->receivers;
  guint turn = receivers->n ? stream->turn++ % receivers->n : 0;

  f->n_iov = f->n_runs = 0;
  for (gint i = stream->first_pending; i >= 0 && receivers->n > 0; i = f->pending[i].next)
    append (f, &f->pending[i]);
  for (guint i = turn; i < receivers->n; i++)
    send_to (w, &receivers->list[i]);
  for (guint i = 0; i < turn; i++)
    send_to (w, &receivers->list[i]);
  send_messages (w);
  stream->first_pending = stream->last_pending = -1;
}

void
nat_forward_flush (NatWorker *w)
{
  NatForward *f = w->forward;

  for (guint i = 0; i < f->n_streams; i++)
    flush_stream (w, f->streams[i]);
  f->n_streams = 0;
  f->n_pending = 0;
}
