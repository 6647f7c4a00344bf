/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/replay.h"

#include <string.h>

/* The ring always holds the top's word and the n_words - 1 before it, so moving on clears
 * whole words and never shifts bits; the price is that the window ends up to 63 counters
 * before the oldest bit that is still held. */

void
nat_replay_init (NatReplay *r, guint64 *words, guint n_words)
{
  g_assert (n_words > 0 && n_words <= NAT_REPLAY_WORDS_MAX && (n_words & (n_words - 1)) == 0);
  r->top = 0;
  r->started = FALSE;
  r->n_words = n_words;
  r->words = words;
}

static gboolean
too_old (const NatReplay *r, guint64 counter)
{
  return counter < r->top && r->top - counter >= (guint64)(r->n_words - 1) * 64;
}

static guint64 *
word_of (const NatReplay *r, guint64 counter)
{
  return &r->words[(counter / 64) & (r->n_words - 1)];
}

gboolean
nat_replay_check (const NatReplay *r, guint64 counter)
{
  if (!r->started || counter > r->top)
    return TRUE;
  return !too_old (r, counter) && (*word_of (r, counter) >> counter % 64 & 1) == 0;
}

static void
advance (NatReplay *r, guint64 counter)
{
  guint64 steps = counter / 64 - r->top / 64;

  if (steps >= r->n_words) {
    memset (r->words, 0, r->n_words * sizeof *r->words);
  } else {
    for (guint64 i = 1; i <= steps; i++)
      *word_of (r, r->top + i * 64) = 0;
  }
  r->top = counter;
}

void
nat_replay_commit (NatReplay *r, guint64 counter)
{
  if (!r->started) {
    r->started = TRUE;
    r->top = counter;
  } else if (counter > r->top) {
    advance (r, counter);
  } else if (too_old (r, counter)) {
    return;
  }
  *word_of (r, counter) |= G_GUINT64_CONSTANT (1) << counter % 64;
}
