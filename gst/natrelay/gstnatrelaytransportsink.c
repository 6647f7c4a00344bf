/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaytransport.h"
#include "natproto/rtcp.h"

#include <string.h>

GST_DEBUG_CATEGORY (gst_nat_relay_transport_debug);
#define GST_CAT_DEFAULT gst_nat_relay_transport_debug

/* Packets handed over in one call; more make no system call cheaper (sendmmsg gains little beyond 20). */
#define BATCH 32
/* No end of a stream waits longer for its last packets to be repaired. */
#define EOS_PATIENCE_US G_TIME_SPAN_SECOND
/* After what was sent again last: its answer takes one, and may be lost, as may be the question. */
#define EOS_ROUND_TRIPS 3
#define EOS_SLACK_US    (20 * G_TIME_SPAN_MILLISECOND)

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK,
    GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp; application/x-rtcp"));
void
gst_nat_relay_transport_init_debug (void)
{
  GST_DEBUG_CATEGORY_INIT (gst_nat_relay_transport_debug, "natrelaytransport", 0,
      "natrelay packets to and from the session");
}

struct _GstNatRelayTransportSink {
  GstBaseSink parent;
  gboolean rtcp;
  GstNatRelaySent *sent; /* NULL for RTCP */

  gint failed, eos; /* atomic */
  GMutex lock;      /* before the session's and the ring's */
  GCond cond;
  NatSession *session; /* lock; set while no thread streams, so that those need none */
  gint wait;           /* atomic for reading; written with lock */
  gboolean connected;  /* lock */
  gboolean let_go;     /* lock; what waits is not to be sent as it is */
  gboolean flushing;   /* lock */
  guint unlocks;       /* lock; how often flushing began */
  GstClockID tail;     /* lock; waits until a track may have fallen silent, or NULL */
  gint waiting;        /* atomic for reading; tail != NULL */
};

G_DEFINE_TYPE (GstNatRelayTransportSink, gst_nat_relay_transport_sink, GST_TYPE_BASE_SINK)

/* called with lock */
static gboolean
must_wait (GstNatRelayTransportSink *self)
{
  return self->wait && !self->connected && !self->let_go && !self->flushing &&
         !g_atomic_int_get (&self->failed);
}

/* Without the preroll lock, as gst_base_sink_wait_clock does it: the way to PLAYING takes that lock and asks nobody to leave
 * before. A pause in between may be over when we look, hence the count. Called with the preroll lock. */
static GstFlowReturn
wait_for_connection (GstNatRelayTransportSink *self)
{
  GstFlowReturn ret = GST_FLOW_OK;
  guint unlocks;

  g_mutex_lock (&self->lock);
  unlocks = self->unlocks;
  if (must_wait (self)) {
    g_mutex_unlock (&self->lock);
    GST_BASE_SINK_PREROLL_UNLOCK (self);
    g_mutex_lock (&self->lock);
    while (must_wait (self) && unlocks == self->unlocks)
      g_cond_wait (&self->cond, &self->lock);
    g_mutex_unlock (&self->lock);
    GST_BASE_SINK_PREROLL_LOCK (self);
    g_mutex_lock (&self->lock);
  }
  if (self->flushing || unlocks != self->unlocks)
    ret = GST_FLOW_FLUSHING;
  else if (self->let_go)
    self->let_go = FALSE;
  else
    g_atomic_int_set (&self->wait, FALSE);
  g_mutex_unlock (&self->lock);
  return ret;
}

/* A pause is no end: what waits waits for PLAYING. Called with the preroll lock. */
static GstFlowReturn
wait_for_playing (GstNatRelayTransportSink *self, GstMiniObject *what)
{
  GstBaseSink *sink = GST_BASE_SINK (self);
  gboolean flushing;

  if (sink->flushing)
    return GST_FLOW_FLUSHING;
  if (sink->need_preroll)
    return gst_base_sink_do_preroll (sink, what);
  g_mutex_lock (&self->lock);
  flushing = self->flushing;
  g_mutex_unlock (&self->lock);
  return flushing ? gst_base_sink_wait_preroll (sink) : GST_FLOW_OK;
}

