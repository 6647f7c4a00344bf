/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaycatchup.h"
#include "natproto/rtp.h"

#define GST_CAT_DEFAULT gst_nat_relay_catchup_debug
GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_catchup_debug);

/* Older pictures the relay does not keep. */
#define AGE_MAX (60 * GST_SECOND)
/* What decoding the still may take before it is late. */
#define STILL_TIME (40 * GST_MSECOND)
/* Pictures that are shown before the first one, though they come after it. */
#define LEADING (1 * GST_SECOND)

/* What is known of one run through the past. */
typedef struct {
  GstNatRelayCatchup *catchup;
  GstPad *pad;
  GstClockTime live_pts; /* with the shift */
  guint32 live_timestamp;
  gint clock_rate;
  gint64 begun_us;
  GstClockTime latency;
  gboolean discont;
  gboolean complete;
} Run;

static guint32
timestamp_of (GstBuffer *packet)
{
  guint8 timestamp[4] = {0};

  gst_buffer_extract (packet, 4, timestamp, sizeof timestamp);
  return GST_READ_UINT32_BE (timestamp);
}

static gboolean
has_marker (GstBuffer *packet)
{
  guint8 second = 0;

  gst_buffer_extract (packet, 1, &second, 1);
  return second >> 7;
}

/* How long before the first live packet. Negative for what is shown after that. */
static GstClockTimeDiff
age_of (const Run *run, guint32 timestamp)
{
  gint32 ticks = (gint32)(run->live_timestamp - timestamp);
  guint64 age =
      gst_util_uint64_scale_int ((guint64)ABS ((gint64)ticks), GST_SECOND, run->clock_rate);

  return ticks < 0 ? -(GstClockTimeDiff)age : (GstClockTimeDiff)age;
}

static GstClockTime
pts_of (const Run *run, guint32 timestamp)
{
  GstClockTimeDiff pts = (GstClockTimeDiff)run->live_pts - age_of (run, timestamp);

  return (GstClockTime)MAX (pts, 0);
}

/* ---- segments ------------------------------------------------------------ */

static GstClockTime
live_running_time (const Run *run)
{
  return gst_segment_to_running_time (
      &run->catchup->segment, GST_FORMAT_TIME, run->live_pts - run->catchup->shift);
}

/* The still's turn is as soon as it can be decoded. Sinks add the latency to every time, so it is taken off. */
static GstClockTime
still_running_time (const Run *run)
{
  GstClockTime live = live_running_time (run);
  GstClockTime now =
      live + (GstClockTime)(g_get_monotonic_time () - run->begun_us) * GST_USECOND + STILL_TIME;

  return MIN (live, now > run->latency ? now - run->latency : 0);
}

/* A depayloader makes one segment of its own, from that which it had when its first packet came, unless caps say that
 * each is meant as it is: GStreamer has that for ONVIF's replays (RTP of the past, too). Not before that first
 * packet: some have no caps until then, and segments come after caps. Takes caps. */
static GstEvent *
segments_as_they_are (GstCaps *caps)
{
  GstEvent *event;

  caps = gst_caps_make_writable (caps);
  gst_caps_set_simple (caps, "onvif-mode", G_TYPE_BOOLEAN, TRUE, NULL);
  event = gst_event_new_caps (caps);
  gst_caps_unref (caps);
  return event;
}

/* From that time on, which is shown at running_time. */
static void
push_segment (const Run *run, GstClockTime start, GstClockTime running_time)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.position = start;
  segment.base = segment.time = running_time;
  gst_pad_push_event (run->pad, gst_event_new_segment (&segment));
}

/* ---- packets ------------------------------------------------------------- */

/* takes packet */
static GstFlowReturn
push_packet (Run *run, GstBuffer *packet)
{
  guint32 timestamp = timestamp_of (packet);

  packet = gst_buffer_make_writable (packet);
  GST_BUFFER_PTS (packet) = pts_of (run, timestamp);
  GST_BUFFER_DTS (packet) = GST_CLOCK_TIME_NONE;
  if (run->discont)
    GST_BUFFER_FLAG_SET (packet, GST_BUFFER_FLAG_DISCONT);
  run->discont = FALSE;
  return gst_pad_push (run->pad, packet);
}

static GstBuffer *
next_packet (Run *run)
{
  return gst_nat_relay_headstart_next (run->catchup->headstart, run->catchup->ssrc, &run->complete);
}

/* The packets of the first picture; *behind: the one after them, or NULL. The picture's parameter sets may have a time
 * of their own, but only a whole access unit ends with a marker. FALSE: the rest of it did not come. */
