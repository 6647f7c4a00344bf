/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Where the relay is and what clients need to reach it: for who started it, and for "natrelay-server status". */

#include <stdio.h>

#include "natserver/config.h"
#include "natserver/control/tls.h"
#include "natserver/credentials.h"

G_BEGIN_DECLS

/* All borrowed. */
typedef struct {
  const NatConfig *config;
  const char *dir; /* the state directory */
  NatTlsIdentity *identity;
  NatSignKey *token_key;
  const NatAddress *local; /* where it listens */
  guint n_listen;
} NatWhereabouts;

/* One "name=value" per line, and lines to paste. secrets FALSE: without tokens. */
gboolean nat_whereabouts_print (
    const NatWhereabouts *w, FILE *out, gboolean secrets, GError **error);
/* Into the state directory, for this machine's "natrelay-server status". */
gboolean nat_whereabouts_leave (const NatWhereabouts *w, GError **error);
void nat_whereabouts_remove (const char *dir);

G_END_DECLS
