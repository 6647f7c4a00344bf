/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/ccfb.h"

#include "natproto/bytes.h"

#define HEADER_SIZE    8 /* RTCP's, with the sender's SSRC */
#define BLOCK_SIZE     8 /* SSRC, begin_seq, num_reports */
#define METRIC_SIZE    2
#define TIMESTAMP_SIZE 4
#define METRICS_MAX    16384 /* RFC 8888 section 3.1 */

#define RECEIVED  0x8000
#define ECN_SHIFT 13
#define AGE_MASK  0x1fff

/* Metrics with their padding: an even number of them. */
static gsize
metrics_size (guint n)
{
  return ((gsize)n + 1) / 2 * 2 * METRIC_SIZE;
}

/* Bytes of the block that starts at pos; 0 if it does not fit in before the time stamp. */
static gsize
block_size (const NatRtcpPacket *packet, gsize pos)
{
  gsize left = packet->len - TIMESTAMP_SIZE - pos, size;
  guint n;

  if (left < BLOCK_SIZE)
    return 0;
  n = nat_read_u16 (packet->data + pos + 6);
  size = BLOCK_SIZE + metrics_size (n);
  return n <= METRICS_MAX && size <= left ? size : 0;
}

gboolean
nat_ccfb_iter_init (NatCcfbIter *it, const NatRtcpPacket *packet, guint32 *timestamp)
{
  gsize end = packet->len - TIMESTAMP_SIZE, size;

  if (packet->type != NAT_RTCP_RTPFB || packet->count != NAT_RTCP_FMT_CCFB ||
      packet->len < HEADER_SIZE + TIMESTAMP_SIZE)
    return FALSE;
  for (gsize pos = HEADER_SIZE; pos < end; pos += size) {
    size = block_size (packet, pos);
    if (size == 0)
      return FALSE;
  }
  it->packet = *packet;
  it->pos = HEADER_SIZE;
  *timestamp = nat_read_u32 (packet->data + end);
  return TRUE;
}

gboolean
nat_ccfb_iter_next (NatCcfbIter *it, NatCcfbBlock *block)
{
  const guint8 *p = it->packet.data + it->pos;

  if (it->pos + TIMESTAMP_SIZE >= it->packet.len)
    return FALSE;
  block->ssrc = nat_read_u32 (p);
  block->begin_seq = nat_read_u16 (p + 4);
  block->n_metrics = nat_read_u16 (p + 6);
  block->metrics = p + BLOCK_SIZE;
  it->pos += block_size (&it->packet, it->pos);
  return TRUE;
}

NatCcfbMetric
nat_ccfb_metric (const NatCcfbBlock *block, guint index)
{
  guint16 word = nat_read_u16 (block->metrics + (gsize)index * METRIC_SIZE);

  return (NatCcfbMetric){(word & RECEIVED) != 0, (guint8)(word >> ECN_SHIFT & 3), word & AGE_MASK};
}

/* ---- Writing ----------------------------------------------------------- */

void
nat_ccfb_writer_init (NatCcfbWriter *w, guint8 *buf, gsize cap, guint32 sender_ssrc)
{
  w->buf = buf;
  w->cap = MIN (cap, 65536);
  w->len = HEADER_SIZE;
  if (w->cap < HEADER_SIZE)
    return;
  buf[0] = 0x80 | NAT_RTCP_FMT_CCFB;
  buf[1] = NAT_RTCP_RTPFB;
  nat_write_u32 (buf + 4, sender_ssrc);
}

static guint16
word_of (const NatCcfbMetric *m)
{
  /* What was not received says nothing else (section 3.1). */
  return m->received ? (guint16)(RECEIVED | (m->ecn & 3) << ECN_SHIFT | (m->age & AGE_MASK)) : 0;
}

guint
nat_ccfb_write_block (NatCcfbWriter *w, guint32 ssrc, guint16 begin_seq,
    const NatCcfbMetric *metrics, guint n_metrics)
{
  gsize fixed = w->len + BLOCK_SIZE + TIMESTAMP_SIZE;
  guint8 *p = w->buf + w->len;
  guint n;

  if (w->cap < fixed + 2 * METRIC_SIZE)
    return 0;
  n = (guint)MIN (MIN (n_metrics, METRICS_MAX), (w->cap - fixed) / (2 * METRIC_SIZE) * 2);
  nat_write_u32 (p, ssrc);
  nat_write_u16 (p + 4, begin_seq);
  nat_write_u16 (p + 6, (guint16)n);
  p += BLOCK_SIZE;
  for (guint i = 0; i < n; i++, p += METRIC_SIZE)
    nat_write_u16 (p, word_of (&metrics[i]));
  if (n % 2)
    nat_write_u16 (p, 0);
  w->len += BLOCK_SIZE + metrics_size (n);
  return n;
}

gsize
nat_ccfb_writer_end (NatCcfbWriter *w, guint32 timestamp)
{
  if (w->len == HEADER_SIZE)
    return 0;
  nat_write_u32 (w->buf + w->len, timestamp);
  w->len += TIMESTAMP_SIZE;
  nat_write_u16 (w->buf + 2, (guint16)(w->len / 4 - 1));
  return w->len;
}
