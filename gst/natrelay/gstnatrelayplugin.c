/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/**
 * plugin-natrelay:
 *
 * RTP from one network behind a NAT to others, by way of a small relay.
 *
 * Since: 0.1
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayelements.h"

static gboolean
plugin_init (GstPlugin *plugin)
{
  gboolean ok = FALSE;

  ok |= GST_ELEMENT_REGISTER (natrelaysink, plugin);
  ok |= GST_ELEMENT_REGISTER (natrelaysrc, plugin);
  return ok;
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, natrelay,
    "Media through NATs and firewalls, by way of a relay", plugin_init, VERSION, "LGPL",
    PACKAGE_NAME, PACKAGE_ORIGIN)
