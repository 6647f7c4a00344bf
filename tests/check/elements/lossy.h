/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A way to a relay at 127.0.0.1 that loses datagrams: it has the same port for TCP and UDP at another loopback address, passes
 * on all of TCP, and of UDP what it is not told to lose. */

#include <gio/gio.h>

typedef struct {
  gboolean up;  /* to the relay */
  guint8 *data; /* may be changed */
  gsize len;
  gboolean rtp; /* else RTCP or STUN */
  gboolean
      repeat; /* RTP: this SSRC and sequence number passed or was lost in this direction before */
} LossyDatagram;

/* TRUE: lost. On the way's own thread. */
typedef gboolean (*LossyFunc) (const LossyDatagram *datagram, gpointer user);

typedef struct _Lossy Lossy;

/* address: as "127.0.0.2" */
Lossy *lossy_new (const char *address, guint16 port, LossyFunc lose, gpointer user);
void lossy_free (Lossy *lossy);
/* Datagrams of RTP that were lost and not. Those lost before any passed leave no gap, and are not counted. */
void lossy_count (Lossy *lossy, gboolean up, guint *lost, guint *passed);
