/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysinkpad.h"
#include "gstnatrelaybundle.h"
#include "gstnatrelaymarker.h"
#include "gstnatrelaypayloader.h"

#include <gst/video/video.h>

/* So long a packet may be under way that waits for nothing, and a thread busy with what it has. */
#define PASSING_TRIES 20
#define BUSY_TRIES    100
#define BUSY_STEP_US  1000

struct _GstNatRelaySinkPad {
  GstGhostPad parent;
  guint index;
  const GstNatRelayIntakeOwner *owner;
  GstElement *intake, *marker, *clocksync;
  GstNatRelayBundle *bundle; /* not owned */
  GstPad *bundle_pad;

  GMutex lock; /* a leaf */
  /* Written with lock: by the streaming thread, or when that has ended. */
  GstNatRelayPayloader payloader;
};

G_DEFINE_TYPE (GstNatRelaySinkPad, gst_nat_relay_sink_pad, GST_TYPE_GHOST_PAD)

/* ---- what is plugged ----------------------------------------------------- */

static void
set_target (GstNatRelaySinkPad *self, GstElement *element)
{
  GstPad *sink = gst_element_get_static_pad (element, "sink");

  gst_ghost_pad_set_target (GST_GHOST_PAD (self), sink);
  gst_object_unref (sink);
}

/* The setting may change meanwhile: what it is last must be what the payloader has. */
void
gst_nat_relay_sink_pad_update_mtu (gpointer pad, gpointer element)
{
  GstNatRelaySinkPad *self = pad;
  GstElement *payloader;
  guint mtu;

  g_mutex_lock (&self->lock);
  payloader = self->payloader.payloader;
  if (payloader != NULL)
    gst_object_ref (payloader);
  g_mutex_unlock (&self->lock);
  if (payloader == NULL)
    return;
  do {
    mtu = self->owner->get_mtu (element);
    gst_nat_relay_payloader_set_packet_size (payloader, mtu - GST_NAT_RELAY_RESERVED);
  } while (mtu != self->owner->get_mtu (element));
  gst_object_unref (payloader);
}

/* sink_%u -> parser -> payloader -> intake; the parser may be missing. */
static void
sink_pad_plug (GstNatRelaySinkPad *self, GstElement *element, const GstNatRelayPayloader *payloader)
{
  GstPad *head;

  gst_ghost_pad_set_target (GST_GHOST_PAD (self), NULL);
  g_mutex_lock (&self->lock);
  self->payloader = *payloader;
  g_mutex_unlock (&self->lock);
  gst_nat_relay_sink_pad_update_mtu (self, element);
  gst_nat_relay_intake_watch_size (GST_NAT_RELAY_INTAKE (self->intake), FALSE);
  head = gst_nat_relay_payloader_plug (payloader, GST_BIN (element), self->intake);
  gst_ghost_pad_set_target (GST_GHOST_PAD (self), head);
  gst_object_unref (head);
}

/* FALSE: nothing was plugged. */
static gboolean
sink_pad_unplug (GstNatRelaySinkPad *self, GstElement *element)
{
  GstNatRelayPayloader payloader;

  g_mutex_lock (&self->lock);
  payloader = self->payloader;
  self->payloader = (GstNatRelayPayloader){NULL, NULL};
  g_mutex_unlock (&self->lock);
  if (payloader.payloader == NULL)
    return FALSE;
  gst_ghost_pad_set_target (GST_GHOST_PAD (self), NULL);
  gst_nat_relay_payloader_unplug (&payloader, GST_BIN (element));
  gst_nat_relay_intake_watch_size (GST_NAT_RELAY_INTAKE (self->intake), TRUE);
  return TRUE;
}

void
gst_nat_relay_sink_pad_unplug (gpointer pad, gpointer element)
{
  if (sink_pad_unplug (pad, element))
    set_target (pad, GST_NAT_RELAY_SINK_PAD (pad)->intake);
}

/* ---- caps ---------------------------------------------------------------- */

static gboolean
is_rtp (GstCaps *caps)
{
  return gst_structure_has_name (gst_caps_get_structure (caps, 0), "application/x-rtp");
}

