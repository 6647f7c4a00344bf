/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One process as a whole world: hosts, each with its clocks, on one virtual time line. The product's code
 * runs unchanged: what it asks of the system (clocks, random numbers, timers, sockets, threads) is
 * answered from here, for the linker puts our functions in the place of the system's (--wrap, in
 * meson.build). So nothing in the product knows of simulations, and a new call of a clock is virtual
 * without further ado.
 *
 * Everything comes from one seed: the same seed is the same schedule, to the byte. */

#include <gio/gio.h>

G_BEGIN_DECLS

#define MS(n) ((gint64)(n)*1000)

typedef struct _Host Host;
struct _Host {
  const char *name;
  /* When run is to be called next, on the world's clock; G_MAXINT64 = not before something comes. */
  gint64 (*deadline) (Host *host);
  void (*run) (Host *host);
  gboolean ready; /* something came: run at once */

  gint64 slept_us;   /* so much its monotonic clock stood still */
  gint64 wall_us;    /* so much its wall clock is ahead of the world's */
  gint64 stopped_us; /* since when it does nothing; -1 = it runs */
  gboolean asleep;   /* stopped, its clock too (suspend; else SIGSTOP) */
  GArray *timers;    /* of GLib sources */
};

typedef struct {
  guint32 seed;
  gint64 now; /* us */
  GRand *rand;
  Host *on; /* whose code runs */
  GPtrArray *hosts;
  guint64 digest; /* of all that happened, for comparing two runs */
  GString *story; /* or NULL */
  /* Whoever looks at the clock may be held up there, while others run; NULL: nobody is. */
  void (*interrupt) (void);
} World;
extern World world;

void world_begin (guint32 seed);
void world_end (void);

void world_add (Host *host);
void world_remove (Host *host);
void world_enter (Host *host); /* its code runs from here ... */
void world_leave (void);       /* ... to here; after that it is ready */
/* Stops a host; asleep: as a laptop whose lid is closed. */
void world_stop (Host *host, gboolean asleep);
void world_resume (Host *host);
/* The earliest of the host's timers on the world's clock. */
gint64 world_timer (Host *host);
/* Lets the host's timers that are due go off at its context's next turn. */
void world_ring (Host *host);

typedef void (*WorldFunc) (gpointer a, gpointer b);
/* b is freed by g_free once func was called, or never will be. */
void world_at (gint64 at, WorldFunc func, gpointer a, gpointer b);
void world_run_until (gint64 until);

gint64 world_between (gint64 low, gint64 high);
gboolean world_chance (gdouble p);
guint world_pick (guint n);
void world_note (const char *format, ...) G_GNUC_PRINTF (1, 2);
/* The seed, the story's end, and the end of the test. */
void world_fail (const char *format, ...) G_GNUC_PRINTF (1, 2) G_GNUC_NORETURN;

/* The system's own. */
void __real_g_source_set_ready_time (GSource *source, gint64 us);

G_END_DECLS
