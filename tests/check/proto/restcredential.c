/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Time-limited credentials: one that Python's hmac and base64 made, ours there and back, and every part of one
 * changed. */

#include "natproto/restcredential.h"

#include <string.h>

#include "natproto/error.h"

#define NOW 1700000000

/* The secret is the bytes 0 to 31. */
#define USERNAME "1700003600:camera-1"
#define PASSWORD "JtRfhUl529wM8WRmj/phF8bFAydQD7itwW9BHagedvM="
#define WORD                                                                                       \
  "MTcwMDAwMzYwMDpjYW1lcmEtMTpKdFJmaFVsNTI5d004V1Jtai9waEY4YkZBeWRRRDdpdHdXOUJIYWdlZHZNPQ=="

static char *publish[] = {(char *)"cameras/{name}", (char *)"**", NULL};
static char *own[] = {(char *)"cameras/{name}/**", NULL};
static const NatRestGrants grants = {publish, own};

static NatSignKey *
secret (guint8 first)
{
  guint8 bytes[32];

  for (guint i = 0; i < sizeof bytes; i++)
    bytes[i] = (guint8)(first + i);
  return nat_sign_key_new_hmac (bytes, sizeof bytes, NULL);
}

static gboolean
check (const char *word, NatSignKey *key, gint64 now_s, NatToken *t, int code)
{
  NatSignKey *keys[] = {key, NULL};
  g_autoptr (GError) error = NULL;

  if (nat_rest_credential_check (word, keys, &grants, now_s, t, &error))
    return TRUE;
  g_assert_error (error, NAT_ERROR, code);
  g_assert_null (strstr (error->message, PASSWORD));
  return FALSE;
}

static void
test_example (void)
{
  g_autoptr (NatSignKey) key = secret (0);
  g_autofree char *username = NULL, *password = NULL, *token = NULL;
  NatVoucher voucher;
  NatToken t;

  g_assert_true (
      nat_rest_credential_make (key, 1700003600, "camera-1", &username, &password, &token, NULL));
  g_assert_cmpstr (username, ==, USERNAME);
  g_assert_cmpstr (password, ==, PASSWORD);
  g_assert_cmpstr (token, ==, WORD);
  g_assert_true (nat_rest_credential_is (WORD));
  g_assert_true (check (WORD, key, NOW, &t, 0));
  g_assert_cmpstr (t.subject, ==, "camera-1");
  g_assert_cmpint (t.expires_s, ==, 1700003600);
  g_assert_false (t.admin || t.list || t.takeover);
  nat_rest_secret_voucher (key, &voucher);
  g_assert_true (nat_voucher_equal (&voucher, &t.voucher));
  nat_token_clear (&t);
}

static void
test_times (void)
{
  g_autoptr (NatSignKey) key = secret (0);
  NatToken t;

  g_assert_true (check (WORD, key, 1700003600 + NAT_TOKEN_LEEWAY_S - 1, &t, 0));
  nat_token_clear (&t);
  g_assert_false (check (WORD, key, 1700003600 + NAT_TOKEN_LEEWAY_S, &t, NAT_ERROR_EXPIRED));
}

static void
test_secrets (void)
{
  g_autoptr (NatSignKey) key = secret (0);
  g_autoptr (NatSignKey) other = secret (1);
  NatSignKey *both[] = {other, key, NULL}, *none[] = {NULL};
  NatToken t;

  g_assert_false (check (WORD, other, NOW, &t, NAT_ERROR_AUTHENTICATION));
  g_assert_true (nat_rest_credential_check (WORD, both, &grants, NOW, &t, NULL));
  nat_token_clear (&t);
  g_assert_false (nat_rest_credential_check (WORD, none, &grants, NOW, &t, NULL));
  g_assert_false (nat_rest_credential_check (WORD, NULL, &grants, NOW, &t, NULL));
}

static char *
word_of (const char *text)
{
  return g_base64_encode ((const guchar *)text, strlen (text));
}

