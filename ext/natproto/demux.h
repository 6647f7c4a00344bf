/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* First-byte demultiplexing (RFC 7983) with RFC 5761's rule for RTCP. */

#include <glib.h>

typedef enum {
  NAT_PACKET_OTHER,
  NAT_PACKET_STUN,
  NAT_PACKET_RTP,
  NAT_PACKET_RTCP,
} NatPacketKind;

static inline NatPacketKind
nat_demux (const guint8 *data, gsize len)
{
  if (len < 2)
    return NAT_PACKET_OTHER;
  if (data[0] < 4)
    return NAT_PACKET_STUN;
  if (data[0] < 128 || data[0] > 191)
    return NAT_PACKET_OTHER;
  return data[1] >= 192 && data[1] <= 223 ? NAT_PACKET_RTCP : NAT_PACKET_RTP;
}
