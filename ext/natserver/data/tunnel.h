/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Datagrams of clients that UDP does not reach. Somebody else's thread, the carrier, has their connections
 * and passes whole datagrams: to the workers, and from them to the connections. To the workers each is a
 * path like any other (path.h), of another transport. docs/design/websocket.md says why so.
 *
 * Everything here is the carrier's: one thread, and no call waits. */

#include <glib.h>
#include "natserver/data/path.h"
#include "natserver/data/rank.h"

G_BEGIN_DECLS

typedef struct _NatTunnel NatTunnel;

/* A connection, as the data plane knows it. */
typedef struct {
  NatPathKey key;
  guint32 connection;
} NatTunnelEnd;

/* connection: a number that no other living connection has, growing by one with each. remote, local: of TCP. */
void nat_tunnel_end_init (
    NatTunnelEnd *end, guint32 connection, const NatAddress *remote, const NatAddress *local);

/* One datagram from there, at most NAT_DATAGRAM_MAX. FALSE: the worker is behind; it is lost. */
gboolean nat_tunnel_deliver (NatTunnel *t, const NatTunnelEnd *from, gconstpointer data, gsize len);
/* The connection is no more. FALSE: try again later, before its addresses are another's. */
gboolean nat_tunnel_hang_up (NatTunnel *t, const NatTunnelEnd *from);
/* Wakes who got something since the last flush. */
void nat_tunnel_flush (NatTunnel *t);

typedef enum {
  NAT_TUNNEL_PACKETS, /* datagrams, all of them for each of the connections */
  NAT_TUNNEL_BOUND,   /* an accepted Binding came from the connection */
} NatTunnelKind;

typedef struct {
  gint64 time_us; /* when it was posted; monotonic */
  guint16 kind;   /* NatTunnelKind */
  guint16 n_to;
  guint32 rank;    /* NatRank */
  guint32 bytes;   /* of all datagrams */
  guint32 segment; /* of each but the last, which may be shorter */
  guint32 to[];    /* connections; behind them the datagrams */
} NatTunnelLetter;

static inline const guint8 *
nat_tunnel_letter_data (const NatTunnelLetter *letter)
{
  return (const guint8 *)(letter->to + letter->n_to);
}

/* The next letter of any worker, of each in its order. Stays until the next call. NULL: there is none. */
const NatTunnelLetter *nat_tunnel_next (NatTunnel *t);
/* A descriptor that is readable when letters came after nat_tunnel_rest. */
int nat_tunnel_fd (NatTunnel *t);
/* The carrier is about to sleep. FALSE: do not, letters wait. */
gboolean nat_tunnel_rest (NatTunnel *t);

G_END_DECLS
