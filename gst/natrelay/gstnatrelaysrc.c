/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/**
 * SECTION:element-natrelaysrc
 * @title: natrelaysrc
 * @see_also: natrelaysink
 *
 * natrelaysrc plays a stream that natrelaysink publishes at a relay (natrelay-server), from behind any
 * NAT. Each track of the stream has a pad, video first; they are added together as soon as there is a publisher,
 * with all that a decoder must know in their caps. A pad that is not linked stops nothing.
 *
 * A publisher that stops and starts again keeps the pads. If it comes back with other codecs or another
 * number of tracks, the old pads are removed and new ones are added.
 *
 * The connection's life is told by PROGRESS messages ("negotiate", "challenge", "register") and by the element
 * messages "natrelay-connected", "natrelay-connection-lost" and "natrelay-connection-attempt".
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 natrelaysrc uri=natrelay://relay.example.org/door ! decodebin ! autovideosink
 * ]| Shows the picture of the stream "door".
 * |[
 * gst-launch-1.0 natrelaysrc name=relay uri=natrelay://relay.example.org/talk relay.video_0 ! decodebin ! autovideosink relay.audio_0 ! decodebin ! autoaudiosink
 * ]| Plays picture and sound.
 * |[
 * gst-play-1.0 natrelay://relay.example.org/talk
 * ]| Plays whatever the stream has.
 *
 * Since: 0.1
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysrc.h"
#include "gstnatrelayelement.h"
#include "gstnatrelayelements.h"
#include "gstnatrelayrtp.h"
#include "gstnatrelaysdp.h"
#include "gstnatrelaysrcpad.h"

#include <stdio.h>
#include <string.h>

GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_src_debug);
#define GST_CAT_DEFAULT gst_nat_relay_src_debug

#define DEFAULT_LATENCY         200
#define DEFAULT_DROP_ON_LATENCY FALSE
#define DEFAULT_NTP_SYNC        FALSE
#define DEFAULT_EOS_ON_END      FALSE

enum {
  PROP_0,
  PROP_LATENCY = GST_NAT_RELAY_PROP_FIRST_OWN,
  PROP_DROP_ON_LATENCY,
  PROP_NTP_SYNC,
  PROP_EOS_ON_END,
  PROP_STATS,
};

static GstStaticPadTemplate templates[GST_NAT_RELAY_N_MEDIA] = {
    [GST_NAT_RELAY_VIDEO] = GST_STATIC_PAD_TEMPLATE (
        "video_%u", GST_PAD_SRC, GST_PAD_SOMETIMES, GST_STATIC_CAPS ("application/x-rtp")),
    [GST_NAT_RELAY_AUDIO] = GST_STATIC_PAD_TEMPLATE (
        "audio_%u", GST_PAD_SRC, GST_PAD_SOMETIMES, GST_STATIC_CAPS ("application/x-rtp")),
    [GST_NAT_RELAY_DATA] = GST_STATIC_PAD_TEMPLATE (
        "data_%u", GST_PAD_SRC, GST_PAD_SOMETIMES, GST_STATIC_CAPS ("application/x-rtp")),
};

/* One pad and what the description says of it. */
typedef struct {
  GstNatRelaySrcPad *pad;
  guint32 ssrc;
  guint8 payload_type;
  GstCaps *caps;
} Track;

/* What the session's thread learned and the streaming thread has not yet applied. */
typedef struct {
  gboolean news;
  NatPublisherState publisher;
  NatDescription description;
} Pending;

struct _GstNatRelaySrc {
  GstBin parent;
  GstNatRelayConnection conn;
  GstNatRelayRtp rtp;

  /* Object lock. */
  guint latency; /* ms */
  gboolean drop_on_latency;
  gboolean ntp_sync;
  gboolean eos_on_end;

  /* Lock order: lock, then a pad's and the element's object lock; not held while calling out (a pad's target is
   * set with it held: that links, but pushes nothing). */
  GMutex lock;
  Pending pending;
  GPtrArray *tracks; /* of Track, in pad order */
  GArray *stale;     /* of guint32: SSRCs that fed a pad which another feeds now */

  /* Streaming thread of the transport's source. */
  gchar *sdp; /* as applied */
  guint generation;
  gboolean seen_live; /* a publisher was there */
  gboolean bad_sdp_told;

