/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/epoch.h"

#include <string.h>

void
nat_epoch_init (NatEpoch *e)
{
  memset (e, 0, sizeof *e);
  nat_crypto_random (e->bytes, sizeof e->bytes);
}

static void
pair_of (const char *password, const guint8 *boot_id, guint8 pair[NAT_SHA256_SIZE])
{
  nat_crypto_hmac (password, strlen (password), boot_id, NAT_BOOT_ID_SIZE, pair);
}

static gboolean
was_entered (const NatEpoch *e, const guint8 *pair)
{
  for (guint i = 0; i < e->n_pairs; i++) {
    if (memcmp (e->pairs[i], pair, NAT_SHA256_SIZE) == 0)
      return TRUE;
  }
  return FALSE;
}

NatEpochStep
nat_epoch_enter (NatEpoch *e, const char *password, const guint8 boot_id[NAT_BOOT_ID_SIZE])
{
  guint8 pair[NAT_SHA256_SIZE];
  gboolean redraw;

  pair_of (password, boot_id, pair);
  if (e->in_use && memcmp (e->pairs[e->n_pairs - 1], pair, sizeof pair) == 0)
    return NAT_EPOCH_SAME;
  redraw = was_entered (e, pair) || e->n_pairs == NAT_EPOCH_PAIRS_MAX;
  if (redraw)
    nat_epoch_init (e);
  memcpy (e->pairs[e->n_pairs++], pair, sizeof pair);
  memcpy (e->boot_id, boot_id, sizeof e->boot_id);
  e->in_use = TRUE;
  return redraw ? NAT_EPOCH_CHANGED : NAT_EPOCH_FRESH;
}

void
nat_epoch_leave (NatEpoch *e)
{
  e->in_use = FALSE;
}
