/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Lost packets, on both legs (docs/design/repair.md): the relay asks the publisher for what did not come,
 * answers its subscribers from the stream's history, each alone, and repeats the last packet of a source
 * that fell silent, so that a lost end is seen. */

#include "natproto/rtcp.h"
#include "natserver/data/worker.h"

G_BEGIN_DECLS

/* One RTP packet of the track came, and is forwarded. */
void nat_repair_received (NatWorker *w, NatDataStream *stream, NatDataTrack *track,
    const NatReceived *arrival, const guint8 *data, gsize len);
/* A subscriber's NACK. */
void nat_repair_answer (NatWorker *w, NatDataSession *s, const NatRtcpPacket *nack);
/* A subscriber's mapping moved, and heard_us is when anything genuine came from it last: sends, unasked, what went to
 * where it was since. */
void nat_repair_moved (NatWorker *w, NatDataSession *s, gint64 heard_us);
/* Does what is due, when w->repair_us has come. No packet is under way. */
void nat_repair_run (NatWorker *w);
/* Lets go of what is too old. At each tick, while the stream has timers. */
void nat_repair_tick (NatWorker *w, NatDataStream *stream);
/* Nothing of the stream waits for its time. */
gboolean nat_repair_is_idle (const NatDataStream *stream);

G_END_DECLS
