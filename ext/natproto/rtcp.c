/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/rtcp.h"

#include <string.h>

#include "natproto/bytes.h"

#define HEADER_SIZE      4
#define SENDER_INFO_SIZE 20
#define REPORT_SIZE      24
#define REPORTS_MAX      31 /* the count has five bits */
#define FEEDBACK_SIZE    12 /* header, sender's SSRC, media source's SSRC */
#define NACK_SIZE        4  /* one entry */

/* ---- Walk -------------------------------------------------------------- */

/* Fills packet from what starts at data + pos; returns its whole length, 0 if it is not sound. */
static gsize
read_packet (NatRtcpPacket *packet, const guint8 *data, gsize len, gsize pos)
{
  const guint8 *p = data + pos;
  gsize size, padding;

  if (len - pos < HEADER_SIZE || p[0] >> 6 != 2 || p[1] < 192 || p[1] > 223)
    return 0;
  size = HEADER_SIZE + 4 * (gsize)nat_read_u16 (p + 2);
  if (size > len - pos)
    return 0;
  packet->data = p;
  packet->len = size;
  packet->type = p[1];
  packet->count = p[0] & 0x1f;
  if (p[0] & 0x20) {
    padding = p[size - 1];
    if (pos + size != len || padding == 0 || padding % 4 != 0 || padding > size - HEADER_SIZE)
      return 0;
    packet->len -= padding;
  }
  return size;
}

static gboolean
is_feedback (guint8 type)
{
  return type == NAT_RTCP_RTPFB || type == NAT_RTCP_PSFB;
}

gboolean
nat_rtcp_iter_init (NatRtcpIter *it, const guint8 *data, gsize len)
{
  NatRtcpPacket packet;
  gboolean reduced = FALSE;
  gsize size;

  it->data = data;
  it->len = len;
  it->pos = 0;
  if (len == 0)
    return FALSE;
  for (gsize pos = 0; pos < len; pos += size) {
    size = read_packet (&packet, data, len, pos);
    if (size == 0)
      return FALSE;
    if (pos == 0)
      reduced = is_feedback (packet.type);
    if (reduced ? !is_feedback (packet.type)
                : pos == 0 && packet.type != NAT_RTCP_SR && packet.type != NAT_RTCP_RR)
      return FALSE;
  }
  return TRUE;
}

gboolean
nat_rtcp_iter_next (NatRtcpIter *it, NatRtcpPacket *packet)
{
  gsize size;

  if (it->pos >= it->len)
    return FALSE;
  size = read_packet (packet, it->data, it->len, it->pos);
  if (size == 0)
    return FALSE;
  it->pos += size;
  return TRUE;
}

/* ---- Fields ------------------------------------------------------------ */

guint32
nat_rtcp_sender_ssrc (const NatRtcpPacket *packet)
{
  if (packet->len < HEADER_SIZE + 4)
    return 0;
  switch (packet->type) {
  case NAT_RTCP_SR:
  case NAT_RTCP_RR:
  case NAT_RTCP_APP:
  case NAT_RTCP_RTPFB:
  case NAT_RTCP_PSFB: return nat_read_u32 (packet->data + HEADER_SIZE);
  case NAT_RTCP_SDES:
  case NAT_RTCP_BYE: return packet->count > 0 ? nat_read_u32 (packet->data + HEADER_SIZE) : 0;
  default: return 0;
  }
}

gboolean
nat_rtcp_media_ssrc (const NatRtcpPacket *packet, guint32 *ssrc)
{
  gsize at = 8;

  if (!is_feedback (packet->type))
    return FALSE;
  /* FIR's media source is unused; each FCI names a sender of its own (RFC 5104 section 4.3.1.2). */
  if (packet->type == NAT_RTCP_PSFB && packet->count == NAT_RTCP_FMT_FIR)
    at = FEEDBACK_SIZE;
  if (packet->len < (at == 8 ? FEEDBACK_SIZE : FEEDBACK_SIZE + 8))
    return FALSE;
  *ssrc = nat_read_u32 (packet->data + at);
  return TRUE;
}

gboolean
nat_rtcp_sender_info (const NatRtcpPacket *sr, NatRtcpSenderInfo *info)
{
  const guint8 *p = sr->data + HEADER_SIZE + 4;

  if (sr->type != NAT_RTCP_SR || sr->len < HEADER_SIZE + 4 + SENDER_INFO_SIZE)
    return FALSE;
  info->ntp = (guint64)nat_read_u32 (p) << 32 | nat_read_u32 (p + 4);
  info->rtp_time = nat_read_u32 (p + 8);
  info->packets = nat_read_u32 (p + 12);
  info->bytes = nat_read_u32 (p + 16);
  return TRUE;
}

gboolean
nat_rtcp_report_block (const NatRtcpPacket *packet, guint index, NatRtcpReportBlock *block)
{
  gsize at = HEADER_SIZE + 4 + (gsize)index * REPORT_SIZE;
  const guint8 *p;

  if (packet->type == NAT_RTCP_SR)
    at += SENDER_INFO_SIZE;
  else if (packet->type != NAT_RTCP_RR)
    return FALSE;
  if (index >= packet->count || packet->len < at + REPORT_SIZE)
    return FALSE;
  p = packet->data + at;
  block->ssrc = nat_read_u32 (p);
  block->fraction_lost = p[4];
  block->cumulative_lost = (gint32)(nat_read_u32 (p + 4) << 8) >> 8;
  block->highest_seq = nat_read_u32 (p + 8);
  block->jitter = nat_read_u32 (p + 12);
  block->lsr = nat_read_u32 (p + 16);
  block->dlsr = nat_read_u32 (p + 20);
  return TRUE;
}

