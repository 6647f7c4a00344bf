/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A client of the relay's HTTPS, blocking, one request at a time. The relay is one that the bench started
 * a moment ago on this machine, so its certificate is not looked at. */

#include <glib.h>
#include "natproto/address.h"

G_BEGIN_DECLS

typedef struct _BenchHttps BenchHttps;

typedef struct {
  gboolean keep;   /* the connection, where the relay lets us; else it is told to close it */
  gboolean resume; /* TLS sessions, where the relay gives tickets */
} BenchHttpsReuse;

/* What happened since it was made. */
typedef struct {
  guint requests, connections, resumed;
} BenchHttpsCounts;

BenchHttps *bench_https_new (const NatAddress *server, BenchHttpsReuse reuse);
void bench_https_free (BenchHttps *h);
/* POSTs a JSON body; NATRELAY_AUTH_TOKEN of the environment is its bearer token. Returns the
 * document of a 201, the client's own and good until the next call; NULL with an error for any other. */
const char *bench_https_post (BenchHttps *h, const char *path, const char *body, GError **error);
BenchHttpsCounts bench_https_counts (const BenchHttps *h);

G_END_DECLS
