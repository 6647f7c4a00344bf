/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* JSON that comes from strangers: one object, checked against RFC 8259's grammar before json-glib
 * sees it, and members fetched with their type. json-glib alone reads more than JSON (comments,
 * octal numbers) and descends as deep as a document asks it to. Errors name the member and never
 * quote what stood there, since documents hold secrets. */

#include <glib.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

#define NAT_JSON_DEPTH_MAX   16                            /* objects and arrays in one another */
#define NAT_JSON_DIGITS_MAX  18                            /* of a whole number: fit in 63 bits */
#define NAT_JSON_INTEGER_MAX (G_GINT64_CONSTANT (1) << 53) /* exact in every JSON library */

typedef enum {
  NAT_JSON_OPTIONAL,
  NAT_JSON_REQUIRED,
} NatJsonNeed;

/* what: "The token's header", for the errors. len -1: up to the closing zero. */
JsonObject *nat_json_parse (
    const char *json, gssize len, gsize max_len, const char *what, GError **error);

/* Each returns FALSE with an error when the member is required and absent, or of another type or
 * range; an optional member that is absent leaves *out alone. Strings and arrays stay the object's. */
gboolean nat_json_get_string (JsonObject *object, const char *member, NatJsonNeed need,
    gsize max_len, const char **out, GError **error);
gboolean nat_json_get_integer (JsonObject *object, const char *member, NatJsonNeed need, gint64 min,
    gint64 max, gint64 *out, GError **error);
gboolean nat_json_get_boolean (
    JsonObject *object, const char *member, NatJsonNeed need, gboolean *out, GError **error);
gboolean nat_json_get_array (JsonObject *object, const char *member, NatJsonNeed need,
    guint max_items, JsonArray **out, GError **error);
/* The index-th item as an object; the error names array and index. */
gboolean nat_json_array_object (
    JsonArray *array, guint index, const char *member, JsonObject **out, GError **error);
/* Overwrites a string member in place, if it is there: for keys and passwords. */
void nat_json_wipe_string (JsonObject *object, const char *member);

/* For a builder inside an object. */
void nat_json_add_string (JsonBuilder *builder, const char *member, const char *value);
void nat_json_add_integer (JsonBuilder *builder, const char *member, gint64 value);
/* The builder's root as text. */
char *nat_json_builder_to_text (JsonBuilder *builder);

G_END_DECLS
