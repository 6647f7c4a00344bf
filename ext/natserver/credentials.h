/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the relay keeps in its state directory: certificate, numbered secrets, the key of its own
 * tokens. All of it is made on the first start. */

#include "natproto/ticket.h"
#include "natserver/config.h"
#include "natserver/control/auth.h"
#include "natserver/control/tls.h"

G_BEGIN_DECLS

/* Makes the directory (0700) if need be. Returns its path; the GError says what to do. */
char *nat_credentials_open_directory (const NatConfig *config, GError **error);
/* One relay at a time: two would write over each other's files. Returns a descriptor that holds the
 * directory until it is closed, -1 if another process does. */
int nat_credentials_lock_directory (const char *dir, GError **error);
/* A host name that clients may know this machine by: its public address, or its name. */
char *nat_credentials_host (const NatConfig *config);

NatTlsIdentity *nat_credentials_identity (const NatConfig *config, const char *dir, GError **error);
NatSecrets *nat_credentials_secrets (const char *dir, GError **error);
/* That our own tokens are signed with. */
NatSignKey *nat_credentials_own_key (const char *dir, GError **error);
/* Reads all files of these that are there, and makes none. */
gboolean nat_credentials_check (const NatConfig *config, GError **error);
/* A token that does not expire and allows its role on every stream. Also kept in a file of the
 * directory, "publish-token" or "subscribe-token". */
char *nat_credentials_default_token (
    const char *dir, NatSignKey *own, NatRole role, GError **error);

G_END_DECLS
