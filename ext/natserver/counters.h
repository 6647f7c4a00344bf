/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Counters that one thread writes and any thread reads without stopping it, and the snapshot
 * of all that observers see. Blocks live in reference-counted boxes: whoever shows a session
 * that just ended still reads valid memory. */

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

typedef struct {
#define NAT_SESSION_COUNTER(name, unit, help) NatCounter name;
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
  /* Not counters, but of the same kind: last value wins. Monotonic microseconds, 0 = never. */
  NatCounter last_received_us; /* any valid datagram of the session */
  NatCounter last_binding_us;  /* authenticated Binding */
  NatCounter rtt_us;           /* 0 = not known; from the session's report blocks */
  NatCounter fraction_lost;    /* of 256, as the session's last report says */
} NatSessionCounters;

typedef struct {
#define NAT_WORKER_COUNTER(name, unit, help) NatCounter name;
#include "natserver/counters.def"
#undef NAT_WORKER_COUNTER
} NatWorkerCounters;

NatSessionCounters *nat_session_counters_new (void);
NatSessionCounters *nat_session_counters_ref (NatSessionCounters *c);
void nat_session_counters_unref (NatSessionCounters *c);

/* What observers (metrics, status page, GET /v1/streams and /v1/sessions) see: a copy, made on
 * the control thread, owned by the caller. */
typedef struct {
  char id[NAT_SESSION_ID_TEXT + 1];
  NatRole role;
  char *stream;
  char *subject;               /* "" = none */
  NatAddress mapped;           /* "none" until registered */
  gint64 created_s, expires_s; /* Unix time */
  gboolean registered;
  NatSessionCounters *counters; /* a reference */
} NatSessionSnapshot;

typedef struct {
  char *name;
  const char *publisher; /* "none", "live", "grace", "ended" */
  guint subscribers;
  guint32 version;
  NatSessionCounters *past; /* sums of its sessions that are over; a reference */
} NatStreamSnapshot;

typedef struct {
  gint64 started_s; /* Unix time */
  gint64 now_us;    /* monotonic, the clock of last_received_us */
  const char *program_version;
  guint https_connections;
  guint64 https_requests, https_refused;
  NatSessionCounters *past; /* sums of all sessions that are over; a reference, or NULL */
  GPtrArray *streams;       /* of NatStreamSnapshot */
  GPtrArray *sessions;      /* of NatSessionSnapshot */
  guint n_workers;
  NatWorkerCounters *const *workers; /* live blocks, valid while the data plane is */
} NatSnapshot;
void nat_snapshot_free (NatSnapshot *s);
NatSnapshot *nat_snapshot_new (void);

G_END_DECLS
