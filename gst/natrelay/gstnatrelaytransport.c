/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaytransport.h"

GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_transport_debug);
#define GST_CAT_DEFAULT gst_nat_relay_transport_debug

/* Packets handed over in one call; more make no system call cheaper (sendmmsg gains little beyond 20). */
#define BATCH 32
/* About a second of 20 Mbit/s: longer than any pause of the streaming thread that a viewer would bear. */
#define QUEUE_PACKETS 2048

static GstStaticPadTemplate rtp_sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK,
    GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp; application/x-rtcp"));
static GstStaticPadTemplate rtp_src_template = GST_STATIC_PAD_TEMPLATE (
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp; application/x-rtcp"));

static void
init_category (void)
{
  GST_DEBUG_CATEGORY_INIT (gst_nat_relay_transport_debug, "natrelaytransport", 0,
      "natrelay packets to and from the session");
}

/* ---- sink ---------------------------------------------------------------- */

struct _GstNatRelayTransportSink {
  GstBaseSink parent;
  gboolean rtcp;
  NatSession *session; /* set while no thread streams */

  gint failed, eos; /* atomic */
  GMutex lock;      /* a leaf */
  GCond cond;
  gint wait;          /* atomic for reading; written with lock */
  gboolean connected; /* lock */
  gboolean flushing;  /* lock */
};

G_DEFINE_TYPE (GstNatRelayTransportSink, gst_nat_relay_transport_sink, GST_TYPE_BASE_SINK)

static GstFlowReturn
wait_for_connection (GstNatRelayTransportSink *self)
{
  GstFlowReturn ret = GST_FLOW_OK;

  g_mutex_lock (&self->lock);
  while (self->wait && !self->connected && !self->flushing && !g_atomic_int_get (&self->failed))
    g_cond_wait (&self->cond, &self->lock);
  if (self->flushing)
    ret = GST_FLOW_FLUSHING;
  else
    g_atomic_int_set (&self->wait, FALSE);
  g_mutex_unlock (&self->lock);
  return ret;
}

static GstFlowReturn
check_sink (GstNatRelayTransportSink *self)
{
  GstFlowReturn ret = GST_FLOW_OK;

  if (G_UNLIKELY (g_atomic_int_get (&self->wait)))
    ret = wait_for_connection (self);
  if (G_UNLIKELY (g_atomic_int_get (&self->failed)))
    return GST_FLOW_ERROR;
  return ret;
}

static void
send_packets (GstNatRelayTransportSink *self, GstBuffer **buffers, guint n)
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
  if (self->rtcp) {
    for (guint i = 0; i < mapped; i++)
      nat_session_send_rtcp (self->session, packets[i].data, packets[i].len);
  } else if (mapped > 0) {
    guint sent = nat_session_send_rtp (self->session, packets, mapped);

    GST_LOG_OBJECT (self, "sent %u of %u packets", sent, mapped);
  }
  for (guint i = 0; i < mapped; i++)
    gst_buffer_unmap (buffers[i], &maps[i]);
}

static GstFlowReturn
gst_nat_relay_transport_sink_render (GstBaseSink *sink, GstBuffer *buffer)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (sink);
  GstFlowReturn ret = check_sink (self);

  if (ret == GST_FLOW_OK)
    send_packets (self, &buffer, 1);
  return ret;
}

static GstFlowReturn
gst_nat_relay_transport_sink_render_list (GstBaseSink *sink, GstBufferList *list)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (sink);
  GstFlowReturn ret = check_sink (self);
  guint length = gst_buffer_list_length (list);
  GstBuffer *buffers[BATCH];

  for (guint i = 0; ret == GST_FLOW_OK && i < length; i += BATCH) {
    guint n = MIN (BATCH, length - i);

    for (guint j = 0; j < n; j++)
      buffers[j] = gst_buffer_list_get (list, i + j);
    send_packets (self, buffers, n);
  }
  return ret;
}

static gboolean
gst_nat_relay_transport_sink_event (GstBaseSink *sink, GstEvent *event)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (sink);

  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS)
    g_atomic_int_set (&self->eos, TRUE);
  else if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_STOP ||
           GST_EVENT_TYPE (event) == GST_EVENT_STREAM_START)
    g_atomic_int_set (&self->eos, FALSE);
  return GST_BASE_SINK_CLASS (gst_nat_relay_transport_sink_parent_class)->event (sink, event);
}

