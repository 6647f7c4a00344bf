/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaybundle.h"

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE (
    "sink_%u", GST_PAD_SINK, GST_PAD_REQUEST, GST_STATIC_CAPS ("application/x-rtp"));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE (
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp"));

/* A sink pad and what came on it. */
typedef struct {
  guint32 ssrc;      /* of its caps */
  gboolean new_caps; /* to be told; the pad's streaming thread */
  gboolean eos;
  gboolean flushes; /* set back with the source pad's stream lock */
} Track;

struct _GstNatRelayBundle {
  GstElement parent;
  GstPad *srcpad;

  /* The source pad's stream lock: what is pushed, and whether it must be told anew. */
  gboolean begun;
  GstSegment segment; /* as pushed; GST_FORMAT_UNDEFINED if none */

  /* Object lock: the pads' Tracks, and this. */
  guint64 dropped; /* packets that a neighbour's flush took */
};

G_DEFINE_TYPE (GstNatRelayBundle, gst_nat_relay_bundle, GST_TYPE_ELEMENT)

/* ---- downstream ---------------------------------------------------------- */

/* called with the source pad's stream lock. Caps are told once for each track: the RTP session takes SSRC and
 * clock rate from them. Left without, it asks for the clock rate while it goes through its table of
 * sources, and lets go of the lock on it (GStreamer 1.22). */
static void
bundle_tell_caps (GstNatRelayBundle *self, GstPad *pad)
{
  Track *track = gst_pad_get_element_private (pad);
  GstEvent *start = gst_pad_get_sticky_event (pad, GST_EVENT_STREAM_START, 0);
  GstEvent *caps = gst_pad_get_sticky_event (pad, GST_EVENT_CAPS, 0);
  gboolean lost;

  if (start != NULL && !self->begun)
    gst_pad_push_event (self->srcpad, gst_event_ref (start));
  if (caps != NULL)
    gst_pad_push_event (self->srcpad, gst_event_ref (caps));
  /* A neighbour flushes: they are kept for later, but another track's may take their place before. */
  lost = GST_PAD_IS_FLUSHING (self->srcpad);
  self->begun = self->begun || !lost;
  track->new_caps = lost;
  gst_clear_event (&start);
  gst_clear_event (&caps);
}

/* called with the source pad's stream lock */
static void
bundle_tell_segment (GstNatRelayBundle *self, GstPad *pad)
{
  GstEvent *event = gst_pad_get_sticky_event (pad, GST_EVENT_SEGMENT, 0);
  const GstSegment *segment;

  if (event == NULL)
    return;
  gst_event_parse_segment (event, &segment);
  if (gst_segment_is_equal (segment, &self->segment)) {
    gst_event_unref (event);
    return;
  }
  gst_segment_copy_into (segment, &self->segment);
  gst_pad_push_event (self->srcpad, event);
}

static void
track_set_flushes (GstNatRelayBundle *self, GstPad *pad, gboolean flushes)
{
  GST_OBJECT_LOCK (self);
  ((Track *)gst_pad_get_element_private (pad))->flushes = flushes;
  GST_OBJECT_UNLOCK (self);
}

/* called with the object lock */
static gboolean
bundle_has_flush (GstNatRelayBundle *self)
{
  gboolean flushes = FALSE;

  for (GList *l = GST_ELEMENT (self)->sinkpads; l != NULL; l = l->next)
    flushes = flushes || ((Track *)gst_pad_get_element_private (l->data))->flushes;
  return flushes;
}

/* called with the source pad's stream lock, so that no flush ended since. A flush of one track empties all that is behind: to the
 * others that is n packets lost, and no reason to stop. */
static gboolean
bundle_neighbour_flushes (GstNatRelayBundle *self, GstPad *pad, guint n)
{
  gboolean flushes;

  if (GST_PAD_IS_FLUSHING (pad))
    return FALSE;
  GST_OBJECT_LOCK (self);
  flushes = bundle_has_flush (self);
  self->dropped += flushes ? n : 0;
  GST_OBJECT_UNLOCK (self);
  return flushes;
}

static GstFlowReturn
bundle_push (GstPad *pad, GstObject *parent, GstBuffer *buffer, GstBufferList *list)
{
  GstNatRelayBundle *self = GST_NAT_RELAY_BUNDLE (parent);
  guint n = list != NULL ? gst_buffer_list_length (list) : 1;
  Track *track = gst_pad_get_element_private (pad);
  GstFlowReturn ret;

  GST_PAD_STREAM_LOCK (self->srcpad);
  if (G_UNLIKELY (!self->begun || track->new_caps))
    bundle_tell_caps (self, pad);
  bundle_tell_segment (self, pad);
  if (buffer != NULL)
    ret = gst_pad_push (self->srcpad, buffer);
  else
    ret = gst_pad_push_list (self->srcpad, list);
  if (G_UNLIKELY (ret == GST_FLOW_FLUSHING) && bundle_neighbour_flushes (self, pad, n))
    ret = GST_FLOW_OK;
  GST_PAD_STREAM_UNLOCK (self->srcpad);
  return ret;
}

static GstFlowReturn
bundle_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  return bundle_push (pad, parent, buffer, NULL);
}

