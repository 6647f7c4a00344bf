/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/waiter.h"

#include <sys/eventfd.h>
#include <unistd.h>

#define FAR                                                                                        \
  ((gint64)3600 * G_USEC_PER_SEC) /* nobody waits for it: the test's own limit would end it */

typedef struct {
  NatWaiter *waiter;
  int whole, once; /* bits 0 and 31 */
} Fixture;

static int
descriptor (NatWaiter *w, guint bit, NatWaiterKind kind)
{
  int fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);

  g_assert_cmpint (fd, >=, 0);
  g_assert_true (nat_waiter_add (w, bit, fd, kind));
  return fd;
}

static void
set_up (Fixture *f, gconstpointer data)
{
  (void)data;
  f->waiter = nat_waiter_new ();
  g_assert_nonnull (f->waiter);
  f->whole = descriptor (f->waiter, 0, NAT_WAITER_WHILE);
  f->once = descriptor (f->waiter, NAT_WAITER_MAX - 1, NAT_WAITER_ONCE);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  (void)data;
  nat_waiter_free (f->waiter);
  close (f->whole);
  close (f->once);
}

static void
write_to (int fd)
{
  guint64 one = 1;

  g_assert_cmpint (write (fd, &one, sizeof one), ==, sizeof one);
}

static void
read_from (int fd)
{
  guint64 n;

  g_assert_cmpint (read (fd, &n, sizeof n), ==, sizeof n);
}

static guint32
wait_until (Fixture *f, gint64 until_us)
{
  return nat_waiter_wait (f->waiter, until_us, g_get_monotonic_time ());
}

static void
test_descriptors (Fixture *f, gconstpointer data)
{
  guint32 once = (guint32)1 << (NAT_WAITER_MAX - 1);

  (void)data;
  g_assert_cmpuint (wait_until (f, 0), ==, 0);
  write_to (f->whole);
  write_to (f->once);
  g_assert_cmpuint (wait_until (f, G_MAXINT64), ==, once | 1);
  /* Neither was read: one tells it again, the other only of what is new. */
  g_assert_cmpuint (wait_until (f, G_MAXINT64), ==, 1);
  write_to (f->once);
  g_assert_cmpuint (wait_until (f, G_MAXINT64), ==, once | 1);
  read_from (f->whole);
  g_assert_cmpuint (wait_until (f, 0), ==, 0);
}

/* Not before its time, which may be told after a later one was; and again and again. */
static void
test_time (Fixture *f, gconstpointer data)
{
  gint64 now = g_get_monotonic_time ();

  (void)data;
  write_to (f->whole);
  g_assert_cmpuint (wait_until (f, now + FAR), ==, 1);
  read_from (f->whole);
  for (guint i = 1; i <= 3; i++) {
    gint64 until = g_get_monotonic_time () + 2000;

    g_assert_cmpuint (wait_until (f, until), ==, 0);
    g_assert_cmpint (g_get_monotonic_time (), >=, until);
  }
}

/* What was told before may wake it early, once; then it waits for the later time. */
static void
test_later (Fixture *f, gconstpointer data)
{
  gint64 until = g_get_monotonic_time () + 1000 * 1000;
  guint woken = 0;

  (void)data;
  write_to (f->whole);
  g_assert_cmpuint (wait_until (f, until - 900 * 1000), ==, 1);
  read_from (f->whole);
  do {
    g_assert_cmpuint (wait_until (f, until), ==, 0);
    woken++;
  } while (g_get_monotonic_time () < until);
  g_assert_cmpuint (woken, <=, 2);
}

/* A set timer does not make a look wait, nor does a time that is over. */
static void
test_past (Fixture *f, gconstpointer data)
{
  gint64 now = g_get_monotonic_time ();

  (void)data;
  write_to (f->once);
  g_assert_cmpuint (wait_until (f, now + FAR), !=, 0);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (wait_until (f, now), ==, 0);
  write_to (f->once);
  g_assert_cmpuint (wait_until (f, now), !=, 0);
}

/* Nor does a time that was to come when the clock was read, and is over now: whether no timer is set, a later one, or one that
 * went off unheard. */
static void
test_past_since (Fixture *f, gconstpointer data)
{
  gint64 now = g_get_monotonic_time ();

  (void)data;
  g_assert_cmpuint (nat_waiter_wait (f->waiter, now - 1000, now - 2000), ==, 0);
  write_to (f->once);
  g_assert_cmpuint (nat_waiter_wait (f->waiter, now + FAR, now), !=, 0);
  g_assert_cmpuint (nat_waiter_wait (f->waiter, now - 1000, now - 2000), ==, 0);
  write_to (f->once);
  g_assert_cmpuint (nat_waiter_wait (f->waiter, now - 500, now - 2000), !=, 0);
  while (g_get_monotonic_time () - now < 1000)
    ;
  g_assert_cmpuint (nat_waiter_wait (f->waiter, now - 100, now - 2000), ==, 0);
}

static void
test_refused (Fixture *f, gconstpointer data)
{
  (void)data;
  g_assert_false (nat_waiter_add (f->waiter, 1, -1, NAT_WAITER_WHILE));
  g_assert_false (nat_waiter_add (f->waiter, 1, f->whole, NAT_WAITER_ONCE)); /* it is there */
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/waiter/descriptors", Fixture, NULL, set_up, test_descriptors, tear_down);
  g_test_add ("/waiter/time", Fixture, NULL, set_up, test_time, tear_down);
  g_test_add ("/waiter/later", Fixture, NULL, set_up, test_later, tear_down);
  g_test_add ("/waiter/past", Fixture, NULL, set_up, test_past, tear_down);
  g_test_add ("/waiter/past-since", Fixture, NULL, set_up, test_past_since, tear_down);
  g_test_add ("/waiter/refused", Fixture, NULL, set_up, test_refused, tear_down);
  return g_test_run ();
}
