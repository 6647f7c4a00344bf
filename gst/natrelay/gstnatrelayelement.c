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

#define TOKEN_VARIABLE "NATRELAY_AUTH_TOKEN"

#define DEFAULT_TIMEOUT        15
#define DEFAULT_BACKOFF_FACTOR 0.25
#define DEFAULT_BACKOFF_MAX    10.0

enum {
  PROP_0,
  PROP_URI,
  PROP_AUTH_TOKEN,
  PROP_TLS_CA_FILE,
  PROP_TLS_FINGERPRINT,
  PROP_TLS_DATABASE,
  PROP_TLS_VALIDATION_FLAGS,
  PROP_PROXY,
  PROP_BIND_ADDRESS,
  PROP_BIND_PORT,
  PROP_QOS_DSCP,
  PROP_BUFFER_SIZE,
  PROP_TIMEOUT,
  PROP_AUTO_RECONNECT,
  PROP_RETRIES,
  PROP_RETRY_BACKOFF_FACTOR,
  PROP_RETRY_BACKOFF_MAX,
  PROP_CONNECTION_STATE,
};

void
gst_nat_relay_element_init (GstPlugin *plugin)
{
  static gsize once = 0;

  if (g_once_init_enter (&once)) {
    GST_DEBUG_CATEGORY_INIT (gst_nat_relay_debug, "natrelay", 0, "natrelay connection");
    g_once_init_leave (&once, 1);
  }
}

/* ---- types --------------------------------------------------------------- */

GType
gst_nat_relay_connection_state_get_type (void)
{
  static gsize type = 0;
  static const GEnumValue values[] = {
      {NAT_SESSION_DISCONNECTED, "Not started, or stopped", "disconnected"},
      {NAT_SESSION_NEGOTIATING, "Talks to the relay over HTTPS, or waits for what to offer",
          "negotiating"},
      {NAT_SESSION_CHALLENGING, "Proves its address to the relay", "challenging"},
      {NAT_SESSION_CONNECTED, "Media flows", "connected"},
      {NAT_SESSION_SUSPECT, "The relay is silent; probing", "suspect"},
      {NAT_SESSION_WAITING, "Waits for the next attempt", "waiting"},
      {NAT_SESSION_FAILED, "Gave up; an error was posted", "failed"},
      {0, NULL, NULL},
  };

  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstNatRelayConnectionState", values));
  return type;
}

static void
install_string (GObjectClass *klass, guint id, const gchar *name, const gchar *nick,
    const gchar *blurb, GParamFlags flags)
{
  g_object_class_install_property (
      klass, id, g_param_spec_string (name, nick, blurb, NULL, flags | G_PARAM_STATIC_STRINGS));
}

#define READY  (G_PARAM_READWRITE | GST_PARAM_MUTABLE_READY)
#define STATIC G_PARAM_STATIC_STRINGS

