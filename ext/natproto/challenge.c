/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/challenge.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"
#include "natproto/messages.h"
#include "natproto/stunauth.h"

/* Behind the cookie, 24 feature bits in base64, counted from the left (RFC 8489 section
 * 18.1). Bit 0, password algorithms, is set: we offer SHA-256 and expect the list echoed.
 * Bit 1, username anonymity, is not: a ticket tells nothing to who cannot open it. */
#define PREFIX     NAT_STUN_NONCE_COOKIE "gAAA"
#define PREFIX_LEN (sizeof PREFIX - 1)

#define TIME_SIZE 8
#define MAC_SIZE  16 /* of 32: still 128 bits, which nobody guesses in 30 s */
#define BODY_SIZE (TIME_SIZE + MAC_SIZE)

G_STATIC_ASSERT (PREFIX_LEN + NAT_BASE64URL_LEN (BODY_SIZE) == NAT_NONCE_LEN);

struct _NatChallenge {
  NatHmac *hmac;
  gint64 last_us; /* of the nonce issued last */
};

NatChallenge *
nat_challenge_new (const guint8 key[32])
{
  NatChallenge *c = g_new0 (NatChallenge, 1);

  c->hmac = nat_hmac_new (key, 32);
  c->last_us = G_MININT64;
  return c;
}

void
nat_challenge_free (NatChallenge *c)
{
  if (c == NULL)
    return;
  nat_hmac_free (c->hmac);
  g_free (c);
}

static void
update_address (NatHmac *hmac, const NatAddress *a)
{
  guint8 bytes[20];

  memcpy (bytes, a->ip, 16);
  nat_write_u16 (bytes + 16, a->port);
  bytes[18] = a->family;
  bytes[19] = a->transport;
  nat_hmac_update (hmac, bytes, sizeof bytes);
}

/* The path is both ends: a nonce that was overheard is of no use from elsewhere. */
static void
compute_mac (NatChallenge *c, const guint8 time[TIME_SIZE], const NatAddress *remote,
    const NatAddress *local, guint8 mac[MAC_SIZE])
{
  guint8 full[NAT_SHA256_SIZE];

  nat_hmac_update (c->hmac, time, TIME_SIZE);
  update_address (c->hmac, remote);
  update_address (c->hmac, local);
  nat_hmac_final (c->hmac, full);
  memcpy (mac, full, MAC_SIZE);
}

void
nat_challenge_issue (NatChallenge *c, gint64 now_us, const NatAddress *remote,
    const NatAddress *local, char nonce[NAT_NONCE_LEN + 1])
{
  guint8 body[BODY_SIZE];

  /* Two clients in one microsecond: the later nonce must also be the greater, as a path is
   * selected by the nonce that was issued last. */
  if (now_us <= c->last_us)
    now_us = c->last_us + 1;
  c->last_us = now_us;
  nat_write_be (body, (guint64)now_us, TIME_SIZE);
  compute_mac (c, body, remote, local, body + TIME_SIZE);
  memcpy (nonce, PREFIX, PREFIX_LEN);
  nat_base64url_encode (body, sizeof body, nonce + PREFIX_LEN);
}

NatChallengeStatus
nat_challenge_check (NatChallenge *c, gint64 now_us, const NatAddress *remote,
    const NatAddress *local, const guint8 *nonce, gsize len, gint64 *issued_us)
{
  guint8 body[BODY_SIZE], mac[MAC_SIZE];
  gint64 issued;

  if (len != NAT_NONCE_LEN || memcmp (nonce, PREFIX, PREFIX_LEN) != 0 ||
      nat_base64url_decode (
          (const char *)nonce + PREFIX_LEN, len - PREFIX_LEN, body, sizeof body) != BODY_SIZE)
    return NAT_CHALLENGE_FOREIGN;
  compute_mac (c, body, remote, local, mac);
  if (!nat_crypto_equal (mac, body + TIME_SIZE, MAC_SIZE))
    return NAT_CHALLENGE_FOREIGN;
  issued = (gint64)nat_read_be (body, TIME_SIZE);
  *issued_us = issued;
  /* A nonce moved forward by issue() may be a few microseconds ahead of the clock. */
  if (issued > MAX (now_us, c->last_us) || issued < now_us - NAT_NONCE_LIFETIME_US)
    return NAT_CHALLENGE_STALE;
  return NAT_CHALLENGE_GOOD;
}
