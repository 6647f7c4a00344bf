/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Whether an SSRC may be announced somewhere: counts by a keyed hash, that all workers change and
 * read without a lock. It may say yes to one that is not (then somebody gets one hint too many, of
 * those that are limited anyway), never no to one that is. */

#include <stdatomic.h>
#include <glib.h>

#include "natproto/crypto.h"

G_BEGIN_DECLS

#define NAT_SSRC_FILTER_BITS 20

typedef struct {
  guint32 factor; /* odd, random */
  _Atomic guint16 *counts;
} NatSsrcFilter;

static inline void
nat_ssrc_filter_init (NatSsrcFilter *f)
{
  nat_crypto_random (&f->factor, sizeof f->factor);
  f->factor |= 1;
  f->counts = g_malloc0 (sizeof *f->counts << NAT_SSRC_FILTER_BITS);
}

static inline void
nat_ssrc_filter_clear (NatSsrcFilter *f)
{
  g_free (f->counts);
}

static inline void
nat_ssrc_filter_change (NatSsrcFilter *f, guint32 ssrc, gint change)
{
  atomic_fetch_add_explicit (&f->counts[(ssrc * f->factor) >> (32 - NAT_SSRC_FILTER_BITS)],
      (guint16)change, memory_order_relaxed);
}

static inline gboolean
nat_ssrc_filter_has (const NatSsrcFilter *f, guint32 ssrc)
{
  return atomic_load_explicit (&f->counts[(ssrc * f->factor) >> (32 - NAT_SSRC_FILTER_BITS)],
             memory_order_relaxed) > 0;
}

G_END_DECLS
