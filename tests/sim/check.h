/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What must hold in every schedule, at every moment; a breach names the seed. What must hold when the
 * trouble is over is session-sim.c's. */

#include "client.h"

G_BEGIN_DECLS

/* What went by in this schedule. */
typedef struct {
  guint64 relay_heard, relay_sent; /* datagrams */
  guint64 rtp_heard, rtp_sent, rtcp_sealed;
  guint moves;
  guint worst_bindings; /* of a client in a second */
  guint worst_posts;    /* ... in ten seconds */
} CheckSums;
extern CheckSums check_sums;

void check_begin (House *house, Client *const *clients, guint n);
void check_end (void);
void check_new_boot (void);          /* before the relay starts */
void check_film_and_counters (void); /* at the end of a schedule, nothing waiting at the relay */
/* After anything that the relay did. */
void check_relay (void);
/* A datagram that a client sent some time ago, for whoever wants to repeat it; NULL = none. A copy. */
Datagram *check_captured (gboolean from_relay);

G_END_DECLS
