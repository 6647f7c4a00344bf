/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/voucher.h"

#include "natproto/crypto.h"

#define ISSUED_KEY 13
#define ISSUER     2

void
nat_voucher_make (NatVoucher *v, NatVoucherKind kind, gconstpointer what, gsize len)
{
  guint8 hash[NAT_SHA256_SIZE];

  nat_crypto_sha256 (what, len, hash);
  v->bytes[0] = (guint8)kind;
  memcpy (&v->bytes[1], hash, sizeof v->bytes - 1);
}

void
nat_voucher_set_issuer (NatVoucher *v, const char *url)
{
  guint8 hash[NAT_SHA256_SIZE];

  nat_crypto_sha256 (url, strlen (url), hash);
  v->bytes[0] = NAT_VOUCHER_ISSUED;
  memcpy (&v->bytes[1 + ISSUED_KEY], hash, ISSUER);
}

static gboolean
is_issued (const NatVoucher *v)
{
  return nat_voucher_kind (v) == NAT_VOUCHER_ISSUED;
}

static gboolean
is_key (const NatVoucher *v)
{
  return is_issued (v) || nat_voucher_kind (v) == NAT_VOUCHER_KEY;
}

/* As far as both name it. */
gboolean
nat_voucher_same_key (const NatVoucher *a, const NatVoucher *b)
{
  gsize len = is_issued (a) || is_issued (b) ? ISSUED_KEY : sizeof a->bytes - 1;

  return is_key (a) && is_key (b) && memcmp (&a->bytes[1], &b->bytes[1], len) == 0;
}

gboolean
nat_voucher_same_issuer (const NatVoucher *a, const NatVoucher *b)
{
  return is_issued (a) && is_issued (b) &&
         memcmp (&a->bytes[1 + ISSUED_KEY], &b->bytes[1 + ISSUED_KEY], ISSUER) == 0;
}