static void
install_where (GObjectClass *klass)
{
  /**
   * GstNatRelaySink:uri:
   *
   * The stream: natrelay://host[:port]/stream, and any property of the element after '?'.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_URI, "uri", "URI",
      "Relay and stream: natrelay://HOST[:PORT]/STREAM[?PROPERTY=VALUE&...], port 8443 by default",
      READY);
  install_string (klass, PROP_PROXY, "proxy", "Proxy",
      "HTTP proxy for the negotiation, as http://HOST:PORT (unset = the system's, e.g. "
      "$https_proxy)",
      READY);
  install_string (klass, PROP_BIND_ADDRESS, "bind-address", "Bind address",
      "Local IP address to send from and receive at (unset = any)", READY);
  g_object_class_install_property (klass, PROP_BIND_PORT,
      g_param_spec_int ("bind-port", "Bind port", "Local UDP port (0 = any free one)", 0,
          G_MAXUINT16, 0, READY | STATIC));
  g_object_class_install_property (klass, PROP_QOS_DSCP,
      g_param_spec_int ("qos-dscp", "QoS DSCP",
          "Differentiated Services Code Point of sent datagrams (-1 = the system's)", -1, 63, -1,
          READY | STATIC));
  g_object_class_install_property (klass, PROP_BUFFER_SIZE,
      g_param_spec_uint ("buffer-size", "Buffer size",
          "Size of the UDP socket's buffers in bytes (0 = the system's default)", 0, G_MAXINT, 0,
          READY | STATIC));
}

static void
install_trust (GObjectClass *klass)
{
  install_string (klass, PROP_AUTH_TOKEN, "auth-token", "Access token",
      "Access token that the relay's operator gave out (unset = $" TOKEN_VARIABLE
      "); a new one extends a running session",
      G_PARAM_WRITABLE | GST_PARAM_MUTABLE_PLAYING);
  install_string (klass, PROP_TLS_CA_FILE, "tls-ca-file", "TLS CA file",
      "PEM file with the certificates that vouch for the relay (unset = the system's)", READY);
  install_string (klass, PROP_TLS_FINGERPRINT, "tls-fingerprint", "TLS fingerprint",
      "SHA-256 of the relay's certificate, 64 hex digits as natrelay-server prints them; accepts a "
      "self-signed certificate, and no other certificate",
      READY);
  g_object_class_install_property (klass, PROP_TLS_DATABASE,
      g_param_spec_object ("tls-database", "TLS database",
          "Certificate authorities to verify the relay with (unset = the system's)",
          G_TYPE_TLS_DATABASE, READY | STATIC));
  g_object_class_install_property (klass, PROP_TLS_VALIDATION_FLAGS,
      g_param_spec_flags ("tls-validation-flags", "TLS validation flags",
          "What must be right about the relay's certificate (default: everything)",
          G_TYPE_TLS_CERTIFICATE_FLAGS, G_TLS_CERTIFICATE_VALIDATE_ALL, READY | STATIC));
}

static void
install_retry (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_TIMEOUT,
      g_param_spec_uint ("timeout", "Timeout",
          "Seconds that one step of the negotiation may take (default 15)", 1, 3600,
          DEFAULT_TIMEOUT, READY | STATIC));
  g_object_class_install_property (klass, PROP_AUTO_RECONNECT,
      g_param_spec_boolean ("auto-reconnect", "Automatic reconnect",
          "Try again when the relay cannot be reached or was lost (default true)", TRUE,
          READY | STATIC));
  g_object_class_install_property (klass, PROP_RETRIES,
      g_param_spec_int ("retries", "Retries",
          "Attempts in a row before an error (-1 = without end, the default)", -1, G_MAXINT, -1,
          READY | STATIC));
  g_object_class_install_property (klass, PROP_RETRY_BACKOFF_FACTOR,
      g_param_spec_double ("retry-backoff-factor", "Backoff factor",
          "Seconds before the second attempt, doubled for each one after (default 0.25)", 0.0,
          G_MAXDOUBLE, DEFAULT_BACKOFF_FACTOR, READY | STATIC));
  g_object_class_install_property (klass, PROP_RETRY_BACKOFF_MAX,
      g_param_spec_double ("retry-backoff-max", "Maximal backoff",
          "Longest wait between two attempts in seconds (default 10)", 0.0, G_MAXDOUBLE,
          DEFAULT_BACKOFF_MAX, READY | STATIC));
  g_object_class_install_property (klass, PROP_CONNECTION_STATE,
      g_param_spec_enum ("connection-state", "Connection state",
          "Where the connection to the relay stands", GST_TYPE_NAT_RELAY_CONNECTION_STATE,
          NAT_SESSION_DISCONNECTED, G_PARAM_READABLE | STATIC));
}

static gboolean
first_true_wins (
    GSignalInvocationHint *hint, GValue *accumulated, const GValue *answer, gpointer data)
{
  g_value_set_boolean (accumulated, g_value_get_boolean (answer));
  return !g_value_get_boolean (answer);
}

static gboolean
first_string_wins (
    GSignalInvocationHint *hint, GValue *accumulated, const GValue *answer, gpointer data)
{
  g_value_copy (answer, accumulated);
  return g_value_get_string (answer) == NULL;
}

static void
install_signals (GObjectClass *klass)
{
  GType type = G_OBJECT_CLASS_TYPE (klass);

  /**
   * GstNatRelaySink::request-auth-token:
   * @object: the element
   *
   * Emitted from a thread of its own when the access token is about to run out, and when the relay
   * refused it.
   *
   * Returns: (transfer full) (nullable): a fresh token, or %NULL to leave things as they are
   *
   * Since: 0.1
   */
  g_signal_new ("request-auth-token", type, G_SIGNAL_RUN_LAST, 0, first_string_wins, NULL, NULL,
      G_TYPE_STRING, 0);
  /**
   * GstNatRelaySink::accept-certificate:
   * @object: the element
   * @certificate: the relay's #GTlsCertificate
   * @errors: what is wrong with it, #GTlsCertificateFlags
   *
   * Emitted during the handshake when the relay's certificate did not verify. Never emitted for
   * a certificate that is not the one of #GstNatRelaySink:tls-fingerprint.
   *
   * Returns: %TRUE to accept it all the same
   *
   * Since: 0.1
   */
  g_signal_new ("accept-certificate", type, G_SIGNAL_RUN_LAST, 0, first_true_wins, NULL, NULL,
      G_TYPE_BOOLEAN, 2, G_TYPE_TLS_CERTIFICATE, G_TYPE_TLS_CERTIFICATE_FLAGS);
}

