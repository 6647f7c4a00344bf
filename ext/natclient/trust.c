/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/trust.h"

#include <string.h>

#include "natclient/cause.h"
#include "natproto/hex.h"

#define ISSUER_MAX 100 /* bytes of a name that are shown */

#define NAT_TYPE_TRUST (nat_trust_get_type ())
static GType nat_trust_get_type (void);

struct _NatTrust {
  GTlsDatabase parent;
  GTlsDatabase *inner;         /* NULL: nothing verifies */
  GSocketConnectable *host;    /* that the uri names */
  GSocketConnectable *nobody;  /* NULL: host is no address; see nat_trust_hide_literal */
  guint8 pin[NAT_SHA256_SIZE]; /* if inner is NULL */
  GTlsCertificateFlags validation;
  NatAcceptFunc accept;
  gpointer user;
  gboolean accepted; /* asked about one certificate once, and about the next again */
  guint8 accepted_digest[NAT_SHA256_SIZE];
};
typedef struct {
  GTlsDatabaseClass parent;
} NatTrustClass;
G_DEFINE_FINAL_TYPE (NatTrust, nat_trust, G_TYPE_TLS_DATABASE)

static GTlsCertificateFlags
verify_chain (GTlsDatabase *database, GTlsCertificate *chain, const gchar *purpose,
    GSocketConnectable *identity, GTlsInteraction *interaction, GTlsDatabaseVerifyFlags flags,
    GCancellable *cancellable, GError **error)
{
  NatTrust *self = (NatTrust *)database;

  if (self->inner == NULL)
    return G_TLS_CERTIFICATE_UNKNOWN_CA;
  if (identity != NULL && identity == self->nobody)
    identity = self->host;
  return g_tls_database_verify_chain (
      self->inner, chain, purpose, identity, interaction, flags, cancellable, error);
}

static void
nat_trust_finalize (GObject *object)
{
  NatTrust *self = (NatTrust *)object;

  g_clear_object (&self->inner);
  g_clear_object (&self->host);
  g_clear_object (&self->nobody);
  G_OBJECT_CLASS (nat_trust_parent_class)->finalize (object);
}

static void
nat_trust_class_init (NatTrustClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = nat_trust_finalize;
  G_TLS_DATABASE_CLASS (klass)->verify_chain = verify_chain;
}

static void
nat_trust_init (NatTrust *self)
{
}

/* ---- Settings ---------------------------------------------------------- */

static gboolean
is_set (const char *text)
{
  return text != NULL && *text != '\0';
}

static gboolean
parse_fingerprint (const char *text, guint8 out[NAT_SHA256_SIZE])
{
  guint n = 0;

  for (; *text != '\0'; text++) {
    if (*text == ':' || g_ascii_isspace (*text))
      continue;
    if (n == NAT_SHA256_SIZE || !nat_hex_decode (text, &out[n++], 1))
      return FALSE;
    text++;
  }
  return n == NAT_SHA256_SIZE;
}

static GTlsDatabase *
load_authorities (const char *file, NatCause **cause)
{
  /* GIO takes absolute paths only; with another it warns, and then nothing verifies. */
  g_autofree char *path = g_canonicalize_filename (file, NULL);
  GError *error = NULL;
  GTlsDatabase *database = g_tls_file_database_new (path, &error);

  if (database == NULL) {
    *cause = nat_cause_new (NAT_CAUSE_TLS,
        "The file of trusted certificates \"%s\" cannot be used: %s", path, error->message);
    g_error_free (error);
  }
  return database;
}

static gboolean
set_up (NatTrust *self, const NatSessionConfig *config, NatCause **cause)
{
  if (is_set (config->tls_fingerprint)) {
    if (parse_fingerprint (config->tls_fingerprint, self->pin))
      return TRUE;
    *cause = nat_cause_new (NAT_CAUSE_TLS,
        "tls-fingerprint is not a SHA-256 fingerprint: give the 64 hexadecimal digits that "
        "natrelay-server printed when it started.");
    return FALSE;
  }
  if (is_set (config->tls_ca_file))
    self->inner = load_authorities (config->tls_ca_file, cause);
  else if (config->tls_database != NULL)
    self->inner = g_object_ref (config->tls_database);
  else
    self->inner = g_tls_backend_get_default_database (g_tls_backend_get_default ());
  return *cause == NULL;
}

NatTrust *
nat_trust_new (
    const NatSessionConfig *config, NatAcceptFunc accept, gpointer user, NatCause **cause)
{
  NatTrust *self = g_object_new (NAT_TYPE_TRUST, NULL);

  self->validation = config->tls_validation_flags;
  self->accept = accept;
  self->user = user;
  self->host = g_network_address_new (config->host, config->port);
  if (g_hostname_is_ip_address (config->host))
    self->nobody = g_network_address_new ("relay.invalid", config->port);
  if (!set_up (self, config, cause))
    g_clear_object (&self);
  return self;
}

/* ---- Use --------------------------------------------------------------- */

GTlsDatabase *
nat_trust_database (NatTrust *trust)
{
  return G_TLS_DATABASE (trust);
}

void
nat_trust_ask_nobody (NatTrust *trust)
{
  trust->accept = NULL;
}

/* Of the certificate as it was sent. */
static gboolean
digest_of (GTlsCertificate *certificate, guint8 digest[NAT_SHA256_SIZE])
{
  GByteArray *der = NULL;

  g_object_get (certificate, "certificate", &der, NULL);
  if (der == NULL)
    return FALSE;
  nat_crypto_sha256 (der->data, der->len, digest);
  g_byte_array_unref (der);
  return TRUE;
}

void
nat_shown_clear (NatShown *shown)
{
  g_free (shown->issuer);
  memset (shown, 0, sizeof *shown);
}

