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
 * with all that a decoder must know in their caps. A pad that is not linked stops nothing; when it is linked later, the
 * publisher is asked for a key frame. Most pipelines set
 * only #GstNatRelaySrc:uri and #GstNatRelaySrc:auth-token, #GstNatRelaySrc:tls-fingerprint where the relay made its certificate
 * itself, and #GstNatRelaySrc:latency for links that are very good or bad.
 *
 * A publisher that stops and starts again keeps the pads. If it comes back with other codecs or another
 * number of tracks, the element message "natrelay-tracks-changed" is posted, the old pads are removed and new
 * ones are added. Applications that link decoders in "pad-added" go on; players (playbin, playbin3,
 * uridecodebin) do not follow pads that change, so their application takes them to READY and back to
 * PLAYING on that message.
 *
 * A branch that lets a packet wait for more than a second is flushed when the publisher starts anew, when the pad goes, and when the
 * element is stopped before the branch is: what may wait so long, as a file on a slow disk, wants a queue before it.
 *
 * With a pattern for a stream ("room/\*": one more segment; "room/\*\*": any) it plays all streams that it matches, over
 * one connection. Each publisher has pads of its own, which come and go with it; video_%u and audio_%u count on over all of them.
 * A pad's stream id (HOST:PORT/STREAM/...) says whose it is, and the title in its tags is the stream's name. The element messages
 * "natrelay-stream-added" and "natrelay-stream-removed" (field "stream"), and a stream collection, say who comes and goes.
 * There is no EOS when one leaves, and no no-more-pads, for which playbin would wait: rooms are for applications that link
 * pads, with decodebin or decodebin3 behind each.
 *
 * Nothing is sent before PLAYING. PROGRESS messages ("negotiate", "challenge", "register") and the element messages
 * "natrelay-connected", "natrelay-connection-lost", "natrelay-connection-attempt" and, when it moves between UDP and a
 * WebSocket, "natrelay-transport" tell how the connection fares. A WARNING is for people to see: the element goes on by
 * itself. An ERROR is final. Where nobody publishes the stream, the text at the end of "register" says so.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 natrelaysrc uri=natrelay://relay.example.org/door ! decodebin ! videoconvert ! autovideosink
 * ]| Shows the picture of the stream "door".
 * |[
 * gst-launch-1.0 natrelaysrc name=relay uri=natrelay://relay.example.org/talk relay.video_0 ! decodebin ! videoconvert ! autovideosink relay.audio_0 ! decodebin ! autoaudiosink
 * ]| Plays picture and sound.
 * |[
 * gst-play-1.0 natrelay://relay.example.org/talk
 * ]| Plays whatever the stream has.
 * |[
 * gst-launch-1.0 natrelaysrc uri=natrelay://relay.example.org/door key-file=door.key ! decodebin ! videoconvert ! autovideosink
 * ]| Shows a picture that the relay cannot see: the file is the publisher's.
 *
 * Since: 0.1
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysrc.h"
#include "gstnatrelayelement.h"
#include "gstnatrelayelements.h"
#include "gstnatrelayreceiver.h"
#include "gstnatrelayroom.h"
#include "gstnatrelaysrcpad.h"
#include "natproto/crypto.h"

GST_DEBUG_CATEGORY_STATIC (gst_nat_relay_src_debug);
#define GST_CAT_DEFAULT gst_nat_relay_src_debug

#define DEFAULT_LATENCY           200
#define DEFAULT_DROP_ON_LATENCY   FALSE
#define DEFAULT_DO_RETRANSMISSION TRUE
#define DEFAULT_NTP_SYNC          FALSE
#define DEFAULT_EOS_ON_END        FALSE
#define DEFAULT_INSTANT_START     TRUE
#define DEFAULT_ENCRYPTION        GST_NAT_RELAY_ENCRYPTION_NONE

enum {
  PROP_0,
  PROP_LATENCY = GST_NAT_RELAY_PROP_FIRST_OWN,
  PROP_DROP_ON_LATENCY,
  PROP_DO_RETRANSMISSION,
  PROP_NTP_SYNC,
  PROP_EOS_ON_END,
  PROP_INSTANT_START,
  PROP_EXCLUDE,
  PROP_ENCRYPTION,
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

struct _GstNatRelaySrc {
  GstBin parent;
  GstNatRelayConnection conn;
  GstNatRelayReceiver receiver; /* of a stream */
  GstNatRelayRoom room;         /* of a pattern: several; the other is idle then */
  gint is_room;                 /* atomic; of the run */

