/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The frame of a small measurement: repeat a step for a while, take the best of five spans (others
 * only ever make it slower), print nanoseconds of CPU a step as one JSON line. */

#include <glib.h>

G_BEGIN_DECLS

typedef void (*BenchStep) (gpointer data);

/* A measurement of something that does not work would be a fast one: ends the program if not. */
#define bench_require(fact, what)                                                                  \
  G_STMT_START                                                                                     \
  {                                                                                                \
    if (G_UNLIKELY (!(fact)))                                                                      \
      bench_micro_fail (what);                                                                     \
  }                                                                                                \
  G_STMT_END

void bench_micro_fail (const char *what) G_GNUC_NORETURN;
/* The program's one optional argument, seconds for each measurement; 1 without. */
double bench_micro_seconds (int argc, char **argv);
/* per_step: how many of what the name says one step does. */
void bench_micro_report (
    const char *name, double seconds, BenchStep step, gpointer data, guint per_step);

G_END_DECLS
