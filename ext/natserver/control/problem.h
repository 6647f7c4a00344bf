/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Every way the relay says no over HTTPS, once: the problem documents of RFC 9457. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_PROBLEM_BASE "https://natrelay.example.org/problems/"

/* X (name, HTTP status, last part of the type URI, title) */
#define NAT_PROBLEM_LIST(X)                                                                        \
  X (REQUEST_INVALID, 400, "request-invalid", "The request is not valid HTTP")                     \
  X (QUERY_INVALID, 400, "query-invalid", "A query parameter has a wrong value")                   \
  X (STREAM_NAME_INVALID, 400, "stream-name-invalid", "The stream name is not valid")              \
  X (BODY_INVALID, 400, "body-invalid", "The body is not the JSON document that is wanted")        \
  X (TOKEN_MISSING, 401, "token-missing", "An access token is needed")                             \
  X (TOKEN_INVALID, 401, "token-invalid", "The access token is not valid")                         \
  X (TOKEN_EXPIRED, 401, "token-expired", "The access token has expired or is not valid yet")      \
  X (NOT_PERMITTED, 403, "not-permitted", "The access token does not permit this")                 \
  X (NOT_FOUND, 404, "not-found", "There is nothing at this address")                              \
  X (SESSION_UNKNOWN, 404, "session-unknown", "There is no such session")                          \
  X (METHOD_NOT_ALLOWED, 405, "method-not-allowed", "The method is not allowed here")              \
  X (REQUEST_TIMEOUT, 408, "request-timeout", "The request did not arrive in time")                \
  X (STREAM_BUSY, 409, "stream-busy", "Another publisher is live on this stream")                  \
  X (SSRC_IN_USE, 409, "ssrc-in-use", "Another stream has one of these SSRCs")                     \
  X (VERSION_MISMATCH, 412, "version-mismatch", "The session has another version by now")          \
  X (BODY_TOO_LARGE, 413, "body-too-large", "The body is too large")                               \
  X (TARGET_TOO_LONG, 414, "target-too-long", "The address asked for is too long")                 \
  X (MEDIA_TYPE, 415, "media-type-unsupported", "The body must be application/json")               \
  X (EXPECTATION, 417, "expectation-failed", "The relay does not meet this expectation")           \
  X (DESCRIPTION_INVALID, 422, "description-invalid", "The media description cannot be used")      \
  X (UPGRADE_REQUIRED, 426, "upgrade-required", "This address is for WebSockets")                  \
  X (TOO_MANY_REQUESTS, 429, "too-many-requests",                                                  \
      "Too many requests from this address or with this token")                                    \
  X (TOO_MANY_SESSIONS, 429, "too-many-sessions", "Too many sessions at once")                     \
  X (HEADER_TOO_LARGE, 431, "header-too-large", "The request header is too large")                 \
  X (INTERNAL, 500, "internal-error", "The relay failed")                                          \
  X (NOT_IMPLEMENTED, 501, "not-implemented", "The relay does not do this kind of transfer")       \
  X (KEYS_MISSING, 503, "keys-missing", "The relay does not have the keys that check tokens")      \
  X (CALLBACK_FAILED, 503, "callback-failed", "The relay could not ask whether this is permitted") \
  X (RELAY_BUSY, 503, "relay-busy", "The relay is busy")                                           \
  X (RELAY_DRAINING, 503, "relay-draining",                                                        \
      "The relay takes no new sessions, for it is about to end")                                   \
  X (RELAY_FULL, 503, "relay-full", "The relay is full")                                           \
  X (HTTP_VERSION, 505, "http-version-unsupported", "The relay speaks HTTP/1.1")

typedef enum {
  NAT_PROBLEM_NONE,
#define X(name, status, type, title) NAT_PROBLEM_##name,
  NAT_PROBLEM_LIST (X)
#undef X
} NatProblemKind;

guint nat_problem_status (NatProblemKind kind);
const char *nat_problem_type (NatProblemKind kind); /* whole URI */
const char *nat_problem_title (NatProblemKind kind);

G_END_DECLS
