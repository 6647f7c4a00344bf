/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How many patterns there may be, and how many that match one stream. The data plane does not run: nobody registers. */

#include "registryworld.h"

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

  world_start_registry (w, NULL);
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
  world_pass (w, 31);
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
