/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What let a session in is withdrawn: while it lives, while the relay is down, while the client is out of sight. Each time
 * a client that goes on asking is told REVOKED. */

#include "registryworld.h"

#include "natserver/data/command.h"

#define PATIENCE 10000 /* looks of a millisecond */

/* The linker puts these in the place of the data plane's. */
gboolean __real_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes);
gboolean __wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes);
gboolean __real_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s);
gboolean __wrap_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s);

static gboolean alone; /* nobody empties the data plane's ring: nothing goes in */

gboolean
__wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes)
{
  return alone || __real_nat_dataplane_add_session (dp, ticket, counters, wishes);
}

gboolean
__wrap_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s)
{
  return alone || __real_nat_dataplane_end_session (dp, id, reason, until_s);
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

/* Let in by the key of 'a'. */
static World *
world_up (const NatDataTimes *times)
{
  World *w = world_new (NULL);

  w->auth = nat_auth_new (FALSE);
  take_key (w, 'a');
  world_start (w, times);
  alone = FALSE;
  return w;
}

/* The same without a data plane's threads, which takes whatever it is told. */
static World *
world_up_alone (void)
{
  World *w = world_new (NULL);

  w->auth = nat_auth_new (FALSE);
  take_key (w, 'a');
  world_start_registry (w, NULL);
  alone = TRUE;
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

static NatCaller
caller_by_key (char letter)
{
  g_autoptr (NatSignKey) key = key_of (letter);
  guint8 fingerprint[NAT_SHA256_SIZE];
  NatCaller c = {.open = FALSE, .token.expires_s = G_MAXINT64};

  nat_sign_key_fingerprint (key, fingerprint);
  nat_voucher_make (&c.token.voucher, NAT_VOUCHER_KEY, fingerprint, sizeof fingerprint);
  return c;
}

static NatTicket
let_in_by_key (World *w, char letter, NatRole role)
{
  NatCaller c = caller_by_key (letter);

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

/* How many of a few sessions end when what vouches for them is another. */
static guint
withdraw (World *w)
{
  guint before = nat_registry_n_sessions (w->registry);

  g_assert_false (nat_registry_revoke (w->registry, w->now));
  return before - nat_registry_n_sessions (w->registry);
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
  g_assert_cmpuint (withdraw (w), ==, 0);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  take_key (w, 'b');
  g_assert_cmpuint (withdraw (w), ==, 1);
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
  g_assert_cmpuint (withdraw (w), ==, 1);
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
  g_assert_cmpuint (withdraw (w), ==, 0);
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
  g_assert_cmpuint (withdraw (w), ==, 0);
  w->now.s += 100 + NAT_TOKEN_LEEWAY_S - 1;
  nat_registry_tick (w->registry, w->now);
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 1);
  w->now.s++;
  nat_registry_tick (w->registry, w->now);
  assert_over (w, p, NAT_REASON_EXPIRED);
}

/* ---- Thousands ---------------------------------------------------------- */

/* ids: gets theirs; may be NULL. */
static void
let_in_many (World *w, char letter, guint n, guint8 (*ids)[NAT_SESSION_ID_SIZE])
{
  for (guint i = 0; i < n; i++) {
    NatTicket ticket = let_in_by_key (w, letter, NAT_ROLE_SUBSCRIBER);

    if (ids != NULL)
      memcpy (ids[i], ticket.session_id, NAT_SESSION_ID_SIZE);
  }
}

/* Turns until none waits, of which none ends more than it may. */
static void
revoke_all (World *w)
{
  gboolean more;

  do {
    guint before = nat_registry_n_sessions (w->registry);

    more = nat_registry_go_on (w->registry, w->now);
    g_assert_cmpuint (
        before - nat_registry_n_sessions (w->registry), <=, NAT_REGISTRY_ENDS_AT_ONCE);
  } while (more);
}

/* While thousands end, others come and go, who is next among them, and another key is withdrawn. */
static void
test_thousands (void)
{
  const guint n = NAT_REGISTRY_ENDS_AT_ONCE;
  g_autofree guint8 (*ids)[NAT_SESSION_ID_SIZE] = g_malloc (2 * n * sizeof *ids);
  g_autoptr (World) w = world_up_alone ();

  let_in_many (w, 'a', 2 * n, ids);
  let_in_many (w, 'c', n, NULL);
  take_key (w, 'c');
  g_assert_true (nat_registry_revoke (w->registry, w->now));
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 2 * n);
  g_assert_null (nat_registry_find (w->registry, ids[n - 1]));
  for (guint i = n; i < n + 10; i++)
    nat_registry_end (
        w->registry, w->now, nat_registry_find (w->registry, ids[i]), NAT_REASON_ENDED, FALSE);
  let_in_many (w, 'c', 1, NULL);
  take_key (w, 'd');
  let_in_many (w, 'd', 5, NULL);
  g_assert_true (nat_registry_revoke (w->registry, w->now));
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, n - 10 + 6);
  revoke_all (w);
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 5);
}

/* Who is at the end of a long row is looked at in the next turn, or when a key is withdrawn in each. */
static void
test_long_row (void)
{
  g_autoptr (World) w = world_up_alone ();

  let_in_many (w, 'b', NAT_REGISTRY_LOOKS_AT_ONCE, NULL);
  let_in_many (w, 'a', 1, NULL);
  take_key (w, 'b');
  for (guint i = 0; i < 2; i++) {
    g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, NAT_REGISTRY_LOOKS_AT_ONCE + 1);
    g_assert_true (nat_registry_revoke (w->registry, w->now));
  }
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, NAT_REGISTRY_LOOKS_AT_ONCE);
  revoke_all (w);
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, NAT_REGISTRY_LOOKS_AT_ONCE);
}

