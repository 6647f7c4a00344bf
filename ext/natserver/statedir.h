/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Where the relay keeps certificate, keys and secrets unless it is told: $NATRELAY_STATE_DIR, systemd's
 * $STATE_DIRECTORY, root's /var/lib/natrelay, or natrelay in the user's state directory
 * ($XDG_STATE_HOME, ~/.local/state). natrelay-token looks there, too. */
char *nat_state_dir_default (void);

/* The file in it by which "natrelay-server status" finds the relay of this machine: lines of address=... and
 * tls-fingerprint=... */
#define NAT_STATE_RUNNING "running"

G_END_DECLS
