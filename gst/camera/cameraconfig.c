/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "cameraconfig.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/error.h"

/* ---- One camera -------------------------------------------------------- */

#define fail(error, ...) nat_error_set (error, NAT_ERROR_ARGUMENT, __VA_ARGS__)

/* One of two ends the password, and GLib and GStreamer do not agree on which. */
static gboolean
has_two_ats (const char *uri)
{
  const char *authority = strstr (uri, "://");
  const char *end, *at;

  if (!authority)
    return FALSE;
  authority += strlen ("://");
  end = authority + strcspn (authority, "/?#");
  at = memchr (authority, '@', end - authority);
  return at && memchr (at + 1, '@', end - at - 1);
}

/* The value may hold a password: neither it is repeated nor what GLib says of it. */
static gboolean
check_uri (const char *uri, const char *what, const char *scheme, const char *other, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GUri) parsed =
      g_uri_parse (uri, G_URI_FLAGS_NON_DNS | G_URI_FLAGS_PARSE_RELAXED, &cause);
  const char *got = parsed ? g_uri_get_scheme (parsed) : NULL;

  if (has_two_ats (uri) || (!parsed && strchr (uri, '@')))
    return fail (error,
        "%s is not a URI: in user and password write %% as %%25, @ as %%40, : as %%3A, / as %%2F, "
        "# as %%23 and ? as %%3F.",
        what);
  if (!parsed)
    return fail (error, "%s is not a URI: %s.", what, cause->message);
  if (strcmp (got, scheme) != 0 && strcmp (got, other) != 0)
    return fail (error, "%s must begin with %s://, not %s://.", what, scheme, got);
  if (!g_uri_get_host (parsed) || *g_uri_get_host (parsed) == '\0')
    return fail (error, "%s names no host.", what);
  return TRUE;
}

/* In the words of natrelaysink, which would say the same at each try, for ever. */
static gboolean
check_stream (const char *relay, GError **error)
{
  g_autoptr (GUri) parsed =
      g_uri_parse (relay, G_URI_FLAGS_NON_DNS | G_URI_FLAGS_PARSE_RELAXED, NULL);
  GstElement *sink;

  if (parsed && strchr (g_uri_get_path (parsed), '*'))
    return fail (error, "The relay's address has a pattern where one stream's name belongs.");
  sink = gst_element_make_from_uri (GST_URI_SINK, relay, NULL, error);
  if (!sink)
    return FALSE;
  gst_object_unref (gst_object_ref_sink (sink));
  return TRUE;
}

CameraConfig *
camera_config_new (const char *name, const char *location, const char *relay, GError **error)
{
  CameraConfig *config;

  if (!check_uri (location, "The camera's address", "rtsp", "rtsps", error) ||
      !check_uri (relay, "The relay's address", "natrelay", "natrelay", error) ||
      !check_stream (relay, error))
    return NULL;
  config = g_new0 (CameraConfig, 1);
  config->name = g_strdup (name);
  config->location = g_strdup (location);
  config->relay = g_strdup (relay);
  config->latency_ms = CAMERA_LATENCY_MS;
  camera_config_set_transport (config, "auto", NULL);
  return config;
}

static void
free_secret (char *text)
{
  if (text)
    nat_crypto_wipe (text, strlen (text));
  g_free (text);
}

void
camera_config_free (CameraConfig *config)
{
  if (!config)
    return;
  g_free (config->name);
  free_secret (config->location);
  free_secret (config->relay);
  free_secret (config->token);
  g_free (config);
}

gboolean
camera_config_set_transport (CameraConfig *config, const char *word, GError **error)
{
  if (strcmp (word, "auto") == 0)
    config->transports = GST_RTSP_LOWER_TRANS_UDP | GST_RTSP_LOWER_TRANS_TCP;
  else if (strcmp (word, "udp") == 0)
    config->transports = GST_RTSP_LOWER_TRANS_UDP;
  else if (strcmp (word, "tcp") == 0)
    config->transports = GST_RTSP_LOWER_TRANS_TCP;
  else
    return fail (error, "transport must be auto, udp or tcp, not \"%s\".", word);
  return TRUE;
}

