/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One measurement: a load for some time, then a quiet moment until the last packet is there. */

#include <glib.h>
#include "meter.h"
#include "traffic.h"

G_BEGIN_DECLS

typedef struct {
  BenchPublisher *publishers;
  guint n_publishers;
  BenchSubscriber *subscribers; /* those of publisher 0 first, then of 1... */
  guint n_subscribers;          /* of all */
  guint fan;                    /* copies of each packet that must arrive */
  BenchReceiver *receiver;
  BenchMeter *meter;
  gboolean nap;  /* sleep a moment when there is nothing to do, and leave the core to others */
  guint32 phase; /* counts up */
} BenchField;

typedef struct {
  double rate; /* packets in per second, all publishers together */
  guint burst; /* packets that a publisher sends at once */
  double seconds;
  gboolean segment; /* a burst is one UDP_SEGMENT message */
} BenchLoad;

typedef struct {
  BenchLoad load;
  double wall_s;
  guint64 sent, expected, received, lost, duplicates, reordered;
  double achieved; /* packets in per second, really sent */
  double p50_us, p99_us, max_us;
  BenchUsage usage;
  BenchStrays strays;
} BenchResult;

BenchResult bench_phase_run (BenchField *f, const BenchLoad *load);
/* CPU of the relay's core, microseconds for each packet that arrived. */
double bench_result_cpu_us (const BenchResult *r);

/* Why a load counts as too much. */
typedef enum {
  BENCH_FITS,
  BENCH_LOSES,
  BENCH_LATE,           /* p99 above the limit */
  BENCH_GENERATOR_SLOW, /* the generator itself could not send that fast */
} BenchVerdict;
BenchVerdict bench_result_verdict (const BenchResult *r, double latency_limit_us);
const char *bench_verdict_name (BenchVerdict v);

typedef struct {
  double from, to; /* packets in per second */
  double latency_limit_us;
  guint refinements; /* halvings of the last step: 5 gives 3 % */
} BenchSearch;
/* Called before each probe, so that mappings stay open; FALSE ends the search. */
typedef gboolean (*BenchRefresh) (gpointer data);
/* Doubles the rate until a load no longer fits (a misfit is tried again, since other processes
 * also cause some), then halves the step. *limit: what ended the growth, FITS = search->to was
 * reached. Returns the best probe; its received is 0 when even from did not fit. */
BenchResult bench_search (BenchField *f, const BenchLoad *probe, const BenchSearch *search,
    BenchRefresh refresh, gpointer data, BenchVerdict *limit);

G_END_DECLS
