/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/**
 * SECTION:element-natrelaysink
 * @title: natrelaysink
 * @see_also: natrelaysrc
 *
 * natrelaysink publishes sound and pictures at a relay (natrelay-server), from behind any NAT. Each request
 * pad is a track; all tracks of the element make one stream, which any number of natrelaysrc can
 * play. Most pipelines set only #GstNatRelaySink:uri and #GstNatRelaySink:auth-token, and
 * #GstNatRelaySink:tls-fingerprint where the relay made its certificate itself.
 *
 * A pad takes an encoded stream as encoders, parsers and demuxers give it, or RTP. For the former it plugs
 * the payloader of the highest rank that takes it, with a parser before it where the stream needs one, and sets
 * it for live sending: parameter sets with each key frame, nothing that waits for more, packets for
 * #GstNatRelaySink:mtu. Caps may change at any time, another codec brings another payloader. RTP goes through as
 * it is, whoever made it: a payloader with settings of one's own, or a camera by way of rtspsrc. Raw
 * pictures and sound need an encoder.
 *
 * The stream is announced when every pad that was requested has caps, or a second after the first one has: request the pads of all
 * tracks before PLAYING. A track that comes or goes later changes the stream for those who watch.
 *
 * Media payloads are sealed with SFrame (RFC 9605) unless #GstNatRelaySink:encryption is "none"; the relay has the keys and gives
 * them to those that may watch, unless #GstNatRelaySink:passphrase or #GstNatRelaySink:key-file keeps them from it.
 *
 * A relay that is absent never holds the pipeline: packets are dropped and counted in #GstNatRelaySink:stats until
 * it is there, unless #GstNatRelaySink:wait-for-connection is set. After such a loss the encoder is asked for a key frame.
 * The pipeline's EOS ends the stream for the audience; stopping without EOS keeps its place for a publisher that comes back.
 *
 * Nothing is sent before PLAYING. PROGRESS messages ("negotiate", "challenge", "register") and the element messages
 * "natrelay-connected", "natrelay-connection-lost", "natrelay-connection-attempt" and, when it moves between UDP and a
 * WebSocket, "natrelay-transport" tell how the connection fares. A WARNING is for people to see: the element goes on by
 * itself. An ERROR is final.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! x264enc tune=zerolatency ! natrelaysink uri=natrelay://relay.example.org/door
 * ]| Publishes a camera as the stream "door".
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! x264enc tune=zerolatency ! natrelaysink uri=natrelay://relay.example.org/door key-file=door.key
 * ]| The same, but the relay cannot see the picture. The receivers have a copy of the file, which `openssl rand -base64 32` made.
 * |[
 * gst-launch-1.0 natrelaysink name=relay uri=natrelay://relay.example.org/talk videotestsrc is-live=true ! vp8enc deadline=1 ! relay. audiotestsrc is-live=true ! opusenc ! relay.
 * ]| Publishes a picture and a sound as one stream.
 * |[
 * gst-launch-1.0 filesrc location=film.mp4 ! parsebin : natrelaysink uri=natrelay://relay.example.org/film
 * ]| Publishes a file, all of its tracks, at the speed at which it plays. (The colon links every pad.)
 * |[
 * gst-launch-1.0 natrelaysink name=relay uri=natrelay://relay.example.org/yard rtspsrc name=camera location=rtsp://camera.example.org/live latency=100 camera. ! capsfilter caps=application/x-rtp,media=video ! relay.sink_0 camera. ! capsfilter caps=application/x-rtp,media=audio ! relay.sink_1
 * ]| Publishes an IP camera, whose RTP packets go on as they come.
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! x264enc tune=zerolatency ! rtph264pay mtu=1000 config-interval=-1 ! natrelaysink uri=natrelay://relay.example.org/door
 * ]| Publishes a camera with a payloader of one's own choice and settings.
 *
 * Since: 0.1
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysink.h"
#include "gstnatrelayaudience.h"
#include "gstnatrelayelement.h"
#include "gstnatrelayelements.h"
#include "gstnatrelaypayloader.h"
#include "gstnatrelayrtp.h"
#include "gstnatrelaysinkdescription.h"
#include "gstnatrelaysinkkeys.h"
#include "gstnatrelaysinkpad.h"
#include "gstnatrelaysinkproperties.h"

#include <stdio.h>

GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_sink_debug);
#define GST_CAT_DEFAULT gst_nat_relay_sink_debug

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE (
    "sink_%u", GST_PAD_SINK, GST_PAD_REQUEST, GST_STATIC_CAPS (GST_NAT_RELAY_INPUT_CAPS));

/* An application may not know its tracks before, as of a camera that is far away. */
#define PAD_PATIENCE (5 * GST_SECOND)

