/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The wire on one screen: every number that two programs must agree on, once,
 * with its unit and its reason. docs/PROTOCOL.md says the same in prose. */

#include <glib.h>

/* ---- Ports, sizes ------------------------------------------------------ */
#define NAT_DEFAULT_PORT    8443 /* TCP (HTTPS) and UDP alike */
#define NAT_DATAGRAM_MAX    2048 /* bytes; longer datagrams are dropped and counted */
#define NAT_SESSION_ID_SIZE 16   /* bytes, random; text form is base64url, 22 chars */
#define NAT_SESSION_ID_TEXT 22
#define NAT_BOOT_ID_SIZE    16  /* bytes, drawn at each start of a relay */
#define NAT_EPOCH_SIZE      16  /* bytes, drawn at each start of a client session */
#define NAT_PASSWORD_SIZE   32  /* bytes before base64url */
#define NAT_PASSWORD_TEXT   43  /* chars; RFC 8489's password is this text */
#define NAT_STREAM_NAME_MAX 128 /* bytes; see negotiation.h for the grammar */
#define NAT_MEDIA_KEY_SIZE  32  /* bytes, drawn by the publisher */
#define NAT_TRACKS_MAX      16  /* m= sections of one description */
#define NAT_REALM           "natrelay"

/* ---- WebSocket (RFC 6455): datagrams where UDP is blocked --------------- */
#define NAT_WEBSOCKET_PATH     "/v1/websocket" /* the relay's; clients take the document's */
#define NAT_WEBSOCKET_PATH_MAX 127             /* bytes */
#define NAT_WEBSOCKET_PROTOCOL "natrelay.v1"   /* Sec-WebSocket-Protocol */
#define NAT_WEBSOCKET_STRANGERS_US                                                                 \
  (5 * G_USEC_PER_SEC) /* from the Upgrade to the first valid Binding */

/* ---- Times ------------------------------------------------------------- */
#define NAT_NONCE_LIFETIME_US   (30 * G_USEC_PER_SEC)
#define NAT_CONSENT_US          (30 * G_USEC_PER_SEC) /* RFC 7675 section 5.1 */
#define NAT_KEEPALIVE_MS        4000                  /* below the 5 s of the worst NATs */
#define NAT_TICKET_LIFETIME_S   3600
#define NAT_GRACE_US            (10 * G_USEC_PER_SEC) /* a publisher's place is kept so long */
#define NAT_TAKEOVER_SILENCE_US (3 * G_USEC_PER_SEC)
#define NAT_RECEIVER_REPORT_US  (400 * 1000) /* relay -> publisher, while RTP arrives */
#define NAT_PLI_INTERVAL_US     (500 * 1000) /* relay -> publisher, at most one in this */

/* ---- STUN (RFC 8489) --------------------------------------------------- */
#define NAT_STUN_MAGIC_COOKIE    0x2112A442u
#define NAT_STUN_FINGERPRINT_XOR 0x5354554Eu
#define NAT_STUN_HEADER_SIZE     20

typedef enum {
  NAT_STUN_BINDING_REQUEST = 0x0001,
  NAT_STUN_BINDING_INDICATION = 0x0011,
  NAT_STUN_BINDING_SUCCESS = 0x0101,
  NAT_STUN_BINDING_ERROR = 0x0111,
} NatStunType;

typedef enum {
  NAT_ATTR_USERNAME = 0x0006,
  NAT_ATTR_MESSAGE_INTEGRITY = 0x0008,
  NAT_ATTR_ERROR_CODE = 0x0009,
  NAT_ATTR_UNKNOWN_ATTRIBUTES = 0x000A,
  NAT_ATTR_REALM = 0x0014,
  NAT_ATTR_NONCE = 0x0015,
  NAT_ATTR_MESSAGE_INTEGRITY_SHA256 = 0x001C,
  NAT_ATTR_PASSWORD_ALGORITHM = 0x001D,
  NAT_ATTR_USERHASH = 0x001E,
  NAT_ATTR_XOR_MAPPED_ADDRESS = 0x0020,
  NAT_ATTR_USE_CANDIDATE = 0x0025, /* RFC 8445: here "make this path the selected one" */
  NAT_ATTR_PADDING = 0x0026,       /* RFC 5780: the first request is no shorter than its answer */
  NAT_ATTR_PASSWORD_ALGORITHMS = 0x8002,
  NAT_ATTR_SOFTWARE = 0x8022,
  NAT_ATTR_FINGERPRINT = 0x8028,
  /* Ours; comprehension-optional, so that a plain STUN tool still reads our messages. */
  NAT_ATTR_BOOT_ID = 0xCE41, /* 16 bytes; in every authenticated response */
  NAT_ATTR_EPOCH = 0xCE42,   /* 16 bytes; in every authenticated request */
  NAT_ATTR_VERSION = 0xCE43, /* uint32; in every authenticated success response:
                                         * version of the session's document, 0 = relay lacks it */
  NAT_ATTR_REASON = 0xCE44,  /* uint32, NatReason; in indications and in 403 responses */
} NatStunAttribute;

#define NAT_STUN_PASSWORD_ALGORITHM_SHA256 0x0002

/* Why the relay speaks. In an indication it is a hint without authority: the client
 * sends a Binding and believes that one's authenticated response alone. In a 403
 * response, which carries integrity, it is the final word on the session. */
typedef enum {
  NAT_REASON_NONE = 0,
  NAT_REASON_REGISTER = 1,    /* the relay does not know this address: register again */
  NAT_REASON_DESCRIPTION = 2, /* the session's document has a new version */
  NAT_REASON_GOING_AWAY = 3,  /* the relay stops; come back at once */
  NAT_REASON_ENDED = 4,       /* DELETE, or an operator ended it */
  NAT_REASON_SUPERSEDED = 5,  /* another publisher took the stream */
  NAT_REASON_EXPIRED = 6,     /* the token or ticket ran out */
  NAT_REASON_REVOKED = 7,     /* the token was withdrawn */
} NatReason;

/* ---- Roles ------------------------------------------------------------- */
typedef enum {
  NAT_ROLE_PUBLISHER = 1,
  NAT_ROLE_SUBSCRIBER = 2,
} NatRole;

/* ---- Labels of key derivation (HKDF-SHA256 unless said) ---------------- */
#define NAT_LABEL_PASSWORD     "natrelay password v1" /* secret -> a session's password */
#define NAT_LABEL_TICKET       "natrelay ticket v1"   /* secret -> AES-256-GCM key of tickets */
#define NAT_LABEL_SRTCP_CLIENT "natrelay srtcp client to relay v1"
#define NAT_LABEL_SRTCP_RELAY  "natrelay srtcp relay to client v1"
#define NAT_LABEL_SFRAME       "natrelay sframe v1"      /* media key -> base key of one SSRC */
#define NAT_LABEL_PASSPHRASE   "natrelay passphrase v1"  /* salt of PBKDF2 */
#define NAT_LABEL_END_TO_END   "natrelay end to end v1"  /* stretched passphrase -> media key */
#define NAT_LABEL_DESCRIPTION  "natrelay description v1" /* stretched passphrase -> mac key */
