/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Packets of the past: told from live ones, kept in their order, asked for, and waited for only so long. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstnatrelayheadstart.h"
#include "natproto/rtcpapp.h"

#define OWN   99
#define VIDEO 7
#define AUDIO 8

typedef struct {
  GstNatRelayHeadstart *headstart;
  GMutex lock;
  GString *asked;  /* "65535,2" */
  gboolean answer; /* what is asked for comes at once */
  GThread *helper;
} Viewer;

static GstBuffer *
packet_new (guint16 seq)
{
  guint8 bytes[13] = {0x80, 96, (guint8)(seq >> 8), (guint8)seq, 0, 0, 0, 0, 0, 0, 0, VIDEO, 1};

  return gst_buffer_new_memdup (bytes, sizeof bytes);
}

static guint16
seq_of (GstBuffer *packet)
{
  guint8 seq[2];

  gst_buffer_extract (packet, 2, seq, 2);
  return GST_READ_UINT16_BE (seq);
}

static gboolean
take (Viewer *v, guint32 ssrc, guint16 seq)
{
  GstBuffer *packet = packet_new (seq);
  gboolean taken = gst_nat_relay_headstart_take_packet (v->headstart, ssrc, seq, packet);

  gst_buffer_unref (packet);
  return taken;
}

static gpointer
answer (gpointer user)
{
  Viewer *v = user;
  gchar **seqs;

  g_mutex_lock (&v->lock);
  seqs = g_strsplit (v->asked->str, ",", -1);
  g_mutex_unlock (&v->lock);
  for (guint i = 0; seqs[i] != NULL; i++)
    take (v, VIDEO, (guint16)g_ascii_strtoull (seqs[i], NULL, 10));
  g_strfreev (seqs);
  return NULL;
}

static void
note (Viewer *v, guint16 seq)
{
  g_string_append_printf (v->asked, v->asked->len > 0 ? ",%u" : "%u", seq);
}

static void
viewer_send (gpointer user, const guint8 *data, gsize len)
{
  Viewer *v = user;
  NatRtcpNackEntry entry;
  NatRtcpPacket packet;
  NatRtcpIter it;
  guint32 ssrc;

  fail_unless (nat_rtcp_iter_init (&it, data, len) && nat_rtcp_iter_next (&it, &packet));
  fail_unless (nat_rtcp_media_ssrc (&packet, &ssrc) && ssrc == VIDEO);
  fail_unless_equals_int (nat_rtcp_sender_ssrc (&packet), OWN);
  g_mutex_lock (&v->lock);
  for (guint i = 0; nat_rtcp_nack_entry (&packet, i, &entry); i++) {
    note (v, entry.first);
    for (guint bit = 0; bit < 16; bit++) {
      if (entry.following & 1u << bit)
        note (v, (guint16)(entry.first + 1 + bit));
    }
  }
  g_mutex_unlock (&v->lock);
  if (v->answer && v->helper == NULL)
    v->helper = g_thread_new ("answer", answer, v);
}

static guint
viewer_rtt (gpointer user)
{
  return 1000;
}

static const GstNatRelayHeadstartHooks hooks = {viewer_send, viewer_rtt};

static void
viewer_init (Viewer *v)
{
  *v = (Viewer){.asked = g_string_new (NULL)};
  g_mutex_init (&v->lock);
  v->headstart = gst_nat_relay_headstart_new (&hooks, v);
  gst_nat_relay_headstart_start (v->headstart, OWN);
}

static void
viewer_clear (Viewer *v)
{
  g_clear_pointer (&v->helper, g_thread_join);
  gst_nat_relay_headstart_free (v->headstart);
  g_string_free (v->asked, TRUE);
  g_mutex_clear (&v->lock);
}

/* behind packets up to seq are announced. */
static void
announce (Viewer *v, guint32 ssrc, guint16 seq, guint16 behind)
{
  NatLiveEdge edges[] = {{.ssrc = AUDIO, .seq = 500}, {.ssrc = ssrc, .seq = seq, .behind = behind}};
  guint8 compound[200];
  gsize len = nat_rtcp_write_rr (compound, sizeof compound, 5, NULL, 0);

  len += nat_rtcp_write_edges (compound + len, sizeof compound - len, 5, edges, 2);
  gst_nat_relay_headstart_take_rtcp (v->headstart, compound, len);
}