  gboolean paused; /* state changes: it has played before */
};

static void gst_nat_relay_src_uri_handler_init (gpointer iface, gpointer data);

#define gst_nat_relay_src_parent_class parent_class
G_DEFINE_TYPE_WITH_CODE (GstNatRelaySrc, gst_nat_relay_src, GST_TYPE_BIN,
    G_IMPLEMENT_INTERFACE (GST_TYPE_URI_HANDLER, gst_nat_relay_src_uri_handler_init))
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (natrelaysrc, "natrelaysrc", GST_RANK_SECONDARY,
    GST_TYPE_NAT_RELAY_SRC, gst_nat_relay_element_init (plugin))

static void
track_free (Track *track)
{
  gst_clear_object (&track->pad);
  gst_clear_caps (&track->caps);
  g_free (track);
}

/* ---- rtpbin's signals ---------------------------------------------------- */

static GstCaps *
src_request_pt_map (GstElement *rtpbin, guint session, guint pt, gpointer user)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (user);
  GstCaps *caps = NULL;

  g_mutex_lock (&self->lock);
  for (guint i = 0; caps == NULL && i < self->tracks->len; i++) {
    Track *track = self->tracks->pdata[i];

    if (track->payload_type == pt)
      caps = gst_caps_ref (track->caps);
  }
  g_mutex_unlock (&self->lock);
  return caps;
}

/* called with lock */
static Track *
src_find_ssrc (GstNatRelaySrc *self, guint32 ssrc)
{
  for (guint i = 0; i < self->tracks->len; i++) {
    Track *track = self->tracks->pdata[i];

    if (track->ssrc == ssrc)
      return track;
  }
  return NULL;
}

/* The first packet of an SSRC came: its pad is fed from here on. */
static void
src_rtpbin_pad_added (GstElement *rtpbin, GstPad *pad, gpointer user)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (user);
  GstNatRelaySrcPad *ghost = NULL;
  guint session, ssrc, pt;
  Track *track;

  if (sscanf (GST_PAD_NAME (pad), "recv_rtp_src_%u_%u_%u", &session, &ssrc, &pt) != 3)
    return;
  g_mutex_lock (&self->lock);
  track = src_find_ssrc (self, ssrc);
  if (track != NULL) {
    ghost = gst_object_ref (track->pad);
    gst_nat_relay_src_pad_feed (ghost, pad);
  }
  g_mutex_unlock (&self->lock);
  if (ghost == NULL) {
    GST_DEBUG_OBJECT (self, "SSRC %08x is of no track (any more)", ssrc);
    return;
  }
  GST_INFO_OBJECT (ghost, "fed by SSRC %08x", ssrc);
  gst_object_unref (ghost);
  /* What fed it before is forgotten there: not here, in a jitterbuffer's thread. */
  gst_nat_relay_transport_src_request_call (self->rtp.rtp_src);
}

/* ---- pads: on the streaming thread of the transport's source ------------- */

static void
src_remove_pads (GstNatRelaySrc *self)
{
  GPtrArray *old;

  g_mutex_lock (&self->lock);
  old = self->tracks;
  self->tracks = g_ptr_array_new_with_free_func ((GDestroyNotify)track_free);
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < old->len; i++) {
    Track *track = old->pdata[i];

    gst_ghost_pad_set_target (GST_GHOST_PAD (track->pad), NULL);
    gst_pad_set_active (GST_PAD (track->pad), FALSE);
    gst_element_remove_pad (GST_ELEMENT (self), GST_PAD (track->pad));
    gst_nat_relay_rtp_forget_ssrc (&self->rtp, track->ssrc);
  }
  g_ptr_array_unref (old);
}

static gchar *
src_stream_id (GstNatRelaySrc *self, const gchar *pad_name)
{
  gchar *id;

  GST_OBJECT_LOCK (self);
  id = g_strdup_printf ("%s:%u/%s/%u/%s", self->conn.settings.host, self->conn.settings.port,
      self->conn.settings.stream, self->generation, pad_name);
  GST_OBJECT_UNLOCK (self);
  return id;
}

