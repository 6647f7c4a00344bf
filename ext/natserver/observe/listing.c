/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/listing.h"

#include <string.h>

#include "natserver/observe/trend.h"

#define U64 "%" G_GUINT64_FORMAT
#define S64 "%" G_GINT64_FORMAT

enum {
#define NAT_SESSION_COUNTER(name, unit, help) COUNTER_##name,
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
  N_COUNTERS
};

/* ---- Words and numbers ------------------------------------------------- */

static void
append_text (GString *out, const char *text)
{
  g_string_append_c (out, '"');
  for (; *text != '\0'; text++) {
    if (g_ascii_iscntrl (*text))
      g_string_append_printf (out, "\\u%04x", (guint)(guchar)*text);
    else if (*text == '"' || *text == '\\')
      g_string_append_printf (out, "\\%c", *text);
    else
      g_string_append_c (out, *text);
  }
  g_string_append_c (out, '"');
}

static void
append_flow (GString *out, const NatFlow *flow)
{
  g_string_append_printf (out,
      ",\"in-bps\":" U64 ",\"out-bps\":" U64 ",\"loss-in-ppm\":%u,\"loss-out-ppm\":%u",
      flow->in_bps, flow->out_bps, flow->loss_in_ppm, flow->loss_out_ppm);
}

static const char *
transport (const NatSessionSnapshot *s)
{
  return s->mapped.transport == NAT_TRANSPORT_WEBSOCKET ? "websocket" : "udp";
}

/* ---- Streams ----------------------------------------------------------- */

/* What its sessions say of a stream. */
typedef struct {
  guint64 sums[N_COUNTERS];
  const NatSessionSnapshot *publisher; /* the newest of those that live */
} About;

static void
add (guint64 *sums, const NatSessionCounters *c)
{
#define NAT_SESSION_COUNTER(name, unit, help) *sums++ += nat_counter_get (&c->name);
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
}

static void
append_sums (GString *out, const guint64 *sums)
{
#define NAT_SESSION_COUNTER(name, unit, help)                                                      \
  g_string_append_printf (out, ",\"" #name "\":" U64, *sums++);
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
}

/* name -> About */
static GHashTable *
gather (const NatSnapshot *s)
{
  GHashTable *table = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);

  for (guint i = 0; i < s->streams->len; i++) {
    const NatStreamSnapshot *stream = g_ptr_array_index (s->streams, i);
    About *about = g_new0 (About, 1);

    if (stream->past != NULL)
      add (about->sums, stream->past);
    g_hash_table_insert (table, stream->name, about);
  }
  for (guint i = 0; i < s->sessions->len; i++) {
    const NatSessionSnapshot *session = g_ptr_array_index (s->sessions, i);
    About *about = g_hash_table_lookup (table, session->stream);

    if (about == NULL)
      continue;
    add (about->sums, session->counters);
    if (session->role == NAT_ROLE_PUBLISHER &&
        (about->publisher == NULL || session->created_s >= about->publisher->created_s))
      about->publisher = session;
  }
  return table;
}

static void
append_publisher (GString *out, const NatSessionSnapshot *publisher)
{
  if (publisher == NULL || !publisher->registered)
    return;
  g_string_append_printf (out, ",\"transport\":\"%s\",\"rtt_us\":" U64 ",\"jitter_us\":" U64,
      transport (publisher), nat_counter_get (&publisher->counters->rtt_us),
      nat_counter_get (&publisher->counters->jitter_us));
}

static guint64
figure (const NatFlow *flow, guint which)
{
  switch (which) {
  case 0: return flow->in_bps / 1000;
  case 1: return flow->out_bps / 1000;
  case 2: return flow->loss_in_ppm;
  default: return flow->loss_out_ppm;
  }
}

/* Of each kind an array, oldest first; all end at the answer's tick. */
static void
append_trend (GString *out, const NatTrend *trend, guint64 tick, guint samples)
{
  static const char *const names[] = {"in-kbps", "out-kbps", "loss-in-ppm", "loss-out-ppm"};

  if (trend == NULL || samples == 0)
    return;
  samples = MIN (MIN (samples, NAT_TREND_SAMPLES), tick);
  g_string_append (out, ",\"trend\":{");
  for (guint which = 0; which < G_N_ELEMENTS (names); which++) {
    const char *separator = "";

    g_string_append_printf (out, "%s\"%s\":[", which > 0 ? "," : "", names[which]);
    for (guint64 t = tick - samples + 1; t <= tick; t++) {
      NatFlow flow;

      if (!nat_trend_get (trend, t, &flow))
        continue;
      g_string_append_printf (out, "%s" U64, separator, figure (&flow, which));
      separator = ",";
    }
    g_string_append_c (out, ']');
  }
  g_string_append_c (out, '}');
}

static void
append_stream (GString *out, const NatSnapshot *s, const NatStreamSnapshot *stream,
    const About *about, guint samples)
{
  g_string_append (out, "{\"name\":");
  append_text (out, stream->name);
  g_string_append_printf (out, ",\"publisher\":\"%s\",\"subscribers\":%u,\"version\":%u",
      stream->publisher, stream->subscribers, stream->version);
  if (stream->pattern)
    g_string_append (out, ",\"pattern\":true");
  g_string_append (out, ",\"media\":");
  append_text (out, stream->media);
  if (stream->since_s > 0)
    g_string_append_printf (out, ",\"since-s\":" S64, stream->since_s);
  append_flow (out, &stream->flow);
  append_publisher (out, about->publisher);
  append_sums (out, about->sums);
  append_trend (out, stream->trend, s->trend_tick, samples);
  g_string_append_c (out, '}');
}

