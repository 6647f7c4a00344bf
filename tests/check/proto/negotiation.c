/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Documents there and back; and a clear error for each way in which a document can be wrong. */

#include "natproto/negotiation.h"

#include <string.h>

#include "natproto/error.h"
#include "vectors.h"

#define SDP "v=0\r\nm=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:1111 cname:x\r\n"

/* ---- Documents --------------------------------------------------------- */

static const NatMediaKey key_a = {
    .kid = 4711, .suite = NAT_SFRAME_AES_128_GCM_SHA256_128, .key = {1, 2, 3, [31] = 0xff}};
static const NatMediaKey key_b = {.kid = G_MAXUINT32 + G_GUINT64_CONSTANT (7),
    .suite = NAT_SFRAME_AES_256_GCM_SHA512_128,
    .key = {9}};

static void
assert_key (const NatMediaKey *a, const NatMediaKey *b)
{
  g_assert_cmpuint (a->kid, ==, b->kid);
  g_assert_cmpint (a->suite, ==, b->suite);
  g_assert_cmpmem (a->key, sizeof a->key, b->key, sizeof b->key);
}

static void
test_description_round_trip (void)
{
  NatDescription d = {.sdp = (char *)SDP "a=x:\"\\/\303\274\t\r\n",
      .media_keys = {key_a, key_b},
      .n_media_keys = 2};
  g_autofree char *json = nat_description_to_json (&d);
  NatDescription back;

  g_assert_true (nat_description_from_json (&back, json, -1, NULL));
  g_assert_cmpstr (back.sdp, ==, d.sdp);
  g_assert_cmpuint (back.n_media_keys, ==, 2);
  assert_key (&back.media_keys[0], &key_a);
  assert_key (&back.media_keys[1], &key_b);
  nat_description_clear (&back);
  nat_description_clear (&back);
  g_assert_null (back.sdp);
  g_assert_cmpuint (back.media_keys[0].key[0], ==, 0);
}

static void
test_description_bare (void)
{
  NatDescription d;

  g_assert_true (
      nat_description_from_json (&d, "{\"sdp\":\"x\",\"more\":[{\"a\":null}]}", -1, NULL));
  g_assert_cmpstr (d.sdp, ==, "x");
  g_assert_cmpuint (d.n_media_keys, ==, 0);
  nat_description_clear (&d);
  /* The length counts, not a zero behind it. */
  g_assert_true (nat_description_from_json (&d, "{\"sdp\":\"x\"}garbage", 11, NULL));
  nat_description_clear (&d);
}

static NatSessionDocument
example_session (void)
{
  NatSessionDocument d = {.session = "AAAAAAAAAAAAAAAAAAAAAA",
      .username = (char *)"AAAAAQ-ticket_",
      .realm = "natrelay",
      .password = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      .n_udp = 2,
      .websocket = "/v1/websocket",
      .keepalive_ms = 4000,
      .expires_s = 3600,
      .boot_id = "000102030405060708090a0b0c0d0e0f",
      .version = G_MAXUINT32,
      .publisher = NAT_PUBLISHER_LIVE,
      .description = {.sdp = (char *)SDP, .media_keys = {key_b}, .n_media_keys = 1}};

  g_assert_true (nat_address_from_text (&d.udp[0], "192.0.2.1:8443", 0));
  g_assert_true (nat_address_from_text (&d.udp[1], "[2001:db8::1]:443", 0));
  return d;
}

