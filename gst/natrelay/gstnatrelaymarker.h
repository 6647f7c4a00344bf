/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Private element: writes frame marks (RFC 9626) into the packets of one video track, before the RTP session sees
 * them and before they are sealed. Packets of other tracks pass untouched. */

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_MARKER (gst_nat_relay_marker_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelayMarker, gst_nat_relay_marker, GST, NAT_RELAY_MARKER, GstElement)

/* RTP bytes that a mark adds to a packet without header extensions. */
#define GST_NAT_RELAY_MARKER_OVERHEAD 8

/* Of complete RTP caps: the same with the extension announced as extmap-N, N being free in them, if it is video
 * whose frames can be told and that has no marks yet. Full reference. */
GstCaps *gst_nat_relay_marker_announce (GstCaps *caps);

/* The extension's id in RTP caps; 0: they do not announce it. */
guint8 gst_nat_relay_marker_get_id (GstCaps *caps);

/* Floating. It takes the extension's id from its caps. */
GstElement *gst_nat_relay_marker_new (void);

G_END_DECLS
