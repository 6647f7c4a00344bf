/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/meter.h"

#include <pthread.h>
#include <string.h>

#include "natproto/crypto.h"
#include "natproto/messages.h"
#include "natproto/neighbour.h"

#define NS            G_GINT64_CONSTANT (1000000000)
#define SHARE         64 /* of a second: what is granted at once */
#define SHARE_BYTES   (64 * 1024)
#define SHARE_PACKETS 64
#define ADDRESSES     4 /* of one session; no more than it has paths */
#define IDLE_AT_ONCE  4 /* looked at when somebody comes or goes */
/* Where there is no limit. */
#define ENDLESS (G_GUINT64_CONSTANT (1) << 40)

/* Where nobody refers to it, it stays until all that it gave is earned: else whoever comes and goes would have a second's
 * worth each time. All but the meter is under the lock. */
typedef struct {
  guint64 key; /* first: it is the hash key */
  guint refs;
  GHashTable *table;
  GList link; /* of those that nobody refers to */
  NatMeter meter;
} Shared;

struct _NatMeters {
  atomic_uint refs;
  /* Not a GMutex: a test counts the calls. */
  pthread_mutex_t lock;
  GHashTable *subjects, *addresses; /* Shared by its key; under the lock */
  GQueue idle;                      /* of them, those without references, but not earned; as well */
  _Atomic guint64 rates[NAT_LIMITS]; /* kbps << 32 | packets */
  atomic_uint generation;            /* of the rates */
  atomic_uint refused;
  NatMeter all;
};

struct _NatBudget {
  NatMeters *meters;
  NatMeter *stream;
  NatMeter claimed; /* its token's, if that is shared with nobody */
  NatRate claim;
  Shared *subject; /* NULL: shared with nobody */
  guint64 keys[ADDRESSES];
  Shared *addresses[ADDRESSES]; /* NULL: free */
  guint generation;
  gint64 now_us; /* when it was heard, or asked last */
};

/* ---- All --------------------------------------------------------------- */

NatMeters *
nat_meters_new (void)
{
  NatMeters *m = g_new0 (NatMeters, 1);
  guint64 key = 0;

  nat_neighbour_hash (&key); /* draws its secret, which all threads read from then on */
  atomic_init (&m->refs, 1);
  pthread_mutex_init (&m->lock, NULL);
  g_queue_init (&m->idle);
  m->subjects = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, g_free, NULL);
  m->addresses = g_hash_table_new_full (nat_neighbour_hash, g_int64_equal, g_free, NULL);
  return m;
}

NatMeters *
nat_meters_ref (NatMeters *m)
{
  atomic_fetch_add_explicit (&m->refs, 1, memory_order_relaxed);
  return m;
}

void
nat_meters_unref (NatMeters *m)
{
  if (atomic_fetch_sub_explicit (&m->refs, 1, memory_order_acq_rel) != 1)
    return;
  g_hash_table_unref (m->subjects);
  g_hash_table_unref (m->addresses);
  pthread_mutex_destroy (&m->lock);
  g_free (m);
}

void
nat_meters_set_rates (NatMeters *m, const NatRate rates[NAT_LIMITS])
{
  for (guint i = 0; i < NAT_LIMITS; i++)
    atomic_store_explicit (
        &m->rates[i], (guint64)rates[i].kbps << 32 | rates[i].packets, memory_order_relaxed);
  atomic_fetch_add_explicit (&m->generation, 1, memory_order_release);
}

static NatRate
rate_of (NatMeters *m, NatLimit limit)
{
  guint64 rate = atomic_load_explicit (&m->rates[limit], memory_order_relaxed);

  return (NatRate){(guint32)(rate >> 32), (guint32)rate};
}

guint
nat_meters_refused (NatMeters *m)
{
  return atomic_load_explicit (&m->refused, memory_order_relaxed);
}

