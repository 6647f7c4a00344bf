/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the two elements have in common: the connection's properties, its session from READY->PAUSED to
 * PAUSED->READY, and the URI handler. Each element embeds one. */

#include <gst/gst.h>
#include "gstnatrelaypassphrase.h"
#include "gstnatrelayreport.h"
#include "gstnatrelayuri.h"
#include "natclient/session.h"
#include "natproto/sframe.h"

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN (gst_nat_relay_debug);

/* What auth-token is when unset. */
#define GST_NAT_RELAY_TOKEN_VARIABLE "NATRELAY_AUTH_TOKEN"

/* The connection's properties have the ids from 1 on; an element's own begin here. */
#define GST_NAT_RELAY_PROP_FIRST_OWN 32

/* On the session's thread, no lock held. Any may be NULL. */
typedef struct {
  /* Not of a failure for want of permission: with another token the session goes on, and so must what flows. */
  void (*state) (GstElement *element, NatSessionState state);
  void (*document) (GstElement *element, const NatSessionDocument *document);
  void (*described) (GstElement *element, guint serial);
  void (*ssrc_in_use) (GstElement *element);
  void (*rtp) (GstElement *element, NatDatagram *packets, guint n);
  void (*rtcp) (GstElement *element, const NatDatagram *packet);
  void (*bitrate) (GstElement *element, guint64 bits_per_s, gdouble loss);
  void (*path_size) (GstElement *element, guint bytes);
} GstNatRelayHooks;

/* Lock order: the element's own lock, then the object lock; neither is held while calling out. */
typedef struct {
  GstElement *element; /* not owned: it embeds this */
  const GstNatRelayHooks *hooks;
  GstNatRelayReport report;

  /* All below: object lock. */
  gchar *uri;                /* as given */
  GError *uri_error;         /* why the last URI given was refused */
  gboolean token_given;      /* auth-token was set, if only to "" */
  NatSessionConfig settings; /* what properties and URI say */
  gchar *passphrase_text, *key_file;
  NatSessionState state;
  NatSession *session;               /* from READY->PAUSED to PAUSED->READY */
  GstNatRelayPassphrase *passphrase; /* likewise; NULL if none is set */
  gboolean token_asked;              /* request-auth-token was emitted since the last connection */
} GstNatRelayConnection;

void gst_nat_relay_connection_install (GObjectClass *klass);
void gst_nat_relay_connection_init (
    GstNatRelayConnection *conn, GstElement *element, NatRole role, const GstNatRelayHooks *hooks);
void gst_nat_relay_connection_finalize (GstNatRelayConnection *conn);

/* FALSE: not one of the connection's properties. (stats is the element's to answer.) */
gboolean gst_nat_relay_connection_set_property (
    GstNatRelayConnection *conn, guint id, const GValue *value, GParamSpec *pspec);
gboolean gst_nat_relay_connection_get_property (
    GstNatRelayConnection *conn, guint id, GValue *value, GParamSpec *pspec);

/* Any thread; NULL = that of the environment. */
void gst_nat_relay_connection_set_auth_token (GstNatRelayConnection *conn, const gchar *token);

/* READY->PAUSED, before chaining up: makes the session. FALSE: an error was posted. */
gboolean gst_nat_relay_connection_prepare (GstNatRelayConnection *conn);
/* PAUSED->PLAYING, each time; the first lets the session run. Not before: nothing can flow, and applications
 * (gst-launch-1.0 is one) hold PLAYING back while a progress is under way that began in PAUSED. */
void gst_nat_relay_connection_play (GstNatRelayConnection *conn);
/* PAUSED->READY, after chaining up. */
void gst_nat_relay_connection_stop (GstNatRelayConnection *conn, gboolean ended);
/* A reference, or NULL. */
NatSession *gst_nat_relay_connection_get_session (GstNatRelayConnection *conn);

/* Of the run: a reference, or NULL if none is set. */
GstNatRelayPassphrase *gst_nat_relay_connection_get_passphrase (GstNatRelayConnection *conn);
/* The stream's name, or pattern; free with g_free. */
gchar *gst_nat_relay_connection_get_stream (GstNatRelayConnection *conn);

/* For GstURIHandlerInterface. */
const gchar *const *gst_nat_relay_connection_protocols (GType type);
gchar *gst_nat_relay_connection_get_uri (GstNatRelayConnection *conn);
gboolean gst_nat_relay_connection_set_uri (
    GstNatRelayConnection *conn, const gchar *uri, GError **error);

typedef enum {
  GST_NAT_RELAY_ENCRYPTION_NONE = NAT_SFRAME_NONE,
  GST_NAT_RELAY_ENCRYPTION_AES_128_GCM = NAT_SFRAME_AES_128_GCM_SHA256_128,
  GST_NAT_RELAY_ENCRYPTION_AES_256_GCM = NAT_SFRAME_AES_256_GCM_SHA512_128,
} GstNatRelayEncryption;

#define GST_TYPE_NAT_RELAY_ENCRYPTION (gst_nat_relay_encryption_get_type ())
GType gst_nat_relay_encryption_get_type (void);

#define GST_TYPE_NAT_RELAY_CONNECTION_STATE (gst_nat_relay_connection_state_get_type ())
GType gst_nat_relay_connection_state_get_type (void);
#define GST_TYPE_NAT_RELAY_TRANSPORT (gst_nat_relay_transport_get_type ())
GType gst_nat_relay_transport_get_type (void);

/* Calls back at id's time, with a GWeakRef to owner as user data; id is taken over. An entry that was unscheduled stays
 * with the clock until others before it are done: it must not hold the element for so long. */
void gst_nat_relay_wait_weakly (GstClockID id, GstClockCallback callback, GObject *owner);

G_END_DECLS
