/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/rtcpapp.h"

#include <string.h>

#include "natproto/bytes.h"

#define HEADER_SIZE   12 /* with SSRC and name */
#define AUDIENCE_SIZE 20
#define EDGE_SIZE     12
#define SUBTYPE       1

/* Where the data begins. The caller has seen to it that size bytes are there. */
static guint8 *
write_header (guint8 *buf, gsize size, guint32 sender_ssrc, const char name[4])
{
  buf[0] = 0x80 | SUBTYPE;
  buf[1] = NAT_RTCP_APP;
  nat_write_u16 (buf + 2, (guint16)(size / 4 - 1));
  nat_write_u32 (buf + 4, sender_ssrc);
  memcpy (buf + 8, name, 4);
  return buf + HEADER_SIZE;
}

/* Bytes behind the header; -1: another packet. */
static gssize
data_size (const NatRtcpPacket *packet, const char name[4])
{
  if (packet->type != NAT_RTCP_APP || packet->count != SUBTYPE || packet->len < HEADER_SIZE ||
      memcmp (packet->data + 8, name, 4) != 0)
    return -1;
  return (gssize)(packet->len - HEADER_SIZE);
}

gsize
nat_rtcp_write_audience (guint8 *buf, gsize cap, guint32 sender_ssrc, const NatAudience *a)
{
  gsize size = HEADER_SIZE + AUDIENCE_SIZE;
  guint8 *p;

  if (cap < size)
    return 0;
  p = write_header (buf, size, sender_ssrc, "AUDI");
  nat_write_u32 (p, a->receivers);
  nat_write_u32 (p + 4, a->joined);
  nat_write_u32 (p + 8, a->left);
  p[12] = (guint8)a->worst_loss;
  p[13] = (guint8)a->median_loss;
  nat_write_u16 (p + 14, a->worst_rtt_ms);
  nat_write_u16 (p + 16, a->median_rtt_ms);
  nat_write_u16 (p + 18, 0);
  return size;
}

gboolean
nat_rtcp_audience (const NatRtcpPacket *packet, NatAudience *a)
{
  const guint8 *p = packet->data + HEADER_SIZE;

  if (data_size (packet, "AUDI") < AUDIENCE_SIZE)
    return FALSE;
  a->receivers = nat_read_u32 (p);
  a->joined = nat_read_u32 (p + 4);
  a->left = nat_read_u32 (p + 8);
  a->worst_loss = p[12];
  a->median_loss = p[13];
  a->worst_rtt_ms = nat_read_u16 (p + 14);
  a->median_rtt_ms = nat_read_u16 (p + 16);
  return TRUE;
}

gsize
nat_rtcp_write_edges (
    guint8 *buf, gsize cap, guint32 sender_ssrc, const NatLiveEdge *edges, guint n)
{
  gsize size = HEADER_SIZE + (gsize)n * EDGE_SIZE;
  guint8 *p;

  if (n > NAT_TRACKS_MAX || cap < size)
    return 0;
  p = write_header (buf, size, sender_ssrc, "EDGE");
  for (guint i = 0; i < n; i++, p += EDGE_SIZE) {
    nat_write_u32 (p, edges[i].ssrc);
    nat_write_u32 (p + 4, edges[i].timestamp);
    nat_write_u16 (p + 8, edges[i].seq);
    nat_write_u16 (p + 10, edges[i].behind);
  }
  return size;
}

guint
nat_rtcp_edges (const NatRtcpPacket *packet, NatLiveEdge edges[NAT_TRACKS_MAX])
{
  const guint8 *p = packet->data + HEADER_SIZE;
  gssize size = data_size (packet, "EDGE");
  guint n = size < 0 || size % EDGE_SIZE != 0 ? 0 : (guint)(size / EDGE_SIZE);

  n = MIN (n, NAT_TRACKS_MAX);
  for (guint i = 0; i < n; i++, p += EDGE_SIZE)
    edges[i] = (NatLiveEdge){
        nat_read_u32 (p), nat_read_u32 (p + 4), nat_read_u16 (p + 8), nat_read_u16 (p + 10)};
  return n;
}
