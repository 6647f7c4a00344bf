/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The part of a roster that knows what a stream's description announces: its tracks and their SSRCs.
 * nat_roster_track, nat_roster_describe and nat_roster_ssrc_announced are here as well. */

#include "natserver/data/roster.h"

G_BEGIN_DECLS

void nat_tracks_free (NatDataStream *stream);
/* Another publisher: what came so far is no part of what comes. */
void nat_tracks_restart (NatDataStream *stream);

G_END_DECLS
