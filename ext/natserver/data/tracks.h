/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The part of a roster that knows what a stream's description announces: its tracks and their SSRCs.
 * nat_roster_track, nat_roster_describe and nat_roster_ssrc_announced are here as well. */

#include "natserver/data/roster.h"

G_BEGIN_DECLS

/* Of a roster's tables by SSRC, which publishers choose: they could all fall into one place. */
guint nat_tracks_hash (gconstpointer ssrc);
/* The stream comes from another roster, or goes, with its tracks. */
void nat_tracks_enter (NatRoster *r, NatDataStream *stream);
void nat_tracks_leave (NatRoster *r, NatDataStream *stream);
void nat_tracks_free (NatDataStream *stream);
/* Another publisher: what came so far is no part of what comes. */
void nat_tracks_restart (NatDataStream *stream);

G_END_DECLS
