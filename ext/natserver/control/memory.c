/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#define SLACK_SHARE   16           /* of the bound: what comes without asking between two looks */
#define MEASURE_SHARE 64           /* so much given, and it is looked again */
#define CACHE_LEAST   8            /* a part in so many of its most is what the cache keeps, */
#define CACHE_SHARE   16           /* and no more than that of the bound */
#define LEAST         (256 * 1024) /* less than that left is none */
#define TRIM_US       (10 * G_USEC_PER_SEC)

struct _NatMemory {
  NatMemoryConfig config;
  guint64 resident, cached; /* when it was looked last */
  guint64 spent;            /* since then */
  gint64 promised;
  guint64 refused;
  gint64 trimmed_us;
  gboolean tight; /* something was refused since it was looked last */
};

/* ---- The account ------------------------------------------------------- */

NatMemory *
nat_memory_new (const NatMemoryConfig *config)
{
  NatMemory *m = g_new0 (NatMemory, 1);

  m->config = *config;
  nat_memory_measure (m);
  return m;
}

void
nat_memory_free (NatMemory *m)
{
  g_free (m);
}

/* All but the cache. */
static guint64
taken (const NatMemory *m)
{
  return m->resident - MIN (m->cached, m->resident) + m->spent + (guint64)MAX (m->promised, 0) +
         m->config.fixed + m->config.bound / SLACK_SHARE;
}

static guint64
cache_least (const NatMemory *m)
{
  return MIN (m->config.cache / CACHE_LEAST, m->config.bound / CACHE_SHARE);
}

static guint64
left (const NatMemory *m)
{
  guint64 used = taken (m) + cache_least (m);

  return used < m->config.bound ? m->config.bound - used : 0;
}

static guint64
cache_allowed (const NatMemory *m)
{
  return MIN (m->config.cache, cache_least (m) + left (m));
}

/* What was freed may still be the allocator's: the system shall have it before anybody is refused for long. */
static void
trim (NatMemory *m)
{
  gint64 now_us = g_get_monotonic_time ();

  if (!m->tight || now_us - m->trimmed_us < TRIM_US)
    return;
  m->trimmed_us = now_us;
#ifdef __GLIBC__
  malloc_trim (0);
#endif
}

void
nat_memory_measure (NatMemory *m)
{
  trim (m);
  m->tight = FALSE;
  if (m->config.measure (&m->resident, &m->cached, m->config.user))
    m->spent = 0;
}

gboolean
nat_memory_take (NatMemory *m, guint64 bytes)
{
  if (m == NULL)
    return TRUE;
  if (m->spent > m->config.bound / MEASURE_SHARE)
    nat_memory_measure (m);
  if (bytes + LEAST > left (m)) {
    m->refused++;
    m->tight = TRUE;
    return FALSE;
  }
  m->spent += bytes;
  return TRUE;
}

void
nat_memory_spend (NatMemory *m, guint64 bytes)
{
  if (m != NULL)
    m->spent += bytes;
}

void
nat_memory_promise (NatMemory *m, gint64 change)
{
  if (m != NULL)
    m->promised += change;
}

void
nat_memory_get_stats (NatMemory *m, NatMemoryStats *stats)
{
  *stats = (NatMemoryStats){.bound = m->config.bound,
      .resident = m->resident,
      .cache = cache_allowed (m),
      .refused = m->refused,
      .is_full = left (m) < LEAST};
}

/* ---- What the system says ---------------------------------------------- */

gboolean
nat_memory_resident (guint64 *bytes)
{
  unsigned long long size, pages;
  FILE *file = fopen ("/proc/self/statm", "re");
  gboolean ok = file != NULL && fscanf (file, "%llu %llu", &size, &pages) == 2;

  if (file != NULL)
    fclose (file);
  if (ok)
    *bytes = (guint64)pages * (guint64)sysconf (_SC_PAGESIZE);
  return ok;
}

/* "max", or there is no such file: no limit. */
static guint64
read_limit (const char *path)
{
  g_autofree char *text = NULL;

  if (!g_file_get_contents (path, &text, NULL, NULL) || !g_ascii_isdigit (*text))
    return G_MAXUINT64;
  return g_ascii_strtoull (text, NULL, 10);
}

/* Of the process's own control group (version 2) and all above it. */
static guint64
group_limit (void)
{
  g_autofree char *text = NULL;
  guint64 limit = G_MAXUINT64;
  char *group, *end;

  if (!g_file_get_contents ("/proc/self/cgroup", &text, NULL, NULL))
    return limit;
  group = strstr (text, "0::/");
  if (group == NULL || (group != text && group[-1] != '\n'))
    return limit;
  group += strlen ("0::");
  group[strcspn (group, "\n")] = '\0';
  while ((end = strrchr (group, '/')) != NULL) {
    g_autofree char *path = g_strconcat ("/sys/fs/cgroup", group, "/memory.max", NULL);

    limit = MIN (limit, read_limit (path));
    *end = '\0';
  }
  return MIN (limit, read_limit ("/sys/fs/cgroup/memory.max"));
}

guint64
nat_memory_of_machine (void)
{
  guint64 pages = (guint64)MAX (sysconf (_SC_PHYS_PAGES), 1);

  return MIN (pages * (guint64)sysconf (_SC_PAGESIZE), group_limit ());
}
