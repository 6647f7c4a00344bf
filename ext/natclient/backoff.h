/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How long to wait before the next attempt: doubled each time up to a limit, with jitter so that
 * a thousand cameras whose relay restarted do not come back in the same millisecond. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint first_ms; /* step of the first wait */
  guint max_ms;   /* no step is longer */
  guint waits;    /* given since the last reset */
} NatBackoff;

/* Seconds as the elements' properties have them; negative and absurd values are clamped. */
void nat_backoff_init (NatBackoff *b, gdouble factor_s, gdouble max_s);
void nat_backoff_reset (NatBackoff *b);
/* Milliseconds until the next attempt, between half a step and a whole one. random: 32 random bits. */
guint nat_backoff_next (NatBackoff *b, guint32 random);

G_END_DECLS
