/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What observers see, from a snapshot: metrics for machines, a page for people. */

#include <string.h>

#include "natproto/json.h"
#include "natserver/observe/listing.h"
#include "natserver/observe/metrics.h"
#include "natserver/observe/statuspage.h"
#include "natserver/observe/trend.h"

static NatSessionCounters *
counters (guint64 packets)
{
  NatSessionCounters *c = nat_session_counters_new ();

  nat_counter_add (&c->packets_received, packets);
  nat_counter_add (&c->bytes_received, packets * 1000);
  nat_counter_add (&c->packets_lost, packets / 10);
  return c;
}

static NatSums
sums (guint64 packets)
{
  NatSessionCounters *c = counters (packets);
  NatSums sums = {0};

  nat_sums_add (&sums, c);
  nat_session_counters_unref (c);
  return sums;
}

/* With a publisher. */
static NatStreamSnapshot *
add_stream (NatSnapshot *s, const char *name, guint64 packets)
{
  NatStreamSnapshot *stream = g_new0 (NatStreamSnapshot, 1);

  stream->name = g_strdup (name);
  stream->publisher = "live";
  stream->heard = TRUE;
  stream->sums = sums (packets);
  nat_sums_join (&s->all, &stream->sums);
  s->n_streams[1]++;
  s->n_sessions[0][1]++;
  g_ptr_array_add (s->streams, stream);
  return stream;
}

static NatSnapshot *
snapshot_new (guint n_streams)
{
  NatSnapshot *s = nat_snapshot_new ();

  s->program_version = "1.2.3";
  s->all = sums (7);
  for (guint i = 0; i < n_streams; i++) {
    g_autofree char *name = g_strdup_printf ("s%04u", i);

    add_stream (s, name, 3);
  }
  return s;
}

static char *
metrics (const NatSnapshot *s)
{
  GString *text = g_string_new (NULL);

  nat_metrics_append (text, s);
  return g_string_free (text, FALSE);
}

static void
assert_line (const char *text, const char *line)
{
  g_autofree char *whole = g_strconcat ("\n", line, "\n", NULL);

  if (strstr (text, whole) == NULL)
    g_error ("no line %s", line);
}

