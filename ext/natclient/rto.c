/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natclient/rto.h"

#define MS(n) ((gint64)(n)*1000)

#define FIRST_US    MS (100)
#define LONGEST_US  MS (1000) /* but for a relay that is farther away */
#define FARTHEST_US MS (5000)
#define CREDIBLE_US MS (10000) /* more was no answer to this request */
#define DOUBTFUL_US MS (1500)  /* more of what was repeated is rather loss than distance */

void
nat_rto_reset (NatRto *r)
{
  *r = (NatRto){.rto_us = FIRST_US};
}

/* Karn's algorithm: the round trip of what was repeated is not known, and the wait that was too short
 * (or saw a loss) stays longer until one is. Else no relay beyond the first wait were ever measured,
 * and every Binding to it sent twice. What came in so long needs no much longer wait. */
void
nat_rto_answered (NatRto *r, gint64 rtt_us, gboolean repeated)
{
  if (rtt_us < 0 || rtt_us > CREDIBLE_US)
    return;
  if (repeated) {
    r->rto_us = MIN (2 * r->rto_us, CLAMP (rtt_us * 3 / 2, LONGEST_US, FARTHEST_US));
    r->most_us = r->most_us == 0 ? (guint)rtt_us : MIN (r->most_us, (guint)rtt_us);
    return;
  }
  rtt_us = MAX (rtt_us, 1);
  r->srtt_us = r->srtt_us == 0 ? (guint)rtt_us : (guint)((7 * (gint64)r->srtt_us + rtt_us) / 8);
  r->rto_us = CLAMP ((gint64)r->srtt_us * 3 / 2, FIRST_US, FARTHEST_US);
}

/* What tells no more than a burst of loss lasted must not put off for long that silence is noticed. */
guint
nat_rto_reckon (const NatRto *r)
{
  return r->srtt_us != 0 ? r->srtt_us : MIN (r->most_us, (guint)DOUBTFUL_US);
}