static void
test_session_round_trip (void)
{
  NatSessionDocument d = example_session (), back;
  g_autofree char *json = nat_session_document_to_json (&d);
  g_autoptr (GError) error = NULL;

  nat_session_document_from_json (&back, json, -1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (back.session, ==, d.session);
  g_assert_cmpstr (back.username, ==, d.username);
  g_assert_cmpstr (back.realm, ==, d.realm);
  g_assert_cmpstr (back.password, ==, d.password);
  g_assert_cmpuint (back.n_udp, ==, 2);
  g_assert_true (nat_address_equal (&back.udp[0], &d.udp[0]));
  g_assert_true (nat_address_equal (&back.udp[1], &d.udp[1]));
  g_assert_cmpstr (back.websocket, ==, "/v1/websocket");
  g_assert_cmpuint (back.keepalive_ms, ==, 4000);
  g_assert_cmpint (back.expires_s, ==, 3600);
  g_assert_cmpstr (back.boot_id, ==, d.boot_id);
  g_assert_cmpuint (back.version, ==, G_MAXUINT32);
  g_assert_cmpint (back.publisher, ==, NAT_PUBLISHER_LIVE);
  g_assert_cmpstr (back.description.sdp, ==, SDP);
  g_assert_cmpuint (back.description.n_media_keys, ==, 1);
  assert_key (&back.description.media_keys[0], &key_b);
  nat_session_document_clear (&back);
  g_assert_cmpstr (back.password, ==, "");
  nat_session_document_clear (&back);
}

static void
test_session_room (void)
{
  NatRoomStream streams[2] = {{(char *)"room/ann", NAT_PUBLISHER_LIVE, {0}},
      {(char *)"room/bob", NAT_PUBLISHER_GRACE, {0}}};
  NatSessionDocument d = example_session (), back;
  g_autofree char *json = NULL, *empty = NULL;

  streams[0].description = d.description;
  memset (&d.description, 0, sizeof d.description);
  d.is_room = TRUE;
  d.streams = streams;
  d.n_streams = 2;
  json = nat_session_document_to_json (&d);
  g_assert_true (nat_session_document_from_json (&back, json, -1, NULL));
  g_assert_true (back.is_room);
  g_assert_cmpuint (back.n_streams, ==, 2);
  g_assert_cmpstr (back.streams[0].name, ==, "room/ann");
  g_assert_cmpint (back.streams[0].publisher, ==, NAT_PUBLISHER_LIVE);
  g_assert_cmpstr (back.streams[0].description.sdp, ==, SDP);
  assert_key (&back.streams[0].description.media_keys[0], &key_b);
  g_assert_cmpint (back.streams[1].publisher, ==, NAT_PUBLISHER_GRACE);
  g_assert_null (back.streams[1].description.sdp);
  nat_session_document_clear (&back);
  d.n_streams = 0; /* nobody is there, but it is a room */
  empty = nat_session_document_to_json (&d);
  g_assert_true (nat_session_document_from_json (&back, empty, -1, NULL));
  g_assert_true (back.is_room);
  g_assert_cmpuint (back.n_streams, ==, 0);
  nat_session_document_clear (&back);
}

static void
test_session_states (void)
{
  NatSessionDocument d = example_session (), back;

  d.description.sdp = NULL;
  d.description.n_media_keys = 0;
  d.n_udp = 0;
  for (int state = NAT_PUBLISHER_NONE; state <= NAT_PUBLISHER_ENDED; state++) {
    g_autofree char *json = NULL;

    d.publisher = state;
    json = nat_session_document_to_json (&d);
    g_assert_null (strstr (json, "sdp"));
    g_assert_null (strstr (json, "media-keys"));
    g_assert_true (nat_session_document_from_json (&back, json, -1, NULL));
    g_assert_cmpint (back.publisher, ==, state);
    g_assert_null (back.description.sdp);
    nat_session_document_clear (&back);
  }
}

/* ---- Documents that are wrong ------------------------------------------ */

#define KEY_TEXT             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY(kid, suite, key) "{\"kid\":" kid ",\"cipher-suite\":" suite ",\"key\":" key "}"
#define GOOD_SUITE           "\"AES_128_GCM_SHA256_128\""
#define GOOD_KEY             "\"" KEY_TEXT "\""
#define KEYS(keys)           "{\"sdp\":\"x\",\"media-keys\":[" keys "]}"

static const struct {
  const char *json, *says;
} bad_descriptions[] = {
    /*  0 */ {"", "not a JSON object"},
    /*  1 */ {"[]", "not a JSON object"},
    /*  2 */ {"null", "not a JSON object"},
    /*  3 */ {"{}", "\"sdp\" is missing"},
    /*  4 */ {"{\"sdp\":null}", "\"sdp\" must be a string"},
    /*  5 */ {"{\"sdp\":1}", "\"sdp\" must be a string"},
    /*  6 */ {"{\"sdp\":[\"x\"]}", "\"sdp\" must be a string"},
    /*  7 */ {"{\"sdp\":true}", "\"sdp\" must be a string"},
    /*  8 */ {"{\"sdp\":\"x\",\"media-keys\":{}}", "\"media-keys\" must be an array"},
    /*  9 */ {"{\"sdp\":\"x\",\"media-keys\":\"x\"}", "\"media-keys\" must be an array"},
    /* 10 */ {KEYS ("1"), "\"media-keys\" must hold objects only"},
    /* 11 */ {KEYS ("null"), "\"media-keys\" must hold objects only"},
    /* 12 */ {KEYS ("{}"), "\"kid\" is missing"},
    /* 13 */ {KEYS (KEY ("\"1\"", GOOD_SUITE, GOOD_KEY)), "\"kid\" must be a whole number"},
    /* 14 */ {KEYS (KEY ("1.0", GOOD_SUITE, GOOD_KEY)), "\"kid\" must be a whole number"},
    /* 15 */ {KEYS (KEY ("-1", GOOD_SUITE, GOOD_KEY)), "\"kid\" must be a whole number"},
    /* 16 */ {KEYS (KEY ("1e3", GOOD_SUITE, GOOD_KEY)), "\"kid\" must be a whole number"},
    /* 17 */
    {KEYS (KEY ("9007199254740993", GOOD_SUITE, GOOD_KEY)), "\"kid\" must be a whole number"},
    /* 18 */ {KEYS (KEY ("18446744073709551616", GOOD_SUITE, GOOD_KEY)), "18 digits"},
    /* 19 */ {KEYS (KEY ("18446744073709551617", GOOD_SUITE, GOOD_KEY)), "18 digits"},
    /* 20 */ {KEYS (KEY ("true", GOOD_SUITE, GOOD_KEY)), "\"kid\" must be a whole number"},
    /* 21 */ {KEYS (KEY ("1", "4", GOOD_KEY)), "\"cipher-suite\" must be a string"},
    /* 22 */ {KEYS (KEY ("1", "\"NULL\"", GOOD_KEY)), "\"cipher-suite\" must be AES_128_GCM"},
    /* 23 */
    {KEYS (KEY ("1", "\"AES_128_CTR_HMAC_SHA256_80\"", GOOD_KEY)), "\"cipher-suite\" must be"},
    /* 24 */ {KEYS (KEY ("1", GOOD_SUITE, "1")), "\"key\" must be a string"},
    /* 25 */ {KEYS (KEY ("1", GOOD_SUITE, "\"\"")), "\"key\" must be 32 bytes"},
    /* 26 */ {KEYS (KEY ("1", GOOD_SUITE, "\"" KEY_TEXT "=\"")), "\"key\" must be 32 bytes"},
    /* 27 */ {KEYS (KEY ("1", GOOD_SUITE, "\"+" KEY_TEXT "\"")), "\"key\" must be 32 bytes"},
    /* 28 stray bits */
    {KEYS (KEY ("1", GOOD_SUITE, "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\"")),
        "\"key\" must"},
    /* 29 33 bytes */
    {KEYS (KEY ("1", GOOD_SUITE, "\"A" KEY_TEXT "\"")), "\"key\" must be 32 bytes"},
    /* 30 */ {KEYS ("{\"kid\":1,\"cipher-suite\":" GOOD_SUITE "}"), "\"key\" is missing"},
    /* 31 */ {KEYS ("{\"kid\":1,\"key\":" GOOD_KEY "}"), "\"cipher-suite\" is missing"},
    /* 32 */ {KEYS (KEY ("1", GOOD_SUITE, GOOD_KEY) "," KEY ("1", GOOD_SUITE, GOOD_KEY)), "twice"},
    /* 33 */ {KEYS ("1,1,1,1,1"), "more than the 4 items"},
};

static void
assert_description_refused (const char *json, gssize len, const char *says, const char *row)
{
  g_autoptr (GError) error = NULL;
  NatDescription d;

  if (nat_description_from_json (&d, json, len, &error))
    g_error ("%s was taken", row);
  if (!g_error_matches (error, NAT_ERROR, NAT_ERROR_MALFORMED) ||
      strstr (error->message, says) == NULL)
    g_error ("%s: %s", row, error->message);
  g_assert_null (strstr (error->message, KEY_TEXT));
  g_assert_null (d.sdp);
  g_assert_cmpuint (d.n_media_keys, ==, 0);
}

static void
test_description_bad (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_descriptions); i++) {
    g_autofree char *row = g_strdup_printf ("row %u", i);

    assert_description_refused (bad_descriptions[i].json, -1, bad_descriptions[i].says, row);
  }
}

