/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as the numbers of a source's packets, and the times at which they come: what the relay counts, asks for and reports
 * of them holds together, however they jump. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/missing.h"
#include "natserver/data/arrival.h"
#include "natserver/data/reception.h"

#define SSRC     7
#define CAPACITY 64
#define ASKED    16
#define LIFE_US  (1000 * 1000)
/* Of one packet: sixteen in a row and some more until its life is over, the shortest round trip being 30 ms. */
#define TRIES_MAX 40

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

typedef struct {
  NatReception reception;
  NatMissing missing;
  NatMissingPacket memory[CAPACITY];
  NatArrivals arrivals;
  gint64 now_us;
  guint16 seq;
} Source;

/* Each that was missing is still, or ended up in one of the counts. */
static void
check_missing (const NatMissing *m)
{
  g_assert (m->n <= m->capacity);
  g_assert (m->noticed == m->reordered + m->repaired + m->late + m->lost + m->n);
  g_assert (m->n > 0 || m->next_us == G_MAXINT64);
  for (guint i = 0; i < m->n; i++) {
    g_assert (m->packets[i].seq < m->highest);
    g_assert (i == 0 || m->packets[i - 1].seq < m->packets[i].seq);
    g_assert (m->packets[i].tries <= TRIES_MAX);
  }
}

static void
check_reception (Source *s)
{
  const NatReception *r = &s->reception;

  g_assert (!r->seq.started || r->seq.highest >= r->seq.base);
  g_assert (nat_reception_lost (r) <= r->seq.highest - r->seq.base + 1);
}

static void
receive (Source *s)
{
  NatRtpHeader h = {.seq = s->seq, .ssrc = SSRC, .timestamp = (guint32)(s->now_us * 9 / 100)};
  NatReceived a, again;

  nat_reception_update (&s->reception, &h, s->now_us, &a);
  check_reception (s);
  if (a.status == NAT_SEQ_BAD)
    return;
  g_assert ((guint16)a.seq == s->seq);
  g_assert (a.seq <= s->reception.seq.highest);
  nat_arrival_note (&s->arrivals, s->seq, a.status == NAT_SEQ_RESTART, s->now_us);
  if (a.status == NAT_SEQ_RESTART)
    nat_missing_reset (&s->missing);
  nat_missing_receive (&s->missing, a.seq, s->now_us);
  g_assert (!nat_missing_awaits (&s->missing, a.seq));
  nat_reception_update (&s->reception, &h, s->now_us, &again);
  g_assert (again.duplicate && again.seq == a.seq);
}

/* The numbers that are given out are missing, and ascend. */
static void
ask (Source *s)
{
  guint16 seqs[ASKED];
  guint n = nat_missing_due (&s->missing, s->now_us, seqs, ASKED);

  g_assert (n <= ASKED);
  for (guint i = 0; i < n; i++) {
    guint64 highest = s->missing.highest;
    guint64 seq = highest - (guint16)((guint16)highest - seqs[i]);

    g_assert (nat_missing_awaits (&s->missing, seq));
    g_assert (i == 0 || nat_seq_diff (seqs[i - 1], seqs[i]) > 0);
  }
  /* What is due next is so later, or there was too much. */
  g_assert (n == ASKED || s->missing.next_us > s->now_us);
}

/* What is written is read again, whole. */
static void
report (Source *s)
{
  guint waiting = nat_arrival_waiting (&s->arrivals), told = 0;
  guint8 buf[NAT_CCFB_MAX];
  NatRtcpPacket packet;
  NatCcfbWriter writer;
  NatCcfbBlock block;
  NatCcfbIter ccfb;
  NatRtcpIter it;
  guint32 timestamp;
  gsize len;

  nat_ccfb_writer_init (&writer, buf, sizeof buf, SSRC + 1);
  nat_arrival_report (&s->arrivals, &writer, SSRC, s->now_us);
  len = nat_ccfb_writer_end (&writer, nat_arrival_timestamp (s->now_us));
  g_assert ((len > 0) == (waiting > 0));
  if (len == 0)
    return;
  g_assert (nat_rtcp_iter_init (&it, buf, len) && nat_rtcp_iter_next (&it, &packet));
  g_assert (nat_ccfb_iter_init (&ccfb, &packet, &timestamp));
  while (nat_ccfb_iter_next (&ccfb, &block))
    told += block.n_metrics;
  g_assert (told > 0 && told + nat_arrival_waiting (&s->arrivals) == waiting);
}

static void
report_block (Source *s)
{
  NatRtcpReportBlock block, read;
  guint8 buf[64];
  NatRtcpPacket packet;
  NatRtcpIter it;

  memset (&read, 0, sizeof read);
  nat_reception_report (&s->reception, s->now_us, &block);
  g_assert (
      nat_rtcp_iter_init (&it, buf, nat_rtcp_write_rr (buf, sizeof buf, SSRC + 1, &block, 1)));
  g_assert (nat_rtcp_iter_next (&it, &packet) && nat_rtcp_report_block (&packet, 0, &read));
  g_assert (memcmp (&block, &read, sizeof block) == 0);
}

static void
step (Source *s, guint8 what, guint8 how)
{
  switch (what % 8) {
  case 0: s->seq += 1 + how / 16; break;
  case 1: s->seq -= how; break;
  case 2: s->seq += (guint16)(how * 257u); break;
  case 3: s->now_us += how * 100; break;
  case 4: s->now_us += (gint64)how * how * 100; break;
  case 5: nat_missing_set_pace (&s->missing, 30000 + how * 4000, LIFE_US); return;
  case 6: report (s); return;
  default:
    if (how < 16)
      nat_missing_give_up (&s->missing, s->missing.highest - how);
    else
      report_block (s);
    return;
  }
  if (what % 8 < 3)
    receive (s);
  ask (s);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static Source s;

  memset (&s, 0, sizeof s);
  s.now_us = G_USEC_PER_SEC;
  nat_reception_init (&s.reception, SSRC, 90000);
  nat_missing_init (&s.missing, s.memory, CAPACITY);
  nat_missing_set_pace (&s.missing, 30000, LIFE_US);
  for (size_t i = 0; i + 1 < size; i += 2) {
    step (&s, data[i], data[i + 1]);
    check_missing (&s.missing);
  }
  return 0;
}
