/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A walk over any bytes as RTCP, everything asked of every packet; and the same bytes as RTP. */

#include <stddef.h>
#include <stdint.h>

#include "natproto/ccfb.h"
#include "natproto/rtcp.h"
#include "natproto/rtcpapp.h"
#include "natproto/rtp.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* What only clients read, of their relay. */
static void
ask_as_client (const NatRtcpPacket *packet)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatAudience audience;
  NatCcfbBlock block;
  NatCcfbIter it;
  guint32 timestamp;

  nat_rtcp_audience (packet, &audience);
  g_assert (nat_rtcp_edges (packet, edges) <= NAT_TRACKS_MAX);
  if (!nat_ccfb_iter_init (&it, packet, &timestamp))
    return;
  while (nat_ccfb_iter_next (&it, &block)) {
    g_assert (block.metrics + 2 * (gsize)block.n_metrics <= packet->data + packet->len);
    for (guint i = 0; i < block.n_metrics; i++)
      g_assert (nat_ccfb_metric (&block, i).age <= NAT_CCFB_AGE_NONE);
  }
}

static void
ask_all (const NatRtcpPacket *packet)
{
  NatRtcpReportBlock block;
  NatRtcpNackEntry entry;
  NatRtcpSenderInfo info;
  guint32 ssrc;

  nat_rtcp_sender_ssrc (packet);
  nat_rtcp_media_ssrc (packet, &ssrc);
  nat_rtcp_sender_info (packet, &info);
  for (guint i = 0; i <= 32; i++)
    nat_rtcp_report_block (packet, i, &block);
  for (guint i = 0; nat_rtcp_nack_entry (packet, i, &entry); i++)
    g_assert (i < packet->len / 4);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  NatRtcpPacket packet;
  NatRtpHeader header;
  NatRtcpIter it;

  if (nat_rtcp_iter_init (&it, data, size)) {
    while (nat_rtcp_iter_next (&it, &packet)) {
      g_assert (packet.data >= data && packet.data + packet.len <= data + size);
      ask_all (&packet);
      ask_as_client (&packet);
    }
    /* What was found sound is walked to its end. */
    g_assert (it.pos == size);
  }
  if (nat_rtp_parse (&header, data, size))
    g_assert (header.header_len + header.payload_len + header.padding_len == size);
  return 0;
}