static void
set_flushing (GstNatRelayTransportSink *self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  self->flushing = flushing;
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
  g_clear_pointer (&self->session, nat_session_unref);
  if (session == NULL)
    return;
  self->session = nat_session_ref (session);
  g_atomic_int_set (&self->eos, FALSE);
  g_atomic_int_set (&self->failed, FALSE);
  g_mutex_lock (&self->lock);
  self->connected = FALSE;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_transport_sink_set_wait (GstNatRelayTransportSink *self, gboolean wait)
{
  g_mutex_lock (&self->lock);
  g_atomic_int_set (&self->wait, wait);
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

GstElement *
gst_nat_relay_transport_sink_new (const gchar *name, gboolean rtcp)
{
  GstElement *element = g_object_new (GST_TYPE_NAT_RELAY_TRANSPORT_SINK, "name", name, "sync",
      FALSE, "async", FALSE, "enable-last-sample", FALSE, "qos", FALSE, NULL);

  GST_NAT_RELAY_TRANSPORT_SINK (element)->rtcp = rtcp;
  /* The end of the stream is the end of the media: nobody waits for the last report. */
  if (rtcp)
    GST_OBJECT_FLAG_UNSET (element, GST_ELEMENT_FLAG_SINK);
  return element;
}

static void
gst_nat_relay_transport_sink_finalize (GObject *object)
{
  GstNatRelayTransportSink *self = GST_NAT_RELAY_TRANSPORT_SINK (object);

  g_clear_pointer (&self->session, nat_session_unref);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  G_OBJECT_CLASS (gst_nat_relay_transport_sink_parent_class)->finalize (object);
}

static void
gst_nat_relay_transport_sink_class_init (GstNatRelayTransportSinkClass *klass)
{
  GstBaseSinkClass *sink_class = GST_BASE_SINK_CLASS (klass);

  init_category ();
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_transport_sink_finalize;
  gst_element_class_add_static_pad_template (GST_ELEMENT_CLASS (klass), &rtp_sink_template);
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

/* ---- source -------------------------------------------------------------- */

struct _GstNatRelayTransportSrc {
  GstPushSrc parent;
  gboolean rtcp;

  GMutex lock; /* a leaf: guards all below */
  GCond cond;
  GstBuffer **ring;
  guint first, n;
  gboolean open; /* packets are taken */
  gboolean flushing;
  gboolean ended;
  guint64 dropped;
};

G_DEFINE_TYPE (GstNatRelayTransportSrc, gst_nat_relay_transport_src, GST_TYPE_PUSH_SRC)

/* called with lock */
static GstBuffer *
ring_take (GstNatRelayTransportSrc *self)
{
  GstBuffer *buffer = self->ring[self->first];

  self->ring[self->first] = NULL;
  self->first = (self->first + 1) % QUEUE_PACKETS;
  self->n--;
  return buffer;
}

/* called with lock; takes buffer */
static void
ring_put (GstNatRelayTransportSrc *self, GstBuffer *buffer)
{
  if (self->n == QUEUE_PACKETS) {
    gst_buffer_unref (ring_take (self));
    self->dropped++;
  }
  self->ring[(self->first + self->n) % QUEUE_PACKETS] = buffer;
  self->n++;
}

static void
set_open (GstNatRelayTransportSrc *self, gboolean is_open)
{
  g_mutex_lock (&self->lock);
  self->open = is_open;
  while (!is_open && self->n > 0)
    gst_buffer_unref (ring_take (self));
  g_mutex_unlock (&self->lock);
}

static GstClockTime
arrival_time (GstElement *element)
{
  GstClock *clock;
  GstClockTime base, now;

  GST_OBJECT_LOCK (element);
  clock = GST_ELEMENT_CLOCK (element);
  if (clock != NULL)
    gst_object_ref (clock);
  base = element->base_time;
  GST_OBJECT_UNLOCK (element);
  if (clock == NULL)
    return GST_CLOCK_TIME_NONE;
  now = gst_clock_get_time (clock);
  gst_object_unref (clock);
  return now > base ? now - base : 0;
}

void
gst_nat_relay_transport_src_push (
    GstNatRelayTransportSrc *self, const NatDatagram *packets, guint n)
{
  GstClockTime now = arrival_time (GST_ELEMENT (self));

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < n; i++) {
    GstBuffer *buffer;

    if (!self->open || packets[i].len == 0) {
      self->dropped++;
      continue;
    }
    buffer = gst_buffer_new_memdup (packets[i].data, packets[i].len);
    GST_BUFFER_PTS (buffer) = now;
    GST_BUFFER_DTS (buffer) = now;
    ring_put (self, buffer);
  }
  g_cond_signal (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* called with lock. Returns with packets in the ring, or the reason why not. */
static GstFlowReturn
wait_for_packets (GstNatRelayTransportSrc *self)
{
  while (!self->flushing && self->n == 0 && !self->ended)
    g_cond_wait (&self->cond, &self->lock);
  if (self->flushing)
    return GST_FLOW_FLUSHING;
  return self->n > 0 ? GST_FLOW_OK : GST_FLOW_EOS;
}

static GstFlowReturn
gst_nat_relay_transport_src_create (GstPushSrc *src, GstBuffer **out)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (src);
  GstBufferList *list = NULL;
  GstFlowReturn ret;

  g_mutex_lock (&self->lock);
  ret = wait_for_packets (self);
  if (ret == GST_FLOW_OK && (self->n == 1 || self->rtcp)) {
    *out = ring_take (self);
  } else if (ret == GST_FLOW_OK) {
    guint n = MIN (self->n, BATCH);

    list = gst_buffer_list_new_sized (n);
    while (n-- > 0)
      gst_buffer_list_insert (list, -1, ring_take (self));
  }
  g_mutex_unlock (&self->lock);
  if (list != NULL)
    gst_base_src_submit_buffer_list (GST_BASE_SRC (self), list);
  return ret;
}

static gboolean
gst_nat_relay_transport_src_unlock (GstBaseSrc *src)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (src);

  g_mutex_lock (&self->lock);
  self->flushing = TRUE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static gboolean
gst_nat_relay_transport_src_unlock_stop (GstBaseSrc *src)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (src);

  g_mutex_lock (&self->lock);
  self->flushing = FALSE;
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static gboolean
gst_nat_relay_transport_src_stop (GstBaseSrc *src)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (src);

  set_open (self, FALSE);
  g_mutex_lock (&self->lock);
  self->ended = FALSE;
  g_mutex_unlock (&self->lock);
  return TRUE;
}

/* Packets of a paused time are of no use later: a live stream goes on at its edge. */
static GstStateChangeReturn
gst_nat_relay_transport_src_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (element);
  GstStateChangeReturn ret;

  if (transition ==
      (self->rtcp ? GST_STATE_CHANGE_READY_TO_PAUSED : GST_STATE_CHANGE_PAUSED_TO_PLAYING))
    set_open (self, TRUE);
  ret = GST_ELEMENT_CLASS (gst_nat_relay_transport_src_parent_class)
            ->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED && !self->rtcp)
    set_open (self, FALSE);
  return ret;
}

