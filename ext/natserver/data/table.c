/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Open addressing with linear probing, at most half full. A slot is the hash and a pointer
 * to the key (16 bytes, four to a cache line); the key is touched only when the hashes agree,
 * and it lies in the path that the caller needs anyway. Removal shifts the followers back
 * instead of leaving tombstones, so look-ups stay short however long the relay runs. GHashTable
 * is not used: its hash cannot be keyed without a global, and strangers' packets would chase its
 * separate arrays. */

#include "natserver/data/table.h"

#include <string.h>

#include "natproto/crypto.h"

typedef struct {
  guint64 hash;
  const NatPathKey *key; /* NULL: free */
} Slot;

struct _NatTable {
  guint64 k0, k1;
  gsize mask;
  guint size;
  Slot *slots;
};

#define FIRST_CAPACITY 256

NatTable *
nat_table_new (const guint8 hash_key[16])
{
  NatTable *t = g_new0 (NatTable, 1);

  memcpy (&t->k0, hash_key, 8);
  memcpy (&t->k1, hash_key + 8, 8);
  t->mask = FIRST_CAPACITY - 1;
  t->slots = g_new0 (Slot, FIRST_CAPACITY);
  return t;
}

void
nat_table_free (NatTable *table)
{
  if (!table)
    return;
  g_free (table->slots);
  nat_crypto_wipe (table, sizeof *table);
  g_free (table);
}

guint
nat_table_size (const NatTable *table)
{
  return table->size;
}

static inline guint64
rotate (guint64 x, guint bits)
{
  return (x << bits) | (x >> (64 - bits));
}

static inline void
sip_round (guint64 v[4])
{
  v[0] += v[1];
  v[1] = rotate (v[1], 13) ^ v[0];
  v[0] = rotate (v[0], 32);
  v[2] += v[3];
  v[3] = rotate (v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = rotate (v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = rotate (v[1], 17) ^ v[2];
  v[2] = rotate (v[2], 32);
}

/* SipHash-1-3 over the five words of a key, its length word included. */
static guint64
hash_of (const NatTable *t, const NatPathKey *key)
{
  guint64 words[6];
  guint64 v[4] = {t->k0 ^ 0x736f6d6570736575, t->k1 ^ 0x646f72616e646f6d,
      t->k0 ^ 0x6c7967656e657261, t->k1 ^ 0x7465646279746573};

  memcpy (words, key, sizeof *key);
  words[5] = (guint64)sizeof *key << 56;
  for (guint i = 0; i < G_N_ELEMENTS (words); i++) {
    v[3] ^= words[i];
    sip_round (v);
    v[0] ^= words[i];
  }
  v[2] ^= 0xff;
  sip_round (v);
  sip_round (v);
  sip_round (v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static gboolean
slot_is (const Slot *slot, guint64 hash, const NatPathKey *key)
{
  return slot->hash == hash && memcmp (slot->key, key, sizeof *key) == 0;
}

/* The slot that holds an equal key, or the free one where it would go. */
static gsize
probe (const NatTable *t, guint64 hash, const NatPathKey *key)
{
  gsize i = hash & t->mask;

  while (t->slots[i].key && !slot_is (&t->slots[i], hash, key))
    i = (i + 1) & t->mask;
  return i;
}

static void
grow (NatTable *t)
{
  Slot *old = t->slots;
  gsize n = t->mask + 1;

  t->mask = n * 2 - 1;
  t->slots = g_new0 (Slot, n * 2);
  for (gsize i = 0; i < n; i++) {
    if (old[i].key)
      t->slots[probe (t, old[i].hash, old[i].key)] = old[i];
  }
  g_free (old);
}

const NatPathKey *
nat_table_insert (NatTable *table, const NatPathKey *key)
{
  guint64 hash = hash_of (table, key);
  const NatPathKey *old;
  gsize i;

  if (table->size * 2 > table->mask)
    grow (table);
  i = probe (table, hash, key);
  old = table->slots[i].key;
  table->slots[i] = (Slot){hash, key};
  if (!old)
    table->size++;
  return old;
}

const NatPathKey *
nat_table_find (const NatTable *table, const NatPathKey *key)
{
  return table->slots[probe (table, hash_of (table, key), key)].key;
}

/* Moves back every follower that may not stay behind a hole: one whose own place is not
 * cyclically between the hole and itself. */
static void
close_hole (NatTable *t, gsize hole)
{
  for (gsize i = (hole + 1) & t->mask; t->slots[i].key; i = (i + 1) & t->mask) {
    gsize home = t->slots[i].hash & t->mask;

    if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
      t->slots[hole] = t->slots[i];
      hole = i;
    }
  }
  t->slots[hole] = (Slot){0, NULL};
}

gboolean
nat_table_remove (NatTable *table, const NatPathKey *key)
{
  gsize i = probe (table, hash_of (table, key), key);

  if (table->slots[i].key != key)
    return FALSE;
  close_hole (table, i);
  table->size--;
  return TRUE;
}
