/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/mesh.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "natproto/crypto.h"
#include "natproto/streamname.h"

/* All mailboxes that one worker reads have about so many places together. */
#define LETTERS_OF_WORKER 4096
#define LETTERS_MIN       64
#define LETTERS_MAX       1024

/* What others write of a worker's; on lines of its own. */
typedef struct {
  _Alignas(64) atomic_bool mail;
  atomic_uint arrivals;
  NatDataStream *arrived; /* under the lock */
  int fd;
} Door;

/* Patterns that can match one and the same stream are of one group, which lives at one worker. */
typedef struct {
  char *name;
  guint group, home;
  guint changed; /* as homes was when that became its home */
} Pattern;

struct _NatMesh {
  guint n;
  /* Not a GMutex: a test counts the calls. */
  pthread_mutex_t lock;
  GHashTable *owners; /* stream name -> worker + 1 */
  GPtrArray *patterns;
  guint groups;      /* numbers given out */
  atomic_uint homes; /* of changes */
  gboolean closed;
  Door *doors;
  NatMailbox **mailboxes;
  _Alignas(64) _Atomic gint64 nonce_us;
  NatSsrcFilter ssrcs;
};

static void
pattern_free (gpointer data)
{
  Pattern *p = data;

  g_free (p->name);
  g_free (p);
}

static guint
capacity (guint n)
{
  guint each = CLAMP (LETTERS_OF_WORKER / n, LETTERS_MIN, LETTERS_MAX), power = LETTERS_MIN;

  while (power * 2 <= each)
    power *= 2;
  return power;
}

NatMesh *
nat_mesh_new (guint n_workers, gsize letter_size)
{
  NatMesh *m = g_aligned_alloc0 (1, sizeof *m, 64);
  gboolean ok = TRUE;

  m->n = n_workers;
  pthread_mutex_init (&m->lock, NULL);
  m->owners = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  m->patterns = g_ptr_array_new_with_free_func (pattern_free);
  m->doors = g_aligned_alloc0 (n_workers, sizeof *m->doors, 64);
  m->mailboxes = g_new0 (NatMailbox *, n_workers * n_workers);
  nat_ssrc_filter_init (&m->ssrcs);
  for (guint i = 0; i < n_workers; i++) {
    m->doors[i].fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    ok &= m->doors[i].fd >= 0;
  }
  for (guint i = 0; i < n_workers * n_workers; i++) {
    if (i / n_workers != i % n_workers)
      m->mailboxes[i] = nat_mailbox_new (letter_size, capacity (n_workers));
  }
  if (!ok)
    g_clear_pointer (&m, nat_mesh_free);
  return m;
}

void
nat_mesh_free (NatMesh *m)
{
  if (!m)
    return;
  for (guint i = 0; i < m->n; i++) {
    g_warn_if_fail (!m->doors[i].arrived);
    if (m->doors[i].fd >= 0)
      close (m->doors[i].fd);
  }
  for (guint i = 0; i < m->n * m->n; i++)
    nat_mailbox_free (m->mailboxes[i]);
  g_free (m->mailboxes);
  g_aligned_free (m->doors);
  g_hash_table_unref (m->owners);
  g_ptr_array_unref (m->patterns);
  nat_ssrc_filter_clear (&m->ssrcs);
  pthread_mutex_destroy (&m->lock);
  g_aligned_free (m);
}

guint
nat_mesh_n_workers (const NatMesh *m)
{
  return m->n;
}

/* ---- Streams ----------------------------------------------------------- */

void
nat_mesh_lock (NatMesh *m)
{
  pthread_mutex_lock (&m->lock);
}

void
nat_mesh_unlock (NatMesh *m)
{
  pthread_mutex_unlock (&m->lock);
}

gint
nat_mesh_owner (NatMesh *m, const char *stream)
{
  return GPOINTER_TO_INT (g_hash_table_lookup (m->owners, stream)) - 1;
}

