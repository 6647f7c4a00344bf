/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/relay.h"

#include <string.h>
#include <unistd.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <config.h>

#include "natproto/crypto.h"
#include "natserver/control/api.h"
#include "natserver/control/httpserver.h"
#include "natserver/credentials.h"
#include "natserver/observe/metrics.h"
#include "natserver/observe/statuspage.h"

#define PORT_TRIES        32 /* for a port that is free for TCP and UDP alike */
#define DESCRIPTORS_SPARE 64 /* files and what libraries open */
#define DESCRIPTORS_RINGS 3  /* of a worker, besides its UDP sockets */

struct _NatRelay {
  const NatConfig *config;
  char *dir;
  int dir_lock;
  NatTlsIdentity *identity;
  NatSignKey *token_key;
  NatSecrets *secrets;
  NatEndedFile *ended;
  NatAuth *auth;
  NatAdmission *admission;
  int tcp[NAT_LISTEN_MAX]; /* bound, -1 once the HTTPS server has it */
  NatAddress local[NAT_LISTEN_MAX];
  guint n_listen;
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  NatDataplane *dataplane;
  gboolean running;
  NatRegistry *registry;
  NatHttpServer *http;
  NatApi api;
  guint event_watch, tick;
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
  snapshot->n_workers = nat_dataplane_n_workers (relay->dataplane);
  snapshot->workers = nat_dataplane_worker_counters (relay->dataplane);
}

static char *
metrics (const NatSnapshot *snapshot, gpointer user)
{
  return nat_metrics_to_text (snapshot);
}

static char *
status_page (const NatSnapshot *snapshot, gboolean addresses, gpointer user)
{
  return nat_statuspage_to_html (snapshot, time_now ().s, addresses);
}

static gboolean
events_wait (int fd, GIOCondition condition, gpointer user)
{
  NatRelay *relay = user;

  nat_registry_poll (relay->registry, time_now ());
  return G_SOURCE_CONTINUE;
}

static gboolean
tick (gpointer user)
{
  NatRelay *relay = user;

  nat_registry_tick (relay->registry, time_now ());
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
      .socket_buffer = relay->config->socket_buffer,
      .secrets = relay->secrets,
  };
  g_autofree char *hints = NULL;
  g_auto (GStrv) lines = NULL;

  for (guint i = 0; i < relay->n_listen; i++)
    dp.listen[i] = relay->local[i];
  memcpy (dp.boot_id, relay->boot_id, sizeof dp.boot_id);
  relay->dataplane = nat_dataplane_new (&dp, &hints, error);
  if (relay->dataplane == NULL)
    return FALSE;
  lines = g_strsplit (hints ? hints : "", "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    if (*lines[i] != '\0')
      g_warning ("%s", lines[i]);
  }
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

/* ---- Putting it together ----------------------------------------------- */

static gboolean
load (NatRelay *relay, GError **error)
{
  g_autofree char *ended = NULL;
  NatTokenKeys *keys;

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
  keys = nat_credentials_token_keys (relay->config, relay->dir, &relay->token_key, error);
  if (keys == NULL)
    return FALSE;
  nat_auth_take_keys (relay->auth, keys);
  ended = g_build_filename (relay->dir, "ended", NULL);
  relay->ended = nat_ended_file_open (ended, time_now ().s, error);
  return relay->ended != NULL;
}

static NatAdmission *
make_admission (const NatConfig *config)
{
  NatAdmissionLimits limits = {
      .requests_per_second = config->max_posts_per_second,
      .requests_burst = config->max_posts_burst,
      .sessions = config->max_sessions,
      .sessions_per_subject = config->max_sessions_per_subject,
      .sessions_per_address = config->max_sessions_per_address,
  };

  return nat_admission_new (&limits);
}

static NatHttpLimits
http_limits (NatRelay *relay)
{
  const NatConfig *config = relay->config;
  guint spare = DESCRIPTORS_SPARE +
                nat_dataplane_n_workers (relay->dataplane) * (relay->n_listen + DESCRIPTORS_RINGS);
  NatHttpLimits limits = {config->max_connections, config->max_connections_per_address,
      config->max_handshakes, config->request_timeout * 1000};
  struct rlimit files;
  rlim_t before;

  if (getrlimit (RLIMIT_NOFILE, &files) != 0)
    return limits;
  before = files.rlim_cur;
  files.rlim_cur = files.rlim_max;
  if (setrlimit (RLIMIT_NOFILE, &files) != 0)
    files.rlim_cur = before;
  if (files.rlim_cur < limits.connections + spare) {
    limits.connections = (guint)MAX (4, (gint64)files.rlim_cur - spare);
    g_warning ("the system allows %" G_GUINT64_FORMAT " descriptors only (LimitNOFILE, ulimit -n): "
               "max-connections is lowered to %u",
        (guint64)files.rlim_cur, limits.connections);
  }
  return limits;
}

static void
make_control (NatRelay *relay)
{
  NatRegistryConfig registry = {
      relay->dataplane, relay->secrets, relay->admission, relay->ended, {0}};
  NatHttpLimits limits = http_limits (relay);
  NatApi *api = &relay->api;

  memcpy (registry.boot_id, relay->boot_id, sizeof registry.boot_id);
  relay->registry = nat_registry_new (&registry);
  api->registry = relay->registry;
  api->auth = relay->auth;
  api->admission = relay->admission;
  api->listen = relay->local;
  api->n_listen = relay->n_listen;
  api->public_address = relay->config->public_addresses;
  api->n_public_address = relay->config->n_public;
  api->fill_snapshot = fill_snapshot;
  api->metrics = metrics;
  api->status_page = status_page;
  api->user = relay;
  relay->http = nat_http_server_new (&limits, relay->identity, nat_api_handle, api);
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
  return listen_all (relay, error);
}

