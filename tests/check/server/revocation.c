/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What let a session in is withdrawn: while it lives, while the relay is down, while the client is out of sight. Each time
 * a client that goes on asking is told REVOKED. */

#include "natserver/control/registry.h"

#include <string.h>
#include <glib/gstdio.h>

#include "natproto/crypto.h"
#include "natserver/data/worker.h"
#include "probe.h"

#define SDP                                                                                        \
  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=video 9 RTP/AVPF 96\r\n"                     \
  "a=rtpmap:96 H264/90000\r\na=ssrc:1 cname:x\r\n"
#define PATIENCE 10000 /* looks of a millisecond */

typedef struct {
  NatDataplane *dp;
  NatSecrets *secrets;
  NatAdmission *admission;
  NatEndedFile *ended;
  NatAuth *auth;
  NatRegistry *registry;
  char *path;
  NatAddress peer;
  NatTime now;
} World;

/* A client is given up after a moment. */
static const NatDataTimes fast = {300 * 1000, 100 * 1000, 400 * 1000, 500 * 1000, 1};

static void
start (World *w, const NatDataTimes *times)
{
  NatDataplaneConfig data = {.n_listen = 1, .workers = 1, .socket_buffer = 65536};
  NatRegistryConfig config = {.secrets = w->secrets, .admission = w->admission, .auth = w->auth};

  g_assert_true (nat_address_from_text (&data.listen[0], "127.0.0.1:0", 0));
  data.secrets = w->secrets;
  w->dp = nat_dataplane_new (&data, NULL, NULL);
  g_assert_nonnull (w->dp);
  if (times != NULL)
    nat_dataplane_set_times (w->dp, times);
  w->ended = nat_ended_file_open (w->path, w->now.s, NULL);
  config.dataplane = w->dp;
  config.ended = w->ended;
  nat_crypto_random (config.boot_id, sizeof config.boot_id);
  w->registry = nat_registry_new (&config);
  g_assert_true (nat_registry_flush (w->registry));
  g_assert_true (nat_dataplane_start (w->dp, NULL));
}

static void
stop (World *w)
{
  nat_dataplane_stop (w->dp, NAT_REASON_GOING_AWAY);
  nat_registry_free (w->registry);
  nat_dataplane_free (w->dp);
  nat_ended_file_free (w->ended);
}

static NatSignKey *
key_of (char letter)
{
  g_autofree char *secret = g_strnfill (32, letter);

  return nat_sign_key_new_hmac (secret, 32, NULL);
}

/* Replaces the keys: there is one, which is made of that letter. */
static void
take_key (World *w, char letter)
{
  g_autoptr (NatSignKey) key = key_of (letter);
  NatTokenKeys *keys = nat_token_keys_new ();

  nat_token_keys_add (keys, NULL, key);
  nat_auth_take_keys (w->auth, keys);
}

static World *
world_new (const NatDataTimes *times)
{
  NatAdmissionLimits none = {0};
  World *w = g_new0 (World, 1);
  guint8 secret[32];

  nat_crypto_random (secret, sizeof secret);
  w->secrets = nat_secrets_new ();
  nat_secrets_add (w->secrets, 1, secret);
  w->admission = nat_admission_new (&none);
  w->auth = nat_auth_new (FALSE);
  w->path = g_strdup_printf ("%s/natrelay-test-%08x", g_get_tmp_dir (), g_random_int ());
  g_assert_true (nat_address_from_text (&w->peer, "192.0.2.1:1", 0));
  w->now.us = g_get_monotonic_time ();
  w->now.s = g_get_real_time () / G_USEC_PER_SEC;
  take_key (w, 'a');
  start (w, times);
  return w;
}

static void
world_free (World *w)
{
  stop (w);
  nat_admission_free (w->admission);
  nat_secrets_free (w->secrets);
  nat_auth_free (w->auth);
  g_unlink (w->path);
  g_free (w->path);
  g_free (w);
}

/* ---- Sessions ---------------------------------------------------------- */

static NatTicket
let_in (World *w, NatCaller *c, NatRole role)
{
  NatDescription d = {.sdp = role == NAT_ROLE_PUBLISHER ? g_strdup (SDP) : NULL};
  NatTracks tracks;
  NatAsk ask = {
      .stream = "cam", .caller = c, .peer = &w->peer, .description = &d, .tracks = &tracks};
  NatRegistered *session;

  c->token.expires_s = G_MAXINT64;
  g_strlcpy (c->subject, "somebody", sizeof c->subject);
  g_assert_true (nat_tracks_from_sdp (&tracks, SDP, NULL));
  if (role == NAT_ROLE_PUBLISHER)
    g_assert_cmpint (
        nat_registry_publish (w->registry, w->now, &ask, &session), ==, NAT_PROBLEM_NONE);
  else
    g_assert_cmpint (
        nat_registry_subscribe (w->registry, w->now, &ask, &session), ==, NAT_PROBLEM_NONE);
  return *nat_registered_ticket (session);
}

static NatTicket
let_in_by_key (World *w, char letter, NatRole role)
{
  g_autoptr (NatSignKey) key = key_of (letter);
  guint8 fingerprint[NAT_SHA256_SIZE];
  NatCaller c = {.open = FALSE};

  nat_sign_key_fingerprint (key, fingerprint);
  nat_voucher_make (&c.token.voucher, NAT_VOUCHER_KEY, fingerprint, sizeof fingerprint);
  return let_in (w, &c, role);
}

