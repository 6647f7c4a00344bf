/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/statuspage.h"

#include <string.h>

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f4f6f8;--card:#fff;--text:#17212b;--dim:#5c6b7a;"
    "--line:#dfe5eb;--accent:#0b6e8a;--good:#14804a;--good-bg:#dcf5e7;--warn:#8a5a00;"
    "--warn-bg:#fdf0d0;--bad:#b3261e;--idle-bg:#e8edf2}"
    "@media(prefers-color-scheme:dark){:root{--bg:#10161c;--card:#18212a;--text:#e4ebf1;"
    "--dim:#93a3b3;--line:#2a3642;--accent:#5cc3de;--good:#6fd6a0;--good-bg:#12372a;"
    "--warn:#f0c36a;--warn-bg:#3b2f12;--bad:#ff8f86;--idle-bg:#26323d}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--text);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
    "main{max-width:1180px;margin:0 auto;padding:28px 20px 40px}"
    "header{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 14px;margin-bottom:20px}"
    "h1{font-size:26px;letter-spacing:-.02em;margin:0}"
    "h1 span{color:var(--accent)}"
    "h2{font-size:17px;margin:0;display:flex;gap:10px;align-items:baseline}"
    "h2 small{font-weight:400;font-size:13px;color:var(--dim)}"
    ".dim{color:var(--dim)}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}"
    ".card,section{background:var(--card);border:1px solid var(--line);border-radius:12px}"
    ".card{padding:14px 16px}"
    ".card b{display:block;font-size:24px;line-height:1.25;letter-spacing:-.02em;"
    "font-variant-numeric:tabular-nums}"
    ".card small{color:var(--dim)}"
    "section{margin-top:18px;overflow:hidden}"
    "section h2{padding:14px 16px}"
    ".scroll{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:8px 16px;text-align:left;white-space:nowrap;border-top:1px solid var(--line)}"
    "th{font-size:12px;font-weight:600;color:var(--dim)}"
    "td.n,th.n{text-align:right}"
    "td.name{font-weight:600;white-space:normal;overflow-wrap:anywhere;min-width:12em}"
    "td.who{max-width:16em;overflow:hidden;text-overflow:ellipsis}"
    ".mono{font-family:ui-monospace,'Cascadia Mono','DejaVu Sans Mono',monospace;font-size:13px}"
    ".tag{display:inline-block;padding:1px 10px;border-radius:99px;font-size:13px;"
    "background:var(--idle-bg);color:var(--dim)}"
    ".live{background:var(--good-bg);color:var(--good)}"
    ".grace{background:var(--warn-bg);color:var(--warn)}"
    ".bad{color:var(--bad);font-weight:600}"
    ".nothing{padding:4px 16px 20px;color:var(--dim);margin:0}"
    "footer{margin-top:20px;color:var(--dim);font-size:13px}";

/* ---- Words and numbers ------------------------------------------------- */

static void
append_escaped (GString *out, const char *text)
{
  g_autofree char *escaped = g_markup_escape_text (text, -1);

  g_string_append (out, escaped);
}

