/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Static tokens: what the tool writes the relay reads, nobody gets in who is not in the list, and a list that is wrong
 * says where. */

#include "natproto/statictoken.h"

#include <string.h>

#include "natproto/error.h"

#define NOW 1700000000

static char *
make (char text[NAT_STATIC_TOKEN_LEN + 1], const char *glob, gint64 expires_s)
{
  char *globs[] = {(char *)glob, NULL};
  NatToken claims = {.subject = (char *)"camera",
      .publish = globs,
      .expires_s = expires_s,
      .not_before_s = G_MININT64,
      .max_kbps = 4000};
  char *line;

  nat_static_token_make (text);
  line = nat_static_token_line (text, &claims, NULL);
  g_assert_nonnull (line);
  return line;
}

static void
test_there_and_back (void)
{
  char door[NAT_STATIC_TOKEN_LEN + 1], yard[NAT_STATIC_TOKEN_LEN + 1];
  g_autofree char *one = make (door, "door", G_MAXINT64);
  g_autofree char *two = make (yard, "yard/*", NOW + 60);
  g_autofree char *list = g_strdup_printf ("# ours\n\n%s\r\n  %s\n", one, two);
  g_autoptr (NatStaticTokens) tokens = nat_static_tokens_parse (list, NULL);
  NatToken t;

  g_assert_nonnull (tokens);
  g_assert_true (g_str_has_prefix (door, NAT_STATIC_TOKEN_PREFIX));
  g_assert_cmpuint (strlen (door), ==, NAT_STATIC_TOKEN_LEN);
  g_assert_cmpstr (door, !=, yard);
  /* Who reads the list has no token. */
  g_assert_null (strstr (list, door + 4));
  g_assert_true (nat_static_tokens_check (tokens, door, NOW, &t, NULL));
  g_assert_cmpstr (t.subject, ==, "camera");
  g_assert_cmpuint (t.max_kbps, ==, 4000);
  g_assert_true (nat_token_may_publish (&t, "door"));
  g_assert_false (nat_token_may_publish (&t, "yard/a"));
  g_assert_false (nat_token_may_subscribe (&t, "door"));
  g_assert_cmpint (nat_voucher_kind (&t.voucher), ==, NAT_VOUCHER_STATIC);
  g_assert_nonnull (nat_static_tokens_find (tokens, &t.voucher));
  nat_token_clear (&t);
  g_assert_true (nat_static_tokens_check (tokens, yard, NOW, &t, NULL));
  g_assert_true (nat_token_may_publish (&t, "yard/a"));
  nat_token_clear (&t);
}

static void
test_refused (void)
{
  char door[NAT_STATIC_TOKEN_LEN + 1], other[NAT_STATIC_TOKEN_LEN + 1];
  g_autofree char *line = make (door, "door", NOW - NAT_TOKEN_LEEWAY_S - 1);
  g_autoptr (NatStaticTokens) tokens = nat_static_tokens_parse (line, NULL);
  g_autofree char *hash = g_strndup (line, 64);
  const char *wrong[] = {"", "nrt_", other, hash, line};
  g_autoptr (GError) error = NULL;
  NatToken t;

  g_free (make (other, "door", G_MAXINT64)); /* its line is in no list */
  g_assert_false (nat_static_tokens_check (tokens, door, NOW, &t, &error));
  g_assert_error (error, NAT_ERROR, NAT_ERROR_EXPIRED);
  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) why = NULL;

    g_assert_false (nat_static_tokens_check (tokens, wrong[i], NOW, &t, &why));
    g_assert_error (why, NAT_ERROR, NAT_ERROR_AUTHENTICATION);
    g_assert_nonnull (strstr (why->message, "reload")); /* what who just made one has forgotten */
    g_assert_true (*wrong[i] == '\0' || strstr (why->message, wrong[i]) == NULL);
  }
  for (gsize i = 4; i < NAT_STATIC_TOKEN_LEN; i++) {
    g_autofree char *changed = g_strdup (door);

    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    g_assert_false (nat_static_tokens_check (tokens, changed, NOW - 60, &t, NULL));
  }
}

static void
test_lists (void)
{
  char door[NAT_STATIC_TOKEN_LEN + 1];
  g_autofree char *good = make (door, "door", G_MAXINT64);
  g_autofree char *hash = g_strndup (good, 64);
  const struct {
    const char *rest, *says;
  } cases[] = {
      {"", "line 2: it must begin"},
      {"{}", "line 2: it must begin"},
      {" ", "line 2: "},
      {" 7", "line 2: "},
      {" {", "line 2: "},
      {" {} {}", "line 2: "},
      {" {\"publish\":\"door\"}", "line 2: "},
      {" {\"publish\":[\"**/a\"]}", "line 2: "},
      {" {\"max-kbps\":-1}", "line 2: "},
      {" {\"exp\":\"soon\"}", "line 2: "},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *list = g_strdup_printf ("\n%s%s\n", hash, cases[i].rest);
    g_autoptr (GError) error = NULL;
    NatStaticTokens *tokens = nat_static_tokens_parse (list, &error);

    g_test_message ("case %u: %s", i, error ? error->message : "taken");
    g_assert_null (tokens);
    g_assert_true (g_str_has_prefix (error->message, cases[i].says));
    g_assert_null (strstr (error->message, hash));
  }
  {
    g_autofree char *twice = g_strdup_printf ("%s\n%s\n", good, good);
    g_autoptr (GError) error = NULL;

    g_assert_null (nat_static_tokens_parse (twice, &error));
    g_assert_nonnull (strstr (error->message, "line 2: the same token"));
  }
  {
    g_autoptr (NatStaticTokens) none = nat_static_tokens_parse ("", NULL);
    NatToken t;

    g_assert_nonnull (none);
    g_assert_false (nat_static_tokens_check (none, door, NOW, &t, NULL));
  }
}

/* The tool writes nothing that the relay would not read. */
static void
test_unwritable (void)
{
  char *globs[] = {(char *)"a//b", NULL};
  NatToken claims = {.publish = globs, .expires_s = G_MAXINT64, .not_before_s = G_MININT64};
  char text[NAT_STATIC_TOKEN_LEN + 1];
  g_autoptr (GError) error = NULL;

  nat_static_token_make (text);
  g_assert_null (nat_static_token_line (text, &claims, &error));
  g_assert_nonnull (strstr (error->message, "publish"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/statictoken/there_and_back", test_there_and_back);
  g_test_add_func ("/statictoken/refused", test_refused);
  g_test_add_func ("/statictoken/lists", test_lists);
  g_test_add_func ("/statictoken/unwritable", test_unwritable);
  return g_test_run ();
}
