/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysrcpad.h"
#include "gstnatrelaycatchup.h"
#include "gstnatrelaymarker.h"
#include "gstnatrelayrtp.h"
#include "natproto/framemarking.h"

GST_DEBUG_CATEGORY_EXTERN (gst_nat_relay_debug);
#define GST_CAT_DEFAULT gst_nat_relay_debug

/* The relay asks the publisher no more often either. */
#define KEY_UNIT_INTERVAL_US (500 * 1000)
/* For two seconds after it sent a picture to us the relay takes a wish for another as served. */
#define WISH_INTERVAL_US (1 * G_TIME_SPAN_SECOND)
#define WISHES_MAX       5
/* A packet is under way downstream for so long at most where nothing is wrong: sinks hold it until its time. */
#define PASSING_US (1 * G_TIME_SPAN_SECOND)
/* And so long of one that ended seconds ago. */
#define SILENT_US (50 * G_TIME_SPAN_MILLISECOND)
#define STEP_US   G_TIME_SPAN_MILLISECOND

struct _GstNatRelaySrcPad {
  GstGhostPad parent;
  GstNatRelayMedia media;
  gint missed; /* atomic: what came last led nowhere */
  gint shut;   /* atomic: how many want it so; while any does, what comes is dropped */

  /* The feeding thread's. */
  GstNatRelayCatchup catchup;
  guint8 mark_id;   /* of the frame marks (framemarking.h) in its packets; 0: there are none */
  guint wishes;     /* a picture is asked for so often yet, unless one comes */
  gint64 wished_us; /* monotonic; the last time */

  /* Object lock. */
  GstCaps *caps;
  GstClockTime latency;
  gint64 key_unit_at; /* monotonic us of the last request; 0 = none */
};

G_DEFINE_TYPE (GstNatRelaySrcPad, gst_nat_relay_src_pad, GST_TYPE_GHOST_PAD)

/* As any source does, so that its sinks end: what took a snapshot only says that it wants no more. The peer alone is told:
 * whoever is linked in its place later is to play. */
static void
end_peer (GstPad *pad)
{
  GstPad *peer = gst_pad_get_peer (pad);

  if (peer != NULL && !GST_PAD_IS_EOS (peer)) {
    GST_DEBUG_OBJECT (pad, "downstream wants no more");
    gst_pad_send_event (peer, gst_event_new_eos ());
  }
  g_clear_object (&peer);
}

/* A branch that is not linked, is being taken away or had enough must not stop the jitterbuffer, whose
 * end would stop the whole session. What is wrong with the media itself is passed on. */
static GstFlowReturn
forgive (GstNatRelaySrcPad *self, GstFlowReturn ret)
{
  if (ret == GST_FLOW_EOS)
    end_peer (GST_PAD (self));
  switch (ret) {
  case GST_FLOW_NOT_LINKED:
  case GST_FLOW_FLUSHING:
  case GST_FLOW_EOS: g_atomic_int_set (&self->missed, TRUE); return GST_FLOW_OK;
  default: return ret;
  }
}

/* A decoder may begin with this packet: asked only while that is of interest, and before it goes out. */
static gboolean
begins_picture (GstNatRelaySrcPad *self, GstBuffer *buffer)
{
  gboolean begins;
  GstMapInfo map;

  if ((self->wishes == 0 && !g_atomic_int_get (&self->missed)) ||
      !gst_buffer_map (buffer, &map, GST_MAP_READ))
    return FALSE;
  begins = nat_framemarking_begins_picture (map.data, map.size, self->mark_id);
  gst_buffer_unmap (buffer, &map);
  return begins;
}

/* A packet was taken downstream. Were those before it not, the last key frame may be among them, and whoever takes them now, as a
 * decoder that was linked late, needs another. It is asked for until it comes, as one wish may be lost; where pictures
 * have no marks, once. */
static void
see_to_picture (GstNatRelaySrcPad *self, gboolean begins)
{
  gint64 now_us;

  if (G_UNLIKELY (g_atomic_int_get (&self->missed))) {
    g_atomic_int_set (&self->missed, FALSE);
    self->wishes = self->mark_id != 0 ? WISHES_MAX : 1;
    self->wished_us = 0;
  }
  if (begins)
    self->wishes = 0;
  if (G_LIKELY (self->wishes == 0))
    return;
  now_us = g_get_monotonic_time ();
  if (self->wished_us != 0 && now_us - self->wished_us < WISH_INTERVAL_US)
    return;
  self->wishes--;
  self->wished_us = now_us;
  gst_nat_relay_src_pad_request_key_unit (self);
}