static GstFlowReturn
check_sink (GstNatRelayTransportSink *self, GstMiniObject *what)
{
  GstFlowReturn ret = GST_FLOW_OK;

  /* In PLAYING for the connection again. */
  while (G_UNLIKELY (g_atomic_int_get (&self->wait)) && ret == GST_FLOW_OK &&
         wait_for_connection (self) == GST_FLOW_FLUSHING)
    ret = wait_for_playing (self, what);
  if (G_UNLIKELY (g_atomic_int_get (&self->failed)))
    return GST_FLOW_ERROR;
  return ret;
}

/* n at most BATCH */
static void
send_packets (NatSession *session, gboolean rtcp, GstBuffer **buffers, guint n)
{
  GstMapInfo maps[BATCH];
  NatDatagram packets[BATCH];
  guint mapped = 0;

  for (guint i = 0; i < n; i++) {
    if (!gst_buffer_map (buffers[i], &maps[mapped], GST_MAP_READ))
      continue;
    packets[mapped].data = maps[mapped].data;
    packets[mapped].len = maps[mapped].size;
    buffers[mapped++] = buffers[i];
  }
  if (rtcp) {
    for (guint i = 0; i < mapped; i++)
      nat_session_send_rtcp (session, packets[i].data, packets[i].len);
  } else if (mapped > 0) {
    nat_session_send_rtp (session, packets, mapped);
  }
  for (guint i = 0; i < mapped; i++)
    gst_buffer_unmap (buffers[i], &maps[i]);
}

/* ---- what is sent again -------------------------------------------------- */

/* A reference, or NULL. */
static NatSession *
sink_session (GstNatRelayTransportSink *self)
{
  NatSession *session;

  g_mutex_lock (&self->lock);
  session = self->session != NULL ? nat_session_ref (self->session) : NULL;
  g_mutex_unlock (&self->lock);
  return session;
}

/* Takes the buffers. */
static void
send_again (GstNatRelayTransportSink *self, NatSession *session, GstBuffer **buffers, guint n)
{
  for (guint i = 0; i < n; i += BATCH) {
    guint some = MIN (BATCH, n - i);
    GstBuffer *packets[BATCH];

    memcpy (packets, buffers + i, some * sizeof *packets);
    send_packets (session, FALSE, packets, some);
  }
  for (guint i = 0; i < n; i++)
    gst_buffer_unref (buffers[i]);
  if (n > 0)
    GST_LOG_OBJECT (self, "sent %u packets again", n);
}

/* A report without blocks says nothing: it only leads, as a compound must. The RTP session would send each request up the
 * pipeline, where somebody might answer once more. */
static gboolean
has_only_nacks (const guint8 *compound, gsize len)
{
  NatRtcpPacket packet;
  gboolean nack = FALSE;
  NatRtcpIter it;

  if (!nat_rtcp_iter_init (&it, compound, len))
    return FALSE;
  while (nat_rtcp_iter_next (&it, &packet)) {
    if (packet.type == NAT_RTCP_RR && packet.count == 0)
      continue;
    if (packet.type != NAT_RTCP_RTPFB || packet.count != NAT_RTCP_FMT_NACK)
      return FALSE;
    nack = TRUE;
  }
  return nack;
}

gboolean
gst_nat_relay_transport_sink_answer (
    GstNatRelayTransportSink *self, const guint8 *compound, gsize len)
{
  GstBuffer *buffers[GST_NAT_RELAY_SENT_BATCH];
  NatSession *session = sink_session (self);
  guint n;

  if (session == NULL)
    return FALSE;
  n = gst_nat_relay_sent_answer (self->sent, compound, len, g_get_monotonic_time (),
      nat_session_get_rtt_us (session), buffers, G_N_ELEMENTS (buffers));
  send_again (self, session, buffers, n);
  nat_session_unref (session);
  return has_only_nacks (compound, len);
}

