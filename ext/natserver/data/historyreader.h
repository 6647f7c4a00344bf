/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Reads a history, from the last start of a picture or from its newest blocks on, to the live edge, in the order of
 * arrival. Readers own nothing, and the history knows none of them: what a reader has before it stays because it says so
 * (nat_history_pin). The history's thread. */

#include <glib.h>

#include "natserver/data/history.h"

G_BEGIN_DECLS

typedef enum {
  NAT_HISTORY_PACKET, /* one more */
  NAT_HISTORY_EDGE,   /* all were read; more may come */
  NAT_HISTORY_GONE,   /* the memory was needed otherwise: what came between is not known */
} NatHistoryStep;

typedef struct {
  const NatHistorySource *source; /* NULL: all */
  guint64 from;                   /* packets before it came late and are of no use */
  NatHistoryPlace place;
} NatHistoryReader;

/* FALSE: no picture starts in what is kept. source must outlive the reader. */
gboolean nat_history_read_picture (
    const NatHistory *h, const NatHistorySource *source, NatHistoryReader *reader);
/* All sources, in the newest blocks on which no more than so many bytes are spent together: *size. A block is 16 KiB, or more if
 * its packets are so small that NAT_HISTORY_COST for each is more. FALSE: there is none. */
gboolean nat_history_read_newest (
    const NatHistory *h, gsize bytes, NatHistoryReader *reader, gsize *size);
/* The source's next packet; a reader may go on after packets were kept and let go. */
NatHistoryStep nat_history_read (
    const NatHistory *h, NatHistoryReader *reader, NatHistoryPacket *packet);

/* What the reader has before it stays for a while, and is found, though a later picture starts meanwhile; so at each of its turns,
 * at least twenty in a second. */
void nat_history_pin (NatHistory *h, const NatHistoryReader *reader, gint64 now_us);

G_END_DECLS