static Track *
src_new_track (GstNatRelaySrc *self, const GstNatRelaySdpTrack *from, guint index, guint group_id)
{
  const gchar *name_template = templates[from->media].name_template;
  GstPadTemplate *template =
      gst_element_class_get_pad_template (GST_ELEMENT_GET_CLASS (self), name_template);
  gchar *name =
      g_strdup_printf ("%.*s_%u", (int)strcspn (name_template, "_"), name_template, index);
  gchar *stream_id = src_stream_id (self, name);
  Track *track = g_new0 (Track, 1);

  track->pad = gst_object_ref_sink (
      GST_NAT_RELAY_SRC_PAD (gst_nat_relay_src_pad_new (name, template, from->media)));
  track->ssrc = from->ssrc;
  track->payload_type = from->payload_type;
  track->caps = gst_caps_ref (from->caps);
  GST_OBJECT_LOCK (self);
  gst_nat_relay_src_pad_set_latency (track->pad, self->latency * GST_MSECOND);
  GST_OBJECT_UNLOCK (self);
  gst_nat_relay_src_pad_begin (track->pad, stream_id, group_id, track->caps);
  g_free (name);
  g_free (stream_id);
  return track;
}

static void
src_add_pads (GstNatRelaySrc *self, GPtrArray *description)
{
  GPtrArray *tracks = g_ptr_array_new_with_free_func ((GDestroyNotify)track_free);
  GPtrArray *pads = g_ptr_array_new_with_free_func (gst_object_unref);
  guint counts[GST_NAT_RELAY_N_MEDIA] = {0};
  guint group_id = gst_util_group_id_next ();

  self->generation++;
  for (guint i = 0; i < description->len; i++) {
    const GstNatRelaySdpTrack *from = description->pdata[i];
    Track *track = src_new_track (self, from, counts[from->media]++, group_id);

    g_ptr_array_add (tracks, track);
    g_ptr_array_add (pads, gst_object_ref (track->pad));
  }
  g_mutex_lock (&self->lock);
  g_ptr_array_unref (self->tracks);
  self->tracks = tracks;
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < pads->len; i++)
    gst_element_add_pad (GST_ELEMENT (self), pads->pdata[i]);
  g_ptr_array_unref (pads);
  gst_element_no_more_pads (GST_ELEMENT (self));
}

/* Tracks are compared in order: the publisher's pads come in the same order after each start. */
static gboolean
src_keeps_pads (GstNatRelaySrc *self, GPtrArray *description)
{
  gboolean keep;

  g_mutex_lock (&self->lock);
  keep = self->tracks->len == description->len;
  for (guint i = 0; keep && i < description->len; i++) {
    const GstNatRelaySdpTrack *from = description->pdata[i];

    keep = gst_nat_relay_sdp_same_codec (((Track *)self->tracks->pdata[i])->caps, from->caps);
  }
  g_mutex_unlock (&self->lock);
  return keep;
}

/* The pads stay; SSRCs, payload types and caps may be others. */
static void
src_update_pads (GstNatRelaySrc *self, GPtrArray *description)
{
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < description->len; i++) {
    const GstNatRelaySdpTrack *from = description->pdata[i];
    Track *track = self->tracks->pdata[i];

    if (track->ssrc != from->ssrc)
      g_array_append_val (self->stale, track->ssrc);
    track->ssrc = from->ssrc;
    track->payload_type = from->payload_type;
    gst_caps_replace (&track->caps, from->caps);
    gst_nat_relay_src_pad_set_caps (track->pad, from->caps);
  }
  g_mutex_unlock (&self->lock);
  g_signal_emit_by_name (self->rtp.rtpbin, "clear-pt-map");
}

/* Forgets those SSRCs that feed no pad any more. */
static void
src_forget_stale (GstNatRelaySrc *self)
{
  GArray *stale;

  g_mutex_lock (&self->lock);
  stale = self->stale;
  self->stale = g_array_new (FALSE, FALSE, sizeof (guint32));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < stale->len; i++)
    gst_nat_relay_rtp_forget_ssrc (&self->rtp, g_array_index (stale, guint32, i));
  g_array_unref (stale);
}

static void
src_admit (GstNatRelaySrc *self, const NatDescription *description, GPtrArray *tracks)
{
  guint32 ssrcs[NAT_TRACKS_MAX];

  for (guint i = 0; i < tracks->len; i++)
    ssrcs[i] = ((GstNatRelaySdpTrack *)tracks->pdata[i])->ssrc;
  gst_nat_relay_open_set_ssrcs (self->rtp.open, ssrcs, tracks->len);
  gst_nat_relay_open_set_keys (self->rtp.open, description->media_keys, description->n_media_keys);
}

