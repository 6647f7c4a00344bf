/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaymarker.h"
#include "natproto/framemarker.h"
#include "natproto/messages.h"
#include "natproto/rtpextension.h"

#include <string.h>

GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_marker_debug);
#define GST_CAT_DEFAULT gst_nat_relay_marker_debug

/* What follows the header in its memory is copied with it up to this size: payloaders put the first bytes of a
 * payload there. More than that is shared. */
#define COPY_MAX 64

#define EXTMAP "extmap-"

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE (
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp"));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE (
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp"));

struct _GstNatRelayMarker {
  GstElement parent;
  GstPad *sinkpad, *srcpad;

  /* Streaming thread. */
  guint8 id; /* 0: packets pass */
  NatFramemarker frames;
  GstBufferList *waiting; /* for their frame's picture; NULL: none */
};

G_DEFINE_TYPE (GstNatRelayMarker, gst_nat_relay_marker, GST_TYPE_ELEMENT)

/* ---- caps ---------------------------------------------------------------- */

/* A field is the URI, or an array of direction, URI and attributes. */
static gboolean
is_framemarking (const GValue *value)
{
  const gchar *uri = NULL;

  if (G_VALUE_HOLDS_STRING (value)) {
    uri = g_value_get_string (value);
  } else if (GST_VALUE_HOLDS_ARRAY (value) && gst_value_array_get_size (value) == 3) {
    value = gst_value_array_get_value (value, 1);
    uri = G_VALUE_HOLDS_STRING (value) ? g_value_get_string (value) : NULL;
  }
  return g_strcmp0 (uri, NAT_FRAMEMARKING_URI) == 0;
}

/* From above: payloaders count their extensions up from 1, and an id means one thing for all tracks of a bundle
 * (RFC 8843 section 9.1). */
static guint
free_id (const GstStructure *s)
{
  for (guint id = NAT_RTP_EXTENSION_ID_MAX; id >= NAT_RTP_EXTENSION_ID_MIN; id--) {
    gchar *name = g_strdup_printf (EXTMAP "%u", id);
    gboolean taken = gst_structure_has_field (s, name);

    g_free (name);
    if (!taken)
      return id;
  }
  return 0;
}

/* RFC 6184 section 6.4, RFC 7798 section 4.1: NAL units out of their order, and numbers between their bytes. */
static gboolean
is_interleaved (const GstStructure *s)
{
  const gchar *mode = gst_structure_get_string (s, "packetization-mode");
  const gchar *diff = gst_structure_get_string (s, "sprop-max-don-diff");

  return g_strcmp0 (mode, "2") == 0 || (diff != NULL && strcmp (diff, "0") != 0);
}

static NatPayloadFormat
format_of (const GstStructure *s)
{
  const gchar *name = gst_structure_get_string (s, "encoding-name");

  if (name == NULL || g_strcmp0 (gst_structure_get_string (s, "media"), "video") != 0 ||
      is_interleaved (s))
    return NAT_PAYLOAD_FORMAT_OTHER;
  return nat_payload_format_from_name (name);
}

/* The id under which caps announce frame marks; 0: they do not, or a packet cannot carry it. */
static guint
announced_id (const GstStructure *s)
{
  for (gint i = 0; i < gst_structure_n_fields (s); i++) {
    const gchar *name = gst_structure_nth_field_name (s, (guint)i);

    if (g_str_has_prefix (name, EXTMAP) && is_framemarking (gst_structure_get_value (s, name))) {
      guint64 id = g_ascii_strtoull (name + strlen (EXTMAP), NULL, 10);

      return id >= NAT_RTP_EXTENSION_ID_MIN && id <= NAT_RTP_EXTENSION_ID_MAX ? (guint)id : 0;
    }
  }
  return 0;
}

guint8
gst_nat_relay_marker_get_id (GstCaps *caps)
{
  return (guint8)announced_id (gst_caps_get_structure (caps, 0));
}

GstCaps *
gst_nat_relay_marker_announce (GstCaps *caps)
{
  const GstStructure *s = gst_caps_get_structure (caps, 0);
  gchar *name;
  guint id;

  if (format_of (s) == NAT_PAYLOAD_FORMAT_OTHER || announced_id (s) != 0)
    return gst_caps_ref (caps);
  id = free_id (s);
  if (id == 0)
    return gst_caps_ref (caps);
  caps = gst_caps_copy (caps);
  name = g_strdup_printf (EXTMAP "%u", id);
  gst_caps_set_simple (caps, name, G_TYPE_STRING, NAT_FRAMEMARKING_URI, NULL);
  g_free (name);
  return caps;
}

static void
marker_take_caps (GstNatRelayMarker *self, GstCaps *caps)
{
  const GstStructure *s = gst_caps_get_structure (caps, 0);
  NatPayloadFormat format = format_of (s);

  self->id = format != NAT_PAYLOAD_FORMAT_OTHER ? (guint8)announced_id (s) : 0;
  nat_framemarker_init (&self->frames, format);
  GST_DEBUG_OBJECT (self, "marks with id %u", self->id);
}

/* ---- a packet ------------------------------------------------------------ */

/* The bytes of a packet in one piece: a payloader's packets are of several memories, and mapping those as one
 * would allocate. */
typedef struct {
  guint8 bytes[NAT_DATAGRAM_MAX];
  NatRtpHeader header;
} Packet;

/* FALSE: not RTP, or longer than may be sent. */
static gboolean
packet_read (Packet *packet, GstBuffer *buffer)
{
  gsize size = gst_buffer_get_size (buffer);

  if (size > sizeof packet->bytes)
    return FALSE;
  gst_buffer_extract (buffer, 0, packet->bytes, size);
  return nat_rtp_parse (&packet->header, packet->bytes, size);
}

/* The first cut bytes of packet with the mark in them; NULL: its header takes none, because its extension is of
 * another profile or has a mark. */
static GstMemory *
marked_start (guint8 id, const Packet *packet, gsize cut, const NatFramemarking *mark)
{
  gsize header_len = packet->header.header_len, len;
  gsize room = header_len + GST_NAT_RELAY_MARKER_OVERHEAD;
  GstMemory *memory = gst_allocator_alloc (NULL, cut + GST_NAT_RELAY_MARKER_OVERHEAD, NULL);
  guint8 data[NAT_FRAMEMARKING_SIZE];
  GstMapInfo map;

  if (!gst_memory_map (memory, &map, GST_MAP_WRITE)) {
    gst_memory_unref (memory);
    return NULL;
  }
  memcpy (map.data, packet->bytes, header_len);
  nat_framemarking_write (data, mark);
  len = nat_rtp_extension_insert (map.data, header_len, room, id, data, sizeof data);
  if (len != 0)
    memcpy (map.data + len, packet->bytes + header_len, cut - header_len);
  gst_memory_unmap (memory, &map);
  if (len == 0) {
    gst_memory_unref (memory);
    return NULL;
  }
  gst_memory_resize (memory, 0, len + cut - header_len);
  return memory;
}

/* Only the header is written anew; the payload's memory stays what it is. */
static GstBuffer *
mark_buffer (
    GstNatRelayMarker *self, GstBuffer *buffer, const Packet *packet, const NatFramemarking *mark)
{
  gsize first = gst_buffer_peek_memory (buffer, 0)->size;
  gsize cut = packet->header.header_len;
  GstMemory *start;

  if (first > cut && first - cut <= COPY_MAX)
    cut = first;
  start = marked_start (self->id, packet, cut, mark);
  if (start == NULL) {
    GST_LOG_OBJECT (self, "no mark for %" GST_PTR_FORMAT, buffer);
    return buffer;
  }
  buffer = gst_buffer_make_writable (buffer);
  if (first == cut) {
    gst_buffer_replace_memory (buffer, 0, start);
  } else {
    gst_buffer_resize (buffer, (gssize)cut, -1);
    gst_buffer_prepend_memory (buffer, start);
  }
  return buffer;
}

/* ---- packets that wait --------------------------------------------------- */

static void
marker_wait (GstNatRelayMarker *self, GstBuffer *buffer)
{
  if (self->waiting == NULL)
    self->waiting = gst_buffer_list_new ();
  gst_buffer_list_add (self->waiting, buffer);
}

typedef struct {
  GstNatRelayMarker *self;
  NatFramemarking mark;
} Release;

static gboolean
release_one (GstBuffer **buffer, guint index, gpointer user)
{
  Release *release = user;
  Packet packet;

  release->mark.start = index == 0;
  if (packet_read (&packet, *buffer))
    *buffer = mark_buffer (release->self, *buffer, &packet, &release->mark);
  return TRUE;
}

/* The packets that waited, marked; NULL if none did. */
static GstBufferList *
marker_release (GstNatRelayMarker *self, const NatFramemarking *mark)
{
  Release release = {self, *mark};
  GstBufferList *list = g_steal_pointer (&self->waiting);

  if (list != NULL)
    gst_buffer_list_foreach (list, release_one, &release);
  return list;
}

/* Their picture did not come, and something else does. */
static void
marker_drain (GstNatRelayMarker *self)
{
  const NatFramemarking mark = {0};
  GstBufferList *list = marker_release (self, &mark);

  nat_framemarker_init (&self->frames, self->frames.format);
  if (list != NULL)
    gst_pad_push_list (self->srcpad, list);
}

static void
marker_forget (GstNatRelayMarker *self)
{
  g_clear_pointer (&self->waiting, gst_buffer_list_unref);
  nat_framemarker_init (&self->frames, self->frames.format);
}

/* ---- streaming ----------------------------------------------------------- */

/* Takes buffer; NULL: it waits. *before: what waited and goes before it, or NULL. */
static GstBuffer *
marker_take (GstNatRelayMarker *self, GstBuffer *buffer, GstBufferList **before)
{
  NatFramemarkerStep step;
  Packet packet;

  *before = NULL;
  if (!packet_read (&packet, buffer))
    return buffer;
  if (!nat_framemarker_take (
          &self->frames, &packet.header, packet.bytes + packet.header.header_len, &step)) {
    marker_wait (self, buffer);
    return NULL;
  }
  if (step.release)
    *before = marker_release (self, &step.waiting);
  return mark_buffer (self, buffer, &packet, &step.mark);
}

static GstFlowReturn
marker_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstNatRelayMarker *self = GST_NAT_RELAY_MARKER (parent);
  GstBufferList *list;

  if (self->id == 0)
    return gst_pad_push (self->srcpad, buffer);
  buffer = marker_take (self, buffer, &list);
  if (buffer == NULL)
    return GST_FLOW_OK;
  if (list == NULL)
    return gst_pad_push (self->srcpad, buffer);
  gst_buffer_list_add (list, buffer);
  return gst_pad_push_list (self->srcpad, list);
}

