/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A worker's end of the tunnel (tunnel.h): what comes to it, and what it sends, each by a ring of its own
 * that allocates nothing and waits for nobody. */

#include "natserver/data/tunnel.h"
#include "natserver/data/udpio.h"

G_BEGIN_DECLS

/* Bytes for what the carrier has not fetched: at 1 Gbit/s, 32 ms. */
#define NAT_LANE_BYTES (4 * 1024 * 1024)
/* Datagrams that the worker has not read, 2.2 kB each. */
#define NAT_LANE_LETTERS 1024

/* NULL: the system has no descriptor left. n: workers. */
NatTunnel *nat_tunnel_new (guint n);
void nat_tunnel_free (NatTunnel *t);
/* Before its worker starts. counters: the worker's. */
NatLane *nat_tunnel_open_lane (NatTunnel *t, guint worker, NatWorkerCounters *counters);

/* ---- The worker's ---- */

typedef enum {
  NAT_LANE_DATAGRAM,
  NAT_LANE_HANG_UP,
} NatLaneKind;

typedef struct {
  NatUdpSource source; /* socket is NAT_UDPIO_TUNNEL */
  guint16 kind;        /* NatLaneKind */
  guint16 len;
  guint8 data[NAT_DATAGRAM_MAX];
} NatLaneLetter;

int nat_lane_fd (NatLane *lane); /* readable while letters may wait */
void nat_lane_clear (NatLane *lane);
guint nat_lane_waiting (NatLane *lane);
/* The letter behind index others; it stays until as many are given back. */
NatLaneLetter *nat_lane_peek (NatLane *lane, guint index);
void nat_lane_release (NatLane *lane, guint n);

/* Posts those that are not done yet, or drops and counts what does not fit; then they are done. A run that goes
 * to many is copied once. */
void nat_lane_send (NatLane *lane, NatUdpMessage *messages, guint n);
/* One datagram of control. FALSE: no room. */
gboolean nat_lane_send_one (NatLane *lane, guint32 connection, gconstpointer data, gsize len);
/* The connection's client is who it says. */
void nat_lane_bound (NatLane *lane, guint32 connection);

G_END_DECLS