static void
send_tails (GstNatRelayTransportSink *self)
{
  GstBuffer *buffers[BATCH];
  NatSession *session = sink_session (self);

  if (session == NULL)
    return;
  send_again (self, session, buffers,
      gst_nat_relay_sent_tails (self->sent, g_get_monotonic_time (), buffers, BATCH));
  nat_session_unref (session);
}

static void
weak_ref_free (gpointer ref)
{
  g_weak_ref_clear (ref);
  g_free (ref);
}

static gboolean tail_is_due (GstClock *clock, GstClockTime time, GstClockID id, gpointer user);

/* One wait is under way as long as a track has not fallen silent; packets that come meanwhile need not move it. */
static void
wait_for_tail (GstNatRelayTransportSink *self)
{
  gint64 due = gst_nat_relay_sent_tail_due (self->sent);
  GstClockID id = NULL;
  GstClock *clock;
  GWeakRef *ref;

  if (due == G_MAXINT64)
    return;
  clock = gst_system_clock_obtain ();
  g_mutex_lock (&self->lock);
  if (self->tail == NULL && self->session != NULL) {
    gint64 in_us = MAX (due - g_get_monotonic_time (), 0);

    id = gst_clock_new_single_shot_id (
        clock, gst_clock_get_time (clock) + (GstClockTime)in_us * GST_USECOND);
    self->tail = gst_clock_id_ref (id);
    g_atomic_int_set (&self->waiting, TRUE);
  }
  g_mutex_unlock (&self->lock);
  gst_object_unref (clock);
  if (id == NULL)
    return;
  ref = g_new (GWeakRef, 1);
  g_weak_ref_init (ref, self);
  gst_clock_id_wait_async (id, tail_is_due, ref, weak_ref_free);
  gst_clock_id_unref (id);
}

static void
forget_tail (GstNatRelayTransportSink *self)
{
  GstClockID id;

  g_mutex_lock (&self->lock);
  id = g_steal_pointer (&self->tail);
  g_atomic_int_set (&self->waiting, FALSE);
  g_mutex_unlock (&self->lock);
  if (id == NULL)
    return;
  gst_clock_id_unschedule (id);
  gst_clock_id_unref (id);
}

static gboolean
tail_is_due (GstClock *clock, GstClockTime time, GstClockID id, gpointer user)
{
  GstNatRelayTransportSink *self = g_weak_ref_get (user);
  gboolean mine;

  if (self == NULL)
    return TRUE;
  g_mutex_lock (&self->lock);
  mine = self->tail == id;
  if (mine) {
    gst_clock_id_unref (g_steal_pointer (&self->tail));
    g_atomic_int_set (&self->waiting, FALSE);
  }
  g_mutex_unlock (&self->lock);
  if (mine) {
    send_tails (self);
    wait_for_tail (self);
  }
  gst_object_unref (self);
  return TRUE;
}

static gboolean
has_mapping (NatSession *session)
{
  NatSessionStats stats;
  gboolean has;

  nat_session_get_stats (session, &stats);
  has = stats.state == NAT_SESSION_CONNECTED || stats.state == NAT_SESSION_SUSPECT;
  nat_session_stats_clear (&stats);
  return has;
}

/* called with lock; until when repairs may be asked for, or a track may be found silent */
static gint64
repairs_until (GstNatRelayTransportSink *self)
{
  gint64 due = gst_nat_relay_sent_tail_due (self->sent);

  if (due != G_MAXINT64)
    return due;
  return gst_nat_relay_sent_last_repair (self->sent) +
         EOS_ROUND_TRIPS * (gint64)nat_session_get_rtt_us (self->session) + EOS_SLACK_US;
}

/* The last packets are repaired as others are: a repeated one tells of them, and whoever misses some has a few round
 * trips to say so. Whoever stops the element does not wait: unlock () ends it. */
