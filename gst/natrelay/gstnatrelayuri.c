/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayuri.h"
#include "natproto/crypto.h"
#include "natproto/messages.h"
#include "natproto/negotiation.h"

#include <string.h>

#define EXAMPLE "natrelay://relay.example.org/door"

static gboolean bad_uri (GError **error, const gchar *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
bad_uri (GError **error, const gchar *format, ...)
{
  va_list args;
  gchar *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI, text);
  g_free (text);
  return FALSE;
}

/* As g_uri_split leaves them: it decodes nothing that we did not ask for, and unlike g_uri_parse makes no other
 * stream of "a/../b". */
typedef struct {
  gchar *scheme, *userinfo, *host, *path, *query, *fragment;
  gint port;
} Parts;

static void
parts_clear (Parts *parts)
{
  g_free (parts->scheme);
  nat_crypto_wipe_free (parts->userinfo);
  g_free (parts->host);
  g_free (parts->path);
  nat_crypto_wipe_free (parts->query);
  g_free (parts->fragment);
}

static gboolean
parse_authority (GstNatRelayUri *out, const Parts *parts, GError **error)
{
  if (parts->userinfo != NULL)
    return bad_uri (error,
        "A natrelay URI has no user name or password before the host; set the property auth-token");
  if (parts->fragment != NULL)
    return bad_uri (error, "A natrelay URI has no part after '#'");
  if (parts->host == NULL || *parts->host == '\0')
    return bad_uri (error, "The URI names no relay; write it as %s", EXAMPLE);
  if (parts->port == 0)
    return bad_uri (error, "Port 0 cannot be reached; leave it out for %d", NAT_DEFAULT_PORT);
  out->host = g_strdup (parts->host);
  out->port = parts->port < 0 ? NAT_DEFAULT_PORT : (guint16)parts->port;
  return TRUE;
}

static gboolean
parse_stream (GstNatRelayUri *out, const Parts *parts, GError **error)
{
  const gchar *path = parts->path;

  if (path[0] != '/' || path[1] == '\0')
    return bad_uri (error, "The URI names no stream; write it as %s", EXAMPLE);
  out->stream = g_uri_unescape_string (path + 1, NULL);
  if (out->stream == NULL || !nat_stream_glob_valid (out->stream))
    return bad_uri (error,
        "\"%s\" is not a stream name: it is at most %d letters, digits and . _ ~ -, and '/' "
        "between parts",
        path + 1, NAT_STREAM_NAME_MAX);
  return TRUE;
}

/* "key=value" -> decoded key and value; FALSE if either is no text. */
static gboolean
split_parameter (const gchar *parameter, gchar **key, gchar **value)
{
  const gchar *equals = strchr (parameter, '=');

  *key = g_uri_unescape_segment (parameter, equals, NULL);
  *value = equals != NULL ? g_uri_unescape_string (equals + 1, NULL) : g_strdup ("");
  return *key != NULL && *value != NULL;
}

static gboolean
parse_query (GstNatRelayUri *out, const Parts *parts, GError **error)
{
  const gchar *query = parts->query;
  gchar **parameters = g_strsplit (query != NULL ? query : "", "&", -1);
  guint n = g_strv_length (parameters), used = 0;
  gboolean ok = TRUE;

  out->keys = g_new0 (gchar *, n + 1);
  out->values = g_new0 (gchar *, n + 1);
  for (guint i = 0; ok && i < n; i++) {
    gchar *key, *value;

    if (*parameters[i] == '\0')
      continue;
    ok = split_parameter (parameters[i], &key, &value);
    if (ok && g_strv_contains ((const gchar *const *)out->keys, key))
      ok = bad_uri (error, "The URI sets \"%s\" twice", key);
    else if (!ok)
      bad_uri (error, "The part after '?' has a '%%' that is not followed by two hex digits");
    if (ok) {
      out->keys[used] = g_steal_pointer (&key);
      out->values[used++] = g_steal_pointer (&value);
    }
    g_free (key);
    g_free (value);
  }
  g_strfreev (parameters);
  return ok;
}

static gboolean
parse_parts (GstNatRelayUri *out, const Parts *parts, GError **error)
{
  if (g_ascii_strcasecmp (parts->scheme, GST_NAT_RELAY_URI_SCHEME) != 0) {
    g_set_error (error, GST_URI_ERROR, GST_URI_ERROR_UNSUPPORTED_PROTOCOL,
        "\"%s\" is not " GST_NAT_RELAY_URI_SCHEME "; write the URI as %s", parts->scheme, EXAMPLE);
    return FALSE;
  }
  return parse_authority (out, parts, error) && parse_stream (out, parts, error) &&
         parse_query (out, parts, error);
}

