/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTP packets that say who sent them when, and the sockets that send and judge them. */

#include <glib.h>
#include <sys/socket.h>
#include "histogram.h"
#include "udpsocket.h"

G_BEGIN_DECLS

#define BENCH_RTP_HEADER   12
#define BENCH_PAYLOAD_TYPE 96
#define BENCH_BURST_MAX    50    /* packets; 50 x 1204 bytes fit one UDP_SEGMENT message */
#define BENCH_SIZE_MAX     1400  /* bytes of one RTP packet */
#define BENCH_WINDOW       16384 /* packets that a late one may lag behind, a power of two */
#define BENCH_PROBE_MAGIC  0x6e61746cu

/* Behind the RTP header, in the machine's own byte order: it never leaves the machine. */
typedef struct {
  guint32 magic;
  guint32 phase;
  guint32 publisher;
  guint32 sequence;
  gint64 sent_ns;
} BenchProbe;
#define BENCH_SIZE_MIN (BENCH_RTP_HEADER + sizeof (BenchProbe))

typedef struct {
  int fd;
  guint32 index;
  guint32 ssrc;
  BenchSockaddr to;
  gsize size;     /* of an RTP packet */
  gsize frame;    /* of a datagram: the same, or 4 more in a TURN channel */
  guint burst;    /* packets that are sent at once, at most */
  guint8 *frames; /* as many datagrams, one behind the other */
  guint16 rtp_sequence;
  guint32 sequence; /* of the phase */
} BenchPublisher;

/* burst: at most BENCH_BURST_MAX. channel: TURN channel number, 0 = plain. */
void bench_publisher_init (BenchPublisher *p, int fd, guint32 index, const NatAddress *to,
    gsize size, guint burst, guint16 channel);
void bench_publisher_clear (BenchPublisher *p);
/* Sends n (at most burst) packets at once, as one UDP_SEGMENT message if segment.
 * Returns how many the system took. */
guint bench_publisher_send (BenchPublisher *p, guint n, guint32 phase, gboolean segment);
/* The byte that any packet carries at offset (behind the probe). */
guint8 bench_filler (gsize offset);

typedef struct {
  int fd;
  guint32 publisher; /* whose packets it should get */
  gboolean any;
  guint32 highest;
  guint64 unique, duplicates, reordered;
  guint8 seen[BENCH_WINDOW / 8];
} BenchSubscriber;

/* What came that is no packet of the running phase. */
typedef struct {
  guint64 damaged;   /* wrong length or bytes */
  guint64 other;     /* not ours: RTCP, STUN */
  guint64 stale;     /* of an earlier phase */
  guint64 misrouted; /* another publisher's */
} BenchStrays;

typedef struct _BenchReceiver BenchReceiver;

typedef struct {
  gboolean verify; /* compare every byte */
  gboolean gro;    /* sockets have UDP_GRO */
  /* A packet has arrived when the kernel stamped it (sockets have SO_TIMESTAMPNS), not when it was read: for
   * a receiver that sleeps, or shares its core. */
  gboolean stamps;
} BenchReceiverMode;

/* size: of an RTP packet. */
BenchReceiver *bench_receiver_new (gsize size, BenchReceiverMode mode);
void bench_receiver_free (BenchReceiver *r);
void bench_receiver_begin (BenchReceiver *r, guint32 phase);
/* Reads what waits on one socket, never blocks; TRUE if there may be more. */
gboolean bench_receiver_read (BenchReceiver *r, BenchSubscriber *s);
const BenchHistogram *bench_receiver_latency (BenchReceiver *r);
const BenchStrays *bench_receiver_strays (BenchReceiver *r);
/* Packets of the phase seen by any subscriber. */
guint64 bench_receiver_unique (BenchReceiver *r);
/* When the last one came; 0 = none yet. */
gint64 bench_receiver_last_ns (BenchReceiver *r);

void bench_subscriber_begin (BenchSubscriber *s);
/* Throws away what waits on a socket. */
void bench_drain (int fd);

G_END_DECLS
