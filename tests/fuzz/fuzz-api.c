/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as what comes on HTTPS connections: requests one after another, to the relay's routes, registry and
 * data plane as they are. "Bearer A", "B" and "R" become genuine tokens, and a path's "@0" the first session that
 * was made, so that what is behind them is reached. Whatever is asked, the answer is one HTTP response, and no
 * password goes to who was refused. */

#include <string.h>

#include "natproto/json.h"
#include "natserver/control/api.h"
#include "natserver/control/upgrade.h"
#include "smallworld.h"

#define REQUESTS_MAX 32
#define SESSIONS_MAX 32

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

typedef struct {
  NatAuth *auth;
  NatAdmission *admission;
  NatSignKey *key;
  NatApi api;
  NatAddress peer, local;
  char *tokens[3];
  char ids[SESSIONS_MAX][NAT_SESSION_ID_TEXT + 1];
  guint n_ids;
  gconstpointer whole; /* the look that became it last */
} Relay;

static NatTime
time_now (void)
{
  NatTime now = {g_get_monotonic_time (), g_get_real_time () / G_USEC_PER_SEC};

  return now;
}

/* ---- A relay ----------------------------------------------------------- */

static void
fill_snapshot (NatSnapshot *snapshot, gpointer user)
{
  snapshot->program_version = "0";
  snapshot->n_workers = nat_dataplane_n_workers (small.dp);
  snapshot->workers = nat_dataplane_worker_counters (small.dp);
}

static void
look_is_whole (gconstpointer look, gpointer user)
{
  Relay *r = user;

  g_assert_true (nat_look_is_whole (look));
  r->whole = look;
}

static char *
token (NatSignKey *key, const char *subject, const char *publish, const char *subscribe)
{
  char *may_publish[] = {(char *)publish, NULL}, *may_subscribe[] = {(char *)subscribe, NULL};
  NatToken t = {.subject = (char *)subject,
      .expires_s = G_MAXINT64,
      .not_before_s = G_MININT64,
      .publish = may_publish,
      .subscribe = may_subscribe,
      .takeover = publish != NULL,
      .list = subscribe == NULL,
      .admin = subscribe == NULL};

  return nat_token_sign (&t, NULL, key, NULL);
}

static void
relay_begin (Relay *r)
{
  static const guint8 secret[32] = {3};
  static const NatAdmissionLimits limits = {5, 20, 0, 8, 6, 6};
  NatRegistryConfig config = {
      .dataplane = small.dp, .secrets = small.secrets, .verify_media = TRUE};
  NatTokenKeys *keys = nat_token_keys_new ();

  memset (r, 0, sizeof *r);
  r->key = nat_sign_key_new_hmac (secret, sizeof secret, NULL);
  nat_token_keys_add (keys, NULL, r->key);
  r->tokens[0] = token (r->key, "ann", "room/*", "room/**");
  r->tokens[1] = token (r->key, NULL, "**", "**");
  r->tokens[2] = token (r->key, "root", NULL, NULL);
  r->auth = nat_auth_new (FALSE);
  nat_auth_take_keys (r->auth, keys);
  config.auth = r->auth;
  config.admission = r->admission = nat_admission_new (&limits);
  nat_address_from_text (&r->peer, "198.51.100.1:4000", 0);
  nat_address_from_text (&r->local, "192.0.2.1:8443", 0);
  r->api = (NatApi){.registry = nat_registry_new (&config),
      .access = {.auth = r->auth},
      .admission = r->admission,
      .listen = &r->local,
      .n_listen = 1};
  r->api.looks =
      nat_looks_new (&(NatLooksConfig){r->api.registry, fill_snapshot, look_is_whole, r});
}

static void
relay_end (Relay *r)
{
  nat_looks_free (r->api.looks);
  nat_registry_free (r->api.registry);
  nat_admission_free (r->admission);
  nat_auth_free (r->auth);
  nat_sign_key_unref (r->key);
  for (guint i = 0; i < G_N_ELEMENTS (r->tokens); i++)
    g_free (r->tokens[i]);
}

/* ---- One request ------------------------------------------------------- */

/* What a fuzzer cannot guess. */
static void
fill_in (const Relay *r, NatHttpRequest *request)
{
  static const char *const names[] = {"Bearer A", "Bearer B", "Bearer R"};

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    if (g_strcmp0 (request->authorization, names[i]) != 0)
      continue;
    g_free (request->authorization);
    request->authorization = g_strconcat ("Bearer ", r->tokens[i], NULL);
  }
  for (guint i = 0; i < request->n_path; i++) {
    guint index = (guint)(request->path[i][0] == '@' ? request->path[i][1] - '0' : 255);

    if (index >= r->n_ids)
      continue;
    g_free (request->path[i]);
    request->path[i] = g_strdup (r->ids[index]);
  }
}

static void
note_session (Relay *r, const char *json)
{
  const char *id = strstr (json, "\"session\":\"");

  if (!id || r->n_ids == SESSIONS_MAX)
    return;
  g_strlcpy (r->ids[r->n_ids++], id + strlen ("\"session\":\""), NAT_SESSION_ID_TEXT + 1);
}

