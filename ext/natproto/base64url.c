/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/base64url.h"

/* Passwords and keys go through here, so both directions are sums over masks instead of
 * tables and branches: the time and the cache lines touched tell nothing of the bytes.
 * (x >> 8) is -1 for a negative x, 0 for one of 0..255. */

static char
base64url_char (int v)
{
  return (char)(v + 'A' + (((25 - v) >> 8) & 6) - (((51 - v) >> 8) & 75) - (((61 - v) >> 8) & 13) +
                (((62 - v) >> 8) & 49));
}

/* -1 for a byte that is not of the alphabet */
static int
base64url_value (int c)
{
  int v = -1;

  v += (((64 - c) & (c - 91)) >> 8) & (c - 64);  /* A-Z */
  v += (((96 - c) & (c - 123)) >> 8) & (c - 70); /* a-z */
  v += (((47 - c) & (c - 58)) >> 8) & (c + 5);   /* 0-9 */
  v += (((44 - c) & (c - 46)) >> 8) & 63;        /* - */
  v += (((94 - c) & (c - 96)) >> 8) & 64;        /* _ */
  return v;
}

gsize
nat_base64url_encode (gconstpointer data, gsize len, char *out)
{
  const guint8 *in = data;
  guint32 bits = 0;
  guint n_bits = 0;
  gsize n = 0;

  for (gsize i = 0; i < len; i++) {
    bits = bits << 8 | in[i];
    for (n_bits += 8; n_bits >= 6; n_bits -= 6)
      out[n++] = base64url_char (bits >> (n_bits - 6) & 63);
  }
  if (n_bits > 0)
    out[n++] = base64url_char (bits << (6 - n_bits) & 63);
  out[n] = '\0';
  return n;
}

gssize
nat_base64url_decode (const char *text, gsize text_len, guint8 *out, gsize out_cap)
{
  guint32 bits = 0;
  guint n_bits = 0;
  gsize n = 0;
  int wrong = 0;

  if (text_len % 4 == 1 || text_len / 4 * 3 + text_len % 4 * 3 / 4 > out_cap)
    return -1;
  for (gsize i = 0; i < text_len; i++) {
    int v = base64url_value ((guint8)text[i]);

    wrong |= v;
    bits = bits << 6 | (v & 63);
    n_bits += 6;
    if (n_bits >= 8) {
      n_bits -= 8;
      out[n++] = bits >> n_bits & 0xff;
    }
  }
  /* Bits that no byte uses must be 0, or one value would have several spellings. */
  if (wrong < 0 || (bits & ((1u << n_bits) - 1)) != 0)
    return -1;
  return (gssize)n;
}