void
gst_nat_relay_connection_install (GObjectClass *klass)
{
  install_where (klass);
  install_trust (klass);
  install_retry (klass);
  install_signals (klass);
  gst_type_mark_as_plugin_api (GST_TYPE_NAT_RELAY_CONNECTION_STATE, 0);
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
  conn->settings.timeout_ms = DEFAULT_TIMEOUT * 1000;
  conn->settings.backoff_factor = DEFAULT_BACKOFF_FACTOR;
  conn->settings.backoff_max = DEFAULT_BACKOFF_MAX;
}

void
gst_nat_relay_connection_finalize (GstNatRelayConnection *conn)
{
  nat_crypto_wipe_free (conn->uri); /* a token may be in it */
  g_clear_error (&conn->uri_error);
  nat_session_config_clear (&conn->settings);
  gst_nat_relay_report_clear (&conn->report);
}

/* ---- properties ---------------------------------------------------------- */

/* called with the object lock */
static void
replace_string (gchar **field, const GValue *value)
{
  g_free (*field);
  *field = g_value_dup_string (value);
}

static void
set_auth_token (GstNatRelayConnection *conn, const gchar *token)
{
  NatSession *session;

  GST_OBJECT_LOCK (conn->element);
  nat_crypto_wipe_free (conn->settings.auth_token);
  conn->settings.auth_token = g_strdup (token);
  conn->token_given = token != NULL;
  session = conn->session != NULL ? nat_session_ref (conn->session) : NULL;
  GST_OBJECT_UNLOCK (conn->element);
  if (session != NULL) {
    nat_session_set_auth_token (session, token != NULL ? token : g_getenv (TOKEN_VARIABLE));
    nat_session_unref (session);
  }
}

/* called with the object lock */
static gboolean
set_property_locked (NatSessionConfig *settings, guint id, const GValue *value)
{
  switch (id) {
  case PROP_TLS_CA_FILE: replace_string (&settings->tls_ca_file, value); return TRUE;
  case PROP_TLS_FINGERPRINT: replace_string (&settings->tls_fingerprint, value); return TRUE;
  case PROP_TLS_DATABASE:
    g_set_object (&settings->tls_database, g_value_get_object (value));
    return TRUE;
  case PROP_TLS_VALIDATION_FLAGS:
    settings->tls_validation_flags = g_value_get_flags (value);
    return TRUE;
  case PROP_PROXY: replace_string (&settings->proxy, value); return TRUE;
  case PROP_BIND_ADDRESS: replace_string (&settings->bind_address, value); return TRUE;
  case PROP_BIND_PORT: settings->bind_port = (guint16)g_value_get_int (value); return TRUE;
  case PROP_QOS_DSCP: settings->qos_dscp = g_value_get_int (value); return TRUE;
  case PROP_BUFFER_SIZE: settings->buffer_size = g_value_get_uint (value); return TRUE;
  case PROP_TIMEOUT: settings->timeout_ms = g_value_get_uint (value) * 1000; return TRUE;
  case PROP_AUTO_RECONNECT: settings->auto_reconnect = g_value_get_boolean (value); return TRUE;
  case PROP_RETRIES: settings->retries = g_value_get_int (value); return TRUE;
  case PROP_RETRY_BACKOFF_FACTOR:
    settings->backoff_factor = g_value_get_double (value);
    return TRUE;
  case PROP_RETRY_BACKOFF_MAX: settings->backoff_max = g_value_get_double (value); return TRUE;
  default: return FALSE;
  }
}

gboolean
gst_nat_relay_connection_set_property (
    GstNatRelayConnection *conn, guint id, const GValue *value, GParamSpec *pspec)
{
  gboolean handled;

  if (id == PROP_URI) {
    GError *error = NULL;

    /* Told again, as an error, when the element starts: a property cannot refuse. */
    if (!gst_nat_relay_connection_set_uri (conn, g_value_get_string (value), &error)) {
      GST_WARNING_OBJECT (conn->element, "%s", error->message);
      g_error_free (error);
    }
    return TRUE;
  }
  if (id == PROP_AUTH_TOKEN) {
    set_auth_token (conn, g_value_get_string (value));
    return TRUE;
  }
  GST_OBJECT_LOCK (conn->element);
  handled = set_property_locked (&conn->settings, id, value);
  GST_OBJECT_UNLOCK (conn->element);
  return handled;
}

