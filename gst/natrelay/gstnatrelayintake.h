/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Private element: where a track of natrelaysink becomes ours. It checks that what comes is RTP with complete
 * caps, gives it a payload type and SSRC of its own, and lets the clocksync after it follow the clock
 * where the input is not live. */

#include <gst/gst.h>
#include "gstnatrelaytrack.h"

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_INTAKE (gst_nat_relay_intake_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelayIntake, gst_nat_relay_intake, GST, NAT_RELAY_INTAKE, GstElement)

/* Bytes that a datagram may have beside the RTP packet that was made: sealing (24, 8 to spare), and what we add to its
 * header (8). */
#define GST_NAT_RELAY_RESERVED 40

typedef enum {
  GST_NAT_RELAY_COMPLAINT_INPUT, /* an error */
  GST_NAT_RELAY_COMPLAINT_SIZE,  /* a warning, as is the next; that one is the element's own */
  GST_NAT_RELAY_COMPLAINT_NO_PAD,
} GstNatRelayComplaint;

/* What a track asks of its element; on streaming threads. */
typedef struct {
  /* Lets the track take up caps among its neighbours. The settled caps (full reference), or NULL: no payload
   * type is left. */
  GstCaps *(*settle) (GstElement *element, GstNatRelayTrack *track, GstCaps *caps);
  /* The settled caps went downstream: describe the stream anew. */
  void (*settled) (GstElement *element);
  /* TRUE once: then the track posts it. */
  gboolean (*may_complain) (GstElement *element, GstNatRelayComplaint complaint);
  gboolean (*wants_sync) (GstElement *element);
  /* The largest datagram, in bytes, that the user wants to be sent. */
  guint (*get_mtu) (GstElement *element);
} GstNatRelayIntakeOwner;

/* Floating. pad is the request pad of element that it serves, clocksync what follows: neither is owned, both
 * outlive its streaming. */
GstElement *gst_nat_relay_intake_new (
    GstPad *pad, GstElement *element, GstElement *clocksync, const GstNatRelayIntakeOwner *owner);
/* The track's caps and id are guarded by the owner's lock outside of the streaming thread. */
GstNatRelayTrack *gst_nat_relay_intake_get_track (GstNatRelayIntake *self);
/* FALSE: packets are of our own making, and their size is as it should be. Streaming thread. */
void gst_nat_relay_intake_watch_size (GstNatRelayIntake *self, gboolean watch);
/* Any thread: the track goes on with another SSRC from its next packet on. */
void gst_nat_relay_intake_redraw (GstNatRelayIntake *self);
/* PAUSED->READY: what is known of the input is forgotten. */
void gst_nat_relay_intake_reset (GstNatRelayIntake *self);
/* One error for the first wrong input of the element; more of them would say nothing new. */
void gst_nat_relay_intake_complain (
    GstNatRelayIntake *self, GstStreamError code, const gchar *format, ...) G_GNUC_PRINTF (3, 4);

G_END_DECLS
