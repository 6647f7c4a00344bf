/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/negotiation.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natproto/json.h"
#include "natproto/ticket.h"

#define malformed(error, ...) nat_error_set (error, NAT_ERROR_MALFORMED, __VA_ARGS__)

/* ---- Description ------------------------------------------------------- */

static const struct {
  NatSframeSuite suite;
  const char *name; /* RFC 9605 section 8.1 */
} suites[] = {
    {NAT_SFRAME_AES_128_GCM_SHA256_128, "AES_128_GCM_SHA256_128"},
    {NAT_SFRAME_AES_256_GCM_SHA512_128, "AES_256_GCM_SHA512_128"},
};

static const char *
suite_to_name (NatSframeSuite suite)
{
  for (guint i = 0; i < G_N_ELEMENTS (suites); i++) {
    if (suites[i].suite == suite)
      return suites[i].name;
  }
  g_return_val_if_reached ("");
}

static gboolean
suite_from_name (const char *name, NatSframeSuite *suite, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (suites); i++) {
    if (strcmp (suites[i].name, name) == 0) {
      *suite = suites[i].suite;
      return TRUE;
    }
  }
  return malformed (
      error, "The JSON member \"cipher-suite\" must be %s or %s", suites[0].name, suites[1].name);
}

static void
add_description (JsonBuilder *b, const NatDescription *d)
{
  char key[NAT_BASE64URL_LEN (NAT_MEDIA_KEY_SIZE) + 1];

  if (d->sdp != NULL)
    nat_json_add_string (b, "sdp", d->sdp);
  if (d->n_media_keys == 0)
    return;
  json_builder_set_member_name (b, "media-keys");
  json_builder_begin_array (b);
  for (guint i = 0; i < d->n_media_keys; i++) {
    nat_base64url_encode (d->media_keys[i].key, NAT_MEDIA_KEY_SIZE, key);
    json_builder_begin_object (b);
    nat_json_add_integer (b, "kid", (gint64)d->media_keys[i].kid);
    nat_json_add_string (b, "cipher-suite", suite_to_name (d->media_keys[i].suite));
    nat_json_add_string (b, "key", key);
    json_builder_end_object (b);
  }
  json_builder_end_array (b);
  nat_crypto_wipe (key, sizeof key);
}

char *
nat_description_to_json (const NatDescription *d)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  add_description (b, d);
  json_builder_end_object (b);
  return nat_json_builder_to_text (b);
}

static gboolean
read_media_key (NatMediaKey *key, JsonObject *object, GError **error)
{
  const char *suite, *text;
  gboolean ok;
  gint64 kid;

  if (!nat_json_get_integer (
          object, "kid", NAT_JSON_REQUIRED, 0, NAT_JSON_INTEGER_MAX, &kid, error) ||
      !nat_json_get_string (object, "cipher-suite", NAT_JSON_REQUIRED, 64, &suite, error) ||
      !suite_from_name (suite, &key->suite, error) ||
      !nat_json_get_string (object, "key", NAT_JSON_REQUIRED, 64, &text, error))
    return FALSE;
  key->kid = (guint64)kid;
  ok = nat_base64url_decode (text, strlen (text), key->key, sizeof key->key) == sizeof key->key;
  return ok || malformed (error, "The JSON member \"key\" must be %d bytes as base64url",
                   NAT_MEDIA_KEY_SIZE);
}

static gboolean
kid_is_new (const NatDescription *d, guint64 kid)
{
  for (guint i = 0; i < d->n_media_keys; i++) {
    if (d->media_keys[i].kid == kid)
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_media_keys (NatDescription *d, JsonArray *array, GError **error)
{
  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    NatMediaKey key = {0};
    JsonObject *object;
    gboolean ok = nat_json_array_object (array, i, "media-keys", &object, error) &&
                  read_media_key (&key, object, error);

    if (ok && !kid_is_new (d, key.kid))
      ok = malformed (error, "The JSON member \"media-keys\" has the same \"kid\" twice");
    if (ok)
      d->media_keys[d->n_media_keys++] = key;
    nat_crypto_wipe (&key, sizeof key);
    if (!ok)
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_description (NatDescription *d, JsonObject *object, NatJsonNeed need_sdp, GError **error)
{
  const char *sdp = NULL;
  JsonArray *keys = NULL;

  if (!nat_json_get_string (object, "sdp", need_sdp, NAT_DOCUMENT_MAX, &sdp, error) ||
      !nat_json_get_array (
          object, "media-keys", NAT_JSON_OPTIONAL, NAT_MEDIA_KEYS_MAX, &keys, error) ||
      !read_media_keys (d, keys, error))
    return FALSE;
  d->sdp = g_strdup (sdp);
  return TRUE;
}

/* json-glib's copies of the secrets go when the object does; they are made unreadable first. */
static void
wipe_media_keys (JsonObject *object)
{
  JsonNode *node = json_object_get_member (object, "media-keys");
  JsonArray *array;

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node))
    return;
  array = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *item = json_array_get_element (array, i);

    if (JSON_NODE_HOLDS_OBJECT (item))
      nat_json_wipe_string (json_node_get_object (item), "key");
  }
}

