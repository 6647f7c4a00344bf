/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/json.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/error.h"

/* ---- Grammar ----------------------------------------------------------- */

/* The text is valid UTF-8 without zero bytes when it comes here, so a scan need only look at
 * ASCII. A reader that stands at the end sees 0, which no rule accepts. */
typedef struct {
  const char *p, *end;
} Scan;

static char
peek (const Scan *s)
{
  return s->p < s->end ? *s->p : '\0';
}

static gboolean
accept (Scan *s, char c)
{
  if (peek (s) != c)
    return FALSE;
  s->p++;
  return TRUE;
}

static void
skip_space (Scan *s)
{
  while (peek (s) == ' ' || peek (s) == '\t' || peek (s) == '\n' || peek (s) == '\r')
    s->p++;
}

static gboolean
skip_digits (Scan *s)
{
  const char *start = s->p;

  while (g_ascii_isdigit (peek (s)))
    s->p++;
  return s->p > start;
}

/* json-glib takes an integer beyond 64 bits for -1 or another, so the long ones stop here. */
static gboolean
skip_number (Scan *s)
{
  gboolean fits;
  const char *start;

  accept (s, '-');
  start = s->p;
  if (!accept (s, '0') && !skip_digits (s))
    return FALSE;
  fits = s->p - start <= NAT_JSON_DIGITS_MAX;
  if (accept (s, '.')) {
    fits = TRUE;
    if (!skip_digits (s))
      return FALSE;
  }
  if (accept (s, 'e') || accept (s, 'E')) {
    fits = TRUE;
    if (!accept (s, '+'))
      accept (s, '-');
    if (!skip_digits (s))
      return FALSE;
  }
  return fits;
}

static gint32
skip_hex4 (Scan *s)
{
  gint32 value = 0;

  for (guint i = 0; i < 4; i++) {
    int digit = g_ascii_xdigit_value (peek (s));

    if (digit < 0)
      return -1;
    value = value << 4 | digit;
    s->p++;
  }
  return value;
}

/* After "\u": a zero would cut the string short in C, and half a surrogate pair is no character. */
static gboolean
skip_unicode (Scan *s)
{
  gint32 c = skip_hex4 (s);

  if (c >= 0xD800 && c <= 0xDBFF) {
    if (!accept (s, '\\') || !accept (s, 'u'))
      return FALSE;
    c = skip_hex4 (s);
    return c >= 0xDC00 && c <= 0xDFFF;
  }
  return c > 0 && !(c >= 0xDC00 && c <= 0xDFFF);
}

static gboolean
skip_string (Scan *s)
{
  if (!accept (s, '"'))
    return FALSE;
  while (s->p < s->end && (guchar)*s->p >= 0x20) {
    char c = *s->p++;

    if (c == '"')
      return TRUE;
    if (c != '\\')
      continue;
    c = peek (s);
    if (c == '\0' || strchr ("\"\\/bfnrtu", c) == NULL)
      return FALSE;
    s->p++;
    if (c == 'u' && !skip_unicode (s))
      return FALSE;
  }
  return FALSE;
}

static gboolean
skip_word (Scan *s, const char *word)
{
  gsize len = strlen (word);

  if ((gsize)(s->end - s->p) < len || memcmp (s->p, word, len) != 0)
    return FALSE;
  s->p += len;
  return TRUE;
}

static gboolean skip_value (Scan *s, guint depth);

/* Behind the opening bracket. Members are items with a name in front. */
static gboolean
skip_items (Scan *s, char close, guint depth)
{
  skip_space (s);
  if (accept (s, close))
    return TRUE;
  do {
    skip_space (s);
    if (close == '}') {
      if (!skip_string (s))
        return FALSE;
      skip_space (s);
      if (!accept (s, ':'))
        return FALSE;
    }
    if (!skip_value (s, depth))
      return FALSE;
    skip_space (s);
  } while (accept (s, ','));
  return accept (s, close);
}

static gboolean
skip_value (Scan *s, guint depth)
{
  skip_space (s);
  switch (peek (s)) {
  case '{':
  case '[':
    if (depth == NAT_JSON_DEPTH_MAX)
      return FALSE;
    return skip_items (s, *s->p++ == '{' ? '}' : ']', depth + 1);
  case '"': return skip_string (s);
  case 't': return skip_word (s, "true");
  case 'f': return skip_word (s, "false");
  case 'n': return skip_word (s, "null");
  default: return skip_number (s);
  }
}

static gboolean
is_json_object (const char *json, gsize len)
{
  Scan s = {json, json + len};

  skip_space (&s);
  if (peek (&s) != '{' || !skip_value (&s, 0))
    return FALSE;
  skip_space (&s);
  return s.p == s.end;
}

/* ---- Reading ----------------------------------------------------------- */

