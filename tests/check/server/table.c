/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The table against a slow and obvious twin, GHashTable. */

#include "natserver/data/table.h"

#include <string.h>

static const guint8 hash_key[16] = "0123456789abcdef";

typedef struct {
  NatPathKey key;
  guint number;
} Entry;

static void
fill_key (NatPathKey *key, guint i)
{
  memset (key, 0, sizeof *key);
  key->remote.family = 4;
  key->remote.ip[0] = 10;
  key->remote.ip[2] = (guint8)(i >> 16);
  key->remote.ip[3] = (guint8)(i >> 24);
  key->remote.port = (guint16)i;
  key->local.family = 4;
  key->local.port = (guint16)(8443 + i % 3);
}

static guint
slow_hash (gconstpointer key)
{
  const guint8 *p = key;
  guint h = 5381;

  for (gsize i = 0; i < sizeof (NatPathKey); i++)
    h = h * 33 + p[i];
  return h;
}

static gboolean
slow_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, sizeof (NatPathKey)) == 0;
}

static void
assert_agree (NatTable *table, GHashTable *twin, Entry *entries, guint n)
{
  g_assert_cmpuint (nat_table_size (table), ==, g_hash_table_size (twin));
  for (guint i = 0; i < n; i++) {
    NatPathKey key;

    fill_key (&key, i);
    g_assert_true (nat_table_find (table, &key) == g_hash_table_lookup (twin, &key));
    g_assert_cmpuint (entries[i].number, ==, i);
  }
}

static void
test_twin (void)
{
  const guint n = 100000;
  g_autofree Entry *entries = g_new0 (Entry, n);
  g_autoptr (GHashTable) twin = g_hash_table_new (slow_hash, slow_equal);
  g_autoptr (GRand) rand = g_rand_new_with_seed (7);
  NatTable *table = nat_table_new (hash_key);

  for (guint i = 0; i < n; i++) {
    fill_key (&entries[i].key, i);
    entries[i].number = i;
    g_assert_null (nat_table_insert (table, &entries[i].key));
    g_hash_table_insert (twin, &entries[i].key, &entries[i].key);
  }
  assert_agree (table, twin, entries, n);
  for (guint step = 0; step < 3 * n; step++) {
    guint i = (guint)g_rand_int_range (rand, 0, (gint32)n);
    gboolean there = g_hash_table_remove (twin, &entries[i].key);

    g_assert_cmpint (nat_table_remove (table, &entries[i].key), ==, there);
    if (!there) {
      nat_table_insert (table, &entries[i].key);
      g_hash_table_insert (twin, &entries[i].key, &entries[i].key);
    }
  }
  assert_agree (table, twin, entries, n);
  for (guint i = 0; i < n; i++)
    nat_table_remove (table, &entries[i].key);
  g_assert_cmpuint (nat_table_size (table), ==, 0);
  for (guint i = 0; i < n; i++)
    g_assert_null (nat_table_find (table, &entries[i].key));
  nat_table_free (table);
}

static void
test_replace (void)
{
  NatTable *table = nat_table_new (hash_key);
  NatPathKey a, b;

  fill_key (&a, 1);
  b = a;
  g_assert_null (nat_table_insert (table, &a));
  g_assert_true (nat_table_insert (table, &b) == &a);
  g_assert_cmpuint (nat_table_size (table), ==, 1);
  g_assert_true (nat_table_find (table, &a) == &b);
  /* The old one was put out already; taking it out again must not hit the new. */
  g_assert_false (nat_table_remove (table, &a));
  g_assert_true (nat_table_find (table, &a) == &b);
  g_assert_true (nat_table_remove (table, &b));
  g_assert_null (nat_table_find (table, &a));
  nat_table_free (table);
}

/* Every byte counts: same address by another transport or towards another of ours is a stranger. */
static void
test_every_byte (void)
{
  NatTable *table = nat_table_new (hash_key);
  NatPathKey key;

  fill_key (&key, 1);
  nat_table_insert (table, &key);
  for (gsize i = 0; i < sizeof key; i++) {
    NatPathKey other = key;
    ((guint8 *)&other)[i] ^= 1;
    g_assert_null (nat_table_find (table, &other));
  }
  nat_table_free (table);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/table/twin", test_twin);
  g_test_add_func ("/table/replace", test_replace);
  g_test_add_func ("/table/every-byte", test_every_byte);
  return g_test_run ();
}