static guint reports;

/* No writer of structured messages: with g_test_init, newer GLibs bring them to the handler alone. */
static void
count_reports (const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer user)
{
  if (strcmp (message, "1 sessions ended: what let them in was withdrawn") == 0)
    reports++;
  g_log_default_handler (domain, level, message, NULL);
}

/* So many that a second is too short for a look at all: the next tick does not begin anew, and the operator is told. */
static void
test_longer_than_a_second (void)
{
  g_autoptr (World) w = world_up_alone ();

  let_in_many (w, 'a', 1, NULL);
  let_in_many (w, 'b', 2 * NAT_REGISTRY_LOOKS_AT_ONCE, NULL);
  take_key (w, 'b');
  g_log_set_default_handler (count_reports, NULL);
  g_assert_true (nat_registry_revoke (w->registry, w->now));
  g_assert_true (nat_registry_tick (w->registry, w->now));
  g_assert_cmpuint (reports, ==, 0);
  g_assert_false (nat_registry_tick (w->registry, w->now));
  g_assert_cmpuint (reports, ==, 1);
}

/* What ran out ends in the same turns. */
static void
test_thousands_ran_out (void)
{
  const guint n = 3 * NAT_REGISTRY_ENDS_AT_ONCE;
  g_autoptr (World) w = world_up_alone ();

  let_in_many (w, 'a', n, NULL);
  w->now.us += NAT_REGISTER_WITHIN_US;
  g_assert_true (nat_registry_tick (w->registry, w->now));
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, n - NAT_REGISTRY_ENDS_AT_ONCE);
  revoke_all (w);
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 0);
}

/* ---- A worker that is held up ------------------------------------------ */

/* The linker puts this in the place of the worker's. */
void __real_nat_command_apply (NatWorker *w, const NatCommand *command);
void __wrap_nat_command_apply (NatWorker *w, const NatCommand *command);

static struct {
  GMutex lock;
  GCond changed;
  gboolean held;
  guint applied[NAT_COMMAND_VERIFY + 1];
} worker;

void
__wrap_nat_command_apply (NatWorker *w, const NatCommand *command)
{
  g_mutex_lock (&worker.lock);
  while (worker.held)
    g_cond_wait (&worker.changed, &worker.lock);
  worker.applied[command->type]++;
  g_cond_broadcast (&worker.changed);
  g_mutex_unlock (&worker.lock);
  __real_nat_command_apply (w, command);
}

static void
hold_worker (gboolean held)
{
  g_mutex_lock (&worker.lock);
  worker.held = held;
  g_cond_broadcast (&worker.changed);
  g_mutex_unlock (&worker.lock);
}

static void
wait_until_applied (NatCommandType type, guint n)
{
  g_mutex_lock (&worker.lock);
  while (worker.applied[type] < n)
    g_cond_wait (&worker.changed, &worker.lock);
  g_assert_cmpuint (worker.applied[type], ==, n);
  g_mutex_unlock (&worker.lock);
}

/* Each of a stream of its own. */
static void
publish_many (World *w, guint n, NatCaller *c)
{
  memset (worker.applied, 0, sizeof worker.applied);
  for (guint i = 0; i < n; i++) {
    g_autofree char *name = g_strdup_printf ("cam%u", i);
    g_autofree char *sdp = g_strdup_printf (WORLD_SDP ("%u"), i + 1);
    NatRegistered *session;

    g_assert_cmpint (world_publish (w, name, c, sdp, FALSE, &session), ==, NAT_PROBLEM_NONE);
    wait_until_applied (NAT_COMMAND_DESCRIBE, i + 1);
  }
}

/* More than its ring takes, and their streams' new states: who comes then is let in, and has not to come again. */
static void
test_newcomers_have_room (void)
{
  const guint n = 3 * NAT_REGISTRY_ENDS_AT_ONCE;
  g_autoptr (World) w = world_up (NULL);
  NatCaller c = caller_by_key ('a');

  publish_many (w, n, &c);
  hold_worker (TRUE);
  take_key (w, 'b');
  while (nat_registry_n_sessions (w->registry) > 0)
    g_assert_true (nat_registry_revoke (w->registry, w->now));
  for (guint i = 0; i < 200; i++)
    let_in_by_key (w, 'b', NAT_ROLE_SUBSCRIBER);
  hold_worker (FALSE);
  for (guint i = 0; nat_registry_go_on (w->registry, w->now); i++) {
    g_assert_cmpuint (i, <, PATIENCE);
    g_usleep (1000);
  }
  wait_until_applied (NAT_COMMAND_END, n);
  wait_until_applied (NAT_COMMAND_ADD, n + 200);
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
  g_test_add_func ("/revocation/thousands", test_thousands);
  g_test_add_func ("/revocation/thousands_ran_out", test_thousands_ran_out);
  g_test_add_func ("/revocation/long_row", test_long_row);
  g_test_add_func ("/revocation/longer_than_a_second", test_longer_than_a_second);
  g_test_add_func ("/revocation/newcomers_have_room", test_newcomers_have_room);
  return g_test_run ();
}
