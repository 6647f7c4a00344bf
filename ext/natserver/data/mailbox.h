/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Letters from exactly one thread to exactly one other, written and read where they lie, no lock. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct _NatMailbox NatMailbox;

/* capacity: a power of two. Memory is touched only as it is used. */
NatMailbox *nat_mailbox_new (gsize letter_size, guint capacity);
void nat_mailbox_free (NatMailbox *m);

/* Writer's side: the place of the next letter, NULL = full; then post it. */
gpointer nat_mailbox_write (NatMailbox *m);
void nat_mailbox_post (NatMailbox *m);

/* Reader's side: how many wait; the one at index among them; give the first n places back. */
guint nat_mailbox_waiting (NatMailbox *m);
gpointer nat_mailbox_peek (NatMailbox *m, guint index);
void nat_mailbox_release (NatMailbox *m, guint n);

G_END_DECLS
