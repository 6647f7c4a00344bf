/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A pad of natrelaysrc: it is there, with its caps, from the description on, while what feeds it comes with the
 * first packet and goes when the publisher starts anew. What nobody takes is dropped, so that
 * no track stops another. */

#include <gst/gst.h>
#include "gstnatrelayheadstart.h"
#include "gstnatrelaysdp.h"

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_SRC_PAD (gst_nat_relay_src_pad_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelaySrcPad, gst_nat_relay_src_pad, GST, NAT_RELAY_SRC_PAD, GstGhostPad)

/* Floating. */
GstPad *gst_nat_relay_src_pad_new (
    const gchar *name, GstPadTemplate *template, GstNatRelayMedia media);
/* Makes it active and gives it its stream, with its caps, as whoever sees it added expects. One with tags is of a
 * collection, which its start tells. */
void gst_nat_relay_src_pad_begin (GstNatRelaySrcPad *pad, GstStream *stream, guint group_id);
/* What caps queries are answered with. */
void gst_nat_relay_src_pad_set_caps (GstNatRelaySrcPad *pad, GstCaps *caps);
/* What latency queries are answered with. Any thread. */
void gst_nat_relay_src_pad_set_latency (GstNatRelaySrcPad *pad, GstClockTime latency);
/* What comes next is of that SSRC, and headstart (NULL: none) has what was before. On the thread that feeds it. */
void gst_nat_relay_src_pad_arm (
    GstNatRelaySrcPad *pad, GstNatRelayHeadstart *headstart, guint32 ssrc);
/* Another of rtpbin's pads is its target now: asks for a picture at once, if it carries any. */
void gst_nat_relay_src_pad_fed_anew (GstNatRelaySrcPad *pad);
/* Asks for a picture that stands alone; at most twice a second. */
void gst_nat_relay_src_pad_request_key_unit (GstNatRelaySrcPad *pad);
/* Something is missing of what it carries: the same, and again until such a picture comes, but not for long. */
void gst_nat_relay_src_pad_begin_anew (gpointer pad, gpointer unused);
/* EOS, if nothing feeds it: else that comes from there. */
void gst_nat_relay_src_pad_end_unfed (gpointer pad, gpointer unused);
/* Before what feeds them is taken away, which waits for its threads: none is in these pads any more then, and what comes is dropped,
 * until each was reopened as often as it was shut. What is held up downstream, by what takes nothing any more, is flushed. */
void gst_nat_relay_src_pads_shut (GPtrArray *pads);
/* The same, but FALSE if something is held up: then all is as it was. */
gboolean gst_nat_relay_src_pad_try_shut (GstNatRelaySrcPad *pad);
void gst_nat_relay_src_pad_reopen (gpointer pad);

G_END_DECLS