static void
test_metrics (void)
{
  NatSnapshot *s = snapshot_new (2);
  g_autofree char *text = metrics (s);

  assert_line (text, "natrelay_build_info{version=\"1.2.3\"} 1");
  assert_line (
      text, "natrelay_packets_received_total 13"); /* 7 of streams that are gone, twice 3 */
  assert_line (text, "natrelay_stream_packets_received_total{stream=\"s0001\"} 3");
  assert_line (text, "natrelay_streams{publisher=\"live\"} 2");
  assert_line (text, "natrelay_sessions{role=\"publisher\",registered=\"true\"} 2");
  assert_line (text, "# TYPE natrelay_packets_lost gauge");
  g_assert_null (strstr (text, "{stream=\"*\"}"));
#define NAT_WORKER_COUNTER(name, unit, help)                                                       \
  assert_line (text, "# TYPE natrelay_" #name "_total counter");
#include "natserver/counters.def"
#undef NAT_WORKER_COUNTER
  nat_snapshot_free (s);
}

/* Of all workers; a bucket holds those below it too. */
static void
test_latency (void)
{
  NatWorkerCounters one = {0}, two = {0};
  NatWorkerCounters *workers[] = {&one, &two};
  NatSnapshot *s = snapshot_new (0);
  g_autofree char *text = NULL;

  s->workers = workers;
  s->n_workers = 2;
  nat_histogram_add (&one.forward_latency, 5000, 3);
  nat_histogram_add (&two.forward_latency, 30000, 2);
  nat_histogram_add (&two.forward_latency, (gint64)4 * 1000000000, 1);
  text = metrics (s);
  assert_line (text, "# TYPE natrelay_forward_latency_seconds histogram");
  assert_line (text, "natrelay_forward_latency_seconds_bucket{le=\"0.000004\"} 0");
  assert_line (text, "natrelay_forward_latency_seconds_bucket{le=\"0.000006\"} 3");
  assert_line (text, "natrelay_forward_latency_seconds_bucket{le=\"0.000024\"} 3");
  assert_line (text, "natrelay_forward_latency_seconds_bucket{le=\"0.000032\"} 5");
  assert_line (text, "natrelay_forward_latency_seconds_bucket{le=\"3.145728\"} 5");
  assert_line (text, "natrelay_forward_latency_seconds_bucket{le=\"+Inf\"} 6");
  assert_line (text, "natrelay_forward_latency_seconds_sum 4.000075000");
  assert_line (text, "natrelay_forward_latency_seconds_count 6");
  nat_snapshot_free (s);
}

static void
test_metrics_are_bounded (void)
{
  NatSnapshot *s = snapshot_new (NAT_METRICS_STREAMS_MAX + 5);
  g_autofree char *text = metrics (s);

  assert_line (text, "natrelay_stream_packets_received_total{stream=\"s0099\"} 3");
  g_assert_null (strstr (text, "stream=\"s0100\""));
  assert_line (text, "natrelay_stream_packets_received_total{stream=\"*\"} 15");
  nat_snapshot_free (s);
}

/* With those that have no row in the snapshot, either. */
static void
test_metrics_of_the_rest (void)
{
  NatSnapshot *s = snapshot_new (NAT_SNAPSHOT_STREAMS);
  g_autofree char *text = NULL;

  s->n_streams[0] = 50;
  s->rest = sums (80);
  text = metrics (s);
  assert_line (text, "natrelay_stream_packets_received_total{stream=\"*\"} 2780");
  assert_line (text, "natrelay_streams{publisher=\"none\"} 50");
  nat_snapshot_free (s);
}

/* ---- Trends ---- */

static void
test_trend (void)
{
  NatTrend *t = nat_trend_new ();
  NatFlow flow = {0};

  g_assert_false (nat_trend_get (t, 0, &flow));
  for (guint64 tick = 10; tick <= 500; tick++) {
    NatFlow given = {tick * 1000, tick * 2000, (guint32)tick, (guint32)tick + 1};

    if (tick != 400) /* nobody looked at the clock */
      nat_trend_add (t, tick, &given);
  }
  nat_trend_add (t, 500, &flow); /* is taken already */
  g_assert_true (nat_trend_get (t, 500, &flow));
  g_assert_cmpuint (flow.in_bps, ==, 500000);
  g_assert_cmpuint (flow.out_bps, ==, 1000000);
  g_assert_cmpuint (flow.loss_in_ppm, ==, 500);
  g_assert_cmpuint (flow.loss_out_ppm, ==, 501);
  g_assert_true (nat_trend_get (t, 400, &flow));
  g_assert_cmpuint (flow.in_bps, ==, 0);
  g_assert_true (nat_trend_get (t, 500 - NAT_TREND_SAMPLES + 1, &flow));
  g_assert_false (nat_trend_get (t, 500 - NAT_TREND_SAMPLES, &flow));
  g_assert_false (nat_trend_get (t, 501, &flow));
  nat_trend_add (t, 5000, &(NatFlow){7000, 0, 0, 0});
  g_assert_true (nat_trend_get (t, 4999, &flow));
  g_assert_cmpuint (flow.in_bps, ==, 0);
  g_assert_true (nat_trend_get (t, 5000, &flow));
  g_assert_cmpuint (flow.in_bps, ==, 7000);
  nat_trend_unref (t);
}

static void
test_trend_begins (void)
{
  NatTrend *t = nat_trend_new ();
  NatFlow flow;

  nat_trend_add (t, 7, &(NatFlow){1000, 0, 0, 0});
  g_assert_false (nat_trend_get (t, 6, &flow));
  g_assert_true (nat_trend_get (t, 7, &flow));
  nat_trend_unref (t);
}

/* ---- Lists ---- */

static JsonObject *
parsed (char *text)
{
  g_autoptr (GError) error = NULL;
  JsonObject *object = nat_json_parse (text, -1, 4 << 20, "The list", &error);

  g_assert_no_error (error);
  g_free (text);
  return object;
}

static JsonObject *
entry (JsonObject *list, const char *member, guint index)
{
  return json_array_get_object_element (json_object_get_array_member (list, member), index);
}

/* Rows in text, of streams or of sessions, of which each has one such member. */
static guint
count (const char *text, const char *member)
{
  guint n = 0;

  for (; (text = strstr (text, member)) != NULL; text++)
    n++;
  return n;
}

static JsonObject *
list_streams (const NatSnapshot *s, guint samples)
{
  NatListing l = {g_string_new (NULL)};
  guint before = 0;
  gboolean more;

  do {
    guint now;

    more = nat_listing_streams (&l, s, samples);
    now = count (l.text->str, "\"loss-out-ppm\":");
    g_assert_cmpuint (now - before, <=, NAT_LISTING_STREAMS_AT_ONCE);
    before = now;
  } while (more);
  return parsed (g_string_free (l.text, FALSE));
}

static JsonObject *
list_sessions (const NatSessionList *list, gboolean whole_id)
{
  NatListing l = {g_string_new (NULL)};
  guint before = 0;
  gboolean more;

  do {
    guint now;

    more = nat_listing_sessions (&l, list, whole_id);
    now = count (l.text->str, "\"session\":");
    g_assert_cmpuint (now - before, <=, NAT_LISTING_SESSIONS_AT_ONCE);
    before = now;
  } while (more);
  return parsed (g_string_free (l.text, FALSE));
}

static void
test_streams (void)
{
  NatSnapshot *s = snapshot_new (2);
  NatTrend *trend = nat_trend_new ();
  NatStreamSnapshot *first = g_ptr_array_index (s->streams, 0);
  g_autoptr (JsonObject) list = NULL;
  JsonObject *stream, *plots;

  for (guint64 tick = 1; tick <= 9; tick++)
    nat_trend_add (trend, tick, &(NatFlow){tick * 1000, 0, 0, 5});
  s->trend_tick = 9;
  s->in_bps = 9000;
  first->trend = nat_trend_ref (trend);
  first->flow = (NatFlow){9000, 18000, 1, 2};
  nat_trend_unref (trend); /* the stream is gone */
  list = list_streams (s, 4);
  g_assert_cmpint (json_object_get_int_member (list, "total"), ==, 2);
  g_assert_cmpint (json_object_get_int_member (list, "tick"), ==, 9);
  stream = entry (list, "streams", 0);
  g_assert_cmpstr (json_object_get_string_member (stream, "name"), ==, "s0000");
  g_assert_cmpint (json_object_get_int_member (stream, "packets_received"), ==, 3);
  g_assert_cmpint (json_object_get_int_member (stream, "in-bps"), ==, 9000);
  g_assert_cmpint (json_object_get_int_member (stream, "loss-out-ppm"), ==, 2);
  g_assert_cmpstr (json_object_get_string_member (stream, "transport"), ==, "udp");
  plots = json_object_get_object_member (stream, "trend");
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (plots, "in-kbps")), ==, 4);
  g_assert_cmpint (
      json_array_get_int_element (json_object_get_array_member (plots, "in-kbps"), 0), ==, 6);
  g_assert_false (json_object_has_member (entry (list, "streams", 1), "trend"));
  g_assert_cmpint (
      json_object_get_int_member (json_object_get_object_member (list, "relay"), "in-bps"), ==,
      9000);
  nat_snapshot_free (s);
}

