/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SPANS 5

void
bench_micro_fail (const char *what)
{
  g_printerr ("not so: %s\n", what);
  exit (1);
}

double
bench_micro_seconds (int argc, char **argv)
{
  double seconds = argc > 1 ? g_ascii_strtod (argv[1], NULL) : 1;

  bench_require (seconds > 0, "the argument is a number of seconds");
  return seconds;
}

static double
cpu_s (void)
{
  struct timespec t;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Nanoseconds a step, over at least so many seconds of CPU. */
static double
span (double seconds, BenchStep step, gpointer data)
{
  double begin = cpu_s (), used = 0;
  guint64 steps = 0;

  while (used < seconds) {
    for (guint i = 0; i < 64; i++)
      step (data);
    steps += 64;
    used = cpu_s () - begin;
  }
  return used * 1e9 / (double)steps;
}

void
bench_micro_report (const char *name, double seconds, BenchStep step, gpointer data, guint per_step)
{
  double best = G_MAXDOUBLE;

  for (guint i = 0; i < SPANS; i++)
    best = MIN (best, span (seconds / SPANS, step, data));
  best /= per_step;
  printf ("{\"name\": \"%s\", \"ns\": %.1f, \"per_second\": %.0f}\n", name, best, 1e9 / best);
  fflush (stdout);
}
