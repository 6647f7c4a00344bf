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

/* NULL: a setting cannot be used, *cause says which. */
NatTrust *nat_trust_new (const NatSessionConfig *config, NatCause **cause);
/* For whoever makes TLS connections; not owned by the caller. With a fingerprint nothing verifies in
 * it, so that every certificate comes to accept-certificate, one of a known authority too. */
GTlsDatabase *nat_trust_database (NatTrust *trust);
gboolean nat_trust_is_pinned (const NatTrust *trust);
gboolean nat_trust_is_pin (const NatTrust *trust, const guint8 digest[NAT_SHA256_SIZE]);
/* Of the certificate as it was sent. */
gboolean nat_trust_digest (GTlsCertificate *certificate, guint8 digest[NAT_SHA256_SIZE]);
/* To be called with every connection before it says anything. */
void nat_trust_hide_literal (NatTrust *trust, GIOStream *connection);

G_END_DECLS
