/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Nothing here tells a friend from a stranger: that is for the first Binding. What is checked is that the
 * other side means a WebSocket of ours, so that no web page can be made to open one by mistake. */

#include "natserver/control/upgrade.h"

#include "natserver/control/websocket.h"

static void
want_upgrade (NatHttpResponse *response, const char *detail)
{
  nat_http_response_problem (response, NAT_PROBLEM_UPGRADE_REQUIRED, detail);
  nat_http_response_add_field (response, "Connection", "Upgrade");
  nat_http_response_add_field (response, "Upgrade", "websocket");
  nat_http_response_add_field (response, "Sec-WebSocket-Version", "13");
}

static void
switch_over (NatHttpResponse *response, const char *accept)
{
  response->status = 101;
  response->taken = TRUE;
  response->last = FALSE;
  nat_http_response_add_field (response, "Connection", "Upgrade");
  nat_http_response_add_field (response, "Upgrade", "websocket");
  nat_http_response_add_field (response, "Sec-WebSocket-Accept", accept);
  nat_http_response_add_field (response, "Sec-WebSocket-Protocol", NAT_WEBSOCKET_PROTOCOL);
}

void
nat_upgrade_answer (const NatHttpRequest *request, NatHttpResponse *response, gboolean has_room)
{
  char accept[NAT_WEBSOCKET_ACCEPT_TEXT + 1];

  if (request->method != NAT_HTTP_GET || !request->upgrade)
    want_upgrade (response, "Ask for it with \"Connection: Upgrade\" and \"Upgrade: websocket\". "
                            "A proxy in between may have taken these away.");
  else if (!request->websocket_13)
    want_upgrade (response, "Only version 13 (RFC 6455) is spoken here.");
  else if (!request->websocket_ours)
    nat_http_response_problem (response, NAT_PROBLEM_REQUEST_INVALID,
        "Sec-WebSocket-Protocol must offer " NAT_WEBSOCKET_PROTOCOL ".");
  else if (request->content_length > 0 || request->websocket_key == NULL ||
           !nat_ws_accept (request->websocket_key, accept))
    nat_http_response_problem (response, NAT_PROBLEM_REQUEST_INVALID,
        "Sec-WebSocket-Key must be 16 bytes in base64, and there must be no body.");
  else if (!has_room)
    nat_http_response_problem (response, NAT_PROBLEM_RELAY_BUSY,
        "As many WebSockets are open as the relay allows (max-websockets).");
  else
    switch_over (response, accept);
}