/* Each row puts value in place of member (NULL: takes it away) in a good document. */
static const struct {
  const char *member, *value, *says;
} bad_sessions[] = {
    /*  0 */ {"session", NULL, "\"session\" is missing"},
    /*  1 */ {"session", "1", "\"session\" must be a string"},
    /*  2 */ {"session", "\"AAAA\"", "\"session\" must be 16 bytes"},
    /*  3 */ {"session", "\"../../../../../../../.\"", "\"session\" must be 16 bytes"},
    /*  4 */ {"username", NULL, "\"username\" is missing"},
    /*  5 */ {"username", "[]", "\"username\" must be a string"},
    /*  6 */ {"username", "\"\"", "\"username\" must be printable"},
    /*  7 */ {"username", "\"a b\"", "\"username\" must be printable"},
    /*  8 */ {"username", "\"\303\274\"", "\"username\" must be printable"},
    /*  9 */ {"realm", NULL, "\"realm\" is missing"},
    /* 10 */ {"realm", "\"\"", "\"realm\" must be printable"},
    /* 11 */ {"realm", "\"12345678901234567890123456789012\"", "\"realm\" is longer than the 31"},
    /* 12 */ {"realm", "{}", "\"realm\" must be a string"},
    /* 13 */ {"password", NULL, "\"password\" is missing"},
    /* 14 */ {"password", "\"AAAA\"", "\"password\" must be 32 bytes"},
    /* 15 */ {"password", "false", "\"password\" must be a string"},
    /* 16 */ {"udp", NULL, "\"udp\" is missing"},
    /* 17 */ {"udp", "{}", "\"udp\" must be an array"},
    /* 18 */ {"udp", "[\"192.0.2.1:5\"]", "\"udp\" must hold objects only (item 0)"},
    /* 19 */ {"udp", "[{\"port\":1}]", "\"address\" is missing"},
    /* 20 */ {"udp", "[{\"address\":\"192.0.2.1\"}]", "\"port\" is missing"},
    /* 21 */ {"udp", "[{\"address\":\"192.0.2.1\",\"port\":0}]", "\"port\" must be"},
    /* 22 */ {"udp", "[{\"address\":\"192.0.2.1\",\"port\":65536}]", "\"port\" must be"},
    /* 23 */ {"udp", "[{\"address\":\"192.0.2.1\",\"port\":\"5\"}]", "\"port\" must be"},
    /* 24 */
    {"udp", "[{\"address\":\"relay.example.org\",\"port\":5}]", "\"address\" must be a numeric"},
    /* 25 */ {"udp", "[{\"address\":\"192.0.2.1:7\",\"port\":5}]", "\"address\" must be a numeric"},
    /* 26 */ {"udp", "[{\"address\":\"192.0.2.1:0\",\"port\":5}]", "\"address\" must be a numeric"},
    /* 27 */
    {"udp", "[{\"address\":\"[2001:db8::1]\",\"port\":5}]", "\"address\" must be a numeric"},
    /* 28 */ {"udp", "[{\"address\":\"0.0.0.0\",\"port\":5}]", "\"address\" must be a numeric"},
    /* 29 */ {"udp", "[{\"address\":\"::\",\"port\":5}]", "\"address\" must be a numeric"},
    /* 30 */ {"udp", "[{\"address\":1,\"port\":5}]", "\"address\" must be a string"},
    /* 31 */ {"udp", "[1,2,3,4,5,6,7,8,9]", "\"udp\" has more than the 8 items"},
    /* 32 */ {"keepalive-ms", NULL, "\"keepalive-ms\" is missing"},
    /* 33 */ {"keepalive-ms", "249", "\"keepalive-ms\" must be a whole number from 250 to 60000"},
    /* 34 */ {"keepalive-ms", "60001", "\"keepalive-ms\" must be"},
    /* 35 */ {"keepalive-ms", "4000.5", "\"keepalive-ms\" must be"},
    /* 36 */ {"expires-s", NULL, "\"expires-s\" is missing"},
    /* 37 */ {"expires-s", "-1", "\"expires-s\" must be"},
    /* 38 */ {"expires-s", "\"3600\"", "\"expires-s\" must be"},
    /* 39 */ {"boot-id", NULL, "\"boot-id\" is missing"},
    /* 40 */ {"boot-id", "\"00\"", "\"boot-id\" must be 16 bytes"},
    /* 41 */ {"boot-id", "\"000102030405060708090A0B0C0D0E0F\"", "\"boot-id\" must be"},
    /* 42 */ {"boot-id", "0", "\"boot-id\" must be a string"},
    /* 43 */ {"version", NULL, "\"version\" is missing"},
    /* 44 */ {"version", "0", "\"version\" must be a whole number from 1"},
    /* 45 */ {"version", "4294967296", "\"version\" must be"},
    /* 46 */ {"version", "null", "\"version\" must be"},
    /* 47 */ {"publisher", NULL, "\"publisher\" is missing"},
    /* 48 */ {"publisher", "\"dead\"", "\"publisher\" must be \"none\""},
    /* 49 */ {"publisher", "1", "\"publisher\" must be a string"},
    /* 50 */ {"sdp", "7", "\"sdp\" must be a string"},
    /* 51 */ {"media-keys", "7", "\"media-keys\" must be an array"},
    /* 52 */ {"media-keys", "[{\"kid\":1}]", "\"cipher-suite\" is missing"},
    /* 53 */ {"websocket", "\"//example.org/\"", "\"websocket\" must be a path"},
    /* 54 */ {"websocket", "\"/a b\"", "\"websocket\" must be a path"},
    /* 55 */ {"websocket", "\"\"", "\"websocket\" must be a path"},
    /* 56 */ {"streams", "{}", "streams"},
    /* 57 */ {"streams", "[1]", "streams"},
    /* 58 */ {"streams", "[{}]", "stream"},
    /* 59 */ {"streams", "[{\"stream\": \"a\"}]", "publisher"},
    /* 60 */ {"streams", "[{\"stream\": \"a/*\", \"publisher\": \"live\"}]", "stream"},
    /* 61 */ {"streams", "[{\"stream\": \"a\", \"publisher\": \"here\"}]", "publisher"},
    /* 62 */ {"streams", "[{\"stream\": \"a\", \"publisher\": \"live\", \"sdp\": 1}]", "sdp"},
};

