/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natproto/nat64.h"

#include <string.h>

#define RESERVED 8 /* the byte that no IPv4 address goes through (RFC 6052 section 2.2) */

/* The longest first: a shorter one would be found in the zeros of no other. */
static const guint8 lengths[] = {96, 64, 56, 48, 40, 32};
static const guint8 known[2][4] = {{192, 0, 0, 170}, {192, 0, 0, 171}}; /* RFC 7050 section 8.2 */

/* Where the four bytes stand behind a prefix of so many bits. */
static void
places_of (guint length, guint places[4])
{
  guint at = length / 8;

  for (guint i = 0; i < 4; i++) {
    if (at == RESERVED)
      at++;
    places[i] = at++;
  }
}

static gboolean
holds_known (const guint8 ip[16], guint length)
{
  guint places[4];

  places_of (length, places);
  for (guint k = 0; k < G_N_ELEMENTS (known); k++) {
    guint i = 0;

    while (i < 4 && ip[places[i]] == known[k][i])
      i++;
    if (i == 4)
      return length == 96 || ip[RESERVED] == 0;
  }
  return FALSE;
}

gboolean
nat_nat64_find (NatNat64 *out, const NatAddress *named)
{
  memset (out, 0, sizeof *out);
  if (named->family != 6)
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++) {
    if (!holds_known (named->ip, lengths[i]))
      continue;
    memcpy (out->bytes, named->ip, lengths[i] / 8);
    out->length = lengths[i];
    return TRUE;
  }
  return FALSE;
}

gboolean
nat_nat64_map (const NatNat64 *prefix, const NatAddress *v4, NatAddress *out)
{
  guint places[4];

  memset (out, 0, sizeof *out);
  if (prefix->length == 0 || v4->family != 4)
    return FALSE;
  *out = *v4;
  out->family = 6;
  memcpy (out->ip, prefix->bytes, sizeof out->ip);
  places_of (prefix->length, places);
  for (guint i = 0; i < 4; i++)
    out->ip[places[i]] = v4->ip[i];
  return TRUE;
}
