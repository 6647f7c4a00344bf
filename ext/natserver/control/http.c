/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/http.h"

#include <string.h>
#include <libsoup/soup.h>

#include "natproto/crypto.h"
#include "natproto/hex.h"
#include "natproto/negotiation.h"

/* ---- Finding the end of the head --------------------------------------- */

NatProblemKind
nat_http_find_head (const guint8 *data, gsize len, gsize *scanned, gsize *head_len)
{
  gsize i;

  *head_len = 0;
  for (i = *scanned; i < len && i < NAT_HTTP_HEAD_MAX; i++) {
    if (data[i] == '\0')
      return NAT_PROBLEM_REQUEST_INVALID;
    if (data[i] != '\n')
      continue;
    /* A lone LF ends a line for some readers and not for others. */
    if (i == 0 || data[i - 1] != '\r')
      return NAT_PROBLEM_REQUEST_INVALID;
    if (i >= 3 && data[i - 2] == '\n') {
      *head_len = i + 1;
      return NAT_PROBLEM_NONE;
    }
  }
  *scanned = i;
  if (i < NAT_HTTP_HEAD_MAX)
    return NAT_PROBLEM_NONE;
  return memchr (data, '\n', i) ? NAT_PROBLEM_HEADER_TOO_LARGE : NAT_PROBLEM_TARGET_TOO_LONG;
}

/* ---- Strict look at the lines, before libsoup's lenient one ------------- */

