/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What streams may be called, and globs over their names: in tokens (what somebody may), and in
 * subscriptions to all streams of a room. */

#include <glib.h>

G_BEGIN_DECLS

/* One or more segments of [A-Za-z0-9._~-] joined by '/', at most NAT_STREAM_NAME_MAX bytes;
 * "." and ".." alone are no segments (HTTP software would resolve them). */
gboolean nat_stream_name_valid (const char *name);
/* '*' is one segment, '**' any number, none included, and only as the last. Other text is literal. */
gboolean nat_stream_glob_valid (const char *glob);
/* Of valid text: it has a star. */
gboolean nat_stream_is_glob (const char *text);
gboolean nat_stream_glob_match (const char *glob, const char *name);
/* The same where both are known to be valid. */
gboolean nat_stream_glob_takes (const char *glob, const char *name);
/* glob matches every name that other does, which is a glob or a name. */
gboolean nat_stream_glob_covers (const char *glob, const char *other);
/* Some name is matched by both. */
gboolean nat_stream_globs_meet (const char *a, const char *b);

G_END_DECLS