struct _GstNatRelaySink {
  GstBin parent;
  GstNatRelayConnection conn;
  GstNatRelayRtp rtp;
  GstNatRelayAudience audience;
  GstNatRelaySinkKeys keys;
  GstNatRelaySinkDescription description;

  /* Object lock. */
  GstNatRelayEncryption encryption;
  gboolean wait_for_connection;
  gboolean sync;
  gboolean takeover;

  /* Lock order: the description's, lock, the object lock; none is held while calling out. */
  GMutex lock;
  GPtrArray *pads; /* of GstNatRelaySinkPad; their tracks' caps and ids too */
  guint next_index;
  GstClockID pads_due; /* in PLAYING without a pad, or NULL */

  guint64 dropped; /* session thread; packets, until it was connected last */

  gint estimated_bitrate; /* atomic; bits per second */
  gint mtu;               /* atomic; bytes, as set */
  gint path_mtu;          /* atomic; bytes that get through; 0 = no limit is known */
  guint complaints;       /* atomic; 1 << GstNatRelayComplaint that were made */
};

static void gst_nat_relay_sink_uri_handler_init (gpointer iface, gpointer data);

#define gst_nat_relay_sink_parent_class parent_class
G_DEFINE_TYPE_WITH_CODE (GstNatRelaySink, gst_nat_relay_sink, GST_TYPE_BIN,
    G_IMPLEMENT_INTERFACE (GST_TYPE_URI_HANDLER, gst_nat_relay_sink_uri_handler_init))
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (natrelaysink, "natrelaysink", GST_RANK_SECONDARY,
    GST_TYPE_NAT_RELAY_SINK, gst_nat_relay_element_init (plugin))

/* ---- description --------------------------------------------------------- */

/* called with lock */
static GstNatRelayTrack *
sink_track (GstNatRelaySink *self, guint index)
{
  return gst_nat_relay_sink_pad_get_track (self->pads->pdata[index]);
}

/* Of the description; with its lock. */
static guint
sink_collect (GstElement *element, GPtrArray *caps)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);
  guint tracks;

  g_mutex_lock (&self->lock);
  tracks = self->pads->len;
  for (guint i = 0; i < tracks; i++) {
    if (sink_track (self, i)->caps != NULL)
      g_ptr_array_add (caps, gst_caps_ref (sink_track (self, i)->caps));
  }
  g_mutex_unlock (&self->lock);
  return tracks;
}

static gboolean
sink_patience_over (GstClock *clock, GstClockTime time, GstClockID id, gpointer user)
{
  GstNatRelaySink *self = g_weak_ref_get (user);

  if (self == NULL)
    return TRUE;
  gst_nat_relay_sink_description_patience_over (&self->description, id);
  gst_object_unref (self);
  return TRUE;
}

/* ---- keys ---------------------------------------------------------------- */

static void
sink_keys_changed (GstElement *element)
{
  gst_nat_relay_sink_description_update (&GST_NAT_RELAY_SINK (element)->description, TRUE);
}

static gboolean
sink_roll_key (GstNatRelaySink *self)
{
  return gst_nat_relay_sink_keys_roll (&self->keys);
}

/* Without the lock: the pads stay meanwhile. */
static void
sink_for_each_pad (GstNatRelaySink *self, GFunc func, gpointer user)
{
  GPtrArray *pads = g_ptr_array_new_with_free_func (gst_object_unref);

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->pads->len; i++)
    g_ptr_array_add (pads, gst_object_ref (self->pads->pdata[i]));
  g_mutex_unlock (&self->lock);
  g_ptr_array_foreach (pads, func, user);
  g_ptr_array_unref (pads);
}

static void
sink_forget (GstNatRelaySink *self)
{
  sink_for_each_pad (self, gst_nat_relay_sink_pad_unplug, self);
  gst_nat_relay_sink_keys_stop (&self->keys);
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->pads->len; i++)
    gst_nat_relay_sink_pad_reset (self->pads->pdata[i]);
  g_mutex_unlock (&self->lock);
  gst_nat_relay_sink_description_stop (&self->description);
}

