/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* From HTTPS to a WebSocket: the opening handshake (RFC 6455 section 4.2). */

#include "natserver/control/http.h"

G_BEGIN_DECLS

/* Answers a GET of NAT_WEBSOCKET_PATH. has_room: for one more connection. */
void nat_upgrade_answer (
    const NatHttpRequest *request, NatHttpResponse *response, gboolean has_room);

G_END_DECLS
