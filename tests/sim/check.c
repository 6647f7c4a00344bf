/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "check.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/demux.h"
#include "natserver/data/repair.h"

#define CAPTURED 16
#define BINDINGS_PER_S                                                                             \
  24 /* of a client with two candidates: probes, answers to challenges, repetitions */
#define POSTS_IN_10_S 9
#define REPEATS_PER_S 4 /* a silent source's last packet, a silence at a time */
#define NO_INDEX      0xffffffffu

CheckSums check_sums;

static House *house;
static Client *const *clients;
static guint n_clients;

static GHashTable *mappings; /* session id -> Mapping */
static GHashTable *keys;     /* text -> last index */
static GHashTable *contexts; /* NatSrtcp -> text */
static Datagram *captured[2][CAPTURED];
static guint n_captured[2];
static guint8 *heard_rtp;    /* by number: times that it came to the relay */
static GHashTable *sent_rtp; /* port of a NAT -> by number: times that it left for there */
static GHashTable *moved;    /* port of a NAT -> times that a session moved there */

/* ---- No key and index twice -------------------------------------------- */

NatSrtcp *__real_nat_srtcp_new (const char *password, NatSrtcpDirection direction,
    const guint8 boot_id[NAT_BOOT_ID_SIZE], const guint8 epoch[NAT_EPOCH_SIZE]);
NatSrtcp *__wrap_nat_srtcp_new (const char *password, NatSrtcpDirection direction,
    const guint8 boot_id[NAT_BOOT_ID_SIZE], const guint8 epoch[NAT_EPOCH_SIZE]);
NatSrtcp *
__wrap_nat_srtcp_new (const char *password, NatSrtcpDirection direction,
    const guint8 boot_id[NAT_BOOT_ID_SIZE], const guint8 epoch[NAT_EPOCH_SIZE])
{
  NatSrtcp *s = __real_nat_srtcp_new (password, direction, boot_id, epoch);
  guint8 master[NAT_SRTCP_MASTER_SIZE];

  nat_srtcp_master (password, direction, boot_id, epoch, master);
  g_hash_table_replace (contexts, s, g_base64_encode (master, sizeof master));
  return s;
}

gsize __real_nat_srtcp_protect (NatSrtcp *s, guint8 *data, gsize len);
gsize __wrap_nat_srtcp_protect (NatSrtcp *s, guint8 *data, gsize len);
gsize
__wrap_nat_srtcp_protect (NatSrtcp *s, guint8 *data, gsize len)
{
  gsize sealed = __real_nat_srtcp_protect (s, data, len);
  const char *key = g_hash_table_lookup (contexts, s);
  gpointer last;
  guint32 index;

  if (sealed == 0)
    return 0;
  index = nat_read_u32 (data + sealed - 4) & 0x7fffffff;
  if (g_hash_table_lookup_extended (keys, key, NULL, &last) && index <= GPOINTER_TO_UINT (last))
    world_fail ("index %u of a key of SRTCP was used before", index);
  g_hash_table_replace (keys, g_strdup (key), GUINT_TO_POINTER (index));
  check_sums.rtcp_sealed++;
  return sealed;
}

/* ---- Mappings ---------------------------------------------------------- */

typedef struct {
  NatAddress now;
  Link *link;
  GArray *left; /* NatAddress: where it was before, in this start of the relay */
} Mapping;

static void
mapping_free (gpointer data)
{
  Mapping *m = data;

  g_array_unref (m->left);
  g_free (m);
}

/* No port of a NAT comes twice: whoever is back where it was follows a datagram of the past. */
static void
check_selected (const NatDataSession *s)
{
  Mapping *m = g_hash_table_lookup (mappings, s->id);
  const NatAddress *now = &s->selected->key.remote;

  if (m == NULL) {
    m = g_new0 (Mapping, 1);
    m->now = *now;
    m->link = net_link_of (now);
    m->left = g_array_new (FALSE, FALSE, sizeof (NatAddress));
    g_hash_table_insert (mappings, g_memdup2 (s->id, sizeof s->id), m);
  }
  if (net_link_of (now) == NULL || net_link_of (now) != m->link)
    world_fail ("a session moved to a stranger");
  if (nat_address_equal (now, &m->now))
    return;
  check_sums.moves++;
  g_array_append_val (m->left, m->now);
  m->now = *now;
  for (guint i = 0; i < m->left->len; i++) {
    if (nat_address_equal (now, &g_array_index (m->left, NatAddress, i)))
      world_fail ("a session moved back to port %u", now->port);
  }
}

