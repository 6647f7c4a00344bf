/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/passphrase.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"

#define LINE     "a=natrelay-passphrase:"
#define VERSION  "1 "
#define MAC_TEXT NAT_BASE64URL_LEN (NAT_SHA256_SIZE)

gsize
nat_passphrase_room_len (const char *stream)
{
  const char *slash = strrchr (stream, '/');

  return slash != NULL ? (gsize)(slash - stream) : strlen (stream);
}

/* label | text, in buf. */
static gsize
join (char buf[64 + NAT_STREAM_NAME_MAX], const char *label, const char *text, gsize len)
{
  gsize n = strlen (label);

  g_assert (n <= 64 && len <= NAT_STREAM_NAME_MAX);
  memcpy (buf, label, n);
  memcpy (buf + n, text, len);
  return n + len;
}

void
nat_passphrase_stretch (
    const guint8 *passphrase, gsize len, const char *stream, guint8 stretched[NAT_STRETCHED_SIZE])
{
  char salt[64 + NAT_STREAM_NAME_MAX];
  gsize n = join (salt, NAT_LABEL_PASSPHRASE, stream, nat_passphrase_room_len (stream));

  nat_crypto_pbkdf2 (
      passphrase, len, salt, n, NAT_PASSPHRASE_ROUNDS, stretched, NAT_STRETCHED_SIZE);
}

static void
derive (const guint8 *stretched, const char *label, const char *stream, gconstpointer salt,
    gsize salt_len, guint8 out[32])
{
  char info[64 + NAT_STREAM_NAME_MAX];
  gsize n = join (info, label, stream, strlen (stream));

  nat_crypto_hkdf (stretched, NAT_STRETCHED_SIZE, salt, salt_len, info, n, out, 32);
}

void
nat_passphrase_apply (
    const guint8 stretched[NAT_STRETCHED_SIZE], const char *stream, NatMediaKey *key)
{
  guint8 secret[NAT_MEDIA_KEY_SIZE];

  derive (stretched, NAT_LABEL_END_TO_END, stream, key->key, sizeof key->key, secret);
  memcpy (key->key, secret, sizeof secret);
  nat_crypto_wipe (secret, sizeof secret);
}

/* ---- The description's mac --------------------------------------------- */

/* The SDP comes in two pieces: what is before the line and what is behind it. */
static void
compute_mac (const guint8 *stretched, const char *stream, const NatDescription *d, gsize before,
    const char *rest, guint8 mac[NAT_SHA256_SIZE])
{
  guint8 key[32], n = (guint8)d->n_media_keys;
  NatHmac *hmac;

  derive (stretched, NAT_LABEL_DESCRIPTION, stream, NULL, 0, key);
  hmac = nat_hmac_new (key, sizeof key);
  nat_crypto_wipe (key, sizeof key);
  nat_hmac_update (hmac, &n, 1);
  for (guint i = 0; i < d->n_media_keys; i++) {
    guint8 head[10];

    nat_write_be (head, d->media_keys[i].kid, 8);
    nat_write_be (head + 8, d->media_keys[i].suite, 2);
    nat_hmac_update (hmac, head, sizeof head);
    nat_hmac_update (hmac, d->media_keys[i].key, NAT_MEDIA_KEY_SIZE);
  }
  nat_hmac_update (hmac, d->sdp, before);
  nat_hmac_update (hmac, rest, strlen (rest));
  nat_hmac_final (hmac, mac);
  nat_hmac_free (hmac);
}

static const char *
next_line (const char *line)
{
  const char *end = strchr (line, '\n');

  return end != NULL ? end + 1 : line + strlen (line);
}

/* Before the first m= section: our line, or where it would stand (and then FALSE). */
static gboolean
find_line (const char *sdp, const char **line)
{
  const char *p = sdp;

  while (*p != '\0' && !g_str_has_prefix (p, "m=") && !g_str_has_prefix (p, LINE))
    p = next_line (p);
  *line = p;
  return g_str_has_prefix (p, LINE);
}

char *
nat_passphrase_sign (
    const guint8 stretched[NAT_STRETCHED_SIZE], const char *stream, const NatDescription *d)
{
  guint8 mac[NAT_SHA256_SIZE];
  char text[MAC_TEXT + 1];
  const char *at;

  find_line (d->sdp, &at);
  compute_mac (stretched, stream, d, (gsize)(at - d->sdp), at, mac);
  nat_base64url_encode (mac, sizeof mac, text);
  return g_strdup_printf ("%.*s" LINE VERSION "%s\r\n%s", (int)(at - d->sdp), d->sdp, text, at);
}

gboolean
nat_passphrase_needed (const NatDescription *d)
{
  const char *line;

  return d->sdp != NULL && find_line (d->sdp, &line);
}

/* A version that is not ours is a mac that we cannot verify. */
static gboolean
read_mac (const char *line, guint8 mac[NAT_SHA256_SIZE])
{
  const char *text = line + strlen (LINE VERSION);
  gsize len = (gsize)(next_line (line) - line);

  if (!g_str_has_prefix (line, LINE VERSION) || len < strlen (LINE VERSION) + MAC_TEXT)
    return FALSE;
  return nat_base64url_decode (text, MAC_TEXT, mac, NAT_SHA256_SIZE) == NAT_SHA256_SIZE &&
         strspn (text + MAC_TEXT, "\r\n") == (gsize)(next_line (line) - (text + MAC_TEXT));
}

gboolean
nat_passphrase_verify (
    const guint8 stretched[NAT_STRETCHED_SIZE], const char *stream, NatDescription *d)
{
  guint8 told[NAT_SHA256_SIZE], mac[NAT_SHA256_SIZE];
  const char *line, *rest;

  if (d->sdp == NULL || !find_line (d->sdp, &line) || !read_mac (line, told))
    return FALSE;
  rest = next_line (line);
  compute_mac (stretched, stream, d, (gsize)(line - d->sdp), rest, mac);
  if (!nat_crypto_equal (mac, told, sizeof mac))
    return FALSE;
  memmove (d->sdp + (line - d->sdp), rest, strlen (rest) + 1);
  for (guint i = 0; i < d->n_media_keys; i++)
    nat_passphrase_apply (stretched, stream, &d->media_keys[i]);
  return TRUE;
}

char *
nat_passphrase_hide (const char *sdp)
{
  const char *line;

  if (!find_line (sdp, &line))
    return g_strdup (sdp);
  return g_strdup_printf ("%.*s%s", (int)(line - sdp), sdp, next_line (line));
}
