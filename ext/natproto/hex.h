/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Bytes as hexadecimal digits. */

#include <glib.h>

G_BEGIN_DECLS

/* Lower-case. out: 2 * len + 1 bytes, the closing zero included. */
void nat_hex_encode (gconstpointer data, gsize len, char *out);
/* The first 2 * len characters of text as len bytes; either case. FALSE: one of them, a closing zero for
 * example, is no digit, and out is then undefined. */
gboolean nat_hex_decode (const char *text, guint8 *out, gsize len);

G_END_DECLS