static void
expect_next (Viewer *v, guint16 seq)
{
  gboolean complete = FALSE;
  GstBuffer *packet = gst_nat_relay_headstart_next (v->headstart, VIDEO, &complete);

  fail_unless (packet != NULL, "%u does not come", seq);
  fail_unless_equals_int (seq_of (packet), seq);
  gst_buffer_unref (packet);
}

static void
expect_end (Viewer *v, gboolean complete)
{
  gboolean is_complete = !complete;

  fail_unless (gst_nat_relay_headstart_next (v->headstart, VIDEO, &is_complete) == NULL);
  fail_unless_equals_int (is_complete, complete);
}

static const guint16 edges[] = {1003, 1, 65535};

GST_START_TEST (test_order)
{
  guint16 edge = edges[__i__], from = (guint16)(edge - 3);
  Viewer v;

  viewer_init (&v);
  fail_if (take (&v, VIDEO, from), "taken before it was announced");
  announce (&v, VIDEO, edge, 4);
  announce (&v, VIDEO, edge, 4); /* in case that one is lost */
  fail_if (take (&v, VIDEO, (guint16)(edge + 1)), "a live packet is of the past");
  fail_if (take (&v, VIDEO, (guint16)(from - 1)), "nobody announced this one");
  fail_if (take (&v, AUDIO, 500), "sound has no past");
  fail_unless (take (&v, VIDEO, from));
  fail_unless (take (&v, VIDEO, edge));
  fail_unless (take (&v, VIDEO, (guint16)(edge - 1)));
  fail_unless (take (&v, VIDEO, (guint16)(edge - 1)));
  fail_unless (take (&v, VIDEO, (guint16)(from + 1)));
  fail_if (gst_nat_relay_headstart_begin (v.headstart, AUDIO));
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  for (guint i = 0; i < 4; i++)
    expect_next (&v, (guint16)(from + i));
  expect_end (&v, TRUE);
  fail_unless (take (&v, VIDEO, from), "a repeat goes to the RTP session");
  fail_if (take (&v, VIDEO, (guint16)(edge + 2)));
  fail_unless_equals_string (v.asked->str, "");
  viewer_clear (&v);
}
GST_END_TEST;

#define ATTEMPTS 10

/* FALSE: the end was asked for, too, as it is where nothing comes for a while; so it looks if the machine stops. */
static gboolean
asks_for_missing (void)
{
  gboolean ok;
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 2, 6); /* 65533 to 2 */
  v.answer = TRUE;
  take (&v, VIDEO, 65533);
  take (&v, VIDEO, 65534);
  take (&v, VIDEO, 0);
  take (&v, VIDEO, 1);
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  for (guint i = 0; i < 5; i++)
    expect_next (&v, (guint16)(65533 + i));
  g_clear_pointer (&v.helper, g_thread_join);
  fail_unless (g_str_has_prefix (v.asked->str, "65535"), "asked for \"%s\"", v.asked->str);
  ok = strchr (v.asked->str, '2') == NULL;
  g_string_truncate (v.asked, 0);
  expect_next (&v, 2); /* nothing came behind it */
  expect_end (&v, TRUE);
  g_clear_pointer (&v.helper, g_thread_join);
  fail_unless (strspn (v.asked->str, "2,") == v.asked->len, "asked for \"%s\"", v.asked->str);
  fail_unless (v.asked->len > 0 || !ok);
  viewer_clear (&v);
  return ok;
}

GST_START_TEST (test_missing_is_asked_for)
{
  gboolean ok = FALSE;

  for (guint i = 0; i < ATTEMPTS && !ok; i++)
    ok = asks_for_missing ();
  fail_unless (ok, "the end is asked for while the rest still comes");
}
GST_END_TEST;

