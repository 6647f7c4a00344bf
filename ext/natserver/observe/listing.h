/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* GET /v1/streams and /v1/sessions: a snapshot as JSON (docs/PROTOCOL.md section 2.8). */

#include "natserver/counters.h"

G_BEGIN_DECLS

#define NAT_LISTING_MAX 1000 /* streams or sessions in one answer; "total" counts all */

/* With the last samples of each stream's trend, as many as there are. */
char *nat_listing_streams (const NatSnapshot *snapshot, guint samples);

typedef struct {
  const char *stream; /* of that stream alone; NULL = of all */
  guint from;         /* leaves out that many */
  gboolean whole_id;  /* FALSE: the first 8 characters, which are enough to tell them apart */
} NatListingAsk;
char *nat_listing_sessions (const NatSnapshot *snapshot, const NatListingAsk *ask);

G_END_DECLS
