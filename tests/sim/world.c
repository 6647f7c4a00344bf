/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define START_US   MS (1000000000) /* of the world's clock */
#define WALL_US    (G_GINT64_CONSTANT (1700000000) * G_USEC_PER_SEC)
#define SPINS_MAX  100000   /* without time passing */
#define STORY_SHOW 60000000 /* characters */

World world;

typedef struct {
  gint64 at;
  guint64 order; /* of those at the same time */
  WorldFunc func;
  gpointer a, b;
} Event;

typedef struct {
  GSource *source; /* a reference */
  gint64 at;       /* on the host's monotonic clock */
} Timer;

static GArray *heap; /* Event; the earliest is the first */
static guint64 orders;

/* ---- Chance ------------------------------------------------------------ */

gint64
world_between (gint64 low, gint64 high)
{
  return low + (gint64)(g_rand_double (world.rand) * (gdouble)(high - low));
}

gboolean
world_chance (gdouble p)
{
  return g_rand_double (world.rand) < p;
}

guint
world_pick (guint n)
{
  return n < 2 ? 0 : (guint)g_rand_int_range (world.rand, 0, (gint32)n);
}

/* ---- Telling ----------------------------------------------------------- */

void
world_note (const char *format, ...)
{
  va_list args;

  if (world.story == NULL)
    return;
  g_string_append_printf (world.story, "%9.3f %-6s ", (gdouble)(world.now - START_US) / 1e6,
      world.on != NULL ? world.on->name : "");
  va_start (args, format);
  g_string_append_vprintf (world.story, format, args);
  va_end (args);
  g_string_append_c (world.story, '\n');
}

void
world_fail (const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  if (world.story != NULL)
    fprintf (stderr, "%s", world.story->str + MAX (0, (gssize)world.story->len - STORY_SHOW));
  g_error ("seed %u, at %.3f s: %s", world.seed, (gdouble)(world.now - START_US) / 1e6, text);
}

/* ---- Time -------------------------------------------------------------- */

static gint64
monotonic (const Host *host)
{
  if (host == NULL)
    return world.now;
  return (host->asleep ? host->stopped_us : world.now) - host->slept_us;
}

static gint64
wall (const Host *host)
{
  return WALL_US + world.now + (host != NULL ? host->wall_us : 0);
}

gint64 __wrap_g_get_monotonic_time (void);
gint64
__wrap_g_get_monotonic_time (void)
{
  if (world.interrupt != NULL)
    world.interrupt ();
  return monotonic (world.on);
}

gint64 __wrap_g_get_real_time (void);
gint64
__wrap_g_get_real_time (void)
{
  return wall (world.on);
}

int __wrap_clock_gettime (clockid_t clock, struct timespec *t);
int
__wrap_clock_gettime (clockid_t clock, struct timespec *t)
{
  gint64 us = clock == CLOCK_REALTIME   ? wall (world.on)
              : clock == CLOCK_BOOTTIME ? world.now /* counts on in a suspend */
                                        : monotonic (world.on);

  t->tv_sec = us / G_USEC_PER_SEC;
  t->tv_nsec = us % G_USEC_PER_SEC * 1000;
  return 0;
}

/* Keys, ids, nonces: as unlike each other as real ones, and the same for the same seed. */
void __wrap_nat_crypto_random (gpointer out, gsize len);
void
__wrap_nat_crypto_random (gpointer out, gsize len)
{
  for (gsize i = 0; i < len; i++)
    ((guint8 *)out)[i] = (guint8)g_rand_int (world.rand);
}

/* What is written survives a relay's death here, and no machine loses its power. */
int __wrap_fdatasync (int fd);
int
__wrap_fdatasync (int fd)
{
  return 0;
}

int __wrap_fsync (int fd);
int
__wrap_fsync (int fd)
{
  return 0;
}

int __wrap_atexit (void (*func) (void));
int
__wrap_atexit (void (*func) (void))
{
  return 0; /* nobody's goodbye is waited for */
}

/* ---- Timers of GLib ---------------------------------------------------- */

static void
timer_forget (Host *host, GSource *source)
{
  for (guint i = 0; i < host->timers->len; i++) {
    if (g_array_index (host->timers, Timer, i).source == source) {
      g_source_unref (source);
      g_array_remove_index_fast (host->timers, i);
      return;
    }
  }
}

void __wrap_g_source_set_ready_time (GSource *source, gint64 us);
void
__wrap_g_source_set_ready_time (GSource *source, gint64 us)
{
  Timer timer = {source, us};

  if (world.on == NULL || world.on->timers == NULL) {
    __real_g_source_set_ready_time (source, us);
    return;
  }
  timer_forget (world.on, source);
  __real_g_source_set_ready_time (source, us > 0 ? -1 : us);
  if (us <= 0)
    return;
  g_source_ref (source);
  g_array_append_val (world.on->timers, timer);
}

gint64
world_timer (Host *host)
{
  gint64 first = G_MAXINT64;

  for (guint i = 0; i < host->timers->len; i++)
    first = MIN (first, g_array_index (host->timers, Timer, i).at);
  return first == G_MAXINT64 ? first : first + host->slept_us;
}

