/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What natrelaysink tells of those who watch: signals, the element message "natrelay-audience", fields of
 * stats. The relay sums up; the number of subscribers costs the sender nothing. */

#include <gst/gst.h>
#include "natclient/session.h"
#include "natproto/rtcpapp.h"

G_BEGIN_DECLS

typedef struct {
  GMutex lock; /* a leaf: guards all below */
  gboolean known;
  NatAudience now;
} GstNatRelayAudience;

void gst_nat_relay_audience_install (GObjectClass *klass);
void gst_nat_relay_audience_init (GstNatRelayAudience *self);
void gst_nat_relay_audience_clear (GstNatRelayAudience *self);
/* Another session begins. */
void gst_nat_relay_audience_reset (GstNatRelayAudience *self);
/* Any RTCP compound from the relay, on the session's thread. Tells what changed, no lock held. */
void gst_nat_relay_audience_rtcp (
    GstNatRelayAudience *self, GstElement *element, const NatDatagram *packet);
/* Adds nothing until the relay has told something. */
void gst_nat_relay_audience_stats (GstNatRelayAudience *self, GstStructure *stats);

G_END_DECLS
