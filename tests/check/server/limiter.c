/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/limiter.h"

#include "natserver/data/strangers.h"

static void
test_rate (void)
{
  NatLimiter l;
  guint taken = 0;

  nat_limiter_init (&l, 1000, 50, 0);
  for (guint i = 0; i < 100; i++)
    taken += nat_limiter_take (&l, 0, 1);
  g_assert_cmpuint (taken, ==, 50);
  /* A thousand a second, asked for every 100 us for ten seconds: nothing is lost to rounding. */
  taken = 0;
  for (gint64 now = 100; now <= 10 * G_USEC_PER_SEC; now += 100)
    taken += nat_limiter_take (&l, now, 1);
  g_assert_cmpuint (taken, ==, 10000);
}

static void
test_pause (void)
{
  NatLimiter l;

  nat_limiter_init (&l, 1000, 50, 0);
  g_assert_true (nat_limiter_take (&l, 0, 50));
  g_assert_false (nat_limiter_take (&l, 0, 1));
  g_assert_false (nat_limiter_take (&l, G_MAXINT64 / 2, 51)); /* never more than the burst */
  g_assert_true (nat_limiter_take (&l, G_MAXINT64 / 2, 50));
  g_assert_false (nat_limiter_take (&l, 0, 1)); /* a clock that goes back gives nothing */
}

static void
test_extremes (void)
{
  NatLimiter none, huge;

  nat_limiter_init (&none, 0, 0, 0);
  for (guint i = 0; i < 1000; i++)
    g_assert_true (nat_limiter_take (&none, 0, 1000000));
  nat_limiter_init (&huge, G_MAXINT64, G_MAXINT64, 0);
  for (gint64 now = 0; now < 100 * (gint64)G_USEC_PER_SEC; now += G_USEC_PER_SEC)
    g_assert_true (nat_limiter_take (&huge, now, NAT_LIMITER_RATE_MAX));
}

/* ---- Strangers --------------------------------------------------------- */

static NatAddress
address (guint32 n)
{
  guint8 ip[4] = {198, (guint8)(n >> 16), (guint8)(n >> 8), (guint8)n};
  NatAddress a;

  g_assert_true (nat_address_from_ip (&a, ip, 4, (guint16)(1000 + n)));
  return a;
}

static guint
take_many (NatStrangers *s, const NatAddress *to, guint n, gint64 now_us)
{
  guint taken = 0;

  for (guint i = 0; i < n; i++)
    taken += nat_strangers_take (s, to, now_us);
  return taken;
}

/* Somebody who asks without end has his share, and nearly all others have theirs. */
static void
test_one_stranger (void)
{
  g_autofree NatStrangers *s = g_new (NatStrangers, 1);
  NatAddress flooder = address (0), six[2], other;
  guint got = 0;

  nat_strangers_init (s, 2000, 100, 0);
  g_assert_cmpuint (take_many (s, &flooder, 100000, 1), ==, 25);
  for (guint i = 1; i <= 400; i++) {
    other = address (i);
    got += nat_strangers_take (s, &other, 1);
  }
  g_assert_cmpuint (got, >, 380); /* the rest has his bucket */
  g_assert_cmpuint (take_many (s, &flooder, 100000, 1 + G_USEC_PER_SEC / 10), ==, 10);
  flooder.port++; /* another port is no other neighbour */
  g_assert_cmpuint (take_many (s, &flooder, 100000, 1 + G_USEC_PER_SEC / 10), ==, 0);
  g_assert_true (nat_address_from_text (&six[0], "[2001:db8::1]:1", 0));
  g_assert_true (nat_address_from_text (&six[1], "[2001:db8::ffff:0:0:2]:2", 0));
  g_assert_cmpuint (take_many (s, &six[0], 100, 10 * G_USEC_PER_SEC), ==, 25);
  g_assert_cmpuint (take_many (s, &six[1], 100, 10 * G_USEC_PER_SEC), ==, 0);
}

/* Forged addresses without end: never more than the limit of all. */
static void
test_many_strangers (void)
{
  g_autofree NatStrangers *s = g_new (NatStrangers, 1);
  guint got = 0;

  nat_strangers_init (s, 2000, 100, 0);
  for (guint32 i = 0; i < 200000; i++) {
    NatAddress a = address (i);
    got += nat_strangers_take (s, &a, (gint64)i * 10); /* two seconds */
  }
  g_assert_cmpuint (got, >=, 4000);
  g_assert_cmpuint (got, <=, 4500);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/limiter/rate", test_rate);
  g_test_add_func ("/limiter/pause", test_pause);
  g_test_add_func ("/limiter/extremes", test_extremes);
  g_test_add_func ("/strangers/one", test_one_stranger);
  g_test_add_func ("/strangers/many", test_many_strangers);
  return g_test_run ();
}
