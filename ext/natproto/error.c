/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/error.h"

/* clang-format off */
G_DEFINE_QUARK (nat-error-quark, nat_error)
/* clang-format on */

gboolean
nat_error_set (GError **error, NatError code, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  if (error)
    *error = g_error_new_valist (NAT_ERROR, (gint)code, format, args);
  va_end (args);
  return FALSE;
}
