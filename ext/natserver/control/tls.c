/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* GIO's TLS server shakes hands in a small thread pool, where a few dozen silent strangers keep
 * everybody else waiting for seconds; here a stalled handshake is just one more descriptor. */

#include "natserver/control/tls.h"

#include <string.h>
#include <arpa/inet.h>
#include <gio/gio.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natproto/hex.h"

/* Of what is strong enough, first what costs the relay least: X25519 takes two thirds of P-256's time in GnuTLS,
 * and SHA-256, which comes with AES-128, has instructions of its own where SHA-384 has none. Keys are new for each
 * connection, also where a certificate of RSA could have them sent under its own, for whoever steals that later. No session
 * tickets: whoever asks often keeps the connection, which saves all of a handshake and not a fifth of it. */
#define PRIORITY                                                                                   \
  "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"                                  \
  ":-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA"                                                               \
  ":-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1"                   \
  ":-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"
#define HANDSHAKE_MAX (16 * 1024) /* bytes of one handshake message: clients send no certificate */
#define RECORD_CHUNK  (16 * 1024)
#define WARNINGS_MAX  4 /* alerts in a row before a peer is taken for a nuisance */

struct _NatTlsIdentity {
  gatomicrefcount refs;
  gnutls_certificate_credentials_t credentials;
  gnutls_priority_t priority;
  char fingerprint[2 * NAT_SHA256_SIZE + 1];
  gint64 expires_s;
};

struct _NatTls {
  gnutls_session_t session;
  NatTlsIdentity *identity;                     /* of a server */
  gnutls_certificate_credentials_t credentials; /* of a client */
};

/* ---- Identities -------------------------------------------------------- */

static char *
load_file (const char *path, const char *what, gsize *len, GError **error)
{
  g_autoptr (GError) cause = NULL;
  char *text = NULL;

  if (!g_file_get_contents (path, &text, len, &cause))
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "The %s cannot be read: %s. Check the path and that the relay's user may read it.", what,
        cause->message);
  return text;
}

static const char *
hint_for (int result)
{
  switch (result) {
  case GNUTLS_E_CERTIFICATE_KEY_MISMATCH:
    return "the private key belongs to another certificate; give the pair that was issued "
           "together";
  case GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR:
  case GNUTLS_E_BASE64_DECODING_ERROR:
  case GNUTLS_E_NO_CERTIFICATE_FOUND:
  case GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE:
  case GNUTLS_E_ASN1_TAG_ERROR:
  case GNUTLS_E_ASN1_DER_ERROR:
    return "one of the files is not what it should be; both must be PEM, the certificate (with "
           "its chain) in the first and its private key in the second";
  case GNUTLS_E_DECRYPTION_FAILED:
    return "the private key is protected by a passphrase, which the relay cannot ask for";
  default: return gnutls_strerror (result);
  }
}

/* What people need to know about the first certificate of the chain. */
static int
describe (NatTlsIdentity *identity, const gnutls_datum_t *pem)
{
  guint8 hash[NAT_SHA256_SIZE];
  gsize size = sizeof hash;
  gnutls_x509_crt_t crt;
  int result = gnutls_x509_crt_init (&crt);

  if (result < 0)
    return result;
  result = gnutls_x509_crt_import (crt, pem, GNUTLS_X509_FMT_PEM);
  if (result >= 0)
    result = gnutls_x509_crt_get_fingerprint (crt, GNUTLS_DIG_SHA256, hash, &size);
  if (result >= 0) {
    identity->expires_s = gnutls_x509_crt_get_expiration_time (crt);
    nat_hex_encode (hash, sizeof hash, identity->fingerprint);
  }
  gnutls_x509_crt_deinit (crt);
  return result;
}

static NatTlsIdentity *
identity_new (const gnutls_datum_t *certificate, const gnutls_datum_t *key, int *result)
{
  NatTlsIdentity *identity = g_new0 (NatTlsIdentity, 1);

  g_atomic_ref_count_init (&identity->refs);
  *result = gnutls_certificate_allocate_credentials (&identity->credentials);
  if (*result >= 0)
    *result = gnutls_priority_init (&identity->priority, PRIORITY, NULL);
  if (*result >= 0)
    *result = gnutls_certificate_set_x509_key_mem (
        identity->credentials, certificate, key, GNUTLS_X509_FMT_PEM);
  if (*result >= 0)
    *result = describe (identity, certificate);
  if (*result < 0)
    g_clear_pointer (&identity, nat_tls_identity_unref);
  return identity;
}

