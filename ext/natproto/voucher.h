/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What let a session in: the key that signed its token, a static token, a secret of time-limited
 * credentials. Its kind and a hash of it, short enough to travel in the session's ticket: so a relay knows
 * also of a session that it had forgotten whether what let it in is still good. It goes nowhere but under
 * the ticket's seal. */

#include <glib.h>
#include <string.h>

G_BEGIN_DECLS

#define NAT_VOUCHER_SIZE 16 /* a byte of kind, 15 of SHA-256 */

typedef enum {
  NAT_VOUCHER_NONE = 0,     /* nobody asked: an open relay */
  NAT_VOUCHER_KEY = 1,      /* a key that signs tokens */
  NAT_VOUCHER_STATIC = 2,   /* a static token */
  NAT_VOUCHER_SECRET = 3,   /* a secret of time-limited credentials */
  NAT_VOUCHER_CALLBACK = 4, /* the callback alone, who knows tokens that we do not */
  NAT_VOUCHER_ISSUED =
      5, /* such a key, of a set at a URL: 13 bytes of the key's hash, 2 of the URL's */
} NatVoucherKind;

typedef struct {
  guint8 bytes[NAT_VOUCHER_SIZE];
} NatVoucher;

/* what: len bytes that only this voucher of its kind has. */
void nat_voucher_make (NatVoucher *v, NatVoucherKind kind, gconstpointer what, gsize len);

/* v is a key's: it came in the set at that URL. */
void nat_voucher_set_issuer (NatVoucher *v, const char *url);
/* The same key, wherever each has it from. */
gboolean nat_voucher_same_key (const NatVoucher *a, const NatVoucher *b);
/* Keys of a set at the same URL. */
gboolean nat_voucher_same_issuer (const NatVoucher *a, const NatVoucher *b);

static inline NatVoucherKind
nat_voucher_kind (const NatVoucher *v)
{
  return (NatVoucherKind)v->bytes[0];
}

static inline gboolean
nat_voucher_equal (const NatVoucher *a, const NatVoucher *b)
{
  return memcmp (a->bytes, b->bytes, sizeof a->bytes) == 0;
}

G_END_DECLS
