/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A request pad of natrelaysink: one track's input. It checks that what comes is RTP with complete caps, gives
 * it a payload type and SSRC of its own, and follows the clock where the input is not live. */

#include <gst/gst.h>
#include "gstnatrelaytrack.h"

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_SINK_PAD (gst_nat_relay_sink_pad_get_type ())
G_DECLARE_FINAL_TYPE (
    GstNatRelaySinkPad, gst_nat_relay_sink_pad, GST, NAT_RELAY_SINK_PAD, GstGhostPad)

typedef enum {
  GST_NAT_RELAY_COMPLAINT_INPUT, /* an error */
  GST_NAT_RELAY_COMPLAINT_SIZE,  /* a warning */
} GstNatRelayComplaint;

/* What a pad asks of its element; on streaming threads. */
typedef struct {
  /* Lets the track take up caps among its neighbours. The settled caps (full reference), or NULL: no payload
   * type is left. */
  GstCaps *(*settle) (GstElement *element, GstNatRelayTrack *track, GstCaps *caps);
  /* The settled caps went downstream: describe the stream anew. */
  void (*settled) (GstElement *element);
  /* TRUE once: then the pad posts it. */
  gboolean (*may_complain) (GstElement *element, GstNatRelayComplaint complaint);
  gboolean (*wants_sync) (GstElement *element);
} GstNatRelaySinkPadOwner;

/* Floating. Makes a clocksync in bin, linked to a request pad of bundle. NULL: clocksync is not installed. */
GstPad *gst_nat_relay_sink_pad_new (guint index, GstPadTemplate *template, GstBin *bin,
    GstElement *bundle, const GstNatRelaySinkPadOwner *owner);
guint gst_nat_relay_sink_pad_get_index (GstNatRelaySinkPad *pad);
/* The track's caps and id are guarded by the owner's lock outside of the pad's streaming thread. */
GstNatRelayTrack *gst_nat_relay_sink_pad_get_track (GstNatRelaySinkPad *pad);
/* PAUSED->READY: what is known of the input is forgotten. */
void gst_nat_relay_sink_pad_reset (GstNatRelaySinkPad *pad);
/* Takes clocksync and bundle's pad away again; the pad is inactive. */
void gst_nat_relay_sink_pad_unwire (GstNatRelaySinkPad *pad, GstBin *bin, GstElement *bundle);

G_END_DECLS
