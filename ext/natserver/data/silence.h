/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* When a source that spoke counts as silent: after a pause longer than usual. Monotonic microseconds. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_SILENCE_US     (60 * 1000)
#define NAT_SILENCE_MAX_US (500 * 1000) /* the longest pause that can be usual */

typedef struct {
  gint64 last_us;  /* 0 = nothing came yet */
  gint64 usual_us; /* the longest usual pause */
  gboolean noticed;
} NatSilence;

static inline void
nat_silence_heard (NatSilence *s, gint64 now_us)
{
  gint64 pause = MIN (now_us - s->last_us, NAT_SILENCE_MAX_US);

  s->noticed = FALSE;
  if (pause <= 0)
    return;
  /* Grows at once, shrinks over a hundred pauses: pictures come in bursts, with short ones in between. */
  if (s->last_us != 0)
    s->usual_us = MAX (pause, s->usual_us - s->usual_us / 64);
  s->last_us = now_us;
}

/* When the source counts as silent, least_us after it was heard at the soonest; G_MAXINT64: it does so
 * already, or said nothing yet. */
static inline gint64
nat_silence_due (const NatSilence *s, gint64 least_us)
{
  if (s->noticed || s->last_us == 0)
    return G_MAXINT64;
  return s->last_us + MAX (2 * s->usual_us, least_us);
}

G_END_DECLS
