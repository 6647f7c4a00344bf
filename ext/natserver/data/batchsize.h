/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How many messages a worker reads before it serves them. Many save system calls, but all that was read is
 * sent to all its receivers before anything else is heard: 16 messages of 64 packets to 500 receivers are
 * half a million sends. So the next batch follows from how long the last one took. */

#include "natserver/data/udpio.h"

G_BEGIN_DECLS

#define NAT_BATCH_BUDGET_US (8 * 1000)

/* The whole number of messages for the next batch, 1 to NAT_UDPIO_SLOTS. size: as it is now; n: messages of
 * the last batch; took_us: from the read to the end of its sends. */
static inline guint
nat_batch_size_next (guint size, guint n, gint64 took_us)
{
  if (took_us > NAT_BATCH_BUDGET_US)
    return MAX ((guint)MIN ((gint64)n * NAT_BATCH_BUDGET_US / took_us, (gint64)size), 1);
  /* Only a full batch tells that there would have been time for more. */
  return n == size && 2 * took_us < NAT_BATCH_BUDGET_US ? MIN (2 * size, NAT_UDPIO_SLOTS) : size;
}

G_END_DECLS
