/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/admission.h"

#include <string.h>

#include "natproto/neighbour.h"

#define FORGOTTEN_AT_ONCE 16 /* buckets */
#define HOUR_US           (G_GINT64_CONSTANT (3600) * G_USEC_PER_SEC)

/* Of one address or subject, for two times. Each: when it is full again, if nothing more is taken. */
typedef struct {
  guint64 key;
  gint64 full_us, hour_full_us;
  GList link; /* in order, longest unused first */
} Bucket;

typedef struct {
  GHashTable *by_key;
  GQueue order;
} Buckets;

typedef struct {
  guint sessions, streams;
} Tally;

struct _NatAdmission {
  NatAdmissionLimits limits;
  Buckets addresses, subjects;
  Tally all;
  GHashTable *per_subject; /* text -> Tally */
  GHashTable *per_address; /* guint64 -> Tally */
};

static void
buckets_init (Buckets *b)
{
  b->by_key = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, NULL, g_free);
  g_queue_init (&b->order);
}

NatAdmission *
nat_admission_new (const NatAdmissionLimits *limits)
{
  NatAdmission *a = g_new0 (NatAdmission, 1);

  a->limits = *limits;
  buckets_init (&a->addresses);
  buckets_init (&a->subjects);
  a->per_subject = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  a->per_address = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, g_free, g_free);
  return a;
}

void
nat_admission_free (NatAdmission *a)
{
  g_hash_table_unref (a->addresses.by_key);
  g_hash_table_unref (a->subjects.by_key);
  g_hash_table_unref (a->per_subject);
  g_hash_table_unref (a->per_address);
  g_free (a);
}

void
nat_admission_set_limits (NatAdmission *a, const NatAdmissionLimits *limits)
{
  a->limits = *limits;
}

const NatAdmissionLimits *
nat_admission_limits (const NatAdmission *a)
{
  return &a->limits;
}

/* ---- Buckets ----------------------------------------------------------- */

static Bucket *
bucket_of (Buckets *buckets, guint64 key, gint64 now_us)
{
  Bucket *b = g_hash_table_lookup (buckets->by_key, &key);

  if (b != NULL) {
    g_queue_unlink (&buckets->order, &b->link);
  } else {
    b = g_new0 (Bucket, 1);
    b->key = key;
    b->full_us = b->hour_full_us = now_us;
    b->link.data = b;
    g_hash_table_insert (buckets->by_key, &b->key, b);
  }
  g_queue_push_tail_link (&buckets->order, &b->link);
  return b;
}

/* A few for each that may come: where a flood was, all of its are full at the same time. */
static void
make_room (Buckets *buckets, gint64 now_us)
{
  for (guint i = 0; i < FORGOTTEN_AT_ONCE && buckets->order.head != NULL; i++) {
    Bucket *oldest = buckets->order.head->data;

    /* A full bucket says as much as none at all. */
    if (buckets->order.length <= NAT_ADMISSION_ADDRESSES_MAX &&
        MAX (oldest->full_us, oldest->hour_full_us) > now_us)
      return;
    g_queue_unlink (&buckets->order, &oldest->link);
    g_hash_table_remove (buckets->by_key, &oldest->key);
  }
}

/* How long until one may be taken from a bucket that gives rate in span_us and holds burst; 0 = now, and
 * then *full_us is as if it were. */
static gint64
wait_for (gint64 *full_us, gint64 now_us, gint64 span_us, guint rate, guint burst)
{
  gint64 cost_us, capacity_us, after_us;

  if (rate == 0)
    return 0;
  cost_us = span_us / rate;
  capacity_us = cost_us * MAX (1, burst);
  after_us = MAX (*full_us, now_us) + cost_us;
  if (after_us - now_us > capacity_us)
    return after_us - now_us - capacity_us;
  *full_us = after_us;
  return 0;
}