NatRelay *
nat_relay_new (const NatConfig *config, GError **error)
{
  NatRelay *relay = g_new0 (NatRelay, 1);

  relay->config = config;
  relay->dir_lock = -1;
  relay->started_s = time_now ().s;
  relay->auth = nat_auth_new (config->open != NAT_OPEN_NO);
  relay->admission = make_admission (config);
  nat_crypto_random (relay->boot_id, sizeof relay->boot_id);
  if (!load (relay, error) || !bind_ports (relay, error)) {
    nat_relay_free (relay);
    return NULL;
  }
  make_control (relay);
  if (!start (relay, error))
    g_clear_pointer (&relay, nat_relay_free);
  return relay;
}

gboolean
nat_relay_reload (NatRelay *relay, GError **error)
{
  NatTlsIdentity *identity = nat_credentials_identity (relay->config, relay->dir, error);
  NatSignKey *own = NULL;
  NatTokenKeys *keys;

  if (identity == NULL)
    return FALSE;
  keys = nat_credentials_token_keys (relay->config, relay->dir, &own, error);
  if (keys == NULL) {
    nat_tls_identity_unref (identity);
    return FALSE;
  }
  nat_http_server_set_identity (relay->http, identity);
  nat_tls_identity_unref (relay->identity);
  relay->identity = identity;
  nat_auth_take_keys (relay->auth, keys);
  nat_sign_key_unref (relay->token_key);
  relay->token_key = own;
  return TRUE;
}

void
nat_relay_stop (NatRelay *relay)
{
  if (relay->running)
    nat_dataplane_stop (relay->dataplane, NAT_REASON_GOING_AWAY);
  relay->running = FALSE;
}

void
nat_relay_free (NatRelay *relay)
{
  g_clear_handle_id (&relay->event_watch, g_source_remove);
  g_clear_handle_id (&relay->tick, g_source_remove);
  nat_relay_stop (relay);
  g_clear_pointer (&relay->http, nat_http_server_free);
  g_clear_pointer (&relay->registry, nat_registry_free);
  g_clear_pointer (&relay->dataplane, nat_dataplane_free);
  close_ports (relay);
  nat_admission_free (relay->admission);
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

/* ---- What people need to know ------------------------------------------ */

/* The first that others can reach too, if there is one. */
static const NatAddress *
address_for_uri (NatRelay *relay)
{
  for (guint i = 0; i < relay->n_listen; i++) {
    if (!nat_address_is_loopback (&relay->local[i]))
      return &relay->local[i];
  }
  return &relay->local[0];
}

/* What can be pasted on this machine and, where possible, on others. */
static char *
host_for_uri (NatRelay *relay, const NatAddress *address)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  if (relay->config->n_public > 0 || nat_address_is_any (address))
    return nat_credentials_host (relay->config);
  nat_address_to_text (address, text);
  *strrchr (text, ':') = '\0';
  return g_strdup (text);
}

static char *
make_uri (NatRelay *relay, const char *token)
{
  const NatAddress *address = address_for_uri (relay);
  g_autofree char *host = host_for_uri (relay, address);
  GString *uri = g_string_new ("natrelay://");

  g_string_append (uri, host);
  if (address->port != NAT_DEFAULT_PORT)
    g_string_append_printf (uri, ":%u", address->port);
  g_string_append_printf (
      uri, "/test?tls-fingerprint=%s", nat_tls_identity_fingerprint (relay->identity));
  if (token != NULL)
    g_string_append_printf (uri, "&auth-token=%s", token);
  return g_string_free (uri, FALSE);
}

static void
print_launch_lines (NatRelay *relay, FILE *out, const char *publish, const char *subscribe)
{
  g_autofree char *to = make_uri (relay, publish);
  g_autofree char *from = make_uri (relay, subscribe);

  fprintf (out,
      "gst-launch-1.0 videotestsrc is-live=true ! videoconvert ! x264enc tune=zerolatency "
      "key-int-max=60 ! rtph264pay ! natrelaysink uri='%s'\n",
      to);
  fprintf (out, "gst-launch-1.0 natrelaysrc uri='%s' ! decodebin ! videoconvert ! autovideosink\n",
      from);
}

gboolean
nat_relay_print (NatRelay *relay, FILE *out, gboolean secrets, GError **error)
{
  g_autofree char *publish = NULL;
  g_autofree char *subscribe = NULL;

  for (guint i = 0; i < relay->n_listen; i++) {
    char text[NAT_ADDRESS_TEXT_MAX];

    fprintf (out, "listening=%s\n", nat_address_to_text (&relay->local[i], text));
  }
  fprintf (out, "tls-fingerprint=%s\n", nat_tls_identity_fingerprint (relay->identity));
  if (relay->config->open == NAT_OPEN_NO) {
    publish =
        nat_credentials_default_token (relay->dir, relay->token_key, NAT_ROLE_PUBLISHER, error);
    subscribe = publish ? nat_credentials_default_token (
                              relay->dir, relay->token_key, NAT_ROLE_SUBSCRIBER, error)
                        : NULL;
    if (subscribe == NULL)
      return FALSE;
    if (!secrets) {
      fprintf (out, "tokens are in %s: publish-token, subscribe-token\n", relay->dir);
      return TRUE;
    }
    fprintf (out, "publish-token=%s\nsubscribe-token=%s\n", publish, subscribe);
  }
  print_launch_lines (relay, out, publish, subscribe);
  return TRUE;
}
