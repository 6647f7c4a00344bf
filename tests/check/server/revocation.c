/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What let a session in is withdrawn: while it lives, while the relay is down, while the client is out of sight. Each time
 * a client that goes on asking is told REVOKED. */

#include "registryworld.h"

#define PATIENCE 10000 /* looks of a millisecond */

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

/* Let in by the key of 'a'. */
static World *
world_up (const NatDataTimes *times)
{
  World *w = world_new (NULL);

  w->auth = nat_auth_new (FALSE);
  take_key (w, 'a');
  world_start (w, times);
  return w;
}

/* ---- Sessions ---------------------------------------------------------- */

static NatTicket
let_in (World *w, NatCaller *c, NatRole role)
{
  NatRegistered *session;

  c->token.expires_s = G_MAXINT64;
  g_strlcpy (c->subject, "somebody", sizeof c->subject);
  if (role == NAT_ROLE_PUBLISHER)
    g_assert_cmpint (
        world_publish (w, "cam", c, WORLD_SDP ("1"), FALSE, &session), ==, NAT_PROBLEM_NONE);
  else
    session = world_subscribe (w, "cam", c, NULL);
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
  g_autoptr (World) w = world_up (NULL);
  NatTicket ticket = let_in_by_key (w, 'a', NAT_ROLE_PUBLISHER);
  g_autoptr (NatProbe) p = world_probe (w, &ticket);

  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 0);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  take_key (w, 'b');
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 1);
  assert_over (w, p, NAT_REASON_REVOKED);
}

/* Its ticket says what let it in: a relay that forgot all else still knows. */
static void
test_after_it_came_back (void)
{
  g_autoptr (World) w = world_up (NULL);
  NatTicket ticket = let_in_by_key (w, 'a', NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = NULL;

  world_stop (w);
  world_start (w, NULL);
  p = world_probe (w, &ticket);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  wait_for_sessions (w, 1);
  take_key (w, 'b');
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 1);
  assert_over (w, p, NAT_REASON_REVOKED);
}

static void
test_while_the_relay_was_down (void)
{
  static const NatRole roles[] = {NAT_ROLE_PUBLISHER, NAT_ROLE_SUBSCRIBER};

  for (guint i = 0; i < G_N_ELEMENTS (roles); i++) {
    g_autoptr (World) w = world_up (NULL);
    NatTicket ticket = let_in_by_key (w, 'a', roles[i]);
    g_autoptr (NatProbe) p = NULL;

    world_stop (w);
    take_key (w, 'b');
    world_start (w, NULL);
    p = world_probe (w, &ticket);
    assert_over (w, p, NAT_REASON_REVOKED);
    /* It stays so over another start, even with the key back. */
    world_stop (w);
    take_key (w, 'a');
    world_start (w, NULL);
    nat_probe_free (p);
    p = world_probe (w, &ticket);
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
    g_assert_cmpint (p->reason, ==, NAT_REASON_REVOKED);
  }
}

/* The relay had lost sight of the client when the key was withdrawn. */
static void
test_while_it_was_away (void)
{
  g_autoptr (World) w = world_up (&world_fast);
  NatTicket ticket = let_in_by_key (w, 'a', NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = world_probe (w, &ticket);

  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  wait_for_sessions (w, 0);
  take_key (w, 'b');
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 0);
  assert_over (w, p, NAT_REASON_REVOKED);
}

/* What was made shorter ends when it does, with its own reason. */
static void
test_made_shorter (void)
{
  g_autoptr (World) w = world_up (NULL);
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
  p = world_probe (w, &ticket);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  nat_registry_poll (w->registry, w->now);
  g_assert_cmpuint (nat_registry_revoke (w->registry, w->now), ==, 0);
  w->now.s += 100 + NAT_TOKEN_LEEWAY_S - 1;
  nat_registry_tick (w->registry, w->now);
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 1);
  w->now.s++;
  nat_registry_tick (w->registry, w->now);
  assert_over (w, p, NAT_REASON_EXPIRED);
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
