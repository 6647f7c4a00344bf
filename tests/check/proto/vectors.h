/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the tests of natproto share: bytes from hex, and the files of tests/vectors. */

#include <string.h>
#include <glib.h>
#include <json-glib/json-glib.h>

static inline GByteArray *
vectors_unhex (const char *hex)
{
  GByteArray *bytes = g_byte_array_new ();

  g_assert_cmpuint (strlen (hex) % 2, ==, 0);
  for (; *hex != '\0'; hex += 2) {
    guint8 b = (guint8)(g_ascii_xdigit_value (hex[0]) << 4 | g_ascii_xdigit_value (hex[1]));

    g_byte_array_append (bytes, &b, 1);
  }
  return bytes;
}

/* One array of a JSON file below VECTORS_DIR; never empty. */
static inline JsonArray *
vectors_array (const char *file, const char *member)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree char *path = g_build_filename (VECTORS_DIR, file, NULL);
  g_autoptr (GError) error = NULL;
  JsonArray *array;

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  array =
      json_object_get_array_member (json_node_get_object (json_parser_get_root (parser)), member);
  g_assert_cmpuint (json_array_get_length (array), >, 0);
  return json_array_ref (array);
}

static inline GByteArray *
vectors_bytes (JsonObject *object, const char *member)
{
  return vectors_unhex (json_object_get_string_member (object, member));
}