NatTlsIdentity *
nat_tls_identity_load (const char *certificate_path, const char *key_path, GError **error)
{
  NatTlsIdentity *identity;
  gsize certificate_len, key_len;
  char *certificate = load_file (certificate_path, "certificate", &certificate_len, error);
  char *key = certificate ? load_file (key_path, "private key", &key_len, error) : NULL;
  int result;

  if (key == NULL) {
    g_free (certificate);
    return NULL;
  }
  identity = identity_new (&(gnutls_datum_t){(guchar *)certificate, (guint)certificate_len},
      &(gnutls_datum_t){(guchar *)key, (guint)key_len}, &result);
  if (identity == NULL)
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "The certificate %s cannot be used with the private key %s: %s", certificate_path, key_path,
        hint_for (result));
  nat_crypto_wipe (key, key_len);
  g_free (key);
  g_free (certificate);
  return identity;
}

NatTlsIdentity *
nat_tls_identity_ref (NatTlsIdentity *identity)
{
  g_atomic_ref_count_inc (&identity->refs);
  return identity;
}

void
nat_tls_identity_unref (NatTlsIdentity *identity)
{
  if (!g_atomic_ref_count_dec (&identity->refs))
    return;
  if (identity->credentials != NULL)
    gnutls_certificate_free_credentials (identity->credentials);
  if (identity->priority != NULL)
    gnutls_priority_deinit (identity->priority);
  g_free (identity);
}

const char *
nat_tls_identity_fingerprint (NatTlsIdentity *identity)
{
  return identity->fingerprint;
}

gint64
nat_tls_identity_expires_s (NatTlsIdentity *identity)
{
  return identity->expires_s;
}

/* ---- A certificate of our own ------------------------------------------ */

static int
add_name (gnutls_x509_crt_t crt, const char *name)
{
  return gnutls_x509_crt_set_subject_alt_name (
      crt, GNUTLS_SAN_DNSNAME, name, (guint)strlen (name), GNUTLS_FSAN_APPEND);
}

static int
add_address (gnutls_x509_crt_t crt, const char *text)
{
  guint8 ip[16];
  guint len = 4;

  if (inet_pton (AF_INET, text, ip) != 1) {
    if (inet_pton (AF_INET6, text, ip) != 1)
      return GNUTLS_E_INVALID_REQUEST;
    len = 16;
  }
  return gnutls_x509_crt_set_subject_alt_name (
      crt, GNUTLS_SAN_IPADDRESS, ip, len, GNUTLS_FSAN_APPEND);
}

static int
set_names (gnutls_x509_crt_t crt, const char *hostname, const char *const *addresses)
{
  /* A common name has 64 characters at most (RFC 5280, ub-common-name). */
  gboolean fits = strlen (hostname) <= 64;
  int result = gnutls_x509_crt_set_dn_by_oid (crt, GNUTLS_OID_X520_COMMON_NAME, 0,
      fits ? hostname : "natrelay", (guint)strlen (fits ? hostname : "natrelay"));

  if (result >= 0)
    result = add_name (crt, "localhost");
  if (result >= 0 && strcmp (hostname, "localhost") != 0)
    result = add_name (crt, hostname);
  for (; result >= 0 && addresses != NULL && *addresses != NULL; addresses++)
    result = add_address (crt, *addresses);
  return result;
}