/* Of the relay as a whole: lists may be cut. */
static void
append_whole (GString *out, const NatSnapshot *s)
{
  guint live = 0, publishers = 0, subscribers = 0;
  NatFlow flow = {0};

  for (guint i = 0; i < s->streams->len; i++) {
    const NatStreamSnapshot *stream = g_ptr_array_index (s->streams, i);

    live += strcmp (stream->publisher, "live") == 0;
    flow.in_bps += stream->flow.in_bps;
    flow.out_bps += stream->flow.out_bps;
  }
  for (guint i = 0; i < s->sessions->len; i++) {
    const NatSessionSnapshot *session = g_ptr_array_index (s->sessions, i);

    publishers += session->registered && session->role == NAT_ROLE_PUBLISHER;
    subscribers += session->registered && session->role == NAT_ROLE_SUBSCRIBER;
  }
  g_string_append_printf (out,
      "\"relay\":{\"program-version\":\"%s\",\"started-s\":" S64 ",\"live\":%u,\"publishers\":%u,"
      "\"subscribers\":%u,\"sessions\":%u,\"in-bps\":" U64 ",\"out-bps\":" U64 "}",
      s->program_version ? s->program_version : "", s->started_s, live, publishers, subscribers,
      s->sessions->len, flow.in_bps, flow.out_bps);
}

char *
nat_listing_streams (const NatSnapshot *s, guint samples)
{
  GString *out = g_string_new ("{");
  g_autoptr (GHashTable) table = gather (s);

  append_whole (out, s);
  g_string_append_printf (
      out, ",\"tick\":" U64 ",\"tick-us\":" S64 ",\"streams\":[", s->trend_tick, s->trend_us);
  for (guint i = 0; i < MIN (s->streams->len, NAT_LISTING_MAX); i++) {
    const NatStreamSnapshot *stream = g_ptr_array_index (s->streams, i);

    if (i > 0)
      g_string_append_c (out, ',');
    append_stream (out, s, stream, g_hash_table_lookup (table, stream->name), samples);
  }
  g_string_append_printf (out, "],\"total\":%u}", s->streams->len);
  return g_string_free (out, FALSE);
}

/* ---- Sessions ---------------------------------------------------------- */

static void
append_when (GString *out, const NatSnapshot *snapshot, const NatSessionSnapshot *s)
{
  guint64 heard_us = nat_counter_get (&s->counters->last_received_us);

  g_string_append_printf (out, ",\"created-s\":" S64, s->created_s);
  if (s->expires_s != G_MAXINT64)
    g_string_append_printf (out, ",\"expires-s\":" S64, s->expires_s);
  if (heard_us > 0)
    g_string_append_printf (
        out, ",\"heard-s\":" S64, MAX (0, snapshot->now_us - (gint64)heard_us) / G_USEC_PER_SEC);
}

static void
append_session (
    GString *out, const NatSnapshot *snapshot, const NatSessionSnapshot *s, gboolean whole_id)
{
  guint64 sums[N_COUNTERS] = {0};
  char address[NAT_ADDRESS_TEXT_MAX];

  /* The id is a key to the session where there are no tokens. */
  g_string_append_printf (out,
      "{\"session\":\"%.*s\",\"role\":\"%s\",\"stream\":", whole_id ? NAT_SESSION_ID_TEXT : 8,
      s->id, s->role == NAT_ROLE_PUBLISHER ? "publisher" : "subscriber");
  append_text (out, s->stream);
  g_string_append (out, ",\"subject\":");
  append_text (out, s->subject);
  g_string_append_printf (out, ",\"registered\":%s", s->registered ? "true" : "false");
  if (s->mapped.family != 0)
    g_string_append_printf (out, ",\"mapped\":\"%s\",\"transport\":\"%s\"",
        nat_address_to_text (&s->mapped, address), transport (s));
  append_when (out, snapshot, s);
  append_flow (out, &s->flow);
  add (sums, s->counters);
  append_sums (out, sums);
  g_string_append_printf (out,
      ",\"rtt_us\":" U64 ",\"jitter_us\":" U64 ",\"cached_bytes\":" U64 "}",
      nat_counter_get (&s->counters->rtt_us), nat_counter_get (&s->counters->jitter_us),
      nat_counter_get (&s->counters->cached_bytes));
}

char *
nat_listing_sessions (const NatSnapshot *snapshot, const NatListingAsk *ask)
{
  GString *out = g_string_new ("{\"sessions\":[");
  guint found = 0, shown = 0;

  for (guint i = 0; i < snapshot->sessions->len; i++) {
    const NatSessionSnapshot *s = g_ptr_array_index (snapshot->sessions, i);

    if (ask->stream != NULL && strcmp (ask->stream, s->stream) != 0)
      continue;
    if (found++ < ask->from || shown == NAT_LISTING_MAX)
      continue;
    if (shown++ > 0)
      g_string_append_c (out, ',');
    append_session (out, snapshot, s, ask->whole_id);
  }
  g_string_append_printf (out, "],\"total\":%u}", found);
  return g_string_free (out, FALSE);
}