/* What became of a packet, or of a list in which a picture begins or not. */
static GstFlowReturn
passed (GstNatRelaySrcPad *self, GstFlowReturn ret, gboolean begins)
{
  if (ret == GST_FLOW_OK && self->media == GST_NAT_RELAY_VIDEO)
    see_to_picture (self, begins);
  return forgive (self, ret);
}

/* What is known of the track, for its past. */
static gint
get_clock_rate (GstNatRelaySrcPad *self, GstClockTime *latency)
{
  gint clock_rate = 0;

  GST_OBJECT_LOCK (self);
  if (self->caps != NULL)
    gst_structure_get_int (gst_caps_get_structure (self->caps, 0), "clock-rate", &clock_rate);
  *latency = self->latency;
  GST_OBJECT_UNLOCK (self);
  return clock_rate;
}

/* Takes buffer and gives it back; its turn is after the past. */
static GstBuffer *
catch_up (GstNatRelaySrcPad *self, GstBuffer *buffer, GstFlowReturn *ret)
{
  GstClockTime latency = 0;
  gint clock_rate = self->catchup.armed ? get_clock_rate (self, &latency) : 0;

  buffer = gst_nat_relay_catchup_buffer (
      &self->catchup, GST_PAD (self), buffer, clock_rate, latency, ret);
  *ret = forgive (self, *ret);
  return buffer;
}

static GstFlowReturn
src_pad_chain (GstPad *internal, GstObject *parent, GstBuffer *buffer)
{
  GstNatRelaySrcPad *self = GST_NAT_RELAY_SRC_PAD (parent);
  GstFlowReturn ret;
  gboolean begins;

  if (g_atomic_int_get (&self->shut)) {
    gst_buffer_unref (buffer);
    return GST_FLOW_OK;
  }
  buffer = catch_up (self, buffer, &ret);
  if (ret == GST_FLOW_OK) {
    begins = begins_picture (self, buffer);
    return passed (self, gst_proxy_pad_chain_default (internal, parent, buffer), begins);
  }
  gst_buffer_unref (buffer);
  return ret;
}

static gboolean
look_at_item (GstBuffer **buffer, guint index, gpointer user)
{
  return !begins_picture (user, *buffer);
}

typedef struct {
  GstNatRelaySrcPad *pad;
  GstFlowReturn ret;
} CatchUpList;

static gboolean
catch_up_item (GstBuffer **buffer, guint index, gpointer user)
{
  CatchUpList *c = user;

  *buffer = catch_up (c->pad, *buffer, &c->ret);
  return c->ret == GST_FLOW_OK;
}

static GstFlowReturn
src_pad_chain_list (GstPad *internal, GstObject *parent, GstBufferList *list)
{
  CatchUpList c = {GST_NAT_RELAY_SRC_PAD (parent), GST_FLOW_OK};
  gboolean begins;

  if (g_atomic_int_get (&c.pad->shut)) {
    gst_buffer_list_unref (list);
    return GST_FLOW_OK;
  }
  if (c.pad->catchup.armed || c.pad->catchup.shift > 0) {
    list = gst_buffer_list_make_writable (list);
    gst_buffer_list_foreach (list, catch_up_item, &c);
  }
  if (c.ret == GST_FLOW_OK) {
    begins = !gst_buffer_list_foreach (list, look_at_item, c.pad);
    return passed (c.pad, gst_proxy_pad_chain_list_default (internal, parent, list), begins);
  }
  gst_buffer_list_unref (list);
  return c.ret;
}

static gboolean
src_pad_event (GstPad *internal, GstObject *parent, GstEvent *event)
{
  GstNatRelaySrcPad *self = GST_NAT_RELAY_SRC_PAD (parent);
  GstCaps *caps;

  if (g_atomic_int_get (&self->shut)) {
    gst_event_unref (event);
    return TRUE;
  }
  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_CAPS:
    gst_event_parse_caps (event, &caps);
    self->mark_id = gst_nat_relay_marker_get_id (caps);
    break;
  case GST_EVENT_STREAM_START:
    /* To whoever is downstream it is one stream, whatever feeds it. */
    gst_event_unref (event);
    return TRUE;
  case GST_EVENT_CUSTOM_DOWNSTREAM:
    if (gst_event_has_name (event, "GstRTPPacketLost"))
      gst_nat_relay_src_pad_request_key_unit (self);
    break;
  default: break;
  }
  event = gst_nat_relay_catchup_event (&self->catchup, event);
  /* As with data: that nobody took it is not the feeder's concern. */
  gst_pad_event_default (internal, parent, event);
  return TRUE;
}

