/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/reception.h"

#include <stdlib.h>
#include <string.h>

void
nat_reception_init (NatReception *r, guint32 ssrc, guint32 clock_rate)
{
  memset (r, 0, sizeof *r);
  r->ssrc = ssrc;
  r->clock_rate = clock_rate;
  nat_seq_counter_init (&r->seq);
  nat_replay_init (&r->seen, r->seen_words, NAT_RECEPTION_WORDS);
}

static void
update_jitter (NatReception *r, guint32 timestamp, gint64 now_us)
{
  guint64 seconds = (guint64)now_us / G_USEC_PER_SEC, rest = (guint64)now_us % G_USEC_PER_SEC;
  guint32 arrival = (guint32)(seconds * r->clock_rate + rest * r->clock_rate / G_USEC_PER_SEC);
  guint32 transit = arrival - timestamp;

  if (r->has_transit) {
    guint32 d = (guint32)llabs ((gint64)(gint32)(transit - r->transit));
    r->jitter += d - ((r->jitter + 8) >> 4);
  }
  r->transit = transit;
  r->has_transit = r->clock_rate != 0;
}

static void
restart (NatReception *r)
{
  memset (r->seen_words, 0, sizeof r->seen_words);
  nat_replay_init (&r->seen, r->seen_words, NAT_RECEPTION_WORDS);
  r->expected_prior = r->received_prior = 0;
  r->has_transit = FALSE;
}

void
nat_reception_update (NatReception *r, const NatRtpHeader *header, gint64 now_us, NatReceived *a)
{
  *a = (NatReceived){0};
  a->status = nat_seq_counter_update (&r->seq, header->seq, NAT_RECEPTION_SPAN - 1, &a->seq);
  r->heard = TRUE;
  if (a->status == NAT_SEQ_BAD)
    return;
  if (a->status == NAT_SEQ_RESTART)
    restart (r);
  a->duplicate = !nat_replay_check (&r->seen, a->seq);
  if (a->duplicate)
    r->seq.received--; /* fills no gap */
  else
    nat_replay_commit (&r->seen, a->seq);
  /* A late packet's transit tells of its repair, not of the network. */
  if (a->status != NAT_SEQ_LATE)
    update_jitter (r, header->timestamp, now_us);
}

void
nat_reception_sender_report (NatReception *r, guint64 ntp, gint64 now_us)
{
  r->sr_middle = (guint32)(ntp >> 16);
  r->sr_us = now_us;
}

static guint64
expected (const NatReception *r)
{
  return r->seq.started ? r->seq.highest - r->seq.base + 1 : 0;
}

guint64
nat_reception_lost (const NatReception *r)
{
  guint64 all = expected (r);

  return all > r->seq.received ? all - r->seq.received : 0;
}

static guint8
fraction_lost (guint64 all, guint64 got)
{
  return all == 0 || got >= all ? 0 : (guint8)MIN ((all - got) * 256 / all, 255);
}

void
nat_reception_report (NatReception *r, gint64 now_us, NatRtcpReportBlock *block)
{
  guint64 all = expected (r);
  gint64 lost = (gint64)(all - r->seq.received);

  memset (block, 0, sizeof *block);
  block->ssrc = r->ssrc;
  block->fraction_lost =
      fraction_lost (all - r->expected_prior, r->seq.received - r->received_prior);
  block->cumulative_lost = (gint32)CLAMP (lost, -0x800000, 0x7fffff);
  /* The counter's first cycle is 1, so that it can go back below the first packet; RFC 3550's is 0. */
  block->highest_seq = (guint32)(r->seq.highest - 65536);
  block->jitter = r->jitter >> 4;
  if (r->sr_middle) {
    block->lsr = r->sr_middle;
    block->dlsr = (guint32)MIN ((now_us - r->sr_us) * 65536 / G_USEC_PER_SEC, G_MAXUINT32);
  }
  r->expected_prior = all;
  r->received_prior = r->seq.received;
  r->heard = FALSE;
}

gint64
nat_reception_round_trip (const NatReception *r, const NatRtcpReportBlock *block, gint64 now_us)
{
  if (block->lsr == 0 || block->lsr != r->sr_middle)
    return 0;
  return MAX (now_us - r->sr_us - (gint64)block->dlsr * G_USEC_PER_SEC / 65536, 0);
}