static char *
session_with (const char *member, const char *value)
{
  NatSessionDocument d = example_session ();
  g_autofree char *json = nat_session_document_to_json (&d);
  g_autoptr (JsonNode) root = json_from_string (json, NULL);
  JsonObject *object = json_node_get_object (root);

  if (value == NULL)
    json_object_remove_member (object, member);
  else
    json_object_set_member (object, member, json_from_string (value, NULL));
  return json_to_string (root, FALSE);
}

static void
test_session_bad (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_sessions); i++) {
    g_autofree char *json = session_with (bad_sessions[i].member, bad_sessions[i].value);
    g_autoptr (GError) error = NULL;
    NatSessionDocument d;

    if (nat_session_document_from_json (&d, json, -1, &error))
      g_error ("row %u was taken", i);
    if (!g_error_matches (error, NAT_ERROR, NAT_ERROR_MALFORMED) ||
        strstr (error->message, bad_sessions[i].says) == NULL)
      g_error ("row %u: %s", i, error->message);
    g_assert_null (d.username);
    g_assert_cmpstr (d.password, ==, "");
  }
}

static void
test_session_longest_username (void)
{
  g_autofree char *fits = g_strnfill (510, 'u'), *too_long = g_strnfill (511, 'u');
  g_autofree char *good = NULL, *bad = NULL;
  NatSessionDocument d;

  fits[0] = fits[509] = too_long[0] = too_long[510] = '"';
  good = session_with ("username", fits);
  bad = session_with ("username", too_long);
  g_assert_true (nat_session_document_from_json (&d, good, -1, NULL));
  nat_session_document_clear (&d);
  g_assert_false (nat_session_document_from_json (&d, bad, -1, NULL));
}

