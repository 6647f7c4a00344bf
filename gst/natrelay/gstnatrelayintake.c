/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayintake.h"
#include "gstnatrelayelement.h"
#include "gstnatrelaymarker.h"
#include "gstnatrelaysdp.h"

#define GST_CAT_DEFAULT gst_nat_relay_debug

/* RTP bytes that, marked and sealed, pass every path: 1280 (the least that IPv6 carries) less 48 of headers, 8 of a
 * mark and 24 of sealing. */
#define PACKET_BUDGET 1200

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE (
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp"));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE (
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp"));

struct _GstNatRelayIntake {
  GstElement parent;
  GstPad *sinkpad, *srcpad;
  GstPad *pad;         /* not owned, as are */
  GstElement *element; /* the two that follow */
  GstElement *clocksync;
  const GstNatRelayIntakeOwner *owner;

  gint redraw; /* atomic: another SSRC is asked for */

  /* Streaming thread. */
  GstNatRelayTrack track; /* caps and id: written with the owner's lock */
  gboolean started;       /* the first packet of the segment came */
  gboolean watch_size;
};

G_DEFINE_TYPE (GstNatRelayIntake, gst_nat_relay_intake, GST_TYPE_ELEMENT)

/* ---- complaints ---------------------------------------------------------- */

void
gst_nat_relay_intake_complain (
    GstNatRelayIntake *self, GstStreamError code, const gchar *format, ...)
{
  va_list args;
  gchar *text;

  if (!self->owner->may_complain (self->element, GST_NAT_RELAY_COMPLAINT_INPUT))
    return;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  gst_element_message_full (self->element, GST_MESSAGE_ERROR, GST_STREAM_ERROR, (gint)code, text,
      NULL, __FILE__, GST_FUNCTION, __LINE__);
}

/* "set mtu=1200 on pay", or what else makes packets smaller where nothing there has an mtu (rtspsrc). */
static gchar *
advice_on_size (GstNatRelayIntake *self, guint limit)
{
  GstPad *peer = gst_pad_get_peer (self->pad);
  GstObject *maker = peer != NULL ? gst_pad_get_parent (peer) : NULL;
  gchar *advice;

  if (maker != NULL && g_object_class_find_property (G_OBJECT_GET_CLASS (maker), "mtu") != NULL)
    advice = g_strdup_printf ("set mtu=%u on %s", limit, GST_OBJECT_NAME (maker));
  else
    advice = g_strdup_printf ("%u are safe: set mtu=%u where they are made, or put a depayloader "
                              "before %s, which then makes its own",
        limit, limit, GST_OBJECT_NAME (self->element));
  gst_clear_object (&maker);
  gst_clear_object (&peer);
  return advice;
}

static void
warn_about_size (GstNatRelayIntake *self, gsize size, guint limit)
{
  gchar *advice;

  if (!self->owner->may_complain (self->element, GST_NAT_RELAY_COMPLAINT_SIZE))
    return;
  advice = advice_on_size (self, limit);
  GST_ELEMENT_WARNING (self->element, RESOURCE, SETTINGS,
      ("Packets of %" G_GSIZE_FORMAT " bytes may be lost on some networks; %s", size, advice),
      (NULL));
  g_free (advice);
}

/* ---- caps ---------------------------------------------------------------- */

/* Takes up caps, which may lack payload and ssrc, and sends on what the track has become. */
static gboolean
intake_settle (GstNatRelayIntake *self, GstCaps *caps)
{
  GstCaps *marked = gst_nat_relay_marker_announce (caps);
  GstCaps *settled = self->owner->settle (self->element, &self->track, marked);
  gboolean ok;

  gst_caps_unref (marked);
  if (settled == NULL)
    return FALSE;
  GST_INFO_OBJECT (self, "goes as %" GST_PTR_FORMAT, settled);
  ok = gst_pad_push_event (self->srcpad, gst_event_new_caps (settled));
  gst_caps_unref (settled);
  self->owner->settled (self->element);
  return ok;
}

static gboolean
intake_take_caps (GstNatRelayIntake *self, GstCaps *caps)
{
  const gchar *missing = gst_nat_relay_sdp_missing_field (caps);
  gchar *text;

  if (missing == NULL)
    return intake_settle (self, caps);
  text = gst_caps_to_string (caps);
  gst_nat_relay_intake_complain (self, GST_STREAM_ERROR_FORMAT,
      "The RTP caps on %s do not say \"%s\": a receiver could not decode this. Put a payloader or "
      "a capsfilter with complete caps before %s (now: %s)",
      GST_PAD_NAME (self->pad), missing, GST_ELEMENT_NAME (self->element), text);
  g_free (text);
  return FALSE;
}

static gboolean
intake_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstNatRelayIntake *self = GST_NAT_RELAY_INTAKE (parent);
  GstCaps *caps;
  gboolean ok;

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_CAPS:
    gst_event_parse_caps (event, &caps);
    ok = intake_take_caps (self, caps);
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
intake_has_time (GstNatRelayIntake *self)
{
  GstEvent *event = gst_pad_get_sticky_event (self->sinkpad, GST_EVENT_SEGMENT, 0);
  const GstSegment *segment;
  gboolean ok = TRUE;

  if (event == NULL)
    return TRUE;
  gst_event_parse_segment (event, &segment);
  if (segment->format != GST_FORMAT_TIME) {
    gst_nat_relay_intake_complain (self, GST_STREAM_ERROR_FORMAT,
        "What comes on %s has a place in %s but none in time: a parser before it gives it one (for "
        "a "
        "transport stream, tsparse set-timestamps=true), or format=time where it comes from an "
        "appsrc",
        GST_PAD_NAME (self->pad), gst_format_get_name (segment->format));
    ok = FALSE;
  }
  gst_event_unref (event);
  return ok;
}

/* A file must not be sent as fast as it can be read; what comes live is on time already, and
 * waiting would only add latency. */
static void
intake_start (GstNatRelayIntake *self)
{
  GstQuery *query = gst_query_new_latency ();
  gboolean live = FALSE, sync;

  if (gst_pad_peer_query (self->sinkpad, query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);
  sync = !live && self->owner->wants_sync (self->element);
  GST_DEBUG_OBJECT (self, "input is %s, %s the clock", live ? "live" : "not live",
      sync ? "following" : "not following");
  g_object_set (self->clocksync, "sync", sync, NULL);
  self->started = TRUE;
}

/* Another source sends on this pad now: it becomes the track, under an SSRC of its own. */
static GstNatRelayTrackStatus
intake_adopt (GstNatRelayIntake *self, GstBuffer **buffer, gint64 now)
{
  GstCaps *caps = gst_pad_get_current_caps (self->sinkpad);
  guint8 ssrc[4];

  if (caps == NULL)
    return GST_NAT_RELAY_TRACK_DROP;
  gst_buffer_extract (*buffer, 8, ssrc, sizeof ssrc);
  caps = gst_caps_make_writable (caps);
  gst_caps_set_simple (caps, "ssrc", G_TYPE_UINT, GST_READ_UINT32_BE (ssrc), NULL);
  intake_settle (self, caps);
  gst_caps_unref (caps);
  return gst_nat_relay_track_take (&self->track, buffer, now);
}

/* The relay knows the SSRC as another stream's. */
static void
intake_redraw (GstNatRelayIntake *self)
{
  GstCaps *caps = gst_pad_get_current_caps (self->sinkpad);

  if (caps == NULL)
    return;
  self->track.redraw = TRUE;
  intake_settle (self, caps);
  gst_caps_unref (caps);
}

static void
intake_check_size (GstNatRelayIntake *self, GstBuffer *buffer)
{
  guint limit = MAX (PACKET_BUDGET, self->owner->get_mtu (self->element) - GST_NAT_RELAY_RESERVED);
  gsize size = gst_buffer_get_size (buffer);

  if (G_UNLIKELY (size > limit))
    warn_about_size (self, size, limit);
}

/* OK: *buffer may go on, or is NULL: it was dropped. */
static GstFlowReturn
intake_take (GstNatRelayIntake *self, GstBuffer **buffer)
{
  gint64 now = g_get_monotonic_time ();
  GstNatRelayTrackStatus status;

  if (G_UNLIKELY (g_atomic_int_get (&self->redraw)) &&
      g_atomic_int_compare_and_exchange (&self->redraw, TRUE, FALSE))
    intake_redraw (self);
  status = gst_nat_relay_track_take (&self->track, buffer, now);
  if (G_UNLIKELY (status == GST_NAT_RELAY_TRACK_NEW_SOURCE))
    status = intake_adopt (self, buffer, now);
  if (G_UNLIKELY (status != GST_NAT_RELAY_TRACK_OK)) {
    GST_DEBUG_OBJECT (self, "dropping a packet that is not of this track: %d", (int)status);
    gst_clear_buffer (buffer);
    if (status != GST_NAT_RELAY_TRACK_NOT_RTP || self->track.last_packet != 0)
      return GST_FLOW_OK;
    gst_nat_relay_intake_complain (
        self, GST_STREAM_ERROR_WRONG_TYPE, "What comes on %s is not RTP", GST_PAD_NAME (self->pad));
    return GST_FLOW_ERROR;
  }
  if (G_UNLIKELY (!self->started)) {
    if (!intake_has_time (self)) {
      gst_clear_buffer (buffer);
      return GST_FLOW_ERROR;
    }
    intake_start (self);
  }
  if (self->watch_size)
    intake_check_size (self, *buffer);
  return GST_FLOW_OK;
}

static GstFlowReturn
intake_check_caps (GstNatRelayIntake *self)
{
  if (G_LIKELY (self->track.caps != NULL))
    return GST_FLOW_OK;
  gst_nat_relay_intake_complain (self, GST_STREAM_ERROR_FORMAT,
      "Data without caps comes on %s; put before %s what knows them (parsebin, h264parse), or a "
      "capsfilter, as in "
      "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96",
      GST_PAD_NAME (self->pad), GST_ELEMENT_NAME (self->element));
  return GST_FLOW_NOT_NEGOTIATED;
}

static GstFlowReturn
intake_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstNatRelayIntake *self = GST_NAT_RELAY_INTAKE (parent);
  GstFlowReturn ret = intake_check_caps (self);

  if (ret != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return ret;
  }
  ret = intake_take (self, &buffer);
  if (ret != GST_FLOW_OK || buffer == NULL)
    return ret;
  return gst_pad_push (self->srcpad, buffer);
}

typedef struct {
  GstNatRelayIntake *self;
  GstFlowReturn ret;
} TakeList;

static gboolean
take_list_item (GstBuffer **buffer, guint index, gpointer user)
{
  TakeList *take = user;

  take->ret = intake_take (take->self, buffer);
  return take->ret == GST_FLOW_OK;
}

static GstFlowReturn
intake_chain_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  TakeList take = {GST_NAT_RELAY_INTAKE (parent), GST_FLOW_OK};

  take.ret = intake_check_caps (take.self);
  if (take.ret == GST_FLOW_OK) {
    list = gst_buffer_list_make_writable (list);
    gst_buffer_list_foreach (list, take_list_item, &take);
  }
  if (take.ret != GST_FLOW_OK || gst_buffer_list_length (list) == 0) {
    gst_buffer_list_unref (list);
    return take.ret;
  }
  return gst_pad_push_list (take.self->srcpad, list);
}