gboolean
nat_description_from_json (NatDescription *d, const char *json, gssize len, GError **error)
{
  g_autoptr (JsonObject) object = NULL;
  gboolean ok;

  memset (d, 0, sizeof *d);
  object = nat_json_parse (json, len, NAT_DOCUMENT_MAX, "The media description", error);
  if (object == NULL)
    return FALSE;
  ok = read_description (d, object, NAT_JSON_REQUIRED, error);
  wipe_media_keys (object);
  if (!ok)
    nat_description_clear (d);
  return ok;
}

void
nat_description_clear (NatDescription *d)
{
  g_free (d->sdp);
  nat_crypto_wipe (d, sizeof *d);
}

/* ---- Session document -------------------------------------------------- */

static const char *const publisher_states[] = {
    [NAT_PUBLISHER_NONE] = "none",
    [NAT_PUBLISHER_LIVE] = "live",
    [NAT_PUBLISHER_GRACE] = "grace",
    [NAT_PUBLISHER_ENDED] = "ended",
};

#define KEEPALIVE_MIN_MS 250
#define KEEPALIVE_MAX_MS 60000

/* "192.0.2.1:5000" or "[2001:db8::1]:5000", without the port and the brackets. */
static void
address_without_port (const NatAddress *a, char text[NAT_ADDRESS_TEXT_MAX])
{
  char *end;

  nat_address_to_text (a, text);
  end = strrchr (text, ':');
  if (end != NULL)
    *end = '\0';
  if (text[0] == '[') {
    memmove (text, text + 1, strlen (text));
    text[strcspn (text, "]")] = '\0';
  }
}

static void
add_udp (JsonBuilder *b, const NatSessionDocument *d)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  json_builder_set_member_name (b, "udp");
  json_builder_begin_array (b);
  for (guint i = 0; i < d->n_udp; i++) {
    address_without_port (&d->udp[i], text);
    json_builder_begin_object (b);
    nat_json_add_string (b, "address", text);
    nat_json_add_integer (b, "port", d->udp[i].port);
    json_builder_end_object (b);
  }
  json_builder_end_array (b);
}

static void
add_streams (JsonBuilder *b, const NatSessionDocument *d)
{
  json_builder_set_member_name (b, "streams");
  json_builder_begin_array (b);
  for (guint i = 0; i < d->n_streams; i++) {
    json_builder_begin_object (b);
    nat_json_add_string (b, "stream", d->streams[i].name);
    nat_json_add_string (b, "publisher", publisher_states[d->streams[i].publisher]);
    add_description (b, &d->streams[i].description);
    json_builder_end_object (b);
  }
  json_builder_end_array (b);
}

char *
nat_session_document_to_json (const NatSessionDocument *d)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  nat_json_add_string (b, "session", d->session);
  nat_json_add_string (b, "username", d->username != NULL ? d->username : "");
  nat_json_add_string (b, "realm", d->realm);
  nat_json_add_string (b, "password", d->password);
  add_udp (b, d);
  if (d->websocket[0] != '\0')
    nat_json_add_string (b, "websocket", d->websocket);
  nat_json_add_integer (b, "keepalive-ms", d->keepalive_ms);
  nat_json_add_integer (b, "expires-s", d->expires_s);
  nat_json_add_string (b, "boot-id", d->boot_id);
  nat_json_add_integer (b, "version", d->version);
  nat_json_add_string (b, "publisher", publisher_states[d->publisher]);
  add_description (b, &d->description);
  if (d->is_room)
    add_streams (b, d);
  json_builder_end_object (b);
  return nat_json_builder_to_text (b);
}

static gboolean
is_base64url_of (const char *text, gsize size)
{
  guint8 bytes[NAT_PASSWORD_SIZE];
  gboolean ok = nat_base64url_decode (text, strlen (text), bytes, sizeof bytes) == (gssize)size;

  nat_crypto_wipe (bytes, sizeof bytes);
  return ok;
}

