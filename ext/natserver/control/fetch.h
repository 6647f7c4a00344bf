/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the relay asks of other web servers: a key set, or whether somebody may. Everything goes on in the background of
 * the default GMainContext; each question has an absolute deadline and a bound on its answer. Redirections are not
 * followed: where it asks, is settled by its settings alone. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  guint status;        /* of HTTP; 0: nothing came */
  const char *failure; /* NULL; or why there is no answer, for a person, without the URL */
  const char *body;    /* ended by a zero that len does not count */
  gsize len;
  gint64 max_age_s; /* what Cache-Control allows; -1: it says nothing */
} NatFetched;       /* all borrowed, for the time of the call */

typedef void (*NatFetchDone) (const NatFetched *answer, gpointer user);

typedef struct _NatFetcher NatFetcher;
/* ca_file: authorities to believe in place of the system's; or NULL. */
NatFetcher *nat_fetcher_new (const char *ca_file, GError **error);
/* Ends what is under way; nobody is called any more. */
void nat_fetcher_free (NatFetcher *f);

/* done is called once, never before this returns. json: NULL: GET; else it is POSTed. */
void nat_fetch (NatFetcher *f, const char *url, const char *json, guint timeout_ms, gsize max,
    NatFetchDone done, gpointer user);

/* https, or http to this machine itself: what is asked in clear anybody on the way could answer. */
gboolean nat_fetch_url_valid (const char *url);
/* The URL without what may be a secret in it (user, password, query); allocated. */
char *nat_fetch_url_shown (const char *url);

G_END_DECLS