static void
src_apply_description (GstNatRelaySrc *self, const NatDescription *description)
{
  GError *error = NULL;
  GPtrArray *tracks = gst_nat_relay_sdp_to_tracks (description->sdp, &error);

  if (tracks == NULL) {
    if (!self->bad_sdp_told)
      GST_ELEMENT_WARNING (self, STREAM, FORMAT,
          ("The publisher's description cannot be used; its natrelaysink may be of another "
           "version"),
          ("%s", error->message));
    self->bad_sdp_told = TRUE;
    g_error_free (error);
    return;
  }
  src_admit (self, description, tracks);
  if (g_strcmp0 (description->sdp, self->sdp) != 0) {
    GST_DEBUG_OBJECT (self, "the publisher offers\n%s", description->sdp);
    g_free (self->sdp);
    self->sdp = g_strdup (description->sdp);
    if (src_keeps_pads (self, tracks)) {
      src_update_pads (self, tracks);
    } else {
      src_remove_pads (self);
      src_add_pads (self, tracks);
    }
  }
  g_ptr_array_unref (tracks);
}

/* EOS goes through the jitterbuffers, after what is in them; a pad without one has it at once. */
static void
src_end (GstNatRelaySrc *self)
{
  GPtrArray *idle = g_ptr_array_new_with_free_func (gst_object_unref);

  GST_INFO_OBJECT (self, "the stream ended");
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->tracks->len; i++) {
    Track *track = self->tracks->pdata[i];

    if (!gst_nat_relay_src_pad_is_fed (track->pad))
      g_ptr_array_add (idle, gst_object_ref (track->pad));
  }
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < idle->len; i++)
    gst_pad_push_event (idle->pdata[i], gst_event_new_eos ());
  g_ptr_array_unref (idle);
  gst_nat_relay_transport_src_end (self->rtp.rtp_src);
}

static void
src_apply (gpointer user)
{
  GstNatRelaySrc *self = user;
  gboolean eos_on_end;
  Pending pending;

  g_mutex_lock (&self->lock);
  pending = self->pending;
  memset (&self->pending, 0, sizeof self->pending);
  g_mutex_unlock (&self->lock);
  if (!pending.news) {
    src_forget_stale (self);
    return;
  }
  if (pending.description.sdp != NULL)
    src_apply_description (self, &pending.description);
  nat_description_clear (&pending.description);

  GST_OBJECT_LOCK (self);
  eos_on_end = self->eos_on_end;
  GST_OBJECT_UNLOCK (self);
  if (pending.publisher == NAT_PUBLISHER_ENDED && self->seen_live && eos_on_end)
    src_end (self);
  self->seen_live |= pending.publisher == NAT_PUBLISHER_LIVE;
}

/* ---- the session --------------------------------------------------------- */

static void
copy_description (NatDescription *to, const NatDescription *from)
{
  *to = *from;
  to->sdp = g_strdup (from->sdp);
}

static void
src_on_document (GstElement *element, const NatSessionDocument *document)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (element);

  g_mutex_lock (&self->lock);
  nat_description_clear (&self->pending.description);
  copy_description (&self->pending.description, &document->description);
  self->pending.publisher = document->publisher;
  self->pending.news = TRUE;
  g_mutex_unlock (&self->lock);
  gst_nat_relay_transport_src_request_call (self->rtp.rtp_src);
}

static void
src_on_rtp (GstElement *element, NatDatagram *packets, guint n)
{
  gst_nat_relay_transport_src_push (GST_NAT_RELAY_SRC (element)->rtp.rtp_src, packets, n);
}

static void
src_on_rtcp (GstElement *element, const NatDatagram *packet)
{
  gst_nat_relay_transport_src_push (GST_NAT_RELAY_SRC (element)->rtp.rtcp_src, packet, 1);
}

static const GstNatRelayHooks src_hooks = {
    .document = src_on_document,
    .rtp = src_on_rtp,
    .rtcp = src_on_rtcp,
};

