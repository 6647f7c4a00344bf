/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/relay.h"

#include <string.h>
#include <unistd.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <config.h>

#include "natproto/crypto.h"
#include "natserver/control/api.h"
#include "natserver/control/httplisten.h"
#include "natserver/control/httpserver.h"
#include "natserver/control/recheck.h"
#include "natserver/control/wsqueue.h"
#include "natserver/credentials.h"
#include "natserver/limits.h"
#include "natserver/permissions.h"
#include "natserver/whereabouts.h"

#define PORT_TRIES        32   /* for a port that is free for TCP and UDP alike */
#define DORMANT_SHARE     16   /* of all memory is what sessions without a client may have, */
#define DORMANT_BYTES     3072 /* each so much */
#define DESCRIPTORS_RINGS 4    /* of a worker, besides its UDP sockets */

struct _NatRelay {
  const NatConfig *config;
  char *dir;
  int dir_lock;
  NatTlsIdentity *identity;
  NatSignKey *token_key;
  NatSecrets *secrets;
  NatEndedFile *ended;
  NatAuth *auth;
  NatFetcher *fetcher; /* NULL: nothing is fetched */
  NatJwksUrls *jwks;
  NatCallback *callback;
  NatRecheck *recheck;
  NatAdmission *admission;
  NatMemory *memory;       /* NULL: the system does not say what the relay has */
  int tcp[NAT_LISTEN_MAX]; /* bound, -1 once the HTTPS server has it */
  NatAddress local[NAT_LISTEN_MAX];
  guint n_listen;
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  NatDataplane *dataplane;
  gboolean running;
  NatRegistry *registry;
  NatHttpServer *http;
  NatWsServer *websockets; /* NULL: none are taken */
  NatLooks *looks;
  NatApi api;
  guint event_watch, tick, soon;
  gboolean told_where;
  void (*drained) (gpointer user);
  gpointer drained_user;
  gint64 started_s;
};

static NatTime
time_now (void)
{
  NatTime now = {g_get_monotonic_time (), g_get_real_time () / G_USEC_PER_SEC};

  return now;
}

/* ---- What the HTTPS side asks of us ------------------------------------ */

static void
fill_snapshot (NatSnapshot *snapshot, gpointer user)
{
  NatRelay *relay = user;
  NatHttpServerStats stats;

  nat_http_server_get_stats (relay->http, &stats);
  snapshot->started_s = relay->started_s;
  snapshot->program_version = PACKAGE_VERSION;
  snapshot->https_connections = stats.connections;
  snapshot->https_requests = stats.requests;
  snapshot->https_refused = stats.refused;
  if (relay->memory != NULL) {
    NatMemoryStats memory;

    nat_memory_get_stats (relay->memory, &memory);
    snapshot->memory_bound = memory.bound;
    snapshot->memory_resident = memory.resident;
    snapshot->memory_refused = memory.refused;
  }
  snapshot->n_workers = nat_dataplane_n_workers (relay->dataplane);
  snapshot->workers = nat_dataplane_worker_counters (relay->dataplane);
  if (relay->websockets != NULL)
    snapshot->websockets = nat_ws_server_counters (relay->websockets);
}

static void
look_is_whole (gconstpointer look, gpointer user)
{
  NatRelay *relay = user;

  nat_http_server_wake (relay->http, look);
}

/* ---- Memory ------------------------------------------------------------ */

static gboolean
measure (guint64 *resident, guint64 *cached, gpointer user)
{
  NatRelay *relay = user;
  NatWorkerCounters *const *workers = nat_dataplane_worker_counters (relay->dataplane);

  *cached = 0;
  for (guint i = 0; i < nat_dataplane_n_workers (relay->dataplane); i++)
    *cached += nat_counter_get (&workers[i]->cache_resident_bytes);
  return nat_memory_resident (resident);
}

static void
see_to_memory (NatRelay *relay)
{
  NatMemoryStats stats;

  if (relay->memory == NULL)
    return;
  nat_memory_measure (relay->memory);
  nat_memory_get_stats (relay->memory, &stats);
  nat_dataplane_set_memory (relay->dataplane, stats.cache, stats.is_full);
}

