/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/hex.h"

void
nat_hex_encode (gconstpointer data, gsize len, char *out)
{
  static const char digits[] = "0123456789abcdef";
  const guint8 *bytes = data;

  for (gsize i = 0; i < len; i++) {
    *out++ = digits[bytes[i] >> 4];
    *out++ = digits[bytes[i] & 15];
  }
  *out = '\0';
}

gboolean
nat_hex_decode (const char *text, guint8 *out, gsize len)
{
  for (gsize i = 0; i < len; i++) {
    int high = g_ascii_xdigit_value (text[2 * i]);
    int low = high < 0 ? -1 : g_ascii_xdigit_value (text[2 * i + 1]);

    if (low < 0)
      return FALSE;
    out[i] = (guint8)(high << 4 | low);
  }
  return TRUE;
}