static gboolean
take_picture (Run *run, GQueue *picture, GstBuffer **behind)
{
  gboolean ended = FALSE;
  GstBuffer *packet;

  while ((packet = next_packet (run)) != NULL) {
    GstBuffer *last = g_queue_peek_tail (picture);

    if (ended && timestamp_of (packet) != timestamp_of (last))
      break;
    ended = has_marker (packet);
    g_queue_push_tail (picture, packet);
  }
  *behind = packet;
  return ended;
}

/* The first picture is complete: where it lies is known, and it is shown. */
static GstFlowReturn
push_picture (Run *run, GQueue *picture)
{
  GstFlowReturn ret = GST_FLOW_OK;
  GstBuffer *packet;

  push_segment (
      run, pts_of (run, timestamp_of (g_queue_peek_head (picture))), still_running_time (run));
  while (ret == GST_FLOW_OK && (packet = g_queue_pop_head (picture)) != NULL)
    ret = push_packet (run, packet);
  return ret;
}

/* Takes packet, and whatever comes behind it. The segment is that of the live packets, so it comes in any case. seen: a
 * depayloader had the whole picture, and so has caps. */
static GstFlowReturn
push_rest (Run *run, GstBuffer *packet, gboolean seen, GstFlowReturn ret)
{
  GstCaps *caps = seen ? gst_pad_get_current_caps (run->pad) : NULL;

  if (caps != NULL)
    gst_pad_push_event (run->pad, segments_as_they_are (caps));
  push_segment (run, run->live_pts, live_running_time (run));
  for (; packet != NULL && ret == GST_FLOW_OK; packet = next_packet (run))
    ret = push_packet (run, packet);
  gst_clear_buffer (&packet);
  return ret;
}

/* All of the past is one picture that the live packet goes on with: the edge was in its middle, or is its last packet. Then it is
 * as live as that. */
static gboolean
is_of_live (const Run *run, GQueue *picture)
{
  GstBuffer *last = g_queue_peek_tail (picture);

  return run->complete && last != NULL && timestamp_of (last) == run->live_timestamp;
}

static GstFlowReturn
push_as_live (Run *run, GQueue *picture)
{
  GstFlowReturn ret = GST_FLOW_OK;
  GstBuffer *packet;

  while (ret == GST_FLOW_OK && (packet = g_queue_pop_head (picture)) != NULL)
    ret = push_packet (run, packet);
  return ret;
}

/* FALSE: it lies where no past can be. */
static gboolean
place (Run *run, GstBuffer *first)
{
  GstClockTimeDiff age = age_of (run, timestamp_of (first));

  if (age < 0 || age > (GstClockTimeDiff)AGE_MAX)
    return FALSE;
  run->live_pts -= run->catchup->shift;
  run->catchup->shift = MAX (run->catchup->shift, (GstClockTime)age + LEADING);
  run->live_pts += run->catchup->shift;
  GST_DEBUG_OBJECT (run->pad, "the last picture is %" GST_TIME_FORMAT " old", GST_TIME_ARGS (age));
  return TRUE;
}

/* FALSE: there was nothing of use. Of a picture that is not whole a depayloader makes nothing, not even caps, and would
 * pass a segment on before it has any. */
static gboolean
push_past (Run *run, GstFlowReturn *ret)
{
  GstBuffer *behind = NULL;
  GQueue picture = G_QUEUE_INIT;
  gboolean ok = take_picture (run, &picture, &behind) && place (run, g_queue_peek_head (&picture)),
           as_live = !ok && is_of_live (run, &picture), seen;

  if (ok)
    *ret = push_picture (run, &picture);
  else if (as_live)
    *ret = push_as_live (run, &picture);
  seen = g_queue_is_empty (&picture) && *ret != GST_FLOW_FLUSHING && gst_pad_is_linked (run->pad);
  g_queue_clear_full (&picture, (GDestroyNotify)gst_buffer_unref);
  if (ok)
    *ret = push_rest (run, g_steal_pointer (&behind), seen, *ret);
  gst_clear_buffer (&behind);
  return ok || as_live;
}

/* ---- what is live -------------------------------------------------------- */

static gboolean
can_run (const GstNatRelayCatchup *catchup, const GstBuffer *live, gint clock_rate)
{
  return clock_rate > 0 && GST_BUFFER_PTS_IS_VALID (live) &&
         catchup->segment.format == GST_FORMAT_TIME &&
         gst_segment_to_running_time (&catchup->segment, GST_FORMAT_TIME, GST_BUFFER_PTS (live)) !=
             GST_CLOCK_TIME_NONE;
}

