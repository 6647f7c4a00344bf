/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The rows of options.h as a table: for config.c, which reads settings by it, and configdoc.c, which
 * describes them. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  NAT_OPTION_TEXT,
  NAT_OPTION_LIST,
  NAT_OPTION_NUMBER,
  NAT_OPTION_FLAG,
  NAT_OPTION_OPEN,
} NatOptionKind;

typedef enum {
  NAT_OPTION_LINE = 1,
  NAT_OPTION_FILE = 2,
  NAT_OPTION_BOTH = NAT_OPTION_LINE | NAT_OPTION_FILE,
} NatOptionWhere;

typedef struct {
  NatOptionKind kind;
  NatOptionWhere where; /* what may stand in the file may stand in the environment, too */
  const char *name, *argument, *example, *help, *more;
  guint def, min, max;
  gsize offset;     /* of the field in NatConfig */
  gboolean reloads; /* by SIGHUP */
} NatOption;

extern const NatOption nat_options[];
extern const guint nat_n_options;

const NatOption *nat_option_find (const char *name, NatOptionWhere where);
/* " Did you mean ...?", or "". */
char *nat_option_guess (const char *name, NatOptionWhere where);
/* The name of its environment variable: NATRELAY_STATE_DIR. */
char *nat_option_variable (const NatOption *option);

G_END_DECLS
