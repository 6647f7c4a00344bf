/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/secretfile.h"

#include <string.h>
#include <glib/gstdio.h>

#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natproto/hex.h"

#define SECRET_SIZE 32

static gboolean
create (const char *path, GError **error)
{
  guint8 secret[SECRET_SIZE];
  char line[2 + 2 * SECRET_SIZE + 2] = "1 ";
  gboolean ok;

  nat_crypto_random (secret, sizeof secret);
  nat_hex_encode (secret, sizeof secret, line + 2);
  line[2 + 2 * SECRET_SIZE] = '\n';
  line[2 + 2 * SECRET_SIZE + 1] = '\0';
  ok = g_file_set_contents_full (
      path, line, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
  nat_crypto_wipe (secret, sizeof secret);
  nat_crypto_wipe (line, sizeof line);
  return ok;
}

static gboolean
parse_line (const char *line, guint64 *number, guint8 secret[SECRET_SIZE])
{
  char *end;

  *number = g_ascii_strtoull (line, &end, 10);
  return g_ascii_isdigit (*line) && *number != 0 && *number <= G_MAXUINT32 && *end == ' ' &&
         strlen (end + 1) == 2 * SECRET_SIZE && nat_hex_decode (end + 1, secret, SECRET_SIZE);
}

static NatSecrets *
parse (const char *path, char *text, GError **error)
{
  g_autoptr (NatSecrets) secrets = nat_secrets_new ();
  char *save = NULL;
  guint n = 0;

  for (char *line = strtok_r (text, "\n", &save); line; line = strtok_r (NULL, "\n", &save)) {
    guint8 secret[SECRET_SIZE];
    guint64 number;

    n++;
    if (!parse_line (line, &number, secret)) {
      g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
          "Line %u of %s is not a number, a blank and 64 hex digits. Mend it, or remove the file: "
          "the relay then makes a new one, and clients negotiate anew.",
          n, path);
      return NULL;
    }
    nat_secrets_add (secrets, (guint32)number, secret);
    nat_crypto_wipe (secret, sizeof secret);
  }
  if (n == 0) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "%s holds no secret. Remove it, and the relay makes a new one.", path);
    return NULL;
  }
  return g_steal_pointer (&secrets);
}

NatSecrets *
nat_secret_file_load (const char *path, GError **error)
{
  NatSecrets *secrets;
  char *text;
  gsize len;

  if (!g_file_test (path, G_FILE_TEST_EXISTS) && !create (path, error))
    return NULL;
  if (!g_file_get_contents (path, &text, &len, error))
    return NULL;
  secrets = parse (path, text, error);
  nat_crypto_wipe (text, len);
  g_free (text);
  return secrets;
}
