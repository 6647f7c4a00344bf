/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the process takes from itself before it hears the first stranger: whoever gets it to run his code finds no
 * way on to other programs, and no file of its memory is left behind. A service manager takes more
 * (natrelay-server.service); this much is taken wherever the relay runs. */

#include <glib.h>

G_BEGIN_DECLS

/* For good, for this thread and those that it makes: so before there are others. core_dumps: a dump of the memory, keys
 * and all, may be written, and debuggers of the same user may look in. FALSE: the system does not let a process
 * refuse itself calls; the rest holds. */
gboolean nat_confine (gboolean core_dumps);

G_END_DECLS