static void
check_paths (const NatDataSession *s)
{
  guint n = 0;

  for (const NatPath *p = s->paths; p != NULL; p = p->next)
    n++;
  if (n > NAT_PATHS_MAX)
    world_fail ("a session has %u paths", n);
}

void
check_relay (void)
{
  static guint8 boot[NAT_BOOT_ID_SIZE];

  if (!house->up)
    return;
  if (memcmp (boot, house->boot_id, sizeof boot) != 0)
    g_hash_table_remove_all (mappings);
  memcpy (boot, house->boot_id, sizeof boot);
  for (guint i = 0; i < house->n_workers; i++) {
    const NatRoster *r = house->workers[i]->roster;

    for (guint k = 0; k < r->live->len; k++) {
      const NatDataSession *s = r->live->pdata[k];

      check_paths (s);
      if (s->selected != NULL)
        check_selected (s);
    }
  }
}

/* ---- What goes by ------------------------------------------------------ */

static gboolean
is_rtp (const Datagram *d)
{
  return nat_demux (d->data, d->len) == NAT_PACKET_RTP && d->len >= 12;
}

static void
keep (guint which, const Datagram *d)
{
  guint at = n_captured[which] < CAPTURED ? n_captured[which]++ : world_pick (CAPTURED);

  g_free (captured[which][at]);
  captured[which][at] = net_datagram (&d->from, &d->to, d->data, d->len);
}

Datagram *
check_captured (gboolean from_relay)
{
  guint n = n_captured[from_relay];
  const Datagram *d = n == 0 ? NULL : captured[from_relay][world_pick (n)];

  return d == NULL ? NULL : net_datagram (&d->from, &d->to, d->data, d->len);
}

static Client *
client_of (const Link *link)
{
  return (Client *)link->host;
}

static guint
within (const gint64 *times, guint n, guint size, gint64 span)
{
  guint count = 0;

  for (guint i = 0; i < MIN (n, size); i++)
    count += world.now - times[i] <= span;
  return count;
}

/* Requests are paced, whatever happens. */
static void
count_binding (Client *c)
{
  guint size = G_N_ELEMENTS (c->bindings), n;

  c->bindings[c->n_bindings++ % size] = world.now;
  n = within (c->bindings, c->n_bindings, size, MS (1000));
  check_sums.worst_bindings = MAX (check_sums.worst_bindings, n);
  if (n > BINDINGS_PER_S)
    world_fail ("%s sends %u Bindings in a second", c->name, n);
  n = within (c->posts, c->n_posts, G_N_ELEMENTS (c->posts), MS (10000));
  check_sums.worst_posts = MAX (check_sums.worst_posts, n);
  if (n > POSTS_IN_10_S)
    world_fail ("%s negotiates %u times in ten seconds", c->name, n);
}

static void
client_sent (Link *link, guint16 z, const Datagram *d)
{
  if (nat_demux (d->data, d->len) == NAT_PACKET_STUN)
    count_binding (client_of (link));
  if (world_chance (0.02))
    keep (0, d);
}

static void
relay_heard (const Datagram *d)
{
  check_sums.relay_heard++;
  if (!is_rtp (d) || net_link_of (&d->from) == NULL)
    return;
  check_sums.rtp_heard++;
  heard_rtp[nat_read_u16 (d->data + 2) % FILM_MAX]++;
}

static guint8 *
sent_to (const Datagram *d)
{
  guint8 *sent = g_hash_table_lookup (sent_rtp, GUINT_TO_POINTER (d->to.port));

  if (sent == NULL) {
    sent = g_malloc0 (FILM_MAX);
    g_hash_table_insert (sent_rtp, GUINT_TO_POINTER (d->to.port), sent);
  }
  return sent;
}

