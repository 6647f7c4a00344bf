/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysframe.h"
#include "natproto/crypto.h"
#include "natproto/rtp.h"

#include <string.h>

GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_sframe_debug);
#define GST_CAT_DEFAULT gst_nat_relay_sframe_debug

#define OVERHEAD (NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE)
#define FLUSH_US (2 * G_TIME_SPAN_SECOND)

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE (
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp"));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE (
    "src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS ("application/x-rtp"));

/* What the two have in common: one pad in, one pad out, a buffer in, a buffer or nothing out. */
typedef GstBuffer *(*ProcessBuffer) (GstObject *element, GstBuffer *buffer);

static GstFlowReturn
process_chain (GstPad *srcpad, GstObject *element, GstBuffer *buffer, ProcessBuffer process)
{
  buffer = process (element, buffer);
  return buffer != NULL ? gst_pad_push (srcpad, buffer) : GST_FLOW_OK;
}

typedef struct {
  GstObject *element;
  ProcessBuffer process;
} ProcessList;

static gboolean
process_list_item (GstBuffer **buffer, guint index, gpointer user)
{
  const ProcessList *p = user;

  *buffer = p->process (p->element, *buffer);
  return TRUE;
}

/* In place: nobody else holds the buffers then, and opening one need not copy it. */
static GstFlowReturn
process_chain_list (GstPad *srcpad, GstObject *element, GstBufferList *list, ProcessBuffer process)
{
  ProcessList p = {element, process};

  list = gst_buffer_list_make_writable (list);
  gst_buffer_list_foreach (list, process_list_item, &p);
  if (gst_buffer_list_length (list) == 0) {
    gst_buffer_list_unref (list);
    return GST_FLOW_OK;
  }
  return gst_pad_push_list (srcpad, list);
}

static GstPad *
add_pad (GstElement *element, GstStaticPadTemplate *template)
{
  GstPad *pad = gst_pad_new_from_static_template (template, template->name_template);

  GST_PAD_SET_PROXY_CAPS (pad);
  GST_PAD_SET_PROXY_ALLOCATION (pad);
  gst_element_add_pad (element, pad);
  return pad;
}

static void
class_set_details (GstElementClass *klass, const gchar *name, const gchar *text)
{
  gst_element_class_add_static_pad_template (klass, &sink_template);
  gst_element_class_add_static_pad_template (klass, &src_template);
  gst_element_class_set_static_metadata (
      klass, name, "Filter/Network/RTP", text, "The natrelay developers <natrelay@example.org>");
}

/* ---- seal ---------------------------------------------------------------- */

struct _GstNatRelaySeal {
  GstElement parent;
  GstPad *sinkpad, *srcpad;
  GstNatRelaySealHook hook; /* set before anything streams; may be NULL */
  gpointer hook_user;

  GMutex lock;       /* a leaf: guards all below */
  GCond cond;        /* held is over */
  gboolean held;     /* without a key, packets wait */
  gboolean flushing; /* then they do not */
  gboolean clear;
  NatSframeSealer *sealer; /* NULL and not clear: nothing passes */
  NatSframeSealer *next;
  gint64 next_at; /* monotonic us; meaningful if next */
  gint64 keep_us; /* likewise: how long the key before it is kept */
  gint64 old_at;  /* monotonic us when the key before this one is old; 0 = there is none */
  guint64 sealed; /* packets under the present key */
  guint64 roll_packets;
  gboolean worn_out; /* and said so */
  guint64 dropped;
};

G_DEFINE_TYPE (GstNatRelaySeal, gst_nat_relay_seal, GST_TYPE_ELEMENT)

/* called with lock; TRUE: the next key is in use now */
static gboolean
seal_take_next_key (GstNatRelaySeal *self)
{
  gint64 now;

  if (G_LIKELY (self->next == NULL))
    return FALSE;
  now = g_get_monotonic_time ();
  if (now < self->next_at)
    return FALSE;
  nat_sframe_sealer_free (self->sealer);
  self->sealer = g_steal_pointer (&self->next);
  self->old_at = now + self->keep_us;
  self->sealed = 0;
  self->worn_out = FALSE;
  return TRUE;
}

/* called with lock */
static gboolean
seal_old_key_is_old (GstNatRelaySeal *self)
{
  if (G_LIKELY (self->old_at == 0) || g_get_monotonic_time () < self->old_at)
    return FALSE;
  self->old_at = 0;
  return TRUE;
}

/* called with lock */
static gboolean
seal_wears_out (GstNatRelaySeal *self)
{
  if (G_LIKELY (self->sealed < self->roll_packets) || self->worn_out || self->clear)
    return FALSE;
  self->worn_out = TRUE;
  return TRUE;
}

/* called with lock; the length of the sealed packet, 0 = to be dropped */
static gsize
seal_packet (GstNatRelaySeal *self, GstBuffer *in, guint8 *out)
{
  GstMapInfo map;
  gsize n;

  if (!gst_buffer_map (in, &map, GST_MAP_READ))
    return 0;
  n = nat_sframe_sealer_seal (self->sealer, map.data, map.size, out);
  gst_buffer_unmap (in, &map);
  return n;
}

/* called with lock; takes in */
static GstBuffer *
seal_buffer_locked (GstNatRelaySeal *self, GstBuffer *in)
{
  GstBuffer *out;
  GstMapInfo map;
  gsize n = 0;

  if (self->clear)
    return in;
  if (self->sealer == NULL) {
    self->dropped++;
    gst_buffer_unref (in);
    return NULL;
  }
  out = gst_buffer_new_allocate (NULL, gst_buffer_get_size (in) + OVERHEAD, NULL);
  if (gst_buffer_map (out, &map, GST_MAP_WRITE)) {
    n = seal_packet (self, in, map.data);
    gst_buffer_unmap (out, &map);
  }
  gst_buffer_copy_into (out, in, GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  gst_buffer_unref (in);
  if (n == 0) {
    self->dropped++;
    gst_clear_buffer (&out);
    return NULL;
  }
  gst_buffer_set_size (out, n);
  self->sealed++;
  return out;
}

static void
seal_tell (GstNatRelaySeal *self, gboolean happened, GstNatRelaySealEvent event)
{
  if (G_UNLIKELY (happened) && self->hook != NULL)
    self->hook (event, self->hook_user);
}

static GstBuffer *
seal_buffer (GstObject *element, GstBuffer *in)
{
  GstNatRelaySeal *self = GST_NAT_RELAY_SEAL (element);
  gboolean took_key, is_old, wears_out;
  GstBuffer *out;

  g_mutex_lock (&self->lock);
  while (self->held && !self->flushing && self->sealer == NULL && !self->clear)
    g_cond_wait (&self->cond, &self->lock);
  took_key = seal_take_next_key (self);
  is_old = seal_old_key_is_old (self);
  out = seal_buffer_locked (self, in);
  wears_out = seal_wears_out (self);
  g_mutex_unlock (&self->lock);
  seal_tell (self, took_key, GST_NAT_RELAY_SEAL_TOOK_KEY);
  seal_tell (self, is_old, GST_NAT_RELAY_SEAL_OLD_KEY_IS_OLD);
  seal_tell (self, wears_out, GST_NAT_RELAY_SEAL_WEARS_OUT);
  return out;
}

static GstFlowReturn
seal_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  return process_chain (GST_NAT_RELAY_SEAL (parent)->srcpad, parent, buffer, seal_buffer);
}

static GstFlowReturn
seal_chain_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  return process_chain_list (GST_NAT_RELAY_SEAL (parent)->srcpad, parent, list, seal_buffer);
}

