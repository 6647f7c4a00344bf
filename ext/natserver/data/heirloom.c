/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Packets are kept anew, one by one, as if they had just come, but with the times at which they did: so the new pool's
 * limit and its fairness hold, and no block ever changes pools. */

#include "natserver/data/heirloom.h"

#include <string.h>

#include "natserver/data/historyreader.h"

struct _NatHeirloom {
  GArray *packets;  /* NatHistoryPacket, in the order of arrival */
  gsize size, used; /* what is spent on it, which is no less than its bytes */
  guint8 bytes[];
};

/* Not what its source forgot, or what came of another of that SSRC. */
static gboolean
is_found (const NatHistory *h, const NatHistorySource *s, const NatHistoryPacket *packet)
{
  NatHistoryPacket found;

  return s && nat_history_find (h, s, packet->seq, &found) && found.data == packet->data;
}

/* Of the pictures only the last can still begin anything. */
static void
pack (NatHeirloom *heirloom, const NatHistorySource *s, NatHistoryPacket packet)
{
  guint8 *to = heirloom->bytes + heirloom->used;

  memcpy (to, packet.data, packet.len);
  packet.data = to;
  packet.starts_picture = s->has_start && s->start_seq == packet.seq;
  g_array_append_val (heirloom->packets, packet);
  heirloom->used += packet.len;
}

NatHeirloom *
nat_heirloom_new (const NatHistory *h, gsize bytes)
{
  NatHistoryReader reader;
  NatHistoryPacket packet;
  NatHeirloom *heirloom;
  gsize size;

  if (!nat_history_read_newest (h, bytes, &reader, &size))
    return NULL;
  heirloom = g_malloc (sizeof *heirloom + size);
  heirloom->packets = g_array_new (FALSE, FALSE, sizeof packet);
  heirloom->size = size;
  heirloom->used = 0;
  while (nat_history_read (h, &reader, &packet) == NAT_HISTORY_PACKET) {
    const NatHistorySource *s = nat_history_find_source (h, packet.ssrc);

    if (is_found (h, s, &packet))
      pack (heirloom, s, packet);
  }
  return heirloom;
}

void
nat_heirloom_free (NatHeirloom *heirloom)
{
  if (!heirloom)
    return;
  g_array_unref (heirloom->packets);
  g_free (heirloom);
}

gsize
nat_heirloom_size (const NatHeirloom *heirloom)
{
  return heirloom ? heirloom->size : 0;
}

/* The first of the packets that no more than so many bytes are spent on: *cost. */
static guint
first_of_newest (const NatHeirloom *heirloom, gsize bytes, gsize *cost)
{
  guint i = heirloom->packets->len;
  gsize one;

  *cost = 0;
  for (; i > 0; i--) {
    one = MAX (g_array_index (heirloom->packets, NatHistoryPacket, i - 1).len, NAT_HISTORY_COST);
    if (*cost + one > bytes)
      break;
    *cost += one;
  }
  return i;
}

gsize
nat_heirloom_unpack (const NatHeirloom *heirloom, NatHistory *h, gsize bytes)
{
  gsize cost = heirloom->size;
  guint i = 0;

  if (!h->pool)
    return 0;
  if (cost > bytes)
    i = first_of_newest (heirloom, bytes, &cost);
  for (; i < heirloom->packets->len; i++) {
    const NatHistoryPacket *p = &g_array_index (heirloom->packets, NatHistoryPacket, i);
    NatHistorySource *s = nat_history_find_source (h, p->ssrc);

    if (s)
      nat_history_append (h, s, p->seq, p->data, p->len, p->starts_picture, p->arrived_us);
  }
  nat_history_settle (h->pool);
  return cost;
}
