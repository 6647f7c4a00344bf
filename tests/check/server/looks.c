/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What /metrics and the lists answer, made in turns of the main loop: as the HTTPS server asks, without its sockets. */

#include "registryworld.h"

#include <string.h>

#include "natproto/json.h"
#include "natserver/control/api.h"
#include "natserver/control/registry-private.h"
#include "natserver/observe/listing.h"

#define AT_ONCE NAT_REGISTRY_SURVEYED_AT_ONCE
#define CROWD   (3 * AT_ONCE)

/* The linker puts these in the place of the data plane's. */
gboolean __wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes);
gboolean __wrap_nat_dataplane_set_description (NatDataplane *dp, const char *stream,
    const NatTracks *tracks, guint32 version, const guint8 *publisher_id);
/* And these count what is done: two sums for each session. */
void __real_nat_sums_add (NatSums *sums, const NatSessionCounters *c);
void __wrap_nat_sums_add (NatSums *sums, const NatSessionCounters *c);
gboolean __real_nat_listing_sessions (NatListing *l, const NatSessionList *list, gboolean whole_id);
gboolean __wrap_nat_listing_sessions (NatListing *l, const NatSessionList *list, gboolean whole_id);

static guint sums, written;

gboolean
__wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes)
{
  return TRUE;
}

gboolean
__wrap_nat_dataplane_set_description (NatDataplane *dp, const char *stream, const NatTracks *tracks,
    guint32 version, const guint8 *publisher_id)
{
  return TRUE;
}

void
__wrap_nat_sums_add (NatSums *s, const NatSessionCounters *c)
{
  sums++;
  __real_nat_sums_add (s, c);
}

gboolean
__wrap_nat_listing_sessions (NatListing *l, const NatSessionList *list, gboolean whole_id)
{
  guint before = l->shown;
  gboolean more = __real_nat_listing_sessions (l, list, whole_id);

  written += l->shown - before;
  return more;
}

/* ---- A relay ----------------------------------------------------------- */

typedef struct {
  World *world;
  NatAuth *auth;
  NatApi api;
  GHashTable *whole; /* looks that became it */
} Relay;

static void
fill (NatSnapshot *snapshot, gpointer user)
{
  snapshot->program_version = "0";
}

static void
note_whole (gconstpointer look, gpointer user)
{
  Relay *relay = user;

  g_assert_true (nat_look_is_whole (look));
  g_hash_table_add (relay->whole, (gpointer)look);
}

static Relay *
relay_new (guint sessions)
{
  NatCaller caller = {.open = TRUE, .token.expires_s = G_MAXINT64};
  Relay *relay = g_new0 (Relay, 1);

  relay->world = world_new (NULL);
  world_start_registry (relay->world, NULL);
  for (guint i = 0; i < sessions; i++)
    world_subscribe (relay->world, "cam", &caller, NULL);
  relay->auth = nat_auth_new (TRUE);
  relay->whole = g_hash_table_new (NULL, NULL);
  relay->api = (NatApi){.registry = relay->world->registry,
      .access = {.auth = relay->auth},
      .admission = relay->world->admission,
      .looks = nat_looks_new (&(NatLooksConfig){relay->world->registry, fill, note_whole, relay})};
  return relay;
}

static void
relay_free (Relay *relay)
{
  nat_looks_free (relay->api.looks);
  nat_auth_free (relay->auth);
  g_hash_table_unref (relay->whole);
  world_free (relay->world);
  g_free (relay);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Relay, relay_free)

/* A request of this machine, and its answer. */
typedef struct {
  Relay *relay;
  NatHttpRequest request;
  NatHttpResponse response;
} Asked;

static void
handle (Asked *a)
{
  sums = written = 0;
  nat_http_response_init (&a->response);
  nat_api_handle (&a->request, &a->response, &a->relay->api);
}

static Asked *
ask (Relay *relay, const char *target, const char *fields)
{
  g_autofree char *head =
      g_strdup_printf ("GET %s HTTP/1.1\r\nHost: relay\r\n%s\r\n", target, fields);
  Asked *a = g_new0 (Asked, 1);
  const char *why;

  a->relay = relay;
  g_assert_cmpint (
      nat_http_parse_head (&a->request, (guint8 *)head, strlen (head), &why), ==, NAT_PROBLEM_NONE);
  nat_address_from_text (&a->request.peer, "127.0.0.1:1", 0);
  handle (a);
  return a;
}

static void
asked_free (Asked *a)
{
  nat_http_response_clear (&a->response);
  nat_http_request_clear (&a->request);
  g_free (a);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Asked, asked_free)

/* What the HTTPS server does with one that waits. */
static void
wait (Asked *a)
{
  g_assert_nonnull (a->response.wait);
  g_assert_true (a->response.wait == a->response.kept.data);
  a->request.kept = a->response.kept;
  a->response.kept.data = NULL;
}

static void
bounded_turn (void)
{
  sums = written = 0;
  g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (sums, <=, 2 * AT_ONCE);
  g_assert_cmpuint (written, <=, NAT_LISTING_SESSIONS_AT_ONCE);
}

/* Until it is whole, and the answer is here. Returns the turns that it took. */
static guint
finish (Asked *a)
{
  gconstpointer look = a->response.wait;
  guint turns = 1;

  for (wait (a); !g_hash_table_contains (a->relay->whole, look); turns++)
    bounded_turn ();
  nat_http_response_clear (&a->response);
  handle (a);
  g_assert_null (a->response.wait);
  g_assert_cmpuint (sums + written, ==, 0);
  return turns;
}

