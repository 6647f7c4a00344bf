/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A path is a pair of addresses: the client's outside one and the one of ours that it sent
 * to. Both are needed: a NAT may map the same client differently towards each, and an answer
 * from another address than the one addressed is dropped by the client's NAT. */

#include <glib.h>
#include "natproto/address.h"

G_BEGIN_DECLS

typedef struct {
  NatAddress remote;
  NatAddress local;
} NatPathKey;

/* The table hashes and compares keys as five words: no byte of them may be padding. */
G_STATIC_ASSERT (sizeof (NatPathKey) == 40);

G_END_DECLS
