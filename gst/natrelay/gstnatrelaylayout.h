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
#include "gstnatrelayheadstart.h"
#include "gstnatrelayrtp.h"
#include "gstnatrelaysdp.h"
#include "natproto/negotiation.h"

G_BEGIN_DECLS

/* On the worker, no lock held, for each description before it is used; it may change it. live: its publisher is there, rather than
 * gone and its place kept. FALSE: what is in it counts for nothing, and what was before holds. */
typedef gboolean (*GstNatRelayLayoutAdmit) (
    gpointer user, gboolean live, NatDescription *description);

/* What the layouts of one element have in common, when there are several. */
typedef struct {
  gint next_index[GST_NAT_RELAY_N_MEDIA]; /* atomic: of pad names */
  /* On a worker, no lock held: pads came or went. */
  void (*changed) (gpointer user);
  gpointer user;
} GstNatRelayLayoutRoom;

typedef struct {
  GstElement *element; /* not owned: it embeds this */
  GstNatRelayLayoutAdmit admit;
  gpointer user;
  GstNatRelayLayoutRoom *room; /* not owned; NULL: the only one */
  const GstNatRelayRtp *rtp;
  GstNatRelayHeadstart *headstart;                  /* not owned */
  GstPadTemplate *templates[GST_NAT_RELAY_N_MEDIA]; /* not owned */

  /* Lock order: lock, then a pad's or the element's object lock; not held while calling out. (A pad's target is
   * set with it held: that links, but pushes nothing.) */
  GMutex lock;
  guint run; /* counts starts and stops: work for an older one is given up */
  gboolean started;
  gboolean working;
  GCond idle;       /* working became FALSE */
  gchar *stream_id; /* what the ids of this run begin with */
  gchar *stream;    /* its name */
  GstClockTime latency;
  gboolean eos_on_end;
  GPtrArray *tracks; /* in pad order */
  gboolean news;     /* publisher and description are to be applied */
  gboolean
      seen_live; /* in this run a publisher was there: also if that news was overtaken by the next */
  NatPublisherState publisher;
  NatDescription description;

  /* The worker. */
  guint applied_run;
  gchar *sdp; /* as applied */
  guint generation;
  gboolean bad_sdp_told;
} GstNatRelayLayout;

void gst_nat_relay_layout_init (GstNatRelayLayout *layout, GstElement *element,
    GstNatRelayLayoutAdmit admit, gpointer user, const GstNatRelayRtp *rtp,
    GstNatRelayHeadstart *headstart, GstStaticPadTemplate *templates, GstNatRelayLayoutRoom *room);
void gst_nat_relay_layout_clear (GstNatRelayLayout *layout);

/* READY->PAUSED. stream_id: "host:port/stream"; taken. stream: its name alone. */
void gst_nat_relay_layout_start (GstNatRelayLayout *layout, gchar *stream_id, const gchar *stream);
/* PAUSED->READY, when nothing streams any more, or of one of several: all pads go. FALSE: the worker is at it still. */
gboolean gst_nat_relay_layout_stop (GstNatRelayLayout *layout);

/* All below: any thread. */
void gst_nat_relay_layout_take_description (
    GstNatRelayLayout *layout, NatPublisherState publisher, const NatDescription *description);
/* Adds what its pads carry. */
void gst_nat_relay_layout_collect (GstNatRelayLayout *layout, GstStreamCollection *collection);
/* Adds references to its pads. */
void gst_nat_relay_layout_get_pads (GstNatRelayLayout *layout, GPtrArray *pads);
/* rtpbin made a pad for ssrc; FALSE: it belongs to no track (any more). */
gboolean gst_nat_relay_layout_feed (GstNatRelayLayout *layout, guint32 ssrc, GstPad *rtpbin_pad);
/* Nothing came of ssrc for long. */
void gst_nat_relay_layout_forget_silent (GstNatRelayLayout *layout, guint32 ssrc);
/* The caps of a payload type, or NULL. */
GstCaps *gst_nat_relay_layout_get_caps (GstNatRelayLayout *layout, guint payload_type);
void gst_nat_relay_layout_set_latency (GstNatRelayLayout *layout, GstClockTime latency);
void gst_nat_relay_layout_set_eos_on_end (GstNatRelayLayout *layout, gboolean eos_on_end);

G_END_DECLS