JsonObject *
nat_json_parse (const char *json, gssize len, gsize max_len, const char *what, GError **error)
{
  g_autoptr (JsonParser) parser = NULL;
  gsize n = len < 0 ? strlen (json) : (gsize)len;
  JsonNode *root;

  if (n > max_len) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "%s is longer than the %" G_GSIZE_FORMAT " bytes allowed", what, max_len);
    return NULL;
  }
  if (!g_utf8_validate_len (json, n, NULL) || !is_json_object (json, n)) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "%s is not a JSON object of at most %d levels and %d digits in a whole number", what,
        NAT_JSON_DEPTH_MAX, NAT_JSON_DIGITS_MAX);
    return NULL;
  }
  parser = json_parser_new_immutable ();
  /* json-glib's own message would quote the document. */
  if (!json_parser_load_from_data (parser, json, (gssize)n, NULL) ||
      (root = json_parser_get_root (parser)) == NULL || !JSON_NODE_HOLDS_OBJECT (root)) {
    g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED, "%s cannot be read as JSON", what);
    return NULL;
  }
  return json_object_ref (json_node_get_object (root));
}

static gboolean wrong (GError **error, const char *member, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

static gboolean
wrong (GError **error, const char *member, const char *format, ...)
{
  g_autofree char *must = NULL;
  va_list args;

  va_start (args, format);
  must = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, NAT_ERROR, NAT_ERROR_MALFORMED, "The JSON member \"%s\" %s", member, must);
  return FALSE;
}

/* FALSE: error set. TRUE with *node NULL: absent and allowed to be. */
static gboolean
find (JsonObject *object, const char *member, NatJsonNeed need, JsonNode **node, GError **error)
{
  *node = json_object_get_member (object, member);
  if (*node == NULL && need == NAT_JSON_REQUIRED)
    return wrong (error, member, "is missing");
  return TRUE;
}

static gboolean
holds (JsonNode *node, GType type)
{
  return JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == type;
}

gboolean
nat_json_get_string (JsonObject *object, const char *member, NatJsonNeed need, gsize max_len,
    const char **out, GError **error)
{
  JsonNode *node;

  if (!find (object, member, need, &node, error))
    return FALSE;
  if (node == NULL)
    return TRUE;
  if (!holds (node, G_TYPE_STRING))
    return wrong (error, member, "must be a string");
  if (strlen (json_node_get_string (node)) > max_len)
    return wrong (error, member, "is longer than the %" G_GSIZE_FORMAT " bytes allowed", max_len);
  *out = json_node_get_string (node);
  return TRUE;
}

gboolean
nat_json_get_integer (JsonObject *object, const char *member, NatJsonNeed need, gint64 min,
    gint64 max, gint64 *out, GError **error)
{
  JsonNode *node;

  if (!find (object, member, need, &node, error))
    return FALSE;
  if (node == NULL)
    return TRUE;
  if (!holds (node, G_TYPE_INT64) || json_node_get_int (node) < min ||
      json_node_get_int (node) > max)
    return wrong (error, member,
        "must be a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, min, max);
  *out = json_node_get_int (node);
  return TRUE;
}

gboolean
nat_json_get_boolean (
    JsonObject *object, const char *member, NatJsonNeed need, gboolean *out, GError **error)
{
  JsonNode *node;

  if (!find (object, member, need, &node, error))
    return FALSE;
  if (node == NULL)
    return TRUE;
  if (!holds (node, G_TYPE_BOOLEAN))
    return wrong (error, member, "must be true or false");
  *out = json_node_get_boolean (node);
  return TRUE;
}

gboolean
nat_json_get_array (JsonObject *object, const char *member, NatJsonNeed need, guint max_items,
    JsonArray **out, GError **error)
{
  JsonNode *node;

  if (!find (object, member, need, &node, error))
    return FALSE;
  if (node == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_ARRAY (node))
    return wrong (error, member, "must be an array");
  if (json_array_get_length (json_node_get_array (node)) > max_items)
    return wrong (error, member, "has more than the %u items allowed", max_items);
  *out = json_node_get_array (node);
  return TRUE;
}

gboolean
nat_json_array_object (
    JsonArray *array, guint index, const char *member, JsonObject **out, GError **error)
{
  JsonNode *node = json_array_get_element (array, index);

  if (!JSON_NODE_HOLDS_OBJECT (node))
    return wrong (error, member, "must hold objects only (item %u)", index);
  *out = json_node_get_object (node);
  return TRUE;
}

void
nat_json_wipe_string (JsonObject *object, const char *member)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node != NULL && holds (node, G_TYPE_STRING)) {
    /* The node owns this copy, and nobody reads it after us. */
    char *text = (char *)json_node_get_string (node);

    nat_crypto_wipe (text, strlen (text));
  }
}

/* ---- Writing ----------------------------------------------------------- */

void
nat_json_add_string (JsonBuilder *builder, const char *member, const char *value)
{
  json_builder_set_member_name (builder, member);
  json_builder_add_string_value (builder, value);
}

void
nat_json_add_integer (JsonBuilder *builder, const char *member, gint64 value)
{
  json_builder_set_member_name (builder, member);
  json_builder_add_int_value (builder, value);
}

char *
nat_json_builder_to_text (JsonBuilder *builder)
{
  g_autoptr (JsonNode) root = json_builder_get_root (builder);

  return json_to_string (root, FALSE);
}