/* As a client reads it: a status line, fields, one empty line, and a body of the length that they tell. */
static void
check_bytes (const NatHttpResponse *response)
{
  GString *bytes = nat_http_response_to_bytes (response, 1700000000, TRUE);
  const char *body = strstr (bytes->str, "\r\n\r\n");
  g_autofree char *head = NULL;
  g_auto (GStrv) lines = NULL;

  g_assert_nonnull (body);
  g_assert_cmpuint (strlen (bytes->str), ==, bytes->len);
  head = g_strndup (bytes->str, (gsize)(body - bytes->str));
  lines = g_strsplit (head, "\r\n", -1);
  g_assert_true (g_str_has_prefix (lines[0], "HTTP/1.1 "));
  for (guint i = 0; lines[i] != NULL; i++) {
    g_assert_null (strpbrk (lines[i], "\r\n"));
    g_assert_true (i == 0 || strchr (lines[i], ':') != NULL);
  }
  g_assert_cmpuint (strlen (body + 4), ==, response->body->len);
  g_string_free (bytes, TRUE);
}

static void
check_response (const NatHttpResponse *response)
{
  const char *type = response->content_type ? response->content_type : "";

  g_assert_true (response->status >= 101 && response->status < 600);
  g_assert_true (response->taken == (response->status == 101));
  check_bytes (response);
  if (strstr (type, "json") != NULL && response->body->len > 0) {
    JsonObject *object =
        nat_json_parse (response->body->str, -1, NAT_SESSION_DOCUMENT_MAX, "The answer", NULL);

    g_assert_nonnull (object);
    json_object_unref (object);
  }
  if (response->status >= 400) {
    g_assert_true (g_str_has_prefix (type, "application/problem+json"));
    g_assert_null (strstr (response->body->str, "\"password\""));
  }
}

/* A look at many streams: as the HTTPS server has it. */
static void
wait_for_look (Relay *r, NatHttpRequest *request, NatHttpResponse *response)
{
  request->kept = response->kept;
  response->kept.data = NULL;
  request->waited++;
  while (r->whole != response->wait)
    g_main_context_iteration (NULL, FALSE);
  response->wait = NULL;
  nat_api_handle (request, response, &r->api);
  g_assert_null (response->wait);
}

static void
handle (Relay *r, NatHttpRequest *request)
{
  NatHttpResponse response;

  fill_in (r, request);
  nat_http_response_init (&response);
  response.last = request->last;
  nat_api_handle (request, &response, &r->api);
  if (response.wait != NULL)
    wait_for_look (r, request, &response);
  check_response (&response);
  if (response.status == 201)
    note_session (r, response.body->str);
  g_assert_cmpuint (nat_registry_n_sessions (r->api.registry), <=, r->n_ids);
  nat_http_response_clear (&response);

  nat_http_response_init (&response);
  nat_upgrade_answer (request, &response, TRUE);
  check_response (&response);
  nat_http_response_clear (&response);
}

/* Bytes that were read; 0: nothing more can be. */
static gsize
one_request (Relay *r, const guint8 *data, gsize size)
{
  gsize scanned = 0, head = 0, used = 0;
  NatHttpRequest request;
  const char *why = NULL;

  if (nat_http_find_head (data, size, &scanned, &head) != NAT_PROBLEM_NONE || head == 0)
    return 0;
  memset (&request, 0, sizeof request);
  if (nat_http_parse_head (&request, data, head, &why) == NAT_PROBLEM_NONE) {
    if (request.content_length <= size - head) {
      /* Of its own size, so that reading beyond is seen. */
      g_autofree char *body = g_memdup2 (data + head, request.content_length);

      request.body = body ? body : "";
      request.peer = r->peer;
      request.local = r->local;
      used = head + request.content_length;
      handle (r, &request);
    }
  } else {
    g_assert_true (why != NULL && strlen (why) > 10);
  }
  nat_http_request_clear (&request);
  return used;
}

/* A relay that is asked much says much. */
static void
say_nothing (const char *domain, GLogLevelFlags level, const char *text, gpointer user)
{
  if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
    g_printerr ("%s\n", text);
}

/* The first byte says how much time passes between requests. */
int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  static const gint64 spans_s[] = {0, 0, 1, 4, 11, 40};
  Relay r;

  if (size == 0)
    return 0;
  g_log_set_default_handler (say_nothing, NULL);
  small_begin (1);
  small.others_poll = TRUE;
  relay_begin (&r);
  for (gsize at = 1, n, i = 0; at < size && i < REQUESTS_MAX; at += n, i++) {
    n = one_request (&r, data + at, size - at);
    if (n == 0)
      break;
    small_pass (spans_s[data[0] % G_N_ELEMENTS (spans_s)] * G_USEC_PER_SEC);
    nat_registry_poll (r.api.registry, time_now ());
    nat_registry_tick (r.api.registry, time_now ());
  }
  relay_end (&r);
  small_end ();
  return 0;
}
