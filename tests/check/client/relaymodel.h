/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay's side of docs/PROTOCOL.md section 3 for one session, from the same challenge and
 * ticket code as the real one, on a clock that the test owns. */

#include "natproto/challenge.h"
#include "natproto/ticket.h"

typedef struct {
  NatSecrets *secrets;
  NatChallenge *challenge;
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  guint32 version;
  gint64 unix_s;           /* the wall clock */
  gboolean foreign_is_401; /* refuses a nonce that it did not issue with 401 instead of 438 */
  NatReason refuse;        /* not NONE: authenticated 403 to all */

  NatAddress selected;          /* where media goes */
  gint64 selected_nonce_us;     /* of the selection; -1 = none */
  gint64 binding_us;            /* last valid one */
  guint8 epoch[NAT_EPOCH_SIZE]; /* that it carried */
  guint n_success, n_401, n_438, n_403, n_400, n_silent;
} RelayModel;

void relay_model_init (RelayModel *r, guint32 seed);
void relay_model_clear (RelayModel *r);
/* Another process with the same state directory: all but the secrets is new. */
void relay_model_restart (RelayModel *r, guint32 seed);
/* Secrets are gone too: nobody's ticket opens any more. */
void relay_model_lose_secrets (RelayModel *r, guint32 seed);
/* USERNAME and password of a new session. */
void relay_model_open (RelayModel *r, gint64 lifetime_s, char username[NAT_TICKET_TEXT_MAX + 1],
    char password[NAT_PASSWORD_TEXT + 1]);
/* Returns the answer's length, 0 = none. */
gsize relay_model_input (RelayModel *r, gint64 now_us, const NatAddress *from,
    const NatAddress *local, const guint8 *data, gsize len, guint8 *out, gsize cap);
gsize relay_model_indication (RelayModel *r, NatReason reason, guint8 *out, gsize cap);
