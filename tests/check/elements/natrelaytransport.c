/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The private source and sink by themselves: packets come out as they came in, and both can be stopped at any moment. */

#include <gst/check/gstcheck.h>
#include <sched.h>

#include "gstnatrelaytransport.h"

#define PACKETS 100
#define LEN     20
#define STOPS   300
#define PAUSES  50

/* The source, and a pad that takes what comes out of it. */
typedef struct {
  GstElement *element;
  GstNatRelayTransportSrc *src;
  GstPad *pad;

  GMutex lock;
  GCond cond;
  guint n;     /* packets that came */
  guint lists; /* in so many lists */
  guint wrong; /* out of order, or of two SSRCs in one list */
} Outlet;

/* called with lock; its number follows that of the one before */
static void
take_packet (Outlet *o, GstBuffer *buffer)
{
  guint8 packet[LEN];

  if (gst_buffer_extract (buffer, 0, packet, LEN) != LEN ||
      GST_READ_UINT16_BE (packet + 2) != o->n % G_MAXUINT16)
    o->wrong++;
  o->n++;
}

static GstFlowReturn
take_buffer (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  Outlet *o = gst_pad_get_element_private (pad);

  g_mutex_lock (&o->lock);
  take_packet (o, buffer);
  g_cond_signal (&o->cond);
  g_mutex_unlock (&o->lock);
  gst_buffer_unref (buffer);
  return GST_FLOW_OK;
}

static guint32
ssrc_of (GstBuffer *buffer)
{
  guint8 ssrc[4] = {0};

  gst_buffer_extract (buffer, 8, ssrc, sizeof ssrc);
  return GST_READ_UINT32_BE (ssrc);
}

static GstFlowReturn
take_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  Outlet *o = gst_pad_get_element_private (pad);

  g_mutex_lock (&o->lock);
  for (guint i = 0; i < gst_buffer_list_length (list); i++) {
    take_packet (o, gst_buffer_list_get (list, i));
    o->wrong += ssrc_of (gst_buffer_list_get (list, i)) != ssrc_of (gst_buffer_list_get (list, 0));
  }
  o->lists++;
  g_cond_signal (&o->cond);
  g_mutex_unlock (&o->lock);
  gst_buffer_list_unref (list);
  return GST_FLOW_OK;
}

static void
outlet_init (Outlet *o)
{
  GstPad *src;

  memset (o, 0, sizeof *o);
  g_mutex_init (&o->lock);
  g_cond_init (&o->cond);
  o->element = gst_object_ref_sink (gst_nat_relay_transport_src_new ("src", FALSE));
  o->src = GST_NAT_RELAY_TRANSPORT_SRC (o->element);
  o->pad = gst_object_ref_sink (gst_pad_new ("sink", GST_PAD_SINK));
  gst_pad_set_element_private (o->pad, o);
  gst_pad_set_chain_function (o->pad, take_buffer);
  gst_pad_set_chain_list_function (o->pad, take_list);
  gst_pad_set_active (o->pad, TRUE);
  src = gst_element_get_static_pad (o->element, "src");
  fail_unless_equals_int (gst_pad_link (src, o->pad), GST_PAD_LINK_OK);
  gst_object_unref (src);
}

static void
outlet_wait (Outlet *o, guint n)
{
  gint64 end = g_get_monotonic_time () + 60 * G_TIME_SPAN_SECOND;
  guint came, wrong;

  g_mutex_lock (&o->lock);
  while (o->n < n && g_cond_wait_until (&o->cond, &o->lock, end))
    ;
  came = o->n;
  wrong = o->wrong;
  g_mutex_unlock (&o->lock);
  fail_unless (came >= n, "%u of %u packets came", came, n);
  fail_unless_equals_int (wrong, 0);
}

static void
outlet_clear (Outlet *o)
{
  gst_element_set_state (o->element, GST_STATE_NULL);
  gst_pad_set_active (o->pad, FALSE);
  gst_object_unref (o->pad);
  gst_object_unref (o->element);
  g_mutex_clear (&o->lock);
  g_cond_clear (&o->cond);
}

/* Numbered from first on; each has the SSRC of the ten around it. */
static void
push_packets (Outlet *o, guint first, guint n)
{
  NatDatagram datagrams[PACKETS];
  guint8 packets[PACKETS][LEN];

  for (guint i = 0; i < n; i++) {
    memset (packets[i], 0, LEN);
    packets[i][0] = 0x80;
    GST_WRITE_UINT16_BE (packets[i] + 2, (guint16)(first + i));
    GST_WRITE_UINT32_BE (packets[i] + 8, (first + i) / 10);
    datagrams[i] = (NatDatagram){.data = packets[i], .len = LEN};
  }
  gst_nat_relay_transport_src_push (o->src, datagrams, n);
}

/* In order and complete, as lists of one SSRC each. */
GST_START_TEST (test_lists)
{
  Outlet o;

  outlet_init (&o);
  gst_element_set_state (o.element, GST_STATE_PLAYING);
  for (guint round = 0; round < 3; round++) {
    gst_nat_relay_transport_src_set_held (o.src, TRUE);
    push_packets (&o, round * PACKETS, PACKETS);
    gst_nat_relay_transport_src_set_held (o.src, FALSE);
    outlet_wait (&o, (round + 1) * PACKETS);
  }
  fail_unless (o.lists >= 3 * PACKETS / 10 - 3, "%u lists", o.lists);
  fail_unless_equals_uint64 (gst_nat_relay_transport_src_get_dropped (o.src), 0);
  outlet_clear (&o);
}
GST_END_TEST;

