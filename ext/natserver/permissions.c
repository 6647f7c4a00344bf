/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/permissions.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "natproto/error.h"
#include "natproto/jwk.h"
#include "natserver/control/keyfile.h"

/* "/etc/natrelay/door.pem" -> "door" */
static char *
kid_of (const char *path)
{
  char *kid = g_path_get_basename (path);
  char *dot = strrchr (kid, '.');

  if (dot != NULL && dot != kid)
    *dot = '\0';
  return kid;
}

/* Whoever can write such a file lets himself in, and so does who reads a secret. The group is the relay's own, often. */
static void
warn_of_others (const char *path, gboolean secret)
{
  struct stat st;

  if (stat (path, &st) != 0)
    return;
  if ((st.st_mode & 022) != 0)
    g_warning (
        "others may write into %s and so let in whom they like; \"chmod go-w\" ends that", path);
  if (secret && (st.st_mode & 004) != 0)
    g_warning ("everybody on this machine may read the secret %s and so let himself in; \"chmod "
               "o-r\" ends that",
        path);
}

static gboolean
load_keys (NatPermissions *p, char **paths, GError **error)
{
  for (; paths != NULL && *paths != NULL; paths++) {
    g_autoptr (NatSignKey) key = nat_key_file_load (*paths, error);
    g_autofree char *kid = kid_of (*paths);

    if (key == NULL)
      return FALSE;
    warn_of_others (*paths, nat_sign_key_algorithm (key) == NAT_SIGN_HS256);
    nat_token_keys_add (p->keys, kid, key);
  }
  return TRUE;
}

/* *text is wiped and freed by the caller. */
static gboolean
read_file (const char *what, const char *path, gsize max, char **text, gsize *len, GError **error)
{
  g_autoptr (GError) cause = NULL;
  struct stat st;

  if (stat (path, &st) == 0 && st.st_size > (goffset)max)
    return nat_error_set (error, NAT_ERROR_ARGUMENT,
        "%s %s is longer than %" G_GSIZE_FORMAT " bytes", what, path, max);
  if (!g_file_get_contents (path, text, len, &cause))
    return nat_error_set (error, NAT_ERROR_ARGUMENT, "%s cannot be read: %s", what, cause->message);
  warn_of_others (path, FALSE);
  return TRUE;
}

/* ---- Key sets ---------------------------------------------------------- */

static gboolean
load_key_set (NatPermissions *p, const char *path, GError **error)
{
  guint passed_over;
  char *text;
  gboolean ok;
  gsize len;

  if (!read_file ("The key set", path, NAT_JWKS_MAX, &text, &len, error))
    return FALSE;
  ok = nat_jwks_read (p->keys, text, (gssize)len, NAT_JWKS_KEPT, &passed_over, error);
  nat_crypto_wipe (text, len);
  g_free (text);
  if (!ok)
    g_prefix_error (error, "The key set %s cannot be used: ", path);
  else if (passed_over > 0)
    g_message ("%u keys of %s are of kinds that the relay does not use", passed_over, path);
  return ok;
}

static gboolean
load_key_sets (NatPermissions *p, char **places, GError **error)
{
  g_autoptr (GPtrArray) urls = g_ptr_array_new_with_free_func (g_free);

  for (; places != NULL && *places != NULL; places++) {
    if (strstr (*places, "://") != NULL)
      g_ptr_array_add (urls, g_strdup (*places));
    else if (!load_key_set (p, *places, error))
      return FALSE;
  }
  g_ptr_array_add (urls, NULL);
  p->urls = (char **)g_ptr_array_free (g_steal_pointer (&urls), FALSE);
  return TRUE;
}

/* ---- Tokens and secrets ------------------------------------------------ */

static gboolean
load_static (NatPermissions *p, const char *path, GError **error)
{
  g_autofree char *text = NULL;
  gsize len;

  if (path == NULL)
    return TRUE;
  if (!read_file ("The list of static tokens", path, NAT_STATIC_TOKENS_MAX, &text, &len, error))
    return FALSE;
  p->statics = nat_static_tokens_parse (text, error);
  if (p->statics == NULL)
    g_prefix_error (error, "The list of static tokens %s, ", path);
  return p->statics != NULL;
}

static void
unref_key (gpointer key)
{
  nat_sign_key_unref (key);
}

static gboolean
load_secrets (NatPermissions *p, char **paths, GError **error)
{
  if (paths == NULL || *paths == NULL)
    return TRUE;
  p->secrets = g_ptr_array_new_with_free_func (unref_key);
  for (; *paths != NULL; paths++) {
    NatSignKey *key = nat_key_file_load (*paths, error);

    if (key == NULL)
      return FALSE;
    g_ptr_array_add (p->secrets, key);
    if (nat_sign_key_algorithm (key) != NAT_SIGN_HS256)
      return nat_error_set (error, NAT_ERROR_ARGUMENT,
          "credential-secret: %s is no shared secret; 64 hex digits are wanted (natrelay-token "
          "keygen --algorithm "
          "HS256)",
          *paths);
    warn_of_others (*paths, TRUE);
  }
  g_ptr_array_add (p->secrets, NULL);
  return TRUE;
}

/* ---- All --------------------------------------------------------------- */

gboolean
nat_permissions_load (NatPermissions *p, const NatConfig *config, NatSignKey *own, GError **error)
{
  memset (p, 0, sizeof *p);
  p->keys = nat_token_keys_new ();
  if (own != NULL)
    nat_token_keys_add (p->keys, NULL, own);
  if (!load_keys (p, config->token_key, error) || !load_key_sets (p, config->jwks, error) ||
      !load_static (p, config->static_tokens, error) ||
      !load_secrets (p, config->credential_secret, error))
    return FALSE;
  if (*p->urls == NULL && config->access_callback == NULL)
    return TRUE;
  p->fetcher = nat_fetcher_new (config->access_ca, error);
  return p->fetcher != NULL;
}

void
nat_permissions_clear (NatPermissions *p)
{
  nat_token_keys_free (p->keys);
  nat_static_tokens_free (p->statics);
  g_clear_pointer (&p->secrets, g_ptr_array_unref);
  g_strfreev (p->urls);
  nat_fetcher_free (p->fetcher);
  memset (p, 0, sizeof *p);
}
