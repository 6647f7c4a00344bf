/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayelement.h"
#include "gstnatrelayelements.h"
#include "natproto/crypto.h"

#include <string.h>

GST_DEBUG_CATEGORY (gst_nat_relay_debug);
#define GST_CAT_DEFAULT gst_nat_relay_debug

void
gst_nat_relay_element_init (GstPlugin *plugin)
{
  static gsize once = 0;

  if (g_once_init_enter (&once)) {
    GST_DEBUG_CATEGORY_INIT (gst_nat_relay_debug, "natrelay", 0, "natrelay connection");
    nat_session_load_types ();
    g_once_init_leave (&once, 1);
  }
}

void
gst_nat_relay_connection_init (
    GstNatRelayConnection *conn, GstElement *element, NatRole role, const GstNatRelayHooks *hooks)
{
  conn->element = element;
  conn->hooks = hooks;
  gst_nat_relay_report_init (&conn->report, element, role);
  nat_session_config_init (&conn->settings);
  conn->settings.role = role;
}

void
gst_nat_relay_connection_finalize (GstNatRelayConnection *conn)
{
  nat_crypto_wipe_free (conn->uri); /* a token may be in it */
  nat_crypto_wipe_free (conn->passphrase_text);
  g_free (conn->key_file);
  g_clear_error (&conn->uri_error);
  nat_session_config_clear (&conn->settings);
  gst_nat_relay_report_clear (&conn->report);
}

/* ---- URI ----------------------------------------------------------------- */

const gchar *const *
gst_nat_relay_connection_protocols (GType type)
{
  static const gchar *const protocols[] = {GST_NAT_RELAY_URI_SCHEME, NULL};

  return protocols;
}

gchar *
gst_nat_relay_connection_get_uri (GstNatRelayConnection *conn)
{
  gchar *uri, *public;

  GST_OBJECT_LOCK (conn->element);
  uri = g_strdup (conn->uri);
  GST_OBJECT_UNLOCK (conn->element);
  if (uri == NULL)
    return NULL;
  public = gst_nat_relay_uri_public (uri, G_OBJECT (conn->element));
  nat_crypto_wipe_free (uri);
  return public;
}

static void
take_uri (
    GstNatRelayConnection *conn, const gchar *uri, GstNatRelayUri *parsed, const GError *error)
{
  GST_OBJECT_LOCK (conn->element);
  g_clear_error (&conn->uri_error);
  if (error != NULL) {
    conn->uri_error = g_error_copy (error);
  } else {
    nat_crypto_wipe_free (conn->uri);
    g_free (conn->settings.host);
    g_free (conn->settings.stream);
    conn->uri = g_strdup (uri);
    conn->settings.host = g_steal_pointer (&parsed->host);
    conn->settings.stream = g_steal_pointer (&parsed->stream);
    conn->settings.port = parsed->port;
  }
  GST_OBJECT_UNLOCK (conn->element);
}

gboolean
gst_nat_relay_connection_set_uri (GstNatRelayConnection *conn, const gchar *uri, GError **error)
{
  GstNatRelayUri parsed = {0};
  GError *reason = NULL;
  GstState state;

  GST_OBJECT_LOCK (conn->element);
  state = GST_STATE (conn->element);
  GST_OBJECT_UNLOCK (conn->element);
  if (state > GST_STATE_READY) {
    g_set_error_literal (error, GST_URI_ERROR, GST_URI_ERROR_BAD_STATE,
        "The URI can only be changed in the state NULL or READY");
    return FALSE;
  }
  if (uri != NULL && (!gst_nat_relay_uri_parse (&parsed, uri, &reason) ||
                         !gst_nat_relay_uri_apply (&parsed, G_OBJECT (conn->element), &reason))) {
    take_uri (conn, NULL, NULL, reason);
    gst_nat_relay_uri_clear (&parsed);
    g_propagate_error (error, reason);
    return FALSE;
  }
  take_uri (conn, uri, &parsed, NULL);
  gst_nat_relay_uri_clear (&parsed);
  return TRUE;
}

/* ---- token ---------------------------------------------------------------- */

void
gst_nat_relay_connection_set_auth_token (GstNatRelayConnection *conn, const gchar *token)
{
  NatSession *session;

  GST_OBJECT_LOCK (conn->element);
  nat_crypto_wipe_free (conn->settings.auth_token);
  conn->settings.auth_token = g_strdup (token);
  conn->token_given = token != NULL;
  session = conn->session != NULL ? nat_session_ref (conn->session) : NULL;
  GST_OBJECT_UNLOCK (conn->element);
  if (session != NULL) {
    nat_session_set_auth_token (
        session, token != NULL ? token : g_getenv (GST_NAT_RELAY_TOKEN_VARIABLE));
    nat_session_unref (session);
  }
}

