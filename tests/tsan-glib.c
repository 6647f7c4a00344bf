/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Preloaded into programs that are built with -Db_sanitize=thread: GLib's own mutexes are futexes that the
 * thread sanitizer cannot see, and every access that they guard would be called a race. Here they are
 * POSIX mutexes, which it knows. (GLib is bound to its own ones inside itself; everything else, our code
 * before all, comes here.) A GMutex that is all zero is a good one, so each is made at its first use. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <glib.h>

/* Whoever may use a mutex has heard of it, but often in a way that only GLib knows (a source, a task):
 * where it lies is not watched. */
#define UNWATCHED __attribute__ ((no_sanitize ("thread"), noinline))

static UNWATCHED void *
made_once (_Atomic (void *) *place, void *(*make) (void), void (*unmake) (void *))
{
  void *old = atomic_load_explicit (place, memory_order_acquire);
  void *mine;

  if (old != NULL)
    return old;
  mine = make ();
  if (atomic_compare_exchange_strong (place, &old, mine))
    return mine;
  unmake (mine);
  return old;
}

/* ---- mutexes -------------------------------------------------------------- */

static void *
make_mutex (void)
{
  pthread_mutex_t *m = malloc (sizeof *m);

  pthread_mutex_init (m, NULL);
  return m;
}

static void
unmake_mutex (void *m)
{
  pthread_mutex_destroy (m);
  free (m);
}

static pthread_mutex_t *
mutex_of (GMutex *mutex)
{
  return made_once ((_Atomic (void *) *)&mutex->p, make_mutex, unmake_mutex);
}

UNWATCHED void
g_mutex_init (GMutex *mutex)
{
  mutex->p = make_mutex ();
}

UNWATCHED void
g_mutex_clear (GMutex *mutex)
{
  if (mutex->p != NULL)
    unmake_mutex (mutex->p);
  mutex->p = NULL;
}

void
g_mutex_lock (GMutex *mutex)
{
  pthread_mutex_lock (mutex_of (mutex));
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  return pthread_mutex_trylock (mutex_of (mutex)) == 0;
}

void
g_mutex_unlock (GMutex *mutex)
{
  pthread_mutex_unlock (mutex_of (mutex));
}

/* ---- recursive mutexes ------------------------------------------------------ */

static void *
make_rec_mutex (void)
{
  pthread_mutex_t *m = malloc (sizeof *m);
  pthread_mutexattr_t attributes;

  pthread_mutexattr_init (&attributes);
  pthread_mutexattr_settype (&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init (m, &attributes);
  pthread_mutexattr_destroy (&attributes);
  return m;
}

static pthread_mutex_t *
rec_mutex_of (GRecMutex *mutex)
{
  return made_once ((_Atomic (void *) *)&mutex->p, make_rec_mutex, unmake_mutex);
}

UNWATCHED void
g_rec_mutex_init (GRecMutex *mutex)
{
  mutex->p = make_rec_mutex ();
}

UNWATCHED void
g_rec_mutex_clear (GRecMutex *mutex)
{
  if (mutex->p != NULL)
    unmake_mutex (mutex->p);
  mutex->p = NULL;
}

void
g_rec_mutex_lock (GRecMutex *mutex)
{
  pthread_mutex_lock (rec_mutex_of (mutex));
}

gboolean
g_rec_mutex_trylock (GRecMutex *mutex)
{
  return pthread_mutex_trylock (rec_mutex_of (mutex)) == 0;
}

void
g_rec_mutex_unlock (GRecMutex *mutex)
{
  pthread_mutex_unlock (rec_mutex_of (mutex));
}

/* ---- conditions ----------------------------------------------------------- */

static void *
make_cond (void)
{
  pthread_cond_t *c = malloc (sizeof *c);
  pthread_condattr_t attributes;

  pthread_condattr_init (&attributes);
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  pthread_cond_init (c, &attributes);
  pthread_condattr_destroy (&attributes);
  return c;
}

static void
unmake_cond (void *c)
{
  pthread_cond_destroy (c);
  free (c);
}

static pthread_cond_t *
cond_of (GCond *cond)
{
  return made_once ((_Atomic (void *) *)&cond->p, make_cond, unmake_cond);
}

UNWATCHED void
g_cond_init (GCond *cond)
{
  cond->p = make_cond ();
}

UNWATCHED void
g_cond_clear (GCond *cond)
{
  if (cond->p != NULL)
    unmake_cond (cond->p);
  cond->p = NULL;
}

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  pthread_cond_wait (cond_of (cond), mutex_of (mutex));
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end_time)
{
  struct timespec end = {end_time / G_USEC_PER_SEC, end_time % G_USEC_PER_SEC * 1000};

  return pthread_cond_timedwait (cond_of (cond), mutex_of (mutex), &end) != ETIMEDOUT;
}

void
g_cond_signal (GCond *cond)
{
  pthread_cond_signal (cond_of (cond));
}

void
g_cond_broadcast (GCond *cond)
{
  pthread_cond_broadcast (cond_of (cond));
}
