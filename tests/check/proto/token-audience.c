/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* RFC 7519 section 4.1.3: "aud" is a string or an array of them, and if it is there, we are in it. */

#include <string.h>

#include "natproto/error.h"
#include "natproto/token.h"

static char *
sign (NatSignKey *key, const char *claims)
{
  g_autofree char *body = g_malloc (NAT_BASE64URL_LEN (strlen (claims)) + 1), *input = NULL;
  char text[NAT_BASE64URL_LEN (64) + 1];
  guint8 signature[64];
  gsize len;

  nat_base64url_encode (claims, strlen (claims), body);
  input = g_strconcat ("eyJhbGciOiJIUzI1NiJ9." /* {"alg":"HS256"} */, body, NULL);
  g_assert_true (nat_sign_key_sign (key, input, strlen (input), signature, &len, NULL));
  nat_base64url_encode (signature, len, text);
  return g_strconcat (input, ".", text, NULL);
}

static void
test_audience (void)
{
  static const struct {
    const char *claims;
    gboolean good;
  } cases[] = {
      {"{\"publish\":[\"door\"]}", TRUE},
      {"{\"publish\":[\"door\"],\"aud\":\"natrelay\"}", TRUE},
      {"{\"publish\":[\"door\"],\"aud\":[\"mail\",\"natrelay\"]}", TRUE},
      {"{\"publish\":[\"door\"],\"aud\":\"mail\"}", FALSE},
      {"{\"publish\":[\"door\"],\"aud\":\"\"}", FALSE},
      {"{\"publish\":[\"door\"],\"aud\":\"natrelay2\"}", FALSE},
      {"{\"publish\":[\"door\"],\"aud\":[]}", FALSE},
      {"{\"publish\":[\"door\"],\"aud\":[\"mail\",1,null,[\"natrelay\"]]}", FALSE},
      {"{\"publish\":[\"door\"],\"aud\":null}", FALSE},
      {"{\"publish\":[\"door\"],\"aud\":{\"natrelay\":true}}", FALSE},
  };
  static const guint8 secret[32] = {7};
  g_autoptr (NatSignKey) key = nat_sign_key_new_hmac (secret, sizeof secret, NULL);
  g_autoptr (NatTokenKeys) keys = nat_token_keys_new ();

  nat_token_keys_add (keys, NULL, key);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *text = sign (key, cases[i].claims);
    g_autoptr (GError) error = NULL;
    NatToken t;

    g_test_message ("%s", cases[i].claims);
    g_assert_cmpint (nat_token_verify (&t, text, keys, 1700000000, &error), ==, cases[i].good);
    g_assert_cmpint (nat_token_may_publish (&t, "door"), ==, cases[i].good);
    if (!cases[i].good)
      g_assert_error (error, NAT_ERROR, NAT_ERROR_AUTHENTICATION);
    nat_token_clear (&t);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/token/audience", test_audience);
  return g_test_run ();
}