void
world_ring (Host *host)
{
  gint64 now = monotonic (host);

  for (guint i = host->timers->len; i > 0; i--) {
    Timer timer = g_array_index (host->timers, Timer, i - 1);

    if (timer.at > now && !g_source_is_destroyed (timer.source))
      continue;
    g_array_remove_index_fast (host->timers, i - 1);
    __real_g_source_set_ready_time (timer.source, 0);
    g_source_unref (timer.source);
  }
}

/* ---- Hosts ------------------------------------------------------------- */

void
world_add (Host *host)
{
  host->stopped_us = -1;
  host->timers = g_array_new (FALSE, FALSE, sizeof (Timer));
  g_ptr_array_add (world.hosts, host);
}

void
world_remove (Host *host)
{
  for (guint i = 0; i < host->timers->len; i++)
    g_source_unref (g_array_index (host->timers, Timer, i).source);
  g_clear_pointer (&host->timers, g_array_unref);
  g_ptr_array_remove (world.hosts, host);
}

void
world_enter (Host *host)
{
  g_assert_null (world.on);
  world.on = host;
}

void
world_leave (void)
{
  world.on->ready = TRUE;
  world.on = NULL;
}

void
world_stop (Host *host, gboolean asleep)
{
  if (host->stopped_us >= 0)
    return;
  host->stopped_us = world.now;
  host->asleep = asleep;
}

void
world_resume (Host *host)
{
  if (host->stopped_us < 0)
    return;
  if (host->asleep)
    host->slept_us += world.now - host->stopped_us;
  host->stopped_us = -1;
  host->asleep = FALSE;
  host->ready = TRUE;
}

/* ---- Events ------------------------------------------------------------ */

static gboolean
before (const Event *x, const Event *y)
{
  return x->at < y->at || (x->at == y->at && x->order < y->order);
}

static Event *
event (guint i)
{
  return &g_array_index (heap, Event, i);
}

static void
swap (guint i, guint k)
{
  Event e = *event (i);

  *event (i) = *event (k);
  *event (k) = e;
}

void
world_at (gint64 at, WorldFunc func, gpointer a, gpointer b)
{
  Event e = {MAX (at, world.now), orders++, func, a, b};

  g_array_append_val (heap, e);
  for (guint i = heap->len - 1; i > 0 && before (event (i), event ((i - 1) / 2)); i = (i - 1) / 2)
    swap (i, (i - 1) / 2);
}

static Event
take_first (void)
{
  Event first = *event (0);

  swap (0, heap->len - 1);
  g_array_set_size (heap, heap->len - 1);
  for (guint i = 0, child; (child = 2 * i + 1) < heap->len; i = child) {
    if (child + 1 < heap->len && before (event (child + 1), event (child)))
      child++;
    if (before (event (i), event (child)))
      break;
    swap (i, child);
  }
  return first;
}

static Host *
next_host (gint64 *when)
{
  Host *first = NULL;

  *when = G_MAXINT64;
  for (guint i = 0; i < world.hosts->len; i++) {
    Host *host = world.hosts->pdata[i];
    gint64 at;

    if (host->stopped_us >= 0)
      continue;
    at = host->ready ? world.now : host->deadline (host);
    if (at < *when) {
      *when = at;
      first = host;
    }
  }
  *when = MAX (*when, world.now);
  return first;
}

/* FALSE: nothing before until. */
static gboolean
step (gint64 until)
{
  gint64 when, event_at = heap->len > 0 ? event (0)->at : G_MAXINT64;
  Host *host = next_host (&when);

  if (MIN (when, event_at) > until)
    return FALSE;
  world.now = MAX (world.now, MIN (when, event_at));
  if (host != NULL && when <= event_at) {
    host->ready = FALSE;
    host->run (host);
  } else {
    Event e = take_first ();

    e.func (e.a, e.b);
    g_free (e.b);
  }
  return TRUE;
}

void
world_run_until (gint64 until)
{
  gint64 last = world.now;

  for (guint spins = 0; step (until); spins++) {
    if (world.now > last)
      spins = 0;
    if (spins > SPINS_MAX)
      world_fail (
          "time does not pass for %s", next_host (&last) ? next_host (&last)->name : "the world");
    last = world.now;
  }
  world.now = until;
}

void
world_begin (guint32 seed)
{
  memset (&world, 0, sizeof world);
  world.seed = seed;
  world.now = START_US;
  world.rand = g_rand_new_with_seed (seed);
  world.hosts = g_ptr_array_new ();
  heap = g_array_new (FALSE, FALSE, sizeof (Event));
  orders = 0;
}

void
world_end (void)
{
  while (heap->len > 0)
    g_free (take_first ().b);
  g_clear_pointer (&heap, g_array_unref);
  g_assert_cmpuint (world.hosts->len, ==, 0);
  g_ptr_array_unref (world.hosts);
  g_rand_free (world.rand);
  if (world.story != NULL)
    g_string_free (world.story, TRUE);
  world.story = NULL;
}
