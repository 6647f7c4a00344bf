/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/**
 * SECTION:element-natrelaysink
 * @title: natrelaysink
 * @see_also: natrelaysrc
 *
 * natrelaysink publishes RTP streams at a relay (natrelay-server), from behind any NAT. Each request
 * pad is a track; all tracks of the element make one stream, which any number of natrelaysrc can
 * play.
 *
 * Media payloads are sealed with SFrame (RFC 9605) unless #GstNatRelaySink:encryption is "none". A relay that
 * is absent never holds the pipeline: packets are dropped and counted in #GstNatRelaySink:stats until
 * it is there, unless #GstNatRelaySink:wait-for-connection is set. The pipeline's EOS ends the stream for
 * the audience; stopping without EOS keeps its place for a publisher that comes back.
 *
 * Nothing is sent before PLAYING. The connection's life is told by PROGRESS messages ("negotiate",
 * "challenge", "register") and by the element messages "natrelay-connected", "natrelay-connection-lost" and
 * "natrelay-connection-attempt".
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 v4l2src ! videoconvert ! x264enc tune=zerolatency ! rtph264pay mtu=1200 ! natrelaysink uri=natrelay://relay.example.org/door
 * ]| Publishes a camera as the stream "door".
 * |[
 * gst-launch-1.0 natrelaysink name=relay uri=natrelay://relay.example.org/talk videotestsrc is-live=true ! vp8enc deadline=1 ! rtpvp8pay mtu=1200 ! relay. audiotestsrc is-live=true ! opusenc ! rtpopuspay ! relay.
 * ]| Publishes a picture and a sound as one stream.
 *
 * Since: 0.1
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysink.h"
#include "gstnatrelayelement.h"
#include "gstnatrelayelements.h"
#include "gstnatrelayrtp.h"
#include "gstnatrelaysdp.h"
#include "gstnatrelaysinkpad.h"
#include "natproto/crypto.h"

#include <stdio.h>

GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_sink_debug);
#define GST_CAT_DEFAULT gst_nat_relay_sink_debug

#define DEFAULT_ENCRYPTION          GST_NAT_RELAY_ENCRYPTION_AES_128_GCM
#define DEFAULT_WAIT_FOR_CONNECTION FALSE
#define DEFAULT_SYNC                TRUE
#define DEFAULT_TAKEOVER            FALSE

/* The first description waits so long for tracks that have no caps yet. */
#define DESCRIPTION_PATIENCE GST_SECOND
/* A new key is used so long after its announcement: even a slow audience has fetched it. */
#define KEY_ROLL_DELAY (60 * GST_SECOND)

typedef enum {
  GST_NAT_RELAY_ENCRYPTION_NONE = NAT_SFRAME_NONE,
  GST_NAT_RELAY_ENCRYPTION_AES_128_GCM = NAT_SFRAME_AES_128_GCM_SHA256_128,
  GST_NAT_RELAY_ENCRYPTION_AES_256_GCM = NAT_SFRAME_AES_256_GCM_SHA512_128,
} GstNatRelayEncryption;

enum {
  PROP_0,
  PROP_ENCRYPTION = GST_NAT_RELAY_PROP_FIRST_OWN,
  PROP_WAIT_FOR_CONNECTION,
  PROP_SYNC,
  PROP_TAKEOVER,
  PROP_STATS,
};

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE (
    "sink_%u", GST_PAD_SINK, GST_PAD_REQUEST, GST_STATIC_CAPS ("application/x-rtp"));

struct _GstNatRelaySink {
  GstBin parent;
  GstNatRelayConnection conn;
  GstNatRelayRtp rtp;

  /* Object lock. */
  GstNatRelayEncryption encryption;
  gboolean wait_for_connection;
  gboolean sync;
  gboolean takeover;

  /* Lock order: lock, then the object lock; neither is held while calling out. */
  GMutex lock;
  GPtrArray *pads; /* of GstNatRelaySinkPad; their tracks' caps and ids too */
  guint next_index;
  NatMediaKey keys[2]; /* in use, and the next */
  guint n_keys;
  gchar *cname;
  guint64 sdp_id, sdp_version;
  gchar *sdp;   /* as offered, or NULL */
  guint offers; /* counts up with each description built */
  GstClockID patience;
  gboolean patience_over;

  guint complaints; /* atomic; 1 << GstNatRelayComplaint that were made */
};

static void gst_nat_relay_sink_uri_handler_init (gpointer iface, gpointer data);
static void sink_describe (GstNatRelaySink *self, gboolean force);

