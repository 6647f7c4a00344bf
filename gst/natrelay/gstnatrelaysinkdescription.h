/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the audience is told of a sink's tracks: when enough of them are known, the SDP and its versions, and
 * that the session has the newest. */

#include <gst/gst.h>
#include "gstnatrelayelement.h"
#include "gstnatrelaysinkkeys.h"

G_BEGIN_DECLS

typedef struct {
  /* Not owned: the element embeds them, too. */
  GstNatRelayConnection *conn;
  GstNatRelaySinkKeys *keys;
  /* Adds a reference to the caps of each track that has some, in the order of the pads. How many tracks there are. With
   * our lock. */
  guint (*collect) (GstElement *element, GPtrArray *caps);
  /* With a GWeakRef to the element: it calls gst_nat_relay_sink_description_patience_over. */
  GstClockCallback waited;

  /* Lock order: lock, then the sink's and the object lock, or the keys' and the session's. */
  GMutex lock; /* guards the rest */
  gchar *cname;
  guint64 sdp_id, sdp_version;
  gchar *sdp;   /* as offered, or NULL */
  guint offers; /* counts up with each description built */
  GstClockID patience;
  gboolean patience_over;
} GstNatRelaySinkDescription;

void gst_nat_relay_sink_description_init (GstNatRelaySinkDescription *description,
    GstNatRelayConnection *conn, GstNatRelaySinkKeys *keys,
    guint (*collect) (GstElement *element, GPtrArray *caps), GstClockCallback waited);
void gst_nat_relay_sink_description_clear (GstNatRelaySinkDescription *description);

/* READY->PAUSED, before the keys start; cname: transfer full. */
void gst_nat_relay_sink_description_start (GstNatRelaySinkDescription *description, gchar *cname);
/* PAUSED->READY, after the keys stopped, and when no track has caps any more. */
void gst_nat_relay_sink_description_stop (GstNatRelaySinkDescription *description);

/* Any thread, no lock held. Offers what the tracks' caps say, as soon as all are known or patience is over, and again when
 * they change. force: also when the text is the same (other keys). */
void gst_nat_relay_sink_description_update (
    GstNatRelaySinkDescription *description, gboolean force);
void gst_nat_relay_sink_description_patience_over (
    GstNatRelaySinkDescription *description, GstClockID id);

G_END_DECLS
