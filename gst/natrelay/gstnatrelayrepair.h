/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* natrelaysrc asks the relay for what is missing: by generic NACK (RFC 4585), as early as a gap shows, again and
 * again within the latency. The bytes that come back are those that were lost; the jitterbuffer needs to know
 * nothing of it. Any thread; the lock is held while calling out to send. Times are monotonic microseconds. */

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct _GstNatRelayRepair GstNatRelayRepair;

typedef struct {
  /* One RTCP compound, plain. Does not block. */
  void (*send) (gpointer user, const guint8 *data, gsize len);
  /* The round trip to the relay, 0 = unknown. */
  guint (*rtt_us) (gpointer user);
  /* The latency is too short to have a packet repaired once on each leg: said once. No lock is held. */
  void (*too_short) (gpointer user, guint latency_ms, guint needed_ms, guint rtt_ms);
} GstNatRelayRepairHooks;

GstNatRelayRepair *gst_nat_relay_repair_new (const GstNatRelayRepairHooks *hooks, gpointer user);
void gst_nat_relay_repair_free (GstNatRelayRepair *repair);

void gst_nat_relay_repair_set_enabled (GstNatRelayRepair *repair, gboolean enabled);
void gst_nat_relay_repair_set_latency (GstNatRelayRepair *repair, GstClockTime latency);
/* A run begins: all SSRCs are forgotten, counts too. own_ssrc: the sender's of what is sent. */
void gst_nat_relay_repair_start (GstNatRelayRepair *repair, guint32 own_ssrc);
/* What comes next is not compared with what came before: after a pause. */
void gst_nat_relay_repair_skip (GstNatRelayRepair *repair);

/* A genuine packet came. Returns by how much later than it should have, if it was missing; else 0. */
gint64 gst_nat_relay_repair_receive (
    GstNatRelayRepair *repair, guint32 ssrc, guint16 seq, gint64 now_us);
/* A compound of the relay's, which may say where its packets begin: what is before is not asked for any more. */
void gst_nat_relay_repair_take_rtcp (GstNatRelayRepair *repair, const guint8 *data, gsize len);
/* When to call gst_nat_relay_repair_run; G_MAXINT64 = not before the next packet. */
gint64 gst_nat_relay_repair_deadline (GstNatRelayRepair *repair);
void gst_nat_relay_repair_run (GstNatRelayRepair *repair, gint64 now_us);

typedef struct {
  guint64 nacks;     /* compounds sent */
  guint64 asked;     /* sequence numbers in them */
  guint64 recovered; /* packets that came after they were asked for, in time */
  guint64 late;      /* those that came later than the latency allows */
  guint64 reordered; /* packets that came late by themselves */
} GstNatRelayRepairStats;
void gst_nat_relay_repair_get_stats (GstNatRelayRepair *repair, GstNatRelayRepairStats *stats);

G_END_DECLS
