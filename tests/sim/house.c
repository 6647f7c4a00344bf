/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "house.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "natproto/crypto.h"
#include "natserver/data/exchange.h"
#include "natserver/data/responder.h"

#define TICK_US     MS (50) /* the worker's own */
#define REGISTRY_US MS (1000)
#define CACHE       (1u << 20)

static House *starting; /* whose workers are made */

/* ---- Instead of threads ------------------------------------------------ */

gboolean __wrap_nat_worker_start (NatWorker *w, GError **error);
gboolean
__wrap_nat_worker_start (NatWorker *w, GError **error)
{
  w->now_us = w->started_us = g_get_monotonic_time ();
  w->running = TRUE;
  starting->workers[w->index] = w;
  return TRUE;
}

void __wrap_nat_worker_join (NatWorker *w);
void
__wrap_nat_worker_join (NatWorker *w)
{
  nat_worker_drain_commands (w);
  if (w->exchange)
    nat_exchange_adopt (w);
  w->running = FALSE;
}

static NatTime
time_now (void)
{
  NatTime now = {g_get_monotonic_time (), g_get_real_time () / G_USEC_PER_SEC};

  return now;
}

/* ---- The host ---------------------------------------------------------- */

static gint64
deadline (Host *host)
{
  House *h = (House *)host;
  gint64 at = h->tick_us;

  if (!h->up)
    return G_MAXINT64;
  for (guint i = 0; i < h->n_workers; i++) {
    const NatWorker *w = h->workers[i];

    at = MIN (at, MIN (w->tick_us + TICK_US, MIN (w->repair_us, w->headstart_us)));
  }
  return at + host->slept_us;
}

/* What lies in sockets, what one worker left for another, and control for a worker. */
static gboolean
has_work (const House *h)
{
  NatMesh *mesh = h->workers[0]->mesh;

  for (guint i = 0; i < h->n_workers; i++) {
    if (nat_ring_waiting (h->workers[i]->commands))
      return TRUE;
    for (guint k = 0; k < h->n_workers; k++) {
      if (i != k && nat_mailbox_waiting (nat_mesh_mailbox (mesh, i, k)) > 0)
        return TRUE;
    }
  }
  return net_relay_waiting () > 0;
}

static void
run (Host *host)
{
  House *h = (House *)host;

  if (!h->up)
    return;
  world_enter (host);
  do {
    for (guint i = 0; i < h->n_workers; i++)
      nat_worker_spin (h->workers[i]);
  } while (has_work (h));
  nat_registry_poll (h->registry, time_now ());
  if (g_get_monotonic_time () >= h->tick_us) {
    gboolean more = nat_registry_tick (h->registry, time_now ());

    h->tick_us = g_get_monotonic_time () + (more ? NAT_REGISTRY_SOON_MS * 1000 : REGISTRY_US);
  }
  world_leave ();
  host->ready = has_work (h);
}

/* ---- State ------------------------------------------------------------- */

static void
make_state (House *h)
{
  h->dir = g_dir_make_tmp ("natrelay-sim-XXXXXX", NULL);
  g_assert_nonnull (h->dir);
  nat_crypto_random (h->secret, sizeof h->secret);
}

static char *
ended_path (const House *h)
{
  return g_build_filename (h->dir, "ended", NULL);
}

static void
remove_state (House *h)
{
  g_autofree char *ended = ended_path (h);

  g_remove (ended);
  g_rmdir (h->dir);
  g_clear_pointer (&h->dir, g_free);
}

void
house_lose_state (House *h)
{
  g_assert_false (h->up);
  remove_state (h);
  make_state (h);
}

void
house_init (House *h, guint n_workers, guint n_listen, gboolean open)
{
  static const char token_secret[] = "a secret of thirty-two characters";
  static const char *const ports[] = {"192.0.2.1:8443", "192.0.2.1:443"};

  memset (h, 0, sizeof *h);
  h->host.name = "relay";
  h->host.deadline = deadline;
  h->host.run = run;
  world_add (&h->host);
  net_set_relay (&h->host);
  h->n_workers = n_workers;
  h->n_listen = n_listen;
  h->open = open;
  for (guint i = 0; i < n_listen; i++)
    g_assert_true (nat_address_from_text (&h->listen[i], ports[i], 0));
  h->token_key = nat_sign_key_new_hmac (token_secret, sizeof token_secret - 1, NULL);
  make_state (h);
}

void
house_clear (House *h)
{
  house_stop (h, FALSE);
  remove_state (h);
  nat_sign_key_unref (h->token_key);
  world_remove (&h->host);
}

/* ---- Start and stop ---------------------------------------------------- */

static void
make_auth (House *h)
{
  NatTokenKeys *keys = nat_token_keys_new ();

  nat_token_keys_add (keys, NULL, h->token_key);
  h->auth = nat_auth_new (h->open);
  nat_auth_take_keys (h->auth, keys);
}

