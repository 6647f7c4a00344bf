/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* UDP against the WebSocket: when the latter is opened and closed, and when UDP is asked whether it
 * works again. Callers report facts; this module alone decides on timers:
 *
 *  head start  the WebSocket is opened when UDP has not registered us by then
 *  silence     UDP is silent for so long: it is opened too
 *  retry       it could not be opened, or ended: again, backing off
 *  stall       it is open, but the relay does not answer on it: closed, and opened anew
 *  grace       UDP serves: what is still in the WebSocket may arrive, then it is closed
 *  ask         the WebSocket serves: UDP is asked, less and less often
 *
 * No socket, thread or clock: now_us is an argument (monotonic microseconds). docs/design/transports.md
 * says why so. */

#include "natclient/session.h"

G_BEGIN_DECLS

typedef enum {
  NAT_RACE_OPEN = 1 << 0,  /* open the WebSocket; opened or closed is to be reported */
  NAT_RACE_CLOSE = 1 << 1, /* close it, or stop trying; that is not to be reported */
  NAT_RACE_ASK = 1 << 2,   /* ask the relay by UDP */
} NatRaceAction;

typedef enum {
  NAT_STREAM_CLOSED,
  NAT_STREAM_OPENING,
  NAT_STREAM_OPEN,
} NatStreamState;

typedef struct {
  NatTransportChoice choice;
  gboolean running; /* a session is being registered, or is */
  gboolean registered;
  NatTransport transport; /* of the path that is registered, or was last */
  NatStreamState stream;
  gint64 open_us, close_us, ask_us; /* G_MAXINT64 = not */
  gint64 ask_wait_us;
  gint64 udp_since_us; /* when UDP was last selected; 0 = never in this session */
  guint failures;      /* of the WebSocket, in a row */
  gint64 opening_us;   /* when it was last begun to be opened */
  gboolean other_port; /* where that is done the next time: not where HTTPS was spoken last */
} NatRace;

void nat_race_init (NatRace *r, NatTransportChoice choice);
/* The challenge begins. head_start_us: about what UDP needs when all is well. */
void nat_race_begin (NatRace *r, gint64 now_us, gint64 head_start_us);
void nat_race_end (NatRace *r); /* the caller closes the WebSocket */
/* The relay accepted an answer on a path of this transport: the first time, again, or after a move. */
void nat_race_registered (NatRace *r, gint64 now_us, NatTransport transport);
/* It does not answer any more on the path that is selected. */
void nat_race_silent (NatRace *r, gint64 now_us);
void nat_race_opened (NatRace *r, gint64 now_us);
/* By the other side, or never opened. random: 32 bits, so that clients do not come back all at once. */
void nat_race_closed (NatRace *r, gint64 now_us, guint32 random);
/* What was blocked may be open; a TCP connection of the old network leads nowhere. */
void nat_race_network_changed (NatRace *r, gint64 now_us);

gint64 nat_race_deadline (const NatRace *r); /* G_MAXINT64 = nothing to wait for */
/* Bits of NatRaceAction. CLOSE comes before OPEN. */
guint nat_race_tick (NatRace *r, gint64 now_us);

G_END_DECLS