guint
nat_meters_size (NatMeters *m)
{
  guint n;

  pthread_mutex_lock (&m->lock);
  n = g_hash_table_size (m->subjects) + g_hash_table_size (m->addresses);
  pthread_mutex_unlock (&m->lock);
  return n;
}

static gboolean
is_earned (Shared *s, gint64 now_ns)
{
  return atomic_load_explicit (&s->meter.bytes_ns, memory_order_relaxed) <= now_ns &&
         atomic_load_explicit (&s->meter.packets_ns, memory_order_relaxed) <= now_ns;
}

/* Those that left first. So what is kept left in the last few seconds, or since nobody came any more. */
static void
drop_idle (NatMeters *m, gint64 now_ns)
{
  for (guint n = 0; n < IDLE_AT_ONCE && m->idle.head; n++) {
    Shared *s = m->idle.head->data;

    if (!is_earned (s, now_ns))
      return;
    g_queue_unlink (&m->idle, &s->link);
    g_hash_table_remove (s->table, &s->key);
  }
}

static Shared *
join_shared (NatMeters *m, GHashTable *table, guint64 key, gint64 now_us)
{
  Shared *s;

  pthread_mutex_lock (&m->lock);
  drop_idle (m, now_us * 1000);
  s = g_hash_table_lookup (table, &key);
  if (!s) {
    s = g_new0 (Shared, 1);
    s->key = key;
    s->table = table;
    s->link.data = s;
    g_hash_table_insert (table, &s->key, s);
  } else if (s->refs == 0) {
    g_queue_unlink (&m->idle, &s->link);
  }
  s->refs++;
  pthread_mutex_unlock (&m->lock);
  return s;
}

static void
leave_shared (NatMeters *m, Shared *s, gint64 now_us)
{
  if (!s)
    return;
  pthread_mutex_lock (&m->lock);
  if (--s->refs == 0 && is_earned (s, now_us * 1000))
    g_hash_table_remove (s->table, &s->key);
  else if (s->refs == 0)
    g_queue_push_tail_link (&m->idle, &s->link);
  pthread_mutex_unlock (&m->lock);
}

/* ---- One --------------------------------------------------------------- */

NatBudget *
nat_budget_new (NatMeters *m, NatMeter *stream)
{
  NatBudget *b = g_new0 (NatBudget, 1);

  b->meters = nat_meters_ref (m);
  b->stream = stream;
  return b;
}

void
nat_budget_free (NatBudget *b)
{
  if (!b)
    return;
  leave_shared (b->meters, b->subject, b->now_us);
  for (guint i = 0; i < ADDRESSES; i++)
    leave_shared (b->meters, b->addresses[i], b->now_us);
  nat_meters_unref (b->meters);
  g_free (b);
}

static void
take_grants_back (NatSessionCounters *c)
{
  atomic_store_explicit (&c->bytes_granted, 0, memory_order_relaxed);
  atomic_store_explicit (&c->packets_granted, 0, memory_order_relaxed);
}

/* Subjects are as long as tickets hold them, and signed by who may say them. */
static guint64
subject_key (const char *subject, const NatRate *claim)
{
  struct {
    NatRate claim;
    char subject[72];
  } text;
  guint8 hash[NAT_SHA256_SIZE];
  guint64 key;

  memset (&text, 0, sizeof text);
  text.claim = *claim;
  g_strlcpy (text.subject, subject, sizeof text.subject);
  nat_crypto_sha256 (&text, sizeof text, hash);
  memcpy (&key, hash, sizeof key);
  return key;
}

void
nat_budget_claim (NatBudget *b, const char *subject, const NatRate *claim, NatSessionCounters *c)
{
  Shared *before = b->subject;

  b->claim = *claim;
  b->subject = *subject != '\0' ? join_shared (b->meters, b->meters->subjects,
                                      subject_key (subject, claim), b->now_us)
                                : NULL;
  leave_shared (b->meters, before, b->now_us);
  take_grants_back (c);
}