static gboolean
src_start (GstNatRelaySrc *self)
{
  NatSession *session;

  if (!gst_nat_relay_connection_prepare (&self->conn))
    return FALSE;
  session = gst_nat_relay_connection_get_session (&self->conn);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, session);
  nat_session_unref (session);
  self->seen_live = FALSE;
  self->bad_sdp_told = FALSE;
  self->paused = FALSE;
  gst_nat_relay_connection_start (&self->conn, TRUE);
  return TRUE;
}

static void
src_stop (GstNatRelaySrc *self)
{
  gst_nat_relay_connection_stop (&self->conn, FALSE);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, NULL);
  src_remove_pads (self);
  gst_nat_relay_open_reset (self->rtp.open);
  g_clear_pointer (&self->sdp, g_free);
  g_mutex_lock (&self->lock);
  nat_description_clear (&self->pending.description);
  self->pending.news = FALSE;
  g_array_set_size (self->stale, 0);
  g_mutex_unlock (&self->lock);
}

/* What was missed in a pause is not repaired: decoders need a fresh start. */
static void
src_resume (GstNatRelaySrc *self)
{
  GPtrArray *pads = g_ptr_array_new_with_free_func (gst_object_unref);

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->tracks->len; i++)
    g_ptr_array_add (pads, gst_object_ref (((Track *)self->tracks->pdata[i])->pad));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < pads->len; i++)
    gst_nat_relay_src_pad_request_key_unit (pads->pdata[i]);
  g_ptr_array_unref (pads);
}

static GstStateChangeReturn
gst_nat_relay_src_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (element);
  GstStateChangeReturn ret;

  if (transition == GST_STATE_CHANGE_NULL_TO_READY &&
      !gst_nat_relay_rtp_check (&self->rtp, element))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !src_start (self))
    return GST_STATE_CHANGE_FAILURE;
  ret = GST_ELEMENT_CLASS (parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY ||
      (transition == GST_STATE_CHANGE_READY_TO_PAUSED && ret == GST_STATE_CHANGE_FAILURE))
    src_stop (self);
  else if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED)
    self->paused = TRUE;
  else if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING && self->paused)
    src_resume (self);
  return ret;
}

/* ---- properties ---------------------------------------------------------- */

static guint64
structure_get_count (const GstStructure *s, const gchar *field)
{
  guint64 n = 0;

  gst_structure_get_uint64 (s, field, &n);
  return n;
}

/* What rtpbin's jitterbuffers count, added up over the tracks that play now. */
static void
add_jitterbuffer_stats (GstNatRelaySrc *self, GstStructure *stats)
{
  GstIterator *it =
      gst_bin_iterate_all_by_element_factory_name (GST_BIN (self->rtp.rtpbin), "rtpjitterbuffer");
  guint64 lost = 0, late = 0, duplicates = 0;
  GValue item = G_VALUE_INIT;

  while (gst_iterator_next (it, &item) == GST_ITERATOR_OK) {
    GstStructure *s = NULL;

    g_object_get (g_value_get_object (&item), "stats", &s, NULL);
    lost += structure_get_count (s, "num-lost");
    late += structure_get_count (s, "num-late");
    duplicates += structure_get_count (s, "num-duplicates");
    gst_structure_free (s);
    g_value_reset (&item);
  }
  g_value_unset (&item);
  gst_iterator_free (it);
  gst_structure_set (stats, "packets-received-lost", G_TYPE_UINT64, lost, "packets-received-late",
      G_TYPE_UINT64, late, "packets-received-duplicate", G_TYPE_UINT64, duplicates, NULL);
}

static GstStructure *
src_stats (GstNatRelaySrc *self)
{
  NatSession *session = gst_nat_relay_connection_get_session (&self->conn);
  GstStructure *s = gst_nat_relay_report_stats (session, NAT_ROLE_SUBSCRIBER);

  if (session != NULL && self->rtp.missing == NULL) {
    GstNatRelayOpenStats open;

    gst_nat_relay_open_get_stats (self->rtp.open, &open);
    gst_structure_set (s, "packets-received-dropped", G_TYPE_UINT64,
        gst_nat_relay_transport_src_get_dropped (self->rtp.rtp_src) + open.unannounced +
            open.unknown_key + open.refused,
        "packets-received-unknown-key", G_TYPE_UINT64, open.unknown_key, "packets-received-refused",
        G_TYPE_UINT64, open.refused, NULL);
    add_jitterbuffer_stats (self, s);
  }
  g_clear_pointer (&session, nat_session_unref);
  return s;
}

