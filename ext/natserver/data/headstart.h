/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A picture at once for whoever joins: what is kept of each video since its last picture that stands alone is sent
 * before anything else, faster than it came, but not at once (docs/design/headstart.md). Live packets flow
 * meanwhile as to everybody. Once for each session that control made; a session that a ticket revived has seen it.
 * The worker's thread. */

#include "natserver/data/worker.h"

G_BEGIN_DECLS

/* The subscriber's mapping is there for the first time. FALSE: it does not want a headstart, had it, or too many have one. */
gboolean nat_headstart_prepare (NatWorker *w, NatDataSession *s);
/* After a settle, before anything else is forwarded: of those that were prepared, begins with who is a receiver from here on. */
void nat_headstart_begin (NatWorker *w);
/* Sends what is due; w->headstart_us says when that is. */
void nat_headstart_run (NatWorker *w);

/* What the session was just given stands for a picture of the track: no new one is worth asking for. */
gboolean nat_headstart_serves (const NatWorker *w, NatDataSession *s, const NatDataTrack *track);
/* The session may quote a sender report that was not sent to it when it came. */
gboolean nat_headstart_is_recent (const NatWorker *w, NatDataSession *s);
/* A picture of the track can start here: was it asked for? */
void nat_headstart_picture (NatWorker *w, NatDataTrack *track);
/* A compound about the track's source that is passed on. */
void nat_headstart_report (NatWorker *w, NatDataTrack *track, const guint8 *compound, gsize len);

void nat_headstart_clear (NatWorker *w);

G_END_DECLS
