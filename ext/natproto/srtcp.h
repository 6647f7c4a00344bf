/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* SRTCP (RFC 3711) with AEAD_AES_128_GCM (RFC 7714), between a client and its relay. One
 * context per direction. Each start of relay or client gives new keys, so no key and index pair
 * ever comes twice:
 *
 *   master key, 16 bytes | master salt, 12 bytes =
 *     HKDF-SHA256 (IKM  = the password's 43 characters,
 *                  salt = boot id, 16 bytes | epoch, 16 bytes,
 *                  info = "natrelay srtcp client to relay v1" or "natrelay srtcp relay to client v1",
 *                  L    = 28)
 *
 * and from them RFC 3711 section 4.3 makes the session key and salt (key derivation rate 0, labels 3
 * and 5), so that an SRTP library can stand at the other end. Every packet is encrypted. The index
 * counts all packets of a direction, whatever SSRC they begin with: a library that counts each SSRC
 * by itself may send from one SSRC only, or its second looks like a replay. */

#include <glib.h>
#include "natproto/messages.h"
#include "natproto/replay.h"

G_BEGIN_DECLS

#define NAT_SRTCP_OVERHEAD    20  /* bytes: 16 of tag, 4 of E flag and index */
#define NAT_SRTCP_WINDOW      192 /* indices behind the highest that are still taken */
#define NAT_SRTCP_MASTER_SIZE 28  /* bytes: 16 of master key, 12 of master salt */

typedef enum {
  NAT_SRTCP_CLIENT_TO_RELAY,
  NAT_SRTCP_RELAY_TO_CLIENT,
} NatSrtcpDirection;

/* The master key and salt, for a peer that is another SRTP library. */
void nat_srtcp_master (const char *password, NatSrtcpDirection direction,
    const guint8 boot_id[NAT_BOOT_ID_SIZE], const guint8 epoch[NAT_EPOCH_SIZE],
    guint8 master[NAT_SRTCP_MASTER_SIZE]);

typedef struct _NatSrtcp NatSrtcp; /* one thread at a time */

/* password: the session's, as text. About 250 bytes and one AEAD handle. */
NatSrtcp *nat_srtcp_new (const char *password, NatSrtcpDirection direction,
    const guint8 boot_id[NAT_BOOT_ID_SIZE], const guint8 epoch[NAT_EPOCH_SIZE]);
void nat_srtcp_free (NatSrtcp *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSrtcp, nat_srtcp_free)

/* In place: data holds len bytes and has room for len + NAT_SRTCP_OVERHEAD. Returns the new
 * length, 0 when len < 8 or the 31-bit index is used up (then: a new epoch). */
gsize nat_srtcp_protect (NatSrtcp *s, guint8 *data, gsize len);

typedef enum {
  NAT_SRTCP_OK,
  NAT_SRTCP_SHORT,
  NAT_SRTCP_FORGED,   /* tag does not fit, or E flag off */
  NAT_SRTCP_REPLAYED, /* index seen, or older than NAT_SRTCP_WINDOW */
} NatSrtcpStatus;
/* In place; *len becomes the length of the plain compound. */
NatSrtcpStatus nat_srtcp_unprotect (NatSrtcp *s, guint8 *data, gsize *len);

G_END_DECLS
