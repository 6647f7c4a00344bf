/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A network that is a test's alone, where the system lets it have one; root is not needed. */

#include <glib.h>

G_BEGIN_DECLS

/* Network namespace of one's own, with loopback up; FALSE where that is forbidden. Before any thread. */
gboolean own_network_enter (void);
/* A command in that network; FALSE if it failed. */
gboolean own_network_run (const char *command);

G_END_DECLS