  /* Object lock. */
  GstNatRelayReceiverSettings settings;
  guint settings_set; /* how often */
  gboolean instant_start;
  gchar *exclude;
  GstNatRelayEncryption encryption;
  gboolean refusal_told; /* in this run */

  gboolean paused; /* state changes: it has played before */
};

static void gst_nat_relay_src_uri_handler_init (gpointer iface, gpointer data);

#define gst_nat_relay_src_parent_class parent_class
G_DEFINE_TYPE_WITH_CODE (GstNatRelaySrc, gst_nat_relay_src, GST_TYPE_BIN,
    G_IMPLEMENT_INTERFACE (GST_TYPE_URI_HANDLER, gst_nat_relay_src_uri_handler_init))
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (natrelaysrc, "natrelaysrc", GST_RANK_SECONDARY,
    GST_TYPE_NAT_RELAY_SRC, gst_nat_relay_element_init (plugin))

/* ---- the session --------------------------------------------------------- */

static gboolean
src_is_room (GstNatRelaySrc *self)
{
  return g_atomic_int_get (&self->is_room);
}

static void
src_on_document (GstElement *element, const NatSessionDocument *document)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (element);

  if (src_is_room (self)) {
    gst_nat_relay_room_take_document (&self->room, document);
    return;
  }
  gst_nat_relay_report_set_deserted (&self->conn.report, document->publisher != NAT_PUBLISHER_LIVE);
  gst_nat_relay_receiver_take_description (
      &self->receiver, document->publisher, &document->description);
}

static void
src_on_rtp (GstElement *element, NatDatagram *packets, guint n)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (element);

  if (src_is_room (self))
    gst_nat_relay_room_push_rtp (&self->room, packets, n);
  else
    gst_nat_relay_receiver_push_rtp (&self->receiver, packets, n);
}

static void
src_on_rtcp (GstElement *element, const NatDatagram *packet)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (element);

  if (src_is_room (self))
    gst_nat_relay_room_push_rtcp (&self->room, packet);
  else
    gst_nat_relay_receiver_push_rtcp (&self->receiver, packet);
}

static const GstNatRelayHooks src_hooks = {
    .document = src_on_document,
    .rtp = src_on_rtp,
    .rtcp = src_on_rtcp,
};

/* The weakest of the keys is below what is wanted? The suites' numbers grow with their strength. */
static gboolean
src_is_too_weak (GstNatRelaySrc *self, const NatDescription *description, GError **error)
{
  NatSframeSuite least = NAT_SFRAME_NONE, wanted;

  GST_OBJECT_LOCK (self);
  wanted = (NatSframeSuite)self->encryption;
  GST_OBJECT_UNLOCK (self);
  for (guint i = 0; i < description->n_media_keys; i++)
    least =
        i == 0 ? description->media_keys[i].suite : MIN (least, description->media_keys[i].suite);
  if (least >= wanted)
    return FALSE;
  g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_DECRYPT,
      "The publisher's encryption is weaker than the property encryption allows; set it to the "
      "same there, or to none here");
  return TRUE;
}

/* Once: what is refused may come again and again. One of many is no reason to end. */
static void
src_refuse (GstNatRelaySrc *self, const GError *error)
{
  gboolean tell;

  GST_OBJECT_LOCK (self);
  tell = !self->refusal_told;
  self->refusal_told = TRUE;
  GST_OBJECT_UNLOCK (self);
  if (tell)
    gst_element_message_full (GST_ELEMENT (self),
        src_is_room (self) ? GST_MESSAGE_WARNING : GST_MESSAGE_ERROR, error->domain, error->code,
        g_strdup (error->message), NULL, __FILE__, GST_FUNCTION, __LINE__);
}

