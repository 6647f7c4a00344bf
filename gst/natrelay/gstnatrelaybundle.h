/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Private element: any number of tracks into one RTP session. In place of rtpfunnel, which cannot be used
 * twice, loses the segment after a flush, and ends the stream with the first track's EOS. */

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_BUNDLE (gst_nat_relay_bundle_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelayBundle, gst_nat_relay_bundle, GST, NAT_RELAY_BUNDLE, GstElement)

/* Any thread. Packets of this run that got lost while another track was flushed. */
guint64 gst_nat_relay_bundle_get_dropped (GstNatRelayBundle *bundle);

/* Any thread. pad, which is about to go, takes nothing more, and a thread that is in it does not wait for its turn. */
void gst_nat_relay_bundle_let_go (GstNatRelayBundle *bundle, GstPad *pad);

G_END_DECLS