static void
set_owner (NatMesh *m, const char *stream, guint worker)
{
  g_hash_table_replace (m->owners, g_strdup (stream), GUINT_TO_POINTER (worker + 1));
}

/* ---- Patterns ---------------------------------------------------------- */

static guint
homes_changed (NatMesh *m)
{
  return atomic_fetch_add_explicit (&m->homes, 1, memory_order_release) + 1;
}

guint
nat_mesh_homes (NatMesh *m)
{
  return atomic_load_explicit (&m->homes, memory_order_acquire);
}

gint
nat_mesh_home (NatMesh *m, const char *stream)
{
  gboolean is_glob = nat_stream_is_glob (stream);

  for (guint i = 0; i < m->patterns->len; i++) {
    const Pattern *p = m->patterns->pdata[i];

    if (is_glob ? strcmp (p->name, stream) == 0 : nat_stream_glob_takes (p->name, stream))
      return (gint)p->home;
  }
  return -1;
}

gboolean
nat_mesh_next_home (NatMesh *m, guint since, NatHome *out)
{
  const Pattern *first = NULL;

  nat_mesh_lock (m);
  out->homes = nat_mesh_homes (m);
  for (guint i = 0; i < m->patterns->len; i++) {
    const Pattern *p = m->patterns->pdata[i];

    if (p->changed > since && (!first || p->changed < first->changed))
      first = p;
  }
  if (first) {
    g_strlcpy (out->pattern, first->name, sizeof out->pattern);
    out->home = first->home;
    out->changed = first->changed;
  }
  nat_mesh_unlock (m);
  return first != NULL;
}

/* Where most of the streams are that it matches: each that moves leaves a part of its history behind, or all. */
static guint
choose_home (NatMesh *m, const char *pattern, guint wanted)
{
  guint counts[NAT_WORKERS_MAX] = {0}, home = wanted;
  GHashTableIter it;
  gpointer name, owner;

  g_hash_table_iter_init (&it, m->owners);
  while (g_hash_table_iter_next (&it, &name, &owner)) {
    guint at = GPOINTER_TO_UINT (owner) - 1;

    if (nat_stream_glob_takes (pattern, name) && ++counts[at] > counts[home])
      home = at;
  }
  return home;
}

/* The pattern ties groups that had nothing in common before. */
static void
join_group (NatMesh *m, guint from, const Pattern *to)
{
  for (guint i = 0; i < m->patterns->len; i++) {
    Pattern *p = m->patterns->pdata[i];

    if (p->group != from)
      continue;
    p->group = to->group;
    if (p->home != to->home)
      p->changed = homes_changed (m);
    p->home = to->home;
  }
}

static guint
add_pattern (NatMesh *m, const char *name, guint wanted)
{
  Pattern *new = g_new0 (Pattern, 1);
  gboolean alone = TRUE;

  new->name = g_strdup (name);
  new->changed =
      homes_changed (m); /* before those that it makes move: it takes most streams along */
  for (guint i = 0; i < m->patterns->len; i++) {
    const Pattern *p = m->patterns->pdata[i];

    if (!nat_stream_globs_meet (p->name, name))
      continue;
    if (alone) {
      new->group = p->group;
      new->home = p->home;
      alone = FALSE;
    } else if (p->group != new->group) {
      join_group (m, p->group, new);
    }
  }
  if (alone) {
    new->group = m->groups++;
    new->home = choose_home (m, name, wanted);
  }
  g_ptr_array_add (m->patterns, new);
  return new->home;
}

static void
remove_pattern (NatMesh *m, const char *name)
{
  for (guint i = 0; i < m->patterns->len; i++) {
    if (strcmp (((Pattern *)m->patterns->pdata[i])->name, name) != 0)
      continue;
    g_ptr_array_remove_index (m->patterns, i);
    homes_changed (m);
    return;
  }
}