static void
wait_for_repairs (GstNatRelayTransportSink *self)
{
  gint64 give_up = g_get_monotonic_time () + EOS_PATIENCE_US;

  g_mutex_lock (&self->lock);
  while (!self->flushing && !g_atomic_int_get (&self->failed)) {
    gint64 until = MIN (repairs_until (self), give_up);

    if (g_get_monotonic_time () >= give_up)
      break;
    if (g_get_monotonic_time () < until) {
      g_cond_wait_until (&self->cond, &self->lock, until);
    } else if (gst_nat_relay_sent_tail_due (self->sent) != G_MAXINT64) {
      g_mutex_unlock (&self->lock);
      send_tails (self);
      g_mutex_lock (&self->lock);
    } else {
      break;
    }
  }
  g_mutex_unlock (&self->lock);
}

/* ---- what is sent -------------------------------------------------------- */

/* A receiver of one of several publishers may be told to say nothing more while it does. */
static void
render_rtcp (GstNatRelayTransportSink *self, GstBuffer **buffers, guint n)
{
  NatSession *session = sink_session (self);

  if (session != NULL)
    send_packets (session, TRUE, buffers, n);
  g_clear_pointer (&session, nat_session_unref);
}

static void
render_buffers (GstNatRelayTransportSink *self, GstBuffer **buffers, guint n)
{
  gint64 now = g_get_monotonic_time ();

  if (self->rtcp) {
    render_rtcp (self, buffers, n);
    return;
  }
  send_packets (self->session, FALSE, buffers, n);
  for (guint i = 0; i < n; i++)
    gst_nat_relay_sent_put (self->sent, buffers[i], now);
  if (!g_atomic_int_get (&self->waiting))
    wait_for_tail (self);
}

static GstFlowReturn
gst_nat_relay_transport_sink_render (GstBaseSink *sink, GstBuffer *buffer)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (sink);
  GstFlowReturn ret = check_sink (self, GST_MINI_OBJECT_CAST (buffer));

  if (ret == GST_FLOW_OK)
    render_buffers (self, &buffer, 1);
  return ret;
}

static GstFlowReturn
gst_nat_relay_transport_sink_render_list (GstBaseSink *sink, GstBufferList *list)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (sink);
  GstFlowReturn ret = check_sink (self, GST_MINI_OBJECT_CAST (list));
  guint length = gst_buffer_list_length (list);
  GstBuffer *buffers[BATCH];

  for (guint i = 0; ret == GST_FLOW_OK && i < length; i += BATCH) {
    guint n = MIN (BATCH, length - i);

    for (guint j = 0; j < n; j++)
      buffers[j] = gst_buffer_list_get (list, i + j);
    render_buffers (self, buffers, n);
  }
  return ret;
}

static gboolean
gst_nat_relay_transport_sink_event (GstBaseSink *sink, GstEvent *event)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (sink);

  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS) {
    g_atomic_int_set (&self->eos, TRUE);
    if (!self->rtcp && self->session != NULL && has_mapping (self->session))
      wait_for_repairs (self);
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_STOP ||
             GST_EVENT_TYPE (event) == GST_EVENT_STREAM_START) {
    g_atomic_int_set (&self->eos, FALSE);
  }
  return GST_BASE_SINK_CLASS (gst_nat_relay_transport_sink_parent_class)->event (sink, event);
}