static void
test_many_streams (void)
{
  NatSnapshot *s = snapshot_new (NAT_SNAPSHOT_STREAMS);
  g_autoptr (JsonObject) list = NULL;

  s->n_streams[0] = 50;
  list = list_streams (s, 0);
  g_assert_cmpint (json_object_get_int_member (list, "total"), ==, NAT_SNAPSHOT_STREAMS + 50);
  g_assert_cmpuint (
      json_array_get_length (json_object_get_array_member (list, "streams")), ==, NAT_LISTING_MAX);
  g_assert_cmpstr (
      json_object_get_string_member (entry (list, "streams", 999), "name"), ==, "s0999");
  nat_snapshot_free (s);
}

static void
add_session (NatSessionList *list, const char *stream, const char *subject)
{
  NatSessionSnapshot *s = g_new0 (NatSessionSnapshot, 1);

  strcpy (s->id, "SECRETSECRETSECRETSECR");
  s->role = NAT_ROLE_PUBLISHER;
  s->stream = g_strdup (stream);
  s->subject = g_strdup (subject);
  s->registered = TRUE;
  s->counters = counters (2);
  nat_address_from_text (&s->mapped, "192.0.2.77:1234", 0);
  g_ptr_array_add (list->sessions, s);
}

static void
test_sessions (void)
{
  NatSessionList *list = nat_session_list_new ();
  g_autoptr (JsonObject) brief = NULL, whole = NULL;
  JsonObject *session;

  add_session (list, "odd", "<script>\"\\\n");
  for (guint i = 1; i < NAT_LISTING_MAX; i++)
    add_session (list, "s", "camera");
  list->total = NAT_LISTING_MAX + 6;
  brief = list_sessions (list, FALSE);
  g_assert_cmpint (json_object_get_int_member (brief, "total"), ==, NAT_LISTING_MAX + 6);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (brief, "sessions")), ==,
      NAT_LISTING_MAX);
  g_assert_cmpstr (
      json_object_get_string_member (entry (brief, "sessions", 0), "session"), ==, "SECRETSE");
  whole = list_sessions (list, TRUE);
  session = entry (whole, "sessions", 0);
  g_assert_cmpstr (
      json_object_get_string_member (session, "session"), ==, "SECRETSECRETSECRETSECR");
  g_assert_cmpstr (json_object_get_string_member (session, "subject"), ==, "<script>\"\\\n");
  g_assert_cmpstr (json_object_get_string_member (session, "mapped"), ==, "192.0.2.77:1234");
  g_assert_cmpint (json_object_get_int_member (session, "packets_received"), ==, 2);
  nat_session_list_free (list);
}