/* A stranger chose these words. */
static char *
printable (const char *name)
{
  char *text = g_utf8_make_valid (name, (gssize)MIN (strlen (name), ISSUER_MAX));

  for (char *c = text; *c != '\0'; c++)
    if (g_ascii_iscntrl (*c) || *c == '"')
      *c = '?';
  return text;
}

static void
note_shown (NatShown *shown, GTlsCertificate *certificate, GTlsCertificateFlags errors,
    const guint8 digest[NAT_SHA256_SIZE])
{
  g_autofree char *subject = g_tls_certificate_get_subject_name (certificate);
  g_autofree char *issuer = g_tls_certificate_get_issuer_name (certificate);

  nat_shown_clear (shown);
  nat_hex_encode (digest, NAT_SHA256_SIZE, shown->fingerprint);
  shown->errors = errors;
  if (issuer != NULL && g_strcmp0 (subject, issuer) != 0)
    shown->issuer = printable (issuer);
}

gboolean
nat_trust_accepts (
    NatTrust *trust, GTlsCertificate *certificate, GTlsCertificateFlags errors, NatShown *shown)
{
  guint8 digest[NAT_SHA256_SIZE];
  gboolean good;

  if (!digest_of (certificate, digest))
    return FALSE;
  note_shown (shown, certificate, errors, digest);
  if (trust->inner == NULL)
    good = nat_crypto_equal (digest, trust->pin, sizeof digest);
  else
    good = (errors & trust->validation) == 0 ||
           (trust->accepted && nat_crypto_equal (digest, trust->accepted_digest, sizeof digest)) ||
           (trust->accept != NULL && trust->accept (certificate, errors, trust->user));
  if (good) {
    trust->accepted = TRUE;
    memcpy (trust->accepted_digest, digest, sizeof digest);
  }
  shown->refused = !good;
  return good;
}

static gboolean
is_ipv6 (GSocketConnectable *identity)
{
  return G_IS_NETWORK_ADDRESS (identity) &&
         strchr (g_network_address_get_hostname (G_NETWORK_ADDRESS (identity)), ':') != NULL;
}

/* GIO writes the host into the ClientHello as a name even where it is an IPv6 address, and servers
 * on GnuTLS refuse that ("illegal parameter"). They get a name that says nothing; who they are,
 * verify_chain asks about the real one. */
void
nat_trust_hide_literal (NatTrust *trust, GIOStream *connection)
{
  if (trust->nobody != NULL && G_IS_TLS_CLIENT_CONNECTION (connection) &&
      is_ipv6 (g_tls_client_connection_get_server_identity (G_TLS_CLIENT_CONNECTION (connection))))
    g_tls_client_connection_set_server_identity (
        G_TLS_CLIENT_CONNECTION (connection), trust->nobody);
}

/* ---- Causes ------------------------------------------------------------ */

/* Free with g_free. */
static char *
why_untrusted (GTlsCertificateFlags errors)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *today = g_date_time_format (now, "%Y-%m-%d");

  if (errors & G_TLS_CERTIFICATE_EXPIRED)
    return g_strdup_printf ("it has expired, if today is %s as this machine's clock says", today);
  if (errors & G_TLS_CERTIFICATE_NOT_ACTIVATED)
    return g_strdup_printf (
        "it is not valid yet, if today is %s as this machine's clock says", today);
  if (errors & G_TLS_CERTIFICATE_REVOKED)
    return g_strdup ("it was revoked");
  if (errors & G_TLS_CERTIFICATE_UNKNOWN_CA)
    return g_strdup (
        "nobody whom this machine trusts signed it, as with a relay's own certificate");
  if (errors & G_TLS_CERTIFICATE_BAD_IDENTITY)
    return g_strdup ("it was made for another name");
  return g_strdup ("its signature is too weak or broken");
}

/* A relay's own certificate is signed by itself, so another signature tells of interception; but an operator
 * may have it signed. */
static NatCause *
cause_of_other_pin (const char *where, const NatShown *shown)
{
  if (shown->issuer == NULL)
    return nat_cause_new (NAT_CAUSE_TLS,
        "%s is not the relay that tls-fingerprint names: it shows a certificate with the "
        "fingerprint %s. If the relay has a new certificate, take the fingerprint that "
        "natrelay-server prints when it starts; otherwise somebody stands between.",
        where, shown->fingerprint);
  return nat_cause_new (NAT_CAUSE_TLS,
      "%s is not the relay that tls-fingerprint names: it shows a certificate that \"%s\" issued. "
      "Unless the relay has one of that authority, a proxy or virus shield inspects TLS here "
      "(interception): have it leave this address alone; or, if it may read along, unset "
      "tls-fingerprint and set tls-ca-file to that authority's certificate.",
      where, shown->issuer);
}

NatCause *
nat_trust_cause (const NatTrust *trust, const char *where, const NatShown *shown)
{
  g_autofree char *why = why_untrusted (shown->errors);
  NatCause *cause;

  if (trust->inner == NULL)
    cause = cause_of_other_pin (where, shown);
  else
    cause = nat_cause_new (NAT_CAUSE_TLS,
        "The certificate of %s is not trusted: %s. If the fingerprint that natrelay-server printed "
        "when it started is the same as this, set tls-fingerprint=%s.",
        where, why, shown->fingerprint);
  /* Many a clock that has no battery is set soon after the start. */
  cause->final = trust->inner == NULL || shown->errors != G_TLS_CERTIFICATE_NOT_ACTIVATED;
  nat_cause_set_detail (cause, "certificate SHA-256 %s, issued by %s, GTlsCertificateFlags 0x%x",
      shown->fingerprint, shown->issuer != NULL ? shown->issuer : "itself", (guint)shown->errors);
  return cause;
}