static NatProbe *
client (World *w, const NatTicket *ticket)
{
  NatProbe *p = nat_probe_new ("127.0.0.1", nat_dataplane_local (w->dp, 0));

  nat_probe_set_ticket (p, w->secrets, ticket);
  return p;
}

static void
wait_for_sessions (World *w, guint n)
{
  for (guint i = 0; nat_registry_n_sessions (w->registry) != n; i++) {
    g_assert_cmpuint (i, <, PATIENCE);
    g_usleep (1000);
    nat_registry_poll (w->registry, w->now);
  }
}

/* Bindings, until the relay says that it is over. */
static void
assert_over (World *w, NatProbe *p, NatReason reason)
{
  for (guint i = 0; i < PATIENCE && nat_probe_bind (p, NAT_PROBE_SELECT) == 0; i++)
    nat_registry_poll (w->registry, w->now);
  g_assert_cmpint (p->reason, ==, reason);
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 0);
}

/* ---- Tests ------------------------------------------------------------- */

static void
test_while_it_lives (void)
{
  World *w = world_new (NULL);
  NatTicket ticket = let_in_by_key (w, 'a', NAT_ROLE_PUBLISHER);
  g_autoptr (NatProbe) p = client (w, &ticket);

  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 0);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  take_key (w, 'b');
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 1);
  assert_over (w, p, NAT_REASON_REVOKED);
  world_free (w);
}

/* Its ticket says what let it in: a relay that forgot all else still knows. */
static void
test_after_it_came_back (void)
{
  World *w = world_new (NULL);
  NatTicket ticket = let_in_by_key (w, 'a', NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = NULL;

  stop (w);
  start (w, NULL);
  p = client (w, &ticket);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  wait_for_sessions (w, 1);
  take_key (w, 'b');
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 1);
  assert_over (w, p, NAT_REASON_REVOKED);
  world_free (w);
}

static void
test_while_the_relay_was_down (void)
{
  static const NatRole roles[] = {NAT_ROLE_PUBLISHER, NAT_ROLE_SUBSCRIBER};

  for (guint i = 0; i < G_N_ELEMENTS (roles); i++) {
    World *w = world_new (NULL);
    NatTicket ticket = let_in_by_key (w, 'a', roles[i]);
    g_autoptr (NatProbe) p = NULL;

    stop (w);
    take_key (w, 'b');
    start (w, NULL);
    p = client (w, &ticket);
    assert_over (w, p, NAT_REASON_REVOKED);
    /* It stays so over another start, even with the key back. */
    stop (w);
    take_key (w, 'a');
    start (w, NULL);
    nat_probe_free (p);
    p = client (w, &ticket);
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
    g_assert_cmpint (p->reason, ==, NAT_REASON_REVOKED);
    world_free (w);
  }
}

/* The relay had lost sight of the client when the key was withdrawn. */
static void
test_while_it_was_away (void)
{
  World *w = world_new (&fast);
  NatTicket ticket = let_in_by_key (w, 'a', NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = client (w, &ticket);

  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  wait_for_sessions (w, 0);
  take_key (w, 'b');
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 0);
  assert_over (w, p, NAT_REASON_REVOKED);
  world_free (w);
}

/* What was made shorter ends when it does, with its own reason. */
static void
test_made_shorter (void)
{
  World *w = world_new (NULL);
  char token[NAT_STATIC_TOKEN_LEN + 1];
  char *globs[] = {(char *)"cam", NULL};
  NatToken claims = {.subscribe = globs, .expires_s = w->now.s + 100, .not_before_s = G_MININT64};
  NatCaller c = {.open = FALSE};
  NatStaticTokens *list;
  g_autofree char *line = NULL;
  g_autoptr (NatProbe) p = NULL;
  NatTicket ticket;
  NatToken t;

  nat_static_token_make (token);
  line = nat_static_token_line (token, &claims, NULL);
  list = nat_static_tokens_parse (line, NULL);
  g_assert_true (nat_static_tokens_check (list, token, w->now.s, &t, NULL));
  c.token.voucher = t.voucher;
  nat_token_clear (&t);
  nat_auth_take_static (w->auth, list);
  ticket = let_in (w, &c, NAT_ROLE_SUBSCRIBER); /* when there was no end yet */
  p = client (w, &ticket);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  nat_registry_poll (w->registry, w->now);
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 0);
  w->now.s += 100 + NAT_TOKEN_LEEWAY_S - 1;
  nat_registry_tick (w->registry, w->now);
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 1);
  w->now.s++;
  nat_registry_tick (w->registry, w->now);
  assert_over (w, p, NAT_REASON_EXPIRED);
  world_free (w);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/revocation/while_it_lives", test_while_it_lives);
  g_test_add_func ("/revocation/after_it_came_back", test_after_it_came_back);
  g_test_add_func ("/revocation/while_the_relay_was_down", test_while_the_relay_was_down);
  g_test_add_func ("/revocation/while_it_was_away", test_while_it_was_away);
  g_test_add_func ("/revocation/made_shorter", test_made_shorter);
  return g_test_run ();
}