/* A username goes into STUN as it is, and a realm into a hash with colons around it. */
static gboolean
is_printable (const char *text)
{
  for (const char *p = text; *p != '\0'; p++) {
    if (*p <= ' ' || *p > '~')
      return FALSE;
  }
  return *text != '\0';
}

static gboolean
is_boot_id (const char *text)
{
  return strlen (text) == 2 * NAT_BOOT_ID_SIZE &&
         strspn (text, "0123456789abcdef") == 2 * NAT_BOOT_ID_SIZE;
}

static gboolean
read_credentials (NatSessionDocument *d, JsonObject *object, GError **error)
{
  const char *session, *username, *realm, *password;

  if (!nat_json_get_string (object, "session", NAT_JSON_REQUIRED, 64, &session, error) ||
      !nat_json_get_string (
          object, "username", NAT_JSON_REQUIRED, NAT_TICKET_TEXT_MAX, &username, error) ||
      !nat_json_get_string (
          object, "realm", NAT_JSON_REQUIRED, sizeof d->realm - 1, &realm, error) ||
      !nat_json_get_string (object, "password", NAT_JSON_REQUIRED, 64, &password, error))
    return FALSE;
  if (!is_base64url_of (session, NAT_SESSION_ID_SIZE))
    return malformed (
        error, "The JSON member \"session\" must be %d bytes as base64url", NAT_SESSION_ID_SIZE);
  if (!is_printable (username))
    return malformed (error, "The JSON member \"username\" must be printable ASCII");
  if (!is_printable (realm))
    return malformed (error, "The JSON member \"realm\" must be printable ASCII");
  if (!is_base64url_of (password, NAT_PASSWORD_SIZE))
    return malformed (
        error, "The JSON member \"password\" must be %d bytes as base64url", NAT_PASSWORD_SIZE);
  g_strlcpy (d->session, session, sizeof d->session);
  g_strlcpy (d->realm, realm, sizeof d->realm);
  g_strlcpy (d->password, password, sizeof d->password);
  d->username = g_strdup (username);
  return TRUE;
}

/* The port stands in a member of its own, so brackets and a single colon have no place here. */
static gboolean
read_ip (NatAddress *a, const char *text)
{
  const char *colon = strchr (text, ':');

  if (text[0] == '[' || (colon != NULL && colon == strrchr (text, ':')))
    return FALSE;
  return nat_address_from_text (a, text, 0) && !nat_address_is_any (a);
}

static gboolean
read_udp_address (NatAddress *a, JsonObject *object, GError **error)
{
  const char *text;
  gint64 port;

  if (!nat_json_get_string (
          object, "address", NAT_JSON_REQUIRED, NAT_ADDRESS_TEXT_MAX, &text, error) ||
      !nat_json_get_integer (object, "port", NAT_JSON_REQUIRED, 1, 65535, &port, error))
    return FALSE;
  if (!read_ip (a, text))
    return malformed (error, "The JSON member \"address\" must be a numeric IPv4 or IPv6 address");
  a->port = port;
  return TRUE;
}

static gboolean
read_udp (NatSessionDocument *d, JsonObject *object, GError **error)
{
  JsonObject *item;
  JsonArray *array;

  if (!nat_json_get_array (object, "udp", NAT_JSON_REQUIRED, NAT_UDP_ADDRESSES_MAX, &array, error))
    return FALSE;
  for (; d->n_udp < json_array_get_length (array); d->n_udp++) {
    if (!nat_json_array_object (array, d->n_udp, "udp", &item, error) ||
        !read_udp_address (&d->udp[d->n_udp], item, error))
      return FALSE;
  }
  return TRUE;
}

/* It goes into a request line as it is, and to the host that gave it: "//" would name another one. */
static gboolean
is_path (const char *text)
{
  return text[0] == '/' && text[1] != '/' &&
         text[strspn (text, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "/._~-")] == '\0';
}

static gboolean
read_websocket (NatSessionDocument *d, JsonObject *object, GError **error)
{
  const char *path = NULL;

  if (!nat_json_get_string (
          object, "websocket", NAT_JSON_OPTIONAL, NAT_WEBSOCKET_PATH_MAX, &path, error))
    return FALSE;
  if (path == NULL)
    return TRUE;
  if (!is_path (path))
    return malformed (error, "The JSON member \"websocket\" must be a path of the same host: one "
                             "\"/\", then A-Z a-z 0-9 / . _ ~ -");
  g_strlcpy (d->websocket, path, sizeof d->websocket);
  return TRUE;
}