static int
set_usage (gnutls_x509_crt_t crt, gint64 now_s)
{
  guint8 serial[16];
  int result;

  nat_crypto_random (serial, sizeof serial);
  serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, never zero */
  result = gnutls_x509_crt_set_version (crt, 3);
  if (result >= 0)
    result = gnutls_x509_crt_set_serial (crt, serial, sizeof serial);
  if (result >= 0) /* a day back: the clients' clocks may be behind */
    result = gnutls_x509_crt_set_activation_time (crt, (time_t)(now_s - 86400));
  if (result >= 0)
    result = gnutls_x509_crt_set_expiration_time (
        crt, (time_t)(now_s + NAT_TLS_CERTIFICATE_YEARS * G_GINT64_CONSTANT (31557600)));
  if (result >= 0)
    result = gnutls_x509_crt_set_basic_constraints (crt, 0, -1);
  if (result >= 0)
    result = gnutls_x509_crt_set_key_usage (crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
  if (result >= 0)
    result = gnutls_x509_crt_set_key_purpose_oid (crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
  return result;
}

static char *
take_datum (gnutls_datum_t *d)
{
  char *text = g_strndup ((const char *)d->data, d->size);

  nat_crypto_wipe (d->data, d->size);
  gnutls_free (d->data);
  return text;
}

static int
make (gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *hostname,
    const char *const *addresses, gint64 now_s)
{
  int result = gnutls_x509_privkey_generate (
      key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS (GNUTLS_ECC_CURVE_SECP256R1), 0);

  if (result >= 0)
    result = set_usage (crt, now_s);
  if (result >= 0)
    result = set_names (crt, hostname, addresses);
  if (result >= 0)
    result = gnutls_x509_crt_set_key (crt, key);
  if (result >= 0)
    result = gnutls_x509_crt_sign2 (crt, crt, key, GNUTLS_DIG_SHA256, 0);
  return result;
}

gboolean
nat_tls_make_self_signed (const char *hostname, const char *const *addresses, gint64 now_s,
    char **certificate_pem, char **key_pem, GError **error)
{
  gnutls_datum_t certificate = {NULL, 0};
  gnutls_datum_t private_key = {NULL, 0};
  gnutls_x509_privkey_t key = NULL;
  gnutls_x509_crt_t crt = NULL;
  int result = gnutls_x509_privkey_init (&key);

  if (result >= 0)
    result = gnutls_x509_crt_init (&crt);
  if (result >= 0)
    result = make (crt, key, hostname, addresses, now_s);
  if (result >= 0)
    result = gnutls_x509_crt_export2 (crt, GNUTLS_X509_FMT_PEM, &certificate);
  if (result >= 0)
    result = gnutls_x509_privkey_export2_pkcs8 (
        key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &private_key);
  if (result >= 0) {
    *certificate_pem = take_datum (&certificate);
    *key_pem = take_datum (&private_key);
  } else {
    g_set_error (error, NAT_ERROR, NAT_ERROR_CRYPTO, "A certificate for %s cannot be made: %s",
        hostname, gnutls_strerror (result));
    gnutls_free (certificate.data);
  }
  if (crt != NULL)
    gnutls_x509_crt_deinit (crt);
  if (key != NULL)
    gnutls_x509_privkey_deinit (key);
  return result >= 0;
}

/* ---- Connections ------------------------------------------------------- */

NatTls *
nat_tls_new (NatTlsIdentity *identity, int fd)
{
  static const gnutls_datum_t http11 = {(guchar *)"http/1.1", 8};
  NatTls *tls = g_new0 (NatTls, 1);

  tls->identity = nat_tls_identity_ref (identity);
  if (gnutls_init (&tls->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0 ||
      gnutls_priority_set (tls->session, identity->priority) < 0 ||
      gnutls_credentials_set (tls->session, GNUTLS_CRD_CERTIFICATE, identity->credentials) < 0)
    g_error ("A TLS session cannot be made"); /* no memory: g_malloc would abort as well */
  gnutls_alpn_set_protocols (tls->session, &http11, 1, 0);
  gnutls_handshake_set_max_packet_length (tls->session, HANDSHAKE_MAX);
  gnutls_transport_set_int (tls->session, fd);
  return tls;
}

void
nat_tls_free (NatTls *tls)
{
  gnutls_deinit (tls->session);
  if (tls->identity != NULL)
    nat_tls_identity_unref (tls->identity);
  if (tls->credentials != NULL)
    gnutls_certificate_free_credentials (tls->credentials);
  g_free (tls);
}

static NatTlsStatus
status_of (NatTls *tls, gssize result)
{
  if (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED)
    return gnutls_record_get_direction (tls->session) == 0 ? NAT_TLS_WANT_READ : NAT_TLS_WANT_WRITE;
  return NAT_TLS_CLOSED;
}

NatTlsStatus
nat_tls_handshake (NatTls *tls)
{
  guint warnings = 0;
  int result;

  do {
    result = gnutls_handshake (tls->session);
  } while (result == GNUTLS_E_WARNING_ALERT_RECEIVED && ++warnings < WARNINGS_MAX);
  if (result == GNUTLS_E_SUCCESS)
    return NAT_TLS_OK;
  if (result != GNUTLS_E_AGAIN && result != GNUTLS_E_INTERRUPTED)
    gnutls_alert_send_appropriate (tls->session, result);
  return status_of (tls, result);
}

NatTlsStatus
nat_tls_read (NatTls *tls, gpointer data, gsize size, gsize *n)
{
  guint warnings = 0;
  gssize result;

  *n = 0;
  do {
    result = gnutls_record_recv (tls->session, data, size);
  } while (result == GNUTLS_E_WARNING_ALERT_RECEIVED && ++warnings < WARNINGS_MAX);
  if (result > 0) {
    *n = (gsize)result;
    return NAT_TLS_OK;
  }
  return status_of (tls, result);
}

gboolean
nat_tls_has_more (NatTls *tls)
{
  return gnutls_record_check_pending (tls->session) > 0;
}

NatTlsStatus
nat_tls_write (NatTls *tls, gconstpointer data, gsize len, gsize *n)
{
  gssize result = gnutls_record_send (tls->session, data, MIN (len, RECORD_CHUNK));

  *n = 0;
  if (result > 0) {
    *n = (gsize)result;
    return NAT_TLS_OK;
  }
  return status_of (tls, result);
}

NatTlsStatus
nat_tls_bye (NatTls *tls)
{
  int result = gnutls_bye (tls->session, GNUTLS_SHUT_WR);

  return result == GNUTLS_E_SUCCESS ? NAT_TLS_OK : status_of (tls, result);
}

/* ---- The other side ---------------------------------------------------- */

static gboolean
trust (NatTls *tls, const NatTlsPeer *peer, GError **error)
{
  int n;

  if (peer->fingerprint != NULL)
    return TRUE;
  n = peer->ca_file != NULL ? gnutls_certificate_set_x509_trust_file (
                                  tls->credentials, peer->ca_file, GNUTLS_X509_FMT_PEM)
                            : gnutls_certificate_set_x509_system_trust (tls->credentials);
  if (n > 0)
    return TRUE;
  return nat_error_set (error, NAT_ERROR_ARGUMENT, "there are no certificates of authorities in %s",
      peer->ca_file != NULL ? peer->ca_file : "this system");
}

static gboolean
check_fingerprint (NatTls *tls, const char *wanted, GError **error)
{
  const gnutls_datum_t *der = gnutls_certificate_get_peers (tls->session, NULL);
  char text[2 * NAT_SHA256_SIZE + 1] = "none";
  guint8 hash[NAT_SHA256_SIZE];

  if (der != NULL) {
    nat_crypto_sha256 (der->data, der->size, hash);
    nat_hex_encode (hash, sizeof hash, text);
  }
  if (g_ascii_strcasecmp (text, wanted) == 0)
    return TRUE;
  return nat_error_set (error, NAT_ERROR_AUTHENTICATION,
      "the relay's certificate is another than the fingerprint says: it has %s", text);
}

static gboolean
check_chain (NatTls *tls, const char *host, GError **error)
{
  gnutls_datum_t why = {NULL, 0};
  guint status = 0;
  int result = gnutls_certificate_verify_peers3 (tls->session, host, &status);

  if (result >= 0 && status == 0)
    return TRUE;
  if (result >= 0)
    result = gnutls_certificate_verification_status_print (status, GNUTLS_CRT_X509, &why, 0);
  nat_error_set (error, NAT_ERROR_AUTHENTICATION,
      "the relay's certificate is not trusted: %s Give --tls-ca-file or --tls-fingerprint if it is "
      "right.",
      result >= 0 ? (const char *)why.data : gnutls_strerror (result));
  gnutls_free (why.data);
  return FALSE;
}

static gboolean
shake_hands (NatTls *tls, const NatTlsPeer *peer, GError **error)
{
  int result;

  do {
    result = gnutls_handshake (tls->session);
  } while (result == GNUTLS_E_INTERRUPTED || result == GNUTLS_E_WARNING_ALERT_RECEIVED);
  if (result < 0)
    return nat_error_set (error, NAT_ERROR_PROTOCOL, "no TLS there: %s",
        result == GNUTLS_E_AGAIN ? "no answer in time" : gnutls_strerror (result));
  return peer->fingerprint != NULL ? check_fingerprint (tls, peer->fingerprint, error)
                                   : check_chain (tls, peer->host, error);
}

NatTls *
nat_tls_connect (int fd, const NatTlsPeer *peer, GError **error)
{
  NatTls *tls = g_new0 (NatTls, 1);
  struct in6_addr literal;

  if (gnutls_init (&tls->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL) < 0 ||
      gnutls_certificate_allocate_credentials (&tls->credentials) < 0 ||
      gnutls_set_default_priority (tls->session) < 0 ||
      gnutls_credentials_set (tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials) < 0)
    g_error ("A TLS session cannot be made"); /* no memory: g_malloc would abort as well */
  if (inet_pton (AF_INET, peer->host, &literal) != 1 &&
      inet_pton (AF_INET6, peer->host, &literal) != 1)
    gnutls_server_name_set (tls->session, GNUTLS_NAME_DNS, peer->host, strlen (peer->host));
  gnutls_transport_set_int (tls->session, fd);
  gnutls_handshake_set_timeout (tls->session, GNUTLS_INDEFINITE_TIMEOUT);
  if (!trust (tls, peer, error) || !shake_hands (tls, peer, error))
    g_clear_pointer (&tls, nat_tls_free);
  return tls;
}