void
gst_nat_relay_transport_src_end (GstNatRelayTransportSrc *self)
{
  g_mutex_lock (&self->lock);
  self->ended = TRUE;
  g_cond_signal (&self->cond);
  g_mutex_unlock (&self->lock);
}

guint64
gst_nat_relay_transport_src_get_dropped (GstNatRelayTransportSrc *self)
{
  guint64 dropped;

  g_mutex_lock (&self->lock);
  dropped = self->dropped;
  g_mutex_unlock (&self->lock);
  return dropped;
}

GstElement *
gst_nat_relay_transport_src_new (const gchar *name, gboolean rtcp)
{
  GstElement *element = g_object_new (GST_TYPE_NAT_RELAY_TRANSPORT_SRC, "name", name, NULL);
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (element);

  self->rtcp = rtcp;
  gst_base_src_set_live (GST_BASE_SRC (self), !rtcp);
  gst_base_src_set_format (GST_BASE_SRC (self), GST_FORMAT_TIME);
  return element;
}

static GstCaps *
gst_nat_relay_transport_src_get_caps (GstBaseSrc *src, GstCaps *filter)
{
  gboolean rtcp = GST_NAT_RELAY_TRANSPORT_SRC (src)->rtcp;

  return gst_caps_new_empty_simple (rtcp ? "application/x-rtcp" : "application/x-rtp");
}

static void
gst_nat_relay_transport_src_finalize (GObject *object)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (object);

  set_open (self, FALSE);
  g_free (self->ring);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  G_OBJECT_CLASS (gst_nat_relay_transport_src_parent_class)->finalize (object);
}

static void
gst_nat_relay_transport_src_class_init (GstNatRelayTransportSrcClass *klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseSrcClass *src_class = GST_BASE_SRC_CLASS (klass);

  init_category ();
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_transport_src_finalize;
  gst_element_class_add_static_pad_template (element_class, &rtp_src_template);
  gst_element_class_set_static_metadata (element_class, "natrelay transport source",
      "Source/Network", "Takes packets from the session",
      "The natrelay developers <natrelay@example.org>");
  element_class->change_state = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_src_change_state);
  src_class->get_caps = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_src_get_caps);
  src_class->stop = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_src_stop);
  src_class->unlock = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_src_unlock);
  src_class->unlock_stop = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_src_unlock_stop);
  GST_PUSH_SRC_CLASS (klass)->create = GST_DEBUG_FUNCPTR (gst_nat_relay_transport_src_create);
}

static void
gst_nat_relay_transport_src_init (GstNatRelayTransportSrc *self)
{
  self->ring = g_new0 (GstBuffer *, QUEUE_PACKETS);
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
}