static void
make_memory (NatRelay *relay)
{
  const NatConfig *config = relay->config;
  NatMemoryConfig memory = {.bound = nat_limits_memory (config),
      .fixed = nat_dataplane_reserved (relay->dataplane) +
               (config->max_websockets > 0 ? NAT_WS_STORE_MAX : 0),
      .cache = (guint64)config->cache_mb << 20,
      .measure = measure,
      .user = relay};
  guint64 resident;

  if (nat_memory_resident (&resident))
    relay->memory = nat_memory_new (&memory);
  else
    g_warning ("the system does not say how much memory the relay has (/proc/self/statm): "
               "max-memory-mb is not kept");
  see_to_memory (relay);
}

static gboolean
events_wait (int fd, GIOCondition condition, gpointer user)
{
  NatRelay *relay = user;

  nat_registry_poll (relay->registry, time_now ());
  return G_SOURCE_CONTINUE;
}

static void
warn_lines (const char *text)
{
  g_auto (GStrv) lines = g_strsplit (text ? text : "", "\n", -1);

  for (guint i = 0; lines[i] != NULL; i++) {
    if (*lines[i] != '\0')
      g_warning ("%s", lines[i]);
  }
}

static void
look_whether_drained (NatRelay *relay)
{
  void (*drained) (gpointer user) = relay->drained;

  if (!drained || nat_registry_n_sessions (relay->registry) > 0)
    return;
  relay->drained = NULL;
  drained (relay->drained_user);
}

static void go_on_soon (NatRelay *relay);

static void
go_on (gpointer user)
{
  NatRelay *relay = user;

  gboolean more = nat_registry_go_on (relay->registry, time_now ());

  relay->soon = 0;
  if (nat_recheck_go_on (relay->recheck, time_now ()) || more)
    go_on_soon (relay);
}

static void
go_on_soon (NatRelay *relay)
{
  if (!relay->soon)
    relay->soon = g_timeout_add_once (NAT_REGISTRY_SOON_MS, go_on, relay);
}

static gboolean
tick (gpointer user)
{
  NatRelay *relay = user;
  g_autofree char *hints = nat_dataplane_poll_hints (relay->dataplane);

  warn_lines (hints);
  see_to_memory (relay);
  if (nat_registry_tick (relay->registry, time_now ()))
    go_on_soon (relay);
  if (nat_recheck_tick (relay->recheck, time_now (), relay->config->access_callback_grace))
    go_on_soon (relay);
  nat_jwks_urls_tick (relay->jwks, time_now ().us);
  look_whether_drained (relay);
  return G_SOURCE_CONTINUE;
}

/* ---- Ports ------------------------------------------------------------- */