static void
append_bytes (GString *out, guint64 n)
{
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  gdouble value = (gdouble)n;
  guint unit = 0;

  while (value >= 999.5 && unit + 1 < G_N_ELEMENTS (units)) {
    value /= 1000;
    unit++;
  }
  g_string_append_printf (
      out, unit > 0 && value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* Thousands apart by a thin blank, which no locale reads as a decimal point. */
static void
append_number (GString *out, guint64 n)
{
  char digits[24];
  gsize len = (gsize)g_snprintf (digits, sizeof digits, "%" G_GUINT64_FORMAT, n);

  for (gsize i = 0; i < len; i++) {
    if (i > 0 && (len - i) % 3 == 0)
      g_string_append (out, "\u202f");
    g_string_append_c (out, digits[i]);
  }
}

static void
append_duration (GString *out, gint64 s)
{
  s = MAX (0, s);
  if (s < 60)
    g_string_append_printf (out, "%d s", (int)s);
  else if (s < 3600)
    g_string_append_printf (out, "%d min %d s", (int)(s / 60), (int)(s % 60));
  else if (s < 86400)
    g_string_append_printf (out, "%d h %d min", (int)(s / 3600), (int)(s / 60 % 60));
  else
    g_string_append_printf (out, "%" G_GINT64_FORMAT " d %d h", s / 86400, (int)(s / 3600 % 24));
}

static void
append_traffic (GString *out, guint64 bytes)
{
  if (bytes == 0) {
    g_string_append (out, "<td class=\"n dim\">&ndash;</td>");
    return;
  }
  g_string_append (out, "<td class=n>");
  append_bytes (out, bytes);
  g_string_append (out, "</td>");
}

/* any: there was something that could have been lost. */
static void
append_loss (GString *out, gdouble percent, gboolean any)
{
  if (!any)
    g_string_append (out, "<td class=\"n dim\">&ndash;</td>");
  else if (percent >= 1)
    g_string_append_printf (out, "<td class=\"n bad\">%.1f %%</td>", percent);
  else
    g_string_append_printf (out, "<td class=n>%.1f %%</td>", percent);
}

/* ---- Sums -------------------------------------------------------------- */

typedef struct {
  guint64 packets_received, bytes_received, packets_lost, bytes_sent, packets_sent;
} Traffic;

static void
add (Traffic *t, const NatSessionCounters *c)
{
  if (c == NULL)
    return;
  t->packets_received += nat_counter_get (&c->packets_received);
  t->bytes_received += nat_counter_get (&c->bytes_received);
  t->packets_lost += nat_counter_get (&c->packets_lost);
  t->packets_sent += nat_counter_get (&c->packets_sent);
  t->bytes_sent += nat_counter_get (&c->bytes_sent);
}

static gdouble
percent_lost (const Traffic *t)
{
  guint64 all = t->packets_received + t->packets_lost;

  return all == 0 ? 0 : 100.0 * (gdouble)t->packets_lost / (gdouble)all;
}

/* name -> Traffic of all that was ever sent to and from a stream's sessions */
static GHashTable *
sum_streams (const NatSnapshot *s, Traffic *all)
{
  GHashTable *sums = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);

  add (all, s->past);
  for (guint i = 0; i < s->streams->len; i++) {
    NatStreamSnapshot *stream = g_ptr_array_index (s->streams, i);
    Traffic *t = g_new0 (Traffic, 1);

    add (t, stream->past);
    g_hash_table_insert (sums, stream->name, t);
  }
  for (guint i = 0; i < s->sessions->len; i++) {
    NatSessionSnapshot *session = g_ptr_array_index (s->sessions, i);
    Traffic *t = g_hash_table_lookup (sums, session->stream);

    add (all, session->counters);
    if (t != NULL)
      add (t, session->counters);
  }
  return sums;
}

/* ---- Cards ------------------------------------------------------------- */

static void
card (GString *out, const char *label, const char *note, guint64 value, gboolean bytes)
{
  g_string_append (out, "<div class=card><b>");
  if (bytes)
    append_bytes (out, value);
  else
    append_number (out, value);
  g_string_append_printf (out, "</b>%s<br><small>%s</small></div>", label, note);
}

static void
append_cards (GString *out, const NatSnapshot *s, const Traffic *all)
{
  g_autofree char *in = g_strdup_printf ("%.2f %% lost on the way", percent_lost (all));
  g_autofree char *refused =
      g_strdup_printf ("%" G_GUINT64_FORMAT " refused for a limit", s->https_refused);
  g_autofree char *known = g_strdup_printf ("of %u known", s->streams->len);
  guint live = 0, subscribers = 0, waiting = 0;

  for (guint i = 0; i < s->streams->len; i++)
    live +=
        strcmp (((NatStreamSnapshot *)g_ptr_array_index (s->streams, i))->publisher, "live") == 0;
  for (guint i = 0; i < s->sessions->len; i++) {
    NatSessionSnapshot *session = g_ptr_array_index (s->sessions, i);

    subscribers += session->role == NAT_ROLE_SUBSCRIBER && session->registered;
    waiting += !session->registered;
  }
  g_string_append (out, "<div class=cards>");
  card (out, "streams live", known, live, FALSE);
  card (out, "subscribers", "registered", subscribers, FALSE);
  card (out, "not yet registered", "have negotiated", waiting, FALSE);
  card (out, "received", in, all->bytes_received, TRUE);
  card (out, "forwarded", "to all subscribers", all->bytes_sent, TRUE);
  card (out, "HTTPS requests", refused, s->https_requests, FALSE);
  g_string_append (out, "</div>");
}

/* ---- Tables ------------------------------------------------------------ */

static void
begin_table (GString *out, const char *title, guint total, const char *head)
{
  g_string_append_printf (out, "<section><h2>%s <small>", title);
  append_number (out, total);
  if (total > NAT_STATUSPAGE_ROWS)
    g_string_append_printf (out, ", the first %d are shown", NAT_STATUSPAGE_ROWS);
  g_string_append_printf (out, "</small></h2>");
  if (total > 0)
    g_string_append_printf (
        out, "<div class=scroll><table><thead><tr>%s</tr></thead><tbody>", head);
}

static void
end_table (GString *out, guint total, const char *none)
{
  if (total > 0)
    g_string_append (out, "</tbody></table></div></section>");
  else
    g_string_append_printf (out, "<p class=nothing>%s</p></section>", none);
}

static void
append_stream (GString *out, const NatStreamSnapshot *stream, const Traffic *t)
{
  g_string_append (out, "<tr><td class=name>");
  append_escaped (out, stream->name);
  g_string_append_printf (out, "</td><td><span class=\"tag %s\">%s</span></td><td class=n>%u</td>",
      stream->publisher, stream->publisher, stream->subscribers);
  append_traffic (out, t->bytes_received);
  append_traffic (out, t->bytes_sent);
  append_loss (out, percent_lost (t), t->packets_received > 0);
  g_string_append_printf (out, "<td class=n>%u</td></tr>", stream->version);
}

static void
append_streams (GString *out, const NatSnapshot *s, GHashTable *sums)
{
  begin_table (out, "Streams", s->streams->len,
      "<th>Stream<th>Publisher<th class=n>Subscribers<th class=n>Received<th class=n>Forwarded"
      "<th class=n>Lost on the way here<th class=n>Version");
  for (guint i = 0; i < MIN (s->streams->len, NAT_STATUSPAGE_ROWS); i++) {
    NatStreamSnapshot *stream = g_ptr_array_index (s->streams, i);

    append_stream (out, stream, g_hash_table_lookup (sums, stream->name));
  }
  end_table (out, s->streams->len, "Nobody publishes or watches anything at the moment.");
}

static void
append_loss_of (GString *out, const NatSessionSnapshot *session)
{
  guint64 fraction = nat_counter_get (&session->counters->fraction_lost);
  Traffic t = {0};

  add (&t, session->counters);
  if (session->role == NAT_ROLE_PUBLISHER)
    append_loss (out, percent_lost (&t), t.packets_received > 0);
  else
    append_loss (out, 100.0 * (gdouble)fraction / 256, t.packets_sent > 0);
}

static void
append_mapping (GString *out, const NatSessionSnapshot *session, gboolean addresses)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  if (!session->registered)
    g_string_append (out, "<td class=dim>not registered");
  else if (!addresses)
    g_string_append (out, "<td class=dim>registered");
  else
    g_string_append_printf (out, "<td class=mono>%s%s",
        nat_address_to_text (&session->mapped, text),
        session->mapped.transport == NAT_TRANSPORT_WEBSOCKET ? " (WebSocket)" : "");
  g_string_append (out, "</td>");
}

