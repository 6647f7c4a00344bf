/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The inside of a negotiator, for its two files: negotiator.c (settings, what is asked and what was answered) and
 * negotiatorways.c (the connections of a request: to which address and port, and which of them gets it). */

#include <libsoup/soup.h>

#include "natclient/httpscause.h"
#include "natclient/negotiator.h"

G_BEGIN_DECLS

typedef struct _NatAttempt NatAttempt;

struct _NatNegotiator {
  int refs; /* the owner and each request */
  guint timeout_s;
  NatRelayHost *relay;
  NatRole role;
  char *host, *stream;
  char *exclude;             /* NULL, or a stream name: nothing in it is JSON's */
  char *where;               /* "host:port" for people */
  guint16 port, second_port; /* the URI's; and 443 */
  guint16 door;              /* that of the two where the relay answered last, or is asked first */
  gboolean proved;           /* it did answer there */
  guint failures;            /* requests in a row that reached nobody */
  guint slow_proxy;          /* detours that were given up while a proxy was busy with them */
  guint n_given_up;          /* attempts whose memory is still in use */
  gboolean takeover;
  gboolean instant_start; /* until a session was opened: whoever plays has a picture */
  NatTrust *trust;
  GProxyResolver *proxy;
  GList *requests;
};

/* One connection for a request. Until TLS is ready the relay has got nothing of it, so that another one, to
 * another address or the other port, can take its place. */
struct _NatAttempt {
  NatRequest *r; /* NULL: given up */
  NatNegotiator *n;
  SoupSession *soup; /* which is told once where it connects to */
  guint16 port;
  SoupMessage *message;
  GCancellable *cancellable;
  NatHttpsStage stage;
  gboolean begun;   /* the name is resolved: from now on it is the port that takes its time */
  gboolean reached; /* the port leads somewhere: TLS began */
  gboolean secure;  /* TLS is ready */
  gboolean via_proxy;
  guint n_informational, informational; /* answers that another is to follow, and the last status */
  NatAddress remote;
  NatShown shown; /* of certificates */
};

struct _NatRequest {
  NatNegotiator *n;
  NatRequestKind kind;
  char *session, *token; /* NULL = none */
  GBytes *content;       /* NULL = none */
  guint16 usual;         /* the port that it began with */
  NatAttempt *attempt;   /* the current one; NULL = none any more */
  GList *hanging;        /* older ones, that are not ready yet; whoever is first gets the request */
  gboolean forgave;      /* those that hung before had another chance */
  gboolean detoured;     /* the other port had its turn, or has */
  NatCause *blocked; /* why the usual port did not lead to the relay; NULL = it was slow, or did */
  GSource *timer, *patience;
  GInputStream *body;
  char *bytes; /* NAT_SESSION_DOCUMENT_MAX + 1: one more than may come */
  guint timeout_ms;
  gboolean timed_out;
  gboolean cancelled;
  NatReplyFunc func; /* NULL: nobody waits */
  gpointer user;
};

/* negotiator.c */
/* The end of every request: calls back, once, and frees. Takes cause. */
void nat_request_done (NatRequest *r, NatCause *cause, NatSessionDocument *document);
/* The head of an answer is there. Takes body. */
void nat_request_read (NatRequest *r, GInputStream *body);
/* What is sent: one for each connection. */
SoupMessage *nat_request_message (const NatRequest *r, guint16 port);
NatHttpsStory nat_request_story (const NatAttempt *a);
void nat_negotiator_unref (NatNegotiator *n);
guint16 nat_negotiator_other_port (const NatNegotiator *n, guint16 port);

/* negotiatorways.c */
void nat_request_connect (NatRequest *r);
void nat_request_cancel_attempts (NatRequest *r);
/* Who answered at the other port is no relay: goes on with what is left to try. */
void nat_request_met_stranger (NatRequest *r);
gboolean nat_attempt_is_detour (const NatAttempt *a);
void nat_attempt_free (NatAttempt *a); /* once libsoup let go of it */

G_END_DECLS
