/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How large a datagram to the relay may be, in bytes of UDP payload. What was sent is tried once more as a Binding of that
 * size, which is answered if it arrives; if it is not, the largest that does is searched for. The system may know a limit
 * (an interface's, or by ICMP), which ends the search. Only sizes that are sent are tried: that more would fit is
 * nobody's concern. No socket, thread or clock. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint wanted;  /* largest that is sent */
  guint passes;  /* largest that was answered */
  guint fails;   /* smallest that was not; 0 = none */
  guint limit;   /* found, and not told to be gone; 0 = none */
  guint trying;  /* 0 = nothing is tried */
  guint tries;   /* of it, so far */
  gint64 due_us; /* G_MAXINT64 = nothing to wait for */
} NatPathSize;

/* Another path: nothing is known. */
void nat_path_size_reset (NatPathSize *p);
/* Datagrams of so many bytes are sent. */
void nat_path_size_sent (NatPathSize *p, guint bytes, gint64 now_us);
/* The size to try now; 0 = none. alive_us: when anything was answered last: silence says nothing of sizes. */
guint nat_path_size_due (NatPathSize *p, gint64 alive_us, gint64 now_us);
void nat_path_size_answered (NatPathSize *p, guint bytes, gint64 now_us);
/* The system takes no more than so many bytes at a time. */
void nat_path_size_told (NatPathSize *p, guint bytes);

G_END_DECLS
