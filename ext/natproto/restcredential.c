/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/restcredential.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/streamname.h"

#define WORD_MAX    256 /* bytes of base64: 18 digits, name and password fit */
#define DIGITS_MAX  18
#define PASSWORD_64 44 /* 32 bytes in base64, with its one '=' */

static gboolean
name_valid (const char *name)
{
  gsize len = strlen (name);

  for (const char *p = name; *p != '\0'; p++) {
    if (!g_ascii_isgraph (*p) || *p == ':')
      return FALSE;
  }
  return len > 0 && len <= NAT_REST_NAME_MAX;
}

gboolean
nat_rest_credential_make (NatSignKey *secret, gint64 expires_s, const char *name, char **username,
    char **password, char **token, GError **error)
{
  g_autofree char *both = NULL;
  guint8 mac[64];
  gsize len;

  if (nat_sign_key_algorithm (secret) != NAT_SIGN_HS256)
    return nat_error_set (
        error, NAT_ERROR_ARGUMENT, "Credentials need a shared secret (64 hex digits)");
  if (!name_valid (name) || expires_s < 0)
    return nat_error_set (error, NAT_ERROR_ARGUMENT,
        "The name must be 1 to %d printable ASCII characters without blanks and colons",
        NAT_REST_NAME_MAX);
  *username = g_strdup_printf ("%" G_GINT64_FORMAT ":%s", expires_s, name);
  if (!nat_sign_key_sign (secret, *username, strlen (*username), mac, &len, error)) {
    g_clear_pointer (username, g_free);
    return FALSE;
  }
  *password = g_base64_encode (mac, len);
  both = g_strconcat (*username, ":", *password, NULL);
  *token = g_base64_encode ((const guchar *)both, strlen (both));
  return TRUE;
}

/* ---- Reading ----------------------------------------------------------- */

typedef struct {
  char *username; /* and what name points into */
  const char *name;
  gint64 expires_s;
  guint8 mac[NAT_SHA256_SIZE];
} Credential;

static gboolean
read_mac (const char *text, guint8 mac[NAT_SHA256_SIZE])
{
  char url[PASSWORD_64];

  if (strlen (text) != PASSWORD_64 || text[PASSWORD_64 - 1] != '=')
    return FALSE;
  for (guint i = 0; i < PASSWORD_64 - 1; i++)
    url[i] = text[i] == '+'                     ? '-'
             : text[i] == '/'                   ? '_'
             : text[i] == '-' || text[i] == '_' ? '!'
                                                : text[i];
  /* The strict decoder: one text for one value. */
  return nat_base64url_decode (url, PASSWORD_64 - 1, mac, NAT_SHA256_SIZE) == NAT_SHA256_SIZE;
}

/* text: decoded, and cut into its parts here. */
static gboolean
split (char *text, Credential *c)
{
  char *first = strchr (text, ':'), *last = strrchr (text, ':');
  gsize digits = strspn (text, "0123456789");

  if (first == NULL || last == first || digits == 0 || digits > DIGITS_MAX ||
      text + digits != first)
    return FALSE;
  *last = '\0';
  c->expires_s = g_ascii_strtoll (text, NULL, 10);
  c->name = first + 1;
  return name_valid (c->name) && read_mac (last + 1, c->mac);
}

static gboolean
credential_read (const char *word, Credential *c)
{
  gsize len = strnlen (word, WORD_MAX + 1), n = 0;
  g_autofree char *text = NULL;

  memset (c, 0, sizeof *c);
  if (len == 0 || len > WORD_MAX ||
      strspn (word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != len)
    return FALSE;
  text = g_malloc0 (len + 1); /* longer than what comes out */
  {
    g_autofree guchar *bytes = g_base64_decode (word, &n);

    if (n > len || memchr (bytes, '\0', n) != NULL)
      return FALSE;
    memcpy (text, bytes, n);
  }
  if (!split (text, c))
    return FALSE;
  c->username = g_steal_pointer (&text);
  return TRUE;
}

gboolean
nat_rest_credential_is (const char *word)
{
  Credential c;
  gboolean is = credential_read (word, &c);

  g_free (c.username);
  return is;
}

/* ---- Grants ------------------------------------------------------------ */

/* NULL: this name makes no glob of it. */
static char *
put_name (const char *glob, const char *name)
{
  g_auto (GStrv) parts = g_strsplit (glob, NAT_REST_NAME, -1);
  g_autofree char *out = g_strjoinv (name, parts);

  if (parts[0] != NULL && parts[1] != NULL &&
      (!nat_stream_name_valid (name) || strchr (name, '/') != NULL))
    return NULL;
  return nat_stream_glob_valid (out) ? g_steal_pointer (&out) : NULL;
}

gboolean
nat_rest_grant_valid (const char *glob)
{
  g_autofree char *some = put_name (glob, "x");

  return some != NULL;
}

static char **
put_names (char **globs, const char *name)
{
  g_autoptr (GPtrArray) out = g_ptr_array_new ();

  for (; globs != NULL && *globs != NULL; globs++) {
    char *glob = put_name (*globs, name);

    if (glob != NULL)
      g_ptr_array_add (out, glob);
  }
  if (out->len == 0)
    return NULL;
  g_ptr_array_add (out, NULL);
  return (char **)g_ptr_array_free (g_steal_pointer (&out), FALSE);
}

void
nat_rest_grants_for (
    const NatRestGrants *grants, const char *name, char ***publish, char ***subscribe)
{
  *publish = put_names (grants->publish, name);
  *subscribe = put_names (grants->subscribe, name);
}

/* ---- Checking ---------------------------------------------------------- */

void
nat_rest_secret_voucher (NatSignKey *secret, NatVoucher *voucher)
{
  guint8 fingerprint[NAT_SHA256_SIZE];

  nat_sign_key_fingerprint (secret, fingerprint);
  nat_voucher_make (voucher, NAT_VOUCHER_SECRET, fingerprint, sizeof fingerprint);
}

static NatSignKey *
find_secret (const Credential *c, NatSignKey *const *secrets)
{
  for (; secrets != NULL && *secrets != NULL; secrets++) {
    if (nat_sign_key_verify (*secrets, c->username, strlen (c->username), c->mac, sizeof c->mac))
      return *secrets;
  }
  return NULL;
}

gboolean
nat_rest_credential_check (const char *word, NatSignKey *const *secrets,
    const NatRestGrants *grants, gint64 now_s, NatToken *t, GError **error)
{
  Credential c;
  NatSignKey *secret;

  memset (t, 0, sizeof *t);
  if (!credential_read (word, &c))
    return nat_error_set (error, NAT_ERROR_AUTHENTICATION,
        "The credentials are refused: they are not base64 of TIME:NAME:PASSWORD");
  secret = find_secret (&c, secrets);
  if (secret != NULL) {
    t->subject = g_strdup (c.name);
    t->expires_s = c.expires_s;
    t->not_before_s = G_MININT64;
    nat_rest_grants_for (grants, c.name, &t->publish, &t->subscribe);
    nat_rest_secret_voucher (secret, &t->voucher);
  }
  g_free (c.username);
  if (secret == NULL)
    return nat_error_set (error, NAT_ERROR_AUTHENTICATION,
        "The credentials are refused: the password does not fit; was it made with another secret?");
  if (nat_token_in_force (t, now_s, error))
    return TRUE;
  nat_token_clear (t);
  return FALSE;
}
