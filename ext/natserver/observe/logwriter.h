/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Lines of the log on their way out. Whoever reads them, the journal, a container's driver or a pipe, may be slow or stand
 * still: a thread waits for him, and nobody else does. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_LOG_FIELDS_MAX 8
#define NAT_LOG_LINES_MAX                                                                          \
  32768 /* that wait, a few hundred bytes each; further ones are lost, which is told */

typedef struct {
  GLogLevelFlags flags;
  char *text;
  struct {
    const char *key; /* static */
    char *value;
  } fields[NAT_LOG_FIELDS_MAX];
  guint n_fields;
} NatLogLine;
NatLogLine *nat_log_line_new (GLogLevelFlags flags, const char *text);
void nat_log_line_free (NatLogLine *line);

typedef struct _NatLogWriter NatLogWriter;
/* write: in the thread. */
NatLogWriter *nat_log_writer_new (void (*write) (const NatLogLine *line));
/* From any thread; line is taken. */
void nat_log_writer_put (NatLogWriter *w, NatLogLine *line);
/* Nobody has it any more. Waits until all is written, but no longer than ms: FALSE, then its thread is left behind. */
gboolean nat_log_writer_free (NatLogWriter *w, guint ms);

G_END_DECLS
