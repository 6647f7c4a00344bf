/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/voucher.h"

#include "natproto/crypto.h"

void
nat_voucher_make (NatVoucher *v, NatVoucherKind kind, gconstpointer what, gsize len)
{
  guint8 hash[NAT_SHA256_SIZE];

  nat_crypto_sha256 (what, len, hash);
  v->bytes[0] = (guint8)kind;
  memcpy (&v->bytes[1], hash, sizeof v->bytes - 1);
}
