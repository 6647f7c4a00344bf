/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Where the relay's name leads for HTTPS, and which of its addresses take a connection and then hang in TLS: a middlebox, a backend
 * that is dead behind its front, a path that loses what is long. Who connects gets the others (RFC 8305 knows of TCP alone), until
 * these are forgiven. On the session's thread; references may be dropped on any. */

#include <gio/gio.h>
#include "natproto/address.h"

G_BEGIN_DECLS

typedef struct _NatRelayHost NatRelayHost;

NatRelayHost *nat_relay_host_new (const char *name);
NatRelayHost *nat_relay_host_ref (NatRelayHost *h);
void nat_relay_host_unref (NatRelayHost *h);

/* For whoever connects, at this port; it is also the identity that certificates are checked for. The caller's. */
GSocketConnectable *nat_relay_host_at (NatRelayHost *h, guint16 port);
/* What the name server said is forgotten: else it is asked once, and then believed for as long as somebody connects. */
void nat_relay_host_look_anew (NatRelayHost *h);
/* Where connections go instead of where the name leads, a literal address; NULL: there. */
void nat_relay_host_set_via (NatRelayHost *h, const char *via);

/* Addresses with their ports. */
void nat_relay_host_hangs (NatRelayHost *h, const NatAddress *address);
void nat_relay_host_answers (NatRelayHost *h, const NatAddress *address);
/* Those that hung at this port get another chance; FALSE: none did. */
gboolean nat_relay_host_forgive (NatRelayHost *h, guint16 port);

G_END_DECLS
