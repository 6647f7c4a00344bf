/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A datagram, as it came and with its header and FINGERPRINT put right, so that the
 * attributes behind them are reached too. */

#include "natproto/stun.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/stunauth.h"

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

static void
must_be_inside (const NatStunMessage *msg, const NatStunSlice *slice)
{
  if (slice->data != NULL && (slice->data < msg->bytes + NAT_STUN_HEADER_SIZE ||
                                 slice->data + slice->len > msg->bytes + msg->len))
    g_error ("a slice outside of its message");
}

/* What the client would write in answer, into a buffer that may be too small */
static void
answer (const NatStunMessage *msg, const NatStunAuthChallenge *challenge, gsize cap)
{
  static const guint8 key[32] = {1};
  g_autofree guint8 *buf = g_malloc (cap);
  NatStunWriter w;
  NatStunMessage own;
  gsize len;

  nat_stun_writer_init (&w, buf, cap, NAT_STUN_BINDING_REQUEST, msg->transaction_id);
  nat_stunauth_add_answer (&w, "user", challenge);
  nat_stun_writer_add_integrity (&w, key, sizeof key);
  len = nat_stun_writer_finish (&w);
  if (len == 0)
    return;
  if (nat_stun_parse (&own, buf, len) != NAT_STUN_OK || !nat_stun_verify (&own, key, sizeof key))
    g_error ("we wrote what we cannot read");
}

static void
use (const guint8 *data, gsize size)
{
  static const guint8 key[32] = {1};
  NatStunAuthChallenge challenge;
  NatStunSlice reason = {NULL, 0};
  NatStunMessage msg;
  NatAddress address;
  guint32 value;

  if (nat_stun_parse (&msg, data, size) != NAT_STUN_OK)
    return;
  const NatStunSlice *const slices[] = {&msg.username, &msg.realm, &msg.nonce, &msg.software,
      &msg.userhash, &msg.password_algorithm, &msg.password_algorithms, &msg.error_code,
      &msg.xor_mapped_address, &msg.unknown_attributes, &msg.boot_id, &msg.epoch, &msg.version,
      &msg.reason, &msg.integrity, &msg.integrity_sha256, &reason};
  nat_stun_error_code (&msg, &reason);
  for (gsize i = 0; i < G_N_ELEMENTS (slices); i++)
    must_be_inside (&msg, slices[i]);
  if (msg.n_unknown_required > G_N_ELEMENTS (msg.unknown_required))
    g_error ("more unknown attributes than room");
  nat_stun_mapped_address (&msg, &address);
  nat_stun_slice_u32 (&msg.version, &value);
  nat_stun_verify (&msg, key, sizeof key);
  nat_stunauth_inspect (&msg);
  if (nat_stunauth_challenge (&msg, &challenge))
    answer (&msg, &challenge, 64 + size);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, size_t size)
{
  gsize len = MIN (size, NAT_DATAGRAM_MAX) & ~(gsize)3;
  guint8 *right;
  NatStunWriter w;

  use (data, size);
  if (len < NAT_STUN_HEADER_SIZE + NAT_STUN_FINGERPRINT_SIZE)
    return 0;
  right = g_memdup2 (data, len);
  w = (NatStunWriter){.buf = right, .cap = len, .len = len - NAT_STUN_FINGERPRINT_SIZE};
  right[0] &= 0x3f;
  memcpy (right + 4, "\x21\x12\xa4\x42", 4);
  nat_stun_writer_finish (&w);
  use (right, len);
  g_free (right);
  return 0;
}
