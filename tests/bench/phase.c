/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "phase.h"

#include <unistd.h>

#define QUIET_NS       (150 * G_GINT64_CONSTANT (1000000))  /* nothing more will come */
#define DRAIN_NS       (1500 * G_GINT64_CONSTANT (1000000)) /* longest wait for stragglers */
#define BURSTS_AT_ONCE 8 /* then the subscribers have their turn */
#define READS_AT_ONCE  16
#define NAP_US         100

typedef struct {
  BenchField *f;
  const BenchLoad *load;
  gint64 start, end;
  guint64 sent;
  guint next_publisher, next_subscriber;
} Run;

/* Packets that should have left by now: whole bursts, the first at once. */
static guint64
due (const Run *r, gint64 now)
{
  double bursts = (double)(now - r->start) * 1e-9 * r->load->rate / r->load->burst;

  return ((guint64)bursts + 1) * r->load->burst;
}

static void
send_due (Run *r, gint64 now)
{
  guint64 wanted = due (r, now);

  for (guint i = 0; i < BURSTS_AT_ONCE && r->sent < wanted; i++) {
    BenchPublisher *p = &r->f->publishers[r->next_publisher];
    guint n = r->load->burst - (guint)(r->sent % r->load->burst);
    guint taken = bench_publisher_send (p, n, r->f->phase, r->load->segment);

    r->sent += taken;
    if (taken < n)
      return; /* a full buffer: read first, the rest is due later */
    r->next_publisher = (r->next_publisher + 1) % r->f->n_publishers;
  }
}

/* A subscriber that may have more is read again first. */
static gboolean
read_some (Run *r)
{
  guint64 before = bench_receiver_unique (r->f->receiver);

  for (guint i = 0; i < MIN (READS_AT_ONCE, r->f->n_subscribers); i++)
    if (!bench_receiver_read (r->f->receiver, &r->f->subscribers[r->next_subscriber]))
      r->next_subscriber = (r->next_subscriber + 1) % r->f->n_subscribers;
  return bench_receiver_unique (r->f->receiver) != before;
}

static void
send_and_read (Run *r)
{
  for (gint64 now = bench_now_ns (); now < r->end; now = bench_now_ns ()) {
    send_due (r, now);
    if (!read_some (r) && r->f->nap)
      g_usleep (NAP_US);
  }
}

/* Until all is there (and a moment longer, for duplicates), or nothing more comes. */
static void
read_rest (Run *r)
{
  gint64 stop = bench_now_ns (), quiet = QUIET_NS;

  for (gint64 now = stop; now < stop + DRAIN_NS; now = bench_now_ns ()) {
    gint64 last = MAX (bench_receiver_last_ns (r->f->receiver), stop);

    if (bench_receiver_unique (r->f->receiver) >= r->sent * r->f->fan)
      quiet = QUIET_NS / 6;
    if (now - last > quiet)
      return;
    if (!read_some (r) && r->f->nap)
      g_usleep (NAP_US);
  }
}

static void
begin_phase (BenchField *f)
{
  f->phase++;
  for (guint i = 0; i < f->n_publishers; i++) {
    bench_drain (f->publishers[i].fd);
    f->publishers[i].sequence = 0;
  }
  for (guint i = 0; i < f->n_subscribers; i++) {
    bench_drain (f->subscribers[i].fd);
    bench_subscriber_begin (&f->subscribers[i]);
  }
  bench_receiver_begin (f->receiver, f->phase);
}

static void
take_counts (BenchField *f, BenchResult *r)
{
  const BenchHistogram *h = bench_receiver_latency (f->receiver);

  for (guint i = 0; i < f->n_subscribers; i++) {
    r->received += f->subscribers[i].unique;
    r->duplicates += f->subscribers[i].duplicates;
    r->reordered += f->subscribers[i].reordered;
  }
  r->expected = r->sent * f->fan;
  r->lost = r->expected > r->received ? r->expected - r->received : 0;
  r->strays = *bench_receiver_strays (f->receiver);
  r->p50_us = bench_histogram_us (h, 0.5);
  r->p99_us = bench_histogram_us (h, 0.99);
  r->max_us = (double)h->max_ns / 1000;
}

BenchResult
bench_phase_run (BenchField *f, const BenchLoad *load)
{
  BenchResult result = {.load = *load};
  Run run = {.f = f, .load = load};

  begin_phase (f);
  bench_meter_start (f->meter);
  run.start = bench_now_ns ();
  run.end = run.start + (gint64)(load->seconds * 1e9);
  send_and_read (&run);
  read_rest (&run);
  result.usage = bench_meter_stop (f->meter);
  result.wall_s = (double)(bench_now_ns () - run.start) * 1e-9;
  result.sent = run.sent;
  result.achieved = (double)run.sent / load->seconds;
  take_counts (f, &result);
  return result;
}

double
bench_result_cpu_us (const BenchResult *r)
{
  double s = r->usage.process_s + r->usage.kernel_s + r->usage.softirq_s;

  return r->received ? s * 1e6 / (double)r->received : 0;
}

BenchVerdict
bench_result_verdict (const BenchResult *r, double latency_limit_us)
{
  if (r->lost || r->received == 0)
    return BENCH_LOSES;
  if (r->achieved < 0.98 * r->load.rate)
    return BENCH_GENERATOR_SLOW;
  return r->p99_us > latency_limit_us ? BENCH_LATE : BENCH_FITS;
}

const char *
bench_verdict_name (BenchVerdict v)
{
  static const char *const names[] = {"fits", "loses", "late", "generator"};

  return names[v];
}

typedef struct {
  BenchField *f;
  BenchLoad load;
  const BenchSearch *search;
  BenchRefresh refresh;
  gpointer data;
  BenchResult best;
} Searcher;

static BenchVerdict
probe (Searcher *s, double rate)
{
  BenchVerdict v = BENCH_LOSES;

  s->load.rate = rate;
  for (guint try = 0; try < 3 && v != BENCH_FITS; try++) {
    BenchResult r;

    if (!s->refresh (s->data))
      break;
    r = bench_phase_run (s->f, &s->load);
    v = bench_result_verdict (&r, s->search->latency_limit_us);
    if (v == BENCH_FITS)
      s->best = r;
    g_usleep (20000);
  }
  return v;
}

BenchResult
bench_search (BenchField *f, const BenchLoad *load, const BenchSearch *search, BenchRefresh refresh,
    gpointer data, BenchVerdict *limit)
{
  Searcher s = {.f = f, .load = *load, .search = search, .refresh = refresh, .data = data};
  double low = 0, high = search->from;

  for (;; high = MIN (high * 2, search->to)) {
    *limit = probe (&s, high);
    if (*limit != BENCH_FITS)
      break;
    low = high;
    if (high >= search->to)
      return s.best;
  }
  for (guint i = 0; i < search->refinements; i++) {
    double middle = (low + high) / 2;
    BenchVerdict v = probe (&s, middle);

    if (v == BENCH_FITS)
      low = middle;
    else {
      high = middle;
      *limit = v;
    }
  }
  return s.best;
}
