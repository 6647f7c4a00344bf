/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Who was let in, kept out or put out, and why: one line of the log each, as name=value, without a token, a password or
 * a whole session id. What comes from strangers stands in quotes, in which nothing ends them early. */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"

G_BEGIN_DECLS

typedef enum {
  NAT_AUDIT_GRANTED, /* every one is logged: limits hold how many there can be */
  NAT_AUDIT_ENDED,   /* so is every one of these */
  NAT_AUDIT_REFUSED, /* strangers cause as many as they like: ten in ten seconds, and how many more there were */
} NatAuditVerdict;

typedef struct {
  const char *action;     /* one word */
  const char *stream;     /* NULL or "": none */
  const char *who;        /* the subject; NULL or "": nobody known */
  const char *by;         /* nat_voucher_word; NULL: nothing vouched */
  const char *id;         /* the token's "jti"; NULL: none */
  const NatAddress *from; /* NULL: not known */
  const guint8 *session;  /* NULL: none */
} NatAudit;

/* why may be NULL. */
void nat_audit (const NatAudit *line, NatAuditVerdict verdict, const char *why);
/* "publish", "subscribe" */
const char *nat_audit_action (NatRole role);

G_END_DECLS