/* To judge takes a slow machine seconds; meanwhile the element may have been stopped, and started with another. */
static gboolean
src_runs_with (GstNatRelaySrc *self, const GstNatRelayPassphrase *passphrase)
{
  GstNatRelayPassphrase *current = gst_nat_relay_connection_get_passphrase (&self->conn);
  gboolean same = current == passphrase;

  gst_nat_relay_passphrase_unref (current);
  return same;
}

static gboolean
src_admit (GstElement *element, gboolean live, const gchar *stream, NatDescription *description)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (element);
  GstNatRelayPassphrase *passphrase = gst_nat_relay_connection_get_passphrase (&self->conn);
  GError *error = NULL;
  gboolean ok;

  ok = gst_nat_relay_passphrase_admit (passphrase, stream, description, &error) &&
       !src_is_too_weak (self, description, &error);
  /* One that is gone may come back, or another in its place, with what we wait for. */
  if (!ok && live && src_runs_with (self, passphrase))
    src_refuse (self, error);
  g_clear_error (&error);
  gst_nat_relay_passphrase_unref (passphrase);
  return ok;
}

/* Ahead of the publisher's description, while the relay is asked for it. */
static void
src_stretch (GstElement *element, gpointer passphrase)
{
  gchar *stream = gst_nat_relay_connection_get_stream (&GST_NAT_RELAY_SRC (element)->conn);
  guint8 stretched[NAT_STRETCHED_SIZE];

  gst_nat_relay_passphrase_stretch (passphrase, stream, stretched);
  nat_crypto_wipe (stretched, sizeof stretched);
  g_free (stream);
}

static void
src_start_stretching (GstNatRelaySrc *self)
{
  GstNatRelayPassphrase *passphrase = gst_nat_relay_connection_get_passphrase (&self->conn);

  if (passphrase != NULL)
    gst_element_call_async (GST_ELEMENT (self), src_stretch, passphrase,
        (GDestroyNotify)gst_nat_relay_passphrase_unref);
}

static gboolean
src_start (GstNatRelaySrc *self)
{
  NatSession *session;
  gchar *stream;

  GST_OBJECT_LOCK (self);
  self->conn.settings.instant_start = self->instant_start;
  g_free (self->conn.settings.exclude);
  self->conn.settings.exclude = g_strdup (self->exclude);
  self->refusal_told = FALSE;
  GST_OBJECT_UNLOCK (self);
  if (!gst_nat_relay_connection_prepare (&self->conn))
    return FALSE;
  src_start_stretching (self);
  session = gst_nat_relay_connection_get_session (&self->conn);
  stream = gst_nat_relay_connection_get_stream (&self->conn);
  g_atomic_int_set (&self->is_room, nat_stream_is_glob (stream));
  if (src_is_room (self))
    gst_nat_relay_room_start (&self->room, self->conn.settings.exclude);
  else
    gst_nat_relay_receiver_start (&self->receiver, session, stream);
  g_free (stream);
  nat_session_unref (session);
  self->paused = FALSE;
  return TRUE;
}

static GPtrArray *
src_get_pads (GstNatRelaySrc *self)
{
  GPtrArray *pads = g_ptr_array_new_with_free_func (gst_object_unref);

  gst_nat_relay_layout_get_pads (&self->receiver.layout, pads);
  gst_nat_relay_room_get_pads (&self->room, pads);
  return pads;
}

static void
src_for_each_pad (GstNatRelaySrc *self, GFunc func)
{
  GPtrArray *pads = src_get_pads (self);

  g_ptr_array_foreach (pads, func, NULL);
  g_ptr_array_unref (pads);
}

/* A streaming thread may wait: for packets of the past, or behind a pad where nothing is taken. Those behind may play on. */
static void
src_unblock (GstNatRelaySrc *self)
{
  GPtrArray *pads;

  gst_nat_relay_receiver_unblock (&self->receiver);
  gst_nat_relay_room_unblock (&self->room);
  pads = src_get_pads (self);
  gst_nat_relay_src_pads_shut (pads);
  g_ptr_array_unref (pads);
}

static void
src_stop (GstNatRelaySrc *self)
{
  src_unblock (self);
  gst_nat_relay_connection_stop (&self->conn, FALSE);
  gst_nat_relay_receiver_stop (&self->receiver);
  gst_nat_relay_room_stop (&self->room);
}

