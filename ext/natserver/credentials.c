/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <sys/file.h>
#include <glib/gstdio.h>

#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natproto/hex.h"
#include "natserver/control/keyfile.h"
#include "natserver/control/secretfile.h"
#include "natserver/statedir.h"

#define TOKEN_SECRET_SIZE 32

static gboolean
write_file (const char *path, const char *text, int mode, GError **error)
{
  return g_file_set_contents_full (
      path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, mode, error);
}

/* ---- The directory ----------------------------------------------------- */

char *
nat_credentials_open_directory (const NatConfig *config, GError **error)
{
  g_autofree char *dir =
      config->state_dir ? g_strdup (config->state_dir) : nat_state_dir_default ();
  struct stat st;

  if (g_mkdir_with_parents (dir, 0700) != 0 || access (dir, R_OK | W_OK | X_OK) != 0) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "The state directory %s cannot be used: %s. The relay keeps its certificate and keys "
        "there; "
        "make it writable for this user, or choose another one with --state-dir.",
        dir, g_strerror (errno));
    return NULL;
  }
  if (stat (dir, &st) == 0 && (st.st_mode & 077) != 0)
    g_warning (
        "others may look into the state directory; \"chmod 700 %s\" keeps its keys private", dir);
  return g_steal_pointer (&dir);
}

int
nat_credentials_lock_directory (const char *dir, GError **error)
{
  int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int code;

  /* Where locks do not work (some network file systems) the relay does without. */
  if (fd >= 0 && (flock (fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK))
    return fd;
  code = errno;
  if (fd >= 0)
    close (fd);
  g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
      "The state directory %s cannot be used: %s. Each relay needs one of its own; choose another "
      "one with --state-dir.",
      dir, fd >= 0 ? "another natrelay-server is using it" : g_strerror (code));
  return -1;
}

char *
nat_credentials_host (const NatConfig *config)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  if (config->n_public == 0)
    return g_strdup (g_get_host_name ());
  nat_address_to_text (&config->public_addresses[0], text);
  *strrchr (text, ':') = '\0'; /* its port; an IPv6 address keeps its brackets, as URIs want */
  return g_strdup (text);
}

/* ---- Certificate ------------------------------------------------------- */

/* The literal addresses that the certificate is good for. */
static char **
addresses_of (const NatConfig *config)
{
  g_autoptr (GPtrArray) out = g_ptr_array_new ();

  g_ptr_array_add (out, g_strdup ("127.0.0.1"));
  g_ptr_array_add (out, g_strdup ("::1"));
  for (guint i = 0; i < config->n_public; i++) {
    char text[NAT_ADDRESS_TEXT_MAX];
    char *ip = text;

    nat_address_to_text (&config->public_addresses[i], text);
    *strrchr (text, ':') = '\0';
    if (*ip == '[') {
      ip++;
      *strrchr (text, ']') = '\0';
    }
    g_ptr_array_add (out, g_strdup (ip));
  }
  g_ptr_array_add (out, NULL);
  return (char **)g_ptr_array_free (g_steal_pointer (&out), FALSE);
}

/* A machine may call itself what no certificate can say. */
static const char *
name_for_certificate (void)
{
  const char *name = g_get_host_name ();

  for (const char *p = name; *p != '\0'; p++) {
    if (!g_ascii_isalnum (*p) && strchr ("-._", *p) == NULL)
      return "localhost";
  }
  return *name ? name : "localhost";
}

static gboolean
make_certificate (const NatConfig *config, const char *certificate, const char *key, GError **error)
{
  g_auto (GStrv) addresses = addresses_of (config);
  g_autofree char *certificate_pem = NULL;
  char *key_pem = NULL;
  gboolean ok;

  if (!nat_tls_make_self_signed (name_for_certificate (), (const char *const *)addresses,
          g_get_real_time () / G_USEC_PER_SEC, &certificate_pem, &key_pem, error))
    return FALSE;
  ok = write_file (key, key_pem, 0600, error) &&
       write_file (certificate, certificate_pem, 0644, error);
  nat_crypto_wipe_free (key_pem);
  return ok;
}

