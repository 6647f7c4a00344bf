/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay at a glance: a page whose script asks for /v1/streams and /v1/sessions. Its files stand in page/ as a
 * browser reads them, and go into the program as they are. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  const char *name; /* in the address; "" = the page itself */
  const char *content_type;
  const char *text;
} NatPageFile;

/* NULL: there is none. */
const NatPageFile *nat_statuspage_file (const char *name);

G_END_DECLS
