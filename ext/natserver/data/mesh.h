/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What several workers share: who owns which stream, streams on their way from one owner to the
 * next, a mailbox for each pair, and which SSRCs are announced anywhere. Its lock is taken when a
 * stream is new, moves or ends, when control posts a command, and when a genuine ticket comes from
 * an address that no worker knows yet; never for a packet of a registered address. */

#include "natserver/data/mailbox.h"
#include "natserver/data/roster.h"

G_BEGIN_DECLS

#define NAT_WORKERS_MAX 64

typedef struct _NatMesh NatMesh;

/* NULL when the system has no descriptor left. */
NatMesh *nat_mesh_new (guint n_workers, gsize letter_size);
void nat_mesh_free (NatMesh *m); /* with streams that nobody took */
guint nat_mesh_n_workers (const NatMesh *m);

void nat_mesh_lock (NatMesh *m);
void nat_mesh_unlock (NatMesh *m);
/* Under the lock. */
gint nat_mesh_owner (NatMesh *m, const char *stream); /* -1: nobody's */
/* Whoever has no owner yet: wanted's, unless it must be elsewhere. Returns whose it is. */
guint nat_mesh_assign (NatMesh *m, const char *stream, guint wanted);
void nat_mesh_forget (NatMesh *m, const char *stream);
/* The stream is to's from now on, in the order of the lock: who sees that in nat_mesh_owner, or reads
 * a command that control posted after it, finds the stream by nat_mesh_take. */
void nat_mesh_hand_over (NatMesh *m, NatDataStream *stream, guint to);
/* Where a stream or pattern must be, whoever hears its publisher: with a pattern that it is tied to; -1: anywhere. */
gint nat_mesh_home (NatMesh *m, const char *stream);
/* Counts up when some homes may have changed. Any thread, without the lock. */
guint nat_mesh_homes (NatMesh *m);
typedef struct {
  char pattern[NAT_STREAM_NAME_MAX + 1];
  guint home;
  guint changed; /* what nat_mesh_homes said when that became its home, */
  guint homes;   /* and what it says */
} NatHome;
/* Of the patterns that came, or went elsewhere, after since, the one that did so first; takes the lock. FALSE: none did; only
 * homes is set. */
gboolean nat_mesh_next_home (NatMesh *m, guint since, NatHome *out);
/* No stream changes hands any more. */
void nat_mesh_close (NatMesh *m);
gboolean nat_mesh_is_closed (NatMesh *m);

/* Streams that were handed over to worker, linked by next_stale; takes the lock. NULL, without any
 * lock, if there are none. */
NatDataStream *nat_mesh_take (NatMesh *m, guint worker);

gsize nat_mesh_letters (const NatMesh *m); /* that all mailboxes hold */
NatMailbox *nat_mesh_mailbox (NatMesh *m, guint from, guint to);
/* After a letter was posted, or a stream handed over: to finds it when it looks; wake it too if it may
 * sleep. */
void nat_mesh_notify (NatMesh *m, guint to);
void nat_mesh_wake (NatMesh *m, guint to);
/* TRUE once after each notify. */
gboolean nat_mesh_has_mail (NatMesh *m, guint worker);
void nat_mesh_clear_mail (NatMesh *m, guint worker);
int nat_mesh_fd (NatMesh *m, guint worker); /* an eventfd */

/* Times of nonces: each later than all before, whoever issues it. */
gint64 nat_mesh_nonce_time (NatMesh *m, gint64 now_us);
gint64 nat_mesh_last_nonce (NatMesh *m);
NatSsrcFilter *nat_mesh_ssrcs (NatMesh *m);

G_END_DECLS