/* ---- the session's callbacks, on its thread ------------------------------ */

static gboolean
ask_for_token (GstNatRelayConnection *conn)
{
  guint id = g_signal_lookup ("request-auth-token", G_OBJECT_TYPE (conn->element));
  gboolean ask;

  if (!g_signal_has_handler_pending (conn->element, id, 0, FALSE))
    return FALSE;
  GST_OBJECT_LOCK (conn->element);
  ask = !conn->token_asked;
  conn->token_asked = TRUE;
  GST_OBJECT_UNLOCK (conn->element);
  return ask;
}

typedef struct {
  GstNatRelayConnection *conn;
  NatSession *session; /* that asks */
  NatCause *cause;     /* of the failure that the question delays, or NULL */
} TokenRequest;

/* Answers the application's token, or goes on with the failure that the question delayed: not if the element
 * was stopped meanwhile, and another session runs. */
static void
emit_request_auth_token (GstElement *element, gpointer user)
{
  const TokenRequest *request = user;
  GstNatRelayConnection *conn = request->conn;
  gchar *token = NULL;

  g_signal_emit_by_name (element, "request-auth-token", &token);
  if (token != NULL) {
    gst_nat_relay_connection_set_auth_token (conn, token);
    nat_crypto_wipe_free (token);
  } else if (request->cause != NULL) {
    NatSession *session = gst_nat_relay_connection_get_session (conn);

    if (session == request->session)
      gst_nat_relay_report_state (&conn->report, session, NAT_SESSION_FAILED, request->cause);
    g_clear_pointer (&session, nat_session_unref);
  }
}

static void
token_request_free (gpointer user)
{
  TokenRequest *request = user;

  nat_session_unref (request->session);
  nat_cause_free (request->cause);
  g_free (request);
}

/* The application may take its time, so it is not asked on the session's thread. */
static void
request_auth_token (GstNatRelayConnection *conn, NatSession *session, const NatCause *cause)
{
  TokenRequest *request = g_new0 (TokenRequest, 1);

  request->conn = conn;
  request->session = nat_session_ref (session);
  request->cause = nat_cause_copy (cause);
  gst_element_call_async (conn->element, emit_request_auth_token, request, token_request_free);
}

static void
on_state (NatSession *session, NatSessionState state, const NatCause *cause, gpointer user)
{
  GstNatRelayConnection *conn = user;
  gboolean denied =
      state == NAT_SESSION_FAILED && cause != NULL && cause->kind == NAT_CAUSE_NOT_AUTHORIZED;

  GST_INFO_OBJECT (conn->element, "%s%s%s", nat_session_state_nick (state),
      cause != NULL ? ": " : "", cause != NULL ? cause->text : "");
  GST_OBJECT_LOCK (conn->element);
  conn->state = state;
  if (state == NAT_SESSION_CONNECTED)
    conn->token_asked = FALSE;
  GST_OBJECT_UNLOCK (conn->element);
  g_object_notify (G_OBJECT (conn->element), "connection-state");
  if (denied && ask_for_token (conn)) {
    request_auth_token (conn, session, cause);
    return;
  }
  gst_nat_relay_report_state (&conn->report, session, state, cause);
  if (conn->hooks->state != NULL && !denied)
    conn->hooks->state (conn->element, state);
}

static void
on_document (NatSession *session, const NatSessionDocument *document, gpointer user)
{
  GstNatRelayConnection *conn = user;

  GST_DEBUG_OBJECT (conn->element, "document version %u, publisher state %d", document->version,
      (int)document->publisher);
  if (conn->hooks->document != NULL)
    conn->hooks->document (conn->element, document);
}

static void
on_described (NatSession *session, guint serial, gpointer user)
{
  GstNatRelayConnection *conn = user;

  if (conn->hooks->described != NULL)
    conn->hooks->described (conn->element, serial);
}

static void
on_ssrc_in_use (NatSession *session, const NatCause *cause, gpointer user)
{
  GstNatRelayConnection *conn = user;

  GST_INFO_OBJECT (conn->element, "%s", cause->text);
  if (conn->hooks->ssrc_in_use != NULL)
    conn->hooks->ssrc_in_use (conn->element);
}

