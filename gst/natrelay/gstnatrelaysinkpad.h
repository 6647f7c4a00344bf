/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A request pad of natrelaysink: one track's input, and the elements inside that serve it alone. Where
 * something else than RTP comes, a payloader is plugged when its caps come. */

#include <gst/gst.h>
#include "gstnatrelayintake.h"

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_SINK_PAD (gst_nat_relay_sink_pad_get_type ())
G_DECLARE_FINAL_TYPE (
    GstNatRelaySinkPad, gst_nat_relay_sink_pad, GST, NAT_RELAY_SINK_PAD, GstGhostPad)

/* Floating. Makes intake and clocksync in bin, linked to a request pad of bundle. NULL: clocksync is not
 * installed. */
GstPad *gst_nat_relay_sink_pad_new (guint index, GstPadTemplate *template, GstBin *bin,
    GstElement *bundle, const GstNatRelayIntakeOwner *owner);
guint gst_nat_relay_sink_pad_get_index (GstNatRelaySinkPad *pad);
/* Any thread, a GFunc: the relay tells streams apart by their SSRCs, and another has this track's: it goes on with another. */
void gst_nat_relay_sink_pad_redraw (gpointer pad, gpointer unused);
/* Any thread, a GFunc: the encoder is asked for a key frame. */
void gst_nat_relay_sink_pad_ask_for_picture (gpointer pad, gpointer unused);
/* The track's caps and id are guarded by the owner's lock outside of the pad's streaming thread. */
GstNatRelayTrack *gst_nat_relay_sink_pad_get_track (GstNatRelaySinkPad *pad);
/* Any thread, a GFunc: another track's thread will wait, perhaps for all: caps that upstream has in store for this one are
 * taken now. Of what is not in the first description, who watches already hears a second later. */
void gst_nat_relay_sink_pad_ask_for_caps (gpointer pad, gpointer unused);
/* Any thread, a GFunc: the element's mtu goes to a payloader that is plugged. */
void gst_nat_relay_sink_pad_update_mtu (gpointer pad, gpointer element);
/* A GFunc: takes away a payloader that is plugged; the pad is inactive. */
void gst_nat_relay_sink_pad_unplug (gpointer pad, gpointer element);
/* PAUSED->READY: what is known of the input is forgotten. With the owner's lock. */
void gst_nat_relay_sink_pad_reset (GstNatRelaySinkPad *pad);
/* Makes the pad inactive for good, and waits for nothing but its thread's way out. */
void gst_nat_relay_sink_pad_stop (GstNatRelaySinkPad *pad);
/* Takes the elements and bundle's pad away again; the pad is inactive. */
void gst_nat_relay_sink_pad_unwire (GstNatRelaySinkPad *pad, GstBin *bin, GstElement *bundle);

G_END_DECLS
