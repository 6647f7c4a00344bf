/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/framemarking.h"

#include <string.h>

#include "natproto/rtpextension.h"

#define S_BIT    0x80
#define E_BIT    0x40
#define I_BIT    0x20
#define D_BIT    0x10
#define B_BIT    0x08
#define TID_MASK 0x07

/* LID without and with TL0PICIDX. */
#define LONG_SIZE_MIN 2
#define LONG_SIZE_MAX 3

void
nat_framemarking_write (guint8 out[NAT_FRAMEMARKING_SIZE], const NatFramemarking *mark)
{
  out[0] = (guint8)((mark->start ? S_BIT : 0) | (mark->end ? E_BIT : 0) |
                    (mark->independent ? I_BIT : 0) | (mark->discardable ? D_BIT : 0));
}

gboolean
nat_framemarking_parse (NatFramemarking *mark, const guint8 *data, gsize size)
{
  memset (mark, 0, sizeof *mark);
  if (size < NAT_FRAMEMARKING_SIZE || size > LONG_SIZE_MAX)
    return FALSE;
  mark->start = (data[0] & S_BIT) != 0;
  mark->end = (data[0] & E_BIT) != 0;
  mark->independent = (data[0] & I_BIT) != 0;
  mark->discardable = (data[0] & D_BIT) != 0;
  if (size >= LONG_SIZE_MIN) {
    mark->scalable = TRUE;
    mark->base_layer_sync = (data[0] & B_BIT) != 0;
    mark->temporal_id = data[0] & TID_MASK;
    mark->layer_id = data[1];
  }
  return TRUE;
}

gboolean
nat_framemarking_find (NatFramemarking *mark, const guint8 *packet, gsize len, guint8 id)
{
  gsize size;
  const guint8 *data = nat_rtp_extension_find (packet, len, id, &size);

  return data != NULL && nat_framemarking_parse (mark, data, size);
}

/* I speaks of a frame within its layer: above the base layer an independent frame still needs the layer below. */
gboolean
nat_framemarking_begins_picture (const guint8 *packet, gsize len, guint8 id)
{
  NatFramemarking mark;

  return id != 0 && nat_framemarking_find (&mark, packet, len, id) && mark.start &&
         mark.independent && mark.temporal_id == 0 && mark.layer_id == 0;
}
