/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "natclient/session.h"

G_BEGIN_DECLS

/* A cause that can pass, with its sentence for a person. */
NatCause *nat_cause_new (NatCauseKind kind, const char *format, ...) G_GNUC_PRINTF (2, 3);
void nat_cause_set_detail (NatCause *cause, const char *format, ...) G_GNUC_PRINTF (2, 3);

G_END_DECLS