#define gst_nat_relay_sink_parent_class parent_class
G_DEFINE_TYPE_WITH_CODE (GstNatRelaySink, gst_nat_relay_sink, GST_TYPE_BIN,
    G_IMPLEMENT_INTERFACE (GST_TYPE_URI_HANDLER, gst_nat_relay_sink_uri_handler_init))
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (natrelaysink, "natrelaysink", GST_RANK_SECONDARY,
    GST_TYPE_NAT_RELAY_SINK, gst_nat_relay_element_init (plugin))

#define GST_TYPE_NAT_RELAY_ENCRYPTION (gst_nat_relay_encryption_get_type ())
static GType
gst_nat_relay_encryption_get_type (void)
{
  static gsize type = 0;
  static const GEnumValue values[] = {
      {GST_NAT_RELAY_ENCRYPTION_NONE, "Payloads go in clear", "none"},
      {GST_NAT_RELAY_ENCRYPTION_AES_128_GCM, "SFrame with AES-128-GCM", "aes-128-gcm"},
      {GST_NAT_RELAY_ENCRYPTION_AES_256_GCM, "SFrame with AES-256-GCM", "aes-256-gcm"},
      {0, NULL, NULL},
  };

  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstNatRelayEncryption", values));
  return type;
}

/* ---- description --------------------------------------------------------- */

/* called with lock */
static GstNatRelayTrack *
sink_track (GstNatRelaySink *self, guint index)
{
  return gst_nat_relay_sink_pad_get_track (self->pads->pdata[index]);
}

/* called with lock; TRUE: all tracks that matter are known */
static gboolean
sink_may_describe (GstNatRelaySink *self)
{
  guint known = 0;

  for (guint i = 0; i < self->pads->len; i++)
    known += sink_track (self, i)->caps != NULL;
  if (known == 0)
    return FALSE;
  return known == self->pads->len || self->sdp != NULL || self->patience_over;
}

static gboolean
sink_patience_over (GstClock *clock, GstClockTime time, GstClockID id, gpointer user)
{
  GstNatRelaySink *self = g_weak_ref_get (user);

  if (self == NULL)
    return TRUE;
  g_mutex_lock (&self->lock);
  self->patience_over = self->patience == id;
  g_mutex_unlock (&self->lock);
  sink_describe (self, FALSE);
  gst_object_unref (self);
  return TRUE;
}

static void
weak_ref_free (gpointer ref)
{
  g_weak_ref_clear (ref);
  g_free (ref);
}

/* An entry that was unscheduled stays with the clock until others before it are done: it must not hold the
 * element for so long. */
static void
sink_wait (GstNatRelaySink *self, GstClockID id)
{
  GWeakRef *ref = g_new (GWeakRef, 1);

  g_weak_ref_init (ref, self);
  gst_clock_id_wait_async (id, sink_patience_over, ref, weak_ref_free);
  gst_clock_id_unref (id);
}

/* called with lock; a clock to be waited for, or NULL */
static GstClockID
sink_arm_patience (GstNatRelaySink *self)
{
  GstClock *clock;

  for (guint i = 0; self->patience == NULL && i < self->pads->len; i++) {
    if (sink_track (self, i)->caps == NULL)
      continue;
    clock = gst_system_clock_obtain ();
    self->patience =
        gst_clock_new_single_shot_id (clock, gst_clock_get_time (clock) + DESCRIPTION_PATIENCE);
    gst_object_unref (clock);
    return gst_clock_id_ref (self->patience);
  }
  return NULL;
}

static void
sink_forget_patience (GstNatRelaySink *self)
{
  GstClockID id;

  g_mutex_lock (&self->lock);
  id = g_steal_pointer (&self->patience);
  self->patience_over = FALSE;
  g_mutex_unlock (&self->lock);
  if (id != NULL) {
    gst_clock_id_unschedule (id);
    gst_clock_id_unref (id);
  }
}