/* What was missed in a pause is not repaired: decoders need a fresh start. */
static void
src_resume (GstNatRelaySrc *self)
{
  src_for_each_pad (self, gst_nat_relay_src_pad_begin_anew);
}

static GstStateChangeReturn
gst_nat_relay_src_change_state (GstElement *element, GstStateChange transition)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (element);
  GstStateChangeReturn ret;

  if (transition == GST_STATE_CHANGE_NULL_TO_READY &&
      !gst_nat_relay_rtp_check (&self->receiver.rtp, element))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !src_start (self))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    src_unblock (self);
  ret = GST_ELEMENT_CLASS (parent_class)->change_state (element, transition);
  /* Not before those inside take packets: the picture to begin with is sent once. */
  if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING && ret != GST_STATE_CHANGE_FAILURE)
    gst_nat_relay_connection_play (&self->conn);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY ||
      (transition == GST_STATE_CHANGE_READY_TO_PAUSED && ret == GST_STATE_CHANGE_FAILURE))
    src_stop (self);
  else if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED)
    self->paused = TRUE;
  else if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING && self->paused)
    src_resume (self);
  return ret;
}

/* ---- events -------------------------------------------------------------- */

static void
src_end_unfed (GstElement *element, gpointer unused)
{
  src_for_each_pad (GST_NAT_RELAY_SRC (element), gst_nat_relay_src_pad_end_unfed);
}

/* EOS, by which an application ends a recording, comes to the pads by what feeds them; where nothing does, as when the publisher has
 * been silent for long, nothing would end. Whoever sends it is not to wait. */
static gboolean
gst_nat_relay_src_send_event (GstElement *element, GstEvent *event)
{
  gboolean ends = GST_EVENT_TYPE (event) == GST_EVENT_EOS;
  gboolean sent = GST_ELEMENT_CLASS (parent_class)->send_event (element, event);

  if (ends)
    gst_element_call_async (element, src_end_unfed, NULL, NULL);
  return sent;
}

/* ---- properties ---------------------------------------------------------- */

static GstStructure *
src_stats (GstNatRelaySrc *self)
{
  NatSession *session = gst_nat_relay_connection_get_session (&self->conn);
  GstStructure *s = gst_nat_relay_report_stats (session, NAT_ROLE_SUBSCRIBER);

  if (session != NULL && self->receiver.rtp.missing == NULL) {
    GstNatRelayReceiverStats stats = {0};

    if (src_is_room (self))
      gst_nat_relay_room_get_stats (&self->room, &stats);
    else
      gst_nat_relay_receiver_add_stats (&self->receiver, &stats);
    gst_nat_relay_receiver_write_stats (&stats, s);
  }
  g_clear_pointer (&session, nat_session_unref);
  return s;
}

static guint
src_get_settings (GstNatRelaySrc *self, GstNatRelayReceiverSettings *settings)
{
  guint n;

  GST_OBJECT_LOCK (self);
  *settings = self->settings;
  n = self->settings_set;
  GST_OBJECT_UNLOCK (self);
  return n;
}

/* To those inside who have a share in it. Another thread may set something meanwhile, or a handler that hears of this: what is set
 * last is what they must have in the end. */
static void
src_apply_settings (GstNatRelaySrc *self)
{
  GstNatRelayReceiverSettings settings;
  guint applied, n = src_get_settings (self, &settings);

  do {
    applied = n;
    gst_nat_relay_receiver_set (&self->receiver, &settings);
    gst_nat_relay_receiver_set_rtpbin (self->receiver.rtp.rtpbin, &settings);
    gst_nat_relay_room_set (&self->room, &settings);
    n = src_get_settings (self, &settings);
  } while (n != applied);
}

/* Pads that nothing feeds yet have no jitterbuffer that would say it. */
static void
src_tell_latency (GstNatRelaySrc *self)
{
  gst_element_post_message (GST_ELEMENT (self), gst_message_new_latency (GST_OBJECT (self)));
}

