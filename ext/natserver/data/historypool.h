/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The memory of a worker's histories: blocks of NAT_HISTORY_BLOCK bytes, which any of them may take. When all are used,
 * whoever has most gives his oldest. The address space is reserved at the start; a block becomes memory when it is first
 * used. Nothing else allocates. One thread: the worker's. */

#include <glib.h>

#include "natserver/data/history.h"

G_BEGIN_DECLS

/* Of bytes, rounded down to blocks. NULL: the system does not give that much address space. */
NatHistoryPool *nat_history_pool_new (gsize bytes);
/* After all its histories were cleared. */
void nat_history_pool_free (NatHistoryPool *pool);
gsize nat_history_pool_used (const NatHistoryPool *pool); /* bytes */
/* Bytes that the system gave for it so far, and were not given back. */
gsize nat_history_pool_resident (const NatHistoryPool *pool);
/* No more than so many bytes from now on. What is beyond that goes, and back to the system, a little with each trim. */
void nat_history_pool_set_limit (NatHistoryPool *pool, gsize bytes);
void nat_history_pool_trim (NatHistoryPool *pool);
/* Blocks that a stream had to give up early, since others needed room. */
guint64 nat_history_pool_evictions (const NatHistoryPool *pool);

G_END_DECLS
