/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/stunauth.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"

/* One algorithm, SHA-256 (0x0002), with no parameters: the whole list that the relay offers,
 * and the choice that the client makes. */
static const guint8 sha256_algorithm[4] = {0x00, NAT_STUN_PASSWORD_ALGORITHM_SHA256, 0x00, 0x00};

/* ---- The key ----------------------------------------------------------- */

void
nat_stun_key (const char *username, gsize username_len, const char *realm, const char *password,
    guint8 key[NAT_STUN_KEY_SIZE])
{
  gsize realm_len = strlen (realm), password_len = strlen (password);
  gsize len = username_len + 1 + realm_len + 1 + password_len;
  guint8 local[1024]; /* a ticket, our realm and our password fit: no allocation then */
  guint8 *text = len <= sizeof local ? local : g_malloc (len);
  guint8 *p = text;

  memcpy (p, username, username_len);
  p += username_len;
  *p++ = ':';
  memcpy (p, realm, realm_len);
  p += realm_len;
  *p++ = ':';
  memcpy (p, password, password_len);
  nat_crypto_sha256 (text, len, key);
  nat_crypto_wipe (text, len);
  if (text != local)
    g_free (text);
}

gboolean
nat_stun_verify (const NatStunMessage *msg, gconstpointer key, gsize key_len)
{
  guint8 copy[NAT_DATAGRAM_MAX], mac[NAT_SHA256_SIZE];
  gsize covered;

  if (msg->integrity_sha256.data == NULL || msg->integrity_sha256.len != sizeof mac)
    return FALSE;
  covered = (gsize)(msg->integrity_sha256.data - msg->bytes) - 4;
  if (covered > sizeof copy)
    return FALSE;
  /* The sender hashed a header whose length ended with the integrity attribute; what came
   * behind it was added later. Padding is hashed as it came, whatever its bytes. */
  memcpy (copy, msg->bytes, covered);
  nat_write_u16 (copy + 2, (guint16)(covered + NAT_STUN_INTEGRITY_SIZE - NAT_STUN_HEADER_SIZE));
  nat_crypto_hmac (key, key_len, copy, covered, mac);
  return nat_crypto_equal (mac, msg->integrity_sha256.data, sizeof mac);
}

/* ---- The relay's side -------------------------------------------------- */

static gboolean
is_sha256 (const NatStunSlice *slice)
{
  return slice->len == sizeof sha256_algorithm &&
         memcmp (slice->data, sha256_algorithm, sizeof sha256_algorithm) == 0;
}

NatStunAuthStatus
nat_stunauth_inspect (const NatStunMessage *msg)
{
  if (msg->integrity.data == NULL && msg->integrity_sha256.data == NULL)
    return NAT_STUNAUTH_NONE;
  if (msg->integrity_sha256.len != NAT_SHA256_SIZE || msg->username.len == 0 ||
      msg->nonce.data == NULL || !nat_stun_slice_equal (&msg->realm, NAT_REALM))
    return NAT_STUNAUTH_INCOMPLETE;
  /* The list must come back as we offered it: a shorter or weaker one means that somebody
   * changed our challenge on the way (RFC 8489 section 9.2.4). */
  if (!is_sha256 (&msg->password_algorithms) || !is_sha256 (&msg->password_algorithm))
    return NAT_STUNAUTH_INCOMPLETE;
  return NAT_STUNAUTH_COMPLETE;
}

void
nat_stunauth_add_challenge (NatStunWriter *w, const char *nonce)
{
  nat_stun_writer_add_text (w, NAT_ATTR_REALM, NAT_REALM);
  nat_stun_writer_add_text (w, NAT_ATTR_NONCE, nonce);
  nat_stun_writer_add (w, NAT_ATTR_PASSWORD_ALGORITHMS, sha256_algorithm, sizeof sha256_algorithm);
}

/* ---- The client's side ------------------------------------------------- */

/* TRUE if the nonce begins with RFC 8489's cookie and says there that the server knows
 * password algorithms. The four characters behind the cookie are 24 bits in base64; section
 * 18.1 numbers them from the left, so bit 0 is the highest of the first character: 32 of the
 * six bits' value, which 'g'..'z', the digits, '+' and '/' have (and '-' and '_' of those who
 * write base64url). */
static gboolean
cookie_tells_algorithms (const NatStunSlice *nonce)
{
  char first;

  if (nonce->len < strlen (NAT_STUN_NONCE_COOKIE) + 4 ||
      memcmp (nonce->data, NAT_STUN_NONCE_COOKIE, strlen (NAT_STUN_NONCE_COOKIE)) != 0)
    return FALSE;
  first = (char)nonce->data[strlen (NAT_STUN_NONCE_COOKIE)];
  return (first >= 'g' && first <= 'z') || g_ascii_isdigit (first) ||
         (first != '\0' && strchr ("+/-_", first) != NULL);
}

/* A list of: algorithm, 16 bits; length of its parameters, 16 bits; parameters, padded to 4. */
static gboolean
offers_sha256 (const NatStunSlice *list)
{
  gsize at = 0;

  while (at + 4 <= list->len) {
    const guint8 *p = list->data + at;
    gsize parameters = nat_read_u16 (p + 2);

    if (memcmp (p, sha256_algorithm, sizeof sha256_algorithm) == 0)
      return TRUE;
    at += 4 + ((parameters + 3) & ~(gsize)3);
  }
  return FALSE;
}

gboolean
nat_stunauth_challenge (const NatStunMessage *msg, NatStunAuthChallenge *out)
{
  guint code = nat_stun_error_code (msg, NULL);

  memset (out, 0, sizeof *out);
  if (msg->type != NAT_STUN_BINDING_ERROR || (code != 401 && code != 438))
    return FALSE;
  if (msg->realm.data == NULL || msg->nonce.data == NULL)
    return FALSE;
  /* A challenge is not protected by integrity. The cookie is the protection of its list: the
   * nonce comes back to the server under the key, so who strips the list to make us fall back
   * on MD5 would have to change the nonce as well, and then the server refuses it. */
  if (!cookie_tells_algorithms (&msg->nonce) || !offers_sha256 (&msg->password_algorithms))
    return FALSE;
  out->realm = msg->realm;
  out->nonce = msg->nonce;
  out->password_algorithms = msg->password_algorithms;
  return TRUE;
}

static void
add_slice (NatStunWriter *w, guint16 attribute, const NatStunSlice *slice)
{
  nat_stun_writer_add (w, attribute, slice->data, slice->len);
}

void
nat_stunauth_add_answer (
    NatStunWriter *w, const char *username, const NatStunAuthChallenge *challenge)
{
  nat_stun_writer_add_text (w, NAT_ATTR_USERNAME, username);
  add_slice (w, NAT_ATTR_REALM, &challenge->realm);
  add_slice (w, NAT_ATTR_NONCE, &challenge->nonce);
  add_slice (w, NAT_ATTR_PASSWORD_ALGORITHMS, &challenge->password_algorithms);
  nat_stun_writer_add (w, NAT_ATTR_PASSWORD_ALGORITHM, sha256_algorithm, sizeof sha256_algorithm);
}
