/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Routes for whoever watches the relay: lists, metrics and the status page. */

#include "natserver/control/apicall.h"

G_BEGIN_DECLS

void nat_api_list_streams (NatCall *call);
void nat_api_list_sessions (NatCall *call);
void nat_api_get_metrics (NatCall *call);
void nat_api_get_page (NatCall *call);

G_END_DECLS