/* called with lock; the new description, or NULL if it is as it was */
static gchar *
sink_build_sdp (GstNatRelaySink *self, GError **error)
{
  GstNatRelaySdpOrigin origin = {self->cname, self->sdp_id, self->sdp_version};
  GPtrArray *caps = g_ptr_array_new ();
  gchar *sdp;

  for (guint i = 0; i < self->pads->len; i++) {
    GstNatRelayTrack *track = sink_track (self, i);

    if (track->caps != NULL)
      g_ptr_array_add (caps, track->caps);
  }
  sdp = gst_nat_relay_sdp_from_caps ((GstCaps *const *)caps->pdata, caps->len, &origin, error);
  if (sdp != NULL && g_strcmp0 (sdp, self->sdp) == 0) {
    g_clear_pointer (&sdp, g_free);
  } else if (sdp != NULL && self->sdp != NULL) {
    g_free (sdp);
    origin.version = ++self->sdp_version;
    sdp = gst_nat_relay_sdp_from_caps ((GstCaps *const *)caps->pdata, caps->len, &origin, error);
  }
  g_ptr_array_unref (caps);
  return sdp;
}

/* Two tracks may describe at once: what the session hears last must be what was built last. */
static void
sink_offer (GstNatRelaySink *self, const NatDescription *description, guint serial)
{
  NatSession *session = gst_nat_relay_connection_get_session (&self->conn);

  if (session == NULL)
    return;
  GST_DEBUG_OBJECT (self, "offering\n%s", description->sdp);
  gst_nat_relay_report_set_ready (&self->conn.report);
  g_mutex_lock (&self->lock);
  if (serial == self->offers)
    nat_session_set_description (session, description);
  g_mutex_unlock (&self->lock);
  nat_session_unref (session);
}

/* Offers what the tracks' caps say, as soon as all are known or patience is over, and again when
 * they change. force: also when the text is the same (other keys). */
static void
sink_describe (GstNatRelaySink *self, gboolean force)
{
  NatDescription description = {0};
  GstClockID wait = NULL;
  GError *error = NULL;
  guint serial = 0;

  g_mutex_lock (&self->lock);
  if (sink_may_describe (self)) {
    description.sdp = sink_build_sdp (self, &error);
    if (description.sdp != NULL) {
      g_free (self->sdp);
      self->sdp = g_strdup (description.sdp);
    } else if (force && error == NULL) {
      description.sdp = g_strdup (self->sdp);
    }
    memcpy (description.media_keys, self->keys, sizeof self->keys);
    description.n_media_keys = self->n_keys;
    if (description.sdp != NULL)
      serial = ++self->offers;
  } else {
    wait = sink_arm_patience (self);
  }
  g_mutex_unlock (&self->lock);

  if (wait != NULL)
    sink_wait (self, wait);
  if (error != NULL) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("%s", error->message), (NULL));
    g_error_free (error);
  }
  if (description.sdp != NULL)
    sink_offer (self, &description, serial);
  nat_description_clear (&description);
}

/* ---- keys ---------------------------------------------------------------- */

static void
sink_new_key (GstNatRelaySink *self)
{
  GstNatRelayEncryption encryption;

  GST_OBJECT_LOCK (self);
  encryption = self->encryption;
  GST_OBJECT_UNLOCK (self);
  g_mutex_lock (&self->lock);
  self->n_keys = encryption == GST_NAT_RELAY_ENCRYPTION_NONE ? 0 : 1;
  if (self->n_keys == 1)
    nat_media_key_generate (&self->keys[0], (NatSframeSuite)encryption);
  gst_nat_relay_seal_set_key (self->rtp.seal, self->n_keys == 1 ? &self->keys[0] : NULL);
  g_mutex_unlock (&self->lock);
}

/* On the streaming thread, long before the key in use has sealed all that it may. */
static void
sink_roll_key (gpointer user)
{
  GstNatRelaySink *self = user;

  GST_INFO_OBJECT (self, "announcing the next media key");
  g_mutex_lock (&self->lock);
  if (self->n_keys == 2)
    self->keys[0] = self->keys[1];
  nat_media_key_generate_next (&self->keys[1], &self->keys[0]);
  self->n_keys = 2;
  gst_nat_relay_seal_roll_to (self->rtp.seal, &self->keys[1], KEY_ROLL_DELAY);
  g_mutex_unlock (&self->lock);
  sink_describe (self, TRUE);
}

static void
sink_forget (GstNatRelaySink *self)
{
  sink_forget_patience (self);
  gst_nat_relay_seal_reset (self->rtp.seal);
  g_mutex_lock (&self->lock);
  nat_crypto_wipe (self->keys, sizeof self->keys);
  self->n_keys = 0;
  for (guint i = 0; i < self->pads->len; i++)
    gst_nat_relay_sink_pad_reset (self->pads->pdata[i]);
  g_clear_pointer (&self->sdp, g_free);
  g_clear_pointer (&self->cname, g_free);
  g_mutex_unlock (&self->lock);
}

