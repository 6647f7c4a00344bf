/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/admission.h"

#include "natserver/control/neighbour.h"

typedef struct {
  guint64 key;
  gint64 full_us; /* when the bucket is full again, if nothing more is taken */
  GList link;     /* in order, longest unused first */
} Bucket;

struct _NatAdmission {
  NatAdmissionLimits limits;
  GHashTable *buckets;
  GQueue order;
  guint sessions;
  GHashTable *per_subject; /* text -> count */
  GHashTable *per_address; /* guint64 -> count */
};

NatAdmission *
nat_admission_new (const NatAdmissionLimits *limits)
{
  NatAdmission *a = g_new0 (NatAdmission, 1);

  a->limits = *limits;
  a->buckets = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, NULL, g_free);
  g_queue_init (&a->order);
  a->per_subject = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  a->per_address = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, g_free, NULL);
  return a;
}

void
nat_admission_free (NatAdmission *a)
{
  g_hash_table_unref (a->buckets);
  g_hash_table_unref (a->per_subject);
  g_hash_table_unref (a->per_address);
  g_free (a);
}

/* ---- Buckets ----------------------------------------------------------- */

static Bucket *
bucket_of (NatAdmission *a, const NatAddress *peer, gint64 now_us)
{
  guint64 key = nat_neighbour_key (peer);
  Bucket *b = g_hash_table_lookup (a->buckets, &key);

  if (b != NULL) {
    g_queue_unlink (&a->order, &b->link);
  } else {
    b = g_new0 (Bucket, 1);
    b->key = key;
    b->full_us = now_us;
    b->link.data = b;
    g_hash_table_insert (a->buckets, &b->key, b);
  }
  g_queue_push_tail_link (&a->order, &b->link);
  return b;
}

static void
make_room (NatAdmission *a, gint64 now_us)
{
  while (a->order.head != NULL) {
    Bucket *oldest = a->order.head->data;

    /* A full bucket says as much as none at all. */
    if (a->order.length <= NAT_ADMISSION_ADDRESSES_MAX && oldest->full_us > now_us)
      return;
    g_queue_unlink (&a->order, &oldest->link);
    g_hash_table_remove (a->buckets, &oldest->key);
  }
}

gboolean
nat_admission_take (NatAdmission *a, const NatAddress *peer, gint64 now_us, guint *retry_s)
{
  gint64 cost_us, capacity_us, empty_us;
  Bucket *b;

  *retry_s = 0;
  if (a->limits.requests_per_second == 0)
    return TRUE;
  cost_us = G_USEC_PER_SEC / a->limits.requests_per_second;
  capacity_us = cost_us * MAX (1, a->limits.requests_burst);
  make_room (a, now_us);
  b = bucket_of (a, peer, now_us);
  empty_us = MAX (b->full_us, now_us) + cost_us;
  if (empty_us - now_us > capacity_us) {
    *retry_s = (guint)((empty_us - now_us - capacity_us + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC);
    return FALSE;
  }
  b->full_us = empty_us;
  return TRUE;
}

/* ---- Sessions ---------------------------------------------------------- */

static guint
count_of (GHashTable *table, gconstpointer key)
{
  return GPOINTER_TO_UINT (g_hash_table_lookup (table, key));
}

static gboolean
over (guint count, guint limit)
{
  return limit != 0 && count >= limit;
}

NatProblemKind
nat_admission_enter (NatAdmission *a, const NatAddress *peer, const char *subject)
{
  guint64 key = peer ? nat_neighbour_key (peer) : 0;

  if (peer != NULL) {
    if (over (a->sessions, a->limits.sessions))
      return NAT_PROBLEM_RELAY_FULL;
    if (over (count_of (a->per_address, &key), a->limits.sessions_per_address) ||
        (*subject != '\0' &&
            over (count_of (a->per_subject, subject), a->limits.sessions_per_subject)))
      return NAT_PROBLEM_TOO_MANY_SESSIONS;
    g_hash_table_insert (a->per_address, g_memdup2 (&key, sizeof key),
        GUINT_TO_POINTER (count_of (a->per_address, &key) + 1));
  }
  a->sessions++;
  g_hash_table_insert (a->per_subject, g_strdup (subject),
      GUINT_TO_POINTER (count_of (a->per_subject, subject) + 1));
  return NAT_PROBLEM_NONE;
}

void
nat_admission_leave (NatAdmission *a, const NatAddress *peer, const char *subject)
{
  guint64 key = peer ? nat_neighbour_key (peer) : 0;
  guint n = count_of (a->per_subject, subject);

  a->sessions--;
  if (n > 1)
    g_hash_table_insert (a->per_subject, g_strdup (subject), GUINT_TO_POINTER (n - 1));
  else
    g_hash_table_remove (a->per_subject, subject);
  if (peer == NULL)
    return;
  n = count_of (a->per_address, &key);
  if (n > 1)
    g_hash_table_insert (a->per_address, g_memdup2 (&key, sizeof key), GUINT_TO_POINTER (n - 1));
  else
    g_hash_table_remove (a->per_address, &key);
}
