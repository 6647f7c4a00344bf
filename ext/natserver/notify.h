/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Tells the service manager, if there is one ($NOTIFY_SOCKET): "READY=1" and the like, as sd_notify(3). */
void nat_notify (const char *state);

G_END_DECLS
