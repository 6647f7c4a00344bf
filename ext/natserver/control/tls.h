/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* TLS for the relay's HTTPS port, on GnuTLS and never waiting: every call returns at once and says
 * what the socket must be ready for. The relay's certificate is an identity: immutable, counted by
 * each connection that uses it, so that a new one can take its place at any time. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_TLS_CERTIFICATE_YEARS 10 /* of a certificate that we make */

typedef struct _NatTlsIdentity NatTlsIdentity;

/* PEM files. The GError names the file, the cause and what to do. */
NatTlsIdentity *nat_tls_identity_load (
    const char *certificate_path, const char *key_path, GError **error);
NatTlsIdentity *nat_tls_identity_ref (NatTlsIdentity *identity);
void nat_tls_identity_unref (NatTlsIdentity *identity);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatTlsIdentity, nat_tls_identity_unref)
/* SHA-256 of the certificate as hex, what clients pin by tls-fingerprint. */
const char *nat_tls_identity_fingerprint (NatTlsIdentity *identity);
/* Unix time of the certificate's end. */
gint64 nat_tls_identity_expires_s (NatTlsIdentity *identity);

/* A new key (ECDSA P-256) and a certificate signed with it, for "localhost", hostname and the literal
 * addresses, as PEM. now_s: Unix time. addresses may be NULL. */
gboolean nat_tls_make_self_signed (const char *hostname, const char *const *addresses, gint64 now_s,
    char **certificate_pem, char **key_pem, GError **error);

typedef enum {
  NAT_TLS_OK,
  NAT_TLS_WANT_READ,  /* call again when the socket is readable */
  NAT_TLS_WANT_WRITE, /* ... writable; with the same bytes */
  NAT_TLS_CLOSED,     /* the peer said goodbye or went, or broke the protocol */
} NatTlsStatus;

typedef struct _NatTls NatTls;
/* fd: connected, non-blocking; it stays the caller's and outlives the NatTls. */
NatTls *nat_tls_new (NatTlsIdentity *identity, int fd);
void nat_tls_free (NatTls *tls);
NatTlsStatus nat_tls_handshake (NatTls *tls);
NatTlsStatus nat_tls_read (NatTls *tls, gpointer data, gsize size, gsize *n);
/* Something is read from the socket already, which therefore may not become readable for it. */
gboolean nat_tls_has_more (NatTls *tls);
NatTlsStatus nat_tls_write (NatTls *tls, gconstpointer data, gsize len, gsize *n);
/* The other side: a client that looks at a relay. */
typedef struct {
  const char *host; /* that the certificate must name */
  const char
      *fingerprint; /* hex, of the certificate, which then needs neither name nor chain; or NULL */
  const char *ca_file; /* PEM; NULL = the system's */
} NatTlsPeer;
/* fd: connected, blocking, with time limits of its own (SO_RCVTIMEO), at which calls say WANT_READ. Shakes hands, and
 * looks whether it is that peer. */
NatTls *nat_tls_connect (int fd, const NatTlsPeer *peer, GError **error);
/* Says goodbye; nothing can be written afterwards. */
NatTlsStatus nat_tls_bye (NatTls *tls);

G_END_DECLS
