/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* HTTP/1.1 (RFC 9112) as bytes and structs, without sockets: the head of a request is read here and a
 * response written. Strict on purpose: whatever two HTTP programs could read in two ways is refused. */

#include <glib.h>
#include "natproto/address.h"
#include "natserver/control/problem.h"

G_BEGIN_DECLS

#define NAT_HTTP_HEAD_MAX   (8 * 1024)  /* bytes, closing empty line included */
#define NAT_HTTP_BODY_MAX   (64 * 1024) /* bytes */
#define NAT_HTTP_FIELDS_MAX 100         /* header lines */

typedef enum {
  NAT_HTTP_GET = 1 << 0,
  NAT_HTTP_HEAD = 1 << 1,
  NAT_HTTP_POST = 1 << 2,
  NAT_HTTP_PUT = 1 << 3,
  NAT_HTTP_DELETE = 1 << 4,
  NAT_HTTP_OTHER = 1 << 5, /* well-formed, but no route takes it */
} NatHttpMethod;

/* What the handler of a request has begun, and goes on with when it is put to him again. */
typedef struct {
  gpointer data; /* NULL: nothing */
  GDestroyNotify free;
} NatHttpKept;

typedef struct {
  NatHttpMethod method;
  char **path; /* decoded segments, without the leading '/'; "/" is one empty segment */
  guint n_path;
  GPtrArray *query; /* decoded: name, value, name, value ... */
  /* Header fields; NULL = absent. Only the first carries a secret. */
  char *authorization;
  char *if_match;
  char *if_none_match;
  char *content_type;
  gboolean forwarded; /* a proxy in front of us says that the peer is another */
  gboolean expects_continue;
  gboolean upgrade;        /* to a WebSocket (RFC 6455 section 4.2.1); what follows is for that */
  gboolean websocket_13;   /* its version */
  gboolean websocket_ours; /* NAT_WEBSOCKET_PROTOCOL is offered */
  char *websocket_key;     /* NULL = absent */
  gboolean last;           /* no other request follows on the connection (RFC 9112 section 9.3) */
  gsize content_length;
  const char *body;       /* content_length bytes; set by whoever read it, not owned */
  NatAddress peer, local; /* set by whoever accepted the connection */
  guint waited;           /* times that it was put off already (NatHttpResponse.wait) */
  NatHttpKept kept;       /* since then */
} NatHttpRequest;

/* Where the head ends. NAT_PROBLEM_NONE and *head_len 0: not all here yet. Looks at data from *scanned on,
 * which it keeps (0 at first). */
NatProblemKind nat_http_find_head (const guint8 *data, gsize len, gsize *scanned, gsize *head_len);
/* head: up to and with the empty line. On a problem *why is a static sentence for a person, and
 * r still is to be cleared. */
NatProblemKind nat_http_parse_head (
    NatHttpRequest *r, const guint8 *head, gsize len, const char **why);
void nat_http_request_clear (NatHttpRequest *r); /* wipes; safe on zeroed memory */
/* The value of a query parameter that is true or false. FALSE: it is neither. Absent: *value FALSE. */
gboolean nat_http_query_flag (const NatHttpRequest *r, const char *name, gboolean *value);
const char *nat_http_query_value (const NatHttpRequest *r, const char *name); /* NULL = absent */
/* pattern: a path without its first '/', in which "*" is any one segment and "**" one or more. */
gboolean nat_http_path_matches (const NatHttpRequest *r, const char *pattern);

typedef struct {
  guint status; /* 0 until somebody answers */
  gconstpointer
      wait;         /* not NULL: no answer yet; nat_http_server_wake with this has it asked anew */
  NatHttpKept kept; /* the request's while it waits; freed when its connection ends, too */
  gboolean taken;   /* 101: then the connection is another's */
  gboolean last;    /* the connection ends with it */
  gboolean known;   /* who asked has a session here */
  const char *content_type; /* static */
  GString *fields;          /* more header lines, each with its CRLF */
  GString *body;
} NatHttpResponse;
void nat_http_response_init (NatHttpResponse *r);
void nat_http_response_clear (NatHttpResponse *r); /* wipes the body */
/* value must not hold CR or LF. */
void nat_http_response_add_field (NatHttpResponse *r, const char *name, const char *value);
/* Takes text, wipes and frees it. */
void nat_http_response_take_body (
    NatHttpResponse *r, guint status, const char *content_type, char *text);
/* A problem document. detail: a sentence of this occurrence, without secrets. */
void nat_http_response_problem (NatHttpResponse *r, NatProblemKind kind, const char *detail);
/* The whole response as bytes. now_s: Unix time. with_body FALSE: answer to HEAD. */
GString *nat_http_response_to_bytes (const NatHttpResponse *r, gint64 now_s, gboolean with_body);

G_END_DECLS
