/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/logwriter.h"

#include <pthread.h>
#include <signal.h>

struct _NatLogWriter {
  void (*write) (const NatLogLine *line);
  GThread *thread;
  GMutex lock; /* of what follows */
  GCond changed;
  GQueue lines;              /* NatLogLine */
  guint lost;                /* since the last that was told of */
  gboolean stop, done, left; /* left: nobody waits for the thread, which frees it */
};

NatLogLine *
nat_log_line_new (GLogLevelFlags flags, const char *text)
{
  NatLogLine *line = g_new0 (NatLogLine, 1);

  line->flags = flags;
  line->text = g_strdup (text);
  return line;
}

void
nat_log_line_free (NatLogLine *line)
{
  for (guint i = 0; i < line->n_fields; i++)
    g_free (line->fields[i].value);
  g_free (line->text);
  g_free (line);
}

/* ---- In the thread ----------------------------------------------------- */

/* NULL: none comes any more. */
static NatLogLine *
next (NatLogWriter *w, guint *lost)
{
  NatLogLine *line;

  g_mutex_lock (&w->lock);
  while (w->lines.head == NULL && !w->stop)
    g_cond_wait (&w->changed, &w->lock);
  line = g_queue_pop_head (&w->lines);
  *lost = w->lost;
  w->lost = 0;
  if (line == NULL) {
    w->done = TRUE;
    g_cond_broadcast (&w->changed);
  }
  g_mutex_unlock (&w->lock);
  return line;
}

static void
tell_lost (NatLogWriter *w, guint lost)
{
  g_autofree char *text =
      g_strdup_printf ("%u lines of the log are lost, for whoever reads it is too slow", lost);
  NatLogLine *line = nat_log_line_new (G_LOG_LEVEL_WARNING, text);

  w->write (line);
  nat_log_line_free (line);
}

static void
free_writer (NatLogWriter *w)
{
  g_mutex_clear (&w->lock);
  g_cond_clear (&w->changed);
  g_free (w);
}

static gpointer
run (gpointer data)
{
  NatLogWriter *w = data;
  NatLogLine *line;
  gboolean left;
  guint lost;

  while ((line = next (w, &lost)) != NULL) {
    w->write (line);
    nat_log_line_free (line);
    if (lost > 0)
      tell_lost (w, lost);
  }
  g_mutex_lock (&w->lock);
  left = w->left;
  g_mutex_unlock (&w->lock);
  if (left)
    free_writer (w);
  return NULL;
}

/* ---- For all ----------------------------------------------------------- */

/* Signals are the control thread's. */
NatLogWriter *
nat_log_writer_new (void (*write) (const NatLogLine *line))
{
  NatLogWriter *w = g_new0 (NatLogWriter, 1);
  sigset_t every, before;

  w->write = write;
  g_mutex_init (&w->lock);
  g_cond_init (&w->changed);
  g_queue_init (&w->lines);
  sigfillset (&every);
  pthread_sigmask (SIG_SETMASK, &every, &before);
  w->thread = g_thread_new ("nat-log", run, w);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  return w;
}

void
nat_log_writer_put (NatLogWriter *w, NatLogLine *line)
{
  g_mutex_lock (&w->lock);
  if (w->lines.length < NAT_LOG_LINES_MAX) {
    g_queue_push_tail (&w->lines, g_steal_pointer (&line));
    g_cond_broadcast (&w->changed);
  } else {
    w->lost++;
  }
  g_mutex_unlock (&w->lock);
  g_clear_pointer (&line, nat_log_line_free);
}

gboolean
nat_log_writer_free (NatLogWriter *w, guint ms)
{
  gint64 end_us = g_get_monotonic_time () + (gint64)ms * 1000;
  GThread *thread;
  gboolean done;

  g_mutex_lock (&w->lock);
  w->stop = TRUE;
  g_cond_broadcast (&w->changed);
  while (!w->done && g_cond_wait_until (&w->changed, &w->lock, end_us))
    continue;
  done = w->done;
  w->left = !done;
  thread = w->thread;
  g_mutex_unlock (&w->lock);
  if (done) {
    g_thread_join (thread);
    free_writer (w);
  } else {
    g_thread_unref (thread);
  }
  return done;
}
