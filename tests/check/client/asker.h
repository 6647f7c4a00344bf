/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A negotiator, and what it was answered. */

#include "httpsserver.h"
#include "natclient/negotiator.h"

typedef struct {
  GMainContext *context; /* the thread's own, from init to clear */
  NatSessionConfig config;
  NatNegotiator *n; /* NULL until it asks */
  char *pem;        /* of the relay */
  /* The last answer. */
  gboolean answered, has_document;
  NatCause *cause;
  NatAddress remote;
} Asker;

void asker_init (Asker *a); /* 127.0.0.1; the relay is known by its fingerprint */
void asker_clear (Asker *a);
/* At 127.0.0.1, and a free port. */
HttpsServer *asker_relay (const Asker *a);
/* Opens a session, and waits for the end of that. */
void asker_ask (Asker *a, guint16 port, guint16 second_port, guint timeout_ms);
/* What such a session is asked for later. */
void asker_fetch (Asker *a, guint timeout_ms);
void asker_on_reply (NatReply *reply, gpointer user);
