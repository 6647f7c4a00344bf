/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A batch's packets are strung together, per stream and rank, as they are checked: that is a job. Neighbours that came in one
 * super-packet are one piece of it. The flush cuts each string into runs of equal size, and every run goes to every receiver as
 * one message. Nothing is copied: the runs point into the receive buffers, which stay until the next read.
 *
 * Audio's jobs come before video's, and jobs of a rank take turns, so that a burst to a large audience
 * lets others pass (docs/design/overload.md). Messages of several jobs share a system call. */

#include "natserver/data/forward.h"

#include <string.h>

#include "natserver/data/repair.h"

#define PENDING_MAX (NAT_UDPIO_SLOTS * NAT_UDPIO_SEGMENTS)
#define SEND_MAX    256
#define TURN        1024 /* datagrams; about a millisecond */

/* Packets that lie one right after the other and came at one time. */
typedef struct {
  const guint8 *data;
  gsize len; /* of each */
  guint n;
  gint64 arrived_ns;
  gint next; /* of the same job; -1 = last */
} Pending;

typedef struct {
  NatDataStream *stream;
  NatRank rank;
  gint first, last; /* of pending */
  guint n_packets;
  guint first_run, n_runs;
  guint next, left; /* receivers: who is next, how many are to be served */
} Job;

struct _NatForward {
  Pending pending[PENDING_MAX];
  guint n_pending, n_packets; /* of them: PENDING_MAX at most, so that there are no more runs */
  Job jobs[PENDING_MAX];
  guint n_jobs;