static GstFlowReturn
bundle_chain_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  return bundle_push (pad, parent, NULL, list);
}

static void
track_set_ssrc (GstNatRelayBundle *self, GstPad *pad, GstEvent *event)
{
  Track *track = gst_pad_get_element_private (pad);
  guint ssrc = 0;
  GstCaps *caps;

  gst_event_parse_caps (event, &caps);
  gst_structure_get_uint (gst_caps_get_structure (caps, 0), "ssrc", &ssrc);
  GST_OBJECT_LOCK (self);
  track->ssrc = ssrc;
  GST_OBJECT_UNLOCK (self);
  track->new_caps = TRUE;
}

static void
track_set_eos (GstNatRelayBundle *self, GstPad *pad, gboolean eos)
{
  GST_OBJECT_LOCK (self);
  ((Track *)gst_pad_get_element_private (pad))->eos = eos;
  GST_OBJECT_UNLOCK (self);
}

static gboolean
bundle_all_ended (GstNatRelayBundle *self)
{
  gboolean all;

  GST_OBJECT_LOCK (self);
  all = GST_ELEMENT (self)->sinkpads != NULL;
  for (GList *l = GST_ELEMENT (self)->sinkpads; l != NULL; l = l->next)
    all = all && ((Track *)gst_pad_get_element_private (l->data))->eos;
  GST_OBJECT_UNLOCK (self);
  return all;
}

/* The stream ends when all of its tracks have. pad may be NULL: the last that had not was taken away. */
static gboolean
bundle_end (GstNatRelayBundle *self, GstPad *pad, GstEvent *event)
{
  gboolean ok = TRUE;

  GST_PAD_STREAM_LOCK (self->srcpad);
  if (bundle_all_ended (self)) {
    if (pad != NULL && !self->begun)
      bundle_tell_caps (self, pad);
    if (pad != NULL)
      bundle_tell_segment (self, pad);
    ok = gst_pad_push_event (self->srcpad, event);
  } else {
    gst_event_unref (event);
  }
  GST_PAD_STREAM_UNLOCK (self->srcpad);
  return ok;
}

static gboolean
bundle_flush (GstNatRelayBundle *self, GstPad *pad, GstEvent *event)
{
  track_set_flushes (self, pad, TRUE);
  return gst_pad_push_event (self->srcpad, event);
}

/* called with the source pad's stream lock. A flush takes segment and EOS from everything downstream. */
static gboolean
bundle_end_flush (GstNatRelayBundle *self, GstEvent *event)
{
  gboolean ok = gst_pad_push_event (self->srcpad, event);

  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  return ok;
}

static gboolean
bundle_flushed (GstNatRelayBundle *self, GstPad *pad, GstEvent *event)
{
  gboolean ok;

  track_set_eos (self, pad, FALSE);
  GST_PAD_STREAM_LOCK (self->srcpad);
  track_set_flushes (self, pad, FALSE);
  ok = bundle_end_flush (self, event);
  GST_PAD_STREAM_UNLOCK (self->srcpad);
  return ok;
}

static gboolean
bundle_sink_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstNatRelayBundle *self = GST_NAT_RELAY_BUNDLE (parent);

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_STREAM_START: track_set_eos (self, pad, FALSE); break;
  case GST_EVENT_CAPS: track_set_ssrc (self, pad, event); break;
  case GST_EVENT_FLUSH_START: return bundle_flush (self, pad, event);
  case GST_EVENT_FLUSH_STOP: return bundle_flushed (self, pad, event);
  case GST_EVENT_EOS: track_set_eos (self, pad, TRUE); return bundle_end (self, pad, event);
  default: break;
  }
  /* Segments are told with the data that they are for; nothing else has a meaning on the wire. */
  gst_event_unref (event);
  return TRUE;
}

/* ---- upstream ------------------------------------------------------------ */

static GstPad *
bundle_find_pad (GstNatRelayBundle *self, guint32 ssrc)
{
  GstPad *found = NULL;

  GST_OBJECT_LOCK (self);
  for (GList *l = GST_ELEMENT (self)->sinkpads; l != NULL && found == NULL; l = l->next) {
    if (((Track *)gst_pad_get_element_private (l->data))->ssrc == ssrc)
      found = gst_object_ref (l->data);
  }
  GST_OBJECT_UNLOCK (self);
  return found;
}

/* A wish for a picture, or the news of a collision, is for one track: the session names its SSRC. */
static gboolean
bundle_src_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstNatRelayBundle *self = GST_NAT_RELAY_BUNDLE (parent);
  const GstStructure *s = gst_event_get_structure (event);
  gboolean ok = FALSE;
  GstPad *sinkpad;
  guint ssrc;

  if (GST_EVENT_TYPE (event) != GST_EVENT_CUSTOM_UPSTREAM || s == NULL ||
      !gst_structure_get_uint (s, "ssrc", &ssrc))
    return gst_pad_event_default (pad, parent, event);
  sinkpad = bundle_find_pad (self, ssrc);
  if (sinkpad == NULL) {
    gst_event_unref (event);
    return FALSE;
  }
  ok = gst_pad_push_event (sinkpad, event);
  gst_object_unref (sinkpad);
  return ok;
}

