/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How much media may come in: on one stream, with one token, from one address, and in all; bytes and packets.
 *
 * A packet asks nothing here. It is held against what its session was granted, two numbers beside the counters that it adds
 * to anyway; when those are used up the meters are asked, for a 64th of a second at once, or for the packet alone when that
 * is not to be had. So what is granted is not yet taken: a packet that is refused for another reason uses nothing up.
 *
 * A meter is the time until which all that it gave is earned (GCRA), a word for bytes and one for packets, which workers
 * change by compare-and-swap. A lock is taken where a session or an address is new, and for no packet. */

#include <stdatomic.h>

#include "natproto/address.h"
#include "natserver/counters.h"

G_BEGIN_DECLS

typedef enum {
  NAT_LIMIT_STREAM,
  NAT_LIMIT_SUBJECT, /* of the token */
  NAT_LIMIT_ADDRESS, /* IPv6: one /64 */
  NAT_LIMIT_ALL,
  NAT_LIMITS,
} NatLimit;

typedef struct {
  guint32 kbps;    /* thousands of bits, datagrams as they are */
  guint32 packets; /* in a second */
} NatRate;         /* 0 in either = no limit. A second's worth may come at once */

/* Each: until then all that it gave is earned; nanoseconds. Zeroed memory is one that gave nothing yet. */
typedef struct {
  _Atomic gint64 bytes_ns, packets_ns;
} NatMeter;

/* All that sessions share. Any thread. */
typedef struct _NatMeters NatMeters;
NatMeters *nat_meters_new (void); /* without limits */
NatMeters *nat_meters_ref (NatMeters *m);
void nat_meters_unref (NatMeters *m);
/* From now on; sessions that have grants left hear of it within half a second (nat_budget_check). */
void nat_meters_set_rates (NatMeters *m, const NatRate rates[NAT_LIMITS]);
/* A bit for each that anything was refused for so far: 2 * limit, and one more for packets. */
guint nat_meters_refused (NatMeters *m);
/* How many tokens and addresses it knows: of sessions that are there, and of those that left and used up what is not yet earned. */
guint nat_meters_size (NatMeters *m);

/* A publisher's share in them. One thread at a time. */
typedef struct _NatBudget NatBudget;
/* Takes a reference. stream: its stream's meter, which outlives it: else whoever takes a stream over would have a second's
 * worth each time. */
NatBudget *nat_budget_new (NatMeters *m, NatMeter *stream);
void nat_budget_free (NatBudget *b);
/* What its token allows: all sessions of one subject and one such permission have it together; "" is nobody, and shares
 * with nobody. Nothing that was granted before is left. */
void nat_budget_claim (
    NatBudget *b, const char *subject, const NatRate *claim, NatSessionCounters *c);
NatRate nat_budget_claimed (const NatBudget *b);
/* A Binding came from there: its packets count for that address from now on. */
void nat_budget_heard_from (NatBudget *b, const NatAddress *from, gint64 now_us);
/* Nothing is left of what was granted by other rates than those that hold now. */
void nat_budget_check (NatBudget *b, NatSessionCounters *c);
/* A packet of len bytes goes beyond what was granted. TRUE: it does not any more. FALSE: *which is the limit, as a bit number of
 * nat_meters_refused. */
gboolean nat_budget_ask (NatBudget *b, const NatAddress *from, NatSessionCounters *c, gsize len,
    gint64 now_us, guint *which);

/* One more packet of len bytes is within what was granted. */
static inline gboolean
nat_budget_holds (const NatSessionCounters *c, gsize len)
{
  return nat_counter_get (&c->bytes_received) + len <= nat_counter_get (&c->bytes_granted) &&
         nat_counter_get (&c->packets_received) < nat_counter_get (&c->packets_granted);
}

G_END_DECLS