static void
set_flushing (GstNatRelayTransportSink *self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  self->flushing = flushing;
  self->unlocks += flushing ? 1 : 0;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static gboolean
gst_nat_relay_transport_sink_unlock (GstBaseSink *sink)
{
  set_flushing (GST_NAT_RELAY_TRANSPORT_SINK (sink), TRUE);
  return TRUE;
}

static gboolean
gst_nat_relay_transport_sink_unlock_stop (GstBaseSink *sink)
{
  set_flushing (GST_NAT_RELAY_TRANSPORT_SINK (sink), FALSE);
  return TRUE;
}

void
gst_nat_relay_transport_sink_set_session (GstNatRelayTransportSink *self, NatSession *session)
{
  NatSession *old;

  g_mutex_lock (&self->lock);
  old = self->session;
  self->session = session != NULL ? nat_session_ref (session) : NULL;
  self->connected = FALSE;
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&old, nat_session_unref);
  if (session != NULL) {
    g_atomic_int_set (&self->eos, FALSE);
    g_atomic_int_set (&self->failed, FALSE);
  } else if (self->sent != NULL) {
    forget_tail (self);
    gst_nat_relay_sent_clear (self->sent);
  }
}

void
gst_nat_relay_transport_sink_set_wait (GstNatRelayTransportSink *self, gboolean wait)
{
  g_mutex_lock (&self->lock);
  g_atomic_int_set (&self->wait, wait);
  self->let_go = FALSE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* The session, which has no connection, drops and counts it. */
void
gst_nat_relay_transport_sink_drop_held (GstNatRelayTransportSink *self)
{
  g_mutex_lock (&self->lock);
  self->let_go = self->wait;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_transport_sink_set_connected (GstNatRelayTransportSink *self)
{
  g_mutex_lock (&self->lock);
  self->connected = TRUE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_transport_sink_set_failed (GstNatRelayTransportSink *self, gboolean failed)
{
  g_atomic_int_set (&self->failed, failed);
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

gboolean
gst_nat_relay_transport_sink_saw_eos (GstNatRelayTransportSink *self)
{
  return g_atomic_int_get (&self->eos);
}

void
gst_nat_relay_transport_sink_get_repairs (
    GstNatRelayTransportSink *self, GstNatRelaySentStats *stats)
{
  gst_nat_relay_sent_get_stats (self->sent, stats);
}

GstElement *
gst_nat_relay_transport_sink_new (const gchar *name, gboolean rtcp)
{
  GstElement *element = g_object_new (GST_TYPE_NAT_RELAY_TRANSPORT_SINK, "name", name, "sync",
      FALSE, "async", FALSE, "enable-last-sample", FALSE, "qos", FALSE, NULL);

  GST_NAT_RELAY_TRANSPORT_SINK (element)->rtcp = rtcp;
  if (!rtcp)
    GST_NAT_RELAY_TRANSPORT_SINK (element)->sent = gst_nat_relay_sent_new ();
  /* The end of the stream is the end of the media: nobody waits for the last report. */
  if (rtcp)
    GST_OBJECT_FLAG_UNSET (element, GST_ELEMENT_FLAG_SINK);
  return element;
}

static void
gst_nat_relay_transport_sink_finalize (GObject *object)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (object);

  forget_tail (self);
  g_clear_pointer (&self->sent, gst_nat_relay_sent_free);
  g_clear_pointer (&self->session, nat_session_unref);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  G_OBJECT_CLASS (gst_nat_relay_transport_sink_parent_class)->finalize (object);
}

static void
gst_nat_relay_transport_sink_class_init (GstNatRelayTransportSinkClass *klass)
{
  GstBaseSinkClass *sink_class = GST_BASE_SINK_CLASS (klass);

  gst_nat_relay_transport_init_debug ();
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_transport_sink_finalize;
  gst_element_class_add_static_pad_template (GST_ELEMENT_CLASS (klass), &sink_template);
  gst_element_class_set_static_metadata (GST_ELEMENT_CLASS (klass), "natrelay transport sink",
      "Sink/Network", "Gives packets to the session",
      "The natrelay developers <natrelay@example.org>");
  sink_class->render = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_sink_render);
  sink_class->render_list = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_sink_render_list);
  sink_class->event = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_sink_event);
  sink_class->unlock = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_sink_unlock);
  sink_class->unlock_stop = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_sink_unlock_stop);
}

static void
gst_nat_relay_transport_sink_init (GstNatRelayTransportSink *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
}
