/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A walk over any bytes as RTCP, everything asked of every packet; and the same bytes as RTP. */

#include <stddef.h>
#include <stdint.h>

#include "natproto/rtcp.h"
#include "natproto/rtp.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
ask_all (const NatRtcpPacket *packet)
{
  NatRtcpReportBlock block;
  NatRtcpSenderInfo info;
  guint32 ssrc;

  nat_rtcp_sender_ssrc (packet);
  nat_rtcp_media_ssrc (packet, &ssrc);
  nat_rtcp_sender_info (packet, &info);
  for (guint i = 0; i <= 32; i++)
    nat_rtcp_report_block (packet, i, &block);
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
    }
    /* What was found sound is walked to its end. */
    g_assert (it.pos == size);
  }
  if (nat_rtp_parse (&header, data, size))
    g_assert (header.header_len + header.payload_len + header.padding_len == size);
  return 0;
}
