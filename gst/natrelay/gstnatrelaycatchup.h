/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What a pad does with packets of the past (gstnatrelayheadstart.h) before its first live packet: their
 * picture is shown at once as a still, and all of them lie before the segment of the live ones, so that a decoder
 * decodes and clips them (docs/design/headstart.md). Streaming thread only. */

#include <gst/gst.h>
#include "gstnatrelayheadstart.h"

G_BEGIN_DECLS

typedef struct {
  GstNatRelayHeadstart *headstart; /* not owned */
  guint32 ssrc;
  gboolean armed;     /* no live packet came yet */
  GstSegment segment; /* of the live packets, as their feeder has it */
  /* All times of this pad are later by so much than their feeder's, so that those of the past are not negative. */
  GstClockTime shift;
} GstNatRelayCatchup;

/* What comes next is of that SSRC, which was not heard of before. headstart may be NULL: there is no past. */
void gst_nat_relay_catchup_arm (
    GstNatRelayCatchup *catchup, GstNatRelayHeadstart *headstart, guint32 ssrc);
/* The feeder's event as it goes out; taken, and given back. */
GstEvent *gst_nat_relay_catchup_event (GstNatRelayCatchup *catchup, GstEvent *event);
/* The feeder's packet as it goes out; taken, and given back. Before the first one the past is pushed out of
 * pad; that waits for it, and ends early if *ret is not OK then. clock_rate in Hz; latency: the pad's. */
GstBuffer *gst_nat_relay_catchup_buffer (GstNatRelayCatchup *catchup, GstPad *pad,
    GstBuffer *buffer, gint clock_rate, GstClockTime latency, GstFlowReturn *ret);

G_END_DECLS