/* ---- what the tracks ask -------------------------------------------------- */

static GstCaps *
sink_settle (GstElement *element, GstNatRelayTrack *track, GstCaps *caps)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);
  GstNatRelayTrackId others[NAT_TRACKS_MAX];
  GstCaps *settled = NULL;
  guint n = 0;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->pads->len && n < G_N_ELEMENTS (others); i++) {
    GstNatRelayTrack *other = gst_nat_relay_sink_pad_get_track (self->pads->pdata[i]);

    if (other != track && other->caps != NULL)
      others[n++] = other->id;
  }
  if (gst_nat_relay_track_settle (track, caps, others, n))
    settled = gst_caps_ref (track->caps);
  g_mutex_unlock (&self->lock);
  return settled;
}

/* With wait-for-connection, the thread that brought these caps will wait, perhaps for all tracks. */
static void
sink_settled (GstElement *element)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);
  gboolean wait;

  GST_OBJECT_LOCK (self);
  wait = self->wait_for_connection;
  GST_OBJECT_UNLOCK (self);
  if (wait)
    sink_for_each_pad (self, gst_nat_relay_sink_pad_ask_for_caps, NULL);
  gst_nat_relay_sink_description_update (&self->description, FALSE);
}

static gboolean
sink_may_complain (GstElement *element, GstNatRelayComplaint complaint)
{
  return (g_atomic_int_or (&GST_NAT_RELAY_SINK (element)->complaints, 1u << complaint) &
             (1u << complaint)) == 0;
}

static gboolean
sink_wants_sync (GstElement *element)
{
  gboolean sync;

  GST_OBJECT_LOCK (element);
  sync = GST_NAT_RELAY_SINK (element)->sync;
  GST_OBJECT_UNLOCK (element);
  return sync;
}

static guint
sink_get_mtu (GstElement *element)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);
  guint mtu = (guint)g_atomic_int_get (&self->mtu),
        path = (guint)g_atomic_int_get (&self->path_mtu);

  return path > 0 ? MAX (MIN (mtu, path), GST_NAT_RELAY_SINK_MTU_MIN) : mtu;
}

/* which: one of the two above; it is set first: who is not among the pads yet asks for it later. */
static void
sink_set_mtu (GstNatRelaySink *self, gint *which, guint mtu)
{
  g_atomic_int_set (which, (gint)mtu);
  sink_for_each_pad (self, gst_nat_relay_sink_pad_update_mtu, self);
}

static const GstNatRelayIntakeOwner intake_owner = {
    .settle = sink_settle,
    .settled = sink_settled,
    .may_complain = sink_may_complain,
    .wants_sync = sink_wants_sync,
    .get_mtu = sink_get_mtu,
};

/* ---- request pads -------------------------------------------------------- */

/* called with lock */
static gboolean
sink_index_taken (GstNatRelaySink *self, guint index)
{
  for (guint i = 0; i < self->pads->len; i++) {
    if (gst_nat_relay_sink_pad_get_index (self->pads->pdata[i]) == index)
      return TRUE;
  }
  return FALSE;
}

static gint
sink_compare_pads (gconstpointer a, gconstpointer b)
{
  return (gint)gst_nat_relay_sink_pad_get_index (*(gpointer *)a) -
         (gint)gst_nat_relay_sink_pad_get_index (*(gpointer *)b);
}

/* FALSE: the name is taken, or there are too many. */
static gboolean
sink_choose_index (GstNatRelaySink *self, const gchar *name, guint *index)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  if (name == NULL || sscanf (name, "sink_%u", index) != 1) {
    while (sink_index_taken (self, self->next_index))
      self->next_index++;
    *index = self->next_index++;
  }
  ok = self->pads->len < NAT_TRACKS_MAX && !sink_index_taken (self, *index);
  g_mutex_unlock (&self->lock);
  return ok;
}

