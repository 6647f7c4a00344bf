/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/listing.h"

#define U64 "%" G_GUINT64_FORMAT
#define S64 "%" G_GINT64_FORMAT

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
append_sums (GString *out, const NatSums *sums)
{
#define NAT_SESSION_COUNTER(name, unit, help)                                                      \
  g_string_append_printf (out, ",\"" #name "\":" U64, sums->name);
#include "natserver/counters.def"
#undef NAT_SESSION_COUNTER
}

static void
append_flow (GString *out, const NatFlow *flow)
{
  g_string_append_printf (out,
      ",\"in-bps\":" U64 ",\"out-bps\":" U64 ",\"loss-in-ppm\":%u,\"loss-out-ppm\":%u",
      flow->in_bps, flow->out_bps, flow->loss_in_ppm, flow->loss_out_ppm);
}

static const char *
transport_text (NatTransport transport)
{
  return transport == NAT_TRANSPORT_WEBSOCKET ? "websocket" : "udp";
}

/* ---- Streams ----------------------------------------------------------- */

static void
append_publisher (GString *out, const NatStreamSnapshot *s)
{
  if (s->heard)
    g_string_append_printf (out, ",\"transport\":\"%s\",\"rtt_us\":" U64 ",\"jitter_us\":" U64,
        transport_text (s->transport), s->rtt_us, s->jitter_us);
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
append_stream (GString *out, const NatSnapshot *s, const NatStreamSnapshot *stream, guint samples)
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
  append_publisher (out, stream);
  append_sums (out, &stream->sums);
  append_trend (out, stream->trend, s->trend_tick, samples);
  g_string_append_c (out, '}');
}

/* Of the relay as a whole: lists may be cut. */
static void
append_whole (GString *out, const NatSnapshot *s)
{
  g_string_append_printf (out,
      "\"relay\":{\"program-version\":\"%s\",\"started-s\":" S64 ",\"live\":%u,\"publishers\":%u,"
      "\"subscribers\":%u,\"sessions\":%u,\"in-bps\":" U64 ",\"out-bps\":" U64 "}",
      s->program_version != NULL ? s->program_version : "", s->started_s, s->n_streams[1],
      s->n_sessions[0][1], s->n_sessions[1][1], nat_snapshot_all_sessions (s), s->in_bps,
      s->out_bps);
}

static void
begin_streams (GString *out, const NatSnapshot *s)
{
  g_string_append_c (out, '{');
  append_whole (out, s);
  g_string_append_printf (
      out, ",\"tick\":" U64 ",\"tick-us\":" S64 ",\"streams\":[", s->trend_tick, s->trend_us);
}

gboolean
nat_listing_streams (NatListing *l, const NatSnapshot *s, guint samples)
{
  guint all = MIN (s->streams->len, NAT_LISTING_MAX);
  guint end = MIN (all, l->shown + NAT_LISTING_STREAMS_AT_ONCE);

  if (l->shown == 0)
    begin_streams (l->text, s);
  for (; l->shown < end; l->shown++) {
    if (l->shown > 0)
      g_string_append_c (l->text, ',');
    append_stream (l->text, s, g_ptr_array_index (s->streams, l->shown), samples);
  }
  if (l->shown < all)
    return TRUE;
  g_string_append_printf (l->text, "],\"total\":%u}", nat_snapshot_all_streams (s));
  return FALSE;
}

/* ---- Sessions ---------------------------------------------------------- */

static void
append_when (GString *out, gint64 now_us, const NatSessionSnapshot *s)
{
  guint64 heard_us = nat_counter_get (&s->counters->last_received_us);

  g_string_append_printf (out, ",\"created-s\":" S64, s->created_s);
  if (s->expires_s != G_MAXINT64)
    g_string_append_printf (out, ",\"expires-s\":" S64, s->expires_s);
  if (heard_us > 0)
    g_string_append_printf (
        out, ",\"heard-s\":" S64, MAX (0, now_us - (gint64)heard_us) / G_USEC_PER_SEC);
}

static void
append_session (GString *out, gint64 now_us, const NatSessionSnapshot *s, gboolean whole_id)
{
  NatSums sums = {0};
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
        nat_address_to_text (&s->mapped, address), transport_text (s->mapped.transport));
  append_when (out, now_us, s);
  append_flow (out, &s->flow);
  nat_sums_add (&sums, s->counters);
  append_sums (out, &sums);
  g_string_append_printf (out,
      ",\"rtt_us\":" U64 ",\"jitter_us\":" U64 ",\"cached_bytes\":" U64 "}",
      nat_counter_get (&s->counters->rtt_us), nat_counter_get (&s->counters->jitter_us),
      nat_counter_get (&s->counters->cached_bytes));
}

gboolean
nat_listing_sessions (NatListing *l, const NatSessionList *list, gboolean whole_id)
{
  guint all = list->sessions->len;
  guint end = MIN (all, l->shown + NAT_LISTING_SESSIONS_AT_ONCE);

  if (l->shown == 0)
    g_string_append (l->text, "{\"sessions\":[");
  for (; l->shown < end; l->shown++) {
    if (l->shown > 0)
      g_string_append_c (l->text, ',');
    append_session (l->text, list->now_us, g_ptr_array_index (list->sessions, l->shown), whole_id);
  }
  if (l->shown < all)
    return TRUE;
  g_string_append_printf (l->text, "],\"total\":%u}", list->total);
  return FALSE;
}
