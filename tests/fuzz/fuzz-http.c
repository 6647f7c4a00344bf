/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as the beginning of an HTTPS request, arriving in two pieces. Whatever is taken must
 * keep the promises that the routes build on. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natserver/control/http.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_request (const NatHttpRequest *r)
{
  gboolean flag;

  g_assert_cmpuint (r->n_path, >, 0);
  for (guint i = 0; i < r->n_path; i++)
    g_assert_true (g_utf8_validate (r->path[i], -1, NULL));
  g_assert_null (r->path[r->n_path]);
  g_assert_cmpuint (r->content_length, <=, NAT_HTTP_BODY_MAX);
  g_assert_cmpuint (r->query->len % 2, ==, 0);
  nat_http_query_flag (r, "takeover", &flag);
  if (r->websocket_key != NULL)
    g_assert_null (strpbrk (r->websocket_key, "\r\n"));
  if (r->authorization != NULL)
    g_assert_null (strpbrk (r->authorization, "\r\n"));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  gsize scanned = 0, first = size / 2, head = 0, whole = 0, whole_scanned = 0;
  NatProblemKind problem = nat_http_find_head (data, first, &scanned, &head);
  NatProblemKind at_once = nat_http_find_head (data, size, &whole_scanned, &whole);
  NatHttpRequest r;
  const char *why;

  if (problem == NAT_PROBLEM_NONE && head == 0)
    problem = nat_http_find_head (data, size, &scanned, &head);
  /* Pieces or not, the head ends in the same place. */
  if (problem != at_once || head != whole)
    __builtin_trap ();
  if (problem != NAT_PROBLEM_NONE || head == 0)
    return 0;
  if (nat_http_parse_head (&r, data, head, &why) == NAT_PROBLEM_NONE)
    check_request (&r);
  nat_http_request_clear (&r);
  return 0;
}