/* Whoever flushes must not wait for a key to be there. */
static gboolean
seal_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstNatRelaySeal *self = GST_NAT_RELAY_SEAL (parent);

  if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START ||
      GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_STOP) {
    g_mutex_lock (&self->lock);
    self->flushing = GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START;
    g_cond_broadcast (&self->cond);
    g_mutex_unlock (&self->lock);
  }
  return gst_pad_event_default (pad, parent, event);
}

void
gst_nat_relay_seal_set_hook (GstNatRelaySeal *self, GstNatRelaySealHook hook, gpointer user)
{
  self->hook = hook;
  self->hook_user = user;
}

/* called with lock */
static void
seal_forget (GstNatRelaySeal *self)
{
  g_clear_pointer (&self->sealer, nat_sframe_sealer_free);
  g_clear_pointer (&self->next, nat_sframe_sealer_free);
  self->clear = self->held = self->flushing = self->worn_out = FALSE;
  self->sealed = 0;
  self->old_at = 0;
  g_cond_broadcast (&self->cond);
}

void
gst_nat_relay_seal_set_key (GstNatRelaySeal *self, const NatMediaKey *key)
{
  g_mutex_lock (&self->lock);
  seal_forget (self);
  self->clear = key == NULL;
  self->sealer = key != NULL ? nat_sframe_sealer_new (key) : NULL;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_seal_set_held (GstNatRelaySeal *self, gboolean held)
{
  g_mutex_lock (&self->lock);
  self->held = held;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_seal_set_roll_packets (GstNatRelaySeal *self, guint64 roll_packets)
{
  g_mutex_lock (&self->lock);
  self->roll_packets = roll_packets;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_seal_roll_to (
    GstNatRelaySeal *self, const NatMediaKey *key, GstClockTime delay, GstClockTime keep)
{
  g_mutex_lock (&self->lock);
  g_clear_pointer (&self->next, nat_sframe_sealer_free);
  if (self->sealer != NULL)
    self->next = nat_sframe_sealer_new (key);
  self->next_at = g_get_monotonic_time () + (gint64)GST_TIME_AS_USECONDS (delay);
  self->keep_us = (gint64)GST_TIME_AS_USECONDS (keep);
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_seal_reset (GstNatRelaySeal *self)
{
  g_mutex_lock (&self->lock);
  seal_forget (self);
  g_mutex_unlock (&self->lock);
}

guint64
gst_nat_relay_seal_get_dropped (GstNatRelaySeal *self)
{
  guint64 dropped;

  g_mutex_lock (&self->lock);
  dropped = self->dropped;
  g_mutex_unlock (&self->lock);
  return dropped;
}

static void
gst_nat_relay_seal_finalize (GObject *object)
{
  GstNatRelaySeal *self = GST_NAT_RELAY_SEAL (object);

  gst_nat_relay_seal_reset (self);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  G_OBJECT_CLASS (gst_nat_relay_seal_parent_class)->finalize (object);
}

static void
gst_nat_relay_seal_class_init (GstNatRelaySealClass *klass)
{
  GST_DEBUG_CATEGORY_INIT (
      gst_nat_relay_sframe_debug, "natrelaysframe", 0, "natrelay media sealing");
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_seal_finalize;
  class_set_details (
      GST_ELEMENT_CLASS (klass), "natrelay sealer", "Seals RTP payloads with SFrame");
}

static void
gst_nat_relay_seal_init (GstNatRelaySeal *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->roll_packets = GST_NAT_RELAY_SEAL_ROLL_PACKETS;
  self->sinkpad = add_pad (GST_ELEMENT (self), &sink_template);
  gst_pad_set_chain_function (self->sinkpad, GST_DEBUG_FUNCPTR (seal_chain));
  gst_pad_set_chain_list_function (self->sinkpad, GST_DEBUG_FUNCPTR (seal_chain_list));
  gst_pad_set_event_function (self->sinkpad, GST_DEBUG_FUNCPTR (seal_event));
  self->srcpad = add_pad (GST_ELEMENT (self), &src_template);
}

/* ---- open ---------------------------------------------------------------- */

struct _GstNatRelayOpen {
  GstElement parent;
  GstPad *sinkpad, *srcpad;
  GstNatRelayOpenTap tap; /* set before anything streams; may be NULL */
  gpointer tap_user;

  GMutex lock; /* a leaf: guards all below */
  gboolean clear;
  NatSframeOpener *opener; /* NULL and not clear: nothing passes */
  guint32 ssrcs[NAT_TRACKS_MAX];
  guint n_ssrcs;
  GstNatRelayOpenStats stats;
};

G_DEFINE_TYPE (GstNatRelayOpen, gst_nat_relay_open, GST_TYPE_ELEMENT)

/* called with lock */
static gboolean
open_is_announced (GstNatRelayOpen *self, guint32 ssrc)
{
  for (guint i = 0; i < self->n_ssrcs; i++) {
    if (self->ssrcs[i] == ssrc)
      return TRUE;
  }
  return FALSE;
}

/* called with lock; TRUE: *len bytes of data are plain RTP now */
static gboolean
open_packet (GstNatRelayOpen *self, guint8 *data, gsize *len)
{
  NatRtpHeader header;

  if (!nat_rtp_parse (&header, data, *len)) {
    self->stats.refused++;
    return FALSE;
  }
  if (!open_is_announced (self, header.ssrc)) {
    self->stats.unannounced++;
    return FALSE;
  }
  if (self->clear)
    return TRUE;
  if (self->opener == NULL) {
    self->stats.unknown_key++;
    return FALSE;
  }
  switch (nat_sframe_opener_open (self->opener, data, len)) {
  case NAT_OPEN_OK: return TRUE;
  case NAT_OPEN_UNKNOWN_KEY: self->stats.unknown_key++; return FALSE;
  case NAT_OPEN_REPLAYED: self->stats.replayed++; return FALSE;
  default: self->stats.refused++; return FALSE;
  }
}

static GstBuffer *
open_buffer (GstObject *element, GstBuffer *buffer)
{
  GstNatRelayOpen *self = GST_NAT_RELAY_OPEN (element);
  gboolean ok = FALSE;
  guint32 ssrc = 0;
  guint16 seq = 0;
  GstMapInfo map;
  gsize len = 0;

  buffer = gst_buffer_make_writable (buffer);
  if (gst_buffer_map (buffer, &map, GST_MAP_READWRITE)) {
    len = map.size;
    g_mutex_lock (&self->lock);
    ok = open_packet (self, map.data, &len);
    self->stats.opened += ok;
    g_mutex_unlock (&self->lock);
    if (ok) {
      ssrc = GST_READ_UINT32_BE (map.data + 8);
      seq = GST_READ_UINT16_BE (map.data + 2);
    }
    gst_buffer_unmap (buffer, &map);
  }
  if (ok)
    gst_buffer_set_size (buffer, (gssize)len);
  if (ok && self->tap != NULL)
    ok = self->tap (self->tap_user, ssrc, seq, buffer);
  if (!ok)
    gst_clear_buffer (&buffer);
  return buffer;
}

static GstFlowReturn
open_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  return process_chain (GST_NAT_RELAY_OPEN (parent)->srcpad, parent, buffer, open_buffer);
}

static GstFlowReturn
open_chain_list (GstPad *pad, GstObject *parent, GstBufferList *list)
{
  return process_chain_list (GST_NAT_RELAY_OPEN (parent)->srcpad, parent, list, open_buffer);
}

/* With the stream lock, as for whatever else is let in: who shuts waits for it. */
void
gst_nat_relay_open_push (GstNatRelayOpen *self, guint32 ssrc, GstBuffer *packet)
{
  gboolean ok;

  GST_PAD_STREAM_LOCK (self->sinkpad);
  g_mutex_lock (&self->lock);
  ok = open_is_announced (self, ssrc);
  g_mutex_unlock (&self->lock);
  if (ok)
    gst_pad_push (self->srcpad, packet);
  else
    gst_buffer_unref (packet);
  GST_PAD_STREAM_UNLOCK (self->sinkpad);
}

void
gst_nat_relay_open_set_tap (GstNatRelayOpen *self, GstNatRelayOpenTap tap, gpointer user)
{
  self->tap = tap;
  self->tap_user = user;
}

void
gst_nat_relay_open_set_keys (GstNatRelayOpen *self, const NatMediaKey *keys, guint n_keys)
{
  g_mutex_lock (&self->lock);
  self->clear = n_keys == 0;
  if (n_keys == 0) {
    g_clear_pointer (&self->opener, nat_sframe_opener_free);
  } else {
    /* Kept when it is there: keys that stay keep their replay windows. */
    if (self->opener == NULL)
      self->opener = nat_sframe_opener_new ();
    nat_sframe_opener_set_keys (self->opener, keys, n_keys);
  }
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_open_set_ssrcs (GstNatRelayOpen *self, const guint32 *ssrcs, guint n_ssrcs)
{
  g_return_if_fail (n_ssrcs <= NAT_TRACKS_MAX);

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < n_ssrcs; i++)
    self->ssrcs[i] = ssrcs[i];
  self->n_ssrcs = n_ssrcs;
  g_mutex_unlock (&self->lock);
}

/* Whoever pushes what was let in has the stream lock. That lasts a moment: jitterbuffers keep what their own threads cannot get rid
 * of. But a handler of the application may be on the way, so they are not waited for for ever. */
void
gst_nat_relay_open_flush (GstNatRelayOpen *self)
{
  gint64 until = g_get_monotonic_time () + FLUSH_US;

  while (!GST_PAD_STREAM_TRYLOCK (self->sinkpad)) {
    if (g_get_monotonic_time () >= until) {
      GST_WARNING_OBJECT (self, "what was let in does not get through");
      return;
    }
    g_usleep (1000);
  }
  GST_PAD_STREAM_UNLOCK (self->sinkpad);
}

void
gst_nat_relay_open_shut (GstNatRelayOpen *self)
{
  gst_nat_relay_open_set_ssrcs (self, NULL, 0);
  gst_nat_relay_open_flush (self);
}

void
gst_nat_relay_open_reset (GstNatRelayOpen *self)
{
  g_mutex_lock (&self->lock);
  g_clear_pointer (&self->opener, nat_sframe_opener_free);
  self->clear = FALSE;
  self->n_ssrcs = 0;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_open_get_stats (GstNatRelayOpen *self, GstNatRelayOpenStats *stats)
{
  g_mutex_lock (&self->lock);
  *stats = self->stats;
  g_mutex_unlock (&self->lock);
}

static void
gst_nat_relay_open_finalize (GObject *object)
{
  GstNatRelayOpen *self = GST_NAT_RELAY_OPEN (object);

  gst_nat_relay_open_reset (self);
  g_mutex_clear (&self->lock);
  G_OBJECT_CLASS (gst_nat_relay_open_parent_class)->finalize (object);
}

static void
gst_nat_relay_open_class_init (GstNatRelayOpenClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gst_nat_relay_open_finalize;
  class_set_details (
      GST_ELEMENT_CLASS (klass), "natrelay opener", "Opens RTP payloads sealed with SFrame");
}

static void
gst_nat_relay_open_init (GstNatRelayOpen *self)
{
  g_mutex_init (&self->lock);
  self->sinkpad = add_pad (GST_ELEMENT (self), &sink_template);
  gst_pad_set_chain_function (self->sinkpad, GST_DEBUG_FUNCPTR (open_chain));
  gst_pad_set_chain_list_function (self->sinkpad, GST_DEBUG_FUNCPTR (open_chain_list));
  self->srcpad = add_pad (GST_ELEMENT (self), &src_template);
}