static void
on_mapped (NatSession *session, const NatAddress *local, const NatAddress *mapped,
    const NatAddress *relay, gpointer user)
{
  GstNatRelayConnection *conn = user;
  gchar y[NAT_ADDRESS_TEXT_MAX], z[NAT_ADDRESS_TEXT_MAX], r[NAT_ADDRESS_TEXT_MAX];

  GST_INFO_OBJECT (conn->element, "relay %s sees %s as %s", nat_address_to_text (relay, r),
      nat_address_to_text (local, y), nat_address_to_text (mapped, z));
  gst_nat_relay_report_mapped (&conn->report, relay);
}

static void
on_rtp (NatSession *session, NatDatagram *packets, guint n, gpointer user)
{
  GstNatRelayConnection *conn = user;

  if (conn->hooks->rtp != NULL)
    conn->hooks->rtp (conn->element, packets, n);
}

static void
on_rtcp (NatSession *session, guint8 *data, gsize len, gpointer user)
{
  GstNatRelayConnection *conn = user;
  NatDatagram packet = {data, len};

  if (conn->hooks->rtcp != NULL)
    conn->hooks->rtcp (conn->element, &packet);
}

static void
on_bitrate (NatSession *session, guint64 bits_per_s, gdouble loss, gpointer user)
{
  GstNatRelayConnection *conn = user;

  if (conn->hooks->bitrate != NULL)
    conn->hooks->bitrate (conn->element, bits_per_s, loss);
}

static void
on_path_size (NatSession *session, guint bytes, gpointer user)
{
  GstNatRelayConnection *conn = user;

  GST_INFO_OBJECT (conn->element, "the path takes datagrams of %u bytes (0: any)", bytes);
  if (conn->hooks->path_size != NULL)
    conn->hooks->path_size (conn->element, bytes);
  if (bytes > 0)
    gst_nat_relay_report_path_size (&conn->report, bytes);
}

static void
on_token_expires (NatSession *session, guint seconds_left, gpointer user)
{
  GstNatRelayConnection *conn = user;
  guint id = g_signal_lookup ("request-auth-token", G_OBJECT_TYPE (conn->element));

  GST_INFO_OBJECT (conn->element, "the permission ends in %u s", seconds_left);
  if (g_signal_has_handler_pending (conn->element, id, 0, FALSE))
    request_auth_token (conn, session, NULL);
}

static gboolean
on_accept_certificate (
    NatSession *session, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user)
{
  GstNatRelayConnection *conn = user;
  gboolean accept = FALSE;

  g_signal_emit_by_name (conn->element, "accept-certificate", certificate, errors, &accept);
  return accept;
}

/* ---- the session --------------------------------------------------------- */

NatSession *
gst_nat_relay_connection_get_session (GstNatRelayConnection *conn)
{
  NatSession *session;

  GST_OBJECT_LOCK (conn->element);
  session = conn->session != NULL ? nat_session_ref (conn->session) : NULL;
  GST_OBJECT_UNLOCK (conn->element);
  return session;
}

GstNatRelayPassphrase *
gst_nat_relay_connection_get_passphrase (GstNatRelayConnection *conn)
{
  GstNatRelayPassphrase *passphrase;

  GST_OBJECT_LOCK (conn->element);
  passphrase = conn->passphrase != NULL ? gst_nat_relay_passphrase_ref (conn->passphrase) : NULL;
  GST_OBJECT_UNLOCK (conn->element);
  return passphrase;
}

gchar *
gst_nat_relay_connection_get_stream (GstNatRelayConnection *conn)
{
  gchar *stream;

  GST_OBJECT_LOCK (conn->element);
  stream = g_strdup (conn->settings.stream);
  GST_OBJECT_UNLOCK (conn->element);
  return stream;
}

/* 32 bytes in hex, with or without colons between them. */
static gboolean
is_fingerprint (const gchar *text)
{
  guint digits = 0;

  for (const gchar *p = text; *p != '\0'; p++) {
    if (g_ascii_isxdigit (*p))
      digits++;
    else if (*p != ':')
      return FALSE;
  }
  return digits == 2 * NAT_SHA256_SIZE;
}

/* called with the object lock; what to tell the user, or NULL */
static gchar *
check_settings (const GstNatRelayConnection *conn)
{
  const gchar *fingerprint = conn->settings.tls_fingerprint;
  const gchar *exclude = conn->settings.exclude;

  if (conn->uri_error != NULL)
    return g_strdup (conn->uri_error->message);
  if (conn->uri == NULL)
    return g_strdup ("No stream was given; set the property uri to natrelay://HOST/STREAM");
  if (fingerprint != NULL && *fingerprint != '\0' && !is_fingerprint (fingerprint))
    return g_strdup (
        "The property tls-fingerprint must be 64 hex digits, as natrelay-server prints them");
  if (conn->settings.role == NAT_ROLE_PUBLISHER && nat_stream_is_glob (conn->settings.stream))
    return g_strdup_printf ("A publisher has one stream: write a name instead of \"%s\" in the uri",
        conn->settings.stream);
  if (exclude != NULL && !nat_stream_name_valid (exclude))
    return g_strdup ("The property exclude must be the name of a stream, as in a uri behind the "
                     "relay's name, without a pattern");
  return NULL;
}

