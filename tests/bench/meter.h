/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What a relay costs its core: CPU clocks of its processes and of the kernel threads that work
 * for it, read before and after. The clocks are the scheduler's, in nanoseconds, not ticks. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct _BenchMeter BenchMeter;

typedef struct {
  double process_s; /* the relay's processes, dead threads included */
  double kernel_s;  /* kernel threads named to the meter */
  double softirq_s; /* interrupts of the relay's core that no process is charged for; mostly 0 */
  double foreign_s; /* busy time of the relay's core that is none of these (10 ms steps) */
} BenchUsage;

/* pids: of the relay; kernel_pids: of kernel threads on its core; both arrays of int, copied.
 * cpu: the relay's core, -1 = unknown. NULL with an error when a process is not there. */
BenchMeter *bench_meter_new (GArray *pids, GArray *kernel_pids, int cpu, GError **error);
void bench_meter_free (BenchMeter *m);
void bench_meter_start (BenchMeter *m);
BenchUsage bench_meter_stop (BenchMeter *m);
/* TRUE where the kernel takes softirq time off the process that it interrupts
 * (CONFIG_IRQ_TIME_ACCOUNTING); found by trial, in about 0.1 s. */
gboolean bench_meter_softirq_is_apart (BenchMeter *m);

G_END_DECLS
