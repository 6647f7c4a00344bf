/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysinkpad.h"
#include "gstnatrelayelement.h"
#include "gstnatrelaysdp.h"

#define GST_CAT_DEFAULT gst_nat_relay_debug

/* RTP bytes that, sealed, pass every path: 1280 (the least that IPv6 carries) less 48 of headers and 32 of
 * sealing. */
#define PACKET_BUDGET 1200

struct _GstNatRelaySinkPad {
  GstGhostPad parent;
  guint index;
  const GstNatRelaySinkPadOwner *owner;
  GstElement *clocksync;
  GstPad *bundle_pad;

  /* Streaming thread. */
  GstNatRelayTrack track; /* caps and id: written with the owner's lock */
  gboolean started;       /* the first packet of the segment came */
};

G_DEFINE_TYPE (GstNatRelaySinkPad, gst_nat_relay_sink_pad, GST_TYPE_GHOST_PAD)

/* ---- complaints ---------------------------------------------------------- */

static void input_error (GstNatRelaySinkPad *self, GstElement *element, GstStreamError code,
    const gchar *format, ...) G_GNUC_PRINTF (4, 5);

/* One error for the first wrong input; more of them would say nothing new. */
static void
input_error (
    GstNatRelaySinkPad *self, GstElement *element, GstStreamError code, const gchar *format, ...)
{
  va_list args;
  gchar *text;

  if (!self->owner->may_complain (element, GST_NAT_RELAY_COMPLAINT_INPUT))
    return;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  gst_element_message_full (element, GST_MESSAGE_ERROR, GST_STREAM_ERROR, (gint)code, text, NULL,
      __FILE__, GST_FUNCTION, __LINE__);
}

static void
warn_about_size (GstNatRelaySinkPad *self, GstElement *element, gsize size)
{
  GstPad *peer;
  gchar *name;

  if (!self->owner->may_complain (element, GST_NAT_RELAY_COMPLAINT_SIZE))
    return;
  peer = gst_pad_get_peer (GST_PAD (self));
  name = peer != NULL ? gst_object_get_name (GST_OBJECT_PARENT (peer)) : g_strdup ("the payloader");
  GST_ELEMENT_WARNING (element, RESOURCE, SETTINGS,
      ("Packets of %" G_GSIZE_FORMAT " bytes may be lost on some networks; set mtu=%d on %s", size,
          PACKET_BUDGET, name),
      (NULL));
  g_free (name);
  gst_clear_object (&peer);
}

/* ---- caps ---------------------------------------------------------------- */

/* Takes up caps, which may lack payload and ssrc, and sends on what the track has become. */
static gboolean
sink_pad_settle (GstNatRelaySinkPad *self, GstElement *element, GstCaps *caps)
{
  GstCaps *settled = self->owner->settle (element, &self->track, caps);
  gboolean ok;

  if (settled == NULL)
    return FALSE;
  GST_INFO_OBJECT (self, "goes as %" GST_PTR_FORMAT, settled);
  ok = gst_pad_event_default (GST_PAD (self), GST_OBJECT (element), gst_event_new_caps (settled));
  gst_caps_unref (settled);
  self->owner->settled (element);
  return ok;
}

static gboolean
sink_pad_take_caps (GstNatRelaySinkPad *self, GstElement *element, GstCaps *caps)
{
  const gchar *missing = gst_nat_relay_sdp_missing_field (caps);

  if (missing != NULL) {
    gchar *text = gst_caps_to_string (caps);

    input_error (self, element, GST_STREAM_ERROR_FORMAT,
        "The RTP caps on %s do not say \"%s\": a receiver could not decode this. Put a payloader "
        "or "
        "a capsfilter with complete caps before %s (now: %s)",
        GST_PAD_NAME (self), missing, GST_ELEMENT_NAME (element), text);
    g_free (text);
    return FALSE;
  }
  return sink_pad_settle (self, element, caps);
}

static gboolean
sink_pad_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstNatRelaySinkPad *self = GST_NAT_RELAY_SINK_PAD (pad);
  GstCaps *caps;
  gboolean ok;

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_CAPS:
    gst_event_parse_caps (event, &caps);
    ok = sink_pad_take_caps (self, GST_ELEMENT (parent), caps);
    gst_event_unref (event);
    return ok;
  case GST_EVENT_STREAM_START:
  case GST_EVENT_SEGMENT: self->started = FALSE; break;
  default: break;
  }
  return gst_pad_event_default (pad, parent, event);
}

/* ---- packets ------------------------------------------------------------- */

