/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A numbered table, then random walks against a slow twin that remembers every counter. */

#include "natproto/replay.h"

#include <string.h>

/* Window of one case: 2 words, so 64 counters. fresh: what check must say before the commit. */
static const struct {
  guint64 counter;
  gboolean fresh;
} table[] = {
    /*  0 */ {0, TRUE},
    /*  1 */ {0, FALSE},
    /*  2 */ {1, TRUE},
    /*  3 */ {1, FALSE},
    /*  4 */ {9, TRUE},
    /*  5 */ {8, TRUE},
    /*  6 */ {7, TRUE},
    /*  7 */ {7, FALSE},
    /*  8 */ {63, TRUE},
    /*  9 */ {2, TRUE},
    /* 10 */ {0, FALSE},
    /* 11 */ {64, TRUE},
    /* 12 */ {0, FALSE}, /* 64 behind: out of the window */
    /* 13 */ {3, TRUE},
    /* 14 */ {127, TRUE},
    /* 15 */ {63, FALSE}, /* seen and out of the window */
    /* 16 */ {64, FALSE},
    /* 17 */ {65, TRUE},
    /* 18 */ {128, TRUE}, /* a word is used again: what it held is gone */
    /* 19 */ {66, TRUE},
    /* 20 */ {65, FALSE},
    /* 21 */ {64, FALSE},
    /* 22 */ {1000000, TRUE},
    /* 23 */ {1000000 - 63, TRUE},
    /* 24 */ {1000000 - 64, FALSE},
    /* 25 */ {128, FALSE},
    /* 26 */ {G_MAXUINT64, TRUE},
    /* 27 */ {G_MAXUINT64, FALSE},
    /* 28 */ {G_MAXUINT64 - 63, TRUE},
    /* 29 */ {G_MAXUINT64 - 64, FALSE},
    /* 30 */ {0, FALSE},
};

static void
test_table (void)
{
  guint64 words[2] = {0};
  NatReplay r;

  nat_replay_init (&r, words, 2);
  for (guint i = 0; i < G_N_ELEMENTS (table); i++) {
    if (nat_replay_check (&r, table[i].counter) != table[i].fresh)
      g_error ("row %u: counter %" G_GUINT64_FORMAT " is not %s", i, table[i].counter,
          table[i].fresh ? "fresh" : "refused");
    if (table[i].fresh)
      nat_replay_commit (&r, table[i].counter);
  }
}

/* Checking alone changes nothing: a forged packet must not move the window. */
static void
test_check_is_pure (void)
{
  guint64 words[4] = {0}, copy[4];
  NatReplay r, before;

  nat_replay_init (&r, words, 4);
  nat_replay_commit (&r, 500);
  before = r;
  memcpy (copy, words, sizeof words);
  g_assert_true (nat_replay_check (&r, G_MAXUINT64));
  g_assert_true (nat_replay_check (&r, 499));
  g_assert_cmpmem (&r, sizeof r, &before, sizeof before);
  g_assert_cmpmem (words, sizeof words, copy, sizeof copy);
}

/* An old counter that is committed all the same must not damage a newer word of the ring. */
static void
test_commit_too_old (void)
{
  guint64 words[2] = {0};
  NatReplay r;

  nat_replay_init (&r, words, 2);
  nat_replay_commit (&r, 128 + 5);
  nat_replay_commit (&r, 6);
  g_assert_true (nat_replay_check (&r, 128 + 6));
  g_assert_false (nat_replay_check (&r, 6));
}

static gboolean
twin_fresh (GHashTable *seen, guint64 top, guint64 counter, guint64 window)
{
  if (g_hash_table_size (seen) == 0)
    return TRUE;
  return (counter > top || top - counter < window) && !g_hash_table_contains (seen, &counter);
}

static void
walk (guint n_words, guint seed)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  g_autoptr (GRand) rand = g_rand_new_with_seed (seed);
  g_autofree guint64 *words = g_new0 (guint64, n_words);
  guint64 top = 0, window = (n_words - 1) * 64;
  guint spread = window * 2 + 130;
  NatReplay r;

  nat_replay_init (&r, words, n_words);
  for (guint i = 0; i < 20000; i++) {
    guint64 counter =
        (top > window + 64 ? top - window - 64 : 0) + g_rand_int_range (rand, 0, spread);
    gboolean fresh = twin_fresh (seen, top, counter, window);

    if (nat_replay_check (&r, counter) != fresh)
      g_error ("words %u seed %u step %u: %" G_GUINT64_FORMAT " with top %" G_GUINT64_FORMAT
               " should be %s",
          n_words, seed, i, counter, top, fresh ? "fresh" : "refused");
    if (fresh) {
      nat_replay_commit (&r, counter);
      g_hash_table_add (seen, g_memdup2 (&counter, sizeof counter));
      top = MAX (top, counter);
    }
  }
}

static void
test_twin (void)
{
  for (guint n_words = 1; n_words <= NAT_REPLAY_WORDS_MAX; n_words *= 2) {
    walk (n_words, 1);
    walk (n_words, 2);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/replay/table", test_table);
  g_test_add_func ("/replay/check-is-pure", test_check_is_pure);
  g_test_add_func ("/replay/commit-too-old", test_commit_too_old);
  g_test_add_func ("/replay/twin", test_twin);
  return g_test_run ();
}
