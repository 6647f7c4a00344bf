/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as a packet: extensions are found inside it; and what is put into a header is found again, while the
 * packet stays RTP of the same payload. The first byte chooses the id. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/framemarking.h"
#include "natproto/rtp.h"
#include "natproto/rtpextension.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
find_all (const guint8 *packet, gsize len)
{
  NatFramemarking mark;

  for (guint id = 0; id <= 255; id++) {
    gsize size;
    const guint8 *found = nat_rtp_extension_find (packet, len, (guint8)id, &size);

    if (found != NULL)
      g_assert (found >= packet && found + size <= packet + len);
    if (nat_framemarking_find (&mark, packet, len, (guint8)id))
      g_assert (found != NULL);
  }
}

static void
insert (const guint8 *packet, gsize header_len, guint8 id)
{
  gsize room = header_len + NAT_RTP_EXTENSION_GROWTH_MAX (1);
  g_autofree guint8 *header = g_malloc (room);
  const guint8 value = 0xa0;
  gsize len, size;
  const guint8 *found;
  NatRtpHeader h;

  memcpy (header, packet, header_len);
  len = nat_rtp_extension_insert (header, header_len, room, id, &value, 1);
  if (len == 0)
    return;
  g_assert (len >= header_len && len <= room);
  found = nat_rtp_extension_find (header, len, id, &size);
  g_assert (found != NULL && size == 1 && *found == value);
  header[0] &= (guint8)~0x20; /* padding is behind the payload */
  g_assert (nat_rtp_parse (&h, header, len) && h.header_len == len);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  NatRtpHeader header;

  if (size < 1)
    return 0;
  find_all (data + 1, size - 1);
  if (nat_rtp_parse (&header, data + 1, size - 1))
    insert (data + 1, header.header_len, (guint8)(1 + data[0] % 14));
  return 0;
}
