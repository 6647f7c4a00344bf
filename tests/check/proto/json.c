/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What is JSON and what only looks like it; and bombs. What members must be is tested where they are
 * read: negotiation and token. */

#include "natproto/json.h"

#include <string.h>

#include "natproto/error.h"

#define LENGTH_MAX 65536

static void
assert_refused (const char *json, gssize len, const char *says, const char *row)
{
  g_autoptr (GError) error = NULL;

  if (nat_json_parse (json, len, LENGTH_MAX, "The test", &error) != NULL)
    g_error ("%s was taken", row);
  if (!g_error_matches (error, NAT_ERROR, NAT_ERROR_MALFORMED) ||
      strstr (error->message, says) == NULL || !g_str_has_prefix (error->message, "The test is "))
    g_error ("%s: %s", row, error->message);
}

static void
assert_taken (const char *json, gssize len)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) object = nat_json_parse (json, len, LENGTH_MAX, "The test", &error);
  const char *sdp = NULL;

  if (object == NULL)
    g_error ("%s: %s", json, error->message);
  g_assert_true (nat_json_get_string (object, "sdp", NAT_JSON_REQUIRED, 1, &sdp, NULL));
  g_assert_cmpstr (sdp, ==, "x");
}

/* Not JSON, though json-glib or another lenient reader would take most of it. */
static const char *const bad_json[] = {
    "{\"sdp\":\"x\"",
    "{\"sdp\":\"x\"}}",
    "{\"sdp\":\"x\"} x",
    "{\"sdp\":\"x\"}{}",
    "{\"sdp\":\"x\",}",
    "{,\"sdp\":\"x\"}",
    "{\"sdp\" \"x\"}",
    "{sdp:\"x\"}",
    "{'sdp':\"x\"}",
    "{\"sdp\":'x'}",
    "{\"sdp\":\"x\"/* c */}",
    "// c\n{\"sdp\":\"x\"}",
    "# c\n{\"sdp\":\"x\"}",
    "var a = {\"sdp\":\"x\"};",
    "{\"sdp\":\"x\",\"n\":01}",
    "{\"sdp\":\"x\",\"n\":1000000000000000000}",
    "{\"sdp\":\"x\",\"n\":-1000000000000000000}",
    "{\"sdp\":\"x\",\"n\":0x1}",
    "{\"sdp\":\"x\",\"n\":+1}",
    "{\"sdp\":\"x\",\"n\":.5}",
    "{\"sdp\":\"x\",\"n\":1.}",
    "{\"sdp\":\"x\",\"n\":1e}",
    "{\"sdp\":\"x\",\"n\":-}",
    "{\"sdp\":\"x\",\"n\":NaN}",
    "{\"sdp\":\"x\",\"n\":True}",
    "{\"sdp\":\"x\",\"n\":tru}",
    "{\"sdp\":\"x\",\"n\":[1,]}",
    "{\"sdp\":\"x\",\"n\":[1 2]}",
    "{\"sdp\":\"x\",\"n\":}",
    "{\"sdp\":\"x\",\"n\"}",
    "{\"sdp\":\"\\x\"}",
    "{\"sdp\":\"\\u12\"}",
    "{\"sdp\":\"\\u0000\"}",
    "{\"sdp\":\"\\ud800\"}",
    "{\"sdp\":\"\\ud800\\u0041\"}",
    "{\"sdp\":\"\\udc00\"}",
    "{\"sdp\":\"a\nb\"}",
    "{\"sdp\":\"\xff\"}",
    "{\"sdp\":\"\xc0\xaf\"}",
    "{\"sdp\":\"x",
    "{\"sdp\":\"x\\",
    "\xef\xbb\xbf{\"sdp\":\"x\"}",
};

static void
test_bad (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_json); i++)
    assert_refused (bad_json[i], -1, "not a JSON object", bad_json[i]);
  assert_refused ("{\"sdp\":\"x\0y\"}", 13, "not a JSON object", "a zero byte");
  assert_refused ("{\"sdp\":\"x\"}\0", 12, "not a JSON object", "a zero at the end");
}

static void
test_good (void)
{
  static const char *const good[] = {
      " {\t\"sdp\"\r\n:\"x\" } \n",
      "{\"sdp\":\"x\",\"n\":-0.5e+10}",
      "{\"sdp\":\"x\",\"n\":1E5,\"m\":0,\"o\":-0}",
      "{\"sdp\":\"x\",\"n\":[true,false,null,{},[]]}",
      "{\"n\":999999999999999999,\"m\":-999999999999999999,\"sdp\":\"x\"}",
      "{\"n\":99999999999999999999.5,\"m\":99999999999999999999e1,\"sdp\":\"x\"}",
      "{\"sdp\":\"\\u0078\"}",
      "{\"n\":\"\\ud83d\\ude00\",\"sdp\":\"x\"}",
      "{\"\":1,\"sdp\":\"x\"}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++)
    assert_taken (good[i], -1);
}

static char *
nested (const char *open, const char *close, guint depth)
{
  GString *s = g_string_new ("{\"sdp\":\"x\",\"n\":");

  for (guint i = 0; i < depth; i++)
    g_string_append (s, open);
  g_string_append (s, "1");
  for (guint i = 0; i < depth; i++)
    g_string_append (s, close);
  g_string_append (s, "}");
  return g_string_free (s, FALSE);
}

static void
test_bombs (void)
{
  g_autofree char *fits = nested ("[", "]", 15), *deep = nested ("[", "]", 16);
  g_autofree char *deepest = nested ("[", "]", 30000), *objects = nested ("{\"a\":", "}", 10000);
  g_autofree char *open = g_strnfill (LENGTH_MAX, '[');
  g_autofree char *big = g_strnfill (LENGTH_MAX + 1, ' ');

  assert_taken (fits, -1);
  assert_refused (deep, -1, "at most 16 levels", "17 levels");
  assert_refused (deepest, -1, "at most 16 levels", "30000 levels");
  assert_refused (objects, -1, "at most 16 levels", "10000 objects");
  assert_refused (open, -1, "not a JSON object", "brackets only");
  memcpy (big, "{\"sdp\":\"x\"}", 11);
  assert_refused (big, -1, "longer than the 65536 bytes", "too long");
  assert_taken (big, LENGTH_MAX);
}

/* The text is gone from where it stood, and the member is still a string. */
static void
test_wipe (void)
{
  g_autoptr (JsonObject) object =
      nat_json_parse ("{\"a\":\"secret\",\"b\":1}", -1, LENGTH_MAX, "The test", NULL);
  const char *a = NULL;

  g_assert_true (nat_json_get_string (object, "a", NAT_JSON_REQUIRED, 6, &a, NULL));
  nat_json_wipe_string (object, "a");
  nat_json_wipe_string (object, "b");
  nat_json_wipe_string (object, "c");
  g_assert_cmpmem (a, 7, "\0\0\0\0\0\0", 7);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json/bad", test_bad);
  g_test_add_func ("/json/good", test_good);
  g_test_add_func ("/json/bombs", test_bombs);
  g_test_add_func ("/json/wipe", test_wipe);
  return g_test_run ();
}