static void
src_set_latency (GstNatRelaySrc *self, guint latency)
{
  g_mutex_lock (&self->lock);
  GST_OBJECT_LOCK (self);
  self->latency = latency;
  GST_OBJECT_UNLOCK (self);
  for (guint i = 0; i < self->tracks->len; i++)
    gst_nat_relay_src_pad_set_latency (
        ((Track *)self->tracks->pdata[i])->pad, latency * GST_MSECOND);
  g_mutex_unlock (&self->lock);
}

static void
gst_nat_relay_src_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (object);

  if (gst_nat_relay_connection_set_property (&self->conn, id, value, pspec))
    return;
  if (id == PROP_LATENCY) {
    src_set_latency (self, g_value_get_uint (value));
  } else {
    GST_OBJECT_LOCK (self);
    switch (id) {
    case PROP_DROP_ON_LATENCY: self->drop_on_latency = g_value_get_boolean (value); break;
    case PROP_NTP_SYNC: self->ntp_sync = g_value_get_boolean (value); break;
    case PROP_EOS_ON_END: self->eos_on_end = g_value_get_boolean (value); break;
    default: G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec); break;
    }
    GST_OBJECT_UNLOCK (self);
  }
  /* rtpbin has those three under the same names. */
  if (id != PROP_EOS_ON_END && self->rtp.rtpbin != NULL)
    g_object_set_property (G_OBJECT (self->rtp.rtpbin), pspec->name, value);
}

static void
gst_nat_relay_src_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (object);

  if (gst_nat_relay_connection_get_property (&self->conn, id, value, pspec))
    return;
  if (id == PROP_STATS) {
    g_value_take_boxed (value, src_stats (self));
    return;
  }
  GST_OBJECT_LOCK (self);
  switch (id) {
  case PROP_LATENCY: g_value_set_uint (value, self->latency); break;
  case PROP_DROP_ON_LATENCY: g_value_set_boolean (value, self->drop_on_latency); break;
  case PROP_NTP_SYNC: g_value_set_boolean (value, self->ntp_sync); break;
  case PROP_EOS_ON_END: g_value_set_boolean (value, self->eos_on_end); break;
  default: G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec); break;
  }
  GST_OBJECT_UNLOCK (self);
}

static GstURIType
src_uri_type (GType type)
{
  return GST_URI_SRC;
}

static gchar *
src_uri_get (GstURIHandler *handler)
{
  return gst_nat_relay_connection_get_uri (&GST_NAT_RELAY_SRC (handler)->conn);
}

static gboolean
src_uri_set (GstURIHandler *handler, const gchar *uri, GError **error)
{
  return gst_nat_relay_connection_set_uri (&GST_NAT_RELAY_SRC (handler)->conn, uri, error);
}

static void
gst_nat_relay_src_uri_handler_init (gpointer iface, gpointer data)
{
  GstURIHandlerInterface *handler = iface;

  handler->get_type = src_uri_type;
  handler->get_protocols = gst_nat_relay_connection_protocols;
  handler->get_uri = src_uri_get;
  handler->set_uri = src_uri_set;
}

static void
gst_nat_relay_src_finalize (GObject *object)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (object);

  g_ptr_array_unref (self->tracks);
  g_array_unref (self->stale);
  nat_description_clear (&self->pending.description);
  g_free (self->sdp);
  gst_nat_relay_connection_finalize (&self->conn);
  g_mutex_clear (&self->lock);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
