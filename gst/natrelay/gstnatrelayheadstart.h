/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Packets of the past, which the relay sends to whoever joins: from the last picture that stands alone up to the
 * live edge, as its APP packet EDGE announces them (docs/PROTOCOL.md section 6). They do not enter the RTP
 * session, whose times are those of arrival, but wait here in their order until the track's pad takes them.
 * What is missing is asked for. Any thread; a lock of its own is held while calling out to send. */

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct _GstNatRelayHeadstart GstNatRelayHeadstart;

typedef struct {
  /* One RTCP compound, plain. Does not block. */
  void (*send) (gpointer user, const guint8 *data, gsize len);
  /* The round trip to the relay, 0 = unknown. */
  guint (*rtt_us) (gpointer user);
} GstNatRelayHeadstartHooks;

GstNatRelayHeadstart *gst_nat_relay_headstart_new (
    const GstNatRelayHeadstartHooks *hooks, gpointer user);
void gst_nat_relay_headstart_free (GstNatRelayHeadstart *headstart);

/* A run begins: all is forgotten. own_ssrc: the sender's of what is sent. */
void gst_nat_relay_headstart_start (GstNatRelayHeadstart *headstart, guint32 own_ssrc);
/* Nobody waits any more, until the next start. */
void gst_nat_relay_headstart_stop (GstNatRelayHeadstart *headstart);
/* Whoever waits for that SSRC goes on without. */
void gst_nat_relay_headstart_forget (GstNatRelayHeadstart *headstart, guint32 ssrc);

/* One compound from the relay. */
void gst_nat_relay_headstart_take_rtcp (
    GstNatRelayHeadstart *headstart, const guint8 *data, gsize len);
/* TRUE: the packet is of the past, and must go nowhere else; what is of use was kept by a reference. */
gboolean gst_nat_relay_headstart_take_packet (
    GstNatRelayHeadstart *headstart, guint32 ssrc, guint16 seq, GstBuffer *packet);

/* The last packet before the edge of a source of which nothing live came for a second: it is to go on as if it were live. Given to
 * the caller; NULL: there is none (now), and *look_us is when to ask again (G_MAXINT64: not before another packet comes). */
GstBuffer *gst_nat_relay_headstart_release (
    GstNatRelayHeadstart *headstart, gint64 now_us, gint64 *look_us);

/* The first live packet of an SSRC is there: from now on it has no past but the one that is announced. FALSE: there is none. */
gboolean gst_nat_relay_headstart_begin (GstNatRelayHeadstart *headstart, guint32 ssrc);
/* The next packet of the past. Waits for it, but not long: NULL = that was all, or the rest does not come (*complete tells). */
GstBuffer *gst_nat_relay_headstart_next (
    GstNatRelayHeadstart *headstart, guint32 ssrc, gboolean *complete);

/* Whatever is left of it is of no use any more. */
void gst_nat_relay_headstart_end (GstNatRelayHeadstart *headstart, guint32 ssrc);

typedef struct {
  guint64 packets;  /* of the past that came */
  guint64 nacks;    /* compounds sent */
  guint64 given_up; /* bursts that were not complete */
} GstNatRelayHeadstartStats;
void gst_nat_relay_headstart_get_stats (
    GstNatRelayHeadstart *headstart, GstNatRelayHeadstartStats *stats);

G_END_DECLS
