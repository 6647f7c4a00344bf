/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "natclient/session.h"

G_BEGIN_DECLS

/* to is overwritten, not cleared. */
void nat_session_config_copy (NatSessionConfig *to, const NatSessionConfig *from);

G_END_DECLS
