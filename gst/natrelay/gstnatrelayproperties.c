/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The connection's properties and signals, which both elements have. What is documented here of
 * GstNatRelaySink holds for GstNatRelaySrc, too. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "gstnatrelayelement.h"
#include "natproto/crypto.h"

GST_DEBUG_CATEGORY_EXTERN (gst_nat_relay_debug);
#define GST_CAT_DEFAULT gst_nat_relay_debug

/* As in nat_session_config_init. */
#define DEFAULT_TIMEOUT        15
#define DEFAULT_BACKOFF_FACTOR 0.25
#define DEFAULT_BACKOFF_MAX    10.0

enum {
  PROP_0,
  PROP_URI,
  PROP_AUTH_TOKEN,
  PROP_PASSPHRASE,
  PROP_KEY_FILE,
  PROP_TLS_CA_FILE,
  PROP_TLS_FINGERPRINT,
  PROP_TLS_DATABASE,
  PROP_TLS_VALIDATION_FLAGS,
  PROP_TRANSPORT,
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

GType
gst_nat_relay_encryption_get_type (void)
{
  static gsize type = 0;
  static const GEnumValue values[] = {
      {GST_NAT_RELAY_ENCRYPTION_NONE, "Payloads go in clear", "none"},
      {GST_NAT_RELAY_ENCRYPTION_AES_128_GCM, "SFrame with AES-128-GCM", "aes-128-gcm"},
      {GST_NAT_RELAY_ENCRYPTION_AES_256_GCM, "SFrame with AES-256-GCM", "aes-256-gcm"},
      {0, NULL, NULL},
  };

  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstNatRelayEncryption", values));
  return type;
}

GType
gst_nat_relay_transport_get_type (void)
{
  static gsize type = 0;
  static const GEnumValue values[] = {
      {NAT_TRANSPORT_CHOICE_AUTO, "UDP, and a WebSocket where UDP does not get through", "auto"},
      {NAT_TRANSPORT_CHOICE_UDP, "UDP only", "udp"},
      {NAT_TRANSPORT_CHOICE_WEBSOCKET, "A WebSocket over TLS only", "websocket"},
      {0, NULL, NULL},
  };

  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstNatRelayTransport", values));
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
  /**
   * GstNatRelaySink:transport:
   *
   * What carries the media. With "auto" UDP does where it gets through; where it is blocked, from the start or
   * later, a WebSocket over the relay's HTTPS port takes its place, until UDP works again. The field
   * transport of #GstNatRelaySink:stats, and the element messages "natrelay-connected" and
   * "natrelay-transport", say which it is.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TRANSPORT,
      g_param_spec_enum ("transport", "Transport",
          "What carries the media: UDP, or a WebSocket over the relay's HTTPS port (default auto, "
          "right for all but tests: UDP, and the WebSocket where UDP does not get through)",
          GST_TYPE_NAT_RELAY_TRANSPORT, NAT_TRANSPORT_CHOICE_AUTO, READY | STATIC));
  /**
   * GstNatRelaySink:proxy:
   *
   * Proxy for the negotiation and for the WebSocket (#GstNatRelaySink:transport); it must allow CONNECT to
   * the relay's port, or to 443 if the relay listens there, too. UDP does not go through it. A password in it is left out when it is read back.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_PROXY, "proxy", "Proxy",
      "Proxy for HTTPS and the WebSocket, as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT "
      "(unset = the system's, e.g. $https_proxy)",
      READY);
  /**
   * GstNatRelaySink:bind-address:
   *
   * Local IP address that datagrams are sent from and received at. HTTPS and the WebSocket go the way that the
   * system's routes say.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_BIND_ADDRESS, "bind-address", "Bind address",
      "Local IP address to send from and receive at (unset = any; set it to choose one of several "
      "networks)",
      READY);
  /**
   * GstNatRelaySink:bind-port:
   *
   * Local UDP port, for firewalls that let only certain ports through. Each element needs one of its
   * own.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_BIND_PORT,
      g_param_spec_int ("bind-port", "Bind port",
          "Local UDP port (0 = any free one; another only where a firewall asks for it)", 0,
          G_MAXUINT16, 0, READY | STATIC));
  /**
   * GstNatRelaySink:qos-dscp:
   *
   * Differentiated Services Code Point of the UDP datagrams that are sent; HTTPS and the WebSocket have the system's.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_QOS_DSCP,
      g_param_spec_int ("qos-dscp", "QoS DSCP",
          "Differentiated Services Code Point of sent datagrams (-1 = the system's; 46 for speech, "
          "34 for video, where the network heeds it)",
          -1, 63, -1, READY | STATIC));
  /**
   * GstNatRelaySink:buffer-size:
   *
   * Size in bytes of the kernel's two buffers of the UDP socket, of which net.core.rmem_max and net.core.wmem_max are the limits.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_BUFFER_SIZE,
      g_param_spec_uint ("buffer-size", "Buffer size",
          "Size of the UDP socket's buffers in bytes (0 = the system's default; some millions for "
          "tens of Mbit/s on a busy machine)",
          0, G_MAXINT, 0, READY | STATIC));
}

static void
install_trust (GObjectClass *klass)
{
  /**
   * GstNatRelaySink:auth-token:
   *
   * Access token for the relay. When it is set while the element plays, the running session is extended,
   * and one that failed for want of permission tries again. It cannot be read back.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_AUTH_TOKEN, "auth-token", "Access token",
      "Access token that the relay's operator gave out (unset = $" GST_NAT_RELAY_TOKEN_VARIABLE
      "); a new one extends a running session",
      G_PARAM_WRITABLE | GST_PARAM_MUTABLE_PLAYING);
  /**
   * GstNatRelaySink:tls-ca-file:
   *
   * Certificates that vouch for the relay's, in PEM, in the place of the system's. #GstNatRelaySink:tls-fingerprint goes first.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_TLS_CA_FILE, "tls-ca-file", "TLS CA file",
      "PEM file with the certificates that vouch for the relay (unset = the system's)", READY);
  /**
   * GstNatRelaySink:tls-fingerprint:
   *
   * SHA-256 of the relay's certificate. It accepts a self-signed certificate, and no other certificate,
   * not even one that verifies.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_TLS_FINGERPRINT, "tls-fingerprint", "TLS fingerprint",
      "SHA-256 of the relay's certificate, 64 hex digits as natrelay-server prints them; accepts a "
      "self-signed certificate, and no other certificate",
      READY);
  /**
   * GstNatRelaySink:tls-database:
   *
   * Certificate authorities to verify the relay's certificate with; #GstNatRelaySink:tls-ca-file and
   * #GstNatRelaySink:tls-fingerprint go first.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TLS_DATABASE,
      g_param_spec_object ("tls-database", "TLS database",
          "Certificate authorities to verify the relay with (unset = the system's)",
          G_TYPE_TLS_DATABASE, READY | STATIC));
  /**
   * GstNatRelaySink:tls-validation-flags:
   *
   * What must be right about the relay's certificate. With less than everything, somebody in between may
   * read and change the negotiation.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TLS_VALIDATION_FLAGS,
      g_param_spec_flags ("tls-validation-flags", "TLS validation flags",
          "What must be right about the relay's certificate (default: everything)",
          G_TYPE_TLS_CERTIFICATE_FLAGS, G_TLS_CERTIFICATE_VALIDATE_ALL, READY | STATIC));
}

static void
install_secrecy (GObjectClass *klass)
{
  /**
   * GstNatRelaySink:passphrase:
   *
   * Keeps the stream secret from the relay, too: media is sealed with keys that only this passphrase can make, and what the
   * publisher says of its tracks is authenticated by it. Publisher and receivers have the same one, of 10 to 1024
   * bytes; a receiver with another posts an error (#GST_STREAM_ERROR_DECRYPT) and plays nothing, one with none
   * likewise (#GST_STREAM_ERROR_DECRYPT_NOKEY). In rooms, one passphrase opens the streams of all. It cannot be read back,
   * and is no part of the #GstNatRelaySink:uri that can be read back; on a command line others can see it,
   * so #GstNatRelaySink:key-file is better there.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_PASSPHRASE, "passphrase", "Passphrase",
      "Secret of publisher and receivers, 10 to 1024 bytes, that keeps the stream from the relay "
      "(unset = the relay has the keys)",
      G_PARAM_WRITABLE | GST_PARAM_MUTABLE_READY);
  /**
   * GstNatRelaySink:key-file:
   *
   * A file that holds what #GstNatRelaySink:passphrase would be set to, and nothing else but an end of line. It is read
   * at each start. `openssl rand -base64 32` makes a good one.
   *
   * Since: 0.1
   */
  install_string (klass, PROP_KEY_FILE, "key-file", "Key file",
      "File with the passphrase, instead of the property passphrase (unset = none)", READY);
}

static void
install_retry (GObjectClass *klass)
{
  /**
   * GstNatRelaySink:timeout:
   *
   * How long, in seconds, one step of the negotiation may take, or the first answer to the challenge.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_TIMEOUT,
      g_param_spec_uint ("timeout", "Timeout",
          "Seconds that one step of the negotiation may take before it is tried anew (default 15, "
          "which slow networks may need)",
          1, 3600, DEFAULT_TIMEOUT, READY | STATIC));
  /**
   * GstNatRelaySink:auto-reconnect:
   *
   * Whether a connection that cannot be made, or was lost, is tried again. If not, it is an error. What only a person can mend,
   * as a token that is refused, is an error in any case.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_AUTO_RECONNECT,
      g_param_spec_boolean ("auto-reconnect", "Automatic reconnect",
          "Try again when the relay cannot be reached or was lost (default true; false makes it an "
          "error for the application to act on)",
          TRUE, READY | STATIC));
  /**
   * GstNatRelaySink:retries:
   *
   * Attempts in a row that may fail before that is an error. A connection that is made sets the count back.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_RETRIES,
      g_param_spec_int ("retries", "Retries",
          "Attempts in a row before an error (-1 = without end, the default; a number for programs "
          "that are to give up)",
          -1, G_MAXINT, -1, READY | STATIC));
  /**
   * GstNatRelaySink:retry-backoff-factor:
   *
   * Wait before the second attempt, in seconds. It is doubled for each one after, up to
   * #GstNatRelaySink:retry-backoff-max; what is waited is half of it to all of it, by chance, so that clients do not come
   * back all at once.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_RETRY_BACKOFF_FACTOR,
      g_param_spec_double ("retry-backoff-factor", "Backoff factor",
          "Seconds before the second attempt, doubled for each one after (default 0.25)", 0.0,
          G_MAXDOUBLE, DEFAULT_BACKOFF_FACTOR, READY | STATIC));
  /**
   * GstNatRelaySink:retry-backoff-max:
   *
   * Longest wait between two attempts, in seconds, unless the relay asks for more.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, PROP_RETRY_BACKOFF_MAX,
      g_param_spec_double ("retry-backoff-max", "Maximal backoff",
          "Longest wait between two attempts in seconds (default 10; more spares a relay with "
          "thousands of clients)",
          0.0, G_MAXDOUBLE, DEFAULT_BACKOFF_MAX, READY | STATIC));
  /**
   * GstNatRelaySink:connection-state:
   *
   * Where the connection to the relay stands. It notifies on a thread of the element.
   *
   * Since: 0.1
   */
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
  install_secrecy (klass);
  install_retry (klass);
  install_signals (klass);
  gst_type_mark_as_plugin_api (GST_TYPE_NAT_RELAY_CONNECTION_STATE, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_NAT_RELAY_ENCRYPTION, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_NAT_RELAY_TRANSPORT, 0);
}

/* ---- properties ---------------------------------------------------------- */

/* called with the object lock */
static void
replace_string (gchar **field, const GValue *value)
{
  g_free (*field);
  *field = g_value_dup_string (value);
}

/* called with the object lock */
static gboolean
set_property_locked (GstNatRelayConnection *conn, guint id, const GValue *value)
{
  NatSessionConfig *settings = &conn->settings;

  switch (id) {
  case PROP_PASSPHRASE:
    nat_crypto_wipe_free (conn->passphrase_text);
    conn->passphrase_text = g_value_dup_string (value);
    return TRUE;
  case PROP_KEY_FILE: replace_string (&conn->key_file, value); return TRUE;
  case PROP_TLS_CA_FILE: replace_string (&settings->tls_ca_file, value); return TRUE;
  case PROP_TLS_FINGERPRINT: replace_string (&settings->tls_fingerprint, value); return TRUE;
  case PROP_TLS_DATABASE:
    g_set_object (&settings->tls_database, g_value_get_object (value));
    return TRUE;
  case PROP_TLS_VALIDATION_FLAGS:
    settings->tls_validation_flags = g_value_get_flags (value);
    return TRUE;
  case PROP_TRANSPORT: settings->transport = g_value_get_enum (value); return TRUE;
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
    gst_nat_relay_connection_set_auth_token (conn, g_value_get_string (value));
    return TRUE;
  }
  GST_OBJECT_LOCK (conn->element);
  handled = set_property_locked (conn, id, value);
  GST_OBJECT_UNLOCK (conn->element);
  return handled;
}

/* What is read back may end in a log or a picture of the pipeline: also what the start will refuse, for want of
 * "http://". */
static gchar *
without_password (const gchar *proxy)
{
  const gchar *at = proxy == NULL ? NULL : strrchr (proxy, '@');
  const gchar *colon = at == NULL ? NULL : strchr (proxy, ':');

  if (colon != NULL && g_str_has_prefix (colon, "://"))
    colon = strchr (colon + 3, ':');
  if (colon == NULL || colon > at)
    return g_strdup (proxy);
  return g_strdup_printf ("%.*s%s", (gint)(colon - proxy), proxy, at);
}

/* called with the object lock */
static gboolean
get_property_locked (GstNatRelayConnection *conn, guint id, GValue *value)
{
  const NatSessionConfig *settings = &conn->settings;

  switch (id) {
  case PROP_KEY_FILE: g_value_set_string (value, conn->key_file); return TRUE;
  case PROP_TLS_CA_FILE: g_value_set_string (value, settings->tls_ca_file); return TRUE;
  case PROP_TLS_FINGERPRINT: g_value_set_string (value, settings->tls_fingerprint); return TRUE;
  case PROP_TLS_DATABASE: g_value_set_object (value, settings->tls_database); return TRUE;
  case PROP_TLS_VALIDATION_FLAGS:
    g_value_set_flags (value, settings->tls_validation_flags);
    return TRUE;
  case PROP_TRANSPORT: g_value_set_enum (value, (gint)settings->transport); return TRUE;
  case PROP_PROXY: g_value_take_string (value, without_password (settings->proxy)); return TRUE;
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
