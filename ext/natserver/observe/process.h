/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What Prometheus' own client libraries tell of a process, by the same names. */

#include <glib.h>

G_BEGIN_DECLS

/* started_s: Unix time. What the system does not show is left out. */
void nat_process_append_metrics (GString *out, gint64 started_s);

G_END_DECLS