gboolean
nat_rtcp_nack_entry (const NatRtcpPacket *packet, guint index, NatRtcpNackEntry *entry)
{
  gsize at = FEEDBACK_SIZE + (gsize)index * NACK_SIZE;

  if (packet->type != NAT_RTCP_RTPFB || packet->count != NAT_RTCP_FMT_NACK ||
      packet->len < at + NACK_SIZE)
    return FALSE;
  entry->first = nat_read_u16 (packet->data + at);
  entry->following = nat_read_u16 (packet->data + at + 2);
  return TRUE;
}

/* ---- Writers ----------------------------------------------------------- */

/* size: of the whole packet, a multiple of 4. */
static void
write_header (guint8 *p, guint8 type, guint count, gsize size, guint32 ssrc)
{
  p[0] = 0x80 | count;
  p[1] = type;
  nat_write_u16 (p + 2, (guint16)(size / 4 - 1));
  nat_write_u32 (p + 4, ssrc);
}

gsize
nat_rtcp_write_rr (
    guint8 *buf, gsize cap, guint32 sender_ssrc, const NatRtcpReportBlock *blocks, guint n_blocks)
{
  gsize size = HEADER_SIZE + 4 + (gsize)n_blocks * REPORT_SIZE;
  guint8 *p = buf + HEADER_SIZE + 4;

  if (n_blocks > REPORTS_MAX || size > cap)
    return 0;
  write_header (buf, NAT_RTCP_RR, n_blocks, size, sender_ssrc);
  for (guint i = 0; i < n_blocks; i++, p += REPORT_SIZE) {
    const NatRtcpReportBlock *b = &blocks[i];
    /* RFC 3550 section 6.4.1: the loss stops at what 24 bits can say. */
    gint32 lost = CLAMP (b->cumulative_lost, -0x800000, 0x7fffff);

    nat_write_u32 (p, b->ssrc);
    nat_write_u32 (p + 4, (guint32)b->fraction_lost << 24 | ((guint32)lost & 0xffffff));
    nat_write_u32 (p + 8, b->highest_seq);
    nat_write_u32 (p + 12, b->jitter);
    nat_write_u32 (p + 16, b->lsr);
    nat_write_u32 (p + 20, b->dlsr);
  }
  return size;
}

gsize
nat_rtcp_write_sdes_cname (guint8 *buf, gsize cap, guint32 ssrc, const char *cname)
{
  gsize text = strlen (cname);
  gsize used = HEADER_SIZE + 4 + 2 + text;
  gsize size = (used + 4) & ~(gsize)3; /* at least one zero ends the chunk */

  if (text > 255 || size > cap)
    return 0;
  write_header (buf, NAT_RTCP_SDES, 1, size, ssrc);
  buf[8] = 1; /* CNAME */
  buf[9] = text;
  memcpy (buf + 10, cname, text);
  memset (buf + used, 0, size - used);
  return size;
}

gsize
nat_rtcp_write_pli (guint8 *buf, gsize cap, guint32 sender_ssrc, guint32 media_ssrc)
{
  if (cap < FEEDBACK_SIZE)
    return 0;
  write_header (buf, NAT_RTCP_PSFB, NAT_RTCP_FMT_PLI, FEEDBACK_SIZE, sender_ssrc);
  nat_write_u32 (buf + 8, media_ssrc);
  return FEEDBACK_SIZE;
}

/* How many of seqs, the first included, one entry holds; their bits are set in *following. */
static guint
gather (const guint16 *seqs, guint n, guint16 *following)
{
  guint i;

  *following = 0;
  for (i = 1; i < n; i++) {
    guint16 ahead = (guint16)(seqs[i] - seqs[0]);

    if (ahead == 0 || ahead > 16)
      break;
    *following |= (guint16)(1 << (ahead - 1));
  }
  return i;
}

gsize
nat_rtcp_write_nack (guint8 *buf, gsize cap, guint32 sender_ssrc, guint32 media_ssrc,
    const guint16 *seqs, guint *n_seqs)
{
  gsize size = FEEDBACK_SIZE;
  guint done = 0;

  while (done < *n_seqs && size + NACK_SIZE <= cap) {
    guint16 following;
    guint n = gather (seqs + done, *n_seqs - done, &following);

    nat_write_u16 (buf + size, seqs[done]);
    nat_write_u16 (buf + size + 2, following);
    size += NACK_SIZE;
    done += n;
  }
  *n_seqs = done;
  if (done == 0)
    return 0;
  write_header (buf, NAT_RTCP_RTPFB, NAT_RTCP_FMT_NACK, size, sender_ssrc);
  nat_write_u32 (buf + 8, media_ssrc);
  return size;
}

gsize
nat_rtcp_write_bye (guint8 *buf, gsize cap, guint32 ssrc)
{
  gsize size = HEADER_SIZE + 4;

  if (cap < size)
    return 0;
  write_header (buf, NAT_RTCP_BYE, 1, size, ssrc);
  return size;
}
