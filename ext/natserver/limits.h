/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the settings allow, in the words of each part that keeps to it. */

#include "natserver/config.h"
#include "natserver/control/admission.h"
#include "natserver/control/httpserver.h"
#include "natserver/control/wsserver.h"
#include "natserver/data/dataplane.h"

G_BEGIN_DECLS

NatAdmissionLimits nat_limits_admission (const NatConfig *config);
void nat_limits_media (const NatConfig *config, NatRate rates[NAT_LIMITS]);
/* Raises the limit of descriptors as far as the system lets us. What both kinds of connections want must fit them, beside
 * the sockets that each worker has; where it does not, the operator is told. http->memory
 * is left to the caller. */
void nat_limits_connections (
    const NatConfig *config, guint sockets, NatHttpLimits *http, NatWsLimits *websockets);
/* Of the whole process, in bytes. */
guint64 nat_limits_memory (const NatConfig *config);

G_END_DECLS
