/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* GET /v1/streams and /v1/sessions: a snapshot as JSON (docs/PROTOCOL.md section 2.8), written in turns: a thousand
 * streams with their trends are four megabytes. */

#include "natserver/observe/snapshot.h"

G_BEGIN_DECLS

#define NAT_LISTING_MAX              1000 /* streams or sessions in one answer; "total" counts all */
#define NAT_LISTING_STREAMS_AT_ONCE  16   /* a millisecond, with their trends */
#define NAT_LISTING_SESSIONS_AT_ONCE 64   /* half of one */

typedef struct {
  GString *text;
  guint shown; /* 0 at first */
} NatListing;

/* TRUE: some are to be written yet, by another call. */

/* With the last samples of each stream's trend, as many as there are. */
gboolean nat_listing_streams (NatListing *l, const NatSnapshot *snapshot, guint samples);
/* whole_id FALSE: the first 8 characters, which are enough to tell them apart. */
gboolean nat_listing_sessions (NatListing *l, const NatSessionList *list, gboolean whole_id);

G_END_DECLS