typedef struct {
  GstNatRelayMarker *self;
  GstBufferList *out;
} TakeList;

static gboolean
move_item (GstBuffer **buffer, guint index, gpointer out)
{
  gst_buffer_list_add (out, g_steal_pointer (buffer));
  return TRUE;
}

static gboolean
take_list_item (GstBuffer **buffer, guint index, gpointer user)
{
  TakeList *take = user;
  GstBufferList *before;
  GstBuffer *marked = marker_take (take->self, g_steal_pointer (buffer), &before);

  if (before != NULL) {
    gst_buffer_list_foreach (before, move_item, take->out);
    gst_buffer_list_unref (before);
  }
  if (marked != NULL)
    gst_buffer_list_add (take->out, marked);
  return TRUE;
}

/* Into a list of its own, because what waited comes between. */
static GstFlowReturn
marker_chain_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  TakeList take = {GST_NAT_RELAY_MARKER (parent), NULL};

  if (take.self->id == 0)
    return gst_pad_push_list (take.self->srcpad, list);
  list = gst_buffer_list_make_writable (list);
  take.out =
      gst_buffer_list_new_sized (gst_buffer_list_length (list) + NAT_FRAMEMARKER_PENDING_MAX);
  gst_buffer_list_foreach (list, take_list_item, &take);
  gst_buffer_list_unref (list);
  if (gst_buffer_list_length (take.out) == 0) {
    gst_buffer_list_unref (take.out);
    return GST_FLOW_OK;
  }
  return gst_pad_push_list (take.self->srcpad, take.out);
}