/* A pause may be over before the streaming thread has heard of it: packets come out all the same. */
GST_START_TEST (test_short_pauses)
{
  Outlet o;

  outlet_init (&o);
  gst_element_set_state (o.element, GST_STATE_PLAYING);
  for (guint i = 0; i < STOPS; i++) {
    push_packets (&o, i, 1);
    outlet_wait (&o, i + 1);
    gst_element_set_state (o.element, GST_STATE_PAUSED);
    gst_element_set_state (o.element, GST_STATE_PLAYING);
  }
  outlet_clear (&o);
}
GST_END_TEST;

typedef struct {
  GstNatRelayTransportSrc *src;
  gint stop; /* atomic */
} Rain;

static gpointer
rain (gpointer user)
{
  guint8 packet[LEN] = {0x80};
  NatDatagram datagrams[4];
  Rain *r = user;

  for (guint i = 0; i < G_N_ELEMENTS (datagrams); i++)
    datagrams[i] = (NatDatagram){.data = packet, .len = LEN};
  /* A lock is not fair: who takes it again at once may keep all others out. */
  for (; !g_atomic_int_get (&r->stop); g_thread_yield ())
    gst_nat_relay_transport_src_push (r->src, datagrams, G_N_ELEMENTS (datagrams));
  return NULL;
}

/* Packets come all the while. */
GST_START_TEST (test_stopped_at_any_moment)
{
  GstElement *pipeline = gst_pipeline_new (NULL), *sink;
  GstElement *src = gst_nat_relay_transport_src_new ("src", FALSE);
  Rain r = {GST_NAT_RELAY_TRANSPORT_SRC (src), FALSE};
  GThread *thread;

  sink = gst_element_factory_make ("fakesink", NULL);
  g_object_set (sink, "sync", FALSE, "async", FALSE, NULL);
  gst_bin_add_many (GST_BIN (pipeline), src, sink, NULL);
  fail_unless (gst_element_link (src, sink));
  thread = g_thread_new ("rain", rain, &r);
  for (guint i = 0; i < STOPS; i++) {
    fail_if (gst_element_set_state (pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE);
    g_usleep (i * 5);
    fail_unless_equals_int (
        gst_element_set_state (pipeline, GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
  }
  g_atomic_int_set (&r.stop, TRUE);
  g_thread_join (thread);
  gst_object_unref (pipeline);
}
GST_END_TEST;

/* ---- the sink ------------------------------------------------------------ */

static gpointer
push_one (gpointer pad)
{
  GstFlowReturn ret;

  fail_unless_equals_int (sched_setscheduler (0, SCHED_IDLE, &(struct sched_param){0}), 0);
  ret = gst_pad_push (pad, gst_buffer_new_and_alloc (LEN));
  fail_unless_equals_int (ret, GST_FLOW_FLUSHING);
  return NULL;
}

/* A pause that is over, and another that has begun, before the thread that waits for the connection had the processor: they share
 * one, and that thread has it only while we sleep. The way to PLAYING must not wait for the relay. */
GST_START_TEST (test_paused_unseen)
{
  GstElement *sink = gst_object_ref_sink (gst_nat_relay_transport_sink_new ("sink", FALSE));
  GstPad *pad = gst_object_ref_sink (gst_pad_new ("src", GST_PAD_SRC));
  GstPad *sinkpad = gst_element_get_static_pad (sink, "sink");
  cpu_set_t all, one;
  GThread *thread;

  fail_unless_equals_int (sched_getaffinity (0, sizeof all, &all), 0);
  CPU_ZERO (&one);
  CPU_SET (sched_getcpu (), &one);
  fail_unless_equals_int (sched_setaffinity (0, sizeof one, &one), 0);
  gst_nat_relay_transport_sink_set_wait (GST_NAT_RELAY_TRANSPORT_SINK (sink), TRUE);
  fail_unless_equals_int (gst_pad_link (pad, sinkpad), GST_PAD_LINK_OK);
  gst_pad_set_active (pad, TRUE);
  fail_if (gst_element_set_state (sink, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE);
  gst_check_setup_events (pad, sink, NULL, GST_FORMAT_TIME);
  thread = g_thread_new ("push", push_one, pad);
  for (guint i = 0; i < PAUSES; i++) {
    g_usleep (1000);
    gst_element_set_state (sink, GST_STATE_PAUSED);
    g_usleep (1000);
    gst_element_set_state (sink, GST_STATE_PLAYING);
    gst_element_set_state (sink, GST_STATE_PAUSED);
    g_usleep (1000);
    gst_element_set_state (sink, GST_STATE_PLAYING);
  }
  fail_unless_equals_int (gst_element_set_state (sink, GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
  g_thread_join (thread);
  sched_setaffinity (0, sizeof all, &all);
  gst_pad_set_active (pad, FALSE);
  gst_object_unref (sinkpad);
  gst_object_unref (pad);
  gst_object_unref (sink);
}
GST_END_TEST;

static Suite *
natrelaytransport_suite (void)
{
  Suite *s = suite_create ("natrelaytransport");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_lists);
  tcase_add_test (tc, test_short_pauses);
  tcase_add_test (tc, test_stopped_at_any_moment);
  tcase_add_test (tc, test_paused_unseen);
  return s;
}

GST_CHECK_MAIN (natrelaytransport);