static gboolean
read_publisher (NatPublisherState *publisher, JsonObject *object, GError **error)
{
  const char *state;

  if (!nat_json_get_string (object, "publisher", NAT_JSON_REQUIRED, 32, &state, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (publisher_states); i++) {
    if (strcmp (publisher_states[i], state) == 0) {
      *publisher = i;
      return TRUE;
    }
  }
  return malformed (
      error, "The JSON member \"publisher\" must be \"none\", \"live\", \"grace\" or \"ended\"");
}

static gboolean
read_stream (NatRoomStream *stream, JsonObject *object, GError **error)
{
  const char *name;

  if (!nat_json_get_string (
          object, "stream", NAT_JSON_REQUIRED, NAT_STREAM_NAME_MAX, &name, error) ||
      !read_publisher (&stream->publisher, object, error))
    return FALSE;
  if (!nat_stream_name_valid (name))
    return malformed (error, "The JSON member \"stream\" must be a stream name");
  stream->name = g_strdup (name);
  return read_description (&stream->description, object, NAT_JSON_OPTIONAL, error);
}

static gboolean
read_streams (NatSessionDocument *d, JsonObject *object, GError **error)
{
  JsonArray *array = NULL;
  JsonObject *item;

  if (!nat_json_get_array (
          object, "streams", NAT_JSON_OPTIONAL, NAT_ROOM_STREAMS_MAX, &array, error))
    return FALSE;
  if (array == NULL)
    return TRUE;
  d->is_room = TRUE;
  d->streams = g_new0 (NatRoomStream, json_array_get_length (array) + 1);
  while (d->n_streams < json_array_get_length (array)) {
    guint i = d->n_streams++; /* what is read in part is freed with the rest */

    if (!nat_json_array_object (array, i, "streams", &item, error) ||
        !read_stream (&d->streams[i], item, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
read_session (NatSessionDocument *d, JsonObject *object, GError **error)
{
  const char *boot_id;
  gint64 keepalive, version;

  if (!read_credentials (d, object, error) || !read_udp (d, object, error) ||
      !read_websocket (d, object, error) ||
      !nat_json_get_integer (object, "keepalive-ms", NAT_JSON_REQUIRED, KEEPALIVE_MIN_MS,
          KEEPALIVE_MAX_MS, &keepalive, error) ||
      !nat_json_get_integer (
          object, "expires-s", NAT_JSON_REQUIRED, 0, NAT_JSON_INTEGER_MAX, &d->expires_s, error) ||
      !nat_json_get_string (object, "boot-id", NAT_JSON_REQUIRED, 64, &boot_id, error) ||
      !nat_json_get_integer (
          object, "version", NAT_JSON_REQUIRED, 1, G_MAXUINT32, &version, error) ||
      !read_publisher (&d->publisher, object, error) ||
      !read_description (&d->description, object, NAT_JSON_OPTIONAL, error) ||
      !read_streams (d, object, error))
    return FALSE;
  if (!is_boot_id (boot_id))
    return malformed (
        error, "The JSON member \"boot-id\" must be %d bytes as lower-case hex", NAT_BOOT_ID_SIZE);
  g_strlcpy (d->boot_id, boot_id, sizeof d->boot_id);
  d->keepalive_ms = keepalive;
  d->version = version;
  return TRUE;
}

static void
wipe_streams (JsonObject *object)
{
  JsonNode *node = json_object_get_member (object, "streams");
  JsonArray *array =
      node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *item = json_array_get_element (array, i);

    if (JSON_NODE_HOLDS_OBJECT (item))
      wipe_media_keys (json_node_get_object (item));
  }
}

gboolean
nat_session_document_from_json (NatSessionDocument *d, const char *json, gssize len, GError **error)
{
  g_autoptr (JsonObject) object = NULL;
  gboolean ok;

  memset (d, 0, sizeof *d);
  object =
      nat_json_parse (json, len, NAT_SESSION_DOCUMENT_MAX, "The relay's session document", error);
  if (object == NULL)
    return FALSE;
  ok = read_session (d, object, error);
  nat_json_wipe_string (object, "password");
  wipe_media_keys (object);
  wipe_streams (object);
  if (!ok)
    nat_session_document_clear (d);
  return ok;
}

void
nat_session_document_clear (NatSessionDocument *d)
{
  nat_description_clear (&d->description);
  for (guint i = 0; i < d->n_streams; i++) {
    nat_description_clear (&d->streams[i].description);
    g_free (d->streams[i].name);
  }
  g_free (d->streams);
  g_free (d->username);
  nat_crypto_wipe (d, sizeof *d);
}

void
nat_session_etag (const char *boot_id, guint32 version, char *out)
{
  g_snprintf (out, 64, "\"%s-%u\"", boot_id, version);
}
