/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A look-up among 100,000 registered paths: one for each datagram (or for each bundle of them that the
 * kernel joined), in an order that no cache can guess, and for addresses that are not there.
 */
#include <string.h>
#include "micro.h"
#include "natproto/crypto.h"
#include "natserver/data/table.h"

#define PATHS 100000
#define ROUND 1024 /* look-ups of one step */

typedef struct {
  NatTable *table;
  NatPathKey *known, *unknown;
  guint32 order[PATHS];
  guint at;
} Scene;

static NatPathKey *
make_keys (guint first_ip)
{
  NatPathKey *keys = g_new0 (NatPathKey, PATHS);

  for (guint i = 0; i < PATHS; i++) {
    guint32 ip = g_htonl (first_ip + i / 4), ours = g_htonl (0xcb007101);

    nat_address_from_ip (&keys[i].remote, (const guint8 *)&ip, 4, (guint16)(1024 + i % 60000));
    nat_address_from_ip (&keys[i].local, (const guint8 *)&ours, 4, 8443);
  }
  return keys;
}

static void
shuffle (Scene *s)
{
  for (guint i = 0; i < PATHS; i++)
    s->order[i] = i;
  for (guint i = PATHS - 1; i > 0; i--) {
    guint32 other = (guint32)g_random_int_range (0, (gint32)i + 1), kept = s->order[i];

    s->order[i] = s->order[other];
    s->order[other] = kept;
  }
}

static guint
found (Scene *s, const NatPathKey *keys)
{
  guint n = 0;

  for (guint i = 0; i < ROUND; i++) {
    s->at = s->at + 1 < PATHS ? s->at + 1 : 0;
    n += nat_table_find (s->table, &keys[s->order[s->at]]) != NULL;
  }
  return n;
}

static void
run_known (gpointer data)
{
  Scene *s = data;

  bench_require (found (s, s->known) == ROUND, "every known path is found");
}

static void
run_unknown (gpointer data)
{
  Scene *s = data;

  bench_require (found (s, s->unknown) == 0, "no unknown path is found");
}

int
main (int argc, char **argv)
{
  static Scene s;
  guint8 key[16];
  double seconds = bench_micro_seconds (argc, argv);

  nat_crypto_random (key, sizeof key);
  s.table = nat_table_new (key);
  s.known = make_keys (0x0a000000);
  s.unknown = make_keys (0x0b000000);
  shuffle (&s);
  for (guint i = 0; i < PATHS; i++)
    bench_require (nat_table_insert (s.table, &s.known[i]) == NULL, "the key was not there");
  bench_micro_report ("table-known", seconds, run_known, &s, ROUND);
  bench_micro_report ("table-unknown", seconds, run_unknown, &s, ROUND);
  nat_table_free (s.table);
  g_free (s.known);
  g_free (s.unknown);
  return 0;
}
