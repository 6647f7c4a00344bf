/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Errors of set-up paths (documents, tokens, keys). Packet paths return a status
 * enum of their own and never build a GError. */
#define NAT_ERROR (nat_error_quark ())
GQuark nat_error_quark (void);

typedef enum {
  NAT_ERROR_ARGUMENT,       /* the caller asked for something that cannot be */
  NAT_ERROR_MALFORMED,      /* the bytes are not of the promised format */
  NAT_ERROR_PROTOCOL,       /* well-formed, but against the rules */
  NAT_ERROR_AUTHENTICATION, /* signature, integrity or key does not fit */
  NAT_ERROR_EXPIRED,        /* was good once, or is not good yet */
  NAT_ERROR_NOT_PERMITTED,  /* genuine, but does not allow this */
  NAT_ERROR_CRYPTO,         /* the library refused; should not happen */
} NatError;

/* Sets error like g_set_error, in our domain. Always FALSE, for return statements. */
gboolean nat_error_set (GError **error, NatError code, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

G_END_DECLS