/* Has behind the pad what these caps need. */
static gboolean
sink_pad_prepare (GstNatRelaySinkPad *self, GstElement *element, GstCaps *caps)
{
  GstNatRelayPayloader payloader = {NULL, NULL};
  GError *error = NULL;

  if (!is_rtp (caps)) {
    if (gst_nat_relay_payloader_accepts (&self->payloader, caps))
      return TRUE;
    if (!gst_nat_relay_payloader_make (&payloader, caps, &error)) {
      gst_nat_relay_intake_complain (GST_NAT_RELAY_INTAKE (self->intake),
          (GstStreamError)error->code, "%s cannot be sent: %s", GST_PAD_NAME (self),
          error->message);
      g_error_free (error);
      return FALSE;
    }
  }
  if (self->payloader.payloader != NULL)
    gst_nat_relay_payloader_drain (&self->payloader);
  gst_nat_relay_sink_pad_unplug (self, element);
  if (payloader.payloader != NULL)
    sink_pad_plug (self, element, &payloader);
  return TRUE;
}

static gboolean
sink_pad_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstCaps *caps;

  if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS) {
    gst_event_parse_caps (event, &caps);
    if (!sink_pad_prepare (GST_NAT_RELAY_SINK_PAD (pad), GST_ELEMENT (parent), caps)) {
      gst_event_unref (event);
      return FALSE;
    }
  }
  return gst_pad_event_default (pad, parent, event);
}

/* A demuxer's one thread that waits in another track could not say it: its pad keeps the event meanwhile, and will send it again. */
static void
sink_pad_fetch (GstNatRelaySinkPad *self, GstPad *peer)
{
  GstEvent *start = gst_pad_get_sticky_event (peer, GST_EVENT_STREAM_START, 0);
  GstEvent *caps = gst_pad_get_sticky_event (peer, GST_EVENT_CAPS, 0);

  if (start != NULL && caps != NULL) {
    gst_pad_send_event (GST_PAD (self), gst_event_ref (start));
    gst_pad_send_event (GST_PAD (self), gst_event_ref (caps));
  }
  g_clear_pointer (&start, gst_event_unref);
  g_clear_pointer (&caps, gst_event_unref);
}

void
gst_nat_relay_sink_pad_ask_for_caps (gpointer pad, gpointer unused)
{
  GstNatRelaySinkPad *self = pad;
  GstPad *peer;

  /* Else a thread of its own is at work, and that may wait for the pad that we come from. */
  if (!GST_PAD_STREAM_TRYLOCK (self))
    return;
  peer = gst_pad_get_peer (pad);
  if (peer != NULL && gst_nat_relay_sink_pad_get_track (self)->caps == NULL &&
      !gst_pad_has_current_caps (pad))
    sink_pad_fetch (self, peer);
  gst_clear_object (&peer);
  GST_PAD_STREAM_UNLOCK (self);
}

static void
answer_caps (GstQuery *query)
{
  GstCaps *caps = gst_nat_relay_payloader_query_caps (), *filter, *both;

  gst_query_parse_caps (query, &filter);
  if (filter != NULL) {
    both = gst_caps_intersect_full (filter, caps, GST_CAPS_INTERSECT_FIRST);
    gst_caps_unref (caps);
    caps = both;
  }
  gst_query_set_caps_result (query, caps);
  gst_caps_unref (caps);
}

static gboolean
sink_pad_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  switch (GST_QUERY_TYPE (query)) {
  case GST_QUERY_CAPS: answer_caps (query); return TRUE;
  case GST_QUERY_ACCEPT_CAPS:
    /* What is wrong with caps is told in words when they come; a refusal here would say nothing. */
    gst_query_set_accept_caps_result (query, TRUE);
    return TRUE;
  default: return gst_pad_query_default (pad, parent, query);
  }
}

/* What a parser asks of upstream. The stream is pushed already: it must not be pulled from now on. */
static gboolean
internal_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) != GST_QUERY_SCHEDULING)
    return gst_pad_query_default (pad, parent, query);
  gst_query_set_scheduling (query, GST_SCHEDULING_FLAG_SEQUENTIAL, 1, -1, 0);
  gst_query_add_scheduling_mode (query, GST_PAD_MODE_PUSH);
  return TRUE;
}