static void
test_etag (void)
{
  char etag[64];

  nat_session_etag ("000102030405060708090a0b0c0d0e0f", G_MAXUINT32, etag);
  g_assert_cmpstr (etag, ==, "\"000102030405060708090a0b0c0d0e0f-4294967295\"");
}

/* ---- Problems ---------------------------------------------------------- */

static void
test_problem (void)
{
  g_autofree char *json = nat_problem_to_json (409, "https://natrelay.example.org/problems/taken",
      "Stream is taken", "Another \"publisher\" holds it.");
  g_autofree char *bare = nat_problem_to_json (404, "about:blank", "Not Found", NULL);
  NatProblem p;

  g_assert_true (nat_problem_from_json (&p, json, -1));
  g_assert_cmpuint (p.status, ==, 409);
  g_assert_cmpstr (p.type, ==, "https://natrelay.example.org/problems/taken");
  g_assert_cmpstr (p.title, ==, "Stream is taken");
  g_assert_cmpstr (p.detail, ==, "Another \"publisher\" holds it.");
  nat_problem_clear (&p);
  g_assert_true (nat_problem_from_json (&p, bare, -1));
  g_assert_null (p.detail);
  nat_problem_clear (&p);
}

/* What a proxy or another server says is no problem document of the relay's. */
static void
test_problem_foreign (void)
{
  static const char *const foreign[] = {
      "",
      "<html>403 Forbidden</html>",
      "{}",
      "{\"type\":\"about:blank\",\"title\":\"x\"}",
      "{\"type\":\"about:blank\",\"status\":403}",
      "{\"title\":\"x\",\"status\":403}",
      "{\"type\":\"about:blank\",\"title\":\"x\",\"status\":\"403\"}",
      "{\"type\":\"about:blank\",\"title\":\"x\",\"status\":99}",
      "{\"type\":\"about:blank\",\"title\":\"x\",\"status\":600}",
      "{\"type\":1,\"title\":\"x\",\"status\":403}",
      "{\"type\":\"about:blank\",\"title\":\"x\",\"status\":403,\"detail\":1}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (foreign); i++) {
    NatProblem p;

    if (nat_problem_from_json (&p, foreign[i], -1))
      g_error ("row %u was taken", i);
    g_assert_null (p.title);
  }
}