static void
test_changed (void)
{
  static const char *const texts[] = {
      "1700003601:camera-1:" PASSWORD,  /* lives longer */
      "01700003600:camera-1:" PASSWORD, /* the same number, another text */
      "1700003600:camera-2:" PASSWORD,
      "1700003600:camera-1:KtRfhUl529wM8WRmj/phF8bFAydQD7itwW9BHagedvM=",
  };
  static const char *const strange[] = {
      "",
      ":",
      "::",
      "1700003600",
      "1700003600:" PASSWORD,
      "1700003600::" PASSWORD,
      ":camera-1:" PASSWORD,
      "x1700003600:camera-1:" PASSWORD,
      "-1:camera-1:" PASSWORD,
      "17000036001700003600:camera-1:" PASSWORD, /* no number of 63 bits */
      "1700003600:camera 1:" PASSWORD,
      "1700003600:a:b:" PASSWORD,
      "1700003600:camera-1:",
      "1700003600:camera-1:AAAA",
      "1700003600:camera-1:JtRfhUl529wM8WRmj_phF8bFAydQD7itwW9BHagedvM=", /* base64url */
      "1700003600:camera-1:JtRfhUl529wM8WRmj/phF8bFAydQD7itwW9BHagedvN=", /* stray bits */
      "1700003600:camera-1:JtRfhUl529wM8WRmj/phF8bFAydQD7itwW9BHagedvMx",
  };
  g_autoptr (NatSignKey) key = secret (0);
  NatToken t;

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autofree char *word = word_of (texts[i]);

    g_assert_true (nat_rest_credential_is (word));
    g_assert_false (check (word, key, NOW, &t, NAT_ERROR_AUTHENTICATION));
  }
  for (guint i = 0; i < G_N_ELEMENTS (strange); i++) {
    g_autofree char *word = word_of (strange[i]);

    g_test_message ("text %u", i);
    g_assert_false (nat_rest_credential_is (word));
    g_assert_false (check (word, key, NOW, &t, NAT_ERROR_AUTHENTICATION));
  }
  g_assert_false (nat_rest_credential_is ("eyJhbGciOiJub25lIn0.e30."));
  g_assert_false (nat_rest_credential_is ("nrt_AAAA"));
  for (gsize cut = 0; cut < strlen (WORD) - 4; cut++) {
    g_autofree char *word = g_strndup (WORD, cut);

    g_assert_false (check (word, key, NOW, &t, NAT_ERROR_AUTHENTICATION));
  }
}

/* A name that is a segment stands for itself; another gets only what all get. */
static void
test_grants (void)
{
  static const char *const names[] = {"door", "door/**", "*", "..", "a@b", "**"};
  g_autoptr (NatSignKey) key = secret (0);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *username = NULL, *password = NULL, *word = NULL;
    NatToken t;

    g_assert_true (
        nat_rest_credential_make (key, NOW + 9, names[i], &username, &password, &word, NULL));
    g_assert_true (check (word, key, NOW, &t, 0));
    g_assert_true (nat_token_may_publish (&t, "anything"));
    g_assert_cmpint (nat_token_may_subscribe (&t, "cameras/door/1"), ==, i == 0);
    g_assert_false (nat_token_may_subscribe (&t, "cameras/yard/1"));
    g_assert_cmpuint (g_strv_length (t.publish), ==, i == 0 ? 2 : 1);
    nat_token_clear (&t);
  }
  g_assert_true (nat_rest_grant_valid ("a/{name}/b"));
  g_assert_true (nat_rest_grant_valid ("{name}-{name}"));
  g_assert_true (nat_rest_grant_valid ("**"));
  g_assert_false (nat_rest_grant_valid ("{nam}"));
  g_assert_false (nat_rest_grant_valid ("**/{name}"));
  g_assert_false (nat_rest_grant_valid (""));
}

static void
test_wrong_use (void)
{
  static const char *const names[] = {"", "a:b", "a b", "\xc3\xa4", "\n",
      "01234567890123456789012345678901234567890123456789012345678901234"};
  g_autoptr (NatSignKey) key = secret (0);
  g_autoptr (NatSignKey) pair = nat_sign_key_generate (NAT_SIGN_EDDSA, NULL);
  char *username = NULL, *password, *word;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    g_assert_false (
        nat_rest_credential_make (key, NOW, names[i], &username, &password, &word, NULL));
  g_assert_false (nat_rest_credential_make (pair, NOW, "a", &username, &password, &word, NULL));
  g_assert_null (username);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/restcredential/example", test_example);
  g_test_add_func ("/restcredential/times", test_times);
  g_test_add_func ("/restcredential/secrets", test_secrets);
  g_test_add_func ("/restcredential/changed", test_changed);
  g_test_add_func ("/restcredential/grants", test_grants);
  g_test_add_func ("/restcredential/wrong_use", test_wrong_use);
  return g_test_run ();
}
