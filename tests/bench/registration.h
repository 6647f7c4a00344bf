/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How a socket becomes a mapping: of natrelay (negotiation by a command, then the STUN challenge),
 * or of a TURN server without authentication. */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natproto/stunauth.h"

G_BEGIN_DECLS

typedef struct {
  char *username;
  guint8 key[NAT_STUN_KEY_SIZE];
  guint8 epoch[NAT_EPOCH_SIZE];
} BenchCredential;

/* Runs `command ROLE STREAM N` with the description in its standard input; it must print N session
 * documents, each followed by the byte 0x1e. ssrc: of the publisher, 0 for subscribers. */
gboolean bench_negotiate (const char *command, NatRole role, const char *stream, guint32 ssrc,
    guint n, BenchCredential *credentials, GError **error);
void bench_credential_clear (BenchCredential *c);
/* Answers the relay's challenge over fd. Also what keeps the mapping open. */
gboolean bench_register (int fd, const NatAddress *relay, const BenchCredential *c, GError **error);

#define BENCH_TURN_CHANNEL 0x4000
/* Allocate and ChannelBind (RFC 8656): what comes in the channel goes to peer. */
gboolean bench_turn_bind (int fd, const NatAddress *server, const NatAddress *peer, GError **error);

G_END_DECLS
