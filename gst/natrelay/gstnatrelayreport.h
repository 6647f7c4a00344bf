/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What a session tells, in GStreamer's words: PROGRESS, element, WARNING and ERROR messages, and the stats
 * structure. The one place that maps causes to error codes. */

#include <gst/gst.h>
#include "natclient/session.h"

G_BEGIN_DECLS

typedef struct {
  GstElement *element; /* not owned: it holds this */
  NatRole role;
  GMutex lock; /* a leaf: guards the rest; messages are posted without it */
  NatSessionState state;
  gboolean ready;        /* the session has all that it needs to negotiate */
  const gchar *progress; /* code of the PROGRESS under way, or NULL */
  guint32 warned;        /* 1 << NatCauseKind that had their WARNING */
  gboolean connected;    /* and the loss of it was not yet told */
} GstNatRelayReport;

void gst_nat_relay_report_init (GstNatRelayReport *report, GstElement *element, NatRole role);
void gst_nat_relay_report_clear (GstNatRelayReport *report);

/* A session is about to start. */
void gst_nat_relay_report_start (GstNatRelayReport *report);
/* A publisher has a description to offer. */
void gst_nat_relay_report_set_ready (GstNatRelayReport *report);
void gst_nat_relay_report_state (
    GstNatRelayReport *report, NatSession *session, NatSessionState state, const NatCause *cause);
/* The session is to be stopped: a progress under way is canceled. */
void gst_nat_relay_report_stop (GstNatRelayReport *report);

/* application/x-natrelay-statistics. session may be NULL. */
GstStructure *gst_nat_relay_report_stats (NatSession *session, NatRole role);

/* "busy", "no-udp"...: what messages and stats call a cause. */
const gchar *gst_nat_relay_cause_nick (NatCauseKind kind);

G_END_DECLS
