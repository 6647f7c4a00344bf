/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* natrelay://host[:port]/stream[?property=value&...]: taken apart, applied to an element's
 * properties, and written again without its secrets. No I/O, no element state. */

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_NAT_RELAY_URI_SCHEME "natrelay"

typedef struct {
  gchar *host; /* name or literal address, without brackets */
  guint16 port;
  gchar *stream;
  gchar **keys; /* property names and their values, both %-decoded, in the URI's order */
  gchar **values;
} GstNatRelayUri;

/* FALSE: GST_URI_ERROR with a text that names the part that is wrong. */
gboolean gst_nat_relay_uri_parse (GstNatRelayUri *out, const gchar *text, GError **error);
/* Safe on zeroed memory. */
void gst_nat_relay_uri_clear (GstNatRelayUri *uri);

/* Sets each key as a property of object: all of them, or none and FALSE. Only properties that object's own
 * class installed are for a URI to set, and neither "uri" itself nor objects. */
gboolean gst_nat_relay_uri_apply (const GstNatRelayUri *uri, GObject *object, GError **error);

/* text as it was given, without write-only properties of object's class (tokens), and a proxy that has a user. */
gchar *gst_nat_relay_uri_public (const gchar *text, GObject *object);

G_END_DECLS
