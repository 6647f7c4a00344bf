/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* All that natrelaysrc has for one publisher: an RTP session with its opener and transport, the pads, repair and the picture
 * at once. A plain natrelaysrc has one for its life; in a room there is one for each publisher that is there. */

#include <gst/gst.h>
#include "gstnatrelayelement.h"
#include "gstnatrelayheadstart.h"
#include "gstnatrelaylayout.h"
#include "gstnatrelayrepair.h"
#include "gstnatrelayrtp.h"

G_BEGIN_DECLS

/* What the element's properties say. */
typedef struct {
  guint latency; /* ms */
  gboolean drop_on_latency;
  gboolean do_retransmission;
  gboolean ntp_sync;
  gboolean eos_on_end;
} GstNatRelayReceiverSettings;

typedef struct _GstNatRelayReceiver GstNatRelayReceiver;

/* As GstNatRelayLayoutAdmit; stream: whose description it is. */
typedef gboolean (*GstNatRelayReceiverAdmit) (
    GstElement *element, gboolean live, const gchar *stream, NatDescription *description);

struct _GstNatRelayReceiver {
  GstElement *element; /* not owned, as is conn: natrelaysrc has both */
  GstNatRelayConnection *conn;
  GstNatRelayReceiverAdmit admit;
  gchar *stream; /* of the run; object lock */
  GstNatRelayRtp rtp;
  GstNatRelayLayout layout;
  GstNatRelayRepair *repair;
  GstNatRelayHeadstart *headstart;
};

/* room: one of several, whose children have names of their own, and which shares its layout's room. */
void gst_nat_relay_receiver_init (GstNatRelayReceiver *self, GstNatRelayConnection *conn,
    GstNatRelayReceiverAdmit admit, GstStaticPadTemplate *templates, GstNatRelayLayoutRoom *room);
/* Its children were removed, or go with the element. */
void gst_nat_relay_receiver_clear (GstNatRelayReceiver *self);
/* Of one of several. The children's states become the element's; and back to NULL, and out of it. */
void gst_nat_relay_receiver_sync_state (GstNatRelayReceiver *self);
void gst_nat_relay_receiver_remove (GstNatRelayReceiver *self);

/* Both for what changed. Any thread. */
void gst_nat_relay_receiver_set (
    GstNatRelayReceiver *self, const GstNatRelayReceiverSettings *settings);
/* Of the same, what rtpbin takes; NULL: it is not installed. No lock held: the application's handlers of "deep-notify" and
 * of LATENCY messages run. */
void gst_nat_relay_receiver_set_rtpbin (
    GstElement *rtpbin, const GstNatRelayReceiverSettings *settings);

/* READY->PAUSED. stream: its name. */
void gst_nat_relay_receiver_start (
    GstNatRelayReceiver *self, NatSession *session, const gchar *stream);
/* Before PAUSED->READY: a streaming thread may wait. */
void gst_nat_relay_receiver_unblock (GstNatRelayReceiver *self);
/* PAUSED->READY, once the session was stopped. FALSE: a handler of the application holds the worker still, which uses
 * self until it returns. */
gboolean gst_nat_relay_receiver_stop (GstNatRelayReceiver *self);

/* On the session's thread. */
void gst_nat_relay_receiver_take_description (
    GstNatRelayReceiver *self, NatPublisherState publisher, const NatDescription *description);
void gst_nat_relay_receiver_push_rtp (
    GstNatRelayReceiver *self, const NatDatagram *packets, guint n);
void gst_nat_relay_receiver_push_rtcp (GstNatRelayReceiver *self, const NatDatagram *packet);

typedef struct {
  GstNatRelayRepairStats repair;
  GstNatRelayOpenStats open;
  GstNatRelayRtpStats rtp;
  guint64 dropped, past;
} GstNatRelayReceiverStats;
/* Adds to sum. */
void gst_nat_relay_receiver_add_stats (GstNatRelayReceiver *self, GstNatRelayReceiverStats *sum);
void gst_nat_relay_receiver_write_stats (const GstNatRelayReceiverStats *stats, GstStructure *s);

G_END_DECLS