/* ---- what the pads ask --------------------------------------------------- */

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

static void
sink_settled (GstElement *element)
{
  sink_describe (GST_NAT_RELAY_SINK (element), FALSE);
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

static const GstNatRelaySinkPadOwner sink_pad_owner = {
    .settle = sink_settle,
    .settled = sink_settled,
    .may_complain = sink_may_complain,
    .wants_sync = sink_wants_sync,
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
  pad = gst_nat_relay_sink_pad_new (
      index, template, GST_BIN (self), self->rtp.bundle, &sink_pad_owner);
  if (pad == NULL)
    return NULL;
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->pads, gst_object_ref_sink (pad));
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
  gst_pad_set_active (pad, FALSE);
  g_mutex_lock (&self->lock);
  g_ptr_array_remove (self->pads, pad);
  g_mutex_unlock (&self->lock);
  gst_element_remove_pad (element, pad);
  gst_nat_relay_sink_pad_unwire (GST_NAT_RELAY_SINK_PAD (pad), GST_BIN (self), self->rtp.bundle);
  gst_object_unref (pad);
  sink_describe (self, FALSE);
}

/* ---- the session --------------------------------------------------------- */

static void
sink_on_state (GstElement *element, NatSessionState state)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (element);

  if (state == NAT_SESSION_CONNECTED)
    gst_nat_relay_transport_sink_set_connected (self->rtp.rtp_sink);
  gst_nat_relay_transport_sink_set_failed (self->rtp.rtp_sink, state == NAT_SESSION_FAILED);
}

static void
sink_on_rtcp (GstElement *element, const NatDatagram *packet)
{
  gst_nat_relay_transport_src_push (GST_NAT_RELAY_SINK (element)->rtp.rtcp_src, packet, 1);
}

static const GstNatRelayHooks sink_hooks = {
    .state = sink_on_state,
    .rtcp = sink_on_rtcp,
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

static gboolean
sink_start (GstNatRelaySink *self)
{
  NatSession *session;

  GST_OBJECT_LOCK (self);
  self->conn.settings.takeover = self->takeover;
  GST_OBJECT_UNLOCK (self);
  if (!gst_nat_relay_connection_prepare (&self->conn))
    return FALSE;
  session = gst_nat_relay_connection_get_session (&self->conn);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtp_sink, session);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, session);
  nat_session_unref (session);
  GST_OBJECT_LOCK (self);
  gst_nat_relay_transport_sink_set_wait (self->rtp.rtp_sink, self->wait_for_connection);
  GST_OBJECT_UNLOCK (self);
  g_atomic_int_set (&self->complaints, 0);
  g_mutex_lock (&self->lock);
  self->cname = gst_nat_relay_rtp_cname (&self->rtp);
  self->sdp_id = (guint64)g_random_int () << 20 | (g_random_int () >> 12);
  self->sdp_version = 1;
  g_mutex_unlock (&self->lock);
  sink_new_key (self);
  return TRUE;
}

static void
sink_stop (GstNatRelaySink *self)
{
  gboolean ended = gst_nat_relay_transport_sink_saw_eos (self->rtp.rtp_sink);

  gst_nat_relay_connection_stop (&self->conn, ended);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtp_sink, NULL);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, NULL);
  sink_forget (self);
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
  if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING)
    gst_nat_relay_connection_play (&self->conn);
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

  g_clear_pointer (&session, nat_session_unref);
  return s;
}

