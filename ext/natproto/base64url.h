/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* base64url without padding (RFC 4648 section 5). */

#include <glib.h>

G_BEGIN_DECLS

/* Encoding writes a closing zero and returns the length without it; out holds NAT_BASE64URL_LEN (len) + 1
 * bytes. Decoding is strict: -1 for padding, other bytes, stray bits, or more than out_cap; out is then undefined. */
#define NAT_BASE64URL_LEN(n) (((n)*4 + 2) / 3)
gsize nat_base64url_encode (gconstpointer data, gsize len, char *out);
gssize nat_base64url_decode (const char *text, gsize text_len, guint8 *out, gsize out_cap);

G_END_DECLS
