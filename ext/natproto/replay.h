/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A sliding window over counters (RFC 6479's ring of words): tells a fresh counter from one
 * seen before or too old. check before the tag is verified, commit after. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_REPLAY_WORDS_MAX 256 /* of 64 bits: a window of up to 16320 counters */

typedef struct {
  guint64 top; /* highest counter committed; valid if started */
  gboolean started;
  guint n_words; /* a power of two */
  guint64 *words;
} NatReplay;

/* words: n_words of zeroed memory that outlives r. The window is (n_words - 1) * 64. */
void nat_replay_init (NatReplay *r, guint64 *words, guint n_words);
gboolean nat_replay_check (const NatReplay *r, guint64 counter);
void nat_replay_commit (NatReplay *r, guint64 counter);

G_END_DECLS
