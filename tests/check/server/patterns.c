/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How many patterns there may be, and how many that match one stream. The data plane does not run: nobody registers. */

#include "natserver/control/registry.h"

#include "natproto/crypto.h"

typedef struct {
  NatDataplane *dp;
  NatSecrets *secrets;
  NatAdmission *admission;
  NatRegistry *registry;
  NatAddress peer;
  NatTime now;
} World;

static World *
world_new (const NatAdmissionLimits *limits)
{
  NatDataplaneConfig dp = {.n_listen = 1, .workers = 1, .socket_buffer = 65536};
  NatRegistryConfig config = {0};
  World *w = g_new0 (World, 1);
  guint8 secret[32];

  nat_crypto_random (secret, sizeof secret);
  dp.secrets = config.secrets = w->secrets = nat_secrets_new ();
  nat_secrets_add (w->secrets, 1, secret);
  config.admission = w->admission = nat_admission_new (limits);
  g_assert_true (nat_address_from_text (&dp.listen[0], "127.0.0.1:0", 0));
  config.dataplane = w->dp = nat_dataplane_new (&dp, NULL, NULL);
  g_assert_nonnull (w->dp);
  w->registry = nat_registry_new (&config);
  g_assert_true (nat_address_from_text (&w->peer, "192.0.2.1:1", 0));
  w->now.us = g_get_monotonic_time ();
  w->now.s = g_get_real_time () / G_USEC_PER_SEC;
  return w;
}

static void
world_free (World *w)
{
  nat_registry_free (w->registry);
  nat_dataplane_free (w->dp);
  nat_admission_free (w->admission);
  nat_secrets_free (w->secrets);
  g_free (w);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (World, world_free)

/* The name of the limit that it was refused for; NULL: it was not. */
static const char *
ask_pattern (World *w, const char *pattern)
{
  NatCaller c = {.token = {.expires_s = G_MAXINT64}, .subject = "ann"};
  const char *limit = NULL;
  NatAsk ask = {.stream = pattern, .caller = &c, .peer = &w->peer, .limit = &limit};
  NatRegistered *session;

  nat_registry_subscribe (w->registry, w->now, &ask, &session);
  return limit;
}

/* No stream is matched by more patterns than that, in whatever order they come; and a pattern that meets many which have
 * nothing to do with each other is none too many. */
static void
test_patterns_are_bounded (void)
{
  NatAdmissionLimits limits = {
      .patterns = 20, .patterns_per_stream = 4, .subscribers_per_stream = 2};
  g_autoptr (World) w = world_new (&limits);

  for (guint i = 0; i < 10; i++) {
    g_autofree char *room = g_strdup_printf ("room%u/*", i);

    g_assert_null (ask_pattern (w, room));
  }
  g_assert_null (ask_pattern (w, "**"));
  g_assert_null (ask_pattern (w, "*/bob"));
  g_assert_null (ask_pattern (w, "*/*"));
  /* room1/bob has four now. */
  g_assert_cmpstr (ask_pattern (w, "room1/bob/**"), ==, "max-patterns-per-stream");
  g_assert_cmpstr (ask_pattern (w, "room1/**"), ==, "max-patterns-per-stream");
  g_assert_null (ask_pattern (w, "a/b/**"));
  g_assert_null (ask_pattern (w, "a/b/c/*"));
  g_assert_null (ask_pattern (w, "a/*/c/d"));
  g_assert_cmpstr (ask_pattern (w, "a/b/*/d"), ==, "max-patterns-per-stream");
  /* One that is there is no other, but has subscribers. */
  g_assert_null (ask_pattern (w, "**"));
  g_assert_cmpstr (ask_pattern (w, "**"), ==, "max-subscribers-per-stream");
  for (guint i = 16; i < 20; i++) {
    g_autofree char *room = g_strdup_printf ("room%u/x/*", i);

    g_assert_null (ask_pattern (w, room));
  }
  g_assert_cmpstr (ask_pattern (w, "room30/*"), ==, "max-patterns");
  /* Their sessions gone, all have room again. */
  w->now.us += 31 * G_USEC_PER_SEC;
  nat_registry_tick (w->registry, w->now);
  g_assert_null (ask_pattern (w, "room1/bob/**"));
  g_assert_null (ask_pattern (w, "room1/**"));
  g_assert_null (ask_pattern (w, "room30/*"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/patterns/are-bounded", test_patterns_are_bounded);
  return g_test_run ();
}
