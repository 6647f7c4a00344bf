/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/rtp.h"

#include "natproto/bytes.h"

#define FIXED_HEADER_SIZE 12

/* Length of fixed header, CSRCs and extension; 0 if they run over the end. */
static gsize
header_length (const guint8 *data, gsize len)
{
  gsize n = FIXED_HEADER_SIZE + 4 * (data[0] & 0x0f);

  if (data[0] & 0x10) {
    if (n + 4 > len)
      return 0;
    n += 4 + 4 * (gsize)nat_read_u16 (data + n + 2);
  }
  return n <= len ? n : 0;
}

gboolean
nat_rtp_parse (NatRtpHeader *h, const guint8 *data, gsize len)
{
  if (len < FIXED_HEADER_SIZE || data[0] >> 6 != 2)
    return FALSE;
  h->header_len = header_length (data, len);
  if (h->header_len == 0)
    return FALSE;
  h->padding_len = 0;
  if (data[0] & 0x20) {
    h->padding_len = len > h->header_len ? data[len - 1] : 0;
    /* A count of 0 cannot be: the count itself is padding. */
    if (h->padding_len == 0 || h->padding_len > len - h->header_len)
      return FALSE;
  }
  h->payload_len = len - h->header_len - h->padding_len;
  h->marker = data[1] >> 7;
  h->payload_type = data[1] & 0x7f;
  h->seq = nat_read_u16 (data + 2);
  h->timestamp = nat_read_u32 (data + 4);
  h->ssrc = nat_read_u32 (data + 8);
  return TRUE;
}