static gboolean
answer_caps (GstNatRelaySrcPad *self, GstQuery *query)
{
  GstCaps *caps, *filter;

  GST_OBJECT_LOCK (self);
  caps = self->caps != NULL ? gst_caps_ref (self->caps) : NULL;
  GST_OBJECT_UNLOCK (self);
  if (caps == NULL)
    return FALSE;
  gst_query_parse_caps (query, &filter);
  if (filter != NULL) {
    GstCaps *all = caps;

    caps = gst_caps_intersect_full (filter, all, GST_CAPS_INTERSECT_FIRST);
    gst_caps_unref (all);
  }
  gst_query_set_caps_result (query, caps);
  gst_caps_unref (caps);
  return TRUE;
}

/* Asked before anything feeds the pad, too: a pipeline configures its latency once all is prerolled or live. */
static gboolean
src_pad_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstNatRelaySrcPad *self = GST_NAT_RELAY_SRC_PAD (pad);
  GstClockTime latency;

  switch (GST_QUERY_TYPE (query)) {
  case GST_QUERY_LATENCY:
    GST_OBJECT_LOCK (self);
    latency = self->latency;
    GST_OBJECT_UNLOCK (self);
    gst_query_set_latency (query, TRUE, latency, GST_CLOCK_TIME_NONE);
    return TRUE;
  case GST_QUERY_CAPS:
    if (answer_caps (self, query))
      return TRUE;
    break;
  default: break;
  }
  return gst_pad_query_default (pad, parent, query);
}

void
gst_nat_relay_src_pad_begin (GstNatRelaySrcPad *self, GstStream *stream, guint group_id)
{
  GstPad *pad = GST_PAD (self);
  GstEvent *start = gst_event_new_stream_start (gst_stream_get_stream_id (stream));
  GstCaps *caps = gst_stream_get_caps (stream);
  GstTagList *tags = gst_stream_get_tags (stream);

  /* It does not carry the stream: decodebin3 would take its caps, of RTP, for those that it must decode. */
  gst_event_set_group_id (start, group_id);
  gst_nat_relay_src_pad_set_caps (self, caps);
  gst_pad_set_active (pad, TRUE);
  gst_pad_push_event (pad, start);
  gst_pad_push_event (pad, gst_event_new_caps (caps));
  if (tags != NULL)
    gst_pad_push_event (pad, gst_event_new_tag (tags));
  gst_caps_unref (caps);
}

void
gst_nat_relay_src_pad_set_caps (GstNatRelaySrcPad *self, GstCaps *caps)
{
  GST_OBJECT_LOCK (self);
  gst_caps_replace (&self->caps, caps);
  GST_OBJECT_UNLOCK (self);
}

void
gst_nat_relay_src_pad_set_latency (GstNatRelaySrcPad *self, GstClockTime latency)
{
  GST_OBJECT_LOCK (self);
  self->latency = latency;
  GST_OBJECT_UNLOCK (self);
}

void
gst_nat_relay_src_pad_arm (GstNatRelaySrcPad *self, GstNatRelayHeadstart *headstart, guint32 ssrc)
{
  gst_nat_relay_catchup_arm (
      &self->catchup, self->media == GST_NAT_RELAY_VIDEO ? headstart : NULL, ssrc);
}

void
gst_nat_relay_src_pad_fed_anew (GstNatRelaySrcPad *self)
{
  GST_OBJECT_LOCK (self);
  self->key_unit_at = 0;
  GST_OBJECT_UNLOCK (self);
  gst_nat_relay_src_pad_request_key_unit (self);
}

void
gst_nat_relay_src_pad_request_key_unit (GstNatRelaySrcPad *self)
{
  gint64 now = g_get_monotonic_time ();
  GstPad *target;
  gboolean due;

  if (self->media != GST_NAT_RELAY_VIDEO)
    return;
  GST_OBJECT_LOCK (self);
  due = self->key_unit_at == 0 || now - self->key_unit_at >= KEY_UNIT_INTERVAL_US;
  if (due)
    self->key_unit_at = now;
  GST_OBJECT_UNLOCK (self);
  target = due ? gst_ghost_pad_get_target (GST_GHOST_PAD (self)) : NULL;
  if (target != NULL) {
    GST_DEBUG_OBJECT (self, "asking for a key unit");
    gst_nat_relay_rtp_request_key_unit (target);
    gst_object_unref (target);
  }
}