static GstPad *
gst_nat_relay_sink_request_new_pad (
    GstElement *element, GstPadTemplate *template, const gchar *name, const GstCaps *caps)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);
  GstPad *pad;
  guint index;

  if (self->rtp.missing != NULL)
    return NULL;
  if (!sink_choose_index (self, name, &index)) {
    GST_WARNING_OBJECT (
        self, "no pad %s: taken, or more than %d", GST_STR_NULL (name), NAT_TRACKS_MAX);
    return NULL;
  }
  pad =
      gst_nat_relay_sink_pad_new (index, template, GST_BIN (self), self->rtp.bundle, &intake_owner);
  if (pad == NULL)
    return NULL;
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->pads, gst_object_ref_sink (pad));
  /* As the description lists them: tracks that come back in another order are the same to the audience. */
  g_ptr_array_sort (self->pads, sink_compare_pads);
  g_mutex_unlock (&self->lock);
  gst_pad_set_active (pad, TRUE);
  gst_element_add_pad (element, pad);
  return pad;
}

static void
gst_nat_relay_sink_release_pad (GstElement *element, GstPad *pad)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);

  gst_object_ref (pad);
  /* No packet is under way in it any more once it is inactive. */
  gst_nat_relay_sink_pad_stop (GST_NAT_RELAY_SINK_PAD (pad));
  g_mutex_lock (&self->lock);
  g_ptr_array_remove (self->pads, pad);
  g_mutex_unlock (&self->lock);
  gst_element_remove_pad (element, pad);
  gst_nat_relay_sink_pad_unwire (GST_NAT_RELAY_SINK_PAD (pad), GST_BIN (self), self->rtp.bundle);
  gst_object_unref (pad);
  gst_nat_relay_sink_description_update (&self->description, FALSE);
}

/* ---- nothing linked ------------------------------------------------------- */

static gboolean
sink_pads_are_due (GstClock *clock, GstClockTime time, GstClockID id, gpointer user)
{
  GstNatRelaySink *self = g_weak_ref_get (user);
  gboolean none;

  if (self == NULL)
    return TRUE;
  g_mutex_lock (&self->lock);
  none = self->pads_due == id && self->pads->len == 0;
  g_mutex_unlock (&self->lock);
  if (none && sink_may_complain (GST_ELEMENT (self), GST_NAT_RELAY_COMPLAINT_NO_PAD))
    GST_ELEMENT_WARNING (self, CORE, PAD,
        ("Nothing is linked to %s, so nothing is sent; put before it what makes an encoded stream, "
         "as in videotestsrc is-live=true ! x264enc tune=zerolatency ! natrelaysink uri=…",
            GST_ELEMENT_NAME (self)),
        ("no sink_%%u was requested for %u s", (guint)(PAD_PATIENCE / GST_SECOND)));
  gst_object_unref (self);
  return TRUE;
}

static void
sink_await_pads (GstNatRelaySink *self)
{
  GstClock *clock = gst_system_clock_obtain ();
  GstClockID id = gst_clock_new_single_shot_id (clock, gst_clock_get_time (clock) + PAD_PATIENCE);

  gst_object_unref (clock);
  g_mutex_lock (&self->lock);
  self->pads_due = gst_clock_id_ref (id);
  g_mutex_unlock (&self->lock);
  gst_nat_relay_wait_weakly (id, sink_pads_are_due, G_OBJECT (self));
}

static void
sink_forget_pads_due (GstNatRelaySink *self)
{
  GstClockID id;

  g_mutex_lock (&self->lock);
  id = g_steal_pointer (&self->pads_due);
  g_mutex_unlock (&self->lock);
  if (id == NULL)
    return;
  gst_clock_id_unschedule (id);
  gst_clock_id_unref (id);
}

/* ---- the session --------------------------------------------------------- */

static void
ask_for_pictures (GstElement *element, gpointer unused)
{
  sink_for_each_pad (GST_NAT_RELAY_SINK (element), gst_nat_relay_sink_pad_ask_for_picture, NULL);
}

/* What was dropped while the relay could take nothing may have been a picture to begin with. Upstream may take its time. */
static void
sink_make_good (GstNatRelaySink *self)
{
  NatSession *session = gst_nat_relay_connection_get_session (&self->conn);
  NatSessionStats stats;

  if (session == NULL)
    return;
  nat_session_get_stats (session, &stats);
  if (stats.packets_dropped != self->dropped)
    gst_element_call_async (GST_ELEMENT (self), ask_for_pictures, NULL, NULL);
  self->dropped = stats.packets_dropped;
  nat_session_stats_clear (&stats);
  nat_session_unref (session);
}