install_properties (GObjectClass *klass)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  gst_nat_relay_connection_install (klass);
  /**
   * GstNatRelaySrc:latency:
   *
   * How long packets wait for missing and late ones, in milliseconds.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_LATENCY,
      g_param_spec_uint ("latency", "Latency",
          "Time in milliseconds that missing and late packets are waited for (default 200)", 0,
          60000, DEFAULT_LATENCY, flags | GST_PARAM_MUTABLE_PLAYING));
  /**
   * GstNatRelaySrc:drop-on-latency:
   *
   * Drop the oldest packets rather than hold more than #GstNatRelaySrc:latency of them.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_DROP_ON_LATENCY,
      g_param_spec_boolean ("drop-on-latency", "Drop on latency",
          "Never buffer more than latency milliseconds (default false)", DEFAULT_DROP_ON_LATENCY,
          flags | GST_PARAM_MUTABLE_READY));
  /**
   * GstNatRelaySrc:ntp-sync:
   *
   * Play in step with the publisher's wall clock, so that several receivers show the same picture at
   * the same time. Both machines' clocks must be right.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_NTP_SYNC,
      g_param_spec_boolean ("ntp-sync", "NTP sync",
          "Synchronize with the publisher's NTP time (default false)", DEFAULT_NTP_SYNC,
          flags | GST_PARAM_MUTABLE_READY));
  /**
   * GstNatRelaySrc:eos-on-end:
   *
   * Send EOS when the publisher ended the stream by its own EOS and did not come back within the relay's
   * grace. Else the element waits for the next publisher.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_EOS_ON_END,
      g_param_spec_boolean ("eos-on-end", "EOS on end",
          "Send EOS when the publisher ended the stream (default false)", DEFAULT_EOS_ON_END,
          flags | GST_PARAM_MUTABLE_PLAYING));
  /**
   * GstNatRelaySrc:stats:
   *
   * application/x-natrelay-statistics: packets-received, bytes-received, packets-received-dropped (of these:
   * packets-received-unknown-key, packets-received-refused; the rest came in a pause or found no room),
   * packets-received-lost, packets-received-late, packets-received-duplicate; local-address, mapped-address
   * (as the relay sees this client), relay-address, transport; rtt-ms; rtcp-packets-sent,
   * rtcp-packets-received, rtcp-packets-refused, datagrams-refused; rebinds, reconnects, attempts;
   * last-error, last-error-cause.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics", "Counters and addresses of the connection",
          GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}

static void
gst_nat_relay_src_class_init (GstNatRelaySrcClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_nat_relay_src_debug, "natrelaysrc", 0, "natrelay subscriber");
  object_class->set_property = gst_nat_relay_src_set_property;
  object_class->get_property = gst_nat_relay_src_get_property;
  object_class->finalize = gst_nat_relay_src_finalize;
  install_properties (object_class);

  for (guint i = 0; i < G_N_ELEMENTS (templates); i++)
    gst_element_class_add_static_pad_template (element_class, &templates[i]);
  gst_element_class_set_static_metadata (element_class, "NAT relay source", "Source/Network",
      "Plays RTP streams by way of a relay, through NATs and firewalls",
      "The natrelay developers <natrelay@example.org>");
  element_class->change_state = GST_DEBUG_FUNCPTR (gst_nat_relay_src_change_state);
}

static void
gst_nat_relay_src_init (GstNatRelaySrc *self)
{
  g_mutex_init (&self->lock);
  self->tracks = g_ptr_array_new_with_free_func ((GDestroyNotify)track_free);
  self->stale = g_array_new (FALSE, FALSE, sizeof (guint32));
  self->latency = DEFAULT_LATENCY;
  self->drop_on_latency = DEFAULT_DROP_ON_LATENCY;
  self->ntp_sync = DEFAULT_NTP_SYNC;
  self->eos_on_end = DEFAULT_EOS_ON_END;
  gst_nat_relay_connection_init (&self->conn, GST_ELEMENT (self), NAT_ROLE_SUBSCRIBER, &src_hooks);

  /* The sink of RTCP inside makes nobody a sink. */
  gst_bin_set_suppressed_flags (GST_BIN (self), GST_ELEMENT_FLAG_SOURCE | GST_ELEMENT_FLAG_SINK);
  GST_OBJECT_FLAG_SET (self, GST_ELEMENT_FLAG_SOURCE);
  gst_nat_relay_rtp_build_src (&self->rtp, GST_BIN (self));
  if (self->rtp.missing != NULL)
    return;
  g_object_set (self->rtp.rtpbin, "latency", self->latency, NULL);
  g_signal_connect (self->rtp.rtpbin, "request-pt-map", G_CALLBACK (src_request_pt_map), self);
  g_signal_connect (self->rtp.rtpbin, "pad-added", G_CALLBACK (src_rtpbin_pad_added), self);
  gst_nat_relay_transport_src_set_call (self->rtp.rtp_src, src_apply, self);
}
