/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/fetch.h"

#include <string.h>
#include <libsoup/soup.h>

#include "natproto/crypto.h"
#include "natproto/error.h"

#define CONNECTIONS 16 /* to one server at a time */
#define IDLE_S      30 /* that a connection is kept for the next question */
#define CHUNK       16384

/* Its owner holds a reference, and so does every question that is under way: one that was given up still has to come
 * back from libsoup. */
struct _NatFetcher {
  guint refs;
  SoupSession *session;
  GPtrArray *under_way; /* Fetch */
};

typedef struct {
  NatFetcher *fetcher;
  SoupMessage *message;
  GCancellable *cancellable;
  GInputStream *stream;
  GByteArray *body;
  gsize max;
  guint timer, timeout_ms;
  gboolean late;
  NatFetchDone done; /* NULL: nobody wants to know any more */
  gpointer user;
} Fetch;

/* ---- Addresses --------------------------------------------------------- */

static gboolean
is_this_machine (const char *host)
{
  return g_strcmp0 (host, "127.0.0.1") == 0 || g_strcmp0 (host, "::1") == 0 ||
         g_strcmp0 (host, "localhost") == 0;
}

gboolean
nat_fetch_url_valid (const char *url)
{
  g_autoptr (GUri) uri = g_uri_parse (url, SOUP_HTTP_URI_FLAGS, NULL);
  const char *host = uri != NULL ? g_uri_get_host (uri) : NULL;

  if (host == NULL || *host == '\0')
    return FALSE;
  return strcmp (g_uri_get_scheme (uri), "https") == 0 ||
         (strcmp (g_uri_get_scheme (uri), "http") == 0 && is_this_machine (host));
}

char *
nat_fetch_url_shown (const char *url)
{
  g_autoptr (GUri) uri = g_uri_parse (url, SOUP_HTTP_URI_FLAGS, NULL);

  if (uri == NULL)
    return g_strdup ("(no URL)");
  return g_uri_to_string_partial (
      uri, G_URI_HIDE_USERINFO | G_URI_HIDE_QUERY | G_URI_HIDE_FRAGMENT);
}

/* ---- The session ------------------------------------------------------- */

NatFetcher *
nat_fetcher_new (const char *ca_file, GError **error)
{
  g_autofree char *path = ca_file != NULL ? g_canonicalize_filename (ca_file, NULL) : NULL;
  g_autoptr (GTlsDatabase) database = NULL;
  NatFetcher *f;

  if (path != NULL) {
    database = g_tls_file_database_new (path, error);
    if (database == NULL) {
      g_prefix_error (error, "The authorities in %s cannot be read: ", ca_file);
      return NULL;
    }
  }
  f = g_new0 (NatFetcher, 1);
  f->refs = 1;
  f->under_way = g_ptr_array_new ();
  f->session = g_object_new (SOUP_TYPE_SESSION, "max-conns", 4 * CONNECTIONS, "max-conns-per-host",
      CONNECTIONS, "idle-timeout", IDLE_S, "user-agent", "natrelay-server", NULL);
  soup_session_set_proxy_resolver (f->session, NULL); /* whom it asks is settled by the URL alone */
  if (database != NULL)
    soup_session_set_tls_database (f->session, database);
  return f;
}

static void
fetcher_unref (NatFetcher *f)
{
  if (--f->refs > 0)
    return;
  g_ptr_array_unref (f->under_way);
  g_object_unref (f->session);
  g_free (f);
}

void
nat_fetcher_free (NatFetcher *f)
{
  if (f == NULL)
    return;
  for (guint i = 0; i < f->under_way->len; i++) {
    Fetch *fetch = f->under_way->pdata[i];

    fetch->done = NULL;
    g_clear_handle_id (&fetch->timer, g_source_remove);
    g_cancellable_cancel (fetch->cancellable); /* its answer comes later, never within this call */
  }
  fetcher_unref (f);
}

/* ---- One question ------------------------------------------------------ */

static void
fetch_free (Fetch *fetch)
{
  NatFetcher *f = fetch->fetcher;

  g_ptr_array_remove_fast (f->under_way, fetch);
  g_clear_handle_id (&fetch->timer, g_source_remove);
  g_object_unref (fetch->message);
  g_object_unref (fetch->cancellable);
  g_clear_object (&fetch->stream);
  nat_crypto_wipe (fetch->body->data, fetch->body->len);
  g_byte_array_unref (fetch->body);
  g_free (fetch);
  fetcher_unref (f);
}