static void
append_session (
    GString *out, const NatSnapshot *s, const NatSessionSnapshot *session, gboolean addresses)
{
  const NatSessionCounters *c = session->counters;
  guint64 heard_us = nat_counter_get (&c->last_received_us);
  guint64 rtt_us = nat_counter_get (&c->rtt_us);

  g_string_append (out, "<tr><td class=name>");
  append_escaped (out, session->stream);
  g_string_append_printf (
      out, "</td><td>%s</td>", session->role == NAT_ROLE_PUBLISHER ? "publisher" : "subscriber");
  append_mapping (out, session, addresses);
  g_string_append (out, "<td class=who>");
  append_escaped (out, addresses ? session->subject : "");
  g_string_append (out, "</td>");
  append_traffic (out, nat_counter_get (&c->bytes_received));
  append_traffic (out, nat_counter_get (&c->bytes_sent));
  append_loss_of (out, session);
  if (rtt_us > 0)
    g_string_append_printf (out, "<td class=n>%.1f ms</td>", (gdouble)rtt_us / 1000);
  else
    g_string_append (out, "<td class=\"n dim\">&ndash;</td>");
  g_string_append (out, "<td class=n>");
  if (heard_us > 0)
    append_duration (out, (s->now_us - (gint64)heard_us) / G_USEC_PER_SEC);
  else
    g_string_append (out, "<span class=dim>never</span>");
  g_string_append (out, "</td></tr>");
}

static void
append_sessions (GString *out, const NatSnapshot *s, gboolean addresses)
{
  begin_table (out, "Sessions", s->sessions->len,
      "<th>Stream<th>Role<th>Mapping<th>Token subject<th class=n>Received<th class=n>Sent"
      "<th class=n>Lost<th class=n>Round trip<th class=n>Heard ago");
  for (guint i = 0; i < MIN (s->sessions->len, NAT_STATUSPAGE_ROWS); i++)
    append_session (out, s, g_ptr_array_index (s->sessions, i), addresses);
  end_table (out, s->sessions->len, "Clients appear here once they have negotiated.");
}

char *
nat_statuspage_to_html (const NatSnapshot *s, gint64 now_s, gboolean addresses)
{
  GString *out = g_string_new ("<!doctype html><html lang=en><head><meta charset=utf-8>"
                               "<meta name=viewport content=\"width=device-width\">"
                               "<meta http-equiv=refresh content=5>"
                               "<title>natrelay-server</title><style>");
  g_autoptr (GHashTable) sums = NULL;
  Traffic all = {0};

  sums = sum_streams (s, &all);
  g_string_append_printf (out,
      "%s</style></head><body><main><header><h1>nat<span>relay</span></h1>"
      "<span class=dim>version %s, %u worker%s, up ",
      style, s->program_version, s->n_workers, s->n_workers == 1 ? "" : "s");
  append_duration (out, now_s - s->started_s);
  g_string_append (out, "</span></header>");
  append_cards (out, s, &all);
  append_streams (out, s, sums);
  append_sessions (out, s, addresses);
  g_string_append_printf (out,
      "<footer>Refreshed every 5 seconds. HTTPS connections now: %u. "
      "Numbers for machines: /metrics.</footer></main></body></html>\n",
      s->https_connections);
  return g_string_free (out, FALSE);
}
