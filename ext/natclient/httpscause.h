/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Why HTTPS with the relay failed, in a sentence for a person. One cause for each way; nothing here has
 * a connection. */

#include "natclient/session.h"
#include "natclient/trust.h"

G_BEGIN_DECLS

/* How far a connection came: a timeout is told in these words. */
typedef enum {
  NAT_HTTPS_START,
  NAT_HTTPS_RESOLVING,
  NAT_HTTPS_CONNECTING,
  NAT_HTTPS_TLS,
  NAT_HTTPS_ANSWER,
} NatHttpsStage;

/* What is to be told of. Nothing of it is owned. */
typedef struct {
  const NatTrust *trust;
  const char *host, *where; /* where: "host:port" */
  const char *proxy;        /* likewise, of the proxy that leads there; NULL = none */
  guint16 port;
  NatHttpsStage stage;
  guint timeout_ms;
  gboolean timed_out, via_proxy, had_token;
  const NatShown *shown; /* of certificates */
} NatHttpsStory;

/* For the caller to free, all of them. */
NatCause *nat_https_cause_of_error (const NatHttpsStory *story, const GError *error);
/* An answer that is no success; body: len bytes of it. reason: may be NULL. */
NatCause *nat_https_cause_of_status (
    const NatHttpsStory *story, guint status, const char *reason, const char *body, gsize len);
/* No relay speaks so: a proxy, a login page, or another server. */
NatCause *nat_https_cause_of_stranger (
    const NatHttpsStory *story, guint status, const char *reason);

G_END_DECLS