static void
relay_sent (const Datagram *d)
{
  Link *link = net_link_of (&d->to);
  guint16 seq = d->len >= 4 ? nat_read_u16 (d->data + 2) % FILM_MAX : 0;

  check_sums.relay_sent++;
  if (world_chance (0.02))
    keep (1, d);
  if (link == NULL || !is_rtp (d))
    return;
  check_sums.rtp_sent++;
  sent_to (d)[seq]++;
}

void __real_nat_repair_moved (NatWorker *w, NatDataSession *s, gint64 heard_us);
void __wrap_nat_repair_moved (NatWorker *w, NatDataSession *s, gint64 heard_us);
void
__wrap_nat_repair_moved (NatWorker *w, NatDataSession *s, gint64 heard_us)
{
  gpointer port = GUINT_TO_POINTER (s->selected->key.remote.port);
  guint times = GPOINTER_TO_UINT (g_hash_table_lookup (moved, port));

  g_hash_table_insert (moved, port, GUINT_TO_POINTER (times + 1));
  __real_nat_repair_moved (w, s, heard_us);
}

/* Each packet goes to a receiver once for each time that it came (a duplicate suppresses nothing), once
 * for each question and each move, and once where it was the last before a silence. */
static void
check_film (guint port, const guint8 *sent)
{
  for (guint seq = 0; seq < film_next; seq++) {
    guint due = heard_rtp[seq] + 1 +
                GPOINTER_TO_UINT (g_hash_table_lookup (moved, GUINT_TO_POINTER (port)));

    for (guint i = 0; i < n_clients; i++)
      due += clients[i]->asked[seq];
    if (sent[seq] > due)
      world_fail ("port %u was sent packet %u %u times, which came %u times", port, seq, sent[seq],
          heard_rtp[seq]);
  }
}

/* What the relay counted in this start is what its sockets saw. */
static void
check_counters (void)
{
  guint64 sent = 0, received = 0, unsent = 0;

  if (!house->up)
    return;
  for (guint i = 0; i < house->n_workers; i++) {
    const NatWorkerCounters *c = house->workers[i]->counters;

    sent += nat_counter_get (&c->datagrams_sent);
    received += nat_counter_get (&c->datagrams_received);
    unsent += nat_counter_get (&c->unsent_control) + nat_counter_get (&c->unsent_video);
  }
  if (sent != check_sums.relay_sent || unsent != 0)
    world_fail ("the relay counts %u datagrams sent, but %u were", (guint)sent,
        (guint)check_sums.relay_sent);
  if (received != check_sums.relay_heard)
    world_fail ("the relay counts %u datagrams received, but %u were", (guint)received,
        (guint)check_sums.relay_heard);
}

/* ---- Begin and end ----------------------------------------------------- */

static guint
id_hash (gconstpointer id)
{
  return nat_read_u32 (id);
}

static gboolean
id_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, NAT_SESSION_ID_SIZE) == 0;
}

void
check_new_boot (void)
{
  check_sums.relay_heard = check_sums.relay_sent = 0;
}

void
check_begin (House *h, Client *const *who, guint n)
{
  house = h;
  clients = who;
  n_clients = n;
  memset (&check_sums, 0, sizeof check_sums);
  mappings = g_hash_table_new_full (id_hash, id_equal, g_free, mapping_free);
  keys = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  contexts = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  heard_rtp = g_malloc0 (FILM_MAX);
  sent_rtp = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  moved = g_hash_table_new (NULL, NULL);
  net_watch = (NetWatch){client_sent, relay_heard, relay_sent, NULL};
}

void
check_film_and_counters (void)
{
  GHashTableIter iter;
  gpointer port, sent;

  g_hash_table_iter_init (&iter, sent_rtp);
  while (g_hash_table_iter_next (&iter, &port, &sent))
    check_film (GPOINTER_TO_UINT (port), sent);
  check_counters ();
}

void
check_end (void)
{
  g_hash_table_unref (sent_rtp);
  g_hash_table_unref (moved);
  for (guint i = 0; i < 2; i++) {
    for (guint k = 0; k < n_captured[i]; k++)
      g_clear_pointer (&captured[i][k], g_free);
    n_captured[i] = 0;
  }
  g_free (heard_rtp);
  g_hash_table_unref (mappings);
  g_hash_table_unref (keys);
  g_hash_table_unref (contexts);
}
