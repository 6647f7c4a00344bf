/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* natrelaysrc with a pattern for a stream: a receiver for each publisher that is there, fed by SSRC. They are made on
 * the session's thread, so that the packet after the document finds its receiver, and go on one of the element's. */

#include "gstnatrelayreceiver.h"

G_BEGIN_DECLS

typedef struct {
  GstNatRelayConnection *conn; /* not owned: the element embeds both */
  GstNatRelayReceiverAdmit admit;
  GstStaticPadTemplate *templates;
  GstNatRelayLayoutRoom layouts;

  /* Lock order: lock, then a transport's or layout's. Not held while elements change states or handlers run. */
  GMutex lock;
  GCond gone; /* leaving counted down */
  gboolean started;
  GstNatRelayReceiverSettings settings;
  guint settings_set; /* how often */
  gchar *exclude;
  GHashTable *participants;      /* stream -> Participant */
  GHashTable *ssrcs;             /* SSRC -> Participant */
  guint leaving;                 /* threads that take one away */
  guint changes;                 /* of pads, that the application was not told of */
  gboolean telling;              /* a worker does */
  GPtrArray *stuck;              /* Participant whose worker would not end */
  GstNatRelayReceiverStats left; /* what those counted who left, in this run */
} GstNatRelayRoom;

void gst_nat_relay_room_init (GstNatRelayRoom *room, GstNatRelayConnection *conn,
    GstNatRelayReceiverAdmit admit, GstStaticPadTemplate *templates);
void gst_nat_relay_room_clear (GstNatRelayRoom *room);

void gst_nat_relay_room_set (GstNatRelayRoom *room, const GstNatRelayReceiverSettings *settings);
/* READY->PAUSED. exclude: the stream that is left out, or NULL. */
void gst_nat_relay_room_start (GstNatRelayRoom *room, const gchar *exclude);
/* As of a receiver. */
void gst_nat_relay_room_unblock (GstNatRelayRoom *room);
void gst_nat_relay_room_stop (GstNatRelayRoom *room);
/* Adds references to the pads of all. */
void gst_nat_relay_room_get_pads (GstNatRelayRoom *room, GPtrArray *pads);
void gst_nat_relay_room_get_stats (GstNatRelayRoom *room, GstNatRelayReceiverStats *stats);

/* On the session's thread. */
void gst_nat_relay_room_take_document (GstNatRelayRoom *room, const NatSessionDocument *document);
void gst_nat_relay_room_push_rtp (GstNatRelayRoom *room, const NatDatagram *packets, guint n);
void gst_nat_relay_room_push_rtcp (GstNatRelayRoom *room, const NatDatagram *packet);

G_END_DECLS
