/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The private ends of the pipelines inside the elements, on the session's one socket: a sink that gives
 * packets to the session, and a source that takes packets which the session's thread brings. */

#include <gst/gst.h>
#include <gst/base/gstbasesink.h>
#include <gst/base/gstpushsrc.h>
#include "gstnatrelayrepair.h"
#include "gstnatrelaysent.h"
#include "natclient/session.h"

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_TRANSPORT_SINK (gst_nat_relay_transport_sink_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelayTransportSink, gst_nat_relay_transport_sink, GST,
    NAT_RELAY_TRANSPORT_SINK, GstBaseSink)

#define GST_TYPE_NAT_RELAY_TRANSPORT_SRC (gst_nat_relay_transport_src_get_type ())
G_DECLARE_FINAL_TYPE (
    GstNatRelayTransportSrc, gst_nat_relay_transport_src, GST, NAT_RELAY_TRANSPORT_SRC, GstPushSrc)

void gst_nat_relay_transport_init_debug (void);

GstElement *gst_nat_relay_transport_sink_new (const gchar *name, gboolean rtcp);
/* Before READY->PAUSED, and NULL after PAUSED->READY. */
void gst_nat_relay_transport_sink_set_session (GstNatRelayTransportSink *sink, NatSession *session);
/* wait: packets are held, not dropped, until the first connection. Any thread. */
void gst_nat_relay_transport_sink_set_wait (GstNatRelayTransportSink *sink, gboolean wait);
/* What waits for the connection, a packet or a list, is dropped, so that its track can make something else of the next, which
 * waits in its place. If nothing waits yet, that is what comes first: it may have been made already. Any thread. */
void gst_nat_relay_transport_sink_drop_held (GstNatRelayTransportSink *sink);
void gst_nat_relay_transport_sink_set_connected (GstNatRelayTransportSink *sink);
/* An error has been posted: the next packet ends the stream. Any thread. */
void gst_nat_relay_transport_sink_set_failed (GstNatRelayTransportSink *sink, gboolean failed);
/* The stream came to its end since READY->PAUSED. */
gboolean gst_nat_relay_transport_sink_saw_eos (GstNatRelayTransportSink *sink);
/* RTP only. Sends again what compound (RTCP) asks for. TRUE: it asks for nothing else. Any thread; media does not wait. */
gboolean gst_nat_relay_transport_sink_answer (
    GstNatRelayTransportSink *sink, const guint8 *compound, gsize len);
void gst_nat_relay_transport_sink_get_repairs (
    GstNatRelayTransportSink *sink, GstNatRelaySentStats *stats);

/* An RTP source is live and stamps packets with their arrival; an RTCP source runs from PAUSED on. */
GstElement *gst_nat_relay_transport_src_new (const gchar *name, gboolean rtcp);
/* Its streaming thread asks for what is missing. Before the first state change; repair outlives it. */
void gst_nat_relay_transport_src_set_repair (
    GstNatRelayTransportSrc *src, GstNatRelayRepair *repair);
/* On the streaming thread, while no packet waits. Returns when to be called again (monotonic us; G_MAXINT64: when packets came). */
typedef gint64 (*GstNatRelayIdle) (gpointer user);
void gst_nat_relay_transport_src_set_idle (
    GstNatRelayTransportSrc *src, GstNatRelayIdle idle, gpointer user);
/* The time that a packet is given that comes now. */
GstClockTime gst_nat_relay_transport_src_get_time (GstNatRelayTransportSrc *src);
/* Any thread. Copies; the oldest packets go when there is no room. None: the streaming thread looks what is missing now. */
void gst_nat_relay_transport_src_push (
    GstNatRelayTransportSrc *src, const NatDatagram *packets, guint n);
/* Held: packets wait in the queue. Any thread. */
void gst_nat_relay_transport_src_set_held (GstNatRelayTransportSrc *src, gboolean held);
/* Any thread: EOS after what is queued. */
void gst_nat_relay_transport_src_end (GstNatRelayTransportSrc *src);
/* Packets that found no room, or came while the element did not play. */
guint64 gst_nat_relay_transport_src_get_dropped (GstNatRelayTransportSrc *src);

G_END_DECLS
