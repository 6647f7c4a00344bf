/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/seqnum.h"

#include <string.h>

#define MAX_DROPOUT  3000  /* packets; RFC 3550 appendix A.1 */
#define MAX_MISORDER 32767 /* half the circle less one: beyond it, behind means ahead */
#define NO_BAD_SEQ   G_MAXUINT32

void
nat_seq_counter_init (NatSeqCounter *c)
{
  memset (c, 0, sizeof *c);
  c->bad_seq = NO_BAD_SEQ;
}

static void
start_at (NatSeqCounter *c, guint64 extended)
{
  c->highest = extended;
  c->base = extended;
  c->received = 1;
  c->bad_seq = NO_BAD_SEQ;
  c->started = TRUE;
}

static NatSeqStatus
far_away (NatSeqCounter *c, guint16 seq, guint16 ahead, guint64 *extended)
{
  if (seq != c->bad_seq) {
    c->bad_seq = (guint16)(seq + 1);
    return NAT_SEQ_BAD;
  }
  start_at (c, c->highest + ahead);
  *extended = c->highest;
  return NAT_SEQ_RESTART;
}

NatSeqStatus
nat_seq_counter_update (NatSeqCounter *c, guint16 seq, guint max_misorder, guint64 *extended)
{
  guint16 ahead = (guint16)(seq - (guint16)c->highest);
  guint16 behind = (guint16)-ahead;

  if (!c->started) {
    start_at (c, (guint64)65536 + seq);
    *extended = c->highest;
    return NAT_SEQ_NEXT;
  }
  if (ahead != 0 && ahead < MAX_DROPOUT) {
    c->highest += ahead;
    *extended = c->highest;
  } else if (behind <= MIN (max_misorder, MAX_MISORDER)) {
    *extended = c->highest - behind;
  } else {
    return far_away (c, seq, ahead, extended);
  }
  /* "In a row" is meant: one good packet between two strange ones clears the suspicion. */
  c->bad_seq = NO_BAD_SEQ;
  c->received++;
  if (*extended < c->highest || ahead == 0)
    return NAT_SEQ_LATE;
  return ahead == 1 ? NAT_SEQ_NEXT : NAT_SEQ_GAP;
}
