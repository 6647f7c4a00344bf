/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The documents of the HTTPS negotiation, as JSON, and what they say. Parsing is strict: wrong
 * types and values out of range are an error with the member's name in its text; unknown
 * members are ignored, so that old and new programs understand each other. */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natproto/sdp.h"
#include "natproto/sframekeys.h"
#include "natproto/streamname.h"

G_BEGIN_DECLS

#define NAT_DOCUMENT_MAX NAT_SDP_MAX /* bytes of JSON */
#define NAT_SESSION_DOCUMENT_MAX                                                                   \
  (512 * 1024) /* bytes of JSON: that of a session, which may have many streams */
#define NAT_ROOM_STREAMS_MAX                                                                       \
  64 /* streams that one pattern gives; those that came later wait for a place */
#define NAT_MEDIA_KEYS_MAX    4
#define NAT_UDP_ADDRESSES_MAX 8

/* Body of POST .../publishers and of PUT .../description. */
typedef struct {
  char *sdp;
  NatMediaKey media_keys[NAT_MEDIA_KEYS_MAX];
  guint n_media_keys; /* 0: media is not sealed, or the relay is not told */
} NatDescription;
/* Holds keys: whoever frees it wipes it first. */
char *nat_description_to_json (const NatDescription *d);
gboolean nat_description_from_json (
    NatDescription *d, const char *json, gssize len, GError **error);
void nat_description_clear (NatDescription *d); /* wipes keys; safe on zeroed memory */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (NatDescription, nat_description_clear)

typedef enum {
  NAT_PUBLISHER_NONE, /* none yet, or gone and its grace over */
  NAT_PUBLISHER_LIVE,
  NAT_PUBLISHER_GRACE, /* gone, its place kept */
  NAT_PUBLISHER_ENDED, /* ended by DELETE (EOS), grace over */
} NatPublisherState;

/* One stream of many. */
typedef struct {
  char *name;
  NatPublisherState publisher; /* live, or grace */
  NatDescription description;  /* sdp NULL: the relay was restarted and does not know it yet */
} NatRoomStream;

/* The session's document: answer to POST (201), GET and PUT (200). */
typedef struct {
  char session[NAT_SESSION_ID_TEXT + 1];
  char *username; /* NAT_TICKET_TEXT_MAX at most */
  char realm[32];
  char password[NAT_PASSWORD_TEXT + 1];
  NatAddress udp[NAT_UDP_ADDRESSES_MAX];
  guint n_udp;
  char websocket[NAT_WEBSOCKET_PATH_MAX + 1]; /* where HTTPS itself was reached; "": none */
  guint keepalive_ms;                         /* 250..60000 */
  gint64 expires_s;                           /* seconds from now until the username's end */
  char boot_id[2 * NAT_BOOT_ID_SIZE + 1];     /* hex */
  guint32 version; /* of description and publisher state; never 0 in an answer */
  NatPublisherState publisher;
  NatDescription description; /* sdp NULL: no publisher yet. Keys only for subscribers */
  gboolean is_room;           /* the session is a pattern's: */
  NatRoomStream *streams;     /* what it matches now; owned */
  guint n_streams;
} NatSessionDocument;
/* "members" of the JSON: session, username, realm, password, udp [{address, port}], websocket,
 * keepalive-ms, expires-s, boot-id, version, publisher ("none", "live", "grace", "ended"), sdp, media-keys [{kid,
 * cipher-suite, key}], streams [{stream, publisher, sdp, media-keys}]. kid and cipher-suite ("AES_128_GCM_SHA256_128"...) as RFC 9605 names them. */
/* Holds password and keys, as above. */
char *nat_session_document_to_json (const NatSessionDocument *d);
gboolean nat_session_document_from_json (
    NatSessionDocument *d, const char *json, gssize len, GError **error);
void nat_session_document_clear (NatSessionDocument *d);
/* "\"<boot-id>-<version>\"": the ETag of a session. out: 64 bytes. */
void nat_session_etag (const char *boot_id, guint32 version, char *out);

/* RFC 9457 problem details. */
typedef struct {
  guint status;
  char *type;   /* "https://natrelay.example.org/problems/..." or "about:blank" */
  char *title;  /* same for every occurrence of the type */
  char *detail; /* what happened and what to do */
} NatProblem;
char *nat_problem_to_json (guint status, const char *type, const char *title, const char *detail);
/* FALSE if it is not a problem document of the relay's ("type", "title" and "status" present). */
gboolean nat_problem_from_json (NatProblem *p, const char *json, gssize len);
void nat_problem_clear (NatProblem *p);

G_END_DECLS
