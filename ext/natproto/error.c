/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/error.h"

/* clang-format off */
G_DEFINE_QUARK (nat-error-quark, nat_error)
/* clang-format on */
