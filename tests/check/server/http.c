/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The head of a request, read strictly, and responses as bytes. */

#include "natserver/control/http.h"

#include <string.h>

#define HOST "Host: relay\r\n"

static NatProblemKind
parse (NatHttpRequest *r, const char *text)
{
  const char *why = NULL;
  NatProblemKind problem = nat_http_parse_head (r, (const guint8 *)text, strlen (text), &why);

  g_assert_cmpint (problem != NAT_PROBLEM_NONE, ==, why != NULL && problem != NAT_PROBLEM_NONE);
  return problem;
}

static void
test_request (void)
{
  NatHttpRequest r;
  gboolean flag;

  g_assert_cmpint (parse (&r, "POST /v1/streams/a%2eb/c?takeover=true&x=%41+&flag HTTP/1.1\r\n" HOST
                              "AUTHORIZATION:  Bearer abc \r\n"
                              "If-Match: \"x-1\"\r\n"
                              "Content-Type: application/json\r\n"
                              "Expect: 100-Continue\r\n"
                              "Content-Length: 12\r\n\r\n"),
      ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (r.method, ==, NAT_HTTP_POST);
  g_assert_cmpuint (r.n_path, ==, 4);
  g_assert_cmpstr (r.path[0], ==, "v1");
  g_assert_cmpstr (r.path[2], ==, "a.b");
  g_assert_cmpstr (r.path[3], ==, "c");
  g_assert_null (r.path[4]);
  g_assert_true (nat_http_query_flag (&r, "takeover", &flag));
  g_assert_true (flag);
  g_assert_true (nat_http_query_flag (&r, "absent", &flag));
  g_assert_false (flag);
  g_assert_false (nat_http_query_flag (&r, "flag", &flag));
  g_assert_cmpstr (nat_http_query_value (&r, "x"), ==, "A+");
  g_assert_cmpstr (r.authorization, ==, "Bearer abc");
  g_assert_cmpstr (r.if_match, ==, "\"x-1\"");
  g_assert_cmpstr (r.content_type, ==, "application/json");
  g_assert_cmpuint (r.content_length, ==, 12);
  g_assert_true (r.expects_continue);
  g_assert_false (r.forwarded);
  g_assert_false (r.last);
  nat_http_request_clear (&r);
}

static void
test_last_request (void)
{
  static const struct {
    const char *head;
    gboolean last;
  } rows[] = {
      {"GET / HTTP/1.1\r\n" HOST "\r\n", FALSE},
      {"GET / HTTP/1.1\r\n" HOST "Connection: Close\r\n\r\n", TRUE},
      {"GET / HTTP/1.1\r\n" HOST "Connection: te, close\r\n\r\n", TRUE},
      {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n", FALSE},
      {"GET / HTTP/1.1\r\n" HOST "Connection: te\r\nConnection: close\r\n\r\n", TRUE},
      {"GET / HTTP/1.0\r\n\r\n", TRUE},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", TRUE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    NatHttpRequest r;

    if (parse (&r, rows[i].head) != NAT_PROBLEM_NONE || r.last != rows[i].last)
      g_error ("row %u", i);
    nat_http_request_clear (&r);
  }
}

static void
test_smallest (void)
{
  NatHttpRequest r;

  g_assert_cmpint (parse (&r, "GET / HTTP/1.0\r\n\r\n"), ==, NAT_PROBLEM_NONE);
  g_assert_cmpuint (r.n_path, ==, 1);
  g_assert_cmpstr (r.path[0], ==, "");
  g_assert_null (r.authorization);
  g_assert_cmpuint (r.content_length, ==, 0);
  nat_http_request_clear (&r);
  g_assert_cmpint (parse (&r, "GET https://relay:1 HTTP/1.1\r\n" HOST "Via: 1.1 x\r\n\r\n"), ==,
      NAT_PROBLEM_NONE);
  g_assert_cmpstr (r.path[0], ==, "");
  g_assert_true (r.forwarded);
  nat_http_request_clear (&r);
}

/* The socket tests hold the long table; these are what a socket cannot tell apart. */
static void
test_refused (void)
{
  static const struct {
    const char *head;
    NatProblemKind problem;
  } rows[] = {
      {"", NAT_PROBLEM_REQUEST_INVALID},
      {"\r\n\r\n", NAT_PROBLEM_REQUEST_INVALID},
      {"GET / HTTP/1.1\r\n" HOST "host: b\r\n\r\n", NAT_PROBLEM_REQUEST_INVALID},
      {"GET / HTTP/1.1\r\n" HOST "Content-Type: a\r\ncontent-type: b\r\n\r\n",
          NAT_PROBLEM_REQUEST_INVALID},
      {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n",
          NAT_PROBLEM_NOT_IMPLEMENTED},
      {"GET / HTTP/1.1\r\nHost:\r\n x\r\n\r\n", NAT_PROBLEM_REQUEST_INVALID},
      {"GET / HTTP/1.1\r\n" HOST "A: \x7f\r\n\r\n", NAT_PROBLEM_REQUEST_INVALID},
      {"GET / HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n", NAT_PROBLEM_NONE},
      {"GET / HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n", NAT_PROBLEM_BODY_TOO_LARGE},
      {"GET / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n",
          NAT_PROBLEM_BODY_TOO_LARGE},
      {"GET / HTTP/3\r\n" HOST "\r\n", NAT_PROBLEM_REQUEST_INVALID},
      {"GET / HTTP/1.10\r\n" HOST "\r\n", NAT_PROBLEM_HTTP_VERSION},
      {"GET //evil@host/ HTTP/1.1\r\n" HOST "\r\n", NAT_PROBLEM_NONE},
      {"CONNECT relay:443 HTTP/1.1\r\n" HOST "\r\n", NAT_PROBLEM_REQUEST_INVALID},
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    NatHttpRequest r;
    NatProblemKind problem = parse (&r, rows[i].head);

    if (problem != rows[i].problem)
      g_error ("row %u: %d", i, problem);
    nat_http_request_clear (&r);
  }
}

static void
test_end_of_head (void)
{
  static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\nbody";
  gsize scanned = 0, head = 0;

  for (gsize len = 0; len < sizeof text - 1 - 4; len++) {
    g_assert_cmpint (
        nat_http_find_head ((const guint8 *)text, len, &scanned, &head), ==, NAT_PROBLEM_NONE);
    g_assert_cmpuint (head, ==, 0);
  }
  g_assert_cmpint (nat_http_find_head ((const guint8 *)text, sizeof text - 1, &scanned, &head), ==,
      NAT_PROBLEM_NONE);
  g_assert_cmpuint (head, ==, sizeof text - 1 - 4);
}

static void
test_endless_head (void)
{
  guint8 data[NAT_HTTP_HEAD_MAX + 1];
  gsize scanned = 0, head;

  memset (data, 'x', sizeof data);
  g_assert_cmpint (
      nat_http_find_head (data, NAT_HTTP_HEAD_MAX - 1, &scanned, &head), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (nat_http_find_head (data, NAT_HTTP_HEAD_MAX, &scanned, &head), ==,
      NAT_PROBLEM_TARGET_TOO_LONG);
  memcpy (data + 20, "\r\n", 2);
  scanned = 0;
  g_assert_cmpint (
      nat_http_find_head (data, sizeof data, &scanned, &head), ==, NAT_PROBLEM_HEADER_TOO_LARGE);
  /* exactly as long as it may be */
  memcpy (data + NAT_HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
  scanned = 0;
  g_assert_cmpint (nat_http_find_head (data, sizeof data, &scanned, &head), ==, NAT_PROBLEM_NONE);
  g_assert_cmpuint (head, ==, NAT_HTTP_HEAD_MAX);
}

static void
test_response (void)
{
  NatHttpResponse r;
  GString *bytes;

  nat_http_response_init (&r);
  nat_http_response_take_body (&r, 201, "application/json", g_strdup ("{}"));
  nat_http_response_add_field (&r, "Location", "/x");
  r.last = TRUE;
  bytes = nat_http_response_to_bytes (&r, 784111777, TRUE);
  g_assert_cmpstr (bytes->str, ==,
      "HTTP/1.1 201 Created\r\n"
      "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
      "Content-Type: application/json\r\n"
      "Content-Length: 2\r\n"
      "Connection: close\r\n"
      "Cache-Control: no-store\r\n"
      "X-Content-Type-Options: nosniff\r\n"
      "Location: /x\r\n\r\n{}");
  g_string_free (bytes, TRUE);
  r.last = FALSE;
  bytes = nat_http_response_to_bytes (&r, 0, FALSE);
  g_assert_null (strstr (bytes->str, "Connection:"));
  g_assert_true (g_str_has_suffix (bytes->str, "\r\n\r\n"));
  g_assert_nonnull (strstr (bytes->str, "Content-Length: 2\r\n"));
  g_string_free (bytes, TRUE);
  nat_http_response_clear (&r);
}

static void
test_problems_are_distinct (void)
{
  for (guint a = NAT_PROBLEM_NONE + 1; a <= NAT_PROBLEM_HTTP_VERSION; a++) {
    g_assert_cmpuint (nat_problem_status (a), >=, 400);
    g_assert_true (g_str_has_prefix (nat_problem_type (a), NAT_PROBLEM_BASE));
    for (guint b = a + 1; b <= NAT_PROBLEM_HTTP_VERSION; b++)
      g_assert_cmpstr (nat_problem_type (a), !=, nat_problem_type (b));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/http/request", test_request);
  g_test_add_func ("/http/last-request", test_last_request);
  g_test_add_func ("/http/smallest", test_smallest);
  g_test_add_func ("/http/refused", test_refused);
  g_test_add_func ("/http/end-of-head", test_end_of_head);
  g_test_add_func ("/http/endless-head", test_endless_head);
  g_test_add_func ("/http/response", test_response);
  g_test_add_func ("/http/problems-are-distinct", test_problems_are_distinct);
  return g_test_run ();
}
