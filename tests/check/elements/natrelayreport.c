/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a session's states become on the bus. */

#include "gstnatrelayreport.h"

#include <gst/check/gstcheck.h>
#include <string.h>

GST_DEBUG_CATEGORY (gst_nat_relay_debug);

typedef struct {
  GstNatRelayReport report;
  GstElement *element;
  GstBus *bus;
  NatSession *session;
} Reporter;

static void
reporter_init (Reporter *r)
{
  static const NatSessionCallbacks callbacks = {0};
  NatSessionConfig config;

  GST_DEBUG_CATEGORY_INIT (gst_nat_relay_debug, "natrelay", 0, "natrelay connection");
  nat_session_config_init (&config);
  config.role = NAT_ROLE_SUBSCRIBER;
  config.host = g_strdup ("127.0.0.1");
  config.stream = g_strdup ("door");
  r->session = nat_session_new (&config, &callbacks, NULL);
  nat_session_config_clear (&config);
  r->element = gst_object_ref_sink (gst_bin_new (NULL));
  r->bus = gst_bus_new ();
  gst_element_set_bus (r->element, r->bus);
  gst_nat_relay_report_init (&r->report, r->element, NAT_ROLE_SUBSCRIBER);
  gst_nat_relay_report_start (&r->report);
}

static void
reporter_clear (Reporter *r)
{
  gst_element_set_bus (r->element, NULL);
  gst_object_unref (r->bus);
  gst_object_unref (r->element);
  gst_nat_relay_report_clear (&r->report);
  nat_session_stop (r->session, FALSE);
  nat_session_unref (r->session);
}

static void
go_through (Reporter *r, const NatSessionState *states, guint n)
{
  static const NatCause silence = {NAT_CAUSE_SILENCE, 0, FALSE, 1, 250, (char *)"silence", NULL};

  for (guint i = 0; i < n; i++)
    gst_nat_relay_report_state (
        &r->report, r->session, states[i], states[i] == NAT_SESSION_WAITING ? &silence : NULL);
}

/* "+negotiate -negotiate", and the text of the last one that was completed with that code. */
static void
assert_progress (Reporter *r, const gchar *wanted, const gchar *of, const gchar *says)
{
  GString *story = g_string_new (NULL);
  gchar *last = NULL;
  GstMessage *message;

  while ((message = gst_bus_pop_filtered (r->bus, GST_MESSAGE_PROGRESS)) != NULL) {
    GstProgressType type;
    gchar *code, *text;

    gst_message_parse_progress (message, &type, &code, &text);
    g_string_append_printf (story, "%s%s ",
        type == GST_PROGRESS_TYPE_START      ? "+"
        : type == GST_PROGRESS_TYPE_COMPLETE ? "-"
                                             : "!",
        code);
    if (type == GST_PROGRESS_TYPE_COMPLETE && strcmp (code, of) == 0) {
      g_free (last);
      last = g_steal_pointer (&text);
    }
    g_free (code);
    g_free (text);
    gst_message_unref (message);
  }
  fail_unless_equals_string (story->str, wanted);
  fail_unless (last != NULL && strstr (last, says) != NULL, "%s", last);
  g_string_free (story, TRUE);
  g_free (last);
}

/* A session that was taken for lost is answered while another is negotiated: nothing was challenged. */
GST_START_TEST (test_answered_while_negotiating)
{
  static const NatSessionState first[] = {
      NAT_SESSION_NEGOTIATING, NAT_SESSION_CHALLENGING, NAT_SESSION_CONNECTED};
  static const NatSessionState again[] = {
      NAT_SESSION_SUSPECT, NAT_SESSION_WAITING, NAT_SESSION_NEGOTIATING, NAT_SESSION_CONNECTED};
  Reporter r;

  reporter_init (&r);
  go_through (&r, first, G_N_ELEMENTS (first));
  assert_progress (&r, "+negotiate -negotiate +challenge -challenge +register -register ",
      "challenge", "Challenge answered");
  go_through (&r, again, G_N_ELEMENTS (again));
  assert_progress (&r, "+negotiate -negotiate +register -register ", "negotiate", "answers again");
  reporter_clear (&r);
}
GST_END_TEST;

/* Each way to begin ends, and what is under way when it is stopped is canceled. */
GST_START_TEST (test_stopped_while_negotiating)
{
  static const NatSessionState states[] = {NAT_SESSION_NEGOTIATING, NAT_SESSION_WAITING,
      NAT_SESSION_NEGOTIATING, NAT_SESSION_CHALLENGING};
  Reporter r;

  reporter_init (&r);
  go_through (&r, states, G_N_ELEMENTS (states));
  gst_nat_relay_report_stop (&r.report);
  assert_progress (&r, "+negotiate !negotiate +negotiate -negotiate +challenge !challenge ",
      "negotiate", "Negotiated");
  reporter_clear (&r);
}
GST_END_TEST;

static Suite *
natrelayreport_suite (void)
{
  Suite *s = suite_create ("natrelayreport");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_answered_while_negotiating);
  tcase_add_test (tc, test_stopped_while_negotiating);
  return s;
}

GST_CHECK_MAIN (natrelayreport);