static void
gst_nat_relay_sink_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstNatRelaySink *self = GST_NAT_RELAY_SINK (object);

  if (gst_nat_relay_connection_set_property (&self->conn, id, value, pspec))
    return;
  GST_OBJECT_LOCK (self);
  switch (id) {
  case PROP_ENCRYPTION: self->encryption = (GstNatRelayEncryption)g_value_get_enum (value); break;
  case PROP_WAIT_FOR_CONNECTION: self->wait_for_connection = g_value_get_boolean (value); break;
  case PROP_SYNC: self->sync = g_value_get_boolean (value); break;
  case PROP_TAKEOVER: self->takeover = g_value_get_boolean (value); break;
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
  if (id == PROP_STATS) {
    g_value_take_boxed (value, sink_stats (self));
    return;
  }
  GST_OBJECT_LOCK (self);
  switch (id) {
  case PROP_ENCRYPTION: g_value_set_enum (value, (gint)self->encryption); break;
  case PROP_WAIT_FOR_CONNECTION: g_value_set_boolean (value, self->wait_for_connection); break;
  case PROP_SYNC: g_value_set_boolean (value, self->sync); break;
  case PROP_TAKEOVER: g_value_set_boolean (value, self->takeover); break;
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
  g_free (self->sdp);
  g_free (self->cname);
  gst_nat_relay_connection_finalize (&self->conn);
  g_mutex_clear (&self->lock);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
install_properties (GObjectClass *klass)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;

  gst_nat_relay_connection_install (klass);
  /**
   * GstNatRelaySink:encryption:
   *
   * How payloads are sealed (SFrame, RFC 9605). The receivers follow what the sender chose.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_ENCRYPTION,
      g_param_spec_enum ("encryption", "Encryption",
          "How media payloads are sealed (default aes-128-gcm)", GST_TYPE_NAT_RELAY_ENCRYPTION,
          DEFAULT_ENCRYPTION, flags));
  /**
   * GstNatRelaySink:wait-for-connection:
   *
   * Hold the pipeline until the relay was reached for the first time, instead of dropping packets.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_WAIT_FOR_CONNECTION,
      g_param_spec_boolean ("wait-for-connection", "Wait for connection",
          "Hold packets until the first connection instead of dropping them (default false)",
          DEFAULT_WAIT_FOR_CONNECTION, flags));
  /**
   * GstNatRelaySink:sync:
   *
   * Follow the clock where the input is not live, so that a file is sent at the speed at which it plays. Live
   * input is never delayed.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_SYNC,
      g_param_spec_boolean ("sync", "Sync",
          "Send input that is not live at its own speed (default true)", DEFAULT_SYNC, flags));
  /**
   * GstNatRelaySink:takeover:
   *
   * Take the stream's place even if another publisher holds it, where the access token allows that.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TAKEOVER,
      g_param_spec_boolean ("takeover", "Take over",
          "Replace another publisher of the same stream (default false)", DEFAULT_TAKEOVER, flags));
  /**
   * GstNatRelaySink:stats:
   *
   * application/x-natrelay-statistics: packets-sent, bytes-sent, packets-sent-dropped (no connection, or the
   * socket was full); local-address, mapped-address (as the relay sees this client), relay-address,
   * transport; rtt-ms; rtcp-packets-sent, rtcp-packets-received, rtcp-packets-refused,
   * datagrams-refused; rebinds, reconnects, attempts; last-error, last-error-cause.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics", "Counters and addresses of the connection",
          GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
  gst_type_mark_as_plugin_api (GST_TYPE_NAT_RELAY_ENCRYPTION, 0);
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
  install_properties (object_class);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_set_static_metadata (element_class, "NAT relay sink", "Sink/Network",
      "Publishes RTP streams by way of a relay, through NATs and firewalls",
      "The natrelay developers <natrelay@example.org>");
  element_class->change_state = GST_DEBUG_FUNCPTR (gst_nat_relay_sink_change_state);
  element_class->request_new_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_sink_request_new_pad);
  element_class->release_pad = GST_DEBUG_FUNCPTR (gst_nat_relay_sink_release_pad);
}

static void
gst_nat_relay_sink_init (GstNatRelaySink *self)
{
  g_mutex_init (&self->lock);
  self->pads = g_ptr_array_new_with_free_func (gst_object_unref);
  self->encryption = DEFAULT_ENCRYPTION;
  self->wait_for_connection = DEFAULT_WAIT_FOR_CONNECTION;
  self->sync = DEFAULT_SYNC;
  self->takeover = DEFAULT_TAKEOVER;
  gst_nat_relay_connection_init (&self->conn, GST_ELEMENT (self), NAT_ROLE_PUBLISHER, &sink_hooks);

  /* The source of RTCP inside makes nobody a source. */
  gst_bin_set_suppressed_flags (GST_BIN (self), GST_ELEMENT_FLAG_SOURCE | GST_ELEMENT_FLAG_SINK);
  GST_OBJECT_FLAG_SET (self, GST_ELEMENT_FLAG_SINK);
  gst_nat_relay_rtp_build_sink (&self->rtp, GST_BIN (self));
  if (self->rtp.missing != NULL)
    return;
  g_signal_connect (self->rtp.rtpbin, "request-pt-map", G_CALLBACK (sink_request_pt_map), self);
  gst_nat_relay_seal_set_roll (
      self->rtp.seal, GST_NAT_RELAY_SEAL_ROLL_PACKETS, sink_roll_key, self);
}
