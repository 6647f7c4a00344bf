/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A terminal as a whole screen, by ANSI sequences: keys as they are pressed, a size that changes. When the program ends,
 * also by a signal, all is as it was before. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  NAT_KEY_NONE, /* time is up */
  NAT_KEY_QUIT, /* q, Ctrl-C, Ctrl-D, or a signal that ends programs */
  NAT_KEY_UP,
  NAT_KEY_DOWN,
  NAT_KEY_PAGE_UP,
  NAT_KEY_PAGE_DOWN,
  NAT_KEY_HOME,
  NAT_KEY_END,
  NAT_KEY_OTHER, /* or another size */
} NatKey;

gboolean nat_terminal_is_one (void); /* standard input and output */
void nat_terminal_size (guint *columns, guint *rows);
void nat_terminal_enter (void);
void nat_terminal_leave (void);
NatKey nat_terminal_wait (gint64 until_us); /* monotonic */
/* Lines without ends, as many as there is room for. */
void nat_terminal_show (const char *const *lines, guint n, guint rows);

G_END_DECLS