static GstBuffer *
catch_up (GstNatRelayCatchup *catchup, GstPad *pad, GstBuffer *live, gint clock_rate,
    GstClockTime latency, GstFlowReturn *ret)
{
  Run run = {.catchup = catchup,
      .pad = pad,
      .live_pts = GST_BUFFER_PTS (live) + catchup->shift,
      .live_timestamp = timestamp_of (live),
      .clock_rate = clock_rate,
      .begun_us = g_get_monotonic_time (),
      .latency = latency,
      .discont = TRUE};

  if (can_run (catchup, live, clock_rate) && push_past (&run, ret) && run.complete) {
    live = gst_buffer_make_writable (live);
    GST_BUFFER_FLAG_UNSET (live, GST_BUFFER_FLAG_DISCONT);
  }
  /* Whatever is left of it. */
  gst_nat_relay_headstart_end (catchup->headstart, catchup->ssrc);
  return live;
}

static void
shift_time (GstClockTime *time, GstClockTime shift)
{
  if (GST_CLOCK_TIME_IS_VALID (*time))
    *time += shift;
}

static GstEvent *
shift_segment (GstNatRelayCatchup *catchup, GstEvent *event)
{
  GstSegment segment;
  GstEvent *shifted;

  gst_event_copy_segment (event, &catchup->segment);
  if (catchup->shift == 0 || catchup->segment.format != GST_FORMAT_TIME)
    return event;
  segment = catchup->segment;
  segment.start += catchup->shift;
  shift_time (&segment.stop, catchup->shift);
  shift_time (&segment.position, catchup->shift);
  shifted = gst_event_new_segment (&segment);
  gst_event_set_seqnum (shifted, gst_event_get_seqnum (event));
  gst_event_unref (event);
  return shifted;
}

static GstEvent *
shift_gap (GstNatRelayCatchup *catchup, GstEvent *event)
{
  GstClockTime time, duration;
  GstEvent *shifted;

  gst_event_parse_gap (event, &time, &duration);
  shifted = gst_event_new_gap (time + catchup->shift, duration);
  gst_event_set_seqnum (shifted, gst_event_get_seqnum (event));
  gst_event_unref (event);
  return shifted;
}

/* Another feeder's; segments go on being meant as they are. */
static GstEvent *
mark_caps (GstEvent *event)
{
  GstEvent *marked;
  GstCaps *caps;

  gst_event_parse_caps (event, &caps);
  marked = segments_as_they_are (gst_caps_ref (caps));
  gst_event_set_seqnum (marked, gst_event_get_seqnum (event));
  gst_event_unref (event);
  return marked;
}

/* A packet that is lost has a time, too. */
static GstEvent *
shift_custom (GstNatRelayCatchup *catchup, GstEvent *event)
{
  GstClockTime time;

  if (gst_structure_get_clock_time (gst_event_get_structure (event), "timestamp", &time) &&
      GST_CLOCK_TIME_IS_VALID (time)) {
    event = gst_event_make_writable (event);
    gst_structure_set (gst_event_writable_structure (event), "timestamp", G_TYPE_UINT64,
        time + catchup->shift, NULL);
  }
  return event;
}

GstEvent *
gst_nat_relay_catchup_event (GstNatRelayCatchup *catchup, GstEvent *event)
{
  if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT)
    return shift_segment (catchup, event);
  if (catchup->shift == 0)
    return event;
  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_CAPS: return mark_caps (event);
  case GST_EVENT_GAP: return shift_gap (catchup, event);
  case GST_EVENT_CUSTOM_DOWNSTREAM: return shift_custom (catchup, event);
  default: return event;
  }
}

GstBuffer *
gst_nat_relay_catchup_buffer (GstNatRelayCatchup *catchup, GstPad *pad, GstBuffer *buffer,
    gint clock_rate, GstClockTime latency, GstFlowReturn *ret)
{
  *ret = GST_FLOW_OK;
  if (G_UNLIKELY (catchup->armed)) {
    catchup->armed = FALSE;
    if (catchup->headstart != NULL &&
        gst_nat_relay_headstart_begin (catchup->headstart, catchup->ssrc))
      buffer = catch_up (catchup, pad, buffer, clock_rate, latency, ret);
  }
  if (catchup->shift == 0)
    return buffer;
  buffer = gst_buffer_make_writable (buffer);
  shift_time (&GST_BUFFER_PTS (buffer), catchup->shift);
  shift_time (&GST_BUFFER_DTS (buffer), catchup->shift);
  return buffer;
}

void
gst_nat_relay_catchup_arm (
    GstNatRelayCatchup *catchup, GstNatRelayHeadstart *headstart, guint32 ssrc)
{
  static gsize once = 0;

  if (g_once_init_enter (&once)) {
    GST_DEBUG_CATEGORY_INIT (
        gst_nat_relay_catchup_debug, "natrelaycatchup", 0, "natrelay packets of the past");
    g_once_init_leave (&once, 1);
  }
  catchup->headstart = headstart;
  catchup->ssrc = ssrc;
  catchup->armed = TRUE;
}