/* Neither end of the past nor beginning of what is live is seen where packets between them are lost. */
GST_START_TEST (test_first_live)
{
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 1, 3); /* 65535 to 1 */
  take (&v, VIDEO, 65535);
  fail_if (take (&v, VIDEO, 5), "the first live packet is of the past");
  announce (&v, VIDEO, 1, 3);
  take (&v, VIDEO, 0);
  take (&v, VIDEO, 1);
  fail_if (take (&v, VIDEO, 7));
  fail_unless (take (&v, VIDEO, 3), "the RTP session gets what it will not take");
  fail_if (take (&v, VIDEO, 6));
  v.answer = TRUE;
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  for (guint i = 0; i < 6; i++)
    expect_next (&v, (guint16)(65535 + i));
  expect_end (&v, TRUE);
  fail_unless (g_str_has_prefix (v.asked->str, "2,"), "asked for \"%s\"", v.asked->str);
  viewer_clear (&v);
}
GST_END_TEST;

/* Long after now, by the caller's clock. */
static GstBuffer *
release (Viewer *v, gint64 *look_us)
{
  return gst_nat_relay_headstart_release (
      v->headstart, g_get_monotonic_time () + 2 * G_TIME_SPAN_SECOND, look_us);
}

/* Of a source that is quiet the last packet goes on, once, and the rest is the past of that. What is missing at the end is
 * asked for. */
GST_START_TEST (test_quiet)
{
  gint64 begun_us = g_get_monotonic_time (), look_us;
  GstBuffer *packet;
  Viewer v;

  viewer_init (&v);
  fail_unless (release (&v, &look_us) == NULL && look_us == G_MAXINT64);
  announce (&v, VIDEO, 1, 3); /* 65535 to 1 */
  take (&v, VIDEO, 65535);
  take (&v, VIDEO, 0);
  fail_unless (gst_nat_relay_headstart_release (v.headstart, begun_us, &look_us) == NULL);
  fail_unless (look_us > begun_us + G_TIME_SPAN_SECOND, "it is not long quiet");
  fail_unless (release (&v, &look_us) == NULL && look_us != G_MAXINT64, "it is not there");
  fail_unless (gst_nat_relay_headstart_release (
                   v.headstart, begun_us + 5 * G_TIME_SPAN_SECOND, &look_us) == NULL);
  fail_unless (look_us == G_MAXINT64, "the relay keeps it no longer");
  take (&v, VIDEO, 1);
  packet = release (&v, &look_us);
  fail_unless (packet != NULL && seq_of (packet) == 1);
  gst_buffer_unref (packet);
  fail_unless (release (&v, &look_us) == NULL && look_us == G_MAXINT64);
  fail_if (take (&v, VIDEO, 4), "what is behind it is not of the past");
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  expect_next (&v, 65535);
  expect_next (&v, 0);
  expect_end (&v, TRUE);
  viewer_clear (&v);
}
GST_END_TEST;

/* Where anything live came, nothing is made live. */
GST_START_TEST (test_not_quiet)
{
  gint64 look_us;
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 1, 3);
  take (&v, VIDEO, 1);
  fail_if (take (&v, VIDEO, 2));
  fail_unless (release (&v, &look_us) == NULL && look_us == G_MAXINT64);
  viewer_clear (&v);
}
GST_END_TEST;

/* What went to the RTP session does not come back. */
GST_START_TEST (test_announced_late)
{
  Viewer v;

  viewer_init (&v);
  fail_if (take (&v, VIDEO, 4));
  announce (&v, VIDEO, 1, 3);
  fail_if (take (&v, VIDEO, 5));
  for (guint i = 0; i < 3; i++)
    take (&v, VIDEO, (guint16)(65535 + i));
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  for (guint i = 0; i < 3; i++)
    expect_next (&v, (guint16)(65535 + i));
  expect_end (&v, TRUE);
  viewer_clear (&v);
}
GST_END_TEST;

/* FALSE: what was not sent yet was asked for, as it is where nothing comes for a while; so it looks if the machine stops. */
static gboolean
bears_far_ahead (void)
{
  gboolean ok;
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 1000, 1000); /* 1 to 1000 */
  v.answer = TRUE;
  take (&v, VIDEO, 1);
  take (&v, VIDEO, 3);
  take (&v, VIDEO, 990);
  take (&v, VIDEO, 4);
  take (&v, VIDEO, 995);
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  for (guint16 seq = 1; seq < 5; seq++)
    expect_next (&v, seq);
  g_clear_pointer (&v.helper, g_thread_join);
  fail_unless (g_str_has_prefix (v.asked->str, "2"));
  ok = strchr (v.asked->str, '5') == NULL;
  g_string_truncate (v.asked, 0);
  for (guint16 seq = 10; seq < 20; seq++)
    take (&v, VIDEO, (guint16)(seq + 600));
  expect_next (&v, 5);
  g_clear_pointer (&v.helper, g_thread_join);
  fail_unless (
      !ok || g_str_has_prefix (v.asked->str, "5,6,7,8,"), "asked for \"%s\"", v.asked->str);
  viewer_clear (&v);
  return ok;
}