/* Sender reports, and all that the receivers make of them, need time stamps. */
static gboolean
sink_pad_has_time (GstNatRelaySinkPad *self, GstElement *element)
{
  GstEvent *event = gst_pad_get_sticky_event (GST_PAD (self), GST_EVENT_SEGMENT, 0);
  const GstSegment *segment;
  gboolean ok = TRUE;

  if (event == NULL)
    return TRUE;
  gst_event_parse_segment (event, &segment);
  if (segment->format != GST_FORMAT_TIME) {
    input_error (self, element, GST_STREAM_ERROR_FORMAT,
        "The packets on %s have a place in %s but none in time; where they come from an appsrc, "
        "set "
        "format=time there",
        GST_PAD_NAME (self), gst_format_get_name (segment->format));
    ok = FALSE;
  }
  gst_event_unref (event);
  return ok;
}

/* A file must not be sent as fast as it can be read; what comes live is on time already, and
 * waiting would only add latency. */
static void
sink_pad_start (GstNatRelaySinkPad *self, GstElement *element)
{
  GstQuery *query = gst_query_new_latency ();
  gboolean live = FALSE, sync;

  if (gst_pad_peer_query (GST_PAD (self), query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);
  sync = !live && self->owner->wants_sync (element);
  GST_DEBUG_OBJECT (self, "input is %s, %s the clock", live ? "live" : "not live",
      sync ? "following" : "not following");
  g_object_set (self->clocksync, "sync", sync, NULL);
  self->started = TRUE;
}

/* Another source sends on this pad now: it becomes the track, under an SSRC of its own. */
static GstNatRelayTrackStatus
sink_pad_adopt (GstNatRelaySinkPad *self, GstElement *element, GstBuffer **buffer, gint64 now)
{
  GstCaps *caps = gst_pad_get_current_caps (GST_PAD (self));
  guint8 ssrc[4];

  if (caps == NULL)
    return GST_NAT_RELAY_TRACK_DROP;
  gst_buffer_extract (*buffer, 8, ssrc, sizeof ssrc);
  caps = gst_caps_make_writable (caps);
  gst_caps_set_simple (caps, "ssrc", G_TYPE_UINT, GST_READ_UINT32_BE (ssrc), NULL);
  sink_pad_settle (self, element, caps);
  gst_caps_unref (caps);
  return gst_nat_relay_track_take (&self->track, buffer, now);
}

/* OK: *buffer may go on, or is NULL: it was dropped. */
static GstFlowReturn
sink_pad_take (GstNatRelaySinkPad *self, GstElement *element, GstBuffer **buffer)
{
  gint64 now = g_get_monotonic_time ();
  GstNatRelayTrackStatus status;
  gsize size;

  status = gst_nat_relay_track_take (&self->track, buffer, now);
  if (G_UNLIKELY (status == GST_NAT_RELAY_TRACK_NEW_SOURCE))
    status = sink_pad_adopt (self, element, buffer, now);
  if (G_UNLIKELY (status != GST_NAT_RELAY_TRACK_OK)) {
    GST_DEBUG_OBJECT (self, "dropping a packet that is not of this track: %d", (int)status);
    gst_clear_buffer (buffer);
    if (status != GST_NAT_RELAY_TRACK_NOT_RTP || self->track.last_packet != 0)
      return GST_FLOW_OK;
    input_error (self, element, GST_STREAM_ERROR_WRONG_TYPE, "What comes on %s is not RTP",
        GST_PAD_NAME (self));
    return GST_FLOW_ERROR;
  }
  if (G_UNLIKELY (!self->started)) {
    if (!sink_pad_has_time (self, element)) {
      gst_clear_buffer (buffer);
      return GST_FLOW_ERROR;
    }
    sink_pad_start (self, element);
  }
  size = gst_buffer_get_size (*buffer);
  if (G_UNLIKELY (size > PACKET_BUDGET))
    warn_about_size (self, element, size);
  return GST_FLOW_OK;
}

static GstFlowReturn
sink_pad_check_caps (GstNatRelaySinkPad *self, GstElement *element)
{
  if (G_LIKELY (self->track.caps != NULL))
    return GST_FLOW_OK;
  input_error (self, element, GST_STREAM_ERROR_FORMAT,
      "Data without caps comes on %s; put a capsfilter before %s, as in "
      "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96",
      GST_PAD_NAME (self), GST_ELEMENT_NAME (element));
  return GST_FLOW_NOT_NEGOTIATED;
}

static GstFlowReturn
sink_pad_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstNatRelaySinkPad *self = GST_NAT_RELAY_SINK_PAD (pad);
  GstFlowReturn ret = sink_pad_check_caps (self, GST_ELEMENT (parent));

  if (ret != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return ret;
  }
  ret = sink_pad_take (self, GST_ELEMENT (parent), &buffer);
  if (ret != GST_FLOW_OK || buffer == NULL)
    return ret;
  return gst_proxy_pad_chain_default (pad, parent, buffer);
}

typedef struct {
  GstNatRelaySinkPad *self;
  GstElement *element;
  GstFlowReturn ret;
} TakeList;

static gboolean
take_list_item (GstBuffer **buffer, guint index, gpointer user)
{
  TakeList *take = user;

  take->ret = sink_pad_take (take->self, take->element, buffer);
  return take->ret == GST_FLOW_OK;
}

