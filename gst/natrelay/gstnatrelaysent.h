/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What natrelaysink sent of late, as it went out, to be sent again: to whoever asks for it by generic NACK (RFC 4585),
 * and the last packet of a track that fell silent, so that its loss is noticed. Any thread; a leaf lock. Times are monotonic
 * microseconds. It chooses packets; sending them is the caller's. */

#include <gst/gst.h>

G_BEGIN_DECLS

/* Packets are kept for so long, of all tracks together at most so many bytes. */
#define GST_NAT_RELAY_SENT_KEEP_US   (2 * G_TIME_SPAN_SECOND)
#define GST_NAT_RELAY_SENT_MAX_BYTES (8 * 1024 * 1024)
/* Packets that one compound gets at most; who misses more asks again soon. */
#define GST_NAT_RELAY_SENT_BATCH 64

typedef struct _GstNatRelaySent GstNatRelaySent;

GstNatRelaySent *gst_nat_relay_sent_new (void);
void gst_nat_relay_sent_free (GstNatRelaySent *sent);
/* Forgets all packets; counts stay. */
void gst_nat_relay_sent_clear (GstNatRelaySent *sent);

/* buffer (RTP) was sent now. It is kept by reference if it is as the sealer makes them, else copied: it may be of an
 * encoder's pool, which must not run dry. */
void gst_nat_relay_sent_put (GstNatRelaySent *sent, GstBuffer *buffer, gint64 now_us);

/* Those of the packets that compound (plain, any RTCP) asks for which are to be sent again now, at most max, each with a
 * reference. Not those that were sent within a round trip: nobody can have missed them yet. All repairs together take
 * no more than the media itself. */
guint gst_nat_relay_sent_answer (GstNatRelaySent *sent, const guint8 *compound, gsize len,
    gint64 now_us, gint64 rtt_us, GstBuffer **out, guint max);

/* The last packets of tracks that fell silent, once per silence; at most max, each with a reference. */
guint gst_nat_relay_sent_tails (GstNatRelaySent *sent, gint64 now_us, GstBuffer **out, guint max);
/* When to call gst_nat_relay_sent_tails; G_MAXINT64: every silence was told. */
gint64 gst_nat_relay_sent_tail_due (GstNatRelaySent *sent);
/* When packets were last sent again; 0 = never. */
gint64 gst_nat_relay_sent_last_repair (GstNatRelaySent *sent);

typedef struct {
  guint64 nacks;  /* compounds with a generic NACK */
  guint64 asked;  /* sequence numbers in them */
  guint64 resent; /* packets, tails included */
  guint64 resent_bytes;
  guint64 gone;   /* asked for, but not kept (any more) */
  guint64 spared; /* asked for again within a round trip, or beyond what repairs may take */
} GstNatRelaySentStats;
void gst_nat_relay_sent_get_stats (GstNatRelaySent *sent, GstNatRelaySentStats *stats);

G_END_DECLS