static void
sink_on_state (GstElement *element, NatSessionState state)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);

  if (state == NAT_SESSION_CONNECTED) {
    gst_nat_relay_transport_sink_set_connected (self->rtp.rtp_sink);
    sink_make_good (self);
  }
  gst_nat_relay_transport_sink_set_failed (self->rtp.rtp_sink, state == NAT_SESSION_FAILED);
}

static void
sink_on_described (GstElement *element, guint serial)
{
  gst_nat_relay_sink_keys_described (&GST_NAT_RELAY_SINK (element)->keys, serial);
}

static void
sink_on_rtcp (GstElement *element, const NatDatagram *packet)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);

  gst_nat_relay_audience_rtcp (&self->audience, element, packet);
  if (!gst_nat_relay_transport_sink_answer (self->rtp.rtp_sink, packet->data, packet->len))
    gst_nat_relay_transport_src_push (self->rtp.rtcp_src, packet, 1);
}

static void
sink_on_ssrc_in_use (GstElement *element)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);

  sink_for_each_pad (self, gst_nat_relay_sink_pad_redraw, NULL);
  /* A track draws with its next packet, which does not come while one with the old SSRC waits. */
  gst_nat_relay_transport_sink_drop_held (self->rtp.rtp_sink);
}

static void
sink_on_bitrate (GstElement *element, guint64 bits_per_s, gdouble loss)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);

  g_atomic_int_set (&self->estimated_bitrate, (gint)MIN (bits_per_s, G_MAXINT));
  gst_nat_relay_report_bitrate (&self->conn.report, bits_per_s, loss);
  g_object_notify (G_OBJECT (element), "estimated-bitrate");
}

static void
sink_on_path_size (GstElement *element, guint bytes)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);

  sink_set_mtu (self, &self->path_mtu, bytes);
}

static const GstNatRelayHooks sink_hooks = {
    .ssrc_in_use = sink_on_ssrc_in_use,
    .state = sink_on_state,
    .described = sink_on_described,
    .rtcp = sink_on_rtcp,
    .bitrate = sink_on_bitrate,
    .path_size = sink_on_path_size,
};

static GstCaps *
sink_request_pt_map (GstElement *rtpbin, guint session, guint pt, gpointer user)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (user);
  GstCaps *caps = NULL;

  g_mutex_lock (&self->lock);
  for (guint i = 0; caps == NULL && i < self->pads->len; i++) {
    GstNatRelayTrack *track = sink_track (self, i);

    if (track->caps != NULL && track->id.payload_type == pt)
      caps = gst_caps_ref (track->caps);
  }
  g_mutex_unlock (&self->lock);
  return caps;
}

static void
sink_stop (GstNatRelaySink *self)
{
  gboolean ended = gst_nat_relay_transport_sink_saw_eos (self->rtp.rtp_sink);

  sink_forget_pads_due (self);
  gst_nat_relay_connection_stop (&self->conn, ended);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtp_sink, NULL);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, NULL);
  sink_forget (self);
}

static gboolean
sink_start (GstNatRelaySink *self)
{
  GstNatRelayEncryption encryption;
  NatSession *session;
  gboolean wait;

  GST_OBJECT_LOCK (self);
  self->conn.settings.takeover = self->takeover;
  encryption = self->encryption;
  wait = self->wait_for_connection;
  GST_OBJECT_UNLOCK (self);
  if (!gst_nat_relay_connection_prepare (&self->conn))
    return FALSE;
  session = gst_nat_relay_connection_get_session (&self->conn);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtp_sink, session);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, session);
  nat_session_unref (session);
  gst_nat_relay_transport_sink_set_wait (self->rtp.rtp_sink, wait);
  g_atomic_int_set (&self->complaints, 0);
  g_atomic_int_set (&self->estimated_bitrate, 0);
  g_atomic_int_set (&self->path_mtu, 0);
  self->dropped = 0;
  gst_nat_relay_audience_reset (&self->audience);
  gst_nat_relay_sink_description_start (&self->description, gst_nat_relay_rtp_cname (&self->rtp));
  if (gst_nat_relay_sink_keys_start (&self->keys, &self->conn, encryption, wait))
    return TRUE;
  sink_stop (self);
  return FALSE;
}