static GstFlowReturn
sink_pad_chain_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  TakeList take = {GST_NAT_RELAY_SINK_PAD (pad), GST_ELEMENT (parent), GST_FLOW_OK};

  take.ret = sink_pad_check_caps (take.self, take.element);
  if (take.ret == GST_FLOW_OK) {
    list = gst_buffer_list_make_writable (list);
    gst_buffer_list_foreach (list, take_list_item, &take);
  }
  if (take.ret != GST_FLOW_OK || gst_buffer_list_length (list) == 0) {
    gst_buffer_list_unref (list);
    return take.ret;
  }
  return gst_proxy_pad_chain_list_default (pad, parent, list);
}

/* ---- the pad ------------------------------------------------------------- */

guint
gst_nat_relay_sink_pad_get_index (GstNatRelaySinkPad *self)
{
  return self->index;
}

GstNatRelayTrack *
gst_nat_relay_sink_pad_get_track (GstNatRelaySinkPad *self)
{
  return &self->track;
}

void
gst_nat_relay_sink_pad_reset (GstNatRelaySinkPad *self)
{
  gst_nat_relay_track_clear (&self->track);
  self->started = FALSE;
}

static void
sink_pad_wire (GstNatRelaySinkPad *self, GstBin *bin, GstElement *bundle)
{
  GstPad *src = gst_element_get_static_pad (self->clocksync, "src");
  GstPad *sink = gst_element_get_static_pad (self->clocksync, "sink");

  g_object_set (self->clocksync, "sync", FALSE, NULL);
  gst_bin_add (bin, self->clocksync);
  self->bundle_pad = gst_element_request_pad_simple (bundle, "sink_%u");
  gst_pad_link_full (src, self->bundle_pad, GST_PAD_LINK_CHECK_NOTHING);
  gst_ghost_pad_set_target (GST_GHOST_PAD (self), sink);
  gst_object_unref (src);
  gst_object_unref (sink);
  gst_element_sync_state_with_parent (self->clocksync);
}

void
gst_nat_relay_sink_pad_unwire (GstNatRelaySinkPad *self, GstBin *bin, GstElement *bundle)
{
  gst_ghost_pad_set_target (GST_GHOST_PAD (self), NULL);
  /* The bin may have let go of its children before its pads. */
  if (self->bundle_pad != NULL && GST_OBJECT_PARENT (self->bundle_pad) != NULL)
    gst_element_release_request_pad (
        GST_ELEMENT (GST_OBJECT_PARENT (self->bundle_pad)), self->bundle_pad);
  gst_clear_object (&self->bundle_pad);
  if (GST_OBJECT_PARENT (self->clocksync) == GST_OBJECT (bin)) {
    gst_element_set_locked_state (self->clocksync, TRUE);
    gst_element_set_state (self->clocksync, GST_STATE_NULL);
    gst_bin_remove (bin, self->clocksync);
  }
}

GstPad *
gst_nat_relay_sink_pad_new (guint index, GstPadTemplate *template, GstBin *bin, GstElement *bundle,
    const GstNatRelaySinkPadOwner *owner)
{
  GstElement *clocksync = gst_element_factory_make ("clocksync", NULL);
  GstNatRelaySinkPad *self;
  gchar *name;

  if (clocksync == NULL)
    return NULL;
  name = g_strdup_printf ("sink_%u", index);
  self = g_object_new (GST_TYPE_NAT_RELAY_SINK_PAD, "name", name, "direction", GST_PAD_SINK,
      "template", template, NULL);
  g_free (name);
  self->index = index;
  self->owner = owner;
  self->clocksync = gst_object_ref_sink (clocksync);
  gst_pad_set_event_function (GST_PAD (self), GST_DEBUG_FUNCPTR (sink_pad_event));
  gst_pad_set_chain_function (GST_PAD (self), GST_DEBUG_FUNCPTR (sink_pad_chain));
  gst_pad_set_chain_list_function (GST_PAD (self), GST_DEBUG_FUNCPTR (sink_pad_chain_list));
  sink_pad_wire (self, bin, bundle);
  return GST_PAD (self);
}

static void
gst_nat_relay_sink_pad_finalize (GObject *object)
{
  GstNatRelaySinkPad *self = GST_NAT_RELAY_SINK_PAD (object);

  gst_nat_relay_track_clear (&self->track);
  gst_clear_object (&self->bundle_pad);
  gst_clear_object (&self->clocksync);
  G_OBJECT_CLASS (gst_nat_relay_sink_pad_parent_class)->finalize (object);
}

static void
gst_nat_relay_sink_pad_class_init (GstNatRelaySinkPadClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_sink_pad_finalize;
}

static void
gst_nat_relay_sink_pad_init (GstNatRelaySinkPad *self)
{
  gst_nat_relay_track_init (&self->track);
}
