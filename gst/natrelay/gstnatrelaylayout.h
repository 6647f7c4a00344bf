/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* natrelaysrc's pads, as the publisher's description has them: made, fed, kept or replaced.
 *
 * All of it is done by a worker, one at a time, on a thread that a state change waits for only so long. Were it a
 * streaming thread, "pad-added" could wait for a state lock which the application holds while it waits
 * for that very thread to stop. */

#include <gst/gst.h>
#include "gstnatrelayrtp.h"
#include "gstnatrelaysdp.h"
#include "natproto/negotiation.h"

G_BEGIN_DECLS

typedef struct {
  GstElement *element; /* not owned: it embeds this */
  const GstNatRelayRtp *rtp;
  GstPadTemplate *templates[GST_NAT_RELAY_N_MEDIA]; /* not owned */

  /* Lock order: lock, then a pad's or the element's object lock; not held while calling out. (A pad's target is
   * set with it held: that links, but pushes nothing.) */
  GMutex lock;
  guint run; /* counts starts and stops: work for an older one is given up */
  gboolean started;
  gboolean working;
  GCond idle;       /* working became FALSE */
  gchar *stream_id; /* what the ids of this run begin with */
  GstClockTime latency;
  gboolean eos_on_end;
  GPtrArray *tracks; /* in pad order */
  gboolean news;     /* publisher and description are to be applied */
  NatPublisherState publisher;
  NatDescription description;

  /* The worker. */
  guint applied_run;
  gchar *sdp; /* as applied */
  guint generation;
  gboolean seen_live; /* a publisher was there */
  gboolean bad_sdp_told;
} GstNatRelayLayout;

void gst_nat_relay_layout_init (GstNatRelayLayout *layout, GstElement *element,
    const GstNatRelayRtp *rtp, GstStaticPadTemplate *templates);
void gst_nat_relay_layout_clear (GstNatRelayLayout *layout);

/* READY->PAUSED. stream_id: "host:port/stream"; taken. */
void gst_nat_relay_layout_start (GstNatRelayLayout *layout, gchar *stream_id);
/* PAUSED->READY, when nothing streams any more: all pads go. */
void gst_nat_relay_layout_stop (GstNatRelayLayout *layout);

/* All below: any thread. */
void gst_nat_relay_layout_take_document (
    GstNatRelayLayout *layout, const NatSessionDocument *document);
/* rtpbin made a pad for ssrc; FALSE: it belongs to no track (any more). */
gboolean gst_nat_relay_layout_feed (GstNatRelayLayout *layout, guint32 ssrc, GstPad *rtpbin_pad);
/* The caps of a payload type, or NULL. */
GstCaps *gst_nat_relay_layout_get_caps (GstNatRelayLayout *layout, guint payload_type);
void gst_nat_relay_layout_set_latency (GstNatRelayLayout *layout, GstClockTime latency);
void gst_nat_relay_layout_set_eos_on_end (GstNatRelayLayout *layout, gboolean eos_on_end);
void gst_nat_relay_layout_request_key_units (GstNatRelayLayout *layout);

G_END_DECLS
