/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Counters that one thread writes and any thread reads without stopping it. Blocks live in
 * reference-counted boxes: whoever shows a session that just ended still reads valid memory. */

#include <glib.h>
#include <stdatomic.h>
#include "natproto/address.h"
#include "natproto/messages.h"

G_BEGIN_DECLS

typedef _Atomic guint64 NatCounter;

/* Single writer: a plain load and store, no locked instruction. */
static inline void
nat_counter_add (NatCounter *c, guint64 n)
{
  atomic_store_explicit (
      c, atomic_load_explicit (c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline guint64
nat_counter_get (const NatCounter *c)
{
  return atomic_load_explicit ((NatCounter *)c, memory_order_relaxed);
}

/* Times by size, on a logarithmic scale: two buckets an octave, from 4 us to 3.1 s. Single writer. */
#define NAT_HISTOGRAM_BUCKETS 40

typedef struct {
  NatCounter bucket[NAT_HISTOGRAM_BUCKETS + 1]; /* the last: longer than all bounds */
  NatCounter sum_ns;
} NatHistogram;

/* The longest time that falls into the bucket, in nanoseconds: 4, 6, 8, 12, 16... us. */
static inline guint64
nat_histogram_bound (guint bucket)
{
  return (guint64)(bucket % 2 ? 6000 : 4000) << (bucket / 2);
}

static inline guint
nat_histogram_bucket (guint64 ns)
{
  guint64 steps = ns > 0 ? (ns - 1) / 2000 : 0;
  guint octave;

  if (steps < 2)
    return 0;
  octave = (guint)(63 - __builtin_clzll (steps)); /* at least 1 */
  return MIN (2 * octave - 1 + (guint)(steps >> (octave - 1) & 1), NAT_HISTOGRAM_BUCKETS);
}

/* n times of the same length; a negative one, of a clock that was set back, counts as 0. */
static inline void
nat_histogram_add (NatHistogram *h, gint64 ns, guint64 n)
{
  guint64 time = ns > 0 ? (guint64)ns : 0;

  nat_counter_add (&h->bucket[nat_histogram_bucket (time)], n);
  nat_counter_add (&h->sum_ns, time * n);
}

typedef struct {
#define NAT_SESSION_COUNTER(name, unit, help) NatCounter name;
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
  /* Not counters, but of the same kind: last value wins. Monotonic microseconds, 0 = never. */
  NatCounter last_received_us; /* any valid datagram of the session */
  NatCounter last_binding_us;  /* authenticated Binding */
  NatCounter
      rtt_us; /* 0 = not known; a publisher's of challenges and repairs, a subscriber's of report blocks */
  NatCounter jitter_us;     /* RFC 3550 section 6.4.1; the worst track's, as last reported */
  NatCounter cached_bytes;  /* of a publisher: memory that holds its packets for repair */
  NatCounter fraction_lost; /* of 256, as the session's last report says */
  /* The data plane's alone: how far bytes_received and packets_received may go (data/meter.h). */
  NatCounter bytes_granted, packets_granted;
} NatSessionCounters;

typedef struct {
#define NAT_WORKER_COUNTER(name, unit, help) NatCounter name;
#include "natserver/counters.def"
#undef NAT_WORKER_COUNTER
#define NAT_WORKER_GAUGE(name, unit, help) NatCounter name;
#include "natserver/counters.def"
#undef NAT_WORKER_GAUGE
  NatHistogram forward_latency; /* of RTP, a time for each datagram that came in */
} NatWorkerCounters;

/* Sums of sessions' counters, as plain numbers. */
typedef struct {
#define NAT_SESSION_COUNTER(name, unit, help) guint64 name;
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
} NatSums;
void nat_sums_add (NatSums *sums, const NatSessionCounters *c);
void nat_sums_join (NatSums *sums, const NatSums *more);

/* Of the thread that has the WebSockets. */
typedef struct {
#define NAT_WEBSOCKET_COUNTER(name, unit, help) NatCounter name;
#include "natserver/counters.def"
#undef NAT_WEBSOCKET_COUNTER
#define NAT_WEBSOCKET_GAUGE(name, unit, help) NatCounter name;
#include "natserver/counters.def"
#undef NAT_WEBSOCKET_GAUGE
} NatWebsocketCounters;

NatSessionCounters *nat_session_counters_new (void);
NatSessionCounters *nat_session_counters_ref (NatSessionCounters *c);
void nat_session_counters_unref (NatSessionCounters *c);

/* What passes on a leg now: over the last two seconds or so. Loss is before repair, in millionths. */
typedef struct {
  guint64 in_bps, out_bps; /* bits of datagrams per second, to the relay and from it */
  guint32 loss_in_ppm;     /* of what publishers sent */
  guint32 loss_out_ppm;    /* of what was forwarded */
} NatFlow;

G_END_DECLS
