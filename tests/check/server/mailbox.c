/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Letters in order, whole, as many as fit; one thread writing and one reading. */

#include "natserver/data/mailbox.h"

#define LETTERS 1000000u

typedef struct {
  guint number, copy;
} Letter;

static gboolean
write_letter (NatMailbox *m, guint number)
{
  Letter *letter = nat_mailbox_write (m);

  if (!letter)
    return FALSE;
  letter->number = letter->copy = number;
  nat_mailbox_post (m);
  return TRUE;
}

static void
test_full (void)
{
  NatMailbox *m = nat_mailbox_new (sizeof (Letter), 4);

  for (guint round = 0; round < 3; round++) {
    for (guint i = 0; i < 4; i++) {
      g_assert_cmpuint (nat_mailbox_waiting (m), ==, i);
      g_assert_true (write_letter (m, 10 * round + i));
    }
    g_assert_false (write_letter (m, 99));
    for (guint i = 0; i < 4; i++)
      g_assert_cmpuint (((Letter *)nat_mailbox_peek (m, i))->number, ==, 10 * round + i);
    nat_mailbox_release (m, 1);
    g_assert_true (write_letter (m, 77)); /* the places go round */
    g_assert_false (write_letter (m, 99));
    g_assert_cmpuint (((Letter *)nat_mailbox_peek (m, 3))->number, ==, 77);
    nat_mailbox_release (m, 4);
    g_assert_cmpuint (nat_mailbox_waiting (m), ==, 0);
  }
  nat_mailbox_free (m);
}

static gpointer
write_all (gpointer mailbox)
{
  for (guint i = 0; i < LETTERS;) {
    if (write_letter (mailbox, i))
      i++;
    else
      g_thread_yield ();
  }
  return NULL;
}

static void
test_threads (void)
{
  NatMailbox *m = nat_mailbox_new (sizeof (Letter), 64);
  GThread *writer = g_thread_new ("writer", write_all, m);

  for (guint next = 0; next < LETTERS;) {
    guint n = nat_mailbox_waiting (m);

    for (guint i = 0; i < n; i++, next++) {
      Letter *letter = nat_mailbox_peek (m, i);
      g_assert_cmpuint (letter->number, ==, next);
      g_assert_cmpuint (letter->copy, ==, next);
      letter->number = 0; /* the reader may change it */
    }
    nat_mailbox_release (m, n);
    if (n == 0)
      g_thread_yield ();
  }
  g_thread_join (writer);
  nat_mailbox_free (m);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/mailbox/full", test_full);
  g_test_add_func ("/mailbox/threads", test_threads);
  return g_test_run ();
}
