/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What people read about the settings, made of the rows of options.h: so none can be forgotten, and no
 * default can be told wrong. */

#include <glib.h>

G_BEGIN_DECLS

/* What --help prints; at most 100 columns. */
char *nat_config_help (void);
/* An example of natrelay-server.conf: every key with its default, commented out. */
char *nat_config_example (void);
/* The middle of the man page in troff's man macros: OPTIONS, ENVIRONMENT and the file's keys. */
char *nat_config_man (void);
/* The options for bash to complete, one in a line, with what follows: "--state-dir DIRECTORY". */
char *nat_config_words (void);

G_END_DECLS
