/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/process.h"

#include <stdio.h>
#include <unistd.h>
#include <sys/resource.h>

static void
append (GString *out, const char *name, const char *type, const char *help, const char *format,
    gdouble value)
{
  char number[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append_printf (out, "# HELP process_%s %s\n# TYPE process_%s %s\nprocess_%s %s\n", name,
      help, name, type, name, g_ascii_formatd (number, sizeof number, format, value));
}

static gdouble
seconds (const struct timeval *t)
{
  return (gdouble)t->tv_sec + (gdouble)t->tv_usec / 1e6;
}

static void
append_memory (GString *out)
{
  g_autofree char *text = NULL;
  guint64 all, resident;

  if (!g_file_get_contents ("/proc/self/statm", &text, NULL, NULL) ||
      sscanf (text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &all, &resident) != 2)
    return;
  append (out, "virtual_memory_bytes", "gauge", "address space in use", "%.0f",
      (gdouble)all * (gdouble)sysconf (_SC_PAGESIZE));
  append (out, "resident_memory_bytes", "gauge", "memory in use", "%.0f",
      (gdouble)resident * (gdouble)sysconf (_SC_PAGESIZE));
}

static void
append_descriptors (GString *out)
{
  GDir *dir = g_dir_open ("/proc/self/fd", 0, NULL);
  struct rlimit files;
  guint n = 0;

  if (dir != NULL) {
    while (g_dir_read_name (dir) != NULL)
      n++;
    g_dir_close (dir);
    /* One of them is the directory's. */
    append (out, "open_fds", "gauge", "descriptors in use", "%.0f", n - 1);
  }
  if (getrlimit (RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
    append (out, "max_fds", "gauge", "descriptors that the system allows", "%.0f",
        (gdouble)files.rlim_cur);
}

void
nat_process_append_metrics (GString *out, gint64 started_s)
{
  struct rusage usage;

  if (getrusage (RUSAGE_SELF, &usage) == 0)
    append (out, "cpu_seconds_total", "counter", "time of cores, in user and system mode", "%.6f",
        seconds (&usage.ru_utime) + seconds (&usage.ru_stime));
  append (out, "start_time_seconds", "gauge", "Unix time of the start", "%.0f", (gdouble)started_s);
  append_memory (out);
  append_descriptors (out);
}
