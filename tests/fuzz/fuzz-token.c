/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any text as an access token; and the same text signed as its content, so that the reader behind
 * the signature is reached, too. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/token.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#define HEADER "eyJhbGciOiJIUzI1NiJ9." /* {"alg":"HS256"} */

static char *
sign (NatSignKey *key, const uint8_t *data, size_t size)
{
  g_autofree char *claims = g_malloc (NAT_BASE64URL_LEN (size) + 1);
  char signature[NAT_BASE64URL_LEN (32) + 1];
  g_autofree char *input = NULL;
  guint8 sig[64];
  gsize len;

  nat_base64url_encode (data, size, claims);
  input = g_strconcat (HEADER, claims, NULL);
  nat_sign_key_sign (key, input, strlen (input), sig, &len, NULL);
  nat_base64url_encode (sig, len, signature);
  return g_strconcat (input, ".", signature, NULL);
}

static void
try_token (const char *text, NatTokenKeys *keys)
{
  NatToken t;

  if (nat_token_verify (&t, text, keys, 1700000000, NULL)) {
    nat_token_may_publish (&t, "house/door");
    nat_token_may_subscribe (&t, "house/door");
    nat_token_clear (&t);
  }
  nat_token_inspect (text, NULL, NULL, NULL);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const guint8 secret[32] = {1};
  g_autofree char *text = g_strndup ((const char *)data, size), *signed_text = NULL;
  g_autoptr (NatSignKey) key = nat_sign_key_new_hmac (secret, sizeof secret, NULL);
  g_autoptr (NatTokenKeys) keys = nat_token_keys_new ();

  nat_token_keys_add (keys, NULL, key);
  try_token (text, keys);
  signed_text = sign (key, data, size);
  try_token (signed_text, keys);
  return 0;
}