static void
gst_nat_relay_src_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (object);

  if (gst_nat_relay_connection_set_property (&self->conn, id, value, pspec))
    return;
  GST_OBJECT_LOCK (self);
  switch (id) {
  case PROP_LATENCY: self->settings.latency = g_value_get_uint (value); break;
  case PROP_DROP_ON_LATENCY: self->settings.drop_on_latency = g_value_get_boolean (value); break;
  case PROP_DO_RETRANSMISSION:
    self->settings.do_retransmission = g_value_get_boolean (value);
    break;
  case PROP_NTP_SYNC: self->settings.ntp_sync = g_value_get_boolean (value); break;
  case PROP_EOS_ON_END: self->settings.eos_on_end = g_value_get_boolean (value); break;
  case PROP_INSTANT_START: self->instant_start = g_value_get_boolean (value); break;
  case PROP_EXCLUDE:
    g_free (self->exclude);
    self->exclude = g_value_dup_string (value);
    break;
  case PROP_ENCRYPTION: self->encryption = (GstNatRelayEncryption)g_value_get_enum (value); break;
  default: G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec); break;
  }
  self->settings_set++;
  GST_OBJECT_UNLOCK (self);
  src_apply_settings (self);
  if (id == PROP_LATENCY)
    src_tell_latency (self);
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
  case PROP_LATENCY: g_value_set_uint (value, self->settings.latency); break;
  case PROP_DROP_ON_LATENCY: g_value_set_boolean (value, self->settings.drop_on_latency); break;
  case PROP_DO_RETRANSMISSION: g_value_set_boolean (value, self->settings.do_retransmission); break;
  case PROP_NTP_SYNC: g_value_set_boolean (value, self->settings.ntp_sync); break;
  case PROP_EOS_ON_END: g_value_set_boolean (value, self->settings.eos_on_end); break;
  case PROP_INSTANT_START: g_value_set_boolean (value, self->instant_start); break;
  case PROP_EXCLUDE: g_value_set_string (value, self->exclude); break;
  case PROP_ENCRYPTION: g_value_set_enum (value, (gint)self->encryption); break;
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

  gst_nat_relay_room_clear (&self->room);
  gst_nat_relay_receiver_clear (&self->receiver);
  g_free (self->exclude);
  gst_nat_relay_connection_finalize (&self->conn);
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
   * How long packets wait for missing and late ones, in milliseconds: the delay that this element adds. Two round trips to the
   * relay and 20 ms leave time for one repair on the publisher's way and one on this.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_LATENCY,
      g_param_spec_uint ("latency", "Latency",
          "Time in milliseconds that missing and late packets are waited for (default 200; less "
          "for talk over short ways, more for bad links)",
          0, 60000, DEFAULT_LATENCY, flags | GST_PARAM_MUTABLE_PLAYING));
  /**
   * GstNatRelaySrc:drop-on-latency:
   *
   * Drop the oldest packets rather than hold more than #GstNatRelaySrc:latency of them.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_DROP_ON_LATENCY,
      g_param_spec_boolean ("drop-on-latency", "Drop on latency",
          "Never buffer more than latency milliseconds (default false; true where late is worse "
          "than a gap)",
          DEFAULT_DROP_ON_LATENCY, flags | GST_PARAM_MUTABLE_READY));
  /**
   * GstNatRelaySrc:do-retransmission:
   *
   * Ask for packets that were lost (RFC 4585), as often as #GstNatRelaySrc:latency leaves time for. If it leaves too
   * little for the round trip, the element message "natrelay-latency-short" and a warning say so, once, with
   * the latency that would do.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_DO_RETRANSMISSION,
      g_param_spec_boolean ("do-retransmission", "Do retransmission",
          "Ask for lost packets again (default true; false only where latency leaves no time for "
          "it)",
          DEFAULT_DO_RETRANSMISSION, flags | GST_PARAM_MUTABLE_PLAYING));
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
          "Synchronize with the publisher's NTP time (default false; true for several screens that "
          "show the same, with clocks that are right)",
          DEFAULT_NTP_SYNC, flags | GST_PARAM_MUTABLE_READY));
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
          "Send EOS when the publisher ended the stream (default false, which waits for the next; "
          "true for scripts and recordings that are to end)",
          DEFAULT_EOS_ON_END, flags | GST_PARAM_MUTABLE_PLAYING));
  /**
   * GstNatRelaySrc:instant-start:
   *
   * Show a picture at once, whatever the age of the last key frame: the relay sends what came since, the key frame is shown as
   * a still, and the rest lies before the segment, so that decoders go through it without showing it. It costs
   * those packets once, as fast as four times the stream's rate (20 Mbit/s at least). Without it, the first picture is
   * the encoder's next key frame, for which it is asked.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_INSTANT_START,
      g_param_spec_boolean ("instant-start", "Instant start",
          "Begin with the last key frame and what came since (default true; false for recordings, "
          "which then begin with a key frame of now)",
          DEFAULT_INSTANT_START, flags | GST_PARAM_MUTABLE_READY));
  /**
   * GstNatRelaySrc:exclude:
   *
   * Of a room ("natrelay://host/room/\*"), the stream that is left out: the one that this participant publishes. What a
   * publisher with the same token subject sends is left out without that.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_EXCLUDE,
      g_param_spec_string ("exclude", "Exclude",
          "Name of the stream that a pattern in the uri is not to bring back (unset = none)", NULL,
          flags | GST_PARAM_MUTABLE_READY));
  /**
   * GstNatRelaySrc:encryption:
   *
   * The least that is accepted of how the publisher seals its media: "none" plays whatever comes, in clear or sealed. It is
   * the relay that says which it is, unless a #GstNatRelaySink:passphrase lets it say nothing of its own; then nothing in
   * clear is played in any case.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_ENCRYPTION,
      g_param_spec_enum ("encryption", "Encryption",
          "Least encryption of the publisher that is played (default none, which plays all; "
          "aes-128-gcm refuses what is in clear)",
          GST_TYPE_NAT_RELAY_ENCRYPTION, DEFAULT_ENCRYPTION, flags | GST_PARAM_MUTABLE_READY));
  /**
   * GstNatRelaySrc:stats:
   *
   * application/x-natrelay-statistics: packets-received, bytes-received, packets-received-dropped (of these:
   * packets-received-unknown-key, packets-received-refused; the rest came in a pause or found no room),
   * packets-received-lost, packets-received-late, packets-received-duplicate (repairs that crossed, repeated ends); packet-nack-sent, packets-asked (sequence
   * numbers in those, repeats included), packets-recovered, packets-recovered-late (after the latency, so in vain),
   * packets-reordered; packets-of-the-past (with #GstNatRelaySrc:instant-start); local-address, mapped-address
   * (as the relay sees this client), relay-address, transport; rtt-ms; rtcp-packets-sent,
   * rtcp-packets-received, rtcp-packets-refused, datagrams-refused; rebinds, reconnects, attempts;
   * last-error, last-error-cause.
   *
   * Names are srtsrc's where the meaning is (hence packet-nack-sent); all other counts of packets begin with
   * "packets-", of bytes with "bytes-".
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
  element_class->send_event = GST_DEBUG_FUNCPTR (gst_nat_relay_src_send_event);
}

static void
gst_nat_relay_src_init (GstNatRelaySrc *self)
{
  self->settings.latency = DEFAULT_LATENCY;
  self->settings.drop_on_latency = DEFAULT_DROP_ON_LATENCY;
  self->settings.do_retransmission = DEFAULT_DO_RETRANSMISSION;
  self->settings.ntp_sync = DEFAULT_NTP_SYNC;
  self->settings.eos_on_end = DEFAULT_EOS_ON_END;
  self->instant_start = DEFAULT_INSTANT_START;
  self->encryption = DEFAULT_ENCRYPTION;
  gst_nat_relay_connection_init (&self->conn, GST_ELEMENT (self), NAT_ROLE_SUBSCRIBER, &src_hooks);

  /* The sink of RTCP inside makes nobody a sink. */
  gst_bin_set_suppressed_flags (GST_BIN (self), GST_ELEMENT_FLAG_SOURCE | GST_ELEMENT_FLAG_SINK);
  GST_OBJECT_FLAG_SET (self, GST_ELEMENT_FLAG_SOURCE);
  gst_nat_relay_receiver_init (&self->receiver, &self->conn, src_admit, templates, NULL);
  gst_nat_relay_room_init (&self->room, &self->conn, src_admit, templates);
  src_apply_settings (self);
}