NatRate
nat_budget_claimed (const NatBudget *b)
{
  return b->claim;
}

static guint
place_of (const NatBudget *b, guint64 key)
{
  for (guint i = 0; i < ADDRESSES; i++) {
    if (b->addresses[i] && b->keys[i] == key)
      return i;
  }
  return ADDRESSES;
}

/* Who is heard goes last, so the first is the one heard longest ago. */
void
nat_budget_heard_from (NatBudget *b, const NatAddress *from, gint64 now_us)
{
  guint64 key = nat_neighbour_key (from);
  guint at = place_of (b, key);
  Shared *shared;

  b->now_us = now_us;
  if (at == ADDRESSES - 1)
    return;
  if (at < ADDRESSES) {
    shared = b->addresses[at];
  } else {
    at = 0;
    shared = join_shared (b->meters, b->meters->addresses, key, now_us);
    leave_shared (b->meters, b->addresses[0], now_us);
  }
  for (; at + 1 < ADDRESSES; at++) {
    b->keys[at] = b->keys[at + 1];
    b->addresses[at] = b->addresses[at + 1];
  }
  b->keys[at] = key;
  b->addresses[at] = shared;
}

void
nat_budget_check (NatBudget *b, NatSessionCounters *c)
{
  guint generation = atomic_load_explicit (&b->meters->generation, memory_order_acquire);

  if (generation == b->generation)
    return;
  b->generation = generation;
  take_grants_back (c);
}

/* ---- Asking ------------------------------------------------------------ */

/* The four, as they are for one packet. */
typedef struct {
  NatMeter *meters[NAT_LIMITS]; /* NULL: nobody's */
  NatRate rates[NAT_LIMITS];
} Asked;

static guint32
least (guint32 a, guint32 b)
{
  return a == 0 || b == 0 ? MAX (a, b) : MIN (a, b);
}

static void
gather (NatBudget *b, const NatAddress *from, Asked *a)
{
  guint at = MIN (place_of (b, nat_neighbour_key (from)), ADDRESSES - 1);

  for (guint i = 0; i < NAT_LIMITS; i++)
    a->rates[i] = rate_of (b->meters, (NatLimit)i);
  a->rates[NAT_LIMIT_SUBJECT].kbps = least (a->rates[NAT_LIMIT_SUBJECT].kbps, b->claim.kbps);
  a->rates[NAT_LIMIT_SUBJECT].packets =
      least (a->rates[NAT_LIMIT_SUBJECT].packets, b->claim.packets);
  a->meters[NAT_LIMIT_STREAM] = b->stream;
  a->meters[NAT_LIMIT_SUBJECT] = b->subject ? &b->subject->meter : &b->claimed;
  a->meters[NAT_LIMIT_ADDRESS] = b->addresses[at] ? &b->addresses[at]->meter : NULL;
  a->meters[NAT_LIMIT_ALL] = &b->meters->all;
}

/* How long the meter takes to earn n at that rate. */
static gint64
cost_ns (guint64 n, guint64 per_second)
{
  return per_second > 0 ? (gint64)(n * (guint64)NS / per_second) : 0;
}

static guint64
bytes_per_second (NatRate rate)
{
  return (guint64)rate.kbps * 125;
}

/* A second's worth, and one packet at least. */
static gboolean
take_word (_Atomic gint64 *word, gint64 now_ns, gint64 cost, gint64 least_ns)
{
  gint64 before = atomic_load_explicit (word, memory_order_relaxed), after;

  if (cost == 0)
    return TRUE;
  do {
    after = MAX (before, now_ns) + cost;
    if (after - now_ns > MAX (NS, least_ns))
      return FALSE;
  } while (!atomic_compare_exchange_weak_explicit (
      word, &before, after, memory_order_relaxed, memory_order_relaxed));
  return TRUE;
}

