/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Lines of the log, and a reader who takes his time. */

#include "natserver/observe/logwriter.h"

#include <string.h>

#define PATIENCE_MS 60000

static struct {
  GMutex lock;
  GCond changed;
  gboolean stands_still;
  guint begun; /* lines that he was given */
  GPtrArray *read;
} reader;

static void
write_to_reader (const NatLogLine *line)
{
  g_mutex_lock (&reader.lock);
  reader.begun++;
  g_cond_broadcast (&reader.changed);
  while (reader.stands_still)
    g_cond_wait (&reader.changed, &reader.lock);
  g_ptr_array_add (reader.read, g_strdup (line->text));
  g_mutex_unlock (&reader.lock);
}

static void
begin (gboolean stands_still)
{
  reader.stands_still = stands_still;
  reader.begun = 0;
  reader.read = g_ptr_array_new_with_free_func (g_free);
}

static void
go_on (void)
{
  g_mutex_lock (&reader.lock);
  reader.stands_still = FALSE;
  g_cond_broadcast (&reader.changed);
  g_mutex_unlock (&reader.lock);
}

static void
wait_until_begun (void)
{
  g_mutex_lock (&reader.lock);
  while (reader.begun == 0)
    g_cond_wait (&reader.changed, &reader.lock);
  g_mutex_unlock (&reader.lock);
}

static void
put (NatLogWriter *w, guint n)
{
  g_autofree char *text = g_strdup_printf ("line %u", n);

  nat_log_writer_put (w, nat_log_line_new (G_LOG_LEVEL_MESSAGE, text));
}

static void
assert_read (guint index, const char *text)
{
  g_assert_cmpuint (index, <, reader.read->len);
  g_assert_cmpstr (reader.read->pdata[index], ==, text);
}

/* All that was said before the end is written, in order. */
static void
test_order (void)
{
  NatLogWriter *w;

  begin (FALSE);
  w = nat_log_writer_new (write_to_reader);
  for (guint i = 0; i < 1000; i++)
    put (w, i);
  g_assert_true (nat_log_writer_free (w, PATIENCE_MS));
  g_assert_cmpuint (reader.read->len, ==, 1000);
  assert_read (0, "line 0");
  assert_read (999, "line 999");
  g_ptr_array_unref (reader.read);
}

static void
test_lost_lines_are_told (void)
{
  NatLogWriter *w;

  begin (TRUE);
  w = nat_log_writer_new (write_to_reader);
  put (w, 0);
  wait_until_begun ();
  for (guint i = 1; i <= NAT_LOG_LINES_MAX + 7; i++)
    put (w, i);
  go_on ();
  g_assert_true (nat_log_writer_free (w, PATIENCE_MS));
  g_assert_cmpuint (reader.read->len, ==, NAT_LOG_LINES_MAX + 2);
  assert_read (1, "line 1");
  assert_read (2, "7 lines of the log are lost, for whoever reads it is too slow");
  assert_read (3, "line 2");
  g_ptr_array_unref (reader.read);
}

/* He never goes on: the end does not wait for him. */
static void
test_end_without_him (void)
{
  NatLogWriter *w;

  begin (TRUE);
  w = nat_log_writer_new (write_to_reader);
  put (w, 0);
  wait_until_begun ();
  put (w, 1);
  g_assert_false (nat_log_writer_free (w, 1));
  g_assert_cmpuint (reader.read->len, ==, 0);
  go_on (); /* the thread that was left behind ends */
  g_mutex_lock (&reader.lock);
  while (reader.begun < 2 || reader.read->len < 2) {
    g_mutex_unlock (&reader.lock);
    g_usleep (1000);
    g_mutex_lock (&reader.lock);
  }
  g_mutex_unlock (&reader.lock);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/logwriter/order", test_order);
  g_test_add_func ("/logwriter/lost-lines-are-told", test_lost_lines_are_told);
  g_test_add_func ("/logwriter/end-without-him", test_end_without_him);
  return g_test_run ();
}
