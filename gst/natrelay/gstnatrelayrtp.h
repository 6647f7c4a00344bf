/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Builds and wires the inside of either element: one rtpbin with one RTP session, the sealing or
 * opening element, and the transport's ends. */

#include <gst/gst.h>
#include "gstnatrelaysframe.h"
#include "gstnatrelaytransport.h"

G_BEGIN_DECLS

typedef struct {
  guint64 lost, late, duplicates;
} GstNatRelayRtpStats;

typedef struct {
  GstElement *rtpbin;
  GstElement *ssrc_demux;              /* source only; rtpbin's */
  GstElement *bundle;                  /* sink only */
  GstNatRelaySeal *seal;               /* sink only */
  GstNatRelayOpen *open;               /* source only */
  GstNatRelayTransportSink *rtp_sink;  /* sink only */
  GstNatRelayTransportSrc *rtp_src;    /* source only */
  GstNatRelayTransportSink *rtcp_sink; /* both */
  GstNatRelayTransportSrc *rtcp_src;   /* both */
  const gchar *missing; /* a factory that is not installed; the rest is then not built */

  /* Source only. */
  GMutex lock; /* guards both; rtpbin's locks come before it, a jitterbuffer's own after it */
  GPtrArray *jitterbuffers; /* those that there are */
  GstNatRelayRtpStats gone; /* what those counted that were there before, in this run */
} GstNatRelayRtp;

/* All members are owned by bin. */
void gst_nat_relay_rtp_build_sink (GstNatRelayRtp *rtp, GstBin *bin);
/* named: its elements have names that tell what they are; not where bin has several. */
void gst_nat_relay_rtp_build_src (GstNatRelayRtp *rtp, GstBin *bin, gboolean named);
/* Receiver: brings its elements to the state of the bin that they are in; and to NULL, and out of bin. */
void gst_nat_relay_rtp_sync_src (const GstNatRelayRtp *rtp);
void gst_nat_relay_rtp_remove_src (GstNatRelayRtp *rtp, GstBin *bin);

/* Receiver: its elements stay as long, whether they are in bin or not. */
void gst_nat_relay_rtp_hold_src (GstNatRelayRtp *rtp);
void gst_nat_relay_rtp_release_src (GstNatRelayRtp *rtp);

/* Posts the error about rtp->missing; TRUE if nothing is. */
gboolean gst_nat_relay_rtp_check (const GstNatRelayRtp *rtp, GstElement *element);

/* The canonical name that our reports carry for all tracks. Free with g_free. */
gchar *gst_nat_relay_rtp_cname (const GstNatRelayRtp *rtp);

/* The SSRC that our receiver reports have. */
guint32 gst_nat_relay_rtp_own_ssrc (const GstNatRelayRtp *rtp);

/* Receiver: forgets one SSRC: its jitterbuffer and pads go. Not from a thread that streams out of them, nor while one is held up behind
 * them: nothing of all SSRCs comes in meanwhile. gone, if not NULL, is called before anything does. */
void gst_nat_relay_rtp_forget_ssrc (
    const GstNatRelayRtp *rtp, guint32 ssrc, void (*gone) (gpointer user), gpointer user);

/* Publisher: what got lost before the session had it is added to its statistics. */
void gst_nat_relay_rtp_sink_stats (const GstNatRelayRtp *rtp, GstStructure *s);

/* Receiver: a run begins, and is counted from nought; and what its jitterbuffers counted is added. */
void gst_nat_relay_rtp_start (GstNatRelayRtp *rtp);
void gst_nat_relay_rtp_add_stats (GstNatRelayRtp *rtp, GstNatRelayRtpStats *sum);

/* Asks whoever feeds this receive pad for a picture that stands alone. */
gboolean gst_nat_relay_rtp_request_key_unit (GstPad *rtpbin_src_pad);

G_END_DECLS