/* ---- the pad ------------------------------------------------------------- */

guint
gst_nat_relay_sink_pad_get_index (GstNatRelaySinkPad *self)
{
  return self->index;
}

void
gst_nat_relay_sink_pad_redraw (gpointer pad, gpointer unused)
{
  gst_nat_relay_intake_redraw (GST_NAT_RELAY_INTAKE (GST_NAT_RELAY_SINK_PAD (pad)->intake));
}

void
gst_nat_relay_sink_pad_ask_for_picture (gpointer pad, gpointer unused)
{
  gst_pad_push_event (
      pad, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE, 0));
}

GstNatRelayTrack *
gst_nat_relay_sink_pad_get_track (GstNatRelaySinkPad *self)
{
  return gst_nat_relay_intake_get_track (GST_NAT_RELAY_INTAKE (self->intake));
}

void
gst_nat_relay_sink_pad_reset (GstNatRelaySinkPad *self)
{
  gst_nat_relay_intake_reset (GST_NAT_RELAY_INTAKE (self->intake));
}

/* sink_%u -> intake -> marker -> clocksync -> bundle */
static void
sink_pad_wire (GstNatRelaySinkPad *self, GstBin *bin, GstElement *bundle)
{
  GstPad *src = gst_element_get_static_pad (self->clocksync, "src");

  g_object_set (self->clocksync, "sync", FALSE, NULL);
  gst_bin_add_many (bin, self->intake, self->marker, self->clocksync, NULL);
  self->bundle = GST_NAT_RELAY_BUNDLE (bundle);
  self->bundle_pad = gst_element_request_pad_simple (bundle, "sink_%u");
  gst_pad_link_full (src, self->bundle_pad, GST_PAD_LINK_CHECK_NOTHING);
  gst_object_unref (src);
  gst_element_link_pads_full (
      self->intake, "src", self->marker, "sink", GST_PAD_LINK_CHECK_NOTHING);
  gst_element_link_pads_full (
      self->marker, "src", self->clocksync, "sink", GST_PAD_LINK_CHECK_NOTHING);
  set_target (self, self->intake);
  gst_element_sync_state_with_parent (self->clocksync);
  gst_element_sync_state_with_parent (self->marker);
  gst_element_sync_state_with_parent (self->intake);
}

/* The bin may have let go of its children before its pads. */
static void
remove_child (GstBin *bin, GstElement *child)
{
  if (GST_OBJECT_PARENT (child) != GST_OBJECT (bin))
    return;
  gst_element_set_locked_state (child, TRUE);
  gst_element_set_state (child, GST_STATE_NULL);
  gst_bin_remove (bin, child);
}

/* TRUE: has the stream lock; no thread but ours is in the pad. */
static gboolean
sink_pad_try_lock (GstNatRelaySinkPad *self, guint tries)
{
  for (guint i = 0; i < tries; i++) {
    if (GST_PAD_STREAM_TRYLOCK (self))
      return TRUE;
    g_usleep (BUSY_STEP_US);
  }
  return FALSE;
}

static void
sink_pad_refuse (GstNatRelaySinkPad *self)
{
  GST_OBJECT_LOCK (self);
  GST_PAD_SET_FLUSHING (self);
  GST_PAD_BLOCK_BROADCAST (self);
  GST_OBJECT_UNLOCK (self);
}

/* Wakes who waits for the clock, or for his turn behind another track. The bundle's pad flushes already, and refuses it: the other tracks hear nothing. */
static void
sink_pad_flush_own (GstNatRelaySinkPad *self)
{
  GstProxyPad *internal = gst_proxy_pad_get_internal (GST_PROXY_PAD (self));

  gst_nat_relay_bundle_let_go (self->bundle, self->bundle_pad);
  gst_pad_push_event (GST_PAD (internal), gst_event_new_flush_start ());
  gst_object_unref (internal);
}

/* Wakes who waits behind the bundle. */
static void
sink_pad_flush_all (GstNatRelaySinkPad *self)
{
  GST_OBJECT_LOCK (self->bundle_pad);
  GST_PAD_UNSET_FLUSHING (self->bundle_pad);
  GST_OBJECT_UNLOCK (self->bundle_pad);
  gst_pad_send_event (self->bundle_pad, gst_event_new_flush_start ());
}

