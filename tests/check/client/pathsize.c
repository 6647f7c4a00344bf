/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/pathsize.h"

#define MS(n) ((gint64)(n)*1000)

/* A path that takes datagrams of up to `takes` bytes, or none; keepalives are answered if alive. Runs it until
 * nothing is tried any more, or for so long. Returns how many were sent. */
static guint
run (NatPathSize *p, guint takes, gboolean alive, gint64 *now_us, gint64 for_us)
{
  gint64 end = *now_us + for_us, seen_us = *now_us;
  guint sent = 0;

  while (p->due_us <= end) {
    guint bytes;

    *now_us = MAX (*now_us, p->due_us);
    bytes = nat_path_size_due (p, seen_us, *now_us);
    sent += bytes > 0;
    if (bytes <= takes && bytes > 0) {
      seen_us = *now_us;
      nat_path_size_answered (p, bytes, *now_us + MS (20));
    }
    if (alive && *now_us - seen_us >= MS (4000))
      seen_us = *now_us;
    g_assert_cmpuint (sent, <, 100);
  }
  return sent;
}

static void
test_fits (void)
{
  gint64 now = MS (1000);
  NatPathSize p;

  nat_path_size_reset (&p);
  g_assert_cmpint (p.due_us, ==, G_MAXINT64);
  nat_path_size_sent (&p, 1200, now);
  g_assert_cmpuint (run (&p, 1472, TRUE, &now, MS (60000)), ==, 1);
  g_assert_cmpuint (p.limit, ==, 0);
  /* What is no larger is not tried again; what is larger is. */
  nat_path_size_sent (&p, 1100, now);
  nat_path_size_sent (&p, 1200, now);
  g_assert_cmpuint (run (&p, 1472, TRUE, &now, MS (60000)), ==, 0);
  nat_path_size_sent (&p, 1440, now);
  g_assert_cmpuint (run (&p, 1472, TRUE, &now, MS (60000)), ==, 1);
  g_assert_cmpuint (p.passes, ==, 1440);
  g_assert_cmpuint (p.limit, ==, 0);
}

/* Nobody tells, they just vanish. */
static void
test_black_hole (void)
{
  static const struct {
    guint takes, sent, found;
  } cases[] = {{1432, 1440, 1432}, {1393, 1440, 1392}, {1252, 1440, 1232}, {1200, 1300, 1200},
      {1199, 1200, 1152}, {1151, 1200, 1032}, {548, 1200, 528}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    gint64 now = MS (1000), start = now;
    NatPathSize p;

    g_test_message ("a path for %u, packets of %u", cases[i].takes, cases[i].sent);
    nat_path_size_reset (&p);
    nat_path_size_sent (&p, cases[i].sent, now);
    run (&p, cases[i].takes, TRUE, &now, MS (60000));
    g_assert_cmpuint (p.limit, ==, cases[i].found);
    g_assert_cmpint (now - start, <, MS (20000));
    /* Packets that still come in the old size begin nothing anew. */
    nat_path_size_sent (&p, cases[i].sent + 8, now);
    g_assert_cmpuint (run (&p, cases[i].takes, TRUE, &now, MS (60000)), ==, 0);
  }
}

/* Two of three are lost by chance. */
static void
test_loss (void)
{
  gint64 now = MS (1000);
  NatPathSize p;

  nat_path_size_reset (&p);
  nat_path_size_sent (&p, 1400, now);
  for (guint i = 0; i < 3; i++) {
    g_assert_cmpuint (nat_path_size_due (&p, now, now), ==, 1400);
    now = MAX (now, p.due_us);
  }
  nat_path_size_answered (&p, 1400, now - 1);
  g_assert_cmpuint (p.limit, ==, 0);
  g_assert_cmpint (p.due_us, ==, G_MAXINT64);
}

/* Where nothing is answered, nothing is learned of sizes; once it is alive again it goes on. */
static void
test_silence (void)
{
  gint64 now = MS (1000);
  NatPathSize p;

  nat_path_size_reset (&p);
  nat_path_size_sent (&p, 1400, now);
  run (&p, 0, FALSE, &now, MS (30000));
  g_assert_cmpuint (p.fails, ==, 0);
  g_assert_cmpuint (p.limit, ==, 0);
  run (&p, 1252, TRUE, &now, MS (20000));
  g_assert_cmpuint (p.limit, ==, 1232);
}

static void
test_told (void)
{
  gint64 now = MS (1000);
  NatPathSize p;

  nat_path_size_reset (&p);
  nat_path_size_told (&p, 1472); /* more than anybody sends */
  nat_path_size_sent (&p, 1440, now);
  nat_path_size_told (&p, 1472);
  g_assert_cmpuint (p.limit, ==, 0);
  nat_path_size_told (&p, 1372);
  g_assert_cmpuint (p.limit, ==, 1372);
  g_assert_cmpuint (run (&p, 1372, TRUE, &now, MS (60000)), ==, 0);
  /* Further on it may be narrower still, never wider. */
  nat_path_size_told (&p, 1400);
  g_assert_cmpuint (p.limit, ==, 1372);
  nat_path_size_told (&p, 1252);
  g_assert_cmpuint (p.limit, ==, 1252);
  nat_path_size_reset (&p);
  g_assert_cmpuint (p.limit, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pathsize/fits", test_fits);
  g_test_add_func ("/pathsize/black-hole", test_black_hole);
  g_test_add_func ("/pathsize/loss", test_loss);
  g_test_add_func ("/pathsize/silence", test_silence);
  g_test_add_func ("/pathsize/told", test_told);
  return g_test_run ();
}
