/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* All that the settings say of who may what, read from its files: keys and key sets, static tokens, secrets of
 * credentials. It is read as a whole, so that a mistake in one file changes nothing. */

#include "natserver/config.h"
#include "natserver/control/auth.h"
#include "natserver/control/fetch.h"

G_BEGIN_DECLS

typedef struct {
  NatTokenKeys *keys;
  NatStaticTokens *statics; /* NULL: none */
  GPtrArray *secrets;       /* ended by NULL; NULL: none */
  char **urls;              /* of key sets; never NULL */
  NatFetcher *fetcher;      /* NULL: nothing is to be fetched */
} NatPermissions;

/* own: a key that counts besides; or NULL. The GError names the file. */
gboolean nat_permissions_load (
    NatPermissions *p, const NatConfig *config, NatSignKey *own, GError **error);
void nat_permissions_clear (NatPermissions *p);

G_END_DECLS