/* ---- pads and states ----------------------------------------------------- */

static GstPad *
gst_nat_relay_bundle_request_new_pad (
    GstElement *element, GstPadTemplate *template, const gchar *name, const GstCaps *caps)
{
  GstPad *pad = gst_pad_new_from_template (template, name);

  gst_pad_set_element_private (pad, g_new0 (Track, 1));
  gst_pad_set_chain_function (pad, GST_DEBUG_FUNCPTR (bundle_chain));
  gst_pad_set_chain_list_function (pad, GST_DEBUG_FUNCPTR (bundle_chain_list));
  gst_pad_set_event_function (pad, GST_DEBUG_FUNCPTR (bundle_sink_event));
  gst_pad_set_active (pad, TRUE);
  gst_element_add_pad (element, pad);
  return pad;
}

static void
gst_nat_relay_bundle_pad_removed (GstElement *element, GstPad *pad)
{
  if (GST_PAD_IS_SINK (pad))
    g_free (gst_pad_get_element_private (pad));
}

static void
end_if_all_ended (GstElement *element, gpointer unused)
{
  bundle_end (GST_NAT_RELAY_BUNDLE (element), NULL, gst_event_new_eos ());
}

/* Of several that flush and go, the last has to. */
static gboolean
track_has_to_end_flush (GstNatRelayBundle *self, GstPad *pad)
{
  Track *track = gst_pad_get_element_private (pad);
  gboolean flushes;

  GST_OBJECT_LOCK (self);
  flushes = track->flushes;
  track->flushes = FALSE;
  track->flushes = flushes && !bundle_has_flush (self);
  flushes = track->flushes && GST_PAD_IS_FLUSHING (self->srcpad);
  GST_OBJECT_UNLOCK (self);
  return flushes;
}

/* A track that is gone ends its flush no more: the others would flush for ever. It is a track until then, so that they take what
 * they meet for a neighbour's flush. What flushes holds nobody, so the lock is free soon. The others' time goes on. */
static void
end_flush_of_leaving (GstNatRelayBundle *self, GstPad *pad)
{
  if (!track_has_to_end_flush (self, pad))
    return;
  GST_PAD_STREAM_LOCK (self->srcpad);
  if (track_has_to_end_flush (self, pad))
    bundle_end_flush (self, gst_event_new_flush_stop (FALSE));
  GST_PAD_STREAM_UNLOCK (self->srcpad);
}

/* Whoever takes an idle pad away does not wait: another track may hold the source pad's stream lock until the relay is there, or
 * until PLAYING, and the end of the stream takes its time, too. A thread that pushes into this very pad was asked to leave. */
static void
gst_nat_relay_bundle_release_pad (GstElement *element, GstPad *pad)
{
  gst_pad_set_active (pad, FALSE);
  end_flush_of_leaving (GST_NAT_RELAY_BUNDLE (element), pad);
  gst_element_remove_pad (element, pad);
  if (bundle_all_ended (GST_NAT_RELAY_BUNDLE (element)))
    gst_element_call_async (element, end_if_all_ended, NULL, NULL);
}

static GstStateChangeReturn
gst_nat_relay_bundle_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelayBundle *self = GST_NAT_RELAY_BUNDLE (element);
  GstStateChangeReturn ret =
      GST_ELEMENT_CLASS (gst_nat_relay_bundle_parent_class)->change_state (element, transition);

  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    self->begun = FALSE;
    gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
    GST_OBJECT_LOCK (self);
    for (GList *l = element->sinkpads; l != NULL; l = l->next)
      *(Track *)gst_pad_get_element_private (l->data) = (Track){0};
    self->dropped = 0;
    GST_OBJECT_UNLOCK (self);
  }
  return ret;
}

guint64
gst_nat_relay_bundle_get_dropped (GstNatRelayBundle *self)
{
  guint64 dropped;

  GST_OBJECT_LOCK (self);
  dropped = self->dropped;
  GST_OBJECT_UNLOCK (self);
  return dropped;
}

static void
gst_nat_relay_bundle_class_init (GstNatRelayBundleClass *klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "natrelay bundle", "Generic",
      "Brings the tracks of a stream into one RTP session",
      "The natrelay developers <natrelay@example.org>");
  element_class->request_new_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_bundle_request_new_pad);
  element_class->release_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_bundle_release_pad);
  element_class->pad_removed = gst_nat_relay_bundle_pad_removed;
  element_class->change_state = GST_DEBUG_FUNCPTR (gst_nat_relay_bundle_change_state);
}

static void
gst_nat_relay_bundle_init (GstNatRelayBundle *self)
{
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_use_fixed_caps (self->srcpad);
  gst_pad_set_event_function (self->srcpad, GST_DEBUG_FUNCPTR (bundle_src_event));
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
}