/* A packet that came out of order says nothing of those before it, which were not sent yet; some of them do. */
GST_START_TEST (test_far_ahead)
{
  gboolean ok = FALSE;

  for (guint i = 0; i < ATTEMPTS && !ok; i++)
    ok = bears_far_ahead ();
  fail_unless (ok, "what was not sent yet is asked for");
}
GST_END_TEST;

static gboolean
has_asked (Viewer *v, const gchar *what)
{
  gboolean asked;

  g_mutex_lock (&v->lock);
  asked = g_str_has_prefix (v->asked->str, what);
  g_mutex_unlock (&v->lock);
  return asked;
}

/* Whoever takes the packets is busy with those that it has: what is missing is asked for meanwhile, as long as anything comes. */
GST_START_TEST (test_asks_meanwhile)
{
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 100, 100);
  for (guint16 seq = 1; seq <= 100; seq++) {
    if (seq != 50)
      take (&v, VIDEO, seq);
  }
  for (guint16 seq = 101; !has_asked (&v, "50"); seq++) {
    fail_if (take (&v, VIDEO, seq));
    g_usleep (1000);
  }
  viewer_clear (&v);
}
GST_END_TEST;

/* It was busy for so long that all the rest had come long ago: what is missing is waited for all the same. */
GST_START_TEST (test_slow)
{
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 4, 4);
  take (&v, VIDEO, 1);
  take (&v, VIDEO, 2);
  take (&v, VIDEO, 4);
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  expect_next (&v, 1);
  expect_next (&v, 2);
  g_usleep (G_TIME_SPAN_SECOND);
  v.answer = TRUE;
  expect_next (&v, 3);
  expect_next (&v, 4);
  expect_end (&v, TRUE);
  viewer_clear (&v);
}
GST_END_TEST;

GST_START_TEST (test_what_does_not_come)
{
  GstNatRelayHeadstartStats stats;
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 100, 3);
  take (&v, VIDEO, 98);
  take (&v, VIDEO, 100);
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  expect_next (&v, 98);
  expect_end (&v, FALSE);
  fail_unless (g_str_has_prefix (v.asked->str, "99,99"), "asked for \"%s\"", v.asked->str);
  expect_end (&v, FALSE);
  gst_nat_relay_headstart_get_stats (v.headstart, &stats);
  fail_unless_equals_uint64 (stats.packets, 2);
  fail_unless_equals_uint64 (stats.given_up, 1);
  viewer_clear (&v);
}
GST_END_TEST;

static gpointer
wait_for_past (gpointer user)
{
  gboolean complete = TRUE;
  gint64 before = g_get_monotonic_time ();
  GstBuffer *packet = gst_nat_relay_headstart_next (((Viewer *)user)->headstart, VIDEO, &complete);

  fail_unless (packet == NULL && !complete);
  return GINT_TO_POINTER ((gint)((g_get_monotonic_time () - before) / 1000));
}

/* Whoever stops, or takes the track away, is not kept waiting: questions show that somebody waits. */
GST_START_TEST (test_wakes)
{
  GThread *thread;
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 100, 3);
  take (&v, VIDEO, 100);
  thread = g_thread_new ("waits", wait_for_past, &v);
  while (TRUE) {
    gboolean waits;

    g_mutex_lock (&v.lock);
    waits = v.asked->len > 0;
    g_mutex_unlock (&v.lock);
    if (waits)
      break;
    g_usleep (1000);
  }
  if (__i__ == 0)
    gst_nat_relay_headstart_stop (v.headstart);
  else
    gst_nat_relay_headstart_forget (v.headstart, VIDEO);
  g_thread_join (thread);
  fail_if (take (&v, VIDEO, 99), "it was forgotten");
  viewer_clear (&v);
}
GST_END_TEST;

