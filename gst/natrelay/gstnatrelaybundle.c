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

/* A sink pad and what came on it. It is there as long as the pad: whoever is told of what is pushed may take the pad away. */
typedef struct {
  guint32 ssrc;      /* of its caps */
  gboolean new_caps; /* to be told; the pad's streaming thread */
  gboolean eos;
  gboolean flushes; /* set back in a turn */
} Track;

struct _GstNatRelayBundle {
  GstElement parent;
  GstPad *srcpad;

  /* One thread pushes at a time. What is behind posts messages meanwhile, and who hears one may take away the pad of a thread that
   * waits for its turn: a lock would hold that thread, so it waits for a condition, which a pad that flushes ends. */
  GMutex lock; /* a leaf */
  GCond cond;
  GThread *pusher; /* lock; whose turn it is, or NULL */
  guint turns;     /* lock; how often pusher took it */

  /* In a turn: what is pushed, and whether it must be told anew. */
  gboolean begun;
  GstSegment segment; /* as pushed; GST_FORMAT_UNDEFINED if none */

  /* Object lock: the pads' Tracks, and this. */
  guint64 dropped; /* packets that a neighbour's flush took */
};

G_DEFINE_TYPE (GstNatRelayBundle, gst_nat_relay_bundle, GST_TYPE_ELEMENT)

/* ---- turns --------------------------------------------------------------- */

/* FALSE: pad, which may be NULL, flushes, and it is another's turn. */
static gboolean
bundle_take_turn (GstNatRelayBundle *self, GstPad *pad)
{
  GThread *me = g_thread_self ();
  gboolean taken;

  g_mutex_lock (&self->lock);
  while (self->turns > 0 && self->pusher != me && (pad == NULL || !GST_PAD_IS_FLUSHING (pad)))
    g_cond_wait (&self->cond, &self->lock);
  taken = self->turns == 0 || self->pusher == me;
  if (taken) {
    self->pusher = me;
    self->turns++;
  }
  g_mutex_unlock (&self->lock);
  return taken;
}

static void
bundle_end_turn (GstNatRelayBundle *self)
{
  g_mutex_lock (&self->lock);
  if (--self->turns == 0) {
    self->pusher = NULL;
    g_cond_broadcast (&self->cond);
  }
  g_mutex_unlock (&self->lock);
}

static void
bundle_wake (GstNatRelayBundle *self)
{
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_bundle_let_go (GstNatRelayBundle *self, GstPad *pad)
{
  GST_OBJECT_LOCK (pad);
  GST_PAD_SET_FLUSHING (pad);
  GST_PAD_BLOCK_BROADCAST (pad);
  GST_OBJECT_UNLOCK (pad);
  bundle_wake (self);
}

/* ---- downstream ---------------------------------------------------------- */

/* called in a turn. Caps are told once for each track: the RTP session takes SSRC and
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

/* called in a turn */
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

/* called in a turn, so that no flush ended since. A flush of one track empties all that is behind: to the
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

/* called in a turn; FALSE: whoever was told of it took the pad away */
static gboolean
bundle_introduce (GstNatRelayBundle *self, GstPad *pad)
{
  Track *track = gst_pad_get_element_private (pad);

  if (G_UNLIKELY (!self->begun || track->new_caps))
    bundle_tell_caps (self, pad);
  bundle_tell_segment (self, pad);
  return !GST_PAD_IS_FLUSHING (pad);
}

/* called in a turn; takes what */
static GstFlowReturn
bundle_push_on (GstNatRelayBundle *self, GstPad *pad, GstMiniObject *what)
{
  guint n = GST_IS_BUFFER_LIST (what) ? gst_buffer_list_length (GST_BUFFER_LIST (what)) : 1;
  GstFlowReturn ret;

  if (GST_IS_BUFFER_LIST (what))
    ret = gst_pad_push_list (self->srcpad, GST_BUFFER_LIST (what));
  else
    ret = gst_pad_push (self->srcpad, GST_BUFFER (what));
  if (G_UNLIKELY (ret == GST_FLOW_FLUSHING) && bundle_neighbour_flushes (self, pad, n))
    ret = GST_FLOW_OK;
  return ret;
}

static GstFlowReturn
bundle_push (GstPad *pad, GstObject *parent, GstMiniObject *what)
{
  GstNatRelayBundle *self = GST_NAT_RELAY_BUNDLE (parent);
  GstFlowReturn ret = GST_FLOW_FLUSHING;

  if (!bundle_take_turn (self, pad)) {
    gst_mini_object_unref (what);
    return ret;
  }
  if (bundle_introduce (self, pad))
    ret = bundle_push_on (self, pad, what);
  else
    gst_mini_object_unref (what);
  bundle_end_turn (self);
  return ret;
}

static GstFlowReturn
bundle_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  return bundle_push (pad, parent, GST_MINI_OBJECT_CAST (buffer));
}

