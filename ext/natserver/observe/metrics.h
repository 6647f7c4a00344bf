/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Prometheus' text format, version 0.0.4. */

#include "natserver/observe/snapshot.h"

G_BEGIN_DECLS

/* Streams with a label of their own, first by name; the rest is summed up as stream="*", which is no
 * stream's name, so that strangers' names cannot fill a database. */
#define NAT_METRICS_STREAMS_MAX 100

void nat_metrics_append (GString *out, const NatSnapshot *snapshot);

G_END_DECLS
