/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Stream names and globs by table, against a slow twin, and against all names of a small world. */

#include "natproto/streamname.h"

#include <string.h>

#include "natproto/messages.h"

/* ---- Names and globs --------------------------------------------------- */

static const struct {
  const char *text;
  gboolean name, glob;
} names[] = {
    /*  0 */ {"door", TRUE, TRUE},
    /*  1 */ {"house/door", TRUE, TRUE},
    /*  2 */ {"a/b/c/d/e/f", TRUE, TRUE},
    /*  3 */ {"A-Z_a~z.0", TRUE, TRUE},
    /*  4 */ {"...", TRUE, TRUE},
    /*  5 */ {".hidden", TRUE, TRUE},
    /*  6 */ {"..x/y", TRUE, TRUE},
    /*  7 */ {"", FALSE, FALSE},
    /*  8 */ {"/", FALSE, FALSE},
    /*  9 */ {"/door", FALSE, FALSE},
    /* 10 */ {"door/", FALSE, FALSE},
    /* 11 */ {"house//door", FALSE, FALSE},
    /* 12 */ {".", FALSE, FALSE},
    /* 13 */ {"..", FALSE, FALSE},
    /* 14 */ {"house/../door", FALSE, FALSE},
    /* 15 */ {"house/.", FALSE, FALSE},
    /* 16 */ {"do or", FALSE, FALSE},
    /* 17 */ {"door%2f", FALSE, FALSE},
    /* 18 */ {"t\303\274r", FALSE, FALSE},
    /* 19 */ {"door\n", FALSE, FALSE},
    /* 20 */ {"door?x", FALSE, FALSE},
    /* 21 */ {"*", FALSE, TRUE},
    /* 22 */ {"**", FALSE, TRUE},
    /* 23 */ {"house/*", FALSE, TRUE},
    /* 24 */ {"house/**", FALSE, TRUE},
    /* 25 */ {"*/door", FALSE, TRUE},
    /* 26 */ {"*/*/**", FALSE, TRUE},
    /* 27 */ {"**/door", FALSE, FALSE},
    /* 28 */ {"house/***", FALSE, FALSE},
    /* 29 */ {"d*", FALSE, FALSE},
    /* 30 */ {"*d", FALSE, FALSE},
    /* 31 */ {"**d", FALSE, FALSE},
    /* 32 */ {"house/**/", FALSE, FALSE},
    /* 33 */ {"*/", FALSE, FALSE},
    /* 34 */ {"\\", FALSE, FALSE},
    /* 35 */ {"a:b", FALSE, FALSE},
};

static void
test_names (void)
{
  g_autofree char *longest = g_strnfill (128, 'x'), *too_long = g_strnfill (129, 'x');

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    if (nat_stream_name_valid (names[i].text) != names[i].name)
      g_error ("row %u: as a name \"%s\" is not as told", i, names[i].text);
    if (nat_stream_glob_valid (names[i].text) != names[i].glob)
      g_error ("row %u: as a glob \"%s\" is not as told", i, names[i].text);
  }
  g_assert_true (nat_stream_name_valid (longest));
  g_assert_false (nat_stream_name_valid (too_long));
  g_assert_true (nat_stream_glob_valid (longest));
  g_assert_false (nat_stream_glob_valid (too_long));
}

static const struct {
  const char *glob, *name;
  gboolean match;
} globs[] = {
    /*  0 */ {"door", "door", TRUE},
    /*  1 */ {"door", "doors", FALSE},
    /*  2 */ {"doors", "door", FALSE},
    /*  3 */ {"door", "house/door", FALSE},
    /*  4 */ {"door", "Door", FALSE},
    /*  5 */ {"*", "door", TRUE},
    /*  6 */ {"*", "house/door", FALSE},
    /*  7 */ {"**", "door", TRUE},
    /*  8 */ {"**", "house/door/left", TRUE},
    /*  9 */ {"house/*", "house/door", TRUE},
    /* 10 */ {"house/*", "house", FALSE},
    /* 11 */ {"house/*", "house/door/left", FALSE},
    /* 12 */ {"house/*", "mouse/door", FALSE},
    /* 13 */ {"house/**", "house/door/left", TRUE},
    /* 14 any number: none, too */ {"house/**", "house", TRUE},
    /* 15 */ {"house/**", "houses", FALSE},
    /* 16 */ {"house/**", "houses/door", FALSE},
    /* 17 */ {"*/door", "house/door", TRUE},
    /* 18 */ {"*/door", "door", FALSE},
    /* 19 */ {"*/*/**", "a/b", TRUE},
    /* 20 */ {"*/*/**", "a", FALSE},
    /* 21 a dot is a dot */ {"a.c", "abc", FALSE},
    /* 22 not a name */ {"**", "../x", FALSE},
    /* 23 not a name */ {"*", "*", FALSE},
    /* 24 not a name */ {"**", "", FALSE},
    /* 25 not a glob */ {"**/door", "house/door", FALSE},
    /* 26 not a glob */ {"d*", "door", FALSE},
    /* 27 */ {"a/b", "a", FALSE},
    /* 28 */ {"a", "a/b", FALSE},
};

