/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A USERNAME that carries its session: base64url (secret number, 4 bytes | IV, 12 bytes |
 * AES-256-GCM of the fields | tag). Whoever has the numbered secret can serve the session,
 * also after a restart; nobody else can read or make one. */

#include <glib.h>
#include "natproto/messages.h"
#include "natproto/voucher.h"

G_BEGIN_DECLS

#define NAT_TICKET_TEXT_MAX 508 /* bytes: RFC 8489's limit on USERNAME */

typedef struct {
  guint8 session_id[NAT_SESSION_ID_SIZE];
  NatRole role;
  guint32 password_secret; /* number of the secret that the password is derived from */
  gint64 expires_s;        /* Unix time: the ticket's end, never after token_expires_s */
  gint64 token_expires_s;  /* Unix time: the permission's end; G_MAXINT64 = never */
  guint32 max_kbps;        /* 0 = no limit */
  guint32 max_packets;     /* a second; 0 = no limit */
  guint8 takeover;         /* the token allowed to take a stream over */
  NatVoucher voucher;      /* what let the session in */
  char subject[65];        /* the token's subject, cut; "" = none; see nat_subject_is_named */
  char stream[NAT_STREAM_NAME_MAX + 1];
} NatTicket;

/* The relay's numbered secrets, 32 bytes each. The highest number makes new tickets; all of
 * them open. Immutable after filling, then shared between threads for reading. */
typedef struct _NatSecrets NatSecrets;
NatSecrets *nat_secrets_new (void);
void nat_secrets_add (NatSecrets *s, guint32 number, const guint8 secret[32]);
guint32 nat_secrets_current (NatSecrets *s); /* 0 = none yet; numbers start at 1 */
void nat_secrets_free (NatSecrets *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSecrets, nat_secrets_free)

/* text: NAT_TICKET_TEXT_MAX + 1 bytes. Returns its length. iv: 12 fresh random bytes; so
 * drawn, they serve 2^32 tickets under one secret (NIST SP 800-38D section 8.3). */
gsize nat_ticket_seal (NatSecrets *s, const NatTicket *ticket, const guint8 iv[12], char *text);
typedef enum {
  NAT_TICKET_GOOD,
  NAT_TICKET_EXPIRED, /* genuine; *ticket is filled */
  NAT_TICKET_FOREIGN, /* not ours, cut, changed, or its secret is gone */
} NatTicketStatus;
/* now_s: Unix time. Allocates nothing but a short-lived cipher handle inside GnuTLS. */
NatTicketStatus nat_ticket_open (
    NatSecrets *s, const char *text, gsize len, gint64 now_s, NatTicket *ticket);
/* The session's password as text, from secret number and session id. FALSE: no such secret. */
gboolean nat_ticket_password (NatSecrets *s, guint32 number,
    const guint8 session_id[NAT_SESSION_ID_SIZE], char password[NAT_PASSWORD_TEXT + 1]);

/* Whether a ticket's subject is somebody's name: not that of a token without one, which has NAT_SUBJECT_OF_TOKEN and
 * a hash instead, and may be in many hands. */
#define NAT_SUBJECT_OF_TOKEN "token:"
gboolean nat_subject_is_named (const char *subject);

void nat_session_id_to_text (
    const guint8 id[NAT_SESSION_ID_SIZE], char text[NAT_SESSION_ID_TEXT + 1]);
gboolean nat_session_id_from_text (const char *text, gssize len, guint8 id[NAT_SESSION_ID_SIZE]);

G_END_DECLS