/* The client had to join again, and plays already. */
GST_START_TEST (test_too_late)
{
  Viewer v;

  viewer_init (&v);
  fail_if (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  announce (&v, VIDEO, 100, 3);
  fail_unless (take (&v, VIDEO, 99), "the RTP session gets packets of the past");
  fail_if (take (&v, VIDEO, 101));
  gst_nat_relay_headstart_forget (v.headstart, VIDEO);
  announce (&v, VIDEO, 100, 3);
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  viewer_clear (&v);
}
GST_END_TEST;

/* What the relay cannot have meant. */
GST_START_TEST (test_nonsense)
{
  Viewer v;

  viewer_init (&v);
  announce (&v, VIDEO, 100, 40000);
  fail_if (take (&v, VIDEO, 99));
  for (guint32 ssrc = 1000; ssrc < 1100; ssrc++)
    announce (&v, ssrc, 5, 2);
  gst_nat_relay_headstart_take_rtcp (v.headstart, (const guint8 *)"\x80", 1);
  gst_nat_relay_headstart_stop (v.headstart);
  announce (&v, VIDEO, 100, 3);
  fail_if (take (&v, VIDEO, 99), "it has not started");
  viewer_clear (&v);
}
GST_END_TEST;

#define STRAYS 16

/* SSRCs that are of no track keep nobody from his past; but whose past comes, or plays, keeps his place. */
GST_START_TEST (test_strays)
{
  Viewer v;

  viewer_init (&v);
  for (guint32 ssrc = 1000; ssrc < 1000 + STRAYS; ssrc++)
    fail_if (take (&v, ssrc, 1));
  announce (&v, VIDEO, 100, 3);
  fail_unless (take (&v, VIDEO, 98), "the strays have all places");
  for (guint32 ssrc = 2000; ssrc < 2000 + STRAYS; ssrc++)
    fail_if (take (&v, ssrc, 1));
  fail_unless (take (&v, VIDEO, 99), "the past was given up for a stray");
  fail_unless (gst_nat_relay_headstart_begin (v.headstart, VIDEO));
  expect_next (&v, 98);
  expect_next (&v, 99);
  gst_nat_relay_headstart_end (v.headstart, VIDEO);
  for (guint32 ssrc = 3000; ssrc < 3000 + STRAYS; ssrc++)
    fail_if (take (&v, ssrc, 1));
  fail_unless (take (&v, VIDEO, 99), "a repeat goes to the RTP session");
  viewer_clear (&v);
}
GST_END_TEST;

/* Of those that may go that one does of which nothing was heard for longest. */
GST_START_TEST (test_longest_unheard)
{
  Viewer v;

  viewer_init (&v);
  fail_if (take (&v, VIDEO, 4));
  for (guint32 ssrc = 1000; ssrc < 1000 + STRAYS - 1; ssrc++)
    fail_if (take (&v, ssrc, 1));
  g_usleep (1000);
  fail_if (take (&v, VIDEO, 5));
  fail_if (take (&v, 2000, 1));
  announce (&v, VIDEO, 1, 3);
  fail_if (take (&v, VIDEO, 6));
  fail_if (take (&v, VIDEO, 5), "that packets went to the RTP session before is forgotten");
  viewer_clear (&v);
}
GST_END_TEST;

static Suite *
natrelayheadstart_suite (void)
{
  Suite *s = suite_create ("natrelayheadstart");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_order, 0, G_N_ELEMENTS (edges));
  tcase_add_test (tc, test_missing_is_asked_for);
  tcase_add_test (tc, test_first_live);
  tcase_add_test (tc, test_quiet);
  tcase_add_test (tc, test_not_quiet);
  tcase_add_test (tc, test_announced_late);
  tcase_add_test (tc, test_far_ahead);
  tcase_add_test (tc, test_asks_meanwhile);
  tcase_add_test (tc, test_slow);
  tcase_add_test (tc, test_what_does_not_come);
  tcase_add_loop_test (tc, test_wakes, 0, 2);
  tcase_add_test (tc, test_too_late);
  tcase_add_test (tc, test_nonsense);
  tcase_add_test (tc, test_strays);
  tcase_add_test (tc, test_longest_unheard);
  return s;
}

GST_CHECK_MAIN (natrelayheadstart);
