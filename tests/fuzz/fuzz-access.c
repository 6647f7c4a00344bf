/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any text as a JSON Web Key set, as a list of static tokens, and as time-limited credentials, also in their
 * base64; what a set or a list has is then used. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/jwk.h"
#include "natproto/restcredential.h"
#include "natproto/statictoken.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define NOW 1700000000
/* {"alg":"RS256"}, {}, three bytes */
#define SOME_TOKEN "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"

static void
try_key_set (const char *text, NatJwksPlace place)
{
  g_autoptr (NatTokenKeys) keys = nat_token_keys_new ();
  NatToken t;

  nat_jwks_read (keys, text, -1, place, NULL, NULL);
  g_assert_cmpuint (nat_token_keys_n (keys), <=, NAT_JWKS_KEYS_MAX);
  if (nat_token_verify (&t, SOME_TOKEN, keys, NOW, NULL))
    g_error ("a key takes anything for a signature");
}

static void
try_list (const char *text)
{
  g_autoptr (NatStaticTokens) tokens = nat_static_tokens_parse (text, NULL);
  NatToken t;

  if (tokens != NULL && nat_static_tokens_check (tokens, text, NOW, &t, NULL))
    nat_token_clear (&t);
}

static void
try_credential (const char *word)
{
  static const guint8 secret[32] = {1};
  g_autoptr (NatSignKey) key = nat_sign_key_new_hmac (secret, sizeof secret, NULL);
  NatSignKey *const secrets[] = {key, NULL};
  char *globs[] = {(char *)"a/{name}", NULL};
  NatRestGrants grants = {globs, globs};
  NatToken t;

  nat_rest_grant_valid (word);
  if (nat_rest_credential_check (word, secrets, &grants, NOW, &t, NULL)) {
    nat_token_may_publish (&t, "a/b");
    nat_token_clear (&t);
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_autofree char *encoded = g_base64_encode (data, size);

  try_key_set (text, NAT_JWKS_KEPT);
  try_key_set (text, NAT_JWKS_PUBLISHED);
  try_list (text);
  try_credential (text);
  try_credential (encoded);
  return 0;
}
