/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay at a glance: one HTML page, complete in itself, without scripts. */

#include "natserver/counters.h"

G_BEGIN_DECLS

#define NAT_STATUSPAGE_ROWS 200 /* per table; the page says how many there are besides */

/* now_s: Unix time. addresses FALSE: clients' addresses and subjects are left out. */
char *nat_statuspage_to_html (const NatSnapshot *snapshot, gint64 now_s, gboolean addresses);

G_END_DECLS
