/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The properties that natrelaysink has beside the connection's. */

#include <gst/gst.h>
#include "gstnatrelayelement.h"

G_BEGIN_DECLS

#define GST_NAT_RELAY_SINK_DEFAULT_ENCRYPTION          GST_NAT_RELAY_ENCRYPTION_AES_128_GCM
#define GST_NAT_RELAY_SINK_DEFAULT_WAIT_FOR_CONNECTION FALSE
#define GST_NAT_RELAY_SINK_DEFAULT_SYNC                TRUE
#define GST_NAT_RELAY_SINK_DEFAULT_TAKEOVER            FALSE
#define GST_NAT_RELAY_SINK_DEFAULT_MTU                 1200 /* bytes */
#define GST_NAT_RELAY_SINK_MTU_MIN                     256 /* bytes; less carries more header than media */

enum {
  GST_NAT_RELAY_SINK_PROP_ENCRYPTION = GST_NAT_RELAY_PROP_FIRST_OWN,
  GST_NAT_RELAY_SINK_PROP_WAIT_FOR_CONNECTION,
  GST_NAT_RELAY_SINK_PROP_SYNC,
  GST_NAT_RELAY_SINK_PROP_TAKEOVER,
  GST_NAT_RELAY_SINK_PROP_MTU,
  GST_NAT_RELAY_SINK_PROP_STATS,
  GST_NAT_RELAY_SINK_PROP_ESTIMATED_BITRATE,
};

/* roll_key: gboolean (*) (GstNatRelaySink *), what the signal of that name does. */
void gst_nat_relay_sink_properties_install (GObjectClass *klass, GCallback roll_key);

G_END_DECLS
