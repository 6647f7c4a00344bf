/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* GET from a relay, waiting for it; for a program that has nothing else to do. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_INQUIRY_TIMEOUT_S 5

typedef struct {
  char *host; /* a name or an address; IPv6 without brackets */
  guint16 port;
  char *fingerprint, *ca_file; /* as of NatTlsPeer */
  char *token;                 /* NULL = none */
} NatInquiry;
/* "https://relay.example.org:8443"; scheme and port may be left out. */
gboolean nat_inquiry_parse_url (NatInquiry *relay, const char *url, GError **error);
void nat_inquiry_clear (NatInquiry *relay); /* wipes the token */

/* The body of a 200. The GError says what the relay said, if it spoke. */
char *nat_inquiry_get (const NatInquiry *relay, const char *path, GError **error);

G_END_DECLS
