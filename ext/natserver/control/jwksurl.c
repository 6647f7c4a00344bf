/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/jwksurl.h"

#include <string.h>

#define RETRY_MIN_S 5 /* after a failure; twice as long after each further one */
#define RETRY_MAX_S 300

typedef struct {
  NatJwksUrls *owner;
  char *url;
  NatTokenKeys *keys;           /* NULL: none came yet */
  guint8 hash[NAT_SHA256_SIZE]; /* of the text that they came in */
  gboolean under_way;
  gint64 asked_us; /* when it was last asked; meaningless before the first time */
  gint64 due_us;
  guint failures; /* in a row */
} Source;

struct _NatJwksUrls {
  NatFetcher *fetcher;
  NatJwksTimes times;
  GPtrArray *sources;
  void (*answered) (gboolean fresh, gpointer user);
  gpointer user;
};

static void
source_free (gpointer data)
{
  Source *s = data;

  nat_token_keys_free (s->keys);
  g_free (s->url);
  g_free (s);
}

NatJwksUrls *
nat_jwks_urls_new (void (*answered) (gboolean fresh, gpointer user), gpointer user)
{
  NatJwksUrls *u = g_new0 (NatJwksUrls, 1);

  u->sources = g_ptr_array_new_with_free_func (source_free);
  u->answered = answered;
  u->user = user;
  return u;
}

void
nat_jwks_urls_free (NatJwksUrls *u)
{
  if (u == NULL)
    return;
  g_ptr_array_unref (u->sources);
  g_free (u);
}

NatTokenKeys *
nat_jwks_urls_keys (NatJwksUrls *u, gboolean *complete)
{
  NatTokenKeys *all = nat_token_keys_new ();

  *complete = TRUE;
  for (guint i = 0; i < u->sources->len; i++) {
    const Source *s = u->sources->pdata[i];

    if (s->keys != NULL)
      nat_token_keys_add_all (all, s->keys);
    else
      *complete = FALSE;
  }
  return all;
}

/* ---- Answers ----------------------------------------------------------- */

static void
take_failure (Source *s, const char *why)
{
  g_autofree char *shown = nat_fetch_url_shown (s->url);
  guint wait_s = RETRY_MIN_S << MIN (s->failures, 6);

  s->failures++;
  s->due_us = g_get_monotonic_time () + (gint64)MIN (wait_s, RETRY_MAX_S) * G_USEC_PER_SEC;
  g_warning ("the key set at %s cannot be had: %s. %s", shown, why,
      s->keys != NULL ? "The last one stays in force; it is tried again."
                      : "No token of its keys is taken until it can; it is tried again.");
}

/* Whether they are others than before. */
static gboolean
take_keys (Source *s, NatTokenKeys *keys, guint passed_over, const NatFetched *answer)
{
  const NatJwksTimes *times = &s->owner->times;
  gint64 age_s = answer->max_age_s < 0 ? NAT_JWKS_AGE_S : answer->max_age_s;
  guint8 hash[NAT_SHA256_SIZE];
  gboolean fresh;

  if (s->keys == NULL || s->failures > 0) {
    g_autofree char *shown = nat_fetch_url_shown (s->url);

    g_message ("the key set at %s is here: %u keys can be used, %u cannot", shown,
        nat_token_keys_n (keys), passed_over);
  }
  nat_crypto_sha256 (answer->body, answer->len, hash);
  fresh = s->keys == NULL || memcmp (hash, s->hash, sizeof hash) != 0;
  memcpy (s->hash, hash, sizeof hash);
  nat_token_keys_free (s->keys);
  nat_token_keys_set_issuer (keys, s->url);
  s->keys = keys;
  s->failures = 0;
  s->due_us = g_get_monotonic_time () + CLAMP (age_s, times->min_s, times->max_s) * G_USEC_PER_SEC;
  return fresh;
}

static void
fetched (const NatFetched *answer, gpointer user)
{
  Source *s = user;
  g_autoptr (NatTokenKeys) keys = nat_token_keys_new ();
  g_autoptr (GError) error = NULL;
  gboolean fresh = FALSE;
  guint passed_over = 0;

  s->under_way = FALSE;
  if (answer->failure != NULL) {
    take_failure (s, answer->failure);
  } else if (answer->status != 200) {
    g_autofree char *why = g_strdup_printf ("the answer is HTTP status %u", answer->status);

    take_failure (s, why);
  } else if (!nat_jwks_read (keys, answer->body, (gssize)answer->len, NAT_JWKS_PUBLISHED,
                 &passed_over, &error)) {
    take_failure (s, error->message);
  } else {
    fresh = take_keys (s, g_steal_pointer (&keys), passed_over, answer);
  }
  s->owner->answered (fresh, s->owner->user);
}

/* ---- Questions --------------------------------------------------------- */

static void
ask (Source *s, gint64 now_us)
{
  s->under_way = TRUE;
  s->asked_us = now_us;
  nat_fetch (s->owner->fetcher, s->url, NULL, s->owner->times.timeout_ms, NAT_JWKS_MAX, fetched, s);
}

static gboolean
is_there (const Source *s, char *const *urls)
{
  return urls != NULL && g_strv_contains ((const char *const *)urls, s->url);
}

static Source *
find (NatJwksUrls *u, const char *url)
{
  for (guint i = 0; i < u->sources->len; i++) {
    Source *s = u->sources->pdata[i];

    if (strcmp (s->url, url) == 0)
      return s;
  }
  return NULL;
}

void
nat_jwks_urls_set (
    NatJwksUrls *u, NatFetcher *fetcher, char *const *urls, const NatJwksTimes *times)
{
  u->fetcher = fetcher;
  u->times = *times;
  for (guint i = u->sources->len; i-- > 0;) {
    Source *s = u->sources->pdata[i];

    s->under_way = FALSE;
    s->due_us = 0; /* whoever reads the settings anew wants the keys anew */
    if (!is_there (s, urls))
      g_ptr_array_remove_index (u->sources, i);
  }
  for (guint i = 0; urls != NULL && urls[i] != NULL; i++) {
    Source *s;

    if (find (u, urls[i]) != NULL)
      continue;
    s = g_new0 (Source, 1);
    s->owner = u;
    s->url = g_strdup (urls[i]);
    g_ptr_array_add (u->sources, s);
  }
}

void
nat_jwks_urls_tick (NatJwksUrls *u, gint64 now_us)
{
  for (guint i = 0; i < u->sources->len; i++) {
    Source *s = u->sources->pdata[i];

    if (!s->under_way && now_us >= s->due_us)
      ask (s, now_us);
  }
}

/* Since it was asked last, until a token may have it asked again. */
static gint64
pause_us (const Source *s)
{
  guint min_s = s->owner->times.min_s;

  return (gint64)(s->failures > 0 ? MIN (RETRY_MIN_S, min_s) : min_s) * G_USEC_PER_SEC;
}

gboolean
nat_jwks_urls_look (NatJwksUrls *u, gint64 now_us)
{
  for (guint i = 0; i < u->sources->len; i++) {
    Source *s = u->sources->pdata[i];

    if (!s->under_way && now_us - s->asked_us >= pause_us (s))
      ask (s, now_us);
  }
  return nat_jwks_urls_under_way (u);
}

gboolean
nat_jwks_urls_under_way (const NatJwksUrls *u)
{
  for (guint i = 0; i < u->sources->len; i++) {
    const Source *s = u->sources->pdata[i];

    if (s->under_way)
      return TRUE;
  }
  return FALSE;
}