static gint64
max_age (SoupMessageHeaders *fields)
{
  const char *text = soup_message_headers_get_list (fields, "Cache-Control");
  GHashTable *words;
  const char *age;
  gint64 seconds = -1;
  guint64 n;

  if (text == NULL)
    return -1;
  words = soup_header_parse_param_list (text);
  age = g_hash_table_lookup (words, "max-age");
  if (g_hash_table_contains (words, "no-store") || g_hash_table_contains (words, "no-cache"))
    seconds = 0;
  else if (age != NULL && g_ascii_string_to_unsigned (age, 10, 0, G_MAXINT32, &n, NULL))
    seconds = (gint64)n;
  soup_header_free_param_list (words);
  return seconds;
}

/* Frees the question before its owner hears of it: he may ask the next. */
static void
finish (Fetch *fetch, const char *failure)
{
  NatFetchDone done = fetch->done;
  gpointer user = fetch->user;
  GByteArray *body = fetch->body;
  NatFetched answer = {.failure = failure, .max_age_s = -1};
  g_autofree char *late = NULL;

  if (failure == NULL) {
    answer.status = soup_message_get_status (fetch->message);
    answer.max_age_s = max_age (soup_message_get_response_headers (fetch->message));
    answer.len = body->len;
    g_byte_array_append (body, (const guint8 *)"", 1);
    answer.body = (const char *)body->data;
  } else if (fetch->late) {
    late = g_strdup_printf ("no answer within %u ms", fetch->timeout_ms);
    answer.failure = late;
  }
  fetch->body = g_byte_array_new ();
  fetch_free (fetch);
  if (done != NULL)
    done (&answer, user);
  nat_crypto_wipe (body->data, body->len);
  g_byte_array_unref (body);
}

static void
got (GObject *stream, GAsyncResult *result, gpointer user)
{
  Fetch *fetch = user;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes =
      g_input_stream_read_bytes_finish (G_INPUT_STREAM (stream), result, &error);

  if (bytes == NULL) {
    finish (fetch, error->message);
  } else if (g_bytes_get_size (bytes) == 0) {
    finish (fetch, NULL);
  } else if (fetch->body->len + g_bytes_get_size (bytes) > fetch->max) {
    g_autofree char *text = g_strdup_printf ("its answer is longer than %zu bytes", fetch->max);

    finish (fetch, text);
  } else {
    g_byte_array_append (
        fetch->body, g_bytes_get_data (bytes, NULL), (guint)g_bytes_get_size (bytes));
    g_input_stream_read_bytes_async (
        fetch->stream, CHUNK, G_PRIORITY_DEFAULT, fetch->cancellable, got, fetch);
  }
}

static void
sent (GObject *session, GAsyncResult *result, gpointer user)
{
  Fetch *fetch = user;
  g_autoptr (GError) error = NULL;

  fetch->stream = soup_session_send_finish (SOUP_SESSION (session), result, &error);
  if (fetch->stream == NULL)
    finish (fetch, error->message);
  else
    g_input_stream_read_bytes_async (
        fetch->stream, CHUNK, G_PRIORITY_DEFAULT, fetch->cancellable, got, fetch);
}

static gboolean
too_late (gpointer user)
{
  Fetch *fetch = user;

  fetch->timer = 0;
  fetch->late = TRUE;
  g_cancellable_cancel (fetch->cancellable);
  return G_SOURCE_REMOVE;
}

void
nat_fetch (NatFetcher *f, const char *url, const char *json, guint timeout_ms, gsize max,
    NatFetchDone done, gpointer user)
{
  Fetch *fetch = g_new0 (Fetch, 1);

  fetch->fetcher = f;
  f->refs++;
  fetch->done = done;
  fetch->user = user;
  fetch->max = max;
  fetch->timeout_ms = timeout_ms;
  fetch->body = g_byte_array_new ();
  fetch->cancellable = g_cancellable_new ();
  fetch->message = soup_message_new (json != NULL ? "POST" : "GET", url);
  g_ptr_array_add (f->under_way, fetch);
  soup_message_add_flags (fetch->message, SOUP_MESSAGE_NO_REDIRECT);
  soup_message_headers_replace (
      soup_message_get_request_headers (fetch->message), "Accept", "application/json");
  if (json != NULL) {
    g_autoptr (GBytes) bytes = g_bytes_new (json, strlen (json));

    soup_message_set_request_body_from_bytes (fetch->message, "application/json", bytes);
  }
  fetch->timer = g_timeout_add (timeout_ms, too_late, fetch);
  soup_session_send_async (
      f->session, fetch->message, G_PRIORITY_DEFAULT, fetch->cancellable, sent, fetch);
}