/* called with the object lock */
static NatSession *
new_session (GstNatRelayConnection *conn)
{
  static const NatSessionCallbacks callbacks = {
      .state = on_state,
      .document = on_document,
      .described = on_described,
      .ssrc_in_use = on_ssrc_in_use,
      .mapped = on_mapped,
      .rtp = on_rtp,
      .rtcp = on_rtcp,
      .bitrate = on_bitrate,
      .path_size = on_path_size,
      .token_expires = on_token_expires,
      .accept_certificate = on_accept_certificate,
  };
  NatSessionConfig config = conn->settings; /* shallow: the session makes its own copy */

  if (!conn->token_given)
    config.auth_token = (gchar *)g_getenv (GST_NAT_RELAY_TOKEN_VARIABLE);
  return nat_session_new (&config, &callbacks, conn);
}

/* What to tell the user, or NULL. Not with the object lock: a file may take its time. */
static gchar *
read_passphrase (GstNatRelayConnection *conn, GstNatRelayPassphrase **passphrase)
{
  gchar *text, *key_file, *complaint = NULL;
  GError *error = NULL;

  GST_OBJECT_LOCK (conn->element);
  text = g_strdup (conn->passphrase_text);
  key_file = g_strdup (conn->key_file);
  GST_OBJECT_UNLOCK (conn->element);
  *passphrase = gst_nat_relay_passphrase_new (text, key_file, &error);
  if (error != NULL)
    complaint = g_strdup (error->message);
  g_clear_error (&error);
  nat_crypto_wipe_free (text);
  g_free (key_file);
  return complaint;
}

gboolean
gst_nat_relay_connection_prepare (GstNatRelayConnection *conn)
{
  GstNatRelayPassphrase *passphrase;
  gchar *complaint = read_passphrase (conn, &passphrase);

  GST_OBJECT_LOCK (conn->element);
  if (complaint == NULL)
    complaint = check_settings (conn);
  if (complaint == NULL) {
    conn->session = new_session (conn);
    conn->passphrase = g_steal_pointer (&passphrase);
    conn->token_asked = FALSE;
  }
  GST_OBJECT_UNLOCK (conn->element);
  gst_nat_relay_passphrase_unref (passphrase);
  if (complaint == NULL) {
    gst_nat_relay_report_start (&conn->report);
    return TRUE;
  }
  GST_ELEMENT_ERROR (conn->element, RESOURCE, SETTINGS, ("%s", complaint), (NULL));
  g_free (complaint);
  return FALSE;
}

void
gst_nat_relay_connection_play (GstNatRelayConnection *conn)
{
  nat_session_start (conn->session);
}

void
gst_nat_relay_connection_stop (GstNatRelayConnection *conn, gboolean ended)
{
  GstNatRelayPassphrase *passphrase;
  NatSession *session;

  GST_OBJECT_LOCK (conn->element);
  session = g_steal_pointer (&conn->session);
  passphrase = g_steal_pointer (&conn->passphrase);
  GST_OBJECT_UNLOCK (conn->element);
  gst_nat_relay_passphrase_unref (passphrase);
  if (session == NULL)
    return;
  /* Waits for a callback that runs, so that none comes after. */
  nat_session_stop (session, ended);
  nat_session_unref (session);
  gst_nat_relay_report_stop (&conn->report);
  GST_OBJECT_LOCK (conn->element);
  conn->state = NAT_SESSION_DISCONNECTED;
  GST_OBJECT_UNLOCK (conn->element);
  g_object_notify (G_OBJECT (conn->element), "connection-state");
}

/* ---- Clock --------------------------------------------------------------- */

static void
weak_ref_free (gpointer ref)
{
  g_weak_ref_clear (ref);
  g_free (ref);
}

void
gst_nat_relay_wait_weakly (GstClockID id, GstClockCallback callback, GObject *owner)
{
  GWeakRef *ref = g_new (GWeakRef, 1);

  g_weak_ref_init (ref, owner);
  gst_clock_id_wait_async (id, callback, ref, weak_ref_free);
  gst_clock_id_unref (id);
}
