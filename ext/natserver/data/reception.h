/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How one RTP source arrives: loss and jitter as RFC 3550 appendix A.3 and A.8 count them, and
 * what a receiver report says about it. No clock and no I/O. */

#include <glib.h>

#include "natproto/replay.h"
#include "natproto/rtcp.h"
#include "natproto/rtp.h"
#include "natproto/seqnum.h"

G_BEGIN_DECLS

/* Packets behind the highest that still count as late and not as a restart: 2 s at 2,000/s. */
#define NAT_RECEPTION_WORDS 64
#define NAT_RECEPTION_SPAN  ((NAT_RECEPTION_WORDS - 1) * 64)

typedef struct {
  guint32 ssrc;
  guint32 clock_rate; /* Hz; 0 = unknown, then no jitter is counted */
  NatSeqCounter seq;
  NatReplay seen; /* tells a duplicate from a late packet */
  guint64 seen_words[NAT_RECEPTION_WORDS];
  guint32 transit; /* clock-rate units, of the last packet in order */
  guint32 jitter;  /* 16 times clock-rate units */
  gboolean has_transit;
  gboolean heard;                         /* since the last report block */
  guint64 expected_prior, received_prior; /* at the last report block */
  guint32 sr_middle; /* middle 32 bits of the last SR's NTP time; 0 = none yet */
  gint64 sr_us;      /* when it came */
} NatReception;

/* What one packet is. */
typedef struct {
  NatSeqStatus status;
  guint64 seq; /* extended; not of a BAD one */
  gboolean duplicate;
} NatReceived;

/* r must stay where it is: seen points into it. */
void nat_reception_init (NatReception *r, guint32 ssrc, guint32 clock_rate);
/* *a is filled in place: a struct that is returned is copied by a wide load over narrow stores, which waits until every
 * earlier store has reached the cache, those of the last packet into the history included. */
void nat_reception_update (
    NatReception *r, const NatRtpHeader *header, gint64 now_us, NatReceived *a);
void nat_reception_sender_report (NatReception *r, guint64 ntp, gint64 now_us);
/* Packets expected and not here (yet). */
guint64 nat_reception_lost (const NatReception *r);
/* Starts the next interval. */
void nat_reception_report (NatReception *r, gint64 now_us, NatRtcpReportBlock *block);
/* Microseconds of round trip that a receiver's block tells, which quotes the SR that we passed on; 0:
 * it quotes another one. */
gint64 nat_reception_round_trip (
    const NatReception *r, const NatRtcpReportBlock *block, gint64 now_us);

G_END_DECLS
