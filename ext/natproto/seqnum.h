/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Arithmetic of RTP sequence numbers and their extension past 16 bits, as RFC 3550
 * appendix A.1, but counted from the first packet on: it came from a validated path
 * with an announced SSRC, so there is no probation. */

#include <glib.h>

/* Distance from a to b on the circle, -32768..32767. */
static inline gint16
nat_seq_diff (guint16 a, guint16 b)
{
  return (gint16)(guint16)(b - a);
}

typedef struct {
  guint64 highest;  /* extended sequence number, highest seen; the first is 65536 + seq, so
                         * that what comes late from before it is still a positive number */
  guint64 base;     /* extended, first after start or restart */
  guint64 received; /* packets that were not BAD; a caller that knows a packet for a
                         * duplicate takes it off again */
  guint32 bad_seq;  /* RFC 3550's: next expected after a suspicious jump; > 65535 = none */
  gboolean started;
} NatSeqCounter;

typedef enum {
  NAT_SEQ_NEXT,    /* in order, or the first */
  NAT_SEQ_GAP,     /* forward jump: numbers between are missing */
  NAT_SEQ_LATE,    /* behind the highest, within max_misorder: reordered, repaired or duplicate */
  NAT_SEQ_RESTART, /* two in a row far away: the source restarted; base and received were
                         * reset, the extended number goes on growing */
  NAT_SEQ_BAD,     /* far away once: not counted */
} NatSeqStatus;

void nat_seq_counter_init (NatSeqCounter *c);
/* max_misorder in packets: the repair cache's span. On every status but BAD, *extended is the
 * packet's extended number. */
NatSeqStatus nat_seq_counter_update (
    NatSeqCounter *c, guint16 seq, guint max_misorder, guint64 *extended);