char *
camera_config_describe (const CameraConfig *config)
{
  g_autoptr (GUri) uri =
      g_uri_parse (config->location, G_URI_FLAGS_NON_DNS | G_URI_FLAGS_PARSE_RELAXED, NULL);

  return uri ? g_uri_to_string_partial (uri, G_URI_HIDE_USERINFO | G_URI_HIDE_QUERY)
             : g_strdup ("?");
}

/* ---- File -------------------------------------------------------------- */

typedef struct {
  GKeyFile *file;
  const char *path, *group;
} Reader;

/* With the place in front. */
static gboolean
refuse (const Reader *r, const char *text, GError **error)
{
  return fail (error, "%s, [%s]: %s", r->path, r->group, text);
}

static char *
value_of (const Reader *r, const char *key)
{
  char *value = g_key_file_get_string (r->file, r->group, key, NULL);

  return value ? g_strstrip (value) : NULL;
}

static gboolean
read_token (const Reader *r, CameraConfig *config, GError **error)
{
  g_autofree char *path = value_of (r, "auth-token-file");
  g_autoptr (GError) cause = NULL;

  config->token = value_of (r, "auth-token");
  if (!path)
    return TRUE;
  if (config->token)
    return refuse (r, "auth-token and auth-token-file: give one of them.", error);
  if (!g_file_get_contents (path, &config->token, NULL, &cause))
    return refuse (r, cause->message, error);
  g_strstrip (config->token);
  return TRUE;
}

static gboolean
read_latency (const Reader *r, CameraConfig *config, GError **error)
{
  g_autofree char *text = value_of (r, "latency");
  g_autoptr (GError) cause = NULL;
  guint64 ms;

  if (!text)
    return TRUE;
  if (!g_ascii_string_to_unsigned (text, 10, 0, CAMERA_LATENCY_MAX_MS, &ms, &cause)) {
    g_autofree char *words = g_strdup_printf ("latency: %s.", cause->message);
    return refuse (r, words, error);
  }
  config->latency_ms = (guint)ms;
  return TRUE;
}

static gboolean
check_keys (const Reader *r, GError **error)
{
  static const char *const known[] = {
      "camera", "relay", "auth-token", "auth-token-file", "transport", "latency", NULL};
  g_auto (GStrv) keys = g_key_file_get_keys (r->file, r->group, NULL, NULL);

  for (guint i = 0; keys && keys[i]; i++) {
    if (!g_strv_contains (known, keys[i])) {
      g_autofree char *all = g_strjoinv (", ", (char **)known);
      g_autofree char *text =
          g_strdup_printf ("there is no key \"%s\"; there are %s.", keys[i], all);
      return refuse (r, text, error);
    }
  }
  return TRUE;
}

static CameraConfig *
read_group (const Reader *r, GError **error)
{
  char *location = value_of (r, "camera"), *relay = value_of (r, "relay");
  g_autofree char *transport = value_of (r, "transport");
  g_autoptr (GError) cause = NULL;
  CameraConfig *config = NULL;

  if (!check_keys (r, error))
    ;
  else if (!location || !relay)
    refuse (r, "camera= (rtsp://...) and relay= (natrelay://...) are needed.", error);
  else if (!(config = camera_config_new (r->group, location, relay, &cause)) ||
           (transport && !camera_config_set_transport (config, transport, &cause)))
    refuse (r, cause->message, error);
  else if (read_token (r, config, error) && read_latency (r, config, error)) {
    free_secret (location);
    free_secret (relay);
    return config;
  }
  camera_config_free (config);
  free_secret (location);
  free_secret (relay);
  return NULL;
}

GPtrArray *
camera_config_load (const char *path, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify)camera_config_free);
  g_autoptr (GError) cause = NULL;
  g_auto (GStrv) groups = NULL;

  if (!g_key_file_load_from_file (file, path, G_KEY_FILE_NONE, &cause)) {
    fail (error, "%s cannot be read: %s.", path, cause->message);
    return NULL;
  }
  groups = g_key_file_get_groups (file, NULL);
  for (guint i = 0; groups[i]; i++) {
    Reader r = {file, path, groups[i]};
    CameraConfig *config = read_group (&r, error);

    if (!config)
      return NULL;
    g_ptr_array_add (all, config);
  }
  if (all->len == 0) {
    fail (error, "%s names no camera: write a group for each, such as [door].", path);
    return NULL;
  }
  return g_steal_pointer (&all);
}
