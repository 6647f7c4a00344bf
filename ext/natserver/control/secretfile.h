/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The numbered secrets behind tickets and passwords, in the state directory: lines "NUMBER HEX" of 32
 * bytes each. To roll over, an operator adds a line with a higher number, restarts, and removes the old
 * line once its tickets have run out (an hour later). */

#include <glib.h>
#include "natproto/ticket.h"

G_BEGIN_DECLS

/* Makes the file, with one secret, if there is none. */
NatSecrets *nat_secret_file_load (const char *path, GError **error);

G_END_DECLS
