/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayreceiver.h"

#include <stdio.h>

#define GST_CAT_DEFAULT gst_nat_relay_debug

/* ---- rtpbin's signals ---------------------------------------------------- */

static GstCaps *
request_pt_map (GstElement *rtpbin, guint session, guint pt, gpointer user)
{
  return gst_nat_relay_layout_get_caps (&((GstNatRelayReceiver *)user)->layout, pt);
}

/* The first packet of an SSRC came. */
static void
rtpbin_pad_added (GstElement *rtpbin, GstPad *pad, gpointer user)
{
  GstNatRelayReceiver *self = user;
  guint session, ssrc, pt;

  if (sscanf (GST_PAD_NAME (pad), "recv_rtp_src_%u_%u_%u", &session, &ssrc, &pt) == 3 &&
      !gst_nat_relay_layout_feed (&self->layout, ssrc, pad))
    GST_DEBUG_OBJECT (self->element, "SSRC %08x is of no track (any more)", ssrc);
}

/* rtpbin would forget it by itself (autoremove), but without the locks. On the session's RTCP thread. */
static void
rtpbin_ssrc_silent (GstElement *rtpbin, guint session, guint ssrc, gpointer user)
{
  gst_nat_relay_layout_forget_silent (&((GstNatRelayReceiver *)user)->layout, ssrc);
}

/* ---- repair -------------------------------------------------------------- */

static void
repair_send (gpointer user, const guint8 *data, gsize len)
{
  NatSession *session = gst_nat_relay_connection_get_session (((GstNatRelayReceiver *)user)->conn);

  if (session != NULL)
    nat_session_send_rtcp (session, data, len);
  g_clear_pointer (&session, nat_session_unref);
}

static guint
repair_rtt (gpointer user)
{
  NatSession *session = gst_nat_relay_connection_get_session (((GstNatRelayReceiver *)user)->conn);
  guint rtt_us = session != NULL ? nat_session_get_rtt_us (session) : 0;

  g_clear_pointer (&session, nat_session_unref);
  return rtt_us;
}

static void
repair_too_short (gpointer user, guint latency_ms, guint needed_ms, guint rtt_ms)
{
  gst_nat_relay_report_latency (
      &((GstNatRelayReceiver *)user)->conn->report, latency_ms, needed_ms, rtt_ms);
}

static const GstNatRelayRepairHooks repair_hooks = {
    .send = repair_send,
    .rtt_us = repair_rtt,
    .too_short = repair_too_short,
};

static const GstNatRelayHeadstartHooks headstart_hooks = {
    .send = repair_send,
    .rtt_us = repair_rtt,
};

/* The jitterbuffer takes a packet that came more than a second late for a sender that began anew, and times all that
 * follows by it, unless its own retransmission brought it. So its time of arrival becomes that at which it should have come. */
static void
set_back (GstBuffer *packet, gint64 late_us)
{
  GstClockTime late = (GstClockTime)late_us * GST_USECOND;

  if (GST_BUFFER_PTS_IS_VALID (packet))
    GST_BUFFER_PTS (packet) -= MIN (GST_BUFFER_PTS (packet), late);
  if (GST_BUFFER_DTS_IS_VALID (packet))
    GST_BUFFER_DTS (packet) -= MIN (GST_BUFFER_DTS (packet), late);
}

static gboolean
packet_opened (gpointer user, guint32 ssrc, guint16 seq, GstBuffer *packet)
{
  GstNatRelayReceiver *self = user;
  gint64 late_us;

  if (gst_nat_relay_headstart_take_packet (self->headstart, ssrc, seq, packet))
    return FALSE;
  late_us = gst_nat_relay_repair_receive (self->repair, ssrc, seq, g_get_monotonic_time ());
  if (late_us > 0)
    set_back (packet, late_us);
  return TRUE;
}

/* On the streaming thread: the last packet of a quiet source goes to the RTP session, as if it came now. Reports from before know
 * better when that was sent: sound would be held back to fit, so the jitterbuffer that has them goes. */
static void
pass_last (GstNatRelayReceiver *self, GstBuffer *packet)
{
  guint8 header[12] = {0};
  guint32 ssrc;

  gst_buffer_extract (packet, 0, header, sizeof header);
  ssrc = GST_READ_UINT32_BE (header + 8);
  packet = gst_buffer_make_writable (packet);
  GST_BUFFER_PTS (packet) = gst_nat_relay_transport_src_get_time (self->rtp.rtp_src);
  GST_BUFFER_DTS (packet) = GST_BUFFER_PTS (packet);
  gst_nat_relay_repair_receive (
      self->repair, ssrc, GST_READ_UINT16_BE (header + 2), g_get_monotonic_time ());
  gst_nat_relay_rtp_forget_ssrc (&self->rtp, ssrc, NULL, NULL);
  gst_nat_relay_open_push (self->rtp.open, ssrc, packet);
}