static gboolean
is_token_char (guchar c)
{
  return g_ascii_isalnum (c) || (c != '\0' && strchr ("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Fields that only one line may carry; a second one is where request smuggling begins. */
static const char *const singles[] = {"host", "content-length", "transfer-encoding",
    "authorization", "if-match", "content-type", "expect", "sec-websocket-key",
    "sec-websocket-version"};

static const char *
check_field (const char *line, gsize len, guint *seen)
{
  gsize name = 0;

  if (line[0] == ' ' || line[0] == '\t')
    return "A header line begins with a blank (obsolete line folding is refused).";
  while (name < len && is_token_char ((guchar)line[name]))
    name++;
  if (name == 0 || name == len || line[name] != ':')
    return "A header line is not of the form \"Name: value\".";
  for (gsize i = name + 1; i < len; i++) {
    guchar c = (guchar)line[i];

    if ((c < 0x20 && c != '\t') || c == 0x7f)
      return "A header value holds a control character.";
  }
  for (guint i = 0; i < G_N_ELEMENTS (singles); i++) {
    if (strlen (singles[i]) != name || g_ascii_strncasecmp (line, singles[i], name) != 0)
      continue;
    if (*seen & 1u << i)
      return "A header field that may stand once stands there twice.";
    *seen |= 1u << i;
  }
  return NULL;
}

static const char *
check_request_line (const char *line, gsize len)
{
  guint blanks = 0;

  for (gsize i = 0; i < len; i++) {
    guchar c = (guchar)line[i];

    if (c < 0x20 || c >= 0x7f)
      return "The request line holds a character that is not printable ASCII.";
    if (c == ' ')
      blanks++;
    else if (blanks == 0 && !is_token_char (c))
      return "The method is not a token.";
  }
  if (blanks != 2 || line[0] == ' ')
    return "The request line is not of the form \"METHOD target HTTP/1.1\".";
  return NULL;
}

/* NULL: well-formed. The head ends with an empty line and has no lone LF (nat_http_find_head). */
static const char *
check_lines (const char *head, gsize len)
{
  const char *why = NULL;
  guint seen = 0;
  guint n = 0;

  for (gsize at = 0; why == NULL && at + 2 < len; n++) {
    const char *end = memchr (head + at, '\n', len - at);
    gsize line_len;

    if (end == NULL || end == head + at)
      return "A line has no end.";
    line_len = (gsize)(end - 1 - (head + at));
    if (n == 0)
      why = check_request_line (head + at, line_len);
    else if (n > NAT_HTTP_FIELDS_MAX)
      why = "The header has too many lines.";
    else
      why = check_field (head + at, line_len, &seen);
    at += line_len + 2;
  }
  return why;
}

/* ---- The target -------------------------------------------------------- */

/* NULL: a '%' without two hex digits, or an encoded zero byte. */
static char *
decode (const char *text, gsize len)
{
  g_autofree char *out = g_malloc (len + 1);
  gsize n = 0;

  for (gsize i = 0; i < len; i++) {
    if (text[i] == '%') {
      guint8 byte;

      if (len - i < 3 || !nat_hex_decode (text + i + 1, &byte, 1) || byte == 0)
        return NULL;
      out[n++] = (char)byte;
      i += 2;
    } else {
      out[n++] = text[i];
    }
  }
  out[n] = '\0';
  return g_steal_pointer (&out);
}

static gboolean
parse_path (NatHttpRequest *r, const char *path, gsize len)
{
  g_autoptr (GPtrArray) segments = g_ptr_array_new_with_free_func (g_free);
  const char *end = path + len;

  for (const char *at = path; at != NULL;) {
    const char *slash = memchr (at, '/', (gsize)(end - at));
    char *segment = decode (at, (gsize)((slash ? slash : end) - at));

    if (segment == NULL || !g_utf8_validate (segment, -1, NULL)) {
      g_free (segment);
      return FALSE;
    }
    g_ptr_array_add (segments, segment);
    at = slash ? slash + 1 : NULL;
  }
  r->n_path = segments->len;
  g_ptr_array_add (segments, NULL);
  r->path = (char **)g_ptr_array_free (g_steal_pointer (&segments), FALSE);
  return TRUE;
}

static gboolean
parse_query (NatHttpRequest *r, const char *query)
{
  while (*query != '\0') {
    gsize len = strcspn (query, "&");
    const char *equals = memchr (query, '=', len);
    gsize name_len = equals ? (gsize)(equals - query) : len;
    char *name = decode (query, name_len);
    char *value = equals ? decode (equals + 1, len - name_len - 1) : g_strdup ("");

    if (name == NULL || value == NULL) {
      g_free (name);
      g_free (value);
      return FALSE;
    }
    g_ptr_array_add (r->query, name);
    g_ptr_array_add (r->query, value);
    query += len + (query[len] == '&');
  }
  return TRUE;
}

static const char *
parse_target (NatHttpRequest *r, const char *target)
{
  gsize path_len;

  /* Absolute form is for proxies, but RFC 9112 section 3.2.2 wants servers to take it too. */
  if (g_ascii_strncasecmp (target, "https://", 8) == 0) {
    target += 8 + strcspn (target + 8, "/?#");
    if (*target == '\0')
      target = "/";
  }
  if (*target != '/' || strchr (target, '#') != NULL)
    return "The target is not a path that begins with \"/\".";
  target++;
  path_len = strcspn (target, "?");
  if (!parse_path (r, target, path_len))
    return "The path holds a wrong percent-encoding.";
  if (target[path_len] == '?' && !parse_query (r, target + path_len + 1))
    return "The query holds a wrong percent-encoding.";
  return NULL;
}

/* ---- The header fields ------------------------------------------------- */

static NatHttpMethod
method_from_text (const char *text)
{
  static const struct {
    const char *text;
    NatHttpMethod method;
  } methods[] = {{"GET", NAT_HTTP_GET}, {"HEAD", NAT_HTTP_HEAD}, {"POST", NAT_HTTP_POST},
      {"PUT", NAT_HTTP_PUT}, {"DELETE", NAT_HTTP_DELETE}};

  for (guint i = 0; i < G_N_ELEMENTS (methods); i++) {
    if (strcmp (text, methods[i].text) == 0)
      return methods[i].method;
  }
  return NAT_HTTP_OTHER;
}

static NatProblemKind
parse_length (NatHttpRequest *r, SoupMessageHeaders *fields, const char **why)
{
  const char *text = soup_message_headers_get_one (fields, "Content-Length");

  if (soup_message_headers_get_one (fields, "Transfer-Encoding") != NULL) {
    *why = "Transfer-Encoding is refused: send the body with Content-Length.";
    return NAT_PROBLEM_NOT_IMPLEMENTED;
  }
  if (text == NULL)
    return NAT_PROBLEM_NONE;
  *why = "Content-Length is not a number.";
  if (*text == '\0' || strspn (text, "0123456789") != strlen (text))
    return NAT_PROBLEM_REQUEST_INVALID;
  *why = "A body may have at most 65536 bytes.";
  while (*text == '0')
    text++;
  if (strlen (text) > 6 || g_ascii_strtoull (text, NULL, 10) > NAT_HTTP_BODY_MAX)
    return NAT_PROBLEM_BODY_TOO_LARGE;
  r->content_length = (gsize)g_ascii_strtoull (text, NULL, 10);
  return NAT_PROBLEM_NONE;
}

static gboolean
is_host (const char *host)
{
  return host != NULL && strpbrk (host, " \t,/?#@\\\"<>") == NULL;
}

static void
parse_upgrade (NatHttpRequest *r, SoupMessageHeaders *fields)
{
  const char *version = soup_message_headers_get_one (fields, "Sec-WebSocket-Version");

  r->upgrade = soup_message_headers_header_contains (fields, "Connection", "upgrade") &&
               soup_message_headers_header_contains (fields, "Upgrade", "websocket");
  r->websocket_13 = version != NULL && strcmp (version, "13") == 0;
  r->websocket_key = g_strdup (soup_message_headers_get_one (fields, "Sec-WebSocket-Key"));
  r->websocket_ours = soup_message_headers_header_contains (
      fields, "Sec-WebSocket-Protocol", NAT_WEBSOCKET_PROTOCOL);
}

static NatProblemKind
parse_fields (
    NatHttpRequest *r, SoupMessageHeaders *fields, SoupHTTPVersion version, const char **why)
{
  const char *expect = soup_message_headers_get_one (fields, "Expect");
  const char *host = soup_message_headers_get_one (fields, "Host");

  *why = "The Host field is missing or not a host.";
  if (host != NULL ? !is_host (host) : version == SOUP_HTTP_1_1)
    return NAT_PROBLEM_REQUEST_INVALID;
  if (expect != NULL && g_ascii_strcasecmp (expect, "100-continue") != 0) {
    *why = "Only \"Expect: 100-continue\" is understood.";
    return NAT_PROBLEM_EXPECTATION;
  }
  r->expects_continue = expect != NULL && version == SOUP_HTTP_1_1;
  r->last = version != SOUP_HTTP_1_1 ||
            soup_message_headers_header_contains (fields, "Connection", "close");
  if (version == SOUP_HTTP_1_1) /* RFC 9110 section 7.8: older ones cannot */
    parse_upgrade (r, fields);
  r->authorization = g_strdup (soup_message_headers_get_one (fields, "Authorization"));
  r->if_match = g_strdup (soup_message_headers_get_one (fields, "If-Match"));
  r->if_none_match = g_strdup (soup_message_headers_get_one (fields, "If-None-Match"));
  r->content_type = g_strdup (soup_message_headers_get_one (fields, "Content-Type"));
  r->forwarded = soup_message_headers_get_list (fields, "Forwarded") != NULL ||
                 soup_message_headers_get_list (fields, "X-Forwarded-For") != NULL ||
                 soup_message_headers_get_list (fields, "Via") != NULL;
  return parse_length (r, fields, why);
}

static NatProblemKind
parse_head (NatHttpRequest *r, const char *head, gsize len, const char **why)
{
  SoupMessageHeaders *fields = soup_message_headers_new (SOUP_MESSAGE_HEADERS_REQUEST);
  g_autofree char *method = NULL;
  g_autofree char *target = NULL;
  SoupHTTPVersion version = SOUP_HTTP_1_0;
  NatProblemKind problem = NAT_PROBLEM_REQUEST_INVALID;
  guint status;

  /* libsoup wants the lines without the empty one at the end. */
  status = soup_headers_parse_request (head, (int)len - 2, fields, &method, &target, &version);
  if (status == SOUP_STATUS_HTTP_VERSION_NOT_SUPPORTED || version > SOUP_HTTP_1_1) {
    *why = "Ask with HTTP/1.1.";
    problem = NAT_PROBLEM_HTTP_VERSION;
  } else if (status == SOUP_STATUS_EXPECTATION_FAILED) {
    *why = "Only \"Expect: 100-continue\" is understood.";
    problem = NAT_PROBLEM_EXPECTATION;
  } else if (status != SOUP_STATUS_OK || method == NULL || target == NULL) {
    *why = "The request line cannot be read.";
  } else {
    r->method = method_from_text (method);
    *why = parse_target (r, target);
    if (*why == NULL)
      problem = parse_fields (r, fields, version, why);
  }
  soup_message_headers_unref (fields);
  return problem;
}

NatProblemKind
nat_http_parse_head (NatHttpRequest *r, const guint8 *head, gsize len, const char **why)
{
  g_autofree char *copy = NULL;
  NatProblemKind problem;

  memset (r, 0, sizeof *r);
  r->query = g_ptr_array_new_with_free_func (g_free);
  *why = "The header holds a zero byte or a line that does not end with CR LF.";
  if (len < 4 || len > NAT_HTTP_HEAD_MAX || memchr (head, '\0', len) != NULL)
    return NAT_PROBLEM_REQUEST_INVALID;
  copy = g_strndup ((const char *)head, len);
  *why = check_lines (copy, len);
  problem = *why ? NAT_PROBLEM_REQUEST_INVALID : parse_head (r, copy, len, why);
  nat_crypto_wipe (copy, len);
  return problem;
}

static void
clear_kept (NatHttpKept *kept)
{
  if (kept->data != NULL)
    kept->free (kept->data);
  kept->data = NULL;
}

void
nat_http_request_clear (NatHttpRequest *r)
{
  clear_kept (&r->kept);
  nat_crypto_wipe_free (r->authorization);
  g_free (r->if_match);
  g_free (r->if_none_match);
  g_free (r->content_type);
  g_free (r->websocket_key);
  g_strfreev (r->path);
  g_clear_pointer (&r->query, g_ptr_array_unref);
  memset (r, 0, sizeof *r);
}

const char *
nat_http_query_value (const NatHttpRequest *r, const char *name)
{
  for (guint i = 0; i + 1 < r->query->len; i += 2) {
    if (strcmp (g_ptr_array_index (r->query, i), name) == 0)
      return g_ptr_array_index (r->query, i + 1);
  }
  return NULL;
}

gboolean
nat_http_query_flag (const NatHttpRequest *r, const char *name, gboolean *value)
{
  const char *text = nat_http_query_value (r, name);

  *value = text != NULL && strcmp (text, "true") == 0;
  return *value || text == NULL || strcmp (text, "false") == 0;
}

/* ---- Responses --------------------------------------------------------- */

void
nat_http_response_init (NatHttpResponse *r)
{
  memset (r, 0, sizeof *r);
  r->fields = g_string_new (NULL);
  r->body = g_string_new (NULL);
}

void
nat_http_response_clear (NatHttpResponse *r)
{
  if (r->body != NULL) {
    nat_crypto_wipe (r->body->str, r->body->len);
    g_string_free (r->body, TRUE);
  }
  if (r->fields != NULL)
    g_string_free (r->fields, TRUE);
  clear_kept (&r->kept);
  memset (r, 0, sizeof *r);
}

void
nat_http_response_add_field (NatHttpResponse *r, const char *name, const char *value)
{
  g_return_if_fail (strpbrk (value, "\r\n") == NULL);
  g_string_append_printf (r->fields, "%s: %s\r\n", name, value);
}

void
nat_http_response_take_body (NatHttpResponse *r, guint status, const char *content_type, char *text)
{
  r->status = status;
  r->content_type = content_type;
  nat_crypto_wipe (r->body->str, r->body->len);
  g_free (r->body->str);
  r->body->str = text;
  r->body->len = strlen (text);
  r->body->allocated_len = r->body->len + 1;
}

void
nat_http_response_problem (NatHttpResponse *r, NatProblemKind kind, const char *detail)
{
  guint status = nat_problem_status (kind);

  nat_http_response_take_body (r, status, "application/problem+json",
      nat_problem_to_json (status, nat_problem_type (kind), nat_problem_title (kind), detail));
}

/* libsoup's list is RFC 9110's; RFC 6585 and the upgrade are younger than it. */
static const char *
phrase (guint status)
{
  switch (status) {
  case 426: return "Upgrade Required";
  case 429: return "Too Many Requests";
  case 431: return "Request Header Fields Too Large";
  default: return soup_status_get_phrase (status);
  }
}

static void
append_date (GString *out, gint64 now_s)
{
  static const char days[7][4] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
  static const char months[12][4] = {
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  g_autoptr (GDateTime) t = g_date_time_new_from_unix_utc (now_s);

  /* Not strftime: its names follow the locale. */
  if (t != NULL)
    g_string_append_printf (out, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
        days[g_date_time_get_day_of_week (t) - 1], g_date_time_get_day_of_month (t),
        months[g_date_time_get_month (t) - 1], g_date_time_get_year (t), g_date_time_get_hour (t),
        g_date_time_get_minute (t), g_date_time_get_second (t));
}

GString *
nat_http_response_to_bytes (const NatHttpResponse *r, gint64 now_s, gboolean with_body)
{
  /* Sized at once, so that growing leaves no copy of a secret behind. */
  GString *out = g_string_sized_new (1024 + r->fields->len + r->body->len);

  g_string_append_printf (out, "HTTP/1.1 %u %s\r\n", r->status, phrase (r->status));
  append_date (out, now_s);
  if (r->content_type != NULL)
    g_string_append_printf (out, "Content-Type: %s\r\n", r->content_type);
  if (r->status >= 200 && r->status != 204 && r->status != 304)
    g_string_append_printf (out, "Content-Length: %" G_GSIZE_FORMAT "\r\n", r->body->len);
  if (r->last)
    g_string_append (out, "Connection: close\r\n");
  g_string_append (out, "Cache-Control: no-store\r\n"
                        "X-Content-Type-Options: nosniff\r\n");
  g_string_append_len (out, r->fields->str, (gssize)r->fields->len);
  g_string_append (out, "\r\n");
  if (with_body)
    g_string_append_len (out, r->body->str, (gssize)r->body->len);
  return out;
}
