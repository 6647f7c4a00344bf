/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTP from the publisher's paths to the subscribers' selected ones, byte for byte. */

#include "natserver/data/worker.h"

G_BEGIN_DECLS

NatForward *nat_forward_new (void);
void nat_forward_free (NatForward *f);

/* One RTP packet on a registered path. It is sent by the next flush, so data must stay. */
void nat_forward_receive (NatWorker *w, NatPath *path, guint8 *data, gsize len);
/* The same bytes to all receivers once more, by the next flush. */
void nat_forward_repeat (
    NatWorker *w, NatDataStream *stream, const NatDataTrack *track, const guint8 *data, gsize len);
/* Sends all that the batch brought, stream by stream. */
void nat_forward_flush (NatWorker *w);

G_END_DECLS
