/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/keyfile.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/hex.h"

#define SECRET_SIZE 32

static gboolean
read_hex (const char *text, gsize len, guint8 secret[SECRET_SIZE])
{
  while (len > 0 && g_ascii_isspace (text[len - 1]))
    len--;
  return len == 2 * SECRET_SIZE && nat_hex_decode (text, secret, SECRET_SIZE);
}

static NatSignKey *
read_key (const char *path, const char *text, gsize len, GError **error)
{
  guint8 secret[SECRET_SIZE];
  NatSignKey *key;

  if (read_hex (text, len, secret)) {
    key = nat_sign_key_new_hmac (secret, sizeof secret, error);
    nat_crypto_wipe (secret, sizeof secret);
  } else if (strstr (text, "-----BEGIN ") != NULL) {
    key = nat_sign_key_new_pem (text, error);
  } else {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "The key file %s holds neither 64 hex digits (HS256) nor a key in PEM (EC P-256, Ed25519)",
        path);
    return NULL;
  }
  if (key == NULL)
    g_prefix_error (error, "The key file %s cannot be used: ", path);
  return key;
}

NatSignKey *
nat_key_file_load (const char *path, GError **error)
{
  g_autoptr (GError) cause = NULL;
  NatSignKey *key;
  char *text;
  gsize len;

  if (!g_file_get_contents (path, &text, &len, &cause)) {
    g_set_error (
        error, NAT_ERROR, NAT_ERROR_ARGUMENT, "The key file cannot be read: %s", cause->message);
    return NULL;
  }
  key = read_key (path, text, len, error);
  nat_crypto_wipe (text, len);
  g_free (text);
  return key;
}
