/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Sessions that are over although their tickets are still good (ended, superseded, revoked), kept in the
 * state directory: a relay that starts anew would otherwise let them come back. One line each:
 * "ID REASON UNTIL", the end as Unix time. Lines are only appended; old ones go when the file is
 * written anew, at the start and when they are many. A thread does all of it, so nobody waits for the disk; what it did not
 * come to yet is lost with a process that is killed. */

#include <glib.h>
#include "natproto/messages.h"

G_BEGIN_DECLS

typedef struct {
  guint8 id[NAT_SESSION_ID_SIZE];
  NatReason reason;
  gint64 until_s; /* Unix time: when the last ticket ends */
} NatEnded;

typedef struct _NatEndedFile NatEndedFile;
/* Reads what is there (an absent file is an empty one; lines that make no sense are skipped: the last
 * one may be cut) and writes it anew without what is past. */
NatEndedFile *nat_ended_file_open (const char *path, gint64 now_s, GError **error);
/* Waits until all is written. */
void nat_ended_file_free (NatEndedFile *file);
/* The NatEnded that were there when it was opened, in order. Once: it keeps none of them. */
GArray *nat_ended_file_take_found (NatEndedFile *file);
/* Has it written as soon as the thread comes to it. What cannot be (full disk ...) is remembered in memory, and each sync
 * tries again. */
void nat_ended_file_add (NatEndedFile *file, const NatEnded *ended, gint64 now_s);
/* Has the thread wait until the disk has it, for the machine that loses its power; about once a second, not for every line.
 * FALSE: something that it tried since the last call was in vain; it tells so once. What the disk failed to take is written anew,
 * all of it, and if that is in vain, too, later and later. */
gboolean nat_ended_file_sync (NatEndedFile *file, gint64 now_s, GError **error);

G_END_DECLS
