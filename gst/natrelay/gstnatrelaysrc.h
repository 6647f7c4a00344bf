/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_SRC (gst_nat_relay_src_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelaySrc, gst_nat_relay_src, GST, NAT_RELAY_SRC, GstBin)

G_END_DECLS
