/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "meter.h"

#include <errno.h>
#include <gio/gio.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
  double process_s, kernel_s;
  double busy_s, softirq_s; /* of the whole core, from /proc/stat */
} Reading;

struct _BenchMeter {
  GArray *clocks, *kernel_clocks; /* of clockid_t */
  int cpu;
  gboolean softirq_is_apart;
  Reading start;
};

static double
seconds_of (clockid_t clock)
{
  struct timespec t = {0};

  clock_gettime (clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double
sum_of (GArray *clocks)
{
  double sum = 0;

  for (guint i = 0; i < clocks->len; i++)
    sum += seconds_of (g_array_index (clocks, clockid_t, i));
  return sum;
}

/* cpuN user nice system idle iowait irq softirq steal */
static void
read_core (int cpu, Reading *r)
{
  FILE *f = cpu < 0 ? NULL : fopen ("/proc/stat", "r");
  double tick = 1.0 / (double)sysconf (_SC_CLK_TCK);
  char line[512];
  unsigned long v[8];
  int n;

  while (f && fgets (line, sizeof line, f)) {
    if (sscanf (line, "cpu%d %lu %lu %lu %lu %lu %lu %lu %lu", &n, v, v + 1, v + 2, v + 3, v + 4,
            v + 5, v + 6, v + 7) != 9 ||
        n != cpu || line[3] == ' ')
      continue;
    r->busy_s = (double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) * tick;
    r->softirq_s = (double)(v[5] + v[6]) * tick;
  }
  if (f)
    fclose (f);
}

static Reading
reading (BenchMeter *m)
{
  Reading r = {0};

  r.process_s = sum_of (m->clocks);
  r.kernel_s = sum_of (m->kernel_clocks);
  read_core (m->cpu, &r);
  return r;
}

static GArray *
clocks_of (GArray *pids, GError **error)
{
  GArray *clocks = g_array_new (FALSE, FALSE, sizeof (clockid_t));

  for (guint i = 0; pids && i < pids->len; i++) {
    pid_t pid = g_array_index (pids, int, i);
    clockid_t clock;
    int e = clock_getcpuclockid (pid, &clock);

    if (e) {
      g_set_error (error, G_IO_ERROR, g_io_error_from_errno (e), "no CPU clock of process %d: %s",
          (int)pid, g_strerror (e));
      g_array_unref (clocks);
      return NULL;
    }
    g_array_append_val (clocks, clock);
  }
  return clocks;
}

/* Nanoseconds that this process stood ready but another ran (/proc/PID/schedstat). */
static double
waited_s (void)
{
  FILE *f = fopen ("/proc/self/schedstat", "r");
  unsigned long ran, waited = 0;

  if (f) {
    if (fscanf (f, "%lu %lu", &ran, &waited) != 2)
      waited = 0;
    fclose (f);
  }
  return (double)waited * 1e-9;
}

/* Share of its time on the core that a process is charged for while it floods a socket of its
 * own, which costs mostly softirq. */
static double
charged_share (int fd, const struct sockaddr *to, socklen_t len)
{
  static const char data[1200];
  double cpu = seconds_of (CLOCK_THREAD_CPUTIME_ID), wall = seconds_of (CLOCK_MONOTONIC);
  double waited = waited_s ();

  while (seconds_of (CLOCK_MONOTONIC) < wall + 0.02)
    if (sendto (fd, data, sizeof data, MSG_DONTWAIT, to, len) < 0 && errno != EAGAIN)
      break;
  cpu = seconds_of (CLOCK_THREAD_CPUTIME_ID) - cpu;
  return cpu / (seconds_of (CLOCK_MONOTONIC) - wall - (waited_s () - waited));
}

static gboolean
try_softirq (void)
{
  struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
  socklen_t len = sizeof self;
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  double best = 0;

  if (fd < 0 || bind (fd, (struct sockaddr *)&self, len) < 0 ||
      getsockname (fd, (struct sockaddr *)&self, &len) < 0)
    best = 1;
  /* A busy or stolen core only lowers it, so the best of a few counts. */
  for (guint i = 0; i < 5 && best < 0.9; i++) {
    double share = charged_share (fd, (struct sockaddr *)&self, len);

    best = MAX (best, share);
  }
  if (fd >= 0)
    close (fd);
  return best < 0.8;
}

BenchMeter *
bench_meter_new (GArray *pids, GArray *kernel_pids, int cpu, GError **error)
{
  BenchMeter *m = g_new0 (BenchMeter, 1);

  m->cpu = cpu;
  m->clocks = clocks_of (pids, error);
  m->kernel_clocks = m->clocks ? clocks_of (kernel_pids, error) : NULL;
  if (!m->kernel_clocks) {
    bench_meter_free (m);
    return NULL;
  }
  m->softirq_is_apart = try_softirq ();
  return m;
}

void
bench_meter_free (BenchMeter *m)
{
  if (!m)
    return;
  g_clear_pointer (&m->clocks, g_array_unref);
  g_clear_pointer (&m->kernel_clocks, g_array_unref);
  g_free (m);
}

gboolean
bench_meter_softirq_is_apart (BenchMeter *m)
{
  return m->softirq_is_apart;
}

void
bench_meter_start (BenchMeter *m)
{
  m->start = reading (m);
}

BenchUsage
bench_meter_stop (BenchMeter *m)
{
  Reading now = reading (m);
  BenchUsage u = {0};

  u.process_s = now.process_s - m->start.process_s;
  u.kernel_s = now.kernel_s - m->start.kernel_s;
  if (m->softirq_is_apart)
    u.softirq_s = now.softirq_s - m->start.softirq_s;
  u.foreign_s = now.busy_s - m->start.busy_s - u.process_s - u.kernel_s - u.softirq_s;
  u.foreign_s = m->clocks->len ? MAX (u.foreign_s, 0) : 0;
  return u;
}