static guint
in_seconds (gint64 us)
{
  return (guint)((us + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC);
}

gboolean
nat_admission_take (NatAdmission *a, const NatAddress *peer, gint64 now_us, guint *retry_s)
{
  const NatAdmissionLimits *l = &a->limits;
  gint64 full_us, hour_full_us, second_us, hour_us;
  Bucket *b;

  *retry_s = 0;
  if (l->requests_per_second == 0)
    return TRUE;
  make_room (&a->addresses, now_us);
  b = bucket_of (&a->addresses, nat_neighbour_key (peer), now_us);
  full_us = b->full_us;
  hour_full_us = b->hour_full_us;
  second_us =
      wait_for (&full_us, now_us, G_USEC_PER_SEC, l->requests_per_second, l->requests_burst);
  hour_us = wait_for (&hour_full_us, now_us, HOUR_US, l->requests_per_hour, l->requests_per_hour);
  *retry_s = in_seconds (MAX (second_us, hour_us));
  if (*retry_s > 0)
    return FALSE;
  b->full_us = full_us;
  b->hour_full_us = hour_full_us;
  return TRUE;
}

/* Whoever signs tokens says the subjects, so the hash need not be keyed. */
static guint64
subject_key (const char *subject)
{
  guint8 hash[NAT_SHA256_SIZE];
  guint64 key;

  nat_crypto_sha256 (subject, strlen (subject), hash);
  memcpy (&key, hash, sizeof key);
  return key;
}

gboolean
nat_admission_take_subject (NatAdmission *a, const char *subject, gint64 now_us, guint *retry_s)
{
  guint limit = a->limits.requests_per_hour_per_subject;
  Bucket *b;

  *retry_s = 0;
  if (limit == 0 || *subject == '\0')
    return TRUE;
  make_room (&a->subjects, now_us);
  b = bucket_of (&a->subjects, subject_key (subject), now_us);
  *retry_s = in_seconds (wait_for (&b->hour_full_us, now_us, HOUR_US, limit, limit));
  return *retry_s == 0;
}

/* ---- Sessions ---------------------------------------------------------- */

static gboolean
over (guint count, guint limit)
{
  return limit != 0 && count >= limit;
}

static Tally
tally_of (GHashTable *table, gconstpointer key)
{
  static const Tally none;
  const Tally *t = g_hash_table_lookup (table, key);

  return t ? *t : none;
}

/* The limit that one more would break; NULL: none. */
static const char *
limit_in_all (const NatAdmission *a, const NatEntrant *who)
{
  if (over (a->all.sessions, a->limits.sessions))
    return "max-sessions";
  if (who->role == NAT_ROLE_PUBLISHER && over (a->all.streams, a->limits.streams))
    return "max-streams";
  return NULL;
}

static const char *
limit_of_one (NatAdmission *a, const NatEntrant *who)
{
  const NatAdmissionLimits *l = &a->limits;
  guint64 key = nat_neighbour_key (who->peer);
  Tally address = tally_of (a->per_address, &key);
  Tally subject = *who->subject != '\0' ? tally_of (a->per_subject, who->subject) : (Tally){0};

  if (over (address.sessions, l->sessions_per_address))
    return "max-sessions-per-address";
  if (over (subject.sessions, l->sessions_per_subject))
    return "max-sessions-per-subject";
  if (who->role != NAT_ROLE_PUBLISHER)
    return NULL;
  if (over (address.streams, l->streams_per_address))
    return "max-streams-per-address";
  return over (subject.streams, l->streams_per_subject) ? "max-streams-per-subject" : NULL;
}

/* key: given. */
static void
count (GHashTable *table, gpointer key, const NatEntrant *who)
{
  Tally *t = g_hash_table_lookup (table, key);

  if (t == NULL) {
    t = g_new0 (Tally, 1);
    g_hash_table_insert (table, key, t);
  } else {
    g_free (key);
  }
  t->sessions++;
  t->streams += who->role == NAT_ROLE_PUBLISHER;
}

static void
uncount (GHashTable *table, gconstpointer key, const NatEntrant *who)
{
  Tally *t = g_hash_table_lookup (table, key);

  t->streams -= who->role == NAT_ROLE_PUBLISHER;
  if (--t->sessions == 0)
    g_hash_table_remove (table, key);
}

NatProblemKind
nat_admission_enter (NatAdmission *a, const NatEntrant *who, const char **limit)
{
  *limit = NULL;
  if (who->peer != NULL) {
    guint64 key = nat_neighbour_key (who->peer);

    if ((*limit = limit_in_all (a, who)) != NULL)
      return NAT_PROBLEM_RELAY_FULL;
    if ((*limit = limit_of_one (a, who)) != NULL)
      return NAT_PROBLEM_TOO_MANY_SESSIONS;
    count (a->per_address, g_memdup2 (&key, sizeof key), who);
  }
  a->all.sessions++;
  a->all.streams += who->role == NAT_ROLE_PUBLISHER;
  count (a->per_subject, g_strdup (who->subject), who);
  return NAT_PROBLEM_NONE;
}

void
nat_admission_leave (NatAdmission *a, const NatEntrant *who)
{
  a->all.sessions--;
  a->all.streams -= who->role == NAT_ROLE_PUBLISHER;
  uncount (a->per_subject, who->subject, who);
  if (who->peer != NULL) {
    guint64 key = nat_neighbour_key (who->peer);

    uncount (a->per_address, &key, who);
  }
}