/* ---- the element --------------------------------------------------------- */

GstNatRelayTrack *
gst_nat_relay_intake_get_track (GstNatRelayIntake *self)
{
  return &self->track;
}

void
gst_nat_relay_intake_watch_size (GstNatRelayIntake *self, gboolean watch)
{
  self->watch_size = watch;
}

void
gst_nat_relay_intake_redraw (GstNatRelayIntake *self)
{
  g_atomic_int_set (&self->redraw, TRUE);
}

void
gst_nat_relay_intake_reset (GstNatRelayIntake *self)
{
  g_atomic_int_set (&self->redraw, FALSE);
  gst_nat_relay_track_clear (&self->track);
  self->started = FALSE;
  self->watch_size = TRUE;
}

GstElement *
gst_nat_relay_intake_new (
    GstPad *pad, GstElement *element, GstElement *clocksync, const GstNatRelayIntakeOwner *owner)
{
  GstNatRelayIntake *self = g_object_new (GST_TYPE_NAT_RELAY_INTAKE, NULL);

  self->pad = pad;
  self->element = element;
  self->clocksync = clocksync;
  self->owner = owner;
  return GST_ELEMENT (self);
}

static void
gst_nat_relay_intake_finalize (GObject *object)
{
  gst_nat_relay_track_clear (&GST_NAT_RELAY_INTAKE (object)->track);
  G_OBJECT_CLASS (gst_nat_relay_intake_parent_class)->finalize (object);
}

static void
gst_nat_relay_intake_class_init (GstNatRelayIntakeClass *klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_intake_finalize;
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "natrelay intake", "Generic",
      "Makes RTP packets a track of a stream", "The natrelay developers <natrelay@example.org>");
}

static void
gst_nat_relay_intake_init (GstNatRelayIntake *self)
{
  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_pad_set_event_function (self->sinkpad, GST_DEBUG_FUNCPTR (intake_event));
  gst_pad_set_chain_function (self->sinkpad, GST_DEBUG_FUNCPTR (intake_chain));
  gst_pad_set_chain_list_function (self->sinkpad, GST_DEBUG_FUNCPTR (intake_chain_list));
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_use_fixed_caps (self->srcpad);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
  gst_nat_relay_track_init (&self->track);
  self->watch_size = TRUE;
}
