/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* RFC 9457's documents, which negotiation.h declares with the others. */

#include <string.h>

#include "natproto/json.h"
#include "natproto/negotiation.h"

char *
nat_problem_to_json (guint status, const char *type, const char *title, const char *detail)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  nat_json_add_string (b, "type", type);
  nat_json_add_string (b, "title", title);
  nat_json_add_integer (b, "status", status);
  if (detail != NULL)
    nat_json_add_string (b, "detail", detail);
  json_builder_end_object (b);
  return nat_json_builder_to_text (b);
}

gboolean
nat_problem_from_json (NatProblem *p, const char *json, gssize len)
{
  g_autoptr (JsonObject) object = NULL;
  const char *type, *title, *detail = NULL;
  gint64 status;

  memset (p, 0, sizeof *p);
  object = nat_json_parse (json, len, NAT_DOCUMENT_MAX, "The problem document", NULL);
  if (object == NULL ||
      !nat_json_get_string (object, "type", NAT_JSON_REQUIRED, NAT_DOCUMENT_MAX, &type, NULL) ||
      !nat_json_get_string (object, "title", NAT_JSON_REQUIRED, NAT_DOCUMENT_MAX, &title, NULL) ||
      !nat_json_get_string (object, "detail", NAT_JSON_OPTIONAL, NAT_DOCUMENT_MAX, &detail, NULL) ||
      !nat_json_get_integer (object, "status", NAT_JSON_REQUIRED, 100, 599, &status, NULL))
    return FALSE;
  p->status = status;
  p->type = g_strdup (type);
  p->title = g_strdup (title);
  p->detail = g_strdup (detail);
  return TRUE;
}

void
nat_problem_clear (NatProblem *p)
{
  g_free (p->type);
  g_free (p->title);
  g_free (p->detail);
  memset (p, 0, sizeof *p);
}