/* ---- Noise ------------------------------------------------------------- */

static void
test_noise (void)
{
  NatSessionDocument d = example_session ();
  g_autofree char *json = nat_session_document_to_json (&d);
  g_autoptr (GRand) rand = g_rand_new_with_seed (99);
  gsize len = strlen (json);
  guint taken = 0, refused = 0;

  for (guint i = 0; i < 20000; i++) {
    g_autofree char *copy = g_strdup (json);
    NatSessionDocument back;
    NatDescription description;
    NatTracks tracks;

    for (guint n = g_rand_int_range (rand, 1, 3); n > 0; n--)
      copy[g_rand_int_range (rand, 0, len)] =
          g_rand_boolean (rand) ? "{}[]\":,\\u0-9e"[g_rand_int_range (rand, 0, 13)]
                                : g_rand_int_range (rand, 0, 256);
    if (nat_session_document_from_json (&back, copy, len, NULL)) {
      taken++;
      nat_session_document_clear (&back);
    } else {
      refused++;
    }
    if (nat_description_from_json (&description, copy, len, NULL)) {
      nat_tracks_from_sdp (&tracks, description.sdp, NULL);
      nat_description_clear (&description);
    }
  }
  g_assert_cmpuint (taken, >, 100);
  g_assert_cmpuint (refused, >, 1000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/negotiation/description-round-trip", test_description_round_trip);
  g_test_add_func ("/negotiation/description-bare", test_description_bare);
  g_test_add_func ("/negotiation/description-bad", test_description_bad);
  g_test_add_func ("/negotiation/session-round-trip", test_session_round_trip);
  g_test_add_func ("/negotiation/session-room", test_session_room);
  g_test_add_func ("/negotiation/session-states", test_session_states);
  g_test_add_func ("/negotiation/session-bad", test_session_bad);
  g_test_add_func ("/negotiation/session-longest-username", test_session_longest_username);
  g_test_add_func ("/negotiation/etag", test_etag);
  g_test_add_func ("/negotiation/problem", test_problem);
  g_test_add_func ("/negotiation/problem-foreign", test_problem_foreign);
  g_test_add_func ("/negotiation/noise", test_noise);
  return g_test_run ();
}