static void
test_globs (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (globs); i++) {
    if (nat_stream_glob_match (globs[i].glob, globs[i].name) != globs[i].match)
      g_error ("row %u: \"%s\" and \"%s\" %s", i, globs[i].glob, globs[i].name,
          globs[i].match ? "do not match" : "match");
  }
}

/* The rule word for word, by recursion over split segments. */
static gboolean
twin_match (char **glob, char **name)
{
  if (*glob == NULL)
    return *name == NULL;
  if (strcmp (*glob, "**") == 0)
    return glob[1] == NULL;
  if (*name == NULL || (strcmp (*glob, "*") != 0 && strcmp (*glob, *name) != 0))
    return FALSE;
  return twin_match (glob + 1, name + 1);
}

static char *
random_path (GRand *rand, const char *const *segments, guint n)
{
  GString *s = g_string_new (NULL);

  for (guint i = g_rand_int_range (rand, 1, 5); i > 0; i--) {
    if (s->len > 0)
      g_string_append_c (s, '/');
    g_string_append (s, segments[g_rand_int_range (rand, 0, n)]);
  }
  return g_string_free (s, FALSE);
}

static void
test_globs_twin (void)
{
  static const char *const segments[] = {"a", "b", "ab", "*", "*", "**"};
  g_autoptr (GRand) rand = g_rand_new_with_seed (8);
  guint matches = 0;

  for (guint i = 0; i < 50000; i++) {
    g_autofree char *glob = random_path (rand, segments, 6),
                    *name = random_path (rand, segments, 3);
    g_auto (GStrv) glob_split = g_strsplit (glob, "/", -1), name_split = g_strsplit (name, "/", -1);
    gboolean valid = nat_stream_glob_valid (glob);
    gboolean want = valid && twin_match (glob_split, name_split);

    if (nat_stream_glob_match (glob, name) != want)
      g_error ("\"%s\" and \"%s\" should %smatch", glob, name, want ? "" : "not ");
    matches += want;
  }
  g_assert_cmpuint (matches, >, 1000);
}

/* ---- Globs and globs ---------------------------------------------------- */

/* All names of up to LONGEST segments. No glob below has as many, nor the segment "c", so what holds in this world
 * holds in all. */
#define LONGEST 4

static GPtrArray *
all_names (void)
{
  static const char *const segments[] = {"a", "b", "c"};
  GPtrArray *world = g_ptr_array_new_with_free_func (g_free);
  guint from = 0;

  for (guint i = 0; i < 3; i++)
    g_ptr_array_add (world, g_strdup (segments[i]));
  for (guint n = 1; n < LONGEST; n++) {
    guint to = world->len;

    for (guint k = from; k < to; k++)
      for (guint i = 0; i < 3; i++)
        g_ptr_array_add (world, g_strconcat (world->pdata[k], "/", segments[i], NULL));
    from = to;
  }
  return world;
}

static void
check_pair (GPtrArray *world, const char *a, const char *b)
{
  gboolean valid = nat_stream_glob_valid (a) && nat_stream_glob_valid (b), covered = valid,
           meet = FALSE;

  for (guint i = 0; i < world->len; i++) {
    gboolean in_a = nat_stream_glob_match (a, world->pdata[i]),
             in_b = nat_stream_glob_match (b, world->pdata[i]);

    covered &= in_a || !in_b;
    meet |= in_a && in_b;
  }
  if (nat_stream_glob_covers (a, b) != covered)
    g_error ("\"%s\" should %scover \"%s\"", a, covered ? "" : "not ", b);
  if (nat_stream_globs_meet (a, b) != meet)
    g_error ("\"%s\" and \"%s\" should %smeet", a, b, meet ? "" : "not ");
}

static void
test_pairs (void)
{
  static const char *const segments[] = {"a", "b", "*", "*", "**"};
  g_autoptr (GRand) rand = g_rand_new_with_seed (9);
  g_autoptr (GPtrArray) world = all_names ();

  for (guint i = 0; i < 2000; i++) {
    g_autofree char *a = random_path (rand, segments, 5), *b = random_path (rand, segments, 5);

    if (strlen (a) < 2 * LONGEST && strlen (b) < 2 * LONGEST)
      check_pair (world, a, b);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/streamname/names", test_names);
  g_test_add_func ("/streamname/globs", test_globs);
  g_test_add_func ("/streamname/globs-twin", test_globs_twin);
  g_test_add_func ("/streamname/pairs", test_pairs);
  return g_test_run ();
}
