/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The sockets that HTTPS connections come to. The GErrors name the address, the cause and what to do. */

#include <glib.h>
#include "natproto/address.h"

G_BEGIN_DECLS

/* A TCP socket that is bound and will listen. Port 0: any; *local is what it got. Returns a descriptor, -1
 * on error. */
int nat_http_bind (const NatAddress *address, NatAddress *local, GError **error);
/* Non-blocking from its start. The socket stays the caller's. */
gboolean nat_http_listen (int fd, GError **error);
/* Somebody who speaks plain HTTP to this port deserves a hint more than a broken handshake. FALSE: it could not be sent. */
gboolean nat_http_hint_plain (int fd);

G_END_DECLS
