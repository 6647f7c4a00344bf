/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How long the relay takes to answer, and so how long a request waits before it is repeated (RFC 8489 section 6.2.1). No
 * socket, thread or clock. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint srtt_us; /* smoothed round trip; 0 = not known */
  guint most_us; /* it is no longer than that, said an answer to what was repeated; 0 = none did */
  gint64 rto_us; /* until the first repetition; grows for a relay far away */
} NatRto;

void nat_rto_reset (NatRto *r);
/* The answer came so long after the request was first sent; repeated: it was sent again meanwhile. */
void nat_rto_answered (NatRto *r, gint64 rtt_us, gboolean repeated);
/* What to reckon with: the round trip, or while it is not known, what it is no longer than, but 1.5 s at most: that may have been
 * loss. 0 = nothing is known. */
guint nat_rto_reckon (const NatRto *r);

G_END_DECLS
