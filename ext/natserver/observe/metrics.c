/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/metrics.h"

#include <string.h>

#include "natserver/observe/process.h"

typedef struct {
  const char *name, *help;
  gsize offset; /* in NatSums */
} SumName;

static const SumName sum_names[] = {
#define NAT_SESSION_COUNTER(name, unit, help) {#name, help, G_STRUCT_OFFSET (NatSums, name)},
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
};

static guint64
sum_get (const NatSums *sums, const SumName *name)
{
  return *(const guint64 *)(gconstpointer)((const guint8 *)sums + name->offset);
}

static void
begin (GString *out, const char *name, const char *type, const char *help)
{
  g_string_append_printf (
      out, "# HELP natrelay_%s %s\n# TYPE natrelay_%s %s\n", name, help, name, type);
}

static void
single (GString *out, const char *name, const char *type, const char *help, guint64 value)
{
  begin (out, name, type, help);
  g_string_append_printf (out, "natrelay_%s %" G_GUINT64_FORMAT "\n", name, value);
}

/* Of a counter: the unit stands last, before _total ("bytes_received" is received_bytes_total). Packets and the
 * like are things that are counted, not units. */
static char *
counter_name (const char *name)
{
  if (g_str_has_prefix (name, "bytes_"))
    return g_strconcat (name + strlen ("bytes_"), "_bytes_total", NULL);
  return g_strconcat (name, "_total", NULL);
}

/* ---- Sessions and streams ---------------------------------------------- */

static void
append_session_counts (GString *out, const NatSnapshot *s)
{
  begin (out, "sessions", "gauge", "sessions by role and by whether their mapping is registered");
  for (guint i = 0; i < 4; i++)
    g_string_append_printf (out, "natrelay_sessions{role=\"%s\",registered=\"%s\"} %u\n",
        i / 2 ? "subscriber" : "publisher", i % 2 ? "true" : "false", s->n_sessions[i / 2][i % 2]);
}

static void
append_stream_counts (GString *out, const NatSnapshot *s)
{
  static const char *const states[] = {"none", "live", "grace", "ended"};

  begin (out, "streams", "gauge", "streams by the state of their publisher");
  for (guint i = 0; i < G_N_ELEMENTS (states); i++)
    g_string_append_printf (
        out, "natrelay_streams{publisher=\"%s\"} %u\n", states[i], s->n_streams[i]);
}

/* Of all that have no label of their own. */
static NatSums
sum_rest (const NatSnapshot *s)
{
  NatSums rest = s->rest;

  for (guint i = NAT_METRICS_STREAMS_MAX; i < s->streams->len; i++) {
    const NatStreamSnapshot *stream = g_ptr_array_index (s->streams, i);

    nat_sums_join (&rest, &stream->sums);
  }
  return rest;
}

static void
append_sums (GString *out, const NatSnapshot *s)
{
  guint n = MIN (s->streams->len, NAT_METRICS_STREAMS_MAX);
  NatSums rest = sum_rest (s);

  for (guint k = 0; k < G_N_ELEMENTS (sum_names); k++) {
    const SumName *name = &sum_names[k];
    /* A late packet fills its gap: this one also falls. */
    gboolean falls = strcmp (name->name, "packets_lost") == 0;
    const char *type = falls ? "gauge" : "counter";
    g_autofree char *total = falls ? g_strdup (name->name) : counter_name (name->name);
    g_autofree char *per_stream = g_strconcat ("stream_", total, NULL);

    single (out, total, type, name->help, sum_get (&s->all, name));
    begin (out, per_stream, type, name->help);
    for (guint i = 0; i < n; i++) {
      const NatStreamSnapshot *stream = g_ptr_array_index (s->streams, i);

      g_string_append_printf (out, "natrelay_%s{stream=\"%s\"} %" G_GUINT64_FORMAT "\n", per_stream,
          stream->name, sum_get (&stream->sums, name));
    }
    if (nat_snapshot_all_streams (s) > n)
      g_string_append_printf (out, "natrelay_%s{stream=\"*\"} %" G_GUINT64_FORMAT "\n", per_stream,
          sum_get (&rest, name));
  }
}

/* ---- Workers ----------------------------------------------------------- */