  /* Of the flush under way. */
  struct iovec iov[PENDING_MAX];
  NatUdpRun runs[PENDING_MAX];
  guint n_iov, n_runs;
  NatUdpMessage messages[SEND_MAX];
  guint n_messages;
  const Job *served[PENDING_MAX]; /* all their messages are among these, or sent */
  guint n_served;
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
count_received (NatSessionCounters *c, NatDataTrack *track, gsize len)
{
  guint64 lost = nat_reception_lost (&track->reception);

  nat_counter_add (&c->packets_received, 1);
  nat_counter_add (&c->bytes_received, len);
  if (lost == track->lost_counted)
    return;
  nat_counter_add (&c->packets_lost, lost - track->lost_counted); /* or less */
  track->lost_counted = lost;
}

static Job *
job_of (NatForward *f, NatDataStream *stream, NatRank rank)
{
  gint index = stream->jobs[rank];

  if (index < 0) {
    index = stream->jobs[rank] = (gint)f->n_jobs++;
    f->jobs[index] = (Job){.stream = stream, .rank = rank, .first = -1};
  }
  return &f->jobs[index];
}

static gboolean
follows (const NatWorker *w, const Pending *last, const guint8 *data, gsize len)
{
  return last->data + last->n * last->len == data && last->len == len &&
         last->arrived_ns == w->arrived_ns;
}

static void
keep (NatWorker *w, NatDataStream *stream, NatRank rank, const guint8 *data, gsize len)
{
  NatForward *f = w->forward;
  Job *job;
  gint index;

  if (f->n_packets == PENDING_MAX)
    nat_forward_flush (w);
  f->n_packets++;
  job = job_of (f, stream, rank);
  job->n_packets++;
  if (job->first >= 0 && follows (w, &f->pending[job->last], data, len)) {
    f->pending[job->last].n++;
    return;
  }
  index = (gint)f->n_pending++;
  f->pending[index] = (Pending){data, len, 1, w->arrived_ns, -1};
  if (job->first < 0)
    job->first = index;
  else
    f->pending[job->last].next = index;
  job->last = index;
}

/* Version 0 says that the relay lacks the description: whatever tracks are left are another's. */
static NatDataTrack *
check (NatDataSession *s, const NatRtpHeader *h)
{
  NatDataTrack *track = nat_roster_track (s->stream, h->ssrc);

  if (s->stream->publisher == s && s->stream->version != 0 && track)
    return track;
  nat_counter_add (&s->counters->rtp_refused, 1);
  return NULL;
}

static NatCounter *
drops_of (NatWorkerCounters *c, guint limit)
{
  NatCounter *const list[2 * NAT_LIMITS] = {&c->drop_max_kbps_per_stream,
      &c->drop_max_packets_per_stream, &c->drop_max_kbps_per_subject,
      &c->drop_max_packets_per_subject, &c->drop_max_kbps_per_address,
      &c->drop_max_packets_per_address, &c->drop_max_kbps, &c->drop_max_packets};

  return list[limit];
}

/* Once in a 64th of a second; more often for who sends too much. */
static gboolean
ask_for_more (NatWorker *w, NatPath *path, gsize len)
{
  NatDataSession *s = path->session;
  guint limit;

  if (nat_budget_ask (s->budget, &path->key.remote, s->counters, len, w->now_us, &limit))
    return TRUE;
  s->stream->over_us = w->now_us;
  nat_counter_add (&s->counters->rtp_refused, 1);
  nat_counter_add (&s->counters->rtp_over_limit, 1);
  nat_counter_add (drops_of (w->counters, limit), 1);
  return FALSE;
}

/* Of one packet, where streams share what the worker can: in and out. */
static guint
cost_of (const NatDataStream *stream)
{
  return 1 + stream->receivers->n;
}

static gboolean
is_genuine (NatWorker *w, NatDataSession *s, const guint8 *data, gsize len)
{
  if (G_LIKELY (!s->stream->verifier) || nat_verifier_check (s->stream->verifier, data, len))
    return TRUE;
  if (nat_fairness_limits (&w->fairness))
    nat_fairness_give_back (&w->fairness, &s->stream->share, cost_of (s->stream));
  nat_counter_add (&s->counters->rtp_refused, 1);
  nat_counter_add (&w->counters->drop_unverified, 1);
  return FALSE;
}

/* Not asked for again, as what is beyond a limit. */
static gboolean
gives_way (NatWorker *w, NatDataSession *s, const NatDataTrack *track)
{
  NatDataStream *stream = s->stream;

  if (G_LIKELY (!nat_fairness_limits (&w->fairness)) ||
      nat_fairness_takes (&w->fairness, &stream->share, track->rank, cost_of (stream)))
    return FALSE;
  stream->over_us = w->now_us;
  nat_counter_add (&s->counters->rtp_refused, 1);
  nat_counter_add (&w->counters->drop_unfair, 1);
  return TRUE;
}

void
nat_forward_receive (NatWorker *w, NatPath *path, guint8 *data, gsize len)
{
  NatDataSession *s = path->session;
  NatDataTrack *track;
  NatReceived arrival;
  NatRtpHeader h;

  if (!nat_rtp_parse (&h, data, len)) {
    nat_counter_add (&s->counters->rtp_refused, 1);
    nat_counter_add (&w->counters->drop_malformed, 1);
    return;
  }
  nat_lifecycle_heard (w, s);
  track = check (s, &h);
  /* Limits before the check, so that a repair is not taken for a replay of what was over one; and nothing is used up by what is
   * forged, since only what is counted is (meter.h), and given back what is the stream's share of the worker. */
  if (!track || !(G_LIKELY (nat_budget_holds (s->counters, len)) || ask_for_more (w, path, len)) ||
      gives_way (w, s, track) || !is_genuine (w, s, data, len))
    return;
  nat_reception_update (&track->reception, &h, w->now_us, &arrival);
  if (track->arrivals && arrival.status != NAT_SEQ_BAD)
    nat_arrival_note (track->arrivals, h.seq, arrival.status == NAT_SEQ_RESTART, w->now_us);
  if (arrival.status == NAT_SEQ_RESTART)
    track->lost_counted = 0; /* what was lost before stays counted */
  count_received (s->counters, track, len);
  s->stream->rtp_arrived = TRUE;
  nat_roster_activate (w->roster, s->stream);
  keep (w, s->stream, track->rank, data, len);
  nat_repair_received (w, s->stream, track, &arrival, data, len);
}

void
nat_forward_repeat (
    NatWorker *w, NatDataStream *stream, const NatDataTrack *track, const guint8 *data, gsize len)
{
  keep (w, stream, track->rank, data, len);
}

/* ---- Flush ------------------------------------------------------------- */

/* How many such packets may follow in the run: its sizes so far are equal, these are no longer (and a shorter one is
 * the last), and one message still holds them. */
static guint
room (const NatUdpRun *run, gsize len)
{
  if (len == 0 || len > run->segment || run->bytes != run->n_packets * run->segment ||
      run->n_packets >= NAT_UDPIO_SEGMENTS)
    return 0;
  return MIN (len < run->segment ? 1 : NAT_UDPIO_SEGMENTS - run->n_packets,
      (NAT_UDPIO_RUN_MAX - run->bytes) / len);
}

/* Returns how many of the n packets the last run took, or a new one. */
static guint
append (NatForward *f, Job *job, const guint8 *data, gsize len, guint n)
{
  NatUdpRun *run = job->n_runs ? &f->runs[f->n_runs - 1] : NULL;
  struct iovec *last = run ? &f->iov[f->n_iov - 1] : NULL;
  guint fit = run ? room (run, len) : 0;

  if (fit == 0) {
    run = &f->runs[f->n_runs++];
    *run = (NatUdpRun){.iov = &f->iov[f->n_iov], .segment = len, .rank = job->rank};
    job->n_runs++;
    last = NULL;
    fit = MAX (room (run, len), 1);
  }
  n = MIN (n, fit);
  run->n_packets += n;
  run->bytes += n * len;
  if (last && (guint8 *)last->iov_base + last->iov_len == data) {
    last->iov_len += n * len;
  } else {
    f->iov[f->n_iov++] = (struct iovec){(gpointer)data, n * len};
    run->n_iov++;
  }
  return n;
}

static void
cut (NatForward *f, Job *job)
{
  const NatReceivers *receivers = job->stream->receivers;

  job->left = receivers->n;
  job->next = receivers->n ? job->stream->turn++ % receivers->n : 0;
  job->first_run = f->n_runs;
  for (gint i = job->first; i >= 0 && receivers->n > 0; i = f->pending[i].next) {
    const Pending *p = &f->pending[i];

    for (guint done = 0; done < p->n;)
      done += append (f, job, p->data + done * p->len, p->len, p->n - done);
  }
}

static void
account (const NatUdpMessage *m)
{
  NatSessionCounters *c = m->user;
  guint n = m->n_sent;

  nat_counter_add (&c->packets_sent, n);
  if (G_LIKELY (n == m->run->n_packets)) {
    nat_counter_add (&c->bytes_sent, m->run->bytes);
    return;
  }
  /* A run that went out in part is counted by its usual size. */
  nat_counter_add (&c->bytes_sent, n * m->run->segment);
  nat_counter_add (&c->packets_unsent, m->run->n_packets - n);
}

/* Neighbours mostly came in one super-packet and have one stamp. */
static void
measure (NatWorker *w, const Job *job, gint64 now_ns)
{
  const Pending *pending = w->forward->pending;

  for (gint i = job->first; i >= 0;) {
    gint64 arrived_ns = pending[i].arrived_ns;
    guint n = 0;

    for (; i >= 0 && pending[i].arrived_ns == arrived_ns; i = pending[i].next)
      n += pending[i].n;
    nat_histogram_add (&w->counters->forward_latency, now_ns - arrived_ns, n);
  }
}

static void
send_messages (NatWorker *w)
{
  NatForward *f = w->forward;
  gint64 now_ns;

  if (f->n_messages == 0)
    return;
  nat_udpio_send (w->io, f->messages, f->n_messages);
  for (guint i = 0; i < f->n_messages; i++)
    account (&f->messages[i]);
  f->n_messages = 0;
  now_ns = f->n_served > 0 ? nat_udpio_clock_ns () : 0;
  for (guint i = 0; i < f->n_served; i++)
    measure (w, f->served[i], now_ns);
  f->n_served = 0;
}

static void
send_to (NatWorker *w, const Job *job, NatReceiver *receiver)
{
  NatForward *f = w->forward;

  for (guint i = job->first_run; i < job->first_run + job->n_runs; i++) {
    if (f->n_messages == SEND_MAX)
      send_messages (w);
    f->messages[f->n_messages++] =
        (NatUdpMessage){.dest = &receiver->dest, .run = &f->runs[i], .user = receiver->counters};
  }
}

/* One turn; the last of them ends the job. */
static void
serve (NatWorker *w, Job *job)
{
  NatReceivers *receivers = job->stream->receivers;

  for (guint n = 0; n < TURN && job->left > 0; n += job->n_packets) {
    send_to (w, job, &receivers->list[job->next]);
    job->next = job->next + 1 < receivers->n ? job->next + 1 : 0;
    job->left--;
  }
  if (job->left == 0)
    w->forward->served[w->forward->n_served++] = job;
}

static void
serve_all (NatWorker *w, NatRank rank)
{
  NatForward *f = w->forward;
  gboolean more;

  do {
    more = FALSE;
    for (guint i = 0; i < f->n_jobs; i++) {
      Job *job = &f->jobs[i];

      if (job->rank == rank && job->left > 0) {
        serve (w, job);
        more |= job->left > 0;
      }
    }
  } while (more);
}

static void
note_costs (NatWorker *w)
{
  NatForward *f = w->forward;

  for (guint i = 0; i < f->n_jobs; i++) {
    NatDataStream *stream = f->jobs[i].stream;

    nat_fairness_note (&w->fairness, &stream->share, f->jobs[i].n_packets * cost_of (stream));
  }
}

void
nat_forward_flush (NatWorker *w)
{
  NatForward *f = w->forward;

  if (G_UNLIKELY (nat_fairness_wants_costs (&w->fairness)))
    note_costs (w);
  f->n_iov = f->n_runs = 0;
  for (guint i = 0; i < f->n_jobs; i++) {
    cut (f, &f->jobs[i]);
    f->jobs[i].stream->jobs[f->jobs[i].rank] = -1;
  }
  serve_all (w, NAT_RANK_AUDIO);
  serve_all (w, NAT_RANK_VIDEO);
  send_messages (w);
  f->n_jobs = f->n_pending = f->n_packets = 0;
}
