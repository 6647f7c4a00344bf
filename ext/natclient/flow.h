/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Whether a flow dried up, so that the relay is to be asked if it is still there. A subscriber asks
 * after three usual gaps without RTP, at least 60 ms; a publisher that sends, after 1 s without
 * RTCP (the relay reports every 400 ms while its RTP arrives). Once per silence: a relay that answers
 * is not to blame for it. Times are monotonic microseconds. */

#include <glib.h>
#include "natproto/messages.h"

G_BEGIN_DECLS

typedef struct {
  NatRole role;
  gboolean flowing;   /* subscriber: packets came since the last question */
  gint64 heard_us;    /* 0 = never since the reset */
  gint64 gap_us;      /* the usual gap */
  gint64 ask_us;      /* no question before */
  gint64 answered_us; /* the relay's last answer to a Binding */
  gint64 sent_us;     /* publisher: last packet */
  gint64 sending_us;  /* publisher: first packet of this spell; 0 = no spell */
} NatFlow;

void nat_flow_init (NatFlow *f, NatRole role);
/* After an outage, which is no gap. */
void nat_flow_reset (NatFlow *f);
void nat_flow_heard (NatFlow *f, gint64 now_us);
void nat_flow_sent (NatFlow *f, gint64 when_us);
void nat_flow_answered (NatFlow *f, gint64 now_us);
/* G_MAXINT64 = nothing to wait for. */
gint64 nat_flow_deadline (const NatFlow *f);
/* At the deadline. TRUE: ask now. */
gboolean nat_flow_is_dry (NatFlow *f, gint64 now_us);

G_END_DECLS
