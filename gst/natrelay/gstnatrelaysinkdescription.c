/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysinkdescription.h"
#include "gstnatrelaysdp.h"
#include "natproto/passphrase.h"

#define GST_CAT_DEFAULT gst_nat_relay_debug

/* The first description waits so long for tracks that have no caps yet. */
#define DESCRIPTION_PATIENCE GST_SECOND

/* ---- patience ------------------------------------------------------------ */

/* called with lock; TRUE: all tracks that matter are known */
static gboolean
may_describe (GstNatRelaySinkDescription *self, guint known, guint tracks)
{
  if (known == 0 || !gst_nat_relay_sink_keys_are_ready (self->keys))
    return FALSE;
  return known == tracks || self->sdp != NULL || self->patience_over;
}

/* called with lock; a clock to be waited for, or NULL */
static GstClockID
arm_patience (GstNatRelaySinkDescription *self, guint known)
{
  GstClock *clock;

  if (known == 0 || self->patience != NULL)
    return NULL;
  clock = gst_system_clock_obtain ();
  self->patience =
      gst_clock_new_single_shot_id (clock, gst_clock_get_time (clock) + DESCRIPTION_PATIENCE);
  gst_object_unref (clock);
  return gst_clock_id_ref (self->patience);
}

void
gst_nat_relay_sink_description_patience_over (GstNatRelaySinkDescription *self, GstClockID id)
{
  g_mutex_lock (&self->lock);
  self->patience_over = self->patience == id;
  g_mutex_unlock (&self->lock);
  gst_nat_relay_sink_description_update (self, FALSE);
}

/* ---- the description ----------------------------------------------------- */

/* called with lock; the new text, or NULL if it is as it was */
static gchar *
build_sdp (GstNatRelaySinkDescription *self, GPtrArray *caps, GError **error)
{
  GstNatRelaySdpOrigin origin = {self->cname, self->sdp_id, self->sdp_version};
  gchar *sdp =
      gst_nat_relay_sdp_from_caps ((GstCaps *const *)caps->pdata, caps->len, &origin, error);

  if (sdp != NULL && g_strcmp0 (sdp, self->sdp) == 0) {
    g_clear_pointer (&sdp, g_free);
  } else if (sdp != NULL && self->sdp != NULL) {
    g_free (sdp);
    origin.version = ++self->sdp_version;
    sdp = gst_nat_relay_sdp_from_caps ((GstCaps *const *)caps->pdata, caps->len, &origin, error);
  }
  return sdp;
}

/* called with lock; its serial, or 0: there is nothing new to offer */
static guint
build (GstNatRelaySinkDescription *self, GPtrArray *caps, gboolean force,
    NatDescription *description, GError **error)
{
  description->sdp = build_sdp (self, caps, error);
  if (description->sdp != NULL) {
    g_free (self->sdp);
    self->sdp = g_strdup (description->sdp);
  } else if (force && *error == NULL) {
    description->sdp = g_strdup (self->sdp);
  }
  if (description->sdp == NULL)
    return 0;
  gst_nat_relay_sink_keys_fill (self->keys, description);
  return ++self->offers;
}

/* Two tracks may describe at once: what the session hears last must be what was built last. */
static void
offer (GstNatRelaySinkDescription *self, const NatDescription *description, guint serial)
{
  NatSession *session = gst_nat_relay_connection_get_session (self->conn);
  gchar *shown;

  if (session == NULL)
    return;
  shown = nat_passphrase_hide (description->sdp);
  GST_DEBUG_OBJECT (self->conn->element, "offering\n%s", shown);
  g_free (shown);
  gst_nat_relay_report_set_ready (&self->conn->report);
  g_mutex_lock (&self->lock);
  if (serial == self->offers)
    gst_nat_relay_sink_keys_offered (
        self->keys, description, nat_session_set_description (session, description));
  g_mutex_unlock (&self->lock);
  nat_session_unref (session);
}

void
gst_nat_relay_sink_description_update (GstNatRelaySinkDescription *self, gboolean force)
{
  GPtrArray *caps = g_ptr_array_new_with_free_func ((GDestroyNotify)gst_caps_unref);
  NatDescription description = {0};
  GstClockID wait = NULL;
  GError *error = NULL;
  guint tracks, serial = 0;

  g_mutex_lock (&self->lock);
  tracks = self->collect (self->conn->element, caps);
  if (may_describe (self, caps->len, tracks))
    serial = build (self, caps, force, &description, &error);
  else
    wait = arm_patience (self, caps->len);
  g_mutex_unlock (&self->lock);
  g_ptr_array_unref (caps);

  if (wait != NULL)
    gst_nat_relay_wait_weakly (wait, self->waited, G_OBJECT (self->conn->element));
  if (error != NULL) {
    GST_ELEMENT_ERROR (self->conn->element, STREAM, FORMAT, ("%s", error->message), (NULL));
    g_error_free (error);
  }
  if (serial != 0)
    offer (self, &description, serial);
  nat_description_clear (&description);
}

/* ---- for the element ----------------------------------------------------- */

void
gst_nat_relay_sink_description_init (GstNatRelaySinkDescription *self, GstNatRelayConnection *conn,
    GstNatRelaySinkKeys *keys, guint (*collect) (GstElement *element, GPtrArray *caps),
    GstClockCallback waited)
{
  g_mutex_init (&self->lock);
  self->conn = conn;
  self->keys = keys;
  self->collect = collect;
  self->waited = waited;
}

void
gst_nat_relay_sink_description_clear (GstNatRelaySinkDescription *self)
{
  g_free (self->sdp);
  g_free (self->cname);
  g_mutex_clear (&self->lock);
}

void
gst_nat_relay_sink_description_start (GstNatRelaySinkDescription *self, gchar *cname)
{
  g_mutex_lock (&self->lock);
  self->cname = cname;
  self->sdp_id = (guint64)g_random_int () << 20 | (g_random_int () >> 12);
  self->sdp_version = 1;
  g_mutex_unlock (&self->lock);
}

void
gst_nat_relay_sink_description_stop (GstNatRelaySinkDescription *self)
{
  GstClockID id;

  g_mutex_lock (&self->lock);
  id = g_steal_pointer (&self->patience);
  self->patience_over = FALSE;
  g_clear_pointer (&self->sdp, g_free);
  g_clear_pointer (&self->cname, g_free);
  g_mutex_unlock (&self->lock);
  if (id == NULL)
    return;
  gst_clock_id_unschedule (id);
  gst_clock_id_unref (id);
}
