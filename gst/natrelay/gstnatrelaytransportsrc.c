/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaytransport.h"

GST_DEBUG_CATEGORY_EXTERN (gst_nat_relay_transport_debug);
#define GST_CAT_DEFAULT gst_nat_relay_transport_debug

/* Packets handed over in one list. */
#define BATCH 32
/* About a second of 20 Mbit/s: longer than any pause of the streaming thread that a viewer would bear. */
#define QUEUE_PACKETS 2048
/* While packets wait to be seen, questions for what is missing do, too. */
#define ASK_DELAY_US (5 * G_TIME_SPAN_MILLISECOND)

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE (
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp; application/x-rtcp"));

struct _GstNatRelayTransportSrc {
  GstPushSrc parent;
  gboolean rtcp;
  GstNatRelayRepair *repair; /* not owned; NULL for RTCP */
  GstNatRelayIdle idle;      /* set before anything streams, as is repair; may be NULL */
  gpointer idle_user;

  GMutex lock; /* guards all below; before the repair's, which is asked under it */
  GCond cond;
  GstBuffer **ring;
  guint first, n;
  gboolean open; /* packets are taken */
  guint pushes;  /* also of none */
  gboolean held; /* and wait there */
  gboolean pausing;
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
  self->pushes++;
  g_cond_signal (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* called with lock, which is let go meanwhile. What came and waits may be what would be asked for. */
static void
ask_for_missing (GstNatRelayTransportSrc *self, gint64 deadline)
{
  gint64 now = g_get_monotonic_time ();

  if (now < deadline + (self->n > 0 ? ASK_DELAY_US : 0))
    return;
  g_mutex_unlock (&self->lock);
  gst_nat_relay_repair_run (self->repair, now);
  g_mutex_lock (&self->lock);
}

/* called with lock, which is let go meanwhile. When to look again. */
static gint64
look_when_idle (GstNatRelayTransportSrc *self)
{
  gint64 look_us;

  if (self->idle == NULL || self->n > 0 || self->held || self->flushing)
    return G_MAXINT64;
  g_mutex_unlock (&self->lock);
  look_us = self->idle (self->idle_user);
  g_mutex_lock (&self->lock);
  return look_us;
}

/* called with lock, which is let go meanwhile. Returns with packets in the ring, or the reason why not. */
static GstFlowReturn
wait_for_packets (GstNatRelayTransportSrc *self)
{
  gint64 deadline = G_MAXINT64, look_us;
  guint pushes;

  while (TRUE) {
    pushes = self->pushes;
    look_us = look_when_idle (self);
    if (self->repair != NULL)
      deadline = gst_nat_relay_repair_deadline (self->repair);
    if (deadline != G_MAXINT64)
      ask_for_missing (self, deadline);
    if (self->flushing)
      return GST_FLOW_FLUSHING;
    if (self->n > 0 && !self->held)
      return GST_FLOW_OK;
    if (self->ended)
      return GST_FLOW_EOS;
    if (self->pushes != pushes)
      continue;
    if (MIN (deadline, look_us) == G_MAXINT64)
      g_cond_wait (&self->cond, &self->lock);
    else
      g_cond_wait_until (&self->cond, &self->lock, MIN (deadline, look_us));
  }
}

/* called with lock; 0 if there is none */
static guint32
ring_first_ssrc (GstNatRelayTransportSrc *self)
{
  guint8 ssrc[4] = {0};

  if (self->n > 0)
    gst_buffer_extract (self->ring[self->first], 8, ssrc, sizeof ssrc);
  return GST_READ_UINT32_BE (ssrc);
}

/* called with lock; at least two packets are there, and one stays. To the RTP session a list is of one SSRC: it looks
 * at the first packet. */
static GstBufferList *
ring_take_list (GstNatRelayTransportSrc *self)
{
  guint n = MIN (self->n, BATCH) - 1;
  GstBufferList *list = gst_buffer_list_new_sized (n);
  guint32 ssrc = ring_first_ssrc (self);

  do
    gst_buffer_list_insert (list, -1, ring_take (self));
  while (--n > 0 && ring_first_ssrc (self) == ssrc);
  return list;
}

/* The base class pushes it with the first packet, at the start and after a flush. */
static gboolean
has_segment (GstPad *pad)
{
  GstEvent *segment = gst_pad_get_sticky_event (pad, GST_EVENT_SEGMENT, 0);
  gboolean has = segment != NULL;

  gst_clear_event (&segment);
  return has;
}

/* Packets that wait go as a list, all but the last one, which the base class gets. It would push a list itself
 * (gst_base_src_submit_buffer_list), but when the state goes down to READY meanwhile, GStreamer 1.22's
 * gst_base_src_get_range unrefs the buffer that is not there. */
static GstFlowReturn
gst_nat_relay_transport_src_create (GstPushSrc *src, GstBuffer **out)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (src);
  GstPad *pad = GST_BASE_SRC_PAD (src);
  gboolean may_list = !self->rtcp && has_segment (pad);
  GstBufferList *list = NULL;
  GstFlowReturn ret;

  g_mutex_lock (&self->lock);
  ret = wait_for_packets (self);
  if (ret == GST_FLOW_OK && self->n > 1 && may_list)
    list = ring_take_list (self);
  if (ret == GST_FLOW_OK)
    *out = ring_take (self);
  g_mutex_unlock (&self->lock);
  if (list != NULL)
    ret = gst_pad_push_list (pad, list);
  if (ret != GST_FLOW_OK)
    gst_clear_buffer (out);
  return ret;
}

/* A pause wakes nobody who waits for packets: none come before it ends. If it ended before he said that he was woken,
 * the base class would take that for a flush, and its task would never run again. */
static gboolean
gst_nat_relay_transport_src_unlock (GstBaseSrc *src)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (src);

  g_mutex_lock (&self->lock);
  if (!self->pausing)
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

static void
set_pausing (GstNatRelayTransportSrc *self, gboolean pausing)
{
  g_mutex_lock (&self->lock);
  self->pausing = pausing;
  g_mutex_unlock (&self->lock);
}

/* Packets of a paused time are of no use later: a live stream goes on at its edge. */
static GstStateChangeReturn
gst_nat_relay_transport_src_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelayTransportSrc *self = GST_NAT_RELAY_TRANSPORT_SRC (element);
  GstStateChangeReturn ret;

  if (transition ==
      (self->rtcp ? GST_STATE_CHANGE_READY_TO_PAUSED : GST_STATE_CHANGE_PAUSED_TO_PLAYING)) {
    if (self->repair != NULL)
      gst_nat_relay_repair_skip (self->repair);
    set_open (self, TRUE);
  }
  set_pausing (self, transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED);
  ret = GST_ELEMENT_CLASS (gst_nat_relay_transport_src_parent_class)
            ->change_state (element, transition);
  set_pausing (self, FALSE);
  if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED && !self->rtcp)
    set_open (self, FALSE);
  return ret;
}

void
gst_nat_relay_transport_src_set_held (GstNatRelayTransportSrc *self, gboolean held)
{
  g_mutex_lock (&self->lock);
  self->held = held;
  g_cond_signal (&self->cond);
  g_mutex_unlock (&self->lock);
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

void
gst_nat_relay_transport_src_set_repair (GstNatRelayTransportSrc *self, GstNatRelayRepair *repair)
{
  self->repair = repair;
}

void
gst_nat_relay_transport_src_set_idle (
    GstNatRelayTransportSrc *self, GstNatRelayIdle idle, gpointer user)
{
  self->idle = idle;
  self->idle_user = user;
}

GstClockTime
gst_nat_relay_transport_src_get_time (GstNatRelayTransportSrc *self)
{
  return arrival_time (GST_ELEMENT (self));
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

  gst_nat_relay_transport_init_debug ();
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_transport_src_finalize;
  gst_element_class_add_static_pad_template (element_class, &src_template);
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
