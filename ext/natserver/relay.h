/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The whole relay, put together: credentials, ports, data plane, registry and HTTPS. */

#include <stdio.h>
#include "natserver/config.h"

G_BEGIN_DECLS

typedef struct _NatRelay NatRelay;

/* Runs on the default GMainContext. Every port answers when it returns. config is borrowed. */
NatRelay *nat_relay_new (const NatConfig *config, GError **error);
/* What clients need, one "name=value" per line, and lines to paste. secrets FALSE: without tokens. */
gboolean nat_relay_print (NatRelay *relay, FILE *out, gboolean secrets, GError **error);
/* Certificate, keys and tokens from their files, and the limits of its config. On an error all stays as it
 * was. */
gboolean nat_relay_reload (NatRelay *relay, GError **error);
/* Takes no new sessions from now on. drained is called, once, when the last session is over. */
void nat_relay_drain (NatRelay *relay, void (*drained) (gpointer user), gpointer user);
/* Tells the clients that the relay goes away. At most 300 ms. */
void nat_relay_stop (NatRelay *relay);
void nat_relay_free (NatRelay *relay); /* also half built */

G_END_DECLS
