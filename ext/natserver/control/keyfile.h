/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include "natproto/crypto.h"

G_BEGIN_DECLS

/* A key that signs or checks access tokens, from a file: 64 hex digits (HS256), or PEM with a public or
 * private key (EC P-256: ES256; Ed25519: EdDSA). The GError names the file and what is wrong. */
NatSignKey *nat_key_file_load (const char *path, GError **error);

G_END_DECLS
