/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/trust.h"

#include <string.h>

#include "natclient/cause.h"

#define NAT_TYPE_TRUST (nat_trust_get_type ())
static GType nat_trust_get_type (void);

struct _NatTrust {
  GTlsDatabase parent;
  GTlsDatabase *inner;         /* NULL: nothing verifies */
  GSocketConnectable *host;    /* that the uri names */
  GSocketConnectable *nobody;  /* NULL: host is no IPv6 literal; see nat_trust_hide_literal */
  guint8 pin[NAT_SHA256_SIZE]; /* if inner is NULL */
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
    int high, low;

    if (*text == ':' || g_ascii_isspace (*text))
      continue;
    high = g_ascii_xdigit_value (text[0]);
    low = high < 0 ? -1 : g_ascii_xdigit_value (text[1]);
    if (low < 0 || n == NAT_SHA256_SIZE)
      return FALSE;
    out[n++] = (guint8)(high << 4 | low);
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
nat_trust_new (const NatSessionConfig *config, NatCause **cause)
{
  NatTrust *self = g_object_new (NAT_TYPE_TRUST, NULL);

  self->host = g_network_address_new (config->host, config->port);
  if (strchr (config->host, ':') != NULL)
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

gboolean
nat_trust_is_pinned (const NatTrust *trust)
{
  return trust->inner == NULL;
}

gboolean
nat_trust_is_pin (const NatTrust *trust, const guint8 digest[NAT_SHA256_SIZE])
{
  return trust->inner == NULL && nat_crypto_equal (digest, trust->pin, NAT_SHA256_SIZE);
}

gboolean
nat_trust_digest (GTlsCertificate *certificate, guint8 digest[NAT_SHA256_SIZE])
{
  GByteArray *der = NULL;

  g_object_get (certificate, "certificate", &der, NULL);
  if (der == NULL)
    return FALSE;
  nat_crypto_sha256 (der->data, der->len, digest);
  g_byte_array_unref (der);
  return TRUE;
}

/* GIO writes the host into the ClientHello as a name even where it is an IPv6 address, and servers
 * on GnuTLS refuse that ("illegal parameter"). They get a name that says nothing; who they are,
 * verify_chain asks about the real one. */
void
nat_trust_hide_literal (NatTrust *trust, GIOStream *connection)
{
  if (trust->nobody != NULL && G_IS_TLS_CLIENT_CONNECTION (connection))
    g_tls_client_connection_set_server_identity (
        G_TLS_CLIENT_CONNECTION (connection), trust->nobody);
}