/* called with the object lock */
static gboolean
get_property_locked (GstNatRelayConnection *conn, guint id, GValue *value)
{
  const NatSessionConfig *settings = &conn->settings;

  switch (id) {
  case PROP_TLS_CA_FILE: g_value_set_string (value, settings->tls_ca_file); return TRUE;
  case PROP_TLS_FINGERPRINT: g_value_set_string (value, settings->tls_fingerprint); return TRUE;
  case PROP_TLS_DATABASE: g_value_set_object (value, settings->tls_database); return TRUE;
  case PROP_TLS_VALIDATION_FLAGS:
    g_value_set_flags (value, settings->tls_validation_flags);
    return TRUE;
  case PROP_PROXY: g_value_set_string (value, settings->proxy); return TRUE;
  case PROP_BIND_ADDRESS: g_value_set_string (value, settings->bind_address); return TRUE;
  case PROP_BIND_PORT: g_value_set_int (value, settings->bind_port); return TRUE;
  case PROP_QOS_DSCP: g_value_set_int (value, settings->qos_dscp); return TRUE;
  case PROP_BUFFER_SIZE: g_value_set_uint (value, settings->buffer_size); return TRUE;
  case PROP_TIMEOUT: g_value_set_uint (value, settings->timeout_ms / 1000); return TRUE;
  case PROP_AUTO_RECONNECT: g_value_set_boolean (value, settings->auto_reconnect); return TRUE;
  case PROP_RETRIES: g_value_set_int (value, settings->retries); return TRUE;
  case PROP_RETRY_BACKOFF_FACTOR: g_value_set_double (value, settings->backoff_factor); return TRUE;
  case PROP_RETRY_BACKOFF_MAX: g_value_set_double (value, settings->backoff_max); return TRUE;
  case PROP_CONNECTION_STATE: g_value_set_enum (value, (gint)conn->state); return TRUE;
  default: return FALSE;
  }
}

gboolean
gst_nat_relay_connection_get_property (
    GstNatRelayConnection *conn, guint id, GValue *value, GParamSpec *pspec)
{
  gboolean handled;

  if (id == PROP_URI) {
    g_value_take_string (value, gst_nat_relay_connection_get_uri (conn));
    return TRUE;
  }
  GST_OBJECT_LOCK (conn->element);
  handled = get_property_locked (conn, id, value);
  GST_OBJECT_UNLOCK (conn->element);
  return handled;
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
    set_auth_token (conn, token);
    nat_crypto_wipe_free (token);
  } else if (request->cause != NULL) {
    NatSession *session = gst_nat_relay_connection_get_session (conn);

    if (session == request->session) {
      gst_nat_relay_report_state (&conn->report, session, NAT_SESSION_FAILED, request->cause);
      if (conn->hooks->state != NULL)
        conn->hooks->state (element, NAT_SESSION_FAILED);
    }
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
  if (conn->hooks->state != NULL)
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
on_mapped (NatSession *session, const NatAddress *local, const NatAddress *mapped,
    const NatAddress *relay, gpointer user)
{
  GstNatRelayConnection *conn = user;
  gchar y[NAT_ADDRESS_TEXT_MAX], z[NAT_ADDRESS_TEXT_MAX], r[NAT_ADDRESS_TEXT_MAX];

  GST_INFO_OBJECT (conn->element, "relay %s sees %s as %s", nat_address_to_text (relay, r),
      nat_address_to_text (local, y), nat_address_to_text (mapped, z));
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

  if (conn->uri_error != NULL)
    return g_strdup (conn->uri_error->message);
  if (conn->uri == NULL)
    return g_strdup ("No stream was given; set the property uri to natrelay://HOST/STREAM");
  if (fingerprint != NULL && *fingerprint != '\0' && !is_fingerprint (fingerprint))
    return g_strdup (
        "The property tls-fingerprint must be 64 hex digits, as natrelay-server prints them");
  return NULL;
}

/* called with the object lock */
static NatSession *
new_session (GstNatRelayConnection *conn)
{
  static const NatSessionCallbacks callbacks = {
      .state = on_state,
      .document = on_document,
      .mapped = on_mapped,
      .rtp = on_rtp,
      .rtcp = on_rtcp,
      .token_expires = on_token_expires,
      .accept_certificate = on_accept_certificate,
  };
  NatSessionConfig config = conn->settings; /* shallow: the session makes its own copy */

  if (!conn->token_given)
    config.auth_token = (gchar *)g_getenv (TOKEN_VARIABLE);
  return nat_session_new (&config, &callbacks, conn);
}

gboolean
gst_nat_relay_connection_prepare (GstNatRelayConnection *conn)
{
  gchar *complaint;

  GST_OBJECT_LOCK (conn->element);
  complaint = check_settings (conn);
  if (complaint == NULL) {
    conn->session = new_session (conn);
    conn->token_asked = FALSE;
  }
  GST_OBJECT_UNLOCK (conn->element);
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
gst_nat_relay_connection_start (GstNatRelayConnection *conn, gboolean ready)
{
  nat_session_start (conn->session);
}

void
gst_nat_relay_connection_stop (GstNatRelayConnection *conn, gboolean ended)
{
  NatSession *session;

  GST_OBJECT_LOCK (conn->element);
  session = g_steal_pointer (&conn->session);
  GST_OBJECT_UNLOCK (conn->element);
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
