/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The way through a proxy, as the setting or the system says. User and password are part of its URI, and
 * are in no text that is made here. */

#include "natclient/session.h"

G_BEGIN_DECLS

/* For connections to the relay. HTTP proxies are spoken to (CONNECT) by GIO and not by libsoup, which, once
 * a proxy has asked for a password, forgets a request's body and gives the password to the relay.
 * NULL: the setting cannot be used, *cause says why. */
GProxyResolver *nat_proxy_resolver_new (const NatSessionConfig *config, NatCause **cause);

/* "host:port" of the proxy that the last connection was to go through, without user and password; NULL = none. On the thread
 * that connects. */
const char *nat_proxy_resolver_where (GProxyResolver *resolver);

G_END_DECLS