static void
give_back (const Asked *a, guint n, guint64 bytes, guint64 packets)
{
  for (guint i = 0; i < n; i++) {
    NatRate rate = a->rates[i / 2];
    NatMeter *m = a->meters[i / 2];

    if (m && i % 2 == 0)
      atomic_fetch_sub_explicit (
          &m->bytes_ns, cost_ns (bytes, bytes_per_second (rate)), memory_order_relaxed);
    else if (m)
      atomic_fetch_sub_explicit (
          &m->packets_ns, cost_ns (packets, rate.packets), memory_order_relaxed);
  }
}

/* From all or from none. Returns which has not that much, 2 * NAT_LIMITS if all had. */
static guint
take (const Asked *a, gint64 now_ns, guint64 bytes, guint64 packets)
{
  for (guint i = 0; i < 2 * NAT_LIMITS; i++) {
    NatRate rate = a->rates[i / 2];
    NatMeter *m = a->meters[i / 2];
    guint64 second = bytes_per_second (rate);
    gboolean ok =
        !m || (i % 2 == 0 ? take_word (&m->bytes_ns, now_ns, cost_ns (bytes, second),
                                cost_ns (NAT_DATAGRAM_MAX, second))
                          : take_word (&m->packets_ns, now_ns, cost_ns (packets, rate.packets),
                                cost_ns (1, rate.packets)));

    if (!ok) {
      give_back (a, i, bytes, packets);
      return i;
    }
  }
  return 2 * NAT_LIMITS;
}

/* What is worth having at once: all that the narrowest gives in a 64th of a second. */
static void
share_of (const Asked *a, guint64 *bytes, guint64 *packets)
{
  *bytes = *packets = ENDLESS;
  for (guint i = 0; i < NAT_LIMITS; i++) {
    guint64 second = bytes_per_second (a->rates[i]);

    if (a->meters[i] && second > 0)
      *bytes = MIN (*bytes, MIN (second / SHARE, SHARE_BYTES));
    if (a->meters[i] && a->rates[i].packets > 0)
      *packets = MIN (*packets, MIN (a->rates[i].packets / SHARE, SHARE_PACKETS));
  }
}

static guint64
lacking (const NatCounter *granted, const NatCounter *used, guint64 more)
{
  guint64 wanted = nat_counter_get (used) + more;
  guint64 have = MAX (nat_counter_get (granted), nat_counter_get (used));

  return wanted > have ? wanted - have : 0;
}

static void
grant (NatCounter *granted, const NatCounter *used, guint64 more)
{
  if (more > 0)
    atomic_store_explicit (granted, MAX (nat_counter_get (granted), nat_counter_get (used)) + more,
        memory_order_relaxed);
}

gboolean
nat_budget_ask (NatBudget *b, const NatAddress *from, NatSessionCounters *c, gsize len,
    gint64 now_us, guint *which)
{
  /* Only what is used up: the other would be hoarded. */
  guint64 bytes = lacking (&c->bytes_granted, &c->bytes_received, len);
  guint64 packets = lacking (&c->packets_granted, &c->packets_received, 1);
  guint64 more_bytes, more_packets;
  Asked a;

  b->now_us = now_us;
  gather (b, from, &a);
  share_of (&a, &more_bytes, &more_packets);
  more_bytes = bytes > 0 ? MAX (bytes, more_bytes) : 0;
  more_packets = packets > 0 ? MAX (packets, more_packets) : 0;
  if (take (&a, now_us * 1000, more_bytes, more_packets) < 2 * NAT_LIMITS) {
    more_bytes = bytes;
    more_packets = packets;
    *which = take (&a, now_us * 1000, bytes, packets);
    if (*which < 2 * NAT_LIMITS) {
      atomic_fetch_or_explicit (&b->meters->refused, 1u << *which, memory_order_relaxed);
      return FALSE;
    }
  }
  grant (&c->bytes_granted, &c->bytes_received, more_bytes);
  grant (&c->packets_granted, &c->packets_received, more_packets);
  return TRUE;
}
