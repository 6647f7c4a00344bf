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

/* The text of a JSON file below VECTORS_DIR, its integers made strings: json-glib's are signed, and of 2^64-1
 * version 1.6 makes -1, 1.10 2^63-1. */
static inline char *
vectors_text (const char *file)
{
  g_autofree char *path = g_build_filename (VECTORS_DIR, file, NULL);
  g_autofree char *text = NULL;
  g_autoptr (GRegex) integer = NULL;
  g_autoptr (GError) error = NULL;
  char *quoted;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  integer = g_regex_new ("(\": *)([0-9]+)", 0, 0, &error);
  g_assert_no_error (error);
  quoted = g_regex_replace (integer, text, -1, 0, "\\1\"\\2\"", 0, &error);
  g_assert_no_error (error);
  return quoted;
}

/* One array of a JSON file below VECTORS_DIR; never empty. */
static inline JsonArray *
vectors_array (const char *file, const char *member)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree char *text = vectors_text (file);
  g_autoptr (GError) error = NULL;
  JsonArray *array;

  json_parser_load_from_data (parser, text, -1, &error);
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

static inline guint64
vectors_u64 (JsonObject *object, const char *member)
{
  g_autoptr (GError) error = NULL;
  guint64 number = 0;

  g_ascii_string_to_unsigned (
      json_object_get_string_member (object, member), 10, 0, G_MAXUINT64, &number, &error);
  g_assert_no_error (error);
  return number;
}