gboolean
gst_nat_relay_uri_parse (GstNatRelayUri *out, const gchar *text, GError **error)
{
  GError *reason = NULL;
  Parts parts = {0};
  gboolean ok;

  memset (out, 0, sizeof *out);
  ok = g_uri_split (text, G_URI_FLAGS_ENCODED_QUERY | G_URI_FLAGS_ENCODED_PATH, &parts.scheme,
      &parts.userinfo, &parts.host, &parts.port, &parts.path, &parts.query, &parts.fragment,
      &reason);
  if (ok && parts.scheme != NULL)
    ok = parse_parts (out, &parts, error);
  else
    ok = bad_uri (error, "This is not a URI (%s); write it as %s",
        reason != NULL ? reason->message : "it has no scheme", EXAMPLE);
  g_clear_error (&reason);
  parts_clear (&parts);
  if (!ok)
    gst_nat_relay_uri_clear (out);
  return ok;
}

void
gst_nat_relay_uri_clear (GstNatRelayUri *uri)
{
  g_free (uri->host);
  g_free (uri->stream);
  g_strfreev (uri->keys);
  /* A token may be among them. */
  for (guint i = 0; uri->values != NULL && uri->values[i] != NULL; i++)
    nat_crypto_wipe_free (uri->values[i]);
  g_free (uri->values);
  memset (uri, 0, sizeof *uri);
}

/* Only what the element itself offers: not the name or GstBin's own switches. */
static GParamSpec *
settable_property (GObject *object, const gchar *key)
{
  GParamSpec *pspec = g_object_class_find_property (G_OBJECT_GET_CLASS (object), key);

  if (pspec == NULL || pspec->owner_type != G_OBJECT_TYPE (object) ||
      !(pspec->flags & G_PARAM_WRITABLE) || g_type_is_a (pspec->value_type, G_TYPE_OBJECT) ||
      strcmp (pspec->name, "uri") == 0)
    return NULL;
  return pspec;
}

static gboolean
read_value (GValue *value, GParamSpec *pspec, const gchar *text, GError **error)
{
  g_value_init (value, pspec->value_type);
  if (pspec->value_type == G_TYPE_STRING) {
    g_value_set_string (value, text);
    return TRUE;
  }
  /* Deserializing takes "" for 0. */
  if (*text == '\0' || !gst_value_deserialize_with_pspec (value, text, pspec))
    return bad_uri (error, "\"%s\" is no value for the property %s", text, pspec->name);
  /* TRUE: it had to be changed to fit. */
  if (g_param_value_validate (pspec, value))
    return bad_uri (error, "%s is out of range for the property %s", text, pspec->name);
  return TRUE;
}

gboolean
gst_nat_relay_uri_apply (const GstNatRelayUri *uri, GObject *object, GError **error)
{
  guint n = g_strv_length (uri->keys);
  GValue *values = g_new0 (GValue, n + 1);
  gboolean ok = TRUE;

  for (guint i = 0; ok && i < n; i++) {
    GParamSpec *pspec = settable_property (object, uri->keys[i]);

    if (pspec == NULL)
      ok = bad_uri (error,
          "There is no property \"%s\" that the URI may set; gst-inspect-1.0 lists all that there "
          "are",
          uri->keys[i]);
    else
      ok = read_value (&values[i], pspec, uri->values[i], error);
  }
  for (guint i = 0; ok && i < n; i++)
    g_object_set_property (object, uri->keys[i], &values[i]);
  for (guint i = 0; i < n; i++) {
    if (G_IS_VALUE (&values[i]))
      g_value_unset (&values[i]);
  }
  g_free (values);
  return ok;
}

static gboolean
is_secret (const gchar *parameter, GObject *object)
{
  GParamSpec *pspec = NULL;
  gboolean secret;
  gchar *key, *value;

  if (split_parameter (parameter, &key, &value))
    pspec = g_object_class_find_property (G_OBJECT_GET_CLASS (object), key);
  secret = pspec == NULL || !(pspec->flags & G_PARAM_READABLE) ||
           (strcmp (key, "proxy") == 0 && strchr (value, '@') != NULL);
  g_free (key);
  g_free (value);
  return secret;
}

gchar *
gst_nat_relay_uri_public (const gchar *text, GObject *object)
{
  const gchar *query = strchr (text, '?');
  gchar **parameters;
  GString *out;
  gchar separator = '?';

  if (query == NULL)
    return g_strdup (text);
  out = g_string_new_len (text, query - text);
  parameters = g_strsplit (query + 1, "&", -1);
  for (guint i = 0; parameters[i] != NULL; i++) {
    if (*parameters[i] == '\0' || is_secret (parameters[i], object))
      continue;
    g_string_append_c (out, separator);
    g_string_append (out, parameters[i]);
    separator = '&';
  }
  g_strfreev (parameters);
  return g_string_free (out, FALSE);
}
