/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Batches of a worker whose messages take a known time: within the budget where one message is, and full where
 * all are. */

#include "natserver/data/batchsize.h"

/* waiting: messages in the socket at each read. Returns the longest batch of those after the first ten. */
static gint64
longest (gint64 message_us, guint waiting, guint *size)
{
  gint64 max = 0;

  *size = NAT_UDPIO_SLOTS;
  for (guint i = 0; i < 100; i++) {
    guint n = MIN (*size, waiting);

    g_assert_cmpuint (n, >=, 1);
    if (i >= 10)
      max = MAX (max, n * message_us);
    *size = nat_batch_size_next (*size, n, n * message_us);
    g_assert_cmpuint (*size, >=, 1);
    g_assert_cmpuint (*size, <=, NAT_UDPIO_SLOTS);
  }
  return max;
}

static void
test_budget (void)
{
  guint size;

  for (gint64 us = 1; us < 200000; us += us / 4 + 1) {
    gint64 most = longest (us, 1000, &size);

    g_test_message ("%" G_GINT64_FORMAT " us a message: %" G_GINT64_FORMAT " us", us, most);
    g_assert_cmpint (most, <=, MAX (NAT_BATCH_BUDGET_US, us));
  }
  longest (NAT_BATCH_BUDGET_US / NAT_UDPIO_SLOTS / 3, 1000, &size);
  g_assert_cmpuint (size, ==, NAT_UDPIO_SLOTS);
}

/* A large audience goes; its small batches go with it. */
static void
test_recovers (void)
{
  guint size = 1;

  for (guint i = 0; i < 4; i++)
    size = nat_batch_size_next (size, size, 10);
  g_assert_cmpuint (size, ==, NAT_UDPIO_SLOTS);
  /* One message at a time says nothing. */
  g_assert_cmpuint (nat_batch_size_next (4, 1, 10), ==, 4);
  /* A clock that stood still. */
  g_assert_cmpuint (nat_batch_size_next (4, 4, 0), ==, 8);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/batchsize/budget", test_budget);
  g_test_add_func ("/batchsize/recovers", test_recovers);
  return g_test_run ();
}
