/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The HTTPS side of a session: five requests, and for each way they can fail one cause with a
 * sentence for a person. A port that leads nowhere, as firewalls and proxies block it, is left for the second one, and an address
 * where TLS hangs for the name's others. All calls and callbacks on the thread whose default GMainContext was
 * current when the negotiator was made. */

#include "natclient/relayhost.h"
#include "natclient/session.h"
#include "natclient/trust.h"

G_BEGIN_DECLS

typedef enum {
  NAT_REQUEST_OPEN,     /* POST .../publishers or .../subscribers */
  NAT_REQUEST_FETCH,    /* GET the session */
  NAT_REQUEST_DESCRIBE, /* PUT .../description */
  NAT_REQUEST_RENEW,    /* PUT .../token */
  NAT_REQUEST_CLOSE,    /* DELETE: this client left */
  NAT_REQUEST_END,      /* DELETE ?ended=true: the stream is over */
} NatRequestKind;

/* Valid during the callback; what is taken from it is set to NULL or zeroed by the taker. */
typedef struct {
  NatRequestKind kind;
  NatCause *cause;              /* NULL: done. attempt and retry_ms are the session's business */
  guint retry_after_ms;         /* that the relay asked for; 0 = nothing said */
  gint64 date_s;                /* its Unix time; 0 = nothing said, or no relay did */
  NatSessionDocument *document; /* NULL without one */
  NatAddress remote;            /* that the connection reached; "none" through a proxy */
  gboolean via_proxy;
} NatReply;
typedef void (*NatReplyFunc) (NatReply *reply, gpointer user);

typedef struct _NatNegotiator NatNegotiator;
typedef struct _NatRequest NatRequest;

/* NULL: a setting cannot be used (final), *cause says which. accept: for certificates that did not
 * verify and are not pinned. */
NatNegotiator *nat_negotiator_new (
    const NatSessionConfig *config, NatAcceptFunc accept, gpointer user, NatCause **cause);
/* Cancels what is under way; its callbacks do not come. */
void nat_negotiator_cancel (NatNegotiator *n);
void nat_negotiator_free (NatNegotiator *n); /* cancels first */

/* session: id as text, not for OPEN. description: for OPEN (publishers) and DESCRIBE; read during the
 * call only. token: may be NULL. func is called once, never from within this call; NULL: nobody waits for the answer. */
NatRequest *nat_negotiator_send (NatNegotiator *n, NatRequestKind kind, const char *session,
    const NatDescription *description, const char *token, guint timeout_ms, NatReplyFunc func,
    gpointer user);
/* func is not called any more. */
void nat_request_cancel (NatRequest *r);
/* For other connections to the same relay. Not owned by the caller. */
NatTrust *nat_negotiator_trust (const NatNegotiator *n);
GProxyResolver *nat_negotiator_proxy (const NatNegotiator *n);
/* Another network: whether the port that worked is blocked there, and where the name leads, is to be found out anew. */
void nat_negotiator_network_changed (NatNegotiator *n);
/* Where the name leads is to be found out anew. */
void nat_negotiator_look_anew (NatNegotiator *n);
NatRelayHost *nat_negotiator_relay (const NatNegotiator *n);
/* The port where the relay's HTTPS is found, as far as is known: that of the URI or the second one; or the other of the two. */
guint16 nat_negotiator_port (const NatNegotiator *n, gboolean other);
/* Requests whose memory is still in use, cancelled ones too. */
guint nat_negotiator_n_pending (const NatNegotiator *n);

G_END_DECLS
