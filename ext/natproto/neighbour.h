/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Who counts as one when connections, requests and media are limited: an IPv4 address, or the
 * /64 of an IPv6 address, since a provider gives every customer at least that much. */

#include <glib.h>
#include <string.h>
#include "natproto/address.h"
#include "natproto/crypto.h"

/* IPv4 goes where no IPv6 host can be (0:ffff:...::/64 is not assigned). */
static inline guint64
nat_neighbour_key (const NatAddress *a)
{
  guint8 bytes[8] = {0, 0, 0xff, 0xff};
  guint64 key;

  if (a->family == 6)
    memcpy (bytes, a->ip, 8);
  else
    memcpy (bytes + 4, a->ip, 4);
  memcpy (&key, bytes, sizeof key);
  return key;
}

/* For a GHashTable whose keys point to guint64 (with g_int64_equal). Strangers choose the keys, so
 * the hash has a secret in it. */
static inline guint
nat_neighbour_hash (gconstpointer key)
{
  static guint64 seed;
  guint64 x;

  if (G_UNLIKELY (seed == 0)) {
    nat_crypto_random (&seed, sizeof seed);
    seed |= 1;
  }
  memcpy (&x, key, sizeof x);
  x = (x ^ seed) * G_GUINT64_CONSTANT (0x9E3779B97F4A7C15);
  x = (x ^ x >> 29) * (seed | 1);
  return (guint)(x >> 32);
}
