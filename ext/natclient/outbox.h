/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What waits for a TCP connection to take it. Streaming threads put datagrams in and go on; the
 * session's thread takes them out when the connection has room. Media that waited too long is left
 * out, for it would only hold up what comes after it; control (STUN, RTCP) goes first and never gets
 * too old. Each takes as much memory as it is long, and while it waits only: nearly always nothing does, and
 * rings of datagrams that lay there for each link (2 MB) left holes in the heap when it ended. Any
 * thread; the lock is a leaf. */

#include <glib.h>
#include "natproto/messages.h"

G_BEGIN_DECLS

#define NAT_OUTBOX_MEDIA   1024 /* packets */
#define NAT_OUTBOX_CONTROL 64   /* datagrams; a connection that takes none is dead by then */
#define NAT_OUTBOX_AGE_US  (250 * 1000) /* of media; the relay forgives as much on its side */

typedef struct _NatOutbox NatOutbox;

NatOutbox *nat_outbox_new (void);
NatOutbox *nat_outbox_ref (NatOutbox *o);
void nat_outbox_unref (NatOutbox *o);

typedef enum {
  NAT_OUTBOX_IS_CONTROL,
  NAT_OUTBOX_IS_MEDIA,
} NatOutboxKind;

/* FALSE: dropped; it is full, closed, or len is over NAT_DATAGRAM_MAX. *first: it was empty. */
gboolean nat_outbox_put (NatOutbox *o, gint64 now_us, NatOutboxKind kind, const guint8 *data,
    gsize len, gboolean *first);
/* The next one into out, which has room for NAT_DATAGRAM_MAX bytes; returns its length, 0 = none. Adds what was
 * left out to *late. */
gsize nat_outbox_take (NatOutbox *o, gint64 now_us, guint8 *out, guint *late);
/* Takes nothing any more. What is in it is gone; returns how much media that is. */
guint nat_outbox_close (NatOutbox *o);

G_END_DECLS
