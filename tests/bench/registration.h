/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How a socket becomes a mapping: of natrelay (negotiation over HTTPS, then the STUN challenge), or of a
 * TURN server without authentication. */

#include <glib.h>
#include "https.h"
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natproto/stunauth.h"

G_BEGIN_DECLS

typedef struct {
  char *username;
  guint8 key[NAT_STUN_KEY_SIZE];
  guint8 epoch[NAT_EPOCH_SIZE];
} BenchCredential;

/* ssrc: of the publisher, 0 for a subscriber. */
gboolean bench_negotiate (BenchHttps *relay, NatRole role, const char *stream, guint32 ssrc,
    BenchCredential *credential, GError **error);
void bench_credential_clear (BenchCredential *c);
/* Answers the relay's challenge over fd. Also what keeps the mapping open. */
gboolean bench_register (int fd, const NatAddress *relay, const BenchCredential *c, GError **error);

#define BENCH_TURN_CHANNEL 0x4000
/* Allocate and ChannelBind (RFC 8656): what comes in the channel goes to peer. */
gboolean bench_turn_bind (int fd, const NatAddress *server, const NatAddress *peer, GError **error);

G_END_DECLS
