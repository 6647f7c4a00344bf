/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Key sets that an issuer of tokens publishes at a URL. They are fetched in the background, and again when their
 * Cache-Control says so or a token names a key that none has, within the bounds of NatJwksTimes. What was fetched last
 * stays in force until something better comes; what goes wrong is said in the log. */

#include "natproto/jwk.h"
#include "natserver/control/fetch.h"

G_BEGIN_DECLS

#define NAT_JWKS_AGE_S 600 /* of a set that says nothing of it */

typedef struct {
  guint timeout_ms;
  guint min_s,
      max_s; /* from a set to the next fetch: no sooner, whoever asks; no later, whatever it says */
} NatJwksTimes;

typedef struct _NatJwksUrls NatJwksUrls;
/* answered: a fetch is over, whatever came of it; whoever waits for it looks again. fresh: the keys are others than before. */
NatJwksUrls *nat_jwks_urls_new (void (*answered) (gboolean fresh, gpointer user), gpointer user);
void nat_jwks_urls_free (NatJwksUrls *u);
/* All of them, from now on; sets of those that stay are kept. fetcher may be NULL where there are none. What the old
 * fetcher has under way, is to be ended first. */
void nat_jwks_urls_set (
    NatJwksUrls *u, NatFetcher *fetcher, char *const *urls, const NatJwksTimes *times);
/* Fetches what is due; about once a second. */
void nat_jwks_urls_tick (NatJwksUrls *u, gint64 now_us);
/* A token names a key that is not here. TRUE: sets are on their way that could have it. */
gboolean nat_jwks_urls_look (NatJwksUrls *u, gint64 now_us);
/* The same, without asking for any. */
gboolean nat_jwks_urls_under_way (const NatJwksUrls *u);
/* A new set of all that is known. complete: every URL has given one. */
NatTokenKeys *nat_jwks_urls_keys (NatJwksUrls *u, gboolean *complete);

G_END_DECLS