static GstStateChangeReturn
gst_nat_relay_sink_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);
  GstStateChangeReturn ret;

  if (transition == GST_STATE_CHANGE_NULL_TO_READY &&
      !gst_nat_relay_rtp_check (&self->rtp, element))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !sink_start (self))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING) {
    gst_nat_relay_connection_play (&self->conn);
    sink_await_pads (self);
  }
  if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED)
    sink_forget_pads_due (self);
  /* A streaming thread may wait for the passphrase to be stretched, which takes a slow machine seconds. */
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    gst_nat_relay_seal_set_held (self->rtp.seal, FALSE);
  ret = GST_ELEMENT_CLASS (parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY ||
      (transition == GST_STATE_CHANGE_READY_TO_PAUSED && ret == GST_STATE_CHANGE_FAILURE))
    sink_stop (self);
  return ret;
}

/* ---- properties ---------------------------------------------------------- */

static GstStructure *
sink_stats (GstNatRelaySink *self)
{
  NatSession *session = gst_nat_relay_connection_get_session (&self->conn);
  GstStructure *s = gst_nat_relay_report_stats (session, NAT_ROLE_PUBLISHER);

  if (session != NULL && self->rtp.missing == NULL) {
    GstNatRelaySentStats sent;

    gst_nat_relay_rtp_sink_stats (&self->rtp, s);
    gst_nat_relay_transport_sink_get_repairs (self->rtp.rtp_sink, &sent);
    gst_structure_set (s, "packets-retransmitted", G_TYPE_UINT64, sent.resent,
        "bytes-retransmitted", G_TYPE_UINT64, sent.resent_bytes, "packet-nack-received",
        G_TYPE_UINT64, sent.nacks, "packets-asked", G_TYPE_UINT64, sent.asked, "packets-asked-gone",
        G_TYPE_UINT64, sent.gone, NULL);
  }
  gst_nat_relay_audience_stats (&self->audience, s);
  g_clear_pointer (&session, nat_session_unref);
  gst_structure_set (s, "mtu", G_TYPE_UINT, sink_get_mtu (GST_ELEMENT (self)), "key-rolls",
      G_TYPE_UINT, gst_nat_relay_sink_keys_get_rolls (&self->keys), NULL);
  return s;
}

static void
gst_nat_relay_sink_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (object);

  if (gst_nat_relay_connection_set_property (&self->conn, id, value, pspec))
    return;
  if (id == GST_NAT_RELAY_SINK_PROP_MTU) {
    sink_set_mtu (self, &self->mtu, g_value_get_uint (value));
    return;
  }
  GST_OBJECT_LOCK (self);
  switch (id) {
  case GST_NAT_RELAY_SINK_PROP_ENCRYPTION:
    self->encryption = (GstNatRelayEncryption)g_value_get_enum (value);
    break;
  case GST_NAT_RELAY_SINK_PROP_WAIT_FOR_CONNECTION:
    self->wait_for_connection = g_value_get_boolean (value);
    break;
  case GST_NAT_RELAY_SINK_PROP_SYNC: self->sync = g_value_get_boolean (value); break;
  case GST_NAT_RELAY_SINK_PROP_TAKEOVER: self->takeover = g_value_get_boolean (value); break;
  default: G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec); break;
  }
  GST_OBJECT_UNLOCK (self);
}

static void
gst_nat_relay_sink_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (object);

  if (gst_nat_relay_connection_get_property (&self->conn, id, value, pspec))
    return;
  if (id == GST_NAT_RELAY_SINK_PROP_STATS) {
    g_value_take_boxed (value, sink_stats (self));
    return;
  }
  if (id == GST_NAT_RELAY_SINK_PROP_ESTIMATED_BITRATE) {
    g_value_set_uint (value, (guint)g_atomic_int_get (&self->estimated_bitrate));
    return;
  }
  GST_OBJECT_LOCK (self);
  switch (id) {
  case GST_NAT_RELAY_SINK_PROP_ENCRYPTION: g_value_set_enum (value, (gint)self->encryption); break;
  case GST_NAT_RELAY_SINK_PROP_WAIT_FOR_CONNECTION:
    g_value_set_boolean (value, self->wait_for_connection);
    break;
  case GST_NAT_RELAY_SINK_PROP_SYNC: g_value_set_boolean (value, self->sync); break;
  case GST_NAT_RELAY_SINK_PROP_TAKEOVER: g_value_set_boolean (value, self->takeover); break;
  case GST_NAT_RELAY_SINK_PROP_MTU:
    g_value_set_uint (value, (guint)g_atomic_int_get (&self->mtu));
    break;
  default: G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec); break;
  }
  GST_OBJECT_UNLOCK (self);
}