static void
append_workers (GString *out, const NatSnapshot *s)
{
#define NAT_WORKER_COUNTER(name, unit, help)                                                       \
  {                                                                                                \
    guint64 sum = 0;                                                                               \
    for (guint i = 0; i < s->n_workers; i++)                                                       \
      sum += nat_counter_get (&s->workers[i]->name);                                               \
    single (out, #name "_total", "counter", help, sum);                                            \
  }
#include "natserver/counters.def"
#undef NAT_WORKER_COUNTER
#define NAT_WORKER_GAUGE(name, unit, help)                                                         \
  {                                                                                                \
    guint64 sum = 0;                                                                               \
    for (guint i = 0; i < s->n_workers; i++)                                                       \
      sum += nat_counter_get (&s->workers[i]->name);                                               \
    single (out, #name, "gauge", help, sum);                                                       \
  }
#include "natserver/counters.def"
#undef NAT_WORKER_GAUGE
}

static void
append_websockets (GString *out, const NatSnapshot *s)
{
  if (s->websockets == NULL)
    return;
#define NAT_WEBSOCKET_COUNTER(name, unit, help)                                                    \
  single (out, #name "_total", "counter", help, nat_counter_get (&s->websockets->name));
#include "natserver/counters.def"
#undef NAT_WEBSOCKET_COUNTER
#define NAT_WEBSOCKET_GAUGE(name, unit, help)                                                      \
  single (out, #name, "gauge", help, nat_counter_get (&s->websockets->name));
#include "natserver/counters.def"
#undef NAT_WEBSOCKET_GAUGE
}

/* Prometheus wants buckets that hold all below them too. */
static void
append_latency (GString *out, const NatSnapshot *s)
{
  guint64 below = 0, sum_ns = 0;

  begin (out, "forward_latency_seconds", "histogram",
      "RTP datagrams by the time from when the system received one until the last receiver's copy "
      "was "
      "given to the system");
  for (guint k = 0; k <= NAT_HISTOGRAM_BUCKETS; k++) {
    for (guint i = 0; i < s->n_workers; i++)
      below += nat_counter_get (&s->workers[i]->forward_latency.bucket[k]);
    if (k < NAT_HISTOGRAM_BUCKETS)
      g_string_append_printf (out,
          "natrelay_forward_latency_seconds_bucket{le=\"%.6f\"} %" G_GUINT64_FORMAT "\n",
          (double)nat_histogram_bound (k) / 1e9, below);
    else
      g_string_append_printf (out,
          "natrelay_forward_latency_seconds_bucket{le=\"+Inf\"} %" G_GUINT64_FORMAT "\n", below);
  }
  for (guint i = 0; i < s->n_workers; i++)
    sum_ns += nat_counter_get (&s->workers[i]->forward_latency.sum_ns);
  g_string_append_printf (out,
      "natrelay_forward_latency_seconds_sum %.9f\n"
      "natrelay_forward_latency_seconds_count %" G_GUINT64_FORMAT "\n",
      (double)sum_ns / 1e9, below);
}

void
nat_metrics_append (GString *out, const NatSnapshot *s)
{
  begin (out, "build_info", "gauge", "always 1; the version is the label");
  g_string_append_printf (out, "natrelay_build_info{version=\"%s\"} 1\n", s->program_version);
  single (out, "start_time_seconds", "gauge", "Unix time of the relay's start",
      (guint64)MAX (0, s->started_s));
  single (out, "workers", "gauge", "threads that forward media", s->n_workers);
  single (out, "https_connections", "gauge", "HTTPS connections now", s->https_connections);
  single (out, "https_requests_total", "counter", "HTTPS requests answered", s->https_requests);
  single (out, "https_refused_total", "counter",
      "HTTPS connections closed at once or pushed out, for a limit", s->https_refused);
  single (out, "memory_bound_bytes", "gauge", "memory that the relay may have (max-memory-mb)",
      s->memory_bound);
  single (out, "memory_resident_bytes", "gauge", "memory that it had when it was looked last",
      s->memory_resident);
  single (out, "memory_refused_total", "counter",
      "sessions, descriptions, connections and long requests refused, for memory was full",
      s->memory_refused);
  append_session_counts (out, s);
  append_stream_counts (out, s);
  append_sums (out, s);
  append_workers (out, s);
  append_websockets (out, s);
  append_latency (out, s);
  nat_process_append_metrics (out, s->started_s);
}