static void
assert_line (const Asked *a, const char *line)
{
  if (a->response.status != 200 || strstr (a->response.body->str, line) == NULL)
    g_error ("no line %s", line);
}

static guint
entries (const Asked *a, const char *member)
{
  g_autoptr (JsonObject) object =
      nat_json_parse (a->response.body->str, -1, 4 << 20, "The list", NULL);

  g_assert_nonnull (object);
  return json_array_get_length (json_object_get_array_member (object, member));
}

/* ---- Tests ------------------------------------------------------------- */

static void
test_few_are_answered_at_once (void)
{
  g_autoptr (Relay) relay = relay_new (3);
  g_autoptr (Asked) metrics = ask (relay, "/metrics", "");
  g_autoptr (Asked) streams = ask (relay, "/v1/streams", "");
  g_autoptr (Asked) sessions = ask (relay, "/v1/sessions", "");

  assert_line (metrics, "natrelay_sessions{role=\"subscriber\",registered=\"false\"} 3\n");
  g_assert_cmpuint (entries (streams, "streams"), ==, 1);
  g_assert_cmpuint (entries (sessions, "sessions"), ==, 3);
  g_assert_false (g_main_context_pending (NULL));
}

static void
test_metrics_in_turns (void)
{
  g_autoptr (Relay) relay = relay_new (CROWD);
  g_autoptr (Asked) a = ask (relay, "/metrics", "");

  g_assert_cmpuint (sums, <=, 2 * AT_ONCE + NAT_SNAPSHOT_STREAMS + 1);
  g_assert_cmpuint (finish (a), ==, 4);
  assert_line (a, "natrelay_sessions{role=\"subscriber\",registered=\"false\"} 6144\n");
  g_assert_false (g_main_context_pending (NULL));
}

/* A list looks at those that it shows, and writes few at once. */
static void
test_sessions_in_turns (void)
{
  g_autoptr (Relay) relay = relay_new (CROWD);
  g_autoptr (Asked) a = ask (relay, "/v1/sessions?from=10", "");

  g_assert_cmpuint (written, <=, NAT_LISTING_SESSIONS_AT_ONCE);
  g_assert_cmpuint (finish (a), ==, (NAT_LISTING_MAX - 1) / NAT_LISTING_SESSIONS_AT_ONCE + 1);
  g_assert_cmpuint (entries (a, "sessions"), ==, NAT_LISTING_MAX);
  assert_line (a, "\"total\":6144}");
}

/* However many look, a turn is one's. */
static void
test_looks_take_turns (void)
{
  g_autoptr (Relay) relay = relay_new (CROWD);
  Asked *asked[8];

  for (guint i = 0; i < G_N_ELEMENTS (asked); i++)
    asked[i] = ask (relay, i % 2 ? "/v1/sessions" : "/v1/streams", "");
  for (guint i = 0; i < G_N_ELEMENTS (asked); i++) {
    if (asked[i]->response.wait != NULL) /* the last found the survey done by the others */
      finish (asked[i]);
    g_assert_cmpuint (asked[i]->response.status, ==, 200);
  }
  for (guint i = 0; i < G_N_ELEMENTS (asked); i++)
    asked_free (asked[i]);
  g_assert_false (g_main_context_pending (NULL));
}

/* The last of those who wait goes, and with him the survey. */
static void
test_who_asked_goes (void)
{
  g_autoptr (Relay) relay = relay_new (CROWD);
  Asked *one = ask (relay, "/metrics", ""), *other = ask (relay, "/v1/streams", "");

  wait (one);
  wait (other);
  bounded_turn ();
  asked_free (one);
  g_assert_nonnull (relay->world->registry->survey);
  asked_free (other);
  g_assert_null (relay->world->registry->survey);
  g_assert_false (g_main_context_pending (NULL));
  g_assert_cmpuint (g_hash_table_size (relay->whole), ==, 0);
}

static char *
etag_of (const Asked *a)
{
  const char *at = strstr (a->response.fields->str, "ETag: ");

  g_assert_nonnull (at);
  return g_strndup (at + 6, strcspn (at + 6, "\r"));
}

/* Figures that came in the middle are not those that were answered: whoever asks again gets them. */
static void
test_etag_is_of_what_is_shown (void)
{
  g_autoptr (Relay) relay = relay_new (CROWD);
  g_autoptr (Asked) a = ask (relay, "/v1/streams", "");
  g_autofree char *first = NULL, *second = NULL, *fields = NULL;
  g_autoptr (Asked) again = NULL, known = NULL;

  world_pass (relay->world, 1);
  world_pass (relay->world, 2);
  while (nat_registry_go_on (relay->world->registry, relay->world->now))
    continue;
  g_assert_cmpuint (nat_registry_trend_tick (relay->world->registry), ==, 1);
  finish (a);
  first = etag_of (a);
  fields = g_strdup_printf ("If-None-Match: %s\r\n", first);
  again = ask (relay, "/v1/streams", fields);
  finish (again);
  g_assert_cmpuint (again->response.status, ==, 200);
  second = etag_of (again);
  g_assert_cmpstr (first, !=, second);
  g_free (fields);
  fields = g_strdup_printf ("If-None-Match: %s\r\n", second);
  known = ask (relay, "/v1/streams", fields);
  g_assert_cmpuint (known->response.status, ==, 304);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/looks/" #name, test_##name)
  T (few_are_answered_at_once);
  T (metrics_in_turns);
  T (sessions_in_turns);
  T (looks_take_turns);
  T (who_asked_goes);
  T (etag_is_of_what_is_shown);
  return g_test_run ();
}
