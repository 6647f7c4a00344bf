/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The name server of this process: every name leads to the same addresses. */

#include <gio/gio.h>

G_BEGIN_DECLS

/* From now on it is asked, and says nothing. */
void name_server_begin (void);
/* addresses: with spaces between them, in the order in which they are to be tried; NULL: nothing is said any more. */
void name_server_say (const char *addresses, guint after_ms);
void name_server_end (void);

G_END_DECLS