static GstFlowReturn
bundle_chain_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  return bundle_push (pad, parent, GST_MINI_OBJECT_CAST (list));
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

  if (!bundle_take_turn (self, pad)) {
    gst_event_unref (event);
    return FALSE;
  }
  if (bundle_all_ended (self)) {
    if (pad != NULL && !self->begun)
      bundle_tell_caps (self, pad);
    if (pad != NULL)
      bundle_tell_segment (self, pad);
    ok = gst_pad_push_event (self->srcpad, event);
  } else {
    gst_event_unref (event);
  }
  bundle_end_turn (self);
  return ok;
}

static gboolean
bundle_flush (GstNatRelayBundle *self, GstPad *pad, GstEvent *event)
{
  track_set_flushes (self, pad, TRUE);
  bundle_wake (self);
  return gst_pad_push_event (self->srcpad, event);
}

/* called in a turn. A flush takes segment and EOS from everything downstream. */
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
  bundle_take_turn (self, NULL);
  track_set_flushes (self, pad, FALSE);
  ok = bundle_end_flush (self, event);
  bundle_end_turn (self);
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
  Track *track = g_new0 (Track, 1);

  g_object_set_data_full (G_OBJECT (pad), "track", track, g_free);
  gst_pad_set_element_private (pad, track);
  gst_pad_set_chain_function (pad, GST_DEBUG_FUNCPTR (bundle_chain));
  gst_pad_set_chain_list_function (pad, GST_DEBUG_FUNCPTR (bundle_chain_list));
  gst_pad_set_event_function (pad, GST_DEBUG_FUNCPTR (bundle_sink_event));
  gst_pad_set_active (pad, TRUE);
  gst_element_add_pad (element, pad);
  return pad;
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
 * they meet for a neighbour's flush. What flushes holds nobody, so our turn comes soon. The others' time goes on. */
static void
end_flush_of_leaving (GstNatRelayBundle *self, GstPad *pad)
{
  if (!track_has_to_end_flush (self, pad))
    return;
  bundle_take_turn (self, NULL);
  if (track_has_to_end_flush (self, pad))
    bundle_end_flush (self, gst_event_new_flush_stop (FALSE));
  bundle_end_turn (self);
}

/* Whoever takes an idle pad away does not wait: it may be another track's turn until the relay is there, or until
 * PLAYING, and the end of the stream takes its time, too. A thread that pushes into this very pad was asked to leave. */
static void
gst_nat_relay_bundle_release_pad (GstElement *element, GstPad *pad)
{
  gst_nat_relay_bundle_let_go (GST_NAT_RELAY_BUNDLE (element), pad);
  gst_pad_set_active (pad, FALSE);
  end_flush_of_leaving (GST_NAT_RELAY_BUNDLE (element), pad);
  gst_element_remove_pad (element, pad);
  if (bundle_all_ended (GST_NAT_RELAY_BUNDLE (element)))
    gst_element_call_async (element, end_if_all_ended, NULL, NULL);
}

static void
bundle_reset (GstNatRelayBundle *self)
{
  bundle_take_turn (self, NULL);
  self->begun = FALSE;
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  bundle_end_turn (self);
  GST_OBJECT_LOCK (self);
  for (GList *l = GST_ELEMENT (self)->sinkpads; l != NULL; l = l->next)
    *(Track *)gst_pad_get_element_private (l->data) = (Track){0};
  self->dropped = 0;
  GST_OBJECT_UNLOCK (self);
}

static GstStateChangeReturn
gst_nat_relay_bundle_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelayBundle *self = GST_NAT_RELAY_BUNDLE (element);
  GstStateChangeReturn ret =
      GST_ELEMENT_CLASS (gst_nat_relay_bundle_parent_class)->change_state (element, transition);

  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    bundle_reset (self);
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
gst_nat_relay_bundle_finalize (GObject *object)
{
  GstNatRelayBundle *self = GST_NAT_RELAY_BUNDLE (object);

  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  G_OBJECT_CLASS (gst_nat_relay_bundle_parent_class)->finalize (object);
}

static void
gst_nat_relay_bundle_class_init (GstNatRelayBundleClass *klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_bundle_finalize;
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "natrelay bundle", "Generic",
      "Brings the tracks of a stream into one RTP session",
      "The natrelay developers <natrelay@example.org>");
  element_class->request_new_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_bundle_request_new_pad);
  element_class->release_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_bundle_release_pad);
  element_class->change_state = GST_DEBUG_FUNCPTR (gst_nat_relay_bundle_change_state);
}

static void
gst_nat_relay_bundle_init (GstNatRelayBundle *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_use_fixed_caps (self->srcpad);
  gst_pad_set_event_function (self->srcpad, GST_DEBUG_FUNCPTR (bundle_src_event));
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
}
