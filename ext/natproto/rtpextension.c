/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/rtpextension.h"

#include <string.h>

#include "natproto/bytes.h"

#define FIXED_HEADER_SIZE 12
#define PREAMBLE_SIZE     4 /* profile and length in words */
#define ONE_BYTE_PROFILE  0xbede
#define TWO_BYTE_PROFILE  0x1000 /* the lowest four bits are anybody's */
#define ONE_BYTE_STOP     15     /* RFC 8285 section 4.2: what follows is not to be read */
#define ONE_BYTE_SIZE_MAX 16
#define WORDS_MAX         0xffff

/* Where a header's extension is, or would be. */
typedef struct {
  gsize preamble, begin, end; /* offsets; elements and padding are between begin and end */
  gboolean present, two_byte;
} Block;

typedef struct {
  guint8 id;
  gsize data, size; /* offset, bytes */
} Element;

/* FALSE: not RTP, a length lies, or the extension is of another profile. */
static gboolean
find_block (Block *b, const guint8 *packet, gsize len)
{
  guint16 profile;

  if (len < FIXED_HEADER_SIZE || packet[0] >> 6 != 2)
    return FALSE;
  b->preamble = FIXED_HEADER_SIZE + 4 * (gsize)(packet[0] & 0x0f);
  b->begin = b->end = b->preamble + PREAMBLE_SIZE;
  b->present = (packet[0] & 0x10) != 0;
  b->two_byte = FALSE;
  if (!b->present)
    return b->preamble <= len;
  if (b->begin > len)
    return FALSE;
  profile = nat_read_u16 (packet + b->preamble);
  b->two_byte = (profile & 0xfff0) == TWO_BYTE_PROFILE;
  b->end = b->begin + 4 * (gsize)nat_read_u16 (packet + b->preamble + 2);
  return b->end <= len && (b->two_byte || profile == ONE_BYTE_PROFILE);
}

typedef enum { STEP_ELEMENT, STEP_END, STEP_BROKEN } Step;

/* Steps over padding and one element from *at on. At the end *at is behind the last element, where padding
 * begins. */
static Step
next_element (const Block *b, const guint8 *packet, gsize *at, Element *e)
{
  gsize p = *at, head = b->two_byte ? 2 : 1;

  while (p < b->end && packet[p] == 0)
    p++;
  if (p == b->end)
    return STEP_END;
  if (p + head > b->end)
    return STEP_BROKEN;
  e->id = b->two_byte ? packet[p] : packet[p] >> 4;
  e->size = b->two_byte ? packet[p + 1] : (gsize)(packet[p] & 0x0f) + 1;
  /* An id of 0 with a length ends a one-byte extension as 15 does. */
  if (!b->two_byte && (e->id == 0 || e->id == ONE_BYTE_STOP))
    return STEP_BROKEN;
  e->data = p + head;
  if (e->data + e->size > b->end)
    return STEP_BROKEN;
  *at = e->data + e->size;
  return STEP_ELEMENT;
}

const guint8 *
nat_rtp_extension_find (const guint8 *packet, gsize len, guint8 id, gsize *size)
{
  Element e;
  Block b;

  if (!find_block (&b, packet, len))
    return NULL;
  for (gsize at = b.begin; next_element (&b, packet, &at, &e) == STEP_ELEMENT;) {
    if (e.id == id) {
      *size = e.size;
      return packet + e.data;
    }
  }
  return NULL;
}

/* Where a new element may stand; 0: nowhere. */
static gsize
find_place (const Block *b, const guint8 *header, guint8 id)
{
  gsize at = b->begin;
  Element e;

  for (;;) {
    switch (next_element (b, header, &at, &e)) {
    case STEP_ELEMENT:
      if (e.id == id)
        return 0;
      break;
    case STEP_END: return at;
    default: return 0;
    }
  }
}

static void
write_element (guint8 *p, gboolean two_byte, guint8 id, const guint8 *data, gsize size)
{
  if (two_byte) {
    *p++ = id;
    *p++ = (guint8)size;
  } else {
    *p++ = (guint8)(id << 4 | (size - 1));
  }
  memcpy (p, data, size);
}

gsize
nat_rtp_extension_insert (
    guint8 *header, gsize header_len, gsize room, guint8 id, const guint8 *data, gsize size)
{
  gsize place, end;
  Block b;

  g_return_val_if_fail (id >= NAT_RTP_EXTENSION_ID_MIN && id <= NAT_RTP_EXTENSION_ID_MAX, 0);
  g_return_val_if_fail (size >= 1 && size <= ONE_BYTE_SIZE_MAX, 0);

  if (!find_block (&b, header, header_len) || header_len != (b.present ? b.end : b.preamble))
    return 0;
  place = find_place (&b, header, id);
  if (place == 0)
    return 0;
  end = place + (b.two_byte ? 2 : 1) + size;
  end = MAX (b.end, b.begin + (end - b.begin + 3) / 4 * 4);
  if (end > room || end - b.begin > 4 * WORDS_MAX)
    return 0;
  memset (header + header_len, 0, end - header_len);
  if (!b.present)
    nat_write_u16 (header + b.preamble, ONE_BYTE_PROFILE);
  nat_write_u16 (header + b.preamble + 2, (guint16)((end - b.begin) / 4));
  header[0] |= 0x10;
  write_element (header + place, b.two_byte, id, data, size);
  return end;
}