static gint64
nothing_comes (gpointer user)
{
  GstNatRelayReceiver *self = user;
  GstBuffer *packet;
  gint64 look_us;

  while ((packet = gst_nat_relay_headstart_release (
              self->headstart, g_get_monotonic_time (), &look_us)) != NULL)
    pass_last (self, packet);
  return look_us;
}

static gboolean
layout_admit (gpointer user, gboolean live, NatDescription *description)
{
  GstNatRelayReceiver *self = user;
  gboolean ok;
  gchar *stream;

  GST_OBJECT_LOCK (self->element);
  stream = g_strdup (self->stream);
  GST_OBJECT_UNLOCK (self->element);
  ok = self->admit (self->element, live, stream, description);
  g_free (stream);
  return ok;
}

/* ---- from the session ---------------------------------------------------- */

void
gst_nat_relay_receiver_take_description (
    GstNatRelayReceiver *self, NatPublisherState publisher, const NatDescription *description)
{
  gst_nat_relay_layout_take_description (&self->layout, publisher, description);
}

void
gst_nat_relay_receiver_push_rtp (GstNatRelayReceiver *self, const NatDatagram *packets, guint n)
{
  gst_nat_relay_transport_src_push (self->rtp.rtp_src, packets, n);
}

void
gst_nat_relay_receiver_push_rtcp (GstNatRelayReceiver *self, const NatDatagram *packet)
{
  gst_nat_relay_headstart_take_rtcp (self->headstart, packet->data, packet->len);
  gst_nat_relay_repair_take_rtcp (self->repair, packet->data, packet->len);
  gst_nat_relay_transport_src_push (self->rtp.rtcp_src, packet, 1);
  /* It may have told of packets that did not come. */
  gst_nat_relay_transport_src_push (self->rtp.rtp_src, NULL, 0);
}

/* ---- life ---------------------------------------------------------------- */

static gchar *
stream_id (GstNatRelayReceiver *self)
{
  const NatSessionConfig *settings = &self->conn->settings;
  gchar *id;

  GST_OBJECT_LOCK (self->element);
  id = g_strdup_printf ("%s:%u/%s", settings->host, settings->port, self->stream);
  GST_OBJECT_UNLOCK (self->element);
  return id;
}

void
gst_nat_relay_receiver_start (GstNatRelayReceiver *self, NatSession *session, const gchar *stream)
{
  guint32 own_ssrc = gst_nat_relay_rtp_own_ssrc (&self->rtp);

  /* A worker of the last run may be at it still. */
  GST_OBJECT_LOCK (self->element);
  g_free (self->stream);
  self->stream = g_strdup (stream);
  GST_OBJECT_UNLOCK (self->element);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, session);
  gst_nat_relay_rtp_start (&self->rtp);
  gst_nat_relay_repair_start (self->repair, own_ssrc);
  gst_nat_relay_headstart_start (self->headstart, own_ssrc);
  gst_nat_relay_transport_src_set_held (self->rtp.rtp_src, TRUE);
  gst_nat_relay_layout_start (&self->layout, stream_id (self), stream);
}

void
gst_nat_relay_receiver_unblock (GstNatRelayReceiver *self)
{
  gst_nat_relay_headstart_stop (self->headstart);
}

gboolean
gst_nat_relay_receiver_stop (GstNatRelayReceiver *self)
{
  gst_nat_relay_headstart_stop (self->headstart);
  gst_nat_relay_transport_sink_set_session (self->rtp.rtcp_sink, NULL);
  return gst_nat_relay_layout_stop (&self->layout);
}

void
gst_nat_relay_receiver_sync_state (GstNatRelayReceiver *self)
{
  gst_nat_relay_rtp_sync_src (&self->rtp);
}

void
gst_nat_relay_receiver_remove (GstNatRelayReceiver *self)
{
  gst_nat_relay_rtp_remove_src (&self->rtp, GST_BIN (self->element));
}

void
gst_nat_relay_receiver_set (GstNatRelayReceiver *self, const GstNatRelayReceiverSettings *settings)
{
  gst_nat_relay_layout_set_eos_on_end (&self->layout, settings->eos_on_end);
  gst_nat_relay_layout_set_latency (&self->layout, settings->latency * GST_MSECOND);
  gst_nat_relay_repair_set_latency (self->repair, settings->latency * GST_MSECOND);
  gst_nat_relay_repair_set_enabled (self->repair, settings->do_retransmission);
}

void
gst_nat_relay_receiver_set_rtpbin (GstElement *rtpbin, const GstNatRelayReceiverSettings *settings)
{
  if (rtpbin != NULL)
    g_object_set (rtpbin, "latency", settings->latency, "drop-on-latency",
        settings->drop_on_latency, "ntp-sync", settings->ntp_sync, NULL);
}

