/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Keys of SRTCP come of a password, a start of the relay (its boot id) and an epoch of ours, and each has its indices from 0
 * on: so contexts for the same three must never be made twice. Among relays with a common secret a boot id may come back,
 * or an answer of a relay that is no more may come late: then the epoch is another. */

#include <glib.h>
#include "natproto/crypto.h"
#include "natproto/messages.h"

G_BEGIN_DECLS

#define NAT_EPOCH_PAIRS_MAX 8 /* in one epoch; the next draws another */

typedef struct {
  guint8 bytes[NAT_EPOCH_SIZE];
  guint8 pairs[NAT_EPOCH_PAIRS_MAX]
              [NAT_SHA256_SIZE]; /* of password and boot id, that had contexts in this epoch */
  guint n_pairs;
  guint8 boot_id[NAT_BOOT_ID_SIZE]; /* of the last pair */
  gboolean in_use;                  /* the contexts of the last pair */
} NatEpoch;

typedef enum {
  NAT_EPOCH_SAME,   /* the contexts in use go on */
  NAT_EPOCH_FRESH,  /* new contexts are to be made */
  NAT_EPOCH_CHANGED /* likewise, and the relay is to be told of another epoch first */
} NatEpochStep;

void nat_epoch_init (NatEpoch *e);
/* An authenticated answer came of the relay's start boot_id, to the session with that password. */
NatEpochStep nat_epoch_enter (
    NatEpoch *e, const char *password, const guint8 boot_id[NAT_BOOT_ID_SIZE]);
/* The contexts in use are given up. */
void nat_epoch_leave (NatEpoch *e);

G_END_DECLS