static void
test_nothing_to_list (void)
{
  NatSnapshot *s = snapshot_new (0);
  NatSessionList *list = nat_session_list_new ();
  g_autoptr (JsonObject) streams = list_streams (s, 150), sessions = list_sessions (list, TRUE);

  g_assert_cmpint (json_object_get_int_member (streams, "total"), ==, 0);
  g_assert_cmpint (json_object_get_int_member (sessions, "total"), ==, 0);
  nat_snapshot_free (s);
  nat_session_list_free (list);
}

/* ---- The page ---- */

/* And what it imports, all of which the relay has. */
static void
check_script (const char *name, GHashTable *seen)
{
  const NatPageFile *script = nat_statuspage_file (name);

  g_assert_nonnull (script);
  g_assert_null (strstr (script->text, "innerHTML"));
  if (!g_hash_table_add (seen, (gpointer)script))
    return;
  for (const char *at = script->text; (at = strstr (at, "from \"./")) != NULL; at++) {
    g_autofree char *other = g_strndup (at + 8, strcspn (at + 8, "\""));

    check_script (other, seen);
  }
}

static void
test_page (void)
{
  const NatPageFile *page = nat_statuspage_file ("");
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);

  g_assert_true (g_str_has_suffix (page->text, "</html>\n"));
  /* All that it loads is there, and nothing stands in line, which its policy would refuse. */
  for (const char *at = page->text; (at = strstr (at, "status.")) != NULL; at++) {
    g_autofree char *name = g_strndup (at, strcspn (at, "\""));

    g_assert_nonnull (nat_statuspage_file (name));
  }
  g_assert_null (strstr (page->text, "style="));
  g_assert_null (strstr (page->text, "<style"));
  g_assert_null (strstr (page->text, " onclick"));
  check_script ("status.js", seen);
  g_assert_cmpuint (g_hash_table_size (seen), ==, 8);
  g_assert_null (nat_statuspage_file ("status.html"));
  g_assert_null (nat_statuspage_file ("../status.js"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pages/metrics", test_metrics);
  g_test_add_func ("/pages/latency", test_latency);
  g_test_add_func ("/pages/metrics-are-bounded", test_metrics_are_bounded);
  g_test_add_func ("/pages/metrics-of-the-rest", test_metrics_of_the_rest);
  g_test_add_func ("/pages/trend", test_trend);
  g_test_add_func ("/pages/trend-begins", test_trend_begins);
  g_test_add_func ("/pages/streams", test_streams);
  g_test_add_func ("/pages/many-streams", test_many_streams);
  g_test_add_func ("/pages/sessions", test_sessions);
  g_test_add_func ("/pages/nothing-to-list", test_nothing_to_list);
  g_test_add_func ("/pages/page", test_page);
  return g_test_run ();
}
