/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A port of 127.0.0.1 where nobody is answered, as behind a firewall: its queue is full, so that the system drops who wants to
 * connect. */

#include <gio/gio.h>

typedef struct {
  GSocket *listener;
  GSocket *callers[8];
  guint16 port;
} BlockedPort;

void blocked_port_init (BlockedPort *b);
void blocked_port_clear (BlockedPort *b);
