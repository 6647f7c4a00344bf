/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the link from here to the relay can take, from what was sent when and what the relay says of its
 * arrival (RFC 8888): delay that grows is a queue that fills, before anything is lost. After
 * draft-ietf-rmcat-gcc-02, and besides it looks at how a picture's packets, sent at once, are
 * spaced when they arrive: that is the link's own rate. No clock and no I/O; not thread safe. */

#include "natproto/ccfb.h"

G_BEGIN_DECLS

typedef struct _NatCongestion NatCongestion;

NatCongestion *nat_congestion_new (void);
void nat_congestion_free (NatCongestion *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatCongestion, nat_congestion_free)

/* An RTP packet was given to the socket. The same packet once more is a repair: it counts as lost, and its
 * arrival tells nothing of the link. */
void nat_congestion_sent (NatCongestion *c, const guint8 *packet, gsize len, gint64 now_us);
/* Any RTCP packet; what is no such feedback is passed over. TRUE: the estimate may have changed. */
gboolean nat_congestion_feedback (NatCongestion *c, const NatRtcpPacket *packet, gint64 now_us);

/* From here on packets go another way (network, socket, relay): what was learned of the old one is forgotten, and
 * what was sent there tells nothing. */
void nat_congestion_path_changed (NatCongestion *c, gint64 now_us);

/* Bits per second; 0: nothing is known yet. It grows to no more than half above what arrives lately, unless the
 * spacing of bursts shows that there is room; and it does not fall because an encoder has little to send. */
guint64 nat_congestion_bitrate (const NatCongestion *c);
/* Share of packets lost on the way to the relay, of about the last second, 0 to 1. */
gdouble nat_congestion_loss (const NatCongestion *c);

G_END_DECLS
