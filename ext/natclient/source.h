/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Takes the source out of its context and lets go of it; *source is NULL then, and may be before. In the thread that
 * runs the context, whose callback may be the one that is running. */
static inline void
nat_source_drop (GSource **source)
{
  if (*source == NULL)
    return;
  g_source_destroy (*source);
  g_clear_pointer (source, g_source_unref);
}

G_END_DECLS