/* To deactivate waits for the thread that streams, and that may wait for the clock, for the relay, for PLAYING, or behind another
 * track that does, or that calls us. A packet that waits for nothing is through soon, and its thread has no FLUSHING to pass on to
 * what it shares with others. Else nothing new comes in, and the clock or the bundle lets go of it; a flush of all wakes it from the
 * rest. Both again if another flush ended them. The second takes packets of the other tracks, too, hence not at once; the bundle
 * ends it when the track goes. */
void
gst_nat_relay_sink_pad_stop (GstNatRelaySinkPad *self)
{
  gboolean locked = sink_pad_try_lock (self, PASSING_TRIES);

  for (guint i = 0; !locked; i++) {
    sink_pad_refuse (self);
    sink_pad_flush_own (self);
    if (i > 0)
      sink_pad_flush_all (self);
    locked = sink_pad_try_lock (self, BUSY_TRIES);
  }
  gst_pad_set_active (GST_PAD (self), FALSE);
  GST_PAD_STREAM_UNLOCK (self);
}

void
gst_nat_relay_sink_pad_unwire (GstNatRelaySinkPad *self, GstBin *bin, GstElement *bundle)
{
  sink_pad_unplug (self, GST_ELEMENT (bin));
  gst_ghost_pad_set_target (GST_GHOST_PAD (self), NULL);
  if (self->bundle_pad != NULL && GST_OBJECT_PARENT (self->bundle_pad) != NULL)
    gst_element_release_request_pad (
        GST_ELEMENT (GST_OBJECT_PARENT (self->bundle_pad)), self->bundle_pad);
  gst_clear_object (&self->bundle_pad);
  remove_child (bin, self->intake);
  remove_child (bin, self->marker);
  remove_child (bin, self->clocksync);
}

static void
sink_pad_set_functions (GstNatRelaySinkPad *self)
{
  GstProxyPad *internal = gst_proxy_pad_get_internal (GST_PROXY_PAD (self));

  gst_pad_set_event_function (GST_PAD (self), GST_DEBUG_FUNCPTR (sink_pad_event));
  gst_pad_set_query_function (GST_PAD (self), GST_DEBUG_FUNCPTR (sink_pad_query));
  gst_pad_set_query_function (GST_PAD (internal), GST_DEBUG_FUNCPTR (internal_query));
  gst_object_unref (internal);
}

GstPad *
gst_nat_relay_sink_pad_new (guint index, GstPadTemplate *template, GstBin *bin, GstElement *bundle,
    const GstNatRelayIntakeOwner *owner)
{
  GstElement *clocksync = gst_element_factory_make ("clocksync", NULL);
  GstNatRelaySinkPad *self;
  GstElement *intake;
  gchar *name;

  if (clocksync == NULL)
    return NULL;
  name = g_strdup_printf ("sink_%u", index);
  self = g_object_new (GST_TYPE_NAT_RELAY_SINK_PAD, "name", name, "direction", GST_PAD_SINK,
      "template", template, NULL);
  g_free (name);
  self->index = index;
  self->owner = owner;
  intake = gst_nat_relay_intake_new (GST_PAD (self), GST_ELEMENT (bin), clocksync, owner);
  self->intake = gst_object_ref_sink (intake);
  self->marker = gst_object_ref_sink (gst_nat_relay_marker_new ());
  self->clocksync = gst_object_ref_sink (clocksync);
  sink_pad_set_functions (self);
  sink_pad_wire (self, bin, bundle);
  return GST_PAD (self);
}

static void
gst_nat_relay_sink_pad_finalize (GObject *object)
{
  GstNatRelaySinkPad *self = GST_NAT_RELAY_SINK_PAD (object);

  gst_clear_object (&self->payloader.payloader);
  gst_clear_object (&self->payloader.parser);
  gst_clear_object (&self->bundle_pad);
  gst_clear_object (&self->intake);
  gst_clear_object (&self->marker);
  gst_clear_object (&self->clocksync);
  g_mutex_clear (&self->lock);
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
  g_mutex_init (&self->lock);
}
