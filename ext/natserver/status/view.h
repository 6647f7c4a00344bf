/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Figures as lines of a terminal. No clock and no I/O. */

#include "natserver/status/figures.h"

G_BEGIN_DECLS

typedef struct {
  guint columns;    /* of the terminal; what does not fit is cut, and less important columns go */
  gboolean styled;  /* bold and the like, by ANSI sequences */
  gboolean unicode; /* else ASCII alone */
  gint64 now_s;     /* Unix time */
} NatViewStyle;

/* Each element is a line without its end. */
typedef struct {
  GPtrArray *head; /* stays on top */
  GPtrArray *body; /* may be longer than the terminal */
} NatView;

/* where: whose figures they are. trouble: a sentence, or NULL. */
NatView *nat_view_new (
    const NatFigures *figures, const char *where, const char *trouble, const NatViewStyle *style);
void nat_view_free (NatView *view);

G_END_DECLS