static GstURIType
sink_uri_type (GType type)
{
  return GST_URI_SINK;
}

static gchar *
sink_uri_get (GstURIHandler *handler)
{
  return gst_nat_relay_connection_get_uri (&GST_NAT_RELAY_SINK (handler)->conn);
}

static gboolean
sink_uri_set (GstURIHandler *handler, const gchar *uri, GError **error)
{
  return gst_nat_relay_connection_set_uri (&GST_NAT_RELAY_SINK (handler)->conn, uri, error);
}

static void
gst_nat_relay_sink_uri_handler_init (gpointer iface, gpointer data)
{
  GstURIHandlerInterface *handler = iface;

  handler->get_type = sink_uri_type;
  handler->get_protocols = gst_nat_relay_connection_protocols;
  handler->get_uri = sink_uri_get;
  handler->set_uri = sink_uri_set;
}

static void
gst_nat_relay_sink_finalize (GObject *object)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (object);

  g_ptr_array_unref (self->pads);
  gst_nat_relay_connection_finalize (&self->conn);
  gst_nat_relay_audience_clear (&self->audience);
  gst_nat_relay_sink_description_clear (&self->description);
  gst_nat_relay_sink_keys_clear (&self->keys);
  g_mutex_clear (&self->lock);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
gst_nat_relay_sink_class_init (GstNatRelaySinkClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_nat_relay_sink_debug, "natrelaysink", 0, "natrelay publisher");
  object_class->set_property = gst_nat_relay_sink_set_property;
  object_class->get_property = gst_nat_relay_sink_get_property;
  object_class->finalize = gst_nat_relay_sink_finalize;
  gst_nat_relay_sink_properties_install (object_class, G_CALLBACK (sink_roll_key));
  gst_nat_relay_audience_install (object_class);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_set_static_metadata (element_class, "NAT relay sink", "Sink/Network",
      "Publishes encoded streams, or RTP, by way of a relay, through NATs and firewalls",
      "The natrelay developers <natrelay@example.org>");
  element_class->change_state = GST_DEBUG_FUNCPTR (gst_nat_relay_sink_change_state);
  element_class->request_new_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_sink_request_new_pad);
  element_class->release_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_sink_release_pad);
}

static void
gst_nat_relay_sink_init (GstNatRelaySink *self)
{
  g_mutex_init (&self->lock);
  gst_nat_relay_audience_init (&self->audience);
  self->pads = g_ptr_array_new_with_free_func (gst_object_unref);
  self->encryption = GST_NAT_RELAY_SINK_DEFAULT_ENCRYPTION;
  self->wait_for_connection = GST_NAT_RELAY_SINK_DEFAULT_WAIT_FOR_CONNECTION;
  self->sync = GST_NAT_RELAY_SINK_DEFAULT_SYNC;
  self->takeover = GST_NAT_RELAY_SINK_DEFAULT_TAKEOVER;
  self->mtu = GST_NAT_RELAY_SINK_DEFAULT_MTU;
  gst_nat_relay_connection_init (&self->conn, GST_ELEMENT (self), NAT_ROLE_PUBLISHER, &sink_hooks);

  /* The source of RTCP inside makes nobody a source. */
  gst_bin_set_suppressed_flags (GST_BIN (self), GST_ELEMENT_FLAG_SOURCE | GST_ELEMENT_FLAG_SINK);
  GST_OBJECT_FLAG_SET (self, GST_ELEMENT_FLAG_SINK);
  gst_nat_relay_rtp_build_sink (&self->rtp, GST_BIN (self));
  gst_nat_relay_sink_keys_init (&self->keys, GST_ELEMENT (self), self->rtp.seal, sink_keys_changed);
  gst_nat_relay_sink_description_init (
      &self->description, &self->conn, &self->keys, sink_collect, sink_patience_over);
  if (self->rtp.missing == NULL)
    g_signal_connect (self->rtp.rtpbin, "request-pt-map", G_CALLBACK (sink_request_pt_map), self);
}