static void
make_control (House *h)
{
  static const NatAdmissionLimits limits = {.requests_per_second = 5,
      .requests_burst = 20,
      .sessions = 1000,
      .sessions_per_subject = 100,
      .sessions_per_address = 100};
  NatRegistryConfig config = {.dataplane = h->dataplane, .secrets = h->secrets};
  g_autofree char *ended = ended_path (h);

  h->admission = nat_admission_new (&limits);
  h->ended = nat_ended_file_open (ended, time_now ().s, NULL);
  config.admission = h->admission;
  config.ended = h->ended;
  memcpy (config.boot_id, h->boot_id, sizeof config.boot_id);
  make_auth (h);
  config.auth = h->auth;
  h->registry = nat_registry_new (&config);
  h->api = (NatApi){.registry = h->registry,
      .access = {.auth = h->auth},
      .admission = h->admission,
      .listen = h->listen,
      .n_listen = h->n_listen};
}

void
house_start (House *h)
{
  NatDataplaneConfig config = {.n_listen = h->n_listen,
      .workers = h->n_workers,
      .cache_bytes = CACHE,
      .socket_buffer = 65536};

  world_enter (&h->host);
  nat_crypto_random (h->boot_id, sizeof h->boot_id);
  h->secrets = nat_secrets_new ();
  nat_secrets_add (h->secrets, 1, h->secret);
  memcpy (config.listen, h->listen, sizeof h->listen);
  memcpy (config.boot_id, h->boot_id, sizeof config.boot_id);
  config.secrets = h->secrets;
  starting = h;
  h->dataplane = nat_dataplane_new (&config, NULL, NULL);
  g_assert_nonnull (h->dataplane);
  make_control (h);
  nat_registry_flush (h->registry);
  g_assert_true (nat_dataplane_start (h->dataplane, NULL));
  h->tick_us = g_get_monotonic_time () + REGISTRY_US;
  h->up = TRUE;
  h->boots++;
  world_leave ();
}

static void
say_goodbye (House *h)
{
  for (guint i = 0; i < h->n_workers; i++) {
    NatRoster *r = h->workers[i]->roster;

    for (guint k = 0; k < r->live->len; k++)
      nat_responder_indicate_session (h->workers[i], r->live->pdata[k], NAT_REASON_GOING_AWAY);
  }
}

void
house_stop (House *h, gboolean polite)
{
  if (!h->up)
    return;
  world_enter (&h->host);
  if (polite)
    say_goodbye (h);
  h->up = FALSE;
  g_clear_pointer (&h->registry, nat_registry_free);
  g_clear_pointer (&h->dataplane, nat_dataplane_free);
  nat_admission_free (h->admission);
  nat_auth_free (h->auth);
  nat_ended_file_free (h->ended);
  nat_secrets_free (h->secrets);
  world_leave ();
  net_relay_gone ();
}

/* ---- Requests ---------------------------------------------------------- */

char *
house_token (House *h, const char *subject, gint64 lifetime_s)
{
  static char *all[] = {(char *)"**", NULL};
  NatToken t = {.subject = (char *)subject,
      .expires_s = G_MAXINT64,
      .not_before_s = G_MININT64,
      .publish = all,
      .subscribe = all,
      .takeover = TRUE};

  if (lifetime_s != 0)
    t.expires_s = g_get_real_time () / G_USEC_PER_SEC + lifetime_s;
  return nat_token_sign (&t, NULL, h->token_key, NULL);
}

static guint
retry_after (const NatHttpResponse *response)
{
  const char *field = strstr (response->fields->str, "Retry-After: ");

  return field == NULL ? 0 : (guint)atoi (field + strlen ("Retry-After: "));
}

char *
house_request (House *h, const NatAddress *peer, const char *head, const char *body, guint *status,
    guint *retry_after_s)
{
  NatHttpRequest request;
  NatHttpResponse response;
  const char *why = NULL;
  char *text;

  world_enter (&h->host);
  memset (&request, 0, sizeof request);
  nat_http_response_init (&response);
  if (nat_http_parse_head (&request, (const guint8 *)head, strlen (head), &why) != 0)
    world_fail ("the relay does not read \"%s\": %s", head, why);
  request.peer = *peer;
  request.local = h->listen[0];
  request.body = body;
  nat_api_handle (&request, &response, &h->api);
  *status = response.status;
  *retry_after_s = retry_after (&response);
  text = g_strdup (response.body->str);
  nat_http_request_clear (&request);
  nat_http_response_clear (&response);
  world_leave ();
  return text;
}

void
house_end (House *h, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason)
{
  NatRegistered *session;

  world_enter (&h->host);
  nat_registry_poll (h->registry, time_now ());
  session = nat_registry_find (h->registry, id);
  if (session != NULL)
    nat_registry_end (h->registry, time_now (), session, reason, FALSE);
  world_leave ();
}