static gboolean
has_ipv6 (void)
{
  struct sockaddr_in6 any = {.sin6_family = AF_INET6};
  int fd = socket (AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  gboolean ok = fd >= 0 && bind (fd, (struct sockaddr *)&any, sizeof any) == 0;

  if (fd >= 0)
    close (fd);
  return ok;
}

static void
close_ports (NatRelay *relay)
{
  for (guint i = 0; i < relay->n_listen; i++) {
    if (relay->tcp[i] >= 0)
      close (relay->tcp[i]);
  }
  relay->n_listen = 0;
}

static gboolean
bind_tcp (NatRelay *relay, GError **error)
{
  const NatConfig *config = relay->config;

  for (guint i = 0; i < config->n_listen; i++) {
    const NatAddress *address = &config->listen_addresses[i];
    int fd;

    if (config->default_listen && address->family == 6 && !has_ipv6 ()) {
      g_message ("this machine has no IPv6: the relay listens at IPv4 only");
      continue;
    }
    fd = nat_http_bind (address, &relay->local[relay->n_listen], error);
    if (fd < 0)
      return FALSE;
    relay->tcp[relay->n_listen++] = fd;
  }
  return TRUE;
}

static gboolean
bind_udp (NatRelay *relay, GError **error)
{
  NatDataplaneConfig dp = {
      .n_listen = relay->n_listen,
      .workers = relay->config->workers,
      .cache_bytes = (gsize)relay->config->cache_mb << 20,
      .dormant_max =
          (guint)MIN (nat_limits_memory (relay->config) / DORMANT_SHARE / DORMANT_BYTES, G_MAXUINT),
      .busy_poll = relay->config->busy_poll,
      .socket_buffer = relay->config->socket_buffer,
      .secrets = relay->secrets,
  };
  g_autofree char *hints = NULL;

  for (guint i = 0; i < relay->n_listen; i++)
    dp.listen[i] = relay->local[i];
  memcpy (dp.boot_id, relay->boot_id, sizeof dp.boot_id);
  nat_limits_media (relay->config, dp.rates);
  relay->dataplane = nat_dataplane_new (&dp, &hints, error);
  if (relay->dataplane == NULL)
    return FALSE;
  warn_lines (hints);
  return TRUE;
}

/* A port that the system picked for TCP may be taken for UDP: then another one is tried. */
static gboolean
bind_ports (NatRelay *relay, GError **error)
{
  gboolean any_port = FALSE;

  for (guint i = 0; i < relay->config->n_listen; i++)
    any_port |= relay->config->listen_addresses[i].port == 0;
  for (guint try = 1;; try++) {
    g_autoptr (GError) cause = NULL;

    if (bind_tcp (relay, &cause) && bind_udp (relay, &cause))
      return TRUE;
    close_ports (relay);
    if (!any_port || try == PORT_TRIES) {
      g_propagate_error (error, g_steal_pointer (&cause));
      return FALSE;
    }
  }
}

static gboolean
listen_all (NatRelay *relay, GError **error)
{
  for (guint i = 0; i < relay->n_listen; i++) {
    int fd = relay->tcp[i];

    relay->tcp[i] = -1;
    if (!nat_http_server_listen (relay->http, fd, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- Who may ----------------------------------------------------------- */

static void
end_revoked (NatRelay *relay)
{
  if (nat_registry_revoke (relay->registry, time_now ()))
    go_on_soon (relay);
}

static void
take_fetched (NatRelay *relay)
{
  gboolean complete;
  NatTokenKeys *keys = nat_jwks_urls_keys (relay->jwks, &complete);

  nat_auth_take_fetched (relay->auth, keys, complete);
  if (relay->registry != NULL)
    end_revoked (relay);
}

/* Keys came from elsewhere, or did not. */
static void
keys_answered (gboolean fresh, gpointer user)
{
  NatRelay *relay = user;

  if (fresh)
    take_fetched (relay);
  if (relay->http != NULL)
    nat_http_server_wake (relay->http, relay->jwks);
}

static void
callback_answered (gconstpointer what, gpointer user)
{
  NatRelay *relay = user;

  if (relay->recheck != NULL)
    nat_recheck_answered (relay->recheck, time_now (), what);
  if (relay->http != NULL)
    nat_http_server_wake (relay->http, what);
}

/* Takes all over that p has. */
static void
apply_permissions (NatRelay *relay, NatPermissions *p)
{
  const NatConfig *config = relay->config;
  NatRestGrants grants = {config->credential_publish, config->credential_subscribe};
  NatJwksTimes times = {config->access_timeout, config->jwks_refresh_min, config->jwks_refresh_max};

  nat_auth_take_keys (relay->auth, g_steal_pointer (&p->keys));
  nat_auth_take_static (relay->auth, g_steal_pointer (&p->statics));
  nat_auth_take_secrets (relay->auth, g_steal_pointer (&p->secrets), &grants);
  nat_auth_set_unknown (relay->auth, config->access_callback_tokens);
  nat_fetcher_free (relay->fetcher);
  relay->fetcher = g_steal_pointer (&p->fetcher);
  /* Both have the new fetcher before anybody who waits is asked to look again. */
  nat_jwks_urls_set (relay->jwks, relay->fetcher, p->urls, &times);
  nat_callback_set (
      relay->callback, relay->fetcher, config->access_callback, config->access_timeout);
  nat_jwks_urls_tick (relay->jwks, time_now ().us);
  take_fetched (relay);
  if (relay->http != NULL) /* what they waited for is under way no more */
    nat_http_server_wake (relay->http, relay->jwks);
}

/* ---- Putting it together ----------------------------------------------- */

static gboolean
load (NatRelay *relay, GError **error)
{
  g_autofree char *ended = NULL;
  NatPermissions permissions;
  gboolean ok;

  relay->dir = nat_credentials_open_directory (relay->config, error);
  if (relay->dir == NULL)
    return FALSE;
  relay->dir_lock = nat_credentials_lock_directory (relay->dir, error);
  if (relay->dir_lock < 0)
    return FALSE;
  relay->identity = nat_credentials_identity (relay->config, relay->dir, error);
  if (relay->identity == NULL)
    return FALSE;
  relay->secrets = nat_credentials_secrets (relay->dir, error);
  if (relay->secrets == NULL)
    return FALSE;
  relay->token_key = nat_credentials_own_key (relay->dir, error);
  if (relay->token_key == NULL)
    return FALSE;
  ok = nat_permissions_load (&permissions, relay->config, relay->token_key, error);
  if (ok)
    apply_permissions (relay, &permissions);
  nat_permissions_clear (&permissions);
  if (!ok)
    return FALSE;
  ended = g_build_filename (relay->dir, "ended", NULL);
  relay->ended = nat_ended_file_open (ended, time_now ().s, error);
  return relay->ended != NULL;
}

static void
connection_limits (NatRelay *relay, NatHttpLimits *http, NatWsLimits *websockets)
{
  guint workers = nat_dataplane_n_workers (relay->dataplane);

  nat_limits_connections (
      relay->config, workers * (relay->n_listen + DESCRIPTORS_RINGS), http, websockets);
  http->memory = relay->memory;
}

static gboolean
make_websockets (NatRelay *relay, const NatWsLimits *limits, GError **error)
{
  if (limits->connections == 0)
    return TRUE;
  relay->websockets = nat_ws_server_new (limits, nat_dataplane_tunnel (relay->dataplane), error);
  if (relay->websockets == NULL)
    return FALSE;
  relay->api.websockets = relay->websockets;
  nat_http_server_set_taker (relay->http, nat_ws_server_take, relay->websockets);
  return TRUE;
}

static gboolean
make_control (NatRelay *relay, GError **error)
{
  NatRegistryConfig registry = {.dataplane = relay->dataplane,
      .secrets = relay->secrets,
      .admission = relay->admission,
      .ended = relay->ended,
      .verify_media = relay->config->verify_media,
      .auth = relay->auth};
  NatApi *api = &relay->api;
  NatHttpLimits limits;
  NatWsLimits ws_limits;

  make_memory (relay);
  connection_limits (relay, &limits, &ws_limits);
  registry.memory = api->memory = relay->memory;
  memcpy (registry.boot_id, relay->boot_id, sizeof registry.boot_id);
  relay->registry = nat_registry_new (&registry);
  relay->recheck = nat_recheck_new (relay->registry, relay->callback);
  api->registry = relay->registry;
  api->access = (NatAccess){relay->auth, relay->jwks, relay->callback};
  api->admission = relay->admission;
  api->listen = relay->local;
  api->n_listen = relay->n_listen;
  api->public_address = relay->config->public_addresses;
  api->n_public_address = relay->config->n_public;
  relay->looks = api->looks =
      nat_looks_new (&(NatLooksConfig){relay->registry, fill_snapshot, look_is_whole, relay});
  relay->http = nat_http_server_new (&limits, relay->identity, nat_api_handle, api);
  return make_websockets (relay, &ws_limits, error);
}

static NatWhereabouts
whereabouts (NatRelay *relay)
{
  return (NatWhereabouts){
      relay->config, relay->dir, relay->identity, relay->token_key, relay->local, relay->n_listen};
}

/* The relay does without: it may have to start while the disk is full. */
static void
tell_where (NatRelay *relay)
{
  NatWhereabouts where = whereabouts (relay);
  g_autoptr (GError) error = NULL;

  if (nat_whereabouts_leave (&where, &error))
    relay->told_where = TRUE;
  else
    g_warning ("\"natrelay-server status\" does not know where this relay is and which certificate "
               "it has: %s",
        error->message);
}

gboolean
nat_relay_print (NatRelay *relay, FILE *out, gboolean secrets, GError **error)
{
  NatWhereabouts where = whereabouts (relay);

  return nat_whereabouts_print (&where, out, secrets, error);
}

static gboolean
start (NatRelay *relay, GError **error)
{
  /* Nobody may come back whose session ended before the restart: first those, then the ports. */
  nat_registry_flush (relay->registry);
  if (!nat_dataplane_start (relay->dataplane, error))
    return FALSE;
  relay->running = TRUE;
  relay->event_watch =
      g_unix_fd_add (nat_dataplane_event_fd (relay->dataplane), G_IO_IN, events_wait, relay);
  relay->tick = g_timeout_add (1000, tick, relay);
  if (!listen_all (relay, error))
    return FALSE;
  tell_where (relay);
  return TRUE;
}

static NatRelay *
new_without_ports (const NatConfig *config)
{
  NatRelay *relay = g_new0 (NatRelay, 1);
  NatAdmissionLimits limits = nat_limits_admission (config);

  relay->config = config;
  relay->dir_lock = -1;
  relay->started_s = time_now ().s;
  relay->auth = nat_auth_new (config->open != NAT_OPEN_NO);
  relay->jwks = nat_jwks_urls_new (keys_answered, relay);
  relay->callback = nat_callback_new (callback_answered, relay);
  relay->admission = nat_admission_new (&limits);
  nat_crypto_random (relay->boot_id, sizeof relay->boot_id);
  return relay;
}

NatRelay *
nat_relay_new (const NatConfig *config, GError **error)
{
  NatRelay *relay = new_without_ports (config);

  if (!load (relay, error) || !bind_ports (relay, error)) {
    nat_relay_free (relay);
    return NULL;
  }
  if (!make_control (relay, error) || !start (relay, error))
    g_clear_pointer (&relay, nat_relay_free);
  return relay;
}

gboolean
nat_relay_reload (NatRelay *relay, GError **error)
{
  NatTlsIdentity *identity = nat_credentials_identity (relay->config, relay->dir, error);
  NatAdmissionLimits admission = nat_limits_admission (relay->config);
  NatSignKey *own = identity ? nat_credentials_own_key (relay->dir, error) : NULL;
  NatPermissions permissions = {NULL};
  NatHttpLimits http;
  NatWsLimits websockets;
  NatRate rates[NAT_LIMITS];

  if (own == NULL || !nat_permissions_load (&permissions, relay->config, own, error)) {
    nat_permissions_clear (&permissions);
    nat_sign_key_unref (own);
    if (identity != NULL)
      nat_tls_identity_unref (identity);
    return FALSE;
  }
  nat_http_server_set_identity (relay->http, identity);
  nat_tls_identity_unref (relay->identity);
  relay->identity = identity;
  tell_where (relay);
  apply_permissions (relay, &permissions);
  nat_permissions_clear (&permissions);
  nat_sign_key_unref (relay->token_key);
  relay->token_key = own;
  nat_admission_set_limits (relay->admission, &admission);
  nat_limits_media (relay->config, rates);
  nat_dataplane_set_rates (relay->dataplane, rates);
  connection_limits (relay, &http, &websockets);
  nat_http_server_set_limits (relay->http, &http);
  if (relay->websockets != NULL)
    nat_ws_server_set_limits (relay->websockets, &websockets);
  return TRUE;
}

void
nat_relay_drain (NatRelay *relay, void (*drained) (gpointer user), gpointer user)
{
  relay->api.draining = TRUE;
  relay->drained = drained;
  relay->drained_user = user;
}

void
nat_relay_stop (NatRelay *relay)
{
  if (relay->running)
    nat_dataplane_stop (relay->dataplane, NAT_REASON_GOING_AWAY);
  relay->running = FALSE;
  relay->api.websockets = NULL;
  if (relay->http != NULL)
    nat_http_server_set_taker (relay->http, NULL, NULL);
  g_clear_pointer (&relay->websockets, nat_ws_server_free);
}

void
nat_relay_free (NatRelay *relay)
{
  g_clear_handle_id (&relay->event_watch, g_source_remove);
  g_clear_handle_id (&relay->tick, g_source_remove);
  g_clear_handle_id (&relay->soon, g_source_remove);
  if (relay->told_where)
    nat_whereabouts_remove (relay->dir);
  nat_relay_stop (relay);
  g_clear_pointer (&relay->http, nat_http_server_free);
  g_clear_pointer (&relay->looks, nat_looks_free);
  g_clear_pointer (&relay->recheck, nat_recheck_free);
  g_clear_pointer (&relay->registry, nat_registry_free);
  g_clear_pointer (&relay->dataplane, nat_dataplane_free);
  close_ports (relay);
  nat_memory_free (relay->memory);
  nat_admission_free (relay->admission);
  nat_fetcher_free (relay->fetcher);
  nat_jwks_urls_free (relay->jwks);
  nat_callback_free (relay->callback);
  nat_auth_free (relay->auth);
  g_clear_pointer (&relay->ended, nat_ended_file_free);
  g_clear_pointer (&relay->secrets, nat_secrets_free);
  g_clear_pointer (&relay->token_key, nat_sign_key_unref);
  g_clear_pointer (&relay->identity, nat_tls_identity_unref);
  if (relay->dir_lock >= 0)
    close (relay->dir_lock);
  g_free (relay->dir);
  g_free (relay);
}
