/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Which packets of one SSRC are missing, and when each is to be asked for (again): the receiving half of
 * generic NACK (RFC 4585). The relay uses it towards publishers, natrelaysrc towards the relay. Not thread-safe,
 * no clock: times are monotonic microseconds. Allocates nothing. */

#include <glib.h>

G_BEGIN_DECLS

/* One missing packet. */
typedef struct {
  guint64 seq;       /* extended */
  gint64 noticed_us; /* when a later one came */
  gint64 asked_us;   /* last; meaningful if tries > 0 */
  guint tries;
  guint32 ahead_us; /* so long before it was noticed it should have come, of packets sent evenly */
} NatMissingPacket;

typedef struct {
  NatMissingPacket *packets; /* n of at most capacity, by ascending seq */
  guint n, capacity;
  gboolean started;
  guint64 highest;   /* extended */
  gint64 heard_us;   /* last packet */
  gint64 next_us;    /* nothing is due before; G_MAXINT64 = nothing is missing */
  gint64 rtt_us;     /* as set */
  gint64 life_us;    /* as set */
  gint64 reorder_us; /* how late reordered packets come, as learned; 0 = not seen yet */

  guint64 noticed;   /* packets that were missing at a time; each ends up in one of: */
  guint64 reordered; /* came before an answer could have come */
  guint64 repaired;  /* came after they were asked for, in time */
  guint64 late;      /* came after life_us */
  guint64 lost;      /* did not come within twice life_us, or there were too many */
  gint64
      answer_us; /* from the only question to the packet that came last; 0 = that was asked for never or often */
  gint64
      late_us; /* of the packet that came last: so much later than it should have; 0 = it was not missing */
  gint64 latest_us; /* the longest that one of repaired or late took */
  guint64 asked;    /* sequence numbers given out by nat_missing_due, repeats included */
} NatMissing;

/* memory: room for capacity missing packets, which outlives m. */
void nat_missing_init (NatMissing *m, NatMissingPacket *memory, guint capacity);
/* Begins anew with the next packet (another run of the sender); counts stay. */
void nat_missing_reset (NatMissing *m);
/* rtt_us: round trip to whoever repairs, 0 = unknown. life_us: a packet that comes later than this after it was missed is
 * of no use. Any time. */
void nat_missing_set_pace (NatMissing *m, gint64 rtt_us, gint64 life_us);

typedef enum {
  NAT_MISSING_NEXT,      /* in order, the first, or behind a new gap */
  NAT_MISSING_REORDERED, /* missing, but only on another way */
  NAT_MISSING_REPAIRED,  /* missing and asked for */
  NAT_MISSING_LATE,      /* missing, and comes too late */
  NAT_MISSING_OTHER,     /* not missing: a duplicate, from before the first, or given up */
} NatMissingStatus;

/* A packet came. extended: of a NatSeqCounter. */
NatMissingStatus nat_missing_receive (NatMissing *m, guint64 extended, gint64 now_us);

/* The packet is missing, and not given up. */
gboolean nat_missing_awaits (const NatMissing *m, guint64 extended);

/* Nobody has anything up to extended: it is not asked for any more. */
void nat_missing_give_up (NatMissing *m, guint64 extended);

/* When to call nat_missing_due next; G_MAXINT64 = not before another packet came. */
gint64 nat_missing_deadline (const NatMissing *m);
/* The sequence numbers to ask for now, ascending, at most max; those are taken for asked. If there are max, call again. */
guint nat_missing_due (NatMissing *m, gint64 now_us, guint16 *seqs, guint max);

G_END_DECLS