guint
nat_mesh_assign (NatMesh *m, const char *stream, guint wanted)
{
  gint home = nat_mesh_home (m, stream);

  if (home < 0 && nat_stream_is_glob (stream))
    home = (gint)add_pattern (m, stream, wanted);
  set_owner (m, stream, home < 0 ? wanted : (guint)home);
  return home < 0 ? wanted : (guint)home;
}

void
nat_mesh_forget (NatMesh *m, const char *stream)
{
  g_hash_table_remove (m->owners, stream);
  if (nat_stream_is_glob (stream))
    remove_pattern (m, stream);
}

/* ---- Handing over ------------------------------------------------------ */

void
nat_mesh_hand_over (NatMesh *m, NatDataStream *stream, guint to)
{
  Door *door = &m->doors[to];

  set_owner (m, stream->name, to);
  stream->next_stale = door->arrived;
  door->arrived = stream;
  atomic_fetch_add_explicit (&door->arrivals, 1, memory_order_release);
}

void
nat_mesh_close (NatMesh *m)
{
  nat_mesh_lock (m);
  m->closed = TRUE;
  nat_mesh_unlock (m);
}

gboolean
nat_mesh_is_closed (NatMesh *m)
{
  return m->closed;
}

NatDataStream *
nat_mesh_take (NatMesh *m, guint worker)
{
  Door *door = &m->doors[worker];
  NatDataStream *list;

  if (atomic_load_explicit (&door->arrivals, memory_order_acquire) == 0)
    return NULL;
  nat_mesh_lock (m);
  list = g_steal_pointer (&door->arrived);
  atomic_store_explicit (&door->arrivals, 0, memory_order_relaxed);
  nat_mesh_unlock (m);
  return list;
}

/* ---- Letters ----------------------------------------------------------- */

gsize
nat_mesh_letters (const NatMesh *m)
{
  return (gsize)m->n * (m->n - 1) * capacity (m->n);
}

NatMailbox *
nat_mesh_mailbox (NatMesh *m, guint from, guint to)
{
  return m->mailboxes[from * m->n + to];
}

void
nat_mesh_notify (NatMesh *m, guint to)
{
  atomic_store_explicit (&m->doors[to].mail, TRUE, memory_order_release);
}

void
nat_mesh_wake (NatMesh *m, guint to)
{
  guint64 one = 1;
  /* As in ring.c: it fails only when the reader is awake. */
  ssize_t ignored G_GNUC_UNUSED = write (m->doors[to].fd, &one, sizeof one);
}

gboolean
nat_mesh_has_mail (NatMesh *m, guint worker)
{
  atomic_bool *mail = &m->doors[worker].mail;

  /* Cleared before the boxes are looked at: what is posted after that look sets it again. */
  return atomic_load_explicit (mail, memory_order_relaxed) &&
         atomic_exchange_explicit (mail, FALSE, memory_order_acquire);
}

void
nat_mesh_clear_mail (NatMesh *m, guint worker)
{
  guint64 wakeups;
  ssize_t ignored G_GNUC_UNUSED = read (m->doors[worker].fd, &wakeups, sizeof wakeups);
}

int
nat_mesh_fd (NatMesh *m, guint worker)
{
  return m->doors[worker].fd;
}

/* ---- Nonces, SSRCs ----------------------------------------------------- */

gint64
nat_mesh_nonce_time (NatMesh *m, gint64 now_us)
{
  gint64 last = atomic_load_explicit (&m->nonce_us, memory_order_relaxed), next;

  do
    next = MAX (now_us, last + 1);
  while (!atomic_compare_exchange_weak_explicit (
      &m->nonce_us, &last, next, memory_order_relaxed, memory_order_relaxed));
  return next;
}

gint64
nat_mesh_last_nonce (NatMesh *m)
{
  return atomic_load_explicit (&m->nonce_us, memory_order_relaxed);
}

NatSsrcFilter *
nat_mesh_ssrcs (NatMesh *m)
{
  return &m->ssrcs;
}