void
gst_nat_relay_receiver_init (GstNatRelayReceiver *self, GstNatRelayConnection *conn,
    GstNatRelayReceiverAdmit admit, GstStaticPadTemplate *templates, GstNatRelayLayoutRoom *room)
{
  self->element = conn->element;
  self->conn = conn;
  self->admit = admit;
  gst_nat_relay_rtp_build_src (&self->rtp, GST_BIN (self->element), room == NULL);
  self->headstart = gst_nat_relay_headstart_new (&headstart_hooks, self);
  gst_nat_relay_layout_init (&self->layout, self->element, layout_admit, self, &self->rtp,
      self->headstart, templates, room);
  self->repair = gst_nat_relay_repair_new (&repair_hooks, self);
  if (self->rtp.missing != NULL)
    return;
  gst_nat_relay_rtp_hold_src (&self->rtp);
  gst_nat_relay_transport_src_set_repair (self->rtp.rtp_src, self->repair);
  gst_nat_relay_transport_src_set_idle (self->rtp.rtp_src, nothing_comes, self);
  gst_nat_relay_open_set_tap (self->rtp.open, packet_opened, self);
  g_signal_connect (self->rtp.rtpbin, "request-pt-map", G_CALLBACK (request_pt_map), self);
  g_signal_connect (self->rtp.rtpbin, "pad-added", G_CALLBACK (rtpbin_pad_added), self);
  g_signal_connect (self->rtp.rtpbin, "on-timeout", G_CALLBACK (rtpbin_ssrc_silent), self);
  g_signal_connect (self->rtp.rtpbin, "on-bye-timeout", G_CALLBACK (rtpbin_ssrc_silent), self);
}

void
gst_nat_relay_receiver_clear (GstNatRelayReceiver *self)
{
  if (self->rtp.missing == NULL)
    gst_nat_relay_rtp_release_src (&self->rtp);
  gst_nat_relay_layout_clear (&self->layout);
  gst_nat_relay_repair_free (self->repair);
  gst_nat_relay_headstart_free (self->headstart);
  g_free (self->stream);
}

/* ---- statistics ---------------------------------------------------------- */

void
gst_nat_relay_receiver_add_stats (GstNatRelayReceiver *self, GstNatRelayReceiverStats *sum)
{
  GstNatRelayRepairStats repair;
  GstNatRelayHeadstartStats headstart;
  GstNatRelayOpenStats open;

  gst_nat_relay_headstart_get_stats (self->headstart, &headstart);
  gst_nat_relay_open_get_stats (self->rtp.open, &open);
  gst_nat_relay_repair_get_stats (self->repair, &repair);
  gst_nat_relay_rtp_add_stats (&self->rtp, &sum->rtp);
  sum->repair.nacks += repair.nacks;
  sum->repair.asked += repair.asked;
  sum->repair.recovered += repair.recovered;
  sum->repair.late += repair.late;
  sum->repair.reordered += repair.reordered;
  sum->open.unannounced += open.unannounced;
  sum->open.unknown_key += open.unknown_key;
  sum->open.refused += open.refused;
  sum->open.replayed += open.replayed;
  sum->dropped += gst_nat_relay_transport_src_get_dropped (self->rtp.rtp_src);
  sum->past += headstart.packets;
}

void
gst_nat_relay_receiver_write_stats (const GstNatRelayReceiverStats *stats, GstStructure *s)
{
  const GstNatRelayOpenStats *open = &stats->open;

  gst_structure_set (s, "packets-received-dropped", G_TYPE_UINT64,
      stats->dropped + open->unannounced + open->unknown_key + open->refused,
      "packets-received-unknown-key", G_TYPE_UINT64, open->unknown_key, "packets-received-refused",
      G_TYPE_UINT64, open->refused, NULL);
  gst_structure_set (s, "packet-nack-sent", G_TYPE_UINT64, stats->repair.nacks, "packets-asked",
      G_TYPE_UINT64, stats->repair.asked, "packets-recovered", G_TYPE_UINT64,
      stats->repair.recovered, "packets-recovered-late", G_TYPE_UINT64, stats->repair.late,
      "packets-reordered", G_TYPE_UINT64, stats->repair.reordered, "packets-of-the-past",
      G_TYPE_UINT64, stats->past, NULL);
  /* Duplicates that came no further than the opener count as well. */
  gst_structure_set (s, "packets-received-lost", G_TYPE_UINT64, stats->rtp.lost,
      "packets-received-late", G_TYPE_UINT64, stats->rtp.late, "packets-received-duplicate",
      G_TYPE_UINT64, stats->rtp.duplicates + open->replayed, NULL);
}
