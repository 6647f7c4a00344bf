/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What observers see, from a snapshot: metrics for machines, a page for people. */

#include <string.h>

#include "natserver/observe/metrics.h"
#include "natserver/observe/statuspage.h"

static NatSessionCounters *
counters (guint64 packets)
{
  NatSessionCounters *c = nat_session_counters_new ();

  nat_counter_add (&c->packets_received, packets);
  nat_counter_add (&c->bytes_received, packets * 1000);
  nat_counter_add (&c->packets_lost, packets / 10);
  return c;
}

static void
add_stream (NatSnapshot *s, const char *name, guint64 past, guint64 live, const char *subject)
{
  NatStreamSnapshot *stream = g_new0 (NatStreamSnapshot, 1);
  NatSessionSnapshot *session = g_new0 (NatSessionSnapshot, 1);

  stream->name = g_strdup (name);
  stream->publisher = "live";
  stream->past = counters (past);
  g_ptr_array_add (s->streams, stream);
  strcpy (session->id, "SECRETSECRETSECRETSECR");
  session->role = NAT_ROLE_PUBLISHER;
  session->stream = g_strdup (name);
  session->subject = g_strdup (subject);
  session->registered = TRUE;
  session->counters = counters (live);
  nat_address_from_text (&session->mapped, "192.0.2.77:1234", 0);
  g_ptr_array_add (s->sessions, session);
}

static NatSnapshot *
snapshot_new (guint n_streams)
{
  NatSnapshot *s = nat_snapshot_new ();

  s->program_version = "1.2.3";
  s->past = counters (7);
  for (guint i = 0; i < n_streams; i++) {
    g_autofree char *name = g_strdup_printf ("s%04u", i);

    add_stream (s, name, 1, 2, "camera");
  }
  return s;
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
  g_autofree char *text = nat_metrics_to_text (s);

  assert_line (text, "natrelay_build_info{version=\"1.2.3\"} 1");
  assert_line (text, "natrelay_packets_received_total 11"); /* 7 that are over, twice 2 that live */
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

static void
test_metrics_are_bounded (void)
{
  NatSnapshot *s = snapshot_new (NAT_METRICS_STREAMS_MAX + 5);
  g_autofree char *text = nat_metrics_to_text (s);

  assert_line (text, "natrelay_stream_packets_received_total{stream=\"s0099\"} 3");
  g_assert_null (strstr (text, "stream=\"s0100\""));
  assert_line (text, "natrelay_stream_packets_received_total{stream=\"*\"} 15");
  nat_snapshot_free (s);
}

static void
test_page (void)
{
  NatSnapshot *s = snapshot_new (1);
  g_autofree char *html = NULL;
  g_autofree char *blind = NULL;

  add_stream (s, "odd", 0, 0, "<script>\"&");
  html = nat_statuspage_to_html (s, 0, TRUE);
  g_assert_nonnull (strstr (html, "192.0.2.77:1234"));
  g_assert_nonnull (strstr (html, "&lt;script&gt;&quot;&amp;"));
  g_assert_null (strstr (html, "<script"));
  g_assert_null (strstr (html, "SECRET"));
  g_assert_null (strstr (html, "http://"));
  blind = nat_statuspage_to_html (s, 0, FALSE);
  g_assert_null (strstr (blind, "192.0.2.77"));
  g_assert_null (strstr (blind, "camera"));
  nat_snapshot_free (s);
}

static void
test_page_is_bounded (void)
{
  NatSnapshot *s = snapshot_new (NAT_STATUSPAGE_ROWS + 1);
  g_autofree char *html = nat_statuspage_to_html (s, 0, TRUE);

  g_assert_nonnull (strstr (html, "s0199"));
  g_assert_null (strstr (html, "s0200"));
  g_assert_nonnull (strstr (html, "201, the first 200 are shown"));
  nat_snapshot_free (s);
}

static void
test_empty_page (void)
{
  NatSnapshot *s = snapshot_new (0);
  g_autofree char *html = nat_statuspage_to_html (s, 0, TRUE);

  g_assert_nonnull (strstr (html, "Nobody publishes"));
  g_assert_true (g_str_has_suffix (html, "</html>\n"));
  nat_snapshot_free (s);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pages/metrics", test_metrics);
  g_test_add_func ("/pages/metrics-are-bounded", test_metrics_are_bounded);
  g_test_add_func ("/pages/page", test_page);
  g_test_add_func ("/pages/page-is-bounded", test_page_is_bounded);
  g_test_add_func ("/pages/empty-page", test_empty_page);
  return g_test_run ();
}
