/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay as it is, but for its threads and its HTTPS port: HTTP API, registry, data plane and all
 * its workers, on one host of the world. A request is given to the API as bytes and answered at once. */

#include "natserver/control/api.h"
#include "natserver/data/worker.h"
#include "net.h"

G_BEGIN_DECLS

#define HOUSE_WORKERS_MAX 4

typedef struct {
  Host host; /* first */
  gboolean up;
  gboolean open; /* no tokens */
  guint n_workers;
  char *dir; /* what a restart finds again */
  guint8 secret[32];
  NatSignKey *token_key;
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  guint boots;

  NatAddress listen[2];
  guint n_listen;
  NatSecrets *secrets;
  NatAuth *auth;
  NatAdmission *admission;
  NatEndedFile *ended;
  NatDataplane *dataplane;
  NatRegistry *registry;
  NatApi api;
  NatWorker *workers[HOUSE_WORKERS_MAX];
  gint64 tick_us; /* of the registry, on the host's clock */
} House;

void house_init (House *h, guint n_workers, guint n_listen, gboolean open);
void house_clear (House *h);
void house_start (House *h);
/* polite: everybody is told, as at SIGTERM. */
void house_stop (House *h, gboolean polite);
/* For the next start: another state directory. */
void house_lose_state (House *h);

/* A token for everything as subject, which ends in lifetime_s (0 = never); to be freed. */
char *house_token (House *h, const char *subject, gint64 lifetime_s);
/* Bytes of a request, as from peer; *retry_after_s is 0 if nothing is said. Body to be freed. */
char *house_request (House *h, const NatAddress *peer, const char *head, const char *body,
    guint *status, guint *retry_after_s);
/* An operator's DELETE. */
void house_end (House *h, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason);

G_END_DECLS