NatTlsIdentity *
nat_credentials_identity (const NatConfig *config, const char *dir, GError **error)
{
  g_autofree char *certificate = g_build_filename (dir, "certificate.pem", NULL);
  g_autofree char *key = g_build_filename (dir, "private-key.pem", NULL);
  NatTlsIdentity *identity;

  if (config->certificate != NULL) {
    identity = nat_tls_identity_load (config->certificate, config->private_key, error);
  } else {
    if (!g_file_test (certificate, G_FILE_TEST_EXISTS) &&
        !make_certificate (config, certificate, key, error))
      return NULL;
    identity = nat_tls_identity_load (certificate, key, error);
  }
  if (identity != NULL &&
      nat_tls_identity_expires_s (identity) <= g_get_real_time () / G_USEC_PER_SEC)
    g_warning ("the certificate has expired; clients that check it will refuse this relay");
  return identity;
}

/* ---- Secrets and tokens ------------------------------------------------ */

NatSecrets *
nat_credentials_secrets (const char *dir, GError **error)
{
  g_autofree char *path = g_build_filename (dir, "secrets", NULL);

  return nat_secret_file_load (path, error);
}

static gboolean
make_token_key (const char *path, GError **error)
{
  guint8 secret[TOKEN_SECRET_SIZE];
  char text[2 * TOKEN_SECRET_SIZE + 2];
  gboolean ok;

  nat_crypto_random (secret, sizeof secret);
  nat_hex_encode (secret, sizeof secret, text);
  text[2 * TOKEN_SECRET_SIZE] = '\n';
  text[2 * TOKEN_SECRET_SIZE + 1] = '\0';
  ok = write_file (path, text, 0600, error);
  nat_crypto_wipe (secret, sizeof secret);
  nat_crypto_wipe (text, sizeof text);
  return ok;
}

NatSignKey *
nat_credentials_own_key (const char *dir, GError **error)
{
  g_autofree char *path = g_build_filename (dir, "token.key", NULL);

  if (!g_file_test (path, G_FILE_TEST_EXISTS) && !make_token_key (path, error))
    return NULL;
  return nat_key_file_load (path, error);
}

char *
nat_credentials_default_token (const char *dir, NatSignKey *own, NatRole role, GError **error)
{
  gboolean publisher = role == NAT_ROLE_PUBLISHER;
  g_autofree char *path =
      g_build_filename (dir, publisher ? "publish-token" : "subscribe-token", NULL);
  g_autofree char *kept = NULL;
  char *everything[] = {(char *)"**", NULL};
  NatToken token = {
      .subject = (char *)(publisher ? "publisher" : "subscriber"),
      .expires_s = G_MAXINT64,
      .not_before_s = G_MININT64,
      .publish = publisher ? everything : NULL,
      .subscribe = publisher ? NULL : everything,
  };
  char *text = nat_token_sign (&token, NULL, own, error);

  if (text == NULL)
    return NULL;
  if ((!g_file_get_contents (path, &kept, NULL, NULL) || strcmp (g_strchomp (kept), text) != 0)) {
    g_autofree char *line = g_strconcat (text, "\n", NULL);

    if (!write_file (path, line, 0600, error))
      g_clear_pointer (&text, g_free);
  }
  return text;
}

/* ---- Looking only ------------------------------------------------------ */

gboolean
nat_credentials_check (const NatConfig *config, GError **error)
{
  g_autofree char *dir =
      config->state_dir ? g_strdup (config->state_dir) : nat_state_dir_default ();
  g_autofree char *own = g_build_filename (dir, "certificate.pem", NULL);

  if (g_file_test (dir, G_FILE_TEST_EXISTS) && access (dir, R_OK | W_OK | X_OK) != 0) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT, "The state directory %s cannot be used: %s.",
        dir, g_strerror (errno));
    return FALSE;
  }
  if (config->certificate != NULL || g_file_test (own, G_FILE_TEST_EXISTS)) {
    NatTlsIdentity *identity = nat_credentials_identity (config, dir, error);

    if (identity == NULL)
      return FALSE;
    nat_tls_identity_unref (identity);
  }
  return TRUE;
}
