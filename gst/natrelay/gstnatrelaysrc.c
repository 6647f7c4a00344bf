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
 * number of tracks, the element message "natrelay-tracks-changed" is posted, the old pads are removed and new
 * ones are added. Applications that link decoders in "pad-added" go on; players (playbin, playbin3,
 * uridecodebin) do not follow pads that change, so their application takes them to READY and back to
 * PLAYING on that message.
 *
 * Nothing is sent before PLAYING. The connection's life is told by PROGRESS messages ("negotiate",
 * "challenge", "register") and by the element messages "natrelay-connected", "natrelay-connection-lost" and
 * "natrelay-connection-attempt".
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
#include "gstnatrelaylayout.h"
#include "gstnatrelayrtp.h"

#include <stdio.h>

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

struct _GstNatRelaySrc {
  GstBin parent;
  GstNatRelayConnection conn;
  GstNatRelayRtp rtp;
  GstNatRelayLayout layout;

  /* Object lock. */
  guint latency; /* ms */
  gboolean drop_on_latency;
  gboolean ntp_sync;
  gboolean eos_on_end;

  gboolean paused; /* state changes: it has played before */
};

static void gst_nat_relay_src_uri_handler_init (gpointer iface, gpointer data);

#define gst_nat_relay_src_parent_class parent_class
G_DEFINE_TYPE_WITH_CODE (GstNatRelaySrc, gst_nat_relay_src, GST_TYPE_BIN,
    G_IMPLEMENT_INTERFACE (GST_TYPE_URI_HANDLER, gst_nat_relay_src_uri_handler_init))
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (natrelaysrc, "natrelaysrc", GST_RANK_SECONDARY,
    GST_TYPE_NAT_RELAY_SRC, gst_nat_relay_element_init (plugin))

/* ---- rtpbin's signals ---------------------------------------------------- */

static GstCaps *
src_request_pt_map (GstElement *rtpbin, guint session, guint pt, gpointer user)
{
  return gst_nat_relay_layout_get_caps (&GST_NAT_RELAY_SRC (user)->layout, pt);
}

/* The first packet of an SSRC came. */
static void
src_rtpbin_pad_added (GstElement *rtpbin, GstPad *pad, gpointer user)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (user);
  guint session, ssrc, pt;

  if (sscanf (GST_PAD_NAME (pad), "recv_rtp_src_%u_%u_%u", &session, &ssrc, &pt) == 3 &&
      !gst_nat_relay_layout_feed (&self->layout, ssrc, pad))
    GST_DEBUG_OBJECT (self, "SSRC %08x is of no track (any more)", ssrc);
}

/* ---- the session --------------------------------------------------------- */

static void
src_on_document (GstElement *element, const NatSessionDocument *document)
{
  gst_nat_relay_layout_take_document (&GST_NAT_RELAY_SRC (element)->layout, document);
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

static gchar *
src_stream_id (GstNatRelaySrc *self)
{
  const NatSessionConfig *settings = &self->conn.settings;
  gchar *id;

  GST_OBJECT_LOCK (self);
  id = g_strdup_printf ("%s:%u/%s", settings->host, settings->port, settings->stream);
  GST_OBJECT_UNLOCK (self);
  return id;
}

static gboolean
src_start (GstNatRelaySrc *self)
{
  NatSession *session;

  if (!gst_nat_relay_connection_prepare (&self->conn))
    return FALSE;
  session = gst_nat_relay_connection_get_session (&self->conn);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, session);
  nat_session_unref (session);
  gst_nat_relay_layout_start (&self->layout, src_stream_id (self));
  self->paused = FALSE;
  return TRUE;
}

static void
src_stop (GstNatRelaySrc *self)
{
  gst_nat_relay_connection_stop (&self->conn, FALSE);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, NULL);
  gst_nat_relay_layout_stop (&self->layout);
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
  if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING)
    gst_nat_relay_connection_play (&self->conn);
  ret = GST_ELEMENT_CLASS (parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY ||
      (transition == GST_STATE_CHANGE_READY_TO_PAUSED && ret == GST_STATE_CHANGE_FAILURE))
    src_stop (self);
  else if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED)
    self->paused = TRUE;
  else if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING && self->paused)
    /* What was missed in a pause is not repaired: decoders need a fresh start. */
    gst_nat_relay_layout_request_key_units (&self->layout);
  return ret;
}

/* ---- properties ---------------------------------------------------------- */

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
    gst_nat_relay_rtp_add_stats (&self->rtp, s);
  }
  g_clear_pointer (&session, nat_session_unref);
  return s;
}

static void
gst_nat_relay_src_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstNatRelaySrc *self = GST_NAT_RELAY_SRC (object);

  if (gst_nat_relay_connection_set_property (&self->conn, id, value, pspec))
    return;
  GST_OBJECT_LOCK (self);
  switch (id) {
  case PROP_LATENCY: self->latency = g_value_get_uint (value); break;
  case PROP_DROP_ON_LATENCY: self->drop_on_latency = g_value_get_boolean (value); break;
  case PROP_NTP_SYNC: self->ntp_sync = g_value_get_boolean (value); break;
  case PROP_EOS_ON_END: self->eos_on_end = g_value_get_boolean (value); break;
  default: G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec); break;
  }
  GST_OBJECT_UNLOCK (self);
  if (id == PROP_LATENCY)
    gst_nat_relay_layout_set_latency (&self->layout, g_value_get_uint (value) * GST_MSECOND);
  else if (id == PROP_EOS_ON_END)
    gst_nat_relay_layout_set_eos_on_end (&self->layout, g_value_get_boolean (value));
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

  gst_nat_relay_layout_clear (&self->layout);
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
  self->latency = DEFAULT_LATENCY;
  self->drop_on_latency = DEFAULT_DROP_ON_LATENCY;
  self->ntp_sync = DEFAULT_NTP_SYNC;
  self->eos_on_end = DEFAULT_EOS_ON_END;
  gst_nat_relay_connection_init (&self->conn, GST_ELEMENT (self), NAT_ROLE_SUBSCRIBER, &src_hooks);

  /* The sink of RTCP inside makes nobody a sink. */
  gst_bin_set_suppressed_flags (GST_BIN (self), GST_ELEMENT_FLAG_SOURCE | GST_ELEMENT_FLAG_SINK);
  GST_OBJECT_FLAG_SET (self, GST_ELEMENT_FLAG_SOURCE);
  gst_nat_relay_rtp_build_src (&self->rtp, GST_BIN (self));
  gst_nat_relay_layout_init (&self->layout, GST_ELEMENT (self), &self->rtp, templates);
  gst_nat_relay_layout_set_latency (&self->layout, DEFAULT_LATENCY * GST_MSECOND);
  if (self->rtp.missing != NULL)
    return;
  g_object_set (self->rtp.rtpbin, "latency", self->latency, NULL);
  g_signal_connect (self->rtp.rtpbin, "request-pt-map", G_CALLBACK (src_request_pt_map), self);
  g_signal_connect (self->rtp.rtpbin, "pad-added", G_CALLBACK (src_rtpbin_pad_added), self);
}
