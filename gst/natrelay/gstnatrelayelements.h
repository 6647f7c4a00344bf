/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

GST_ELEMENT_REGISTER_DECLARE (natrelaysink);
GST_ELEMENT_REGISTER_DECLARE (natrelaysrc);

/* Once per process, whichever element is registered first. */
void gst_nat_relay_element_init (GstPlugin *plugin);

G_END_DECLS
