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
  gboolean deserted;     /* nobody publishes the stream that is to be played */
  NatTransport transport;
} GstNatRelayReport;

void gst_nat_relay_report_init (GstNatRelayReport *report, GstElement *element, NatRole role);
void gst_nat_relay_report_clear (GstNatRelayReport *report);

/* A session is about to start. */
void gst_nat_relay_report_start (GstNatRelayReport *report);
/* A publisher has a description to offer. */
void gst_nat_relay_report_set_ready (GstNatRelayReport *report);
/* Whether somebody publishes the stream that is to be played, as far as the relay knows. */
void gst_nat_relay_report_set_deserted (GstNatRelayReport *report, gboolean deserted);
void gst_nat_relay_report_state (
    GstNatRelayReport *report, NatSession *session, NatSessionState state, const NatCause *cause);
/* The relay has us at another address: the element message "natrelay-transport", if that is another transport. */
void gst_nat_relay_report_mapped (GstNatRelayReport *report, const NatAddress *relay);
/* Any thread: the element message "natrelay-bitrate". */
void gst_nat_relay_report_bitrate (GstNatRelayReport *report, guint64 bits_per_s, gdouble loss);
/* Any thread: larger datagrams do not get through. A warning with the number to set, and the element message
 * "natrelay-path-size". */
void gst_nat_relay_report_path_size (GstNatRelayReport *report, guint bytes);
/* The session is to be stopped: a progress under way is canceled. */
void gst_nat_relay_report_stop (GstNatRelayReport *report);

/* A latency of latency_ms is too short for repairs over a round trip of rtt_ms; needed_ms would do. */
void gst_nat_relay_report_latency (
    GstNatRelayReport *report, guint latency_ms, guint needed_ms, guint rtt_ms);

/* application/x-natrelay-statistics. session may be NULL. */
GstStructure *gst_nat_relay_report_stats (NatSession *session, NatRole role);

G_END_DECLS
