/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The passphrase of an element's run: read, stretched once for each room, and held against what a publisher offers. */

#include <gst/gst.h>
#include "natproto/passphrase.h"

G_BEGIN_DECLS

typedef struct _GstNatRelayPassphrase
    GstNatRelayPassphrase; /* any thread; wiped with the last reference */

/* text, or else what stands in key_file (a regular file; line ends at its end do not count). NULL without an error: neither
 * is set ("" counts as unset). With an error, which tells the cause and what to do: nothing usable. */
GstNatRelayPassphrase *gst_nat_relay_passphrase_new (
    const gchar *text, const gchar *key_file, GError **error);
GstNatRelayPassphrase *gst_nat_relay_passphrase_ref (GstNatRelayPassphrase *self);
void gst_nat_relay_passphrase_unref (GstNatRelayPassphrase *self);

/* The first call for a room takes tenths of a second, and others wait for it: not from a streaming
 * thread or the session's. */
void gst_nat_relay_passphrase_stretch (
    GstNatRelayPassphrase *self, const gchar *stream, guint8 stretched[NAT_STRETCHED_SIZE]);

/* What a receiver does with each new description before anything else: TRUE, and its keys are those that open. FALSE:
 * nothing in it is to be believed; error is for the bus, of GST_STREAM_ERROR. self NULL: no passphrase was set. As slow as
 * the above. */
gboolean gst_nat_relay_passphrase_admit (
    GstNatRelayPassphrase *self, const gchar *stream, NatDescription *description, GError **error);

G_END_DECLS