static gboolean
marker_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstNatRelayMarker *self = GST_NAT_RELAY_MARKER (parent);
  GstCaps *caps;

  switch (GST_EVENT_TYPE (event)) {
  case GST_EVENT_CAPS:
    marker_drain (self);
    gst_event_parse_caps (event, &caps);
    marker_take_caps (self, caps);
    break;
  case GST_EVENT_STREAM_START:
  case GST_EVENT_SEGMENT:
  case GST_EVENT_EOS: marker_drain (self); break;
  case GST_EVENT_FLUSH_STOP: marker_forget (self); break;
  default: break;
  }
  return gst_pad_event_default (pad, parent, event);
}

/* ---- the element --------------------------------------------------------- */

GstElement *
gst_nat_relay_marker_new (void)
{
  return g_object_new (GST_TYPE_NAT_RELAY_MARKER, NULL);
}

static GstStateChangeReturn
gst_nat_relay_marker_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelayMarker *self = GST_NAT_RELAY_MARKER (element);
  GstStateChangeReturn ret =
      GST_ELEMENT_CLASS (gst_nat_relay_marker_parent_class)->change_state (element, transition);

  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    marker_forget (self);
    self->id = 0;
  }
  return ret;
}

static void
gst_nat_relay_marker_finalize (GObject *object)
{
  marker_forget (GST_NAT_RELAY_MARKER (object));
  G_OBJECT_CLASS (gst_nat_relay_marker_parent_class)->finalize (object);
}

static void
gst_nat_relay_marker_class_init (GstNatRelayMarkerClass *klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_nat_relay_marker_debug, "natrelaymarker", 0, "natrelay frame marks");
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_marker_finalize;
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "natrelay marker", "Filter/Network/RTP",
      "Marks in each video packet where frames begin and end",
      "The natrelay developers <natrelay@example.org>");
  element_class->change_state = GST_DEBUG_FUNCPTR (gst_nat_relay_marker_change_state);
}

static void
gst_nat_relay_marker_init (GstNatRelayMarker *self)
{
  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_pad_set_chain_function (self->sinkpad, GST_DEBUG_FUNCPTR (marker_chain));
  gst_pad_set_chain_list_function (self->sinkpad, GST_DEBUG_FUNCPTR (marker_chain_list));
  gst_pad_set_event_function (self->sinkpad, GST_DEBUG_FUNCPTR (marker_event));
  GST_PAD_SET_PROXY_CAPS (self->sinkpad);
  GST_PAD_SET_PROXY_ALLOCATION (self->sinkpad);
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  GST_PAD_SET_PROXY_CAPS (self->srcpad);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
}
