/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Whom a client believes to be its relay: whoever shows the certificate of a fingerprint; or whom a
 * file of authorities, a database, or the system's authorities vouch for. */

#include "natclient/session.h"
#include "natproto/crypto.h"

G_BEGIN_DECLS

typedef struct _NatTrust NatTrust; /* a GObject */

/* About a certificate that did not verify and is not pinned. */
typedef gboolean (*NatAcceptFunc) (
    GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user);

/* What a connection was shown. */
typedef struct {
  gboolean refused;
  GTlsCertificateFlags errors;
  char fingerprint[2 * NAT_SHA256_SIZE + 1]; /* hex */
  char *issuer; /* who signed it, where that is somebody else; or NULL */
} NatShown;
void nat_shown_clear (NatShown *shown);

/* NULL: a setting cannot be used, *cause says which. accept may be NULL. */
NatTrust *nat_trust_new (
    const NatSessionConfig *config, NatAcceptFunc accept, gpointer user, NatCause **cause);
/* accept is not called any more. */
void nat_trust_ask_nobody (NatTrust *trust);
/* For whoever makes TLS connections; not owned by the caller. With a fingerprint nothing verifies in
 * it, so that every certificate comes to accept-certificate, one of a known authority too. */
GTlsDatabase *nat_trust_database (NatTrust *trust);
/* The answer to accept-certificate. */
gboolean nat_trust_accepts (
    NatTrust *trust, GTlsCertificate *certificate, GTlsCertificateFlags errors, NatShown *shown);
/* Of one that was refused; where is "host:port". Final. */
NatCause *nat_trust_cause (const NatTrust *trust, const char *where, const NatShown *shown);
/* To be called with every connection before it says anything. */
void nat_trust_hide_literal (NatTrust *trust, GIOStream *connection);

G_END_DECLS