void
gst_nat_relay_src_pad_begin_anew (gpointer pad, gpointer unused)
{
  g_atomic_int_set (&GST_NAT_RELAY_SRC_PAD (pad)->missed, TRUE);
  gst_nat_relay_src_pad_request_key_unit (pad);
}

void
gst_nat_relay_src_pad_end_unfed (gpointer pad, gpointer unused)
{
  GstPad *target = gst_ghost_pad_get_target (pad);

  if (target == NULL)
    gst_pad_push_event (pad, gst_event_new_eos ());
  gst_clear_object (&target);
}

static void
shut (gpointer pad, gpointer unused)
{
  g_atomic_int_inc (&GST_NAT_RELAY_SRC_PAD (pad)->shut);
}

void
gst_nat_relay_src_pad_reopen (gpointer pad)
{
  g_atomic_int_add (&GST_NAT_RELAY_SRC_PAD (pad)->shut, -1);
}

/* TRUE: no packet is in the pad, and none comes while the caller has its stream lock. */
static gboolean
try_lock (GstPad *internal, gint64 until_us)
{
  while (!GST_PAD_STREAM_TRYLOCK (internal)) {
    if (g_get_monotonic_time () >= until_us)
      return FALSE;
    g_usleep (STEP_US);
  }
  return TRUE;
}

/* Wakes who is held up downstream, and has the lock then. */
static void
flush_and_lock (GstNatRelaySrcPad *self, GstPad *internal)
{
  GST_INFO_OBJECT (self, "what is downstream takes nothing, and is flushed");
  gst_pad_push_event (GST_PAD (self), gst_event_new_flush_start ());
  GST_PAD_STREAM_LOCK (internal);
  gst_pad_push_event (GST_PAD (self), gst_event_new_flush_stop (FALSE));
}

/* Of a pad that is shut. FALSE: one was still in it at that time, if nobody insists. */
static gboolean
wait_until_empty (GstNatRelaySrcPad *self, gint64 until_us, gboolean insist)
{
  GstPad *internal = GST_PAD (gst_proxy_pad_get_internal (GST_PROXY_PAD (self)));
  gboolean locked = try_lock (internal, until_us);

  if (!locked && insist) {
    flush_and_lock (self, internal);
    locked = TRUE;
  }
  if (locked)
    GST_PAD_STREAM_UNLOCK (internal);
  gst_object_unref (internal);
  return locked;
}

gboolean
gst_nat_relay_src_pad_try_shut (GstNatRelaySrcPad *self)
{
  shut (self, NULL);
  if (wait_until_empty (self, g_get_monotonic_time () + SILENT_US, FALSE))
    return TRUE;
  gst_nat_relay_src_pad_reopen (self);
  return FALSE;
}

/* However many are held up, whoever calls waits once. */
void
gst_nat_relay_src_pads_shut (GPtrArray *pads)
{
  gint64 until_us = g_get_monotonic_time () + PASSING_US;

  g_ptr_array_foreach (pads, shut, NULL);
  for (guint i = 0; i < pads->len; i++)
    wait_until_empty (pads->pdata[i], until_us, TRUE);
}

GstPad *
gst_nat_relay_src_pad_new (const gchar *name, GstPadTemplate *template, GstNatRelayMedia media)
{
  GstNatRelaySrcPad *self = g_object_new (GST_TYPE_NAT_RELAY_SRC_PAD, "name", name, "direction",
      GST_PAD_SRC, "template", template, NULL);
  GstPad *internal = GST_PAD (gst_proxy_pad_get_internal (GST_PROXY_PAD (self)));

  self->media = media;
  gst_pad_set_chain_function (internal, GST_DEBUG_FUNCPTR (src_pad_chain));
  gst_pad_set_chain_list_function (internal, GST_DEBUG_FUNCPTR (src_pad_chain_list));
  gst_pad_set_event_function (internal, GST_DEBUG_FUNCPTR (src_pad_event));
  gst_pad_set_query_function (GST_PAD (self), GST_DEBUG_FUNCPTR (src_pad_query));
  gst_object_unref (internal);
  return GST_PAD (self);
}

static void
gst_nat_relay_src_pad_finalize (GObject *object)
{
  gst_clear_caps (&GST_NAT_RELAY_SRC_PAD (object)->caps);
  G_OBJECT_CLASS (gst_nat_relay_src_pad_parent_class)->finalize (object);
}

static void
gst_nat_relay_src_pad_class_init (GstNatRelaySrcPadClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_src_pad_finalize;
}

static void
gst_nat_relay_src_pad_init (GstNatRelaySrcPad *self)
{
}
