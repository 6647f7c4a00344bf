/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_SINK (gst_nat_relay_sink_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelaySink, gst_nat_relay_sink, GST, NAT_RELAY_SINK, GstBin)

G_END_DECLS
